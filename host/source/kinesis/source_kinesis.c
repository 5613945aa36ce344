/* source_kinesis.c: requests out, answers in; as source_dynamodb.c.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html */
#include "source/kinesis/source_kinesis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/document.h"
#include "base/map.h"
#include "base/mem.h"
#include "source/kinesis/records.h"

/* An iterator lives five minutes. */
#define ITERATOR_AGE_MS_MAX (4 * 60 * 1000)

/* GetRecords gives up to 10 MB, and then no more for five seconds. */
#define FULL_PAGE_BYTES_MIN ((size_t)9 << 20)

/* What is written shows at once; DynamoDB writes it a moment after the change. */
#define LATE_MS 10000

struct source_kinesis {
    struct source source;
    struct reactor *reactor;
    struct aws_client *client;
    struct map memories; /* "ARN\nSHARD" -> struct kinesis_memory, owned */
};

struct source_call {
    struct source_kinesis *source;
    struct aws_call *call;
    struct task answer;
    union {
        source_stream_fn *stream;
        source_shards_fn *shards;
        source_cursor_fn *cursor;
        source_page_fn *page;
    } done;
    void *user;
    char *stream_arn, *after; /* of a listing; `after`: of a search, what is looked for */
    char *shard;              /* of a cursor, and of a page: which shard's */
    bool since;               /* of a cursor: asked for by time */
};

static struct source_kinesis *own(struct source *source)
{
    return (struct source_kinesis *)(void *)source;
}

static void call_free(struct source_call *call)
{
    aws_cancel(call->call);
    task_cancel(&call->answer);
    free(call->stream_arn);
    free(call->after);
    free(call->shard);
    free(call);
}

static struct source_call *call_new(struct source *source, reactor_fn *answer, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->source = own(source);
    call->user = user;
    task_init(&call->answer, answer, call);
    return call;
}

static struct source_error error_of(const struct err *err)
{
    static const struct {
        const char *code;
        enum source_fault fault;
    } codes[] = {
        {"ExpiredIteratorException", SOURCE_EXPIRED},
        {"ResourceNotFoundException", SOURCE_MISSING},
        {"ProvisionedThroughputExceededException", SOURCE_THROTTLED},
        {"LimitExceededException", SOURCE_THROTTLED},
        {"ThrottlingException", SOURCE_THROTTLED},
        {"KMSThrottlingException", SOURCE_THROTTLED},
    };
    struct source_error error = {SOURCE_OTHER, *err};
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (strcmp(err->service, codes[i].code) == 0)
            error.fault = codes[i].fault;
    return error;
}

/* "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME" and, behind ARN_CREATED, when it was made: one of its name
 * that is made anew is another. */
static char *name_of(const char *stream_arn)
{
    const char *name = strstr(stream_arn, ":stream/");
    name = name ? name + strlen(":stream/") : stream_arn;
    return mem_copy(name, strcspn(name, "/"));
}

static void ask(struct source_call *call, const char *operation, cJSON *body, int attempts, aws_done_fn *done)
{
    struct aws_request request = {
        .service = AWS_KINESIS, .operation = operation, .own = true, .attempts = attempts};
    document_write(body, &request.body);
    call->call = aws_send(call->source->client, &request, done, call);
}

static void add_stream(cJSON *body, const char *stream_arn)
{
    char *name = name_of(stream_arn);
    document_add_text(body, "StreamName", name);
    free(name);
}

static cJSON *read_answer(struct source_call *call, const struct transport_response *response,
                          const struct err *err, struct source_error *error)
{
    struct err problem;
    call->call = NULL;
    cJSON *root = err ? NULL : document_read(response->body.data, response->body.size, &problem);
    if (!root)
        *error = error_of(err ? err : &problem);
    return root;
}

/* ---- DescribeStreamSummary ---- */

/* To be freed; NULL: the answer says no ARN. */
static char *whole_arn(const cJSON *root)
{
    const cJSON *summary = document_get(root, "StreamDescriptionSummary");
    const cJSON *created = document_get(summary, "StreamCreationTimestamp");
    const char *arn = document_text(summary, "StreamARN");
    return arn ? mem_printf("%s" ARN_CREATED "%" PRId64, arn,
                            cJSON_IsNumber(created) ? (int64_t)created->valuedouble : 0)
               : NULL;
}

static void answer_stream(struct source_call *call, char *arn, const struct source_error *error)
{
    source_stream_fn *done = call->done.stream;
    void *whose = call->user;
    call_free(call);
    done(whose, arn, error);
    free(arn);
}

static bool is_that(const char *whole, const char *wanted)
{
    char *own = service_arn(whole);
    bool same = strcmp(own, wanted) == 0;
    free(own);
    return same;
}

