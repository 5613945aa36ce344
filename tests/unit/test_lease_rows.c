/* test_lease_rows.c: the rows that hosts share, in the embedded DynamoDB; and hosts that share them, in
 * virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "lease/coordinator.h"
#include "state_service.h"
#include "state/dynamodb/lease_rows.h"

#define STREAM "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2026-01-01T00:00:00.000"
#define SESSION "host#0123456789abcdef"

enum trouble { NONE, LOST, THROTTLED, BROKEN, HIDES_ROW };

struct fixture {
    struct state_service service;
    struct lease_table *rows;
    enum trouble trouble;
    int requests;
    /* the last answer */
    bool answered;
    enum lease_outcome outcome;
    struct lease_host host;
    struct lease_row row;
    struct lease_mail mail;
    size_t host_count, row_count, mail_count, part_count;
    char gid[LEASE_NONCE_SIZE];
    bool opened;
    char error[200];
    struct arena arena;
};

static void on_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    f->requests++;
    answer->delay_ms = 5;
    if (f->trouble == BROKEN)
        return;
    if (f->trouble == THROTTLED) {
        answer->status = 400;
        buf_add_text(
            &answer->body,
            "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ThrottlingException\",\"message\":\"m\"}");
        return;
    }
    state_service_answer(&f->service, request, answer);
    answer->lost = f->trouble == LOST;
    if (f->trouble == HIDES_ROW && answer->status == 400) {
        buf_clear(&answer->body);
        buf_add_text(&answer->body,
                     "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException\","
                     "\"message\":\"m\"}");
    }
}

static void make_table(struct fixture *f)
{
    static const char body[] =
        "{\"TableName\":\"State\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":"
        "[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},{\"AttributeName\":\"sk\",\"AttributeType\":"
        "\"S\"}],"
        "\"KeySchema\":[{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"sk\","
        "\"KeyType\":\"RANGE\"}]}";
    struct engine_reply reply = {0};
    engine_call(f->service.engine,
                &(struct engine_request){"DynamoDB_20120810.CreateTable", body, strlen(body), NULL}, &reply);
    assert_int_equal(reply.status, 200);
    buf_fini(&reply.body);
}

static void make(struct fixture *f)
{
    *f = (struct fixture){0};
    state_service_make(&f->service, on_request, f);
    f->rows = lease_rows_new(f->service.client, "State", "my/group");
}

static void finish(struct fixture *f)
{
    lease_rows_free(f->rows);
    arena_fini(&f->arena);
    state_service_fini(&f->service);
}

static bool answered(void *user)
{
    return ((struct fixture *)user)->answered;
}

static const char *keep(struct fixture *f, const char *text)
{
    return text ? arena_copy(&f->arena, text, strlen(text)) : NULL;
}

static void on_answer(void *user, const struct lease_answer *answer)
{
    struct fixture *f = user;
    f->answered = true;
    f->outcome = answer->outcome;
    f->host_count = answer->host_count;
    f->row_count = answer->row_count;
    f->mail_count = answer->mail_count;
    f->opened = answer->opened;
    snprintf(f->gid, sizeof f->gid, "%s", answer->gid ? answer->gid : "");
    snprintf(f->error, sizeof f->error, "%.190s", answer->err ? answer->err->text : "");
    if (answer->host_count) {
        f->host = answer->hosts[0];
        f->host.session = keep(f, f->host.session);
        f->host.beat = keep(f, f->host.beat);
        f->host.version = keep(f, f->host.version);
    }
    if (answer->row_count)
        f->row = lease_row_copy(&f->arena, &answer->rows[0]);
    if (answer->mail_count)
        f->mail = (struct lease_mail){keep(f, answer->mail[0].id), keep(f, answer->mail[0].stream),
                                      keep(f, answer->mail[0].shard), answer->mail[0].epoch};
}

