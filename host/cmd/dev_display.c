/* dev_display.c: a line for each record with what became of it in each handler, and under it the calls. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/cmd.h"
#include "cmd/dev.h"
#include "cmd/seen.h"
#include "cmd/story.h"

#define ERROR_SHOWN_MAX 400
#define BODY_SHOWN_MAX 120
#define PATH_SHOWN_MAX 200

#define QUIET_MS 120 /* nobody has said anything of a record for so long: its line is written */
#define KEPT_EVERY_MS 1000
#define OUT_BYTES_MAX (1u << 20)
#define CHUNK_BYTES 512 /* a pipe that takes any takes so many at once */
#define LAST_MS 500     /* at the end */
#define HELD_MS 1000
#define HELD_MAX 200    /* records of which somebody may still say something */
#define BELOW_INDENT 11 /* of what stands under a record */
#define CALLS_MAX 50    /* of a record that are shown */

#define INBOX_MAX 100
#define INBOX_BYTES_MAX 2000

/* What is known of a record and not told yet. */
struct held {
    struct list member;
    char *key;       /* stream and unit; "" of calls for no record */
    struct buf head; /* the record */
    struct buf outcomes, below;
    struct list calls;         /* of handlers that have not ended with it */
    size_t call_count;         /* all */
    int64_t first_ms, last_ms; /* 0: no outcome yet */
};

struct held_call {
    struct list member;
    char *handler, *text;
};

struct dev_display {
    pthread_mutex_t lock;
    struct clock clock;
    const char *ini;
    struct seen seen; /* what handlers call; with ... */
    const struct config *config;
    struct buf out; /* that is to be written, and lines that were too many */
    size_t left_out;
    int64_t kept_ms; /* when that was written last */
    bool colour;
    struct list held; /* in the order of what was first said of them */
    size_t held_count;
    char *inbox[INBOX_MAX]; /* a ring */
    size_t came;
};

struct dev_display *dev_display_new(const char *ini)
{
    struct dev_display *display = mem_zero(sizeof *display);
    pthread_mutex_init(&display->lock, NULL);
    display->clock = clock_system();
    display->ini = ini;
    display->colour = isatty(STDOUT_FILENO);
    list_init(&display->held);
    return display;
}

static const char *style(const struct dev_display *display, const char *colour)
{
    return display->colour ? colour : NULL;
}

static void add_time(const struct dev_display *display, struct buf *out)
{
    char text[16];
    time_t now = time(NULL);
    struct tm local;
    strftime(text, sizeof text, "%H:%M:%S", localtime_r(&now, &local));
    story_add_styled(out, style(display, "2"), text);
    buf_add_char(out, ' ');
}

/* What is shown is put together here and written by the console's thread: a terminal that is stopped, or a
 * pipe that nobody reads, holds no handler up. */
static void print(struct dev_display *display, struct buf *line)
{
    buf_add_char(line, '\n');
    if (display->out.size < OUT_BYTES_MAX)
        buf_add(&display->out, line->data, line->size);
    else
        display->left_out++;
    buf_fini(line);
}

/* Of what there is as much as is taken within `ms`. */
static void write_out(struct dev_display *display, int ms)
{
    struct pollfd taken = {.fd = STDOUT_FILENO, .events = POLLOUT};
    fflush(stdout);
    pthread_mutex_lock(&display->lock);
    if (display->left_out && display->out.size < OUT_BYTES_MAX / 2) {
        buf_printf(&display->out, "(%zu lines were left out)\n", display->left_out);
        display->left_out = 0;
    }
    struct buf text = display->out;
    display->out = BUF_INIT;
    pthread_mutex_unlock(&display->lock);
    size_t at = 0;
    while (at < text.size && poll(&taken, 1, ms) > 0 && !(taken.revents & POLLNVAL)) {
        size_t size = text.size - at < CHUNK_BYTES ? text.size - at : CHUNK_BYTES;
        ssize_t written = write(STDOUT_FILENO, text.data + at, size);
        if (written < 0 && errno == EPIPE) { /* whoever read it has gone: nobody wants any of it */
            kill(getpid(), SIGTERM);
            at = text.size;
        } else if (written < 0 && errno != EINTR && errno != EAGAIN) {
            at = text.size;
        } else if (written > 0) {
            at += (size_t)written;
        }
    }
    pthread_mutex_lock(&display->lock);
    struct buf rest = BUF_INIT;
    if (at < text.size)
        buf_add(&rest, text.data + at, text.size - at);
    if (display->out.size)
        buf_add(&rest, display->out.data, display->out.size);
    buf_fini(&display->out);
    display->out = rest;
    pthread_mutex_unlock(&display->lock);
    buf_fini(&text);
}

/* ---- what is held ---- */

static void free_call(struct held_call *call)
{
    list_remove(&call->member);
    free(call->handler);
    free(call->text);
    free(call);
}

