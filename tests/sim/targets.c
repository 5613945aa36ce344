/* targets.c: services that take messages: a Kinesis that refuses in part, an S3 that keeps whole objects.
 *
 * A call that emits to them ends when all of its messages are accepted, which this side cannot see: it knows
 * only when an answer that says so has arrived. Such a call is `loose`: it ended well when all answers have
 * arrived, and badly when the host goes on as if it had. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/mem.h"
#include "sim.h"

#define NEVER INT64_MAX
#define AMBIGUOUS_MS (HANDLER_TIMEOUT_MS - 2 * SECOND_MS) /* from here on it may have timed out instead */

/* ---- a call's messages ---- */

void targets_expect(struct sim_call *call, int messages)
{
    call->messages = messages;
    call->loose = true;
    call->arrived_ms = mem_alloc((size_t)(call->count * messages) * sizeof *call->arrived_ms);
    for (int i = 0; i < call->count * messages; i++)
        call->arrived_ms[i] = NEVER;
}

/* What a message says of itself: {"handler","call","v","part","at"}. */
struct said {
    int handler, call, record, part, at;
};

static bool read_said(struct sim *sim, const char *text, size_t size, struct said *said)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root = json_parse(&arena, text, size, &err);
    *said = (struct said){.handler = -1};
    for (int i = 0; root && i < sim->handler_count; i++)
        if (json_string_is(json_get(root, "handler"), sim->handlers[i].name))
            said->handler = i;
    said->call = (int)json_integer(json_get(root, "call"), 0);
    said->record = (int)json_integer(json_get(root, "v"), -1);
    said->part = (int)json_integer(json_get(root, "part"), 0);
    said->at = (int)json_integer(json_get(root, "at"), 0);
    arena_fini(&arena);
    if (said->handler >= 0 && said->record >= 0 && said->record < sim->write_count && said->part > 0)
        return true;
    sim_violated(sim, "a target gets what nobody emitted: %.*s", (int)(size < 300 ? size : 300), text);
    return false;
}

/* Of an answer that never arrives the host learns nothing. */
static int64_t arrival(const struct sim *sim, const struct answer *answer)
{
    return answer->lost || answer->delay_ms >= CALL_TIMEOUT_MS ? NEVER : sim->world.now_ms + answer->delay_ms;
}

static void arrives(struct sim *sim, const struct said *said, int64_t when_ms)
{
    struct sim_call *call = service_find_call(sim, said->call);
    if (!call || !call->loose)
        return;
    for (int i = 0; i < call->count; i++) {
        int64_t *arrived = &call->arrived_ms[i * call->messages + said->part - 1];
        if (call->records[i] == said->record && when_ms < *arrived)
            *arrived = when_ms;
    }
}

/* ---- Kinesis ---- */

/* No message overtakes an earlier one of its key. */
static void check_lane(struct sim *sim, const struct said *said)
{
    struct sim_handler *handler = &sim->handlers[said->handler];
    struct sim_lane *lane = &handler->lanes[sim->writes[said->record].item];
    bool again = said->call == lane->call && said->at == lane->at;
    bool next =
        said->call == lane->call ? said->at == lane->at + 1 : said->call > lane->call && said->at == 1;
    /* A redriven record goes to another shard than its item where shards have split: another order. */
    bool apart = sim->branched && handler->redriven;
    if (!again && !next && !apart)
        sim_violated(sim, "handler %s: message %d of call %d (record %d) comes after message %d of call %d",
                     handler->name, said->at, said->call, said->record, lane->at, lane->call);
    lane->call = said->call;
    lane->at = said->at;
}

static bool is_bad(const struct sim *sim, int record)
{
    return sim->poisoned && record % 61 == 17;
}

