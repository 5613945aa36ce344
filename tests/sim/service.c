/* service.c: the embedded DynamoDB with bad connections before it, and the service that the handlers call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fake_alternator.h"
#include "sim.h"

#define OPEN -1 /* a status: it is not clear yet */

/* ---- bad connections ---- */

static const char *const refusals[] = {"ThrottlingException", "ProvisionedThroughputExceededException",
                                       "LimitExceededException"};

void service_say(struct answer *answer, int status, const char *body)
{
    answer->status = status;
    buf_clear(&answer->body);
    buf_add_text(&answer->body, body);
}

static void refuse(struct sim *sim, struct answer *answer)
{
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\",\"message\":\"slow down\"}",
               refusals[sim_below(sim, 3)]);
    service_say(answer, 400, body.data);
    buf_fini(&body);
}

static bool expired(const struct sim *sim, struct answer *answer)
{
    if (sim->world.now_ms >= sim->expired_ms)
        return false;
    service_say(answer, 400,
                "{\"__type\":\"com.amazon.coral.service#ExpiredTokenException\",\"message\":\"the token has "
                "expired\"}");
    return true;
}

/* DescribeStream is eventually consistent: now and then an older listing comes, never twice in a row. */
static void flap(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    const char *body = request->body ? request->body : "";
    bool same = sim->listing_request && strcmp(sim->listing_request, body) == 0;
    if (answer->status != 200)
        return;
    if (same && !sim->calm && !sim->listing_old && sim_chance(sim, sim->faults)) {
        sim->listing_old = true;
        buf_clear(&answer->body);
        buf_add_text(&answer->body, sim->listing);
        return;
    }
    sim->listing_old = false;
    if (same && !sim_chance(sim, 300))
        return;
    free(sim->listing_request);
    free(sim->listing);
    sim->listing_request = mem_string(body);
    sim->listing = mem_copy(answer->body.data, answer->body.size);
}

/* Before the service has seen the request. The answer's status stays OPEN when it is to see it. */
static void fails_before(struct sim *sim, struct answer *answer, bool dynamodb)
{
    answer->delay_ms = sim_below(sim, 20);
    if (sim->calm || !sim_chance(sim, sim->faults))
        return;
    switch (sim_below(sim, 5)) {
    case 0:
        answer->status = 0; /* the connection breaks */
        break;
    case 1:
        service_say(answer, 500, "{\"__type\":\"InternalServerError\",\"message\":\"broken\"}");
        break;
    case 2:
        if (dynamodb)
            refuse(sim, answer);
        break;
    case 3:
        answer->lost = true;
        break;
    default:
        answer->delay_ms = sim_below(sim, 8000);
        break;
    }
}

bool service_fails_before(struct sim *sim, struct answer *answer, bool throttles)
{
    answer->status = OPEN;
    fails_before(sim, answer, throttles);
    return answer->status != OPEN || (throttles && expired(sim, answer));
}

/* ---- DynamoDB ---- */

bool service_call(struct sim *sim, const char *target, const char *body, struct buf *answer)
{
    struct engine_reply reply = {0};
    engine_call(sim->engine, &(struct engine_request){target, body, strlen(body), NULL}, &reply);
    bool ok = reply.status == 200;
    if (answer)
        *answer = reply.body;
    else
        buf_fini(&reply.body);
    return ok;
}

static void answer_dynamodb(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    struct engine_reply reply = {0};
    char target[128] = "";
    if (service_fails_before(sim, answer, true))
        return;
    request_header(request, "X-Amz-Target", target, sizeof target);
    if (sim->alternator && fake_alternator_answer(sim->alternator, target, request->body ? request->body : "",
                                                  request->body_size, answer)) {
        if (strstr(target, "DescribeStream"))
            flap(sim, request, answer);
        return;
    }
    engine_call(
        sim->engine,
        &(struct engine_request){target, request->body ? request->body : "", request->body_size, NULL},
        &reply);
    answer->status = reply.status;
    answer->body = reply.body;
    if (strstr(target, "DescribeStream"))
        flap(sim, request, answer);
}

static int add_write(struct sim *sim, int item)
{
    mem_grow(&sim->writes, &sim->write_capacity, (size_t)sim->write_count, sizeof *sim->writes);
    sim->writes[sim->write_count++] = (struct written){.item = item};
    model_grow(sim);
    return sim->write_count - 1;
}

