/* batches.c: see batches.h. */
#include "dispatch/batches.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* Halves that wait: one for each time the batch was cut in two. */
#define RANGES_MAX 16

/* Records, as they came, for one call: what Lambda hands over at once. */
#define BATCH_BYTES_MAX ((size_t)6 << 20)

struct range {
    size_t from, to;
};

struct batch {
    struct list link;
    struct batches *batches;
    struct ledger *ledger;
    enum handler_kind kind; /* that it was made for */
    struct entry **entries; /* in shard order */
    size_t count, bytes;
    bool suspended;                  /* between two of its calls others have their turn */
    struct range ranges[RANGES_MAX]; /* still to run, the next one last */
    size_t range_count;
    /* what runs */
    struct range chosen;
    struct handler_input *inputs;
    struct handler_call call;
    struct handler_window window;
    struct handler *handler; /* of the invocation */
    struct invocation *invocation;
    struct span span;
};

static void batch_free(struct batch *batch)
{
    CHECK(!batch->invocation && !batch->suspended);
    list_remove(&batch->link);
    free(batch->entries);
    free(batch->inputs);
    free(batch);
}

/* ---- making ---- */

static int by_order(const void *a, const void *b)
{
    int64_t x = entry_order(*(struct entry *const *)a), y = entry_order(*(struct entry *const *)b);
    return (x > y) - (x < y);
}

static bool belongs(const struct ledger *ledger, const struct entry *entry)
{
    return !ledger_has_windows(ledger) || window_holds(&ledger->window, ledger_window_time(ledger, entry));
}

static void take(struct batch *batch, struct entry *entry)
{
    batch->bytes += entry->record->json->size;
    ledger_start(batch->ledger, entry);
    batch->entries[batch->count++] = entry;
}

/* May it go with the others? */
static bool fits(const struct batch *batch, const struct entry *entry)
{
    const struct block *block = entry->block;
    return belongs(batch->ledger, entry) && !block->hold && !block->dropped &&
           ledger_is_due(batch->ledger, entry) && batch->bytes + entry->record->json->size <= BATCH_BYTES_MAX;
}

/* The heads of the lanes that are ready, each with what stands behind it; the first was found fit already,
 * and is, though the clock was set back since. */
static void fill(struct batch *batch, size_t count_max)
{
    struct ledger *ledger = batch->ledger;
    struct lane_entry *next;
    while (batch->count < count_max && (next = lanes_peek(&ledger->lanes))) {
        if (batch->count && !fits(batch, list_entry(next, struct entry, lane)))
            break;
        next = lanes_next(&ledger->lanes);
        take(batch, list_entry(next, struct entry, lane));
        /* One behind it may still stand in another batch, from which this one was put back. */
        while (batch->count < count_max && next->next && !next->next->taken &&
               fits(batch, list_entry(next->next, struct entry, lane))) {
            next = lanes_next_behind(next);
            take(batch, list_entry(next, struct entry, lane));
        }
    }
    qsort(batch->entries, batch->count, sizeof *batch->entries, by_order);
}

static struct batch *batch_new(struct batches *batches)
{
    struct batch *batch = mem_zero(sizeof *batch);
    size_t count_max = (size_t)batches->ledger->settings.batch_size;
    batch->batches = batches;
    batch->ledger = batches->ledger;
    batch->kind = handler_kind(batch->ledger->options.handler);
    batch->entries = mem_alloc(count_max * sizeof *batch->entries);
    fill(batch, count_max);
    CHECK(batch->count > 0);
    batch->inputs = mem_alloc(batch->count * sizeof *batch->inputs);
    batch->ranges[batch->range_count++] = (struct range){0, batch->count};
    list_append(&batches->list, &batch->link);
    return batch;
}

/* ---- what came of it ---- */

/* It did not run on its own: that was no attempt. */
static void put_back(struct ledger *ledger, struct entry *entry)
{
    entry->attempts--;
    ledger_changed(ledger);
    ledger_put_back(ledger, entry);
}

