/* shard.c: pages from the reader to the subscriptions, within the window's bytes. */
#include "dispatch/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/subscription.h"
#include "stream/reader.h"

struct subscriber {
    struct list link;
    struct shard *shard;
    struct subscription *subscription;
    char *handler;
    bool finishing; /* its last checkpoint is on its way to the store, or there */
    bool leaving;   /* the handler was removed */
    bool gone;      /* finished: to be freed from the top of the stack */
};

struct shard {
    struct shard_options options;
    struct shard_events events;
    void *user;
    char *stream_arn, *id, *table, *subject;
    struct reader *reader;
    bool reading;         /* the reader was started */
    struct position read; /* where the reader is */
    struct list subscribers;
    size_t subscriber_count;
    size_t live_bytes; /* of pages that somebody still holds */
    bool ended;        /* no more pages will come */
    bool stopping;
    struct task sweep;       /* frees the subscribers that are gone */
    int64_t collected_calls; /* GetRecords calls when the store was last told */
};

/* ---- the end ---- */

static void on_finished(void *user, const struct err *err)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (err)
        return; /* the store was closed: it will be finished again */
    subscriber->gone = true;
    task_defer(shard->options.reactor, &shard->sweep);
    shard->events.finished(shard->user, shard, subscriber->handler);
}

static void on_left(void *user, const struct err *err)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (err)
        return;
    subscriber->gone = true;
    task_defer(shard->options.reactor, &shard->sweep);
    shard->events.left(shard->user, shard, subscriber->handler);
}

/* A removed handler has nothing under way any more: keep where it stands. */
static void leave_if_done(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    if (subscriber->finishing || !subscription_drained(subscriber->subscription))
        return;
    struct store_batch *batch = store_batch_new();
    struct store_checkpoint checkpoint = {subscriber->handler, shard->stream_arn, shard->id, {0}};
    if (subscription_position(subscriber->subscription, &checkpoint.position))
        store_put_checkpoint(batch, &checkpoint);
    subscriber->finishing = true;
    store_commit(shard->options.store, batch, on_left, subscriber);
}

/* The closed shard is settled to its end: make that durable, then say so. */
static void finish_if_done(struct subscriber *subscriber)
{
    struct shard *shard = subscriber->shard;
    if (!shard->ended || shard->stopping || subscriber->finishing || subscriber->leaving ||
        !subscription_drained(subscriber->subscription))
        return;
    struct store_batch *batch = store_batch_new();
    struct store_checkpoint checkpoint = {subscriber->handler, shard->stream_arn, shard->id, {0}};
    subscription_position(subscriber->subscription, &checkpoint.position);
    checkpoint.position.kind = POSITION_FINISHED;
    store_put_checkpoint(batch, &checkpoint);
    subscriber->finishing = true;
    store_commit(shard->options.store, batch, on_finished, subscriber);
}

static void on_drained(void *user)
{
    struct subscriber *subscriber = user;
    struct shard *shard = subscriber->shard;
    if (!subscriber->subscription)
        return; /* still being made */
    if (shard->stopping) {
        if (shard_stopped(shard))
            shard->events.stopped(shard->user, shard);
    } else if (subscriber->leaving) {
        leave_if_done(subscriber);
    } else {
        finish_if_done(subscriber);
    }
}

static void subscriber_free(struct subscriber *subscriber)
{
    subscriber->shard->subscriber_count--;
    list_remove(&subscriber->link);
    subscription_free(subscriber->subscription);
    free(subscriber->handler);
    free(subscriber);
}

static void sweep(void *user)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (subscriber->gone)
            subscriber_free(subscriber);
}

static void end(struct shard *shard)
{
    struct subscriber *subscriber;
    shard->ended = true;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        finish_if_done(subscriber);
}

/* ---- pages ---- */

static void on_page_freed(void *user, struct page *page)
{
    struct shard *shard = user;
    shard->live_bytes -= page->bytes;
    if (shard->reader && !shard->stopping && !shard->ended &&
        shard->live_bytes <= (size_t)shard->options.stream->window_bytes)
        reader_resume(shard->reader);
}

static void on_page(void *user, struct page *page)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    const struct record *last = &page->records[page->count - 1];
    page->freed = on_page_freed;
    page->freed_user = shard;
    shard->live_bytes += page->bytes;
    shard->read.kind = POSITION_AFTER;
    sequence_copy(shard->read.sequence, last->sequence);
    shard->read.record_time_ms = last->time_ms;
    /* A page more than the window may be on its way already; no further one is asked for. */
    if (shard->live_bytes > (size_t)shard->options.stream->window_bytes)
        reader_pause(shard->reader);
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscription_feed(subscriber->subscription, page);
    page_release(page);
}

/* Only those handlers miss something that had not been fed beyond the gap already. */
static void on_gap(void *user, const char *from, const char *to)
{
    struct shard *shard = user;
    struct subscriber *subscriber;
    struct store_batch *batch = store_batch_new();
    log_error(shard->options.log, shard->subject,
              "shard %s: records were trimmed before they were read: lost between %s and %s", shard->id,
              *from ? from : "the start of the shard", *to ? to : "its end");
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        const struct position *fed = subscription_fed(subscriber->subscription);
        if (fed->kind == POSITION_AFTER && *to && sequence_compare(fed->sequence, to) >= 0)
            continue;
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
    store_commit(shard->options.store, batch, NULL, NULL);
}

