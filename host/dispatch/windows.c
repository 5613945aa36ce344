/* windows.c: tumbling windows: the state between calls of on_window, and the window's last call.
 *
 * A window is closed by the time of the records: by the first that belongs to a later one, or by an empty
 * page read after its end. The state is kept in the same write as the checkpoint, so that each record counts
 * in it once. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "dispatch/internal.h"
#include "source/source.h"

/* A record may be read so much later than its time says; ScyllaDB Alternator shows them after ten seconds
 * more (alternator_streams_time_window_s). */
#define LATE_MS 5000
#define ALTERNATOR_LATE_MS 15000

static int64_t late_ms(const struct subscription *subscription)
{
    return stream_is_alternator(subscription->options.source.stream_arn) ? ALTERNATOR_LATE_MS : LATE_MS;
}

/* ---- kept with the checkpoint ---- */

void window_read(struct subscription *subscription, const char *progress)
{
    struct window *window = &subscription->window;
    struct arena arena = {0};
    struct err err;
    const struct json *root = *progress ? json_parse(&arena, progress, strlen(progress), &err) : NULL;
    const struct json *kept = json_get(root, "window"), *state = json_get(kept, "state");
    window->closed_ms = json_integer(json_get(root, "closed"), 0);
    if (kept) {
        window->open = true;
        window->start_ms = json_integer(json_get(kept, "start"), 0);
        window->end_ms = json_integer(json_get(kept, "end"), 0);
        window->attempts = json_integer(json_get(kept, "attempts"), 0);
        window->due_ms = json_integer(json_get(kept, "due"), 0);
    }
    if (state) {
        struct buf text = BUF_INIT;
        json_write_value(&text, state);
        window->state = mem_string(text.data);
        buf_fini(&text);
    }
    arena_fini(&arena);
}

void window_write(const struct subscription *subscription, struct buf *progress)
{
    const struct window *window = &subscription->window;
    if (window->closed_ms)
        buf_printf(progress, "%s\"closed\":%lld", progress->size > 1 ? "," : "",
                   (long long)window->closed_ms);
    if (!window->open)
        return;
    buf_printf(progress, "%s\"window\":{\"start\":%lld,\"end\":%lld", progress->size > 1 ? "," : "",
               (long long)window->start_ms, (long long)window->end_ms);
    if (window->attempts)
        buf_printf(progress, ",\"attempts\":%lld,\"due\":%lld", (long long)window->attempts,
                   (long long)window->due_ms);
    if (window->state) {
        buf_add_literal(progress, ",\"state\":");
        buf_add_text(progress, window->state);
    }
    buf_add_char(progress, '}');
}

bool subscription_inherit(const char *parent_progress, struct buf *progress)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root =
        *parent_progress ? json_parse(&arena, parent_progress, strlen(parent_progress), &err) : NULL;
    const struct json *window = json_get(root, "window");
    if (window) {
        buf_printf(progress,
                   "{\"closed\":%lld,\"window\":", (long long)json_integer(json_get(root, "closed"), 0));
        json_write_value(progress, window);
        buf_add_char(progress, '}');
    }
    arena_fini(&arena);
    return window != NULL;
}

void window_fini(struct subscription *subscription)
{
    timer_stop(subscription->options.reactor, &subscription->window.backoff);
    handler_error_fini(&subscription->window.error);
    free(subscription->window.state);
    subscription->window.state = NULL;
}

/* ---- the last call ---- */

static void closed(struct subscription *subscription)
{
    struct window *window = &subscription->window;
    free(window->state);
    window->state = NULL;
    window->open = window->closing = false;
    window->closed_ms = window->end_ms;
    window->attempts = window->due_ms = 0;
    subscription->watermark.changed = true;
    subscription_keep_working(subscription);
}

void window_given_up(struct subscription *subscription)
{
    closed(subscription);
    subscription_report_if_drained(subscription);
}

void window_kept(void *user, const struct err *err)
{
    struct subscription *subscription = user;
    subscription->window.keeping = false;
    if (err) { /* the store was closed first */
        subscription->window.closing = false;
        return;
    }
    subscription->stats.dead++;
    window_given_up(subscription);
}

static void on_failed(struct subscription *subscription, struct handler_error *error)
{
    struct window *window = &subscription->window;
    const struct handler_settings *settings = &subscription->settings;
    bool counts = error->failure != FAILURE_NO_ATTEMPT;
    window->attempts -= !counts;
    subscription->watermark.changed = true; /* the number of attempts */
    attempt_keep_trouble(subscription, error->text);
    if (!counts && subscription->stopping) {
        window->closing = false; /* made again when the host is back */
    } else if (error->failure == FAILURE_PERMANENT) {
        failure_give_up_window(subscription, error, "PermanentError");
    } else if (counts && settings->retries >= 0 && window->attempts > settings->retries) {
        failure_give_up_window(subscription, error, "RetryAttemptsExhausted");
    } else {
        int64_t delay = attempt_backoff_ms(subscription, window->attempts + !counts);
        window->due_ms = subscription_wall_ms(subscription) + delay;
        if (subscription->stopping) { /* made again when the host is back */
            window->closing = false;
            return;
        }
        log_warn(subscription->options.log, subscription->subject,
                 "%s (end of the window of %lld, attempt %lld; again in %lld ms)", error->text,
                 (long long)window->start_ms / 1000, (long long)window->attempts, (long long)delay);
        subscription->stats.retried++;
        timer_set(subscription->options.reactor, &window->backoff, delay);
    }
}