static enum lease_outcome ask(struct fixture *f, const struct lease_request *request)
{
    f->answered = false;
    f->rows->ops->send(f->rows, request, 1000, on_answer, f);
    assert_true(world_turn(&f->service.world, answered, f, 60000));
    return f->outcome;
}

#define ASK(f, ...) ask(f, &(struct lease_request){__VA_ARGS__})

/* ---- each request, what it demands, and what it changes ---- */

static void a_group_is_made_once_and_opened_once(void **state)
{
    struct fixture f;
    (void)state;
    make(&f);
    make_table(&f);
    assert_int_equal(ASK(&f, .kind = LEASE_READ_GROUP), LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_GROUP, .gid = "1"), LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_GROUP, .gid = "2"), LEASE_REFUSED);
    assert_string_equal(f.gid, "1");
    assert_int_equal(ASK(&f, .kind = LEASE_READ_GROUP), LEASE_OK);
    assert_string_equal(f.gid, "1");
    assert_false(f.opened);
    assert_int_equal(ASK(&f, .kind = LEASE_OPEN_GROUP, .gid = "2"), LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_OPEN_GROUP, .gid = "1"), LEASE_OK);
    assert_true(f.opened);
    assert_int_equal(ASK(&f, .kind = LEASE_OPEN_GROUP, .gid = "1"), LEASE_REFUSED);
    assert_true(f.opened);
    finish(&f);
}

static enum lease_outcome beat(struct fixture *f, const char *last, const char *next)
{
    return ASK(f, .kind = LEASE_BEAT, .last = last,
               .host = {.session = SESSION,
                        .fingerprint = "f",
                        .follows = " 00000001",
                        .beat = next,
                        .load = 2.5,
                        .shards = 3,
                        .state = LEASE_LEAVING});
}

static void a_host_that_is_dead_beats_no_more(void **state)
{
    struct lease_host host = {.session = SESSION,
                              .beat = "b0",
                              .lease_ms = 10000,
                              .reactors = 2,
                              .version = "0.1",
                              .fingerprint = "f",
                              .follows = "",
                              .since_ms = 7};
    struct fixture f;
    (void)state;
    make(&f);
    make_table(&f);
    assert_int_equal(beat(&f, "b0", "b1"), LEASE_REFUSED); /* a beat makes no row */
    assert_int_equal(f.host_count, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_HOST, .host = host), LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_HOST, .host = host), LEASE_REFUSED);
    assert_int_equal(beat(&f, "b0", "b1"), LEASE_OK);
    assert_int_equal(beat(&f, "b0", "b2"), LEASE_REFUSED);
    assert_string_equal(f.host.beat, "b1");
    assert_int_equal(ASK(&f, .kind = LEASE_TELL, .host = {.session = SESSION}, .row = {.load = 0.25}),
                     LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_TELL, .host = {.session = "other#1"}), LEASE_REFUSED);
    assert_int_equal(f.host_count, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_HOSTS), LEASE_OK);
    assert_int_equal(f.host_count, 1);
    assert_string_equal(f.host.session, SESSION);
    assert_string_equal(f.host.version, "0.1");
    assert_int_equal(f.host.lease_ms, 10000);
    assert_int_equal(f.host.reactors, 2);
    assert_int_equal(f.host.shards, 3);
    assert_int_equal(f.host.mail, 1);
    assert_int_equal(f.host.state, LEASE_LEAVING);
    assert_int_equal((int)(f.host.load * 100), 275);
    assert_int_equal(f.host.death, LEASE_ALIVE);
    assert_int_equal(ASK(&f, .kind = LEASE_FORGET_HOST, .host = {.session = SESSION}), LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_MARK, .host = {.session = SESSION}, .last = "b0",
                         .death = LEASE_MARKED, .by = "x"),
                     LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_MARK, .host = {.session = SESSION}, .last = "b1",
                         .death = LEASE_MARKED, .by = "x"),
                     LEASE_OK);
    assert_int_equal(beat(&f, "b1", "b2"), LEASE_REFUSED);
    assert_int_equal(f.host.death, LEASE_MARKED);
    assert_int_equal(ASK(&f, .kind = LEASE_TELL, .host = {.session = SESSION}), LEASE_REFUSED);
    assert_int_equal(f.host.death, LEASE_MARKED);
    assert_int_equal(ASK(&f, .kind = LEASE_BURY, .host = {.session = SESSION}, .by = "x"), LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_FORGET_HOST, .host = {.session = SESSION}), LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_BURY, .host = {.session = SESSION}, .by = "x"), LEASE_OK);
    assert_int_equal(beat(&f, "b1", "b2"), LEASE_REFUSED);
    assert_int_equal(f.host.death, LEASE_MARKED);
    finish(&f);
}

