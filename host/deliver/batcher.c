/* batcher.c: messages to requests.
 *
 * A request goes out when it is full, when its oldest message has waited for `linger`, or when somebody is in
 * a hurry; at most `in_flight` at once. What was not accepted is sent again after a while, entry by entry,
 * and given up after `retries`. Of one key only one message is under way, so that a repetition cannot be
 * overtaken. */
#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/pace.h"
#include "deliver/target.h"

struct batcher {
    struct target target; /* the first: one is the other */
    const struct target_type *type;
    struct list waiting; /* emissions that may go with the next request */
    struct list other;   /* those that are behind, paused or over */
    struct list requests;
    size_t waiting_count, waiting_bytes, in_flight;
    struct map lanes; /* lane -> the last emission of it */
    struct task work;
    struct timer linger;
    bool hurried; /* what waits now need not wait */
};

static struct batcher *batcher_of(struct target *target)
{
    return list_entry(target, struct batcher, target);
}

static int64_t now_ms(const struct batcher *batcher)
{
    return reactor_now_ms(batcher->target.outbox->reactor);
}

static size_t count_max(const struct batcher *batcher)
{
    size_t set = (size_t)batcher->target.config->batch_count;
    return set && set < batcher->type->count_max ? set : batcher->type->count_max;
}

static size_t bytes_max(const struct batcher *batcher)
{
    size_t set = (size_t)batcher->target.config->batch_bytes;
    if (!set)
        return batcher->type->bytes_max;
    return set < batcher->type->bytes_most ? set : batcher->type->bytes_most;
}

static int64_t linger_ms(const struct batcher *batcher)
{
    int64_t set = batcher->target.config->linger_ms;
    return batcher->target.flushing ? 0 : set >= 0 ? set : batcher->type->linger_ms;
}

static void wake(struct batcher *batcher)
{
    task_defer(batcher->target.outbox->reactor, &batcher->work);
}

/* ---- the queue ---- */

static void into(struct list *list, struct emission *emission, bool first)
{
    list_remove(&emission->link);
    if (first)
        list_append(list->next, &emission->link); /* before the one that was the first */
    else
        list_append(list, &emission->link);
}

static void enqueue(struct batcher *batcher, struct emission *emission, bool first)
{
    CHECK(emission->state != EMISSION_WAITING || list_empty(&emission->link));
    emission->state = EMISSION_WAITING;
    into(&batcher->waiting, emission, first);
    batcher->waiting_count++;
    batcher->waiting_bytes += emission->bytes;
    wake(batcher);
}

static void dequeue(struct batcher *batcher, struct emission *emission)
{
    CHECK(emission->state == EMISSION_WAITING && batcher->waiting_count > 0 &&
          batcher->waiting_bytes >= emission->bytes);
    batcher->waiting_count--;
    batcher->waiting_bytes -= emission->bytes;
    list_remove(&emission->link);
}

/* Not in the queue. */
static void set_aside(struct batcher *batcher, struct emission *emission, int state)
{
    emission->state = state;
    into(&batcher->other, emission, false);
}

/* One that is over is told of from the top of the stack. */
static void give_up(struct batcher *batcher, struct emission *emission, const struct err *err)
{
    emission_set_err(emission, err);
    set_aside(batcher, emission, EMISSION_OVER);
    wake(batcher);
}

/* ---- lanes ---- */

static bool of_one_call(const struct emission *a, const struct emission *b)
{
    return a->message.call && a->message.call == b->message.call;
}

/* True when the emission is the first of its lane. */
static bool enter_lane(struct batcher *batcher, struct emission *emission)
{
    if (!emission->message.key)
        return true;
    emission->lane = mem_printf("%s\n%s", emission->message.handler, emission->message.key);
    struct emission *last = map_get(&batcher->lanes, emission->lane);
    map_set(&batcher->lanes, emission->lane, emission);
    CHECK(!last || (last != emission && !last->behind));
    if (last)
        last->behind = emission;
    return !last;
}

/* The first of its lane is done with. What the same call emitted after it is given up with it: the order of
 * a key holds when the call is made again. */
