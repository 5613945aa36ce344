/* failure.c: see failure.h. */
#include "dispatch/failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "dispatch/failure_record.h"
#include "record/record_json.h"

struct failure {
    struct ledger *ledger;
    struct entry *entry; /* NULL: the window */
    struct handler_error error;
    const char *condition;
    struct failing *failing; /* on its way to the target */
    failure_fn *done;
    void *user;
};

/* ---- what is told of it ---- */

/* The texts that a letter points to. */
struct told {
    char unit[RECORD_UNIT_SIZE + 32];
    struct buf id, keys, record;
};

static void told_fini(struct told *told)
{
    buf_fini(&told->id);
    buf_fini(&told->keys);
    buf_fini(&told->record);
}

static void tell_entry(const struct failure *failure, struct store_dead_letter *letter, struct told *told)
{
    const struct entry *entry = failure->entry;
    const struct record *record = entry->record;
    char unit[RECORD_UNIT_SIZE];
    snprintf(told->unit, sizeof told->unit, "%s", record_unit(record, unit));
    record_write_id(&told->id, record);
    record_write_json(&told->record, record, failure->ledger->options.source.stream_arn);
    json_write_value(&told->keys, record->keys);
    letter->id = entry->block->redrive;
    letter->attempts = entry->attempts;
    letter->record_time_ms = record->time_ms;
}

static void tell_window(const struct failure *failure, struct store_dead_letter *letter, struct told *told)
{
    const struct window *window = &failure->ledger->window;
    snprintf(told->unit, sizeof told->unit, "window-%lld", (long long)window->start_ms);
    buf_printf(&told->record, "{\"window\":{\"start\":%lld,\"finish\":%lld},\"state\":%s}",
               (long long)window->start_ms / 1000, (long long)window->end_ms / 1000,
               window->state ? window->state : "null");
    buf_add_literal(&told->keys, "{}");
    letter->attempts = window->attempts;
    letter->record_time_ms = window->start_ms;
}

/* Its texts are those of `told` and of the failure. */
static struct store_dead_letter letter_of(const struct failure *failure, struct told *told)
{
    const struct ledger *ledger = failure->ledger;
    const struct handler_source *source = &ledger->options.source;
    struct store_dead_letter letter = {
        .handler = handler_name(ledger->options.handler),
        .version = handler_version(ledger->options.handler),
        .stream_arn = ledger->options.stream_arn,
        .table = source->table,
        .shard = source->shard,
        .error = failure->error.text,
        .traceback = failure->error.traceback,
        .condition = failure->condition,
        .refused_by = "",
        .failed_ms = ledger_wall_ms(ledger),
    };
    *told = (struct told){0};
    if (failure->entry)
        tell_entry(failure, &letter, told);
    else
        tell_window(failure, &letter, told);
    letter.sequence = told->unit;
    letter.event_id = told->id.data ? told->id.data : "";
    letter.keys = told->keys.data;
    letter.record = told->record.data;
    return letter;
}

/* "record 123", "window of 1700000000": for the log. To be freed. */
static char *name_of(const struct failure *failure)
{
    return failure->entry ? mem_printf("record %s", failure->entry->record->sequence)
                          : mem_printf("window of %lld", (long long)failure->ledger->window.start_ms / 1000);
}

/* ---- where it goes ---- */

static void answer(struct failure *failure, enum given_up to)
{
    failure_fn *done = failure->done;
    CHECK(!failure->failing && to != GIVEN_UP_LATER);
    void *user = failure->user;
    handler_error_fini(&failure->error);
    free(failure);
    done(user, to);
}

static void on_kept(void *user, const struct err *err)
{
    struct failure *failure = user;
    failure->ledger->counters->dead += !err;
    answer(failure, err ? GIVEN_UP_NOT : GIVEN_UP_KEPT);
}

/* `refused_by`: the target of on_failure that did not take it, or "". */
static void keep(struct failure *failure, const char *refused_by)
{
    struct ledger *ledger = failure->ledger;
    struct told told;
    struct store_dead_letter letter = letter_of(failure, &told);
    struct store_batch *batch = store_batch_new();
    letter.refused_by = refused_by;
    store_put_dead_letter(batch, &letter);
    CHECK(!failure->entry || failure->entry->state == ENTRY_STARTED ||
          failure->entry->state == ENTRY_FAILING);
    if (failure->entry)
        failure->entry->state = ENTRY_KEPT;
    if (failure->entry && !letter.id && !ledger->options.replayed)
        ledger_put_checkpoint(ledger, batch);
    store_commit(ledger->options.store, batch, on_kept, failure);
    told_fini(&told);
}