void service_write_group(struct sim *sim, const int *items, int count)
{
    struct fake_row rows[ITEMS_TOGETHER] = {0};
    int first = sim->write_count;
    for (int i = 0; i < count; i++)
        rows[i] = (struct fake_row){items[i] / ITEMS_TOGETHER,
                                    items[i] % ITEMS_TOGETHER,
                                    add_write(sim, items[i]),
                                    false,
                                    "",
                                    "",
                                    "",
                                    0};
    fake_alternator_write(sim->alternator, rows, (size_t)count);
    for (int i = 0; i < count; i++) {
        struct written *write = &sim->writes[first + i];
        snprintf(write->shard, sizeof write->shard, "%.63s", rows[i].shard);
        snprintf(write->sequence, sizeof write->sequence, "%s", rows[i].sequence);
        snprintf(write->unit, sizeof write->unit, "%s", rows[i].unit);
        write->time_ms = rows[i].time_ms;
    }
}

void service_write(struct sim *sim, int item)
{
    if (sim->alternator) {
        service_write_group(sim, &item, 1);
        return;
    }
    char body[400], padding[200];
    int size = sim_below(sim, (int)sizeof padding);
    memset(padding, 'x', (size_t)size);
    snprintf(body, sizeof body,
             "{\"TableName\":\"Table\",\"Item\":{\"id\":{\"S\":\"i%d\"},\"v\":{\"N\":\"%d\"},\"p\":{\"S\":\"%"
             ".*s\"}}}",
             item, sim->write_count, size, padding);
    add_write(sim, item);
    if (!service_call(sim, "DynamoDB_20120810.PutItem", body, NULL))
        sim_violated(sim, "the table refuses a write");
}

/* ---- where the writes are in the stream ---- */

static void harvest_page(struct sim *sim, const char *shard, const struct json *records)
{
    struct arena arena = {0};
    json_each(record, records) {
        const struct json *change = json_get(record, "dynamodb");
        const char *number = json_string(&arena, json_get(json_get(json_get(change, "NewImage"), "v"), "N"));
        struct written *write = &sim->writes[atoi(number ? number : "0")];
        snprintf(write->shard, sizeof write->shard, "%s", shard);
        snprintf(write->sequence, sizeof write->sequence, "%s",
                 json_string(&arena, json_get(change, "SequenceNumber")));
        snprintf(write->unit, sizeof write->unit, "%s", write->sequence);
        write->time_ms = json_integer(json_get(change, "ApproximateCreationDateTime"), 0) * SECOND_MS;
    }
    arena_fini(&arena);
}

static void harvest_shard(struct sim *sim, const char *shard)
{
    char body[900];
    struct buf answer = BUF_INIT;
    struct arena arena = {0};
    snprintf(body, sizeof body,
             "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"ShardIteratorType\":\"TRIM_HORIZON\"}",
             sim->stream_arn, shard);
    bool ok = service_call(sim, "DynamoDBStreams_20120810.GetShardIterator", body, &answer);
    const struct json *root = json_parse(&arena, answer.data, answer.size, NULL);
    const char *iterator = ok ? json_string(&arena, json_get(root, "ShardIterator")) : NULL;
    while (iterator) {
        struct buf page = BUF_INIT;
        snprintf(body, sizeof body, "{\"ShardIterator\":\"%s\"}", iterator);
        iterator = NULL;
        if (service_call(sim, "DynamoDBStreams_20120810.GetRecords", body, &page)) {
            root = json_parse(&arena, page.data, page.size, NULL);
            const struct json *records = json_get(root, "Records");
            harvest_page(sim, shard, records);
            if (records->child)
                iterator = json_string(&arena, json_get(root, "NextShardIterator"));
        }
        buf_fini(&page);
    }
    buf_fini(&answer);
    arena_fini(&arena);
}

void service_harvest(struct sim *sim)
{
    char body[400], last[80] = "";
    struct arena arena = {0};
    if (sim->harvested == sim->write_count || sim->alternator)
        return;
    do {
        struct buf answer = BUF_INIT;
        snprintf(body, sizeof body, "{\"StreamArn\":\"%s\"%s%s%s}", sim->stream_arn,
                 *last ? ",\"ExclusiveStartShardId\":\"" : "", last, *last ? "\"" : "");
        service_call(sim, "DynamoDBStreams_20120810.DescribeStream", body, &answer);
        const struct json *root =
            json_get(json_parse(&arena, answer.data, answer.size, NULL), "StreamDescription");
        json_each(shard, json_get(root, "Shards"))
            harvest_shard(sim, json_string(&arena, json_get(shard, "ShardId")));
        const char *next = json_string(&arena, json_get(root, "LastEvaluatedShardId"));
        snprintf(last, sizeof last, "%s", next ? next : "");
        buf_fini(&answer);
    } while (*last);
    sim->harvested = sim->write_count;
    arena_fini(&arena);
}

