/* story.c: see story.h. */
#include "cmd/story.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "record/unmarshal.h"

#define VALUE_SHOWN_MAX 40
#define REQUEST_SHOWN_MAX 100
#define ANSWER_SHOWN_MAX 200
#define ESCAPE 27

/* ---- texts ---- */

void story_add_shown(struct buf *out, const char *text, size_t size, size_t most)
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

void story_add_styled(struct buf *out, const char *style, const char *text)
{
    if (style)
        buf_printf(out, "\033[%sm%s\033[0m", style, text);
    else
        buf_add_text(out, text);
}

/* Bytes of the character or the colour that begins here, and whether it takes a column. */
static size_t step(const struct buf *line, size_t at, bool *shown)
{
    size_t size = 1;
    *shown = line->data[at] != ESCAPE;
    if (*shown)
        while (at + size < line->size && ((unsigned char)line->data[at + size] & 0xc0) == 0x80)
            size++;
    else
        while (at + size < line->size && line->data[at + size - 1] != 'm')
            size++;
    return size;
}

size_t story_columns(const struct buf *line)
{
    size_t columns = 0;
    bool shown;
    for (size_t at = 0; at < line->size; at += step(line, at, &shown), columns += shown)
        continue;
    return columns;
}

void story_cut(struct buf *line, size_t columns)
{
    struct buf cut = BUF_INIT;
    size_t taken = 0;
    bool shown, coloured = false;
    if (story_columns(line) <= columns)
        return;
    for (size_t at = 0, size; at < line->size && taken + 1 < columns; at += size) {
        size = step(line, at, &shown);
        buf_add(&cut, line->data + at, size);
        taken += shown;
        coloured = coloured || !shown;
    }
    buf_add_literal(&cut, "…");
    if (coloured)
        buf_add_literal(&cut, "\033[0m");
    buf_fini(line);
    *line = cut;
}

/* ---- records ---- */

