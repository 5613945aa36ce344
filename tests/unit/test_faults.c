/* test_faults.c: a whole host against shards that split, expire, are trimmed and throttled, in virtual time.
 */
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
#include "core/host.h"
#include "fake_streams.h"
#include "deliver/targets/table.h"
#include "state/store_open.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static const char copy_script[] =
    "local dynamodb = require 'tidemill.dynamodb'\n"
    "return { stream = 's', backoff = '100ms..1s', retries = 3, on_record = function(record)\n"
    "  dynamodb.put('Sink', { id = record.new.id, version = record.new.version })\n"
    "end }\n";

/* A deployment in a directory of its own, on a fake service. */
struct fixture {
    struct world world;
    struct fake_streams *fake;
    char directory[64];
    struct config *config;
    struct log *log;
    int log_fd;
    struct host *host;
    int wanted; /* for conditions */
};

static void write_file(struct fixture *f, const char *name, const char *text)
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

/* As a kill would: nothing is flushed. */
static void kill_host(struct fixture *f)
{
    host_free(f->host);
    f->host = NULL;
    f->world.reactor = NULL;
}

static void stop_host(struct fixture *f)
{
    host_stop(f->host);
    assert_true(host_run(f->host));
    kill_host(f);
}

static void make(struct fixture *f, const char *stream_settings, const char *script)
{
    struct problems problems = PROBLEMS_INIT;
    char ini[2000], path[128];
    *f = (struct fixture){0};
    setenv("AWS_ACCESS_KEY_ID", "test", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    world_init(&f->world);
    f->fake = fake_streams_new(&f->world, "T");
    snprintf(f->directory, sizeof f->directory, "/tmp/tidemill-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(path, sizeof path, "%s/scripts", f->directory);
    mkdir(path, 0755);
    write_file(f, "scripts/copy.lua", script ? script : copy_script);
    snprintf(ini, sizeof ini,
             "[host]\nthreads = 1\nstate = sqlite:state.db\n[aws]\nregion = eu-west-1\n"
             "[stream s]\ntable = T\ndiscovery = 30s\n%s\n",
             stream_settings);
    write_file(f, "tidemill.ini", ini);
    snprintf(path, sizeof path, "%s/tidemill.ini", f->directory);
    f->config = config_load(path, target_types, &problems);
    if (problems.count)
        fail_msg("%s", problems.lines[0]);
    snprintf(path, sizeof path, "%s/log", f->directory);
    f->log_fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0644);
    f->log = log_new(f->log_fd, LOG_TEXT, LOG_DEBUG, &f->world.clock);
}

static void finish(struct fixture *f)
{
    char command[128];
    if (f->host)
        kill_host(f);
    if (fake_unused_faults(f->fake))
        fail_msg("%d faults that were planned did not happen", fake_unused_faults(f->fake));
    fake_streams_free(f->fake);
    config_release(f->config);
    log_free(f->log);
    close(f->log_fd);
    world_fini(&f->world);
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    assert_int_equal(system(command), 0);
}

static bool sink_has(void *user)
{
    struct fixture *f = user;
    return fake_sink_count(f->fake) >= f->wanted;
}

static bool never(void *user)
{
    (void)user;
    return false;
}

static void wait_for_sink(struct fixture *f, int wanted)
{
    f->wanted = wanted;
    if (!world_turn(&f->world, sink_has, f, HOUR))
        fail_msg("waited for %d, got %d: %s", wanted, fake_sink_count(f->fake), fake_sink(f->fake));
}

static void pass_time(struct fixture *f, int64_t ms)
{
    world_turn(&f->world, never, f, ms);
}

static bool log_says(struct fixture *f, const char *part)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof path, "%s/log", f->directory);
    char *text = file_read(path, 64u << 20, NULL, &err);
    bool found = text && strstr(text, part);
    free(text);
    return found;
}

static void store_loaded(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    (void)err;
    *(struct store_snapshot **)user = snapshot;
}