/* ---- the service that the handlers call ---- */

static int find_handler(const struct sim *sim, const struct json *name)
{
    for (int i = 0; i < sim->handler_count; i++)
        if (json_string_is(name, sim->handlers[i].name))
            return i;
    return 0;
}

static void read_window(struct sim_call *call, const struct json *window)
{
    struct arena arena = {0};
    const struct json *seen = json_get(window, "seen");
    const char *shard = json_string(&arena, json_get(window, "shard"));
    call->final = json_get(window, "final")->type == JSON_TRUE;
    call->window.start_ms = json_integer(json_get(window, "start"), 0) * SECOND_MS;
    snprintf(call->window.shard, sizeof call->window.shard, "%s", shard);
    call->window.seen = mem_zero((seen->count + 1) * sizeof *call->window.seen);
    json_each(each, seen)
        call->window.seen[call->window.count++] = (int)json_integer(each, 0);
    arena_fini(&arena);
}

static struct sim_call *read_call(struct sim *sim, const struct json *root)
{
    struct sim_call *call = mem_zero(sizeof *call);
    const struct json *records = json_get(root, "records"), *window = json_get(root, "window");
    call->id = ++sim->call_count;
    call->began_ms = sim->world.now_ms;
    call->handler = find_handler(sim, json_get(root, "handler"));
    call->seeks = sim->handlers[call->handler].seeks;
    call->sought = sim->handlers[call->handler].sought;
    call->end_ms = INT64_MAX;
    call->records = mem_zero((records->count + 1) * sizeof *call->records);
    call->attempts = mem_zero((records->count + 1) * sizeof *call->attempts);
    call->failed = mem_zero((records->count + 1) * sizeof *call->failed);
    call->redriven = mem_zero((records->count + 1) * sizeof *call->redriven);
    json_each(record, records) {
        call->records[call->count] = (int)json_integer(json_get(record, "v"), 0);
        call->attempts[call->count] = (int)json_integer(json_get(record, "attempt"), 0);
        call->redriven[call->count++] = json_get(record, "redriven")->type == JSON_TRUE;
    }
    if (window)
        read_window(call, window);
    return call;
}

static void call_free(struct sim_call *call)
{
    list_remove(&call->link);
    free(call->records);
    free(call->attempts);
    free(call->failed);
    free(call->redriven);
    free(call->arrived_ms);
    free(call->window.seen);
    free(call);
}

const char *service_window_key(const struct sim *sim, const struct sim_call *call, char *key, size_t size)
{
    snprintf(key, size, "%s %s %lld", sim->handlers[call->handler].name, call->window.shard,
             (long long)call->window.start_ms);
    return key;
}

/* Calls whose end has come are told to the model, in the order of their ends. */
void service_end_calls(struct sim *sim)
{
    targets_end_loose(sim);
    for (;;) {
        struct sim_call *call, *first = NULL;
        list_each(call, &sim->calls, struct sim_call, link)
            if (call->end_ms <= sim->world.now_ms && (!first || call->end_ms < first->end_ms))
                first = call;
        if (!first)
            return;
        model_end(sim, first);
        call_free(first);
    }
}

void service_freeze(struct sim *sim)
{
    struct sim_call *call;
    service_end_calls(sim);
    list_each(call, &sim->calls, struct sim_call, link)
        call->frozen = true;
    sim->crashes++;
}

/* When the handler hears of the answer, and whether it is one. */
static bool arrives(const struct sim *sim, const struct answer *answer, int64_t *when_ms)
{
    bool late = answer->lost || answer->delay_ms >= CALL_TIMEOUT_MS;
    *when_ms = sim->world.now_ms + (late ? CALL_TIMEOUT_MS : answer->delay_ms);
    return !late && answer->status == 200;
}

static bool is_poison(const struct sim *sim, const struct sim_handler *handler, int record)
{
    uint64_t dice = sim->seed * 1000003 + (uint64_t)record * 31 + (uint64_t)(handler - sim->handlers);
    dice = (dice ^ dice >> 29) * 0xbf58476d1ce4e5b9u;
    return (int)((dice ^ dice >> 32) % 1000) < sim->poisoned;
}

