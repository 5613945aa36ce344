/* subscription.c: the queue between the pages that come in and the attempts, batches and windows that run. */
#include "dispatch/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "dispatch/internal.h"

/* How long handlers that never wait may keep the reactor from its other work. */
#define SLICE_MS_MAX 5

/* So many unsettled records are listed with an ordinary checkpoint; with the last one before a clean stop
 * all. */
#define OPEN_MAX 512

/* Emitted and not accepted, of all handlers on the reactor. */
#define EMITTED_BYTES_MAX ((size_t)64 << 20)
#define ROOM_MS 20

/* ---- what the other files need ---- */

int64_t subscription_wall_ms(const struct subscription *subscription)
{
    return clock_wall_ms(reactor_clock(subscription->options.reactor));
}

bool subscription_serial(const struct subscription *subscription)
{
    return subscription->settings.ordering == ORDERING_SHARD ||
           handler_kind(subscription->options.handler) == HANDLER_WINDOWS;
}

void subscription_observe(const struct subscription *subscription, const struct entry *entry,
                          enum outcome outcome, const char *error)
{
    const struct subscription_options *options = &subscription->options;
    if (!options->observer)
        return;
    options->observer->attempted(options->observer->user,
                                 &(struct observed){.handler = handler_name(options->handler),
                                                    .stream_arn = options->source.stream_arn,
                                                    .table = options->source.table,
                                                    .record = entry->record,
                                                    .attempt = entry->attempts,
                                                    .outcome = outcome,
                                                    .error = error});
}

void subscription_report_if_drained(struct subscription *subscription)
{
    if (subscription_drained(subscription))
        subscription->events.drained(subscription->user);
}

void subscription_keep_working(struct subscription *subscription)
{
    if (!subscription->working)
        task_defer(subscription->options.reactor, &subscription->work);
}

void subscription_begin_slice(struct subscription *subscription)
{
    subscription->slice_end_ms =
        clock_monotonic_ms(reactor_clock(subscription->options.reactor)) + SLICE_MS_MAX;
}

bool subscription_slice_over(const struct subscription *subscription)
{
    return clock_monotonic_ms(reactor_clock(subscription->options.reactor)) >= subscription->slice_end_ms;
}

void subscription_start_entry(struct subscription *subscription, struct entry *entry)
{
    CHECK(entry->state == ENTRY_WAITING);
    CHECK(subscription->waiting_bytes >= entry->record->json->size);
    entry->state = ENTRY_STARTED;
    subscription->waiting_bytes -= entry->record->json->size;
    entry->block->touched = true;
    subscription->started++;
    CHECK(subscription->started <= subscription->unsettled);
    if (handler_kind(subscription->options.handler) != HANDLER_RECORDS)
        entry->attempts++; /* else attempt_run counts */
}

void subscription_put_back(struct subscription *subscription, struct entry *entry)
{
    CHECK(entry->state >= ENTRY_STARTED && entry->state <= ENTRY_KEPT);
    CHECK(subscription->started > 0);
    entry->state = ENTRY_WAITING;
    subscription->started--;
    subscription->waiting_bytes += entry->record->json->size;
    lanes_put_back(&subscription->lanes, &entry->lane);
}

void subscription_settle(struct subscription *subscription, struct entry *entry)
{
    CHECK(entry->state >= ENTRY_STARTED && entry->state <= ENTRY_KEPT);
    CHECK(subscription->started > 0 && subscription->started <= subscription->unsettled);
    subscription->unsettled--;
    subscription->started--;
    lanes_done(&subscription->lanes, &entry->lane);
    watermark_settle(&subscription->watermark, entry);
}

void subscription_settle_well(struct subscription *subscription, struct entry *entry)
{
    struct block *block = entry->block;
    bool redriven = block->redrive != 0;
    subscription_settle(subscription, entry); /* which may free a block of the watermark */
    if (redriven)
        failure_forget_letter(subscription, block);
}

bool subscription_unwanted(const struct subscription *subscription, const struct entry *entry)
{
    return (entry->block->redrive || entry_order(entry) < subscription->asked_below) &&
           !handler_wants(subscription->options.handler, entry->record, &subscription->options.source);
}

/* ---- the queue ---- */