static void leave_lane(struct batcher *batcher, struct emission *emission, const struct err *err)
{
    struct emission *next = emission->behind;
    emission->behind = NULL;
    CHECK((emission->lane || !next) && next != emission);
    if (!emission->lane)
        return;
    CHECK(next || map_get(&batcher->lanes, emission->lane) == emission);
    CHECK(!next || next->state == EMISSION_BEHIND);
    while (next && !next->done) { /* cancelled meanwhile */
        struct emission *after = next->behind;
        next->behind = NULL;
        emission_finish(next, NULL);
        next = after;
    }
    if (!next) {
        map_remove(&batcher->lanes, emission->lane);
        return;
    }
    if (err && of_one_call(emission, next)) {
        struct err copy = *err;
        err_prefix(&copy, "behind another message of key %s that was not accepted", emission->message.key);
        give_up(batcher, next, &copy);
        return;
    }
    enqueue(batcher, next, true);
}

/* ---- what came of a request ---- */

static void on_pause(void *user)
{
    struct emission *emission = user;
    CHECK(emission->state == EMISSION_PAUSED);
    emission->due_ms = 0; /* it has waited enough */
    enqueue(batcher_of(emission->target), emission, true);
}

static void finish(struct batcher *batcher, struct emission *emission, const struct err *err)
{
    leave_lane(batcher, emission, err);
    emission_finish(emission, err);
}

/* One bad entry may make the service refuse all that are in the request with it. */
static bool perhaps_others_fault(const struct request *request, const struct err *err)
{
    return request->refused && request->count > 1 && err->code == ERR_SERVICE && err->http_status >= 400 &&
           err->http_status < 500;
}

static void settle(struct batcher *batcher, const struct request *request, struct emission *emission)
{
    struct target *target = &batcher->target;
    struct err *err = emission->err;
    CHECK(emission->state == EMISSION_SENT);
    if (!emission->done || !err) {
        finish(batcher, emission, NULL);
    } else if (perhaps_others_fault(request, err) && !target_passes(err)) {
        emission->alone = true;
        emission->due_ms = 0;
        enqueue(batcher, emission, true);
    } else if (target_passes(err) &&
               target_may_retry(target,
                                &(struct patience){emission->message.handler, emission->attempts,
                                                   emission->message.give_up_ms,
                                                   emission->message.patience_ms, emission->born_ms})) {
        int64_t delay = target_backoff_ms(target, emission->attempts);
        delay = delay > emission->retry_after_ms ? delay : emission->retry_after_ms;
        target_tell_retry(target, err, emission->attempts, delay);
        target->stats.retried++;
        set_aside(batcher, emission, EMISSION_PAUSED);
        timer_init(&emission->pause, on_pause, emission);
        timer_set(target->outbox->reactor, &emission->pause, delay);
    } else {
        struct err copy = *err;
        target_give_up(target, emission->message.handler, &copy);
        finish(batcher, emission, &copy);
    }
}

static void request_free(struct request *request)
{
    list_remove(&request->link);
    free(request->entries);
    free(request);
}

static void end_span(struct request *request, const struct transport_response *response,
                     const struct err *err)
{
    const struct target *target = request->target;
    char status[16] = "", messages[24];
    if (!request->span.sampled)
        return;
    if (response)
        snprintf(status, sizeof status, "%d", response->status);
    snprintf(messages, sizeof messages, "%zu", request->count);
    char *name = mem_printf("send %s", target->config->name);
    tracer_end(target->outbox->tracer, &request->span, name, SPAN_PRODUCER, err ? err->text : NULL,
               (const struct span_attribute[]){{"tidemill.target", target->config->name},
                                               {"tidemill.target.type", target->config->type->name},
                                               {"messaging.batch.message_count", messages},
                                               {"http.response.status_code", *status ? status : NULL},
                                               {NULL, NULL}});
    free(name);
}

void request_answered(struct request *request, struct transport_response *response, const struct err *err)
{
    struct batcher *batcher = batcher_of(request->target);
    const struct emitter *emitter = batcher->target.emitter;
    request->aws = NULL;
    request->http = NULL;
    bool done = err && batcher->type->is_done && batcher->type->is_done(err);
    if (done)
        err = NULL;
    request->refused = err != NULL;
    end_span(request, response, err);
    emitter->ops->hold(emitter); /* a completion may be the end of the last handler */
    for (size_t i = 0; i < request->count; i++) {
        free(request->entries[i]->err);
        request->entries[i]->err = NULL;
        if (err)
            emission_set_err(request->entries[i], err);
    }
    if (!err && !done && batcher->type->read)
        batcher->type->read(request, response);
    CHECK(batcher->in_flight > 0 && request->count > 0);
    batcher->in_flight--;
    for (size_t i = 0; i < request->count; i++)
        settle(batcher, request, request->entries[i]);
    request_free(request);
    wake(batcher);
    emitter->ops->release(emitter);
}

