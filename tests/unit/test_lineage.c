/* test_lineage.c: listings that contradict each other, as an eventually consistent service gives them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "source/lineage.h"

struct fixture {
    struct lineage *lineage;
    int64_t now_ms;
    char gone[8][32];
    int gone_count;
};

static int make(void **state)
{
    static struct fixture f;
    f = (struct fixture){.lineage = lineage_new()};
    *state = &f;
    return 0;
}

static int finish(void **state)
{
    lineage_free(((struct fixture *)*state)->lineage);
    return 0;
}

static void on_gone(void *user, const char *shard)
{
    struct fixture *f = user;
    snprintf(f->gone[f->gone_count++], sizeof f->gone[0], "%s", shard);
}

static void list(struct fixture *f, int64_t after_ms, const struct shard_info *shards, size_t count)
{
    f->now_ms += after_ms;
    lineage_begin(f->lineage);
    lineage_learn(f->lineage, shards, count);
    lineage_end(f->lineage, f->now_ms, on_gone, f);
}

static const struct shard_info parent = {.id = "parent", .closed = true}, open_parent = {.id = "parent"},
                               child = {.id = "child", .parents = {"parent"}}, orphan = {.id = "child"};

static void a_shard_is_gone_only_after_some_seconds(void **state)
{
    struct fixture *f = *state;
    struct progress progress = PROGRESS_INIT;
    const struct shard_info both[] = {parent, child};
    list(f, 0, both, 2);
    progress_finish(&progress, "parent");
    for (int i = 0; i < 10; i++)
        list(f, 50, &child, 1);
    assert_int_equal(f->gone_count, 0);
    assert_true(lineage_misses(f->lineage));
    list(f, 50, both, 2); /* shown again: it is the same one, and finished */
    assert_false(lineage_misses(f->lineage));
    assert_false(lineage_ready(f->lineage, &progress, "parent"));
    assert_true(lineage_ready(f->lineage, &progress, "child"));
    for (int i = 0; i < 3; i++) /* it counts from the beginning again */
        list(f, 4000, &child, 1);
    assert_int_equal(f->gone_count, 0);
    list(f, 4000, &child, 1);
    assert_int_equal(f->gone_count, 1);
    assert_string_equal(f->gone[0], "parent");
    progress_fini(&progress);
}

static void two_listings_far_apart_are_not_enough(void **state)
{
    struct fixture *f = *state;
    list(f, 0, &open_parent, 1);
    list(f, 3600000, NULL, 0);
    assert_int_equal(f->gone_count, 0);
    list(f, 3600000, &open_parent, 1);
    list(f, 0, NULL, 0);
    assert_int_equal(f->gone_count, 0);
}

static void a_closed_shard_stays_closed(void **state)
{
    struct fixture *f = *state;
    list(f, 0, &parent, 1);
    assert_true(lineage_closed(f->lineage, "parent"));
    list(f, 50, &open_parent, 1);
    assert_true(lineage_closed(f->lineage, "parent"));
}

static void a_parent_once_said_stays_one(void **state)
{
    struct fixture *f = *state;
    struct progress progress = PROGRESS_INIT;
    const struct shard_info first[] = {open_parent, child}, then[] = {open_parent, orphan};
    list(f, 0, first, 2);
    list(f, 50, then, 2);
    assert_false(lineage_ready(f->lineage, &progress, "child"));
    assert_true(lineage_closed(f->lineage, "parent"));
    progress_finish(&progress, "parent");
    assert_true(lineage_ready(f->lineage, &progress, "child"));
    progress_fini(&progress);
}

static void a_shard_that_is_listed_twice_is_one(void **state)
{
    struct fixture *f = *state;
    const struct shard_info twice[] = {parent, child, child, parent};
    list(f, 0, twice, 4);
    assert_int_equal(lineage_count(f->lineage), 2);
}

static void what_is_expected_and_never_listed_is_gone(void **state)
{
    struct fixture *f = *state;
    struct progress progress = PROGRESS_INIT;
    lineage_expect(f->lineage, "old");
    list(f, 0, &child, 1);
    assert_true(lineage_misses(f->lineage));
    assert_false(lineage_ready(f->lineage, &progress, "old"));
    for (int i = 0; i < 4; i++)
        list(f, 4000, &child, 1);
    assert_int_equal(f->gone_count, 1);
    assert_string_equal(f->gone[0], "old");
    assert_false(lineage_misses(f->lineage));
    progress_fini(&progress);
}

/* Where shards merge. */
static void a_child_of_two_waits_for_both_and_is_nobodys_heir(void **state)
{
    struct fixture *f = *state;
    struct progress progress = PROGRESS_INIT;
    const struct shard_info other = {.id = "other", .closed = true},
                            merged = {.id = "merged", .parents = {"parent", "other"}};
    const struct shard_info all[] = {merged, parent, other};
    list(f, 0, all, 3);
    assert_true(lineage_has_child(f->lineage, "parent"));
    assert_true(lineage_has_child(f->lineage, "other"));
    assert_false(lineage_has_heir(f->lineage, "parent"));
    assert_true(shard_is_child(&merged, "parent"));
    assert_true(shard_is_child(&merged, "other"));
    assert_false(shard_is_child(&merged, "merged"));
    progress_finish(&progress, "other");
    assert_false(lineage_ready(f->lineage, &progress, "merged"));
    progress_finish(&progress, "parent");
    assert_true(lineage_ready(f->lineage, &progress, "merged"));
    list(f, 0, &child, 1);
    assert_true(lineage_has_heir(f->lineage, "parent"));
    progress_fini(&progress);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_shard_is_gone_only_after_some_seconds),
        TEST(two_listings_far_apart_are_not_enough),
        TEST(a_closed_shard_stays_closed),
        TEST(a_parent_once_said_stays_one),
        TEST(a_shard_that_is_listed_twice_is_one),
        TEST(what_is_expected_and_never_listed_is_gone),
        TEST(a_child_of_two_waits_for_both_and_is_nobodys_heir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
