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
#include "base/mem.h"
#include "core/host.h"
#include "fake_streams.h"
#include "core/plugs.h"
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
    f->config = config_load(path, &host_plugs, &problems);
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

static void remake(struct fixture *f, const char *stream_settings, const char *script)
{
    finish(f);
    make(f, stream_settings, script);
}

static int set_up(void **state)
{
    *state = mem_zero(sizeof(struct fixture));
    make(*state, "", NULL);
    return 0;
}

static int tear_down(void **state)
{
    finish(*state);
    free(*state);
    return 0;
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
    struct fixture *f = *state;
    remake(f, "batch_size = 2", NULL);
    fake_add_shard(f->fake, "parent", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f->fake, "parent", "a", i);
    fake_close_shard(f->fake, "parent");
    fake_add_shard(f->fake, "child", "parent");
    fake_add_shard(f->fake, "other", "parent");
    for (int i = 6; i <= 9; i++)
        fake_put(f->fake, "child", "a", i);
    start_host(f);
    wait_for_sink(f, 9);
    assert_string_equal(fake_sink(f->fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9");
    stop_host(f);
}

static void a_child_waits_until_its_parents_last_record_is_settled_not_just_read(void **state)
{
    struct fixture *f = *state;
    fake_set_sink_delay(f->fake, 5 * SECOND);
    fake_add_shard(f->fake, "parent", NULL);
    fake_put(f->fake, "parent", "a", 1);
    fake_close_shard(f->fake, "parent");
    fake_add_shard(f->fake, "child", "parent");
    fake_put(f->fake, "child", "a", 2);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, 4 * SECOND);
    assert_int_equal(fake_sink_count(f->fake), 1);
    wait_for_sink(f, 2);
}

static void a_grandchild_after_a_kill_still_waits(void **state)
{
    struct fixture *f = *state;
    remake(f, "batch_size = 1", NULL);
    fake_add_shard(f->fake, "a0", NULL);
    fake_put(f->fake, "a0", "a", 1);
    fake_put(f->fake, "a0", "a", 2);
    fake_close_shard(f->fake, "a0");
    fake_add_shard(f->fake, "a1", "a0");
    fake_put(f->fake, "a1", "a", 3);
    fake_close_shard(f->fake, "a1");
    fake_add_shard(f->fake, "a2", "a1");
    fake_put(f->fake, "a2", "a", 4);
    for (int kills = 0; fake_sink_count(f->fake) == 0 || !strstr(fake_sink(f->fake), "a:4"); kills++) {
        assert_true(kills < 200);
        start_host(f);
        pass_time(f, 20 + 7 * kills);
        kill_host(f);
    }
    int highest = 0;
    for (const char *at = fake_sink(f->fake); at; at = strchr(at + 1, ':') ? strchr(at + 1, 'a') : NULL) {
        int version = atoi(strchr(at, ':') + 1);
        assert_true(version <= highest + 1);
        highest = version > highest ? version : highest;
    }
    assert_int_equal(highest, 4);
}

static void a_parent_that_has_vanished_counts_as_finished(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "child", "trimmed-away");
    fake_put(f->fake, "child", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
}

static void children_that_appear_late_are_found(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "parent", NULL);
    fake_put(f->fake, "parent", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    fake_close_shard(f->fake, "parent");
    fake_add_shard(f->fake, "child", "parent");
    fake_hide_shard(f->fake, "child", true);
    fake_put(f->fake, "child", "a", 2);
    pass_time(f, 800); /* the parent's end is read; DescribeStream does not know the child yet */
    int64_t shown_ms = f->world.now_ms;
    fake_hide_shard(f->fake, "child", false);
    wait_for_sink(f, 2);
    assert_true(f->world.now_ms - shown_ms < 10 * SECOND);
    /* and one that takes longer than all quick attempts is found by the periodic listing */
    fake_close_shard(f->fake, "child");
    fake_add_shard(f->fake, "grandchild", "child");
    fake_hide_shard(f->fake, "grandchild", true);
    fake_put(f->fake, "grandchild", "a", 3);
    pass_time(f, 5 * MINUTE);
    assert_int_equal(fake_sink_count(f->fake), 2);
    fake_hide_shard(f->fake, "grandchild", false);
    wait_for_sink(f, 3);
}

static void a_parent_listed_as_open_beside_its_child_is_read_to_its_end(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "parent", NULL);
    fake_put(f->fake, "parent", "a", 1);
    fake_close_shard(f->fake, "parent");
    fake_show_open(f->fake, "parent");
    fake_add_shard(f->fake, "child", "parent");
    fake_put(f->fake, "child", "a", 2);
    start_host(f);
    wait_for_sink(f, 2);
    assert_string_equal(fake_sink(f->fake), "a:1 a:2");
}