void request_unnamed(struct request *request, const bool *named)
{
    struct err err;
    err_set(&err, ERR_SERVICE, "the service's answer says nothing of this message");
    err.passes = PASSES_LATER;
    for (size_t i = 0; i < request->count; i++)
        if (!named[i])
            emission_set_err(request->entries[i], &err);
}

int64_t request_timeout_ms(const struct request *request)
{
    int64_t set = request->target->config->timeout_ms;
    return set ? set : batcher_of(request->target)->type->timeout_ms;
}

static void on_aws(void *user, struct transport_response *response, const struct err *err)
{
    request_answered(user, err ? NULL : response, err);
}

void request_send_aws(struct request *request, struct aws_request *aws)
{
    struct target *target = request->target;
    aws->region = target->config->region;
    aws->place = aws->place ? aws->place : target_place_of(target->config);
    aws->attempts = 1; /* repeating is our business: entry by entry */
    aws->timeout_ms = request_timeout_ms(request);
    if (request->span.sampled)
        trace_write_amzn(&request->span.place, aws->trace);
    request->aws = aws_send(target->outbox->aws, aws, on_aws, request);
}

/* ---- sending ---- */

static bool full(const struct batcher *batcher)
{
    return batcher->waiting_count >= count_max(batcher) || batcher->waiting_bytes >= bytes_max(batcher);
}

static bool may_send(struct batcher *batcher)
{
    if (!batcher->waiting_count)
        return false;
    const struct emission *oldest = list_entry(batcher->waiting.next, struct emission, link);
    int64_t left = oldest->due_ms - now_ms(batcher);
    if (full(batcher) || batcher->hurried || left <= 0)
        return true;
    timer_set(batcher->target.outbox->reactor, &batcher->linger, left);
    return false;
}

static int64_t now_us(const struct batcher *batcher)
{
    return clock_monotonic_us(reactor_clock(batcher->target.outbox->reactor));
}

/* The host stops, or the handler leaves: what waits for the rate will be made again, as what waits for
 * another attempt. */
static void give_up_unpaced(struct batcher *batcher)
{
    struct emission *emission;
    struct err err;
    err_set(&err, ERR_CANCELLED, "it waited for the target's rate");
    list_each(emission, &batcher->waiting, struct emission, link) {
        if (!target_leaves(&batcher->target, emission->message.handler))
            continue;
        dequeue(batcher, emission);
        emission_set_err(emission, &err);
        set_aside(batcher, emission, EMISSION_OVER);
        wake(batcher);
    }
}

static bool in_pace(struct batcher *batcher)
{
    int64_t wait_us = pace_wait(batcher->target.pace, batcher->target.config->rate_ns, now_us(batcher));
    if (!wait_us)
        return true;
    give_up_unpaced(batcher);
    timer_set(batcher->target.outbox->reactor, &batcher->linger, wait_us / 1000 + 1);
    return false;
}

static void begin_span(struct request *request)
{
    for (size_t i = 0; i < request->count && !request->span.sampled; i++)
        if (request->entries[i]->message.traced)
            tracer_begin_part(request->target->outbox->tracer, &request->entries[i]->message.trace,
                              &request->span);
}

static void send_one(struct batcher *batcher)
{
    struct request *request = mem_zero(sizeof *request);
    struct emission *emission;
    size_t bytes = 0, most = count_max(batcher);
    request->target = &batcher->target;
    request->entries =
        mem_alloc((batcher->waiting_count < most ? batcher->waiting_count : most) * sizeof *request->entries);
    list_each(emission, &batcher->waiting, struct emission, link) {
        if (request->count == most ||
            (request->count && (bytes + emission->bytes > bytes_max(batcher) || emission->alone)))
            break;
        dequeue(batcher, emission);
        emission->state = EMISSION_SENT;
        emission->attempts++;
        emission->retry_after_ms = 0;
        bytes += emission->bytes;
        request->entries[request->count++] = emission;
        if (emission->alone)
            break;
    }
    CHECK(request->count > 0 && request->count <= most);
    batcher->in_flight++;
    batcher->target.stats.requests++;
    pace_charge(batcher->target.pace, batcher->target.config->rate_ns, request->count, now_us(batcher));
    list_append(&batcher->requests, &request->link);
    begin_span(request);
    batcher->type->send(request);
}

static void finish_over(struct batcher *batcher)
{
    struct emission *emission;
    list_each(emission, &batcher->other, struct emission, link) {
        if (emission->state != EMISSION_OVER)
            continue;
        CHECK(emission->err);
        struct err copy = *emission->err;
        finish(batcher, emission, &copy);
        wake(batcher); /* the list may have changed under us */
        return;
    }
}