/* The target has it, or the dead letters keep it. */
static void on_forwarded(void *user, const struct err *err)
{
    struct failure *failure = user;
    struct ledger *ledger = failure->ledger;
    const char *target = ledger->settings.on_failure;
    CHECK(failure->failing);
    failure->failing = NULL;
    if (!err) {
        ledger->counters->forwarded++;
        answer(failure, GIVEN_UP_FORWARDED);
        return;
    }
    char *name = name_of(failure);
    log_write_repeated(ledger->options.log, LOG_ERROR, ledger->subject, err->text,
                       "%s (%s; on_failure = %s did not take it, kept as a dead letter)", err->text, name,
                       target);
    free(name);
    char *text = mem_printf("%s (on_failure = %s: %s)", failure->error.text, target, err->text);
    free(failure->error.text);
    failure->error.text = text;
    keep(failure, target);
}

static void forward(struct failure *failure)
{
    const struct ledger *ledger = failure->ledger;
    const struct handler *handler = ledger->options.handler;
    struct told told;
    struct store_dead_letter letter = letter_of(failure, &told);
    if (failure->entry)
        failure->entry->state = ENTRY_FAILING; /* nobody has it yet */
    failure->failing = failing_send(handler->emitter, handler->config, ledger->settings.on_failure, &letter,
                                    letter.failed_ms, on_forwarded, failure);
    told_fini(&told);
}

static const char *const WHERE[] = {[GIVEN_UP_DISCARDED] = "discarded",
                                    [GIVEN_UP_KEPT] = "kept as a dead letter",
                                    [GIVEN_UP_FORWARDED] = "goes to "};
static const enum outcome OUTCOMES[] = {[GIVEN_UP_DISCARDED] = OUTCOME_DISCARDED,
                                        [GIVEN_UP_KEPT] = OUTCOME_DEAD,
                                        [GIVEN_UP_FORWARDED] = OUTCOME_FORWARDED};

static void tell(const struct failure *failure, enum given_up to)
{
    const struct ledger *ledger = failure->ledger;
    const struct entry *entry = failure->entry;
    char *name = name_of(failure);
    log_write_repeated(
        ledger->options.log, entry ? ledger_log_level(ledger, LOG_ERROR) : LOG_ERROR, ledger->subject,
        failure->error.text, "%s (%s, attempt %lld; %s: %s%s%s)", failure->error.text, name,
        entry ? (long long)entry->attempts : (long long)ledger->window.attempts, failure->condition,
        entry ? "" : "its state is ", WHERE[to], to == GIVEN_UP_FORWARDED ? ledger->settings.on_failure : "");
    free(name);
    if (entry)
        ledger_observe(ledger, entry, OUTCOMES[to], failure->error.text);
}

static enum given_up where_to(const char *on_failure)
{
    return strcmp(on_failure, "discard") == 0 ? GIVEN_UP_DISCARDED
           : strcmp(on_failure, "dead") == 0  ? GIVEN_UP_KEPT
                                              : GIVEN_UP_FORWARDED;
}

enum given_up failure_give_up(struct ledger *ledger, struct entry *entry, struct handler_error *error,
                              const char *condition, failure_fn *done, void *user, struct failure **failure)
{
    enum given_up to = where_to(ledger->settings.on_failure);
    struct failure *it = mem_alloc(sizeof *it);
    CHECK(!entry || entry->state == ENTRY_STARTED);
    *it = (struct failure){.ledger = ledger,
                           .entry = entry,
                           .error = *error,
                           .condition = condition,
                           .done = done,
                           .user = user};
    *error = (struct handler_error){0};
    tell(it, to);
    if (to == GIVEN_UP_DISCARDED) {
        ledger->counters->discarded++;
        handler_error_fini(&it->error);
        free(it);
        return to;
    }
    *failure = it;
    if (to == GIVEN_UP_KEPT)
        keep(it, "");
    else
        forward(it);
    return GIVEN_UP_LATER;
}

bool failure_cancel(struct failure *failure)
{
    if (!failure->failing)
        return false;
    failing_cancel(failure->failing);
    handler_error_fini(&failure->error);
    free(failure);
    return true;
}