static void all_pages_of_the_listing_are_read(void **state)
{
    char shard[32], item[32];
    struct fixture *f = *state;
    fake_set_listing_page(f->fake, 100);
    for (int i = 0; i < 250; i++) {
        snprintf(shard, sizeof shard, "shard-%d", i);
        snprintf(item, sizeof item, "i%d", i);
        fake_add_shard(f->fake, shard, NULL);
        fake_put(f->fake, shard, item, 1);
    }
    start_host(f);
    wait_for_sink(f, 250);
}

static void a_shard_missing_from_one_listing_is_not_forgotten(void **state)
{
    struct fixture *f = *state;
    fake_set_sink_delay(f->fake, 40 * SECOND); /* the child must not start while the parent is hidden */
    fake_add_shard(f->fake, "parent", NULL);
    fake_put(f->fake, "parent", "a", 1);
    fake_close_shard(f->fake, "parent");
    start_host(f);
    wait_for_sink(f, 1);
    fake_add_shard(f->fake, "child", "parent");
    fake_put(f->fake, "child", "a", 2);
    fake_hide_shard(f->fake, "parent", true);
    f->wanted = fake_calls(f->fake, "DescribeStream");
    while (fake_calls(f->fake, "DescribeStream") == f->wanted)
        pass_time(f, 100);
    fake_hide_shard(f->fake, "parent", false);
    pass_time(f, 3 * SECOND);
    assert_int_equal(fake_sink_count(f->fake), 1);
    wait_for_sink(f, 2);
}

/* ---- iterators ---- */