static void on_summary(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    char *arn = root ? whole_arn(root) : NULL;
    if (root && !arn) {
        err_set(&error.err, ERR_PARSE, "DescribeStreamSummary: the answer holds no StreamARN");
        error.fault = SOURCE_OTHER;
    }
    cJSON_Delete(root);
    if (arn && strncmp(call->after, "arn:", 4) == 0 && !is_that(arn, call->after)) {
        err_set(&error.err, ERR_CONFIG,
                "%s is another account's or region's: this host asks for Kinesis streams where it is, and "
                "found %s",
                call->after, arn);
        error.fault = SOURCE_OTHER;
        free(arn);
        arn = NULL;
    }
    answer_stream(call, arn, arn ? NULL : &error);
}

/* By its name or ARN. */
static struct source_call *find_stream(struct source *source, const char *table, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    cJSON *body = cJSON_CreateObject();
    call->done.stream = done;
    call->after = mem_string(table); /* what was asked for */
    add_stream(body, table);
    ask(call, "DescribeStreamSummary", body, 0, on_summary);
    return call;
}

static void answer_none(void *user)
{
    answer_stream(user, NULL, NULL);
}

/* There is only the one that has its name now. */
static struct source_call *next_stream(struct source *source, const char *table, const char *stream_arn,
                                       source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(source, answer_none, user);
    (void)table;
    (void)stream_arn;
    call->done.stream = done;
    task_defer(call->source->reactor, &call->answer);
    return call;
}

/* ---- ListShards ---- */

static void answer_shards(struct source_call *call, const struct shard_page *page,
                          const struct source_error *error)
{
    source_shards_fn *done = call->done.shards;
    void *whose = call->user;
    call_free(call);
    done(whose, page, error);
}

static void on_shards(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    const cJSON *shard;
    size_t count = 0;
    cJSON *root = read_answer(call, response, err, &error);
    const cJSON *list = document_get(root, "Shards");
    struct shard_info *shards = mem_zero(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *shards);
    cJSON_ArrayForEach(shard, list)
    {
        const cJSON *range = document_get(shard, "SequenceNumberRange");
        const char *id = document_text(shard, "ShardId");
        if (id)
            shards[count++] = (struct shard_info){
                .id = id,
                .parents = {document_text(shard, "ParentShardId"),
                            document_text(shard, "AdjacentParentShardId")},
                .closed = document_get(range, "EndingSequenceNumber") != NULL,
                .starting = document_text(range, "StartingSequenceNumber"),
            };
    }
    struct shard_page page = {
        .status = STREAM_ENABLED, .shards = shards, .count = count, .last = document_text(root, "NextToken")};
    answer_shards(call, root ? &page : NULL, root ? NULL : &error);
    free(shards);
    cJSON_Delete(root);
}

/* Is it still the one that was meant? */
static void on_same(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error), *body = cJSON_CreateObject();
    char *arn = root ? whole_arn(root) : NULL;
    bool same = arn && strcmp(arn, call->stream_arn) == 0;
    if (root && !same) {
        err_set(&error.err, ERR_CONFIG, "the Kinesis stream was deleted, and another one has its name");
        error.fault = SOURCE_MISSING;
    }
    free(arn);
    cJSON_Delete(root);
    if (!same) {
        cJSON_Delete(body);
        answer_shards(call, NULL, &error);
        return;
    }
    add_stream(body, call->stream_arn);
    ask(call, "ListShards", body, 0, on_shards);
}

static struct source_call *list_shards(struct source *source, const char *stream_arn, const char *after,
                                       source_shards_fn *done, void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    cJSON *body = cJSON_CreateObject();
    call->done.shards = done;
    call->stream_arn = mem_string(stream_arn);
    if (after) {
        document_add_text(body, "NextToken", after);
        ask(call, "ListShards", body, 0, on_shards);
    } else {
        add_stream(body, stream_arn);
        ask(call, "DescribeStreamSummary", body, 0, on_same);
    }
    return call;
}

/* ---- GetShardIterator ---- */

/* By time it is only quicker: whoever reads leaves out what is older, and so the beginning will do where the
 * service refuses, or does not answer at all (kinesalite, while there is no younger record). */
#define SINCE_MS 5000

static void on_cursor(void *user, struct transport_response *response, const struct err *err);