static struct lease_request write_of(const char *seen_owner, int64_t seen_epoch, int64_t seen_version)
{
    return (struct lease_request){
        .kind = LEASE_WRITE_ROW,
        .row = {.stream = STREAM, .shard = "shardId-1", .owner = "b#2", .epoch = 8, .nonce = "n2", .load = 1},
        .seen = {seen_owner, seen_epoch, seen_version}};
}

static void a_row_is_written_by_its_owner_in_its_epoch(void **state)
{
    const struct lease_part first[] = {{"sync-crm", "{\"at\":\"1\"}", false}, {"b", "2", true}};
    const struct lease_part second[] = {{"sync-crm", "{\"at\":\"9\"}", false}};
    struct lease_row row = {.stream = STREAM,
                            .shard = "shardId-1",
                            .parents = {"shardId-0", NULL},
                            .owner = "a#1",
                            .epoch = 7,
                            .nonce = "n1",
                            .load = 0.2};
    struct fixture f;
    (void)state;
    make(&f);
    make_table(&f);
    struct lease_request write = write_of("a#1", 7, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_READ_ROW, .row = row), LEASE_REFUSED);
    assert_int_equal(ask(&f, &write), LEASE_REFUSED); /* a write makes no row */
    assert_int_equal(f.row_count, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_ROW, .row = row), LEASE_OK);
    assert_int_equal(f.row.version, 1);
    assert_string_equal(f.row.owner, "a#1");
    row.owner = "c#3";
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_ROW, .row = row), LEASE_REFUSED);
    assert_string_equal(f.row.owner, "a#1");
    assert_string_equal(f.row.parents[0], "shardId-0");
    assert_null(f.row.parents[1]);

    write.row.owner = "a#1";
    write.row.epoch = 7;
    write.row.parts = first;
    write.row.part_count = 2;
    write.seen.version = 1;
    assert_int_equal(ask(&f, &write), LEASE_OK);
    assert_int_equal(f.row.version, 2);
    assert_int_equal(f.row.part_count, 2);
    assert_int_equal(ask(&f, &write), LEASE_REFUSED); /* of an older version */
    assert_string_equal(f.row.nonce, "n2");

    write = write_of("a#1", 7, 2); /* given to b, in one write with the last checkpoint of one handler */
    write.row.parts = second;
    write.row.part_count = 1;
    assert_int_equal(ask(&f, &write), LEASE_OK);
    assert_string_equal(f.row.owner, "b#2");
    assert_int_equal(f.row.epoch, 8);
    assert_int_equal(f.row.version, 3);
    for (size_t i = 0; i < f.row.part_count; i++) {
        bool other = strcmp(f.row.parts[i].handler, "b") == 0;
        assert_string_equal(f.row.parts[i].text, other ? "2" : "{\"at\":\"9\"}");
        assert_int_equal(f.row.parts[i].end, other);
    }
    write = write_of("a#1", 7, 3);
    assert_int_equal(ask(&f, &write), LEASE_REFUSED); /* another's */
    write = write_of("b#2", 7, 0);
    assert_int_equal(ask(&f, &write), LEASE_REFUSED); /* an older epoch */
    assert_int_equal(ASK(&f, .kind = LEASE_READ_ROW, .row = row), LEASE_OK);
    assert_int_equal(f.row.version, 3);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_BUCKET, .row = row, .bucket = lease_bucket("shardId-1")),
                     LEASE_OK);
    assert_int_equal(f.row_count, 1);
    assert_string_equal(f.row.shard, "shardId-1");
    assert_string_equal(f.row.stream, STREAM);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_BUCKET, .row = row, .bucket = LEASE_STREAM_BUCKET), LEASE_OK);
    assert_int_equal(f.row_count, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_DELETE_ROW, .row = row, .seen = {"b#2", 8, 2}), LEASE_REFUSED);
    assert_int_equal(ASK(&f, .kind = LEASE_DELETE_ROW, .row = row, .seen = {"b#2", 8, 3}), LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_READ_ROW, .row = row), LEASE_REFUSED);
    finish(&f);
}