static void an_expired_iterator_is_replaced_behind_the_last_record(void **state)
{
    struct fixture *f = *state;
    remake(f, "batch_size = 3", NULL);
    fake_add_shard(f->fake, "shard", NULL);
    for (int i = 1; i <= 3; i++)
        fake_put(f->fake, "shard", "a", i);
    start_host(f);
    wait_for_sink(f, 3);
    for (int i = 4; i <= 9; i++) {
        fake_expire_iterators(f->fake);
        fake_put(f->fake, "shard", "a", i);
        wait_for_sink(f, i);
    }
    assert_string_equal(fake_sink(f->fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9");
    assert_int_equal(fake_iterators(f->fake, "TRIM_HORIZON"), 1);
}

static void an_iterator_that_expires_before_anything_was_read_is_replaced(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    fake_fail_next(f->fake, "GetRecords", "ExpiredIteratorException", 3);
    start_host(f);
    wait_for_sink(f, 1);
    assert_int_equal(fake_iterators(f->fake, "TRIM_HORIZON"), 4);
}

static void iterators_that_are_no_good_are_not_asked_for_without_a_pause(void **state)
{
    static const char *const codes[] = {"ExpiredIteratorException", "TrimmedDataAccessException"};
    struct fixture *f = *state;
    for (int c = 0; c < 2; c++) {
        remake(f, "", NULL);
        fake_add_shard(f->fake, "shard", NULL);
        fake_put(f->fake, "shard", "a", 1);
        fake_fail_next(f->fake, "GetRecords", codes[c], 12);
        start_host(f);
        int64_t begun_ms = f->world.now_ms;
        wait_for_sink(f, 1);
        assert_true(f->world.now_ms - begun_ms > 20 * SECOND);
        assert_int_equal(fake_iterators(f->fake, "TRIM_HORIZON"), 13);
    }
}

static void an_iterator_is_renewed_before_it_expires_while_reading_is_paused(void **state)
{
    struct fixture *f = *state;
    /* One record of the smallest window keeps the reader waiting for 14 minutes. */
    remake(f, "poll_max = 1h\npoll_min = 14m", NULL);
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    fake_put(f->fake, "shard", "a", 2);
    wait_for_sink(f, 2);
    assert_false(log_says(f, "Expired"));
    assert_int_equal(fake_iterators(f->fake, "AFTER_SEQUENCE_NUMBER"), 1);
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
    struct fixture *f = *state;
    for (int b = 0; b < 3; b++) {
        struct problems problems = PROBLEMS_INIT;
        remake(f, "", NULL);
        fake_add_shard(f->fake, "shard", NULL);
        fake_put(f->fake, "shard", "a", 1);
        start_host(f);
        wait_for_sink(f, 1);
        write_file(f, "scripts/late.lua", late_script);
        host_reload(f->host, f->config, &problems);
        problems_fini(&problems);
        write_file(f, "scripts/late.lua", broken[b]);
        pass_time(f, 10);
        assert_true(log_says(f, told[b]));
        write_file(f, "scripts/late.lua", late_script);
        fake_put(f->fake, "shard", "a", 2);
        wait_for_sink(f, 2);
        assert_string_equal(fake_sink(f->fake), "a:1 a:2"); /* the other one goes on */
        wait_for_sink(f, 4);
        assert_string_equal(fake_sink(f->fake), "a:1 a:2 a:101 a:102");
    }
}

/* on_gap = stop: nothing behind what was lost is handled before somebody was asked. */
static void what_was_lost_while_stopped_stops_too(void **state)
{
    static const char script[] =
        "local dynamodb = require 'tidemill.dynamodb'\n"
        "return { stream = 's', backoff = '1h..1h', retries = 3, on_record = function(record)\n"
        "  if record.new.id == 'bad' then error('not now') end\n"
        "  dynamodb.put('Sink', { id = record.new.id, version = record.new.version })\nend }\n";
    struct fixture *f = *state;
    remake(f, "on_gap = stop", script);
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "bad", 1);
    fake_put(f->fake, "shard", "b", 2);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, 5 * SECOND);
    stop_host(f);
    fake_put(f->fake, "shard", "c", 3);
    fake_put(f->fake, "shard", "d", 4);
    fake_trim(f->fake, "shard", 1); /* bad:1 */
    start_host(f);
    pass_time(f, HOUR);
    assert_string_equal(fake_sink(f->fake), "b:2");
    assert_true(log_says(f, "records were trimmed before handler copy settled them"));
}

/* ---- shards that are another host's ---- */

static bool owned;

static bool owns(void *user, const char *stream_arn, const char *shard)
{
    (void)user;
    (void)stream_arn;
    return owned || strcmp(shard, "mine") == 0;
}

static void start_leased(struct fixture *f)
{
    static const struct leases leases = {.owns = owns};
    struct err err = {0};
    f->host = host_new(
        &(struct host_options){
            .config = f->config, .log = f->log, .world = world_of_host(&f->world), .leases = &leases},
        &err);
    if (!f->host)
        fail_msg("%s", err.text);
}

static const struct store_checkpoint *row_of(const struct store_snapshot *snapshot, const char *shard)
{
    for (size_t i = 0; i < snapshot->checkpoint_count; i++)
        if (strcmp(snapshot->checkpoints[i].shard, shard) == 0)
            return &snapshot->checkpoints[i];
    return NULL;
}

