/* test_store_dynamodb.c: the store in a table against the store in a file: whatever is written to both, both
 * say the same, though the table's answers are lost, refused and late; and what only a shared table has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "lease/coordinator.h"
#include "state/dynamodb/lease_rows.h"
#include "state/dynamodb/seeks.h"
#include "state/dynamodb/notes.h"
#include "state/dynamodb/shard_rows.h"
#include "state/dynamodb/state_table.h"
#include "state/dynamodb/store_dynamodb.h"
#include "state/store_open.h"
#include "state_service.h"

#define ARN "arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/1"
#define SHARDS 3

/* One thread, and large texts: nothing for ThreadSanitizer to find, and a hundred times as slow with it. */
#ifdef __SANITIZE_THREAD__
#define SEEDS_AT_MOST 1
#define ROUNDS 2
#else
#define SEEDS_AT_MOST 1000
#define ROUNDS 12
#endif
#define FILE_PATH "/tmp/tidemill-test-store-dynamodb.db"

struct fixture {
    struct state_service service;
    uint64_t random;
    int faults; /* so many of a thousand answers are lost, or none, or refused */
    struct lease_table *rows;
    struct coordinator *coordinator;
    struct calls *calls;
    struct shard_rows *shards;
    struct timer timer;
    int gained;
    bool created;
    struct store *store, *file;
    struct store_snapshot *snapshot;
    int done, failed;
    enum claim claim;
    char *result;
    int requests; /* that reached the table */
};

static uint64_t draw(struct fixture *f)
{
    return hash_mix(f->random += 0x9e3779b97f4a7c15u);
}

static int below(struct fixture *f, int limit)
{
    return (int)(draw(f) % (unsigned)limit);
}

static void on_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    if (f->faults && below(f, 1000) < f->faults) {
        switch (below(f, 4)) {
        case 0: /* lost on its way there */
            return;
        case 1:
            answer->status = 400;
            buf_add_text(&answer->body,
                         "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ThrottlingException\"}");
            return;
        case 2:
            answer->status = 500;
            buf_add_text(&answer->body,
                         "{\"__type\":\"com.amazonaws.dynamodb.v20120810#InternalServerError\"}");
            return;
        default:
            answer->lost = true;
        }
    }
    if (f->faults)
        answer->delay_ms = below(f, 200);
    f->requests++;
    state_service_answer(&f->service, request, answer);
}

/* ---- a host's coordinator, as the store needs it ---- */

static void on_shard_gained(void *user, const char *stream, const char *shard,
                            struct store_snapshot *snapshot)
{
    struct fixture *f = user;
    (void)stream;
    (void)shard;
    f->gained++;
    store_snapshot_free(snapshot);
}

static void on_gained(void *user, const struct lease_row *row)
{
    struct fixture *f = user;
    if (strcmp(row->shard, LEASE_STREAM_ROW) != 0)
        shard_rows_gained(f->shards, row, on_shard_gained, f);
}

static void on_lost(void *user, const char *stream, const char *shard)
{
    struct fixture *f = user;
    shard_rows_lost(f->shards, stream, shard);
}

static void on_shard(void *user, const char *stream, const char *shard)
{
    (void)user;
    (void)stream;
    (void)shard;
}

static void on_parent(void *user, const char *stream, const char *shard, const char *parent,
                      const struct lease_row *row)
{
    (void)user;
    (void)stream;
    (void)shard;
    (void)parent;
    (void)row;
}

static void on_held(void *user, bool held)
{
    (void)user;
    (void)held;
}

static void on_nothing(void *user)
{
    (void)user;
}

static const struct coordinator_events events = {.gained = on_gained,
                                                 .lost = on_lost,
                                                 .given = on_shard,
                                                 .drain = on_shard,
                                                 .undrain = on_shard,
                                                 .parent = on_parent,
                                                 .held = on_held,
                                                 .no_table = on_nothing,
                                                 .left = on_nothing};

static int64_t own_now(void *user)
{
    return ((struct fixture *)user)->service.world.now_ms;
}

static int64_t own_wall(void *user)
{
    return clock_wall_ms(&((struct fixture *)user)->service.world.clock);
}

static uint64_t own_random(void *user)
{
    return draw(user);
}

static void turn(void *user)
{
    static const char *const none[2] = {NULL, NULL};
    struct fixture *f = user;
    char shard[32];
    coordinator_turn(f->coordinator);
    for (int i = 0; i < SHARDS && !f->created && *coordinator_session(f->coordinator); i++) {
        snprintf(shard, sizeof shard, "shardId-%d", i);
        coordinator_create(f->coordinator, ARN, shard, none, NULL, NULL);
    }
    f->created = f->created || *coordinator_session(f->coordinator);
    timer_set(f->service.world.reactor, &f->timer, 50);
}

static bool all_gained(void *user)
{
    return ((struct fixture *)user)->gained == SHARDS;
}

static void open_store(struct fixture *f)
{
    f->store = store_dynamodb_new(&(struct store_dynamodb_options){.client = f->service.client,
                                                                   .reactor = f->service.world.reactor,
                                                                   .log = f->service.log,
                                                                   .table = "State",
                                                                   .group = "a/group",
                                                                   .writer = shard_rows_writer(f->shards)});
}

static void begin_host(struct fixture *f)
{
    f->gained = 0;
    f->rows = lease_rows_new(f->service.client, "State", "a/group");
    f->coordinator = coordinator_new(&(struct coordinator_options){.table = f->rows,
                                                                   .name = "own",
                                                                   .version = "1",
                                                                   .fingerprint = "f",
                                                                   .lease_ms = 10000,
                                                                   .reactors = 1,
                                                                   .drain_ms = 5000,
                                                                   .random = own_random,
                                                                   .now_ms = own_now,
                                                                   .wall_ms = own_wall,
                                                                   .events = &events,
                                                                   .user = f});
    f->calls = calls_new(&(struct calls_options){.client = f->service.client,
                                                 .reactor = f->service.world.reactor,
                                                 .log = f->service.log,
                                                 .table = "State"});
    f->shards = shard_rows_new(f->calls, f->coordinator, "a/group");
    coordinator_follow(f->coordinator, ARN);
    timer_init(&f->timer, turn, f);
    timer_set(f->service.world.reactor, &f->timer, 0);
    open_store(f);
    assert_true(world_turn(&f->service.world, all_gained, f, 120000));
}

