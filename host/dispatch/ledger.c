/* ledger.c: see ledger.h. */
#include "dispatch/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "record/item_key.h"

/* How long handlers that never wait may keep the reactor from its other work. */
#define SLICE_US_MAX 5000

/* So many unsettled records are listed with an ordinary checkpoint; with the last one before a clean stop
 * all. */
#define OPEN_MAX 512

/* Emitted and not accepted, of all handlers on the reactor. */
#define EMITTED_BYTES_MAX ((size_t)64 << 20)
#define ROOM_MS 20

/* More records of one item than this do not wait in memory. */
#define ITEM_RECORDS_MAX 4096

/* ---- what it is asked ---- */

int64_t ledger_wall_ms(const struct ledger *ledger)
{
    return clock_wall_ms(reactor_clock(ledger->options.reactor));
}

int64_t ledger_now_us(const struct ledger *ledger)
{
    return clock_monotonic_us(reactor_clock(ledger->options.reactor));
}

int64_t ledger_now_ms(const struct ledger *ledger)
{
    return reactor_now_ms(ledger->options.reactor);
}

bool ledger_has_windows(const struct ledger *ledger)
{
    return handler_kind(ledger->options.handler) == HANDLER_WINDOWS;
}

bool ledger_is_serial(const struct ledger *ledger)
{
    return ledger->settings.ordering == ORDERING_SHARD || ledger_has_windows(ledger);
}

size_t ledger_waiting(const struct ledger *ledger)
{
    CHECK(ledger->started <= ledger->unsettled);
    return ledger->unsettled - ledger->started;
}

bool ledger_is_due(const struct ledger *ledger, const struct entry *entry)
{
    return entry->due_ms <= ledger_wall_ms(ledger);
}

int64_t ledger_wait_ms(const struct ledger *ledger, int64_t due_ms)
{
    if (!due_ms)
        return 0;
    int64_t wait_ms = due_ms - ledger_wall_ms(ledger);
    int64_t most_ms = ledger->settings.backoff_ms[1];
    return wait_ms <= 0 ? 0 : wait_ms < most_ms ? wait_ms : most_ms;
}

int64_t ledger_backoff_ms(struct ledger *ledger, int64_t attempts)
{
    return backoff_ms(ledger->settings.backoff_ms, attempts, &ledger->random);
}

bool ledger_is_unwanted(const struct ledger *ledger, const struct entry *entry)
{
    return (entry->block->redrive || entry_order(entry) < ledger->asked_below) &&
           !handler_wants(ledger->options.handler, entry->record, &ledger->options.source);
}

void ledger_begin_slice(struct ledger *ledger)
{
    ledger->seen_us = ledger_now_us(ledger);
    ledger->slice_end_us = ledger->seen_us + SLICE_US_MAX;
    ledger->seen = true;
}

bool ledger_slice_over(struct ledger *ledger)
{
    if (!ledger->seen || !ledger->ended)
        ledger->seen_us = ledger_now_us(ledger);
    ledger->seen = true;
    ledger->ended = false;
    return ledger->seen_us >= ledger->slice_end_us;
}

/* What runs is taken to emit what the handler emitted lately. */
bool ledger_has_room(struct ledger *ledger)
{
    const struct handler *handler = ledger->options.handler;
    if (!handler->emits_bytes || !handler->emitter || !handler->emitter->ops->held_bytes)
        return true;
    size_t held = handler->emitter->ops->held_bytes(handler->emitter);
    if (!ledger->running || held + ledger->running * handler->emits_bytes < EMITTED_BYTES_MAX)
        return true;
    handler_hurry(ledger->options.handler);
    if (!timer_is_set(&ledger->room))
        timer_set(ledger->options.reactor, &ledger->room, ROOM_MS);
    return false;
}

int64_t ledger_pace_ms(const struct ledger *ledger)
{
    int64_t wait_us = ledger->settings.rate_ns ? pace_wait(ledger->options.handler->pace,
                                                           ledger->settings.rate_ns, ledger_now_us(ledger))
                                               : 0;
    return wait_us ? wait_us / 1000 + 1 : 0;
}

int64_t ledger_begin_call(struct ledger *ledger)
{
    int64_t now_us = ledger->working && ledger->seen ? ledger->seen_us : ledger_now_us(ledger);
    ledger->seen = false;
    pace_charge(ledger->options.handler->pace, ledger->settings.rate_ns, 1, now_us);
    return now_us;
}

