/* feeds.c: see feeds.h. */
#include "dispatch/feeds.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "dispatch/gaps.h"

/* Checkpoints so close together begin on one feed: reading a little again is cheaper than a second reader. */
#define NEAR_MS (60 * 1000)

#define PARTS_MAX 8 /* of the window; with more handlers than that, it may be exceeded twice */
#define PAGES_PER_TURN 40
#define PATIENCE_MS 1000

/* ---- who is where ---- */

static bool near(const struct position *a, const struct position *b)
{
    return a->kind == POSITION_AFTER && b->kind == POSITION_AFTER && a->record_time_ms && b->record_time_ms &&
           llabs(a->record_time_ms - b->record_time_ms) <= NEAR_MS;
}

static size_t count_active(struct shard *shard, bool lagging)
{
    struct subscriber *subscriber;
    size_t count = 0;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        count += subscriber_is_active(subscriber) && subscriber->lagging == lagging;
    return count;
}

/* A subscriber may hold its part of the window: whatever the others are stuck with, there is room for it. */
static size_t bytes_max(const struct shard *shard)
{
    size_t count = shard->subscriber_count < PARTS_MAX ? shard->subscriber_count : PARTS_MAX;
    return (size_t)shard->options.stream->window_bytes / (count ? count : 1);
}

static bool is_full(struct subscriber *subscriber)
{
    return subscription_full(subscriber->subscription, bytes_max(subscriber->shard));
}

static void serve_later(struct shard *shard)
{
    if (!shard->stopping)
        task_defer(shard->options.reactor, &shard->serve);
}

static void lag(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    CHECK(!subscriber->lagging && subscriber_is_active(subscriber));
    subscriber->lagging = true;
    log_info(shard->options.log, shard->subject, "shard %s: handler %s goes on with a reader of its own",
             shard->id, subscriber->handler);
    serve_later(shard);
}

static void join(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    CHECK(subscriber->lagging && subscriber_is_active(subscriber));
    subscriber->lagging = false;
    log_info(shard->options.log, shard->subject, "shard %s: handler %s has caught up", shard->id,
             subscriber->handler);
    if (shard->ended) {
        gap_check_end(subscriber);
        subscriber_finish_if_done(subscriber);
    }
}

/* ---- the shared feed ---- */

static void start_feed(struct feed *feed, const struct position *position, const char *cursor)
{
    CHECK(feed->reader && !feed->shard->stopping);
    feed->read = *position;
    feed->reading = true;
    feed->gap = 0;
    reader_start(feed->reader, position, cursor);
}

/* Nothing more comes for them now: what they have need not wait for it. */
static void hurry_those(struct shard *shard, bool lagging)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber_is_active(subscriber) && subscriber->lagging == lagging)
            subscription_hurry(subscriber->subscription);
}

/* Those that cannot take more leave, unless all are like that: then reading waits. */
static void bound_shared(struct shard *shard)
{
    struct subscriber *subscriber;
    size_t slow = 0, active = count_active(shard, false);
    if (shard->stopping)
        return;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        slow += subscriber_is_active(subscriber) && !subscriber->lagging && is_full(subscriber);
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        if (slow == active || !subscriber_is_active(subscriber) || subscriber->lagging ||
            !is_full(subscriber))
            continue;
        subscription_cut(subscriber->subscription);
        lag(subscriber);
    }
    if ((active && slow == active) ||
        shard->shared.live_bytes > 2 * (size_t)shard->options.stream->window_bytes) {
        reader_pause(shard->shared.reader);
        hurry_those(shard, false);
    } else if (!shard->ended)
        reader_resume(shard->shared.reader);
}

/* Nobody keeps up: the shared feed goes back to the laggard that is furthest on. */
static void hand_over(struct shard *shard)
{
    struct subscriber *subscriber, *best = NULL;
    if (count_active(shard, false))
        return;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber_is_active(subscriber) &&
            (!best || position_reaches(subscription_fed(best->subscription),
                                       subscription_fed(subscriber->subscription))))
            best = subscriber;
    if (!best)
        return;
    if (!position_reaches(&shard->shared.read, subscription_fed(best->subscription))) {
        shard->ended = false;
        start_feed(&shard->shared, subscription_fed(best->subscription), NULL);
    }
    join(best);
}