static void ask_cursor(struct source_call *call, enum cursor_kind kind, const char *sequence)
{
    static const char *const types[] = {"TRIM_HORIZON", "LATEST", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"};
    static_assert(COUNT_OF(types) == CURSOR_SINCE + 1, "one for each kind of cursor");
    struct aws_request request = {
        .service = AWS_KINESIS, .operation = "GetShardIterator", .own = true, .attempts = 1};
    cJSON *body = cJSON_CreateObject();
    add_stream(body, call->stream_arn);
    document_add_text(body, "ShardId", call->shard);
    document_add_text(body, "ShardIteratorType", types[kind]);
    if (kind == CURSOR_AFTER)
        document_add_text(body, "StartingSequenceNumber", sequence);
    if (kind == CURSOR_SINCE)
        cJSON_AddNumberToObject(body, "Timestamp", (double)strtoll(sequence, NULL, 10) / 1000);
    call->since = kind == CURSOR_SINCE;
    request.timeout_ms = call->since ? SINCE_MS : 0;
    document_write(body, &request.body);
    call->call = aws_send(call->source->client, &request, on_cursor, call);
}

/* The cursor says which shard it is of: "ARN\nSHARD\nITERATOR". */
static void on_cursor(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    if (!root && call->since && error.fault == SOURCE_OTHER) {
        ask_cursor(call, CURSOR_TRIM_HORIZON, NULL);
        return;
    }
    const char *iterator = document_text(root, "ShardIterator");
    char *cursor = iterator ? mem_printf("%s\n%s\n%s", call->stream_arn, call->shard, iterator) : NULL;
    if (root && !cursor) {
        err_set(&error.err, ERR_PARSE, "GetShardIterator: the answer holds no ShardIterator");
        error.fault = SOURCE_OTHER;
    }
    cJSON_Delete(root);
    source_cursor_fn *done = call->done.cursor;
    void *whose = call->user;
    call_free(call);
    done(whose, cursor, cursor ? NULL : &error);
    free(cursor);
}

static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    call->done.cursor = done;
    call->stream_arn = mem_string(stream_arn);
    call->shard = mem_string(shard);
    ask_cursor(call, kind, sequence);
    return call;
}

/* ---- GetRecords ---- */

static struct kinesis_memory *memory_of(const struct source_call *call)
{
    char *key = mem_printf("%s\n%s", call->stream_arn, call->shard);
    struct kinesis_memory *memory = map_get(&call->source->memories, key);
    if (!memory) {
        memory = kinesis_memory_new();
        map_set(&call->source->memories, key, memory);
    }
    free(key);
    return memory;
}

static void answer_page(struct source_call *call, struct page *page, const char *iterator,
                        const struct source_error *error)
{
    char *next = iterator ? mem_printf("%s\n%s\n%s", call->stream_arn, call->shard, iterator) : NULL;
    source_page_fn *done = call->done.page;
    void *whose = call->user;
    call_free(call);
    done(whose, page, next, error);
    free(next);
}

static void on_page(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct arena arena = ARENA_INIT;
    struct err problem;
    call->call = NULL;
    const struct json *root = err ? NULL
                                  : json_parse(&arena, response->body.data ? response->body.data : "",
                                               response->body.size, &problem);
    struct page *page = root ? kinesis_page(root, memory_of(call), &problem) : NULL;
    if (page && (!page_has_numbers(page, &problem) || !page_tells_next(root, &problem))) {
        page_release(page);
        page = NULL;
    }
    if (!page && !err)
        err_prefix(&problem, "GetRecords");
    struct source_error error = page ? (struct source_error){0} : error_of(err ? err : &problem);
    const struct json *next = page ? json_get(root, "NextShardIterator") : NULL;
    char *iterator = json_string_dup(next);
    arena_fini(&arena);
    answer_page(call, page, iterator, page ? NULL : &error);
    free(iterator);
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_page_fn *done, void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    const char *shard = strchr(cursor, '\n'), *iterator = shard ? strchr(shard + 1, '\n') : NULL;
    cJSON *body = cJSON_CreateObject();
    CHECK(iterator); /* it was made here */
    call->done.page = done;
    call->stream_arn = mem_copy(cursor, (size_t)(shard - cursor));
    call->shard = mem_copy(shard + 1, (size_t)(iterator - shard) - 1);
    document_add_text(body, "ShardIterator", iterator + 1);
    document_add_integer(body, "Limit", limit);
    ask(call, "GetRecords", body, 1, on_page);
    return call;
}

/* ---- life ---- */

static void free_source(struct source *source)
{
    struct source_kinesis *kinesis = own(source);
    size_t at = 0;
    for (struct kinesis_memory *memory; (memory = map_next(&kinesis->memories, &at, NULL));)
        kinesis_memory_free(memory);
    map_fini(&kinesis->memories);
    free(kinesis);
}

static int64_t late_ms(const char *stream_arn)
{
    (void)stream_arn;
    return LATE_MS;
}

static bool reads(const struct config_stream *stream, const char *stream_arn)
{
    (void)stream_arn;
    return stream && stream->kinesis;
}

static struct source *open_source(const struct source_world *world)
{
    static const struct source_ops ops = {find_stream, next_stream, list_shards, get_cursor,
                                          read_page,   call_free,   free_source};
    struct source_kinesis *kinesis = mem_zero(sizeof *kinesis);
    kinesis->source = (struct source){
        &ops, {ITERATOR_AGE_MS_MAX, SOURCE_RETENTION_MS, FULL_PAGE_BYTES_MIN, late_ms, .finds_time = true}};
    kinesis->reactor = world->reactor;
    kinesis->client = world->client;
    return &kinesis->source;
}

const struct source_kind source_kinesis_kind = {reads, open_source};
