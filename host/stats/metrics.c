/* metrics.c: see metrics.h. */
#include "stats/metrics.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"

/* Sorted by name. Labels never grow with shards or items. */
static const struct metric metrics[] = {
    {"tidemill_build_info", "gauge", JOIN_GREATEST, "1, with the version."},
    {"tidemill_expired_iterators_total", "counter", JOIN_SUM, "Shard iterators refused as too old."},
    {"tidemill_gaps_total", "counter", JOIN_SUM, "Times that records were trimmed before they were read."},
    {"tidemill_get_records_total", "counter", JOIN_SUM, "GetRecords calls."},
    {"tidemill_in_flight_records", "gauge", JOIN_SUM, "Records that the handler works on."},
    {"tidemill_iterator_age_seconds", "gauge", JOIN_GREATEST,
     "Age of the oldest record that is read and not settled; 0: there is none."},
    {"tidemill_longest_step_seconds", "gauge", JOIN_GREATEST,
     "The longest time that anything kept a reactor from its other work, since the start."},
    {"tidemill_read_records_total", "counter", JOIN_SUM, "Records that were read."},
    {"tidemill_records_total", "counter", JOIN_SUM, "Records by what became of them."},
    {"tidemill_retries_total", "counter", JOIN_SUM, "Attempts that failed and were followed by another."},
    {"tidemill_retrying_records", "gauge", JOIN_SUM, "Records that wait for another attempt."},
    {"tidemill_target_bytes_total", "counter", JOIN_SUM, "Payloads that the target has accepted."},
    {"tidemill_target_messages_total", "counter", JOIN_SUM, "Messages by what the target made of them."},
    {"tidemill_target_requests_total", "counter", JOIN_SUM, "Requests to the target."},
    {"tidemill_target_retries_total", "counter", JOIN_SUM, "Messages that were sent again."},
    {"tidemill_target_waiting_messages", "gauge", JOIN_SUM, "Messages that the target has not accepted yet."},
    {"tidemill_throttled_reads_total", "counter", JOIN_SUM, "Reads that were refused as too many."},
    {"tidemill_waiting_records", "gauge", JOIN_SUM, "Records that wait for their turn."},
};

const struct metric *metric_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(metrics); i++)
        if (strcmp(metrics[i].name, name) == 0)
            return &metrics[i];
    return NULL;
}

double metric_joins(const char *name, double a, double b)
{
    const struct metric *metric = metric_find(name);
    CHECK(metric);
    return metric->join == JOIN_SUM ? a + b : a > b ? a : b;
}