static void only_shards_that_are_ones_own_are_read(void **state)
{
    struct fixture *f = *state;
    owned = false;
    fake_add_shard(f->fake, "mine", NULL);
    fake_add_shard(f->fake, "other", NULL);
    fake_put(f->fake, "mine", "a", 1);
    fake_put(f->fake, "other", "b", 1);
    start_leased(f);
    pass_time(f, 5 * MINUTE);
    assert_string_equal(fake_sink(f->fake), "a:1");
    struct store_snapshot *snapshot = snapshot_of(f);
    assert_null(row_of(snapshot, "other"));
    char *arn = mem_string(row_of(snapshot, "mine")->stream_arn);
    store_snapshot_free(snapshot);
    owned = true;
    host_gained(f->host, arn, "other");
    wait_for_sink(f, 2);
    assert_string_equal(fake_sink(f->fake), "a:1 b:1");
    free(arn);
}

/* A record that runs when the shard is lost counts as not done; whoever has the shard next goes on behind
 * what was settled. */
/* A record of the shard "other", which others may take, is handled and kept. Returns the stream's ARN and
 * where the shard stands; both to be freed. */
static char *run_other(struct fixture *f, char **sequence)
{
    owned = true;
    fake_add_shard(f->fake, "other", NULL);
    fake_put(f->fake, "other", "b", 1);
    start_leased(f);
    wait_for_sink(f, 1);
    pass_time(f, 5 * SECOND);
    struct store_snapshot *snapshot = snapshot_of(f);
    const struct store_checkpoint *row = row_of(snapshot, "other");
    char *arn = mem_string(row->stream_arn);
    *sequence = mem_string(row->position.sequence);
    store_snapshot_free(snapshot);
    return arn;
}

static void what_runs_in_a_shard_that_is_lost_is_given_up(void **state)
{
    struct fixture *f = *state;
    char *sequence, *arn = run_other(f, &sequence);
    fake_set_sink_delay(f->fake, 20 * SECOND);
    fake_put(f->fake, "other", "b", 2);
    fake_put(f->fake, "other", "c", 1);
    wait_for_sink(f, 3); /* both calls have begun */
    owned = false;
    host_lost(f->host, arn, "other");
    pass_time(f, 10 * MINUTE);
    struct store_snapshot *snapshot = snapshot_of(f);
    assert_string_equal(row_of(snapshot, "other")->position.sequence, sequence);
    store_snapshot_free(snapshot);
    assert_int_equal(fake_sink_count(f->fake), 3);
    fake_set_sink_delay(f->fake, 0);
    owned = true;
    host_gained(f->host, arn, "other");
    wait_for_sink(f, 5);
    assert_string_equal(fake_sink(f->fake), "b:1 b:2 c:1 b:2 c:1");
    stop_host(f);
    free(arn);
    free(sequence);
}

/* Nothing waits for what was under way in a shard that is another host's by now. */
static void a_shard_that_is_lost_while_the_host_stops_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    char *sequence, *arn = run_other(f, &sequence);
    fake_set_sink_delay(f->fake, 15 * SECOND);
    fake_put(f->fake, "other", "b", 2);
    wait_for_sink(f, 2);
    int64_t began_ms = f->world.now_ms;
    host_stop(f->host);
    owned = false;
    host_lost(f->host, arn, "other");
    assert_true(host_run(f->host));
    assert_true(f->world.now_ms - began_ms < 5 * SECOND);
    kill_host(f);
    fake_set_sink_delay(f->fake, 0);
    owned = true;
    start_leased(f);
    wait_for_sink(f, 3);
    assert_string_equal(fake_sink(f->fake), "b:1 b:2 b:2");
    free(arn);
    free(sequence);
}

/* ---- trimmed data ---- */

static void a_gap_is_logged_counted_and_kept_and_reading_goes_on(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, 5 * SECOND);
    stop_host(f);
    for (int i = 2; i <= 6; i++)
        fake_put(f->fake, "shard", "a", i);
    fake_trim(f->fake, "shard", 4); /* 1 to 4 are gone; 2 to 4 were never read */
    start_host(f);
    wait_for_sink(f, 3);
    pass_time(f, SECOND);
    assert_string_equal(fake_sink(f->fake), "a:1 a:5 a:6");
    assert_true(log_says(f, "lost between 100000000000000007 and 100000000000000035"));
    stop_host(f);
    struct store_snapshot *snapshot = snapshot_of(f);
    assert_int_equal(snapshot->event_count, 1);
    assert_string_equal(snapshot->events[0].kind, "gap");
    assert_string_equal(snapshot->events[0].handler, "copy");
    assert_string_equal(snapshot->events[0].from_sequence, "100000000000000007");
    assert_string_equal(snapshot->events[0].to_sequence, "100000000000000035");
    store_snapshot_free(snapshot);
}

