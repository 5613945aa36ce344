/* fake_streams.c: see fake_streams.h. */
#include "fake_streams.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#define SHARDS_MAX 300
#define RECORDS_MAX 10000
#define ITERATOR_LIFE_MS (15 * 60 * 1000)

struct fake_record {
    long long sequence;
    char item[32];
    int version;
    int64_t time_ms;
};

struct fake_shard {
    char id[64], parent[64];
    int generation;
    bool closed, hidden, removed, shown_open;
    struct fake_record *records;
    int count, trimmed;
};

struct fault {
    char operation[32], code[64];
    int times;
    bool lose;
};

struct fake_streams {
    struct world *world;
    char table[64];
    struct fake_shard shards[SHARDS_MAX];
    int shard_count;
    int generation, oldest_generation;
    long long sequence;
    int64_t iterators_valid_from_ms;
    struct fault faults[8];
    struct {
        char name[32];
        int count;
    } calls[16];
    int iterators[3];
    int listing_page;
    struct buf sink;
    int sink_count;
    int64_t sink_delay_ms;
};

static void arn_of(const struct fake_streams *fake, int generation, char *text, size_t size)
{
    snprintf(text, size, "arn:aws:dynamodb:eu-west-1:1:table/%s/stream/2026-01-01T00:00:%02d.000",
             fake->table, generation);
}

static int generation_of(const struct fake_streams *fake, const char *arn)
{
    char text[256];
    for (int i = fake->oldest_generation; i <= fake->generation; i++) {
        arn_of(fake, i, text, sizeof text);
        if (strcmp(text, arn) == 0)
            return i;
    }
    return -1;
}

static struct fake_shard *find(struct fake_streams *fake, const char *id)
{
    for (int i = 0; i < fake->shard_count; i++)
        if (strcmp(fake->shards[i].id, id) == 0)
            return &fake->shards[i];
    return NULL;
}

static struct fake_shard *must_find(struct fake_streams *fake, const char *id)
{
    struct fake_shard *shard = find(fake, id);
    assert(shard);
    return shard;
}

static void answer_request(void *user, const struct transport_request *request, struct answer *answer);

struct fake_streams *fake_streams_new(struct world *world, const char *table)
{
    struct fake_streams *fake = mem_zero(sizeof *fake);
    fake->world = world;
    fake->listing_page = 100;
    fake->sequence = 100000000000000000ll;
    fake->sink_delay_ms = 3;
    snprintf(fake->table, sizeof fake->table, "%s", table);
    buf_add_text(&fake->sink, "");
    world->answer = answer_request;
    world->user = fake;
    return fake;
}

void fake_streams_free(struct fake_streams *fake)
{
    for (int i = 0; i < fake->shard_count; i++)
        free(fake->shards[i].records);
    buf_fini(&fake->sink);
    free(fake);
}

void fake_add_shard(struct fake_streams *fake, const char *id, const char *parent)
{
    struct fake_shard *shard = &fake->shards[fake->shard_count++];
    assert(fake->shard_count <= SHARDS_MAX);
    snprintf(shard->id, sizeof shard->id, "%s", id);
    snprintf(shard->parent, sizeof shard->parent, "%s", parent ? parent : "");
    shard->generation = fake->generation;
    shard->records = mem_zero(RECORDS_MAX * sizeof *shard->records);
}

void fake_put(struct fake_streams *fake, const char *id, const char *item, int version)
{
    struct fake_shard *shard = must_find(fake, id);
    assert(!shard->closed && shard->count < RECORDS_MAX);
    struct fake_record *record = &shard->records[shard->count++];
    record->sequence = fake->sequence += 7;
    record->version = version;
    record->time_ms = clock_wall_ms(&fake->world->clock) / 1000 * 1000;
    snprintf(record->item, sizeof record->item, "%s", item);
}

void fake_close_shard(struct fake_streams *fake, const char *id)
{
    must_find(fake, id)->closed = true;
}

void fake_new_stream(struct fake_streams *fake)
{
    for (int i = 0; i < fake->shard_count; i++)
        fake->shards[i].closed = true;
    fake->generation++;
}

void fake_drop_old_stream(struct fake_streams *fake)
{
    fake->oldest_generation = fake->generation;
}