static size_t read_entries(struct sim *sim, const struct transport_request *request, struct said *entries)
{
    struct arena arena = {0};
    struct err err;
    size_t count = 0, size;
    const struct json *root = json_parse(&arena, request->body, request->body_size, &err);
    json_each(record, json_get(root, "Records")) {
        const char *data = json_string(&arena, json_get(record, "Data"));
        char text[2000];
        if (count == 500 || !data || strlen(data) > sizeof text / 3 * 4 ||
            !base64_decode(data, strlen(data), text, &size)) {
            sim_violated(sim, "Kinesis gets a request that it would not read");
            count = 0;
            break;
        }
        if (read_said(sim, text, size, &entries[count]))
            count++;
    }
    arena_fini(&arena);
    return count;
}

static void answer_kinesis(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    struct said *entries = mem_alloc(500 * sizeof *entries);
    struct buf body = BUF_INIT;
    size_t count = read_entries(sim, request, entries);
    int failed = 0;
    bool bad = false;
    for (size_t i = 0; i < count; i++)
        bad = bad || is_bad(sim, entries[i].record);
    if (bad) {
        service_say(answer, 400,
                    "{\"__type\":\"ValidationException\",\"message\":\"one of them is not to my liking\"}");
        free(entries);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool refused = !sim->calm && sim_chance(sim, sim->faults);
        failed += refused;
        buf_printf(&body, "%s{%s}", i ? "," : "",
                   refused ? "\"ErrorCode\":\"ProvisionedThroughputExceededException\",\"ErrorMessage\":\"\""
                           : "\"SequenceNumber\":\"1\",\"ShardId\":\"s\"");
        if (refused)
            continue;
        check_lane(sim, &entries[i]);
        arrives(sim, &entries[i], arrival(sim, answer));
    }
    answer->status = 200;
    buf_clear(&answer->body);
    buf_printf(&answer->body, "{\"FailedRecordCount\":%d,\"Records\":[%s]}", failed, body.data);
    buf_fini(&body);
    free(entries);
}

/* ---- S3 ---- */

struct sim_object {
    struct sim_object *next;
    char *url, *text;
};

static struct sim_object **find_object(struct sim *sim, const char *url)
{
    struct sim_object **at = &sim->objects;
    while (*at && strcmp((*at)->url, url) != 0)
        at = &(*at)->next;
    return at;
}

static void each_line(struct sim *sim, const char *text,
                      void (*each)(struct sim *, const struct said *, int64_t), int64_t argument)
{
    struct said said;
    for (const char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) {
            sim_violated(sim, "the last line of an object is cut off: %.300s", line);
            return;
        }
        if (read_said(sim, line, (size_t)(end - line), &said))
            each(sim, &said, argument);
    }
}

static void put_object(struct sim *sim, const struct transport_request *request, const struct answer *answer)
{
    struct sim_object **at = find_object(sim, request->url);
    char *text = mem_copy(request->body, request->body_size);
    if (!*at) { /* the newest is the last */
        *at = mem_zero(sizeof **at);
        (*at)->url = mem_string(request->url);
        (*at)->text = text;
    } else if (strcmp((*at)->text, text) != 0) {
        sim_violated(sim, "%s is written over by another object", request->url);
        free(text);
        return;
    } else {
        free(text);
    }
    each_line(sim, (*at)->text, arrives, arrival(sim, answer));
}

static void answer_s3(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    answer->status = 200;
    buf_clear(&answer->body);
    if (strcmp(request->method, "PUT") == 0)
        put_object(sim, request, answer);
    else if (strcmp(request->method, "HEAD") == 0)
        answer->status = *find_object(sim, request->url) ? 200 : 404;
    else
        sim_violated(sim, "S3 is asked for %s", request->method);
}

static void configure_bus(struct sim *sim, struct buf *ini)
{
    buf_printf(ini,
               "type = kinesis\nstream = bus\nretries = %d\nbackoff = 100ms..2s\ntimeout = 5s\n"
               "batch_count = %d\n",
               sim_below(sim, 6), 1 + sim_below(sim, 40));
}

static void configure_lake(struct sim *sim, struct buf *ini)
{
    buf_printf(ini,
               "type = s3\nbucket = lake\ncompression = none\nlinger = %dms\nretries = %d\n"
               "backoff = 100ms..2s\ntimeout = 5s\n",
               sim_below(sim, 3000), sim_below(sim, 6));
}