static void succeed(struct ledger *ledger, struct entry *entry)
{
    ledger_observe(ledger, entry, OUTCOME_HANDLED, NULL);
    ledger->counters->handled++;
    ledger_settle_well(ledger, entry);
}

static void on_returned(struct batch *batch, struct handler_outcome *outcome)
{
    struct ledger *ledger = batch->ledger;
    if (batch->call.window) {
        window_take_state(&ledger->window, &outcome->state);
        ledger_changed(ledger);
    }
    CHECK(batch->chosen.to - batch->chosen.from == batch->call.count);
    for (size_t i = 0; i < batch->call.count; i++) {
        struct entry *entry = batch->entries[batch->chosen.from + i];
        enum handler_verdict verdict = outcome->verdicts ? outcome->verdicts[i] : VERDICT_HANDLED;
        if (!lanes_is_head(&entry->lane) || verdict == VERDICT_UNTOUCHED) /* behind one that failed */
            put_back(ledger, entry);
        else if (verdict == VERDICT_FAILED)
            attempts_failed(batch->batches->attempts, entry, attempt_given_back(ledger));
        else
            succeed(ledger, entry);
    }
}

static void bisect(struct batch *batch)
{
    struct range range = batch->chosen;
    size_t middle = range.from + (range.to - range.from) / 2;
    CHECK(batch->range_count + 2 <= RANGES_MAX);
    batch->ranges[batch->range_count++] = (struct range){middle, range.to};
    batch->ranges[batch->range_count++] = (struct range){range.from, middle};
}

static void on_raised(struct batch *batch, struct handler_outcome *outcome)
{
    struct ledger *ledger = batch->ledger;
    if (batch->call.count > 1) {
        log_debug(ledger->options.log, ledger->subject, "%s (%zu records; tried again in halves)",
                  outcome->error.text, batch->call.count);
        bisect(batch);
        return;
    }
    attempts_failed(batch->batches->attempts, batch->entries[batch->chosen.from], outcome->error);
    outcome->error = (struct handler_error){0};
}

static void on_ended(struct batch *batch, enum handler_result result, struct handler_outcome *outcome)
{
    ledger_time_call(batch->ledger, &batch->call, outcome);
    ledger_end_span(batch->ledger, batch->handler, &batch->span, batch->entries[batch->chosen.from],
                    (int64_t)batch->call.count, result == HANDLER_RETURNED ? NULL : outcome->error.text);
    if (result == HANDLER_RETURNED)
        on_returned(batch, outcome);
    else
        on_raised(batch, outcome);
    handler_outcome_fini(outcome);
    ledger_flush(batch->ledger);
}

/* ---- running ---- */

/* Is everything before the entry in its lane settled, or among those that run with it? */
static bool may_run(const struct batch *batch, const struct entry *entry)
{
    if (lanes_is_head(&entry->lane))
        return true;
    for (size_t i = batch->chosen.to; i-- > batch->chosen.from;)
        if (batch->entries[i]->lane.next == &entry->lane)
            return true;
    return false;
}

/* Of the range, what may run, moved together: not behind a record of the same item that failed. The others
 * are put back. */
static void choose(struct batch *batch, struct range range)
{
    batch->chosen = (struct range){range.from, range.from};
    for (size_t i = range.from; i < range.to; i++) {
        struct entry *entry = batch->entries[i];
        if (!may_run(batch, entry)) {
            put_back(batch->ledger, entry);
            continue;
        }
        batch->inputs[batch->chosen.to - range.from] =
            (struct handler_input){entry->record, entry->attempts, entry->block->redrive != 0,
                                   batch->ledger->options.replayed, NULL};
        CHECK(batch->chosen.to <= i && entry->state == ENTRY_STARTED);
        batch->entries[batch->chosen.to++] = entry;
    }
    batch->call.count = batch->chosen.to - batch->chosen.from;
}

