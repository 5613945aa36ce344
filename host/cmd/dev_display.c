/* dev_display.c: a line for each record and handler, and one for each call the handler made. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd/dev.h"

#define VALUE_SHOWN_MAX 40
#define CALL_SHOWN_MAX 120

#define INBOX_MAX 100
#define INBOX_BYTES_MAX 2000

struct dev_display {
    pthread_mutex_t lock;
    bool colour;
    char *inbox[INBOX_MAX]; /* a ring */
    size_t came;
};

struct dev_display *dev_display_new(void)
{
    struct dev_display *display = mem_zero(sizeof *display);
    pthread_mutex_init(&display->lock, NULL);
    display->colour = isatty(STDOUT_FILENO);
    return display;
}

void dev_display_free(struct dev_display *display)
{
    if (!display)
        return;
    for (size_t i = 0; i < INBOX_MAX; i++)
        free(display->inbox[i]);
    pthread_mutex_destroy(&display->lock);
    free(display);
}

static void add_colour(const struct dev_display *display, struct buf *out, const char *colour,
                       const char *text)
{
    if (display->colour)
        buf_printf(out, "\033[%sm%s\033[0m", colour, text);
    else
        buf_add_text(out, text);
}

static void add_time(const struct dev_display *display, struct buf *out)
{
    char text[16];
    time_t now = time(NULL);
    struct tm local;
    strftime(text, sizeof text, "%H:%M:%S ", localtime_r(&now, &local));
    add_colour(display, out, "2", text);
}

/* Control characters could drive the terminal. */
static void add_shown(struct buf *out, const char *text, size_t size, size_t most)
{
    size_t shown = size < most ? size : most;
    while (shown < size && shown && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--; /* not in the middle of a character */
    struct buf printable = BUF_INIT;
    utf8_write_printable(&printable, text, shown);
    for (size_t i = 0; i < printable.size; i++) /* one line */
        buf_add_char(out, printable.data[i] == '\n' || printable.data[i] == '\t' ? ' ' : printable.data[i]);
    buf_fini(&printable);
    if (shown < size)
        buf_add_literal(out, "…");
}

static void print(struct dev_display *display, struct buf *line)
{
    buf_add_char(line, '\n');
    pthread_mutex_lock(&display->lock);
    fwrite(line->data, 1, line->size, stdout);
    fflush(stdout);
    pthread_mutex_unlock(&display->lock);
    buf_fini(line);
}

/* ---- records ---- */

static void add_value(struct buf *out, const struct json *attribute)
{
    const struct json *value = attribute ? attribute->child : NULL;
    struct buf text = BUF_INIT;
    if (!value)
        buf_add_literal(out, "–");
    else if (value->type == JSON_STRING)
        add_shown(out, value->text, value->size, VALUE_SHOWN_MAX);
    else {
        json_write_value(&text, value);
        add_shown(out, text.data, text.size, VALUE_SHOWN_MAX);
    }
    buf_fini(&text);
}

static const struct json *same_name(const struct json *image, const struct json *member)
{
    json_each(other, image)
        if (other->key_size == member->key_size && memcmp(other->key, member->key, member->key_size) == 0)
            return other;
    return NULL;
}

static bool same_value(const struct json *a, const struct json *b)
{
    struct buf x = BUF_INIT, y = BUF_INIT;
    json_write_value(&x, a);
    json_write_value(&y, b);
    bool same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

static void add_change(const struct dev_display *display, struct buf *out, const struct json *member,
                       const struct json *before, const struct json *after)
{
    char *name = mem_copy(member->key, member->key_size);
    buf_add_literal(out, "  ");
    add_colour(display, out, "36", name);
    buf_add_char(out, ' ');
    if (before) {
        add_value(out, before);
        buf_add_literal(out, " → ");
    }
    add_value(out, after);
    free(name);
}

/* The keys, and what differs. */
static void add_record(const struct dev_display *display, struct buf *out, const struct record *record)
{
    json_each(key, record->keys) {
        buf_add_char(out, ' ');
        add_value(out, key);
    }
    if (record->event == RECORD_REMOVE)
        return;
    json_each(member, record->new_image) {
        const struct json *before = record->old_image ? same_name(record->old_image, member) : NULL;
        if (!same_name(record->keys, member) && (!before || !same_value(before, member)))
            add_change(display, out, member, before, member);
    }
    json_each(member, record->old_image)
        if (!same_name(record->new_image, member))
            add_change(display, out, member, member, NULL);
}

static void on_attempted(void *user, const struct observed *observed)
{
    static const char *const colours[] = {"32", "33", "31", "31", "31"};
    static const char *const outcomes[] = {" done",
                                           " failed, will try again: ", " gave up, kept as a dead letter: ",
                                           " gave up, sent where on_failure says: ", " gave up, discarded: "};
    static const char *const events[] = {"32", "33", "31"};
    static_assert(COUNT_OF(outcomes) == OUTCOME_DISCARDED + 1 && COUNT_OF(colours) == COUNT_OF(outcomes),
                  "one for each outcome");
    static_assert(COUNT_OF(events) == RECORD_REMOVE + 1, "one for each event");
    struct dev_display *display = user;
    struct buf line = BUF_INIT;
    add_time(display, &line);
    add_colour(display, &line, events[observed->record->event], record_event_name(observed->record->event));
    buf_printf(&line, " %s", observed->table);
    add_record(display, &line, observed->record);
    buf_add_literal(&line, "  ");
    add_colour(display, &line, "1", observed->handler);
    add_colour(display, &line, colours[observed->outcome], outcomes[observed->outcome]);
    if (observed->error)
        add_shown(&line, observed->error, strlen(observed->error), 400);
    print(display, &line);
}

/* {"id": {"S": "x"}} as "id x". */
static void add_item(struct buf *out, const struct json *item)
{
    json_each(member, item) {
        buf_printf(out, "%s%.*s ", member == item->child ? "" : ", ", (int)member->key_size, member->key);
        add_value(out, member);
    }
}

/* What of a DynamoDB request tells most: the table, the item or key; else the request as it is. */
static void add_request(struct buf *out, const char *body, size_t size)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, body, size, NULL), *table = json_get(root, "TableName");
    const struct json *item = json_get(root, "Item") ? json_get(root, "Item") : json_get(root, "Key");
    if (table)
        buf_printf(out, "%.*s ", (int)table->size, table->text);
    if (item)
        add_item(out, item);
    else if (!table)
        buf_add(out, body, size);
    arena_fini(&arena);
}

