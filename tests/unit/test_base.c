/* test_base.c: the floor that everything stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/problems.h"
#include "base/rights.h"
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
    assert_int_equal(clock_from_iso8601("2026-01-31T23:59:59.123456789123456789+00:00"), 1769903999123);
    assert_int_equal(clock_from_iso8601("2026-01-31T23:59:59.Z"), -1);
    assert_int_equal(clock_from_iso8601("2026-02-01t01:59:59.9999z"), 1769911200000);
    assert_int_equal(clock_from_iso8601("2026-02-01T01:59:59+02:00"), 1769903999000);
    assert_int_equal(clock_from_iso8601("2026-01-31T18:29:59-05:30"), 1769903999000);
    static const char *const wrong[] = {
        "2026-02-30T00:00:00Z",     "2025-02-29T00:00:00Z",      "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",     "2026-01-31T24:00:00Z",      "2026-01-31T23:60:00Z",
        "2026-01-31 23:59:59Z",     "2026-1-31T23:59:59Z",       "2026-01-31T23:59:59",
        "2026-01-31T23:59:59+0200", "2026-01-31T23:59:59+24:00", "2026-01-31T23:59:59Zx",
        "1900-02-29T00:00:00Z",     "26-01-31T23:59:59Z",        ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(clock_read_iso8601(wrong[i], &(int64_t){0}));
    int64_t ms;
    assert_true(clock_read_iso8601("1969-12-31T23:59:59.5Z", &ms));
    assert_int_equal(ms, -500);
    clock_iso8601(ms, text);
    assert_string_equal(text, "1969-12-31T23:59:59.500Z");
    assert_true(clock_read_iso8601("2024-02-29T00:00:00Z", &ms));
    assert_int_equal(clock_from_iso8601("2026-01-31T23:59:59.9e999Z"), -1);
    assert_int_equal(clock_from_iso8601("2026-01-31T23:59:59.infZ"), -1);
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

struct again {
    struct reactor *reactor;
    struct timer timer;
    int count;
};

static void on_again(void *user)
{
    struct again *again = user;
    assert_true(again->count < 100);
    again->count++;
    timer_set(again->reactor, &again->timer, 0);
}

/* What sets itself at once leaves the others their turn. */
static void at_once_is_in_the_next_turn(void **state)
{
    struct world world;
    struct again again[2] = {{.count = 0}, {.count = 0}};
    (void)state;
    world_init(&world);
    world_add_reactor(&world);
    for (int i = 0; i < 2; i++) {
        again[i].reactor = world.reactor;
        timer_init(&again[i].timer, on_again, &again[i]);
        timer_set(world.reactor, &again[i].timer, 0);
        assert_true(timer_is_set(&again[i].timer));
    }
    for (int turn = 1; turn <= 3; turn++) {
        reactor_turn(world.reactor, 1000);
        assert_int_equal(again[0].count, turn);
        assert_int_equal(again[1].count, turn);
    }
    timer_stop(world.reactor, &again[0].timer);
    assert_false(timer_is_set(&again[0].timer));
    timer_set(world.reactor, &again[1].timer, 5); /* moved */
    reactor_turn(world.reactor, 0);
    assert_int_equal(again[0].count + again[1].count, 6);
    timer_stop(world.reactor, &again[1].timer);
    world_fini(&world);
}

/* ---- names from outside ---- */

