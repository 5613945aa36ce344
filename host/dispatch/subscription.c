/* subscription.c: the queue between the pages that come in and the attempts, batches and windows that run. */
#include "dispatch/subscription.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "dispatch/attempts.h"
#include "dispatch/batches.h"
#include "dispatch/closing.h"
#include "dispatch/ledger.h"

/* Pages with more records than this in work are not worth copying. */
#define COMPACT_MAX 512

#define EMPTY_PAGES_MIN 10
#define EMPTY_MS_MIN 30000

struct subscription {
    struct ledger ledger;
    struct attempts attempts;
    struct batches batches;
    struct closing closing;
    int64_t empty_pages, empty_since_ms; /* in a row before anything was fed; monotonic */
    bool full;
    size_t bytes_max; /* when it was last asked whether it is full */
};

/* ---- the queue ---- */

static void work_records(struct subscription *subscription)
{
    struct ledger *ledger = &subscription->ledger;
    size_t concurrency = ledger_is_serial(ledger) ? 1 : (size_t)ledger->settings.concurrency;
    if (ledger->options.handler->pipelined)
        concurrency = SIZE_MAX; /* the window is its bound */
    ledger_begin_slice(ledger);
    while (ledger->running < concurrency && ledger_has_room(ledger)) {
        if (!ledger_may_start(ledger) || !ledger_in_pace(ledger))
            return;
        struct entry *entry = ledger_next(ledger);
        if (!entry)
            return;
        ledger_start(ledger, entry);
        bool holds = ledger_holds(ledger, entry);
        if (!holds)
            attempts_begin(&subscription->attempts, entry);
        ledger_began(ledger);
        if (holds)
            continue;
        if (ledger_slice_over(ledger)) {
            task_defer(ledger->options.reactor, &ledger->work);
            return;
        }
    }
    handler_hurry(ledger->options.handler);
}

/* May the last call of the window begin? What runs may still change its state. */
static bool must_close(const struct ledger *ledger)
{
    return ledger->window.phase == WINDOW_ENDED && (!ledger->running || !ledger_has_windows(ledger));
}

static void work_batches(struct subscription *subscription)
{
    struct ledger *ledger = &subscription->ledger;
    bool closed;
    ledger_begin_slice(ledger);
    do {
        batches_work(&subscription->batches);
        closed = must_close(ledger);
        if (closed)
            closing_begin(&subscription->closing);
    } while (closed && !window_is_over(&ledger->window) && !ledger_slice_over(ledger));
    if (closed && !window_is_over(&ledger->window))
        task_defer(ledger->options.reactor, &ledger->work);
}

static void tell_room(struct subscription *subscription);

static void report_if_drained(struct subscription *subscription)
{
    if (subscription_drained(subscription))
        subscription->ledger.events.drained(subscription->ledger.user);
}

/* Nobody below reports: whoever has done something wakes this. */
static void work(void *user)
{
    struct subscription *subscription = user;
    struct ledger *ledger = &subscription->ledger;
    CHECK(!ledger->working);
    ledger->working = true;
    if (ledger->stopping) {
        batches_put_back(&subscription->batches);
    } else {
        work_batches(subscription);
        if (handler_kind(ledger->options.handler) == HANDLER_RECORDS)
            work_records(subscription);
    }
    ledger->working = false;
    tell_room(subscription);
    report_if_drained(subscription);
}

/* ---- feeding ---- */

/* Is the record older than where a handler with start = latest begins? */
static bool too_old(const struct ledger *ledger, const struct record *record)
{
    int64_t since_ms = ledger->watermark.fed.since_ms;
    return since_ms && record->time_ms < since_ms - POSITION_MARGIN_MS;
}

static size_t first_unseen(const struct ledger *ledger, const struct page *page)
{
    const struct position *fed = &ledger->watermark.fed;
    size_t at = 0;
    if (fed->kind == POSITION_AFTER)
        while (at < page->count && sequence_compare(page->records[at].sequence, fed->sequence) <= 0)
            at++;
    return at;
}

