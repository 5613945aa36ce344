/* test_local.c: what the embedded DynamoDB does in the course of hours, with a clock that a test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "local/engine.h"
#include "local/model/attribute.h"
#include "value/decimal.h"

#define MINUTE 60000LL
#define HOUR (60 * MINUTE)

struct fixture {
    struct clock clock;
    int64_t now_ms;
    struct engine *engine;
    struct arena arena;
    int status; /* of the last call */
};

static int64_t now_ms(struct clock *clock)
{
    return ((struct fixture *)(void *)clock)->now_ms;
}

static struct fixture *make(int shards)
{
    struct err err;
    struct fixture *f = calloc(1, sizeof *f);
    f->clock = (struct clock){.monotonic_ms = now_ms, .wall_ms = now_ms, .cpu_ms = now_ms};
    f->now_ms = 1767225600000;
    f->engine = engine_new(&(struct engine_options){.clock = &f->clock, .shards = shards}, &err);
    assert_non_null(f->engine);
    return f;
}

static void finish(struct fixture *f)
{
    engine_free(f->engine);
    arena_fini(&f->arena);
    free(f);
}

/* The answer's tree; `target` without its prefix. */
static const struct json *call(struct fixture *f, const char *operation, const char *body)
{
    struct engine_reply reply = {0};
    char target[80];
    struct err err;
    bool streams = strstr(operation, "Stream") || strstr(operation, "Shard") || strstr(operation, "Records");
    snprintf(target, sizeof target, "DynamoDB%s_20120810.%s", streams ? "Streams" : "", operation);
    engine_call(f->engine, &(struct engine_request){target, body, strlen(body), NULL}, &reply);
    char *text = arena_copy(&f->arena, reply.body.data, reply.body.size);
    const struct json *root = json_parse(&f->arena, text, reply.body.size, &err);
    assert_non_null(root);
    f->status = reply.status;
    buf_fini(&reply.body);
    return root;
}

static const char *fault_of(struct fixture *f, const struct json *answer)
{
    const char *type = json_string(&f->arena, json_get(answer, "__type"));
    return type ? strchr(type, '#') + 1 : "none";
}

static void create(struct fixture *f)
{
    call(f, "CreateTable",
         "{\"TableName\":\"Tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{\"AttributeName\":"
         "\"id\",\"KeyType\":"
         "\"HASH\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],"
         "\"StreamSpecification\":{"
         "\"StreamEnabled\":true,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"}}");
    assert_int_equal(f->status, 200);
}

static void put(struct fixture *f, int number)
{
    char body[160];
    snprintf(body, sizeof body,
             "{\"TableName\":\"Tab\",\"Item\":{\"id\":{\"S\":\"i%d\"},\"at\":{\"N\":\"%lld\"}}}", number % 10,
             (long long)f->now_ms);
    call(f, "PutItem", body);
    assert_int_equal(f->status, 200);
}

static const char *arn_of(struct fixture *f)
{
    const struct json *table = json_get(call(f, "DescribeTable", "{\"TableName\":\"Tab\"}"), "Table");
    return json_string(&f->arena, json_get(table, "LatestStreamArn"));
}

static const struct json *shards_of(struct fixture *f)
{
    char body[200];
    snprintf(body, sizeof body, "{\"StreamArn\":\"%s\"}", arn_of(f));
    return json_get(json_get(call(f, "DescribeStream", body), "StreamDescription"), "Shards");
}

static const char *iterator(struct fixture *f, const struct json *shard, const char *type)
{
    char body[400];
    snprintf(body, sizeof body, "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"ShardIteratorType\":\"%s\"}",
             arn_of(f), json_string(&f->arena, json_get(shard, "ShardId")), type);
    return json_string(&f->arena, json_get(call(f, "GetShardIterator", body), "ShardIterator"));
}

static const struct json *records(struct fixture *f, const char *from)
{
    char body[400];
    snprintf(body, sizeof body, "{\"ShardIterator\":\"%s\"}", from);
    return call(f, "GetRecords", body);
}

static void shards_grow_old_and_have_children(void **state)
{
    (void)state;
    struct fixture *f = make(0);
    create(f);
    for (int hour = 0; hour < 9; hour++) {
        put(f, hour);
        f->now_ms += HOUR;
    }
    const struct json *shards = shards_of(f);
    assert_int_equal(shards->count, 3);
    const struct json *parent = NULL;
    size_t total = 0;
    json_each(shard, shards) {
        const char *above = json_string(&f->arena, json_get(shard, "ParentShardId"));
        if (parent)
            assert_string_equal(above, json_string(&f->arena, json_get(parent, "ShardId")));
        else
            assert_null(above);
        bool open = !json_get(json_get(shard, "SequenceNumberRange"), "EndingSequenceNumber");
        assert_true(open == !shard->next);
        const struct json *page = records(f, iterator(f, shard, "TRIM_HORIZON"));
        total += json_get(page, "Records")->count;
        assert_true(open == (json_get(page, "NextShardIterator") != NULL)); /* a closed one ends */
        parent = shard;
    }
    assert_int_equal(total, 9);
    finish(f);
}

