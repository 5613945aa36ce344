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
        int64_t wait_us = pace_wait(pace, interval_ns, now_us);
        if (!wait_us) {
            pace_charge(pace, interval_ns, 1, now_us);
            count++;
        }
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
    paces_set_share(paces, 250000, 1000000);
    in_a_second(pace, PER_SECOND(100), 1000000);
    assert_in_range(in_a_second(pace, PER_SECOND(100), 2000000), 24, 26);
    paces_free(paces);
}

static void what_was_done_anyway_is_waited_for(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    (void)state;
    assert_int_equal(pace_wait(pace, PER_SECOND(10), 1000000), 0);
    pace_charge(pace, PER_SECOND(10), 10, 1000000);
    assert_true(pace_wait(pace, PER_SECOND(10), 1000000) > 800000);
    assert_int_equal(pace_wait(pace, PER_SECOND(10), 2000000), 0);
    paces_free(paces);
}

static void without_a_limit_nothing_waits(void **state)
{
    struct paces *paces = paces_new();
    (void)state;
    assert_int_equal(pace_wait(NULL, PER_SECOND(1), 1), 0);
    pace_charge(NULL, PER_SECOND(1), 5, 1);
    for (int i = 0; i < 1000; i++) {
        pace_charge(paces_find(paces, "t"), 0, 1, 1);
        assert_int_equal(pace_wait(paces_find(paces, "t"), 0, 1), 0);
    }
    assert_null(paces_find(NULL, "t"));
    paces_free(paces);
}

/* A host that had next to nothing, and made a call, has half by now. */
static void a_part_that_grows_counts_at_once(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    (void)state;
    paces_set_share(paces, 10, 1000000);
    pace_charge(pace, PER_SECOND(100), 1, 1000000);
    assert_int_equal(pace_wait(pace, PER_SECOND(100), 1000000),
                     1000000); /* asked again after a second at most */
    paces_set_share(paces, 500000, 2000000);
    assert_true(pace_wait(pace, PER_SECOND(100), 2000000) <= 20001);
    paces_free(paces);
}

/* Whatever is multiplied: nothing turns a limit off, or is waited for longer than a day. */
static void a_rare_thing_stays_rare(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    int64_t hour_ns = 3600000000000, day_us = 24 * 3600 * 1000000ll;
    (void)state;
    paces_set_share(paces, 0, 1000000);
    pace_charge(pace, 1000 * hour_ns, 1000000, 1000000);
    pace_charge(pace, 1000 * hour_ns, 1000000, 1000000);
    assert_int_equal(pace_wait(pace, hour_ns, 1000000), 1000000);
    assert_int_equal(pace_wait(pace, hour_ns, 1000001 + day_us), 0);
    paces_free(paces);
}

static void *charge_often(void *pace)
{
    for (int i = 0; i < 10000; i++)
        pace_charge(pace, PER_SECOND(1000), 1, 5000000);
    return NULL;
}

static void two_threads_charge_one_limit(void **state)
{
    struct paces *paces = paces_new();
    struct pace *pace = paces_find(paces, "t");
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_often, pace), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    /* 20,000 at 1,000 a second, less a tenth of a second that was not used */
    assert_true(pace_wait(pace, PER_SECOND(1000), 5000000 + 19800000) > 0);
    assert_int_equal(pace_wait(pace, PER_SECOND(1000), 5000000 + 19900001), 0);
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
        TEST(two_threads_charge_one_limit),
        TEST(a_part_that_grows_counts_at_once),
        TEST(a_rare_thing_stays_rare),
        TEST(rates_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