static void leave_out(struct entry *entry)
{
    CHECK(entry->state == ENTRY_WAITING && entry->block->settled < entry->block->count);
    entry->state = ENTRY_SETTLED;
    entry->block->settled++;
}

/* Items of a page that has turns, of which something was queued; by the ends of their numbers, so that
 * sometimes another one counts as well. */
#define QUEUED_BITS 65536
struct queued {
    uint8_t bits[QUEUED_BITS / 8];
};

static bool is_queued(const struct queued *queued, uint64_t item)
{
    return queued && queued->bits[item % QUEUED_BITS / 8] & 1 << item % 8;
}

/* What was settled before the restart is not done again, unless an earlier change of its item is: its turn
 * was behind then, in another page. */
static void queue_entry(struct ledger *ledger, struct entry *entry, struct queued *queued)
{
    struct block *block = entry->block;
    uint64_t item = entry->record->item;
    if (watermark_settled_before(&ledger->watermark, entry) && !is_queued(queued, item)) {
        block->touched = true;
        leave_out(entry);
    } else if (too_old(ledger, entry->record) ||
               !handler_wants(ledger->options.handler, entry->record, &ledger->options.source)) {
        ledger->counters->left_out++;
        leave_out(entry);
    } else {
        block->touched = block->touched || entry->attempts;
        ledger_queue(ledger, entry);
        if (queued)
            queued->bits[item % QUEUED_BITS / 8] |= (uint8_t)(1 << item % 8);
    }
}

/* Into the lanes with what the handler wants, in the order of turns; the rest is settled. */
static void queue_block(struct ledger *ledger, struct block *block)
{
    const struct page *page = block->page;
    size_t from = page->count - block->count; /* those before it were fed already */
    struct queued *queued = page->turns ? mem_zero(sizeof *queued) : NULL;
    for (size_t i = page->turns ? 0 : from; i < page->count; i++) {
        size_t at = page->turns ? page->turns[i] : i;
        if (at >= from)
            queue_entry(ledger, &block->entries[at - from], queued);
    }
    free(queued);
}

void subscription_feed(struct subscription *subscription, struct page *page)
{
    struct ledger *ledger = &subscription->ledger;
    size_t from = first_unseen(ledger, page);
    if (ledger->stopping || from == page->count)
        return;
    if (watermark_misses(&ledger->watermark, page->records[from].sequence) &&
        !ledger->events.missed(ledger->user, page->records[from].sequence))
        return;
    CHECK(from < page->count);
    struct block *block = watermark_add(&ledger->watermark, page, from);
    queue_block(ledger, block);
    watermark_added(&ledger->watermark, block);
    if (ledger->unsettled)
        ledger_wake(ledger);
    else
        report_if_drained(subscription);
}

void subscription_ended(struct subscription *subscription)
{
    struct ledger *ledger = &subscription->ledger;
    if (!ledger->stopping && watermark_misses(&ledger->watermark, NULL))
        ledger->events.missed(ledger->user, "");
}

void subscription_hurry(struct subscription *subscription)
{
    handler_hurry(subscription->ledger.options.handler);
    batches_hurry(&subscription->batches);
}

/* ---- out of the dead letters ---- */

/* In the order in which they came, also when they are queued anew: two letters that are held in several
 * shards must not wait for each other. */
static void append_redrive(struct ledger *ledger, struct block *block)
{
    struct block **end = &ledger->redrives;
    while (*end)
        end = &(*end)->next;
    *end = block;
}

bool subscription_redrive(struct subscription *subscription, struct page *page, int64_t letter, bool hold)
{
    struct ledger *ledger = &subscription->ledger;
    if (ledger->stopping || page->count != 1)
        return false;
    struct block *block = block_of_redrive(page, letter, ledger_wall_ms(ledger));
    block->order = ledger->watermark.fed_count; /* behind what waits */
    block->hold = hold;
    append_redrive(ledger, block);
    ledger_queue(ledger, &block->entries[0]);
    ledger_wake(ledger);
    return true;
}

