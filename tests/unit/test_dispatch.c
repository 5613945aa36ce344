/* test_dispatch.c: lanes and the watermark, piece by piece. What whole hosts do with them is for tests/sim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "dispatch/watermark.h"

/* ---- pages ---- */

static struct page *page_of(int from, int count)
{
    struct buf body = BUF_INIT;
    struct err err;
    buf_add_text(&body, "{\"Records\":[");
    for (int i = from; i < from + count; i++)
        buf_printf(
            &body,
            "%s{\"eventID\":\"%d\",\"eventName\":\"INSERT\",\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"i%d\"}},"
            "\"ApproximateCreationDateTime\":%d,\"SequenceNumber\":\"%d\"}}",
            i > from ? "," : "", i, i % 5, 1000 + i, 100 + i);
    buf_add_text(&body, "]}");
    struct page *page = page_read(&body, &err);
    if (!page)
        fail_msg("%s", err.text);
    return page;
}

static struct block *add(struct watermark *watermark, int from, int count)
{
    struct page *page = page_of(from, count);
    struct block *block = watermark_add(watermark, page, 0);
    page_release(page);
    return block;
}

/* All waiting, as a subscription that wants every record; those settled before are left out. */
static struct block *feed(struct watermark *watermark, int from, int count)
{
    struct block *block = add(watermark, from, count);
    for (size_t i = 0; i < block->count; i++)
        if (watermark_settled_before(watermark, &block->entries[i])) {
            block->entries[i].state = ENTRY_SETTLED;
            block->settled++;
        }
    watermark_added(watermark, block);
    return block;
}

static void settle(struct watermark *watermark, struct block *block, int at)
{
    block->entries[at].state = ENTRY_STARTED;
    block->touched = true;
    watermark_settle(watermark, &block->entries[at]);
}

static void expect(struct watermark *watermark, size_t open_max, const char *position, const char *progress)
{
    struct buf text = BUF_INIT;
    struct position at = watermark_write(watermark, &text, open_max);
    assert_string_equal(at.kind == POSITION_AFTER ? at.sequence : "", position);
    assert_string_equal(text.data ? text.data : "", progress);
    buf_fini(&text);
}

static const struct position horizon = {.kind = POSITION_TRIM_HORIZON};

/* ---- the watermark ---- */

static void the_position_is_the_end_of_the_settled_prefix(void **state)
{
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "");
    struct block *block = feed(&watermark, 0, 6);
    expect(&watermark, SIZE_MAX, "", "");
    settle(&watermark, block, 1);
    settle(&watermark, block, 3);
    expect(&watermark, SIZE_MAX, "", "\"through\":\"103\",\"open\":[[\"100\",0],[\"102\",0]]");
    block->entries[2].attempts = 4;
    settle(&watermark, block, 0);
    expect(&watermark, SIZE_MAX, "101", "\"through\":\"103\",\"open\":[[\"102\",4]]");
    settle(&watermark, block, 2);
    expect(&watermark, SIZE_MAX, "103", "");
    assert_int_equal(watermark.position.record_time_ms, 1003000);
    settle(&watermark, block, 5);
    settle(&watermark, block, 4); /* the block goes */
    expect(&watermark, SIZE_MAX, "105", "");
    assert_int_equal(watermark.held_bytes, 0);
    watermark_fini(&watermark);
}

/* Its first ones are settled as they come. */
static struct block *feed_leaving_out(struct watermark *watermark, int from, int count, int left_out)
{
    struct block *block = add(watermark, from, count);
    for (int i = 0; i < left_out; i++)
        block->entries[i].state = ENTRY_SETTLED;
    block->settled = (size_t)left_out;
    watermark_added(watermark, block);
    return block;
}

static void drop_nothing(void *user, struct entry *entry)
{
    (void)user;
    (void)entry;
}

static void the_position_passes_what_is_left_out(void **state)
{
    static const char *const positions[] = {"102", "102", "103", "104", "105"};
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "");
    feed_leaving_out(&watermark, 0, 6, 3);
    assert_true(watermark.changed); /* else nobody would write it */
    expect(&watermark, SIZE_MAX, "102", "");
    assert_false(watermark.changed);
    /* Taken back, and some of it is wanted when it comes again: the position does not go back. */
    assert_true(watermark_cut(&watermark, drop_nothing, NULL));
    struct block *block = feed_leaving_out(&watermark, 0, 6, 1);
    expect(&watermark, SIZE_MAX, "102", "");
    for (int i = 1; i < 6; i++) {
        settle(&watermark, block, i);
        expect(&watermark, SIZE_MAX, positions[i - 1], "");
    }
    watermark_fini(&watermark);
}