bool ledger_in_pace(struct ledger *ledger)
{
    int64_t wait_ms = ledger_pace_ms(ledger);
    if (wait_ms && !timer_is_set(&ledger->room))
        timer_set(ledger->options.reactor, &ledger->room, wait_ms);
    return !wait_ms;
}

int64_t ledger_window_time(const struct ledger *ledger, const struct entry *entry)
{
    const struct window *window = &ledger->window;
    int64_t time_ms = entry->record->time_ms, oldest_ms;
    if (!entry->block->redrive)
        return time_ms;
    if (window->phase != WINDOW_NONE)
        return time_ms < window->end_ms ? time_ms : window->end_ms - 1;
    oldest_ms = watermark_oldest_ms(&ledger->watermark);
    return oldest_ms && oldest_ms < time_ms ? oldest_ms : time_ms;
}

bool ledger_window_accepts(struct ledger *ledger, const struct entry *entry)
{
    if (window_accepts(&ledger->window, ledger_window_time(ledger, entry),
                       ledger->settings.tumbling_window_ms))
        return true;
    ledger_wake(ledger);
    return false;
}

/* ---- what it is told ---- */

void ledger_wake(struct ledger *ledger)
{
    if (!ledger->working)
        task_defer(ledger->options.reactor, &ledger->work);
}

/* One that keeps the order itself has a lane for each record. */
static enum lane_rule rule_of(const struct ledger *ledger)
{
    return ledger_is_serial(ledger)             ? LANE_OF_SHARD
           : ledger->options.handler->pipelined ? LANES_OF_ONE
                                                : LANES_BY_ITEM;
}

bool ledger_changes_rule(const struct ledger *ledger)
{
    return ledger->unsettled && ledger->rule != rule_of(ledger);
}

static void set_rule(struct ledger *ledger)
{
    CHECK(!ledger->unsettled && !ledger->lanes.count && !ledger->line);
    ledger->rule = rule_of(ledger);
    ledger->lanes.count_max = ledger->rule == LANE_OF_SHARD ? 0 : ITEM_RECORDS_MAX;
}

static bool is_started(const struct entry *entry)
{
    return entry->state >= ENTRY_STARTED && entry->state <= ENTRY_KEPT;
}

/* The item that its lane is of. */
static uint64_t lane_item(struct ledger *ledger, const struct entry *entry)
{
    return ledger->rule == LANE_OF_SHARD  ? 0
           : ledger->rule == LANES_OF_ONE ? hash_mix(++ledger->lone)
                                          : entry->record->item;
}

static struct entry *take_from_line(struct ledger *ledger)
{
    struct entry *entry = ledger->line;
    CHECK(entry->state == ENTRY_WAITING && !entry->lane.lane && !entry->lane.taken);
    ledger->line = entry->lane.next ? list_entry(entry->lane.next, struct entry, lane) : NULL;
    entry->lane.next = NULL;
    return entry;
}

static void empty_line(struct ledger *ledger)
{
    while (ledger->line) {
        struct entry *entry = take_from_line(ledger);
        lanes_add(&ledger->lanes, &entry->lane, lane_item(ledger, entry));
    }
}

void ledger_queue_again(struct ledger *ledger, struct entry *entry)
{
    CHECK(entry->state == ENTRY_WAITING && !entry->lane.lane && entry->record);
    if (handler_kind(ledger->options.handler) != HANDLER_RECORDS) {
        lanes_add(&ledger->lanes, &entry->lane, lane_item(ledger, entry));
        return;
    }
    entry->lane = (struct lane_entry){0};
    if (ledger->line)
        ledger->line_last->lane.next = &entry->lane;
    else
        ledger->line = entry;
    ledger->line_last = entry;
}

void ledger_queue(struct ledger *ledger, struct entry *entry)
{
    if (!ledger->unsettled)
        set_rule(ledger);
    ledger->unsettled++;
    ledger->waiting_bytes += entry->record->json->size;
    ledger_queue_again(ledger, entry);
}

bool ledger_may_start(const struct ledger *ledger)
{
    return ledger->line || lanes_peek(&ledger->lanes);
}

