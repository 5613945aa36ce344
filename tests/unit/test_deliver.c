/* test_deliver.c: what is made of records on their way to targets, and what targets answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aws/s3.h"
#include "aws/xml.h"
#include "base/compress.h"
#include "base/mem.h"
#include "deliver/target.h"
#include "deliver/targets/table.h"
#include "route/transform.h"
#include "source/archive/archive.h"
#include "record/item_key.h"
#include "record/record_json.h"

#define RECORD                                                                                               \
    "{\"eventID\":\"e1\",\"eventName\":\"MODIFY\",\"dynamodb\":{\"ApproximateCreationDateTime\":1767225600," \
    "\"Keys\":{\"id\":{\"S\":\"a\\\"b\"}},"                                                                  \
    "\"NewImage\":{\"id\":{\"S\":\"a\\\"b\"},\"n\":{\"N\":\"12345678901234567890.123456789\"},"              \
    "\"tags\":{\"SS\":[\"x\",\"y\"]},\"counts\":{\"NS\":[\"1\",\"2.50\"]},\"raw\":{\"B\":\"AQI=\"},"         \
    "\"none\":{\"NULL\":true},\"yes\":{\"BOOL\":true},"                                                      \
    "\"list\":{\"L\":[{\"N\":\"1\"},{\"M\":{\"deep\":{\"S\":\"d\"}}},{\"L\":[]}]},\"map\":{\"M\":{}}},"      \
    "\"SequenceNumber\":\"100\",\"StreamViewType\":\"NEW_IMAGE\"}}"
#define ARN "arn:aws:dynamodb:eu-west-1:1:table/T/stream/1"

static struct page *page_of(const char *record)
{
    struct buf body = BUF_INIT;
    struct err err;
    buf_printf(&body, "{\"Records\":[%s]}", record);
    struct page *page = page_read(&body, &err);
    assert_non_null(page);
    return page;
}

static void check_transform(const struct config_route *route, const char *expected)
{
    struct err err = {0};
    struct page *page = page_of(RECORD);
    struct transform *transform = transform_new(route, &err);
    struct buf out = BUF_INIT;
    if (!transform)
        fail_msg("%s", err.text);
    assert_true(transform_applies(transform, &page->records[0]));
    transform_apply(transform, &page->records[0], ARN, &out);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
    transform_free(transform);
    page_release(page);
}

static void images_marshalled_and_not(void **state)
{
    (void)state;
    check_transform(&(struct config_route){.image = IMAGE_KEYS}, "{\"id\":{\"S\":\"a\\\"b\"}}");
    check_transform(&(struct config_route){.image = IMAGE_KEYS, .unmarshalled = 1}, "{\"id\":\"a\\\"b\"}");
    check_transform(&(struct config_route){.image = IMAGE_NEW, .unmarshalled = 1},
                    "{\"id\":\"a\\\"b\",\"n\":12345678901234567890.123456789,\"tags\":[\"x\",\"y\"],"
                    "\"counts\":[1,2.50],\"raw\":\"AQI=\",\"none\":null,\"yes\":true,"
                    "\"list\":[1,{\"deep\":\"d\"},[]],\"map\":{}}");
    check_transform(&(struct config_route){.image = IMAGE_BOTH, .unmarshalled = 1},
                    "{\"event\":\"MODIFY\",\"keys\":{\"id\":\"a\\\"b\"},\"old\":null,\"new\":"
                    "{\"id\":\"a\\\"b\",\"n\":12345678901234567890.123456789,\"tags\":[\"x\",\"y\"],"
                    "\"counts\":[1,2.50],\"raw\":\"AQI=\",\"none\":null,\"yes\":true,"
                    "\"list\":[1,{\"deep\":\"d\"},[]],\"map\":{}}}");
}

static void a_record_without_the_image_is_left_out(void **state)
{
    struct err err;
    struct page *page = page_of(RECORD);
    struct transform *transform = transform_new(&(struct config_route){.image = IMAGE_OLD}, &err);
    (void)state;
    assert_false(transform_applies(transform, &page->records[0]));
    transform_free(transform);
    page_release(page);
}

#define PATHS                                                                                             \
    "{\"id\":\"$.dynamodb.Keys.id.S\",\"new\":\"$.dynamodb.NewImage.list\",\"arn\":\"$.eventSourceARN\"," \
    "\"deep\":\"$.dynamodb.NewImage['list'].L[1].M.deep.S\",\"gone\":\"$.dynamodb.OldImage.id\"}"

static void paths_and_templates(void **state)
{
    static const struct {
        const char *template, *expected;
    } rows[] = {
        {"{\"id\":<id>}", "{\"id\":\"a\\\"b\"}"},
        {"\"<id> <deep>\"", "\"a\\\"b d\""},
        {"{\"a\":<gone>,\"b\":\"<gone>\"}", "{\"a\":null,\"b\":\"\"}"},
        {"[<new>,\"<new>\"]", "[{\"L\":[{\"N\":\"1\"},{\"M\":{\"deep\":{\"S\":\"d\"}}},{\"L\":[]}]},"
                              "\"{\\\"L\\\":[{\\\"N\\\":\\\"1\\\"},{\\\"M\\\":{\\\"deep\\\":{\\\"S\\\":"
                              "\\\"d\\\"}}},{\\\"L\\\":[]}]}\"]"},
        {"{\"quoted \\\" <id>\":\"<not a name>\"}", "{\"quoted \\\" a\\\"b\":\"<not a name>\"}"},
        {"<arn>", "\"" ARN "\""},
        {"{\"x\":1}", "{\"x\":1}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_transform(
            &(struct config_route){.input_paths = PATHS, .input_template = (char *)rows[i].template},
            rows[i].expected);
    check_transform(&(struct config_route){.input_path = "$.dynamodb.NewImage.n"},
                    "{\"N\":\"12345678901234567890.123456789\"}");
    check_transform(&(struct config_route){.input_path = "$.dynamodb.NewImage.nothing.at[3].all"}, "null");
    check_transform(&(struct config_route){.input_path = "$.eventID"}, "\"e1\"");
    check_transform(&(struct config_route){.input_path = "$.dynamodb.NewImage.n", .unmarshalled = 1},
                    "12345678901234567890.123456789");
    check_transform(
        &(struct config_route){.input_path = "$.dynamodb.NewImage.list[1].deep", .unmarshalled = 1}, "\"d\"");
    check_transform(&(struct config_route){.input_paths = "{\"l\":\"$.dynamodb.NewImage.list\",\"id\":"
                                                          "\"$.dynamodb.Keys.id\"}",
                                           .input_template = "{\"a\":<l>,\"b\":\"<id>\"}",
                                           .unmarshalled = 1},
                    "{\"a\":[1,{\"deep\":\"d\"},[]],\"b\":\"a\\\"b\"}");
}

static void check_texts(const struct config_route *route, const char *detail_type, const char *source,
                        const char *subject)
{
    struct err err = {0};
    struct page *page = page_of(RECORD);
    struct transform *transform = transform_new(route, &err);
    struct transform_texts texts;
    if (!transform)
        fail_msg("%s", err.text);
    transform_write_texts(transform, &page->records[0], ARN, &texts);
    const char *expected[] = {detail_type, source, subject};
    char *had[] = {texts.detail_type, texts.source, texts.subject};
    for (size_t i = 0; i < 3; i++) {
        if (expected[i])
            assert_string_equal(had[i], expected[i]);
        else
            assert_null(had[i]);
        free(had[i]);
    }
    transform_free(transform);
    page_release(page);
}

static void texts_come_from_the_record(void **state)
{
    (void)state;
    check_texts(&(struct config_route){0}, NULL, NULL, NULL);
    check_texts(&(struct config_route){.detail_type = "Order placed", .subject = "a > b"}, "Order placed",
                NULL, "a > b");
    check_texts(&(struct config_route){.detail_type = "$.dynamodb.Keys.id.S",
                                       .source = "$.eventID",
                                       .subject = "$.dynamodb.OldImage.gone.S"},
                "a\"b", "e1", NULL);
    check_texts(&(struct config_route){.input_paths = PATHS,
                                       .detail_type = "of <id>: <deep><gone>.",
                                       .source = "<gone>",
                                       .subject = "<new>"},
                "of a\"b: d.", NULL, "{\"L\":[{\"N\":\"1\"},{\"M\":{\"deep\":{\"S\":\"d\"}}},{\"L\":[]}]}");
    check_texts(&(struct config_route){.unmarshalled = 1,
                                       .detail_type = "$.dynamodb.Keys.id",
                                       .source = "$.dynamodb.NewImage.n",
                                       .subject = "$.dynamodb.NewImage.list[0]"},
                "a\"b", "12345678901234567890.123456789", "1");
    static const struct {
        const char *text, *says;
    } wrong[] = {{"$dynamodb", "subject: \"$dynamodb\" is no path"},
                 {"<$.dynamodb.Keys>", "a path stands alone"},
                 {"<idd>", "input_paths has no \"idd\" (did you mean id?)"},
                 {"a < b", "a name of input_paths expected"},
                 {"<>", "a name of input_paths expected"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err err = {0};
        assert_null(transform_new(
            &(struct config_route){.input_paths = PATHS, .subject = (char *)wrong[i].text}, &err));
        if (!strstr(err.text, wrong[i].says))
            fail_msg("row %zu: %s", i, err.text);
    }
}

static void mistakes_in_transforms_are_named(void **state)
{
    static const struct {
        const char *path, *paths, *template, *says;
    } rows[] = {
        {"dynamodb", NULL, NULL, "input_path: \"dynamodb\" is no path"},
        {"$.", NULL, NULL, "input_path: \"$.\" is no path"},
        {"$.a[x]", NULL, NULL, "is no path"},
        {"$['a", NULL, NULL, "is no path"},
        {"$a", NULL, NULL, "is no path"},
        {NULL, "[]", "{}", "input_paths: an object of names and paths expected"},
        {NULL, "{\"a\":1}", "{}", "input_paths: \"a\": a name of letters and digits and a path expected"},
        {NULL, "{\"a b\":\"$.x\"}", "{}", "input_paths: \"a b\""},
        {NULL, "{\"a\":\"x\"}", "{}", "input_paths: \"x\" is no path"},
        {NULL, "{", "{}", "input_paths: "},
        {NULL, "{\"order\":\"$.x\"}", "{\"a\":<ordr>}", "input_paths has no \"ordr\" (did you mean order?)"},
        {NULL, "{\"a\":\"$.x\"}", "{\"a\":<a>", "input_template: filled in, it is not JSON"},
        {NULL, "{\"a\":\"$.x\"}", "hello <a>", "input_template: filled in, it is not JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct config_route route = {.input_path = (char *)rows[i].path,
                                     .input_paths = (char *)rows[i].paths,
                                     .input_template = (char *)rows[i].template};
        assert_null(transform_new(&route, &err));
        if (!strstr(err.text, rows[i].says))
            fail_msg("row %zu: %s", i, err.text);
    }
}

/* However often, and in whatever form it came. */
static void a_record_is_written_without_holding_more(void **state)
{
    static const char text[] =
        RECORD ",{\"eventName\":\"REMOVE\",\"userIdentity\":{\"Type\":"
               "\"Service\",\"PrincipalId\":\"p\"},"
               "\"a\\u0062\":[{\"c\":[1]}],\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"x\"}},"
               "\n\"SequenceNumber\":\"1\"}}";
    struct buf out = BUF_INIT;
    (void)state;
    struct page *page = page_of(text); /* the first one has its tree already */
    assert_true(page->records[1].json->deferred);
    const char *next = page->arena.next;
    for (int i = 0; i < 3; i++) {
        record_write_json(&out, &page->records[1], "arn");
        assert_string_equal(out.data, "{\"eventName\":\"REMOVE\",\"userIdentity\":{\"type\":\"Service\","
                                      "\"principalId\":\"p\"},\"ab\":[{\"c\":[1]}],"
                                      "\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"x\"}},\"SequenceNumber\":"
                                      "\"1\"},\"eventSourceARN\":\"arn\"}");
        buf_clear(&out);
        assert_ptr_equal(page->arena.next, next);
    }
    page_release(page);
    buf_fini(&out);
}