static void a_restart_goes_on_with_the_progress(void **state)
{
    static const char progress[] = "{\"through\":\"105\",\"open\":[[\"102\",3]]}";
    struct position after = {.kind = POSITION_AFTER, .sequence = "101"};
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &after, progress);
    expect(&watermark, SIZE_MAX, "101", "\"through\":\"105\",\"open\":[[\"102\",3]]");
    struct block *block = feed(&watermark, 2, 3); /* 102 to 104 */
    assert_int_equal(block->entries[0].state, ENTRY_WAITING);
    assert_int_equal(block->entries[0].attempts, 3);
    assert_int_equal(block->entries[1].state, ENTRY_SETTLED);
    settle(&watermark, block, 0);
    expect(&watermark, SIZE_MAX, "104", "\"through\":\"105\",\"open\":[]"); /* 105 was not fed yet */
    struct block *next = feed(&watermark, 5, 2);
    assert_int_equal(next->entries[0].state, ENTRY_SETTLED);
    assert_int_equal(next->entries[1].state, ENTRY_WAITING);
    settle(&watermark, next, 1);
    expect(&watermark, SIZE_MAX, "106", "");
    watermark_fini(&watermark);
}

static void a_full_list_repeats_work_and_skips_none(void **state)
{
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "");
    struct block *block = feed(&watermark, 0, 8);
    for (int i = 1; i < 8; i += 2)
        settle(&watermark, block, i);
    expect(&watermark, 2, "", "\"through\":\"103\",\"open\":[[\"100\",0],[\"102\",0]]");
    watermark_fini(&watermark);
}

static void what_cannot_be_read_is_no_progress(void **state)
{
    static const char *const texts[] = {"", "no JSON", "[]", "{\"through\":7}", "{\"open\":[[\"100\",1]]}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct watermark watermark;
        watermark_init(&watermark, &horizon, texts[i]);
        struct block *block = feed(&watermark, 0, 1);
        assert_int_equal(block->entries[0].state, ENTRY_WAITING);
        watermark_fini(&watermark);
    }
}

static int dropped;

static void count_drop(void *user, struct entry *entry)
{
    (void)user;
    (void)entry;
    dropped++;
}

static void what_never_ran_can_be_taken_back(void **state)
{
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "");
    struct block *first = feed(&watermark, 0, 4);
    feed(&watermark, 4, 4);
    feed(&watermark, 8, 4);
    settle(&watermark, first, 2);
    dropped = 0;
    assert_true(watermark_cut(&watermark, count_drop, NULL));
    assert_int_equal(dropped, 8);
    assert_string_equal(watermark.fed.sequence, "103");
    assert_false(watermark_cut(&watermark, count_drop, NULL)); /* the first page was touched */
    struct block *again = feed(&watermark, 4, 4);
    for (int i = 0; i < 4; i++)
        settle(&watermark, again, i);
    for (int i = 0; i < 4; i++)
        if (i != 2)
            settle(&watermark, first, i);
    expect(&watermark, SIZE_MAX, "107", "");
    watermark_fini(&watermark);
}

static bool nobody(void *user, const struct entry *entry)
{
    (void)user;
    (void)entry;
    return false;
}

static void one_unsettled_record_does_not_hold_its_page(void **state)
{
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "");
    struct block *block = feed(&watermark, 0, 800);
    for (int i = 0; i < 800; i++)
        if (i != 50)
            settle(&watermark, block, i);
    size_t before = watermark.held_bytes;
    watermark_compact(&watermark, nobody, NULL);
    assert_true(watermark.held_bytes * 4 < before);
    assert_string_equal(block->entries[50].record->sequence, "150");
    assert_int_equal(block->entries[50].record->keys->count, 1);
    expect(&watermark, SIZE_MAX, "149", "\"through\":\"899\",\"open\":[[\"150\",0]]");
    settle(&watermark, block, 50);
    expect(&watermark, SIZE_MAX, "899", "");
    watermark_fini(&watermark);
}

