/* status_json.c: status for programs. */
#include <stdlib.h>

#include "base/document.h"
#include "base/utf8.h"
#include "admin/status.h"

static void write_row(cJSON *out, const struct status_row *row)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    const struct store_subscription *now = row->subscription;
    document_add_text(out, "handler", checkpoint->handler);
    document_add_text(out, "stream_arn", checkpoint->stream_arn);
    document_add_text(out, "shard", checkpoint->shard);
    document_add_text(out, "position", status_position_name(&checkpoint->position));
    document_add_text(out, "sequence", checkpoint->position.sequence);
    document_add_integer(out, "record_time", checkpoint->position.record_time_ms / 1000);
    if (row->lag_ms >= 0)
        document_add_integer(out, "lag_ms", row->lag_ms);
    if (row->trimmed_ms >= 0)
        document_add_integer(out, "trimmed_in_ms", row->trimmed_ms);
    document_add_integer(out, "in_flight", now ? now->in_flight : 0);
    document_add_integer(out, "retrying", now ? now->retrying : 0);
    document_add_integer(out, "waiting", now ? now->waiting : 0);
    cJSON_AddBoolToObject(out, "catching_up", now && now->catching_up);
    cJSON_AddBoolToObject(out, "idle", row->idle);
    cJSON_AddBoolToObject(out, "paused", row->paused);
    document_add_integer(out, "dead", row->dead);
    document_add_text(out, "version", row->version);
}

void status_add_snapshot(cJSON *out, const struct snapshot_progress *row)
{
    document_add_text(out, "handler", row->handler);
    document_add_text(out, "table", row->table);
    document_add_integer(out, "taken_ms", row->taken_ms);
    document_add_integer(out, "segments", row->segments);
    document_add_integer(out, "segments_finished", row->finished);
    document_add_integer(out, "items", row->items);
    document_add_integer(out, "items_about", row->items_all);
    if (row->left_ms >= 0)
        document_add_integer(out, "left_ms", row->left_ms);
}

static void write_shard(cJSON *out, const struct store_shard *row)
{
    document_add_text(out, "stream_arn", row->stream_arn);
    document_add_text(out, "shard", row->shard);
    document_add_integer(out, "get_records_calls", row->get_records_calls);
    document_add_integer(out, "records", row->records);
    document_add_integer(out, "read_ms", row->read_ms);
    document_add_integer(out, "caught_up_ms", row->caught_up_ms);
}

void status_add_event(cJSON *out, const struct store_event *row)
{
    document_add_text(out, "kind", row->kind);
    document_add_text(out, "handler", row->handler);
    document_add_text(out, "stream_arn", row->stream_arn);
    document_add_text(out, "shard", row->shard);
    document_add_text(out, "from_sequence", row->from_sequence);
    document_add_text(out, "to_sequence", row->to_sequence);
    document_add_text(out, "text", row->text);
    document_add_integer(out, "time_ms", row->time_ms);
}

void status_add_trouble(cJSON *out, const struct store_trouble *row)
{
    document_add_text(out, "subject", row->subject);
    document_add_text(out, "kind", row->kind);
    document_add_text(out, "text", row->text);
    document_add_integer(out, "since_ms", row->since_ms);
    document_add_integer(out, "last_ms", row->last_ms);
    document_add_integer(out, "count", row->count);
}

static void write_host(cJSON *out, const struct store_host *row)
{
    document_add_text(out, "instance", row->instance);
    document_add_text(out, "version", row->version);
    document_add_integer(out, "started_ms", row->started_ms);
    document_add_integer(out, "beat_ms", row->beat_ms);
    document_add_integer(out, "stopped_ms", row->stopped_ms);
    document_add_integer(out, "longest_step_ms", row->longest_step_ms);
    document_add_text(out, "longest_step", row->longest_step);
}

void status_add_member(cJSON *out, const struct store_member *row)
{
    document_add_text(out, "session", row->session);
    document_add_text(out, "name", status_session_name(row->session).text);
    document_add_text(out, "version", row->version);
    document_add_text(out, "fingerprint", row->fingerprint);
    document_add_text(out, "state", status_member_states[row->state]);
    document_add_integer(out, "since_ms", row->since_ms);
    document_add_integer(out, "beat_ms", row->beat_ms);
    document_add_integer(out, "lease_ms", row->lease_ms);
    document_add_integer(out, "shards", row->shards);
    document_add_integer(out, "reactors", row->reactors);
    cJSON_AddNumberToObject(out, "records_per_second", row->records_s);
}

