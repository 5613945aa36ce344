/* test_subscription.c: letters on their way through a subscription that is cut, with a handler that waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/world.h"
#include "dispatch/subscription.h"

#define CALLS_MAX 32
#define LAST -1
#define START_S 1767225600 /* version v was written so many seconds later */

/* A call that has not returned. */
struct invocation {
    int v;
    handler_done_fn *done;
    void *user;
};

struct fixture {
    struct world world;
    struct log *log;
    struct handler handler;
    struct subscription *subscription;
    struct invocation *open[CALLS_MAX];
    int begun[CALLS_MAX], begun_count,
        open_count;                           /* versions, in the order of the calls; LAST: of a window */
    size_t counts[CALLS_MAX];                 /* of the calls' records */
    int64_t windows_s[CALLS_MAX];             /* when the calls' windows begin */
    int64_t held[CALLS_MAX], done[CALLS_MAX]; /* letters */
    int held_count, done_count;
    int returns_below, raises_below; /* calls with versions below that end at once */
};

static struct fixture *fixture_of(struct handler *handler)
{
    return (struct fixture *)((char *)handler - offsetof(struct fixture, handler));
}

static bool wants(const struct handler *handler, const struct record *record,
                  const struct handler_source *source)
{
    (void)handler;
    (void)record;
    (void)source;
    return true;
}

static enum handler_result run(struct handler *handler, const struct handler_call *call,
                               handler_done_fn *done, void *user, struct invocation **invocation,
                               struct handler_outcome *outcome)
{
    struct fixture *f = fixture_of(handler);
    char *digits =
        call->count ? json_string_dup(json_get(json_get(call->inputs[0].record->new_image, "v"), "N")) : NULL;
    int v = digits ? atoi(digits) : LAST;
    free(digits);
    f->windows_s[f->begun_count] = call->window ? call->window->start_ms / 1000 - START_S : 0;
    f->counts[f->begun_count] = call->count;
    f->begun[f->begun_count++] = v;
    if (v >= 0 && v < f->raises_below) {
        outcome->error = (struct handler_error){.text = mem_string("no"), .traceback = mem_string("")};
        return HANDLER_RAISED;
    }
    if (v >= 0 && v < f->returns_below)
        return HANDLER_RETURNED;
    struct invocation *waits = mem_alloc(sizeof *waits);
    *waits = (struct invocation){v, done, user};
    f->open[f->open_count++] = waits;
    *invocation = waits;
    return HANDLER_WAITING;
}

static void cancel(struct handler *handler, struct invocation *invocation)
{
    struct fixture *f = fixture_of(handler);
    for (int i = 0; i < f->open_count; i++)
        if (f->open[i] == invocation)
            f->open[i] = f->open[--f->open_count];
    free(invocation);
}

static bool stale(const struct handler *handler, const struct config *config)
{
    (void)handler;
    (void)config;
    return false;
}

static void free_nothing(struct handler *handler)
{
    (void)handler;
}

static void nothing(void *user)
{
    (void)user;
}

static bool on_missed(void *user, const char *to)
{
    (void)user;
    (void)to;
    return true;
}

static void on_redriven(void *user, int64_t letter)
{
    struct fixture *f = user;
    f->done[f->done_count++] = letter;
}

static void on_held(void *user, int64_t letter)
{
    struct fixture *f = user;
    f->held[f->held_count++] = letter;
}

/* ---- a store that takes everything ---- */

static void commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user)
{
    (void)store;
    store_batch_free(batch);
    if (done)
        done(user, NULL);
}

static const struct store_ops store_ops = {.commit = commit};
static struct store taking_store = {&store_ops};

static void start(struct fixture *f, const char *progress)
{
    static const struct subscription_events events = {nothing, nothing, on_missed, on_redriven, on_held};
    struct position start = {.kind = POSITION_TRIM_HORIZON};
    f->subscription = subscription_new(
        &(struct subscription_options){
            .reactor = f->world.reactor,
            .store = &taking_store,
            .log = f->log,
            .handler = &f->handler,
            .source = {.stream = "s", .stream_arn = "arn", .table = "T", .shard = "shard"},
            .late_ms = 5000},
        &start, progress, &events, f);
}

