/* subscription.c: blocks of entries in shard order, lanes by item, attempts for what does not end at once. */
#include "dispatch/subscription.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dispatch/lanes.h"
#include "stream/record_json.h"

/* How long handlers that never wait may keep the reactor from its other work. */
#define SLICE_MS_MAX 5

enum entry_state {
    ENTRY_WAITING, /* for its turn */
    ENTRY_STARTED, /* runs, or waits for another attempt or for its dead letter */
    ENTRY_SETTLED,
    ENTRY_ABANDONED, /* given up while stopping: not settled, will be read again */
};

struct entry {
    struct lane_entry lane;
    const struct record *record;
    struct block *block;
    enum entry_state state;
};

/* The records of one page that the subscription took, in order. */
struct block {
    struct block *next;
    struct page *page;     /* NULL once all are settled */
    struct entry *entries; /* likewise */
    size_t count, settled;
    size_t first;  /* none before it is unsettled */
    int64_t order; /* of entries[0] among all that were fed */
    char last_sequence[SEQUENCE_SIZE];
    int64_t last_time_ms;
};

/* An entry that did not end at once. */
struct attempt {
    struct list link;
    struct subscription *subscription;
    struct entry *entry;
    int64_t number;                /* from 1 */
    struct invocation *invocation; /* while it runs */
    struct timer backoff;
};

struct subscription {
    struct subscription_options options;
    struct handler_settings settings; /* borrowed texts */
    void (*drained)(void *user);
    void *user;
    char *subject;
    struct lanes lanes;
    struct block *first, **end;
    struct list attempts;
    struct attempt *spare;
    struct task work;
    size_t running; /* invocations that wait for something */
    size_t unsettled;
    size_t started; /* of these, those that were started */
    int64_t fed_count;
    int64_t highest_started;
    int64_t asked_below; /* records fed before this one were asked for with an older script */
    bool stopping, working;
    struct position fed, position;
    bool moved;
    uint64_t random;
    struct subscription_stats stats;
};

static int64_t order_of(const struct entry *entry)
{
    return entry->block->order + (entry - entry->block->entries);
}

/* ---- settling ---- */

static void move_position(struct subscription *subscription, const char *sequence, int64_t time_ms)
{
    struct position *position = &subscription->position;
    assert(position->kind != POSITION_AFTER || sequence_compare(sequence, position->sequence) > 0);
    position->kind = POSITION_AFTER;
    memcpy(position->sequence, sequence, strlen(sequence) + 1);
    position->record_time_ms = time_ms;
    subscription->moved = true;
}

static void empty_block(struct block *block)
{
    free(block->entries);
    page_release(block->page);
    block->entries = NULL;
    block->page = NULL;
}

/* Move the position over everything that is settled without a hole. */
static void advance(struct subscription *subscription)
{
    struct block *block;
    while ((block = subscription->first)) {
        if (block->settled == block->count) {
            move_position(subscription, block->last_sequence, block->last_time_ms);
            subscription->first = block->next;
            if (!subscription->first)
                subscription->end = &subscription->first;
            empty_block(block);
            free(block);
            continue;
        }
        size_t before = block->first;
        while (block->entries[block->first].state == ENTRY_SETTLED)
            block->first++;
        if (block->first > before) {
            const struct record *record = block->entries[block->first - 1].record;
            move_position(subscription, record->sequence, record->time_ms);
        }
        return;
    }
}

static void settle(struct subscription *subscription, struct entry *entry)
{
    struct block *block = entry->block;
    assert(entry->state == ENTRY_STARTED);
    entry->state = ENTRY_SETTLED;
    subscription->unsettled--;
    subscription->started--;
    lanes_done(&subscription->lanes, &entry->lane);
    block->settled++;
    if (block == subscription->first)
        advance(subscription);
    else if (block->settled == block->count)
        empty_block(block); /* the block waits for those before it; its page need not */
}

static void report_if_drained(struct subscription *subscription)
{
    if (subscription_drained(subscription))
        subscription->drained(subscription->user);
}

static void keep_working(struct subscription *subscription)
{
    if (!subscription->working)
        task_defer(subscription->options.reactor, &subscription->work);
}

/* ---- attempts ---- */

static void on_backoff(void *user);

static struct attempt *attempt_new(struct subscription *subscription, struct entry *entry)
{
    struct attempt *attempt = subscription->spare ? subscription->spare : mem_alloc(sizeof *attempt);
    subscription->spare = NULL;
    *attempt = (struct attempt){.subscription = subscription, .entry = entry, .number = 1};
    timer_init(&attempt->backoff, on_backoff, attempt);
    list_append(&subscription->attempts, &attempt->link);
    return attempt;
}

