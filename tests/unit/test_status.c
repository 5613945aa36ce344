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
};

/* Each place has texts of its own, as a store gives them. */
static struct place place(struct state *state, int handler, int shard)
{
    struct arena *arena = &state->snapshot->arena;
    char name[32];
    const char *arn = arns[shard % 2];
    struct place place = {.stream_arn = arena_copy(arena, arn, strlen(arn))};
    place.handler = arena_copy(arena, name, (size_t)snprintf(name, sizeof name, "h%d", handler));
    place.shard = arena_copy(arena, name, (size_t)snprintf(name, sizeof name, "shard-%d", shard));
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

static int told_by(int number)
{
    return number % 5 == 4 ? 2 : number % 5 > 0;
}

static int64_t dead_of(int number)
{
    return number % 11 == 0 ? number + 1 : 0;
}

static void each_place_has_one_row_with_what_is_known_of_it(void **unused)
{
    struct state *state = make();
    int expected = 0;
    (void)unused;
    for (int handler = 0; handler < HANDLERS; handler++)
        for (int shard = 0; shard < SHARDS; shard++) {
            int number = handler * SHARDS + shard;
            if (has_checkpoint(number))
                add_checkpoint(state, place(state, handler, shard));
            for (int host = 0; host < told_by(number); host++)
                add_subscription(state, place(state, handler, shard), 1000 * host + number);
            if (dead_of(number))
                add_dead(state, place(state, handler, shard), dead_of(number));
            expected += has_checkpoint(number) || told_by(number);
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
        assert_int_equal(row->subscription != NULL, told_by(number) > 0);
        if (row->subscription) /* of two that tell, the last */
            assert_int_equal(row->subscription->in_flight, 1000 * (told_by(number) - 1) + number);
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(status.rows[j].checkpoint->handler, row->checkpoint->handler) == 0 &&
                         strcmp(status.rows[j].checkpoint->shard, row->checkpoint->shard) == 0);
    }
    finish(state, &status);
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
        cmocka_unit_test(nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