static void on_called(void *user, const char *handler, const char *verb, const char *what, size_t size)
{
    struct dev_display *display = user;
    struct buf line = BUF_INIT, call = BUF_INIT, request = BUF_INIT;
    buf_printf(&call, "           %s: %s ", handler, verb);
    add_request(&request, what, size);
    add_shown(&call, request.data ? request.data : "", request.size, CALL_SHOWN_MAX);
    add_colour(display, &line, "2", call.data);
    buf_fini(&call);
    buf_fini(&request);
    print(display, &line);
}

struct observer dev_display_observer(struct dev_display *display)
{
    return (struct observer){.called = on_called, .attempted = on_attempted, .user = display};
}

static void keep(struct dev_display *display, const char *what, const char *text, size_t size)
{
    char *own = mem_printf("%s  %.*s%s", what, (int)(size < INBOX_BYTES_MAX ? size : INBOX_BYTES_MAX), text,
                           size > INBOX_BYTES_MAX ? " ..." : "");
    pthread_mutex_lock(&display->lock);
    size_t at = display->came++ % INBOX_MAX;
    free(display->inbox[at]);
    display->inbox[at] = own;
    pthread_mutex_unlock(&display->lock);
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
    keep(display, what, body, size);
    free(what);
    add_time(display, &line);
    add_colour(display, &line, "35", method);
    buf_printf(&line, " ");
    add_shown(&line, path, strlen(path), 200);
    buf_add_literal(&line, "  ");
    add_shown(&line, body, size, CALL_SHOWN_MAX);
    print(display, &line);
}
