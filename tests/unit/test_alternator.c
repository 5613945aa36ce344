/* test_alternator.c: the host beside ScyllaDB Alternator's streams (fake_alternator.h), in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/host.h"
#include "fake_alternator.h"
#include "core/plugs.h"

#define HOUR_MS (3600 * 1000)
#define SINK "http://sink.test/"

/* Says to the sink which record it was given, and may be told to wait. */
static const char script[] =
    "local http = require 'tidemill.http'\n"
    "return { stream = 's', backoff = '100ms..1s', retries = 50, on_record = function(record)\n"
    "  local answer = http.post('http://sink.test/', { json = { v = (record.new or record.old).v,\n"
    "    id = record.id, table = record.table, event = record.event, sort = record.keys.s } })\n"
    "  if answer.status ~= 200 then error('the sink answered ' .. answer.status) end\n"
    "end }\n";

struct fixture {
    struct world world;
    struct fake_alternator *fake;
    char directory[64];
    struct config *config;
    struct log *log;
    struct host *host;
    struct buf seen;   /* "v@ID " for each that was accepted */
    struct map ids;    /* record.id -> its v, as text: one id means one record */
    int count, wanted; /* accepted; waited for */
    int refuse_v;      /* this one is refused; -1: none */
    int most;          /* records in one page */
};

static void note(struct fixture *f, const struct transport_request *request, struct answer *answer)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, request->body, request->body_size, &err);
    int v = (int)json_integer(json_get(root, "v"), -1);
    const char *id = json_string(&arena, json_get(root, "id"));
    char *text = mem_printf("%d", v), *before = map_get(&f->ids, id);
    assert_string_equal(json_string(&arena, json_get(root, "table")), "T");
    if (before)
        assert_string_equal(before, text);
    else
        map_set(&f->ids, id, mem_string(text));
    free(text);
    answer->status = v == f->refuse_v ? 500 : 200;
    buf_add_literal(&answer->body, "{}");
    if (answer->status == 200) {
        buf_printf(&f->seen, "%d ", v);
        f->count++;
    }
    arena_fini(&arena);
}

static void answer_any(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    char target[128] = "";
    answer->delay_ms = 5;
    if (strncmp(request->url, SINK, strlen(SINK)) == 0) {
        note(f, request, answer);
        return;
    }
    request_header(request, "X-Amz-Target", target, sizeof target);
    if (!fake_alternator_answer(f->fake, target, request->body, request->body_size, answer))
        fail_msg("an operation that was not expected: %s", target);
    int records = 0;
    for (const char *at = answer->body.data; at && (at = strstr(at, "\"eventID\"")); at++)
        records++;
    f->most = records > f->most ? records : f->most;
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void start_host(struct fixture *f)
{
    struct err err = {0};
    f->host = host_new(
        &(struct host_options){.config = f->config, .log = f->log, .world = world_of_host(&f->world)}, &err);
    if (!f->host)
        fail_msg("%s", err.text);
}

static void kill_host(struct fixture *f)
{
    host_free(f->host);
    f->host = NULL;
    f->world.reactor = NULL;
}

static void make(struct fixture *f, int shards, const char *text)
{
    struct problems problems = PROBLEMS_INIT;
    char path[128];
    *f = (struct fixture){.refuse_v = -1};
    setenv("AWS_ACCESS_KEY_ID", "test", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    world_init(&f->world);
    f->world.answer = answer_any;
    f->world.user = f;
    f->fake = fake_alternator_new(&f->world, "T", shards);
    snprintf(f->directory, sizeof f->directory, "/tmp/tidemill-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(path, sizeof path, "%s/scripts", f->directory);
    mkdir(path, 0755);
    write_file(f, "scripts/copy.lua", text);
    write_file(f, "tidemill.ini",
               "[host]\nthreads = 1\nstate = sqlite:state.db\n[aws]\nregion = us-east-1\nendpoint = "
               "http://alternator.test\n[stream s]\ntable = T\nbatch_size = 2\n"
               "[target t]\ntype = http\nurl = http://sink.test/\nretries = 0\n");
    snprintf(path, sizeof path, "%s/tidemill.ini", f->directory);
    f->config = config_load(path, &host_plugs, &problems);
    if (problems.count)
        fail_msg("%s", problems.lines[0]);
    snprintf(path, sizeof path, "%s/log", f->directory);
    f->log = log_new(open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644), LOG_TEXT, LOG_DEBUG,
                     &f->world.clock);
}

static void finish(struct fixture *f)
{
    char command[128];
    size_t at = 0;
    if (f->host)
        kill_host(f);
    fake_alternator_free(f->fake);
    config_release(f->config);
    log_free(f->log);
    world_fini(&f->world);
    buf_fini(&f->seen);
    for (char *text; (text = map_next(&f->ids, &at, NULL));)
        free(text);
    map_fini(&f->ids);
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    assert_int_equal(system(command), 0);
}

static bool has_enough(void *user)
{
    const struct fixture *f = user;
    return f->count >= f->wanted;
}

static void wait_for(struct fixture *f, int wanted)
{
    f->wanted = wanted;
    if (!world_turn(&f->world, has_enough, f, HOUR_MS))
        fail_msg("waited for %d, got %d: %s", wanted, f->count, f->seen.data);
}

static bool log_says(const struct fixture *f, const char *part)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof path, "%s/log", f->directory);
    char *text = file_read(path, 64u << 20, NULL, &err);
    bool found = text && strstr(text, part);
    free(text);
    return found;
}

