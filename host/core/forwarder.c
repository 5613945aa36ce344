/* forwarder.c: see forwarder.h. */
#include "core/forwarder.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "deliver/failing.h"
#include "script/handler.h"

#define FIRST_MS 1000
#define EVERY_MS 30000
#define LETTERS_MAX 200 /* in one round */

struct forwarder {
    struct worker *worker;
    struct log *log;
    struct timer timer;
    struct store_snapshot *snapshot; /* of the round that runs */
    size_t next;                     /* the letter that is on its way, or to be sent */
    size_t forwarded;
    struct failing *failing;
    bool stopped;
};

static void end_round(struct forwarder *forwarder)
{
    if (forwarder->forwarded)
        log_info(forwarder->log, NULL, "%zu dead letters were taken by the targets of on_failure",
                 forwarder->forwarded);
    store_snapshot_free(forwarder->snapshot);
    forwarder->snapshot = NULL;
    forwarder->forwarded = 0;
    if (!forwarder->stopped)
        timer_set(worker_reactor(forwarder->worker), &forwarder->timer, EVERY_MS);
}

static void send_next(struct forwarder *forwarder);

static void on_sent(void *user, const struct err *err)
{
    struct forwarder *forwarder = user;
    forwarder->failing = NULL;
    if (err) { /* the others would hardly fare better */
        log_debug(forwarder->log, NULL, "a dead letter is not taken yet: %s", err->text);
        end_round(forwarder);
        return;
    }
    struct store_batch *batch = store_batch_new();
    store_forget_dead_letter(batch, forwarder->snapshot->letters[forwarder->next].id);
    store_commit(worker_store(forwarder->worker), batch, NULL, NULL);
    forwarder->forwarded++;
    forwarder->next++;
    send_next(forwarder);
}

/* The handler's settings may have changed since; one that is about to be redriven is left alone. */
static bool may_forward(const struct handler *handler, const struct store_dead_letter *letter)
{
    return handler && handler->emitter && !letter->redrive_ms && strstr(letter->error, "(on_failure = ") &&
           config_target(handler->config, handler_settings_of(handler)->on_failure);
}

static void send_letter(struct forwarder *forwarder, const struct handler *handler,
                        const struct store_dead_letter *letter)
{
    struct failing_facts facts = {
        .handler = letter->handler,
        .version = letter->version,
        .condition = "RetryAttemptsExhausted",
        .error = letter->error,
        .attempts = letter->attempts,
        .failed_ms = letter->failed_ms,
        .now_ms = clock_wall_ms(reactor_clock(worker_reactor(forwarder->worker))),
        .record_time_ms = letter->record_time_ms,
        .stream_arn = letter->stream_arn,
        .table = letter->table,
        .shard = letter->shard,
        .sequence = letter->sequence,
        .event_id = letter->event_id,
        .keys = letter->keys,
        .record = letter->record,
    };
    forwarder->failing = failing_send(handler->emitter, handler->config,
                                      handler_settings_of(handler)->on_failure, &facts, on_sent, forwarder);
}

static void send_next(struct forwarder *forwarder)
{
    const struct store_snapshot *snapshot = forwarder->snapshot;
    for (; forwarder->next < snapshot->letter_count && !forwarder->stopped; forwarder->next++) {
        const struct store_dead_letter *letter = &snapshot->letters[forwarder->next];
        const struct handler *handler = worker_handler(forwarder->worker, letter->handler);
        if (!may_forward(handler, letter))
            continue;
        send_letter(forwarder, handler, letter);
        return;
    }
    end_round(forwarder);
}

static void on_letters(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct forwarder *forwarder = user;
    (void)err;
    forwarder->snapshot = snapshot;
    forwarder->next = 0;
    if (snapshot && !forwarder->stopped)
        send_next(forwarder);
    else
        end_round(forwarder);
}

static void begin_round(void *user)
{
    struct forwarder *forwarder = user;
    store_load(worker_store(forwarder->worker),
               &(struct store_query){.what = STORE_LETTERS, .error = "(on_failure = ", .limit = LETTERS_MAX},
               on_letters, forwarder);
}

struct forwarder *forwarder_new(struct worker *worker, struct log *log)
{
    struct forwarder *forwarder = mem_zero(sizeof *forwarder);
    forwarder->worker = worker;
    forwarder->log = log;
    timer_init(&forwarder->timer, begin_round, forwarder);
    timer_set(worker_reactor(worker), &forwarder->timer, FIRST_MS);
    return forwarder;
}

void forwarder_stop(struct forwarder *forwarder)
{
    forwarder->stopped = true;
    timer_stop(worker_reactor(forwarder->worker), &forwarder->timer);
}

void forwarder_free(struct forwarder *forwarder)
{
    if (!forwarder)
        return;
    timer_stop(worker_reactor(forwarder->worker), &forwarder->timer);
    failing_cancel(forwarder->failing);
    store_snapshot_free(forwarder->snapshot);
    free(forwarder);
}
