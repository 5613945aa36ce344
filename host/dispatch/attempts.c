/* attempts.c: a record on its own: tried, tried again after a while, and in the end given up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "dispatch/internal.h"

#define WINDOW_CLOSES_MS 50 /* between two looks whether the window that closes has closed */

static void on_backoff(void *user);

struct attempt *attempt_new(struct subscription *subscription, struct entry *entry)
{
    struct attempt *attempt = subscription->spare ? subscription->spare : mem_alloc(sizeof *attempt);
    subscription->spare = NULL;
    *attempt = (struct attempt){.subscription = subscription,
                                .entry = entry,
                                .began_ms = reactor_now_ms(subscription->options.reactor)};
    timer_init(&attempt->backoff, on_backoff, attempt);
    list_append(&subscription->attempts, &attempt->link);
    return attempt;
}

static void attempt_free(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    timer_stop(subscription->options.reactor, &attempt->backoff);
    handler_error_fini(&attempt->given_up);
    list_remove(&attempt->link);
    if (subscription->spare)
        free(attempt);
    else
        subscription->spare = attempt;
}

void attempt_settle(struct attempt *attempt, bool well)
{
    struct entry *entry = attempt->entry;
    struct subscription *subscription = attempt->subscription;
    attempt_free(attempt);
    if (well)
        subscription_settle_well(subscription, entry);
    else
        subscription_settle(subscription, entry);
    subscription_keep_working(subscription);
}

/* While stopping: leave it unsettled, and with it all that stands behind it in its lane. */
void attempt_abandon(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    struct entry *entry = attempt->entry;
    attempt_free(attempt);
    subscription_put_back(subscription, entry);
    subscription_keep_working(subscription);
}

int64_t attempt_backoff_ms(struct subscription *subscription, int64_t attempts)
{
    return backoff_ms(subscription->settings.backoff_ms, attempts, &subscription->random);
}

/* By the wall clock, and by the other one it was tried for as long: a clock that jumps, or a host that was
 * away, takes no record's attempts from it. */
static bool is_too_old(const struct attempt *attempt)
{
    const struct subscription *subscription = attempt->subscription;
    const struct block *block = attempt->entry->block;
    int64_t max_age_ms = subscription->settings.max_age_ms;
    int64_t born_ms = block->redrive ? block->redriven_ms : attempt->entry->record->time_ms;
    return !subscription->options.replayed && max_age_ms >= 0 &&
           subscription_wall_ms(subscription) - born_ms > max_age_ms &&
           reactor_now_ms(subscription->options.reactor) - attempt->began_ms >= max_age_ms;
}

/* Was that the last attempt the handler's settings allow? Then why, in the words of Lambda's failure records
 * where it has one; else NULL. */
static const char *last_because(const struct attempt *attempt, const struct handler_error *error)
{
    const struct subscription *subscription = attempt->subscription;
    const struct handler_settings *settings = &subscription->settings;
    const struct entry *entry = attempt->entry;
    if (error->failure == FAILURE_PERMANENT)
        return "PermanentError";
    if (error->failure == FAILURE_PASSING && settings->retries >= 0 &&
        (int64_t)entry->attempts > settings->retries)
        return "RetryAttemptsExhausted";
    return is_too_old(attempt) ? "RecordAgeExceeded" : NULL;
}

void attempt_keep_trouble(struct subscription *subscription, const char *text)
{
    struct subscription_stats *stats = &subscription->stats;
    snprintf(stats->trouble, sizeof stats->trouble, "%s", text);
    stats->trouble[strcspn(stats->trouble, "\n")] = '\0';
    utf8_trim(stats->trouble);
    stats->troubles++;
}

/* When the next attempt is due is kept with the progress: a restart goes on waiting. */
static void wait_for_next(struct attempt *attempt, int64_t delay_ms)
{
    struct subscription *subscription = attempt->subscription;
    attempt->entry->due_ms = subscription_wall_ms(subscription) + delay_ms;
    if (subscription->stopping)
        attempt_abandon(attempt);
    else
        timer_set(subscription->options.reactor, &attempt->backoff, delay_ms);
}

void attempt_failed(struct attempt *attempt, struct handler_error *error)
{
    struct subscription *subscription = attempt->subscription;
    const struct entry *entry = attempt->entry;
    subscription->watermark.changed = true; /* the number of attempts */
    bool counts = error->failure != FAILURE_NO_ATTEMPT;
    if (!counts)
        attempt->entry->attempts--;
    const char *condition = counts || !subscription->stopping ? last_because(attempt, error) : NULL;
    if (condition) {
        failure_give_up(attempt, error, condition);
    } else if (counts) {
        attempt->unlucky = 0;
        int64_t delay = attempt_backoff_ms(subscription, entry->attempts);
        if (!subscription->stopping) {
            log_warn(subscription->options.log, subscription->subject,
                     "%s (record %s, attempt %u; again in %lld ms)", error->text, entry->record->sequence,
                     entry->attempts, (long long)delay);
            subscription_observe(subscription, entry, OUTCOME_RETRIED, error->text);
            subscription->stats.retried++;
        }
        attempt_keep_trouble(subscription, error->text);
        wait_for_next(attempt, delay);
    } else {
        int64_t delay = attempt_backoff_ms(subscription, ++attempt->unlucky);
        log_debug(subscription->options.log, subscription->subject,
                  "%s (record %s; that was no attempt, again in %lld ms)", error->text,
                  entry->record->sequence, (long long)delay);
        attempt_keep_trouble(subscription, error->text);
        wait_for_next(attempt, delay);
    }
    handler_error_fini(error);
}