static void a_name_from_outside_is_one_component(void **state)
{
    static const char *const names[][2] = {{"shardId-00000001-aa", "shardId-00000001-aa"},
                                           {"H 19b7:8a51", "H 19b7:8a51"},
                                           {"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
                                           {"..", "%2E."},
                                           {"a/b", "a%2Fb"},
                                           {"a\\b", "a%5Cb"},
                                           {"100%", "100%25"},
                                           {"a\nb\x1b[0m", "a%0Ab%1B[0m"},
                                           {"", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *component = path_component(names[i][0]);
        assert_string_equal(component, names[i][1]);
        free(component);
    }
}

static void what_leads_out_is_seen(void **state)
{
    static const char *const below[] = {"a", "a/b.json", "failures/h/s/2026/01/01/1.json", "a..b/.c", "..."};
    static const char *const out[] = {"",   "/",    "/a",     "a/",   "a//b",  ".",
                                      "..", "../a", "a/../b", "a/..", "a/./b", "a\nb"};
    (void)state;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        assert_true(path_is_below(below[i]));
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        assert_false(path_is_below(out[i]));
}

/* ---- rights ---- */

/* In a process of its own. The number of the first thing that it could do, or could not. */
static int try_all(const char *within, const char *outside, int version)
{
    char path[128], other[128];
    if (!rights_confine(&within, 1))
        return 0; /* this kernel has no Landlock */
    snprintf(path, sizeof path, "%s/kept", outside);
    snprintf(other, sizeof other, "%s/made", outside);
    if (open(path, O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 1;
    if (version >= 3 && (truncate(path, 0) == 0 || errno != EACCES))
        return 2;
    if (unlink(path) == 0 || errno != EACCES)
        return 3;
    if (mkdir(other, 0700) == 0 || errno != EACCES)
        return 4;
    if (symlink(path, other) == 0 || errno != EACCES)
        return 5;
    if (mkfifo(other, 0600) == 0 || errno != EACCES)
        return 6;
    if (open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
        return 7;
    int read_only = open(path, O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/own", within);
    int own = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (read_only < 0 || null < 0 || own < 0 || ftruncate(own, 0) != 0 || unlink(path) != 0)
        return 8;
    return rights_cover(within) && !rights_cover(outside) ? 0 : 9;
}

static void a_confined_process_changes_nothing_elsewhere(void **state)
{
    char within[] = "/tmp/tidemill-test-XXXXXX", outside[] = "/tmp/tidemill-test-XXXXXX", kept[128];
    int status = -1;
    (void)state;
    int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    assert_non_null(mkdtemp(within));
    assert_non_null(mkdtemp(outside));
    snprintf(kept, sizeof kept, "%s/kept", outside);
    close(open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    pid_t child = fork();
    if (child == 0)
        _exit(try_all(within, outside, version));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(unlink(kept), 0);
    assert_int_equal(rmdir(outside), 0);
    assert_int_equal(rmdir(within), 0);
}

/* A completion within the poller that ends one watch and begins another, as those of a transport do. */
struct shifty {
    struct poller poller;
    struct reactor *reactor;
    struct watch *first, *added;
    int end; /* of a pipe that has something */
    int ran;
};

static void on_shifty(void *user)
{
    ((struct shifty *)user)->ran++;
}

static void must_not_run(void *user)
{
    (void)user;
    fail_msg("nothing has happened there");
}

static void shifty_wait(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    struct shifty *shifty = list_entry(poller, struct shifty, poller);
    poll(fds, (nfds_t)count, (int)timeout_ms);
    watch_free(shifty->first);
    shifty->first = NULL;
    if (!shifty->added) /* which is not of this turn */
        shifty->added = reactor_watch(shifty->reactor, shifty->end, POLLIN, must_not_run, shifty);
}

/* Pipes, which epoll takes, and files, which it does not. */
static void a_watch_is_told_of_its_own_descriptor(void **state)
{
    struct clock clock = clock_system();
    char path[] = "/tmp/tidemill-test-XXXXXX";
    (void)state;
    for (int file = 0; file < 2; file++) {
        struct shifty shifty = {.reactor = reactor_new(&clock)};
        int ready[2], quiet[2];
        assert_int_equal(pipe(ready), 0);
        assert_int_equal(pipe(quiet), 0);
        assert_int_equal(write(ready[1], "x", 1), 1);
        shifty.end = file ? mkstemp(path) : ready[0];
        shifty.poller.wait = shifty_wait;
        reactor_set_poller(shifty.reactor, &shifty.poller);
        shifty.first =
            reactor_watch(shifty.reactor, file ? shifty.end : ready[0], POLLIN, must_not_run, &shifty);
        struct watch *none = reactor_watch(shifty.reactor, quiet[0], POLLIN, must_not_run, &shifty);
        struct watch *last =
            reactor_watch(shifty.reactor, file ? shifty.end : dup(ready[0]), POLLIN, on_shifty, &shifty);
        reactor_turn(shifty.reactor, 1000);
        assert_int_equal(shifty.ran, 1);
        watch_free(none);
        watch_free(last);
        watch_free(shifty.added);
        reactor_set_poller(shifty.reactor, NULL);
        reactor_free(shifty.reactor);
        for (int i = 0; i < 2; i++) {
            close(ready[i]);
            close(quiet[i]);
        }
        if (file) {
            close(shifty.end);
            unlink(path);
        }
    }
}

#define PIPES 100

struct pipes {
    struct reactor *reactor;
    int ends[PIPES][2];
    struct watch *watches[PIPES];
    struct pipe_user {
        struct pipes *pipes;
        int number;
    } users[PIPES];
    int told[PIPES];
    bool end_others;
};

/* Each leaves what there is in its pipe, and the first ends all that have a number of the other kind. */
static void on_pipe(void *user)
{
    const struct pipe_user *own = user;
    struct pipes *pipes = own->pipes;
    pipes->told[own->number]++;
    for (int i = 0; pipes->end_others && i < PIPES; i++) {
        if (i % 2 == own->number % 2)
            continue;
        watch_free(pipes->watches[i]);
        pipes->watches[i] = NULL;
    }
    pipes->end_others = false;
}

static int told_of(struct pipes *pipes)
{
    int told = 0;
    for (int i = 0; i < PIPES; i++) {
        assert_in_range(pipes->told[i], 0, 1); /* once a turn */
        told += pipes->told[i];
        pipes->told[i] = 0;
    }
    return told;
}

static void watches_come_and_go_and_change(void **state)
{
    struct clock clock = clock_system();
    struct pipes pipes = {.reactor = reactor_new(&clock)};
    (void)state;
    for (int i = 0; i < PIPES; i++) {
        assert_int_equal(pipe(pipes.ends[i]), 0);
        assert_int_equal(write(pipes.ends[i][1], "x", 1), 1);
        pipes.users[i] = (struct pipe_user){&pipes, i};
        pipes.watches[i] = reactor_watch(pipes.reactor, pipes.ends[i][0], POLLIN, on_pipe, &pipes.users[i]);
    }
    for (int turn = 0; turn < 2; turn++) {
        reactor_turn(pipes.reactor, 1000);
        assert_int_equal(told_of(&pipes), PIPES);
    }
    for (int i = 0; i < PIPES; i += 2) /* nothing is wanted of them, and of some again */
        watch_events(pipes.watches[i], 0);
    for (int i = 0; i < PIPES; i += 4)
        watch_events(pipes.watches[i], POLLIN);
    reactor_turn(pipes.reactor, 1000);
    assert_int_equal(told_of(&pipes), PIPES * 3 / 4);
    for (int i = 0; i < PIPES; i += 2)
        watch_events(pipes.watches[i], POLLIN);
    pipes.end_others = true;
    reactor_turn(pipes.reactor, 1000);
    assert_int_equal(told_of(&pipes), PIPES / 2);
    for (int i = 0; i < PIPES; i++) { /* their descriptors, with the same numbers, are others' now */
        if (pipes.watches[i])
            continue;
        int end = pipes.ends[i][0], other = pipes.ends[(i + 1) % PIPES][0];
        assert_int_equal(dup2(other, end), end);
        pipes.watches[i] = reactor_watch(pipes.reactor, end, POLLIN, on_pipe, &pipes.users[i]);
    }
    reactor_turn(pipes.reactor, 1000);
    assert_int_equal(told_of(&pipes), PIPES);
    for (int i = 0; i < PIPES; i += 3) {
        watch_free(pipes.watches[i]);
        pipes.watches[i] = NULL;
    }
    reactor_turn(pipes.reactor, 1000);
    assert_int_equal(told_of(&pipes), PIPES - (PIPES + 2) / 3);
    reactor_free(pipes.reactor); /* with those that are left */
    for (int i = 0; i < PIPES; i++) {
        close(pipes.ends[i][0]);
        close(pipes.ends[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_is_told_of_its_own_descriptor),
        cmocka_unit_test(watches_come_and_go_and_change),
        cmocka_unit_test(json_keeps_what_it_read),
        cmocka_unit_test(json_refuses_what_is_none),
        cmocka_unit_test(json_nesting_is_bounded),
        cmocka_unit_test(json_text_need_not_end_with_nul),
        cmocka_unit_test(a_map_survives_removal_among_collisions),
        cmocka_unit_test(times_are_read_and_written),
        cmocka_unit_test(the_nearest_name_is_what_was_meant),
        cmocka_unit_test(timers_fire_in_order_and_stopped_ones_do_not),
        cmocka_unit_test(at_once_is_in_the_next_turn),
        cmocka_unit_test(a_name_from_outside_is_one_component),
        cmocka_unit_test(what_leads_out_is_seen),
        cmocka_unit_test(a_confined_process_changes_nothing_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