/* 0: go on, 1: fail, 2: fail for good. */
static int decide(struct sim *sim, struct sim_call *call)
{
    struct sim_handler *handler = &sim->handlers[call->handler];
    if (call->final)
        return 0;
    for (int i = 0; i < call->count; i++)
        if (is_poison(sim, handler, call->records[i]) && !call->redriven[i]) {
            if (handler->kind == KIND_BATCH && call->records[i] % 2) {
                call->failed[i] = true;
                continue;
            }
            return call->count == 1 && call->records[i] % 3 == 0 ? 2 : 1;
        }
    return !sim->calm && sim_chance(sim, sim->faults / 2) ? 1 : 0;
}

static int sleep_of(struct sim *sim, const struct sim_call *call)
{
    if (!sim->calm && !call->final && sim_chance(sim, sim->faults / 30))
        return 10 * HANDLER_TIMEOUT_MS;
    if (sim->handlers[call->handler].slow)
        return 500 + sim_below(sim, 3000);
    return sim_chance(sim, 100) ? sim_below(sim, 4000) : 0;
}

static void answer_begin(struct sim *sim, struct sim_call *call, struct answer *answer)
{
    int64_t when_ms;
    int fail = decide(sim, call), sleep_ms = fail ? 0 : sleep_of(sim, call);
    int messages = 1 + sim_below(sim, MESSAGES_MAX);
    targets_goes_on(sim, call);
    model_begin(sim, call);
    list_append(&sim->calls, &call->link);
    if (answer->status == OPEN) {
        struct buf body = BUF_INIT;
        buf_printf(&body, "{\"call\":%d,\"fail\":%d,\"sleep\":%d,\"failed\":[", call->id, fail, sleep_ms);
        for (int i = 0, told = 0; i < call->count; i++)
            if (call->failed[i])
                buf_printf(&body, "%s%d", told++ ? "," : "", i + 1);
        buf_printf(&body, "],\"messages\":%d,\"items\":[", messages);
        for (int i = 0; i < call->count; i++)
            buf_printf(&body, "%s%d", i ? "," : "", sim->writes[call->records[i]].item);
        buf_add_literal(&body, "]}");
        service_say(answer, 200, body.data);
        buf_fini(&body);
    }
    bool heard = arrives(sim, answer, &when_ms);
    if (!heard || fail)
        call->end_ms = when_ms;
    else if (sleep_ms > HANDLER_TIMEOUT_MS)
        call->end_ms = sim->world.now_ms + HANDLER_TIMEOUT_MS - SECOND_MS;
    else if (call->count && sim->handlers[call->handler].sends >= SENDS_BUS)
        targets_expect(call, messages);
    call->permanent = heard && fail == 2;
}

static void answer_done(struct sim *sim, struct sim_call *call, struct answer *answer)
{
    if (answer->status == OPEN)
        service_say(answer, 200, "{}");
    call->well = arrives(sim, answer, &call->end_ms);
}

/* A window's last call is not refused more often than the handler may repeat it. */
static bool has_mercy(struct sim *sim, const struct sim_call *call)
{
    char key[160];
    int failures =
        (int)(intptr_t)map_get(&sim->final_failures, service_window_key(sim, call, key, sizeof key));
    return call->final && (failures >= sim->handlers[call->handler].retries || failures >= 2);
}

struct sim_call *service_find_call(struct sim *sim, int id)
{
    struct sim_call *call;
    list_each(call, &sim->calls, struct sim_call, link)
        if (call->id == id)
            return call;
    return NULL;
}

static void answer_sink(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root = json_parse(&arena, request->body, request->body_size, &err);
    bool begins = strcmp(request->url, SINK "begin") == 0;
    service_end_calls(sim);
    struct sim_call *call =
        begins ? read_call(sim, root) : service_find_call(sim, (int)json_integer(json_get(root, "call"), 0));
    if (call) {
        answer->status = OPEN;
        if (!has_mercy(sim, call))
            fails_before(sim, answer, false);
        if (begins)
            answer_begin(sim, call, answer);
        else
            answer_done(sim, call, answer);
    } else {
        sim_violated(sim, "a handler says it is done with a call that it has not begun or that ended");
        service_say(answer, 500, "{}");
    }
    arena_fini(&arena);
}

