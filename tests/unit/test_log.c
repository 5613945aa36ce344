/* test_log.c: what an operator reads when the same thing happens again and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

struct fixture {
    struct clock clock; /* first: one is the other */
    int64_t now_ms;
    FILE *file;
    struct log *log;
    char text[20000];
};

static int64_t now_ms(struct clock *clock)
{
    return ((struct fixture *)clock)->now_ms;
}

static void begin(struct fixture *f, enum log_level level)
{
    *f = (struct fixture){.clock = {.monotonic_ms = now_ms, .wall_ms = now_ms}, .now_ms = 1000};
    f->file = tmpfile();
    assert_non_null(f->file);
    f->log = log_new(fileno(f->file), LOG_TEXT, level, &f->clock);
}

static const char *written(struct fixture *f)
{
    ssize_t size = pread(fileno(f->file), f->text, sizeof f->text - 1, 0);
    f->text[size > 0 ? size : 0] = '\0';
    return f->text;
}

static int lines(struct fixture *f)
{
    int count = 0;
    for (const char *at = written(f); (at = strchr(at, '\n')); at++)
        count++;
    return count;
}

static void end(struct fixture *f)
{
    log_free(f->log);
    fclose(f->file);
}

static void say_failed(struct fixture *f, const char *why, int record)
{
    log_write_repeated(f->log, LOG_WARN, "handler h", why, "%s (record %d)", why, record);
}

static void a_sentence_is_said_once_and_then_with_its_number(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, LOG_INFO);
    for (int i = 0; i < 500; i++)
        say_failed(&f, "boom at 17", i);
    say_failed(&f, "boom at 4711", 500);
    say_failed(&f, "crash", 1);
    assert_int_equal(lines(&f), 2);
    assert_non_null(strstr(written(&f), "boom at 17 (record 0)\n"));
    log_flush(f.log);
    assert_int_equal(lines(&f), 2);
    f.now_ms += 10000;
    log_flush(f.log);
    assert_non_null(strstr(written(&f), "boom at 4711 (record 500) (and 499 more like it in 10 s)\n"));
    assert_int_equal(lines(&f), 3);
    say_failed(&f, "boom at 1", 501); /* that was told just now */
    assert_int_equal(lines(&f), 3);
    f.now_ms += 20000;
    log_flush(f.log);
    assert_non_null(strstr(written(&f), "boom at 1 (record 501)\n"));
    f.now_ms += 10000;
    log_flush(f.log);
    say_failed(&f, "boom at 1", 502); /* after a while it is news again */
    assert_non_null(strstr(written(&f), "boom at 1 (record 502)\n"));
    say_failed(&f, "boom at 1", 503);
    end(&f); /* nothing stays unsaid */
}

static void what_was_left_out_is_told_at_the_end(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, LOG_INFO);
    for (int i = 0; i < 5; i++)
        say_failed(&f, "boom", i);
    log_free(f.log);
    assert_non_null(strstr(written(&f), "boom (record 4) (and 3 more like it in 0 s)\n"));
    fclose(f.file);
}

/* Who watches for errors sees that a record was given up, though its attempts were warned of in the same
 * words. */
static void an_error_is_no_repetition_of_a_warning(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, LOG_INFO);
    say_failed(&f, "boom", 1);
    log_write_repeated(f.log, LOG_ERROR, "handler h", "boom", "boom (given up)");
    assert_int_equal(lines(&f), 2);
    assert_non_null(strstr(written(&f), "boom (given up)"));
    end(&f);
}

/* However long they are. */
static void errors_that_differ_at_their_end_are_two(void **state)
{
    struct fixture f;
    char one[400], two[400];
    (void)state;
    begin(&f, LOG_INFO);
    memset(one, 'x', sizeof one);
    memcpy(two, one, sizeof one);
    one[399] = two[399] = '\0';
    two[398] = 'y';
    say_failed(&f, one, 1);
    say_failed(&f, two, 1);
    assert_int_equal(lines(&f), 2);
    end(&f);
}

static void with_level_debug_all_is_written(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, LOG_DEBUG);
    for (int i = 0; i < 20; i++)
        say_failed(&f, "boom", i);
    assert_int_equal(lines(&f), 20);
    end(&f);
}

static void there_is_a_bound_on_kinds(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, LOG_INFO);
    for (int i = 0; i < 3000; i++) {
        char why[20];
        snprintf(why, sizeof why, "%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676);
        say_failed(&f, why, 0);
        say_failed(&f, why, 1);
    }
    assert_true(lines(&f) > 0);
    end(&f);
}

static void journald_is_told_the_level(void **state)
{
    struct fixture f;
    struct stat status;
    char stream[64];
    (void)state;
    begin(&f, LOG_INFO);
    assert_int_equal(fstat(fileno(f.file), &status), 0);
    log_free(f.log);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    f.log = log_new(fileno(f.file), LOG_TEXT, LOG_INFO, &f.clock);
    log_info(f.log, NULL, "one");
    log_warn(f.log, NULL, "two\nlines");
    log_error(f.log, NULL, "three");
    assert_true(strncmp(written(&f), "<6>", 3) == 0);
    assert_non_null(strstr(f.text, "\n<4>"));
    assert_non_null(strstr(f.text, "two\n<4>    lines\n<3>"));
    setenv("JOURNAL_STREAM", "1:1", 1); /* that of our parent */
    log_free(f.log);
    f.log = log_new(fileno(f.file), LOG_TEXT, LOG_INFO, &f.clock);
    log_info(f.log, NULL, "four");
    assert_null(strstr(strstr(written(&f), "three"), "<6>"));
    unsetenv("JOURNAL_STREAM");
    end(&f);
}

#define TEST(function) cmocka_unit_test(function)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sentence_is_said_once_and_then_with_its_number),
        TEST(what_was_left_out_is_told_at_the_end),
        TEST(an_error_is_no_repetition_of_a_warning),
        TEST(errors_that_differ_at_their_end_are_two),
        TEST(with_level_debug_all_is_written),
        TEST(there_is_a_bound_on_kinds),
        TEST(journald_is_told_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
