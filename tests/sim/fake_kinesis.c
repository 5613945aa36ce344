/* fake_kinesis.c: see fake_kinesis.h.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html, ..._GetShardIterator.html and
 * ..._ListShards.html */
#include "fake_kinesis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "sim.h"

#define SHARDS_MAX 64
#define KEYS_END 65536 /* of hashes */
#define READS_A_SECOND 5
#define ITERATOR_MS (5 * 60 * SECOND_MS)

struct entry {
    char sequence[40];
    char *key, *data;
    int64_t arrived_ms; /* wall clock */
};

struct shard {
    int parents[2]; /* -1: none */
    int from, to;   /* the hashes of its keys */
    char starting[40];
    bool closed;
    struct entry *entries;
    size_t count, capacity;
    int64_t reads_ms[READS_A_SECOND]; /* when it was read last */
    int64_t asks_ms[READS_A_SECOND];  /* when an iterator was asked for */
};

struct fake_kinesis {
    struct small *small;
    struct shard shards[SHARDS_MAX];
    int count;
    long long sequence;
};

static int64_t now_ms(const struct fake_kinesis *fake)
{
    return clock_wall_ms(&fake->small->world.clock);
}

static void next_sequence(struct fake_kinesis *fake, char out[40])
{
    fake->sequence += 1 + small_below(fake->small, 5);
    snprintf(out, 40, "4956%030lld", fake->sequence);
}

static struct shard *add_shard(struct fake_kinesis *fake, int from, int to, int first, int second)
{
    struct shard *shard = &fake->shards[fake->count++];
    *shard = (struct shard){.parents = {first, second}, .from = from, .to = to};
    for (int i = 0; i < READS_A_SECOND; i++)
        shard->reads_ms[i] = shard->asks_ms[i] = INT64_MIN / 2;
    next_sequence(fake, shard->starting);
    return shard;
}

struct fake_kinesis *fake_kinesis_new(struct small *small, int shards)
{
    struct fake_kinesis *fake = mem_zero(sizeof *fake);
    fake->small = small;
    for (int i = 0; i < shards; i++)
        add_shard(fake, KEYS_END * i / shards, KEYS_END * (i + 1) / shards, -1, -1);
    return fake;
}

void fake_kinesis_free(struct fake_kinesis *fake)
{
    for (int i = 0; i < fake->count; i++) {
        for (size_t j = 0; j < fake->shards[i].count; j++) {
            free(fake->shards[i].entries[j].key);
            free(fake->shards[i].entries[j].data);
        }
        free(fake->shards[i].entries);
    }
    free(fake);
}

void fake_kinesis_put(struct fake_kinesis *fake, const char *key, const char *data, int64_t ago_ms)
{
    int hash = (int)(hash_bytes(key, strlen(key), 3) % KEYS_END);
    for (int i = 0; i < fake->count; i++) {
        struct shard *shard = &fake->shards[i];
        if (shard->closed || hash < shard->from || hash >= shard->to)
            continue;
        struct entry entry = {
            .key = mem_string(key), .data = mem_string(data), .arrived_ms = now_ms(fake) - ago_ms};
        next_sequence(fake, entry.sequence);
        mem_grow(&shard->entries, &shard->capacity, shard->count, sizeof *shard->entries);
        shard->entries[shard->count++] = entry;
    }
}

static int some_open(const struct fake_kinesis *fake)
{
    int at = small_below(fake->small, fake->count);
    while (fake->shards[at].closed)
        at = (at + 1) % fake->count;
    return at;
}

void fake_kinesis_reshard(struct fake_kinesis *fake)
{
    int at = some_open(fake);
    struct shard *shard = &fake->shards[at];
    if (fake->count + 2 > SHARDS_MAX)
        return;
    for (int i = 0; small_below(fake->small, 2) && i < fake->count; i++) {
        struct shard *next = &fake->shards[i];
        if (next->closed || next->from != shard->to)
            continue;
        shard->closed = next->closed = true;
        add_shard(fake, shard->from, next->to, at, i);
        return;
    }
    if (shard->to - shard->from < 2)
        return;
    shard->closed = true;
    int middle = (shard->from + shard->to) / 2;
    add_shard(fake, shard->from, middle, at, -1);
    add_shard(fake, middle, shard->to, at, -1);
}

/* ---- the API ---- */

static void refuse(struct answer *answer, const char *code)
{
    answer->status = 400;
    buf_printf(&answer->body, "{\"__type\":\"%s\",\"message\":\"refused\"}", code);
}

