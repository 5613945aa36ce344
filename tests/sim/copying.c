/* copying.c: worlds in which a handler copies a table: a snapshot, then the stream, while the table is
 * written to, its shards split, the services fail, and the host is killed.
 *
 * At the end the copy is as the table, item for item. Between two crashes no item goes back to what it was
 * before: versions rise over all items, and the copy's writes are looked at as they come. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "copying.h"
#include "core/world.h"
#include "sim.h"
#include "core/plugs.h"

#define COPIED_MAX 400

struct copying {
    uint64_t random;
    bool loud, calm;
    int faults; /* of a thousand requests */
    struct world world;
    struct engine *engine;
    struct host *host;
    struct config *config;
    struct log *log;
    char directory[64];
    char *stream_arn;
    int items, version;
    int handled[COPIED_MAX]; /* the version that the copy has had of each item, since the last crash */
    char violation[500];
};

static uint64_t draw(struct copying *copying)
{
    copying->random += 0x9e3779b97f4a7c15u;
    return hash_mix(copying->random);
}

static int below(struct copying *copying, int limit)
{
    return (int)(draw(copying) % (uint64_t)limit);
}

static void violated(struct copying *copying, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violated(struct copying *copying, const char *format, ...)
{
    va_list arguments;
    if (*copying->violation)
        return;
    va_start(arguments, format);
    vsnprintf(copying->violation, sizeof copying->violation, format, arguments);
    va_end(arguments);
}

/* ---- the service ---- */

static bool call(struct copying *copying, const char *target, const char *body, struct buf *answer)
{
    struct engine_reply reply = {0};
    engine_call(copying->engine, &(struct engine_request){target, body, strlen(body), NULL}, &reply);
    bool ok = reply.status == 200;
    if (!ok && !answer)
        violated(copying, "%s: %.300s", target, reply.body.data);
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
            violated(copying, "item %d went back from version %d to %d", number, copying->handled[number],
                     version);
        else
            copying->handled[number] = version;
    }
    arena_fini(&arena);
}

static void fail(struct copying *copying, struct answer *answer, bool *refused)
{
    answer->delay_ms = below(copying, 20);
    *refused = false;
    if (copying->calm || below(copying, 1000) >= copying->faults)
        return;
    *refused = true;
    switch (below(copying, 4)) {
    case 0:
        return; /* the connection breaks */
    case 1:
        answer->status = 500;
        buf_add_text(&answer->body, "{\"__type\":\"InternalServerError\",\"message\":\"broken\"}");
        return;
    case 2:
        answer->status = 400;
        buf_add_text(&answer->body,
                     "{\"__type\":\"ProvisionedThroughputExceededException\",\"message\":\"slower\"}");
        return;
    default:
        *refused = false;
        answer->delay_ms = below(copying, 3000);
    }
}

static void answer_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct copying *copying = user;
    struct engine_reply reply = {0};
    char target[128] = "";
    bool refused;
    request_header(request, "X-Amz-Target", target, sizeof target);
    fail(copying, answer, &refused);
    if (refused)
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
        if (json_get(json_get(shard, "SequenceNumberRange"), "EndingSequenceNumber") || below(copying, 2))
            continue;
        struct buf none = BUF_INIT;
        snprintf(body, sizeof body, "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"Children\":%d}",
                 copying->stream_arn, json_string(&arena, json_get(shard, "ShardId")), 1 + below(copying, 2));
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
    copying->items = 1 + below(copying, COPIED_MAX - 50);
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
    for (int i = below(copying, 60); i > 0; i--) /* in the stream already, and older than the snapshot */
        put(copying, below(copying, copying->items));
    copying->world.now_ms += below(copying, 2) ? below(copying, 100000) : 0;
}

/* ---- the deployment ---- */

static void write_file(struct copying *copying, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", copying->directory, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
    free(path);
}

