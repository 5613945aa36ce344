/* source_dynamodb.c: requests out, answers in. Reading is not repeated here: the reader knows better what
 * each error means for it. */
#include "source/dynamodb/source_dynamodb.h"

#include <stdlib.h>
#include <string.h>

#include "aws/streams.h"
#include "base/document.h"
#include "base/check.h"
#include "base/mem.h"

/* An iterator lives 15 minutes:
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html
 * GetRecords stops at 1 MB. */
#define ITERATOR_AGE_MS_MAX (10 * 60 * 1000)
#define FULL_PAGE_BYTES_MIN (900 * 1024)

#define LATE_MS 5000
#define ALTERNATOR_LATE_MS 15000
#define LOCAL_LATE_MS 1000 /* DynamoDB Local, and the embedded one: no account has that number */

struct source_dynamodb {
    struct source source;
    struct reactor *reactor;
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
    struct source_dynamodb *source; /* of a next_stream, which asks page after page, and of a page */
    source_ahead_fn *ahead;         /* of a page; or NULL ... */
    struct task read;               /* ... it is read once the next was asked for */
    struct buf body;
    char *table, *stream_arn, *best;
};

static enum source_fault fault_of(const struct err *err)
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

static struct source_error error_of(const struct err *err)
{
    return (struct source_error){fault_of(err), *err};
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

/* The answer, to be freed; NULL and `error` when there is none that can be read. */
static cJSON *read_answer(const struct transport_response *response, const struct err *err,
                          const char *operation, struct source_error *error)
{
    struct err problem;
    if (err) {
        *error = error_of(err);
        return NULL;
    }
    cJSON *root = document_read(response->body.data, response->body.size, &problem);
    if (!root) {
        err_prefix(&problem, "%s", operation);
        *error = error_of(&problem);
    }
    return root;
}

/* ---- DescribeTable ---- */

static void on_table(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct source_error error;
    free(user);
    cJSON *root = read_answer(response, err, "DescribeTable", &error);
    call.done.stream(call.user, document_text(document_get(root, "Table"), "LatestStreamArn"),
                     root ? NULL : &error);
    cJSON_Delete(root);
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

static void take_earliest_later(struct source_call *call, const cJSON *streams)
{
    const char *after = label_of(call->stream_arn);
    const cJSON *stream;
    cJSON_ArrayForEach(stream, streams)
    {
        const char *arn = document_text(stream, "StreamArn"), *label = arn ? label_of(arn) : NULL;
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
    struct source_error error;
    cJSON *root = read_answer(response, err, "ListStreams", &error);
    take_earliest_later(call, document_get(root, "Streams"));
    const char *last = document_text(root, "LastEvaluatedStreamArn");
    if (last) {
        send(&call->source->source, streams_list_streams(call->table, last), 0, on_streams, call);
    } else {
        struct source_call own = *call;
        free(call);
        own.done.stream(own.user, root ? own.best : NULL, root ? NULL : &error);
        free(own.table);
        free(own.stream_arn);
        free(own.best);
    }
    cJSON_Delete(root);
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

/* The shards, to be freed, with the answer's texts. False and `err`. */
static bool read_shards(const cJSON *root, struct shard_page *page, struct err *err)
{
    const cJSON *description = document_get(root, "StreamDescription"), *list, *shard;
    const char *status = document_text(description, "StreamStatus");
    list = document_get(description, "Shards");
    if (!status)
        return err_set(err, ERR_PARSE, "DescribeStream: the answer holds no StreamDescription");
    /* DISABLING may still gain records; what is ENABLING has none yet. */
    page->status = strcmp(status, "DISABLED") == 0 ? STREAM_DISABLED : STREAM_ENABLED;
    page->last = document_text(description, "LastEvaluatedShardId");
    struct shard_info *shards = mem_zero(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *shards);
    page->shards = shards;
    cJSON_ArrayForEach(shard, list)
    {
        const cJSON *range = document_get(shard, "SequenceNumberRange");
        struct shard_info *info = &shards[page->count++];
        info->id = document_text(shard, "ShardId");
        info->parents[0] = document_text(shard, "ParentShardId"); /* only one: they split and never merge */
        info->closed = document_get(range, "EndingSequenceNumber") != NULL;
        info->starting = document_text(range, "StartingSequenceNumber");
        if (!info->id)
            return err_set(err, ERR_PARSE, "DescribeStream: a shard without ShardId");
    }
    return true;
}

static void on_shards(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call call = *(struct source_call *)user;
    struct shard_page page = {0};
    struct source_error error;
    struct err problem;
    free(user);
    cJSON *root = read_answer(response, err, "DescribeStream", &error);
    bool good = root && read_shards(root, &page, &problem);
    if (root && !good)
        error = error_of(&problem);
    call.done.shards(call.user, good ? &page : NULL, good ? NULL : &error);
    free((struct shard_info *)page.shards);
    cJSON_Delete(root);
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
    struct source_error error;
    free(user);
    cJSON *root = read_answer(response, err, "GetShardIterator", &error);
    const char *cursor = document_text(root, "ShardIterator");
    if (root && !cursor) {
        error.fault = SOURCE_OTHER;
        err_set(&error.err, ERR_PARSE, "GetShardIterator: the answer holds no ShardIterator");
    }
    call.done.cursor(call.user, cursor, cursor ? NULL : &error);
    cJSON_Delete(root);
}

static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    static const char *const types[] = {"TRIM_HORIZON", "LATEST", "AFTER_SEQUENCE_NUMBER"};
    static_assert(COUNT_OF(types) == CURSOR_AFTER + 1, "one for each kind of cursor but by time");
    CHECK(kind <= CURSOR_AFTER);
    struct source_call *call = call_new(user);
    call->done.cursor = done;
    struct aws_request request =
        streams_get_shard_iterator(stream_arn, shard, types[kind], kind == CURSOR_AFTER ? sequence : NULL);
    return send(source, request, 1, on_cursor, call);
}

/* ---- GetRecords ---- */

/* An iterator has a few hundred bytes. */
#define NEXT_LOOKED_AT 2048

/* The iterator of a page that nobody has read yet, to be freed: the services write it before the records or
 * behind them. NULL: it is not seen there. */
static char *find_next(const struct buf *body)
{
    static const char name[] = "\"NextShardIterator\":\"";
    const size_t size = sizeof name - 1;
    if (body->size <= 1 + size)
        return NULL;
    const size_t looked_at = body->size < NEXT_LOOKED_AT ? body->size : NEXT_LOOKED_AT;
    const char *at = body->data + 1, *all = body->data + body->size;
    if (memcmp(at, name, size) != 0)
        at = memmem(all - looked_at, looked_at, name, size);
    if (!at)
        return NULL;
    at += size;
    const char *end = memchr(at, '"', (size_t)(all - at));
    return end && !memchr(at, '\\', (size_t)(end - at)) ? mem_copy(at, (size_t)(end - at)) : NULL;
}

static void fail_page(struct source_call *call, const struct err *err)
{
    const struct source_call own = *call;
    struct source_error error = error_of(err);
    free(call);
    own.done.page(own.user, NULL, NULL, &error);
}

/* Takes the body. */
static void give_page(struct source_call *call, struct buf *body)
{
    const struct source_call own = *call;
    struct err problem;
    struct page *page = page_read(body, &problem);
    if (!page || !page_has_numbers(page, &problem) || !page_tells_next(page->root, &problem)) {
        page_release(page);
        err_prefix(&problem, "GetRecords");
        fail_page(call, &problem);
        return;
    }
    free(call);
    own.done.page(own.user, page, json_string(&page->arena, json_get(page->root, "NextShardIterator")), NULL);
}

static void on_read(void *user)
{
    struct source_call *call = user;
    give_page(call, &call->body);
}

static bool asks_ahead(const struct source_call *call, const struct buf *body)
{
    char *next = call->ahead ? find_next(body) : NULL;
    bool asked = next && call->ahead(call->user, next, body->size);
    free(next);
    return asked;
}

static void on_page(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    call->call = NULL;
    if (err) {
        fail_page(call, err);
    } else if (asks_ahead(call, &response->body)) { /* which leaves first: reading takes its time */
        call->body = response->body;
        response->body = BUF_INIT;
        task_defer(call->source->reactor, &call->read);
    } else {
        give_page(call, &response->body);
    }
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    struct source_call *call = call_new(user);
    call->done.page = done;
    call->source = (struct source_dynamodb *)(void *)source;
    call->ahead = ahead;
    task_init(&call->read, on_read, call);
    return send(source, streams_get_records(cursor, limit), 1, on_page, call);
}

static void cancel(struct source_call *call)
{
    aws_cancel(call->call);
    if (call->ahead)
        task_cancel(&call->read);
    buf_fini(&call->body);
    free(call->table);
    free(call->stream_arn);
    free(call->best);
    free(call);
}

static void free_source(struct source *source)
{
    free(source);
}

/* ScyllaDB Alternator, ".../table/KEYSPACE@TABLE_scylla_cdc_log/stream/...", shows records after ten seconds
 * (alternator_streams_time_window_s). */
static int64_t late_ms(const char *stream_arn)
{
    return strstr(stream_arn, "_scylla_cdc_log/") ? ALTERNATOR_LATE_MS
           : strstr(stream_arn, ":000000000000:") ? LOCAL_LATE_MS
                                                  : LATE_MS;
}

static bool reads(const struct config_stream *stream, const char *stream_arn)
{
    (void)stream_arn;
    return stream->table || stream->arn;
}

static struct source *open_source(const struct source_world *world)
{
    static const struct source_ops ops = {find_stream, next_stream, list_shards, get_cursor,
                                          read_page,   cancel,      free_source};
    struct source_dynamodb *dynamodb = mem_zero(sizeof *dynamodb);
    dynamodb->source = (struct source){
        .ops = &ops,
        .traits = {ITERATOR_AGE_MS_MAX, SOURCE_RETENTION_MS, FULL_PAGE_BYTES_MIN, late_ms, false}};
    dynamodb->reactor = world->reactor;
    dynamodb->client = world->client;
    return &dynamodb->source;
}

const struct source_kind source_dynamodb_kind = {reads, open_source};