/* A target's twin: one line for one more. */
static const struct twin {
    const char *name;    /* of the [target] */
    const char *service; /* endpoint_SERVICE */
    const char *url;
    bool throttles; /* it refuses whole requests as too many, with a code in the body */
    void (*configure)(struct sim *sim, struct buf *ini);
    void (*answer)(struct sim *sim, const struct transport_request *request, struct answer *answer);
} twins[] = {
    {"bus", "kinesis", "http://kinesis.sim/", true, configure_bus, answer_kinesis},
    {"lake", "s3", "http://s3.sim/", false, configure_lake, answer_s3},
};
#define TWINS (sizeof twins / sizeof *twins)

void targets_write_endpoints(struct buf *ini)
{
    for (size_t i = 0; i < TWINS; i++)
        buf_printf(ini, "endpoint_%s = %s\n", twins[i].service, twins[i].url);
}

void targets_write(struct sim *sim, struct buf *ini)
{
    for (size_t i = 0; i < TWINS; i++) {
        buf_printf(ini, "[target %s]\n", twins[i].name);
        twins[i].configure(sim, ini);
    }
}

bool targets_answer(struct sim *sim, const struct transport_request *request, struct answer *answer)
{
    const struct twin *twin = twins;
    while (twin < twins + TWINS && strncmp(request->url, twin->url, strlen(twin->url)) != 0)
        twin++;
    if (twin == twins + TWINS)
        return false;
    service_end_calls(sim);
    if (!service_fails_before(sim, answer, twin->throttles))
        twin->answer(sim, request, answer);
    return true;
}

/* ---- the end of loose calls ---- */

static void count_lines(struct sim *sim, const struct said *said, int64_t handler)
{
    if (said->handler == (int)handler && said->part <= MESSAGES_MAX)
        sim->lines[said->record * MESSAGES_MAX + said->part - 1]++;
}

/* How often each message of the handler stands in the objects; valid until the next call. */
static void read_lines(struct sim *sim, int handler)
{
    size_t count = (size_t)(sim->write_count + 1) * MESSAGES_MAX;
    sim->lines = mem_resize(sim->lines, count * sizeof *sim->lines);
    memset(sim->lines, 0, count * sizeof *sim->lines);
    for (const struct sim_object *object = sim->objects; object; object = object->next)
        each_line(sim, object->text, count_lines, handler);
}

/* Its events stand there, some of them since a call before: those are accepted without another answer. */
static bool is_in_lake(struct sim *sim, const struct sim_call *call)
{
    if (sim->handlers[call->handler].sends != SENDS_LAKE)
        return false;
    read_lines(sim, call->handler);
    for (int i = 0; i < call->count; i++)
        for (int part = 0; part < call->messages; part++)
            if (!sim->lines[call->records[i] * MESSAGES_MAX + part])
                return false;
    return true;
}

void targets_end_loose(struct sim *sim)
{
    struct sim_call *call;
    list_each(call, &sim->calls, struct sim_call, link) {
        int64_t last_ms = call->began_ms;
        if (!call->loose || call->end_ms != NEVER)
            continue;
        for (int i = 0; i < call->count * call->messages; i++)
            last_ms = call->arrived_ms[i] > last_ms ? call->arrived_ms[i] : last_ms;
        if (last_ms > sim->world.now_ms)
            continue;
        call->end_ms = last_ms;
        call->well = true;
        call->frozen = call->frozen || last_ms > call->began_ms + AMBIGUOUS_MS;
    }
}

void targets_settle_loose(struct sim *sim)
{
    struct sim_call *call;
    service_end_calls(sim);
    list_each(call, &sim->calls, struct sim_call, link)
        if (call->loose && call->end_ms == NEVER && is_in_lake(sim, call)) {
            call->end_ms = sim->world.now_ms;
            call->well = call->unsure = true;
        }
    service_end_calls(sim);
}

