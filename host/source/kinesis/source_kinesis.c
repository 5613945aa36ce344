/* source_kinesis.c: requests out, answers in; as source_dynamodb.c.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html */
#include "source/kinesis/source_kinesis.h"

#include <inttypes.h>
#include <stdatomic.h>
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

/* What was written so long before the record where reading begins is remembered, though it is not given: what
 * comes late, or once more, is known as such also after a restart. */
#define REMEMBERED_MS 10000

/* Whoever reads a shard, from one cursor that was asked for on: each knows what it has given. */
struct chain {
    struct kinesis_memory *memory;
    int64_t used_ms;
};

#define CHAIN_IDLE_MS (2 * ITERATOR_AGE_MS_MAX) /* its cursor is too old by then */

struct source_kinesis {
    struct source source;
    struct reactor *reactor;
    struct aws_client *client;
    struct map chains; /* of a cursor -> struct chain, owned */
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
    char *chain, *until;      /* of both; `until`: what was given already; NULL: nothing */
    int64_t limit;            /* of a page */
    char *iterator;           /* likewise */
    struct timer walk;        /* to its next read */
    /* Of a cursor, while its memory is filled: */
    bool fills;                       /* from the end of its shard's parents, too */
    char *found;                      /* the iterator that is the answer */
    char *parents[SHARD_PARENTS_MAX]; /* those that are still to be looked at */
    int64_t begins_ms;                /* when what it begins with arrived; 0: not known yet */
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
    free(call->chain);
    free(call->until);
    free(call->iterator);
    free(call->found);
    for (size_t i = 0; i < COUNT_OF(call->parents); i++)
        free(call->parents[i]);
    timer_stop(call->source->reactor, &call->walk);
    free(call);
}

static void ask_page(void *user);

static struct source_call *call_new(struct source *source, reactor_fn *answer, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->source = own(source);
    call->user = user;
    task_init(&call->answer, answer, call);
    timer_init(&call->walk, ask_page, call);
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

/* What was given already is walked through in as few reads as may be; the service takes five a second. */
#define LIMIT_MAX 10000
#define WALK_MS 210

/* By time it is only quicker: whoever reads leaves out what is older, and so the beginning will do where the
 * service refuses, or does not answer at all (kinesalite, while there is no younger record). */
#define SINCE_MS 5000

static void ask_records(struct source_call *call, const char *iterator, int64_t limit, aws_done_fn *done)
{
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, "ShardIterator", iterator);
    document_add_integer(body, "Limit", limit);
    ask(call, "GetRecords", body, 1, done);
}

/* When the first record of an answer arrived; 0: it has none, or does not say. */
static int64_t arrived_ms(const cJSON *root)
{
    const cJSON *record = cJSON_GetArrayItem(document_get(root, "Records"), 0);
    const cJSON *arrived = document_get(record, "ApproximateArrivalTimestamp");
    return cJSON_IsNumber(arrived) ? (int64_t)(arrived->valuedouble * 1000) : 0;
}

/* "ARN\nSHARD\nCHAIN\nUNTIL\nITERATOR"; UNTIL is "" where nothing was given before. To be freed. */
static char *cursor_write(const struct source_call *call, const char *iterator)
{
    return mem_printf("%s\n%s\n%s\n%s\n%s", call->stream_arn, call->shard, call->chain,
                      call->until ? call->until : "", iterator);
}

static char *take_line(const char **at)
{
    size_t size = strcspn(*at, "\n");
    char *line = mem_copy(*at, size);
    CHECK((*at)[size]); /* cursors are made here */
    *at += size + 1;
    return line;
}

/* Returns the iterator, of the cursor's text. */
static const char *cursor_read(struct source_call *call, const char *cursor)
{
    call->stream_arn = take_line(&cursor);
    call->shard = take_line(&cursor);
    call->chain = take_line(&cursor);
    call->until = take_line(&cursor);
    if (!*call->until) {
        free(call->until);
        call->until = NULL;
    }
    return cursor;
}

static void answer_cursor(struct source_call *call, const char *iterator, const struct source_error *error)
{
    source_cursor_fn *done = call->done.cursor;
    void *whose = call->user;
    char *cursor = iterator ? cursor_write(call, iterator) : NULL;
    call_free(call);
    done(whose, cursor, cursor ? NULL : error);
    free(cursor);
}