static void a_gap_while_reading_is_noticed_too(void **state)
{
    struct fixture *f = *state;
    remake(f, "poll_min = 1m\npoll_max = 1m", NULL);
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    for (int i = 2; i <= 5; i++)
        fake_put(f->fake, "shard", "a", i);
    fake_trim(f->fake, "shard", 3);
    wait_for_sink(f, 3);
    assert_string_equal(fake_sink(f->fake), "a:1 a:4 a:5");
    assert_true(log_says(f, "lost between"));
}

static void a_shard_that_vanishes_while_it_is_read_is_finished_with_a_gap(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "parent", NULL);
    fake_put(f->fake, "parent", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    fake_close_shard(f->fake, "parent");
    fake_add_shard(f->fake, "child", "parent");
    fake_put(f->fake, "child", "a", 2);
    fake_remove_shard(f->fake, "parent");
    wait_for_sink(f, 2);
    assert_true(log_says(f, "lost between"));
    stop_host(f);
}

/* ---- throttling and other faults ---- */

static void throttling_backs_off_and_loses_nothing(void **state)
{
    static const char *const codes[] = {"LimitExceededException", "ThrottlingException",
                                        "ProvisionedThroughputExceededException"};
    struct fixture *f = *state;
    for (int c = 0; c < 3; c++) {
        remake(f, "", NULL);
        fake_add_shard(f->fake, "shard", NULL);
        fake_put(f->fake, "shard", "a", 1);
        fake_fail_next(f->fake, "GetRecords", codes[c], 12);
        start_host(f);
        int64_t begun_ms = f->world.now_ms;
        wait_for_sink(f, 1);
        /* 12 refusals doubling up to 10 s between them: not a hammering */
        assert_true(f->world.now_ms - begun_ms > 20 * SECOND);
        fake_put(f->fake, "shard", "a", 2);
        begun_ms = f->world.now_ms;
        wait_for_sink(f, 2);
        assert_true(f->world.now_ms - begun_ms < 3 * SECOND);
    }
}

/* ---- who comes back when ---- */

#define READS_MAX 64

/* When each of two shards was read. */
struct reads {
    void (*answer)(void *user, const struct transport_request *request, struct answer *answer);
    void *user;
    struct world *world;
    int64_t at_ms[2][READS_MAX];
    int count[2];
};

static void note_read(void *user, const struct transport_request *request, struct answer *answer)
{
    struct reads *reads = user;
    int shard = strstr(request->body, "\"right|") != NULL;
    if (strstr(request->body, "ShardIterator\"") && strchr(request->body, '|') &&
        reads->count[shard] < READS_MAX)
        reads->at_ms[shard][reads->count[shard]++] = reads->world->now_ms;
    reads->answer(reads->user, request, answer);
}

static void readers_that_were_refused_together_do_not_come_back_together(void **state)
{
    struct reads reads;
    int together = 0;
    struct fixture *f = *state;
    fake_add_shard(f->fake, "left", NULL);
    fake_add_shard(f->fake, "right", NULL);
    fake_put(f->fake, "left", "a", 1);
    fake_put(f->fake, "right", "b", 1);
    fake_fail_next(f->fake, "GetRecords", "LimitExceededException", 16);
    reads = (struct reads){.answer = f->world.answer, .user = f->world.user, .world = &f->world};
    f->world.answer = note_read;
    f->world.user = &reads;
    start_host(f);
    wait_for_sink(f, 2);
    assert_in_range(reads.count[0], 5, READS_MAX);
    assert_in_range(reads.count[1], 5, READS_MAX);
    for (int i = 1; i < 5; i++) /* the first come together */
        together += reads.at_ms[0][i] == reads.at_ms[1][i];
    assert_in_range(together, 0, 1);
}