static struct store_snapshot *snapshot_of(struct fixture *f)
{
    struct err err;
    struct store_snapshot *snapshot = NULL;
    struct reactor *reactor = reactor_new(&f->world.clock);
    struct store *store =
        store_open(reactor, f->config->host.state,
                   &(struct store_options){.group = f->config->host.group, .read_only = true}, &err);
    assert_non_null(store);
    store_load(store, &(struct store_query){.what = STORE_ALL}, store_loaded, &snapshot);
    reactor_turn(reactor, 0);
    store_free(store);
    reactor_free(reactor);
    assert_non_null(snapshot);
    return snapshot;
}

/* ---- shards ---- */

static void a_child_shard_waits_for_its_parent(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "batch_size = 2", NULL);
    fake_add_shard(f.fake, "parent", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f.fake, "parent", "a", i);
    fake_close_shard(f.fake, "parent");
    fake_add_shard(f.fake, "child", "parent");
    fake_add_shard(f.fake, "other", "parent");
    for (int i = 6; i <= 9; i++)
        fake_put(f.fake, "child", "a", i);
    start_host(&f);
    wait_for_sink(&f, 9);
    assert_string_equal(fake_sink(f.fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9");
    stop_host(&f);
    finish(&f);
}

static void a_child_waits_until_its_parents_last_record_is_settled_not_just_read(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_set_sink_delay(f.fake, 5 * SECOND);
    fake_add_shard(f.fake, "parent", NULL);
    fake_put(f.fake, "parent", "a", 1);
    fake_close_shard(f.fake, "parent");
    fake_add_shard(f.fake, "child", "parent");
    fake_put(f.fake, "child", "a", 2);
    start_host(&f);
    wait_for_sink(&f, 1);
    pass_time(&f, 4 * SECOND);
    assert_int_equal(fake_sink_count(f.fake), 1);
    wait_for_sink(&f, 2);
    finish(&f);
}

static void a_grandchild_after_a_kill_still_waits(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "batch_size = 1", NULL);
    fake_add_shard(f.fake, "a0", NULL);
    fake_put(f.fake, "a0", "a", 1);
    fake_put(f.fake, "a0", "a", 2);
    fake_close_shard(f.fake, "a0");
    fake_add_shard(f.fake, "a1", "a0");
    fake_put(f.fake, "a1", "a", 3);
    fake_close_shard(f.fake, "a1");
    fake_add_shard(f.fake, "a2", "a1");
    fake_put(f.fake, "a2", "a", 4);
    for (int kills = 0; fake_sink_count(f.fake) == 0 || !strstr(fake_sink(f.fake), "a:4"); kills++) {
        assert_true(kills < 200);
        start_host(&f);
        pass_time(&f, 20 + 7 * kills);
        kill_host(&f);
    }
    int highest = 0;
    for (const char *at = fake_sink(f.fake); at; at = strchr(at + 1, ':') ? strchr(at + 1, 'a') : NULL) {
        int version = atoi(strchr(at, ':') + 1);
        assert_true(version <= highest + 1);
        highest = version > highest ? version : highest;
    }
    assert_int_equal(highest, 4);
    finish(&f);
}

static void a_parent_that_has_vanished_counts_as_finished(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "child", "trimmed-away");
    fake_put(f.fake, "child", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    finish(&f);
}

static void children_that_appear_late_are_found(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "parent", NULL);
    fake_put(f.fake, "parent", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_close_shard(f.fake, "parent");
    fake_add_shard(f.fake, "child", "parent");
    fake_hide_shard(f.fake, "child", true);
    fake_put(f.fake, "child", "a", 2);
    pass_time(&f, 800); /* the parent's end is read; DescribeStream does not know the child yet */
    int64_t shown_ms = f.world.now_ms;
    fake_hide_shard(f.fake, "child", false);
    wait_for_sink(&f, 2);
    assert_true(f.world.now_ms - shown_ms < 10 * SECOND);
    /* and one that takes longer than all quick attempts is found by the periodic listing */
    fake_close_shard(f.fake, "child");
    fake_add_shard(f.fake, "grandchild", "child");
    fake_hide_shard(f.fake, "grandchild", true);
    fake_put(f.fake, "grandchild", "a", 3);
    pass_time(&f, 5 * MINUTE);
    assert_int_equal(fake_sink_count(f.fake), 2);
    fake_hide_shard(f.fake, "grandchild", false);
    wait_for_sink(&f, 3);
    finish(&f);
}

