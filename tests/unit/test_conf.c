/* test_conf.c: the INI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/config.h"
#include "conf/settings.h"
#include "core/plugs.h"

static const char path[] = "/tmp/tidemill-test-conf.ini";

static struct config *load(const char *text, struct problems *problems)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    *problems = PROBLEMS_INIT;
    struct config *config = config_load(path, &host_plugs, problems);
    unlink(path);
    return config;
}

static bool says(const struct problems *problems, const char *part)
{
    for (size_t i = 0; i < problems->count; i++)
        if (strstr(problems->lines[i], part))
            return true;
    return false;
}

static void the_contracts_example_is_read(void **state)
{
    struct problems problems;
    (void)state;
    setenv("TEST_KEY", "k3y", 1);
    struct config *config =
        load("[host]\n"
             "name       = orders-1                ; a comment\n"
             "state      = sqlite:tidemill.db\n"
             "threads    = 0\n"
             "log_level  = debug\n"
             "[stream products]\n"
             "table      = Products\n"
             "start      = latest\n"
             "poll_min   = 50ms\n"
             "window     = 64MiB\n"
             "[handler stock]\n"
             "stream     = products\n"
             "concurrency = 8\n"
             "backoff    = 200ms..60s\n"
             "api_key    = Bearer ${env:TEST_KEY}!\n"
             "note       = ${env:TEST_UNSET:-none at all}, ${env:TEST_KEY:-x}${env:TEST_UNSET:-}\n",
             &problems);
    if (problems.count)
        fail_msg("%s", problems.lines[0]);
    assert_string_equal(config->host.name, "orders-1");
    assert_string_equal(config->host.state, "sqlite:/tmp/tidemill.db");
    assert_string_equal(config->host.scripts, "/tmp/scripts");
    assert_int_equal(config->host.log_level, LOG_DEBUG);
    const struct config_stream *stream = config_stream(config, "products");
    assert_int_equal(stream->start, START_LATEST);
    assert_int_equal(stream->poll_min_ms, 50);
    assert_int_equal(stream->poll_max_ms, 1000);
    assert_int_equal(stream->window_bytes, 64 << 20);
    const struct config_handler *handler = config_handler(config, "stock");
    struct handler_settings settings;
    handler_settings_init(&settings);
    handler_settings_overlay(&settings, config, handler, &problems);
    assert_int_equal(settings.concurrency, 8);
    assert_int_equal(settings.backoff_ms[0], 200);
    assert_int_equal(settings.backoff_ms[1], 60000);
    assert_int_equal(settings.retries, 10);
    assert_string_equal(handler->pairs[3].value, "Bearer k3y!");
    assert_string_equal(handler->pairs[3].shown, "Bearer ${env:TEST_KEY}!");
    assert_string_equal(handler->pairs[4].value, "none at all, k3y");
    handler_settings_fini(&settings);
    config_release(config);
}

static void each_mistake_is_named_with_its_line(void **state)
{
    struct problems problems;
    (void)state;
    struct config *config = load("key = before any section\n"
                                 "[stream s]\n"
                                 "table = T\n"
                                 "table = U\n"
                                 "[stream s]\n"
                                 "arn = x\n"
                                 "[stream both]\n"
                                 "table = T\n"
                                 "arn = arn:x\n"
                                 "[stream]\n"
                                 "[host\n"
                                 "just words\n"
                                 "[handler h]\n"
                                 "on_failure = somewhere\n"
                                 "secret = ${env:\n"
                                 "file = ${file:/does/not/exist}\n",
                                 &problems);
    assert_true(says(&problems, "conf.ini:1: key stands before the first [section]"));
    assert_true(says(&problems, "conf.ini:4: [stream s] table stands on line 3 already"));
    assert_true(says(&problems, "conf.ini:5: [stream s] stands on line 2 already"));
    assert_true(says(&problems, "conf.ini:7: [stream both] needs a table, an arn, or tables: one of these"));
    assert_true(says(&problems, "conf.ini:10: [stream] needs a name behind it"));
    assert_true(says(&problems, "conf.ini:11:"));
    assert_true(says(&problems, "conf.ini:12:"));
    assert_true(says(&problems, "conf.ini:14: [handler h] on_failure:"));
    assert_true(says(&problems, "conf.ini:15: [handler h] secret: \"${\" without its \"}\""));
    assert_true(says(&problems, "conf.ini:16: [handler h] file: ${file:/does/not/exist}:"));
    problems_fini(&problems);
    config_release(config);
}

static void values_longer_than_inih_allows_are_whole(void **state)
{
    struct problems problems;
    char text[4000] = "[stream s]\ntable = T\n[handler h]\ntoken = ";
    size_t at = strlen(text);
    (void)state;
    memset(text + at, 'x', 3000);
    text[at + 3000] = '\n';
    struct config *config = load(text, &problems);
    assert_int_equal(problems.count, 0);
    assert_int_equal(strlen(config_handler(config, "h")->pairs[0].value), 3000);
    config_release(config);
}

static void durations_and_sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } durations[] = {{"100ms", 100},    {"1.5s", 1500}, {"5m", 300000}, {"24h", 86400000},
                     {"7d", 604800000}, {"0", 0},       {"10", -1},     {"-1s", -1},
                     {"s", -1},         {"1 s", 1000},  {"1sx", -1},    {"", -1}},
      sizes[] = {{"512", 512}, {"64KiB", 65536}, {"32MiB", 32 << 20}, {"1GiB", 1 << 30},
                 {"10B", 10},  {"1MB", -1},      {"x", -1},           {"", -1}};
    struct err err;
    int64_t value;
    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        value = -1;
        if (!duration_parse(durations[i].text, &value, &err))
            value = -1;
        assert_int_equal(value, durations[i].value);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        value = -1;
        if (!size_parse(sizes[i].text, &value, &err))
            value = -1;
        assert_int_equal(value, sizes[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_contracts_example_is_read),
        cmocka_unit_test(each_mistake_is_named_with_its_line),
        cmocka_unit_test(values_longer_than_inih_allows_are_whole),
        cmocka_unit_test(durations_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
