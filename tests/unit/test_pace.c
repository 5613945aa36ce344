/* test_pace.c: a limit is kept to, whoever asks and however often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "base/pace.h"
#include "conf/settings.h"

#define PER_SECOND(n) (1000000000 / (n))

/* How many of it there are in a second, when it is asked for each millisecond and waited for as told. */
static int in_a_second(struct pace *pace, int64_t interval_ns, int64_t from_us)
{
    int count = 0;
    for (int64_t now_us = from_us; now_us < from_us + 1000000;) {
        int64_t wait_us = pace_take(pace, interval_ns, now_us);
        count += !wait_us;
        now_us += wait_us;
    }
    return count;
}

static void a_limit_is_kept_to(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "handler a");
    (void)state;
    assert_ptr_equal(pace, paces_find(paces, "handler a"));
    assert_ptr_not_equal(pace, paces_find(paces, "handler b"));
    int first = in_a_second(pace, PER_SECOND(100), 1000000);
    assert_true(first >= 100 && first <= 111); /* a tenth of a second was not used */
    assert_in_range(in_a_second(pace, PER_SECOND(100), 2000000), 99, 101);
    assert_in_range(in_a_second(pace, PER_SECOND(100), 3000000), 99, 101);
    assert_true(in_a_second(pace, PER_SECOND(100), 100000000) <= 111); /* nothing is saved up */
    paces_free(paces);
}

static void a_host_has_its_part(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    (void)state;
    paces_set_share(paces, 250000);
    in_a_second(pace, PER_SECOND(100), 1000000);
    assert_in_range(in_a_second(pace, PER_SECOND(100), 2000000), 24, 26);
    paces_free(paces);
}

static void what_was_done_anyway_is_waited_for(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    (void)state;
    assert_int_equal(pace_take(pace, PER_SECOND(10), 1000000), 0);
    pace_charge(pace, PER_SECOND(10), 9, 1000000);
    assert_true(pace_take(pace, PER_SECOND(10), 1000000) > 800000);
    assert_int_equal(pace_take(pace, PER_SECOND(10), 2000000), 0);
    paces_free(paces);
}

static void without_a_limit_nothing_waits(void **state)
{
    struct paces *paces = paces_new();
    (void)state;
    assert_int_equal(pace_take(NULL, PER_SECOND(1), 1), 0);
    pace_charge(NULL, PER_SECOND(1), 5, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pace_take(paces_find(paces, "t"), 0, 1), 0);
    assert_null(paces_find(NULL, "t"));
    paces_free(paces);
}

struct taking {
    struct pace *pace;
    int count;
};

static void *take_all(void *user)
{
    struct taking *taking = user;
    for (int i = 0; i < 100000; i++)
        taking->count += !pace_take(taking->pace, PER_SECOND(1000), 5000000);
    return NULL;
}

static void two_threads_keep_to_one_limit(void **state)
{
    struct paces *paces = paces_new();
    struct taking taking[2] = {{paces_find(paces, "t"), 0}, {paces_find(paces, "t"), 0}};
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &taking[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(taking[0].count + taking[1].count, 101); /* what a tenth of a second has room for */
    paces_free(paces);
}

static void rates_are_read(void **state)
{
    static const char *const wrong[] = {"",      "100", "100/d", "0/s",   "-1/s",
                                        "1e9/s", "/s",  "5/s ",  "nan/s", "fast"};
    int64_t interval_ns;
    struct err err;
    (void)state;
    assert_true(rate_parse("100/s", &interval_ns, &err));
    assert_int_equal(interval_ns, 10000000);
    assert_true(rate_parse("1.5/m", &interval_ns, &err));
    assert_int_equal(interval_ns, 40000000000);
    assert_true(rate_parse("1/h", &interval_ns, &err));
    assert_int_equal(interval_ns, 3600000000000);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(rate_parse(wrong[i], &interval_ns, &err));
}

#define TEST(function) cmocka_unit_test(function)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_limit_is_kept_to),
        TEST(a_host_has_its_part),
        TEST(what_was_done_anyway_is_waited_for),
        TEST(without_a_limit_nothing_waits),
        TEST(two_threads_keep_to_one_limit),
        TEST(rates_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
