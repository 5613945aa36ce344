/* streams.c: a table's stream: its shards and their records.
 *
 * A shard holds a range of the partition keys' hashes, so that an item's records are in one open shard; a
 * shard that has grown old, or is split on request, is closed and its children take over the range. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "local/keep/streams.h"

#define SHARD_AGE_MS (4 * 3600 * 1000LL)

void sequence_write(char text[SEQUENCE_TEXT], int64_t sequence)
{
    snprintf(text, SEQUENCE_TEXT, "1%020" PRId64, sequence);
}

static int64_t next_sequence(struct call *call)
{
    int64_t by_time = call->now_ms * SEQUENCES_PER_MS;
    struct engine *engine = call->engine;
    engine->last_sequence = by_time > engine->last_sequence ? by_time : engine->last_sequence + 1;
    return engine->last_sequence;
}

/* ---- keeping ---- */

static void keep(struct engine *engine, const struct stream *stream)
{
    struct buf text = BUF_INIT;
    buf_printf(&text,
               "{\"Table\":\"%s\",\"Label\":\"%s\",\"View\":%d,\"Enabled\":%s,\"CreatedMs\":%" PRId64
               ",\"Key\":",
               stream->table, stream->label, (int)stream->view, stream->enabled ? "true" : "false",
               stream->created_ms);
    json_write_string(&text, stream->key, strlen(stream->key));
    buf_add_literal(&text, ",\"Shards\":[");
    for (size_t i = 0; i < stream->shard_count; i++) {
        const struct shard *shard = &stream->shards[i];
        buf_printf(&text,
                   "%s{\"Id\":%" PRId64 ",\"Name\":\"%s\",\"Parent\":\"%s\",\"From\":%" PRIu32
                   ",\"To\":%" PRIu32 ",\"Start\":%" PRId64 ",\"End\":%" PRId64 ",\"CreatedMs\":%" PRId64
                   ",\"ClosedMs\":%" PRId64 "}",
                   i ? "," : "", shard->id, shard->name, shard->parent ? shard->parent : "", shard->from,
                   shard->to, shard->start, shard->end, shard->created_ms, shard->closed_ms);
    }
    buf_add_literal(&text, "]}");
    storage_set(engine->storage, "stream", stream->arn, text.data, text.size);
    buf_fini(&text);
}

static struct shard *add_shard(struct stream *stream)
{
    mem_grow(&stream->shards, &stream->shard_capacity, stream->shard_count, sizeof *stream->shards);
    stream->shards[stream->shard_count] = (struct shard){0};
    return &stream->shards[stream->shard_count++];
}

static bool is_text(const struct json *object, const char *name)
{
    const struct json *member = json_get(object, name);
    return member && member->type == JSON_STRING;
}

/* As they were listed when they were made. */
static void add_by_age(struct engine *engine, struct stream *stream)
{
    struct list *before = &engine->streams;
    struct stream *other;
    list_each(other, &engine->streams, struct stream, link) {
        if (other->created_ms <= stream->created_ms)
            continue;
        before = &other->link;
        break;
    }
    list_append(before, &stream->link);
}

static void load_stream(void *user, const char *name, const char *text, size_t size)
{
    struct engine *engine = user;
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, text, size, NULL), *enabled = json_get(root, "Enabled");
    int64_t view = json_integer(json_get(root, "View"), VIEW_BOTH);
    bool whole = enabled && view >= VIEW_KEYS_ONLY && view <= VIEW_BOTH && is_text(root, "Table") &&
                 is_text(root, "Label") && is_text(root, "Key");
    json_each(kept, json_get(root, "Shards"))
        whole = whole && is_text(kept, "Name");
    if (!whole) {
        engine_damaged(engine, "stream", name);
        arena_fini(&arena);
        return;
    }
    struct stream *stream = mem_zero(sizeof *stream);
    stream->arn = mem_string(name);
    stream->table = json_string_dup(json_get(root, "Table"));
    stream->label = json_string_dup(json_get(root, "Label"));
    stream->key = json_string_dup(json_get(root, "Key"));
    stream->view = (enum view_type)view;
    stream->enabled = enabled->type == JSON_TRUE;
    stream->created_ms = json_integer(json_get(root, "CreatedMs"), 0);
    json_each(kept, json_get(root, "Shards")) {
        struct shard *shard = add_shard(stream);
        const struct json *parent = json_get(kept, "Parent");
        *shard = (struct shard){
            .id = json_integer(json_get(kept, "Id"), 0),
            .name = json_string_dup(json_get(kept, "Name")),
            .parent = parent && parent->size ? json_string_dup(parent) : NULL,
            .from = (uint32_t)json_integer(json_get(kept, "From"), 0),
            .to = (uint32_t)json_integer(json_get(kept, "To"), 0),
            .start = json_int64(json_get(kept, "Start"), 0),
            .end = json_int64(json_get(kept, "End"), 0),
            .created_ms = json_integer(json_get(kept, "CreatedMs"), 0),
            .closed_ms = json_integer(json_get(kept, "ClosedMs"), 0),
        };
        if (shard->id > engine->last_id)
            engine->last_id = shard->id;
        if (shard->start > engine->last_sequence)
            engine->last_sequence = shard->start;
        if (shard->end > engine->last_sequence)
            engine->last_sequence = shard->end;
    }
    add_by_age(engine, stream);
    arena_fini(&arena);
}