static void end_host(struct fixture *f)
{
    timer_stop(f->service.world.reactor, &f->timer);
    store_free(f->store);
    coordinator_free(f->coordinator);
    shard_rows_free(f->shards);
    calls_free(f->calls);
    lease_rows_free(f->rows);
}

static void remove_file(void)
{
    unlink(FILE_PATH);
    unlink(FILE_PATH "-wal");
    unlink(FILE_PATH "-shm");
}

static void make(struct fixture *f, uint64_t seed)
{
    struct err err;
    *f = (struct fixture){.random = seed};
    state_service_make(&f->service, on_request, f);
    remove_file();
    assert_true(state_table_prepare(&(struct state_table_options){.client = f->service.client,
                                                                  .reactor = f->service.world.reactor,
                                                                  .log = f->service.log,
                                                                  .name = "State",
                                                                  .create = true},
                                    &err));
    begin_host(f);
    f->file = store_open(f->service.world.reactor, "sqlite:" FILE_PATH,
                         &(struct store_options){.group = "g", .log = f->service.log}, &err);
    assert_non_null(f->file);
}

static void finish(struct fixture *f)
{
    end_host(f);
    store_free(f->file);
    store_snapshot_free(f->snapshot);
    free(f->result);
    state_service_fini(&f->service);
    remove_file();
}

/* ---- what is asked of a store ---- */

static bool nothing_left(void *user)
{
    struct fixture *f = user;
    return f->done == 0;
}

static void on_counted_down(void *user, const struct err *err)
{
    struct fixture *f = user;
    f->done--;
    f->failed += err != NULL;
}

static void settle(struct fixture *f)
{
    assert_true(world_turn(&f->service.world, nothing_left, f, 3600000));
    assert_int_equal(f->failed, 0);
}

static void commit(struct fixture *f, struct store *store, struct store_batch *batch)
{
    f->done++;
    store_commit(store, batch, on_counted_down, f);
}

static struct store_snapshot *load(struct fixture *f, struct store *store, const struct store_query *query)
{
    struct err err = {0};
    struct store_snapshot *snapshot = store_load_now(store, f->service.world.reactor, query, &err);
    if (!snapshot)
        fail_msg("%s", err.text);
    return snapshot;
}

/* Reads may be refused for good; they are tried again here as their users do. */
static struct store_snapshot *load_well(struct fixture *f, struct store *store,
                                        const struct store_query *query)
{
    int faults = f->faults;
    f->faults = 0;
    struct store_snapshot *snapshot = load(f, store, query);
    f->faults = faults;
    return snapshot;
}

/* ---- the two of them ---- */

#define LETTERS_MAX 400

static int64_t id_of(const struct store_snapshot *letters, const char *sequence)
{
    for (size_t i = 0; i < letters->letter_count; i++)
        if (strcmp(letters->letters[i].sequence, sequence) == 0)
            return letters->letters[i].id;
    return 0;
}

static const struct store_dead_letter *letter_of(const struct store_snapshot *letters, const char *sequence)
{
    for (size_t i = 0; i < letters->letter_count; i++)
        if (strcmp(letters->letters[i].sequence, sequence) == 0)
            return &letters->letters[i];
    return NULL;
}

static char *random_text(struct fixture *f, size_t size)
{
    char *text = mem_alloc(size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + below(f, 26));
    text[size] = '\0';
    return text;
}

/* Sizes on both sides of what stands in a row, and of a piece. */
static size_t random_size(struct fixture *f)
{
    static const size_t sizes[] = {0, 1, 100, 2048, 2049, 30000, 400000, 700000};
    return sizes[below(f, below(f, 4) ? 5 : 8)];
}

static void put_checkpoint(struct fixture *f, struct store_batch **batches)
{
    static const char *const handlers[] = {"h", "other.one", "häuser"};
    char shard[32];
    char *progress = random_text(f, random_size(f));
    struct store_checkpoint row = {
        .handler = handlers[below(f, 3)], .stream_arn = ARN, .shard = shard, .progress = progress};
    snprintf(shard, sizeof shard, "shardId-%d", below(f, SHARDS));
    row.position.kind = (enum position_kind)below(f, 4);
    if (row.position.kind == POSITION_AFTER)
        snprintf(row.position.sequence, sizeof row.position.sequence, "%d", below(f, 1000000));
    row.position.since_ms = below(f, 2) * 1700000000000;
    row.position.record_time_ms = below(f, 2) * 1700000000001;
    for (int i = 0; i < 2; i++)
        store_put_checkpoint(batches[i], &row);
    free(progress);
}

static void forget_checkpoints(struct fixture *f, struct store_batch **batches)
{
    static const char *const handlers[] = {"h", "other.one"};
    const char *handler = handlers[below(f, 2)];
    char shard[32] = "";
    bool all = below(f, 3) == 0;
    if (!all)
        snprintf(shard, sizeof shard, "shardId-%d", below(f, SHARDS));
    for (int i = 0; i < 2; i++)
        store_forget_checkpoints(batches[i], handler, all && below(f, 2) ? "" : ARN, shard);
}

static void put_letter(struct fixture *f, struct store_batch **batches)
{
    char sequence[32];
    static const size_t sizes[] = {10, 3000, 20000, 500000};
    char *error = random_text(f, (size_t)below(f, 50));
    int number = below(f, 30);
    struct fixture own = {.random = (uint64_t)number}; /* a record does not change */
    char *record = random_text(&own, sizes[number % 4]);
    snprintf(sequence, sizeof sequence, "%d", number);
    struct store_dead_letter letter = {
        .handler = number < 15 ? "h" : "g",
        .stream_arn = ARN,
        .shard = "shardId-0",
        .sequence = sequence,
        .event_id = "e",
        .version = "v",
        .table = "Orders",
        .keys = "{\"a\":1}",
        .record = record,
        .error = error,
        .traceback = "at line 1",
        .condition = "RetryAttemptsExhausted",
        .refused_by = below(f, 3) ? "" : "queue",
        .attempts = below(f, 9),
        .record_time_ms = 1700000000000 + number % 3 * 1000,
        .failed_ms = 1700000100000 + below(f, 100000),
    };
    for (int i = 0; i < 2; i++)
        store_put_dead_letter(batches[i], &letter);
    free(record);
    free(error);
}