static void on_closed(void *user)
{
    struct shard *shard = user;
    log_info(shard->options.log, shard->subject, "shard %s is closed and read to its end", shard->id);
    end(shard);
    shard->events.closed(shard->user, shard);
}

static void on_missing(void *user)
{
    struct shard *shard = user;
    shard->events.missing(shard->user, shard);
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
    shard->id = mem_string(options->id);
    shard->table = mem_string(options->table);
    shard->subject = mem_printf("stream %s", options->stream->name);
    list_init(&shard->subscribers);
    task_init(&shard->sweep, sweep, shard);
    shard->reader = reader_new(
        &(struct reader_options){
            .reactor = options->reactor,
            .source = options->source,
            .log = options->log,
            .subject = shard->subject,
            .stream_arn = options->stream_arn,
            .shard = options->id,
            .batch_size = options->stream->batch_size,
            .poll_min_ms = options->stream->poll_min_ms,
            .poll_max_ms = options->stream->poll_max_ms,
        },
        &(struct reader_events){.page = on_page, .gap = on_gap, .closed = on_closed, .missing = on_missing},
        shard);
    return shard;
}

void shard_free(struct shard *shard)
{
    struct subscriber *subscriber;
    if (!shard)
        return;
    reader_free(shard->reader);
    shard->reader = NULL; /* freeing pages must not wake it */
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        subscriber_free(subscriber);
    task_cancel(&shard->sweep);
    free(shard->stream_arn);
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
        if (!subscription_drained(subscriber->subscription))
            return false;
    return true;
}

size_t shard_subscription_count(const struct shard *shard)
{
    return shard->subscriber_count;
}

static bool same_position(const struct position *a, const struct position *b)
{
    return a->kind == b->kind && (a->kind != POSITION_AFTER || strcmp(a->sequence, b->sequence) == 0);
}

/* A handler that joins further back takes the reader with it; those that are ahead leave out what they
 * have seen. */
static void read_from(struct shard *shard, const struct position *position, const char *cursor)
{
    if (!shard->reading) {
        shard->read = *position;
        reader_start(shard->reader, position, cursor);
    } else {
        struct position earlier = position_earlier(&shard->read, position);
        if (same_position(&earlier, &shard->read) && !shard->ended)
            return;
        shard->read = earlier;
        reader_start(shard->reader, &earlier, NULL);
    }
    shard->reading = true;
    shard->ended = false;
}

void shard_subscribe(struct shard *shard, struct script *script, const struct position *position,
                     const char *cursor)
{
    struct subscriber *subscriber = mem_zero(sizeof *subscriber);
    subscriber->shard = shard;
    subscriber->handler = mem_string(script_name(script));
    list_append(&shard->subscribers, &subscriber->link);
    shard->subscriber_count++;
    subscriber->subscription = subscription_new(
        &(struct subscription_options){
            .reactor = shard->options.reactor,
            .store = shard->options.store,
            .log = shard->options.log,
            .observer = shard->options.observer,
            .script = script,
            .source = {shard->options.stream->name, shard->stream_arn, shard->table, shard->id},
        },
        position, on_drained, subscriber);
    read_from(shard, position, cursor);
}

static struct subscriber *find_subscriber(struct shard *shard, const char *handler)
{
    struct subscriber *subscriber;
    list_each(subscriber, &shard->subscribers, struct subscriber, link)
        if (strcmp(subscriber->handler, handler) == 0 && !subscriber->gone && !subscriber->leaving)
            return subscriber;
    return NULL;
}

void shard_replace_script(struct shard *shard, struct script *script)
{
    struct subscriber *subscriber = find_subscriber(shard, script_name(script));
    if (subscriber)
        subscription_replace_script(subscriber->subscription, script);
}

bool shard_unsubscribe(struct shard *shard, const char *handler)
{
    struct subscriber *subscriber = find_subscriber(shard, handler);
    if (!subscriber)
        return false;
    if (subscriber->finishing)
        return false; /* it has finished the shard: nothing is left to drain */
    subscriber->leaving = true;
    subscription_stop(subscriber->subscription);
    return true;
}

void shard_closed(struct shard *shard)
{
    reader_shard_closed(shard->reader);
}

void shard_vanished(struct shard *shard)
{
    if (shard->ended)
        return;
    on_gap(shard, shard->read.kind == POSITION_AFTER ? shard->read.sequence : "", "");
    reader_pause(shard->reader);
    end(shard);
}

void shard_collect(struct shard *shard, struct store_batch *batch, bool statistics)
{
    struct subscriber *subscriber;
    const struct reader_stats *stats = reader_stats(shard->reader);
    list_each(subscriber, &shard->subscribers, struct subscriber, link) {
        struct store_checkpoint checkpoint = {subscriber->handler, shard->stream_arn, shard->id, {0}};
        if (!subscriber->finishing && subscription_position(subscriber->subscription, &checkpoint.position))
            store_put_checkpoint(batch, &checkpoint);
    }
    if (!statistics || stats->get_records_calls == shard->collected_calls)
        return;
    shard->collected_calls = stats->get_records_calls;
    store_put_shard(batch, &(struct store_shard){
                               .stream_arn = shard->stream_arn,
                               .shard = shard->id,
                               .get_records_calls = stats->get_records_calls,
                               .records = stats->records,
                               .read_ms = stats->read_ms,
                               .caught_up_ms = stats->caught_up_ms,
                           });
}

void shard_stop(struct shard *shard)
{
    struct subscriber *subscriber;
    shard->stopping = true;
    reader_pause(shard->reader);
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