/* What runs is taken to emit what the handler emitted lately. */
bool subscription_has_room(struct subscription *subscription)
{
    const struct handler *handler = subscription->options.handler;
    if (!handler->emits_bytes || !handler->emitter || !handler->emitter->held_bytes)
        return true;
    size_t held = handler->emitter->held_bytes(handler->emitter);
    if (!subscription->running || held + subscription->running * handler->emits_bytes < EMITTED_BYTES_MAX)
        return true;
    handler_hurry(subscription->options.handler);
    if (!timer_is_set(&subscription->room))
        timer_set(subscription->options.reactor, &subscription->room, ROOM_MS);
    return false;
}

static void work_records(struct subscription *subscription)
{
    size_t concurrency = subscription_serial(subscription) ? 1 : (size_t)subscription->settings.concurrency;
    if (subscription->options.handler->pipelined)
        concurrency = SIZE_MAX; /* the window is its bound */
    subscription_begin_slice(subscription);
    while (subscription->running < concurrency && subscription_has_room(subscription)) {
        struct lane_entry *next = lanes_next(&subscription->lanes);
        if (!next)
            return;
        struct entry *entry = list_entry(next, struct entry, lane);
        subscription_start_entry(subscription, entry);
        if (subscription_holds(subscription, entry))
            continue;
        attempt_begin(attempt_new(subscription, entry));
        if (subscription_slice_over(subscription)) {
            task_defer(subscription->options.reactor, &subscription->work);
            return;
        }
    }
    handler_hurry(subscription->options.handler);
}

static bool over(const struct subscription *subscription);

static void tell_room(struct subscription *subscription)
{
    if (!subscription->full || over(subscription))
        return;
    subscription->full = false;
    subscription->events.room(subscription->user);
}

static void work(void *user)
{
    struct subscription *subscription = user;
    subscription->working = true;
    if (subscription->stopping)
        batches_put_back(subscription);
    else if (handler_kind(subscription->options.handler) == HANDLER_RECORDS)
        work_records(subscription);
    else
        batches_work(subscription);
    subscription->working = false;
    tell_room(subscription);
    subscription_report_if_drained(subscription);
}

/* There may be room by now. */
static void on_room(void *user)
{
    subscription_keep_working(user);
}

static void on_filled(void *user)
{
    struct subscription *subscription = user;
    subscription->fill_over = true;
    work(subscription);
}

/* ---- feeding ---- */

/* Is the record older than where a handler with start = latest begins? */
static bool too_old(const struct subscription *subscription, const struct record *record)
{
    int64_t since_ms = subscription->watermark.fed.since_ms;
    return since_ms && record->time_ms < since_ms - POSITION_MARGIN_MS;
}

static size_t first_unseen(const struct subscription *subscription, const struct page *page)
{
    const struct position *fed = &subscription->watermark.fed;
    size_t at = 0;
    if (fed->kind == POSITION_AFTER)
        while (at < page->count && sequence_compare(page->records[at].sequence, fed->sequence) <= 0)
            at++;
    return at;
}

static void into_lane(struct subscription *subscription, struct entry *entry)
{
    bool serial = subscription_serial(subscription);
    /* One that keeps the order itself has a lane for each record. */
    lanes_add(&subscription->lanes, &entry->lane,
              serial                                     ? 0
              : subscription->options.handler->pipelined ? hash_mix(++subscription->lone)
                                                         : entry->record->item);
}

static void queue(struct subscription *subscription, struct entry *entry)
{
    subscription->unsettled++;
    subscription->waiting_bytes += entry->record->json->size;
    into_lane(subscription, entry);
}

static void leave_out(struct entry *entry)
{
    entry->state = ENTRY_SETTLED;
    entry->block->settled++;
}

/* Into the lanes with what the handler wants; the rest is settled. */
static void queue_block(struct subscription *subscription, struct block *block)
{
    for (size_t i = 0; i < block->count; i++) {
        struct entry *entry = &block->entries[i];
        if (watermark_settled_before(&subscription->watermark, entry)) {
            block->touched = true;
            leave_out(entry);
        } else if (too_old(subscription, entry->record) ||
                   !handler_wants(subscription->options.handler, entry->record,
                                  &subscription->options.source)) {
            subscription->stats.left_out++;
            leave_out(entry);
        } else {
            block->touched = block->touched || entry->attempts;
            queue(subscription, entry);
        }
    }
}

void subscription_feed(struct subscription *subscription, struct page *page)
{
    size_t from = first_unseen(subscription, page);
    if (subscription->stopping || from == page->count)
        return;
    if (watermark_misses(&subscription->watermark, page->records[from].sequence))
        subscription->events.missed(subscription->user, page->records[from].sequence);
    struct block *block = watermark_add(&subscription->watermark, page, from);
    queue_block(subscription, block);
    watermark_added(&subscription->watermark, block);
    if (subscription->unsettled)
        subscription_keep_working(subscription);
    else
        subscription_report_if_drained(subscription);
}