/* What is done to letters that are there, by their numbers in each store. */
static void change_letter(struct fixture *f, struct store_batch **batches, struct store_snapshot **letters)
{
    char sequence[32];
    snprintf(sequence, sizeof sequence, "%d", below(f, 30));
    int what = below(f, 5);
    int64_t marked_ms = 1700000200000 + below(f, 1000);
    for (int i = 0; i < 2; i++) {
        int64_t id = id_of(letters[i], sequence);
        if (!id)
            return;
        struct store_dead_letter again = *letter_of(letters[i], sequence);
        again.error = "again";
        again.attempts = 7;
        again.failed_ms = 1700000300000;
        again.refused_by = marked_ms % 2 ? "" : "queue";
        if (what == 0)
            store_forget_dead_letter(batches[i], id);
        else if (what == 1)
            store_forget_redriven(batches[i], id);
        else if (what == 2)
            store_mark_dead_letter(batches[i], id, marked_ms);
        else if (what == 3)
            store_mark_dead_letter(batches[i], id, 0);
        else
            store_put_dead_letter(batches[i], &again);
    }
}

static void put_others(struct fixture *f, struct store_batch **batches)
{
    static const char *const handlers[] = {"h", "g"};
    const char *handler = handlers[below(f, 2)];
    int what = below(f, 6), number = below(f, 4), size = below(f, 3) ? 10 : 50000;
    char key[32], *result = random_text(f, (size_t)size);
    int64_t time_ms = 1700000000000 + (int64_t)(draw(f) % 100000000);
    snprintf(key, sizeof key, "key/%d", number);
    for (int i = 0; i < 2; i++) {
        struct store_batch *batch = batches[i];
        if (what == 0)
            store_put_follow(batch, &(struct store_follow){
                                        .stream = "table:Orders", .handler = handler, .stream_arn = ARN});
        else if (what == 1)
            store_put_event(batch, &(struct store_event){.kind = "gap",
                                                         .handler = handler,
                                                         .stream_arn = ARN,
                                                         .shard = key,
                                                         .from_sequence = "1",
                                                         .to_sequence = "",
                                                         .text = "lost",
                                                         .time_ms = time_ms});
        else if (what == 2 && number == 0)
            store_forget_events(batch, time_ms % 2 ? handler : "");
        else if (what == 3)
            store_put_marker(batch,
                             &(struct store_marker){handler, key, result, INT64_C(4000000000000), NULL});
        else if (what == 4)
            store_put_marker(batch,
                             &(struct store_marker){handler, key, NULL, 0, time_ms % 2 ? "own" : NULL});
        else
            store_answer_request(batch, number + 1, time_ms % 2, "done so");
    }
    free(result);
}

static int by_checkpoint(const void *a, const void *b)
{
    const struct store_checkpoint *left = a, *right = b;
    int order = strcmp(left->handler, right->handler);
    return order ? order : strcmp(left->shard, right->shard);
}

static int by_event(const void *a, const void *b)
{
    const struct store_event *left = a, *right = b;
    int order = strcmp(left->handler, right->handler);
    return order ? order : strcmp(left->shard, right->shard);
}

static int by_follow(const void *a, const void *b)
{
    return strcmp(((const struct store_follow *)a)->handler, ((const struct store_follow *)b)->handler);
}

static void sort(void *rows, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count)
        qsort(rows, count, size, compare);
}

static void compare_all(struct fixture *f)
{
    struct store *stores[2] = {f->store, f->file};
    struct store_snapshot *all[2];
    for (int i = 0; i < 2; i++) {
        all[i] = load_well(f, stores[i], &(struct store_query){0});
        sort(all[i]->checkpoints, all[i]->checkpoint_count, sizeof *all[i]->checkpoints, by_checkpoint);
        sort(all[i]->events, all[i]->event_count, sizeof *all[i]->events, by_event);
        sort(all[i]->follows, all[i]->follow_count, sizeof *all[i]->follows, by_follow);
    }
    assert_int_equal(all[0]->checkpoint_count, all[1]->checkpoint_count);
    for (size_t i = 0; i < all[0]->checkpoint_count; i++) {
        const struct store_checkpoint *a = &all[0]->checkpoints[i], *b = &all[1]->checkpoints[i];
        assert_string_equal(a->handler, b->handler);
        assert_string_equal(a->stream_arn, b->stream_arn);
        assert_string_equal(a->shard, b->shard);
        assert_int_equal(a->position.kind, b->position.kind);
        assert_string_equal(a->position.sequence, b->position.sequence);
        assert_int_equal(a->position.since_ms, b->position.since_ms);
        assert_int_equal(a->position.record_time_ms, b->position.record_time_ms);
        assert_string_equal(a->progress, b->progress);
    }
    assert_int_equal(all[0]->event_count, all[1]->event_count);
    for (size_t i = 0; i < all[0]->event_count; i++) {
        const struct store_event *a = &all[0]->events[i], *b = &all[1]->events[i];
        assert_string_equal(a->handler, b->handler);
        assert_string_equal(a->shard, b->shard);
        assert_string_equal(a->text, b->text);
        assert_int_equal(a->time_ms, b->time_ms);
    }
    assert_int_equal(all[0]->follow_count, all[1]->follow_count);
    assert_int_equal(all[0]->dead_count, all[1]->dead_count);
    for (size_t i = 0; i < all[0]->dead_count; i++) {
        assert_string_equal(all[0]->dead[i].handler, all[1]->dead[i].handler);
        assert_int_equal(all[0]->dead[i].count, all[1]->dead[i].count);
    }
    for (int i = 0; i < 2; i++)
        store_snapshot_free(all[i]);
}