static void work(void *user)
{
    struct batcher *batcher = user;
    const struct emitter *emitter = batcher->target.emitter;
    int64_t most = batcher->target.config->in_flight;
    most = most ? most : batcher->type->in_flight;
    emitter->ops->hold(emitter);
    while ((int64_t)batcher->in_flight < most && may_send(batcher) && in_pace(batcher))
        send_one(batcher);
    if (!batcher->waiting_count)
        batcher->hurried = false;
    finish_over(batcher);
    emitter->ops->release(emitter);
}

/* ---- the target ---- */

static void add(struct emission *emission)
{
    struct batcher *batcher = batcher_of(emission->target);
    struct err err = {0};
    emission->bytes = batcher->type->measure(&batcher->target, &emission->message, &err);
    if (!err.code && emission->bytes > batcher->type->bytes_most)
        err_set(&err, ERR_LIMIT, "the message has %zu bytes; %zu are allowed", emission->bytes,
                batcher->type->bytes_most);
    emission->alone = emission->bytes > bytes_max(batcher); /* the service decides */
    emission->due_ms = now_ms(batcher) + linger_ms(batcher);
    if (err.code)
        give_up(batcher, emission, &err);
    else if (enter_lane(batcher, emission))
        enqueue(batcher, emission, false);
    else
        set_aside(batcher, emission, EMISSION_BEHIND);
}

/* One that is on its way, or stands before others of its lane, is forgotten when its turn comes. */
static void cancel(struct emission *emission)
{
    struct batcher *batcher = batcher_of(emission->target);
    if (emission->state == EMISSION_SENT || emission->state == EMISSION_BEHIND)
        return;
    if (emission->state == EMISSION_WAITING)
        dequeue(batcher, emission);
    leave_lane(batcher, emission, NULL);
    target_forget(&batcher->target);
    emission_free(emission);
}

/* The host stops, or the handler leaves: what waits for another attempt will be made again. */
static void give_up_paused(struct batcher *batcher, const char *handler)
{
    struct emission *emission;
    list_each(emission, &batcher->other, struct emission, link) {
        if (emission->state != EMISSION_PAUSED ||
            (handler && strcmp(emission->message.handler, handler) != 0))
            continue;
        timer_stop(batcher->target.outbox->reactor, &emission->pause);
        emission->state = EMISSION_OVER;
        target_give_up(&batcher->target, emission->message.handler, emission->err);
        wake(batcher);
    }
}

static void give_back(struct target *target, const char *handler)
{
    give_up_paused(batcher_of(target), handler);
    target->ops->hurry(target, handler);
}

static void hurry(struct target *target, const char *handler)
{
    struct batcher *batcher = batcher_of(target);
    (void)handler; /* what others have waiting may go with it */
    if (target->stopping)
        give_up_paused(batcher, NULL);
    if (!batcher->waiting_count || batcher->hurried)
        return;
    batcher->hurried = true;
    wake(batcher);
}

static void free_emissions(struct list *list)
{
    struct emission *emission;
    list_each(emission, list, struct emission, link)
        emission_free(emission);
}

static void batcher_free(struct target *target)
{
    struct batcher *batcher = batcher_of(target);
    struct request *request;
    list_each(request, &batcher->requests, struct request, link) {
        aws_cancel(request->aws);
        if (request->http)
            transport_cancel(target->outbox->transport, request->http);
        if (batcher->type->cancel)
            batcher->type->cancel(request);
        for (size_t i = 0; i < request->count; i++)
            emission_free(request->entries[i]);
        request_free(request);
    }
    if (batcher->type->close)
        batcher->type->close(target);
    free_emissions(&batcher->waiting);
    free_emissions(&batcher->other);
    map_fini(&batcher->lanes);
    timer_stop(target->outbox->reactor, &batcher->linger);
    task_cancel(&batcher->work);
    free(batcher);
}

struct target *batcher_open(const struct target_type *type)
{
    static const struct target_ops ops = {
        .add = add, .cancel = cancel, .hurry = hurry, .give_back = give_back, .free = batcher_free};
    struct batcher *batcher = mem_zero(sizeof *batcher);
    batcher->target.ops = &ops;
    batcher->type = type;
    list_init(&batcher->waiting);
    list_init(&batcher->other);
    list_init(&batcher->requests);
    task_init(&batcher->work, work, batcher);
    timer_init(&batcher->linger, work, batcher);
    return &batcher->target;
}