static void iterators_live_a_quarter_of_an_hour(void **state)
{
    (void)state;
    struct fixture *f = make(0);
    create(f);
    put(f, 1);
    const char *at = iterator(f, shards_of(f)->child, "TRIM_HORIZON");
    f->now_ms += 15 * MINUTE - 1;
    assert_int_equal(json_get(records(f, at), "Records")->count, 1);
    f->now_ms += 1;
    assert_string_equal(fault_of(f, records(f, at)), "ExpiredIteratorException");
    finish(f);
}

static void records_are_kept_for_a_day(void **state)
{
    (void)state;
    struct fixture *f = make(0);
    create(f);
    put(f, 1);
    const char *first = json_string(
        &f->arena,
        json_get(
            json_get(json_get(records(f, iterator(f, shards_of(f)->child, "TRIM_HORIZON")), "Records")->child,
                     "dynamodb"),
            "SequenceNumber"));
    const char *shard = json_string(&f->arena, json_get(shards_of(f)->child, "ShardId"));
    char body[500];
    f->now_ms += 23 * HOUR;
    put(f, 2);
    engine_housekeeping(f->engine);
    snprintf(body, sizeof body,
             "{\"StreamArn\":\"%s\",\"ShardId\":\"%s\",\"ShardIteratorType\":\"AFTER_SEQUENCE_NUMBER\","
             "\"SequenceNumber\":\"%s\"}",
             arn_of(f), shard, first);
    assert_non_null(json_get(call(f, "GetShardIterator", body), "ShardIterator"));
    f->now_ms += 2 * HOUR;
    engine_housekeeping(f->engine);
    assert_string_equal(fault_of(f, call(f, "GetShardIterator", body)), "TrimmedDataAccessException");
    f->now_ms += 24 * HOUR;
    engine_housekeeping(f->engine);
    assert_string_equal(fault_of(f, call(f, "GetShardIterator", body)), "ResourceNotFoundException");
    assert_true(shards_of(f)->count > 0); /* the open one */
    finish(f);
}

static void several_shards_share_the_items_and_keep_each_ones_order(void **state)
{
    (void)state;
    struct fixture *f = make(4);
    size_t total = 0, used = 0;
    create(f);
    assert_int_equal(shards_of(f)->count, 4);
    for (int i = 0; i < 100; i++) {
        f->now_ms += 1000;
        put(f, i);
    }
    json_each(shard, shards_of(f)) {
        const struct json *found = json_get(records(f, iterator(f, shard, "TRIM_HORIZON")), "Records");
        total += found->count;
        used += found->count > 0;
        assert_int_equal(found->count % 10, 0); /* ten changes of each item, all in one shard */
    }
    assert_int_equal(total, 100);
    assert_true(used > 1);
    finish(f);
}

static void an_idle_reader_stays_where_it_is(void **state)
{
    (void)state;
    struct fixture *f = make(0);
    create(f);
    const char *at = iterator(f, shards_of(f)->child, "LATEST");
    for (int i = 0; i < 20; i++) { /* 3 hours */
        f->now_ms += 10 * MINUTE;
        const struct json *page = records(f, at);
        assert_int_equal(json_get(page, "Records")->count, 0);
        at = json_string(&f->arena, json_get(page, "NextShardIterator"));
        assert_non_null(at);
    }
    put(f, 1);
    assert_int_equal(json_get(records(f, at), "Records")->count, 1);
    finish(f);
}

/* ---- numbers ---- */

static void add(const char *a, const char *b, const char *expected)
{
    struct decimal x, y, sum;
    char text[DECIMAL_TEXT_SIZE];
    assert_true(decimal_read(a, strlen(a), &x) && decimal_read(b, strlen(b), &y));
    assert_int_equal(decimal_add(&x, &y, &sum), DECIMAL_OK);
    decimal_write(&sum, text);
    assert_string_equal(text, expected);
}

static void sums_are_exact(void **state)
{
    (void)state;
    add("0.1", "0.2", "0.3");
    add("1", "-1", "0");
    add("-5", "3", "-2");
    add("99999999999999999999999999999999999999", "1", "100000000000000000000000000000000000000");
    add("1E100", "-1E100", "0");
    add("0.001", "-1", "-0.999");
    struct decimal x, y, sum;
    assert_true(decimal_read("1E125", 5, &x) && decimal_read("1", 1, &y));
    assert_int_equal(decimal_add(&x, &y, &sum), DECIMAL_TOO_PRECISE);
    assert_true(decimal_read("9E125", 5, &x));
    assert_int_equal(decimal_add(&x, &x, &sum), DECIMAL_OVERFLOW);
}