static void attempt_free(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    timer_stop(subscription->options.reactor, &attempt->backoff);
    list_remove(&attempt->link);
    if (subscription->spare)
        free(attempt);
    else
        subscription->spare = attempt;
}

static void attempt_settle(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct subscription *subscription = attempt->subscription;
    attempt_free(attempt);
    settle(subscription, entry);
    keep_working(subscription);
}

/* While stopping: leave it unsettled, and with it all that stands behind it in its lane. */
static void attempt_abandon(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    attempt->entry->state = ENTRY_ABANDONED;
    subscription->started--;
    attempt_free(attempt);
    keep_working(subscription);
}

static int64_t wall_ms(const struct subscription *subscription)
{
    return clock_wall_ms(reactor_clock(subscription->options.reactor));
}

static void on_dead_letter_kept(void *user, const struct err *err)
{
    struct attempt *attempt = user;
    if (err)
        attempt_abandon(attempt); /* the store was closed first */
    else {
        attempt->subscription->stats.dead++;
        attempt_settle(attempt);
    }
}

static void keep_dead_letter(struct attempt *attempt, const struct script_error *error)
{
    struct subscription *subscription = attempt->subscription;
    const struct record *record = attempt->entry->record;
    const struct script_source *source = &subscription->options.source;
    struct buf json = BUF_INIT, keys = BUF_INIT;
    char *id = json_string_dup(json_get(record->json, "eventID"));
    record_write_json(&json, record, source->stream_arn);
    json_write_value(&keys, record->keys);
    struct store_batch *batch = store_batch_new();
    store_put_dead_letter(batch, &(struct store_dead_letter){
                                     .handler = script_name(subscription->options.script),
                                     .stream_arn = source->stream_arn,
                                     .shard = source->shard,
                                     .sequence = record->sequence,
                                     .event_id = id,
                                     .keys = keys.data,
                                     .record = json.data,
                                     .error = error->text,
                                     .traceback = error->traceback,
                                     .attempts = attempt->number,
                                     .record_time_ms = record->time_ms,
                                     .failed_ms = wall_ms(subscription),
                                 });
    store_commit(subscription->options.store, batch, on_dead_letter_kept, attempt);
    buf_fini(&json);
    buf_fini(&keys);
    free(id);
}

static void observe(const struct attempt *attempt, enum outcome outcome, const char *error)
{
    const struct subscription_options *options = &attempt->subscription->options;
    if (!options->observer)
        return;
    options->observer->attempted(options->observer->user,
                                 &(struct observed){.handler = script_name(options->script),
                                                    .stream_arn = options->source.stream_arn,
                                                    .table = options->source.table,
                                                    .record = attempt->entry->record,
                                                    .attempt = attempt->number,
                                                    .outcome = outcome,
                                                    .error = error});
}

static void give_up(struct attempt *attempt, const struct script_error *error)
{
    struct subscription *subscription = attempt->subscription;
    bool discard = strcmp(subscription->settings.on_failure, "discard") == 0;
    log_error(subscription->options.log, subscription->subject, "%s (record %s, attempt %lld; %s)",
              error->text, attempt->entry->record->sequence, (long long)attempt->number,
              discard ? "discarded" : "kept as a dead letter");
    observe(attempt, discard ? OUTCOME_DISCARDED : OUTCOME_DEAD, error->text);
    if (discard) {
        subscription->stats.discarded++;
        attempt_settle(attempt);
    } else {
        keep_dead_letter(attempt, error);
    }
}

/* Doubles from backoff[0] up to backoff[1]; between half and all of that, so that items that failed
 * together do not come back together. */
static int64_t backoff_ms(struct subscription *subscription, int64_t attempt)
{
    int64_t delay = subscription->settings.backoff_ms[0], most = subscription->settings.backoff_ms[1];
    for (int64_t i = 1; i < attempt && delay < most; i++)
        delay = delay ? delay * 2 : 1;
    delay = delay < most ? delay : most;
    subscription->random = hash_mix(subscription->random + 1);
    return delay - (int64_t)(subscription->random % (uint64_t)(delay / 2 + 1));
}

