/* attempts.c: see attempts.h. */
#include "dispatch/attempts.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "dispatch/failure.h"

#define WINDOW_CLOSES_MS 50 /* between two looks whether the window that closes has closed */

struct attempt {
    struct list link;
    struct attempts *attempts;
    struct ledger *ledger;
    struct entry *entry;
    struct handler_input input;
    struct handler_call call;
    struct handler_window window;
    struct handler *handler;       /* of the invocation; it and those above are set when it is called */
    struct invocation *invocation; /* while it runs */
    struct failure *failure;       /* it is given up, and on its way to where on_failure says */
    int64_t began_ms;              /* monotonic: of the first attempt here */
    struct span span;              /* likewise */
    int64_t unlucky;               /* times in a row that were no attempt */
    struct timer backoff;
};

static void on_backoff(void *user);

static struct attempt *attempt_new(struct attempts *attempts, struct entry *entry)
{
    struct attempt *attempt = attempts->spare ? attempts->spare : mem_alloc(sizeof *attempt);
    CHECK(entry->state == ENTRY_STARTED);
    attempts->spare = NULL;
    attempt->attempts = attempts;
    attempt->ledger = attempts->ledger;
    attempt->entry = entry;
    attempt->invocation = NULL;
    attempt->failure = NULL;
    attempt->began_ms = ledger_now_ms(attempts->ledger);
    attempt->span.sampled = false;
    attempt->unlucky = 0;
    timer_init(&attempt->backoff, on_backoff, attempt);
    list_append(&attempts->list, &attempt->link);
    return attempt;
}

static void attempt_free(struct attempt *attempt)
{
    struct attempts *attempts = attempt->attempts;
    CHECK(!attempt->invocation && !attempt->failure);
    timer_stop(attempt->ledger->options.reactor, &attempt->backoff);
    list_remove(&attempt->link);
    if (attempts->spare)
        free(attempt);
    else
        attempts->spare = attempt;
}

/* ---- its ends ---- */

/* A dead letter that it came from is forgotten. */
static void settle_well(struct attempt *attempt)
{
    struct ledger *ledger = attempt->ledger;
    struct entry *entry = attempt->entry;
    attempt_free(attempt);
    ledger_settle_well(ledger, entry);
    ledger_wake(ledger);
}

/* A dead letter that it came from stays: it is that of this failure now. */
static void settle_kept(struct attempt *attempt)
{
    struct ledger *ledger = attempt->ledger;
    struct entry *entry = attempt->entry;
    struct block *block = entry->block;
    bool redriven = block->redrive != 0;
    attempt_free(attempt);
    ledger_settle(ledger, entry); /* which may free a block of the watermark */
    ledger_wake(ledger);
    if (redriven)
        ledger_end_redrive(ledger, block);
}

/* While stopping: leave it unsettled, and with it all that stands behind it in its lane. */
static void abandon(struct attempt *attempt)
{
    struct ledger *ledger = attempt->ledger;
    struct entry *entry = attempt->entry;
    attempt_free(attempt);
    ledger_put_back(ledger, entry);
    ledger_wake(ledger);
}

static void end_given_up(struct attempt *attempt, enum given_up to)
{
    if (to == GIVEN_UP_NOT)
        abandon(attempt);
    else if (to == GIVEN_UP_KEPT)
        settle_kept(attempt);
    else
        settle_well(attempt);
}

static void on_given_up(void *user, enum given_up to)
{
    struct attempt *attempt = user;
    struct ledger *ledger = attempt->ledger;
    CHECK(attempt->failure && to != GIVEN_UP_LATER);
    attempt->failure = NULL;
    end_given_up(attempt, to);
    ledger_flush(ledger);
}

static void give_up(struct attempt *attempt, struct handler_error *error, const char *condition)
{
    enum given_up to = failure_give_up(attempt->ledger, attempt->entry, error, condition, on_given_up,
                                       attempt, &attempt->failure);
    if (to != GIVEN_UP_LATER)
        end_given_up(attempt, to);
}

/* ---- what comes of a failure ---- */

/* By the wall clock, and by the other one it was tried for as long: a clock that jumps, or a host that was
 * away, takes no record's attempts from it. */
static bool is_too_old(const struct attempt *attempt)
{
    const struct ledger *ledger = attempt->ledger;
    const struct block *block = attempt->entry->block;
    int64_t max_age_ms = ledger->settings.max_age_ms;
    int64_t born_ms = block->redrive ? block->redriven_ms : attempt->entry->record->time_ms;
    bool timeless = ledger->options.replayed || attempt->entry->record->snapshot;
    return !timeless && max_age_ms >= 0 && ledger_wall_ms(ledger) - born_ms > max_age_ms &&
           ledger_now_ms(ledger) - attempt->began_ms >= max_age_ms;
}

/* Was that the last attempt the handler's settings allow? Then why, in the words of Lambda's failure records
 * where it has one; else NULL. */