static void a_parent_listed_as_open_beside_its_child_is_read_to_its_end(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "parent", NULL);
    fake_put(f.fake, "parent", "a", 1);
    fake_close_shard(f.fake, "parent");
    fake_show_open(f.fake, "parent");
    fake_add_shard(f.fake, "child", "parent");
    fake_put(f.fake, "child", "a", 2);
    start_host(&f);
    wait_for_sink(&f, 2);
    assert_string_equal(fake_sink(f.fake), "a:1 a:2");
    finish(&f);
}

static void all_pages_of_the_listing_are_read(void **state)
{
    struct fixture f;
    char shard[32], item[32];
    (void)state;
    make(&f, "", NULL);
    fake_set_listing_page(f.fake, 100);
    for (int i = 0; i < 250; i++) {
        snprintf(shard, sizeof shard, "shard-%d", i);
        snprintf(item, sizeof item, "i%d", i);
        fake_add_shard(f.fake, shard, NULL);
        fake_put(f.fake, shard, item, 1);
    }
    start_host(&f);
    wait_for_sink(&f, 250);
    finish(&f);
}

static void a_shard_missing_from_one_listing_is_not_forgotten(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_set_sink_delay(f.fake, 40 * SECOND); /* the child must not start while the parent is hidden */
    fake_add_shard(f.fake, "parent", NULL);
    fake_put(f.fake, "parent", "a", 1);
    fake_close_shard(f.fake, "parent");
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_add_shard(f.fake, "child", "parent");
    fake_put(f.fake, "child", "a", 2);
    fake_hide_shard(f.fake, "parent", true);
    f.wanted = fake_calls(f.fake, "DescribeStream");
    while (fake_calls(f.fake, "DescribeStream") == f.wanted)
        pass_time(&f, 100);
    fake_hide_shard(f.fake, "parent", false);
    pass_time(&f, 3 * SECOND);
    assert_int_equal(fake_sink_count(f.fake), 1);
    wait_for_sink(&f, 2);
    finish(&f);
}

/* ---- iterators ---- */