static void what_was_trimmed_meanwhile_is_missed(void **state)
{
    struct watermark watermark;
    (void)state;
    watermark_init(&watermark, &horizon, "{\"through\":\"105\",\"open\":[[\"102\",3],[\"104\",0]]}");
    assert_false(watermark_misses(&watermark, "101"));
    assert_true(watermark_misses(&watermark, "103"));
    assert_true(watermark_misses(&watermark, NULL));
    assert_false(watermark_misses(&watermark, NULL)); /* told once */
    watermark_fini(&watermark);
}

/* ---- lanes ---- */

static void a_lane_gives_out_one_entry_at_a_time(void **state)
{
    struct lanes lanes;
    struct lane_entry a1, a2, b1;
    (void)state;
    lanes_init(&lanes);
    lanes_add(&lanes, &a1, 1);
    lanes_add(&lanes, &a2, 1);
    lanes_add(&lanes, &b1, 2);
    assert_ptr_equal(lanes_next(&lanes), &a1);
    assert_ptr_equal(lanes_next(&lanes), &b1);
    assert_null(lanes_next(&lanes));
    lanes_put_back(&lanes, &a1);
    assert_ptr_equal(lanes_next(&lanes), &a1);
    assert_ptr_equal(lanes_next_behind(&a1), &a2); /* together, as a batch does */
    assert_false(lanes_is_head(&a2));
    lanes_done(&lanes, &a1);
    assert_true(lanes_is_head(&a2));
    assert_null(lanes_next(&lanes)); /* it is taken */
    lanes_done(&lanes, &a2);
    lanes_done(&lanes, &b1);
    assert_int_equal(lanes.count, 0);
    lanes_fini(&lanes);
}

static void a_lane_can_begin_with_what_runs(void **state)
{
    struct lanes lanes;
    struct lane_entry a1, a2;
    (void)state;
    lanes_init(&lanes);
    assert_false(lanes_have(&lanes, 1));
    lanes_add_taken(&lanes, &a1, 1);
    assert_true(lanes_have(&lanes, 1));
    assert_false(lanes_have(&lanes, 2));
    lanes_add(&lanes, &a2, 1);
    assert_null(lanes_next(&lanes));
    lanes_put_back(&lanes, &a1);
    assert_ptr_equal(lanes_next(&lanes), &a1);
    lanes_done(&lanes, &a1);
    assert_ptr_equal(lanes_next(&lanes), &a2);
    lanes_done(&lanes, &a2);
    assert_false(lanes_have(&lanes, 1));
    lanes_fini(&lanes);
}

static void too_many_records_of_one_item_are_noticed(void **state)
{
    struct lanes lanes;
    struct lane_entry entries[12];
    (void)state;
    lanes_init(&lanes);
    lanes.count_max = 10;
    for (int i = 0; i < 9; i++)
        lanes_add(&lanes, &entries[i], 1);
    assert_int_equal(lanes.over, 0);
    for (int i = 9; i < 12; i++)
        lanes_add(&lanes, &entries[i], 1);
    assert_int_equal(lanes.over, 1);
    lanes_cut(&lanes, &entries[9]);
    assert_int_equal(lanes.over, 0);
    for (int i = 0; i < 9; i++) {
        assert_ptr_equal(lanes_next(&lanes), &entries[i]);
        lanes_done(&lanes, &entries[i]);
    }
    lanes_fini(&lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_position_is_the_end_of_the_settled_prefix),
        cmocka_unit_test(the_position_passes_what_is_left_out),
        cmocka_unit_test(a_restart_goes_on_with_the_progress),
        cmocka_unit_test(a_full_list_repeats_work_and_skips_none),
        cmocka_unit_test(what_cannot_be_read_is_no_progress),
        cmocka_unit_test(what_never_ran_can_be_taken_back),
        cmocka_unit_test(one_unsettled_record_does_not_hold_its_page),
        cmocka_unit_test(what_was_trimmed_meanwhile_is_missed),
        cmocka_unit_test(a_lane_gives_out_one_entry_at_a_time),
        cmocka_unit_test(a_lane_can_begin_with_what_runs),
        cmocka_unit_test(too_many_records_of_one_item_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