/* A page of the service ends at 1 MB, and a row may have 400 KB. */
static void a_bucket_of_many_pages_is_listed_whole(void **state)
{
    enum { ROWS = 9, BUCKET = 7, BYTES = 370000 };
    struct fixture f;
    char *text = mem_zero(BYTES + 1), shard[32];
    int count = 0;
    (void)state;
    make(&f);
    make_table(&f);
    memset(text, 'x', BYTES);
    for (int i = 0; count < ROWS; i++) {
        snprintf(shard, sizeof shard, "shardId-%d", i);
        if (lease_bucket(shard) != BUCKET)
            continue;
        struct lease_part part = {"h", text, false};
        struct lease_row row = {
            .stream = "arn", .shard = shard, .owner = "a#1", .epoch = 7, .nonce = "n", .load = 1};
        assert_int_equal(ASK(&f, .kind = LEASE_CREATE_ROW, .row = row), LEASE_OK);
        row.parts = &part;
        row.part_count = 1;
        assert_int_equal(ASK(&f, .kind = LEASE_WRITE_ROW, .row = row, .seen = {"a#1", 7, 1}), LEASE_OK);
        count++;
    }
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_BUCKET, .row = {.stream = "arn"}, .bucket = BUCKET),
                     LEASE_OK);
    assert_int_equal(f.row_count, ROWS);
    free(text);
    finish(&f);
}

static void mail_comes_once_however_often_it_is_sent(void **state)
{
    struct lease_mail mail = {"id", STREAM, "shardId-1", 9};
    struct fixture f;
    (void)state;
    make(&f);
    make_table(&f);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ASK(&f, .kind = LEASE_PUT_MAIL, .host = {.session = SESSION}, .mail = mail),
                         LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_MAIL, .host = {.session = SESSION}), LEASE_OK);
    assert_int_equal(f.mail_count, 1);
    assert_string_equal(f.mail.shard, "shardId-1");
    assert_string_equal(f.mail.stream, STREAM);
    assert_int_equal(f.mail.epoch, 9);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_MAIL, .host = {.session = "other#1"}), LEASE_OK);
    assert_int_equal(f.mail_count, 0);
    assert_int_equal(ASK(&f, .kind = LEASE_DELETE_MAIL, .host = {.session = SESSION}, .mail = {.id = "id"}),
                     LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_LIST_MAIL, .host = {.session = SESSION}), LEASE_OK);
    assert_int_equal(f.mail_count, 0);
    finish(&f);
}

static void two_groups_in_one_table_do_not_meet(void **state)
{
    static const char *const groups[] = {"my", "my/group/h", "my%2Fgroup"};
    struct fixture f;
    (void)state;
    make(&f);
    make_table(&f);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_GROUP, .gid = "1"), LEASE_OK);
    assert_int_equal(ASK(&f, .kind = LEASE_CREATE_HOST, .host = {.session = "g", .beat = "b"}), LEASE_OK);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        lease_rows_free(f.rows);
        f.rows = lease_rows_new(f.service.client, "State", groups[i]);
        assert_int_equal(ASK(&f, .kind = LEASE_READ_GROUP), LEASE_REFUSED);
        assert_int_equal(ASK(&f, .kind = LEASE_LIST_HOSTS), LEASE_OK);
        assert_int_equal(f.host_count, 0);
    }
    finish(&f);
}

