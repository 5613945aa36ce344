/* overview.c: see overview.h. */
#include "admin/overview.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/document.h"
#include "base/mem.h"
#include "base/utf8.h"

#define WORST_MAX 5
#define TROUBLES_MAX 100
#define EVENTS_MAX 50

/* ---- handlers ---- */

struct sums {
    const char *handler;
    const char *version;
    int64_t shards, lag_ms, trimmed_ms, in_flight, retrying, waiting, catching_up, idle;
    bool paused;
    const struct status_row *worst[WORST_MAX];
    size_t worst_count;
};

static void keep_worst(struct sums *sums, const struct status_row *row)
{
    size_t at = sums->worst_count;
    while (at && sums->worst[at - 1]->lag_ms < row->lag_ms)
        at--;
    if (at == WORST_MAX)
        return;
    size_t last = sums->worst_count < WORST_MAX ? sums->worst_count : WORST_MAX - 1;
    memmove(sums->worst + at + 1, sums->worst + at, (last - at) * sizeof *sums->worst);
    sums->worst[at] = row;
    if (sums->worst_count < WORST_MAX)
        sums->worst_count++;
}

static void add_row(struct sums *sums, const struct status_row *row)
{
    const struct store_subscription *now = row->subscription;
    sums->version = *row->version ? row->version : sums->version;
    sums->paused = sums->paused || row->paused;
    if (row->checkpoint->position.kind == POSITION_FINISHED)
        return;
    sums->shards++;
    sums->idle += row->idle;
    if (row->lag_ms > sums->lag_ms)
        sums->lag_ms = row->lag_ms;
    if (row->trimmed_ms >= 0 && (sums->trimmed_ms < 0 || row->trimmed_ms < sums->trimmed_ms))
        sums->trimmed_ms = row->trimmed_ms;
    if (row->lag_ms > 0)
        keep_worst(sums, row);
    if (!now)
        return;
    sums->in_flight += now->in_flight;
    sums->retrying += now->retrying;
    sums->waiting += now->waiting;
    sums->catching_up += now->catching_up;
}

static struct sums *sums_of(struct map *map, const char *handler)
{
    struct sums *sums = map_get(map, handler);
    if (sums)
        return sums;
    sums = mem_zero(sizeof *sums);
    *sums = (struct sums){.handler = handler, .version = "", .lag_ms = -1, .trimmed_ms = -1};
    map_set(map, handler, sums);
    return sums;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct sums *const *)a)->handler, (*(struct sums *const *)b)->handler);
}

static int64_t dead_of(const struct store_snapshot *snapshot, const char *handler)
{
    int64_t dead = 0;
    for (size_t i = 0; i < snapshot->dead_count; i++)
        if (strcmp(snapshot->dead[i].handler, handler) == 0)
            dead += snapshot->dead[i].count;
    return dead;
}

static void write_handler(cJSON *list, const struct status *status, const struct sums *sums)
{
    cJSON *out = cJSON_CreateObject(), *worst;
    const struct store_handler *version = map_get(&status->versions, sums->handler);
    document_add_text(out, "handler", sums->handler);
    document_add_text(out, "version", version ? version->version : sums->version);
    if (version)
        document_add_integer(out, "loaded_ms", version->loaded_ms);
    document_add_integer(out, "shards", sums->shards);
    if (sums->lag_ms >= 0)
        document_add_integer(out, "lag_ms", sums->lag_ms);
    if (sums->trimmed_ms >= 0)
        document_add_integer(out, "trimmed_ms", sums->trimmed_ms);
    document_add_integer(out, "in_flight", sums->in_flight);
    document_add_integer(out, "retrying", sums->retrying);
    document_add_integer(out, "waiting", sums->waiting);
    document_add_integer(out, "catching_up", sums->catching_up);
    document_add_integer(out, "idle", sums->idle);
    document_add_integer(out, "dead", dead_of(status->snapshot, sums->handler));
    cJSON_AddBoolToObject(out, "paused", sums->paused);
    worst = cJSON_AddArrayToObject(out, "worst");
    for (size_t i = 0; i < sums->worst_count; i++) {
        cJSON *row = cJSON_CreateObject();
        document_add_text(row, "shard", sums->worst[i]->checkpoint->shard);
        document_add_text(row, "sequence", sums->worst[i]->checkpoint->position.sequence);
        document_add_integer(row, "lag_ms", sums->worst[i]->lag_ms);
        cJSON_AddItemToArray(worst, row);
    }
    cJSON_AddItemToArray(list, out);
}

