/* records.c: each Data is opened, put in order, and written again as the stream's API has it. */
#include "source/kinesis/records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

#define REMEMBERED 8192 /* a power of two: changes, and items, of a shard */

struct memory_change {
    uint64_t id, sequence; /* hashes; 0: none */
};

struct memory_item {
    uint64_t item;
    int64_t time_us;
};

struct kinesis_memory {
    struct memory_change changes[REMEMBERED];
    struct memory_item items[REMEMBERED];
};

struct kinesis_memory *kinesis_memory_new(void)
{
    return mem_zero(sizeof(struct kinesis_memory));
}

void kinesis_memory_free(struct kinesis_memory *memory)
{
    free(memory);
}

/* One record of the answer. */
struct change {
    const struct json *outer; /* SequenceNumber, Data, ... */
    struct buf data;
    const struct json *event; /* NULL: it is none */
    const char *why;
    uint64_t item;
    int64_t time_us;
    size_t place; /* in the answer */
    size_t index; /* in the page */
    bool left_out, late;
};

static uint64_t hash_of(const struct json *text)
{
    uint64_t hash = text && text->type == JSON_STRING ? hash_bytes(text->text, text->size, 7) : 0;
    return hash ? hash : 1;
}

/* ---- reading ---- */

#define TIME_US_MAX 253402300800e6 /* the year 10000: what lies behind it is no time */

/* 0: it has none. */
static int64_t time_of(const struct json *inner)
{
    double number = json_double(json_get(inner, "ApproximateCreationDateTime"), 0);
    bool micro = json_string_is(json_get(inner, "ApproximateCreationDateTimePrecision"), "MICROSECOND");
    double us = number * (micro ? 1 : 1000);
    return us >= 1 && us < TIME_US_MAX ? (int64_t)us : 0;
}

static bool decode(struct change *change)
{
    const struct json *data = json_get(change->outer, "Data");
    size_t size = 0;
    if (!data || data->type != JSON_STRING)
        return false;
    buf_reserve(&change->data, BASE64_DECODED_MAX(data->size));
    if (!base64_decode(data->text, data->size, change->data.data, &size))
        return false;
    change->data.size = size;
    return true;
}

/* A number as JSON has it: what is handed on as one must be one. */
static bool is_number(const struct json *text)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *number =
        text->type == JSON_STRING ? json_parse(&arena, text->text, text->size, &err) : NULL;
    bool is = number && number->type == JSON_NUMBER;
    arena_fini(&arena);
    return is;
}

static bool has_numbers(const struct json *value)
{
    json_each(child, value) {
        if (json_key_is(child, "NS") && child->type == JSON_ARRAY) {
            json_each(number, child) {
                if (!is_number(number))
                    return false;
            }
        } else if (json_key_is(child, "N") && child->type == JSON_STRING ? !is_number(child)
                                                                         : !has_numbers(child)) {
            return false;
        }
    }
    return true;
}

/* Each number is compared by its digits, and becomes part of names. */
static bool all_have_numbers(const struct json *records, struct err *err)
{
    size_t at = 0;
    json_each(record, records) {
        char *sequence = json_string_dup(json_get(record, "SequenceNumber"));
        bool valid = sequence && sequence_valid(sequence);
        free(sequence);
        if (!valid)
            return err_set(err, ERR_PARSE, "record %zu has a SequenceNumber that is no number", at);
        at++;
    }
    return true;
}