void subscription_ended(struct subscription *subscription)
{
    if (!subscription->stopping && watermark_misses(&subscription->watermark, NULL))
        subscription->events.missed(subscription->user, "");
}

void subscription_hurry(struct subscription *subscription)
{
    handler_hurry(subscription->options.handler);
    if (subscription->unsettled == subscription->started || subscription->fill_over || subscription->stopping)
        return;
    subscription->fill_over = true; /* nothing can join what waits */
    subscription_keep_working(subscription);
}

bool subscription_redrive(struct subscription *subscription, struct page *page, int64_t letter, bool hold)
{
    if (subscription->stopping || page->count != 1)
        return false;
    struct block *block = block_of_redrive(page, letter, subscription_wall_ms(subscription));
    block->order = subscription->watermark.fed_count; /* behind what waits */
    block->hold = hold;
    /* In the order in which they came, also when they are queued anew: two letters that are held in several
     * shards must not wait for each other. */
    struct block **end = &subscription->redrives;
    while (*end)
        end = &(*end)->next;
    *end = block;
    queue(subscription, &block->entries[0]);
    subscription_keep_working(subscription);
    return true;
}

void subscription_end_redrive(struct subscription *subscription, struct block *block)
{
    int64_t letter = block->redrive;
    struct block **at = &subscription->redrives;
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    block_free(&subscription->watermark, block);
    subscription->events.redriven(subscription->user, letter);
}

bool subscription_holds(struct subscription *subscription, struct entry *entry)
{
    struct block *block = entry->block;
    if (block->dropped) {
        subscription_settle(subscription, entry);
        subscription_end_redrive(subscription, block);
        return true;
    }
    if (!block->hold)
        return false;
    subscription->events.held(subscription->user, block->redrive);
    return true;
}

bool subscription_release(struct subscription *subscription, int64_t letter, bool run)
{
    struct block *block = subscription->redrives;
    while (block && (block->redrive != letter || !block->hold))
        block = block->next;
    if (!block || subscription->stopping)
        return false;
    struct entry *entry = &block->entries[0];
    block->hold = false;
    if (entry->state == ENTRY_WAITING && run)
        return true;                     /* its turn will come */
    if (entry->state == ENTRY_WAITING) { /* not yet: it leaves the line when it comes to its end */
        block->dropped = true;
        return true;
    }
    if (run) {
        attempt_run(attempt_new(subscription, entry));
        return true;
    }
    subscription_settle(subscription, entry);
    subscription_end_redrive(subscription, block);
    subscription_keep_working(subscription);
    return true;
}

/* ---- bounds ---- */

/* A record that waits for another attempt is used by nobody. */
static bool busy(void *user, const struct entry *entry)
{
    struct subscription *subscription = user;
    struct attempt *attempt;
    if (entry->state != ENTRY_STARTED)
        return entry->state == ENTRY_KEPT;
    list_each(attempt, &subscription->attempts, struct attempt, link)
        if (attempt->entry == entry)
            return !timer_is_set(&attempt->backoff);
    return true;
}

static bool over(const struct subscription *subscription)
{
    return subscription->watermark.held_bytes > subscription->bytes_max || subscription->lanes.over;
}

bool subscription_full(struct subscription *subscription, size_t bytes_max)
{
    subscription->bytes_max = bytes_max;
    if (subscription->watermark.held_bytes > bytes_max && subscription->started <= OPEN_MAX)
        watermark_compact(&subscription->watermark, busy, subscription);
    subscription->full = over(subscription);
    if (subscription->full)
        subscription_hurry(subscription);
    return subscription->full;
}

static void drop(void *user, struct entry *entry)
{
    struct subscription *subscription = user;
    if (entry->lane.lane) /* else it was dropped with one before it */
        lanes_cut(&subscription->lanes, &entry->lane);
    subscription->unsettled--;
    subscription->waiting_bytes -= entry->record->json->size;
}

void subscription_cut(struct subscription *subscription)
{
    watermark_cut(&subscription->watermark, drop, subscription);
    /* Those out of the dead letters stood behind what was dropped. */
    for (struct block *block = subscription->redrives; block; block = block->next)
        if (block->entries[0].state == ENTRY_WAITING && !block->entries[0].lane.lane)
            into_lane(subscription, &block->entries[0]);
}

/* ---- life ---- */