static void make_with(struct fixture *f, const char *progress, int64_t backoff_max_ms)
{
    static const struct handler_ops ops = {
        .wants = wants, .run = run, .cancel = cancel, .stale = stale, .free = free_nothing};
    *f = (struct fixture){0};
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->log = log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG, &f->world.clock);
    f->handler = (struct handler){.ops = &ops, .references = 100, .name = "h", .kind = HANDLER_RECORDS};
    f->handler.settings = (struct handler_settings){.concurrency = 64,
                                                    .batch_size = 1,
                                                    .retries = 3,
                                                    .backoff_ms = {10, backoff_max_ms},
                                                    .max_age_ms = 86400000,
                                                    .on_failure = "dead"};
    start(f, progress);
}

static void make_windows(struct fixture *f)
{
    make_with(f, "", 100);
    subscription_free(f->subscription);
    f->handler.kind = HANDLER_WINDOWS;
    f->handler.settings.tumbling_window_ms = 10000;
    f->handler.settings.batch_size = 10;
    f->handler.settings.backoff_ms[0] = 2000;
    f->handler.settings.backoff_ms[1] = 4000;
    start(f, "");
}

static void make(struct fixture *f)
{
    make_with(f, "", 100);
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 10; i++)
        reactor_turn(f->world.reactor, 1);
}

static void pass(struct fixture *f, int64_t ms)
{
    int64_t end_ms = f->world.now_ms + ms;
    while (f->world.now_ms < end_ms)
        reactor_turn(f->world.reactor, end_ms - f->world.now_ms);
}

static void finish(struct fixture *f)
{
    subscription_abandon(f->subscription);
    turn(f);
    subscription_free(f->subscription);
    world_fini(&f->world);
    log_free(f->log);
}

/* Version `v` of the item. */
static struct page *page_of(const char *item, int v)
{
    struct buf body = BUF_INIT;
    struct err err;
    buf_printf(&body,
               "{\"Records\":[{\"eventID\":\"e%d\",\"eventName\":\"MODIFY\",\"dynamodb\":{\"Keys\":{\"id\":{"
               "\"S\":\"%s\"}},"
               "\"NewImage\":{\"v\":{\"N\":\"%d\"}},\"ApproximateCreationDateTime\":%d,\"SequenceNumber\":\"%"
               "d\"}}]}",
               v, item, v, START_S + v, 100 + v);
    struct page *page = page_read(&body, &err);
    assert_non_null(page);
    return page;
}

static void feed(struct fixture *f, const char *item, int v)
{
    struct page *page = page_of(item, v);
    subscription_feed(f->subscription, page);
    page_release(page);
}

static void redrive(struct fixture *f, const char *item, int v, int64_t letter, bool hold)
{
    struct page *page = page_of(item, v);
    assert_true(subscription_redrive(f->subscription, page, letter, hold));
    page_release(page);
}

static void end_call(struct fixture *f, int v, bool well)
{
    for (int i = 0; i < f->open_count; i++)
        if (f->open[i]->v == v) {
            struct invocation *invocation = f->open[i];
            struct handler_outcome outcome = {0};
            if (f->handler.kind == HANDLER_WINDOWS && v != LAST)
                outcome.state = mem_string("{}");
            if (!well)
                outcome.error = (struct handler_error){.text = mem_string("no"), .traceback = mem_string("")};
            f->open[i] = f->open[--f->open_count];
            invocation->done(invocation->user, well ? HANDLER_RETURNED : HANDLER_RAISED, &outcome);
            free(invocation);
            turn(f);
            return;
        }
    fail_msg("no call has %d", v);
}

static void return_from(struct fixture *f, int v)
{
    end_call(f, v, true);
}

/* ---- tests ---- */

static void letters_behind_what_is_cut_come_in_their_order(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    feed(&f, "a", 10); /* runs */
    turn(&f);
    feed(&f, "a", 11); /* waits for it: this is cut */
    redrive(&f, "a", 1, 501, false);
    redrive(&f, "a", 2, 502, false);
    redrive(&f, "a", 3, 503, false);
    turn(&f);
    subscription_cut(f.subscription);
    return_from(&f, 10);
    return_from(&f, 1);
    return_from(&f, 2);
    return_from(&f, 3);
    assert_int_equal(f.begun_count, 4);
    assert_int_equal(f.done_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.done[i], 501 + i);
    feed(&f, "a", 11); /* what was taken back comes again */
    turn(&f);
    return_from(&f, 11);
    finish(&f);
}