static void on_ended(struct subscription *subscription, enum handler_result result,
                     struct handler_outcome *outcome)
{
    if (result == HANDLER_RETURNED)
        closed(subscription);
    else
        on_failed(subscription, &outcome->error);
    handler_outcome_fini(outcome);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct subscription *subscription = user;
    subscription->window.invocation = NULL;
    subscription->running--;
    on_ended(subscription, result, outcome);
    subscription_report_if_drained(subscription);
}

static void call_last(void *user)
{
    struct subscription *subscription = user;
    struct window *window = &subscription->window;
    struct handler_outcome outcome;
    window->attempts++;
    window->due_ms = 0;
    window_fill_call(subscription, &window->arguments, &window->call);
    window->call.count = 0;
    window->call.source = &subscription->options.source;
    window->arguments.final = true;
    window->handler = subscription->options.handler;
    enum handler_result result =
        handler_run(window->handler, &window->call, on_done, subscription, &window->invocation, &outcome);
    if (result == HANDLER_WAITING)
        subscription->running++;
    else
        on_ended(subscription, result, &outcome);
}

static void begin_closing(struct subscription *subscription)
{
    struct window *window = &subscription->window;
    int64_t wait_ms = attempt_wait_ms(subscription, window->due_ms);
    window->closing = true;
    timer_init(&window->backoff, call_last, subscription);
    if (!wait_ms)
        call_last(subscription);
    else
        timer_set(subscription->options.reactor, &window->backoff, wait_ms);
}

bool window_runs(const struct subscription *subscription)
{
    const struct window *window = &subscription->window;
    return window->invocation || window->failing || window->keeping;
}

bool window_busy(const struct subscription *subscription)
{
    return subscription->window.closing;
}

void window_abandon(struct subscription *subscription)
{
    struct window *window = &subscription->window;
    timer_stop(subscription->options.reactor, &window->backoff);
    if (window->invocation) {
        handler_cancel(window->handler, window->invocation);
        window->invocation = NULL;
        subscription->running--;
    }
    failing_cancel(window->failing);
    window->failing = NULL;
    window->closing = false;
}

/* ---- records ---- */

/* One out of the dead letters closes no window, nor opens one ahead of what waits: it counts in the window of
 * that. */
int64_t window_time(const struct subscription *subscription, const struct entry *entry)
{
    const struct window *window = &subscription->window;
    int64_t time_ms = entry->record->time_ms, oldest_ms;
    if (!entry->block->redrive)
        return time_ms;
    if (window->open)
        return time_ms < window->end_ms ? time_ms : window->end_ms - 1;
    oldest_ms = watermark_oldest_ms(&subscription->watermark);
    return oldest_ms && oldest_ms < time_ms ? oldest_ms : time_ms;
}

/* One that comes late, behind the end of its window, belongs to the one that is open. */
bool window_holds(const struct subscription *subscription, int64_t time_ms)
{
    return subscription->window.open && time_ms < subscription->window.end_ms;
}

bool window_accepts(struct subscription *subscription, int64_t time_ms)
{
    struct window *window = &subscription->window;
    int64_t length_ms = subscription->settings.tumbling_window_ms;
    if (window->open && time_ms >= window->end_ms && !window->closing)
        begin_closing(subscription);
    if (window->closing)
        return false;
    if (!window->open) {
        int64_t start_ms = time_ms - time_ms % length_ms;
        window->start_ms = start_ms > window->closed_ms ? start_ms : window->closed_ms;
        window->end_ms = window->start_ms - window->start_ms % length_ms + length_ms;
        window->open = true;
    }
    return true;
}

void window_fill_call(const struct subscription *subscription, struct handler_window *arguments,
                      struct handler_call *call)
{
    const struct window *window = &subscription->window;
    *arguments = (struct handler_window){window->start_ms, window->end_ms, window->state, false};
    call->window = arguments;
}

void window_take_state(struct subscription *subscription, char **state)
{
    free(subscription->window.state);
    subscription->window.state = *state;
    subscription->watermark.changed = true;
    *state = NULL;
}

void subscription_close_window(struct subscription *subscription)
{
    struct window *window = &subscription->window;
    if (!window->open || window->closing || subscription->stopping)
        return;
    if (handler_kind(subscription->options.handler) == HANDLER_WINDOWS) {
        begin_closing(subscription);
    } else {
        log_warn(subscription->options.log, subscription->subject,
                 "it has no on_window any more: the state of the window of %lld is dropped",
                 (long long)window->start_ms / 1000);
        closed(subscription);
    }
}

void subscription_caught_up(struct subscription *subscription, int64_t time_ms)
{
    const struct window *window = &subscription->window;
    subscription_ended(subscription);
    if (window->open && !window->closing && !subscription->stopping && !subscription->unsettled &&
        time_ms >= window->end_ms + late_ms(subscription) &&
        handler_kind(subscription->options.handler) == HANDLER_WINDOWS)
        begin_closing(subscription);
}
