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
    int64_t now_ms; /* wall clock */
};

static void add_outcomes(struct sheet *sheet, const char *stream, const char *handler,
                         const struct stats_handler *counters)
{
    const struct {
        const char *outcome;
        int64_t count;
    } outcomes[] = {
        {"handled", counters->handled},     {"filtered", counters->left_out},   {"dead", counters->dead},
        {"discarded", counters->discarded}, {"forwarded", counters->forwarded},
    };
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        sheet_add(sheet, "tidemill_records_total", (double)outcomes[i].count, "stream", stream, "handler",
                  handler, "outcome", outcomes[i].outcome, NULL);
}

static void add_handler(void *user, const char *stream, const char *handler,
                        const struct stats_handler *counters)
{
    const struct adding *adding = user;
    struct sheet *sheet = adding->sheet;
    const struct stats_subscription *now = &counters->now;
    int64_t age_ms = now->oldest_ms && adding->now_ms > now->oldest_ms ? adding->now_ms - now->oldest_ms : 0;
    add_outcomes(sheet, stream, handler, counters);
    sheet_add(sheet, "tidemill_retries_total", (double)counters->retried, "stream", stream, "handler",
              handler, NULL);
    sheet_add(sheet, "tidemill_in_flight_records", (double)now->in_flight, "stream", stream, "handler",
              handler, NULL);
    sheet_add(sheet, "tidemill_retrying_records", (double)now->retrying, "stream", stream, "handler", handler,
              NULL);
    sheet_add(sheet, "tidemill_waiting_records", (double)now->waiting, "stream", stream, "handler", handler,
              NULL);
    sheet_add(sheet, "tidemill_iterator_age_seconds", (double)age_ms / 1000, "stream", stream, "handler",
              handler, NULL);
}

static void add_stream(void *user, const char *stream, const struct stats_stream *counters)
{
    sheet_add(user, "tidemill_get_records_total", (double)counters->calls, "stream", stream, NULL);
    sheet_add(user, "tidemill_read_records_total", (double)counters->records, "stream", stream, NULL);
    sheet_add(user, "tidemill_throttled_reads_total", (double)counters->throttled, "stream", stream, NULL);
    sheet_add(user, "tidemill_expired_iterators_total", (double)counters->expired, "stream", stream, NULL);
    sheet_add(user, "tidemill_gaps_total", (double)counters->gaps, "stream", stream, NULL);
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
    struct adding adding = {sheet, now_ms};
    sheet_add(sheet, "tidemill_build_info", 1, "version", TIDEMILL_VERSION, NULL);
    stats_each_handler(stats, add_handler, &adding);
    stats_each_stream(stats, add_stream, sheet);
    stats_each_target(stats, add_target, sheet);
}

/* ---- text ---- */

void exposition_write(const struct sheet *sheet, struct buf *out)
{
    const char *before = "";
    for (size_t i = 0; i < sheet->count; i++) {
        const struct sample *sample = &sheet->samples[i];
        const struct metric *metric = metric_find(sample->metric);
        CHECK(metric);
        if (strcmp(before, metric->name) != 0)
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                       metric->type);
        before = metric->name;
        buf_add_text(out, metric->name);
        if (*sample->labels)
            buf_printf(out, "{%s}", sample->labels);
        buf_printf(out, " %.17g\n", sample->value);
    }
}