static void held_letters_keep_their_order_through_a_cut(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    feed(&f, "a", 10);
    turn(&f);
    feed(&f, "a", 11);
    redrive(&f, "a", 1, 501, true);
    redrive(&f, "a", 2, 502, true);
    turn(&f);
    subscription_cut(f.subscription);
    return_from(&f, 10);
    assert_int_equal(f.held_count, 1);
    assert_int_equal(f.held[0],
                     501); /* elsewhere 501 comes first, too: the other way round both wait for ever */
    assert_true(subscription_release(f.subscription, 501, true));
    turn(&f);
    return_from(&f, 1);
    assert_int_equal(f.held_count, 2);
    assert_true(subscription_release(f.subscription, 502, false));
    turn(&f);
    assert_int_equal(f.done_count, 2);
    assert_int_equal(f.begun_count, 2); /* 10 and 1 */
    finish(&f);
}

static void a_letter_that_is_held_keeps_its_item_and_nobody_else(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    redrive(&f, "a", 1, 501, true);
    feed(&f, "a", 10);
    feed(&f, "b", 11);
    turn(&f);
    assert_int_equal(f.begun_count, 1);
    assert_int_equal(f.begun[0], 11);
    assert_true(subscription_release(f.subscription, 501, false));
    turn(&f);
    assert_int_equal(f.begun_count, 2);
    finish(&f);
}

/* ---- restarts ---- */

/* What was tried twice, and is due in a minute, is not tried before: a restart is no attempt and no reason
 * for one. */
static void a_restart_waits_on_for_the_next_attempt(void **state)
{
    struct fixture f;
    char progress[200];
    (void)state;
    make(&f);
    int64_t due_ms = clock_wall_ms(&f.world.clock) + 60000;
    finish(&f);
    snprintf(progress, sizeof progress, "{\"through\":\"110\",\"open\":[[\"110\",2,%lld]]}",
             (long long)due_ms);
    make_with(&f, progress, 120000);
    feed(&f, "a", 10);
    feed(&f, "b", 11);
    turn(&f);
    assert_int_equal(f.begun_count, 1);
    assert_int_equal(f.begun[0], 11);
    pass(&f, 59000);
    assert_int_equal(f.begun_count, 1);
    pass(&f, 2000);
    assert_int_equal(f.begun_count, 2);
    finish(&f);
}

/* A clock that was set back since: nobody waits longer than the longest pause. */
static void a_due_time_far_ahead_waits_no_longer_than_the_backoff(void **state)
{
    struct fixture f;
    (void)state;
    make_with(&f, "{\"through\":\"110\",\"open\":[[\"110\",1,9999999999999]]}", 5000);
    feed(&f, "a", 10);
    turn(&f);
    assert_int_equal(f.begun_count, 0);
    pass(&f, 5100);
    assert_int_equal(f.begun_count, 1);
    finish(&f);
}

static void make_batches(struct fixture *f, const char *progress)
{
    make_with(f, "", 120000);
    subscription_free(f->subscription);
    f->handler.kind = HANDLER_BATCHES;
    f->handler.settings.batch_size = 10;
    start(f, progress);
}

/* A record that waits for its next attempt joins no batch before. */
static void a_restart_waits_on_also_with_batches(void **state)
{
    struct fixture f;
    char progress[200];
    (void)state;
    make(&f);
    int64_t due_ms = clock_wall_ms(&f.world.clock) + 60000;
    finish(&f);
    snprintf(progress, sizeof progress, "{\"through\":\"110\",\"open\":[[\"109\",1,0],[\"110\",2,%lld]]}",
             (long long)due_ms);
    make_batches(&f, progress);
    feed(&f, "b", 9);
    feed(&f, "a", 10);
    feed(&f, "c", 11);
    turn(&f);
    for (int i = 0; i < f.begun_count; i++)
        assert_int_not_equal(f.begun[i], 10);
    int before = f.begun_count;
    pass(&f, 59000);
    assert_int_equal(f.begun_count, before);
    pass(&f, 2000);
    assert_int_equal(f.begun_count, before + 1);
    assert_int_equal(f.begun[before], 10);
    finish(&f);
}

