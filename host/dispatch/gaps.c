/* gaps.c: records that were trimmed before a handler got them, and which handlers are told so. */
#include "dispatch/gaps.h"

#include "base/check.h"

void gap_put(struct subscriber *subscriber, struct store_batch *batch, const char *from, const char *to)
{
    struct shard *shard = subscriber->shard;
    store_put_event(batch, &(struct store_event){
                               .kind = "gap",
                               .handler = subscriber->handler,
                               .stream_arn = shard->stream_arn,
                               .shard = shard->id,
                               .from_sequence = from,
                               .to_sequence = to,
                               .text = "records were trimmed before they were read",
                               .time_ms = clock_wall_ms(reactor_clock(shard->options.reactor)),
                           });
}

void gap_halt(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    if (subscriber->phase != SUBSCRIBER_READS)
        return;
    subscriber->phase = SUBSCRIBER_HALTED;
    subscription_cut(subscriber->subscription);
    shard->events.halted(shard->user, shard, subscriber->handler);
}

static void put_one(struct subscriber *subscriber, const char *from, const char *to)
{
    struct store_batch *batch = store_batch_new();
    gap_put(subscriber, batch, from, to);
    store_commit(subscriber->shard->options.store, batch, NULL, NULL);
    if (subscriber->shard->options.stream->on_gap == GAP_STOP)
        gap_halt(subscriber);
}

/* Will it go on where the feed is? Also a laggard that is about to join. */
static bool depends_on(const struct subscriber *subscriber, const struct feed *feed)
{
    if (!subscriber_is_active(subscriber))
        return false;
    if (feed == &subscriber->shard->extra)
        return subscriber_in_group(subscriber);
    return !subscriber->lagging || position_reaches(&feed->read, subscription_fed(subscriber->subscription));
}

/* Whoever goes on where the feed is misses what is in the gap behind `read`, unless it had been fed beyond
 * it. `to`: the record behind the gap, "" where there is none. */
static void tell_gap(struct feed *feed, struct subscriber *subscriber, const char *to)
{
    const struct position *fed = subscription_fed(subscriber->subscription);
    if (!feed->gap || subscriber->gap_told == feed->gap ||
        (fed->kind == POSITION_AFTER && *to && sequence_compare(fed->sequence, to) >= 0))
        return;
    subscriber->gap_told = feed->gap;
    put_one(subscriber, feed->gap_from, to);
}

void gap_begin(struct feed *feed, const char *from, const char *to)
{
    struct shard *shard = feed->shard;
    struct subscriber *subscriber;
    CHECK(!*from || !*to || sequence_compare(from, to) < 0);
    log_error(shard->options.log, shard->subject,
              "shard %s: records were trimmed before they were read: lost between %s and %s", shard->id,
              *from ? from : "the start of the shard", *to ? to : "its end");
    feed->gap = ++shard->gaps;
    sequence_copy(feed->gap_from, from);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (depends_on(subscriber, feed))
            tell_gap(feed, subscriber, to);
}

void gap_check_end(struct subscriber *subscriber)
{
    tell_gap(&subscriber->shard->shared, subscriber, "");
    subscription_ended(subscriber->subscription);
}

void gap_missed(struct subscriber *subscriber, const char *to)
{
    struct shard *shard = subscriber->shard;
    log_error(shard->options.log, shard->subject,
              "shard %s: records were trimmed before handler %s settled them: lost before %s", shard->id,
              subscriber->handler, *to ? to : "its end");
    put_one(subscriber, "", to);
}

void gap_check(struct feed *feed, struct subscriber *subscriber, const struct position *before,
               const char *next)
{
    struct shard *shard = subscriber->shard;
    const struct position *fed = subscription_fed(subscriber->subscription);
    tell_gap(feed, subscriber, next ? next : "");
    if (fed->kind != POSITION_AFTER || position_reaches(fed, before) ||
        (next && sequence_compare(next, fed->sequence) <= 0))
        return;
    log_error(shard->options.log, shard->subject,
              "shard %s: records were trimmed before handler %s was given them: lost between %s and %s",
              shard->id, subscriber->handler, fed->sequence, next ? next : "its end");
    put_one(subscriber, fed->sequence, next ? next : "");
}

struct position gap_check_tip(struct feed *feed)
{
    struct subscriber *subscriber;
    struct position furthest = feed->read;
    list_each(subscriber, &feed->shard->subscribers, struct subscriber, link) {
        if (!depends_on(subscriber, feed))
            continue;
        const struct position *fed = subscription_fed(subscriber->subscription);
        gap_check(feed, subscriber, &feed->read, NULL);
        if (fed->kind == POSITION_AFTER && position_reaches(&furthest, fed))
            furthest = *fed;
    }
    return furthest;
}
