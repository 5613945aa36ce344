/* page.c: see page.h. */
#include "record/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "record/position.h"

#define INDEX_FACTOR 1.7                                               /* of the text */
#define RECORD_BYTES (sizeof(struct record) + 6 * sizeof(struct json)) /* and what is read of it at once */

static const char *const event_names[] = {"INSERT", "MODIFY", "REMOVE"};
static_assert(COUNT_OF(event_names) == RECORD_REMOVE + 1, "a name for each event");

const char *record_event_name(enum record_event event)
{
    return event_names[event];
}

static uint64_t hash_value(const struct json *value, uint64_t seed)
{
    uint64_t hash = hash_bytes(value->key, value->key_size, seed);
    if (value->type == JSON_STRING)
        return hash_bytes(value->text, value->size, hash);
    json_each(child, value)
        hash = hash_mix(hash ^ hash_value(child, 1));
    return hash;
}

/* The order of the attributes in Keys means nothing, so they are summed. Two items whose numbers collide
 * share a lane, which costs a little time and breaks nothing. */
static uint64_t hash_keys(const struct json *keys, struct arena *scratch)
{
    uint64_t sum = 0;
    const struct json *attribute;
    for (struct json_walk walk = json_walk(keys, true); (attribute = json_walk_next(&walk, scratch));)
        sum += hash_mix(hash_value(attribute, 0));
    return sum;
}

uint64_t record_item_of(const struct json *keys)
{
    struct arena scratch = ARENA_INIT;
    uint64_t item = hash_keys(keys, &scratch);
    arena_fini(&scratch);
    return item;
}

static bool read_event(const struct json *name, enum record_event *event)
{
    for (int i = 0; i < 3; i++) {
        if (json_string_is(name, event_names[i])) {
            *event = (enum record_event)i;
            return true;
        }
    }
    return false;
}

#define SECONDS_MAX 253402300799 /* the year 9999: what lies behind it is no time */

/* The time is whole seconds, as an integer or as a float; 0 where it is none. */
static int64_t read_time(const struct json *value)
{
    int64_t seconds = 0;
    if (!value || value->type != JSON_NUMBER)
        return 0;
    for (uint32_t i = 0; i < value->size; i++) {
        if (value->text[i] < '0' || value->text[i] > '9') {
            double real = json_double(value, 0);
            return real >= 0 && real <= (double)SECONDS_MAX ? (int64_t)(real * 1000.0) : 0;
        }
        seconds = seconds * 10 + (value->text[i] - '0');
        if (seconds > SECONDS_MAX)
            return 0;
    }
    return seconds * 1000;
}

/* To stay: of the page, where it stands on the stack. */
static const struct json *keep(struct page *page, const struct json *found, const struct json *storage)
{
    if (found != storage)
        return found;
    struct json *kept = arena_alloc(&page->arena, sizeof *kept);
    *kept = *found;
    return kept;
}

static bool read_change(struct page *page, struct record *record, const struct json *change)
{
    enum { TIME, KEYS, NEW_IMAGE, OLD_IMAGE, NUMBER, BYTES, COUNT };
    static const struct json_name names[] = {JSON_NAME("ApproximateCreationDateTime"),
                                             JSON_NAME("Keys"),
                                             JSON_NAME("NewImage"),
                                             JSON_NAME("OldImage"),
                                             JSON_NAME("SequenceNumber"),
                                             JSON_NAME("SizeBytes")};
    struct json storage[COUNT];
    const struct json *found[COUNT];
    static_assert(COUNT_OF(names) == COUNT, "a name for each");
    json_look(change, names, COUNT, &page->arena, storage, found);
    record->keys = keep(page, found[KEYS], &storage[KEYS]);
    record->new_image = keep(page, found[NEW_IMAGE], &storage[NEW_IMAGE]);
    record->old_image = keep(page, found[OLD_IMAGE], &storage[OLD_IMAGE]);
    const struct json *sequence = found[NUMBER];
    if (!record->keys || record->keys->type != JSON_OBJECT || !sequence || sequence->type != JSON_STRING ||
        sequence->size >= SEQUENCE_SIZE)
        return false;
    record->sequence = json_string(&page->arena, sequence);
    record->time_ms = read_time(found[TIME]);
    record->size_bytes = json_integer(found[BYTES], 0);
    record->item = hash_keys(record->keys, &page->arena);
    return true;
}

