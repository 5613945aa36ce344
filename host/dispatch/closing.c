/* closing.c: see closing.h. */
#include "dispatch/closing.h"

#include "base/check.h"

static void make_call(void *user);

void closing_init(struct closing *closing, struct ledger *ledger)
{
    *closing = (struct closing){.ledger = ledger};
    timer_init(&closing->backoff, make_call, closing);
}

static void close(struct closing *closing)
{
    window_close(&closing->ledger->window);
    ledger_changed(closing->ledger);
    ledger_wake(closing->ledger);
}

/* The window stays as it was kept: its last call is made when the host is back. */
static void leave(struct closing *closing)
{
    if (closing->ledger->window.phase == WINDOW_CLOSING)
        closing->ledger->window.phase = WINDOW_ENDED;
    ledger_wake(closing->ledger);
}

static void on_given_up(void *user, enum given_up to)
{
    struct closing *closing = user;
    CHECK(to != GIVEN_UP_LATER);
    closing->failure = NULL;
    if (to == GIVEN_UP_NOT)
        leave(closing);
    else
        close(closing);
}

static void give_up(struct closing *closing, struct handler_error *error, const char *condition)
{
    enum given_up to =
        failure_give_up(closing->ledger, NULL, error, condition, on_given_up, closing, &closing->failure);
    if (to != GIVEN_UP_LATER)
        on_given_up(closing, to);
}

static void wait_for_next(struct closing *closing, const char *because, int64_t attempts)
{
    struct ledger *ledger = closing->ledger;
    struct window *window = &ledger->window;
    int64_t delay = ledger_backoff_ms(ledger, attempts);
    window->due_ms = ledger_wall_ms(ledger) + delay;
    if (ledger->stopping) {
        leave(closing);
        return;
    }
    log_warn(ledger->options.log, ledger->subject,
             "%s (end of the window of %lld, attempt %lld; again in %lld ms)", because,
             (long long)window->start_ms / 1000, (long long)window->attempts, (long long)delay);
    ledger->counters->retried++;
    timer_set(ledger->options.reactor, &closing->backoff, delay);
}

static void on_failed(struct closing *closing, struct handler_error *error)
{
    struct ledger *ledger = closing->ledger;
    struct window *window = &ledger->window;
    int64_t retries = ledger->settings.retries;
    bool counts = error->failure != FAILURE_NO_ATTEMPT;
    window->attempts -= !counts;
    ledger_changed(ledger); /* the number of attempts */
    ledger_keep_trouble(ledger, error->text, NULL);
    if (!counts && ledger->stopping)
        leave(closing);
    else if (error->failure == FAILURE_PERMANENT)
        give_up(closing, error, "PermanentError");
    else if (counts && retries >= 0 && window->attempts > retries)
        give_up(closing, error, "RetryAttemptsExhausted");
    else
        wait_for_next(closing, error->text, window->attempts + !counts);
}

static void on_ended(struct closing *closing, enum handler_result result, struct handler_outcome *outcome)
{
    ledger_time_call(closing->ledger, &closing->call, outcome);
    if (result == HANDLER_RETURNED)
        close(closing);
    else
        on_failed(closing, &outcome->error);
    handler_outcome_fini(outcome);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct closing *closing = user;
    CHECK(closing->invocation);
    closing->invocation = NULL;
    ledger_ended_call(closing->ledger);
    on_ended(closing, result, outcome);
}

/* Another version of the script has no on_window. */
static void drop_state(struct closing *closing)
{
    const struct ledger *ledger = closing->ledger;
    log_warn(ledger->options.log, ledger->subject,
             "it has no on_window any more: the state of the window of %lld is dropped",
             (long long)ledger->window.start_ms / 1000);
    close(closing);
}

static void make_call(void *user)
{
    struct closing *closing = user;
    struct ledger *ledger = closing->ledger;
    struct handler_outcome outcome;
    CHECK(ledger->window.phase == WINDOW_CLOSING && !closing->invocation && !closing->failure);
    if (!ledger_has_windows(ledger)) {
        drop_state(closing);
        return;
    }
    ledger->window.attempts++;
    ledger->window.due_ms = 0;
    closing->arguments = window_of_call(&ledger->window, true);
    closing->call = (struct handler_call){.source = &ledger->options.source, .window = &closing->arguments};
    closing->handler = ledger->options.handler;
    closing->call.begun_us = ledger_begin_call(ledger);
    enum handler_result result =
        handler_run(closing->handler, &closing->call, on_done, closing, &closing->invocation, &outcome);
    if (result == HANDLER_WAITING)
        ledger_began_call(ledger);
    else
        on_ended(closing, result, &outcome);
}

void closing_begin(struct closing *closing)
{
    struct ledger *ledger = closing->ledger;
    int64_t wait_ms = ledger_wait_ms(ledger, ledger->window.due_ms);
    CHECK(ledger->window.phase == WINDOW_ENDED);
    ledger->window.phase = WINDOW_CLOSING;
    if (!wait_ms)
        make_call(closing);
    else
        timer_set(ledger->options.reactor, &closing->backoff, wait_ms);
}

bool closing_runs(const struct closing *closing)
{
    return closing->invocation || closing->failure;
}

bool closing_waits(const struct closing *closing)
{
    return timer_is_set(&closing->backoff);
}

void closing_abandon(struct closing *closing)
{
    struct ledger *ledger = closing->ledger;
    timer_stop(ledger->options.reactor, &closing->backoff);
    if (closing->invocation) {
        handler_cancel(closing->handler, closing->invocation);
        closing->invocation = NULL;
        ledger_ended_call(ledger);
    }
    if (closing->failure && failure_cancel(closing->failure))
        closing->failure = NULL;
    if (!closing->failure)
        leave(closing);
    /* else its dead letter is on its way to the store, which will answer */
}