static void ask_iterator_of(struct source_call *call, const char *shard, const char *type,
                            const char *sequence, int64_t since_ms, aws_done_fn *done)
{
    struct aws_request request = {
        .service = AWS_KINESIS, .operation = "GetShardIterator", .own = true, .attempts = 1};
    cJSON *body = cJSON_CreateObject();
    add_stream(body, call->stream_arn);
    document_add_text(body, "ShardId", shard);
    document_add_text(body, "ShardIteratorType", type);
    if (sequence)
        document_add_text(body, "StartingSequenceNumber", sequence);
    if (since_ms)
        cJSON_AddNumberToObject(body, "Timestamp", (double)since_ms / 1000);
    call->since = since_ms != 0;
    request.timeout_ms = call->since ? SINCE_MS : 0;
    document_write(body, &request.body);
    call->call = aws_send(call->source->client, &request, done, call);
}

static void ask_iterator(struct source_call *call, const char *type, const char *sequence, int64_t since_ms,
                         aws_done_fn *done)
{
    ask_iterator_of(call, call->shard, type, sequence, since_ms, done);
}

/* Of the answer; NULL and `error`, which says already why there is no answer. */
static const char *iterator_of(const cJSON *root, struct source_error *error)
{
    const char *iterator = document_text(root, "ShardIterator");
    if (root && !iterator) {
        err_set(&error->err, ERR_PARSE, "GetShardIterator: the answer holds no ShardIterator");
        error->fault = SOURCE_OTHER;
    }
    return iterator;
}

static void on_cursor(void *user, struct transport_response *response, const struct err *err);
static void ask_parents(struct source_call *call);

/* Behind the record, and nothing is known of those before it. */
static void ask_behind(struct source_call *call)
{
    char *sequence = call->until;
    call->until = NULL;
    ask_iterator(call, "AFTER_SEQUENCE_NUMBER", sequence, 0, on_cursor);
    free(sequence);
}

static void on_cursor(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    bool refused = !root && call->since && error.fault == SOURCE_OTHER;
    if (refused && call->until && error.err.http_status == 400) {
        ask_behind(call); /* without what was before it */
        return;
    }
    if (refused && !call->until) {
        ask_iterator(call, "TRIM_HORIZON", NULL, 0, on_cursor);
        return;
    }
    const char *iterator = iterator_of(root, &error);
    if (iterator && call->fills) {
        call->found = mem_string(iterator);
        ask_parents(call);
    } else {
        answer_cursor(call, iterator, &error);
    }
    cJSON_Delete(root);
}

/* ---- behind a record, with what was given shortly before it remembered ---- */

static void ask_last_record(void *user);

static void on_last_record(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    const cJSON *record = cJSON_GetArrayItem(document_get(root, "Records"), 0);
    const char *next = document_text(root, "NextShardIterator");
    int64_t ms = arrived_ms(root);
    bool there_is_more = !record && next && document_integer(root, "MillisBehindLatest", 0) > 0;
    const char *sequence = document_text(record, "SequenceNumber");
    bool gone = sequence && sequence_valid(sequence) && sequence_compare(sequence, call->until) > 0;
    if (gone) /* it was trimmed, and maybe others with it */
        error = (struct source_error){.fault = SOURCE_TRIMMED};
    if (gone)
        err_set(&error.err, ERR_SERVICE, "the record %s is not there any more", call->until);
    if (!root || gone) {
        answer_cursor(call, NULL, &error);
    } else if (there_is_more) { /* the service may answer nothing, and go on */
        free(call->iterator);
        call->iterator = mem_string(next);
        timer_init(&call->walk, ask_last_record, call);
        timer_set(call->source->reactor, &call->walk, WALK_MS);
    } else if (ms > REMEMBERED_MS) {
        call->begins_ms = ms;
        ask_iterator(call, "AT_TIMESTAMP", NULL, ms - REMEMBERED_MS, on_cursor);
    } else {
        ask_behind(call);
    }
    cJSON_Delete(root);
}

static void ask_last_record(void *user)
{
    struct source_call *call = user;
    ask_records(call, call->iterator, 1, on_last_record);
}

static void on_last_iterator(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    const char *iterator = iterator_of(root, &error);
    if (!iterator) {
        answer_cursor(call, NULL, &error);
        cJSON_Delete(root);
        return;
    }
    call->iterator = mem_string(iterator);
    cJSON_Delete(root);
    ask_last_record(call);
}

/* ---- chains ---- */

static void chain_free(struct chain *chain)
{
    if (chain)
        kinesis_memory_free(chain->memory);
    free(chain);
}

static void forget_idle(struct source_kinesis *source)
{
    const char *name;
    size_t at = 0;
    for (struct chain *chain; (chain = map_next(&source->chains, &at, &name));) {
        if (reactor_now_ms(source->reactor) - chain->used_ms < CHAIN_IDLE_MS)
            continue;
        chain_free(map_remove(&source->chains, name));
        at = 0; /* removal moves slots */
    }
}