static int shard_of(const struct fake_kinesis *fake, const struct json *id)
{
    int number = -1;
    char *text = json_string_dup(id);
    if (text && sscanf(text, "shardId-%d", &number) != 1)
        number = -1;
    free(text);
    return number < fake->count ? number : -1;
}

/* True when it is one more in this second than the service takes. */
static bool too_often(const struct fake_kinesis *fake, int64_t times_ms[READS_A_SECOND])
{
    int64_t now = fake->small->world.now_ms;
    if (now - times_ms[0] < SECOND_MS)
        return true;
    memmove(times_ms, times_ms + 1, (READS_A_SECOND - 1) * sizeof *times_ms);
    times_ms[READS_A_SECOND - 1] = now;
    return false;
}

static void describe(const struct json *root, struct answer *answer)
{
    if (!json_string_is(json_get(root, "StreamName"), "changes")) {
        refuse(answer, "ResourceNotFoundException");
        return;
    }
    answer->status = 200;
    buf_add_text(&answer->body, "{\"StreamDescriptionSummary\":{\"StreamARN\":\"" FAKE_KINESIS_ARN
                                "\",\"StreamName\":\"changes\",\"StreamStatus\":\"ACTIVE\","
                                "\"StreamCreationTimestamp\":1767225600}}");
}

static void add_parent(struct buf *out, const char *name, int parent)
{
    if (parent >= 0)
        buf_printf(out, ",\"%s\":\"shardId-%012d\"", name, parent);
}

static void list(const struct fake_kinesis *fake, const struct json *root, struct answer *answer)
{
    const struct json *token = json_get(root, "NextToken"), *name = json_get(root, "StreamName");
    if (!token == !name || (name && !json_string_is(name, "changes"))) {
        refuse(answer, "InvalidArgumentException");
        return;
    }
    char *text = json_string_dup(token);
    const struct json *after = json_get(root, "ExclusiveStartShardId"), *most = json_get(root, "MaxResults");
    if (after && shard_of(fake, after) < 0) {
        refuse(answer, "InvalidArgumentException");
        free(text);
        return;
    }
    int from = text ? atoi(text) : after ? shard_of(fake, after) + 1 : 0;
    int to = from + (most ? (int)json_integer(most, 1) : 1 + small_below(fake->small, 10));
    free(text);
    answer->status = 200;
    buf_add_text(&answer->body, "{\"Shards\":[");
    for (int i = from; i < fake->count && i < to; i++) {
        const struct shard *shard = &fake->shards[i];
        buf_printf(
            &answer->body,
            "%s{\"ShardId\":\"shardId-%012d\",\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"%s\"",
            i > from ? "," : "", i, shard->starting);
        if (shard->closed)
            buf_printf(&answer->body, ",\"EndingSequenceNumber\":\"4956%030lld\"", fake->sequence);
        buf_add_char(&answer->body, '}');
        add_parent(&answer->body, "ParentShardId", shard->parents[0]);
        add_parent(&answer->body, "AdjacentParentShardId", shard->parents[1]);
        buf_add_char(&answer->body, '}');
    }
    buf_add_char(&answer->body, ']');
    if (to < fake->count)
        buf_printf(&answer->body, ",\"NextToken\":\"%d\"", to);
    buf_add_char(&answer->body, '}');
}

static int place_of(const struct shard *shard, const struct json *sequence)
{
    for (size_t i = 0; i < shard->count; i++)
        if (json_string_is(sequence, shard->entries[i].sequence))
            return (int)i;
    return -1;
}

static void get_iterator(struct fake_kinesis *fake, const struct json *root, struct answer *answer)
{
    int number = shard_of(fake, json_get(root, "ShardId")), at = -1;
    const struct json *type = json_get(root, "ShardIteratorType"),
                      *sequence = json_get(root, "StartingSequenceNumber");
    if (number < 0 || !json_string_is(json_get(root, "StreamName"), "changes")) {
        refuse(answer, "ResourceNotFoundException");
        return;
    }
    struct shard *shard = &fake->shards[number];
    if (too_often(fake, shard->asks_ms)) {
        refuse(answer, "ProvisionedThroughputExceededException");
        return;
    }
    if (json_string_is(type, "TRIM_HORIZON"))
        at = 0;
    else if (json_string_is(type, "LATEST"))
        at = (int)shard->count;
    else if (json_string_is(type, "AT_SEQUENCE_NUMBER"))
        at = place_of(shard, sequence);
    else if (json_string_is(type, "AFTER_SEQUENCE_NUMBER") && place_of(shard, sequence) >= 0)
        at = place_of(shard, sequence) + 1;
    else if (json_string_is(type, "AT_TIMESTAMP") && json_get(root, "Timestamp"))
        for (at = 0; at < (int)shard->count && (double)shard->entries[at].arrived_ms / 1000 <
                                                   json_double(json_get(root, "Timestamp"), 0);)
            at++;
    if (at < 0) {
        refuse(answer, "InvalidArgumentException");
        return;
    }
    answer->status = 200;
    buf_printf(&answer->body, "{\"ShardIterator\":\"%d:%d:%lld\"}", number, at,
               (long long)fake->small->world.now_ms);
}