static const char *last_because(const struct attempt *attempt, const struct handler_error *error)
{
    const struct handler_settings *settings = &attempt->ledger->settings;
    if (error->failure == FAILURE_PERMANENT)
        return "PermanentError";
    if (error->failure == FAILURE_PASSING && settings->retries >= 0 &&
        (int64_t)attempt->entry->attempts > settings->retries)
        return "RetryAttemptsExhausted";
    return is_too_old(attempt) ? "RecordAgeExceeded" : NULL;
}

/* When the next attempt is due is kept with the progress: a restart goes on waiting. */
static void wait_for_next(struct attempt *attempt, int64_t delay_ms)
{
    struct ledger *ledger = attempt->ledger;
    attempt->entry->due_ms = ledger_wall_ms(ledger) + delay_ms;
    if (ledger->stopping)
        abandon(attempt);
    else
        timer_set(ledger->options.reactor, &attempt->backoff, delay_ms);
}

static void try_again(struct attempt *attempt, const char *because)
{
    struct ledger *ledger = attempt->ledger;
    const struct entry *entry = attempt->entry;
    int64_t delay = ledger_backoff_ms(ledger, entry->attempts);
    attempt->unlucky = 0;
    if (!ledger->stopping) {
        log_write_repeated(ledger->options.log, ledger_log_level(ledger, LOG_WARN), ledger->subject, because,
                           "%s (record %s, attempt %u; again in %lld ms)", because, entry->record->sequence,
                           entry->attempts, (long long)delay);
        ledger_observe(ledger, entry, OUTCOME_RETRIED, because);
        ledger->counters->retried++;
    }
    ledger_keep_trouble(ledger, because, entry->record);
    wait_for_next(attempt, delay);
}

/* That was no attempt. */
static void try_later(struct attempt *attempt, const char *because)
{
    struct ledger *ledger = attempt->ledger;
    int64_t delay = ledger_backoff_ms(ledger, ++attempt->unlucky);
    log_debug(ledger->options.log, ledger->subject, "%s (record %s; that was no attempt, again in %lld ms)",
              because, attempt->entry->record->sequence, (long long)delay);
    ledger_keep_trouble(ledger, because, attempt->entry->record);
    wait_for_next(attempt, delay);
}

/* Takes the error's texts. */
static void on_failed(struct attempt *attempt, struct handler_error *error)
{
    struct ledger *ledger = attempt->ledger;
    bool counts = error->failure != FAILURE_NO_ATTEMPT;
    ledger_changed(ledger); /* the number of attempts */
    if (!counts)
        attempt->entry->attempts--;
    const char *condition = counts || !ledger->stopping ? last_because(attempt, error) : NULL;
    if (condition)
        give_up(attempt, error, condition);
    else if (counts)
        try_again(attempt, error->text);
    else
        try_later(attempt, error->text);
    handler_error_fini(error);
}

void attempts_failed(struct attempts *attempts, struct entry *entry, struct handler_error error)
{
    on_failed(attempt_new(attempts, entry), &error);
}

struct handler_error attempt_given_back(const struct ledger *ledger)
{
    return (struct handler_error){.text = mem_printf("%s: on_batch gave the record back as failed",
                                                     handler_name(ledger->options.handler)),
                                  .traceback = mem_string("")};
}

/* ---- running ---- */

static void on_handled(struct attempt *attempt, struct handler_outcome *outcome)
{
    struct ledger *ledger = attempt->ledger;
    ledger_observe(ledger, attempt->entry, OUTCOME_HANDLED, NULL);
    ledger->counters->handled++;
    if (attempt->call.window) {
        window_take_state(&ledger->window, &outcome->state);
        ledger_changed(ledger);
    }
    settle_well(attempt);
}

static void on_ended(struct attempt *attempt, enum handler_result result, struct handler_outcome *outcome)
{
    struct ledger *ledger = attempt->ledger;
    ledger_time_call(ledger, &attempt->call, outcome);
    if (result == HANDLER_RETURNED && outcome->verdicts && outcome->verdicts[0] != VERDICT_HANDLED) {
        outcome->error = attempt_given_back(ledger);
        result = HANDLER_RAISED;
    }
    ledger_end_span(ledger, attempt->handler, &attempt->span, attempt->entry, 1,
                    result == HANDLER_RETURNED ? NULL : outcome->error.text);
    if (result == HANDLER_RETURNED)
        on_handled(attempt, outcome);
    else
        on_failed(attempt, &outcome->error);
    handler_outcome_fini(outcome);
    ledger_flush(ledger);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct attempt *attempt = user;
    struct ledger *ledger = attempt->ledger;
    CHECK(attempt->invocation);
    attempt->invocation = NULL;
    ledger_ended_call(ledger);
    on_ended(attempt, result, outcome);
    ledger_wake(ledger);
}

