/* test_brake.c: calls find the pace that a table can take, and no other table's calls are slower for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "aws/brake.h"

#define CALLERS 16
#define STEP_US 1000
#define SECOND_US 1000000

/* A table that takes so many calls a second, with a tenth of a second's worth at once; each takes 4 ms. */
struct table {
    struct brake *brake;
    double capacity, tokens;
    int64_t until_us[CALLERS]; /* 0: it may begin at `next_us` */
    int64_t next_us[CALLERS];
    int taken, refused;
};

static void turn(struct table *table, int64_t now_us)
{
    table->tokens += table->capacity * STEP_US / SECOND_US;
    if (table->tokens > table->capacity / 10)
        table->tokens = table->capacity / 10;
    for (int i = 0; i < CALLERS; i++) {
        if (table->until_us[i] && now_us >= table->until_us[i]) {
            bool takes = table->tokens >= 1;
            table->tokens -= takes;
            table->taken += takes;
            table->refused += !takes;
            brake_ended(table->brake, !takes, now_us);
            table->until_us[i] = 0;
            table->next_us[i] = now_us;
        }
        if (table->until_us[i] || now_us < table->next_us[i])
            continue;
        int64_t wait_us = brake_begin(table->brake, now_us);
        if (wait_us)
            table->next_us[i] = now_us + wait_us;
        else
            table->until_us[i] = now_us + 4000;
    }
}

static void run_for(struct table **tables, int count, int64_t *now_us, int seconds)
{
    for (int i = 0; i < count; i++)
        tables[i]->taken = tables[i]->refused = 0;
    for (int64_t end = *now_us + (int64_t)seconds * SECOND_US; *now_us < end; *now_us += STEP_US)
        for (int i = 0; i < count; i++)
            turn(tables[i], *now_us);
}

static void a_slow_table_is_called_as_often_as_it_can_take(void **state)
{
    struct brakes *brakes = brakes_new();
    struct table slow = {.brake = brakes_find(brakes, "Slow"), .capacity = 100},
                 fast = {.brake = brakes_find(brakes, "Fast"), .capacity = 1e6};
    struct table *both[] = {&slow, &fast};
    int64_t now_us = 50 * SECOND_US;
    (void)state;
    run_for(both, 2, &now_us, 5);
    run_for(both, 2, &now_us, 60);
    assert_true(slow.taken >= 60 * 75 && slow.refused * 20 < slow.taken);
    assert_true(fast.taken >= 60 * SECOND_US / 4000 / 2 * CALLERS && !fast.refused);
    slow.capacity = 1000;
    run_for(both, 2, &now_us, 60);
    run_for(both, 2, &now_us, 60);
    assert_true(slow.taken >= 60 * 750);
    slow.capacity = 20;
    run_for(both, 2, &now_us, 10);
    run_for(both, 2, &now_us, 60);
    assert_true(slow.taken >= 60 * 14 && slow.refused * 10 < slow.taken);
    brakes_free(brakes);
}

static void a_table_that_can_take_all_has_no_limit_any_more(void **state)
{
    struct brakes *brakes = brakes_new();
    struct table table = {.brake = brakes_find(brakes, "T"), .capacity = 50};
    struct table *one[] = {&table};
    int64_t now_us = 50 * SECOND_US;
    (void)state;
    run_for(one, 1, &now_us, 10);
    assert_true(table.refused > 0);
    table.capacity = 1e6;
    run_for(one, 1, &now_us, 70);
    run_for(one, 1, &now_us, 1);
    assert_true(table.taken > SECOND_US / 4000 / 2 * CALLERS);
    brakes_free(brakes);
}

static void no_more_than_so_many_at_once(void **state)
{
    struct brakes *brakes = brakes_new();
    struct brake *brake = brakes_find(brakes, "arn:aws:dynamodb:eu-west-1:123456789012:table/T");
    (void)state;
    assert_ptr_equal(brake, brakes_find(brakes, "T"));
    brake_set_max_in_flight(brake, 2);
    assert_int_equal(brake_begin(brake, 1), 0);
    assert_int_equal(brake_begin(brake, 1), 0);
    assert_true(brake_begin(brake, 1) > 0);
    brake_ended(brake, false, 2);
    assert_int_equal(brake_begin(brake, 2), 0);
    brakes_free(brakes);
}

/* One of several tables has no room: the others are as they were. */
static void a_call_of_several_tables_begins_with_all_or_with_none(void **state)
{
    struct brakes *brakes = brakes_new();
    struct brake *a = brakes_find(brakes, "A"), *b = brakes_find(brakes, "B");
    struct brake *both[] = {a, b};
    (void)state;
    brake_set_max_in_flight(a, 1);
    brake_set_max_in_flight(b, 1);
    assert_int_equal(brake_begin(b, 1), 0);
    assert_true(brakes_begin(both, 2, 1) > 0);
    assert_int_equal(brake_begin(a, 1), 0);
    brake_ended(a, false, 1);
    brake_ended(b, false, 1);
    assert_int_equal(brakes_begin(both, 2, 1), 0);
    assert_true(brake_begin(a, 1) > 0 && brake_begin(b, 1) > 0);
    brakes_free(brakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_table_is_called_as_often_as_it_can_take),
        cmocka_unit_test(a_table_that_can_take_all_has_no_limit_any_more),
        cmocka_unit_test(no_more_than_so_many_at_once),
        cmocka_unit_test(a_call_of_several_tables_begins_with_all_or_with_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
