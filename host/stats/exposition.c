/* exposition.c: see exposition.h. */
#include "stats/exposition.h"

#include <string.h>

#include "base/check.h"
#include "stats/metrics.h"

#ifndef TIDEMILL_VERSION
#define TIDEMILL_VERSION "?"
#endif

/* ---- samples ---- */

struct adding {
    struct sheet *sheet;
    struct stats *stats;
    int64_t now_ms; /* wall clock */
};

static double seconds_since(const struct adding *adding, int64_t then_ms)
{
    return then_ms && adding->now_ms > then_ms ? (double)(adding->now_ms - then_ms) / 1000 : 0;
}

static void add_outcomes(struct sheet *sheet, const char *handler, const struct stats_handler *counters)
{
    const struct {
        const char *outcome;
        int64_t count;
    } outcomes[] = {
        {"handled", counters->handled},     {"filtered", counters->left_out},   {"dead", counters->dead},
        {"discarded", counters->discarded}, {"forwarded", counters->forwarded},
    };
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        sheet_add(sheet, "tidemill_records_total", (double)outcomes[i].count, "handler", handler, "outcome",
                  outcomes[i].outcome, NULL);
}

static void add_age(const struct adding *adding, const char *stream, const char *handler, int64_t since_ms)
{
    double age = seconds_since(adding, since_ms);
    double kept = (double)stats_stream(adding->stats, stream)->retention_ms / 1000;
    sheet_add(adding->sheet, "tidemill_iterator_age_seconds", age, "stream", stream, "handler", handler,
              NULL);
    if (kept > 0)
        sheet_add(adding->sheet, "tidemill_trim_seconds", age < kept ? kept - age : 0, "stream", stream,
                  "handler", handler, NULL);
}

static void add_calls(struct sheet *sheet, const char *handler, const struct stats_times *calls)
{
    sheet_add_times(sheet, "tidemill_invocation_seconds", calls, "handler", handler, NULL);
}

static void add_handler(void *user, const char *stream, const char *handler,
                        const struct stats_handler *counters)
{
    const struct adding *adding = user;
    struct sheet *sheet = adding->sheet;
    const struct stats_subscription *now = &counters->now;
    add_outcomes(sheet, handler, counters);
    add_calls(sheet, handler, &counters->calls);
    if (now->shards) /* else it is paused, or gone: nobody knows how old what it does not get is */
        add_age(adding, stream, handler, now->behind_ms);
    sheet_add(sheet, "tidemill_retries_total", (double)counters->retried, "handler", handler, NULL);
    sheet_add(sheet, "tidemill_in_flight_records", (double)now->in_flight, "handler", handler, NULL);
    sheet_add(sheet, "tidemill_retrying_records", (double)now->retrying, "handler", handler, NULL);
    sheet_add(sheet, "tidemill_waiting_records", (double)now->waiting, "handler", handler, NULL);
}

static void add_script(void *user, const char *handler, const struct stats_script *counters)
{
    sheet_add(user, "tidemill_lua_seconds_total", (double)counters->us / 1e6, "handler", handler, NULL);
    sheet_add(user, "tidemill_lua_memory_bytes", (double)counters->bytes, "handler", handler, NULL);
}

static void add_series(void *user, const char *name, const char *labels, double value,
                       const struct stats_times *times)
{
    const struct metric *metric = metric_find(name);
    CHECK(metric && (metric->type == METRIC_HISTOGRAM) == (times != NULL));
    if (times)
        sheet_add_labelled_times(user, metric->name, labels, times);
    else
        sheet_add_labelled(user, metric->name, labels, value);
}

static void add_stream(void *user, const char *stream, const struct stats_stream *counters)
{
    sheet_add(user, "tidemill_get_records_total", (double)counters->calls, "stream", stream, NULL);
    sheet_add(user, "tidemill_read_records_total", (double)counters->records, "stream", stream, NULL);
    sheet_add(user, "tidemill_throttled_reads_total", (double)counters->throttled, "stream", stream, NULL);
    sheet_add(user, "tidemill_expired_iterators_total", (double)counters->expired, "stream", stream, NULL);
    sheet_add(user, "tidemill_gaps_total", (double)counters->gaps, "stream", stream, NULL);
    sheet_add(user, "tidemill_shards", (double)counters->shards, "stream", stream, NULL);
    sheet_add(user, "tidemill_window_bytes", (double)counters->window_bytes, "stream", stream, NULL);
}

static void add_target(void *user, const char *target, const struct stats_target *counters)
{
    sheet_add(user, "tidemill_target_messages_total", (double)counters->accepted, "target", target, "result",
              "accepted", NULL);
    sheet_add(user, "tidemill_target_messages_total", (double)counters->failed, "target", target, "result",
              "failed", NULL);
    sheet_add(user, "tidemill_target_requests_total", (double)counters->requests, "target", target, NULL);
    sheet_add(user, "tidemill_target_retries_total", (double)counters->retried, "target", target, NULL);
    sheet_add(user, "tidemill_target_bytes_total", (double)counters->bytes, "target", target, NULL);
    sheet_add(user, "tidemill_target_waiting_messages", (double)counters->waiting, "target", target, NULL);
}

void exposition_add(struct sheet *sheet, struct stats *stats, int64_t now_ms)
{
    struct adding adding = {sheet, stats, now_ms};
    sheet_add(sheet, "tidemill_build_info", 1, "version", TIDEMILL_VERSION, NULL);
    stats_each_handler(stats, add_handler, &adding);
    stats_each_stream(stats, add_stream, sheet);
    stats_each_target(stats, add_target, sheet);
    stats_each_script(stats, add_script, sheet);
    stats_each_series(stats, add_series, sheet);
}

/* ---- text ---- */

static const char *const type_names[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

/* OpenMetrics has a counter's name without its ending. */
static int family_size(const struct metric *metric, bool open_metrics)
{
    size_t size = strlen(metric->name), ending = strlen("_total");
    return (int)(open_metrics && metric->type == METRIC_COUNTER ? size - ending : size);
}

static void begin_family(const struct metric *metric, bool open_metrics, struct buf *out)
{
    int size = family_size(metric, open_metrics);
    buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", size, metric->name, metric->help, size, metric->name,
               type_names[metric->type]);
}

/* Of a histogram: which of its lines. */
static void write_name(const struct metric *metric, const struct sample *sample, struct buf *out)
{
    const char *le = sample->part < STATS_BUCKETS ? stats_buckets[sample->part].text : "+Inf";
    buf_add_text(out, metric->name);
    if (metric->type == METRIC_HISTOGRAM)
        buf_add_text(out, sample->part <= STATS_BUCKETS       ? "_bucket"
                          : sample->part == STATS_BUCKETS + 1 ? "_sum"
                                                              : "_count");
    if (metric->type == METRIC_HISTOGRAM && sample->part <= STATS_BUCKETS)
        buf_printf(out, "{%s%sle=\"%s\"}", sample->labels, *sample->labels ? "," : "", le);
    else if (*sample->labels)
        buf_printf(out, "{%s}", sample->labels);
}

void exposition_write(const struct sheet *sheet, bool open_metrics, struct buf *out)
{
    const struct metric *before = NULL;
    for (size_t i = 0; i < sheet->count; i++) {
        const struct metric *metric = metric_find(sheet->samples[i].metric);
        CHECK(metric);
        if (metric != before)
            begin_family(metric, open_metrics, out);
        before = metric;
        write_name(metric, &sheet->samples[i], out);
        buf_printf(out, " %.17g\n", sheet->samples[i].value);
    }
    if (open_metrics)
        buf_add_literal(out, "# EOF\n");
}