static void sort_keys_have_the_numbers_order(void **state)
{
    (void)state;
    static const char *const order[] = {"-9.9E125", "-1000",   "-10.5", "-10",    "-9.99", "-1.5", "-1",
                                        "-0.5",     "-1E-130", "0",     "1E-130", "0.5",   "0.55", "1",
                                        "1.01",     "9",       "10",    "10.5",   "100",   "1E125"};
    unsigned char before[DECIMAL_SORT_KEY_SIZE], key[DECIMAL_SORT_KEY_SIZE];
    size_t before_size = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct decimal decimal;
        assert_true(decimal_read(order[i], strlen(order[i]), &decimal));
        size_t size = decimal_sort_key(&decimal, key), common = size < before_size ? size : before_size;
        int compared = i ? memcmp(before, key, common) : -1;
        assert_true(compared < 0 || (compared == 0 && before_size < size));
        memcpy(before, key, size);
        before_size = size;
    }
}

/* ---- sizes ---- */

static unsigned random_below(uint64_t *seed, unsigned most)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % most;
}

static struct attr *random_scalar(struct arena *arena, uint64_t *seed, enum attr_type type)
{
    static const char *const numbers[] = {"0", "7", "-12", "100", "0.001", "-9.99E125", "1234567890.12345"};
    static const char *const texts[] = {"",           "x",      "Ball bearing", "\xc3\xa4\xe2\x82\xac",
                                        "say \"so\"", "a\\b\nc"};
    const char *text = type == ATTR_N ? numbers[random_below(seed, 7)] : texts[random_below(seed, 6)];
    return attr_text(arena, type, text, strlen(text));
}

static struct attr *random_value(struct arena *arena, uint64_t *seed, int depth)
{
    static const struct text names[] = {{"a", 1},
                                        {"name", 4},
                                        {"gr\xc3\xb6\xc3\x9f"
                                         "e",
                                         7},
                                        {"q\"q", 3}};
    enum attr_type type = (enum attr_type)random_below(seed, ATTR_TYPES);
    if (type == ATTR_S || type == ATTR_N || type == ATTR_B)
        return random_scalar(arena, seed, type);
    struct attr *value = attr_new(arena, type);
    value->truth = type == ATTR_NULL || random_below(seed, 2);
    unsigned count = type == ATTR_BOOL || type == ATTR_NULL || depth > 4 ? 0 : random_below(seed, 4);
    for (unsigned i = attr_is_set(value) && !count ? 1 : 0; i < count; i++)
        attr_append(arena, value, type == ATTR_M ? names[random_below(seed, 20) % 4] : (struct text){"", 0},
                    attr_is_set(value) ? random_scalar(arena, seed, attr_element_type(type))
                                       : random_value(arena, seed, depth + 1));
    return value;
}

static void a_text_is_as_large_as_what_it_says(void **state)
{
    uint64_t seed = 1;
    size_t size, measured = 0;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct arena arena = ARENA_INIT;
        struct buf text = BUF_INIT;
        struct attr *item = attr_new(&arena, ATTR_M);
        for (unsigned i = random_below(&seed, 5); i > 0; i--)
            attr_append(&arena, item, (struct text){"attribute", i}, random_value(&arena, &seed, 0));
        attr_write_item(&text, item);
        bool known = attr_item_text_size(text.data, text.size, &size);
        assert_int_equal(known, strchr(text.data, '\\') == NULL);
        if (known)
            assert_int_equal(size, attr_item_size(item));
        measured += known;
        for (size_t part = 0; part < text.size; part++)
            assert_false(attr_item_text_size(text.data, part, &size));
        text.data[random_below(&seed, (unsigned)text.size)] = "{}[]\":,0"[random_below(&seed, 8)];
        attr_item_text_size(text.data, text.size, &size); /* whatever it says, it stays within */
        buf_fini(&text);
        arena_fini(&arena);
    }
    assert_true(measured > 500 && measured < 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_grow_old_and_have_children),
        cmocka_unit_test(iterators_live_a_quarter_of_an_hour),
        cmocka_unit_test(records_are_kept_for_a_day),
        cmocka_unit_test(several_shards_share_the_items_and_keep_each_ones_order),
        cmocka_unit_test(an_idle_reader_stays_where_it_is),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(sort_keys_have_the_numbers_order),
        cmocka_unit_test(a_text_is_as_large_as_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
