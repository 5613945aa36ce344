/* batches.c: records that go to on_batch or on_window together.
 *
 * What fails is isolated: records that on_batch gave back go on by themselves, and a call that raised is
 * repeated with each half of its records until the failing ones are alone; that costs no attempts. A record
 * behind a failed one of the same item waits for its turn again, whatever was said of it. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "dispatch/internal.h"

/* Halves that wait: one for each time the batch was cut in two. */
#define RANGES_MAX 16

/* Records, as they came, for one call: what Lambda hands over at once. */
#define BATCH_BYTES_MAX ((size_t)6 << 20)

struct range {
    size_t from, to;
};

struct batch {
    struct list link;
    struct subscription *subscription;
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
};

static void batch_free(struct batch *batch)
{
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

static bool belongs(const struct subscription *subscription, const struct entry *entry)
{
    return handler_kind(subscription->options.handler) != HANDLER_WINDOWS ||
           window_holds(subscription, window_time(subscription, entry));
}

static void take(struct batch *batch, struct entry *entry)
{
    batch->bytes += entry->record->json->size;
    subscription_start_entry(batch->subscription, entry);
    batch->entries[batch->count++] = entry;
}

/* May it go with the others? */
static bool fits(const struct batch *batch, const struct entry *entry)
{
    const struct block *block = entry->block;
    return belongs(batch->subscription, entry) && !block->hold && !block->dropped &&
           entry_is_due(batch->subscription, entry) &&
           (!batch->count || batch->bytes + entry->record->json->size <= BATCH_BYTES_MAX);
}

/* The heads of the lanes that are ready, each with what stands behind it. */
static void fill(struct batch *batch, size_t count_max)
{
    struct subscription *subscription = batch->subscription;
    struct lane_entry *next;
    while (batch->count < count_max && (next = lanes_peek(&subscription->lanes))) {
        if (!fits(batch, list_entry(next, struct entry, lane)))
            break;
        next = lanes_next(&subscription->lanes);
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

static struct batch *batch_new(struct subscription *subscription)
{
    struct batch *batch = mem_zero(sizeof *batch);
    size_t count_max = (size_t)subscription->settings.batch_size;
    batch->subscription = subscription;
    batch->entries = mem_alloc(count_max * sizeof *batch->entries);
    fill(batch, count_max);
    batch->inputs = mem_alloc(batch->count * sizeof *batch->inputs);
    batch->ranges[batch->range_count++] = (struct range){0, batch->count};
    list_append(&subscription->batches, &batch->link);
    return batch;
}

/* ---- what came of it ---- */

/* It did not run on its own: that was no attempt. */
static void put_back(struct subscription *subscription, struct entry *entry)
{
    entry->attempts--;
    subscription->watermark.changed = true;
    subscription_put_back(subscription, entry);
}

static void fail(struct entry *entry, struct subscription *subscription, struct handler_error error)
{
    attempt_failed(attempt_new(subscription, entry), &error);
}

static void succeed(struct entry *entry, struct subscription *subscription)
{
    subscription_observe(subscription, entry, OUTCOME_HANDLED, NULL);
    subscription->stats.handled++;
    subscription_settle_well(subscription, entry);
}

static void on_returned(struct batch *batch, struct handler_outcome *outcome)
{
    struct subscription *subscription = batch->subscription;
    if (batch->call.window)
        window_take_state(subscription, &outcome->state);
    for (size_t i = 0; i < batch->call.count; i++) {
        struct entry *entry = batch->entries[batch->chosen.from + i];
        enum handler_verdict verdict = outcome->verdicts ? outcome->verdicts[i] : VERDICT_HANDLED;
        if (!lanes_is_head(&entry->lane) || verdict == VERDICT_UNTOUCHED) /* behind one that failed */
            put_back(subscription, entry);
        else if (verdict == VERDICT_FAILED)
            fail(entry, subscription, attempt_given_back(subscription));
        else
            succeed(entry, subscription);
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
    struct subscription *subscription = batch->subscription;
    if (batch->call.count > 1) {
        log_debug(subscription->options.log, subscription->subject, "%s (%zu records; tried again in halves)",
                  outcome->error.text, batch->call.count);
        bisect(batch);
        return;
    }
    fail(batch->entries[batch->chosen.from], subscription, outcome->error);
    outcome->error = (struct handler_error){0};
}

static void on_ended(struct batch *batch, enum handler_result result, struct handler_outcome *outcome)
{
    if (result == HANDLER_RETURNED)
        on_returned(batch, outcome);
    else
        on_raised(batch, outcome);
    handler_outcome_fini(outcome);
    failure_flush(batch->subscription);
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
            put_back(batch->subscription, entry);
            continue;
        }
        batch->inputs[batch->chosen.to - range.from] =
            (struct handler_input){entry->record, entry->attempts, entry->block->redrive != 0,
                                   batch->subscription->options.replayed};
        batch->entries[batch->chosen.to++] = entry;
    }
    batch->call.count = batch->chosen.to - batch->chosen.from;
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome);

/* Range after range, until one waits or all are done. */
static void run(struct batch *batch)
{
    struct subscription *subscription = batch->subscription;
    while (batch->range_count) {
        struct handler_outcome outcome;
        choose(batch, batch->ranges[--batch->range_count]);
        if (!batch->call.count)
            continue;
        batch->call.inputs = batch->inputs;
        batch->call.source = &subscription->options.source;
        batch->call.window = NULL;
        if (handler_kind(subscription->options.handler) == HANDLER_WINDOWS)
            window_fill_call(subscription, &batch->window, &batch->call);
        batch->handler = subscription->options.handler;
        enum handler_result result =
            handler_run(batch->handler, &batch->call, on_done, batch, &batch->invocation, &outcome);
        if (result == HANDLER_WAITING) {
            subscription->running++;
            return;
        }
        on_ended(batch, result, &outcome);
        if (batch->range_count && subscription_slice_over(subscription)) {
            batch->suspended = true;
            subscription->running++;
            task_defer(subscription->options.reactor, &subscription->work);
            return;
        }
    }
    batch_free(batch);
}

static void put_all_back(struct batch *batch);

static void resume(struct batch *batch)
{
    struct subscription *subscription = batch->subscription;
    batch->suspended = false;
    subscription->running--;
    if (subscription->stopping)
        put_all_back(batch);
    else
        run(batch);
}

/* Those that made room for others go on. */
static void resume_suspended(struct subscription *subscription)
{
    struct batch *batch;
    list_each(batch, &subscription->batches, struct batch, link) {
        if (!batch->suspended)
            continue;
        resume(batch);
        if (subscription_slice_over(subscription))
            return;
    }
}

static void put_all_back(struct batch *batch)
{
    struct subscription *subscription = batch->subscription;
    while (batch->range_count) {
        struct range range = batch->ranges[--batch->range_count];
        for (size_t i = range.from; i < range.to; i++)
            put_back(subscription, batch->entries[i]);
    }
    batch_free(batch);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct batch *batch = user;
    struct subscription *subscription = batch->subscription;
    batch->invocation = NULL;
    subscription->running--;
    on_ended(batch, result, outcome);
    subscription_begin_slice(subscription);
    if (subscription->stopping)
        put_all_back(batch);
    else
        run(batch);
    subscription_keep_working(subscription);
}

/* ---- the queue ---- */

/* Records that wait for their turn; some of them behind others. */
static size_t waiting(const struct subscription *subscription)
{
    return subscription->unsettled - subscription->started;
}

/* May a batch that is not full start? */
static bool may_start(struct subscription *subscription)
{
    const struct handler_settings *settings = &subscription->settings;
    if (waiting(subscription) >= (size_t)settings->batch_size || !settings->batch_window_ms ||
        subscription->waiting_bytes >= BATCH_BYTES_MAX || subscription->fill_over)
        return true;
    if (!timer_is_set(&subscription->fill))
        timer_set(subscription->options.reactor, &subscription->fill, settings->batch_window_ms);
    return false;
}

static size_t batches_max(const struct subscription *subscription)
{
    int64_t count = subscription->settings.concurrency / subscription->settings.batch_size;
    return subscription_serial(subscription) || count < 1 ? 1 : (size_t)count;
}

/* Take from the head of the lanes what goes in no batch: what a new version of the script does not want, what
 * is tried again later, and what only keeps others of its item out. */
static bool take_apart(struct subscription *subscription)
{
    struct lane_entry *next = lanes_peek(&subscription->lanes);
    struct entry *entry = next ? list_entry(next, struct entry, lane) : NULL;
    bool held = entry && (entry->block->hold || entry->block->dropped);
    if (!entry || (!held && entry_is_due(subscription, entry) && !subscription_unwanted(subscription, entry)))
        return false;
    subscription_start_entry(subscription, list_entry(lanes_next(&subscription->lanes), struct entry, lane));
    entry->attempts--;
    if (!subscription_holds(subscription, entry))
        attempt_begin(attempt_new(subscription, entry)); /* which may leave it out */
    return true;
}

void batches_work(struct subscription *subscription)
{
    bool windows = handler_kind(subscription->options.handler) == HANDLER_WINDOWS;
    subscription_begin_slice(subscription);
    resume_suspended(subscription);
    while (subscription->running < batches_max(subscription)) {
        while (take_apart(subscription))
            continue;
        if (subscription_slice_over(subscription)) {
            task_defer(subscription->options.reactor, &subscription->work);
            break;
        }
        struct lane_entry *next = lanes_peek(&subscription->lanes);
        if (!next || window_busy(subscription) || !may_start(subscription) ||
            !subscription_has_room(subscription))
            break;
        if (windows &&
            !window_accepts(subscription, window_time(subscription, list_entry(next, struct entry, lane))))
            break;
        run(batch_new(subscription));
        subscription->fill_over = false;
    }
    if (subscription->running && subscription->running >= batches_max(subscription))
        handler_hurry(subscription->options.handler);
    if (!waiting(subscription)) {
        timer_stop(subscription->options.reactor, &subscription->fill);
        subscription->fill_over = false;
    }
}

void batches_put_back(struct subscription *subscription)
{
    struct batch *batch;
    list_each(batch, &subscription->batches, struct batch, link)
        if (batch->suspended)
            resume(batch);
}

void batches_abandon(struct subscription *subscription)
{
    struct batch *batch;
    list_each(batch, &subscription->batches, struct batch, link) {
        if (batch->suspended) {
            resume(batch); /* which puts all back, since it stops */
            continue;
        }
        handler_cancel(batch->handler, batch->invocation);
        subscription->running--;
        for (size_t i = 0; i < batch->call.count; i++)
            subscription_put_back(subscription, batch->entries[batch->chosen.from + i]);
        put_all_back(batch);
    }
}