static void on_failed(struct attempt *attempt, struct script_error *error)
{
    struct subscription *subscription = attempt->subscription;
    const struct handler_settings *settings = &subscription->settings;
    int64_t age_ms = wall_ms(subscription) - attempt->entry->record->time_ms;
    bool last = error->permanent || (settings->retries >= 0 && attempt->number > settings->retries) ||
                (settings->max_age_ms >= 0 && age_ms > settings->max_age_ms);
    if (last) {
        give_up(attempt, error);
    } else if (subscription->stopping) {
        attempt_abandon(attempt);
    } else {
        int64_t delay = backoff_ms(subscription, attempt->number);
        log_warn(subscription->options.log, subscription->subject,
                 "%s (record %s, attempt %lld; again in %lld ms)", error->text,
                 attempt->entry->record->sequence, (long long)attempt->number, (long long)delay);
        observe(attempt, OUTCOME_RETRIED, error->text);
        subscription->stats.retried++;
        attempt->number++;
        timer_set(subscription->options.reactor, &attempt->backoff, delay);
    }
    script_error_fini(error);
}

static void on_handled(struct attempt *attempt)
{
    observe(attempt, OUTCOME_HANDLED, NULL);
    attempt->subscription->stats.handled++;
    attempt_settle(attempt);
}

static void on_done(void *user, enum script_result result, struct script_error *error)
{
    struct attempt *attempt = user;
    struct subscription *subscription = attempt->subscription;
    attempt->invocation = NULL;
    subscription->running--;
    if (result == SCRIPT_RETURNED) {
        on_handled(attempt);
    } else {
        on_failed(attempt, error);
    }
    keep_working(subscription);
}

static void run_attempt(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    struct script_error error = {0};
    if (order_of(attempt->entry) < subscription->asked_below &&
        !script_wants(subscription->options.script, attempt->entry->record, &subscription->options.source)) {
        subscription->stats.left_out++;
        attempt_settle(attempt);
        return;
    }
    enum script_result result =
        script_run(subscription->options.script, attempt->entry->record, &subscription->options.source,
                   attempt->number, on_done, attempt, &attempt->invocation, &error);
    if (result == SCRIPT_WAITING) {
        subscription->running++;
    } else if (result == SCRIPT_RETURNED) {
        on_handled(attempt);
    } else {
        on_failed(attempt, &error);
    }
}

/* Another attempt does not count towards `concurrency` while it waits, only while it runs; it may exceed it
 * by those that wake at the same moment. */
static void on_backoff(void *user)
{
    struct attempt *attempt = user;
    struct subscription *subscription = attempt->subscription;
    run_attempt(attempt);
    report_if_drained(subscription);
}

/* ---- the queue ---- */

static bool may_start(const struct subscription *subscription, const struct entry *entry)
{
    return !subscription->stopping || order_of(entry) < subscription->highest_started;
}

static void work(void *user)
{
    struct subscription *subscription = user;
    struct clock *clock = reactor_clock(subscription->options.reactor);
    int64_t end_ms = clock_monotonic_ms(clock) + SLICE_MS_MAX;
    size_t concurrency =
        subscription->settings.ordering == ORDERING_SHARD ? 1 : (size_t)subscription->settings.concurrency;
    subscription->working = true;
    while (subscription->running < concurrency) {
        struct lane_entry *next = lanes_next(&subscription->lanes);
        if (!next)
            break;
        struct entry *entry = list_entry(next, struct entry, lane);
        if (!may_start(subscription, entry))
            continue; /* its lane is not ready again: it stays */
        int64_t order = order_of(entry);
        if (order > subscription->highest_started)
            subscription->highest_started = order;
        entry->state = ENTRY_STARTED;
        subscription->started++;
        run_attempt(attempt_new(subscription, entry));
        if (clock_monotonic_ms(clock) >= end_ms) {
            task_defer(subscription->options.reactor, &subscription->work);
            break;
        }
    }
    subscription->working = false;
    report_if_drained(subscription);
}

/* Is the record older than where a handler with start = latest begins? */
static bool too_old(const struct subscription *subscription, const struct record *record)
{
    int64_t since_ms = subscription->fed.since_ms;
    return since_ms && record->time_ms < since_ms - POSITION_MARGIN_MS;
}

static void fed_up_to(struct subscription *subscription, const struct record *record)
{
    subscription->fed.kind = POSITION_AFTER;
    memcpy(subscription->fed.sequence, record->sequence, strlen(record->sequence) + 1);
    subscription->fed.record_time_ms = record->time_ms;
}

static size_t first_unseen(const struct subscription *subscription, const struct page *page)
{
    size_t at = 0;
    if (subscription->fed.kind == POSITION_AFTER)
        while (at < page->count &&
               sequence_compare(page->records[at].sequence, subscription->fed.sequence) <= 0)
            at++;
    return at;
}