static void what_is_not_known_is_told_apart_from_what_was_not_done(void **state)
{
    struct lease_request create = {.kind = LEASE_CREATE_GROUP, .gid = "1"};
    struct fixture f;
    (void)state;
    make(&f);
    assert_int_equal(ask(&f, &create), LEASE_NO_TABLE);
    make_table(&f);
    f.trouble = THROTTLED;
    assert_int_equal(ask(&f, &create), LEASE_NOT_DONE);
    assert_non_null(strstr(f.error, "ThrottlingException"));
    f.trouble = BROKEN;
    assert_int_equal(ask(&f, &create), LEASE_UNKNOWN);
    f.trouble = LOST; /* it was done: nobody says so */
    assert_int_equal(ask(&f, &create), LEASE_UNKNOWN);
    f.trouble = HIDES_ROW; /* an older Alternator */
    create.gid = "2";
    f.requests = 0;
    assert_int_equal(ask(&f, &create), LEASE_REFUSED);
    assert_int_equal(f.requests, 2);
    assert_string_equal(f.gid, "1");
    finish(&f);
}

/* ---- hosts that share it ---- */

#define HOSTS 3
#define SHARDS 12

struct member {
    struct fixture *f;
    struct coordinator *coordinator;
    struct timer timer;
    struct lease_table *rows;
    bool runs[SHARDS], discovers, left;
    uint64_t random;
};

static int number_of(const char *shard)
{
    return strcmp(shard, LEASE_STREAM_ROW) == 0 ? -1 : atoi(strrchr(shard, '-') + 1);
}

static void on_gained(void *user, const struct lease_row *row)
{
    struct member *member = user;
    int number = number_of(row->shard);
    if (number < 0)
        member->discovers = true;
    else
        member->runs[number] = true;
}

static void on_lost(void *user, const char *stream, const char *shard)
{
    struct member *member = user;
    int number = number_of(shard);
    (void)stream;
    if (number < 0)
        member->discovers = false;
    else
        member->runs[number] = false;
}

static void on_drain(void *user, const char *stream, const char *shard)
{
    coordinator_drained(((struct member *)user)->coordinator, stream, shard, 0);
}

static void on_undrain(void *user, const char *stream, const char *shard)
{
    (void)user, (void)stream, (void)shard;
}

static void on_held(void *user, bool held)
{
    (void)user, (void)held;
}

static void on_nothing(void *user)
{
    (void)user;
}

static void on_left(void *user)
{
    ((struct member *)user)->left = true;
}

static const struct coordinator_events events = {.gained = on_gained,
                                                 .lost = on_lost,
                                                 .given = on_lost,
                                                 .drain = on_drain,
                                                 .undrain = on_undrain,
                                                 .held = on_held,
                                                 .no_table = on_nothing,
                                                 .left = on_left};

static int64_t member_now(void *user)
{
    return ((struct member *)user)->f->service.world.now_ms;
}

static int64_t member_wall(void *user)
{
    struct world *world = &((struct member *)user)->f->service.world;
    return clock_wall_ms(&world->clock);
}

static uint64_t member_random(void *user)
{
    struct member *member = user;
    return hash_mix(member->random += 0x9e3779b97f4a7c15u);
}

static void turn(void *user)
{
    static const char *const none[2] = {NULL, NULL};
    struct member *member = user;
    char shard[32];
    coordinator_turn(member->coordinator);
    for (int i = 0; i < SHARDS && member->discovers; i++) {
        snprintf(shard, sizeof shard, "shardId-%d", i);
        coordinator_create(member->coordinator, STREAM, shard, none, NULL, NULL);
    }
    member->discovers = false; /* once is enough: each has its row then */
    timer_set(member->f->service.world.reactor, &member->timer, 50);
}