/* A cursor may go on to another reactor's source. */
static char *chain_name(void)
{
    static atomic_llong count;
    return mem_printf("%lld", (long long)atomic_fetch_add(&count, 1));
}

static struct kinesis_memory *memory_of(const struct source_call *call)
{
    struct chain *chain = map_get(&call->source->chains, call->chain);
    if (!chain) {
        chain = mem_zero(sizeof *chain);
        chain->memory = kinesis_memory_new();
        map_set(&call->source->chains, call->chain, chain);
    }
    chain->used_ms = reactor_now_ms(call->source->reactor);
    return chain->memory;
}

/* GetRecords' answer, whose tree is in `arena`. NULL and `error`. */
static struct page *page_of(struct source_call *call, const struct transport_response *response,
                            const struct err *err, const char *until, struct arena *arena,
                            const struct json **root, struct source_error *error)
{
    struct err problem;
    call->call = NULL;
    *root = err ? NULL
                : json_parse(arena, response->body.data ? response->body.data : "", response->body.size,
                             &problem);
    struct page *page = *root && page_tells_next(*root, &problem)
                            ? kinesis_page(*root, memory_of(call), until, &problem)
                            : NULL;
    if (!page && !err)
        err_prefix(&problem, "GetRecords");
    if (!page)
        *error = error_of(err ? err : &problem);
    return page;
}

/* ---- what its parents gave last ---- */

/* All that one has given before: no number is greater. */
#define EVERYTHING "999999999999999999999999999999999999999999999999999999999999"

static void ask_next_parent(struct source_call *call);

static void ask_tail(void *user);

static void on_tail(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct arena arena = ARENA_INIT;
    struct source_error error;
    const struct json *root;
    struct page *page = page_of(call, response, err, EVERYTHING, &arena, &root, &error);
    char *next = page ? json_string_dup(json_get(root, "NextShardIterator")) : NULL;
    bool more = next && json_integer(json_get(root, "MillisBehindLatest"), 0) > 0;
    bool failed = !page;
    page_release(page);
    arena_fini(&arena);
    free(call->iterator);
    call->iterator = next;
    if (failed) {
        answer_cursor(call, NULL, &error);
    } else if (more) {
        timer_init(&call->walk, ask_tail, call);
        timer_set(call->source->reactor, &call->walk, WALK_MS);
    } else {
        ask_next_parent(call);
    }
}

static void ask_tail(void *user)
{
    struct source_call *call = user;
    ask_records(call, call->iterator, LIMIT_MAX, on_tail);
}

/* A parent that is not there any more, or has nothing so late, gives nothing. */
static void on_parent(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    const char *iterator = document_text(root, "ShardIterator");
    free(call->iterator);
    call->iterator = iterator ? mem_string(iterator) : NULL;
    cJSON_Delete(root);
    bool refused = !root && (error.fault == SOURCE_MISSING || error.err.code == ERR_TIMEOUT ||
                             (error.fault == SOURCE_OTHER && error.err.http_status == 400));
    if (!root && !refused)
        answer_cursor(call, NULL, &error);
    else if (call->iterator)
        ask_tail(call);
    else
        ask_next_parent(call);
}

static void ask_next_parent(struct source_call *call)
{
    size_t at = 0;
    while (at < COUNT_OF(call->parents) && !call->parents[at])
        at++;
    if (at == COUNT_OF(call->parents)) {
        answer_cursor(call, call->found, NULL);
        return;
    }
    char *parent = call->parents[at];
    call->parents[at] = NULL;
    ask_iterator_of(call, parent, "AT_TIMESTAMP", NULL, call->begins_ms - REMEMBERED_MS, on_parent);
    free(parent);
}

static void on_first_record(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    call->begins_ms = arrived_ms(root);
    if (!call->begins_ms)
        call->begins_ms = clock_wall_ms(reactor_clock(call->source->reactor));
    cJSON_Delete(root);
    if (!root)
        answer_cursor(call, NULL, &error);
    else
        ask_next_parent(call);
}