static void compare_letters(struct fixture *f, const struct store_query *query)
{
    struct store *stores[2] = {f->store, f->file};
    struct store_snapshot *all[2];
    for (int i = 0; i < 2; i++)
        all[i] = load_well(f, stores[i], query);
    assert_int_equal(all[0]->letter_count, all[1]->letter_count);
    for (size_t i = 0; i < all[0]->letter_count; i++) {
        const struct store_dead_letter *a = &all[0]->letters[i], *b = letter_of(all[1], a->sequence);
        assert_non_null(b);
        assert_true(!i || a->id > all[0]->letters[i - 1].id);
        assert_string_equal(a->handler, b->handler);
        assert_string_equal(a->shard, b->shard);
        assert_string_equal(a->keys, b->keys);
        assert_string_equal(a->record, b->record);
        assert_string_equal(a->error, b->error);
        assert_string_equal(a->traceback, b->traceback);
        assert_string_equal(a->condition, b->condition);
        assert_string_equal(a->refused_by, b->refused_by);
        assert_string_equal(a->version, b->version);
        assert_int_equal(a->attempts, b->attempts);
        assert_int_equal(a->record_time_ms, b->record_time_ms);
        assert_int_equal(a->failed_ms, b->failed_ms);
        assert_int_equal(a->redrive_ms, b->redrive_ms);
    }
    for (int i = 0; i < 2; i++)
        store_snapshot_free(all[i]);
}

static void compare_others(struct fixture *f)
{
    struct store *stores[2] = {f->store, f->file};
    for (int kind = 0; kind < 3; kind++) {
        struct store_query query = {.what = kind == 2 ? STORE_REQUESTS : STORE_MARKERS,
                                    .handler = kind ? "h" : "g"};
        struct store_snapshot *all[2] = {load_well(f, stores[0], &query), load_well(f, stores[1], &query)};
        assert_int_equal(all[0]->marker_count, all[1]->marker_count);
        for (size_t i = 0; i < all[0]->marker_count; i++) {
            size_t at = 0;
            while (at < all[1]->marker_count && strcmp(all[0]->markers[i].key, all[1]->markers[at].key) != 0)
                at++;
            assert_int_not_equal(at, all[1]->marker_count);
            assert_string_equal(all[0]->markers[i].result, all[1]->markers[at].result);
            assert_int_equal(all[0]->markers[i].expires_ms, all[1]->markers[at].expires_ms);
        }
        assert_int_equal(all[0]->request_count, all[1]->request_count);
        for (size_t i = 0; i < all[0]->request_count; i++) {
            assert_int_equal(all[0]->requests[i].id, all[1]->requests[i].id);
            assert_string_equal(all[0]->requests[i].argument, all[1]->requests[i].argument);
        }
        store_snapshot_free(all[0]);
        store_snapshot_free(all[1]);
    }
}

static void live(struct fixture *f, int rounds)
{
    struct store *stores[2] = {f->store, f->file};
    for (int i = 0; i < 2; i++) { /* whose shards are looked for is what handlers follow */
        struct store_batch *batch = store_batch_new();
        store_put_follow(batch,
                         &(struct store_follow){.stream = "table:Orders", .handler = "h", .stream_arn = ARN});
        commit(f, stores[i], batch);
    }
    for (int id = 1; id <= 5; id++)
        for (int i = 0; i < 2; i++) {
            struct store_batch *batch = store_batch_new();
            store_put_request(
                batch, &(struct store_request){
                           .id = id, .kind = "seek", .handler = "h", .shard = "", .argument = "latest"});
            commit(f, stores[i], batch);
        }
    for (int round = 0; round < rounds; round++) {
        struct store_snapshot *letters[2];
        settle(f);
        for (int i = 0; i < 2; i++)
            letters[i] =
                load_well(f, stores[i], &(struct store_query){.what = STORE_LETTERS, .limit = LETTERS_MAX});
        for (int many = below(f, 8); many >= 0; many--) {
            struct store_batch *batches[2] = {store_batch_new(), store_batch_new()};
            for (int writes = below(f, 4); writes >= 0; writes--) {
                int what = below(f, 10);
                if (what < 4)
                    put_checkpoint(f, batches);
                else if (what < 5)
                    forget_checkpoints(f, batches);
                else if (what < 7)
                    put_letter(f, batches);
                else
                    put_others(f, batches);
            }
            for (int i = 0; i < 2; i++)
                commit(f, stores[i], batches[i]);
        }
        settle(f);
        /* one at a time: of two that change one letter by its number, the file's has them in their order too
         */
        struct store_batch *batches[2] = {store_batch_new(), store_batch_new()};
        for (int writes = below(f, 4); writes >= 0; writes--)
            change_letter(f, batches, letters);
        for (int i = 0; i < 2; i++) {
            commit(f, stores[i], batches[i]);
            store_snapshot_free(letters[i]);
        }
        settle(f);
        compare_all(f);
        compare_letters(f, &(struct store_query){.what = STORE_LETTERS, .limit = LETTERS_MAX});
        compare_letters(f,
                        &(struct store_query){.what = STORE_LETTERS, .handler = "g", .limit = LETTERS_MAX});
        compare_letters(f,
                        &(struct store_query){.what = STORE_LETTERS, .error = "again", .limit = LETTERS_MAX});
        compare_letters(f, &(struct store_query){.what = STORE_MARKED, .limit = LETTERS_MAX});
        compare_letters(f,
                        &(struct store_query){.what = STORE_REFUSED, .handler = "h", .limit = LETTERS_MAX});
        compare_others(f);
    }
}

/* Rows under this beginning of a partition key, as the service has them. */
static int rows_under(struct fixture *f, const char *prefix)
{
    cJSON *last = NULL;
    int count = 0;
    do {
        struct engine_reply reply = {0};
        struct buf request = BUF_INIT;
        struct err err;
        const cJSON *item;
        cJSON *body = cJSON_CreateObject();
        document_add_text(body, "TableName", "State");
        if (last)
            cJSON_AddItemToObject(body, "ExclusiveStartKey", last);
        document_write(body, &request);
        engine_call(f->service.engine,
                    &(struct engine_request){"DynamoDB_20120810.Scan", request.data, request.size, NULL},
                    &reply);
        body = document_read(reply.body.data, reply.body.size, &err);
        assert_non_null(body);
        cJSON_ArrayForEach(item, document_get(body, "Items")) count +=
            strncmp(item_text(item, "pk"), prefix, strlen(prefix)) == 0;
        last = cJSON_DetachItemFromObject(body, "LastEvaluatedKey");
        cJSON_Delete(body);
        buf_fini(&reply.body);
        buf_fini(&request);
    } while (last);
    return count;
}