static void keys_are_one_text_within_bounds(void **state)
{
    static const struct {
        const char *keys, *text, *document; /* NULL: a hash */
    } rows[] = {
        {"{\"id\":{\"S\":\"abc\"}}", "abc", "abc"},
        {"{\"id\":{\"N\":\"5\"},\"a\":{\"S\":\"x\"}}", "x|5", "x#5"},
        {"{\"a\":{\"S\":\"x\"},\"id\":{\"N\":\"5\"}}", "x|5", "x#5"},
        {"{\"id\":{\"N\":\"5\"},\"\\u0061\":{\"S\":\"\\u0041#\"}}", "A#|5", "A%23#5"},
        {"{\"i\":{\"N\":\"5\"},\"id\":{\"S\":\"%/|\"}}", "5|%/|", "5#%25/|"},
        {"{\"id\":{\"S\":\"a\\nb\"}}", NULL, "a\nb"},
        {"{\"id\":{\"S\":\"a\\u0000b\"}}", "\"a\\u0000b\"", NULL},
        {"{\"id\":{\"S\":\"\"}}", NULL, NULL},
        {"{\"id\":{}}", NULL, NULL},
        {"{\"id\":\"odd\",\"z\":{\"S\":\"x\"}}", NULL, NULL},
        {"{}", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = ARENA_INIT;
        size_t size = strlen(rows[i].keys);
        const struct json *ways[] = {json_parse(&arena, rows[i].keys, size, NULL),
                                     json_parse_deferring(&arena, rows[i].keys, size, 0, NULL)};
        for (size_t way = 0; way < 2; way++) { /* the second is still deferred behind them */
            char *text = item_key_text(ways[way]), *document = item_key_document(ways[way], 100);
            if (rows[i].text)
                assert_string_equal(text, rows[i].text);
            else
                assert_int_equal(strlen(text), 64);
            if (rows[i].document)
                assert_string_equal(document, rows[i].document);
            else
                assert_int_equal(strlen(document), 64);
            free(text);
            free(document);
        }
        assert_true(ways[1]->deferred == (size > 2));
        arena_fini(&arena);
    }
    char *blank = item_key_safe("with blanks"), *umlaut = item_key_safe("\xc3\xa4"),
         *empty = item_key_safe("");
    assert_int_equal(strlen(blank), 64);
    assert_int_equal(strlen(umlaut), 64);
    assert_int_equal(strlen(empty), 64);
    free(blank);
    free(umlaut);
    free(empty);
}

static void compressed_bytes_come_back(void **state)
{
    (void)state;
    for (int kind = COMPRESSION_GZIP; kind <= COMPRESSION_NONE; kind++) {
        struct buf packed = BUF_INIT, out = BUF_INIT, original = BUF_INIT;
        struct err err = {0};
        struct compressor *compressor = compressor_new((enum compression)kind);
        for (int i = 0; i < 50000; i++) {
            size_t before = original.size;
            buf_printf(&original, "line %d of %d\n", i, i * 7919 % 1000);
            compressor_add(compressor, original.data + before, original.size - before, &packed);
        }
        compressor_end(compressor, &packed);
        compressor_free(compressor);
        assert_true(decompress(packed.data, packed.size, original.size, &out, &err));
        assert_int_equal(out.size, original.size);
        assert_memory_equal(out.data, original.data, out.size);
        buf_clear(&out);
        assert_false(decompress(packed.data, packed.size, original.size - 1, &out, &err));
        assert_int_equal(err.code, ERR_LIMIT);
        buf_clear(&out);
        assert_true(kind == COMPRESSION_NONE ||
                    !decompress(packed.data, packed.size - 5, original.size, &out, &err));
        buf_fini(&packed);
        buf_fini(&original);
        buf_fini(&out);
    }
}

static void keep_name(void *user, const char *key, int64_t bytes)
{
    buf_printf(user, "%s:%lld ", key, (long long)bytes);
}

static void s3s_listing_is_read(void **state)
{
    struct buf body = BUF_INIT, found = BUF_INIT;
    struct err err = {0};
    (void)state;
    buf_add_text(&body,
                 "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                 "<Name>b</Name><Contents><Key>a &amp; b</Key><Size>5</Size></Contents>"
                 "<Contents><Key>c</Key><Size>70000000000</Size></Contents>"
                 "<Contents><Key>d</Key><Size>9223372036854775807</Size></Contents>"
                 "<Contents><Key>e</Key><Size>-1</Size></Contents>"
                 "<NextContinuationToken>t&lt;1</NextContinuationToken></ListBucketResult>");
    char *token = s3_read_list(&body, keep_name, &found, &err);
    assert_string_equal(token, "t<1");
    assert_string_equal(found.data, "a & b:5 c:70000000000 d:54975581388800 e:0 ");
    free(token);
    body.size -= 3;
    assert_null(s3_read_list(&body, keep_name, &found, &err));
    assert_int_equal(err.code, ERR_PARSE);
    buf_fini(&body);
    buf_fini(&found);
}

static void archives_are_in_the_order_of_their_events(void **state)
{
    static const char *const ordered[] = {"t/hour=09/s-1-a-99.jsonl",
                                          "t/hour=09/s-1-a-100.jsonl",
                                          "t/hour=09/s-1-a-100200300400500600700800.jsonl",
                                          "t/hour=09/s-1-b-5.jsonl",
                                          "t/hour=09/s-2-a-1.jsonl",
                                          "t/hour=10/s-1-a-1.jsonl",
                                          "t/hour=10/s-1-a-1.jsonl.gz"};
    (void)state;
    for (size_t i = 0; i + 1 < sizeof ordered / sizeof *ordered; i++) {
        assert_true(archive_compare(ordered[i], ordered[i + 1]) < 0);
        assert_true(archive_compare(ordered[i + 1], ordered[i]) > 0);
        assert_int_equal(archive_compare(ordered[i], ordered[i]), 0);
    }
}

/* What the type says of itself is what those who ask it rely on. */
static void every_type_of_target_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; target_types[i]; i++) {
        const struct target_type *type = target_types[i];
        assert_ptr_equal(target_type_find(target_types, type->name), type);
        assert_true(!type->settings == !type->settings_size);
        assert_true(!type->needed || type->settings);
        for (size_t k = 0; type->needed && type->needed[k]; k++)
            assert_true(setting_find(type->settings, type->needed[k])->type == SETTING_TEXT);
        assert_true(!type->service == !type->actions && !type->service == !type->arn);
        bool has_url = type->settings && setting_find(type->settings, "url"); /* an endpoint of its own */
        if (type->service && !has_url) { /* `dev` prints what is for AWS unless there is an endpoint for it */
            struct config_aws aws = {.endpoint_events = "e",
                                     .endpoint_sqs = "e",
                                     .endpoint_sns = "e",
                                     .endpoint_kinesis = "e",
                                     .endpoint_firehose = "e",
                                     .endpoint_lambda = "e",
                                     .endpoint_states = "e",
                                     .endpoint_ses = "e",
                                     .endpoint_dynamodb = "e",
                                     .endpoint_s3 = "e"};
            assert_string_equal(config_endpoint(&aws, type->service), "e");
        }
        assert_true(!type->around_actions == !type->around_arn && (type->service || !type->around_actions));
        assert_non_null(type->open);
        if (type->open == batcher_open) {
            assert_true(type->measure && type->send && type->count_max && type->in_flight);
            assert_true(type->bytes_max && type->bytes_max <= type->bytes_most);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_marshalled_and_not),
        cmocka_unit_test(a_record_without_the_image_is_left_out),
        cmocka_unit_test(paths_and_templates),
        cmocka_unit_test(texts_come_from_the_record),
        cmocka_unit_test(mistakes_in_transforms_are_named),
        cmocka_unit_test(a_record_is_written_without_holding_more),
        cmocka_unit_test(keys_are_one_text_within_bounds),
        cmocka_unit_test(every_type_of_target_is_whole),
        cmocka_unit_test(compressed_bytes_come_back),
        cmocka_unit_test(s3s_listing_is_read),
        cmocka_unit_test(archives_are_in_the_order_of_their_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
