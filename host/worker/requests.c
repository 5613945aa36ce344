/* requests.c: requests from outside, for handlers with on_request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/internal.h"

struct asking {
    struct list link; /* while it runs */
    struct worker *worker;
    struct handler_request request; /* a copy; its texts are the asker's */
    struct handler_source source;
    struct handler_call call;
    struct handler *running; /* held */
    struct invocation *invocation;
    struct span span;
    int64_t begun_us;
    worker_answer_fn *done;
    void *user;
};

static const struct handler_source no_source = {.stream = "", .stream_arn = "", .table = "", .shard = ""};

static void note(struct worker *worker, const char *intake, int status)
{
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    ++*stats_counter(worker->stats, "tidemill_intake_requests_total", "intake", intake, "status", text, NULL);
}

/* As it is answered. */
static int status_of(const struct handler_outcome *outcome)
{
    return outcome->answer                                ? outcome->answer->status
           : outcome->error.failure == FAILURE_NO_ATTEMPT ? 503
           : outcome->error.timed_out                     ? 504
                                                          : 500;
}

static void end_span(struct asking *asking, const struct handler_outcome *outcome, int status)
{
    char code[16];
    if (!asking->span.sampled)
        return;
    snprintf(code, sizeof code, "%d", status);
    char *name = mem_printf("request %s", asking->request.intake);
    tracer_end(asking->worker->tracer, &asking->span, name, SPAN_SERVER, outcome->error.text,
               (const struct span_attribute[]){{"http.request.method", asking->request.method},
                                               {"url.path", asking->request.path},
                                               {"http.response.status_code", code},
                                               {"tidemill.handler", handler_name(asking->running)},
                                               {"tidemill.request", asking->request.id},
                                               {NULL, NULL}});
    free(name);
}

/* Takes the outcome. */
static void tell(struct asking *asking, struct handler_outcome *outcome)
{
    struct worker *worker = asking->worker;
    int status = status_of(outcome);
    note(worker, asking->request.intake, status);
    if (asking->begun_us)
        stats_took(
            stats_times(worker->stats, "tidemill_intake_seconds", "intake", asking->request.intake, NULL),
            clock_monotonic_us(reactor_clock(worker->reactor)) - asking->begun_us);
    end_span(asking, outcome, status);
    if (asking->running && outcome->error.text && status != 503) {
        char *subject = mem_printf("handler %s", handler_name(asking->running));
        log_write_repeated(worker->options.log, LOG_ERROR, subject, outcome->error.text,
                           "%s (request %s of intake %s, answered with %d)", outcome->error.text,
                           asking->request.id, asking->request.intake, status);
        free(subject);
    }
    list_remove(&asking->link);
    if (asking->running)
        handler_release(asking->running);
    asking->done(asking->user, status, outcome->answer);
    outcome->answer = NULL;
    handler_outcome_fini(outcome);
    free(asking);
    worker->over(worker);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    (void)result;
    tell(user, outcome);
}

/* Nobody is there to answer it, for now. */
static void refuse(struct asking *asking)
{
    struct handler_outcome outcome = {.error = {.failure = FAILURE_NO_ATTEMPT}};
    tell(asking, &outcome);
}

static void drop(void *user)
{
    struct asking *asking = user;
    asking->done(asking->user, 503, NULL);
    free(asking);
}

static struct handler *find_handler(struct worker *worker, const char *intake)
{
    size_t at = 0;
    for (struct handler *handler; (handler = map_next(&worker->handlers, &at, NULL));) {
        const char *its = handler_settings_of(handler)->intake;
        if (its && handler_kind(handler) == HANDLER_REQUESTS && strcmp(its, intake) == 0)
            return handler;
    }
    return NULL;
}

static void ask(void *user)
{
    struct asking *asking = user;
    struct worker *worker = asking->worker;
    struct handler *handler = find_handler(worker, asking->request.intake);
    struct handler_outcome outcome;
    if (worker->phase != RUNNING || !handler) {
        refuse(asking);
        return;
    }
    list_append(&worker->asked, &asking->link);
    asking->running = handler_hold(handler);
    asking->begun_us = clock_monotonic_us(reactor_clock(worker->reactor));
    tracer_begin_request(worker->tracer, asking->request.traceparent, &asking->span);
    asking->request.trace = asking->span.sampled ? &asking->span.place : NULL;
    asking->source = no_source;
    asking->call = (struct handler_call){.source = &asking->source, .request = &asking->request};
    if (handler_run(handler, &asking->call, on_done, asking, &asking->invocation, &outcome) !=
        HANDLER_WAITING)
        tell(asking, &outcome);
}

void worker_ask(struct worker *worker, const struct handler_request *request, worker_answer_fn *done,
                void *user)
{
    struct asking *asking = mem_zero(sizeof *asking);
    list_init(&asking->link);
    asking->worker = worker;
    asking->request = *request;
    asking->done = done;
    asking->user = user;
    reactor_post_owned(worker->reactor, ask, drop, asking);
}

void worker_abandon_requests(struct worker *worker)
{
    struct asking *asking;
    list_each(asking, &worker->asked, struct asking, link) {
        handler_cancel(asking->running, asking->invocation);
        refuse(asking);
    }
}

/* ---- those that are refused before anybody is asked ---- */

struct refused {
    struct worker *worker;
    int status;
    char intake[];
};

static void count(void *user)
{
    struct refused *refused = user;
    note(refused->worker, refused->intake, refused->status);
    free(refused);
}

void worker_count_refused(struct worker *worker, const char *intake, int status)
{
    size_t size = strlen(intake) + 1;
    struct refused *refused = mem_alloc(sizeof *refused + size);
    refused->worker = worker;
    refused->status = status;
    memcpy(refused->intake, intake, size);
    reactor_post_owned(worker->reactor, count, free, refused);
}
