/* test_status.c: what stands in the state, put together row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/status.h"
#include "base/check.h"
#include "base/mem.h"

#define HANDLERS 7
#define SHARDS 60
#define MOST (2 * HANDLERS * SHARDS)

static const char *const arns[] = {"arn:aws:dynamodb:eu-west-1:1:table/T/stream/x",
                                   "arn:aws:dynamodb:eu-west-1:1:table/Users/stream/y"};

struct place {
    const char *handler, *stream_arn, *shard;
};

struct state {
    struct config config;
    struct store_snapshot *snapshot;
    struct store_checkpoint checkpoints[MOST];
    struct store_subscription subscriptions[MOST];
    struct store_dead_count dead[MOST];
    bool in_order; /* as a store gives them: each place once, by its name; else as hosts tell of them */
};

/* Each place has texts of its own, as a store gives them. */
static struct place place(struct state *state, int handler, int shard)
{
    struct arena *arena = &state->snapshot->arena;
    char name[32];
    const char *arn = arns[shard % 2];
    struct place place = {.stream_arn = arena_copy(arena, arn, strlen(arn))};
    place.handler = arena_copy(arena, name, (size_t)snprintf(name, sizeof name, "h%d", handler));
    place.shard = arena_copy(arena, name, (size_t)snprintf(name, sizeof name, "shard-%02d", shard));
    return place;
}

static void add_checkpoint(struct state *state, struct place place)
{
    state->checkpoints[state->snapshot->checkpoint_count++] =
        (struct store_checkpoint){place.handler, place.stream_arn, place.shard, {.kind = POSITION_AFTER}, ""};
}

static void add_subscription(struct state *state, struct place place, int64_t in_flight)
{
    state->subscriptions[state->snapshot->subscription_count++] =
        (struct store_subscription){.handler = place.handler,
                                    .stream_arn = place.stream_arn,
                                    .shard = place.shard,
                                    .in_flight = in_flight};
}

static void add_dead(struct state *state, struct place place, int64_t count)
{
    state->dead[state->snapshot->dead_count++] = (struct store_dead_count){
        .handler = place.handler, .stream_arn = place.stream_arn, .shard = place.shard, .count = count};
}

static struct state *make(void)
{
    struct state *state = mem_zero(sizeof *state);
    state->snapshot = mem_zero(sizeof *state->snapshot);
    state->snapshot->checkpoints = state->checkpoints;
    state->snapshot->subscriptions = state->subscriptions;
    state->snapshot->dead = state->dead;
    return state;
}

static struct status gather(struct state *state)
{
    struct status status = {.config = &state->config,
                            .snapshot = state->snapshot,
                            .first = state->snapshot,
                            .now_ms = 1767225600000};
    status_gather(&status);
    return status;
}

static void finish(struct state *state, struct status *status)
{
    status_fini(status);
    free(state);
}

/* What is expected of handler and shard: bits of the number, which differ from place to place. */
static bool has_checkpoint(int number)
{
    return number % 3 != 0;
}

static int told_by(const struct state *state, int number)
{
    return number % 5 == 4 && !state->in_order ? 2 : number % 5 > 0;
}

static int64_t dead_of(int number)
{
    return number % 11 == 0 ? number + 1 : 0;
}

static void fill_and_look(bool in_order)
{
    struct state *state = make();
    int expected = 0;
    state->in_order = in_order;
    for (int handler = 0; handler < HANDLERS; handler++)
        for (int i = 0; i < SHARDS; i++) {
            int shard = in_order ? i % (SHARDS / 2) * 2 + i / (SHARDS / 2) : i; /* by the stream first */
            int number = handler * SHARDS + shard;
            if (has_checkpoint(number))
                add_checkpoint(state, place(state, handler, shard));
            for (int host = 0; host < told_by(state, number); host++)
                add_subscription(state, place(state, handler, shard), 1000 * host + number);
            if (dead_of(number))
                add_dead(state, place(state, handler, shard), dead_of(number));
            expected += has_checkpoint(number) || told_by(state, number);
        }
    struct status status = gather(state);
    assert_int_equal(status.row_count, expected);
    for (size_t i = 0; i < status.row_count; i++) {
        const struct status_row *row = &status.rows[i];
        int handler, shard;
        assert_int_equal(sscanf(row->checkpoint->handler, "h%d", &handler), 1);
        assert_int_equal(sscanf(row->checkpoint->shard, "shard-%d", &shard), 1);
        int number = handler * SHARDS + shard;
        assert_string_equal(row->checkpoint->stream_arn, arns[shard % 2]);
        assert_string_equal(row->table, shard % 2 ? "Users" : "T");
        assert_int_equal(row->checkpoint->position.kind,
                         has_checkpoint(number) ? POSITION_AFTER : POSITION_TRIM_HORIZON);
        assert_int_equal(row->dead, dead_of(number));
        assert_int_equal(row->subscription != NULL, told_by(state, number) > 0);
        if (row->subscription) /* of two that tell, the last */
            assert_int_equal(row->subscription->in_flight, 1000 * (told_by(state, number) - 1) + number);
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(status.rows[j].checkpoint->handler, row->checkpoint->handler) == 0 &&
                         strcmp(status.rows[j].checkpoint->shard, row->checkpoint->shard) == 0);
    }
    finish(state, &status);
}

static void each_place_has_one_row_with_what_is_known_of_it(void **unused)
{
    (void)unused;
    fill_and_look(false);
    fill_and_look(true);
}

/* Where rows are in order, whatever they are asked for. */
static void rows_in_order_are_found_in_any(void **unused)
{
    static const char *const names[] = {"b", "d", "f", "h", "j"}, *const asked[] = {"a", "b", "c", "d",
                                                                                    "e", "f", "g", "h",
                                                                                    "i", "j", "k"};
    struct store_shard rows[COUNT_OF(names)] = {{0}};
    struct arena arena = ARENA_INIT;
    (void)unused;
    for (size_t count = 0; count <= COUNT_OF(names); count++) {
        if (count) {
            rows[count - 1].stream_arn = "arn";
            rows[count - 1].shard = names[count - 1];
        }
        struct places places =
            places_of(&arena, PLACE_TEXTS_OF_SHARD(store_shard), rows, sizeof *rows, count);
        assert_non_null(places.next);
        for (size_t i = 0; i < COUNT_OF(asked) * COUNT_OF(asked); i++) {
            /* each behind each other */
            size_t wanted = i % 2 ? i / 2 % COUNT_OF(asked) : i / 2 / COUNT_OF(asked) % COUNT_OF(asked);
            const struct store_shard *found = places_find(&places, NULL, "arn", asked[wanted]);
            assert_ptr_equal(found, wanted % 2 && wanted / 2 < count ? &rows[wanted / 2] : NULL);
            assert_null(places_find(&places, NULL, "brn", asked[wanted]));
        }
    }
    arena_fini(&arena);
}

static void nothing_is_known(void **unused)
{
    struct state *state = make();
    (void)unused;
    struct status status = gather(state);
    assert_int_equal(status.row_count, 0);
    assert_null(places_find(&status.owners, NULL, "arn", "shard"));
    finish(state, &status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_place_has_one_row_with_what_is_known_of_it),
        cmocka_unit_test(rows_in_order_are_found_in_any),
        cmocka_unit_test(nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
