/* fake_alternator.c: see fake_alternator.h. */
#include "fake_alternator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "record/position.h"
#include "record/page.h"

#define SHARDS_PAGE 5 /* few, so that listings have pages */

struct entry {
    int64_t number; /* of its event: several records may have one */
    int index;      /* among them */
    int64_t visible_ms;
    char *text; /* behind its eventID */
};

struct shard {
    char name[80], parent[80]; /* parent "": none */
    uint64_t from, to;         /* tokens, inclusive */
    int64_t began, ended_ms;   /* event number; 0: open */
    int64_t ended;
    struct entry *records;
    size_t count, capacity;
};

struct fake_alternator {
    struct world *world;
    char *table, arn[200];
    struct shard *shards;
    size_t shard_count, shard_capacity, current; /* the shards of this generation are behind `current` */
    int64_t events;
};

/* ---- names and numbers ---- */

/* A 128-bit decimal of a timeuuid: rising with the events. */
static void write_sequence(char text[48], int64_t number)
{
    snprintf(text, 48, "3%017" PRId64 "000%018" PRIu64, number,
             hash_mix((uint64_t)number) % 1000000000000000000u);
}

/* -1: none of its numbers. */
static int64_t read_sequence(const char *text)
{
    char digits[18] = "", again[48];
    if (!text || strlen(text) != 39)
        return -1;
    memcpy(digits, text + 1, 17);
    int64_t number = strtoll(digits, NULL, 10);
    write_sequence(again, number);
    return strcmp(text, again) == 0 ? number : -1;
}

static int64_t wall_ms(const struct fake_alternator *fake)
{
    return clock_wall_ms(&fake->world->clock) + fake->world->skew_ms; /* the service's */
}

static void add_generation(struct fake_alternator *fake, int count)
{
    size_t before = fake->current, before_end = fake->shard_count;
    int64_t began_ms = wall_ms(fake) + (int64_t)before_end; /* two generations cannot begin at once */
    fake->events++;
    for (size_t i = before; i < before_end; i++) {
        fake->shards[i].ended = fake->events;
        fake->shards[i].ended_ms = fake->world->now_ms;
    }
    fake->current = before_end;
    for (int i = 0; i < count; i++) {
        uint64_t width = UINT64_MAX / (uint64_t)count;
        mem_grow(&fake->shards, &fake->shard_capacity, fake->shard_count, sizeof *fake->shards);
        struct shard *shard = &fake->shards[fake->shard_count];
        *shard = (struct shard){.from = width * (uint64_t)i,
                                .to = i + 1 == count ? UINT64_MAX : width * (uint64_t)(i + 1) - 1,
                                .began = fake->events};
        snprintf(shard->name, sizeof shard->name, "H %" PRIx64 ":%016" PRIx64 "%016" PRIx64, began_ms,
                 hash_mix((uint64_t)fake->shard_count + 77), hash_mix((uint64_t)fake->shard_count));
        for (size_t j = before; j < before_end; j++) /* the one in which its last token was */
            if (fake->shards[j].from <= shard->to && shard->to <= fake->shards[j].to)
                memcpy(shard->parent, fake->shards[j].name, sizeof shard->parent);
        fake->shard_count++;
    }
}

/* ---- writing ---- */

