/* test_outbox.c: targets on a reactor in virtual time: the order of keys, what is refused, what is cancelled.
 */
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

#include "base/hash.h"
#include "base/mem.h"
#include "conf/config.h"
#include "core/world.h"
#include "deliver/outbox.h"
#include "core/plugs.h"

#define MESSAGES 200

struct fixture;

struct told {
    struct fixture *f;
    int number;
};

struct fixture {
    struct world world;
    struct config *config;
    struct log *log;
    struct aws_client *aws;
    struct emitter *emitter;
    char path[64];
    struct emission *emissions[MESSAGES];
    char calls[MESSAGES]; /* their addresses are who emits */
    struct told *waiting[MESSAGES];
    enum { NOT_YET, ACCEPTED, REFUSED } told[MESSAGES];
    int told_count, wanted;
    /* what the target saw */
    int accepted[2 * MESSAGES], accepted_count; /* numbers, in order */
    int failing;                                /* of a thousand, with 503 */
    int shards;                                 /* messages are of so many; 0: of one */
    int refused;                                /* this number gets a 400; -1: none */
    uint64_t random;
    /* of the lake */
    char series[MESSAGES][64]; /* of uploads under way: their paths up to the sequence number */
    int64_t until_ms[MESSAGES];
    int uploads, together; /* so many in all; at once of one series */
};

static int key_of(int number)
{
    return number % 5;
}

/* An object is put: is another of its series under way? */
static void answer_upload(struct fixture *f, const struct transport_request *request, struct answer *answer)
{
    const char *name = strrchr(request->url, '/'), *dash = name ? strchr(name, '-') : NULL;
    if (strcmp(request->method, "HEAD") == 0) { /* the lake is empty */
        answer->status = 404;
        return;
    }
    int at = f->uploads++, others = 0;
    assert_non_null(dash);
    f->random = hash_mix(f->random + 1);
    answer->status = 200;
    answer->delay_ms = 5 + (int64_t)(f->random % 300);
    snprintf(f->series[at], sizeof f->series[at], "%.*s", (int)(dash - name), name);
    f->until_ms[at] = f->world.now_ms + answer->delay_ms;
    for (int i = 0; i < at; i++)
        others += f->until_ms[i] > f->world.now_ms && strcmp(f->series[i], f->series[at]) == 0;
    f->together = others > f->together ? others : f->together;
}

static void answer(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    if (strstr(request->url, "/lake/")) {
        answer_upload(f, request, answer);
        return;
    }
    int number = atoi(request->body);
    f->random = hash_mix(f->random + 1);
    answer->delay_ms = (int64_t)(f->random % 50);
    answer->status = number == f->refused ? 400 : (int)(f->random >> 20) % 1000 < f->failing ? 503 : 200;
    if (answer->status == 200)
        f->accepted[f->accepted_count++] = number;
}

#define HTTP "type = http\nurl = http://sink.test/\n"

static void make_target(struct fixture *f, const char *type, const char *settings)
{
    struct err err = {0};
    struct problems problems = PROBLEMS_INIT;
    *f = (struct fixture){.refused = -1};
    snprintf(f->path, sizeof f->path, "/tmp/tidemill-test-XXXXXX");
    int fd = mkstemp(f->path);
    dprintf(fd, "[aws]\nregion = eu-west-1\n[stream s]\ntable = T\n[target t]\n%s%s", type, settings);
    close(fd);
    f->config = config_load(f->path, &host_plugs, &problems);
    if (problems.count)
        fail_msg("%s", problems.lines[0]);
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->world.answer = answer;
    f->world.user = f;
    f->log = log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG, &f->world.clock);
    setenv("AWS_ACCESS_KEY_ID", "test", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    f->aws = aws_client_new(f->world.reactor, &f->world.transport, &f->config->aws, f->log, &err);
    assert_non_null(f->aws);
    f->emitter = outbox_new(&(struct outbox_options){.config = f->config,
                                                     .reactor = f->world.reactor,
                                                     .aws = f->aws,
                                                     .transport = &f->world.transport,
                                                     .log = f->log});
}

static void make(struct fixture *f, const char *settings)
{
    make_target(f, HTTP, settings);
}

static void finish(struct fixture *f)
{
    f->emitter->ops->release(f->emitter);
    aws_client_free(f->aws);
    config_release(f->config);
    world_fini(&f->world);
    log_free(f->log);
    unlink(f->path);
}

static void on_told(void *user, const struct buf *said, const struct err *err)
{
    struct told *told = user;
    (void)said;
    told->f->told[told->number] = err ? REFUSED : ACCEPTED;
    told->f->told_count++;
    free(told);
}

/* Of the record with that number, under the key. */
static void emit(struct fixture *f, int number, int record, int key)
{
    struct told *told = mem_alloc(sizeof *told);
    *told = (struct told){f, number};
    struct message message = {.payload = mem_printf("%d", number),
                              .key = mem_printf("k%d", key),
                              .handler = mem_string("h"),
                              .shard = mem_printf("s%d", f->shards ? number % f->shards : 0),
                              .table = mem_string("T"),
                              .sequence = mem_printf("%d", record),
                              .call = &f->calls[record],
                              .id = mem_printf("id%d", number),
                              .time_ms = clock_wall_ms(&f->world.clock)};
    message.payload_size = strlen(message.payload);
    f->waiting[number] = told;
    f->emissions[number] = f->emitter->ops->send(f->emitter, "t", &message, on_told, told);
}