struct entry *ledger_next(struct ledger *ledger)
{
    struct lane_entry *next = lanes_next(&ledger->lanes);
    CHECK(!ledger->begins);
    if (next)
        return list_entry(next, struct entry, lane);
    while (ledger->line) {
        struct entry *entry = take_from_line(ledger);
        uint64_t item = ledger->lanes.count ? lane_item(ledger, entry) : 0;
        if (!lanes_have(&ledger->lanes, item)) {
            entry->lane.taken = true;
            ledger->begins = entry;
            return entry;
        }
        lanes_add(&ledger->lanes, &entry->lane, item);
    }
    return NULL;
}

/* From here on others of its item may be looked at. */
void ledger_began(struct ledger *ledger)
{
    struct entry *entry = ledger->begins;
    if (!entry)
        return;
    CHECK(is_started(entry));
    ledger->begins = NULL;
    lanes_add_taken(&ledger->lanes, &entry->lane, lane_item(ledger, entry));
}

bool ledger_is_first(const struct ledger *ledger, const struct entry *entry)
{
    return entry == ledger->begins || lanes_is_head(&entry->lane);
}

void ledger_start(struct ledger *ledger, struct entry *entry)
{
    CHECK(entry->state == ENTRY_WAITING);
    CHECK(ledger->waiting_bytes >= entry->record->json->size);
    CHECK(entry->lane.taken);
    entry->state = ENTRY_STARTED;
    ledger->waiting_bytes -= entry->record->json->size;
    entry->block->touched = true;
    ledger->started++;
    CHECK(ledger->started <= ledger->unsettled);
    if (handler_kind(ledger->options.handler) != HANDLER_RECORDS)
        entry->attempts++; /* else attempt_run counts */
}

void ledger_put_back(struct ledger *ledger, struct entry *entry)
{
    CHECK(is_started(entry));
    CHECK(ledger->started > 0);
    entry->state = ENTRY_WAITING;
    ledger->started--;
    ledger->waiting_bytes += entry->record->json->size;
    if (entry == ledger->begins) {
        ledger->begins = NULL;
        lanes_add(&ledger->lanes, &entry->lane, lane_item(ledger, entry));
    } else {
        lanes_put_back(&ledger->lanes, &entry->lane);
    }
}

void ledger_settle(struct ledger *ledger, struct entry *entry)
{
    CHECK(is_started(entry));
    CHECK(ledger->started > 0 && ledger->started <= ledger->unsettled);
    ledger->unsettled--;
    ledger->started--;
    if (entry == ledger->begins)
        ledger->begins = NULL;
    else
        lanes_done(&ledger->lanes, &entry->lane);
    watermark_settle(&ledger->watermark, entry);
}

void ledger_settle_well(struct ledger *ledger, struct entry *entry)
{
    struct block *block = entry->block;
    bool redriven = block->redrive != 0;
    ledger_settle(ledger, entry); /* which may free a block of the watermark */
    if (!redriven)
        return;
    CHECK(block->count == 1 && block->settled == 1);
    mem_grow(&ledger->forgotten, &ledger->forgotten_capacity, ledger->forgotten_count,
             sizeof *ledger->forgotten);
    ledger->forgotten[ledger->forgotten_count++] = block;
}

bool ledger_holds(struct ledger *ledger, struct entry *entry)
{
    struct block *block = entry->block;
    if (block->dropped) {
        ledger_settle(ledger, entry);
        ledger_end_redrive(ledger, block);
        return true;
    }
    CHECK(entry->state == ENTRY_STARTED);
    if (!block->hold)
        return false;
    CHECK(block->redrive);
    ledger->events.held(ledger->user, block->redrive);
    return true;
}

void ledger_end_redrive(struct ledger *ledger, struct block *block)
{
    int64_t letter = block->redrive;
    CHECK(letter);
    struct block **at = &ledger->redrives;
    while (*at != block) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = block->next;
    block_free(&ledger->watermark, block);
    ledger->events.redriven(ledger->user, letter);
}

static void drop(void *user, struct entry *entry)
{
    struct ledger *ledger = user;
    CHECK(entry->state == ENTRY_WAITING && ledger->unsettled > ledger->started);
    if (entry->lane.lane) /* else it was dropped with one before it */
        lanes_cut(&ledger->lanes, &entry->lane);
    ledger->unsettled--;
    CHECK(ledger->waiting_bytes >= entry->record->json->size);
    ledger->waiting_bytes -= entry->record->json->size;
}