static void put_all_back(struct batch *batch)
{
    while (batch->range_count) {
        struct range range = batch->ranges[--batch->range_count];
        for (size_t i = range.from; i < range.to; i++)
            put_back(batch->ledger, batch->entries[i]);
    }
    batch_free(batch);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome);

/* One for the call, in the trace of its first record that is in any. */
static void begin_span(struct batch *batch)
{
    const struct ledger *ledger = batch->ledger;
    batch->span = (struct span){0};
    for (size_t i = 0; i < batch->call.count && !batch->span.sampled; i++)
        ledger_begin_span(ledger, batch->handler, &batch->span, batch->inputs[i].record);
    for (size_t i = 0; batch->span.sampled && i < batch->call.count; i++)
        batch->inputs[i].trace = &batch->span.place;
}

static enum handler_result call(struct batch *batch, struct handler_outcome *outcome)
{
    struct ledger *ledger = batch->ledger;
    batch->call.inputs = batch->inputs;
    batch->call.source = &ledger->options.source;
    batch->call.window = NULL;
    if (ledger_has_windows(ledger)) {
        batch->window = window_of_call(&ledger->window, false);
        batch->call.window = &batch->window;
    }
    batch->handler = ledger->options.handler;
    begin_span(batch);
    batch->call.begun_us = ledger_begin_call(ledger);
    return handler_run(batch->handler, &batch->call, on_done, batch, &batch->invocation, outcome);
}

/* Does the handler still take records as when the batch was made, in a window that is still there? */
static bool is_current(const struct batch *batch)
{
    const struct ledger *ledger = batch->ledger;
    return batch->kind == handler_kind(ledger->options.handler) &&
           (!ledger_has_windows(ledger) || ledger->window.phase != WINDOW_NONE);
}

/* Range after range, until one waits or all are done. When another version of the script takes its records in
 * another way, they wait for their turn there. */
static void run(struct batch *batch)
{
    struct ledger *ledger = batch->ledger;
    while (batch->range_count && is_current(batch)) {
        struct handler_outcome outcome;
        choose(batch, batch->ranges[--batch->range_count]);
        if (!batch->call.count)
            continue;
        enum handler_result result = call(batch, &outcome);
        if (result == HANDLER_WAITING) {
            ledger_began_call(ledger);
            return;
        }
        on_ended(batch, result, &outcome);
        if (batch->range_count && ledger_slice_over(ledger)) {
            batch->suspended = true;
            ledger_began_call(ledger);
            task_defer(ledger->options.reactor, &ledger->work);
            return;
        }
    }
    put_all_back(batch);
}

static void resume(struct batch *batch)
{
    struct ledger *ledger = batch->ledger;
    CHECK(batch->suspended);
    batch->suspended = false;
    ledger_ended_call(ledger);
    if (ledger->stopping)
        put_all_back(batch);
    else
        run(batch);
}

/* Those that made room for others go on. */
static void resume_suspended(struct batches *batches)
{
    struct batch *batch;
    list_each(batch, &batches->list, struct batch, link) {
        if (!batch->suspended)
            continue;
        resume(batch);
        if (ledger_slice_over(batches->ledger))
            return;
    }
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct batch *batch = user;
    struct ledger *ledger = batch->ledger;
    CHECK(batch->invocation && !batch->suspended);
    batch->invocation = NULL;
    ledger_ended_call(ledger);
    on_ended(batch, result, outcome);
    ledger_begin_slice(ledger);
    if (ledger->stopping)
        put_all_back(batch);
    else
        run(batch);
    ledger_wake(ledger);
}

/* ---- the queue ---- */

/* May a batch that is not full start? */
static bool may_start(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    const struct handler_settings *settings = &ledger->settings;
    if (ledger_waiting(ledger) >= (size_t)settings->batch_size || !settings->batch_window_ms ||
        ledger->waiting_bytes >= BATCH_BYTES_MAX || batches->fill_over)
        return true;
    if (!timer_is_set(&batches->fill))
        timer_set(ledger->options.reactor, &batches->fill, settings->batch_window_ms);
    return false;
}