bool subscription_release(struct subscription *subscription, int64_t letter, bool run)
{
    struct ledger *ledger = &subscription->ledger;
    struct block *block = ledger->redrives;
    while (block && (block->redrive != letter || !block->hold))
        block = block->next;
    if (!block || ledger->stopping)
        return false;
    struct entry *entry = &block->entries[0];
    CHECK(block->count == 1);
    block->hold = false;
    if (entry->state == ENTRY_WAITING) { /* if not to run, it leaves the line when it comes to its end */
        block->dropped = !run;
        return true;
    }
    if (run) {
        attempts_run(&subscription->attempts, entry);
        return true;
    }
    ledger_settle(ledger, entry);
    ledger_end_redrive(ledger, block);
    ledger_wake(ledger);
    return true;
}

/* What only keeps others out lets them in. */
static void abandon_held(struct ledger *ledger)
{
    for (struct block *block = ledger->redrives; block; block = block->next)
        if (block->hold && block->entries[0].state == ENTRY_STARTED)
            ledger_put_back(ledger, &block->entries[0]);
}

/* ---- bounds ---- */

/* A record that waits for another attempt is used by nobody. */
static bool busy(void *user, const struct entry *entry)
{
    const struct subscription *subscription = user;
    if (entry->state != ENTRY_STARTED)
        return entry->state == ENTRY_KEPT;
    return !attempts_waits(&subscription->attempts, entry);
}

static bool over(const struct subscription *subscription)
{
    return subscription->ledger.watermark.held_bytes > subscription->bytes_max ||
           subscription->ledger.lanes.over || ledger_changes_rule(&subscription->ledger);
}

static void tell_room(struct subscription *subscription)
{
    if (!subscription->full || over(subscription))
        return;
    subscription->full = false;
    subscription->ledger.events.room(subscription->ledger.user);
}

bool subscription_full(struct subscription *subscription, size_t bytes_max)
{
    struct ledger *ledger = &subscription->ledger;
    subscription->bytes_max = bytes_max;
    if (ledger->watermark.held_bytes > bytes_max && ledger->started <= COMPACT_MAX)
        watermark_compact(&ledger->watermark, busy, subscription);
    subscription->full = over(subscription);
    if (subscription->full)
        subscription_hurry(subscription);
    return subscription->full;
}

void subscription_cut(struct subscription *subscription)
{
    ledger_cut(&subscription->ledger);
}

/* ---- windows ---- */

bool subscription_inherit(const char *parent_progress, struct buf *progress)
{
    struct window window;
    window_read(&window, parent_progress);
    bool open = window.phase != WINDOW_NONE;
    if (open) {
        buf_add_char(progress, '{');
        window_write(&window, progress);
        buf_add_char(progress, '}');
    }
    window_fini(&window);
    return open;
}

struct settled_ahead {
    struct watermark watermark;
};

struct settled_ahead *settled_ahead_new(const char *progress)
{
    struct settled_ahead *ahead = mem_zero(sizeof *ahead);
    watermark_init(&ahead->watermark, &(struct position){.kind = POSITION_TRIM_HORIZON}, progress);
    if (*ahead->watermark.through)
        return ahead;
    settled_ahead_free(ahead);
    return NULL;
}

void settled_ahead_free(struct settled_ahead *ahead)
{
    if (ahead)
        watermark_fini(&ahead->watermark);
    free(ahead);
}

bool settled_ahead_has(const struct settled_ahead *ahead, const struct record *record)
{
    struct entry entry = {.record = record};
    return watermark_settled_before(&ahead->watermark, &entry);
}

bool settled_ahead_ends(const struct settled_ahead *ahead, const struct record *record)
{
    return sequence_compare(record->sequence, ahead->watermark.through) > 0;
}

char *subscription_resume(const char *progress)
{
    return watermark_resume(progress);
}

/* What is waited for before a stop stays for the next start. */
static void end_window(struct ledger *ledger)
{
    if (ledger->window.phase != WINDOW_OPEN || ledger->stopping)
        return;
    window_end(&ledger->window);
    ledger_wake(ledger);
}

void subscription_close_window(struct subscription *subscription)
{
    end_window(&subscription->ledger);
}

/* An empty page says nothing: more may follow it, as long as the service walks through what was trimmed or
 * filtered. Many of them in a row, over a while, say that what was open before a restart is not there. */