/* `count` rows of the partition, versions from `first` on, at once. */
static void write_group(struct fixture *f, int partition, int first, int count)
{
    struct fake_row rows[16] = {0};
    for (int i = 0; i < count; i++)
        rows[i] = (struct fake_row){partition, i, first + i, false, "", "", "", 0};
    fake_alternator_write(f->fake, rows, (size_t)count);
}

static bool saw(const struct fixture *f, int v)
{
    char wanted[24];
    snprintf(wanted, sizeof wanted, " %d ", v);
    char *text = mem_printf(" %s", f->seen.data ? f->seen.data : "");
    bool found = strstr(text, wanted) != NULL;
    free(text);
    return found;
}

/* ---- groups ---- */

static void all_records_of_one_number_come_each_with_an_id_of_its_own(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1, script);
    write_group(&f, 1, 1, 7); /* more than batch_size */
    write_group(&f, 1, 8, 5);
    write_group(&f, 2, 13, 1);
    start_host(&f);
    wait_for(&f, 13);
    assert_int_equal(f.ids.count, 13);
    assert_true(f.most >= 7);
    for (int v = 1; v <= 13; v++)
        assert_true(saw(&f, v));
    finish(&f);
}

/* Within a group one record is refused again and again while the others are done: killed then, the host goes
 * on with that one alone, under its old id. */
static void a_kill_inside_a_group_repeats_only_what_was_not_settled(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1, script);
    write_group(&f, 1, 1, 6);
    f.refuse_v = 3;
    start_host(&f);
    wait_for(&f, 5);
    world_turn(&f.world, has_enough, &f, 0);
    f.wanted = 1000;
    world_turn(&f.world, has_enough, &f, 1500); /* the checkpoint is written, the record waits for its turn */
    kill_host(&f);
    f.refuse_v = -1;
    start_host(&f);
    wait_for(&f, 6);
    assert_true(saw(&f, 3));
    assert_int_equal(f.count, 6);
    assert_int_equal(f.ids.count, 6);
    host_stop(f.host);
    assert_true(host_run(f.host));
    kill_host(&f);
    start_host(&f);
    f.wanted = 7;
    assert_false(world_turn(&f.world, has_enough, &f, 30000)); /* nothing comes again */
    finish(&f);
}