/* Those that have places, letters or a pause. */
static void write_handlers(cJSON *out, const struct status *status)
{
    const struct store_request *pause;
    struct map map = MAP_INIT;
    size_t at = 0, count = 0;
    for (size_t i = 0; i < status->row_count; i++)
        add_row(sums_of(&map, status->rows[i].checkpoint->handler), &status->rows[i]);
    for (size_t i = 0; i < status->snapshot->dead_count; i++)
        sums_of(&map, status->snapshot->dead[i].handler);
    for (size_t i = 0; i < status->snapshot->handler_count; i++)
        sums_of(&map, status->snapshot->handlers[i].handler);
    for (size_t i = 0; (pause = status_next_pause(status, &i));)
        sums_of(&map, pause->handler)->paused = true;
    struct sums **all = mem_alloc((map.count + 1) * sizeof *all);
    for (struct sums *sums; (sums = map_next(&map, &at, NULL));)
        all[count++] = sums;
    if (count)
        qsort(all, count, sizeof *all, by_name);
    cJSON *list = cJSON_AddArrayToObject(out, "handlers");
    for (size_t i = 0; i < count; i++) {
        write_handler(list, status, all[i]);
        free(all[i]);
    }
    free(all);
    map_fini(&map);
}

/* ---- streams ---- */

struct stream_sums {
    const char *arn;
    int64_t shards, records, calls, read_ms;
};

static void write_streams(cJSON *out, const struct status *status)
{
    struct map map = MAP_INIT;
    size_t at = 0;
    for (size_t i = 0; i < status->snapshot->shard_count; i++) {
        const struct store_shard *row = &status->snapshot->shards[i];
        struct stream_sums *sums = map_get(&map, row->stream_arn);
        if (!sums) {
            sums = mem_zero(sizeof *sums);
            sums->arn = row->stream_arn;
            map_set(&map, row->stream_arn, sums);
        }
        sums->shards++;
        sums->records += row->records;
        sums->calls += row->get_records_calls;
        sums->read_ms = row->read_ms > sums->read_ms ? row->read_ms : sums->read_ms;
    }
    cJSON *list = cJSON_AddArrayToObject(out, "streams");
    for (struct stream_sums *sums; (sums = map_next(&map, &at, NULL));) {
        cJSON *one = cJSON_CreateObject();
        char *table = table_of_arn(sums->arn, NULL);
        document_add_text(one, "arn", sums->arn);
        document_add_text(one, "table", table);
        document_add_integer(one, "shards", sums->shards);
        document_add_integer(one, "records", sums->records);
        document_add_integer(one, "calls", sums->calls);
        document_add_integer(one, "read_ms", sums->read_ms);
        cJSON_AddItemToArray(list, one);
        free(table);
        free(sums);
    }
    map_fini(&map);
}

/* ---- numbers of the running host ---- */

static void write_numbers(cJSON *out, const struct sheet *sheet)
{
    static const char *const shown[] = {"tidemill_records_total",
                                        "tidemill_target_messages_total",
                                        "tidemill_target_waiting_messages",
                                        "tidemill_read_records_total",
                                        "tidemill_window_bytes",
                                        "tidemill_lua_memory_bytes",
                                        "tidemill_table_limit_calls",
                                        "tidemill_http_requests_total",
                                        "tidemill_redis_commands_total",
                                        "tidemill_postgres_statements_total"};
    cJSON *list = cJSON_AddArrayToObject(out, "numbers");
    for (size_t i = 0; i < sheet->count; i++) {
        bool is_shown = false;
        for (size_t j = 0; j < sizeof shown / sizeof *shown; j++)
            is_shown = is_shown || strcmp(sheet->samples[i].metric, shown[j]) == 0;
        if (!is_shown)
            continue;
        cJSON *one = cJSON_CreateObject();
        document_add_text(one, "metric", sheet->samples[i].metric);
        document_add_text(one, "labels", sheet->samples[i].labels);
        cJSON_AddNumberToObject(one, "value", sheet->samples[i].value);
        cJSON_AddItemToArray(list, one);
    }
}

