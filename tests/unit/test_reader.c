/* test_reader.c: a page ahead, by a source whose calls the test answers one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/world.h"
#include "source/reader.h"

#define CALLS_MAX 32
#define BATCH 2 /* so many records make a page full */

struct source_call {
    char cursor[16];
    source_ahead_fn *ahead;
    source_page_fn *done;
    void *user;
};

struct fixture {
    struct world world;
    struct log *log;
    struct source source;
    struct reader *reader;
    struct source_call *calls[CALLS_MAX]; /* that wait for an answer */
    int call_count, asked, cursors;
    char pages[256]; /* what was delivered: the numbers, with commas behind */
    bool closed;
};

static struct fixture *own; /* of the source's calls, which know their source by what they are given only */

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    assert_ptr_equal(source, &own->source);
    assert_int_equal(limit, BATCH);
    snprintf(call->cursor, sizeof call->cursor, "%s", cursor);
    call->ahead = ahead;
    call->done = done;
    call->user = user;
    own->asked++;
    own->calls[own->call_count++] = call;
    return call;
}

static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    (void)source, (void)stream_arn, (void)shard, (void)kind, (void)sequence, (void)done, (void)user;
    own->cursors++;
    return mem_zero(sizeof(struct source_call));
}

static void cancel(struct source_call *call)
{
    for (int i = 0; i < own->call_count; i++)
        if (own->calls[i] == call)
            own->calls[i] = own->calls[--own->call_count];
    free(call);
}

static const struct source_ops ops = {.get_cursor = get_cursor, .read_page = read_page, .cancel = cancel};

static void on_page(void *user, struct page *page)
{
    struct fixture *f = user;
    for (size_t i = 0; i < page->count; i++)
        snprintf(f->pages + strlen(f->pages), sizeof f->pages - strlen(f->pages), "%s,",
                 page->records[i].sequence);
    page_release(page);
}

static void on_gap(void *user, const char *from, const char *to)
{
    (void)user, (void)from, (void)to;
    fail();
}

static void on_closed(void *user)
{
    ((struct fixture *)user)->closed = true;
}

static void on_missing(void *user)
{
    (void)user;
    fail();
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 5; i++)
        reactor_turn(f->world.reactor, 0);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->world.now_ms += ms;
    turn(f);
}

static struct reader *reader_of(struct fixture *f, const char *shard)
{
    static const struct reader_events events = {
        .page = on_page, .gap = on_gap, .closed = on_closed, .missing = on_missing};
    return reader_new(&(struct reader_options){.reactor = f->world.reactor,
                                               .source = &f->source,
                                               .log = f->log,
                                               .subject = "stream s",
                                               .stream_arn = "arn",
                                               .shard = shard,
                                               .batch_size = BATCH,
                                               .poll_min_ms = 1000,
                                               .poll_max_ms = 1000},
                      &events, f);
}

static void begin(struct fixture *f, struct reader *reader, const char *cursor)
{
    reader_start(reader, &(struct position){.kind = POSITION_TRIM_HORIZON}, cursor);
    turn(f);
}

static int make(void **state)
{
    static struct fixture fixture;
    struct fixture *f = own = &fixture;
    fixture = (struct fixture){.source = {.ops = &ops, .traits = {1 << 30, 1 << 30, 1 << 20, NULL, false}}};
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->log = log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG, &f->world.clock);
    f->reader = reader_of(f, "shard");
    begin(f, f->reader, "c0");
    *state = f;
    return 0;
}

static int finish(void **state)
{
    struct fixture *f = *state;
    reader_free(f->reader);
    assert_int_equal(f->call_count, 0);
    assert_int_equal(f->source.awaited, 0);
    world_fini(&f->world);
    log_free(f->log);
    return 0;
}

/* The one that waits at the cursor, which must be one. */
static struct source_call *at(const char *cursor)
{
    struct source_call *found = NULL;
    for (int i = 0; i < own->call_count; i++)
        if (strcmp(own->calls[i]->cursor, cursor) == 0) {
            assert_null(found);
            found = own->calls[i];
        }
    return found;
}