static void join(struct fixture *f, struct member *member, uint64_t seed)
{
    *member =
        (struct member){.f = f, .random = seed, .rows = lease_rows_new(f->service.client, "State", "g")};
    member->coordinator = coordinator_new(&(struct coordinator_options){.table = member->rows,
                                                                        .name = "same name",
                                                                        .version = "1",
                                                                        .fingerprint = "f",
                                                                        .lease_ms = 10000,
                                                                        .reactors = 1,
                                                                        .drain_ms = 5000,
                                                                        .random = member_random,
                                                                        .now_ms = member_now,
                                                                        .wall_ms = member_wall,
                                                                        .events = &events,
                                                                        .user = member});
    coordinator_follow(member->coordinator, STREAM);
    timer_init(&member->timer, turn, member);
    timer_set(f->service.world.reactor, &member->timer, 0);
}

static void kill_member(struct fixture *f, struct member *member)
{
    timer_stop(f->service.world.reactor, &member->timer);
    coordinator_free(member->coordinator);
    lease_rows_free(member->rows);
    member->coordinator = NULL;
    memset(member->runs, 0, sizeof member->runs);
}

static bool never(void *user)
{
    (void)user;
    return false;
}

/* Each shard runs on one host; how many each has. */
static void check_shares(const struct member *members, int from, int *most)
{
    *most = 0;
    for (int i = 0; i < SHARDS; i++) {
        int runs = 0;
        for (int j = 0; j < HOSTS; j++)
            runs += members[j].runs[i];
        if (runs != 1)
            fail_msg("shard %d runs on %d hosts", i, runs);
    }
    for (int j = from; j < HOSTS; j++) {
        int count = 0;
        for (int i = 0; i < SHARDS; i++)
            count += members[j].runs[i];
        *most = count > *most ? count : *most;
    }
}

static bool has_left(void *user)
{
    return ((struct member *)user)->left;
}

static void three_hosts_share_and_take_over_and_hand_over(void **state)
{
    struct fixture f;
    struct member members[HOSTS];
    int most;
    (void)state;
    make(&f);
    make_table(&f);
    for (int i = 0; i < HOSTS; i++)
        join(&f, &members[i], (uint64_t)i + 1);
    world_turn(&f.service.world, never, NULL, 40000);
    check_shares(members, 0, &most);
    assert_true(most <= SHARDS / HOSTS + 1);
    kill_member(&f, &members[0]);
    world_turn(&f.service.world, never, NULL, 13000); /* a lease, and 3 s */
    check_shares(members, 1, &most);
    world_turn(&f.service.world, never, NULL, 20000);
    int64_t before_ms = f.service.world.now_ms;
    coordinator_leave(members[1].coordinator);
    assert_true(world_turn(&f.service.world, has_left, &members[1], 2000));
    world_turn(&f.service.world, never, NULL, before_ms + 2000 - f.service.world.now_ms);
    check_shares(members, 2, &most);
    assert_int_equal(most, SHARDS);
    for (int i = 1; i < HOSTS; i++)
        kill_member(&f, &members[i]);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_made_once_and_opened_once),
        cmocka_unit_test(a_host_that_is_dead_beats_no_more),
        cmocka_unit_test(a_row_is_written_by_its_owner_in_its_epoch),
        cmocka_unit_test(a_bucket_of_many_pages_is_listed_whole),
        cmocka_unit_test(mail_comes_once_however_often_it_is_sent),
        cmocka_unit_test(two_groups_in_one_table_do_not_meet),
        cmocka_unit_test(what_is_not_known_is_told_apart_from_what_was_not_done),
        cmocka_unit_test(three_hosts_share_and_take_over_and_hand_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