struct subscription *subscription_new(const struct subscription_options *options,
                                      const struct position *start, const char *progress,
                                      const struct subscription_events *events, void *user)
{
    struct subscription *subscription = mem_zero(sizeof *subscription);
    subscription->options = *options;
    subscription->settings = *handler_settings_of(handler_hold(options->handler));
    subscription->events = *events;
    subscription->user = user;
    subscription->subject = mem_printf("handler %s", handler_name(options->handler));
    subscription->random = (uint64_t)clock_wall_ms(reactor_clock(options->reactor));
    watermark_init(&subscription->watermark, start, progress);
    window_read(subscription, progress);
    lanes_init(&subscription->lanes);
    subscription->lanes.count_max = subscription_serial(subscription) ? 0 : ITEM_RECORDS_MAX;
    list_init(&subscription->attempts);
    list_init(&subscription->batches);
    task_init(&subscription->work, work, subscription);
    timer_init(&subscription->fill, on_filled, subscription);
    timer_init(&subscription->room, on_room, subscription);
    return subscription;
}

void subscription_free(struct subscription *subscription)
{
    if (!subscription)
        return;
    subscription_abandon(subscription);
    task_cancel(&subscription->work);
    while (subscription->redrives)
        subscription_end_redrive(subscription, subscription->redrives);
    watermark_fini(&subscription->watermark);
    window_fini(subscription);
    handler_release(subscription->options.handler);
    lanes_fini(&subscription->lanes);
    free(subscription->forgotten);
    free(subscription->spare);
    free(subscription->subject);
    free(subscription);
}

/* What only keeps others out lets them in. */
static void abandon_held(struct subscription *subscription)
{
    for (struct block *block = subscription->redrives; block; block = block->next)
        if (block->hold && block->entries[0].state == ENTRY_STARTED)
            subscription_put_back(subscription, &block->entries[0]);
}

void subscription_stop(struct subscription *subscription)
{
    subscription->stopping = true;
    timer_stop(subscription->options.reactor, &subscription->fill);
    timer_stop(subscription->options.reactor, &subscription->room);
    abandon_held(subscription);
    attempts_stop(subscription);
    if (!window_runs(subscription))
        window_abandon(subscription);
    handler_hurry(subscription->options.handler);
    subscription_keep_working(subscription);
}

void subscription_replace_handler(struct subscription *subscription, struct handler *handler)
{
    handler_hold(handler);
    handler_release(subscription->options.handler);
    subscription->options.handler = handler;
    subscription->settings = *handler_settings_of(handler);
    subscription->asked_below = subscription->watermark.fed_count;
    subscription_keep_working(subscription); /* there may be more concurrency */
}

void subscription_abandon(struct subscription *subscription)
{
    subscription->stopping = true;
    timer_stop(subscription->options.reactor, &subscription->fill);
    timer_stop(subscription->options.reactor, &subscription->room);
    abandon_held(subscription);
    attempts_abandon(subscription);
    batches_abandon(subscription);
    window_abandon(subscription);
}

bool subscription_drained(const struct subscription *subscription)
{
    if (subscription->stopping)
        return subscription->started == 0 && !window_runs(subscription);
    return subscription->unsettled == 0 && !subscription->window.closing;
}

const struct position *subscription_fed(const struct subscription *subscription)
{
    return &subscription->watermark.fed;
}

bool subscription_checkpoint(struct subscription *subscription, bool whole, struct position *position,
                             struct buf *progress)
{
    bool changed = subscription->watermark.changed;
    buf_add_char(progress, '{');
    *position = watermark_write(&subscription->watermark, progress, whole ? SIZE_MAX : OPEN_MAX);
    window_write(subscription, progress);
    if (progress->size == 1)
        progress->size = 0, progress->data[0] = '\0';
    else
        buf_add_char(progress, '}');
    return changed;
}

const struct subscription_stats *subscription_stats(struct subscription *subscription)
{
    struct subscription_stats *stats = &subscription->stats;
    const struct attempt *attempt;
    stats->retrying = 0;
    list_each(attempt, &subscription->attempts, struct attempt, link)
        stats->retrying += timer_is_set(&attempt->backoff);
    stats->in_flight = (int64_t)subscription->started - stats->retrying;
    stats->retrying += timer_is_set(&subscription->window.backoff); /* its last call */
    stats->waiting = (int64_t)(subscription->unsettled - subscription->started);
    stats->oldest_ms = watermark_oldest_ms(&subscription->watermark);
    return stats;
}