void fake_trim(struct fake_streams *fake, const char *id, int records)
{
    must_find(fake, id)->trimmed += records;
}

void fake_remove_shard(struct fake_streams *fake, const char *id)
{
    must_find(fake, id)->removed = true;
}

void fake_hide_shard(struct fake_streams *fake, const char *id, bool hidden)
{
    must_find(fake, id)->hidden = hidden;
}

void fake_show_open(struct fake_streams *fake, const char *id)
{
    must_find(fake, id)->shown_open = true;
}

void fake_expire_iterators(struct fake_streams *fake)
{
    fake->iterators_valid_from_ms = fake->world->now_ms + 1;
}

static void add_fault(struct fake_streams *fake, const char *operation, const char *code, int times,
                      bool lose)
{
    for (size_t i = 0; i < sizeof fake->faults / sizeof *fake->faults; i++) {
        struct fault *fault = &fake->faults[i];
        if (fault->times)
            continue;
        snprintf(fault->operation, sizeof fault->operation, "%s", operation);
        snprintf(fault->code, sizeof fault->code, "%s", code);
        fault->times = times;
        fault->lose = lose;
        return;
    }
    assert(!"too many faults");
}

void fake_fail_next(struct fake_streams *fake, const char *operation, const char *code, int times)
{
    add_fault(fake, operation, code, times, false);
}

void fake_lose_next(struct fake_streams *fake, const char *operation, int times)
{
    add_fault(fake, operation, "", times, true);
}

int fake_unused_faults(const struct fake_streams *fake)
{
    int count = 0;
    for (size_t i = 0; i < sizeof fake->faults / sizeof *fake->faults; i++)
        count += fake->faults[i].times;
    return count;
}

void fake_set_listing_page(struct fake_streams *fake, int shards)
{
    fake->listing_page = shards;
}

void fake_set_sink_delay(struct fake_streams *fake, int64_t delay_ms)
{
    fake->sink_delay_ms = delay_ms;
}

int fake_calls(const struct fake_streams *fake, const char *operation)
{
    for (size_t i = 0; i < 16 && fake->calls[i].name[0]; i++)
        if (strcmp(fake->calls[i].name, operation) == 0)
            return fake->calls[i].count;
    return 0;
}

int fake_iterators(const struct fake_streams *fake, const char *type)
{
    return fake->iterators[type[0] == 'T' ? 0 : type[0] == 'L' ? 1 : 2];
}

const char *fake_sink(const struct fake_streams *fake)
{
    return fake->sink.data;
}

int fake_sink_count(const struct fake_streams *fake)
{
    return fake->sink_count;
}

/* ---- answers ---- */

static void fail(struct answer *answer, const char *code)
{
    bool internal = strcmp(code, "InternalServerError") == 0;
    answer->status = internal ? 500 : 400;
    buf_printf(&answer->body, "{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\",\"message\":\"%s\"}", code,
               "as the test wished");
}

static void text_of(const struct json *request, const char *name, char *text, size_t size)
{
    const struct json *value = json_get(request, name);
    snprintf(text, size, "%.*s", value ? (int)value->size : 0, value ? value->text : "");
}

static void describe_table(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    char table[64], arn[256];
    text_of(request, "TableName", table, sizeof table);
    if (strcmp(table, fake->table) != 0) {
        fail(answer, "ResourceNotFoundException");
        return;
    }
    arn_of(fake, fake->generation, arn, sizeof arn);
    buf_printf(&answer->body, "{\"Table\":{\"TableName\":\"%s\",\"LatestStreamArn\":\"%s\"}}", table, arn);
}

static void list_streams(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    char arn[256];
    (void)request;
    buf_add_text(&answer->body, "{\"Streams\":[");
    for (int i = fake->generation; i >= fake->oldest_generation; i--) {
        arn_of(fake, i, arn, sizeof arn);
        buf_printf(&answer->body, "%s{\"StreamArn\":\"%s\"}", i < fake->generation ? "," : "", arn);
    }
    buf_add_text(&answer->body, "]}");
}

static bool listed(const struct fake_shard *shard, int generation)
{
    return shard->generation == generation && !shard->hidden && !shard->removed;
}

