/* attempts.c: a record on its own: tried, tried again after a while, and in the end given up. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dispatch/internal.h"

static void on_backoff(void *user);

struct attempt *attempt_new(struct subscription *subscription, struct entry *entry)
{
    struct attempt *attempt = subscription->spare ? subscription->spare : mem_alloc(sizeof *attempt);
    subscription->spare = NULL;
    *attempt = (struct attempt){.subscription = subscription, .entry = entry};
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
    int64_t delay = subscription->settings.backoff_ms[0], most = subscription->settings.backoff_ms[1];
    for (int64_t i = 1; i < attempts && delay < most; i++)
        delay = delay ? delay * 2 : 1;
    delay = delay < most ? delay : most;
    subscription->random = hash_mix(subscription->random + 1);
    return delay - (int64_t)(subscription->random % (uint64_t)(delay / 2 + 1));
}

/* Was that the last attempt the handler's settings allow? */
static bool is_last(const struct attempt *attempt, const struct script_error *error)
{
    const struct subscription *subscription = attempt->subscription;
    const struct handler_settings *settings = &subscription->settings;
    const struct entry *entry = attempt->entry;
    int64_t born_ms = entry->block->redrive ? entry->block->redriven_ms : entry->record->time_ms;
    int64_t age_ms = subscription_wall_ms(subscription) - born_ms;
    return error->permanent || (settings->retries >= 0 && (int64_t)entry->attempts > settings->retries) ||
           (settings->max_age_ms >= 0 && age_ms > settings->max_age_ms);
}

void attempt_failed(struct attempt *attempt, struct script_error *error)
{
    struct subscription *subscription = attempt->subscription;
    const struct entry *entry = attempt->entry;
    subscription->watermark.changed = true; /* the number of attempts */
    if (is_last(attempt, error)) {
        failure_give_up(attempt, error);
    } else if (subscription->stopping) {
        attempt_abandon(attempt);
    } else {
        int64_t delay = attempt_backoff_ms(subscription, entry->attempts);
        log_warn(subscription->options.log, subscription->subject,
                 "%s (record %s, attempt %u; again in %lld ms)", error->text, entry->record->sequence,
                 entry->attempts, (long long)delay);
        subscription_observe(subscription, entry, OUTCOME_RETRIED, error->text);
        subscription->stats.retried++;
        timer_set(subscription->options.reactor, &attempt->backoff, delay);
    }
    script_error_fini(error);
}

static void on_handled(struct attempt *attempt, struct script_outcome *outcome)
{
    struct subscription *subscription = attempt->subscription;
    subscription_observe(subscription, attempt->entry, OUTCOME_HANDLED, NULL);
    subscription->stats.handled++;
    if (attempt->call.window)
        window_take_state(subscription, &outcome->state);
    attempt_settle(attempt, true);
}

static void on_ended(struct attempt *attempt, enum script_result result, struct script_outcome *outcome)
{
    struct subscription *subscription = attempt->subscription;
    if (result == SCRIPT_RETURNED && outcome->failed) {
        outcome->error.text = mem_printf("%s: on_batch gave the record back as failed",
                                         script_name(subscription->options.script));
        outcome->error.traceback = mem_string("");
        result = SCRIPT_RAISED;
    }
    if (result == SCRIPT_RETURNED)
        on_handled(attempt, outcome);
    else
        attempt_failed(attempt, &outcome->error);
    script_outcome_fini(outcome);
    failure_flush(subscription);
}

static void on_done(void *user, enum script_result result, struct script_outcome *outcome)
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
    struct script_outcome outcome;
    if (subscription_unwanted(subscription, entry)) {
        subscription->stats.left_out++;
        attempt_settle(attempt, true);
        failure_flush(subscription);
        return;
    }
    if (entry->attempts++)
        subscription->watermark.changed = true;
    attempt->input = (struct script_input){entry->record, entry->attempts, entry->block->redrive != 0};
    attempt->call = (struct script_call){&attempt->input, 1, &subscription->options.source, NULL};
    if (script_kind(subscription->options.script) == SCRIPT_WINDOWS) {
        window_accepts(subscription, entry->record->time_ms);
        window_fill_call(subscription, &attempt->window, &attempt->call);
    }
    enum script_result result = script_run(subscription->options.script, &attempt->call, on_done, attempt,
                                           &attempt->invocation, &outcome);
    if (result == SCRIPT_WAITING)
        subscription->running++;
    else
        on_ended(attempt, result, &outcome);
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
            script_cancel(attempt->invocation);
            subscription->running--;
        }
        if (attempt->invocation || timer_is_set(&attempt->backoff))
            attempt_abandon(attempt);
        /* else its dead letter is on its way to the store, which will answer */
    }
}