static bool read_record(struct page *page, struct record *record, const struct json *json)
{
    enum { CHANGE, EVENT, SNAPSHOT, LATE, TABLE, UNREADABLE, COUNT };
    static const struct json_name names[] = {JSON_NAME("dynamodb"),  JSON_NAME("eventName"),
                                             JSON_NAME("snapshot"),  JSON_NAME("late"),
                                             JSON_NAME("tableName"), JSON_NAME("unreadable")};
    struct json storage[COUNT];
    const struct json *found[COUNT];
    static_assert(COUNT_OF(names) == COUNT, "a name for each");
    json_look(json, names, COUNT, &page->arena, storage, found);
    *record = (struct record){.page = page,
                              .json = json,
                              .snapshot = found[SNAPSHOT] && found[SNAPSHOT]->type == JSON_TRUE,
                              .late = found[LATE] && found[LATE]->type == JSON_TRUE,
                              .table = json_string(&page->arena, found[TABLE]),
                              .unreadable = json_string(&page->arena, found[UNREADABLE])};
    return found[CHANGE] && read_event(found[EVENT], &record->event) &&
           read_change(page, record, found[CHANGE]);
}

const char *record_unit(const struct record *record, char unit[RECORD_UNIT_SIZE])
{
    if (!record->part)
        return record->sequence;
    snprintf(unit, RECORD_UNIT_SIZE, "%s/%016llx", record->sequence, (unsigned long long)record->part);
    return unit;
}

/* Of an item in a snapshot, however often it is read; `id` is the snapshot's, or the whole already. */
static void write_snapshot_id(struct buf *out, const struct record *record, const struct json *id)
{
    char own[20];
    int size = snprintf(own, sizeof own, "-%016llx", (unsigned long long)record->item);
    bool named = id && id->type == JSON_STRING;
    bool whole =
        named && id->size > (size_t)size && memcmp(id->text + id->size - size, own, (size_t)size) == 0;
    if (named)
        buf_add(out, id->text, id->size);
    if (!whole)
        buf_add(out, own, (size_t)size);
}

const struct json *record_event_id(const struct record *record, struct arena *scratch, struct json *storage)
{
    const struct json_name name = JSON_NAME("eventID");
    const struct json *found;
    json_look(record->json, &name, 1, scratch, storage, &found);
    return found;
}

void record_write_id(struct buf *out, const struct record *record)
{
    struct arena scratch = ARENA_INIT;
    struct json storage;
    const struct json *id = record_event_id(record, &scratch, &storage);
    if (record->snapshot)
        write_snapshot_id(out, record, id);
    else if (record->part)
        buf_printf(out, "%s-%016llx", record->sequence, (unsigned long long)record->part);
    else if (id && id->type == JSON_STRING)
        buf_add(out, id->text, id->size);
    arena_fini(&scratch);
}

/* The same whenever the record is read: made of its item, and of how many of that number and item came before
 * it. The service gives all records of a number in one page, and always in one order. */
static void number_parts(struct page *page, bool always)
{
    for (size_t i = 0, first = 0; i < page->count; i++) {
        struct record *record = &page->records[i];
        uint64_t same = 0;
        bool shares;
        if (strcmp(page->records[first].sequence, record->sequence) != 0)
            first = i;
        shares = first < i ||
                 (i + 1 < page->count && strcmp(record->sequence, page->records[i + 1].sequence) == 0);
        if (!shares && !always)
            continue;
        for (size_t j = first; j < i; j++)
            same += page->records[j].item == record->item;
        record->part = hash_mix(record->item + same * 0x9e3779b97f4a7c15u);
        record->part += !record->part;
    }
}