static void describe_stream(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    char arn[256], after[64];
    text_of(request, "StreamArn", arn, sizeof arn);
    text_of(request, "ExclusiveStartShardId", after, sizeof after);
    int generation = generation_of(fake, arn), count = 0;
    bool begun = !after[0], more = false;
    const char *last = "";
    if (generation < 0) {
        fail(answer, "ResourceNotFoundException");
        return;
    }
    buf_printf(&answer->body,
               "{\"StreamDescription\":{\"StreamArn\":\"%s\",\"StreamStatus\":\"%s\",\"Shards\":[", arn,
               generation == fake->generation ? "ENABLED" : "DISABLED");
    for (int i = 0; i < fake->shard_count; i++) {
        const struct fake_shard *shard = &fake->shards[i];
        if (!begun) {
            begun = strcmp(shard->id, after) == 0;
            continue;
        }
        if (!listed(shard, generation))
            continue;
        if (count == fake->listing_page) {
            more = true;
            break;
        }
        buf_printf(&answer->body, "%s{\"ShardId\":\"%s\"", count++ ? "," : "", shard->id);
        if (shard->parent[0])
            buf_printf(&answer->body, ",\"ParentShardId\":\"%s\"", shard->parent);
        buf_printf(&answer->body, ",\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"1\"%s}}",
                   shard->closed && !shard->shown_open ? ",\"EndingSequenceNumber\":\"999\"" : "");
        last = shard->id;
    }
    buf_add_text(&answer->body, "]");
    if (more)
        buf_printf(&answer->body, ",\"LastEvaluatedShardId\":\"%s\"", last);
    buf_add_text(&answer->body, "}}");
}

static void get_shard_iterator(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    char arn[256], id[64], type[32], sequence[64];
    text_of(request, "StreamArn", arn, sizeof arn);
    text_of(request, "ShardId", id, sizeof id);
    text_of(request, "ShardIteratorType", type, sizeof type);
    text_of(request, "SequenceNumber", sequence, sizeof sequence);
    struct fake_shard *shard = find(fake, id);
    int at = 0;
    if (generation_of(fake, arn) < 0 || !shard || shard->removed) {
        fail(answer, "ResourceNotFoundException");
        return;
    }
    assert(shard->generation == generation_of(fake, arn));
    if (strcmp(type, "LATEST") == 0) {
        at = shard->count;
    } else if (strcmp(type, "AFTER_SEQUENCE_NUMBER") == 0) {
        while (at < shard->count && shard->records[at].sequence <= atoll(sequence))
            at++;
        if (at == 0 || at < shard->trimmed) {
            fail(answer, "TrimmedDataAccessException");
            return;
        }
    } else {
        assert(strcmp(type, "TRIM_HORIZON") == 0);
        at = shard->trimmed;
    }
    fake->iterators[type[0] == 'T' ? 0 : type[0] == 'L' ? 1 : 2]++;
    buf_printf(&answer->body, "{\"ShardIterator\":\"%s|%d|%lld\"}", id, at, (long long)fake->world->now_ms);
}

static void add_record(const struct fake_record *record, struct buf *body)
{
    char image[160];
    snprintf(image, sizeof image, "{\"id\":{\"S\":\"%s\"},\"version\":{\"N\":\"%d\"}}", record->item,
             record->version);
    buf_printf(body,
               "{\"eventID\":\"e%lld\",\"eventName\":\"MODIFY\",\"eventVersion\":\"1.1\",\"eventSource\":"
               "\"aws:dynamodb\","
               "\"awsRegion\":\"eu-west-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":%lld,"
               "\"Keys\":{\"id\":{\"S\":\"%s\"}},\"NewImage\":%s,\"OldImage\":%s,\"SequenceNumber\":\"%lld\","
               "\"SizeBytes\":40,"
               "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}",
               record->sequence, (long long)record->time_ms / 1000, record->item, image, image,
               record->sequence);
}