static bool never(void *user)
{
    (void)user;
    return false;
}

/* When all that it belongs to is gone, nothing is left of it. */
static void forget_everything(struct fixture *f)
{
    static const char *const handlers[] = {"h", "other.one", "häuser"};
    struct store_batch *batch = store_batch_new();
    struct store_snapshot *letters =
        load(f, f->store, &(struct store_query){.what = STORE_LETTERS, .limit = LETTERS_MAX});
    assert_true(rows_under(f, "g/a%2Fgroup/l/") > 0);
    for (int i = 0; i < 3; i++)
        store_forget_checkpoints(batch, handlers[i], "", "");
    for (size_t i = 0; i < letters->letter_count; i++)
        store_forget_dead_letter(batch, letters->letters[i].id);
    store_snapshot_free(letters);
    commit(f, f->store, batch);
    settle(f);
    store_snapshot_free(load(f, f->store, &(struct store_query){.what = STORE_MARKED}));
    store_snapshot_free(load(f, f->store, &(struct store_query){.what = STORE_REFUSED, .handler = "h"}));
    world_turn(&f->service.world, never, f, 5000);
    static const char *const gone[] = {"g/a%2Fgroup/l", "g/a%2Fgroup/b/", "g/a%2Fgroup/p/"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(rows_under(f, gone[i]), 0);
    struct store_snapshot *all = load(f, f->store, &(struct store_query){0});
    assert_int_equal(all->checkpoint_count, 0);
    assert_int_equal(all->dead_count, 0);
    store_snapshot_free(all);
}

static void both_say_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4 && seed <= SEEDS_AT_MOST; seed++) {
        struct fixture f;
        make(&f, seed);
        live(&f, ROUNDS);
        forget_everything(&f);
        finish(&f);
    }
}

static void both_say_the_same_whatever_the_table_does(void **state)
{
    (void)state;
    for (uint64_t seed = 101; seed <= 106 && seed <= 100 + SEEDS_AT_MOST; seed++) {
        struct fixture f;
        make(&f, seed);
        f.faults = 150;
        live(&f, ROUNDS);
        f.faults = 0;
        /* What unfinished writes have left goes when the shards come to a host again. */
        end_host(&f);
        begin_host(&f);
        compare_all(&f);
        forget_everything(&f);
        finish(&f);
    }
}

/* ---- what a shared table has beside that ---- */

static void on_claimed(void *user, enum claim claim, const char *result, int64_t expires_ms,
                       const struct err *err)
{
    struct fixture *f = user;
    (void)expires_ms;
    assert_null(err);
    free(f->result);
    f->result = mem_string(result);
    f->claim = claim;
    f->done--;
}

static enum claim claim_by(struct fixture *f, const char *owner, const char *key, int64_t now_ms)
{
    f->done++;
    store_claim(f->store, &(struct store_claim){"h", key, owner, now_ms, now_ms + 100}, on_claimed, f);
    settle(f);
    return f->claim;
}

static void finish_claim(struct fixture *f, const char *key, const char *result, const char *owner)
{
    struct store_batch *batch = store_batch_new();
    store_put_marker(batch, &(struct store_marker){"h", key, result, 5000, owner});
    commit(f, f->store, batch);
    settle(f);
}

static void a_claim_is_won_once_whatever_the_table_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20 && seed <= SEEDS_AT_MOST; seed++) {
        struct fixture f;
        char *large = NULL;
        make(&f, seed);
        f.faults = 300;
        large = random_text(&f, 50000);
        assert_int_equal(claim_by(&f, "a", "k", 1000), CLAIM_WON);
        assert_int_equal(claim_by(&f, "a", "k", 1050), CLAIM_BUSY);
        assert_int_equal(claim_by(&f, "b", "other", 1050), CLAIM_WON);
        assert_int_equal(claim_by(&f, "b", "k", 1100), CLAIM_WON); /* its time was over */
        finish_claim(&f, "k", NULL, "a");                          /* too late: it is another's */
        assert_int_equal(claim_by(&f, "a", "k", 1101), CLAIM_BUSY);
        finish_claim(&f, "k", "[1]", NULL);
        assert_int_equal(claim_by(&f, "a", "k", 1300), CLAIM_DONE);
        assert_string_equal(f.result, "[1]");
        finish_claim(&f, "k", NULL, "b"); /* done: not any owner's to give up */
        assert_int_equal(claim_by(&f, "a", "k", 1300), CLAIM_DONE);
        finish_claim(&f, "k", large, NULL);
        f.faults = 0; /* a result may not be readable now, and that is told */
        assert_int_equal(claim_by(&f, "a", "k", 1300), CLAIM_DONE);
        assert_string_equal(f.result, large);
        f.faults = 300;
        assert_int_equal(claim_by(&f, "a", "k", 5000), CLAIM_WON);
        finish_claim(&f, "k", NULL, "");
        assert_int_equal(claim_by(&f, "a", "k", 5001), CLAIM_WON);
        f.faults = 0;
        free(large);
        finish(&f);
    }
}

static void put_item(struct fixture *f, const char *body)
{
    struct engine_reply reply = {0};
    engine_call(f->service.engine,
                &(struct engine_request){"DynamoDB_20120810.PutItem", body, strlen(body), NULL}, &reply);
    assert_int_equal(reply.status, 200);
    buf_fini(&reply.body);
}

/* Another host's claim is free when his row says that he is dead, and not before, however long he is silent.
 */