static void add_record(struct buf *out, const struct entry *entry)
{
    buf_printf(
        out, "{\"SequenceNumber\":\"%s\",\"PartitionKey\":\"%s\",\"ApproximateArrivalTimestamp\":%lld.%03d",
        entry->sequence, entry->key, (long long)(entry->arrived_ms / 1000), (int)(entry->arrived_ms % 1000));
    buf_add_literal(out, ",\"Data\":\"");
    base64_write(out, entry->data, strlen(entry->data));
    buf_add_literal(out, "\"}");
}

static void get_records(struct fake_kinesis *fake, const struct json *root, struct answer *answer)
{
    int number, at;
    long long since;
    char *iterator = json_string_dup(json_get(root, "ShardIterator"));
    bool good = iterator && sscanf(iterator, "%d:%d:%lld", &number, &at, &since) == 3;
    free(iterator);
    if (!good) {
        refuse(answer, "InvalidArgumentException");
        return;
    }
    struct shard *shard = &fake->shards[number];
    if (fake->small->world.now_ms - since > ITERATOR_MS) {
        refuse(answer, "ExpiredIteratorException");
        return;
    }
    if (too_often(fake, shard->reads_ms)) {
        refuse(answer, "ProvisionedThroughputExceededException");
        return;
    }
    int limit = (int)json_integer(json_get(root, "Limit"), 10000);
    if (!fake->small->calm && small_below(fake->small, 1000) < fake->small->faults) /* it goes back */
        at -= at < 3 ? 0 : small_below(fake->small, 3);
    if (small_below(fake->small, 4) == 0) /* as much as it likes, or nothing */
        limit = small_below(fake->small, 4) < limit ? small_below(fake->small, 4) : limit;
    answer->status = 200;
    buf_add_text(&answer->body, "{\"Records\":[");
    for (int i = 0; i < limit && at < (int)shard->count; i++) {
        if (i)
            buf_add_char(&answer->body, ',');
        add_record(&answer->body, &shard->entries[at++]);
    }
    int64_t behind_ms = at < (int)shard->count ? now_ms(fake) - shard->entries[at].arrived_ms + 1 : 0;
    buf_printf(&answer->body, "],\"MillisBehindLatest\":%lld", (long long)behind_ms);
    if (!fake->small->calm && small_below(fake->small, 1000) < fake->small->faults / 2)
        buf_add_literal(&answer->body, ",\"NextShardIterator\":7"); /* broken, and not the end */
    else if (!shard->closed || at < (int)shard->count)
        buf_printf(&answer->body, ",\"NextShardIterator\":\"%d:%d:%lld\"", number, at,
                   (long long)fake->small->world.now_ms);
    buf_add_char(&answer->body, '}');
}

bool fake_kinesis_answer(struct fake_kinesis *fake, const char *target, const char *body, size_t size,
                         struct answer *answer)
{
    static const char prefix[] = "Kinesis_20131202.";
    struct arena arena = ARENA_INIT;
    struct err err;
    if (strncmp(target, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *operation = target + sizeof prefix - 1;
    const struct json *root = json_parse(&arena, body, size, &err);
    if (!root)
        refuse(answer, "SerializationException");
    else if (strcmp(operation, "DescribeStreamSummary") == 0)
        describe(root, answer);
    else if (strcmp(operation, "ListShards") == 0)
        list(fake, root, answer);
    else if (strcmp(operation, "GetShardIterator") == 0)
        get_iterator(fake, root, answer);
    else if (strcmp(operation, "GetRecords") == 0)
        get_records(fake, root, answer);
    else
        refuse(answer, "UnknownOperationException");
    arena_fini(&arena);
    return true;
}