static void call(struct attempt *attempt)
{
    struct ledger *ledger = attempt->ledger;
    struct entry *entry = attempt->entry;
    struct handler_outcome outcome;
    CHECK(!attempt->invocation && !attempt->failure && entry->state == ENTRY_STARTED);
    CHECK(ledger_is_first(ledger, entry)); /* nobody of its item runs beside it */
    entry->due_ms = 0;
    if (entry->attempts++)
        ledger_changed(ledger);
    attempt->handler = ledger->options.handler;
    ledger_begin_span(ledger, attempt->handler, &attempt->span, entry->record);
    attempt->input =
        (struct handler_input){entry->record, entry->attempts, entry->block->redrive != 0,
                               ledger->options.replayed, attempt->span.sampled ? &attempt->span.place : NULL};
    attempt->call =
        (struct handler_call){.inputs = &attempt->input, .count = 1, .source = &ledger->options.source};
    if (ledger_has_windows(ledger)) {
        attempt->window = window_of_call(&ledger->window, false);
        attempt->call.window = &attempt->window;
    }
    attempt->call.begun_us = ledger_begin_call(ledger);
    enum handler_result result =
        handler_run(attempt->handler, &attempt->call, on_done, attempt, &attempt->invocation, &outcome);
    if (result == HANDLER_WAITING)
        ledger_began_call(ledger);
    else
        on_ended(attempt, result, &outcome);
}

static void run(struct attempt *attempt)
{
    struct ledger *ledger = attempt->ledger;
    if (ledger_is_unwanted(ledger, attempt->entry)) {
        ledger->counters->left_out++;
        settle_well(attempt);
        ledger_flush(ledger);
    } else if (ledger_has_windows(ledger) &&
               (ledger->running || !ledger_window_accepts(ledger, attempt->entry))) {
        /* Another call has the state, maybe the last: what comes out of this one would be lost, or counted
         * twice. */
        timer_set(ledger->options.reactor, &attempt->backoff, WINDOW_CLOSES_MS);
    } else {
        call(attempt);
    }
}

void attempts_run(struct attempts *attempts, struct entry *entry)
{
    run(attempt_new(attempts, entry));
}

void attempts_begin(struct attempts *attempts, struct entry *entry)
{
    struct attempt *attempt = attempt_new(attempts, entry);
    int64_t wait_ms = ledger_wait_ms(attempts->ledger, entry->due_ms);
    if (!wait_ms)
        run(attempt);
    else
        timer_set(attempts->ledger->options.reactor, &attempt->backoff, wait_ms);
}

/* Another attempt does not count towards `concurrency` while it waits, only while it runs; it may exceed it
 * by those that wake at the same moment. */
static void on_backoff(void *user)
{
    struct attempt *attempt = user;
    struct ledger *ledger = attempt->ledger;
    int64_t wait_ms = ledger_pace_ms(ledger);
    if (wait_ms)
        timer_set(ledger->options.reactor, &attempt->backoff, wait_ms);
    else
        run(attempt);
}

/* ---- all of them ---- */

void attempts_init(struct attempts *attempts, struct ledger *ledger)
{
    *attempts = (struct attempts){.ledger = ledger};
    list_init(&attempts->list);
}

void attempts_fini(struct attempts *attempts)
{
    struct attempt *attempt;
    list_each(attempt, &attempts->list, struct attempt, link) {
        list_remove(&attempt->link); /* the store was closed without an answer: its disk hangs */
        free(attempt);
    }
    free(attempts->spare);
}

bool attempts_waits(const struct attempts *attempts, const struct entry *entry)
{
    struct attempt *attempt;
    list_each(attempt, &attempts->list, struct attempt, link)
        if (attempt->entry == entry)
            return timer_is_set(&attempt->backoff);
    return false;
}

size_t attempts_waiting(const struct attempts *attempts)
{
    const struct attempt *attempt;
    size_t count = 0;
    list_each(attempt, &attempts->list, struct attempt, link)
        count += timer_is_set(&attempt->backoff);
    return count;
}

void attempts_stop(struct attempts *attempts)
{
    struct attempt *attempt;
    list_each(attempt, &attempts->list, struct attempt, link)
        if (timer_is_set(&attempt->backoff))
            abandon(attempt);
}

static void give_up_all(struct attempt *attempt)
{
    if (attempt->invocation) {
        handler_cancel(attempt->handler, attempt->invocation);
        attempt->invocation = NULL;
        ledger_drop_span(attempt->handler, &attempt->span);
        ledger_ended_call(attempt->ledger);
    }
    if (attempt->failure && failure_cancel(attempt->failure))
        attempt->failure = NULL;
    if (!attempt->failure)
        abandon(attempt);
    /* else its dead letter is on its way to the store, which will answer */
}

void attempts_abandon(struct attempts *attempts)
{
    struct attempt *attempt;
    list_each(attempt, &attempts->list, struct attempt, link)
        give_up_all(attempt);
}