static void a_claim_of_a_host_is_free_when_its_death_is_written(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1);
    struct store *other =
        store_dynamodb_new(&(struct store_dynamodb_options){.client = f.service.client,
                                                            .reactor = f.service.world.reactor,
                                                            .log = f.service.log,
                                                            .table = "State",
                                                            .group = "a/group"});
    f.done++;
    store_claim(other, &(struct store_claim){"h", "k", "host:other2/7", 1000, 100000}, on_claimed, &f);
    settle(&f);
    assert_int_equal(f.claim, CLAIM_WON);
    assert_int_equal(claim_by(&f, "host:own1/3", "k", 2000), CLAIM_BUSY); /* no row at all: not dead */
    put_item(&f, "{\"TableName\":\"State\",\"Item\":{\"pk\":{\"S\":\"g/a%2Fgroup/h\"},"
                 "\"sk\":{\"S\":\"other#2\"},\"inst\":{\"S\":\"other2\"},\"b\":{\"S\":\"1\"}}}");
    assert_int_equal(claim_by(&f, "host:own1/3", "k", 3000), CLAIM_BUSY);
    put_item(&f, "{\"TableName\":\"State\",\"Item\":{\"pk\":{\"S\":\"g/a%2Fgroup/h\"},"
                 "\"sk\":{\"S\":\"other#2\"},\"inst\":{\"S\":\"other2\"},\"b\":{\"S\":\"1\"},\"dead\":{\"S\":"
                 "\"marked\"}}}");
    put_item(&f, "{\"TableName\":\"State\",\"Item\":{\"pk\":{\"S\":\"g/a%2Fgroup/h\"},"
                 "\"sk\":{\"S\":\"other#1\"},\"inst\":{\"S\":\"other2\"},\"b\":{\"S\":\"1\"}}}");
    assert_int_equal(claim_by(&f, "host:own1/3", "k", 3500), CLAIM_BUSY); /* another session of it lives */
    put_item(&f, "{\"TableName\":\"State\",\"Item\":{\"pk\":{\"S\":\"g/a%2Fgroup/h\"},"
                 "\"sk\":{\"S\":\"other#1\"},\"inst\":{\"S\":\"other2\"},\"b\":{\"S\":\"1\"},\"dead\":{\"S\":"
                 "\"left\"}}}");
    assert_int_equal(claim_by(&f, "host:own1/3", "k", 4000), CLAIM_WON);
    assert_int_equal(claim_by(&f, "host:own1/3", "k", 4001),
                     CLAIM_BUSY); /* his own: of a call that still runs */
    /* A command's: its process is gone, or not one of this machine. */
    char owner[STORE_OWNER_SIZE];
    store_process_owner(owner);
    assert_int_equal(claim_by(&f, owner, "p", 1000), CLAIM_WON);
    assert_int_equal(claim_by(&f, "a", "p", 1001), CLAIM_BUSY);
    strrchr(owner, ':')[1] = '\0'; /* began at another time */
    assert_int_equal(claim_by(&f, owner, "q", 1000), CLAIM_WON);
    assert_int_equal(claim_by(&f, "a", "q", 1001), CLAIM_WON);
    assert_int_equal(claim_by(&f, "process:another-boot:1:1", "r", 1000), CLAIM_WON);
    assert_int_equal(claim_by(&f, "a", "r", 1001), CLAIM_BUSY);
    store_free(other);
    finish(&f);
}

static bool is_own(const void *user, const char *stream, const char *shard)
{
    (void)user;
    (void)stream;
    return strcmp(shard, "own") == 0;
}

static void notes_are_what_is_so_now(void **state)
{
    struct notes notes = {0};
    struct store_batch *batch = store_batch_new();
    (void)state;
    store_put_trouble(batch, &(struct store_trouble){"handler h", "record", "why", 1, 2, 3});
    store_put_shard(batch, &(struct store_shard){.stream_arn = ARN, .shard = "own", .records = 7});
    store_put_shard(batch, &(struct store_shard){.stream_arn = ARN, .shard = "lost", .records = 8});
    notes_add(&notes, batch);
    notes_add_hand_over(&notes, &(struct store_hand_over){ARN, "own", "a#1", "b#2", 5});
    char *texts[2] = {notes_write(&notes, is_own, NULL)};
    store_batch_free(batch);
    batch = store_batch_new();
    store_forget_trouble(batch, "handler h", "record");
    notes_add(&notes, batch);
    notes_forget_hand_overs(&notes);
    texts[1] = notes_write(&notes, is_own, NULL);
    struct store_snapshot *all = mem_zero(sizeof *all);
    notes_read((const char *const *)texts, (const char *const[]){"a#1", "a#1"}, 1, all);
    assert_int_equal(all->trouble_count, 1);
    assert_string_equal(all->troubles[0].text, "why");
    assert_int_equal(all->shard_count, 1);
    assert_int_equal(all->shards[0].records, 7);
    assert_int_equal(all->hand_over_count, 1);
    assert_string_equal(all->hand_overs[0].from, "a#1");
    assert_string_equal(all->hand_overs[0].to, "b#2");
    store_snapshot_free(all);
    all = mem_zero(sizeof *all);
    notes_read((const char *const *)&texts[1], (const char *const[]){"a#1"}, 1, all);
    assert_int_equal(all->trouble_count + all->hand_over_count, 0);
    assert_int_equal(all->shard_count, 1);
    store_snapshot_free(all);
    store_batch_free(batch);
    notes_fini(&notes);
    free(texts[0]);
    free(texts[1]);
}

static struct store_batch *letter_batch(const char *sequence, const char *error)
{
    struct store_batch *batch = store_batch_new();
    store_put_dead_letter(batch, &(struct store_dead_letter){.handler = "h",
                                                             .stream_arn = ARN,
                                                             .shard = "s",
                                                             .sequence = sequence,
                                                             .keys = "{}",
                                                             .record = sequence,
                                                             .error = error,
                                                             .record_time_ms = 1700000000000});
    return batch;
}

/* As letters.c makes a number of it. */
static unsigned long digest_bits(int sequence)
{
    char text[32], digest[ITEM_DIGEST_SIZE];
    snprintf(text, sizeof text, "%d", sequence);
    item_digest((const char *const[]){"h", ARN, "s", text, NULL}, digest);
    digest[8] = '\0';
    return strtoul(digest, NULL, 16) >> 9;
}

