/* shard.c: the subscriptions of a shard from their beginning to their end, and what the store is told of
 * them. */
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/mem.h"
#include "dispatch/feeds.h"
#include "dispatch/gaps.h"

/* ---- events of a subscription ---- */

/* Nothing of it is under way: it goes without another checkpoint. */
static void drop_if_drained(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    bool leaving = subscriber->phase == SUBSCRIBER_LEAVING;
    if (subscriber->phase >= SUBSCRIBER_ENDING || !subscription_drained(subscriber->subscription))
        return;
    subscriber->phase = SUBSCRIBER_GONE;
    task_defer(shard->options.reactor, &shard->sweep);
    if (leaving)
        shard->events.left(shard->user, shard, subscriber->handler);
}

static void on_drained(void *user)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (!subscriber->subscription)
        return; /* still being made */
    if (shard->lost) {
        drop_if_drained(subscriber);
    } else if (shard->stopping) {
        if (shard_stopped(shard))
            shard->events.stopped(shard->user, shard);
    } else if (subscriber->phase == SUBSCRIBER_LEAVING) {
        subscriber_leave_if_done(subscriber);
    } else {
        subscriber_finish_if_done(subscriber);
    }
}

static void on_room(void *user)
{
    struct subscriber *subscriber = user;
    feeds_review(subscriber->shard);
}

static bool on_missed(void *user, const char *to)
{
    struct subscriber *subscriber = user;
    gap_missed(subscriber, to);
    return subscriber->phase != SUBSCRIBER_HALTED;
}

static void on_redriven(void *user, int64_t letter)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (!shard->stopping || shard->lost) /* else nobody asks any more */
        shard->events.redriven(shard->user, shard, letter);
}

static void on_held(void *user, int64_t letter)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    shard->events.held(shard->user, shard, letter);
}

static void subscriber_free(struct subscriber *subscriber)
{
    CHECK(subscriber->shard->subscriber_count > 0);
    subscriber->shard->subscriber_count--;
    list_remove(&subscriber->link);
    if (subscriber->troubles_told) {
        char *subject = mem_printf("handler %s", subscriber->handler);
        troubles_end(subscriber->shard->options.troubles, subject, subscriber->shard->id);
        free(subject);
    }
    subscription_free(subscriber->subscription);
    free(subscriber->handler);
    free(subscriber->progress);
    free(subscriber->cursor);
    free(subscriber);
}

static void sweep(void *user)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber->phase == SUBSCRIBER_GONE)
            subscriber_free(subscriber);
    feeds_review(shard);
}

/* ---- life ---- */

struct shard *shard_new(const struct shard_options *options, const struct shard_events *events, void *user)
{
    struct shard *shard = mem_zero(sizeof *shard);
    shard->options = *options;
    config_hold(options->config);
    shard->events = *events;
    shard->user = user;
    shard->stream_arn = mem_string(options->stream_arn);
    shard->source_arn = service_arn(options->stream_arn);
    shard->id = mem_string(options->id);
    shard->table = mem_string(options->table);
    shard->subject = config_stream_subject(options->config, options->stream);
    list_init(&shard->subscribers);
    task_init(&shard->sweep, sweep, shard);
    feeds_init(shard);
    return shard;
}

void shard_free(struct shard *shard)
{
    struct subscriber *subscriber;
    if (!shard)
        return;
    shard->stopping = true;
    shard->lost = false; /* nobody is told anything any more */
    feeds_fini(shard);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscriber_free(subscriber);
    task_cancel(&shard->sweep);
    free(shard->stream_arn);
    free(shard->source_arn);
    free(shard->id);
    free(shard->table);
    config_release(shard->options.config);
    free(shard->subject);
    free(shard);
}

const char *shard_id(const struct shard *shard)
{
    return shard->id;
}

const char *shard_stream_arn(const struct shard *shard)
{
    return shard->stream_arn;
}

bool shard_drained(const struct shard *shard)
{
    struct subscriber *subscriber;
    list_each(subscriber, (struct list *)&shard->subscribers, struct subscriber, link)
        if (!subscription_drained(subscriber->subscription) || subscriber->lagging)
            return false;
    return true;
}

size_t shard_subscription_count(const struct shard *shard)
{
    return shard->subscriber_count;
}

void shard_subscribe(struct shard *shard, struct handler *handler, const struct shard_start *start)
{
    struct subscriber *subscriber = mem_zero(sizeof *subscriber);
    CHECK(!shard->stopping);
    subscriber->shard = shard;
    subscriber->handler = mem_string(handler_name(handler));
    subscriber->last = start->last;
    list_append(&shard->subscribers, &subscriber->link);
    shard->subscriber_count++;
    subscriber->subscription = subscription_new(
        &(struct subscription_options){
            .reactor = shard->options.reactor,
            .store = shard->options.store,
            .log = shard->options.log,
            .observer = shard->options.observer,
            .handler = handler,
            .counters =
                stats_handler(shard->options.stats, shard->options.stream->name, handler_name(handler)),
            .late_ms = shard->options.source->traits.late_ms(shard->stream_arn),
            .source = {shard->options.stream->name, shard->source_arn, shard->table, shard->id, start->epoch},
            .stream_arn = shard->stream_arn,
        },
        &start->position, start->progress,
        &(struct subscription_events){.drained = on_drained,
                                      .room = on_room,
                                      .missed = on_missed,
                                      .redriven = on_redriven,
                                      .held = on_held},
        subscriber);
    feeds_place(subscriber, start);
}