/* The one that is ahead is stuck with more than it may hold; the one behind is served all the same. */
static void who_is_behind_is_served_though_others_are_stuck(void **state)
{
    static const char other[] = "local log = require 'tidemill.log'\n"
                                "return { stream = 's', on_record = function(record)\n"
                                "  log.info('the other saw ' .. record.new.version)\nend }\n";
    struct problems problems = PROBLEMS_INIT;
    struct fixture *f = *state;
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    fake_set_sink_delay(f->fake, HOUR);
    for (int i = 2; i < 8000; i++)
        fake_put(f->fake, "shard", "a", i);
    wait_for_sink(f, 2);
    write_file(f, "scripts/other.lua", other);
    host_reload(f->host, f->config, &problems);
    problems_fini(&problems);
    pass_time(f, 50 * SECOND);
    assert_true(log_says(f, "the other saw 2"));
    assert_null(strstr(fake_sink(f->fake), "a:3")); /* still stuck */
}

static void what_was_read_is_kept_for_status(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, 10 * SECOND);
    kill_host(f);
    struct store_snapshot *snapshot = snapshot_of(f);
    assert_int_equal(snapshot->shard_count, 1);
    assert_string_equal(snapshot->shards[0].shard, "shard");
    assert_int_equal(snapshot->shards[0].records, 1);
    assert_in_range(snapshot->shards[0].get_records_calls, 2, 10000);
    store_snapshot_free(snapshot);
}

static void every_operation_may_fail_or_lose_its_answer(void **state)
{
    static const char *const operations[] = {"DescribeTable", "DescribeStream", "GetShardIterator",
                                             "GetRecords"};
    struct fixture *f = *state;
    for (int o = 0; o < 4; o++) {
        remake(f, "", NULL);
        fake_add_shard(f->fake, "shard", NULL);
        for (int i = 1; i <= 5; i++)
            fake_put(f->fake, "shard", "a", i);
        fake_fail_next(f->fake, operations[o], "InternalServerError", 7);
        fake_lose_next(f->fake, operations[o], 4);
        start_host(f);
        wait_for_sink(f, 5);
        assert_string_equal(fake_sink(f->fake), "a:1 a:2 a:3 a:4 a:5");
    }
}

static void a_lost_answer_of_a_handlers_call_is_repeated(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "shard", NULL);
    fake_put(f->fake, "shard", "a", 1);
    fake_put(f->fake, "shard", "a", 2);
    fake_lose_next(f->fake, "PutItem", 1);
    start_host(f);
    wait_for_sink(f, 3);
    assert_string_equal(fake_sink(f->fake), "a:1 a:1 a:2");
}

/* ---- pacing ---- */

static void an_idle_shard_is_polled_at_poll_max_and_a_busy_one_at_once(void **state)
{
    struct fixture *f = *state;
    remake(f, "poll_min = 100ms\npoll_max = 1s\nbatch_size = 10", NULL);
    fake_add_shard(f->fake, "shard", NULL);
    start_host(f);
    pass_time(f, 10 * SECOND);
    int before = fake_calls(f->fake, "GetRecords");
    pass_time(f, 100 * SECOND);
    int idle = fake_calls(f->fake, "GetRecords") - before;
    assert_in_range(idle, 95, 101);
    for (int i = 1; i <= 1000; i++)
        fake_put(f->fake, "shard", "a", i);
    fake_set_sink_delay(f->fake, 0);
    before = fake_calls(f->fake, "GetRecords");
    int64_t begun_ms = f->world.now_ms;
    wait_for_sink(f, 1000);
    assert_in_range(fake_calls(f->fake, "GetRecords") - before, 100, 110);
    assert_true(f->world.now_ms - begun_ms < 5 * SECOND);
}

