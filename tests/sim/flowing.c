/* flowing.c: worlds in which a table's changes come by way of Kinesis: repeated, out of order by up to some
 * seconds, over shards that split and merge, while the service fails and the host is killed.
 *
 * At the end every change was handled, and a copy that leaves out what is marked as late is as the table. An
 * item does not go back between two crashes unless the record says so, and no record says so without reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fake_kinesis.h"
#include "flowing.h"
#include "sim.h"

#define FLOWING_ITEMS 40
#define CHANGES_MAX 4000
#define RESHARD_MS 11000     /* more than source_kinesis looks back */
#define DISORDER_MS_MAX 4000 /* less than source_kinesis remembers */

/* Written, and not in the stream yet. */
struct pending {
    int item, version;
    int64_t due_ms;
};

struct flowing {
    struct small small;
    struct fake_kinesis *kinesis;
    bool batches;
    int disorder_ms, items, version;
    int64_t last_us, resharded_ms;
    int64_t times_us[CHANGES_MAX]; /* of each version */
    bool had[CHANGES_MAX];
    int table[FLOWING_ITEMS], copy[FLOWING_ITEMS]; /* versions */
    int handled[FLOWING_ITEMS];                    /* since the last crash */
    int highest[FLOWING_ITEMS];                    /* ever */
    struct pending pending[CHANGES_MAX];
    size_t pending_count;
};

/* ---- the table and what writes its changes into the stream ---- */

static void change(struct flowing *flowing)
{
    struct small *small = &flowing->small;
    int64_t now_us = clock_wall_ms(&small->world.clock) * 1000;
    int item = small_below(small, flowing->items), copies = small_below(small, 10) ? 1 : 2;
    if (flowing->version + 1 == CHANGES_MAX || flowing->pending_count + 2 > CHANGES_MAX)
        return;
    flowing->last_us = now_us > flowing->last_us ? now_us : flowing->last_us + 1;
    flowing->table[item] = ++flowing->version;
    flowing->times_us[flowing->version] = flowing->last_us;
    while (copies--) {
        int delay_ms =
            small_below(small, 3) ? small_below(small, 30) : small_below(small, flowing->disorder_ms);
        flowing->pending[flowing->pending_count++] =
            (struct pending){item, flowing->version, small->world.now_ms + delay_ms};
    }
}

static void write_down(struct flowing *flowing, const struct pending *pending)
{
    char key[20], data[600];
    int version = pending->version;
    snprintf(key, sizeof key, "i%d", pending->item);
    snprintf(data, sizeof data,
             "{\"awsRegion\":\"eu-west-1\",\"eventID\":\"e%d\",\"eventName\":\"%s\",\"tableName\":\"Table\","
             "\"eventSource\":\"aws:dynamodb\",\"dynamodb\":{\"ApproximateCreationDateTime\":%lld,"
             "\"ApproximateCreationDateTimePrecision\":\"MICROSECOND\",\"Keys\":{\"id\":{\"S\":\"%s\"}},"
             "\"%s\":{\"id\":{\"S\":\"%s\"},\"v\":{\"N\":\"%d\"}},\"SizeBytes\":9}}",
             version, version % 5 ? "MODIFY" : "REMOVE", (long long)flowing->times_us[version], key,
             version % 5 ? "NewImage" : "OldImage", key, version);
    int64_t ago_ms = flowing->small.world.now_ms - pending->due_ms;
    fake_kinesis_put(flowing->kinesis, key, data, ago_ms > 0 ? ago_ms : 0);
}

/* What is due by then, the earliest first. */
static void flush(struct flowing *flowing, int64_t until_ms)
{
    for (;;) {
        size_t first = flowing->pending_count;
        for (size_t i = 0; i < flowing->pending_count; i++)
            if (flowing->pending[i].due_ms <= until_ms &&
                (first == flowing->pending_count ||
                 flowing->pending[i].due_ms < flowing->pending[first].due_ms))
                first = i;
        if (first == flowing->pending_count)
            return;
        write_down(flowing, &flowing->pending[first]);
        flowing->pending[first] = flowing->pending[--flowing->pending_count];
    }
}