static void on_page_freed(void *user, struct page *page)
{
    struct feed *feed = user;
    struct shard *shard = feed->shard;
    size_t window = (size_t)shard->options.stream->window_bytes;
    CHECK(feed->live_bytes >= page->bytes);
    feed->live_bytes -= page->bytes;
    if (shard->shared.reader && !shard->stopping && feed->live_bytes <= window)
        serve_later(shard);
}

static void take_page(struct feed *feed, struct page *page)
{
    CHECK(feed->reading && page->count > 0 && !page->freed);
    CHECK(feed->read.kind != POSITION_FINISHED);
    const struct record *last = &page->records[page->count - 1];
    page->freed = on_page_freed;
    page->freed_user = feed;
    feed->live_bytes += page->bytes;
    feed->pages++;
    feed->read.kind = POSITION_AFTER;
    sequence_copy(feed->read.sequence, last->sequence);
    feed->read.record_time_ms = last->time_ms;
}

static void on_shared_page(void *user, struct page *page)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    struct position before = shard->shared.read;
    take_page(&shard->shared, page);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (!subscriber->lagging && subscriber_is_active(subscriber)) {
            gap_check(&shard->shared, subscriber, &before, page->records[0].sequence);
            if (subscriber->phase != SUBSCRIBER_HALTED)
                subscription_feed(subscriber->subscription, page);
        }
    shard->shared.gap = 0;
    if (timer_is_set(&shard->patience))
        serve_later(shard);
    /* A page more than the window may be on its way already; no further one is asked for. */
    bound_shared(shard);
    page_release(page);
}

static void on_shared_closed(void *user)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    log_info(shard->options.log, shard->subject, "shard %s is closed and read to its end", shard->id);
    gap_check_tip(&shard->shared); /* as the extra feed does */
    shard->ended = true;
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        if (!subscriber->lagging && subscriber_is_active(subscriber))
            subscription_ended(subscriber->subscription);
        subscriber_finish_if_done(subscriber);
    }
    serve_later(shard);
    shard->events.closed(shard->user, shard);
}

static void on_shared_tip(void *user, int64_t asked_ms)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    shard->shared.read = gap_check_tip(&shard->shared); /* so that nobody is told twice */
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (!subscriber->lagging && subscriber_is_active(subscriber))
            subscription_caught_up(subscriber->subscription, asked_ms);
}

static void on_shared_gap(void *user, const char *from, const char *to)
{
    struct shard *shard = user;
    gap_begin(&shard->shared, from, to);
}

static void on_extra_gap(void *user, const char *from, const char *to)
{
    struct shard *shard = user;
    gap_begin(&shard->extra, from, to);
}

static void on_missing(void *user)
{
    struct shard *shard = user;
    shard->events.missing(shard->user, shard);
}

/* ---- the extra feed ---- */

static void join_those_at(struct shard *shard, bool all_of_group)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber_is_active(subscriber) && subscriber->lagging && !is_full(subscriber) &&
            (all_of_group
                 ? subscriber_in_group(subscriber)
                 : position_reaches(&shard->shared.read, subscription_fed(subscriber->subscription))))
            join(subscriber);
}

static void on_extra_page(void *user, struct page *page)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    struct position before = shard->extra.read;
    take_page(&shard->extra, page);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber_is_active(subscriber) && subscriber->lagging &&
            position_reaches(&before, subscription_fed(subscriber->subscription)) && !is_full(subscriber)) {
            gap_check(&shard->extra, subscriber, &before, page->records[0].sequence);
            if (subscriber->phase != SUBSCRIBER_HALTED)
                subscription_feed(subscriber->subscription, page);
        }
    shard->extra.gap = 0;
    join_those_at(shard, false);
    page_release(page);
    reader_pause(shard->extra.reader); /* until it is clear for whom it reads on */
    serve_later(shard);
}

static void on_extra_closed(void *user)
{
    struct shard *shard = user;
    gap_check_tip(&shard->extra);
    join_those_at(shard, true);
    shard->extra.reading = false;
    serve_later(shard);
}

