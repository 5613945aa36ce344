/* subscriber.c: where a handler stands in a shard, and how it leaves it. */
#include "dispatch/subscriber.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* ---- which feed ---- */

bool subscriber_is_active(const struct subscriber *subscriber)
{
    return subscriber->subscription && subscriber->phase == SUBSCRIBER_READS && !subscriber->last;
}

bool subscriber_in_group(const struct subscriber *subscriber)
{
    const struct feed *extra = &subscriber->shard->extra;
    return subscriber->lagging && subscriber_is_active(subscriber) && extra->reading &&
           position_reaches(&extra->read, subscription_fed(subscriber->subscription));
}

/* ---- checkpoints ---- */

static void tell_passed(const struct subscriber *subscriber, const struct position *position)
{
    struct shard *shard = subscriber->shard;
    if (position->kind == POSITION_AFTER || position->kind == POSITION_FINISHED)
        shard->events.passed(shard->user, shard, subscriber->handler,
                             position->kind == POSITION_AFTER ? position->sequence : NULL);
}

bool subscriber_put_checkpoint(struct subscriber *subscriber, struct store_batch *batch, bool last,
                               bool finished)
{
    struct shard *shard = subscriber->shard;
    struct buf progress = BUF_INIT;
    struct store_checkpoint checkpoint = {subscriber->handler, shard->stream_arn, shard->id, {0}, ""};
    bool moved = subscription_checkpoint(subscriber->subscription, last, &checkpoint.position, &progress);
    if (moved || finished) {
        if (finished || subscriber->last) {
            checkpoint.position.kind = POSITION_FINISHED;
            checkpoint.position.since_ms = clock_wall_ms(reactor_clock(shard->options.reactor));
        }
        checkpoint.progress = progress.data;
        store_put_checkpoint(batch, &checkpoint);
        tell_passed(subscriber, &checkpoint.position);
    }
    if (finished) {
        free(subscriber->progress);
        subscriber->progress = mem_string(progress.data ? progress.data : "");
    }
    buf_fini(&progress);
    return moved;
}

/* ---- the end ---- */

static void on_finished(void *user, const struct err *err)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (err)
        return; /* the store was closed: it will be finished again */
    CHECK(subscriber->phase == SUBSCRIBER_ENDING);
    subscriber->phase = SUBSCRIBER_GONE;
    task_defer(shard->options.reactor, &shard->sweep);
    shard->events.finished(shard->user, shard, subscriber->handler, subscriber->progress);
}

static void on_left(void *user, const struct err *err)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (err)
        return;
    CHECK(subscriber->phase == SUBSCRIBER_ENDING);
    subscriber->phase = SUBSCRIBER_GONE;
    task_defer(shard->options.reactor, &shard->sweep);
    shard->events.left(shard->user, shard, subscriber->handler);
}

void subscriber_leave_if_done(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    if (subscriber->phase != SUBSCRIBER_LEAVING || !subscription_drained(subscriber->subscription))
        return;
    struct store_batch *batch = store_batch_new();
    subscriber_put_checkpoint(subscriber, batch, true, false);
    store_put_subscription(batch, /* at no time: it does not run */
                           &(struct store_subscription){.handler = subscriber->handler,
                                                        .stream_arn = shard->stream_arn,
                                                        .shard = shard->id});
    subscriber->phase = SUBSCRIBER_ENDING;
    store_commit(shard->options.store, batch, on_left, subscriber);
}

void subscriber_finish_if_done(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    if ((!shard->ended && !subscriber->last) || shard->stopping || subscriber->lagging ||
        subscriber->phase != SUBSCRIBER_READS)
        return;
    if (!subscription_drained(subscriber->subscription)) {
        subscription_hurry(subscriber->subscription); /* children wait for it */
        return;
    }
    struct store_batch *batch = store_batch_new();
    subscriber_put_checkpoint(subscriber, batch, true, true);
    subscriber->phase = SUBSCRIBER_ENDING;
    store_commit(shard->options.store, batch, on_finished, subscriber);
}