static bool tell_ahead(const char *cursor, const char *next)
{
    const struct source_call *call = at(cursor);
    assert_non_null(call);
    return call->ahead(call->user, next, 300); /* as those of two records */
}

/* With the records of so many numbers, each `step` behind the one before. */
static void answer_by(struct fixture *f, const char *cursor, int first, int step, int count, const char *next)
{
    struct source_call *call = at(cursor);
    struct buf body = BUF_INIT;
    struct err err;
    buf_add_text(&body, "{\"Records\":[");
    for (int i = 0; i < count; i++)
        buf_printf(
            &body,
            "%s{\"eventID\":\"e\",\"eventName\":\"MODIFY\",\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"a\"}},"
            "\"ApproximateCreationDateTime\":1767225600,\"SequenceNumber\":\"%d\"}}",
            i ? "," : "", first + i * step);
    buf_add_text(&body, "]}");
    assert_non_null(call);
    struct source_call one = *call;
    cancel(call);
    struct page *page = page_read(&body, &err);
    assert_non_null(page);
    one.done(one.user, page, next, NULL);
    turn(f);
}

static void answer(struct fixture *f, const char *cursor, int first, int count, const char *next)
{
    answer_by(f, cursor, first, 1, count, next);
}

static void refuse(struct fixture *f, const char *cursor, enum source_fault fault)
{
    struct source_call *call = at(cursor);
    struct source_error error = {.fault = fault};
    assert_non_null(call);
    err_set(&error.err, ERR_SERVICE, "no");
    struct source_call one = *call;
    cancel(call);
    one.done(one.user, NULL, NULL, &error);
    turn(f);
}

/* The page at c2 has come, is not read yet, and the one at c4 is asked for. */
static void begin_ahead(struct fixture *f)
{
    answer(f, "c0", 10, BATCH, "c2");
    assert_true(tell_ahead("c2", "c4"));
}

/* ---- tests ---- */

/* Whether the one before was full decides; of the first nobody knows. */
static void behind_a_full_page_the_next_is_asked_for_before_it_is_read(void **state)
{
    struct fixture *f = *state;
    assert_false(tell_ahead("c0", "c2"));
    answer(f, "c0", 10, BATCH, "c2");
    for (int n = 2; n < 8; n += 2) {
        char cursor[8], next[8];
        snprintf(cursor, sizeof cursor, "c%d", n);
        snprintf(next, sizeof next, "c%d", n + 2);
        assert_true(tell_ahead(cursor, next));
        assert_int_equal(f->call_count, 2);
        answer(f, cursor, 10 + n, BATCH, next);
        assert_int_equal(f->call_count, 1);
        assert_non_null(at(next));
    }
    assert_string_equal(f->pages, "10,11,12,13,14,15,16,17,");
    assert_int_equal(f->asked, 5);
    answer(f, "c8", 18, 1, "c9"); /* not full: it waits */
    assert_int_equal(f->call_count, 0);
    assert_true(reader_at_tip(f->reader));
}

/* It is known to be so large that there is more. */
static void a_large_page_has_one_behind_it(void **state)
{
    struct fixture *f = *state;
    const struct source_call *call = at("c0");
    assert_false(call->ahead(call->user, "c1", (1 << 20) - 1));
    assert_true(call->ahead(call->user, "c1", 1 << 20));
    answer(f, "c0", 10, 1, "c1");
    answer(f, "c1", 11, 1, "c2");
    assert_string_equal(f->pages, "10,11,");
}

static void one_that_fails_before_its_turn_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    refuse(f, "c4", SOURCE_OTHER);
    assert_int_equal(f->call_count, 1);
    answer(f, "c2", 12, BATCH, "c4");
    assert_non_null(at("c4"));
    answer(f, "c4", 14, BATCH, "c6");
    assert_string_equal(f->pages, "10,11,12,13,14,15,");
}

static void one_that_fails_in_its_turn_is_a_fault(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    answer(f, "c2", 12, BATCH, "c4");
    refuse(f, "c4", SOURCE_EXPIRED);
    assert_int_equal(f->cursors, 1);
    assert_string_equal(f->pages, "10,11,12,13,");
}

