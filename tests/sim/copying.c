/* copying.c: worlds in which a handler copies a table: a snapshot, then the stream, while the table is
 * written to, its shards split, the services fail, and the host is killed.
 *
 * At the end the copy is as the table, item for item. Between two crashes no item goes back to what it was
 * before: versions rise over all items, and the copy's writes are looked at as they come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "copying.h"
#include "sim.h"
#include "small.h"

#define COPIED_MAX 400

struct copying {
    struct small small;
    struct engine *engine;
    char *stream_arn;
    int items, version;
    int handled[COPIED_MAX]; /* the version that the copy has had of each item, since the last crash */
};

/* ---- the service ---- */

static bool call(struct copying *copying, const char *target, const char *body, struct buf *answer)
{
    struct engine_reply reply = {0};
    engine_call(copying->engine, &(struct engine_request){target, body, strlen(body), NULL}, &reply);
    bool ok = reply.status == 200;
    if (!ok && !answer)
        small_violated(&copying->small, "%s: %.300s", target, reply.body.data);
    if (answer)
        *answer = reply.body;
    else
        buf_fini(&reply.body);
    return ok;
}

static int item_of(const struct json *keys)
{
    const struct json *id = json_get(json_get(keys, "id"), "S");
    return id && id->size > 1 ? atoi(id->text + 1) : -1;
}

/* What the handler writes into the copy: never an older version than it has written. */
static void look_at(struct copying *copying, const char *target, const struct transport_request *request)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    if (strcmp(target, "DynamoDB_20120810.PutItem") != 0)
        return;
    const struct json *root = json_parse(&arena, request->body, request->body_size, &err);
    const struct json *item = json_get(root, "Item");
    if (json_string_is(json_get(root, "TableName"), "Copy")) {
        int number = item_of(item);
        char *text = json_string_dup(json_get(json_get(item, "v"), "N"));
        int version = text ? atoi(text) : -1;
        free(text);
        if (number < 0 || number >= COPIED_MAX || version < copying->handled[number])
            small_violated(&copying->small, "item %d went back from version %d to %d", number,
                           copying->handled[number], version);
        else
            copying->handled[number] = version;
    }
    arena_fini(&arena);
}

static void answer_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct copying *copying = user;
    struct engine_reply reply = {0};
    char target[128] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    if (small_fails(&copying->small, answer))
        return;
    look_at(copying, target, request);
    engine_call(
        copying->engine,
        &(struct engine_request){target, request->body ? request->body : "", request->body_size, NULL},
        &reply);
    answer->status = reply.status;
    answer->body = reply.body;
}

/* ---- the table ---- */

static void put(struct copying *copying, int item)
{
    char body[300];
    snprintf(body, sizeof body,
             "{\"TableName\":\"Table\",\"Item\":{\"id\":{\"S\":\"i%d\"},\"v\":{\"N\":\"%d\"}}}", item,
             ++copying->version);
    call(copying, "DynamoDB_20120810.PutItem", body, NULL);
}

static void take_away(struct copying *copying, int item)
{
    char body[200];
    snprintf(body, sizeof body, "{\"TableName\":\"Table\",\"Key\":{\"id\":{\"S\":\"i%d\"}}}", item);
    call(copying, "DynamoDB_20120810.DeleteItem", body, NULL);
}

static void split(struct copying *copying)
{
    char body[700];
    struct buf answer = BUF_INIT;
    struct arena arena = ARENA_INIT;
    snprintf(body, sizeof body, "{\"StreamArn\":\"%s\"}", copying->stream_arn);
    call(copying, "DynamoDBStreams_20120810.DescribeStream", body, &answer);
    const struct json *root = json_parse(&arena, answer.data, answer.size, NULL);
    json_each(shard, json_get(json_get(root, "StreamDescription"), "Shards")) {
        if (json_get(json_get(shard, "SequenceNumberRange"), "EndingSequenceNumber") ||
            small_below(&copying->small, 2))
            continue;
        struct buf none = BUF_INIT;
        snprintf(body, sizeof body, "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"Children\":%d}",
                 copying->stream_arn, json_string(&arena, json_get(shard, "ShardId")),
                 1 + small_below(&copying->small, 2));
        call(copying, "TidemillLocal.SplitShards", body, &none);
        buf_fini(&none);
        break;
    }
    buf_fini(&answer);
    arena_fini(&arena);
}

/* Items with their versions, in one text. */
static void list(struct copying *copying, const char *table, int versions[COPIED_MAX])
{
    char body[100];
    struct buf answer = BUF_INIT;
    struct arena arena = ARENA_INIT;
    memset(versions, 0, COPIED_MAX * sizeof *versions);
    snprintf(body, sizeof body, "{\"TableName\":\"%s\"}", table);
    call(copying, "DynamoDB_20120810.Scan", body, &answer);
    const struct json *root = json_parse(&arena, answer.data, answer.size, NULL);
    json_each(item, json_get(root, "Items")) {
        const char *version = json_string(&arena, json_get(json_get(item, "v"), "N"));
        versions[item_of(item)] = atoi(version);
    }
    buf_fini(&answer);
    arena_fini(&arena);
}

static bool is_copied(void *user)
{
    struct copying *copying = user;
    int table[COPIED_MAX], copy[COPIED_MAX];
    list(copying, "Table", table);
    list(copying, "Copy", copy);
    return memcmp(table, copy, sizeof table) == 0;
}