/* Twice killed with different members of the group open; the ids stay. */
static void kills_at_any_place_of_a_group_lose_nothing(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1, script);
    for (int i = 0; i < 10; i++)
        write_group(&f, i % 3, 1 + i * 4, 4);
    start_host(&f);
    for (int i = 0; i < 40 && f.count < 40; i++) {
        f.wanted = f.count + 1;
        world_turn(&f.world, has_enough, &f, 20000);
        kill_host(&f);
        start_host(&f);
    }
    f.wanted = 100000;
    world_turn(&f.world, has_enough, &f, 60000);
    for (int v = 1; v <= 40; v++)
        if (!saw(&f, v))
            fail_msg("lost %d: %s", v, f.seen.data);
    assert_int_equal(f.ids.count, 40);
    finish(&f);
}

/* ---- several messages of one record ---- */

static void a_record_is_settled_when_all_that_it_emitted_was_accepted(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1,
         "local emit = require 'tidemill.emit'\n"
         "return { stream = 's', retries = 50, backoff = '100ms..200ms', on_record = function(record)\n"
         "  for i = 0, 2 do\n"
         "    emit('t', { v = record.new.v + 1000 * i, id = record.id .. i, table = record.table }, { key = "
         "'k' .. i })\n"
         "  end\n"
         "end }\n");
    write_group(&f, 1, 1, 1);
    f.refuse_v = 2001;
    start_host(&f);
    wait_for(&f, 4); /* the first two, and again */
    assert_false(saw(&f, 2001));
    kill_host(&f);
    f.refuse_v = -1;
    start_host(&f);
    f.wanted = f.count + 3;
    assert_true(world_turn(&f.world, has_enough, &f, HOUR_MS));
    assert_true(saw(&f, 2001));
    finish(&f);
}

/* ---- generations ---- */

static void items_keep_their_order_when_shards_end_together(void **state)
{
    static const int counts[] = {4, 2, 7, 1, 3};
    struct fixture f;
    int v = 0;
    (void)state;
    make(&f, 3, script);
    start_host(&f);
    for (size_t g = 0; g < sizeof counts / sizeof *counts; g++) {
        for (int round = 0; round < 3; round++)
            for (int partition = 0; partition < 6; partition++)
                write_group(&f, partition, partition * 1000 + g * 3 + round + 1, 1), v++;
        fake_alternator_new_generation(f.fake, counts[g]);
    }
    wait_for(&f, v);
    int last[6] = {0};
    for (char *at = f.seen.data, *end; *at; at = end + 1) {
        int seen = (int)strtol(at, &end, 10);
        assert_true(seen % 1000 == last[seen / 1000] + 1);
        last[seen / 1000] = seen % 1000;
    }
    finish(&f);
}

static void removals_and_their_table_are_told(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 2, script);
    write_group(&f, 1, 1, 1);
    struct fake_row row = {1, 0, 2, true, "", "", "", 0};
    fake_alternator_write(f.fake, &row, 1);
    start_host(&f);
    wait_for(&f, 2);
    assert_true(log_says(&f, "alternator_T@T_scylla_cdc_log"));
    finish(&f);
}

/* ---- what Alternator has not ---- */

static void transactions_are_refused_with_a_way_out(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1,
         "local dynamodb = require 'tidemill.dynamodb'\n"
         "return { stream = 's', retries = 0, on_record = function(record)\n"
         "  dynamodb.transact { { put = { 'Other', { id = 'x' } } } }\n"
         "end }\n");
    write_group(&f, 1, 1, 1);
    start_host(&f);
    f.wanted = 1;
    world_turn(&f.world, has_enough, &f, 60000);
    assert_true(log_says(&f, "this endpoint has no transactions"));
    assert_true(log_says(&f, "dynamodb.create"));
    assert_true(log_says(&f, "dynamodb.transition"));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_records_of_one_number_come_each_with_an_id_of_its_own),
        cmocka_unit_test(a_kill_inside_a_group_repeats_only_what_was_not_settled),
        cmocka_unit_test(kills_at_any_place_of_a_group_lose_nothing),
        cmocka_unit_test(a_record_is_settled_when_all_that_it_emitted_was_accepted),
        cmocka_unit_test(items_keep_their_order_when_shards_end_together),
        cmocka_unit_test(removals_and_their_table_are_told),
        cmocka_unit_test(transactions_are_refused_with_a_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