static void pass(struct flowing *flowing, int64_t ms)
{
    int64_t end_ms = flowing->small.world.now_ms + ms;
    while (flowing->small.world.now_ms < end_ms && !*flowing->small.violation) {
        int64_t step_ms = end_ms - flowing->small.world.now_ms;
        small_pass(&flowing->small, step_ms < 50 ? step_ms : 50);
        flush(flowing, flowing->small.world.now_ms);
    }
}

/* ---- the services ---- */

static void read_call(struct flowing *flowing, const struct json *root)
{
    struct small *small = &flowing->small;
    char *id = json_string_dup(json_get(root, "id"));
    int item = id ? atoi(id + 1) : -1, version = (int)json_integer(json_get(root, "v"), 0);
    bool late = json_get(root, "late") && json_get(root, "late")->type == JSON_TRUE;
    free(id);
    if (item < 0 || item >= flowing->items || version < 1 || version > flowing->version) {
        small_violated(small, "the handler was given version %d of item %d", version, item);
        return;
    }
    flowing->had[version] = true;
    if (late && version >= flowing->highest[item])
        small_violated(small, "version %d of item %d is marked as late, and %d was the last", version, item,
                       flowing->highest[item]);
    if (late)
        return;
    if (!flowing->batches && version < flowing->handled[item])
        small_violated(small, "item %d went back from version %d to %d, and the record does not say so", item,
                       flowing->handled[item], version);
    flowing->handled[item] = flowing->copy[item] = version;
    if (version > flowing->highest[item])
        flowing->highest[item] = version;
}

static void answer_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct flowing *flowing = user;
    char target[128] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    if (small_fails(&flowing->small, answer))
        return;
    const char *body = request->body ? request->body : "";
    flush(flowing, flowing->small.world.now_ms);
    if (fake_kinesis_answer(flowing->kinesis, target, body, request->body_size, answer))
        return;
    struct arena arena = ARENA_INIT;
    struct err err;
    read_call(flowing, json_parse(&arena, body, request->body_size, &err));
    arena_fini(&arena);
    answer->status = 200;
    buf_add_text(&answer->body, "{}");
}

/* ---- the deployment ---- */

static void write_deployment(struct flowing *flowing)
{
    static const char alone[] =
        "local http, time = require 'tidemill.http', require 'tidemill.time'\n"
        "return { stream = 's', retries = -1, backoff = '10ms..1s', concurrency = 8,\n"
        "  on_record = function(record)\n"
        "    local image = record.new or record.old\n"
        "    time.sleep(#record.keys.id % 3 / 20)\n"
        "    local answer = http.post('http://sink.sim/', { json = { id = image.id, v = image.v, late = "
        "record.late } })\n"
        "    assert(answer.status == 200)\n"
        "  end }\n";
    static const char together[] =
        "local http = require 'tidemill.http'\n"
        "return { stream = 's', retries = -1, backoff = '10ms..1s', batch_size = 7,\n"
        "  on_batch = function(records)\n"
        "    for _, record in ipairs(records) do\n"
        "      local image = record.new or record.old\n"
        "      local answer = http.post('http://sink.sim/', { json = { id = image.id, v = image.v, late = "
        "record.late } })\n"
        "      assert(answer.status == 200)\n"
        "    end\n"
        "  end }\n";
    struct small *small = &flowing->small;
    char *ini =
        mem_printf("[host]\nscripts = scripts\nstate = sqlite:state.db\nthreads = 1\nlisten = off\n"
                   "checkpoint_interval = %dms\n[aws]\nregion = eu-west-1\n"
                   "endpoint = http://dynamodb.sim\nendpoint_kinesis = http://kinesis.sim\n[stream s]\n"
                   "kinesis = changes\ntable = Table\nstart = trim_horizon\nbatch_size = %d\n"
                   "poll_min = %dms\npoll_max = 2s\ndiscovery = %ds\n",
                   50 + small_below(small, 5000), 1 + small_below(small, 40), 200 + small_below(small, 300),
                   1 + small_below(small, 30));
    flowing->batches = small_below(small, 3) == 0;
    small_deploy(small, flowing->batches ? together : alone, ini);
    free(ini);
    if (small->config)
        small->config->streams[0].window_bytes = 4000 + small_below(small, 100000);
}