/* Twice at the tip, and the shared feed delivered nothing between: all that it delivered was there to be read
 * the second time. */
static void on_extra_tip(void *user, int64_t asked_ms)
{
    struct shard *shard = user;
    (void)asked_ms;
    gap_check_tip(&shard->extra);
    if (shard->pages_at_tip == shard->shared.pages)
        join_those_at(shard, true);
    shard->pages_at_tip = shard->shared.pages;
    serve_later(shard);
}

static struct reader *new_reader(struct shard *shard, const char *purpose, const struct reader_events *events)
{
    const struct shard_options *options = &shard->options;
    struct reader *reader = reader_new(
        &(struct reader_options){
            .reactor = options->reactor,
            .source = options->source,
            .log = options->log,
            .subject = shard->subject,
            .stream_arn = shard->stream_arn,
            .shard = shard->id,
            .purpose = purpose,
            .batch_size = options->stream->batch_size,
            .poll_min_ms = options->stream->poll_min_ms,
            .poll_max_ms = options->stream->poll_max_ms,
            .troubles = options->troubles,
            .counters = stats_stream(options->stats, options->stream->name),
        },
        events, shard);
    if (shard->closed)
        reader_shard_closed(reader);
    return reader;
}

static void start_extra(struct shard *shard, struct subscriber *subscriber)
{
    static const struct reader_events events = {.page = on_extra_page,
                                                .gap = on_extra_gap,
                                                .closed = on_extra_closed,
                                                .caught_up = on_extra_tip,
                                                .missing = on_missing};
    CHECK(subscriber->lagging);
    if (!shard->extra.reader)
        shard->extra.reader = new_reader(shard, "(who is behind)", &events);
    shard->pages_at_tip = -1;
    start_feed(&shard->extra, subscription_fed(subscriber->subscription), subscriber->cursor);
    free(subscriber->cursor);
    subscriber->cursor = NULL;
}

static void stop_extra(struct shard *shard)
{
    reader_free(shard->extra.reader);
    shard->extra.reader = NULL;
    shard->extra.reading = false;
}

/* The laggard with room that the extra feed should go on with: one of the group, else the one furthest back.
 */
static struct subscriber *choose(struct shard *shard, bool *group)
{
    struct subscriber *subscriber, *best = NULL;
    *group = false;
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        if (!subscriber_is_active(subscriber) || !subscriber->lagging || is_full(subscriber))
            continue;
        if (subscriber_in_group(subscriber)) {
            *group = true;
            return subscriber;
        }
        if (!best || position_reaches(subscription_fed(subscriber->subscription),
                                      subscription_fed(best->subscription)))
            best = subscriber;
    }
    return best;
}

/* While the shared feed is behind itself, laggards get a page for so many of its own: those that keep up are
 * not to feel it. But they get one now and then whatever happens. */
static bool has_turn(struct shard *shard)
{
    struct reactor *reactor = shard->options.reactor;
    if (shard->ended || reader_at_tip(shard->shared.reader) ||
        shard->shared.pages - shard->pages_at_turn >= PAGES_PER_TURN || shard->pages_at_turn < 0) {
        shard->pages_at_turn = shard->shared.pages;
        timer_stop(reactor, &shard->patience);
        return true;
    }
    if (!timer_is_set(&shard->patience))
        timer_set(reactor, &shard->patience, PATIENCE_MS);
    return false;
}

static void on_impatient(void *user)
{
    struct shard *shard = user;
    shard->pages_at_turn = -1;
    serve_later(shard);
}

static void serve(void *user)
{
    struct shard *shard = user;
    bool group;
    if (shard->stopping)
        return;
    hand_over(shard);
    join_those_at(shard, false);
    bound_shared(shard);
    if (!count_active(shard, true)) {
        stop_extra(shard);
        return;
    }
    struct subscriber *next = choose(shard, &group);
    bool over = shard->extra.live_bytes > (size_t)shard->options.stream->window_bytes / 2;
    if (next && !group)
        start_extra(shard, next);
    if (next && !over && has_turn(shard))
        reader_resume(shard->extra.reader);
    else if (shard->extra.reader) {
        reader_pause(shard->extra.reader);
        hurry_those(shard, true);
    }
}