static bool is_empty_for_long(struct subscription *subscription)
{
    const struct ledger *ledger = &subscription->ledger;
    if (ledger->watermark.fed.kind == POSITION_AFTER)
        return false;
    if (!subscription->empty_pages++)
        subscription->empty_since_ms = ledger_now_ms(ledger);
    return subscription->empty_pages >= EMPTY_PAGES_MIN &&
           ledger_now_ms(ledger) - subscription->empty_since_ms >= EMPTY_MS_MIN;
}

void subscription_caught_up(struct subscription *subscription, int64_t time_ms)
{
    struct ledger *ledger = &subscription->ledger;
    if (is_empty_for_long(subscription))
        subscription_ended(subscription);
    if (!ledger->unsettled && ledger_has_windows(ledger) &&
        time_ms >= ledger->window.end_ms + ledger->options.late_ms)
        end_window(ledger);
}

/* ---- life ---- */

struct subscription *subscription_new(const struct subscription_options *options,
                                      const struct position *start, const char *progress,
                                      const struct subscription_events *events, void *user)
{
    struct subscription *subscription = mem_zero(sizeof *subscription);
    ledger_init(&subscription->ledger, options, start, progress, events, user, work, subscription);
    attempts_init(&subscription->attempts, &subscription->ledger);
    batches_init(&subscription->batches, &subscription->ledger, &subscription->attempts);
    closing_init(&subscription->closing, &subscription->ledger);
    return subscription;
}

void subscription_free(struct subscription *subscription)
{
    if (!subscription)
        return;
    subscription_abandon(subscription);
    attempts_fini(&subscription->attempts);
    ledger_fini(&subscription->ledger);
    free(subscription);
}

static void begin_stopping(struct subscription *subscription)
{
    struct ledger *ledger = &subscription->ledger;
    ledger->stopping = true;
    timer_stop(ledger->options.reactor, &ledger->room);
    batches_stop(&subscription->batches);
    abandon_held(ledger);
}

void subscription_stop(struct subscription *subscription)
{
    struct ledger *ledger = &subscription->ledger;
    begin_stopping(subscription);
    attempts_stop(&subscription->attempts);
    if (!closing_runs(&subscription->closing))
        closing_abandon(&subscription->closing);
    handler_hurry(ledger->options.handler);
    ledger_wake(ledger);
}

void subscription_replace_handler(struct subscription *subscription, struct handler *handler)
{
    ledger_replace_handler(&subscription->ledger, handler);
}

void subscription_abandon(struct subscription *subscription)
{
    begin_stopping(subscription);
    attempts_abandon(&subscription->attempts);
    batches_abandon(&subscription->batches);
    closing_abandon(&subscription->closing);
}

bool subscription_drained(const struct subscription *subscription)
{
    const struct ledger *ledger = &subscription->ledger;
    if (ledger->stopping)
        return ledger->started == 0 && !closing_runs(&subscription->closing);
    return ledger->unsettled == 0 && !window_is_over(&ledger->window);
}

const struct position *subscription_fed(const struct subscription *subscription)
{
    return &subscription->ledger.watermark.fed;
}

bool subscription_checkpoint(struct subscription *subscription, bool whole, struct position *position,
                             struct buf *progress)
{
    return ledger_checkpoint(&subscription->ledger, whole, position, progress);
}

struct stats_subscription subscription_now(const struct subscription *subscription)
{
    const struct ledger *ledger = &subscription->ledger;
    int64_t retrying = (int64_t)attempts_waiting(&subscription->attempts);
    return (struct stats_subscription){
        .in_flight = (int64_t)ledger->started - retrying,
        .retrying = retrying + closing_waits(&subscription->closing),
        .waiting = (int64_t)ledger_waiting(ledger),
        .oldest_ms = watermark_oldest_ms(&ledger->watermark),
    };
}

struct stats_handler *subscription_counters(struct subscription *subscription)
{
    return subscription->ledger.counters;
}

const struct subscription_trouble *subscription_trouble(const struct subscription *subscription)
{
    return &subscription->ledger.trouble;
}