/* Its place among the call's records; -1: it is none of them. */
static int place_of(const struct sim_call *call, int record)
{
    for (int i = 0; i < call->count; i++)
        if (call->records[i] == record)
            return i;
    return -1;
}

static bool contradicts(const struct sim *sim, const struct sim_call *next, const struct sim_call *call)
{
    enum sim_kind kind = sim->handlers[call->handler].kind;
    for (int i = 0; i < next->count; i++)
        for (int k = 0; k < call->count; k++) {
            const struct written *a = &sim->writes[next->records[i]], *b = &sim->writes[call->records[k]];
            bool same_shard =
                (kind == KIND_SHARD || kind == KIND_WINDOW) && *a->shard && strcmp(a->shard, b->shard) == 0;
            if (a->item == b->item || same_shard)
                return true;
        }
    return false;
}

/* Was the record left over where the call ended well: given back, or behind one of its item that was? */
static bool is_left_over(const struct sim *sim, const struct sim_call *call, int place)
{
    for (int i = 0; i <= place; i++)
        if (call->failed[i] && sim->writes[call->records[i]].item == sim->writes[call->records[place]].item)
            return true;
    return false;
}

/* Could the host go on like this if the call had ended well? */
static bool follows(const struct sim *sim, const struct sim_call *next, const struct sim_call *call)
{
    for (int i = 0; i < next->count; i++) {
        int place = place_of(call, next->records[i]);
        if (place >= 0 && !is_left_over(sim, call, place))
            return false;
    }
    return true;
}

void targets_goes_on(struct sim *sim, const struct sim_call *next)
{
    struct sim_call *call;
    list_each(call, &sim->calls, struct sim_call, link) {
        if (!call->loose || call->end_ms != NEVER || call->handler != next->handler ||
            !contradicts(sim, next, call))
            continue;
        call->end_ms = sim->world.now_ms;
        call->well = follows(sim, next, call) && is_in_lake(sim, call);
        call->unsure = true;
    }
    service_end_calls(sim);
}

void targets_gave_up(struct sim *sim, int handler, int record)
{
    struct sim_call *call;
    list_each(call, &sim->calls, struct sim_call, link) {
        int place = place_of(call, record);
        if (!call->loose || call->end_ms != NEVER || call->handler != handler || place < 0)
            continue;
        call->end_ms = sim->world.now_ms;
        call->well = call->failed[place] && is_in_lake(sim, call); /* on_batch gave it back */
        call->permanent = is_bad(sim, record);
    }
    service_end_calls(sim);
}

void targets_stopped(struct sim *sim)
{
    struct sim_call *call;
    targets_settle_loose(sim);
    list_each(call, &sim->calls, struct sim_call, link)
        if (call->loose && call->end_ms == NEVER)
            call->end_ms = sim->world.now_ms;
    service_end_calls(sim);
}

/* ---- at the end ---- */

/* Whatever was handled stands in one line; what a seek, a crash amid letters or a timeout repeated, in one
 * at least. */
void targets_check_lake(struct sim *sim, int handler)
{
    const struct sim_handler *its = &sim->handlers[handler];
    if (its->sends != SENDS_LAKE)
        return;
    read_lines(sim, handler);
    for (int i = 0; i < sim->write_count; i++) {
        const struct fate *fate = &its->fates[i];
        int lines = sim->lines[i * MESSAGES_MAX];
        if (fate->state == FATE_HANDLED && !fate->frozen && !lines)
            sim_violated(sim, "record %d was handled by %s and is not in the lake", i, its->name);
        if (lines > 1 && !fate->frozen && !fate->redriven && !its->seeks)
            sim_violated(sim, "record %d stands in the lake of %s %d times", i, its->name, lines);
    }
}

void targets_fini(struct sim *sim)
{
    for (struct sim_object *object = sim->objects, *next; object; object = next) {
        next = object->next;
        free(object->url);
        free(object->text);
        free(object);
    }
    free(sim->lines);
}
