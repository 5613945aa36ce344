/* source_dynamodb.c: requests out, answers in. Reading is not repeated here: the reader knows better what
 * each error means for it. */
#include "source/dynamodb/source_dynamodb.h"

#include <stdlib.h>
#include <string.h>

#include "aws/streams.h"
#include "base/check.h"
#include "base/mem.h"

struct source_dynamodb {
    struct source source;
    struct aws_client *client;
};

struct source_call {
    struct aws_call *call;
    union {
        source_stream_fn *stream;
        source_shards_fn *shards;
        source_cursor_fn *cursor;
        source_page_fn *page;
    } done;
    void *user;
    struct source_dynamodb *source; /* of a next_stream, which asks page after page */
    char *table, *stream_arn, *best;
};

enum source_fault source_fault(const struct err *err)
{
    static const struct {
        const char *code;
        enum source_fault fault;
    } codes[] = {
        {"ExpiredIteratorException", SOURCE_EXPIRED},
        {"TrimmedDataAccessException", SOURCE_TRIMMED},
        {"ResourceNotFoundException", SOURCE_MISSING},
        {"LimitExceededException", SOURCE_THROTTLED},
        {"ThrottlingException", SOURCE_THROTTLED},
        {"ProvisionedThroughputExceededException", SOURCE_THROTTLED},
        {"RequestLimitExceeded", SOURCE_THROTTLED},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(err->service, codes[i].code) == 0)
            return codes[i].fault;
    return SOURCE_OTHER;
}

static struct source_call *send(struct source *source, struct aws_request request, int attempts,
                                aws_done_fn *done, struct source_call *call)
{
    struct source_dynamodb *dynamodb = (struct source_dynamodb *)(void *)source;
    request.attempts = attempts;
    request.own = true;
    call->call = aws_send(dynamodb->client, &request, done, call);
    return call;
}

static struct source_call *call_new(void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->user = user;
    return call;
}

static const struct json *parse(struct arena *arena, const struct transport_response *response,
                                const char *operation, struct err *err)
{
    const char *text = response->body.data ? response->body.data : "";
    const struct json *root = json_parse(arena, text, response->body.size, err);
    if (!root)
        err_prefix(err, "%s", operation);
    return root;
}

/* ---- DescribeTable ---- */

static void on_table(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct arena arena = ARENA_INIT;
    struct err problem;
    free(user);
    const struct json *root = err ? NULL : parse(&arena, response, "DescribeTable", &problem);
    if (root) {
        const struct json *arn = json_get(json_get(root, "Table"), "LatestStreamArn");
        call.done.stream(call.user, json_string(&arena, arn), NULL);
    } else {
        call.done.stream(call.user, NULL, err ? err : &problem);
    }
    arena_fini(&arena);
}

static struct source_call *find_stream(struct source *source, const char *table, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(user);
    call->done.stream = done;
    return send(source, streams_describe_table(table), 0, on_table, call);
}

/* ---- ListStreams ---- */

/* A stream's label, the last part of its ARN, is the time it was enabled: labels sort by time. NULL where the
 * ARN has none (ScyllaDB Alternator). */
static const char *label_of(const char *stream_arn)
{
    const char *label = strstr(stream_arn, "/stream/");
    return label ? label + strlen("/stream/") : NULL;
}

static void take_earliest_later(struct source_call *call, struct arena *arena, const struct json *streams)
{
    const char *after = label_of(call->stream_arn);
    json_each(stream, streams) {
        const char *arn = json_string(arena, json_get(stream, "StreamArn")),
                   *label = arn ? label_of(arn) : NULL;
        if (!label || !after || strcmp(label, after) <= 0)
            continue;
        if (call->best && strcmp(label, label_of(call->best)) >= 0)
            continue;
        free(call->best);
        call->best = mem_string(arn);
    }
}

static void on_streams(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct arena arena = ARENA_INIT;
    struct err problem;
    const struct json *root = err ? NULL : parse(&arena, response, "ListStreams", &problem);
    take_earliest_later(call, &arena, json_get(root, "Streams"));
    const char *last = json_string(&arena, json_get(root, "LastEvaluatedStreamArn"));
    if (last) {
        send(&call->source->source, streams_list_streams(call->table, last), 0, on_streams, call);
    } else {
        struct source_call own = *call;
        free(call);
        own.done.stream(own.user, root ? own.best : NULL, root ? NULL : err ? err : &problem);
        free(own.table);
        free(own.stream_arn);
        free(own.best);
    }
    arena_fini(&arena);
}

