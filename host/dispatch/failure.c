/* failure.c: where a record goes when no other attempt is made: `on_failure`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/internal.h"
#include "record/record_json.h"

static void settle_failed(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    struct block *block = attempt->entry->block;
    bool redriven = block->redrive != 0;
    attempt_settle(attempt, false); /* which may free a block of the watermark */
    if (redriven)
        subscription_end_redrive(subscription, block);
}

static void on_dead_letter_kept(void *user, const struct err *err)
{
    struct attempt *attempt = user;
    if (err) {
        attempt_abandon(attempt); /* the store was closed first */
        return;
    }
    attempt->subscription->stats.dead++;
    settle_failed(attempt);
}

/* What both kinds of letters say of the subscription and the error. */
static struct store_dead_letter letter_of(const struct subscription *subscription,
                                          const struct handler_error *error)
{
    const struct handler_source *source = &subscription->options.source;
    return (struct store_dead_letter){
        .handler = handler_name(subscription->options.handler),
        .version = handler_version(subscription->options.handler),
        .stream_arn = source->stream_arn,
        .table = source->table,
        .shard = source->shard,
        .error = error->text,
        .traceback = error->traceback,
        .failed_ms = subscription_wall_ms(subscription),
    };
}

/* What is said with the letter belongs into one write with it: the record is settled, or was taken into the
 * state of a window. */
static void put_checkpoint(struct subscription *subscription, struct store_batch *batch)
{
    const struct handler_source *source = &subscription->options.source;
    struct buf progress = BUF_INIT;
    struct store_checkpoint checkpoint = {
        handler_name(subscription->options.handler), source->stream_arn, source->shard, {0}, ""};
    subscription_checkpoint(subscription, false, &checkpoint.position, &progress);
    checkpoint.progress = progress.data;
    store_put_checkpoint(batch, &checkpoint);
    buf_fini(&progress);
}

/* What is told of a record, wherever it goes. */
struct told {
    struct buf record, keys; /* JSON */
    struct buf id;
};

static struct told tell(const struct attempt *attempt)
{
    const struct record *record = attempt->entry->record;
    struct told told = {0};
    record_write_id(&told.id, record);
    buf_add(&told.id, "", 0);
    record_write_json(&told.record, record, attempt->subscription->options.source.stream_arn);
    json_write_value(&told.keys, record->keys);
    return told;
}

static void told_fini(struct told *told)
{
    buf_fini(&told->record);
    buf_fini(&told->keys);
    buf_fini(&told->id);
}

/* `refused_by`: the target of on_failure that did not take it, or "". */
static void keep_dead_letter(struct attempt *attempt, const struct handler_error *error,
                             const char *condition, const char *refused_by)
{
    char unit[RECORD_UNIT_SIZE];
    struct subscription *subscription = attempt->subscription;
    const struct record *record = attempt->entry->record;
    struct told told = tell(attempt);
    struct store_dead_letter letter = letter_of(subscription, error);
    letter.id = attempt->entry->block->redrive;
    letter.sequence = record_unit(record, unit);
    letter.event_id = told.id.data;
    letter.condition = condition;
    letter.refused_by = refused_by;
    letter.keys = told.keys.data;
    letter.record = told.record.data;
    letter.attempts = attempt->entry->attempts;
    letter.record_time_ms = record->time_ms;
    struct store_batch *batch = store_batch_new();
    store_put_dead_letter(batch, &letter);
    attempt->entry->state = ENTRY_KEPT;
    if (!letter.id && !subscription->options.replayed)
        put_checkpoint(subscription, batch);
    store_commit(subscription->options.store, batch, on_dead_letter_kept, attempt);
    told_fini(&told);
}

/* The target has it, or the dead letters keep it. */
static void on_forwarded(void *user, const struct err *err)
{
    struct attempt *attempt = user;
    struct subscription *subscription = attempt->subscription;
    const char *target = subscription->settings.on_failure;
    attempt->failing = NULL;
    if (!err) {
        subscription->stats.forwarded++;
        attempt_settle(attempt, true);
        failure_flush(subscription);
        return;
    }
    log_error(subscription->options.log, subscription->subject,
              "%s (record %s; on_failure = %s did not take it, kept as a dead letter)", err->text,
              attempt->entry->record->sequence, target);
    struct handler_error error = attempt->given_up;
    attempt->given_up = (struct handler_error){0};
    char *text = mem_printf("%s (on_failure = %s: %s)", error.text, target, err->text);
    free(error.text);
    error.text = text;
    keep_dead_letter(attempt, &error, attempt->condition, target);
    handler_error_fini(&error);
}