/* One that is not on its way out. */
static struct subscriber *find_subscriber(struct shard *shard, const char *handler)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (strcmp(subscriber->handler, handler) == 0 && subscriber->phase < SUBSCRIBER_LEAVING)
            return subscriber;
    return NULL;
}

void shard_replace_handler(struct shard *shard, struct handler *handler)
{
    struct subscriber *subscriber = find_subscriber(shard, handler_name(handler));
    if (subscriber)
        subscription_replace_handler(subscriber->subscription, handler);
}

bool shard_unsubscribe(struct shard *shard, const char *handler)
{
    struct subscriber *subscriber = find_subscriber(shard, handler);
    if (!subscriber)
        return false; /* or it has finished the shard: nothing is left to drain */
    subscriber->phase = SUBSCRIBER_LEAVING;
    subscription_stop(subscriber->subscription);
    feeds_review(shard);
    return true;
}

bool shard_redrive(struct shard *shard, const char *handler, int64_t letter, const char *record, bool hold)
{
    struct subscriber *subscriber = find_subscriber(shard, handler);
    struct buf body = BUF_INIT;
    struct err err;
    if (!subscriber)
        return false;
    buf_printf(&body, "{\"Records\":[%s]}", record);
    struct page *page = page_read(&body, &err);
    bool taken = page && subscription_redrive(subscriber->subscription, page, letter, hold);
    if (!page) {
        struct store_batch *batch = store_batch_new();
        log_error(shard->options.log, shard->subject, "dead letter %lld cannot be redriven: %s",
                  (long long)letter, err.text);
        store_mark_dead_letter(batch, letter, 0);
        store_commit(shard->options.store, batch, NULL, NULL);
    }
    page_release(page);
    buf_fini(&body);
    return taken;
}

bool shard_release(struct shard *shard, const char *handler, int64_t letter, bool run)
{
    struct subscriber *subscriber = find_subscriber(shard, handler);
    return subscriber && subscription_release(subscriber->subscription, letter, run);
}

void shard_closed(struct shard *shard)
{
    feeds_closed(shard);
}

void shard_vanished(struct shard *shard)
{
    if (!shard->ended || shard->extra.reader)
        feeds_vanished(shard);
}

/* ---- what is told ---- */

/* Why records wait, while they do. */
static void tell_troubles(struct subscriber *subscriber, const struct stats_subscription *now)
{
    struct shard *shard = subscriber->shard;
    const struct subscription_trouble *trouble = subscription_trouble(subscriber->subscription);
    char *subject = mem_printf("handler %s", subscriber->handler);
    if (!now->retrying)
        troubles_end(shard->options.troubles, subject, shard->id);
    else if (trouble->count != subscriber->troubles_told)
        troubles_tell(shard->options.troubles, subject, shard->id, trouble->text);
    subscriber->troubles_told = trouble->count;
    free(subject);
}

void shard_tell(struct shard *shard, const struct stats_sink *sink)
{
    struct subscriber *subscriber;
    struct stats_place place = {.stream = shard->options.stream->name,
                                .stream_arn = shard->stream_arn,
                                .shard = shard->id,
                                .of_stream = stats_stream(shard->options.stats, shard->options.stream->name),
                                .told = &shard->told};
    struct stats_shard reading = *reader_now(shard->shared.reader);
    reading.window_bytes = (int64_t)(shard->shared.live_bytes + shard->extra.live_bytes);
    if (place.of_stream)
        place.of_stream->retention_ms = shard->options.source->traits.retention_ms;
    if (sink->shard)
        sink->shard(sink->user, &place, &reading);
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        if (subscriber->phase >= SUBSCRIBER_ENDING)
            continue;
        struct stats_subscription now = subscription_now(subscriber->subscription);
        now.catching_up = subscriber->lagging;
        place.handler = subscriber->handler;
        place.counters = subscription_counters(subscriber->subscription);
        place.told = &subscriber->told;
        tell_troubles(subscriber, &now);
        if (sink->subscription)
            sink->subscription(sink->user, &place, &now);
    }
}

void shard_collect(struct shard *shard, struct store_batch *batch)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber->phase < SUBSCRIBER_ENDING)
            subscriber_put_checkpoint(subscriber, batch, shard->stopping, false);
}

/* ---- stopping ---- */

void shard_lose(struct shard *shard)
{
    struct subscriber *subscriber;
    shard->stopping = shard->lost = true;
    feeds_stop(shard);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscription_abandon(subscriber->subscription);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        drop_if_drained(subscriber);
}

void shard_stop(struct shard *shard)
{
    struct subscriber *subscriber;
    shard->stopping = true;
    feeds_stop(shard);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscription_stop(subscriber->subscription);
}

bool shard_stopped(const struct shard *shard)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (!subscription_drained(subscriber->subscription))
            return false;
    return true;
}

void shard_abandon(struct shard *shard)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscription_abandon(subscriber->subscription);
}