static void add_record(struct fake_alternator *fake, struct shard *shard, const struct fake_row *row,
                       int index, struct buf *page)
{
    char sequence[48];
    struct buf text = BUF_INIT;
    write_sequence(sequence, fake->events);
    buf_printf(
        &text,
        "\"eventName\":\"%s\",\"eventVersion\":\"1.1\",\"eventSource\":\"scylladb:alternator\",\"awsRegion\":"
        "\"datacenter1\",\"dynamodb\":{\"ApproximateCreationDateTime\":%" PRId64
        ",\"Keys\":{\"p\":{\"S\":\"p%d\"},\"s\":{\"S\":\"s%d\"}},\"SequenceNumber\":\"%s\","
        "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"",
        row->removed ? "REMOVE" : "MODIFY", wall_ms(fake) / 1000, row->partition, row->sort, sequence);
    buf_printf(&text, ",\"%s\":{\"p\":{\"S\":\"p%d\"},\"s\":{\"S\":\"s%d\"},\"v\":{\"N\":\"%d\"}}}}",
               row->removed ? "OldImage" : "NewImage", row->partition, row->sort, row->version);
    buf_printf(page, "%s{\"eventID\":\"E\",%s", index ? "," : "", text.data);
    mem_grow(&shard->records, &shard->capacity, shard->count, sizeof *shard->records);
    shard->records[shard->count++] =
        (struct entry){fake->events, index, fake->world->now_ms + FAKE_ALTERNATOR_WINDOW_MS, buf_take(&text)};
}

void fake_alternator_write(struct fake_alternator *fake, struct fake_row *rows, size_t count)
{
    uint64_t token = hash_mix((uint64_t)rows[0].partition * 31 + 7);
    struct buf body = BUF_INIT;
    struct err err;
    struct shard *shard = &fake->shards[fake->current];
    while (token < shard->from || token > shard->to)
        shard++;
    fake->events++;
    buf_add_literal(&body, "{\"Records\":[");
    for (size_t i = 0; i < count; i++)
        add_record(fake, shard, &rows[i], (int)i, &body);
    buf_add_literal(&body, "]}");
    struct page *page = page_read(&body, &err);
    for (size_t i = 0; i < count; i++) {
        char unit[RECORD_UNIT_SIZE];
        snprintf(rows[i].shard, sizeof rows[i].shard, "%s", shard->name);
        write_sequence(rows[i].sequence, fake->events);
        snprintf(rows[i].unit, sizeof rows[i].unit, "%s", record_unit(&page->records[i], unit));
        rows[i].time_ms = wall_ms(fake) / 1000 * 1000;
    }
    page_release(page);
    buf_fini(&body);
}

void fake_alternator_new_generation(struct fake_alternator *fake, int shards)
{
    add_generation(fake, shards);
}

/* ---- answering ---- */

static bool refuse(struct answer *answer, const char *code, const char *message)
{
    answer->status = 400;
    buf_clear(&answer->body);
    buf_printf(&answer->body, "{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\",\"message\":\"%s\"}", code,
               message);
    return true;
}

static bool invalid(struct answer *answer, const char *message)
{
    return refuse(answer, "ValidationException", message);
}

static struct shard *find_shard(struct fake_alternator *fake, const struct json *name)
{
    for (size_t i = 0; i < fake->shard_count; i++)
        if (name && json_string_is(name, fake->shards[i].name))
            return &fake->shards[i];
    return NULL;
}

static void write_shard(const struct fake_alternator *fake, const struct shard *shard, struct buf *out)
{
    char began[48], ended[48];
    (void)fake;
    write_sequence(began, shard->began);
    write_sequence(ended, shard->ended);
    buf_printf(out, "{\"ShardId\":\"%s\",\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"%s\"",
               shard->name, began);
    if (shard->ended)
        buf_printf(out, ",\"EndingSequenceNumber\":\"%s\"", ended);
    buf_add_char(out, '}');
    if (*shard->parent)
        buf_printf(out, ",\"ParentShardId\":\"%s\"", shard->parent);
    buf_add_char(out, '}');
}