static void free_held(struct dev_display *display, struct held *held)
{
    struct held_call *call;
    list_each(call, &held->calls, struct held_call, member)
        free_call(call);
    list_remove(&held->member);
    display->held_count--;
    buf_fini(&held->head);
    buf_fini(&held->outcomes);
    buf_fini(&held->below);
    free(held->key);
    free(held);
}

/* The line of the record, cut so that what became of it is on it; and what there is below. */
static void write_held(struct dev_display *display, struct held *held)
{
    struct buf line = BUF_INIT;
    size_t width = cmd_columns(), wanted = story_columns(&held->outcomes) + 2;
    add_time(display, &line);
    buf_add(&line, held->head.data, held->head.size);
    if (width)
        story_cut(&line, width > wanted + width / 3 ? width - wanted : width / 3);
    buf_add_literal(&line, "  ");
    buf_add(&line, held->outcomes.data, held->outcomes.size);
    if (width)
        story_cut(&line, width);
    print(display, &line);
    if (held->below.size)
        buf_add(&display->out, held->below.data, held->below.size);
    buf_fini(&held->outcomes);
    buf_fini(&held->below);
    held->first_ms = held->last_ms = 0;
}

/* Whoever has calls under way for it will speak of it once more. */
static void tell(struct dev_display *display, struct held *held)
{
    if (held->last_ms)
        write_held(display, held);
    if (list_empty(&held->calls))
        free_held(display, held);
}

void dev_display_tell(struct dev_display *display, bool all)
{
    pthread_mutex_lock(&display->lock);
    int64_t now_ms = clock_monotonic_ms(&display->clock);
    struct list *next;
    for (struct list *at = display->held.next; at != &display->held; at = next) {
        struct held *held = list_entry(at, struct held, member);
        next = at->next;
        if (held->last_ms &&
            (all || now_ms - held->last_ms >= QUIET_MS || now_ms - held->first_ms >= HELD_MS))
            tell(display, held);
    }
    if (display->seen.changed && (all || now_ms - display->kept_ms >= KEPT_EVERY_MS)) {
        seen_save(&display->seen, display->ini);
        display->kept_ms = now_ms;
    }
    pthread_mutex_unlock(&display->lock);
    write_out(display, all ? LAST_MS : 0);
}

void dev_display_set_config(struct dev_display *display, const struct config *config)
{
    pthread_mutex_lock(&display->lock);
    config_release(display->config);
    display->config = config_hold(config);
    pthread_mutex_unlock(&display->lock);
}

void dev_display_print_seen(struct dev_display *display)
{
    pthread_mutex_lock(&display->lock);
    seen_print(&display->seen, NULL);
    pthread_mutex_unlock(&display->lock);
}

static struct held *find_held(struct dev_display *display, const char *key)
{
    for (struct list *at = display->held.next; at != &display->held; at = at->next)
        if (strcmp(list_entry(at, struct held, member)->key, key) == 0)
            return list_entry(at, struct held, member);
    return NULL;
}

/* Takes the key. */
static struct held *hold(struct dev_display *display, char *key)
{
    struct held *held = find_held(display, key);
    if (held) {
        free(key);
        return held;
    }
    if (display->held_count == HELD_MAX) {
        struct held *first = list_entry(display->held.next, struct held, member);
        if (first->last_ms)
            write_held(display, first);
        free_held(display, first);
    }
    held = mem_zero(sizeof *held);
    held->key = key;
    list_init(&held->calls);
    list_append(&display->held, &held->member);
    display->held_count++;
    return held;
}

static char *key_of(const char *stream_arn, const struct record *record)
{
    char unit[RECORD_UNIT_SIZE];
    return record ? mem_printf("%s %s", stream_arn, record_unit(record, unit)) : mem_string("");
}

/* ---- what is told ---- */

/* Calls are cut to the line; an error is not. */
static void add_below(const struct dev_display *display, struct held *held, const char *handler,
                      const char *text, const char *colour)
{
    struct buf line = BUF_INIT, whole = BUF_INIT;
    buf_printf(&whole, "%*s%s: %s", BELOW_INDENT, "", handler, text);
    story_add_styled(&line, style(display, colour), whole.data);
    buf_add_char(&line, '\n');
    buf_add(&held->below, line.data, line.size);
    buf_fini(&line);
    buf_fini(&whole);
}

static void take_calls(const struct dev_display *display, struct held *held, const char *handler)
{
    struct list *next;
    for (struct list *at = held->calls.next; at != &held->calls; at = next) {
        struct held_call *call = list_entry(at, struct held_call, member);
        next = at->next;
        if (strcmp(call->handler, handler) != 0)
            continue;
        add_below(display, held, handler, call->text, "2");
        free_call(call);
    }
}