static void make_tables(struct copying *copying)
{
    static const char *const bodies[] = {
        "{\"TableName\":\"Table\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],"
        "\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],"
        "\"BillingMode\":\"PAY_PER_REQUEST\"}",
        "{\"TableName\":\"Copy\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],"
        "\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],"
        "\"BillingMode\":\"PAY_PER_REQUEST\"}"};
    struct buf answer = BUF_INIT;
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < 2; i++)
        call(copying, "DynamoDB_20120810.CreateTable", bodies[i], NULL);
    copying->items = 1 + small_below(&copying->small, COPIED_MAX - 50);
    for (int i = 0; i < copying->items; i++)
        put(copying, i);
    call(copying, "DynamoDB_20120810.UpdateTable",
         "{\"TableName\":\"Table\",\"StreamSpecification\":{\"StreamEnabled\":true,"
         "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}",
         NULL);
    call(copying, "DynamoDB_20120810.DescribeTable", "{\"TableName\":\"Table\"}", &answer);
    const struct json *root = json_parse(&arena, answer.data, answer.size, NULL);
    copying->stream_arn = json_string_dup(json_get(json_get(root, "Table"), "LatestStreamArn"));
    buf_fini(&answer);
    arena_fini(&arena);
    for (int i = small_below(&copying->small, 60); i > 0;
         i--) /* in the stream already, and older than the snapshot */
        put(copying, small_below(&copying->small, copying->items));
    copying->small.world.now_ms += small_below(&copying->small, 2) ? small_below(&copying->small, 100000) : 0;
}

/* ---- the deployment ---- */

static void write_deployment(struct copying *copying)
{
    static const char script[] =
        "local dynamodb, time = require 'tidemill.dynamodb', require 'tidemill.time'\n"
        "return { stream = 's', retries = -1, backoff = '10ms..1s', concurrency = 8,\n"
        "  on_record = function(record)\n"
        "    time.sleep(#record.keys.id % 3 / 20)\n"
        "    if record.new then dynamodb.put('Copy', record.new)\n"
        "    else dynamodb.delete('Copy', record.keys) end\n"
        "  end }\n";
    struct small *small = &copying->small;
    char *ini = mem_printf("[host]\nscripts = scripts\nstate = sqlite:state.db\nthreads = 1\nlisten = off\n"
                           "checkpoint_interval = %dms\n[aws]\nregion = eu-west-1\n"
                           "endpoint = http://dynamodb.sim\n[stream s]\ntable = Table\nsnapshot = yes\n"
                           "snapshot_segments = %d\nbatch_size = %d\nsnapshot_consistent = %s\n%s"
                           "discovery = %ds\n",
                           50 + small_below(small, 5000), 1 + small_below(small, 6),
                           1 + small_below(small, 40), small_below(small, 2) ? "yes" : "no",
                           small_below(small, 3) ? "" : "snapshot_units = 20\n", 1 + small_below(small, 30));
    small_deploy(small, script, ini);
    free(ini);
    if (small->config)
        small->config->streams[0].window_bytes = 4000 + small_below(small, 100000);
}

/* ---- its life ---- */

static void crash(struct copying *copying)
{
    small_crash(&copying->small);
    memset(copying->handled, 0, sizeof copying->handled); /* it may repeat */
}

static void something(struct copying *copying)
{
    int what = small_below(&copying->small, 100);
    if (what < 55)
        put(copying, small_below(&copying->small, COPIED_MAX));
    else if (what < 80)
        take_away(copying, small_below(&copying->small, COPIED_MAX));
    else if (what < 84)
        split(copying);
    else if (what < 88) {
        crash(copying);
        copying->small.world.now_ms += small_below(&copying->small, 20000);
        small_start(&copying->small);
    } else if (what < 92)
        copying->small.faults = small_below(&copying->small, 3) ? small_below(&copying->small, 200) : 0;
    else
        small_pass(&copying->small, small_below(&copying->small, 4000));
}

static void live(struct copying *copying)
{
    int64_t end_ms =
        copying->small.world.now_ms + 5 * SECOND_MS + small_below(&copying->small, 60 * SECOND_MS);
    copying->small.faults = small_below(&copying->small, 100);
    small_start(&copying->small);
    while (copying->small.world.now_ms < end_ms && !*copying->small.violation) {
        something(copying);
        if (!*copying->small.violation && small_below(&copying->small, 3) == 0)
            small_pass(&copying->small, small_below(&copying->small, 1000));
    }
    copying->small.calm = true;
    for (int64_t until = copying->small.world.now_ms + 20 * 60 * SECOND_MS;
         !*copying->small.violation && copying->small.world.now_ms < until && !is_copied(copying);)
        small_pass(&copying->small, 1000);
    if (!*copying->small.violation && !is_copied(copying))
        small_violated(&copying->small, "the copy is not as its table, 20 minutes after the last change");
    /* And it stays so, after a crash as well. */
    if (!*copying->small.violation) {
        small_pass(&copying->small, 10 * SECOND_MS);
        crash(copying);
        small_start(&copying->small);
        small_pass(&copying->small, 3 * 60 * SECOND_MS);
        if (!*copying->small.violation && !is_copied(copying))
            small_violated(&copying->small, "the copy did not stay as its table");
    }
}

void copying_run(uint64_t seed, bool loud, char *violation)
{
    struct copying *copying = mem_zero(sizeof *copying);
    struct err err;
    small_begin(&copying->small, seed, loud, answer_request, copying);
    copying->engine = engine_new(
        &(struct engine_options){.clock = &copying->small.world.clock, .region = "eu-west-1"}, &err);
    make_tables(copying);
    write_deployment(copying);
    if (!*copying->small.violation)
        live(copying);
    small_end(&copying->small, violation);
    engine_free(copying->engine);
    free(copying->stream_arn);
    free(copying);
}