/* By one clock the record is a day old: that takes none of its attempts from it. */
static void a_clock_that_jumps_makes_no_record_too_old(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    feed(&f, "a", 10);
    turn(&f);
    f.world.wall_start_ms += 100 * 365 * 86400000LL;
    end_call(&f, 10, false);
    pass(&f, 200);
    assert_int_equal(f.begun_count, 2);
    assert_int_equal(f.begun[1], 10);
    finish(&f);
}

/* ---- what is emitted ---- */

static void emitter_nothing(const struct emitter *emitter)
{
    (void)emitter;
}

static void emitter_hurry(const struct emitter *emitter, const char *handler)
{
    (void)emitter;
    (void)handler;
}

static size_t nothing_held(const struct emitter *emitter)
{
    (void)emitter;
    return 0;
}

/* A handler whose calls emit 30 MiB each: no more of them run than have room. */
static void calls_begin_only_where_what_they_emit_has_room(void **state)
{
    static const struct emitter_ops ops = {.hold = emitter_nothing,
                                           .release = emitter_nothing,
                                           .hurry = emitter_hurry,
                                           .held_bytes = nothing_held};
    static const struct emitter emitter = {&ops};
    static const enum handler_kind kinds[] = {HANDLER_RECORDS, HANDLER_BATCHES};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        if (kinds[i] == HANDLER_RECORDS)
            make(&f);
        else
            make_batches(&f, "");
        subscription_free(f.subscription);
        f.handler.settings.batch_size = 1;
        f.handler.emitter = &emitter;
        f.handler.emits_bytes = (size_t)30 << 20;
        start(&f, "");
        for (int v = 10; v < 20; v++) {
            char item[8];
            snprintf(item, sizeof item, "i%d", v);
            feed(&f, item, v);
        }
        turn(&f);
        assert_int_equal(f.begun_count, 3);
        return_from(&f, 10);
        pass(&f, 100);
        assert_int_equal(f.begun_count, 4);
        finish(&f);
    }
}

/* ---- windows ---- */

/* The records that the window still waits for come after it. */
static void a_letter_closes_no_window(void **state)
{
    struct fixture f;
    (void)state;
    make_windows(&f);
    feed(&f, "a", 11);
    turn(&f);
    return_from(&f, 11);
    redrive(&f, "a", 35, 501, false); /* written two windows later, in another shard */
    turn(&f);
    assert_int_equal(f.begun_count, 2);
    assert_int_equal(f.begun[1], 35);
    assert_int_equal(f.windows_s[1], 10);
    return_from(&f, 35);
    feed(&f, "a", 12);
    turn(&f);
    assert_int_equal(f.begun[2], 12);
    assert_int_equal(f.windows_s[2], 10);
    return_from(&f, 12);
    finish(&f);
}

static void a_letter_waits_while_its_window_closes(void **state)
{
    struct fixture f;
    (void)state;
    make_windows(&f);
    feed(&f, "a", 11);
    turn(&f);
    return_from(&f, 11);
    subscription_caught_up(f.subscription, (int64_t)(START_S + 60) * 1000);
    turn(&f);
    assert_int_equal(f.begun_count, 2);
    assert_int_equal(f.begun[1], LAST);
    end_call(&f, LAST, false); /* another attempt is due */
    redrive(&f, "a", 1, 501, true);
    turn(&f);
    assert_int_equal(f.held_count, 1);
    assert_true(subscription_release(f.subscription, 501, true));
    turn(&f);
    while (f.begun_count == 2)
        reactor_turn(f.world.reactor, 1000);
    assert_int_equal(f.begun[2], LAST);
    turn(&f);
    assert_int_equal(f.begun_count, 3);
    return_from(&f, LAST);
    pass(&f, 1000);
    assert_int_equal(f.begun_count, 4);
    assert_int_equal(f.begun[3], 1);
    return_from(&f, 1);
    finish(&f);
}

/* ---- what ends where it begins ---- */