void engine_load_streams(struct engine *engine)
{
    storage_each(engine->storage, "stream", load_stream, engine);
    /* Whoever has read to the end goes on from now, also where nothing was ever written. */
    int64_t by_time = clock_wall_ms(engine->options.clock) * SEQUENCES_PER_MS;
    if (!list_empty(&engine->streams) && engine->last_sequence < by_time)
        engine->last_sequence = by_time;
}

static void shard_fini(struct shard *shard)
{
    free(shard->name);
    free(shard->parent);
}

static void stream_free(struct stream *stream)
{
    list_remove(&stream->link);
    for (size_t i = 0; i < stream->shard_count; i++)
        shard_fini(&stream->shards[i]);
    free(stream->shards);
    free(stream->arn);
    free(stream->table);
    free(stream->label);
    free(stream->key);
    free(stream);
}

void engine_free_streams(struct engine *engine)
{
    struct stream *stream;
    list_each(stream, &engine->streams, struct stream, link)
        stream_free(stream);
}

/* ---- shards ---- */

static void open_shard(struct call *call, struct stream *stream, const char *parent, uint32_t from,
                       uint32_t to)
{
    struct engine *engine = call->engine;
    char *name = mem_printf("shardId-%020" PRId64 "-%08x", call->now_ms, (unsigned)engine_random(engine)),
         *above = mem_string(parent);
    struct shard *shard = add_shard(stream);
    *shard = (struct shard){
        .id = ++engine->last_id,
        .name = name,
        .parent = above,
        .from = from,
        .to = to,
        .start = next_sequence(call),
        .created_ms = call->now_ms,
    };
}

/* `children` 0: it is closed for good. */
static void close_shard(struct call *call, struct stream *stream, size_t index, int children)
{
    struct shard closed = stream->shards[index];
    stream->shards[index].end = next_sequence(call);
    stream->shards[index].closed_ms = call->now_ms;
    uint64_t width = (uint64_t)closed.to - closed.from + 1;
    for (int i = 0; i < children; i++)
        open_shard(call, stream, closed.name,
                   closed.from + (uint32_t)(width * (uint64_t)i / (uint64_t)children),
                   closed.from + (uint32_t)(width * (uint64_t)(i + 1) / (uint64_t)children - 1));
}

static int64_t shard_age(const struct engine *engine)
{
    return engine->options.shard_age_ms ? engine->options.shard_age_ms : SHARD_AGE_MS;
}

void stream_renew(struct call *call, struct stream *stream)
{
    bool any = false;
    size_t count = stream->shard_count;
    for (size_t i = 0; stream->enabled && i < count; i++) {
        const struct shard *shard = &stream->shards[i];
        if (shard->end || call->now_ms - shard->created_ms < shard_age(call->engine))
            continue;
        close_shard(call, stream, i, 1);
        any = true;
    }
    if (any)
        keep(call->engine, stream);
}

/* Closed shards whose records have been trimmed, and disabled streams without shards, are forgotten. */
static bool forget_shards(struct call *call, struct stream *stream)
{
    bool any = false;
    for (size_t i = 0; i < stream->shard_count;) {
        struct shard *shard = &stream->shards[i];
        if (!shard->end || call->now_ms - shard->closed_ms < RETENTION_MS) {
            i++;
            continue;
        }
        storage_forget_records(call->engine->storage, shard->id);
        shard_fini(shard);
        memmove(shard, shard + 1, (stream->shard_count - i - 1) * sizeof *shard);
        stream->shard_count--;
        any = true;
    }
    return any;
}

void engine_renew_streams(struct call *call)
{
    struct stream *stream;
    storage_trim(call->engine->storage, call->now_ms - RETENTION_MS);
    list_each(stream, &call->engine->streams, struct stream, link) {
        stream_renew(call, stream);
        bool forgotten = forget_shards(call, stream);
        if (!stream->enabled && !stream->shard_count) {
            storage_unset(call->engine->storage, "stream", stream->arn);
            stream_free(stream);
        } else if (forgotten) {
            keep(call->engine, stream);
        }
    }
}

struct stream *stream_find(struct engine *engine, struct text arn)
{
    struct stream *stream;
    list_each(stream, &engine->streams, struct stream, link)
        if (text_is(arn, stream->arn, strlen(stream->arn)))
            return stream;
    return NULL;
}

bool stream_split(struct call *call, const char *arn, const char *shard, int children)
{
    struct stream *stream = stream_find(call->engine, (struct text){arn, strlen(arn)});
    bool any = false;
    size_t count = stream ? stream->shard_count : 0;
    for (size_t i = 0; i < count; i++) {
        if (stream->shards[i].end || (shard && strcmp(shard, stream->shards[i].name) != 0))
            continue;
        close_shard(call, stream, i, children);
        any = true;
    }
    if (any)
        keep(call->engine, stream);
    return any;
}