static void add_value(struct buf *out, const struct json *attribute)
{
    struct buf text = BUF_INIT;
    const struct json *value = attribute ? json_children(attribute) : NULL;
    if (!value)
        buf_add_literal(out, "–");
    else if (value->type == JSON_STRING)
        story_add_shown(out, value->text, value->size, VALUE_SHOWN_MAX);
    else {
        record_unmarshal(&text, attribute, false);
        story_add_shown(out, text.data ? text.data : "", text.size, VALUE_SHOWN_MAX);
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

struct change {
    const struct json *before, *after;
};

static int compare_changes(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    const struct json *one = x->after ? x->after : x->before, *other = y->after ? y->after : y->before;
    size_t size = one->key_size < other->key_size ? one->key_size : other->key_size;
    int order = memcmp(one->key, other->key, size);
    return order ? order : (one->key_size > other->key_size) - (one->key_size < other->key_size);
}

static void add_change(struct buf *out, const struct change *change, bool colour)
{
    const struct json *member = change->after ? change->after : change->before;
    struct buf name = BUF_INIT;
    story_add_shown(&name, member->key, member->key_size, VALUE_SHOWN_MAX);
    buf_add_literal(out, "  ");
    story_add_styled(out, colour ? "36" : NULL, name.data ? name.data : "");
    buf_add_char(out, ' ');
    if (change->before) {
        add_value(out, change->before);
        buf_add_literal(out, " → ");
    }
    add_value(out, change->after);
    buf_fini(&name);
}

/* What differs; the images have no order of their own. */
static void add_changes(struct buf *out, const struct record *record, bool colour)
{
    struct change *changes = NULL;
    size_t count = 0, capacity = 0;
    json_each(member, record->new_image) {
        const struct json *before = record->old_image ? same_name(record->old_image, member) : NULL;
        if (same_name(record->keys, member) || (before && same_value(before, member)))
            continue;
        mem_grow(&changes, &capacity, count, sizeof *changes);
        changes[count++] = (struct change){before, member};
    }
    json_each(member, record->new_image ? record->old_image : NULL) {
        if (same_name(record->new_image, member))
            continue;
        mem_grow(&changes, &capacity, count, sizeof *changes);
        changes[count++] = (struct change){member, NULL};
    }
    if (count)
        qsort(changes, count, sizeof *changes, compare_changes);
    for (size_t i = 0; i < count; i++)
        add_change(out, &changes[i], colour);
    free(changes);
}

void story_add_record(struct buf *out, const char *table, const struct record *record, bool colour)
{
    static const char *const events[] = {"32", "33", "31"};
    static_assert(COUNT_OF(events) == RECORD_REMOVE + 1, "one for each event");
    story_add_styled(out, colour ? events[record->event] : NULL, record_event_name(record->event));
    buf_add_char(out, ' ');
    story_add_shown(out, table ? table : "?", strlen(table ? table : "?"), VALUE_SHOWN_MAX);
    json_each(key, record->keys) {
        buf_add_char(out, ' ');
        add_value(out, key);
    }
    if (record->event != RECORD_REMOVE)
        add_changes(out, record, colour);
}

#define ONE_LINE_MAX 60

void story_add_json(struct buf *out, const struct json *value, size_t indent)
{
    struct buf whole = BUF_INIT;
    bool object = value->type == JSON_OBJECT;
    json_write_value(&whole, value);
    if (whole.size <= ONE_LINE_MAX || (!object && value->type != JSON_ARRAY)) {
        buf_add(out, whole.data, whole.size);
        buf_fini(&whole);
        return;
    }
    buf_fini(&whole);
    buf_add_char(out, object ? '{' : '[');
    json_each(member, value) {
        buf_printf(out, "%s\n%*s", member == value->child ? "" : ",", (int)indent + 2, "");
        if (object) {
            json_write_string(out, member->key, member->key_size);
            buf_add_literal(out, ": ");
        }
        story_add_json(out, member, indent + 2);
    }
    buf_printf(out, "\n%*s%c", (int)indent, "", object ? '}' : ']');
}

/* ---- what became of it ---- */

const char *story_outcome(enum outcome outcome)
{
    static const char *const texts[] = {"done", "failed, will try again", "gave up, kept as a dead letter",
                                        "gave up, sent where on_failure says", "gave up, discarded"};
    static_assert(COUNT_OF(texts) == OUTCOME_DISCARDED + 1, "one for each outcome");
    return texts[outcome];
}

const char *story_outcome_colour(enum outcome outcome)
{
    return outcome == OUTCOME_HANDLED ? "32" : outcome == OUTCOME_RETRIED ? "33" : "31";
}

/* ---- calls ---- */

/* {"id": {"S": "x"}} as "id x". */
static void add_item(struct buf *out, const struct json *item)
{
    json_each(member, item) {
        buf_printf(out, "%s%.*s ", member == item->child ? "" : ", ", (int)member->key_size, member->key);
        add_value(out, member);
    }
}

static bool is_dynamodb(const struct observed_call *call)
{
    return !strchr(call->verb, ':') && call->size && *call->what == '{';
}

static size_t count_of(const struct json *list)
{
    size_t count = 0;
    json_each(element, list)
        count++;
    return count;
}

static void add_count(struct buf *out, size_t count)
{
    buf_printf(out, "%zu item%s", count, count == 1 ? "" : "s");
}

/* { "Put": { "TableName": ..., "Item": ... } }: "Put Orders orderId 1". */
static void add_part(struct buf *out, const struct json *part)
{
    const struct json *one = part->child, *table = json_get(one, "TableName"), *item = json_get(one, "Item");
    if (!one || !table)
        return;
    item = item ? item : json_get(one, "Key");
    buf_printf(out, "%s%.*s %.*s ", out->size ? "; " : "", (int)one->key_size, one->key, (int)table->size,
               table->text);
    add_item(out, item);
}

/* Of a transaction each part, of a batch how many items of each table. */
static bool add_parts(struct buf *out, const struct json *root)
{
    const struct json *parts = json_get(root, "TransactItems"), *tables = json_get(root, "RequestItems");
    json_each(part, parts)
        add_part(out, part);
    json_each(table, tables) {
        const struct json *keys = json_get(table, "Keys");
        buf_printf(out, "%s%.*s ", out->size ? ", " : "", (int)table->key_size, table->key);
        add_count(out, count_of(keys ? keys : table));
    }
    return parts || tables;
}

/* What of a DynamoDB request tells most: the table, the item or key; else the request as it is. */
static void add_request(struct buf *out, const struct observed_call *call)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = is_dynamodb(call) ? json_parse(&arena, call->what, call->size, NULL) : NULL,
                      *table = json_get(root, "TableName"), *item = json_get(root, "Item");
    struct buf text = BUF_INIT;
    if (!item)
        item = json_get(root, "Key");
    if (table)
        buf_printf(&text, "%.*s ", (int)table->size, table->text);
    if (item)
        add_item(&text, item);
    else if (!table && !add_parts(&text, root))
        buf_add(&text, call->what, call->size);
    while (text.size && text.data[text.size - 1] == ' ')
        text.size--;
    story_add_shown(out, text.data ? text.data : "", text.size, REQUEST_SHOWN_MAX);
    buf_fini(&text);
    arena_fini(&arena);
}

static size_t count_responses(const struct json *responses)
{
    size_t count = 0;
    if (responses->type == JSON_ARRAY) /* of a transaction */
        return count_of(responses);
    json_each(table, responses)
        count += count_of(table);
    return count;
}

static void add_dynamodb_answer(struct buf *out, const struct observed_call *call)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, call->answer, call->answer_size, NULL),
                      *items = json_get(root, "Items"), *responses = json_get(root, "Responses"),
                      *unprocessed = json_get(root, "UnprocessedItems");
    if (items)
        add_count(out, count_of(items));
    else if (responses)
        add_count(out, count_responses(responses));
    else if (strcmp(call->verb, "GetItem") == 0)
        buf_add_text(out, json_get(root, "Item") ? "found" : "nothing there");
    else
        buf_add_text(out, unprocessed && unprocessed->child ? "done in part" : "done");
    if (json_get(root, "LastEvaluatedKey"))
        buf_add_literal(out, ", and more");
    arena_fini(&arena);
}