static void cancel(struct fixture *f, int number)
{
    f->emitter->ops->cancel(f->emitter, f->emissions[number]);
    free(f->waiting[number]);
}

static bool all_told(void *user)
{
    const struct fixture *f = user;
    return f->told_count >= f->wanted;
}

static void wait_for(struct fixture *f, int wanted)
{
    f->wanted = wanted;
    if (!world_turn(&f->world, all_told, f, 3600 * 1000))
        fail_msg("%d of %d were told", f->told_count, wanted);
}

/* ---- order ---- */

static void no_message_overtakes_an_earlier_one_of_its_key(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct fixture f;
        int last[5] = {-1, -1, -1, -1, -1};
        make(&f, "backoff = 10ms..200ms\nin_flight = 16\n");
        f.failing = 300;
        f.random = seed;
        for (int i = 0; i < MESSAGES; i++)
            emit(&f, i, i, key_of(i));
        wait_for(&f, MESSAGES);
        assert_int_equal(f.accepted_count, MESSAGES);
        for (int i = 0; i < MESSAGES; i++) {
            assert_true(f.accepted[i] > last[key_of(f.accepted[i])]);
            last[key_of(f.accepted[i])] = f.accepted[i];
            assert_int_equal(f.told[i], ACCEPTED);
        }
        finish(&f);
    }
}

static void keys_overlap(void **state)
{
    struct fixture f;
    int turns = 0;
    (void)state;
    make(&f, "in_flight = 5\n");
    for (int i = 0; i < 100; i++)
        emit(&f, i, i, key_of(i));
    wait_for(&f, 100);
    for (int i = 1; i < 100; i++)
        turns += key_of(f.accepted[i]) != key_of(f.accepted[i - 1]);
    assert_true(turns > 30); /* not one key after the other */
    finish(&f);
}

/* ---- refusals ---- */

static void what_a_record_emitted_behind_a_refused_message_is_not_sent(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "");
    f.refused = 1;
    emit(&f, 0, 7, 0);
    emit(&f, 1, 8, 0); /* refused for good ... */
    emit(&f, 2, 8, 0); /* ... so these two are not sent */
    emit(&f, 3, 8, 0);
    emit(&f, 4, 9, 0); /* another record of that key goes on, */
    emit(&f, 5, 8, 1); /* and another key of that record */
    wait_for(&f, 6);
    assert_int_equal(f.told[0], ACCEPTED);
    assert_int_equal(f.told[1], REFUSED);
    assert_int_equal(f.told[2], REFUSED);
    assert_int_equal(f.told[3], REFUSED);
    assert_int_equal(f.told[4], ACCEPTED);
    assert_int_equal(f.told[5], ACCEPTED);
    assert_int_equal(f.accepted_count, 3);
    for (int i = 0; i < f.accepted_count; i++)
        assert_true(f.accepted[i] == 0 || f.accepted[i] == 4 || f.accepted[i] == 5);
    finish(&f);
}

/* ---- cancelled ---- */

static void a_cancelled_message_lets_those_behind_it_through(void **state)
{
    (void)state;
    for (int gone = 0; gone < 6; gone++) {
        struct fixture f;
        make(&f, "");
        for (int i = 0; i < 6; i++)
            emit(&f, i, i, 0);
        cancel(&f, gone);
        wait_for(&f, 5);
        int last = -1;
        for (int i = 0; i < f.accepted_count; i++) {
            assert_true(f.accepted[i] > last);
            last = f.accepted[i];
        }
        for (int i = 0; i < 6; i++)
            assert_int_equal(f.told[i], i == gone ? NOT_YET : ACCEPTED);
        finish(&f);
    }
}

static void thousands_of_cancelled_messages_of_one_key_end(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, "");
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < MESSAGES; i++)
            emit(&f, i, i, 0);
        for (int i = MESSAGES - 1; i > 0; i--)
            cancel(&f, i);
    }
    wait_for(&f, 100);
    emit(&f, 1, 1, 0);
    wait_for(&f, 101);
    assert_int_equal(f.accepted_count, 101); /* none that was cancelled */
    finish(&f);
}

/* ---- the lake ---- */

static void files_of_one_shard_go_one_after_the_other(void **state)
{
    struct fixture f;
    (void)state;
    make_target(&f, "type = s3\nbucket = b\nprefix = lake\ncompression = none\n",
                "batch_count = 1\nlinger = 1ms\nin_flight = 4\n");
    f.shards = 2;
    for (int i = 0; i < 40; i++) {
        emit(&f, i, i, key_of(i));
        f.wanted = MESSAGES + 1;
        world_turn(&f.world, all_told, &f, 100); /* its file is on its way by then */
    }
    wait_for(&f, 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(f.told[i], ACCEPTED);
    if (f.uploads < 10)
        fail_msg("%d uploads", f.uploads);
    assert_int_equal(f.together, 0);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_message_overtakes_an_earlier_one_of_its_key),
        cmocka_unit_test(keys_overlap),
        cmocka_unit_test(what_a_record_emitted_behind_a_refused_message_is_not_sent),
        cmocka_unit_test(a_cancelled_message_lets_those_behind_it_through),
        cmocka_unit_test(thousands_of_cancelled_messages_of_one_key_end),
        cmocka_unit_test(files_of_one_shard_go_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
