/* event.c: see event.h. */
#include "cmd/event.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"

static bool is_object(const struct json *value)
{
    return value && value->type == JSON_OBJECT;
}

/* The record's text, with what it may leave out. `number` counts from 1. */
static bool add_record(struct buf *out, const struct json *record, size_t number, struct err *err)
{
    const struct json *event = json_get(record, "eventName"), *change = json_get(record, "dynamodb");
    if (!is_object(record))
        return err_set(err, ERR_PARSE, "record %zu is no object", number);
    if (!is_object(change))
        return err_set(err, ERR_PARSE, "record %zu has no dynamodb, which holds Keys and images", number);
    if (!json_string_is(event, "INSERT") && !json_string_is(event, "MODIFY") &&
        !json_string_is(event, "REMOVE"))
        return err_set(err, ERR_PARSE, "record %zu: eventName: INSERT, MODIFY or REMOVE expected", number);
    if (!is_object(json_get(change, "Keys")))
        return err_set(err, ERR_PARSE, "record %zu has no dynamodb.Keys, such as {\"id\": {\"S\": \"a\"}}",
                       number);
    struct clock clock = clock_system();
    size_t before = 1;
    buf_add_char(out, '{');
    if (!json_get(record, "eventID")) /* record.id, which what is done once goes by */
        buf_printf(out, "\"eventID\":\"invoke-%lld-%zu\",", (long long)clock_wall_ms(&clock), number);
    if (!json_get(change, "SequenceNumber")) {
        before = (size_t)(change->text + 1 - record->text);
        buf_add(out, record->text + 1, before - 1);
        buf_printf(out, "\"SequenceNumber\":\"%zu\",", number);
    }
    buf_add(out, record->text + before, record->size - before);
    return true;
}

static bool add_records(struct buf *out, const struct json *root, struct err *err)
{
    const struct json *records = is_object(root) ? json_get(root, "Records") : root;
    size_t number = 0;
    if (is_object(root) && !records)
        return add_record(out, root, 1, err);
    if (records->type != JSON_ARRAY)
        return err_set(err, ERR_PARSE, "{\"Records\": [...]}, a list of records or a record expected");
    json_each(record, records) {
        if (number)
            buf_add_char(out, ',');
        if (!add_record(out, record, ++number, err))
            return false;
    }
    return true;
}

struct page *event_read(const char *name, const char *text, size_t size, struct err *err)
{
    struct arena arena = ARENA_INIT;
    struct buf body = BUF_INIT;
    struct page *page = NULL;
    const struct json *root = json_parse(&arena, text, size, err);
    buf_add_literal(&body, "{\"Records\":[");
    if (root && add_records(&body, root, err)) {
        buf_add_literal(&body, "]}");
        page = page_read(&body, err);
    }
    if (!page)
        err_prefix(err, "%s", name);
    buf_fini(&body);
    arena_fini(&arena);
    return page;
}