/* ---- its life ---- */

static void crash(struct flowing *flowing)
{
    small_crash(&flowing->small);
    memset(flowing->handled, 0, sizeof flowing->handled); /* it may repeat */
}

static bool is_settled(struct flowing *flowing)
{
    for (int version = 1; version <= flowing->version; version++)
        if (!flowing->had[version])
            return false;
    return memcmp(flowing->table, flowing->copy, sizeof flowing->table) == 0;
}

static void tell_what_lacks(struct flowing *flowing, const char *when)
{
    for (int version = 1; version <= flowing->version; version++)
        if (!flowing->had[version])
            small_violated(&flowing->small, "version %d was never handled, %s", version, when);
    for (int item = 0; item < flowing->items; item++)
        if (flowing->table[item] != flowing->copy[item])
            small_violated(&flowing->small,
                           "item %d is at version %d in the copy, and at %d in the table, %s", item,
                           flowing->copy[item], flowing->table[item], when);
}

static void something(struct flowing *flowing)
{
    struct small *small = &flowing->small;
    int what = small_below(small, 100);
    if (what < 80) {
        change(flowing);
    } else if (what < 83) {
        if (small->world.now_ms - flowing->resharded_ms >
            RESHARD_MS) { /* the service takes its time for one */
            fake_kinesis_reshard(flowing->kinesis);
            flowing->resharded_ms = small->world.now_ms;
        }
    } else if (what < 86) {
        crash(flowing);
        small->world.now_ms += small_below(small, 20000);
        flush(flowing, small->world.now_ms);
        small_start(small);
    } else if (what < 90) {
        small->faults = small_below(small, 3) ? small_below(small, 200) : 0;
    } else {
        pass(flowing, small_below(small, 3000));
    }
}

static void live(struct flowing *flowing)
{
    struct small *small = &flowing->small;
    int64_t end_ms = small->world.now_ms + 5 * SECOND_MS + small_below(small, 60 * SECOND_MS);
    small->faults = small_below(small, 100);
    small_start(small);
    while (small->world.now_ms < end_ms && !*small->violation) {
        something(flowing);
        if (!*small->violation && small_below(small, 3) == 0)
            pass(flowing, small_below(small, 500));
    }
    small->calm = true;
    for (int64_t until = small->world.now_ms + 20 * 60 * SECOND_MS;
         !*small->violation && small->world.now_ms < until && !is_settled(flowing);)
        pass(flowing, 1000);
    tell_what_lacks(flowing, "20 minutes after the last change");
    if (!*small->violation) { /* and it stays so, after a crash as well */
        pass(flowing, 10 * SECOND_MS);
        crash(flowing);
        small_start(small);
        pass(flowing, 3 * 60 * SECOND_MS);
        tell_what_lacks(flowing, "after one more crash");
    }
}

void flowing_run(uint64_t seed, bool loud, char *violation)
{
    struct flowing *flowing = mem_zero(sizeof *flowing);
    struct small *small = &flowing->small;
    small_begin(small, seed, loud, answer_request, flowing);
    flowing->kinesis = fake_kinesis_new(small, 1 + small_below(small, 4));
    flowing->items = 1 + small_below(small, FLOWING_ITEMS);
    flowing->disorder_ms = 1 + small_below(small, DISORDER_MS_MAX);
    for (int i = small_below(small, 60); i > 0; i--)
        change(flowing);
    write_deployment(flowing);
    if (!*small->violation)
        live(flowing);
    small_end(small, violation);
    fake_kinesis_free(flowing->kinesis);
    free(flowing);
}