static int64_t time_for_items(struct fixture *f, const char *settings, int items)
{
    char item[16], script[400];
    snprintf(script, sizeof script,
             "local dynamodb = require 'tidemill.dynamodb'\n"
             "return { stream = 's', %s, on_record = function(record)\n"
             "  dynamodb.put('Sink', { id = record.new.id, version = record.new.version })\nend }\n",
             settings);
    remake(f, "", script);
    fake_set_sink_delay(f->fake, 10 * SECOND);
    fake_add_shard(f->fake, "shard", NULL);
    for (int i = 0; i < items; i++) {
        snprintf(item, sizeof item, "i%d", i);
        fake_put(f->fake, "shard", item, 1);
    }
    start_host(f);
    int64_t begun_ms = f->world.now_ms;
    wait_for_sink(f, items);
    int64_t took_ms = f->world.now_ms - begun_ms; /* until the last call began */
    return took_ms;
}

static void different_items_overlap_up_to_concurrency(void **state)
{
    struct fixture *f = *state;
    assert_in_range(time_for_items(f, "concurrency = 4", 8), 10 * SECOND, 12 * SECOND);
    assert_in_range(time_for_items(f, "concurrency = 8", 8), 0, 2 * SECOND);
    assert_in_range(time_for_items(f, "ordering = 'shard'", 5), 40 * SECOND, 42 * SECOND);
}

/* ---- streams in a row ---- */

static void an_old_stream_is_finished_before_the_new_one_is_followed(void **state)
{
    struct fixture *f = *state;
    remake(f, "batch_size = 1", NULL);
    fake_set_sink_delay(f->fake, 2 * SECOND);
    fake_add_shard(f->fake, "old", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f->fake, "old", "a", i);
    start_host(f);
    wait_for_sink(f, 1);
    fake_new_stream(f->fake);
    fake_add_shard(f->fake, "new", NULL);
    for (int i = 6; i <= 8; i++)
        fake_put(f->fake, "new", "a", i);
    wait_for_sink(f, 8);
    assert_string_equal(fake_sink(f->fake), "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8");
}

static void a_window_is_closed_when_its_stream_has_ended(void **state)
{
    struct fixture *f = *state;
    remake(f, "",
           "local dynamodb = require 'tidemill.dynamodb'\n"
           "return { stream = 's', tumbling_window = '1d', on_window = function(state, records, final)\n"
           "  state = state or { n = 0 }\n"
           "  state.n = state.n + #records\n"
           "  if final then dynamodb.put('Sink', { id = 'count', version = state.n }) end\n"
           "  return state\n"
           "end }\n");
    fake_add_shard(f->fake, "old", NULL);
    for (int i = 1; i <= 5; i++)
        fake_put(f->fake, "old", "a", i);
    start_host(f);
    pass_time(f, 5 * SECOND);
    stop_host(f);
    assert_int_equal(fake_sink_count(f->fake), 0);
    fake_new_stream(f->fake);
    fake_add_shard(f->fake, "new", NULL);
    fake_put(f->fake, "new", "a", 6);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, MINUTE);
    assert_string_equal(fake_sink(f->fake), "count:5"); /* once; that of the new stream is still open */
    stop_host(f);
    start_host(f);
    pass_time(f, MINUTE);
    assert_int_equal(fake_sink_count(f->fake), 1);
}

static void an_old_stream_that_is_gone_is_left_with_a_gap(void **state)
{
    struct fixture *f = *state;
    fake_add_shard(f->fake, "old", NULL);
    fake_put(f->fake, "old", "a", 1);
    start_host(f);
    wait_for_sink(f, 1);
    pass_time(f, 3 * SECOND);
    kill_host(f);
    fake_new_stream(f->fake);
    fake_drop_old_stream(f->fake);
    fake_add_shard(f->fake, "new", NULL);
    fake_put(f->fake, "new", "a", 2);
    start_host(f);
    wait_for_sink(f, 2);
    assert_true(log_says(f, "the stream was gone before it was read to its end"));
}

/* ---- start = latest ---- */