static void get_records(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    char iterator[256], id[64] = "";
    int at = 0;
    long long issued_ms = 0;
    text_of(request, "ShardIterator", iterator, sizeof iterator);
    int limit = (int)json_integer(json_get(request, "Limit"), 1000);
    int fields = sscanf(iterator, "%63[^|]|%d|%lld", id, &at, &issued_ms);
    assert(fields == 3);
    struct fake_shard *shard = find(fake, id);
    if (!shard || shard->removed || shard->generation < fake->oldest_generation) {
        fail(answer, "ResourceNotFoundException");
        return;
    }
    if (issued_ms < fake->iterators_valid_from_ms || fake->world->now_ms - issued_ms > ITERATOR_LIFE_MS) {
        fail(answer, "ExpiredIteratorException");
        return;
    }
    if (at < shard->trimmed) {
        fail(answer, "TrimmedDataAccessException");
        return;
    }
    struct buf records = BUF_INIT, next = BUF_INIT;
    bool next_first = at % 2; /* the service says nothing of their order */
    for (int n = 0; at < shard->count && n < limit; n++, at++) {
        if (n)
            buf_add_char(&records, ',');
        add_record(&shard->records[at], &records);
    }
    /* The last page of a closed shard holds its records and no next iterator. */
    if (!shard->closed || at < shard->count)
        buf_printf(&next, "\"NextShardIterator\":\"%s|%d|%lld\"", id, at, (long long)fake->world->now_ms);
    const char *all = records.size ? records.data : "", *behind = next.size ? next.data : "";
    if (next_first && next.size)
        buf_printf(&answer->body, "{%s,\"Records\":[%s]}", behind, all);
    else
        buf_printf(&answer->body, "{\"Records\":[%s]%s%s}", all, next.size ? "," : "", behind);
    buf_fini(&records);
    buf_fini(&next);
}

static void put_item(struct fake_streams *fake, const struct json *request, struct answer *answer)
{
    const struct json *item = json_get(request, "Item");
    const struct json *id = json_get(json_get(item, "id"), "S"),
                      *version = json_get(json_get(item, "version"), "N");
    buf_printf(&fake->sink, "%s%.*s:%.*s", fake->sink.size ? " " : "", (int)id->size, id->text,
               (int)version->size, version->text);
    fake->sink_count++;
    answer->delay_ms = fake->sink_delay_ms;
    buf_add_text(&answer->body, "{}");
}

static void count_call(struct fake_streams *fake, const char *operation)
{
    size_t i = 0;
    while (fake->calls[i].name[0] && strcmp(fake->calls[i].name, operation) != 0)
        i++;
    snprintf(fake->calls[i].name, sizeof fake->calls[i].name, "%s", operation);
    fake->calls[i].count++;
}

static bool take_fault(struct fake_streams *fake, const char *operation, struct answer *answer)
{
    for (size_t i = 0; i < sizeof fake->faults / sizeof *fake->faults; i++) {
        struct fault *fault = &fake->faults[i];
        if (!fault->times || strcmp(fault->operation, operation) != 0)
            continue;
        fault->times--;
        answer->lost = fault->lose;
        if (!fault->lose)
            fail(answer, fault->code);
        return !fault->lose;
    }
    return false;
}

static void answer_request(void *user, const struct transport_request *request, struct answer *answer)
{
    static const struct {
        const char *name;
        void (*answer)(struct fake_streams *, const struct json *, struct answer *);
    } operations[] = {
        {"DescribeTable", describe_table},   {"ListStreams", list_streams},
        {"DescribeStream", describe_stream}, {"GetShardIterator", get_shard_iterator},
        {"GetRecords", get_records},         {"PutItem", put_item},
    };
    struct fake_streams *fake = user;
    char target[128] = "";
    struct arena arena = ARENA_INIT;
    struct err err;
    request_header(request, "X-Amz-Target", target, sizeof target);
    const char *operation = strchr(target, '.') ? strchr(target, '.') + 1 : "";
    const struct json *root = json_parse(&arena, request->body, request->body_size, &err);
    assert(root && request_header(request, "Authorization", (char[2000]){0}, 2000));
    count_call(fake, operation);
    answer->status = 200;
    if (!take_fault(fake, operation, answer)) {
        size_t i = 0, count = sizeof operations / sizeof *operations;
        while (i < count && strcmp(operations[i].name, operation) != 0)
            i++;
        assert(i < count);
        operations[i].answer(fake, root, answer);
    }
    arena_fini(&arena);
}