static int by_number(const void *a, const void *b)
{
    const unsigned long *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* 23 bits of a digest, and a second: among 20,000 letters of one second some have one number. Those, and some
 * that have their own. Returns how many. */
static int choose_sequences(int *sequences, int own)
{
    enum { MANY = 20000 };
    unsigned long *bits = mem_alloc(MANY * sizeof *bits), *sorted = mem_alloc(MANY * sizeof *sorted);
    int count = 0;
    for (int i = 0; i < MANY; i++)
        sorted[i] = bits[i] = digest_bits(i);
    qsort(sorted, MANY, sizeof *sorted, by_number);
    for (int i = 0; i < MANY; i++) {
        const unsigned long *at = bsearch(&bits[i], sorted, MANY, sizeof *sorted, by_number);
        bool shared = (at > sorted && at[-1] == *at) || (at < sorted + MANY - 1 && at[1] == *at);
        if (shared || own-- > 0)
            sequences[count++] = i;
    }
    free(bits);
    free(sorted);
    return count;
}

static void letters_of_one_number_are_all_kept(void **state)
{
    enum { OWN = 100, PAGE = 7 };
    struct fixture f;
    int sequences[OWN + 1000];
    char sequence[32];
    (void)state;
    make(&f, 1);
    int many = choose_sequences(sequences, OWN);
    assert_in_range(many, OWN + 20, OWN + 1000);
    for (int round = 0; round < 2; round++) { /* kept again, each is the one that is there */
        for (int i = 0; i < many; i++) {
            snprintf(sequence, sizeof sequence, "%d", sequences[i]);
            commit(&f, f.store, letter_batch(sequence, round ? "second" : "first"));
        }
        settle(&f);
        assert_int_equal(rows_under(&f, "g/a%2Fgroup/l/"), many);
    }
    /* Page by page each comes once. */
    int64_t after = 0;
    int count = 0;
    for (bool more = true; more;) {
        struct store_snapshot *page =
            load(&f, f.store, &(struct store_query){.what = STORE_LETTERS, .after_id = after, .limit = PAGE});
        more = page->letter_count == PAGE;
        for (size_t i = 0; i < page->letter_count; i++) {
            assert_true(page->letters[i].id > after && page->letters[i].id < (int64_t)1 << 53);
            after = page->letters[i].id;
            count++;
            assert_string_equal(page->letters[i].error, "second");
            assert_string_equal(page->letters[i].record, page->letters[i].sequence);
        }
        store_snapshot_free(page);
    }
    assert_int_equal(count, many);
    finish(&f);
}

static struct store_batch *checkpoint_batch(const char *shard, const char *sequence, size_t size)
{
    struct store_batch *batch = store_batch_new();
    struct store_checkpoint row = {"h", ARN, shard, {.kind = POSITION_AFTER}, NULL};
    char *progress = mem_zero(size + 1);
    memset(progress, 'x', size);
    row.progress = progress;
    sequence_copy(row.position.sequence, sequence);
    store_put_checkpoint(batch, &row);
    free(progress);
    return batch;
}

static void on_told(void *user, const struct err *err)
{
    struct fixture *f = user;
    f->done--;
    f->failed += err != NULL;
    assert_true(!err || err->code == ERR_CANCELLED);
}

static void on_not_loaded(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    (void)user;
    assert_null(snapshot);
    assert_int_equal(err->code, ERR_CANCELLED);
}

/* Of a shard that another host has, nothing is written; of one row the later batch wins, though the earlier
 * one has more to put there; who closes the store is told what was not written. */
static void what_is_not_written_is_told(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 1);
    struct store_batch *follow = store_batch_new();
    store_put_follow(follow,
                     &(struct store_follow){.stream = "table:Orders", .handler = "h", .stream_arn = ARN});
    commit(&f, f.store, follow);
    commit(&f, f.store, checkpoint_batch("shardId-1", "1", 100000));
    commit(&f, f.store, checkpoint_batch("shardId-1", "2", 0));
    settle(&f);
    struct store_snapshot *all = load(&f, f.store, &(struct store_query){0});
    assert_int_equal(all->checkpoint_count, 1);
    assert_string_equal(all->checkpoints[0].position.sequence, "2");
    store_snapshot_free(all);
    f.done++;
    store_commit(f.store, checkpoint_batch("shardId-9", "1", 0), on_told, &f);
    assert_true(world_turn(&f.service.world, nothing_left, &f, 60000));
    assert_int_equal(f.failed, 1);
    f.done += 2;
    store_commit(f.store, checkpoint_batch("shardId-1", "3", 100000), on_told, &f);
    store_commit(f.store, letter_batch("1", "e"), on_told, &f);
    store_load(f.store, &(struct store_query){0}, on_not_loaded, &f);
    reactor_turn(f.service.world.reactor, 0);
    store_free(f.store);
    assert_int_equal(f.done, 0);
    assert_int_equal(f.failed, 3);
    open_store(&f);
    f.failed = 0;
    finish(&f);
}

/* ---- seeks ---- */

/* Where h stands in the shard, as the table says to whoever begins now; to be freed. "": nowhere. */
static char *standing_of(struct fixture *f, const char *shard)
{
    struct store_snapshot *all = load_well(f, f->store, &(struct store_query){0});
    char *found = NULL;
    for (size_t i = 0; i < all->checkpoint_count; i++)
        if (strcmp(all->checkpoints[i].shard, shard) == 0)
            found = mem_printf("%s%s", all->checkpoints[i].position.sequence,
                               *all->checkpoints[i].progress ? " and more" : "");
    store_snapshot_free(all);
    return found ? found : mem_string("");
}

static void check_standings(struct fixture *f, const char *zero, const char *one)
{
    char *first = standing_of(f, "shardId-0"), *second = standing_of(f, "shardId-1");
    assert_string_equal(first, zero);
    assert_string_equal(second, one);
    free(first);
    free(second);
}

static void note_follow(struct fixture *f)
{
    struct store_snapshot *all = load_well(f, f->store, &(struct store_query){0});
    assert_int_equal(all->follow_count, 1);
    shard_rows_follow(f->shards, &all->follows[0]);
    store_snapshot_free(all);
}

static void on_gained_later(void *user, const char *stream, const char *shard,
                            struct store_snapshot *snapshot)
{
    struct fixture *f = user;
    (void)stream;
    (void)shard;
    f->snapshot = snapshot;
}