/* Of Redis, or of PostgreSQL (net/transport_postgres.h): an error is told, all else has been done. */
static void add_reply(struct buf *out, const struct observed_call *call)
{
    static const char code[] = "$5\r\nerror\r\n$4\r\ncode\r\n";
    const char *refused = memmem(call->answer, call->answer_size, code, sizeof code - 1);
    const char *end = call->answer + call->answer_size, *line = call->answer + 1;
    if (refused)
        line = memchr(refused + sizeof code - 1, '\n', (size_t)(end - refused) - (sizeof code - 1));
    if (!line || (!refused && (!call->answer_size || *call->answer != '-'))) {
        buf_add_literal(out, "done");
        return;
    }
    line += refused != NULL;
    const char *stop = memchr(line, '\r', (size_t)(end - line));
    buf_add_literal(out, "error ");
    story_add_shown(out, line, (size_t)((stop ? stop : end) - line), ANSWER_SHOWN_MAX);
}

/* "nothing done: condition 2 failed": the last one may be the marker of transact{once=}. */
static void add_reasons(struct buf *out, const struct observed_call *call)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, call->answer, call->answer_size, NULL),
                      *reasons = json_get(root, "CancellationReasons");
    size_t number = 0, told = 0;
    buf_add_literal(out, "nothing done");
    json_each(reason, reasons) {
        const struct json *code = json_get(reason, "Code");
        number++;
        if (!code || json_string_is(code, "None"))
            continue;
        bool condition = json_string_is(code, "ConditionalCheckFailed");
        buf_printf(out, told++ ? ", " : ": ");
        if (condition)
            buf_printf(out, "condition %zu failed", number);
        else
            buf_printf(out, "part %zu %.*s", number, (int)code->size, code->text);
    }
    arena_fini(&arena);
}

static void add_answer(struct buf *out, const struct observed_call *call)
{
    if (call->error && is_dynamodb(call) && strstr(call->error, "TransactionCanceled"))
        add_reasons(out, call);
    else if (call->error && strstr(call->error, "ConditionalCheckFailed") && is_dynamodb(call))
        buf_add_literal(out, "condition failed");
    else if (call->error)
        story_add_shown(out, call->error, strlen(call->error), ANSWER_SHOWN_MAX);
    else if (is_dynamodb(call))
        add_dynamodb_answer(out, call);
    else if (strcmp(call->verb, "REDIS") == 0 || strcmp(call->verb, "POSTGRES") == 0)
        add_reply(out, call);
    else
        buf_printf(out, "HTTP %d", call->status);
}

void story_add_call(struct buf *out, const struct observed_call *call, size_t columns)
{
    struct buf request = BUF_INIT, answer = BUF_INIT;
    story_add_shown(&request, call->verb, strlen(call->verb), REQUEST_SHOWN_MAX);
    buf_add_char(&request, ' ');
    add_request(&request, call);
    buf_add_literal(&answer, " → ");
    add_answer(&answer, call);
    size_t wanted = story_columns(&answer);
    if (columns)
        story_cut(&request, columns > wanted + columns / 3 ? columns - wanted : columns / 3);
    buf_add(out, request.data, request.size);
    buf_add(out, answer.data, answer.size);
    buf_fini(&request);
    buf_fini(&answer);
}