static void latest_applies_once_and_never_to_children_or_after_a_restart(void **state)
{
    struct fixture *f = *state;
    remake(f, "start = latest", NULL);
    fake_add_shard(f->fake, "closed", NULL);
    fake_put(f->fake, "closed", "old", 1);
    fake_close_shard(f->fake, "closed");
    fake_add_shard(f->fake, "open", NULL);
    fake_put(f->fake, "open", "old", 2);
    pass_time(f, 0);
    f->world.now_ms += HOUR;
    start_host(f);
    pass_time(f, 5 * SECOND);
    assert_int_equal(fake_sink_count(f->fake), 0);
    kill_host(f); /* before the first checkpoint */
    f->world.now_ms += MINUTE;
    fake_put(f->fake, "open", "new", 1);
    start_host(f);
    wait_for_sink(f, 1);
    fake_put(f->fake, "open", "new", 2);
    fake_close_shard(f->fake, "open");
    fake_add_shard(f->fake, "child", "open");
    fake_put(f->fake, "child", "new", 3);
    fake_add_shard(f->fake, "late-child", "closed");
    fake_put(f->fake, "late-child", "late", 1);
    wait_for_sink(f, 4);
    assert_null(strstr(fake_sink(f->fake), "old"));
    assert_non_null(strstr(fake_sink(f->fake), "new:1"));
    assert_non_null(strstr(fake_sink(f->fake), "late:1"));
    assert_true(strstr(fake_sink(f->fake), "new:2") < strstr(fake_sink(f->fake), "new:3"));
}

int main(void)
{
#define UNIT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        UNIT(a_child_shard_waits_for_its_parent),
        UNIT(a_child_waits_until_its_parents_last_record_is_settled_not_just_read),
        UNIT(a_grandchild_after_a_kill_still_waits),
        UNIT(a_parent_that_has_vanished_counts_as_finished),
        UNIT(children_that_appear_late_are_found),
        UNIT(a_parent_listed_as_open_beside_its_child_is_read_to_its_end),
        UNIT(all_pages_of_the_listing_are_read),
        UNIT(a_shard_missing_from_one_listing_is_not_forgotten),
        UNIT(an_expired_iterator_is_replaced_behind_the_last_record),
        UNIT(an_iterator_that_expires_before_anything_was_read_is_replaced),
        UNIT(iterators_that_are_no_good_are_not_asked_for_without_a_pause),
        UNIT(what_fails_to_load_in_a_worker_is_told_and_looked_at_again),
        UNIT(an_iterator_is_renewed_before_it_expires_while_reading_is_paused),
        UNIT(what_was_lost_while_stopped_stops_too),
        UNIT(only_shards_that_are_ones_own_are_read),
        UNIT(what_runs_in_a_shard_that_is_lost_is_given_up),
        UNIT(a_shard_that_is_lost_while_the_host_stops_holds_nothing_up),
        UNIT(a_gap_is_logged_counted_and_kept_and_reading_goes_on),
        UNIT(a_gap_while_reading_is_noticed_too),
        UNIT(a_shard_that_vanishes_while_it_is_read_is_finished_with_a_gap),
        UNIT(throttling_backs_off_and_loses_nothing),
        UNIT(readers_that_were_refused_together_do_not_come_back_together),
        UNIT(who_is_behind_is_served_though_others_are_stuck),
        UNIT(what_was_read_is_kept_for_status),
        UNIT(every_operation_may_fail_or_lose_its_answer),
        UNIT(a_lost_answer_of_a_handlers_call_is_repeated),
        UNIT(an_idle_shard_is_polled_at_poll_max_and_a_busy_one_at_once),
        UNIT(different_items_overlap_up_to_concurrency),
        UNIT(an_old_stream_is_finished_before_the_new_one_is_followed),
        UNIT(a_window_is_closed_when_its_stream_has_ended),
        UNIT(an_old_stream_that_is_gone_is_left_with_a_gap),
        UNIT(latest_applies_once_and_never_to_children_or_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