static struct source_call *next_stream(struct source *source, const char *table, const char *stream_arn,
                                       source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(user);
    call->done.stream = done;
    call->source = (struct source_dynamodb *)(void *)source;
    call->table = mem_string(table);
    call->stream_arn = mem_string(stream_arn);
    return send(source, streams_list_streams(table, NULL), 0, on_streams, call);
}

/* ---- DescribeStream ---- */

static bool read_shards(struct arena *arena, const struct json *root, struct shard_page *page,
                        struct err *err)
{
    const struct json *description = json_get(root, "StreamDescription"), *status, *list;
    status = json_get(description, "StreamStatus");
    list = json_get(description, "Shards");
    if (!description || !status)
        return err_set(err, ERR_PARSE, "DescribeStream: the answer holds no StreamDescription");
    /* DISABLING may still gain records; what is ENABLING has none yet. */
    page->status = json_string_is(status, "DISABLED") ? STREAM_DISABLED : STREAM_ENABLED;
    page->last = json_string(arena, json_get(description, "LastEvaluatedShardId"));
    struct shard_info *shards = arena_alloc(arena, ((list ? list->count : 0) + 1) * sizeof *shards);
    page->shards = shards;
    json_each(shard, list) {
        const struct json *range = json_get(shard, "SequenceNumberRange");
        struct shard_info *info = &shards[page->count];
        info->id = json_string(arena, json_get(shard, "ShardId"));
        info->parent = json_string(arena, json_get(shard, "ParentShardId"));
        info->closed = json_get(range, "EndingSequenceNumber") != NULL;
        info->starting = json_string(arena, json_get(range, "StartingSequenceNumber"));
        if (!info->id)
            return err_set(err, ERR_PARSE, "DescribeStream: a shard without ShardId");
        page->count++;
    }
    return true;
}

static void on_shards(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct arena arena = ARENA_INIT;
    struct shard_page page = {0};
    struct err problem;
    free(user);
    const struct json *root = err ? NULL : parse(&arena, response, "DescribeStream", &problem);
    if (root && read_shards(&arena, root, &page, &problem))
        call.done.shards(call.user, &page, NULL);
    else
        call.done.shards(call.user, NULL, err ? err : &problem);
    arena_fini(&arena);
}

static struct source_call *list_shards(struct source *source, const char *stream_arn, const char *after,
                                       source_shards_fn *done, void *user)
{
    struct source_call *call = call_new(user);
    call->done.shards = done;
    return send(source, streams_describe_stream(stream_arn, after, NULL), 0, on_shards, call);
}

/* ---- GetShardIterator ---- */

static void on_cursor(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct arena arena = ARENA_INIT;
    struct err problem;
    free(user);
    const struct json *root = err ? NULL : parse(&arena, response, "GetShardIterator", &problem);
    const char *cursor = json_string(&arena, json_get(root, "ShardIterator"));
    if (root && !cursor)
        err_set(&problem, ERR_PARSE, "GetShardIterator: the answer holds no ShardIterator");
    call.done.cursor(call.user, cursor, cursor ? NULL : err ? err : &problem);
    arena_fini(&arena);
}

static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    static const char *const types[] = {"TRIM_HORIZON", "LATEST", "AFTER_SEQUENCE_NUMBER"};
    static_assert(COUNT_OF(types) == CURSOR_AFTER + 1, "one for each kind of cursor");
    struct source_call *call = call_new(user);
    call->done.cursor = done;
    struct aws_request request =
        streams_get_shard_iterator(stream_arn, shard, types[kind], kind == CURSOR_AFTER ? sequence : NULL);
    return send(source, request, 1, on_cursor, call);
}

/* ---- GetRecords ---- */

static void on_page(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct err problem;
    free(user);
    struct page *page = err ? NULL : page_read(&response->body, &problem);
    if (!page && !err)
        err_prefix(&problem, "GetRecords");
    call.done.page(call.user, page, page ? NULL : err ? err : &problem);
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_page_fn *done, void *user)
{
    struct source_call *call = call_new(user);
    call->done.page = done;
    return send(source, streams_get_records(cursor, limit), 1, on_page, call);
}

static void cancel(struct source_call *call)
{
    aws_cancel(call->call);
    free(call->table);
    free(call->stream_arn);
    free(call->best);
    free(call);
}

static void free_source(struct source *source)
{
    free(source);
}

struct source *source_dynamodb_new(struct aws_client *client)
{
    static const struct source_ops ops = {find_stream, next_stream, list_shards, get_cursor,
                                          read_page,   cancel,      free_source};
    struct source_dynamodb *dynamodb = mem_zero(sizeof *dynamodb);
    dynamodb->source.ops = &ops;
    dynamodb->client = client;
    return &dynamodb->source;
}
