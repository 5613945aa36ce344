/* status_json.c: status for programs. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "cmd/status.h"

static void add_member(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "%s\"%s\":", out->data[out->size - 1] == '{' ? "" : ",", name);
    json_write_string(out, text, strlen(text));
}

static void add_number(struct buf *out, const char *name, int64_t number)
{
    buf_printf(out, "%s\"%s\":%lld", out->data[out->size - 1] == '{' ? "" : ",", name, (long long)number);
}

static void write_row(struct buf *out, const struct status_row *row)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    const struct store_subscription *now = row->subscription;
    buf_add_char(out, '{');
    add_member(out, "handler", checkpoint->handler);
    add_member(out, "stream_arn", checkpoint->stream_arn);
    add_member(out, "shard", checkpoint->shard);
    add_member(out, "position", status_position_name(&checkpoint->position));
    add_member(out, "sequence", checkpoint->position.sequence);
    add_number(out, "record_time", checkpoint->position.record_time_ms / 1000);
    if (row->lag_ms >= 0)
        add_number(out, "lag_ms", row->lag_ms);
    if (row->trimmed_ms >= 0)
        add_number(out, "trimmed_in_ms", row->trimmed_ms);
    add_number(out, "in_flight", now ? now->in_flight : 0);
    add_number(out, "retrying", now ? now->retrying : 0);
    add_number(out, "waiting", now ? now->waiting : 0);
    buf_printf(out, ",\"catching_up\":%s", now && now->catching_up ? "true" : "false");
    buf_printf(out, ",\"idle\":%s", row->idle ? "true" : "false");
    add_number(out, "dead", row->dead);
    add_member(out, "version", row->version);
    buf_add_char(out, '}');
}

static void write_shard(struct buf *out, const struct store_shard *row)
{
    buf_add_char(out, '{');
    add_member(out, "stream_arn", row->stream_arn);
    add_member(out, "shard", row->shard);
    add_number(out, "get_records_calls", row->get_records_calls);
    add_number(out, "records", row->records);
    add_number(out, "read_ms", row->read_ms);
    add_number(out, "caught_up_ms", row->caught_up_ms);
    buf_add_char(out, '}');
}

static void write_event(struct buf *out, const struct store_event *row)
{
    buf_add_char(out, '{');
    add_member(out, "kind", row->kind);
    add_member(out, "handler", row->handler);
    add_member(out, "stream_arn", row->stream_arn);
    add_member(out, "shard", row->shard);
    add_member(out, "from_sequence", row->from_sequence);
    add_member(out, "to_sequence", row->to_sequence);
    add_member(out, "text", row->text);
    add_number(out, "time_ms", row->time_ms);
    buf_add_char(out, '}');
}

static void write_trouble(struct buf *out, const struct store_trouble *row)
{
    buf_add_char(out, '{');
    add_member(out, "subject", row->subject);
    add_member(out, "kind", row->kind);
    add_member(out, "text", row->text);
    add_number(out, "since_ms", row->since_ms);
    add_number(out, "last_ms", row->last_ms);
    add_number(out, "count", row->count);
    buf_add_char(out, '}');
}

static void write_host(struct buf *out, const struct store_host *row)
{
    buf_add_char(out, '{');
    add_member(out, "instance", row->instance);
    add_member(out, "version", row->version);
    add_number(out, "started_ms", row->started_ms);
    add_number(out, "beat_ms", row->beat_ms);
    add_number(out, "stopped_ms", row->stopped_ms);
    add_number(out, "longest_step_ms", row->longest_step_ms);
    add_member(out, "longest_step", row->longest_step);
    buf_add_char(out, '}');
}

static void write_handler(struct buf *out, const struct store_handler *row)
{
    buf_add_char(out, '{');
    add_member(out, "handler", row->handler);
    add_member(out, "version", row->version);
    add_number(out, "loaded_ms", row->loaded_ms);
    buf_add_char(out, '}');
}

static void write_dead(struct buf *out, const struct store_snapshot *snapshot)
{
    buf_add_literal(out, ",\"dead_letters\":{");
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        buf_add_text(out, out->data[out->size - 1] == '{' ? "" : ",");
        json_write_string(out, handler, strlen(handler));
        buf_printf(out, ":%lld", (long long)status_sum_dead(snapshot, &i));
    }
    buf_add_char(out, '}');
}

#define WRITE_ALL(name, rows, count, write)       \
    do {                                          \
        buf_add_literal(&out, ",\"" name "\":["); \
        for (size_t i_ = 0; i_ < (count); i_++) { \
            buf_add_text(&out, i_ ? "," : "");    \
            write(&out, &(rows)[i_]);             \
        }                                         \
        buf_add_char(&out, ']');                  \
    } while (0)

void status_print_json(const struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    struct buf out = BUF_INIT;
    buf_add_char(&out, '{');
    add_number(&out, "schema", STATUS_SCHEMA);
    add_number(&out, "time_ms", status->now_ms);
    add_member(&out, "group", status->config->host.group);
    add_member(&out, "state", status->config->host.state);
    buf_printf(&out, ",\"running\":%s", status->running ? "true" : "false");
    if (status->host) {
        buf_add_literal(&out, ",\"host\":");
        write_host(&out, status->host);
    }
    WRITE_ALL("troubles", status->troubles, status->trouble_count, write_trouble);
    WRITE_ALL("checkpoints", status->rows, status->row_count, write_row);
    WRITE_ALL("shards", snapshot->shards, snapshot->shard_count, write_shard);
    WRITE_ALL("handlers", snapshot->handlers, snapshot->handler_count, write_handler);
    write_dead(&out, snapshot);
    WRITE_ALL("events", snapshot->events, snapshot->event_count, write_event);
    buf_add_char(&out, '}');
    puts(out.data);
    buf_fini(&out);
}