static void on_own_shard(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct source_error error;
    cJSON *root = read_answer(call, response, err, &error);
    const cJSON *shard = cJSON_GetArrayItem(document_get(root, "Shards"), 0);
    const char *id = document_text(shard, "ShardId");
    const char *parents[] = {document_text(shard, "ParentShardId"),
                             document_text(shard, "AdjacentParentShardId")};
    bool any = false;
    for (size_t i = 0; id && strcmp(id, call->shard) == 0 && i < COUNT_OF(parents); i++) {
        call->parents[i] = parents[i] ? mem_string(parents[i]) : NULL;
        any = any || parents[i];
    }
    bool answered = root != NULL;
    cJSON_Delete(root);
    if (!answered) {
        answer_cursor(call, NULL, &error);
    } else if (!any) {
        answer_cursor(call, call->found, NULL);
    } else if (call->begins_ms) {
        ask_next_parent(call);
    } else {
        ask_records(call, call->found, 1, on_first_record);
    }
}

/* Shards are named by numbers, and listed in their order: which has which parents, of the one that it is. */
static void ask_parents(struct source_call *call)
{
    long long number = 0;
    int size = 0;
    if (sscanf(call->shard, "shardId-%lld%n", &number, &size) != 1 || call->shard[size] || number < 1) {
        answer_cursor(call, call->found, NULL);
        return;
    }
    char *before = mem_printf("shardId-%012lld", number - 1);
    cJSON *body = cJSON_CreateObject();
    add_stream(body, call->stream_arn);
    document_add_text(body, "ExclusiveStartShardId", before);
    document_add_integer(body, "MaxResults", 1);
    free(before);
    ask(call, "ListShards", body, 1, on_own_shard);
}

static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    forget_idle(call->source);
    call->done.cursor = done;
    call->stream_arn = mem_string(stream_arn);
    call->shard = mem_string(shard);
    call->chain = chain_name();
    call->fills = kind == CURSOR_AFTER || kind == CURSOR_TRIM_HORIZON;
    if (kind == CURSOR_AFTER) {
        call->until = mem_string(sequence);
        ask_iterator(call, "AT_SEQUENCE_NUMBER", sequence, 0, on_last_iterator);
    } else if (kind == CURSOR_SINCE) {
        ask_iterator(call, "AT_TIMESTAMP", NULL, strtoll(sequence, NULL, 10), on_cursor);
    } else {
        ask_iterator(call, kind == CURSOR_LATEST ? "LATEST" : "TRIM_HORIZON", NULL, 0, on_cursor);
    }
    return call;
}

/* ---- GetRecords ---- */

static void answer_page(struct source_call *call, struct page *page, const char *iterator,
                        const struct source_error *error)
{
    char *next = iterator ? cursor_write(call, iterator) : NULL;
    source_page_fn *done = call->done.page;
    void *whose = call->user;
    call_free(call);
    done(whose, page, next, error);
    free(next);
}

/* Is the answer beyond what was given already, or at the end of all there is? */
static bool is_beyond(const struct source_call *call, const struct page *page, const struct json *root)
{
    return !call->until || page->count || !json_integer(json_get(root, "MillisBehindLatest"), 0);
}

static void on_page(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct arena arena = ARENA_INIT;
    struct source_error error;
    const struct json *root;
    struct page *page = page_of(call, response, err, call->until, &arena, &root, &error);
    const struct json *next = page ? json_get(root, "NextShardIterator") : NULL;
    char *iterator = json_string_dup(next);
    bool beyond = page && is_beyond(call, page, root);
    arena_fini(&arena);
    if (page && iterator && !beyond) { /* an empty page would say that there is nothing more for now */
        page_release(page);
        free(call->iterator);
        call->iterator = iterator;
        timer_set(call->source->reactor, &call->walk, WALK_MS);
        return;
    }
    if (page && page->count) {
        free(call->until);
        call->until = NULL;
    }
    answer_page(call, page, iterator, page ? NULL : &error);
    free(iterator);
}

static void ask_page(void *user)
{
    struct source_call *call = user;
    ask_records(call, call->iterator, call->until ? LIMIT_MAX : call->limit, on_page);
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    (void)ahead;
    call->done.page = done;
    call->limit = limit;
    call->iterator = mem_string(cursor_read(call, cursor));
    ask_page(call);
    return call;
}

/* ---- life ---- */

static void free_source(struct source *source)
{
    struct source_kinesis *kinesis = own(source);
    size_t at = 0;
    for (struct chain *chain; (chain = map_next(&kinesis->chains, &at, NULL));)
        chain_free(chain);
    map_fini(&kinesis->chains);
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
    kinesis->source = (struct source){.ops = &ops,
                                      .traits = {ITERATOR_AGE_MS_MAX, SOURCE_RETENTION_MS,
                                                 FULL_PAGE_BYTES_MIN, late_ms, .finds_time = true}};
    kinesis->reactor = world->reactor;
    kinesis->client = world->client;
    return &kinesis->source;
}

const struct source_kind source_kinesis_kind = {reads, open_source};