static size_t depth_of(const struct json *value)
{
    size_t deepest = 0;
    json_each(child, value) {
        size_t depth = depth_of(child);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

/* The page has it two levels deeper. */
#define DEPTH_MAX (JSON_DEPTH_MAX - 4)

static void read_change(struct change *change, struct arena *arena)
{
    struct err err;
    if (!decode(change)) {
        change->why = "its Data is no base64";
        return;
    }
    const struct json *event = json_parse(arena, change->data.data, change->data.size, &err);
    const struct json *inner = json_get(event, "dynamodb"), *keys = json_get(inner, "Keys");
    const struct json *name = json_get(event, "eventName");
    if (!event)
        change->why = "its Data is no JSON";
    else if (depth_of(event) > DEPTH_MAX)
        change->why = "its Data is nested too deep";
    else if (!keys || keys->type != JSON_OBJECT || !keys->count)
        change->why = "it has no dynamodb.Keys";
    else if (!json_string_is(name, "INSERT") && !json_string_is(name, "MODIFY") &&
             !json_string_is(name, "REMOVE"))
        change->why = "its eventName is neither INSERT nor MODIFY nor REMOVE";
    else if (!has_numbers(keys) || !has_numbers(json_get(inner, "NewImage")) ||
             !has_numbers(json_get(inner, "OldImage")))
        change->why = "it has a number that is none";
    else if (!time_of(inner))
        change->why = "its ApproximateCreationDateTime is no time";
    if (change->why)
        return;
    change->event = event;
    change->item = record_item_of(keys);
    change->time_us = time_of(inner);
}

/* ---- repetitions and order ---- */

/* The same change under another number is a repetition; under its own it is read once more. */
static void look_for_repetition(struct kinesis_memory *memory, struct change *change)
{
    uint64_t id = hash_of(json_get(change->event, "eventID"));
    uint64_t sequence = hash_of(json_get(change->outer, "SequenceNumber"));
    struct memory_change *known = &memory->changes[hash_mix(id) & (REMEMBERED - 1)];
    if (!json_get(change->event, "eventID"))
        return;
    if (known->id == id)
        change->left_out = known->sequence != sequence;
    else
        *known = (struct memory_change){id, sequence};
}

static int by_item(const void *a, const void *b)
{
    const struct change *left = *(const struct change *const *)a, *right = *(const struct change *const *)b;
    if (left->item != right->item)
        return left->item < right->item ? -1 : 1;
    if (left->time_us != right->time_us)
        return left->time_us < right->time_us ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

static int by_place(const void *a, const void *b)
{
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return left < right ? -1 : left > right;
}

/* The changes of each item have the turns of its places, in the order of their times. */
static void put_in_order(struct change **list, size_t count, struct change **slots)
{
    size_t *places = mem_alloc((count + 1) * sizeof *places);
    if (count)
        qsort(list, count, sizeof *list, by_item);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from; to < count && list[to]->item == list[from]->item; to++)
            places[to] = list[to]->place;
        qsort(places + from, to - from, sizeof *places, by_place);
        for (size_t i = from; i < to; i++)
            slots[places[i]] = list[i];
    }
    free(places);
}

static void mark_late(struct kinesis_memory *memory, struct change *change)
{
    struct memory_item *known = &memory->items[hash_mix(change->item) & (REMEMBERED - 1)];
    if (known->item == change->item && change->time_us < known->time_us)
        change->late = true;
    else
        *known = (struct memory_item){change->item, change->time_us};
}

/* ---- writing ---- */

static void add(struct buf *out, const char *name, const struct json *value)
{
    if (!value)
        return;
    buf_printf(out, ",\"%s\":", name);
    json_write_value(out, value);
}

static void add_inner(struct buf *out, const struct change *change, const struct json *sequence)
{
    const struct json *inner = json_get(change->event, "dynamodb");
    buf_printf(out, ",\"dynamodb\":{\"ApproximateCreationDateTime\":%" PRId64, change->time_us / 1000000);
    if (change->time_us % 1000000)
        buf_printf(out, ".%06" PRId64, change->time_us % 1000000);
    add(out, "Keys", json_get(inner, "Keys"));
    add(out, "NewImage", json_get(inner, "NewImage"));
    add(out, "OldImage", json_get(inner, "OldImage"));
    add(out, "SizeBytes", json_get(inner, "SizeBytes"));
    add(out, "SequenceNumber", sequence);
    buf_add_literal(out, ",\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}");
}

static void write_change(struct buf *out, const struct change *change, const struct json *sequence)
{
    buf_add_literal(out, "{\"eventVersion\":\"1.1\",\"eventSource\":\"aws:dynamodb\"");
    add(out, "eventID", json_get(change->event, "eventID"));
    add(out, "eventName", json_get(change->event, "eventName"));
    const struct json *table = json_get(change->event, "tableName");
    if (table && table->type == JSON_STRING)
        add(out, "tableName", table);
    add(out, "awsRegion", json_get(change->event, "awsRegion"));
    const struct json *identity = json_get(change->event, "userIdentity");
    if (identity && identity->type == JSON_OBJECT)
        add(out, "userIdentity", identity);
    if (change->late)
        buf_add_literal(out, ",\"late\":true");
    add_inner(out, change, sequence);
}

/* With all that there is of it, for whoever looks at the dead letter. */
static void write_unreadable(struct buf *out, const struct change *change, const struct json *sequence)
{
    const struct json *key = json_get(change->outer, "PartitionKey");
    int64_t ms = (int64_t)(json_double(json_get(change->outer, "ApproximateArrivalTimestamp"), 0) * 1000);
    buf_printf(
        out,
        "{\"eventName\":\"INSERT\",\"eventSource\":\"aws:kinesis\",\"unreadable\":\"this record of the "
        "Kinesis stream is no change of a table: %s\"",
        change->why);
    add(out, "data", json_get(change->outer, "Data"));
    buf_printf(
        out, ",\"dynamodb\":{\"ApproximateCreationDateTime\":%" PRId64 ",\"Keys\":{\"PartitionKey\":{\"S\":",
        ms / 1000);
    if (key && key->type == JSON_STRING)
        json_write_value(out, key);
    else
        buf_add_literal(out, "\"\"");
    buf_add_literal(out, "}}");
    add(out, "SequenceNumber", sequence);
    buf_add_literal(out, "}}");
}

static struct page *write_page(struct change *changes, size_t count, struct err *err)
{
    struct buf body = BUF_INIT;
    size_t written = 0;
    buf_add_literal(&body, "{\"Records\":[");
    for (size_t i = 0; i < count; i++) {
        struct change *change = &changes[i];
        if (change->left_out)
            continue;
        if (written)
            buf_add_char(&body, ',');
        change->index = written++;
        (change->event ? write_change : write_unreadable)(&body, change,
                                                          json_get(change->outer, "SequenceNumber"));
    }
    buf_add_literal(&body, "]}");
    struct page *page = page_read(&body, err);
    buf_fini(&body);
    return page;
}

/* Where each item's changes have not their times' order. */
static void give_turns(struct page *page, struct change *const *slots, size_t count)
{
    uint32_t *turns = arena_alloc(&page->arena, (page->count + 1) * sizeof *turns);
    size_t turn = 0;
    bool moved = false;
    for (size_t i = 0; i < count; i++) {
        if (slots[i]->left_out)
            continue;
        moved = moved || slots[i]->place != i;
        turns[turn++] = (uint32_t)slots[i]->index;
    }
    CHECK(turn == page->count);
    page->turns = moved ? turns : NULL;
}

/* It was given before: its item and id are remembered. */
static bool was_had(struct kinesis_memory *memory, struct change *change, const char *until)
{
    char *sequence = until ? json_string_dup(json_get(change->outer, "SequenceNumber")) : NULL;
    bool had = sequence && sequence_compare(sequence, until) <= 0;
    free(sequence);
    if (had && change->event) {
        look_for_repetition(memory, change);
        mark_late(memory, change);
    }
    return had;
}

struct page *kinesis_page(const struct json *root, struct kinesis_memory *memory, const char *until,
                          struct err *err)
{
    const struct json *records = json_get(root, "Records");
    struct arena arena = ARENA_INIT;
    size_t count = 0, listed = 0;
    if (!records || records->type != JSON_ARRAY) {
        err_set(err, ERR_PARSE, "the answer holds no Records");
        return NULL;
    }
    if (!all_have_numbers(records, err))
        return NULL;
    struct change *changes = mem_zero((records->count + 1) * sizeof *changes);
    struct change **list = mem_zero((records->count + 1) * sizeof *list),
                  **slots = mem_zero((records->count + 1) * sizeof *slots);
    json_each(outer, records) {
        struct change *change = &changes[count];
        *change = (struct change){.outer = outer, .place = count};
        slots[count++] = change;
        read_change(change, &arena);
        if (was_had(memory, change, until))
            change->left_out = true;
        else if (change->event)
            look_for_repetition(memory, change);
        if (change->event && !change->left_out)
            list[listed++] = change;
    }
    put_in_order(list, listed, slots);
    for (size_t i = 0; i < count; i++)
        if (slots[i]->event && !slots[i]->left_out)
            mark_late(memory, slots[i]);
    struct page *page = write_page(changes, count, err);
    if (page)
        give_turns(page, slots, count);
    for (size_t i = 0; i < count; i++)
        buf_fini(&changes[i].data);
    free(changes);
    free(list);
    free(slots);
    arena_fini(&arena);
    return page;
}