static void write_owner(cJSON *out, const struct store_owner *row)
{
    document_add_text(out, "stream_arn", row->stream_arn);
    document_add_text(out, "shard", row->shard);
    document_add_text(out, "session", row->session);
    document_add_integer(out, "epoch", row->epoch);
}

static void write_hand_over(cJSON *out, const struct store_hand_over *row)
{
    document_add_text(out, "stream_arn", row->stream_arn);
    document_add_text(out, "shard", row->shard);
    document_add_text(out, "from", row->from);
    document_add_text(out, "to", row->to);
    document_add_integer(out, "since_ms", row->since_ms);
}

static void write_handler(cJSON *out, const struct store_handler *row)
{
    document_add_text(out, "handler", row->handler);
    document_add_text(out, "version", row->version);
    document_add_integer(out, "loaded_ms", row->loaded_ms);
    if (row->session)
        document_add_text(out, "session", row->session);
}

static void write_dead(cJSON *out, const struct store_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        document_add_integer(out, handler, store_sum_dead(snapshot, &i));
    }
}

#define WRITE_ALL(name, rows, count, write)               \
    do {                                                  \
        cJSON *list_ = cJSON_AddArrayToObject(out, name); \
        for (size_t i_ = 0; i_ < (count); i_++) {         \
            cJSON *row_ = cJSON_CreateObject();           \
            write(row_, &(rows)[i_]);                     \
            cJSON_AddItemToArray(list_, row_);            \
        }                                                 \
    } while (0)

static void write_lines(cJSON *out, const char *name, const struct problems *problems)
{
    cJSON *list = cJSON_AddArrayToObject(out, name);
    for (size_t i = 0; i < problems->count; i++) {
        char *line = utf8_copy(problems->lines[i]);
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        free(line);
    }
}

static void write_pauses(cJSON *out, const struct status *status)
{
    cJSON *list = cJSON_AddArrayToObject(out, "paused");
    const struct store_request *pause;
    for (size_t i = 0; (pause = status_next_pause(status, &i));) {
        cJSON *row = cJSON_CreateObject();
        document_add_text(row, "handler", pause->handler);
        document_add_integer(row, "since_ms", pause->created_ms);
        document_add_text(row, "reason", pause->argument);
        cJSON_AddItemToArray(list, row);
    }
}

void status_write_json(const struct status *status, const struct problems *problems, struct buf *text)
{
    struct problems unready = PROBLEMS_INIT;
    const struct store_snapshot *snapshot = status->snapshot;
    cJSON *out = cJSON_CreateObject();
    document_add_integer(out, "schema", STATUS_SCHEMA);
    document_add_integer(out, "time_ms", status->now_ms);
    document_add_text(out, "group", status->config->host.group);
    document_add_text(out, "state", status->config->host.state);
    cJSON_AddBoolToObject(out, "running", status->running);
    status_add_unready(status, &unready);
    cJSON_AddBoolToObject(out, "ready", !unready.count);
    write_lines(out, "unready", &unready);
    problems_fini(&unready);
    if (problems)
        write_lines(out, "problems", problems);
    if (status->host)
        write_host(cJSON_AddObjectToObject(out, "host"), status->host);
    WRITE_ALL("hosts", snapshot->members, snapshot->member_count, status_add_member);
    WRITE_ALL("owners", snapshot->owners, snapshot->owner_count, write_owner);
    WRITE_ALL("hand_overs", snapshot->hand_overs, snapshot->hand_over_count, write_hand_over);
    write_pauses(out, status);
    WRITE_ALL("troubles", status->troubles, status->trouble_count, status_add_trouble);
    WRITE_ALL("checkpoints", status->rows, status->row_count, write_row);
    WRITE_ALL("snapshots", status->snapshots, status->snapshot_count, status_add_snapshot);
    WRITE_ALL("shards", snapshot->shards, snapshot->shard_count, write_shard);
    WRITE_ALL("handlers", snapshot->handlers, snapshot->handler_count, write_handler);
    write_dead(cJSON_AddObjectToObject(out, "dead_letters"), snapshot);
    WRITE_ALL("events", snapshot->events, snapshot->event_count, status_add_event);
    document_write(out, text);
}