static void assert_begun(const struct fixture *f, const int *wanted, int count)
{
    assert_int_equal(f->begun_count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(f->begun[i], wanted[i]);
}

/* What ends at once and what waits, in one item and in others. */
static void an_item_s_records_wait_only_for_their_own(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.returns_below = 10;
    feed(&f, "a", 1);
    feed(&f, "a", 11); /* waits */
    feed(&f, "b", 12); /* waits */
    feed(&f, "a", 13);
    feed(&f, "c", 14);
    feed(&f, "b", 15);
    turn(&f);
    assert_begun(&f, (const int[]){1, 11, 12, 14}, 4);
    f.returns_below = 100;
    return_from(&f, 11);
    assert_begun(&f, (const int[]){1, 11, 12, 14, 13}, 5);
    return_from(&f, 12);
    return_from(&f, 14);
    assert_begun(&f, (const int[]){1, 11, 12, 14, 13, 15}, 6);
    assert_true(subscription_drained(f.subscription));
    finish(&f);
}

static void what_fails_at_once_keeps_its_item_and_nobody_else(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.raises_below = 2;
    f.returns_below = 10;
    feed(&f, "a", 1);
    feed(&f, "b", 2);
    feed(&f, "a", 3);
    turn(&f);
    assert_begun(&f, (const int[]){1, 2}, 2);
    f.raises_below = 0;
    pass(&f, 1000);
    assert_begun(&f, (const int[]){1, 2, 1, 3}, 4);
    assert_true(subscription_drained(f.subscription));
    finish(&f);
}

/* One after the other: what fails keeps all others. */
static void what_fails_at_once_keeps_its_shard(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.handler.settings.ordering = ORDERING_SHARD;
    subscription_replace_handler(f.subscription, &f.handler);
    f.raises_below = 2;
    f.returns_below = 10;
    for (int v = 1; v <= 3; v++)
        feed(&f, (char[]){(char)('a' + v), '\0'}, v);
    turn(&f);
    assert_begun(&f, (const int[]){1}, 1);
    f.raises_below = 0;
    pass(&f, 1000);
    assert_begun(&f, (const int[]){1, 1, 2, 3}, 4);
    finish(&f);
}

#define MANY 4200 /* more of one item than are to wait in memory */

static void too_many_of_one_item_stop_the_feed(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.raises_below = 2;
    f.returns_below = MANY;
    f.handler.settings.backoff_ms[0] = f.handler.settings.backoff_ms[1] = 1000;
    subscription_replace_handler(f.subscription, &f.handler);
    feed(&f, "a", 1);
    for (int v = 2; v < MANY; v++)
        feed(&f, "a", v);
    turn(&f);
    assert_true(subscription_full(f.subscription, SIZE_MAX));
    subscription_cut(f.subscription);
    assert_false(subscription_full(f.subscription, SIZE_MAX));
    feed(&f, "b", 2);
    turn(&f);
    assert_begun(&f, (const int[]){1, 2}, 2);
    finish(&f);
}

/* What has not been looked at yet, since no more calls may run, is taken back with all else. */
static void what_stands_in_line_is_taken_back(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.handler.settings.concurrency = 1;
    subscription_replace_handler(f.subscription, &f.handler);
    feed(&f, "a", 1);
    turn(&f);
    feed(&f, "b", 2);
    feed(&f, "a", 3);
    redrive(&f, "b", 4, 501, false);
    subscription_cut(f.subscription);
    return_from(&f, 1);
    assert_begun(&f, (const int[]){1, 4}, 2);
    feed(&f, "b", 2);
    feed(&f, "a", 3);
    return_from(&f, 4);
    return_from(&f, 2);
    return_from(&f, 3);
    assert_begun(&f, (const int[]){1, 4, 2, 3}, 4);
    finish(&f);
}

/* ---- what a reload changes ---- */

static void becomes(struct fixture *f, enum handler_kind kind)
{
    f->handler.kind = kind;
    subscription_replace_handler(f->subscription, &f->handler);
    turn(f);
}

static void a_script_without_on_window_gets_no_last_call(void **state)
{
    struct fixture f;
    struct buf progress = BUF_INIT;
    struct position position;
    (void)state;
    make_windows(&f);
    feed(&f, "a", 1);
    turn(&f);
    return_from(&f, 1);
    subscription_caught_up(f.subscription, (int64_t)(START_S + 60) * 1000);
    turn(&f);
    end_call(&f, LAST, false); /* another attempt is due */
    becomes(&f, HANDLER_RECORDS);
    pass(&f, 10000);
    assert_int_equal(f.begun_count, 2);
    assert_true(subscription_drained(f.subscription));
    subscription_checkpoint(f.subscription, true, &position, &progress);
    assert_null(strstr(progress.data, "window"));
    buf_fini(&progress);
    finish(&f);
}

static void what_stands_in_line_goes_into_batches(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.handler.settings.concurrency = 1;
    becomes(&f, HANDLER_RECORDS);
    feed(&f, "a", 1);
    turn(&f);
    feed(&f, "a", 2);
    feed(&f, "b", 3);
    feed(&f, "c", 4);
    f.handler.settings.batch_size = 2;
    f.handler.settings.concurrency = 4;
    becomes(&f, HANDLER_BATCHES);
    assert_begun(&f, (const int[]){1, 3}, 2);
    assert_int_equal(f.counts[1], 2);
    return_from(&f, 1);
    return_from(&f, 3);
    return_from(&f, 2);
    assert_true(subscription_drained(f.subscription));
    finish(&f);
}

static void halves_of_a_batch_go_the_way_of_the_new_script(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.handler.settings.batch_size = 4;
    becomes(&f, HANDLER_BATCHES);
    for (int v = 1; v <= 4; v++)
        feed(&f, (char[]){(char)('a' + v), '\0'}, v);
    turn(&f);
    assert_int_equal(f.counts[0], 4);
    f.handler.kind = HANDLER_RECORDS;
    subscription_replace_handler(f.subscription, &f.handler);
    end_call(&f, 1, false);
    assert_int_equal(f.begun_count, 5);
    for (int call = 1; call < 5; call++)
        assert_int_equal(f.counts[call], 1);
    for (int v = 1; v <= 4; v++)
        return_from(&f, v);
    assert_true(subscription_drained(f.subscription));
    finish(&f);
}

/* ---- time ---- */

/* A record may be read some seconds later than its time says. */
static void a_window_stays_open_for_those_that_come_late(void **state)
{
    struct fixture f;
    (void)state;
    make_windows(&f);
    feed(&f, "a", 1);
    turn(&f);
    return_from(&f, 1);
    subscription_caught_up(f.subscription, (int64_t)(START_S + 10) * 1000 + 4999);
    turn(&f);
    assert_int_equal(f.begun_count, 1);
    subscription_caught_up(f.subscription, (int64_t)(START_S + 10) * 1000 + 5000);
    turn(&f);
    assert_int_equal(f.begun_count, 2);
    return_from(&f, LAST);
    finish(&f);
}

static void a_record_that_fails_for_longer_than_max_age_is_given_up(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    f.handler.settings.retries = -1;
    f.handler.settings.max_age_ms = 60000;
    f.handler.settings.on_failure = "discard";
    f.world.wall_start_ms = (int64_t)START_S * 1000 - f.world.now_ms;
    subscription_replace_handler(f.subscription, &f.handler);
    feed(&f, "a", 1);
    turn(&f);
    end_call(&f, 1, false);
    pass(&f, 30000);
    end_call(&f, 1, false);
    assert_int_equal(subscription_counters(f.subscription)->discarded, 0);
    pass(&f, 40000);
    end_call(&f, 1, false);
    assert_int_equal(subscription_counters(f.subscription)->discarded, 1);
    assert_true(subscription_drained(f.subscription));
    finish(&f);
}

/* ---- what a review found ---- */

/* The service may give empty pages before those with records. */
static void an_empty_page_settles_nothing_that_was_open(void **state)
{
    struct fixture f;
    (void)state;
    make_with(&f, "{\"through\":\"111\",\"open\":[[\"110\",1]]}", 100);
    subscription_caught_up(f.subscription, (int64_t)(START_S + 60) * 1000);
    turn(&f);
    feed(&f, "a", 10);
    feed(&f, "b", 11);
    turn(&f);
    assert_int_equal(f.begun_count, 1);
    assert_int_equal(f.begun[0], 10);
    return_from(&f, 10);
    finish(&f);
}

/* on_record, on_window, on_record again, while two windows are in it. */
static void a_window_that_was_dropped_takes_no_state(void **state)
{
    struct fixture f;
    (void)state;
    make_windows(&f);
    becomes(&f, HANDLER_RECORDS);
    feed(&f, "a", 1);
    feed(&f, "b", 21); /* another window */
    turn(&f);
    end_call(&f, 1, false);
    end_call(&f, 21, false);
    becomes(&f, HANDLER_WINDOWS);
    pass(&f, 5000);
    becomes(&f, HANDLER_RECORDS);
    while (f.open_count) {
        struct invocation *invocation = f.open[0];
        struct handler_outcome outcome = {.state = mem_string("{}")};
        f.open[0] = f.open[--f.open_count];
        invocation->done(invocation->user, HANDLER_RETURNED, &outcome);
        free(invocation);
        turn(&f);
    }
    pass(&f, 10000);
    finish(&f);
}

/* One window has one state: what was begun before the script had on_window does not run beside another. */
static void calls_of_a_window_do_not_overlap_after_a_reload(void **state)
{
    struct fixture f;
    (void)state;
    make_windows(&f);
    becomes(&f, HANDLER_RECORDS);
    feed(&f, "a", 1);
    feed(&f, "b", 2);
    turn(&f);
    end_call(&f, 1, false);
    end_call(&f, 2, false);
    becomes(&f, HANDLER_WINDOWS);
    pass(&f, 60000);
    assert_int_equal(f.open_count, 1);
    return_from(&f, f.open[0]->v);
    pass(&f, 1000);
    assert_int_equal(f.open_count, 1);
    return_from(&f, f.open[0]->v);
    finish(&f);
}

/* Records of one item that were queued by another rule are not overtaken. */
static void the_order_of_an_item_holds_through_a_change_of_ordering(void **state)
{
    static const enum ordering orders[][2] = {{ORDERING_ITEM, ORDERING_SHARD},
                                              {ORDERING_SHARD, ORDERING_ITEM}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        make(&f);
        f.handler.settings.ordering = orders[i][0];
        becomes(&f, HANDLER_RECORDS);
        feed(&f, "a", 1);
        feed(&f, "a", 2);
        turn(&f);
        f.handler.settings.ordering = orders[i][1];
        becomes(&f, HANDLER_RECORDS);
        assert_true(subscription_full(f.subscription, 1 << 20)); /* nothing more, until it can change */
        feed(&f, "a", 3);
        turn(&f);
        for (int v = 1; v <= 3; v++) {
            assert_int_equal(f.open_count, 1);
            return_from(&f, v);
        }
        assert_false(subscription_full(f.subscription, 1 << 20));
        finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_behind_what_is_cut_come_in_their_order),
        cmocka_unit_test(held_letters_keep_their_order_through_a_cut),
        cmocka_unit_test(a_letter_that_is_held_keeps_its_item_and_nobody_else),
        cmocka_unit_test(a_restart_waits_on_for_the_next_attempt),
        cmocka_unit_test(a_restart_waits_on_also_with_batches),
        cmocka_unit_test(a_clock_that_jumps_makes_no_record_too_old),
        cmocka_unit_test(calls_begin_only_where_what_they_emit_has_room),
        cmocka_unit_test(a_letter_closes_no_window),
        cmocka_unit_test(a_letter_waits_while_its_window_closes),
        cmocka_unit_test(a_due_time_far_ahead_waits_no_longer_than_the_backoff),
        cmocka_unit_test(calls_of_a_window_do_not_overlap_after_a_reload),
        cmocka_unit_test(the_order_of_an_item_holds_through_a_change_of_ordering),
        cmocka_unit_test(an_empty_page_settles_nothing_that_was_open),
        cmocka_unit_test(a_window_that_was_dropped_takes_no_state),
        cmocka_unit_test(a_script_without_on_window_gets_no_last_call),
        cmocka_unit_test(halves_of_a_batch_go_the_way_of_the_new_script),
        cmocka_unit_test(an_item_s_records_wait_only_for_their_own),
        cmocka_unit_test(what_fails_at_once_keeps_its_item_and_nobody_else),
        cmocka_unit_test(what_fails_at_once_keeps_its_shard),
        cmocka_unit_test(too_many_of_one_item_stop_the_feed),
        cmocka_unit_test(what_stands_in_line_is_taken_back),
        cmocka_unit_test(what_stands_in_line_goes_into_batches),
        cmocka_unit_test(a_window_stays_open_for_those_that_come_late),
        cmocka_unit_test(a_record_that_fails_for_longer_than_max_age_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