/* Takes the error's texts. */
static void forward(struct attempt *attempt, struct handler_error *error, const char *condition)
{
    const struct subscription *subscription = attempt->subscription;
    const struct record *record = attempt->entry->record;
    const struct handler *handler = subscription->options.handler;
    const struct handler_source *source = &subscription->options.source;
    struct told told = tell(attempt);
    int64_t now_ms = subscription_wall_ms(subscription);
    char unit[RECORD_UNIT_SIZE];
    struct failing_facts facts = {
        .handler = handler_name(handler),
        .version = handler_version(handler),
        .condition = condition,
        .error = error->text,
        .attempts = attempt->entry->attempts,
        .failed_ms = now_ms,
        .now_ms = now_ms,
        .record_time_ms = record->time_ms,
        .stream_arn = source->stream_arn,
        .table = source->table,
        .shard = source->shard,
        .sequence = record->sequence,
        .event_id = told.id.data,
        .unit = record_unit(record, unit),
        .keys = told.keys.data,
        .record = told.record.data,
    };
    attempt->entry->state = ENTRY_FAILING; /* nobody has it yet */
    attempt->given_up = *error;
    attempt->condition = condition;
    *error = (struct handler_error){0};
    attempt->failing = failing_send(handler->emitter, handler->config, subscription->settings.on_failure,
                                    &facts, on_forwarded, attempt);
    told_fini(&told);
}

void failure_give_up(struct attempt *attempt, struct handler_error *error, const char *condition)
{
    struct subscription *subscription = attempt->subscription;
    const struct entry *entry = attempt->entry;
    const char *to = subscription->settings.on_failure;
    bool discard = strcmp(to, "discard") == 0, keep = strcmp(to, "dead") == 0;
    log_error(subscription->options.log, subscription->subject, "%s (record %s, attempt %u; %s: %s%s)",
              error->text, entry->record->sequence, entry->attempts, condition,
              discard ? "discarded"
              : keep  ? "kept as a dead letter"
                      : "goes to ",
              discard || keep ? "" : to);
    subscription_observe(subscription, entry,
                         discard ? OUTCOME_DISCARDED
                         : keep  ? OUTCOME_DEAD
                                 : OUTCOME_FORWARDED,
                         error->text);
    if (discard) {
        subscription->stats.discarded++;
        attempt_settle(attempt, true);
    } else if (keep) {
        keep_dead_letter(attempt, error, condition, "");
    } else {
        forward(attempt, error, condition);
    }
}

void failure_forget_letter(struct subscription *subscription, struct block *block)
{
    mem_grow(&subscription->forgotten, &subscription->forgotten_capacity, subscription->forgotten_count,
             sizeof *subscription->forgotten);
    subscription->forgotten[subscription->forgotten_count++] = block;
}

struct forgetting {
    struct subscription *subscription;
    struct block **blocks;
    size_t count;
};

/* The answer comes before that to the checkpoint with which the subscription ends. */
static void on_forgotten(void *user, const struct err *err)
{
    struct forgetting *forgetting = user;
    for (size_t i = 0; i < forgetting->count && !err; i++)
        subscription_end_redrive(forgetting->subscription, forgetting->blocks[i]);
    free(forgetting->blocks);
    free(forgetting);
}

void failure_flush(struct subscription *subscription)
{
    if (!subscription->forgotten_count)
        return;
    struct store_batch *batch = store_batch_new();
    struct forgetting *forgetting = mem_alloc(sizeof *forgetting);
    *forgetting = (struct forgetting){subscription, subscription->forgotten, subscription->forgotten_count};
    for (size_t i = 0; i < forgetting->count; i++)
        store_forget_dead_letter(batch, forgetting->blocks[i]->redrive);
    if (handler_kind(subscription->options.handler) == HANDLER_WINDOWS)
        put_checkpoint(subscription, batch);
    subscription->forgotten = NULL;
    subscription->forgotten_count = subscription->forgotten_capacity = 0;
    store_commit(subscription->options.store, batch, on_forgotten, forgetting);
}

