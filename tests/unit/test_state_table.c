/* test_state_table.c: the table of a state that hosts share: made, waited for, and refused where it is not
 * safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state_service.h"
#include "state/dynamodb/state_table.h"

/* What the service answers in place of the embedded one, to calls of that name from the `from`-th on. */
struct instead {
    const char *operation;
    int from, status;
    const char *body;
};

struct fixture {
    struct state_service service;
    const struct instead *instead;
    size_t instead_count;
    char asked[2000]; /* the operations, each with a blank behind it */
    char tags[400];   /* the body of TagResource */
};

static int times(const struct fixture *f, const char *operation)
{
    int count = 0;
    for (const char *at = f->asked; (at = strstr(at, operation)); at += strlen(operation))
        count++;
    return count;
}

static void on_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    char target[80] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    const char *operation = strchr(target, '.') + 1;
    int before = times(f, operation);
    snprintf(f->asked + strlen(f->asked), sizeof f->asked - strlen(f->asked), "%s ", operation);
    if (strcmp(operation, "TagResource") == 0)
        snprintf(f->tags, sizeof f->tags, "%.*s", (int)request->body_size, request->body);
    for (size_t i = 0; i < f->instead_count; i++)
        if (strcmp(f->instead[i].operation, operation) == 0 && before >= f->instead[i].from) {
            answer->status = f->instead[i].status;
            buf_add_text(&answer->body, f->instead[i].body);
            return;
        }
    state_service_answer(&f->service, request, answer);
}

static void make(struct fixture *f, const struct instead *instead, size_t count)
{
    *f = (struct fixture){.instead = instead, .instead_count = count};
    state_service_make(&f->service, on_request, f);
}

static void finish(struct fixture *f)
{
    state_service_fini(&f->service);
}

static bool prepare(struct fixture *f, bool create, struct err *err)
{
    *err = (struct err){0};
    f->asked[0] = '\0';
    return state_table_prepare(&(struct state_table_options){.client = f->service.client,
                                                             .reactor = f->service.world.reactor,
                                                             .log = f->service.log,
                                                             .name = "State",
                                                             .create = create},
                               err);
}

static void it_is_made_once_and_found_again(void **state)
{
    struct fixture f;
    struct err err;
    (void)state;
    make(&f, NULL, 0);
    assert_false(prepare(&f, false, &err));
    assert_non_null(strstr(err.text, "create_state = no"));
    if (!prepare(&f, true, &err))
        fail_msg("%s", err.text);
    assert_int_equal(times(&f, "CreateTable"), 1);
    assert_int_equal(times(&f, "UpdateTimeToLive"), 1);
    if (!prepare(&f, false, &err))
        fail_msg("%s", err.text);
    assert_int_equal(times(&f, "CreateTable") + times(&f, "UpdateTimeToLive"), 0);
    finish(&f);
}

#define TABLE(more)                                                                                     \
    "{\"Table\":{\"TableName\":\"State\",\"TableStatus\":\"ACTIVE\",\"KeySchema\":[{\"AttributeName\":" \
    "\"pk\","                                                                                           \
    "\"KeyType\":\"HASH\"},{\"AttributeName\":\"sk\",\"KeyType\":\"RANGE\"}]" more "}}"
#define SCYLLA ",\"TableArn\":\"arn:scylla:alternator:alternator_State:scylla:table/State\""
#define FAULT(code) "{\"__type\":\"com.amazonaws.dynamodb.v20120810#" code "\",\"message\":\"m\"}"
#define TAGGED(value) "{\"Tags\":[{\"Key\":\"system:write_isolation\",\"Value\":\"" value "\"}]}"

static void what_hosts_could_not_agree_in_is_refused(void **state)
{
    static const struct {
        struct instead instead[3];
        size_t count;
        const char *wanted; /* of the error; NULL: it is well */
    } cases[] = {
        {{{"DescribeTable", 0, 200,
           "{\"Table\":{\"TableStatus\":\"ACTIVE\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":"
           "\"HASH\"}]}}"}},
         1,
         "other keys"},
        {{{"DescribeTable", 0, 200, TABLE(",\"Replicas\":[{\"RegionName\":\"us-east-1\"}]")}},
         1,
         "global table"},
        {{{"DescribeTable", 0, 400, FAULT("AccessDeniedException")}}, 1, "cannot look at table State"},
        {{{"CreateTable", 0, 400, FAULT("LimitExceededException")}}, 1, "cannot make table State"},
        {{{"DescribeTable", 0, 200, TABLE(SCYLLA)}, {"ListTagsOfResource", 0, 200, TAGGED("unsafe_rmw")}},
         2,
         "two hosts could own one shard"},
        {{{"DescribeTable", 0, 200, TABLE(SCYLLA)}, {"ListTagsOfResource", 0, 200, TAGGED("f")}},
         2,
         "tag it"},
        {{{"DescribeTable", 0, 200, TABLE(SCYLLA)},
          {"ListTagsOfResource", 0, 200, TAGGED("only_rmw_uses_lwt")}},
         2,
         NULL},
        {{{"DescribeTable", 0, 200, TABLE(SCYLLA)}, {"ListTagsOfResource", 0, 200, "{\"Tags\":[]}"}},
         2,
         NULL},
        {{{"DescribeTable", 0, 200, TABLE("")}, {"UpdateTimeToLive", 0, 400, FAULT("AccessDeniedException")}},
         2,
         NULL},
        {{{"DescribeTable", 0, 200, "{\"Table\":{\"TableStatus\":\"CREATING\"}}"}},
         1,
         "not ready after two minutes"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct err err;
        make(&f, cases[i].instead, cases[i].count);
        bool well = prepare(&f, true, &err);
        if (well != !cases[i].wanted || (cases[i].wanted && !strstr(err.text, cases[i].wanted)))
            fail_msg("case %zu: %s", i, err.text);
        finish(&f);
    }
}

/* Another host was quicker, and the table takes its time. */
static void two_hosts_may_make_it_at_once(void **state)
{
    static const struct instead instead[] = {
        {"DescribeTable", 3, 200, TABLE("")},
        {"DescribeTable", 1, 200, "{\"Table\":{\"TableStatus\":\"CREATING\"}}"},
        {"CreateTable", 0, 400, FAULT("ResourceInUseException")}};
    struct fixture f;
    struct err err;
    (void)state;
    make(&f, instead, 3);
    if (!prepare(&f, true, &err))
        fail_msg("%s", err.text);
    assert_int_equal(times(&f, "DescribeTable"), 4);
    assert_int_equal(times(&f, "CreateTable"), 1);
    finish(&f);
}

/* A table made on ScyllaDB Alternator is told to take conditions seriously, whatever the cluster's default
 * is. */
static void alternator_is_told_its_isolation(void **state)
{
    static const struct instead instead[] = {{"DescribeTable", 1, 200, TABLE(SCYLLA)},
                                             {"TagResource", 0, 200, ""},
                                             {"ListTagsOfResource", 0, 200, TAGGED("always")}};
    struct fixture f;
    struct err err;
    (void)state;
    make(&f, instead, 3);
    if (!prepare(&f, true, &err))
        fail_msg("%s", err.text);
    assert_non_null(strstr(f.tags, "{\"Key\":\"system:write_isolation\",\"Value\":\"always\"}"));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_once_and_found_again),
        cmocka_unit_test(what_hosts_could_not_agree_in_is_refused),
        cmocka_unit_test(two_hosts_may_make_it_at_once),
        cmocka_unit_test(alternator_is_told_its_isolation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