static bool describe_stream(struct fake_alternator *fake, const struct json *request, struct answer *answer)
{
    const struct json *start = json_get(request, "ExclusiveStartShardId");
    int64_t limit = json_integer(json_get(request, "Limit"), 100);
    const struct shard *first = start ? find_shard(fake, start) : NULL;
    if (!json_string_is(json_get(request, "StreamArn"), fake->arn))
        return refuse(answer, "ResourceNotFoundException", "Invalid StreamArn");
    if ((start && !first) || limit < 1)
        return invalid(answer, "ExclusiveStartShardId or Limit");
    size_t at = first ? (size_t)(first - fake->shards) + 1 : 0, count = 0;
    buf_printf(
        &answer->body,
        "{\"StreamDescription\":{\"StreamArn\":\"%s\",\"StreamStatus\":\"ENABLED\",\"StreamViewType\":"
        "\"NEW_AND_OLD_IMAGES\",\"TableName\":\"%s\",\"KeySchema\":[{\"AttributeName\":\"p\",\"KeyType\":"
        "\"HASH\"},{\"AttributeName\":\"s\",\"KeyType\":\"RANGE\"}],\"Shards\":[",
        fake->arn, fake->table);
    for (; at < fake->shard_count && count < SHARDS_PAGE && (int64_t)count < limit; at++, count++) {
        buf_add_text(&answer->body, count ? "," : "");
        write_shard(fake, &fake->shards[at], &answer->body);
    }
    buf_add_char(&answer->body, ']');
    if (at < fake->shard_count)
        buf_printf(&answer->body, ",\"LastEvaluatedShardId\":\"%s\"", fake->shards[at - 1].name);
    buf_add_literal(&answer->body, "}}");
    return true;
}

/* "i:SHARD:NUMBER": the next event is the first from NUMBER on. */
static void write_iterator(struct fake_alternator *fake, const struct shard *shard, int64_t number,
                           struct buf *out)
{
    buf_printf(out, "\"i:%zu:%" PRId64 "\"", (size_t)(shard - fake->shards), number);
}

static bool get_iterator(struct fake_alternator *fake, const struct json *request, struct answer *answer)
{
    struct arena arena = ARENA_INIT;
    struct shard *shard = find_shard(fake, json_get(request, "ShardId"));
    const struct json *type = json_get(request, "ShardIteratorType"),
                      *given = json_get(request, "SequenceNumber");
    int64_t number = given ? read_sequence(json_string(&arena, given)) : -1;
    arena_fini(&arena);
    bool at = type && json_string_is(type, "AT_SEQUENCE_NUMBER"),
         after = type && json_string_is(type, "AFTER_SEQUENCE_NUMBER");
    if (!json_string_is(json_get(request, "StreamArn"), fake->arn) || !shard)
        return refuse(answer, "ResourceNotFoundException", "no such stream or shard");
    if (given && (number < 0 || (!at && !after)))
        return invalid(answer, "SequenceNumber");
    if ((at || after) && !given)
        return invalid(answer, "SequenceNumber is missing");
    if (type && json_string_is(type, "TRIM_HORIZON"))
        number = 0;
    else if (type && json_string_is(type, "LATEST"))
        number = fake->events + 1;
    else if (after)
        number++; /* behind all that share the number */
    else if (!at)
        return invalid(answer, "ShardIteratorType");
    buf_add_literal(&answer->body, "{\"ShardIterator\":");
    write_iterator(fake, shard, number, &answer->body);
    buf_add_char(&answer->body, '}');
    return true;
}

static bool get_records(struct fake_alternator *fake, const struct json *request, struct answer *answer)
{
    struct arena arena = ARENA_INIT;
    const char *iterator = json_string(&arena, json_get(request, "ShardIterator"));
    int64_t limit = json_integer(json_get(request, "Limit"), 1000), number = 0, count = 0;
    size_t index = 0;
    bool known =
        iterator && sscanf(iterator, "i:%zu:%" SCNd64, &index, &number) == 2 && index < fake->shard_count;
    arena_fini(&arena);
    if (!known || limit < 1 || limit > 1000)
        return invalid(answer, "ShardIterator or Limit");
    const struct shard *shard = &fake->shards[index];
    int64_t next = number;
    buf_add_literal(&answer->body, "{\"Records\":[");
    for (size_t i = 0; i < shard->count; i++) {
        const struct entry *record = &shard->records[i];
        if (record->number < number)
            continue;
        if (record->visible_ms > fake->world->now_ms || (count >= limit && record->number != next - 1))
            break;
        /* The id is made of the event before, and of the first of an answer it is made up. */
        buf_printf(&answer->body, "%s{\"eventID\":\"E%zx:%" PRIx64 ":%d\",%s", count++ ? "," : "", index,
                   next == number ? (uint64_t)0xfade : (uint64_t)next, record->index, record->text);
        next = record->number + 1;
    }
    buf_add_char(&answer->body, ']');
    bool over = shard->ended && !count && fake->world->now_ms > shard->ended_ms + FAKE_ALTERNATOR_WINDOW_MS;
    if (!over) {
        buf_add_literal(&answer->body, ",\"NextShardIterator\":");
        write_iterator(fake, shard, next, &answer->body);
    }
    buf_add_char(&answer->body, '}');
    return true;
}