/* A failure record, in the shape of Lambda's: "http://sink.sim/failed/h0". */
static void answer_failed(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    const char *name = strrchr(request->url, '/') + 1, *number = NULL;
    struct sim_handler *handler = NULL;
    for (int i = 0; i < sim->handler_count; i++)
        handler = strcmp(sim->handlers[i].name, name) == 0 ? &sim->handlers[i] : handler;
    answer->status = OPEN;
    fails_before(sim, answer, false);
    if (answer->status != OPEN)
        return;
    if (sim->world.now_ms < sim->target_down_ms) {
        service_say(answer, sim_chance(sim, 300) ? 400 : 503, "{}");
        return;
    }
    char *text = mem_copy(request->body, request->body_size);
    for (char *at = text; (at = strchr(at, '\\'));) /* the record may stand in it as text */
        memmove(at, at + 1, strlen(at));
    if (handler && handler->forwards)
        model_window_given_up(handler, text);
    number = strstr(text, "\"v\":{\"N\":\"");
    if (number && handler && handler->forwards)
        handler->forwarded[atoi(number + 10)] = 1;
    else if (!strstr(text, "window"))
        sim_violated(sim, "the failure target got what is no failure: %.300s", text);
    free(text);
    service_say(answer, 200, "{}");
}

static void answer(void *user, const struct transport_request *request, struct answer *answer)
{
    struct sim *sim = user;
    if (strncmp(request->url, SINK "failed/", strlen(SINK "failed/")) == 0)
        answer_failed(sim, request, answer);
    else if (strncmp(request->url, SINK, strlen(SINK)) == 0)
        answer_sink(sim, request, answer);
    else if (!targets_answer(sim, request, answer))
        answer_dynamodb(sim, request, answer);
}

void service_host_gone(struct sim *sim, bool crashed)
{
    struct sim_call *call;
    targets_settle_loose(sim);
    if (!crashed)
        targets_stopped(sim);
    sim->crashes += crashed;
    list_each(call, &sim->calls, struct sim_call, link) {
        if (!crashed && !call->frozen)
            sim_violated(sim, "the host stopped although handler %s was at work",
                         sim->handlers[call->handler].name);
        call_free(call);
    }
}

/* ---- life ---- */

static int64_t service_wall_ms(struct clock *clock)
{
    return 1767225600000 + list_entry(clock, struct sim, service_clock)->world.now_ms; /* 2026-01-01 */
}

static int64_t service_monotonic_ms(struct clock *clock)
{
    return list_entry(clock, struct sim, service_clock)->world.now_ms;
}

void service_init(struct sim *sim)
{
    struct buf answer_text = BUF_INIT;
    struct arena arena = {0};
    struct err err;
    list_init(&sim->calls);
    world_init(&sim->world);
    sim->world.answer = answer;
    sim->service_clock = (struct clock){
        .monotonic_ms = service_monotonic_ms, .wall_ms = service_wall_ms, .cpu_ms = sim->world.clock.cpu_ms};
    sim->world.user = sim;
    sim->open_shards = 1 + sim_below(sim, 3);
    sim->engine =
        engine_new(&(struct engine_options){.clock = &sim->service_clock, .shards = sim->open_shards}, &err);
    service_call(sim, "DynamoDB_20120810.CreateTable",
                 "{\"TableName\":\"Table\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],"
                 "\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],"
                 "\"BillingMode\":\"PAY_PER_REQUEST\",\"StreamSpecification\":{\"StreamEnabled\":true,"
                 "\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}",
                 &answer_text);
    const struct json *root = json_parse(&arena, answer_text.data, answer_text.size, &err);
    const char *arn = json_string(&arena, json_get(json_get(root, "TableDescription"), "LatestStreamArn"));
    snprintf(sim->stream_arn, sizeof sim->stream_arn, "%s", arn ? arn : "");
    buf_fini(&answer_text);
    arena_fini(&arena);
    if (sim_chance(sim, 250)) {
        sim->alternator = fake_alternator_new(&sim->world, "Table", sim->open_shards);
        snprintf(sim->stream_arn, sizeof sim->stream_arn, "%s", fake_alternator_arn(sim->alternator));
    }
}

void service_fini(struct sim *sim)
{
    struct sim_call *call;
    list_each(call, &sim->calls, struct sim_call, link)
        call_free(call);
    engine_free(sim->engine);
    fake_alternator_free(sim->alternator);
    targets_fini(sim);
    world_fini(&sim->world);
    map_fini(&sim->final_failures);
    free(sim->listing);
    free(sim->listing_request);
}