/* ---- the rest ---- */

static void write_troubles(cJSON *out, const struct status *status)
{
    cJSON *list = cJSON_AddArrayToObject(out, "troubles");
    document_add_integer(out, "trouble_count", (int64_t)status->trouble_count);
    for (size_t i = 0; i < status->trouble_count && i < TROUBLES_MAX; i++) {
        cJSON *one = cJSON_CreateObject();
        status_add_trouble(one, &status->troubles[i]);
        cJSON_AddItemToArray(list, one);
    }
}

static void write_events(cJSON *out, const struct store_snapshot *snapshot)
{
    cJSON *list = cJSON_AddArrayToObject(out, "events");
    document_add_integer(out, "event_count", (int64_t)snapshot->event_count);
    for (size_t i = 0; i < snapshot->event_count && i < EVENTS_MAX; i++) {
        cJSON *one = cJSON_CreateObject();
        status_add_event(one, &snapshot->events[i]);
        cJSON_AddItemToArray(list, one);
    }
}

static void write_snapshots(cJSON *out, const struct status *status)
{
    cJSON *list = cJSON_AddArrayToObject(out, "snapshots");
    for (size_t i = 0; i < status->snapshot_count; i++) {
        cJSON *one = cJSON_CreateObject();
        status_add_snapshot(one, &status->snapshots[i]);
        cJSON_AddItemToArray(list, one);
    }
}

static void write_hosts(cJSON *out, const struct store_snapshot *snapshot)
{
    cJSON *list = cJSON_AddArrayToObject(out, "hosts");
    for (size_t i = 0; i < snapshot->member_count; i++) {
        cJSON *one = cJSON_CreateObject();
        status_add_member(one, &snapshot->members[i]);
        cJSON_AddItemToArray(list, one);
    }
}

void overview_write(const struct status *status, const struct sheet *sheet, bool playground, struct buf *out)
{
    struct problems unready = PROBLEMS_INIT;
    cJSON *root = cJSON_CreateObject(), *list;
    document_add_integer(root, "time_ms", status->now_ms);
    document_add_text(root, "version", TIDEMILL_VERSION);
    document_add_text(root, "group", status->config->host.group);
    document_add_text(root, "state", status->config->host.state);
    cJSON_AddBoolToObject(root, "running", status->running);
    cJSON_AddBoolToObject(root, "playground", playground);
    cJSON_AddBoolToObject(root, "may_change", status->config->host.admin_token != NULL);
    status_add_unready(status, &unready);
    list = cJSON_AddArrayToObject(root, "unready");
    for (size_t i = 0; i < unready.count; i++) {
        char *line = utf8_copy(unready.lines[i]);
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
        free(line);
    }
    problems_fini(&unready);
    if (status->host) {
        document_add_integer(root, "started_ms", status->host->started_ms);
        document_add_integer(root, "beat_ms", status->host->beat_ms);
    }
    write_hosts(root, status->snapshot);
    write_streams(root, status);
    write_snapshots(root, status);
    write_handlers(root, status);
    write_troubles(root, status);
    write_events(root, status->snapshot);
    write_numbers(root, sheet);
    document_write(root, out);
}

/* ---- shards ---- */

struct shard_sums {
    const char *arn, *shard;
    int64_t lag_ms;
    cJSON *handlers;
};