static void where_the_page_says_another_that_is_read(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    answer(f, "c2", 12, BATCH, "c5");
    assert_null(at("c4"));
    answer(f, "c5", 15, BATCH, "c7");
    assert_string_equal(f->pages, "10,11,12,13,15,16,");
}

static void where_the_page_is_the_last_nothing_is_ahead(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    answer(f, "c2", 12, BATCH, NULL);
    assert_int_equal(f->call_count, 0);
    assert_true(f->closed);
}

static void a_page_that_fails_takes_the_one_ahead_with_it(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    refuse(f, "c2", SOURCE_OTHER);
    assert_int_equal(f->call_count, 0);
    pass(f, 1000);
    answer(f, "c2", 12, BATCH, "c4");
    assert_string_equal(f->pages, "10,11,12,13,");
}

static void records_out_of_order_take_it_with_them_too(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    answer_by(f, "c2", 13, -1, BATCH, "c4");
    assert_int_equal(f->call_count, 0);
    pass(f, 1000);
    assert_int_equal(f->cursors, 1); /* it is read again from the last that was good */
    assert_string_equal(f->pages, "10,11,");
}

/* What is on its way arrives, and then it is quiet; and what was paused is not read ahead of handlers. */
static void a_pause_lets_what_is_on_its_way_arrive(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    reader_pause(f->reader);
    answer(f, "c2", 12, BATCH, "c4");
    assert_false(tell_ahead("c4", "c6"));
    answer(f, "c4", 14, BATCH, "c6");
    assert_string_equal(f->pages, "10,11,12,13,14,15,");
    assert_int_equal(f->call_count, 0);
    reader_resume(f->reader);
    turn(f);
    reader_pause(f->reader);
    reader_resume(f->reader);
    assert_false(tell_ahead("c6", "c8"));
    answer(f, "c6", 16, BATCH, "c8");
    assert_true(tell_ahead("c8", "c10")); /* nobody has paused it since */
    answer(f, "c8", 18, BATCH, "c10");
}

static void a_page_that_another_shard_waits_for_is_enough(void **state)
{
    struct fixture *f = *state;
    struct reader *other = reader_of(f, "other");
    answer(f, "c0", 10, BATCH, "c2");
    begin(f, other, "o0");
    answer(f, "o0", 10, BATCH, "o2");
    assert_int_equal(f->source.awaited, 2);
    assert_false(tell_ahead("c2", "c4"));
    assert_false(tell_ahead("o2", "o4"));
    answer(f, "o2", 12, 1, "o3"); /* it has nothing more */
    assert_true(tell_ahead("c2", "c4"));
    reader_free(other);
    assert_int_equal(f->source.awaited, 2);
}

static void starting_anew_forgets_it(void **state)
{
    struct fixture *f = *state;
    begin_ahead(f);
    begin(f, f->reader, "n0");
    assert_int_equal(f->call_count, 1);
    assert_int_equal(f->source.awaited, 0);
    assert_false(tell_ahead("n0", "n2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(behind_a_full_page_the_next_is_asked_for_before_it_is_read, make,
                                        finish),
        cmocka_unit_test_setup_teardown(a_large_page_has_one_behind_it, make, finish),
        cmocka_unit_test_setup_teardown(one_that_fails_before_its_turn_is_asked_for_again, make, finish),
        cmocka_unit_test_setup_teardown(one_that_fails_in_its_turn_is_a_fault, make, finish),
        cmocka_unit_test_setup_teardown(where_the_page_says_another_that_is_read, make, finish),
        cmocka_unit_test_setup_teardown(where_the_page_is_the_last_nothing_is_ahead, make, finish),
        cmocka_unit_test_setup_teardown(a_page_that_fails_takes_the_one_ahead_with_it, make, finish),
        cmocka_unit_test_setup_teardown(records_out_of_order_take_it_with_them_too, make, finish),
        cmocka_unit_test_setup_teardown(a_pause_lets_what_is_on_its_way_arrive, make, finish),
        cmocka_unit_test_setup_teardown(a_page_that_another_shard_waits_for_is_enough, make, finish),
        cmocka_unit_test_setup_teardown(starting_anew_forgets_it, make, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