/* Of {"Records": [{...}]}: each record. */
#define RECORD_DEPTH 2

/* What its trees will take when all of it is looked at. */
static size_t tree_bytes(const struct page *page)
{
    return page->count ? json_deferred_values(page->records[0].json) * sizeof(struct json) : 0;
}

struct page *page_read(struct buf *body, struct err *err)
{
    struct page *page = mem_zero(sizeof *page);
    page->references = 1;
    list_init(&page->watches);
    page->body = *body;
    *body = BUF_INIT;
    const char *text = page->body.data ? page->body.data : "";
    if (page->body.size > 4096)
        arena_reserve(&page->arena, (size_t)((double)page->body.size * INDEX_FACTOR));
    const struct json *root = json_parse_deferring(&page->arena, text, page->body.size, RECORD_DEPTH, err);
    const struct json *records = json_get(root, "Records");
    if (root && (!records || records->type != JSON_ARRAY))
        root = NULL, err_set(err, ERR_PARSE, "there are no Records in it");
    if (root && records->count) {
        arena_reserve(&page->arena, records->count * RECORD_BYTES);
        page->records = arena_alloc(&page->arena, records->count * sizeof *page->records);
        json_each(json, records) {
            if (!read_record(page, &page->records[page->count], json)) {
                err_set(err, ERR_PARSE, "record %zu of the page lacks eventName, Keys or SequenceNumber",
                        page->count);
                root = NULL;
                break;
            }
            page->count++;
        }
    }
    if (root && page->count)
        number_parts(page,
                     json_string_is(json_get(page->records[0].json, "eventSource"), "scylladb:alternator"));
    if (root)
        page->root = root;
    CHECK(!root || page->count == records->count);
    page->bytes = sizeof *page + page->body.capacity + page->arena.bytes + tree_bytes(page);
    if (root)
        return page;
    page_release(page);
    return NULL;
}

bool page_has_numbers(const struct page *page, struct err *err)
{
    for (size_t i = 0; i < page->count; i++)
        if (!sequence_valid(page->records[i].sequence))
            return err_set(err, ERR_PARSE, "record %zu of the page has a SequenceNumber that is no number",
                           i);
    return true;
}

bool page_tells_next(const struct json *root, struct err *err)
{
    const struct json *next = json_get(root, "NextShardIterator");
    return !next || next->type == JSON_NULL || (next->type == JSON_STRING && next->size) ||
           err_set(err, ERR_PARSE, "NextShardIterator is neither a text nor null");
}

void page_leave_out(struct page *page, size_t count)
{
    CHECK(count <= page->count);
    if (page->turns) {
        uint32_t *turns = arena_alloc(&page->arena, (page->count - count + 1) * sizeof *turns);
        size_t kept = 0;
        for (size_t i = 0; i < page->count; i++)
            if (page->turns[i] >= count)
                turns[kept++] = page->turns[i] - (uint32_t)count;
        CHECK(kept == page->count - count);
        page->turns = turns;
    }
    page->records += count;
    page->count -= count;
}

void page_watch(struct page *page, struct page_watch *watch)
{
    list_prepend(&page->watches, &watch->link);
}

struct page *page_hold(struct page *page)
{
    CHECK(page->references > 0);
    page->references++;
    return page;
}

void page_release(struct page *page)
{
    CHECK(!page || page->references > 0);
    if (!page || --page->references)
        return;
    CHECK(!page->count || page->root);
    struct list *watch;
    while ((watch = list_take_first(&page->watches)))
        list_entry(watch, struct page_watch, link)->leave(list_entry(watch, struct page_watch, link));
    if (page->freed)
        page->freed(page->freed_user, page);
    buf_fini(&page->body);
    arena_fini(&page->arena);
    free(page);
}