static void an_expired_iterator_is_replaced_behind_the_last_record(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "batch_size = 3", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    for (int i = 1; i <= 3; i++)
        fake_put(f.fake, "shard", "a", i);
    start_host(&f);
    wait_for_sink(&f, 3);
    for (int i = 4; i <= 9; i++) {
        fake_expire_iterators(f.fake);
        fake_put(f.fake, "shard", "a", i);
        wait_for_sink(&f, i);
    }
    assert_string_equal(fake_sink(f.fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9");
    assert_int_equal(fake_iterators(f.fake, "TRIM_HORIZON"), 1);
    finish(&f);
}

static void an_iterator_that_expires_before_anything_was_read_is_replaced(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    fake_put(f.fake, "shard", "a", 1);
    fake_fail_next(f.fake, "GetRecords", "ExpiredIteratorException", 3);
    start_host(&f);
    wait_for_sink(&f, 1);
    assert_int_equal(fake_iterators(f.fake, "TRIM_HORIZON"), 4);
    finish(&f);
}

static void iterators_that_are_no_good_are_not_asked_for_without_a_pause(void **state)
{
    static const char *const codes[] = {"ExpiredIteratorException", "TrimmedDataAccessException"};
    (void)state;
    for (int c = 0; c < 2; c++) {
        struct fixture f;
        make(&f, "", NULL);
        fake_add_shard(f.fake, "shard", NULL);
        fake_put(f.fake, "shard", "a", 1);
        fake_fail_next(f.fake, "GetRecords", codes[c], 12);
        start_host(&f);
        int64_t begun_ms = f.world.now_ms;
        wait_for_sink(&f, 1);
        assert_true(f.world.now_ms - begun_ms > 20 * SECOND);
        assert_int_equal(fake_iterators(f.fake, "TRIM_HORIZON"), 13);
        finish(&f);
    }
}

static void an_iterator_is_renewed_before_it_expires_while_reading_is_paused(void **state)
{
    struct fixture f;
    (void)state;
    /* One record of the smallest window keeps the reader waiting for 14 minutes. */
    make(&f, "poll_max = 1h\npoll_min = 14m", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    fake_put(f.fake, "shard", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_put(f.fake, "shard", "a", 2);
    wait_for_sink(&f, 2);
    assert_false(log_says(&f, "Expired"));
    assert_int_equal(fake_iterators(f.fake, "AFTER_SEQUENCE_NUMBER"), 1);
    finish(&f);
}

/* ---- scripts that load at one time and not at another ---- */

static const char late_script[] =
    "local dynamodb = require 'tidemill.dynamodb'\n"
    "return { stream = 's', on_record = function(record)\n"
    "  dynamodb.put('Sink', { id = record.new.id, version = record.new.version + 100 })\n"
    "end }\n";

/* When the host looked at it, it was well; when the worker loads it, it is not. */
static void what_fails_to_load_in_a_worker_is_told_and_looked_at_again(void **state)
{
    static const char *const broken[] = {"error('not now')", "return {", "return require('helper')"};
    static const char *const told[] = {"not now", "near <eof>", "helper"};
    (void)state;
    for (int b = 0; b < 3; b++) {
        struct fixture f;
        struct problems problems = PROBLEMS_INIT;
        make(&f, "", NULL);
        fake_add_shard(f.fake, "shard", NULL);
        fake_put(f.fake, "shard", "a", 1);
        start_host(&f);
        wait_for_sink(&f, 1);
        write_file(&f, "scripts/late.lua", late_script);
        host_reload(f.host, f.config, &problems);
        problems_fini(&problems);
        write_file(&f, "scripts/late.lua", broken[b]);
        pass_time(&f, 10);
        assert_true(log_says(&f, told[b]));
        write_file(&f, "scripts/late.lua", late_script);
        fake_put(f.fake, "shard", "a", 2);
        wait_for_sink(&f, 2);
        assert_string_equal(fake_sink(f.fake), "a:1 a:2"); /* the other one goes on */
        wait_for_sink(&f, 4);
        assert_string_equal(fake_sink(f.fake), "a:1 a:2 a:101 a:102");
        finish(&f);
    }
}

/* ---- trimmed data ---- */

static void a_gap_is_logged_counted_and_kept_and_reading_goes_on(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    fake_put(f.fake, "shard", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    pass_time(&f, 5 * SECOND);
    stop_host(&f);
    for (int i = 2; i <= 6; i++)
        fake_put(f.fake, "shard", "a", i);
    fake_trim(f.fake, "shard", 4); /* 1 to 4 are gone; 2 to 4 were never read */
    start_host(&f);
    wait_for_sink(&f, 3);
    pass_time(&f, SECOND);
    assert_string_equal(fake_sink(f.fake), "a:1 a:5 a:6");
    assert_true(log_says(&f, "lost between 100000000000000007 and 100000000000000035"));
    stop_host(&f);
    struct store_snapshot *snapshot = snapshot_of(&f);
    assert_int_equal(snapshot->event_count, 1);
    assert_string_equal(snapshot->events[0].kind, "gap");
    assert_string_equal(snapshot->events[0].handler, "copy");
    assert_string_equal(snapshot->events[0].from_sequence, "100000000000000007");
    assert_string_equal(snapshot->events[0].to_sequence, "100000000000000035");
    store_snapshot_free(snapshot);
    finish(&f);
}

static void a_gap_while_reading_is_noticed_too(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "poll_min = 1m\npoll_max = 1m", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    fake_put(f.fake, "shard", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    for (int i = 2; i <= 5; i++)
        fake_put(f.fake, "shard", "a", i);
    fake_trim(f.fake, "shard", 3);
    wait_for_sink(&f, 3);
    assert_string_equal(fake_sink(f.fake), "a:1 a:4 a:5");
    assert_true(log_says(&f, "lost between"));
    finish(&f);
}

static void a_shard_that_vanishes_while_it_is_read_is_finished_with_a_gap(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "parent", NULL);
    fake_put(f.fake, "parent", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_close_shard(f.fake, "parent");
    fake_add_shard(f.fake, "child", "parent");
    fake_put(f.fake, "child", "a", 2);
    fake_remove_shard(f.fake, "parent");
    wait_for_sink(&f, 2);
    assert_true(log_says(&f, "lost between"));
    stop_host(&f);
    finish(&f);
}

/* ---- throttling and other faults ---- */

static void throttling_backs_off_and_loses_nothing(void **state)
{
    static const char *const codes[] = {"LimitExceededException", "ThrottlingException",
                                        "ProvisionedThroughputExceededException"};
    (void)state;
    for (int c = 0; c < 3; c++) {
        struct fixture f;
        make(&f, "", NULL);
        fake_add_shard(f.fake, "shard", NULL);
        fake_put(f.fake, "shard", "a", 1);
        fake_fail_next(f.fake, "GetRecords", codes[c], 12);
        start_host(&f);
        int64_t begun_ms = f.world.now_ms;
        wait_for_sink(&f, 1);
        /* 12 refusals doubling up to 10 s between them: not a hammering */
        assert_true(f.world.now_ms - begun_ms > 20 * SECOND);
        fake_put(f.fake, "shard", "a", 2);
        begun_ms = f.world.now_ms;
        wait_for_sink(&f, 2);
        assert_true(f.world.now_ms - begun_ms < 3 * SECOND);
        finish(&f);
    }
}

static void every_operation_may_fail_or_lose_its_answer(void **state)
{
    static const char *const operations[] = {"DescribeTable", "DescribeStream", "GetShardIterator",
                                             "GetRecords"};
    (void)state;
    for (int o = 0; o < 4; o++) {
        struct fixture f;
        make(&f, "", NULL);
        fake_add_shard(f.fake, "shard", NULL);
        for (int i = 1; i <= 5; i++)
            fake_put(f.fake, "shard", "a", i);
        fake_fail_next(f.fake, operations[o], "InternalServerError", 7);
        fake_lose_next(f.fake, operations[o], 4);
        start_host(&f);
        wait_for_sink(&f, 5);
        assert_string_equal(fake_sink(f.fake), "a:1 a:2 a:3 a:4 a:5");
        finish(&f);
    }
}

static void a_lost_answer_of_a_handlers_call_is_repeated(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    fake_put(f.fake, "shard", "a", 1);
    fake_put(f.fake, "shard", "a", 2);
    fake_lose_next(f.fake, "PutItem", 1);
    start_host(&f);
    wait_for_sink(&f, 3);
    assert_string_equal(fake_sink(f.fake), "a:1 a:1 a:2");
    finish(&f);
}

/* ---- pacing ---- */

static void an_idle_shard_is_polled_at_poll_max_and_a_busy_one_at_once(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "poll_min = 100ms\npoll_max = 1s\nbatch_size = 10", NULL);
    fake_add_shard(f.fake, "shard", NULL);
    start_host(&f);
    pass_time(&f, 10 * SECOND);
    int before = fake_calls(f.fake, "GetRecords");
    pass_time(&f, 100 * SECOND);
    int idle = fake_calls(f.fake, "GetRecords") - before;
    assert_in_range(idle, 95, 101);
    for (int i = 1; i <= 1000; i++)
        fake_put(f.fake, "shard", "a", i);
    fake_set_sink_delay(f.fake, 0);
    before = fake_calls(f.fake, "GetRecords");
    int64_t begun_ms = f.world.now_ms;
    wait_for_sink(&f, 1000);
    assert_in_range(fake_calls(f.fake, "GetRecords") - before, 100, 110);
    assert_true(f.world.now_ms - begun_ms < 5 * SECOND);
    finish(&f);
}

static int64_t time_for_items(const char *settings, int items)
{
    struct fixture f;
    char item[16], script[400];
    snprintf(script, sizeof script,
             "local dynamodb = require 'tidemill.dynamodb'\n"
             "return { stream = 's', %s, on_record = function(record)\n"
             "  dynamodb.put('Sink', { id = record.new.id, version = record.new.version })\nend }\n",
             settings);
    make(&f, "", script);
    fake_set_sink_delay(f.fake, 10 * SECOND);
    fake_add_shard(f.fake, "shard", NULL);
    for (int i = 0; i < items; i++) {
        snprintf(item, sizeof item, "i%d", i);
        fake_put(f.fake, "shard", item, 1);
    }
    start_host(&f);
    int64_t begun_ms = f.world.now_ms;
    wait_for_sink(&f, items);
    int64_t took_ms = f.world.now_ms - begun_ms; /* until the last call began */
    finish(&f);
    return took_ms;
}

static void different_items_overlap_up_to_concurrency(void **state)
{
    (void)state;
    assert_in_range(time_for_items("concurrency = 4", 8), 10 * SECOND, 12 * SECOND);
    assert_in_range(time_for_items("concurrency = 8", 8), 0, 2 * SECOND);
    assert_in_range(time_for_items("ordering = 'shard'", 5), 40 * SECOND, 42 * SECOND);
}

/* ---- streams in a row ---- */

static void an_old_stream_is_finished_before_the_new_one_is_followed(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "batch_size = 1", NULL);
    fake_set_sink_delay(f.fake, 2 * SECOND);
    fake_add_shard(f.fake, "old", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f.fake, "old", "a", i);
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_new_stream(f.fake);
    fake_add_shard(f.fake, "new", NULL);
    for (int i = 6; i <= 8; i++)
        fake_put(f.fake, "new", "a", i);
    wait_for_sink(&f, 8);
    assert_string_equal(fake_sink(f.fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8");
    finish(&f);
}

static void a_window_is_closed_when_its_stream_has_ended(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "",
         "local dynamodb = require 'tidemill.dynamodb'\n"
         "return { stream = 's', tumbling_window = '1d', on_window = function(state, records, final)\n"
         "  state = state or { n = 0 }\n"
         "  state.n = state.n + #records\n"
         "  if final then dynamodb.put('Sink', { id = 'count', version = state.n }) end\n"
         "  return state\n"
         "end }\n");
    fake_add_shard(f.fake, "old", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f.fake, "old", "a", i);
    start_host(&f);
    pass_time(&f, 5 * SECOND);
    stop_host(&f);
    assert_int_equal(fake_sink_count(f.fake), 0);
    fake_new_stream(f.fake);
    fake_add_shard(f.fake, "new", NULL);
    fake_put(f.fake, "new", "a", 6);
    start_host(&f);
    wait_for_sink(&f, 1);
    pass_time(&f, MINUTE);
    assert_string_equal(fake_sink(f.fake), "count:5"); /* once; that of the new stream is still open */
    stop_host(&f);
    start_host(&f);
    pass_time(&f, MINUTE);
    assert_int_equal(fake_sink_count(f.fake), 1);
    finish(&f);
}

static void an_old_stream_that_is_gone_is_left_with_a_gap(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "", NULL);
    fake_add_shard(f.fake, "old", NULL);
    fake_put(f.fake, "old", "a", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    pass_time(&f, 3 * SECOND);
    kill_host(&f);
    fake_new_stream(f.fake);
    fake_drop_old_stream(f.fake);
    fake_add_shard(f.fake, "new", NULL);
    fake_put(f.fake, "new", "a", 2);
    start_host(&f);
    wait_for_sink(&f, 2);
    assert_true(log_says(&f, "the stream was gone before it was read to its end"));
    finish(&f);
}

/* ---- start = latest ---- */

static void latest_applies_once_and_never_to_children_or_after_a_restart(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "start = latest", NULL);
    fake_add_shard(f.fake, "closed", NULL);
    fake_put(f.fake, "closed", "old", 1);
    fake_close_shard(f.fake, "closed");
    fake_add_shard(f.fake, "open", NULL);
    fake_put(f.fake, "open", "old", 2);
    pass_time(&f, 0);
    f.world.now_ms += HOUR;
    start_host(&f);
    pass_time(&f, 5 * SECOND);
    assert_int_equal(fake_sink_count(f.fake), 0);
    kill_host(&f); /* before the first checkpoint */
    f.world.now_ms += MINUTE;
    fake_put(f.fake, "open", "new", 1);
    start_host(&f);
    wait_for_sink(&f, 1);
    fake_put(f.fake, "open", "new", 2);
    fake_close_shard(f.fake, "open");
    fake_add_shard(f.fake, "child", "open");
    fake_put(f.fake, "child", "new", 3);
    fake_add_shard(f.fake, "late-child", "closed");
    fake_put(f.fake, "late-child", "late", 1);
    wait_for_sink(&f, 4);
    assert_null(strstr(fake_sink(f.fake), "old"));
    assert_non_null(strstr(fake_sink(f.fake), "new:1"));
    assert_non_null(strstr(fake_sink(f.fake), "late:1"));
    assert_true(strstr(fake_sink(f.fake), "new:2") < strstr(fake_sink(f.fake), "new:3"));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_shard_waits_for_its_parent),
        cmocka_unit_test(a_child_waits_until_its_parents_last_record_is_settled_not_just_read),
        cmocka_unit_test(a_grandchild_after_a_kill_still_waits),
        cmocka_unit_test(a_parent_that_has_vanished_counts_as_finished),
        cmocka_unit_test(children_that_appear_late_are_found),
        cmocka_unit_test(a_parent_listed_as_open_beside_its_child_is_read_to_its_end),
        cmocka_unit_test(all_pages_of_the_listing_are_read),
        cmocka_unit_test(a_shard_missing_from_one_listing_is_not_forgotten),
        cmocka_unit_test(an_expired_iterator_is_replaced_behind_the_last_record),
        cmocka_unit_test(an_iterator_that_expires_before_anything_was_read_is_replaced),
        cmocka_unit_test(iterators_that_are_no_good_are_not_asked_for_without_a_pause),
        cmocka_unit_test(what_fails_to_load_in_a_worker_is_told_and_looked_at_again),
        cmocka_unit_test(an_iterator_is_renewed_before_it_expires_while_reading_is_paused),
        cmocka_unit_test(a_gap_is_logged_counted_and_kept_and_reading_goes_on),
        cmocka_unit_test(a_gap_while_reading_is_noticed_too),
        cmocka_unit_test(a_shard_that_vanishes_while_it_is_read_is_finished_with_a_gap),
        cmocka_unit_test(throttling_backs_off_and_loses_nothing),
        cmocka_unit_test(every_operation_may_fail_or_lose_its_answer),
        cmocka_unit_test(a_lost_answer_of_a_handlers_call_is_repeated),
        cmocka_unit_test(an_idle_shard_is_polled_at_poll_max_and_a_busy_one_at_once),
        cmocka_unit_test(different_items_overlap_up_to_concurrency),
        cmocka_unit_test(an_old_stream_is_finished_before_the_new_one_is_followed),
        cmocka_unit_test(a_window_is_closed_when_its_stream_has_ended),
        cmocka_unit_test(an_old_stream_that_is_gone_is_left_with_a_gap),
        cmocka_unit_test(latest_applies_once_and_never_to_children_or_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
