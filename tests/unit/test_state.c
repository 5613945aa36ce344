/* test_state.c: what the store promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/store_open.h"
#include "core/world.h"

#define PATH "/tmp/tidemill-test-state.db"

static const char path[] = PATH, uri[] = "sqlite:" PATH;

struct fixture {
    struct world world;
    struct log *log;
    struct store *store;
    int completions, errors;
    struct store_snapshot *snapshot;
    enum claim claim;
    char result[64];
};

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char name[128];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void open_it(struct fixture *f)
{
    struct err err;
    f->store = store_open(f->world.reactor, uri, &(struct store_options){.group = "g", .log = f->log}, &err);
    if (!f->store)
        fail_msg("%s", err.text);
}

static void make(struct fixture *f)
{
    *f = (struct fixture){0};
    remove_files();
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->log = log_new(2, LOG_TEXT, LOG_ERROR, &f->world.clock);
    open_it(f);
}

static void finish(struct fixture *f)
{
    store_free(f->store);
    store_snapshot_free(f->snapshot);
    world_fini(&f->world);
    log_free(f->log);
    remove_files();
}

static struct store_batch *checkpoint(const char *shard, const char *sequence)
{
    struct store_batch *batch = store_batch_new();
    struct store_checkpoint row = {"h", "arn", shard, {.kind = POSITION_AFTER}, ""};
    sequence_copy(row.position.sequence, sequence);
    store_put_checkpoint(batch, &row);
    return batch;
}

static void on_done(void *user, const struct err *err)
{
    struct fixture *f = user;
    f->completions++;
    f->errors += err != NULL;
}

static void on_done_commit_another(void *user, const struct err *err)
{
    struct fixture *f = user;
    on_done(user, err);
    store_commit(f->store, checkpoint("second", "2"), on_done, f);
}

static void on_loaded(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct fixture *f = user;
    (void)err;
    store_snapshot_free(f->snapshot);
    f->snapshot = snapshot;
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 10; i++)
        reactor_turn(f->world.reactor, 0);
}

static void reload(struct fixture *f)
{
    store_load(f->store, &(struct store_query){.what = STORE_ALL}, on_loaded, f);
    turn(f);
    assert_non_null(f->snapshot);
}

static void what_is_committed_from_a_completion_is_written_too(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    store_commit(f.store, checkpoint("first", "1"), on_done_commit_another, &f);
    turn(&f);
    assert_int_equal(f.completions, 2);
    reload(&f);
    assert_int_equal(f.snapshot->checkpoint_count, 2);
    finish(&f);
}

static void batches_and_reads_keep_their_order(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    store_commit(f.store, checkpoint("a", "1"), on_done, &f);
    store_load(f.store, &(struct store_query){.what = STORE_ALL}, on_loaded, &f);
    store_commit(f.store, checkpoint("a", "2"), on_done, &f);
    turn(&f);
    assert_int_equal(f.completions, 2);
    assert_string_equal(f.snapshot->checkpoints[0].position.sequence, "1");
    reload(&f);
    assert_string_equal(f.snapshot->checkpoints[0].position.sequence, "2");
    finish(&f);
}

static void what_waits_when_the_store_is_closed_is_told_so(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    store_commit(f.store, checkpoint("a", "1"), on_done, &f);
    store_free(f.store);
    assert_int_equal(f.completions, 1);
    assert_int_equal(f.errors, 1);
    open_it(&f);
    reload(&f);
    assert_int_equal(f.snapshot->checkpoint_count, 0);
    finish(&f);
}

static void on_claimed(void *user, enum claim claim, const char *result, int64_t expires_ms,
                       const struct err *err)
{
    struct fixture *f = user;
    (void)expires_ms;
    assert_null(err);
    f->claim = claim;
    snprintf(f->result, sizeof f->result, "%s", result);
}

static enum claim claim_at(struct fixture *f, const char *key, int64_t now_ms)
{
    store_claim(f->store, &(struct store_claim){"h", key, "test", now_ms, now_ms + 100}, on_claimed, f);
    turn(f);
    return f->claim;
}

static void a_claim_is_won_once_until_it_expires_or_is_done(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    assert_int_equal(claim_at(&f, "k", 1000), CLAIM_WON);
    assert_int_equal(claim_at(&f, "k", 1050), CLAIM_BUSY);
    assert_int_equal(claim_at(&f, "other", 1050), CLAIM_WON);
    assert_int_equal(claim_at(&f, "k", 1100), CLAIM_WON); /* whoever had it was not heard of again */
    struct store_batch *batch = store_batch_new();
    store_put_marker(batch, &(struct store_marker){"h", "k", "[1]", 5000, NULL});
    store_commit(f.store, batch, on_done, &f);
    turn(&f);
    assert_int_equal(claim_at(&f, "k", 1300), CLAIM_DONE);
    assert_string_equal(f.result, "[1]");
    assert_int_equal(claim_at(&f, "k", 5000), CLAIM_WON);
    batch = store_batch_new();
    store_put_marker(batch, &(struct store_marker){"h", "k", NULL, 0, NULL});
    store_commit(f.store, batch, on_done, &f);
    turn(&f);
    assert_int_equal(claim_at(&f, "k", 5001), CLAIM_WON);
    finish(&f);
}

static void a_second_host_is_refused(void **state)
{
    struct err err;
    (void)state;
    remove_files();
    struct store_lock *first = store_lock(uri, &err);
    assert_non_null(first);
    assert_null(store_lock(uri, &err));
    assert_int_equal(err.code, ERR_BUSY);
    store_unlock(first);
    first = store_lock(uri, &err);
    assert_non_null(first);
    store_unlock(first);
    remove_files();
}

static void a_store_of_no_known_kind_is_refused(void **state)
{
    struct err err;
    struct world world;
    (void)state;
    world_init(&world);
    world_add_reactor(&world);
    for (int i = 0; i < 4; i++) {
        static const char *const uris[] = {"postgres:somewhere", "sqlite", "", "sqlitex:a"};
        assert_null(store_open(world.reactor, uris[i], &(struct store_options){.group = "g"}, &err));
        assert_non_null(strstr(err.text, "there is no store for"));
        assert_null(store_lock(uris[i], &err));
        assert_false(store_in_use(uris[i]));
    }
    assert_null(store_open(world.reactor, "sqlite:/nowhere/at.all",
                           &(struct store_options){.group = "g", .must_exist = true}, &err));
    assert_non_null(strstr(err.text, "/nowhere/at.all: there is no state yet"));
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_of_no_known_kind_is_refused),
        cmocka_unit_test(what_is_committed_from_a_completion_is_written_too),
        cmocka_unit_test(batches_and_reads_keep_their_order),
        cmocka_unit_test(what_waits_when_the_store_is_closed_is_told_so),
        cmocka_unit_test(a_claim_is_won_once_until_it_expires_or_is_done),
        cmocka_unit_test(a_second_host_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