/* ---- the last call of a window ---- */

/* What is told of it stands in place of a record, and cannot be redriven: the records are counted in the
 * state that goes with it. */
struct told_window {
    char sequence[40];
    char *record; /* JSON */
};

static struct told_window tell_window(const struct window *window)
{
    struct told_window told;
    snprintf(told.sequence, sizeof told.sequence, "window-%lld", (long long)window->start_ms);
    told.record = mem_printf("{\"window\":{\"start\":%lld,\"finish\":%lld},\"state\":%s}",
                             (long long)window->start_ms / 1000, (long long)window->end_ms / 1000,
                             window->state ? window->state : "null");
    return told;
}

static void keep_window(struct subscription *subscription, const struct handler_error *error,
                        const char *refused_by)
{
    const struct window *window = &subscription->window;
    struct told_window told = tell_window(window);
    struct store_dead_letter letter = letter_of(subscription, error);
    letter.sequence = told.sequence;
    letter.condition = window->condition;
    letter.refused_by = refused_by;
    letter.keys = "{}";
    letter.record = told.record;
    letter.attempts = window->attempts;
    letter.record_time_ms = window->start_ms;
    struct store_batch *batch = store_batch_new();
    store_put_dead_letter(batch, &letter);
    subscription->window.keeping = true;
    store_commit(subscription->options.store, batch, window_kept, subscription);
    free(told.record);
}

static void on_window_forwarded(void *user, const struct err *err)
{
    struct subscription *subscription = user;
    struct window *window = &subscription->window;
    const char *target = subscription->settings.on_failure;
    window->failing = NULL;
    if (!err) {
        subscription->stats.forwarded++;
        window_given_up(subscription);
        return;
    }
    log_error(subscription->options.log, subscription->subject,
              "%s (window of %lld; on_failure = %s did not take it, its state is kept as a dead letter)",
              err->text, (long long)window->start_ms / 1000, target);
    char *text = mem_printf("%s (on_failure = %s: %s)", window->error.text, target, err->text);
    free(window->error.text);
    window->error.text = text;
    keep_window(subscription, &window->error, target);
}

/* Takes the error's texts. */
static void forward_window(struct subscription *subscription, struct handler_error *error)
{
    struct window *window = &subscription->window;
    const struct handler *handler = subscription->options.handler;
    const struct handler_source *source = &subscription->options.source;
    struct told_window told = tell_window(window);
    int64_t now_ms = subscription_wall_ms(subscription);
    struct failing_facts facts = {
        .handler = handler_name(handler),
        .version = handler_version(handler),
        .condition = window->condition,
        .error = error->text,
        .attempts = window->attempts,
        .failed_ms = now_ms,
        .now_ms = now_ms,
        .record_time_ms = window->start_ms,
        .stream_arn = source->stream_arn,
        .table = source->table,
        .shard = source->shard,
        .sequence = told.sequence,
        .event_id = "",
        .unit = told.sequence,
        .keys = "{}",
        .record = told.record,
    };
    handler_error_fini(&window->error);
    window->error = *error;
    *error = (struct handler_error){0};
    window->failing = failing_send(handler->emitter, handler->config, subscription->settings.on_failure,
                                   &facts, on_window_forwarded, subscription);
    free(told.record);
}

void failure_give_up_window(struct subscription *subscription, struct handler_error *error,
                            const char *condition)
{
    struct window *window = &subscription->window;
    const char *to = subscription->settings.on_failure;
    bool discard = strcmp(to, "discard") == 0, keep = strcmp(to, "dead") == 0;
    log_error(subscription->options.log, subscription->subject, "%s (window of %lld, attempt %lld; %s: %s%s)",
              error->text, (long long)window->start_ms / 1000, (long long)window->attempts, condition,
              discard ? "its state is discarded"
              : keep  ? "its state is kept as a dead letter"
                      : "its state goes to ",
              discard || keep ? "" : to);
    window->condition = condition;
    if (discard) {
        subscription->stats.discarded++;
        window_given_up(subscription);
    } else if (keep) {
        keep_window(subscription, error, "");
    } else {
        forward_window(subscription, error);
    }
}