void ledger_cut(struct ledger *ledger)
{
    empty_line(ledger);
    watermark_cut(&ledger->watermark, drop, ledger);
    /* Those out of the dead letters stood behind what was dropped. */
    for (struct block *block = ledger->redrives; block; block = block->next)
        if (block->entries[0].state == ENTRY_WAITING && !block->entries[0].lane.lane)
            ledger_queue_again(ledger, &block->entries[0]);
}

void ledger_time_call(struct ledger *ledger, const struct handler_call *call,
                      const struct handler_outcome *outcome)
{
    int64_t ended_us = outcome->ended_us ? outcome->ended_us : ledger_now_us(ledger);
    ledger->seen_us = ended_us;
    ledger->seen = ledger->ended = true;
    stats_took(&ledger->counters->calls, ended_us - call->begun_us);
}

void ledger_begin_span(const struct ledger *ledger, struct handler *handler, struct span *span,
                       const struct record *record)
{
    span->sampled = false;
    if (handler->tracer)
        tracer_begin(handler->tracer, record, ledger->trace_seed, span);
    if (span->sampled)
        handler_hold(handler);
}

void ledger_drop_span(struct handler *handler, struct span *span)
{
    if (span->sampled)
        handler_release(handler);
    span->sampled = false;
}

void ledger_end_span(struct ledger *ledger, struct handler *handler, struct span *span,
                     const struct entry *entry, int64_t count, const char *error)
{
    const struct handler_source *source = &ledger->options.source;
    char attempt[24], records[24], unit[RECORD_UNIT_SIZE];
    if (!span->sampled)
        return;
    snprintf(attempt, sizeof attempt, "%lld", (long long)entry->attempts);
    snprintf(records, sizeof records, "%lld", (long long)count);
    char *name = mem_printf("handle %s", handler_name(handler));
    const struct span_attribute attributes[] = {{"tidemill.handler", handler_name(handler)},
                                                {"tidemill.handler.version", handler_version(handler)},
                                                {"tidemill.stream", source->stream},
                                                {"aws.dynamodb.table_names", source->table},
                                                {"tidemill.shard", source->shard},
                                                {"tidemill.sequence", record_unit(entry->record, unit)},
                                                {"tidemill.event", record_event_name(entry->record->event)},
                                                {"tidemill.attempt", attempt},
                                                {"tidemill.records", records},
                                                {NULL, NULL}};
    tracer_end(handler->tracer, span, name, SPAN_CONSUMER, error, attributes);
    free(name);
    handler_release(handler);
}

void ledger_began_call(struct ledger *ledger)
{
    ledger->running++;
}

void ledger_ended_call(struct ledger *ledger)
{
    CHECK(ledger->running > 0);
    ledger->running--;
}

void ledger_changed(struct ledger *ledger)
{
    ledger->watermark.changed = true;
}

enum log_level ledger_log_level(const struct ledger *ledger, enum log_level level)
{
    const struct observer *observer = ledger->options.observer;
    return observer && observer->tells ? LOG_DEBUG : level;
}