static void on_attempted(void *user, const struct observed *observed)
{
    struct dev_display *display = user;
    struct buf error = BUF_INIT;
    pthread_mutex_lock(&display->lock);
    struct held *held = hold(display, key_of(observed->stream_arn, observed->record));
    if (!held->head.size)
        story_add_record(&held->head, observed->table, observed->record, display->colour);
    if (held->outcomes.size)
        buf_add_literal(&held->outcomes, ", ");
    story_add_styled(&held->outcomes, style(display, "1"), observed->handler);
    buf_add_char(&held->outcomes, ' ');
    story_add_styled(&held->outcomes, style(display, story_outcome_colour(observed->outcome)),
                     observed->outcome == OUTCOME_HANDLED   ? "done"
                     : observed->outcome == OUTCOME_RETRIED ? "failed"
                                                            : "gave up");
    if (observed->attempt > 1)
        buf_printf(&held->outcomes, " (attempt %lld)", (long long)observed->attempt);
    take_calls(display, held, observed->handler);
    if (observed->outcome != OUTCOME_HANDLED) {
        buf_printf(&error, "%s: ", story_outcome(observed->outcome));
        story_add_shown(&error, observed->error, strlen(observed->error), ERROR_SHOWN_MAX);
        add_below(display, held, observed->handler, error.data, story_outcome_colour(observed->outcome));
    }
    held->last_ms = clock_monotonic_ms(&display->clock);
    held->first_ms = held->first_ms ? held->first_ms : held->last_ms;
    held->call_count = 0;
    buf_fini(&error);
    pthread_mutex_unlock(&display->lock);
}

/* A call that is for no record: of a request, or of a window's last call. */
static void tell_alone(struct dev_display *display, const char *handler, struct buf *text)
{
    struct buf line = BUF_INIT;
    add_time(display, &line);
    story_add_styled(&line, style(display, "1"), handler);
    buf_printf(&line, ": %s", text->data);
    print(display, &line);
    buf_fini(text);
}

static void on_called(void *user, const struct observed_call *observed)
{
    struct dev_display *display = user;
    struct buf text = BUF_INIT;
    size_t width = cmd_columns(), before = BELOW_INDENT + strlen(observed->handler) + strlen(": ");
    story_add_call(&text, observed, width > before ? width - before : width);
    pthread_mutex_lock(&display->lock);
    seen_note(&display->seen, display->config, observed);
    if (!observed->record) {
        tell_alone(display, observed->handler, &text);
        pthread_mutex_unlock(&display->lock);
        return;
    }
    struct held *held = hold(display, key_of(observed->stream_arn, observed->record));
    if (++held->call_count > CALLS_MAX) {
        buf_fini(&text);
    } else {
        struct held_call *call = mem_zero(sizeof *call);
        call->handler = mem_string(observed->handler);
        call->text = held->call_count == CALLS_MAX ? mem_string("... and more") : buf_take(&text);
        buf_fini(&text);
        list_append(&held->calls, &call->member);
    }
    pthread_mutex_unlock(&display->lock);
}

struct observer dev_display_observer(struct dev_display *display)
{
    return (struct observer){.called = on_called, .attempted = on_attempted, .tells = true, .user = display};
}

void dev_display_free(struct dev_display *display)
{
    if (!display)
        return;
    dev_display_tell(display, true);
    struct held *held;
    list_each(held, &display->held, struct held, member)
        free_held(display, held);
    for (size_t i = 0; i < INBOX_MAX; i++)
        free(display->inbox[i]);
    buf_fini(&display->out);
    seen_fini(&display->seen);
    config_release(display->config);
    pthread_mutex_destroy(&display->lock);
    free(display);
}

/* ---- the inbox ---- */

static void keep(struct dev_display *display, const char *what, const char *text, size_t size)
{
    char *own = mem_printf("%s  %.*s%s", what, (int)(size < INBOX_BYTES_MAX ? size : INBOX_BYTES_MAX), text,
                           size > INBOX_BYTES_MAX ? " ..." : "");
    size_t at = display->came++ % INBOX_MAX;
    free(display->inbox[at]);
    display->inbox[at] = own;
}

void dev_display_write_inbox(void *user, struct buf *out)
{
    struct dev_display *display = user;
    buf_add_char(out, '[');
    pthread_mutex_lock(&display->lock);
    for (size_t i = 0; i < INBOX_MAX && i < display->came; i++) {
        char *valid = utf8_copy(display->inbox[(display->came - 1 - i) % INBOX_MAX]);
        if (i)
            buf_add_char(out, ',');
        json_write_string(out, valid, strlen(valid));
        free(valid);
    }
    pthread_mutex_unlock(&display->lock);
    buf_add_char(out, ']');
}

void dev_display_inbox(void *user, const char *method, const char *path, const char *body, size_t size)
{
    struct dev_display *display = user;
    struct buf line = BUF_INIT;
    char *what = mem_printf("%s %s", method, path);
    pthread_mutex_lock(&display->lock);
    keep(display, what, body, size);
    add_time(display, &line);
    story_add_styled(&line, style(display, "35"), method);
    buf_add_char(&line, ' ');
    story_add_shown(&line, path, strlen(path), PATH_SHOWN_MAX);
    buf_add_literal(&line, "  ");
    story_add_shown(&line, body, size, BODY_SHOWN_MAX);
    if (cmd_columns())
        story_cut(&line, cmd_columns());
    print(display, &line);
    pthread_mutex_unlock(&display->lock);
    free(what);
}