static void write_deployment(struct copying *copying)
{
    struct problems problems = PROBLEMS_INIT;
    snprintf(copying->directory, sizeof copying->directory, "%s/tidemill-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(copying->directory))
        abort();
    char *path = mem_printf("%s/scripts", copying->directory);
    if (mkdir(path, 0700) != 0)
        abort();
    free(path);
    write_file(copying, "scripts/h.lua",
               "local dynamodb, time = require 'tidemill.dynamodb', require 'tidemill.time'\n"
               "return { stream = 's', retries = -1, backoff = '10ms..1s', concurrency = 8,\n"
               "  on_record = function(record)\n"
               "    time.sleep(#record.keys.id % 3 / 20)\n"
               "    if record.new then dynamodb.put('Copy', record.new)\n"
               "    else dynamodb.delete('Copy', record.keys) end\n"
               "  end }\n");
    char *ini = mem_printf("[host]\nscripts = scripts\nstate = sqlite:state.db\nthreads = 1\nlisten = off\n"
                           "checkpoint_interval = %dms\n[aws]\nregion = eu-west-1\n"
                           "endpoint = http://dynamodb.sim\n[stream s]\ntable = Table\nsnapshot = yes\n"
                           "snapshot_segments = %d\nbatch_size = %d\nsnapshot_consistent = %s\n%s"
                           "discovery = %ds\n",
                           50 + below(copying, 5000), 1 + below(copying, 6), 1 + below(copying, 40),
                           below(copying, 2) ? "yes" : "no", below(copying, 3) ? "" : "snapshot_units = 20\n",
                           1 + below(copying, 30));
    write_file(copying, "tidemill.ini", ini);
    free(ini);
    path = mem_printf("%s/tidemill.ini", copying->directory);
    copying->config = config_load(path, &host_plugs, &problems);
    for (size_t i = 0; i < problems.count; i++)
        violated(copying, "%s", problems.lines[i]);
    if (copying->config)
        copying->config->streams[0].window_bytes = 4000 + below(copying, 100000);
    problems_fini(&problems);
    free(path);
}

static void remove_deployment(const struct copying *copying)
{
    static const char *const names[] = {"scripts/h.lua", "tidemill.ini",  "state.db", "state.db-wal",
                                        "state.db-shm",  "state.db.lock", "scripts",  ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("%s/%s", copying->directory, names[i]);
        remove(path);
        free(path);
    }
}

/* ---- its life ---- */

static void start(struct copying *copying)
{
    struct err err;
    copying->host = host_new(&(struct host_options){.config = copying->config,
                                                    .log = copying->log,
                                                    .world = world_of_host(&copying->world)},
                             &err);
    if (!copying->host)
        violated(copying, "the host does not start: %s", err.text);
}

static void crash(struct copying *copying)
{
    host_free(copying->host);
    copying->host = NULL;
    copying->world.reactor = NULL;
    memset(copying->handled, 0, sizeof copying->handled); /* it may repeat */
}

static void pass(struct copying *copying, int64_t ms)
{
    int64_t end_ms = copying->world.now_ms + ms;
    while (copying->world.now_ms < end_ms && !*copying->violation)
        reactor_turn(copying->world.reactor, end_ms - copying->world.now_ms);
}

static void something(struct copying *copying)
{
    int what = below(copying, 100);
    if (what < 55)
        put(copying, below(copying, COPIED_MAX));
    else if (what < 80)
        take_away(copying, below(copying, COPIED_MAX));
    else if (what < 84)
        split(copying);
    else if (what < 88) {
        crash(copying);
        copying->world.now_ms += below(copying, 20000);
        start(copying);
    } else if (what < 92)
        copying->faults = below(copying, 3) ? below(copying, 200) : 0;
    else
        pass(copying, below(copying, 4000));
}

static void live(struct copying *copying)
{
    int64_t end_ms = copying->world.now_ms + 5 * SECOND_MS + below(copying, 60 * SECOND_MS);
    copying->faults = below(copying, 100);
    start(copying);
    while (copying->world.now_ms < end_ms && !*copying->violation) {
        something(copying);
        if (!*copying->violation && below(copying, 3) == 0)
            pass(copying, below(copying, 1000));
    }
    copying->calm = true;
    for (int64_t until = copying->world.now_ms + 20 * 60 * SECOND_MS;
         !*copying->violation && copying->world.now_ms < until && !is_copied(copying);)
        pass(copying, 1000);
    if (!*copying->violation && !is_copied(copying))
        violated(copying, "the copy is not as its table, 20 minutes after the last change");
    /* And it stays so, after a crash as well. */
    if (!*copying->violation) {
        pass(copying, 10 * SECOND_MS);
        crash(copying);
        start(copying);
        pass(copying, 3 * 60 * SECOND_MS);
        if (!*copying->violation && !is_copied(copying))
            violated(copying, "the copy did not stay as its table");
    }
    if (copying->host)
        host_free(copying->host);
    copying->world.reactor = NULL;
}

void copying_run(uint64_t seed, bool loud, char *violation)
{
    struct copying *copying = mem_zero(sizeof *copying);
    struct err err;
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    *copying = (struct copying){.random = hash_mix(seed + 77), .loud = loud};
    setenv("AWS_ACCESS_KEY_ID", "sim", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    world_init(&copying->world);
    copying->world.answer = answer_request;
    copying->world.user = copying;
    copying->engine =
        engine_new(&(struct engine_options){.clock = &copying->world.clock, .region = "eu-west-1"}, &err);
    copying->log = log_new(loud ? STDERR_FILENO : nowhere, LOG_TEXT, loud ? LOG_DEBUG : LOG_ERROR,
                           &copying->world.clock);
    make_tables(copying);
    write_deployment(copying);
    if (!*copying->violation)
        live(copying);
    snprintf(violation, 500, "%s", copying->violation);
    engine_free(copying->engine);
    config_release(copying->config);
    log_free(copying->log);
    world_fini(&copying->world);
    remove_deployment(copying);
    free(copying->stream_arn);
    close(nowhere);
    free(copying);
}