static size_t batches_max(const struct ledger *ledger)
{
    int64_t count = ledger->settings.concurrency / ledger->settings.batch_size;
    return ledger_is_serial(ledger) || count < 1 ? 1 : (size_t)count;
}

/* Take from the head of the lanes what goes in no batch: what a new version of the script does not want, what
 * is tried again later, and what only keeps others of its item out. */
static bool take_apart(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    struct lane_entry *next = lanes_peek(&ledger->lanes);
    struct entry *entry = next ? list_entry(next, struct entry, lane) : NULL;
    bool held = entry && (entry->block->hold || entry->block->dropped);
    if (!entry || (!held && ledger_is_due(ledger, entry) && !ledger_is_unwanted(ledger, entry)))
        return false;
    ledger_start(ledger, list_entry(lanes_next(&ledger->lanes), struct entry, lane));
    entry->attempts--;
    if (!ledger_holds(ledger, entry))
        attempts_begin(batches->attempts, entry); /* which may leave it out */
    return true;
}

/* Is there something for another batch, and may it run now? */
static bool may_run_next(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    const struct lane_entry *next = lanes_peek(&ledger->lanes);
    return next && !window_is_over(&ledger->window) && may_start(batches) && ledger_has_room(ledger) &&
           (!ledger_has_windows(ledger) ||
            ledger_window_accepts(ledger, list_entry(next, const struct entry, lane))) &&
           ledger_in_pace(ledger);
}

static void start(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    while (ledger->running < batches_max(ledger)) {
        while (take_apart(batches))
            continue;
        if (ledger_slice_over(ledger)) {
            task_defer(ledger->options.reactor, &ledger->work);
            return;
        }
        if (!may_run_next(batches))
            return;
        run(batch_new(batches));
        batches->fill_over = false;
    }
}

void batches_work(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    resume_suspended(batches);
    if (handler_kind(ledger->options.handler) == HANDLER_RECORDS)
        return; /* another version of the script has no on_batch any more */
    start(batches);
    if (ledger->running && ledger->running >= batches_max(ledger))
        handler_hurry(ledger->options.handler);
    if (!ledger_waiting(ledger)) {
        timer_stop(ledger->options.reactor, &batches->fill);
        batches->fill_over = false;
    }
}

void batches_hurry(struct batches *batches)
{
    struct ledger *ledger = batches->ledger;
    if (!ledger_waiting(ledger) || batches->fill_over || ledger->stopping)
        return;
    batches->fill_over = true;
    ledger_wake(ledger);
}

/* ---- all of them ---- */

static void on_filled(void *user)
{
    struct batches *batches = user;
    batches->fill_over = true;
    ledger_wake(batches->ledger);
}

void batches_init(struct batches *batches, struct ledger *ledger, struct attempts *attempts)
{
    *batches = (struct batches){.ledger = ledger, .attempts = attempts};
    list_init(&batches->list);
    timer_init(&batches->fill, on_filled, batches);
}

void batches_stop(struct batches *batches)
{
    timer_stop(batches->ledger->options.reactor, &batches->fill);
}

void batches_put_back(struct batches *batches)
{
    struct batch *batch;
    list_each(batch, &batches->list, struct batch, link)
        if (batch->suspended)
            resume(batch);
}

static void abandon(struct batch *batch)
{
    if (batch->suspended) {
        resume(batch); /* which puts all back, since it stops */
        return;
    }
    CHECK(batch->invocation);
    handler_cancel(batch->handler, batch->invocation);
    batch->invocation = NULL;
    ledger_drop_span(batch->handler, &batch->span);
    ledger_ended_call(batch->ledger);
    for (size_t i = 0; i < batch->call.count; i++)
        ledger_put_back(batch->ledger, batch->entries[batch->chosen.from + i]);
    put_all_back(batch);
}

void batches_abandon(struct batches *batches)
{
    struct batch *batch;
    batches_stop(batches);
    list_each(batch, &batches->list, struct batch, link)
        abandon(batch);
}