/* Entries for those the handler wants; the others count as settled. */
static void fill_block(struct subscription *subscription, struct block *block, const struct record *records)
{
    for (size_t i = 0; i < block->count; i++) {
        struct entry *entry = &block->entries[i];
        const struct record *record = &records[i];
        *entry = (struct entry){.record = record, .block = block};
        if (too_old(subscription, record) ||
            !script_wants(subscription->options.script, record, &subscription->options.source)) {
            entry->state = ENTRY_SETTLED;
            block->settled++;
            subscription->stats.left_out++;
            continue;
        }
        subscription->unsettled++;
        lanes_add(&subscription->lanes, &entry->lane,
                  subscription->settings.ordering == ORDERING_SHARD ? 0 : record->item);
    }
}

void subscription_feed(struct subscription *subscription, struct page *page)
{
    size_t from = first_unseen(subscription, page);
    if (subscription->stopping || from == page->count)
        return;
    const struct record *last = &page->records[page->count - 1];
    struct block *block = mem_zero(sizeof *block);
    block->page = page_hold(page);
    block->count = page->count - from;
    block->order = subscription->fed_count;
    block->entries = mem_alloc(block->count * sizeof *block->entries);
    memcpy(block->last_sequence, last->sequence, strlen(last->sequence) + 1);
    block->last_time_ms = last->time_ms;
    subscription->fed_count += (int64_t)block->count;
    fill_block(subscription, block, page->records + from);
    fed_up_to(subscription, last);
    *subscription->end = block;
    subscription->end = &block->next;
    if (subscription->first == block)
        advance(subscription);
    else if (block->settled == block->count)
        empty_block(block);
    if (subscription->unsettled)
        keep_working(subscription);
    else
        report_if_drained(subscription);
}

/* ---- life ---- */

struct subscription *subscription_new(const struct subscription_options *options,
                                      const struct position *start, void (*drained)(void *user), void *user)
{
    struct subscription *subscription = mem_zero(sizeof *subscription);
    subscription->options = *options;
    subscription->settings = *script_settings(script_hold(options->script));
    subscription->drained = drained;
    subscription->user = user;
    subscription->subject = mem_printf("handler %s", script_name(options->script));
    subscription->fed = subscription->position = *start;
    subscription->end = &subscription->first;
    subscription->highest_started = -1;
    subscription->random = (uint64_t)clock_wall_ms(reactor_clock(options->reactor));
    lanes_init(&subscription->lanes);
    list_init(&subscription->attempts);
    task_init(&subscription->work, work, subscription);
    return subscription;
}

void subscription_free(struct subscription *subscription)
{
    if (!subscription)
        return;
    subscription_abandon(subscription);
    task_cancel(&subscription->work);
    for (struct block *block = subscription->first, *next; block; block = next) {
        next = block->next;
        empty_block(block);
        free(block);
    }
    script_release(subscription->options.script);
    lanes_fini(&subscription->lanes);
    free(subscription->spare);
    free(subscription->subject);
    free(subscription);
}

const char *subscription_handler(const struct subscription *subscription)
{
    return script_name(subscription->options.script);
}

void subscription_stop(struct subscription *subscription)
{
    struct attempt *attempt;
    subscription->stopping = true;
    list_each(attempt, &subscription->attempts, struct attempt, link)
        if (timer_is_set(&attempt->backoff))
            timer_set(subscription->options.reactor, &attempt->backoff, 0);
    keep_working(subscription);
}

void subscription_replace_script(struct subscription *subscription, struct script *script)
{
    script_hold(script);
    script_release(subscription->options.script);
    subscription->options.script = script;
    subscription->settings = *script_settings(script);
    subscription->asked_below = subscription->fed_count;
    keep_working(subscription); /* there may be more concurrency */
}

void subscription_abandon(struct subscription *subscription)
{
    struct attempt *attempt;
    subscription->stopping = true;
    subscription->highest_started = -1;
    list_each(attempt, &subscription->attempts, struct attempt, link) {
        if (attempt->invocation) {
            script_cancel(attempt->invocation);
            subscription->running--;
        }
        if (attempt->invocation || timer_is_set(&attempt->backoff))
            attempt_abandon(attempt);
        /* else its dead letter is on its way to the store, which will answer */
    }
}

bool subscription_drained(const struct subscription *subscription)
{
    if (subscription->stopping)
        return subscription->started == 0 && list_empty(&subscription->lanes.ready);
    return subscription->unsettled == 0;
}

const struct position *subscription_fed(const struct subscription *subscription)
{
    return &subscription->fed;
}

bool subscription_position(struct subscription *subscription, struct position *position)
{
    bool moved = subscription->moved;
    *position = subscription->position;
    subscription->moved = false;
    return moved;
}

const struct subscription_stats *subscription_stats(const struct subscription *subscription)
{
    return &subscription->stats;
}
