/* test_base.c: the floor that everything stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/problems.h"
#include "net/reactor.h"
#include "core/world.h"

static char *round_trip(const char *text, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf out = BUF_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, text, size, &err);
    if (root)
        json_write_value(&out, root);
    else
        buf_printf(&out, "error: %s", err.text);
    arena_fini(&arena);
    return buf_take(&out);
}

static void check_json(const char *text, const char *wanted)
{
    char *got = round_trip(text, strlen(text));
    assert_string_equal(got, wanted);
    free(got);
}

static void json_keeps_what_it_read(void **state)
{
    (void)state;
    check_json(" { \"a\" : [ 1 , -2.50 , 1e+5, true ,false, null ] , \"b\":{} } ",
               "{\"a\":[1,-2.50,1e+5,true,false,null],\"b\":{}}");
    check_json("12345678901234567890123456789012345678", "12345678901234567890123456789012345678");
    check_json("\"\\u0000\\u00e9\\ud83c\\udf0a\\n\\/\"", "\"\\u0000\u00e9\U0001f30a\\n/\"");
    check_json("\"\\ud800 alone\"", "\"\ufffd alone\"");
    check_json("{\"k\":1,\"k\":2}", "{\"k\":1,\"k\":2}");
}

static void json_refuses_what_is_none(void **state)
{
    static const char *const wrong[] = {
        "",   "{",   "[1,]",  "{\"a\":}", "{\"a\" 1}",         "{a:1}",     "01",     "-",     "1.",
        "1e", "tru", "nulll", "\"a",      "\"\\x\"",           "\"\\u12\"", "\"\n\"", "[1] 2", "{\"a\":1,}",
        "]",  "+1",  "\"a\\", "[1 2]",    "{\"a\":1 \"b\":2}", ".5",        "NaN",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *got = round_trip(wrong[i], strlen(wrong[i]));
        if (strncmp(got, "error: not JSON: ", 17) != 0 || !strstr(got, "at byte"))
            fail_msg("%s gave %s", wrong[i], got);
        free(got);
    }
}

static void json_nesting_is_bounded(void **state)
{
    struct buf deep = BUF_INIT;
    (void)state;
    for (int i = 0; i < JSON_DEPTH_MAX + 1; i++)
        buf_add_char(&deep, '[');
    char *got = round_trip(deep.data, deep.size);
    assert_non_null(strstr(got, "nested too deeply"));
    free(got);
    buf_fini(&deep);
}

static void json_text_need_not_end_with_nul(void **state)
{
    (void)state;
    char *exact = malloc(3); /* a sanitizer sees a read behind it */
    memcpy(exact, "123", 3);
    char *got = round_trip(exact, 3);
    assert_string_equal(got, "123");
    free(got);
    free(exact);
}

static void a_map_survives_removal_among_collisions(void **state)
{
    struct map map = MAP_INIT;
    char key[16];
    int present[2000] = {0}, value = 0;
    (void)state;
    srand(7);
    for (int step = 0; step < 20000; step++) {
        int i = rand() % 2000;
        snprintf(key, sizeof key, "k%d", i);
        if (rand() % 2) {
            map_set(&map, key, &value);
            present[i] = 1;
        } else {
            assert_int_equal(map_remove(&map, key) != NULL, present[i]);
            present[i] = 0;
        }
    }
    size_t count = 0;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(map_get(&map, key) != NULL, present[i]);
        count += (size_t)present[i];
    }
    assert_int_equal(map.count, count);
    map_fini(&map);
}

static void times_are_read_and_written(void **state)
{
    char text[CLOCK_ISO_SIZE];
    (void)state;
    clock_iso8601(1769903999123, text);
    assert_string_equal(text, "2026-01-31T23:59:59.123Z");
    assert_int_equal(clock_from_iso8601(text), 1769903999123);
    assert_int_equal(clock_from_iso8601("2026-01-31T23:59:59Z"), 1769903999000);
    assert_int_equal(clock_from_iso8601("yesterday"), -1);
    assert_int_equal(clock_from_iso8601("2026-01-31"), -1);
}

static void the_nearest_name_is_what_was_meant(void **state)
{
    static const char *const known[] = {"threads", "scripts", "state", NULL};
    (void)state;
    assert_string_equal(nearest_name("thraeds", known), "threads");
    assert_string_equal(nearest_name("script", known), "scripts");
    assert_null(nearest_name("completely_else", known));
}

struct fired {
    struct timer timer;
    int *order, *count, id;
};

static void on_fired(void *user)
{
    struct fired *fired = user;
    fired->order[(*fired->count)++] = fired->id;
}

static bool never(void *user)
{
    (void)user;
    return false;
}

static void timers_fire_in_order_and_stopped_ones_do_not(void **state)
{
    struct world world;
    struct fired fired[100];
    int order[100], count = 0;
    (void)state;
    world_init(&world);
    world_add_reactor(&world);
    srand(3);
    for (int i = 0; i < 100; i++) {
        fired[i] = (struct fired){.order = order, .count = &count, .id = rand() % 10000};
        timer_init(&fired[i].timer, on_fired, &fired[i]);
        timer_set(world.reactor, &fired[i].timer, fired[i].id);
    }
    for (int i = 0; i < 100; i += 2)
        timer_stop(world.reactor, &fired[i].timer);
    for (int i = 1; i < 100; i += 4)
        timer_set(world.reactor, &fired[i].timer, fired[i].id = rand() % 10000);
    world_turn(&world, never, NULL, 20000);
    assert_int_equal(count, 50);
    for (int i = 1; i < count; i++)
        assert_true(order[i - 1] <= order[i]);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_keeps_what_it_read),
        cmocka_unit_test(json_refuses_what_is_none),
        cmocka_unit_test(json_nesting_is_bounded),
        cmocka_unit_test(json_text_need_not_end_with_nul),
        cmocka_unit_test(a_map_survives_removal_among_collisions),
        cmocka_unit_test(times_are_read_and_written),
        cmocka_unit_test(the_nearest_name_is_what_was_meant),
        cmocka_unit_test(timers_fire_in_order_and_stopped_ones_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