static void on_read_row(void *user, const struct lease_answer *answer)
{
    struct fixture *f = user;
    assert_int_equal(answer->row_count, 1);
    shard_rows_lost(f->shards, ARN, answer->rows[0].shard);
    shard_rows_gained(f->shards, &answer->rows[0], on_gained_later, f);
}

static bool is_gained(void *user)
{
    return ((struct fixture *)user)->snapshot != NULL;
}

/* How many positions whoever gains the shard now begins with. */
static size_t positions_of(struct fixture *f, const char *shard)
{
    f->snapshot = NULL;
    f->rows->ops->send(
        f->rows, &(struct lease_request){.kind = LEASE_READ_ROW, .row = {.stream = ARN, .shard = shard}},
        1000, on_read_row, f);
    assert_true(world_turn(&f->service.world, is_gained, f, 60000));
    size_t count = f->snapshot->checkpoint_count;
    store_snapshot_free(f->snapshot);
    f->snapshot = NULL;
    return count;
}

/* By somebody without a shard, whatever becomes of the answers: what owners have written, and write before
 * they know of it, does not count; what they write then does. */
static void a_seek_holds_whoever_has_the_shards(void **state)
{
    (void)state;
    for (int seed = 1; seed <= (SEEDS_AT_MOST > 20 ? 20 : SEEDS_AT_MOST); seed++) {
        struct fixture f;
        make(&f, (uint64_t)seed);
        struct store *command =
            store_dynamodb_new(&(struct store_dynamodb_options){.client = f.service.client,
                                                                .reactor = f.service.world.reactor,
                                                                .log = f.service.log,
                                                                .table = "State",
                                                                .group = "a/group"});
        struct store_batch *batch = store_batch_new();
        store_put_follow(batch, &(struct store_follow){.stream = "table:Orders",
                                                       .handler = "h",
                                                       .stream_arn = ARN,
                                                       .since_ms = 5,
                                                       .over = "shardId-2\n"});
        commit(&f, f.store, batch);
        commit(&f, f.store, checkpoint_batch("shardId-0", "10", 5000));
        commit(&f, f.store, checkpoint_batch("shardId-1", "11", 0));
        settle(&f);
        note_follow(&f);
        check_standings(&f, "10 and more", "11");
        f.faults = 300;
        commit(&f, command, checkpoint_batch("shardId-0", "4", 0)); /* to a number, in one shard */
        settle(&f);
        check_standings(&f, "4", "11");
        commit(&f, f.store, checkpoint_batch("shardId-0", "12", 0)); /* its owner does not know */
        settle(&f);
        check_standings(&f, "4", "11");
        note_follow(&f);
        commit(&f, f.store, checkpoint_batch("shardId-0", "5", 0));
        settle(&f);
        check_standings(&f, "5", "11");
        batch = store_batch_new();
        store_forget_checkpoints(batch, "h", ARN, ""); /* to the oldest record, in all */
        commit(&f, command, batch);
        settle(&f);
        check_standings(&f, "", "");
        struct store_snapshot *all = load_well(&f, command, &(struct store_query){0});
        assert_true(all->follows[0].since_ms == 0 && !*all->follows[0].over);
        store_snapshot_free(all);
        note_follow(&f);
        commit(&f, f.store, checkpoint_batch("shardId-1", "2", 5000));
        settle(&f);
        check_standings(&f, "", "2 and more");
        f.faults = 0;
        assert_int_equal(positions_of(&f, "shardId-1"), 1);
        f.faults = 300;
        batch = store_batch_new();
        store_forget_checkpoints(batch, "h", "", ""); /* to the latest */
        store_put_follow(batch, &(struct store_follow){.stream = "table:Orders",
                                                       .handler = "h",
                                                       .stream_arn = STORE_FOLLOW_LATEST});
        commit(&f, command, batch);
        commit(&f, f.store, checkpoint_batch("shardId-1", "3", 0));
        settle(&f);
        check_standings(&f, "", "");
        f.faults = 0;
        assert_int_equal(positions_of(&f, "shardId-1"), 0);
        store_free(command);
        finish(&f);
    }
}

/* Of one shard, and of all, the newest counts; what a later version writes does not. */
static void seeks_are_kept_as_lines(void **state)
{
    struct position position = {.kind = POSITION_AFTER, .sequence = "77"},
                    anew = {.kind = POSITION_TRIM_HORIZON};
    (void)state;
    char *one = seeks_with("", "a", 5, &position), *two = seeks_with(one, "b", 6, &anew);
    char *three = seeks_with(two, "a", 7, &anew), *four = seeks_with(three, "", 8, &anew);
    assert_int_equal(seeks_mark(two, "a", &position), 5);
    assert_true(position.kind == POSITION_AFTER && strcmp(position.sequence, "77") == 0);
    assert_int_equal(seeks_mark(two, "b", &position), 6);
    assert_int_equal(position.kind, POSITION_TRIM_HORIZON);
    assert_int_equal(seeks_mark(two, "c", NULL), 0);
    assert_int_equal(seeks_mark(three, "a", NULL), 7);
    assert_null(strstr(three, "77"));
    assert_string_equal(four, "8 anew - *\n");
    assert_int_equal(seeks_mark(four, "c", NULL), 8);
    for (const char *const *odd = (const char *const[]){"", "\n", "9\n", "9 after\n", "9 after x a\n",
                                                        "-1 anew - a\n", "9 anew - \n", "9 anew - a", NULL};
         *odd; odd++)
        assert_int_equal(seeks_mark(*odd, "a", NULL), 0);
    free(one);
    free(two);
    free(three);
    free(four);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_say_the_same),
        cmocka_unit_test(both_say_the_same_whatever_the_table_does),
        cmocka_unit_test(a_claim_is_won_once_whatever_the_table_does),
        cmocka_unit_test(a_claim_of_a_host_is_free_when_its_death_is_written),
        cmocka_unit_test(notes_are_what_is_so_now),
        cmocka_unit_test(letters_of_one_number_are_all_kept),
        cmocka_unit_test(what_is_not_written_is_told),
        cmocka_unit_test(a_seek_holds_whoever_has_the_shards),
        cmocka_unit_test(seeks_are_kept_as_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