/* ---- placing ---- */

/* Everybody else is behind: they go on by themselves. */
static void overtake(struct subscriber *newcomer, const struct shard_start *start)
{
    struct shard *shard = newcomer->shard;
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber != newcomer && subscriber_is_active(subscriber) && !subscriber->lagging)
            lag(subscriber);
    start_feed(&shard->shared, &start->position, start->cursor);
}

void feeds_place(struct subscriber *subscriber, const struct shard_start *start)
{
    struct shard *shard = subscriber->shard;
    struct feed *shared = &shard->shared;
    const struct position *position = &start->position;
    bool alone = count_active(shard, false) <= 1; /* itself */
    CHECK(!subscriber->lagging && !subscriber->cursor);
    if (subscriber->last) {
        subscription_close_window(subscriber->subscription);
        subscriber_finish_if_done(subscriber);
        return;
    }
    if (!shared->reading || (alone && !position_reaches(&shared->read, position))) {
        shard->ended = false;
        start_feed(shared, position, start->cursor);
    } else if (position_reaches(&shared->read, position)) {
        if (!shard->ended && !reader_at_tip(shared->reader) && !position_same(&shared->read, position) &&
            !near(&shared->read, position))
            overtake(subscriber, start);
        if (shard->ended) {
            gap_check_end(subscriber);
            subscriber_finish_if_done(subscriber);
        }
    } else if (near(&shared->read, position) && !shared->pages) {
        start_feed(shared, position, NULL);
    } else {
        subscriber->cursor = mem_string(start->cursor);
        lag(subscriber);
    }
}

void feeds_review(struct shard *shard)
{
    serve_later(shard);
}

/* ---- life ---- */

void feeds_init(struct shard *shard)
{
    static const struct reader_events events = {.page = on_shared_page,
                                                .gap = on_shared_gap,
                                                .closed = on_shared_closed,
                                                .caught_up = on_shared_tip,
                                                .missing = on_missing};
    shard->shared.shard = shard->extra.shard = shard;
    shard->shared.reader = new_reader(shard, NULL, &events);
    task_init(&shard->serve, serve, shard);
    timer_init(&shard->patience, on_impatient, shard);
}

void feeds_fini(struct shard *shard)
{
    task_cancel(&shard->serve);
    timer_stop(shard->options.reactor, &shard->patience);
    stop_extra(shard);
    reader_free(shard->shared.reader);
    shard->shared.reader = NULL; /* freeing pages must not wake it */
}

void feeds_closed(struct shard *shard)
{
    shard->closed = true;
    reader_shard_closed(shard->shared.reader);
    if (shard->extra.reader)
        reader_shard_closed(shard->extra.reader);
}

void feeds_vanished(struct shard *shard)
{
    struct subscriber *subscriber;
    struct store_batch *batch = store_batch_new();
    CHECK(!shard->ended || shard->extra.reader);
    stop_extra(shard);
    reader_pause(shard->shared.reader);
    log_error(shard->options.log, shard->subject, "shard %s is gone: lost between %s and its end", shard->id,
              shard->shared.read.kind == POSITION_AFTER ? shard->shared.read.sequence : "its start");
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        if (!subscriber_is_active(subscriber) || (shard->ended && !subscriber->lagging))
            continue;
        if (shard->options.stream->on_gap == GAP_STOP)
            gap_halt(subscriber);
        const struct position *fed = subscription_fed(subscriber->subscription);
        gap_put(subscriber, batch, fed->kind == POSITION_AFTER ? fed->sequence : "", "");
        subscriber->lagging = false;
    }
    store_commit(shard->options.store, batch, NULL, NULL);
    shard->ended = true;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscriber_finish_if_done(subscriber);
}

void feeds_stop(struct shard *shard)
{
    reader_pause(shard->shared.reader);
    stop_extra(shard);
    task_cancel(&shard->serve);
    timer_stop(shard->options.reactor, &shard->patience);
}