void ledger_observe(const struct ledger *ledger, const struct entry *entry, enum outcome outcome,
                    const char *error)
{
    const struct subscription_options *options = &ledger->options;
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

void ledger_keep_trouble(struct ledger *ledger, const char *text, const struct record *record)
{
    struct subscription_trouble *trouble = &ledger->trouble;
    char *key = record ? item_key_text(record->keys) : NULL;
    int first = (int)strcspn(text, "\n");
    snprintf(trouble->text, sizeof trouble->text, key ? "%.*s (item %s)" : "%.*s", first, text, key);
    for (char *at = trouble->text; (at = strpbrk(at, "\n\r")); at++)
        *at = ' ';
    utf8_trim(trouble->text);
    free(key);
    trouble->count++;
}

/* ---- what is kept ---- */

bool ledger_checkpoint(struct ledger *ledger, bool whole, struct position *position, struct buf *progress)
{
    bool changed = ledger->watermark.changed;
    CHECK(progress->size == 0);
    buf_add_char(progress, '{');
    *position = watermark_write(&ledger->watermark, progress, whole ? SIZE_MAX : OPEN_MAX);
    window_write(&ledger->window, progress);
    if (progress->size == 1)
        progress->size = 0, progress->data[0] = '\0';
    else
        buf_add_char(progress, '}');
    return changed;
}

void ledger_put_checkpoint(struct ledger *ledger, struct store_batch *batch)
{
    const struct handler_source *source = &ledger->options.source;
    struct buf progress = BUF_INIT;
    struct store_checkpoint checkpoint = {
        handler_name(ledger->options.handler), ledger->options.stream_arn, source->shard, {0}, ""};
    ledger_checkpoint(ledger, false, &checkpoint.position, &progress);
    checkpoint.progress = progress.data;
    store_put_checkpoint(batch, &checkpoint);
    buf_fini(&progress);
}

struct forgetting {
    struct list link; /* in the ledger's; alone when that has gone */
    struct ledger *ledger;
    struct block **blocks;
    size_t count;
};

/* The answer comes before that to the checkpoint with which the subscription ends; where it ends without one
 * (its shard is another host's), nobody waits for it. */
static void on_forgotten(void *user, const struct err *err)
{
    struct forgetting *forgetting = user;
    for (size_t i = 0; i < forgetting->count && !err && forgetting->ledger; i++)
        ledger_end_redrive(forgetting->ledger, forgetting->blocks[i]);
    list_remove(&forgetting->link);
    free(forgetting->blocks);
    free(forgetting);
}

void ledger_flush(struct ledger *ledger)
{
    if (!ledger->forgotten_count)
        return;
    struct store_batch *batch = store_batch_new();
    struct forgetting *forgetting = mem_alloc(sizeof *forgetting);
    *forgetting =
        (struct forgetting){.ledger = ledger, .blocks = ledger->forgotten, .count = ledger->forgotten_count};
    list_init(&forgetting->link);
    list_append(&ledger->forgettings, &forgetting->link);
    for (size_t i = 0; i < forgetting->count; i++)
        store_forget_redriven(batch, forgetting->blocks[i]->redrive);
    if (ledger_has_windows(ledger))
        ledger_put_checkpoint(ledger, batch);
    ledger->forgotten = NULL;
    ledger->forgotten_count = ledger->forgotten_capacity = 0;
    store_commit(ledger->options.store, batch, on_forgotten, forgetting);
}

/* ---- life ---- */

/* There may be room by now. */
static void on_room(void *user)
{
    ledger_wake(user);
}

void ledger_init(struct ledger *ledger, const struct subscription_options *options,
                 const struct position *start, const char *progress, const struct subscription_events *events,
                 void *user, void (*work)(void *subscription), void *subscription)
{
    *ledger = (struct ledger){.options = *options,
                              .settings = *handler_settings_of(handler_hold(options->handler)),
                              .events = *events,
                              .user = user,
                              .subject = mem_printf("handler %s", handler_name(options->handler)),
                              .random = (uint64_t)clock_wall_ms(reactor_clock(options->reactor)),
                              .trace_seed = trace_seed(options->source.shard)};
    ledger->counters = options->counters ? options->counters : &ledger->alone;
    watermark_init(&ledger->watermark, start, progress);
    window_read(&ledger->window, progress);
    lanes_init(&ledger->lanes);
    list_init(&ledger->forgettings);
    set_rule(ledger);
    task_init(&ledger->work, work, subscription);
    timer_init(&ledger->room, on_room, ledger);
}

void ledger_replace_handler(struct ledger *ledger, struct handler *handler)
{
    CHECK(strcmp(handler_name(handler), handler_name(ledger->options.handler)) == 0);
    empty_line(ledger); /* it may be one that takes batches */
    handler_hold(handler);
    handler_release(ledger->options.handler);
    ledger->options.handler = handler;
    ledger->settings = *handler_settings_of(handler);
    ledger->asked_below = ledger->watermark.fed_count;
    ledger_wake(ledger); /* there may be more concurrency */
}

void ledger_fini(struct ledger *ledger)
{
    struct forgetting *forgetting;
    CHECK(!ledger->running && !ledger->working);
    list_each(forgetting, &ledger->forgettings, struct forgetting, link) {
        forgetting->ledger = NULL; /* the store comes back to it */
        list_remove(&forgetting->link);
    }
    task_cancel(&ledger->work);
    timer_stop(ledger->options.reactor, &ledger->room);
    while (ledger->redrives)
        ledger_end_redrive(ledger, ledger->redrives);
    watermark_fini(&ledger->watermark);
    window_fini(&ledger->window);
    handler_release(ledger->options.handler);
    lanes_fini(&ledger->lanes);
    free(ledger->forgotten);
    free(ledger->subject);
}