static bool describe_table(struct fake_alternator *fake, const struct json *request, struct answer *answer)
{
    if (!json_string_is(json_get(request, "TableName"), fake->table))
        return refuse(answer, "ResourceNotFoundException", "Requested resource not found: no such table");
    buf_printf(
        &answer->body,
        "{\"Table\":{\"TableName\":\"%s\",\"TableStatus\":\"ACTIVE\",\"LatestStreamArn\":\"%s\","
        "\"LatestStreamLabel\":\"2026-01-01T00:00:00\",\"StreamSpecification\":{\"StreamEnabled\":true,"
        "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}}",
        fake->table, fake->arn);
    return true;
}

static bool list_streams(struct fake_alternator *fake, struct answer *answer)
{
    buf_printf(&answer->body, "{\"Streams\":[{\"StreamArn\":\"%s\",\"TableName\":\"%s\"}]}", fake->arn,
               fake->table);
    return true;
}

bool fake_alternator_answer(struct fake_alternator *fake, const char *target, const char *body, size_t size,
                            struct answer *answer)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const char *dot = strchr(target, '.'), *operation = dot ? dot + 1 : "";
    const struct json *request = json_parse(&arena, body, size, &err);
    answer->status = 200;
    bool known = true;
    if (!request)
        refuse(answer, "SerializationException", err.text);
    else if (strcmp(operation, "DescribeStream") == 0)
        describe_stream(fake, request, answer);
    else if (strcmp(operation, "GetShardIterator") == 0)
        get_iterator(fake, request, answer);
    else if (strcmp(operation, "GetRecords") == 0)
        get_records(fake, request, answer);
    else if (strcmp(operation, "ListStreams") == 0)
        list_streams(fake, answer);
    else if (strcmp(operation, "DescribeTable") == 0)
        describe_table(fake, request, answer);
    else if (strncmp(operation, "Transact", 8) == 0)
        refuse(answer, "UnknownOperationException", "Unsupported operation");
    else
        known = false;
    arena_fini(&arena);
    return known;
}

/* ---- life ---- */

struct fake_alternator *fake_alternator_new(struct world *world, const char *table, int shards)
{
    struct fake_alternator *fake = mem_zero(sizeof *fake);
    fake->world = world;
    fake->table = mem_string(table);
    snprintf(fake->arn, sizeof fake->arn,
             "arn:aws:dynamodb:us-east-1:000000000000:table/alternator_%s@%s_scylla_cdc_log/stream/"
             "2026-01-01T00:00:00.000",
             table, table);
    add_generation(fake, shards);
    return fake;
}

void fake_alternator_free(struct fake_alternator *fake)
{
    if (!fake)
        return;
    for (size_t i = 0; i < fake->shard_count; i++) {
        for (size_t j = 0; j < fake->shards[i].count; j++)
            free(fake->shards[i].records[j].text);
        free(fake->shards[i].records);
    }
    free(fake->shards);
    free(fake->table);
    free(fake);
}

const char *fake_alternator_arn(const struct fake_alternator *fake)
{
    return fake->arn;
}