void stream_open(struct call *call, struct table *table)
{
    struct engine *engine = call->engine;
    struct stream *stream = mem_zero(sizeof *stream);
    char time[CLOCK_ISO_SIZE];
    uint64_t shards = engine->options.shards > 0 ? (uint64_t)engine->options.shards : 1;
    /* Two streams of a table cannot have one label. */
    int64_t at_ms = call->now_ms;
    do {
        clock_iso8601(at_ms++, time);
        time[23] = '\0'; /* without the Z */
    } while (table->stream_label && strcmp(table->stream_label, time) >= 0);
    char *arn = engine_table_arn(engine, table);
    stream->arn = mem_printf("%s/stream/%s", arn, time);
    stream->table = mem_string(table->name);
    stream->label = mem_string(time);
    stream->view = table->view;
    stream->enabled = true;
    stream->created_ms = call->now_ms;
    struct buf key = BUF_INIT;
    for (size_t i = 0; i < table->key.count; i++) {
        buf_add_text(&key, i ? ",{\"AttributeName\":" : "[{\"AttributeName\":");
        json_write_string(&key, table->key.parts[i].name.data, table->key.parts[i].name.size);
        buf_printf(&key, ",\"KeyType\":\"%s\"}", i ? "RANGE" : "HASH");
    }
    buf_add_char(&key, ']');
    stream->key = buf_take(&key);
    for (uint64_t i = 0; i < shards; i++)
        open_shard(call, stream, NULL, (uint32_t)((1ull << 32) * i / shards),
                   (uint32_t)((1ull << 32) * (i + 1) / shards - 1));
    list_append(&engine->streams, &stream->link);
    keep(engine, stream);
    table->stream_label = arena_copy(&table->arena, time, strlen(time));
    free(arn);
}

static struct stream *stream_of(struct call *call, const struct table *table)
{
    struct stream *stream;
    list_each(stream, &call->engine->streams, struct stream, link)
        if (stream->enabled && strcmp(stream->table, table->name) == 0)
            return stream;
    return NULL;
}

void stream_close(struct call *call, const struct table *table)
{
    struct stream *stream = stream_of(call, table);
    if (!stream)
        return;
    stream->enabled = false;
    for (size_t i = 0; i < stream->shard_count; i++)
        if (!stream->shards[i].end)
            close_shard(call, stream, i, 0);
    keep(call->engine, stream);
}

/* ---- writing ---- */

static size_t write_images(struct buf *out, const struct table *table, const struct attr *before,
                           const struct attr *after)
{
    size_t size = 0;
    if (after && (table->view == VIEW_NEW_IMAGE || table->view == VIEW_BOTH)) {
        buf_add_literal(out, ",\"NewImage\":");
        attr_write_item(out, after);
        size += attr_item_size(after);
    }
    if (before && (table->view == VIEW_OLD_IMAGE || table->view == VIEW_BOTH)) {
        buf_add_literal(out, ",\"OldImage\":");
        attr_write_item(out, before);
        size += attr_item_size(before);
    }
    return size;
}

void stream_append(struct call *call, const struct table *table, struct row_key row,
                   const struct attr *before, const struct attr *after, enum writer writer)
{
    struct stream *stream = stream_of(call, table);
    struct buf record = BUF_INIT;
    char sequence[SEQUENCE_TEXT];
    if (!stream)
        return;
    stream_renew(call, stream);
    uint32_t hash = (uint32_t)(hash_bytes(row.hash.data, row.hash.size, 7) >> 32);
    const struct shard *shard = NULL;
    for (size_t i = 0; i < stream->shard_count; i++)
        if (!stream->shards[i].end && stream->shards[i].from <= hash && hash <= stream->shards[i].to)
            shard = &stream->shards[i];
    int64_t number = next_sequence(call);
    const struct attr *keys = key_only(call->arena, &table->key, after ? after : before);
    sequence_write(sequence, number);
    buf_printf(
        &record,
        "{\"eventID\":\"%016llx%016llx\",\"eventName\":\"%s\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:"
        "dynamodb\",\"awsRegion\":\"%s\",",
        (unsigned long long)engine_random(call->engine), (unsigned long long)engine_random(call->engine),
        !before ? "INSERT"
        : after ? "MODIFY"
                : "REMOVE",
        engine_table_region(call->engine, table));
    if (writer == WRITTEN_BY_TTL)
        buf_add_literal(
            &record, "\"userIdentity\":{\"PrincipalId\":\"dynamodb.amazonaws.com\",\"Type\":\"Service\"},");
    buf_printf(&record,
               "\"dynamodb\":{\"ApproximateCreationDateTime\":%" PRId64 ",\"Keys\":", call->now_ms / 1000);
    attr_write_item(&record, keys);
    size_t size = attr_item_size(keys) + write_images(&record, table, before, after);
    buf_printf(&record, ",\"SequenceNumber\":\"%s\",\"SizeBytes\":%zu,\"StreamViewType\":\"%s\"}}", sequence,
               size, view_names[table->view]);
    if (shard)
        storage_append(call->engine->storage, shard->id, number, call->now_ms, &record);
    buf_fini(&record);
}