struct handler_error attempt_given_back(const struct subscription *subscription)
{
    return (struct handler_error){.text = mem_printf("%s: on_batch gave the record back as failed",
                                                     handler_name(subscription->options.handler)),
                                  .traceback = mem_string("")};
}

static void on_handled(struct attempt *attempt, struct handler_outcome *outcome)
{
    struct subscription *subscription = attempt->subscription;
    subscription_observe(subscription, attempt->entry, OUTCOME_HANDLED, NULL);
    subscription->stats.handled++;
    if (attempt->call.window)
        window_take_state(subscription, &outcome->state);
    attempt_settle(attempt, true);
}

static void on_ended(struct attempt *attempt, enum handler_result result, struct handler_outcome *outcome)
{
    struct subscription *subscription = attempt->subscription;
    if (result == HANDLER_RETURNED && outcome->verdicts && outcome->verdicts[0] != VERDICT_HANDLED) {
        outcome->error = attempt_given_back(subscription);
        result = HANDLER_RAISED;
    }
    if (result == HANDLER_RETURNED)
        on_handled(attempt, outcome);
    else
        attempt_failed(attempt, &outcome->error);
    handler_outcome_fini(outcome);
    failure_flush(subscription);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct attempt *attempt = user;
    struct subscription *subscription = attempt->subscription;
    attempt->invocation = NULL;
    subscription->running--;
    on_ended(attempt, result, outcome);
    subscription_keep_working(subscription);
}

void attempt_run(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    struct entry *entry = attempt->entry;
    struct handler_outcome outcome;
    if (subscription_unwanted(subscription, entry)) {
        subscription->stats.left_out++;
        attempt_settle(attempt, true);
        failure_flush(subscription);
        return;
    }
    bool windows = handler_kind(subscription->options.handler) == HANDLER_WINDOWS;
    if (windows && !window_accepts(subscription, window_time(subscription, entry))) {
        /* Its last call has the state: what comes out of this one would be lost, or counted twice. */
        timer_set(subscription->options.reactor, &attempt->backoff, WINDOW_CLOSES_MS);
        return;
    }
    entry->due_ms = 0;
    if (entry->attempts++)
        subscription->watermark.changed = true;
    attempt->input = (struct handler_input){entry->record, entry->attempts, entry->block->redrive != 0,
                                            subscription->options.replayed};
    attempt->call = (struct handler_call){&attempt->input, 1, &subscription->options.source, NULL};
    if (windows)
        window_fill_call(subscription, &attempt->window, &attempt->call);
    attempt->handler = subscription->options.handler;
    enum handler_result result =
        handler_run(attempt->handler, &attempt->call, on_done, attempt, &attempt->invocation, &outcome);
    if (result == HANDLER_WAITING)
        subscription->running++;
    else
        on_ended(attempt, result, &outcome);
}

int64_t attempt_wait_ms(const struct subscription *subscription, int64_t due_ms)
{
    int64_t wait_ms = due_ms - subscription_wall_ms(subscription);
    int64_t most_ms = subscription->settings.backoff_ms[1];
    return !due_ms || wait_ms <= 0 ? 0 : wait_ms < most_ms ? wait_ms : most_ms;
}

bool entry_is_due(const struct subscription *subscription, const struct entry *entry)
{
    return entry->due_ms <= subscription_wall_ms(subscription);
}

void attempt_begin(struct attempt *attempt)
{
    struct subscription *subscription = attempt->subscription;
    int64_t wait_ms = attempt_wait_ms(subscription, attempt->entry->due_ms);
    if (!wait_ms)
        attempt_run(attempt);
    else
        timer_set(subscription->options.reactor, &attempt->backoff, wait_ms);
}

/* Another attempt does not count towards `concurrency` while it waits, only while it runs; it may exceed it
 * by those that wake at the same moment. */
static void on_backoff(void *user)
{
    struct attempt *attempt = user;
    struct subscription *subscription = attempt->subscription;
    attempt_run(attempt);
    subscription_report_if_drained(subscription);
}

void attempts_stop(struct subscription *subscription)
{
    struct attempt *attempt;
    list_each(attempt, &subscription->attempts, struct attempt, link)
        if (timer_is_set(&attempt->backoff))
            attempt_abandon(attempt);
}

void attempts_abandon(struct subscription *subscription)
{
    struct attempt *attempt;
    list_each(attempt, &subscription->attempts, struct attempt, link) {
        if (attempt->invocation) {
            handler_cancel(attempt->handler, attempt->invocation);
            subscription->running--;
        }
        bool failing = attempt->failing != NULL;
        failing_cancel(attempt->failing);
        attempt->failing = NULL;
        if (failing || attempt->invocation || timer_is_set(&attempt->backoff))
            attempt_abandon(attempt);
        /* else its dead letter is on its way to the store, which will answer */
    }
}
