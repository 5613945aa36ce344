/* watch.c: one reader for each shard of the stream. */
#include "source/snapshot/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "source/discovery.h"

#define BATCH_SIZE 1000

/* The children of a shard that has ended are looked for so long, before it is taken to have none. */
#define CHILDLESS_MS 15000

/* A record's time is rounded down to its second, at least. */
#define ROUNDED_MS 1000

struct part { /* of the stream: a shard */
    struct snapshot_watch *watch;
    struct reader *reader; /* NULL: it has ended */
    char *id;
    int64_t since_ms; /* older changes do not come by the stream; 0: all do */
    int64_t seen_ms;
    int64_t ended_ms; /* monotonic; 0: it has not */
};

struct snapshot_watch {
    struct snapshot_watch_options options;
    struct snapshot_name name;
    char *arn;
    struct discovery *discovery;
    struct progress progress;
    struct map parts;    /* shard -> struct part, owned */
    struct task sweep;   /* frees readers that have ended */
    struct timer review; /* of what may have moved on */
};

#define REVIEW_MS 1000

static int64_t now_ms(const struct snapshot_watch *watch)
{
    return reactor_now_ms(watch->options.reactor);
}

/* ---- how far ---- */

/* Nothing is missing of it any more: its children are known, or there will be none. */
static bool is_over(const struct part *part)
{
    const struct snapshot_watch *watch = part->watch;
    return part->ended_ms && (lineage_has_child(discovery_lineage(watch->discovery), part->id) ||
                              discovery_status(watch->discovery) == STREAM_DISABLED ||
                              now_ms(watch) - part->ended_ms > CHILDLESS_MS);
}

/* What all shards were looked through up to. One that waits for its parent stands behind it. */
static void tell_seen(struct snapshot_watch *watch)
{
    int64_t seen_ms = clock_wall_ms(reactor_clock(watch->options.reactor));
    size_t at = 0;
    if (!discovery_listed(watch->discovery))
        return;
    for (const struct part *part; (part = map_next(&watch->parts, &at, NULL));)
        if (!is_over(part) && part->seen_ms < seen_ms)
            seen_ms = part->seen_ms;
    snapshots_saw(watch->options.snapshots, watch->arn, seen_ms);
}

static void see(struct part *part, int64_t until_ms)
{
    if (part->seen_ms >= until_ms)
        return;
    part->seen_ms = until_ms;
    tell_seen(part->watch);
}

/* ---- what a reader tells ---- */

static void keep_change(const struct part *part, const struct record *record, struct buf *text)
{
    const struct snapshot_watch *watch = part->watch;
    if (part->since_ms && record->time_ms < part->since_ms - POSITION_MARGIN_MS)
        return;
    if (watch->options.settled(watch->options.user, part->id, record))
        return;
    buf_clear(text);
    if (record->old_image)
        json_write_value(text, record->old_image);
    snapshots_changed(watch->options.snapshots, watch->arn, record->item,
                      record->old_image ? text->data : NULL, text->size);
}

/* A shard's records come in the order in which they were written, and show up so much later. */
static int64_t late_ms(const struct snapshot_watch *watch)
{
    return watch->options.source->traits.late_ms(watch->name.stream_arn);
}

/* The service's clock is not ours. */
static int64_t ahead_ms(const struct snapshot_watch *watch)
{
    return clock_wall_ms(reactor_clock(watch->options.reactor)) -
           aws_client_service_now_ms(watch->options.client);
}

static void on_page(void *user, struct page *page)
{
    struct part *part = user;
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < page->count; i++)
        keep_change(part, &page->records[i], &text);
    buf_fini(&text);
    see(part,
        page->records[page->count - 1].time_ms + ahead_ms(part->watch) - late_ms(part->watch) - ROUNDED_MS);
    page_release(page);
}

static void on_caught_up(void *user, int64_t asked_ms)
{
    struct part *part = user;
    see(part, asked_ms - late_ms(part->watch));
}

static void on_gap(void *user, const char *from, const char *to)
{
    const struct part *part = user;
    (void)from;
    (void)to;
    log_warn(part->watch->options.log, part->watch->options.subject,
             "shard %s: records were trimmed while the table is read: an item that they are about may reach "
             "the handler newer than the changes that follow it",
             part->id);
}

static void on_closed(void *user)
{
    struct part *part = user;
    struct snapshot_watch *watch = part->watch;
    part->ended_ms = now_ms(watch);
    progress_finish(&watch->progress, part->id);
    discovery_shard_closed(watch->discovery, part->id);
    task_defer(watch->options.reactor, &watch->sweep);
}

static void on_missing(void *user)
{
    struct part *part = user;
    discovery_now(part->watch->discovery);
}

/* ---- shards ---- */

static void part_free(struct part *part)
{
    reader_free(part->reader);
    free(part->id);
    free(part);
}