static int furthest_first(const void *a, const void *b)
{
    const struct shard_sums *x = *(struct shard_sums *const *)a, *y = *(struct shard_sums *const *)b;
    return x->lag_ms != y->lag_ms ? (x->lag_ms < y->lag_ms) - (x->lag_ms > y->lag_ms)
                                  : strcmp(x->shard, y->shard);
}

static const char *key_of(struct buf *key, const char *arn, const char *shard)
{
    buf_clear(key);
    buf_printf(key, "%s\n%s", arn, shard);
    return key->data;
}

static struct shard_sums *shard_of(struct map *map, struct buf *key, const char *arn, const char *shard)
{
    struct shard_sums *sums = map_get(map, key_of(key, arn, shard));
    if (sums)
        return sums;
    sums = mem_zero(sizeof *sums);
    *sums = (struct shard_sums){arn, shard, -1, cJSON_CreateArray()};
    map_set(map, key->data, sums);
    return sums;
}

static void add_to_shard(struct shard_sums *sums, const struct status_row *row)
{
    cJSON *one = cJSON_CreateObject();
    document_add_text(one, "handler", row->checkpoint->handler);
    document_add_text(one, "position", status_position_name(&row->checkpoint->position));
    document_add_text(one, "sequence", row->checkpoint->position.sequence);
    if (row->lag_ms >= 0)
        document_add_integer(one, "lag_ms", row->lag_ms);
    document_add_integer(one, "waiting", row->subscription ? row->subscription->waiting : 0);
    cJSON_AddItemToArray(sums->handlers, one);
    if (row->lag_ms > sums->lag_ms)
        sums->lag_ms = row->lag_ms;
}

static bool matches(const struct shard_sums *sums, const char *owner, const char *match)
{
    return !match || strstr(sums->shard, match) || strstr(sums->arn, match) || strstr(owner, match);
}

void overview_write_shards(const struct status *status, const char *match, size_t limit, struct buf *out)
{
    const struct store_snapshot *snapshot = status->snapshot;
    struct map map = MAP_INIT;
    struct buf key = BUF_INIT;
    size_t at = 0, count = 0, shown = 0;
    for (size_t i = 0; i < snapshot->shard_count; i++)
        shard_of(&map, &key, snapshot->shards[i].stream_arn, snapshot->shards[i].shard);
    for (size_t i = 0; i < status->row_count; i++)
        add_to_shard(
            shard_of(&map, &key, status->rows[i].checkpoint->stream_arn, status->rows[i].checkpoint->shard),
            &status->rows[i]);
    struct shard_sums **all = mem_alloc((map.count + 1) * sizeof *all);
    for (struct shard_sums *sums; (sums = map_next(&map, &at, NULL));)
        all[count++] = sums;
    if (count)
        qsort(all, count, sizeof *all, furthest_first);
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "shards");
    document_add_integer(root, "count", (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct store_owner *owner = places_find(&status->owners, NULL, all[i]->arn, all[i]->shard);
        const struct store_shard *row = places_find(&status->shards, NULL, all[i]->arn, all[i]->shard);
        struct status_name name = status_session_name(owner ? owner->session : "");
        if (shown >= limit || !matches(all[i], name.text, match)) {
            cJSON_Delete(all[i]->handlers);
            free(all[i]);
            continue;
        }
        cJSON *one = cJSON_CreateObject();
        char *table = table_of_arn(all[i]->arn, NULL);
        document_add_text(one, "shard", all[i]->shard);
        document_add_text(one, "table", table);
        document_add_text(one, "owner", name.text);
        if (all[i]->lag_ms >= 0)
            document_add_integer(one, "lag_ms", all[i]->lag_ms);
        document_add_integer(one, "records", row ? row->records : 0);
        document_add_integer(one, "read_ms", row ? row->read_ms : 0);
        cJSON_AddItemToObject(one, "handlers", all[i]->handlers);
        cJSON_AddItemToArray(list, one);
        free(table);
        free(all[i]);
        shown++;
    }
    document_write(root, out);
    free(all);
    buf_fini(&key);
    map_fini(&map);
}
