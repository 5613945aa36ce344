/* test_stats.c: numbers on their way out: series, histograms, sheets, the board. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/board.h"
#include "stats/exposition.h"
#include "stats/metrics.h"

static void metrics_are_sorted_and_named_as_prometheus_wants(void **state)
{
    const struct metric *metric, *before = NULL;
    (void)state;
    for (size_t i = 0; (metric = metric_at(i)); before = metric, i++) {
        const char *ending = strrchr(metric->name, '_');
        assert_true(!before || strcmp(before->name, metric->name) < 0);
        assert_ptr_equal(metric_find(metric->name), metric);
        assert_int_equal(strcmp(ending, "_total") == 0, metric->type == METRIC_COUNTER);
        assert_true(metric->type != METRIC_COUNTER || metric->join == JOIN_SUM);
    }
    assert_null(metric_find("tidemill_nothing"));
}

static char *write_all(struct sheet *sheet, bool open_metrics)
{
    struct buf out = BUF_INIT;
    sheet_merge(sheet);
    exposition_write(sheet, open_metrics, &out);
    buf_add(&out, "", 0);
    return buf_take(&out);
}

static void a_histogram_counts_each_bucket_with_those_below(void **state)
{
    struct stats *stats = stats_new();
    struct sheet sheet = {0};
    (void)state;
    struct stats_times *times = stats_times(stats, "tidemill_aws_request_seconds", "service", "sqs", NULL);
    stats_took(times, -5); /* a clock that went back */
    stats_took(times, 1000);
    stats_took(times, 1001);
    stats_took(times, 70000000);
    exposition_add(&sheet, stats, 0);
    char *text = write_all(&sheet, false);
    assert_non_null(strstr(text, "# TYPE tidemill_aws_request_seconds histogram\n"
                                 "tidemill_aws_request_seconds_bucket{service=\"sqs\",le=\"0.001\"} 2\n"
                                 "tidemill_aws_request_seconds_bucket{service=\"sqs\",le=\"0.005\"} 3\n"
                                 "tidemill_aws_request_seconds_bucket{service=\"sqs\",le=\"0.025\"} 3\n"));
    assert_non_null(strstr(text, "tidemill_aws_request_seconds_bucket{service=\"sqs\",le=\"60.0\"} 3\n"
                                 "tidemill_aws_request_seconds_bucket{service=\"sqs\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "tidemill_aws_request_seconds_count{service=\"sqs\"} 4\n"));
    free(text);
    sheet_fini(&sheet);
    stats_free(stats);
}

static void two_reactors_are_one_sheet(void **state)
{
    struct board *board = board_new(2);
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sheet sheet = {0};
        sheet_add(&sheet, "tidemill_records_total", 2 + i, "handler", "a\"\\\n\xff", "outcome", "dead", NULL);
        sheet_add(&sheet, "tidemill_iterator_age_seconds", i, "stream", "s", "handler", "h", NULL);
        sheet_add(&sheet, "tidemill_trim_seconds", 5 + i, "stream", "s", "handler", "h", NULL);
        board_put(board, (size_t)i, &sheet);
    }
    struct sheet all = board_read(board);
    char *text = write_all(&all, true);
    assert_non_null(strstr(text, "# TYPE tidemill_records counter\n"));
    assert_non_null(
        strstr(text, "tidemill_records_total{handler=\"a\\\"\\\\\\n\xef\xbf\xbd\",outcome=\"dead\"} 5\n"));
    assert_non_null(strstr(text, "tidemill_iterator_age_seconds{stream=\"s\",handler=\"h\"} 1\n"));
    assert_non_null(strstr(text, "tidemill_trim_seconds{stream=\"s\",handler=\"h\"} 5\n"));
    assert_string_equal(text + strlen(text) - strlen("# EOF\n"), "# EOF\n");
    free(text);
    sheet_fini(&all);
    board_free(board);
}

/* Whatever a service answers or a script names: the page does not grow without end. */
static void too_many_series_are_one(void **state)
{
    struct stats *stats = stats_new();
    struct sheet sheet = {0};
    (void)state;
    for (int i = 0; i < 5000; i++) {
        char table[32];
        snprintf(table, sizeof table, "t\"%d", i);
        *stats_counter(stats, "tidemill_capacity_units_total", "handler", "h", "table", table, "kind", "read",
                       NULL) += 1;
    }
    ++*stats_counter(stats, "tidemill_http_requests_total", "handler", "h", "status", "200", NULL);
    ++*stats_counter(NULL, "tidemill_http_requests_total", "handler", "h", "status", "200", NULL);
    exposition_add(&sheet, stats, 0);
    assert_true(sheet.count < 2100);
    char *text = write_all(&sheet, false);
    assert_non_null(strstr(
        text, "tidemill_capacity_units_total{handler=\"other\",table=\"other\",kind=\"other\"} 3000\n"));
    assert_non_null(strstr(text, "tidemill_http_requests_total{handler=\"other\",status=\"other\"} 1\n"));
    free(text);
    sheet_fini(&sheet);
    stats_free(stats);
}

static void reasons_are_told_once_and_nobody_is_ready_before_all_have_begun(void **state)
{
    struct board *board = board_new(3);
    (void)state;
    char *all = board_read_reasons(board);
    assert_string_equal(all, "host: it begins\n");
    free(all);
    board_put_reasons(board, 0, "a: b\nstream s: c\n");
    board_put_reasons(board, 1, "stream s: c\nstream s: cd\n");
    all = board_read_reasons(board);
    assert_string_equal(all, "a: b\nstream s: c\nstream s: cd\nhost: it begins\n");
    free(all);
    for (size_t i = 0; i < 3; i++)
        board_put_reasons(board, i, "");
    all = board_read_reasons(board);
    assert_string_equal(all, "");
    free(all);
    board_free(board);
}

static void the_one_that_has_not_turned_for_longest_counts(void **state)
{
    struct board *board = board_new(3);
    (void)state;
    assert_int_equal(board_silent_ms(board, 1000), 0);
    board_turned(board, 0, 900);
    board_turned(board, 1, 400);
    assert_int_equal(board_silent_ms(board, 1000), 600); /* the third never has: it is no reactor */
    board_free(board);
}

#define TEST(function) cmocka_unit_test(function)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(metrics_are_sorted_and_named_as_prometheus_wants),
        TEST(a_histogram_counts_each_bucket_with_those_below),
        TEST(two_reactors_are_one_sheet),
        TEST(too_many_series_are_one),
        TEST(reasons_are_told_once_and_nobody_is_ready_before_all_have_begun),
        TEST(the_one_that_has_not_turned_for_longest_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
