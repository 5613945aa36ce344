/* metrics.c: see metrics.h. */
#include "stats/metrics.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Sorted by name. Labels never grow with shards or items. */
static const struct metric metrics[] = {
    {"process_cpu_seconds_total", METRIC_COUNTER, JOIN_SUM, "Processor time, of user and system."},
    {"process_max_fds", METRIC_GAUGE, JOIN_GREATEST, "Limit of open files and sockets."},
    {"process_open_fds", METRIC_GAUGE, JOIN_GREATEST, "Open files and sockets."},
    {"process_resident_memory_bytes", METRIC_GAUGE, JOIN_GREATEST, "Memory that is resident."},
    {"process_start_time_seconds", METRIC_GAUGE, JOIN_GREATEST, "Start of the process, since 1970."},
    {"process_virtual_memory_bytes", METRIC_GAUGE, JOIN_GREATEST, "Address space."},
    {"tidemill_aws_request_seconds", METRIC_HISTOGRAM, JOIN_SUM,
     "Requests to AWS services, each attempt by itself, until the whole answer was there."},
    {"tidemill_aws_requests_total", METRIC_COUNTER, JOIN_SUM,
     "Requests to AWS services, each attempt by itself, by the service's code for what went wrong (OK, or "
     "Timeout, NetworkError)."},
    {"tidemill_build_info", METRIC_GAUGE, JOIN_GREATEST, "1, with the version."},
    {"tidemill_capacity_units_total", METRIC_COUNTER, JOIN_SUM,
     "Read and write units that a handler's calls consumed of a table."},
    {"tidemill_checkpoint_seconds", METRIC_HISTOGRAM, JOIN_SUM,
     "Checkpoints, from being handed to the state's store until they were durable."},
    {"tidemill_config_last_reload_successful", METRIC_GAUGE, JOIN_LEAST,
     "1: the INI and all scripts that were last looked at are in force; 0: something of them is wrong."},
    {"tidemill_dead_letters", METRIC_GAUGE, JOIN_GREATEST,
     "Dead letters of a handler in the state's store, on all hosts."},
    {"tidemill_expired_iterators_total", METRIC_COUNTER, JOIN_SUM, "Shard iterators refused as too old."},
    {"tidemill_gaps_total", METRIC_COUNTER, JOIN_SUM,
     "Times that records were trimmed before they were read."},
    {"tidemill_get_records_total", METRIC_COUNTER, JOIN_SUM, "GetRecords calls."},
    {"tidemill_http_requests_total", METRIC_COUNTER, JOIN_SUM,
     "Requests of a handler over tidemill.http by status (0: there was no answer)."},
    {"tidemill_in_flight_records", METRIC_GAUGE, JOIN_SUM, "Records that the handler works on."},
    {"tidemill_intake_requests_total", METRIC_COUNTER, JOIN_SUM,
     "Requests from outside by the status that they were answered with."},
    {"tidemill_intake_seconds", METRIC_HISTOGRAM, JOIN_SUM,
     "Requests from outside that a handler worked on, until its answer was there."},
    {"tidemill_invocation_seconds", METRIC_HISTOGRAM, JOIN_SUM,
     "Calls of a handler, waiting included, until all that they emitted was accepted."},
    {"tidemill_iterator_age_seconds", METRIC_GAUGE, JOIN_GREATEST,
     "Age of the oldest record that is not settled; while nothing can be read, the time since the end of the "
     "stream was last seen."},
    {"tidemill_lease_hand_overs_total", METRIC_COUNTER, JOIN_SUM,
     "Shards that came to this host from others, or went, among hosts that share a state."},
    {"tidemill_lease_left_seconds", METRIC_GAUGE, JOIN_LEAST,
     "How long this host may still make calls without another beat; 0: it may not, its lease has ended."},
    {"tidemill_longest_step_seconds", METRIC_GAUGE, JOIN_GREATEST,
     "The longest time that anything kept a reactor from its other work, since the start."},
    {"tidemill_lua_memory_bytes", METRIC_GAUGE, JOIN_SUM, "Memory of a handler's Lua states."},
    {"tidemill_lua_seconds_total", METRIC_COUNTER, JOIN_SUM, "Time in a handler's Lua code."},
    {"tidemill_members", METRIC_GAUGE, JOIN_GREATEST,
     "Hosts that share the state, by what their rows say of them."},
    {"tidemill_paused_seconds", METRIC_GAUGE, JOIN_GREATEST,
     "How long the handler has been paused; not there: it is not."},
    {"tidemill_postgres_statements_total", METRIC_COUNTER, JOIN_SUM,
     "Statements of a handler over tidemill.postgres, answered or not."},
    {"tidemill_read_records_total", METRIC_COUNTER, JOIN_SUM, "Records that were read."},
    {"tidemill_ready", METRIC_GAUGE, JOIN_LEAST, "1: every stream is read and every handler loaded; else 0."},
    {"tidemill_records_total", METRIC_COUNTER, JOIN_SUM, "Records by what became of them."},
    {"tidemill_redis_commands_total", METRIC_COUNTER, JOIN_SUM,
     "Commands of a handler over tidemill.redis, answered or not."},
    {"tidemill_reloads_total", METRIC_COUNTER, JOIN_SUM,
     "Scripts and INIs that were looked at anew, by what became of them."},
    {"tidemill_retries_total", METRIC_COUNTER, JOIN_SUM,
     "Attempts that failed and were followed by another."},
    {"tidemill_retrying_records", METRIC_GAUGE, JOIN_SUM, "Records that wait for another attempt."},
    {"tidemill_shards", METRIC_GAUGE, JOIN_SUM, "Shards that this host reads."},
    {"tidemill_snapshot_items", METRIC_GAUGE, JOIN_GREATEST,
     "Items that are settled, of a table that a handler has before its stream, on all hosts."},
    {"tidemill_snapshot_items_expected", METRIC_GAUGE, JOIN_GREATEST,
     "Items of that table when that began, about."},
    {"tidemill_snapshot_left_seconds", METRIC_GAUGE, JOIN_GREATEST,
     "How long the items that are left take, at the pace so far."},
    {"tidemill_spans_total", METRIC_COUNTER, JOIN_SUM,
     "Spans of traces, by whether the collector has taken them."},
    {"tidemill_table_calls_in_flight", METRIC_GAUGE, JOIN_SUM,
     "Calls of handlers to a table that has, or had, a limit."},
    {"tidemill_table_limit_calls", METRIC_GAUGE, JOIN_SUM,
     "Calls a second that a table is given since it throttled; not there: as many as come."},
    {"tidemill_table_slowed_total", METRIC_COUNTER, JOIN_SUM,
     "Times that calls to a table were slowed down, since it throttled."},
    {"tidemill_target_bytes_total", METRIC_COUNTER, JOIN_SUM, "Payloads that the target has accepted."},
    {"tidemill_target_messages_total", METRIC_COUNTER, JOIN_SUM, "Messages by what the target made of them."},
    {"tidemill_target_requests_total", METRIC_COUNTER, JOIN_SUM, "Requests to the target."},
    {"tidemill_target_retries_total", METRIC_COUNTER, JOIN_SUM, "Messages that were sent again."},
    {"tidemill_target_waiting_messages", METRIC_GAUGE, JOIN_SUM,
     "Messages that the target has not accepted yet."},
    {"tidemill_throttled_reads_total", METRIC_COUNTER, JOIN_SUM, "Reads that were refused as too many."},
    {"tidemill_trim_seconds", METRIC_GAUGE, JOIN_LEAST,
     "Time until the service drops the oldest record that is not settled."},
    {"tidemill_waiting_records", METRIC_GAUGE, JOIN_SUM, "Records that wait for their turn."},
    {"tidemill_window_bytes", METRIC_GAUGE, JOIN_SUM, "Records of a stream's shards in memory."},
};

const struct metric *metric_at(size_t i)
{
    return i < COUNT_OF(metrics) ? &metrics[i] : NULL;
}

static int by_name(const void *name, const void *metric)
{
    return strcmp(name, ((const struct metric *)metric)->name);
}

const struct metric *metric_find(const char *name)
{
    return bsearch(name, metrics, COUNT_OF(metrics), sizeof *metrics, by_name);
}

double metric_joins(const char *name, double a, double b)
{
    const struct metric *metric = metric_find(name);
    CHECK(metric);
    switch (metric->join) {
    case JOIN_SUM:
        return a + b;
    case JOIN_GREATEST:
        return a > b ? a : b;
    case JOIN_LEAST:
        break;
    }
    return a < b ? a : b;
}