static void begin_part(struct snapshot_watch *watch, const char *shard)
{
    static const struct reader_events events = {.page = on_page,
                                                .gap = on_gap,
                                                .closed = on_closed,
                                                .caught_up = on_caught_up,
                                                .missing = on_missing};
    const struct snapshot_watch_options *options = &watch->options;
    struct position begin = options->begins(options->user, shard);
    if (begin.kind == POSITION_FINISHED) {
        progress_finish(&watch->progress, shard);
        return;
    }
    struct part *part = mem_zero(sizeof *part);
    *part = (struct part){.watch = watch, .id = mem_string(shard), .since_ms = begin.since_ms};
    part->reader = reader_new(
        &(struct reader_options){
            .reactor = options->reactor,
            .source = options->source,
            .log = options->log,
            .subject = options->subject,
            .stream_arn = watch->name.stream_arn,
            .shard = shard,
            .purpose = "(beside a snapshot)",
            .batch_size = BATCH_SIZE,
            .poll_min_ms = options->poll_min_ms,
            .poll_max_ms = options->poll_max_ms,
            .troubles = options->troubles,
        },
        &events, part);
    map_set(&watch->parts, shard, part);
    if (lineage_closed(discovery_lineage(watch->discovery), shard))
        reader_shard_closed(part->reader);
    reader_start(part->reader, &begin, NULL);
}

static void on_listed(void *user)
{
    struct snapshot_watch *watch = user;
    const struct lineage *lineage = discovery_lineage(watch->discovery);
    bool more = true;
    while (more) { /* what is finished before it begins makes room for its children */
        more = false;
        for (size_t i = 0; i < lineage_count(lineage); i++) {
            const char *shard = lineage_at(lineage, i)->id;
            struct part *part = map_get(&watch->parts, shard);
            if (part && part->reader && lineage_closed(lineage, shard))
                reader_shard_closed(part->reader);
            if (part || !lineage_ready(lineage, &watch->progress, shard))
                continue;
            begin_part(watch, shard);
            more = true;
        }
    }
    tell_seen(watch);
}

/* Nobody reads it to its end any more. */
static void on_gone(void *user, const char *shard)
{
    struct snapshot_watch *watch = user;
    struct part *part = map_get(&watch->parts, shard);
    if (!part || part->ended_ms)
        return;
    part->ended_ms = now_ms(watch);
    progress_finish(&watch->progress, shard);
    task_defer(watch->options.reactor, &watch->sweep);
}

static void on_missing_stream(void *user)
{
    (void)user; /* whoever follows it says so */
}

static int64_t interval_ms(void *user)
{
    const struct snapshot_watch *watch = user;
    return watch->options.discovery_ms;
}

static void sweep(void *user)
{
    struct snapshot_watch *watch = user;
    size_t at = 0;
    for (struct part *part; (part = map_next(&watch->parts, &at, NULL));)
        if (part->ended_ms && part->reader) {
            reader_free(part->reader);
            part->reader = NULL;
        }
    on_listed(watch);
}

static void review(void *user)
{
    struct snapshot_watch *watch = user;
    tell_seen(watch);
    timer_set(watch->options.reactor, &watch->review, REVIEW_MS);
}

/* ---- life ---- */

struct snapshot_watch *snapshot_watch_new(const struct snapshot_watch_options *options)
{
    struct snapshot_watch *watch = mem_zero(sizeof *watch);
    bool known = snapshot_name_read(options->arn, &watch->name);
    CHECK(known);
    watch->options = *options;
    watch->arn = mem_string(options->arn);
    watch->progress = PROGRESS_INIT;
    task_init(&watch->sweep, sweep, watch);
    timer_init(&watch->review, review, watch);
    timer_set(options->reactor, &watch->review, REVIEW_MS);
    snapshots_begin(options->snapshots, options->arn, watch->name.table, options->units, options->consistent);
    watch->discovery = discovery_new(
        &(struct discovery_options){
            .reactor = options->reactor,
            .source = options->source,
            .log = options->log,
            .subject = options->subject,
            .stream_arn = watch->name.stream_arn,
        },
        &(struct discovery_events){
            .interval_ms = interval_ms, .listed = on_listed, .gone = on_gone, .missing = on_missing_stream},
        watch);
    return watch;
}

void snapshot_watch_free(struct snapshot_watch *watch)
{
    size_t at = 0;
    if (!watch)
        return;
    snapshots_end(watch->options.snapshots, watch->arn);
    task_cancel(&watch->sweep);
    timer_stop(watch->options.reactor, &watch->review);
    for (struct part *part; (part = map_next(&watch->parts, &at, NULL));)
        part_free(part);
    map_fini(&watch->parts);
    progress_fini(&watch->progress);
    discovery_free(watch->discovery);
    snapshot_name_fini(&watch->name);
    free(watch->arn);
    free(watch);
}
