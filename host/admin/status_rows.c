/* status_rows.c: what stands in the state store, put together: who is how far behind, what does not work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "admin/places.h"
#include "admin/status.h"
#include "base/arn.h"
#include "state/troubles.h"

/* A host writes its row every second or so: later than this it does not get on. */
#define BEAT_LATE_MS 15000

const char *status_position_name(const struct position *position)
{
    static const char *const names[] = {"trim_horizon", "latest", "after", "finished"};
    static_assert(COUNT_OF(names) == POSITION_FINISHED + 1, "a name for each kind");
    return (unsigned)position->kind < 4 ? names[position->kind] : "?";
}

/* ---- what belongs together ---- */

/* What is asked for each row. */
struct index {
    struct places subscriptions, dead;
    const struct store_checkpoint *like; /* the last one: what of its stream's name its row needs */
    const char *table;
    bool segment;
};

#define INDEX(texts, rows, count) \
    places_of(&snapshot->arena, texts, snapshot->rows, sizeof *snapshot->rows, snapshot->count)

static struct index index_rows(struct status *status)
{
    struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->handler_count; i++)
        map_set(&status->versions, snapshot->handlers[i].handler, &snapshot->handlers[i]);
    status->owners = INDEX(PLACE_TEXTS_OF_SHARD(store_owner), owners, owner_count);
    status->shards = INDEX(PLACE_TEXTS_OF_SHARD(store_shard), shards, shard_count);
    return (struct index){
        .subscriptions = INDEX(PLACE_TEXTS(store_subscription), subscriptions, subscription_count),
        .dead = INDEX(PLACE_TEXTS(store_dead_count), dead, dead_count),
    };
}

/* ---- lag ---- */

static int64_t read_late_ms(const struct config *config)
{
    int64_t late_ms = CONFIG_READ_LATE_MS;
    for (size_t i = 0; i < config->stream_count; i++)
        if (config_read_late_ms(&config->streams[i]) > late_ms)
            late_ms = config_read_late_ms(&config->streams[i]);
    return late_ms;
}

/* Zero only where the reader has just seen that there is nothing more. While nothing can be read, it is
 * counted from the last time that it could. */
static int64_t lag_of(const struct status *status, const struct status_row *row,
                      const struct store_shard *shard)
{
    int64_t oldest_ms = row->subscription ? row->subscription->oldest_ms : 0;
    int64_t settled_ms = row->checkpoint->position.record_time_ms;
    int64_t seen_ms = shard ? shard->caught_up_ms : 0; /* the end of the shard */
    bool sees_it =
        seen_ms && seen_ms + 1000 > settled_ms && !(row->subscription && row->subscription->catching_up);
    if (row->checkpoint->position.kind == POSITION_FINISHED)
        return 0;
    if (row->paused) /* what was settled before the pause is not lost, however old it is */
        return status_age(status->now_ms, oldest_ms ? oldest_ms : row->paused_ms);
    if (row->idle) /* what others have seen of the shard says nothing of it */
        return settled_ms ? status_age(status->now_ms, settled_ms) : -1;
    if (oldest_ms)
        return status_age(status->now_ms, oldest_ms);
    if (sees_it && status_age(status->now_ms, seen_ms) <= read_late_ms(status->config))
        return 0;
    if (sees_it)
        return status_age(status->now_ms, seen_ms);
    return settled_ms ? status_age(status->now_ms, settled_ms) : -1;
}

/* A shard that has just come to a host, by its epoch (which is not below the table's clock), has not been
 * told of yet. */
static bool is_idle(const struct status *status, const struct status_row *row)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    if (!status->running || checkpoint->position.kind == POSITION_FINISHED)
        return false;
    if (!status->told)
        return status->host && (!row->subscription || row->subscription->time_ms < status->host->started_ms);
    const struct store_owner *owner =
        places_find(&status->owners, NULL, checkpoint->stream_arn, checkpoint->shard);
    return !row->subscription && !(owner && status_age(status->now_ms, owner->epoch) < CONFIG_READ_LATE_MS);
}

const struct store_request *status_next_pause(const struct status *status, size_t *i)
{
    while (status->requests && *i < status->requests->request_count) {
        const struct store_request *request = &status->requests->requests[(*i)++];
        if (strcmp(request->kind, STORE_PAUSED) == 0)
            return request;
    }
    return NULL;
}

/* Rows of one stream stand together. */
static void read_stream(const struct status *status, struct index *index,
                        const struct store_checkpoint *checkpoint)
{
    if (!index->like || strcmp(index->like->stream_arn, checkpoint->stream_arn) != 0) {
        char *table = table_of_arn(checkpoint->stream_arn, NULL);
        index->table = arena_copy(&status->snapshot->arena, table, strlen(table));
        free(table);
        index->segment = snapshot_of_arn(checkpoint->stream_arn);
    }
    index->like = checkpoint;
}

static struct status_row row_of(const struct status *status, struct index *index,
                                const struct store_checkpoint *checkpoint,
                                const struct store_subscription *subscription)
{
    const struct store_handler *handler = map_get(&status->versions, checkpoint->handler);
    const char *stream_arn = checkpoint->stream_arn, *shard = checkpoint->shard;
    const struct store_request *pause = status->requests && checkpoint->position.kind != POSITION_FINISHED
                                            ? store_find_pause(status->requests, checkpoint->handler)
                                            : NULL;
    const struct store_dead_count *dead = places_find(&index->dead, checkpoint->handler, stream_arn, shard);
    read_stream(status, index, checkpoint);
    struct status_row row = {.checkpoint = checkpoint,
                             .table = index->table,
                             .segment = index->segment,
                             .subscription = subscription,
                             .dead = dead ? dead->count : 0,
                             .paused = pause != NULL,
                             .paused_ms = pause ? pause->created_ms : 0,
                             .trimmed_ms = -1,
                             .version = handler ? handler->version : ""};
    row.idle = row.paused || is_idle(status, &row);
    row.lag_ms = lag_of(status, &row, places_find(&status->shards, NULL, stream_arn, shard));
    if (row.lag_ms > 0)
        row.trimmed_ms = row.lag_ms < SOURCE_RETENTION_MS ? SOURCE_RETENTION_MS - row.lag_ms : 0;
    return row;
}

/* A checkpoint is a row, and so is who has none, since nothing is settled yet: it stands at the beginning. */
static void add_rows(struct status *status)
{
    struct store_snapshot *snapshot = status->snapshot;
    size_t count = snapshot->checkpoint_count, most = count + snapshot->subscription_count;
    struct index index = index_rows(status);
    struct store_checkpoint *beginner =
        arena_alloc(&snapshot->arena, (snapshot->subscription_count + 1) * sizeof *beginner);
    bool *known = mem_zero(snapshot->subscription_count + 1);
    status->rows = arena_alloc(&snapshot->arena, (most + 1) * sizeof *status->rows);
    for (size_t i = 0; i < count; i++) {
        const struct store_checkpoint *checkpoint = &snapshot->checkpoints[i];
        const struct store_subscription *subscription =
            places_find(&index.subscriptions, checkpoint->handler, checkpoint->stream_arn, checkpoint->shard);
        if (subscription)
            known[subscription - snapshot->subscriptions] = true;
        status->rows[status->row_count++] = row_of(status, &index, checkpoint, subscription);
    }
    for (size_t i = 0; i < snapshot->subscription_count; i++) {
        const struct store_subscription *row = &snapshot->subscriptions[i];
        if (known[i] || places_find(&index.subscriptions, row->handler, row->stream_arn, row->shard) != row)
            continue; /* it has its row, or another host tells of the same, too */
        *beginner = (struct store_checkpoint){
            row->handler, row->stream_arn, row->shard, {.kind = POSITION_TRIM_HORIZON}, ""};
        status->rows[status->row_count++] = row_of(status, &index, beginner++, row);
    }
    free(known);
}

/* ---- troubles ---- */

static const char *text_in(struct status *status, const char *text)
{
    return arena_copy(&status->snapshot->arena, text, strlen(text) + 1);
}

/* What several threads of the host tell of one thing ("reading#2") is one trouble. */
static void add_trouble(struct status *status, struct map *known, const struct store_trouble *row)
{
    char *key = mem_printf("%s\n%.*s", row->subject, (int)strcspn(row->kind, "#"), row->kind);
    struct store_trouble *one = map_get(known, key);
    if (!one) {
        one = &status->troubles[status->trouble_count++];
        *one = *row;
        one->kind = text_in(status, strchr(key, '\n') + 1);
        map_set(known, key, one);
    } else {
        one->text = row->last_ms > one->last_ms ? row->text : one->text;
        one->last_ms = row->last_ms > one->last_ms ? row->last_ms : one->last_ms;
        one->since_ms = row->since_ms < one->since_ms ? row->since_ms : one->since_ms;
        one->count += row->count;
    }
    free(key);
}

static void add_late_host(struct status *status)
{
    char text[160];
    if (!status->running || !status->host || status_age(status->now_ms, status->host->beat_ms) < BEAT_LATE_MS)
        return;
    snprintf(text, sizeof text,
             "it has written nothing into the state for %lld s: it is stopped, or the disk does not take it",
             (long long)status_age(status->now_ms, status->host->beat_ms) / 1000);
    status->troubles[status->trouble_count++] = (struct store_trouble){.subject = "host",
                                                                       .kind = "beat",
                                                                       .text = text_in(status, text),
                                                                       .since_ms = status->host->beat_ms,
                                                                       .last_ms = status->now_ms,
                                                                       .count = 1};
}

void status_gather(struct status *status)
{
    struct store_snapshot *snapshot = status->snapshot;
    struct map known = MAP_INIT;
    status->host = snapshot->host_count ? &snapshot->hosts[0] : NULL;
    add_rows(status);
    status->snapshot_count = snapshot_progress_read(status->snapshot, status->now_ms, &status->snapshots);
    status->troubles = arena_alloc(
        &snapshot->arena, (snapshot->trouble_count + 1 + 2 * snapshot->member_count + STATUS_GROUP_TROUBLES) *
                              sizeof *status->troubles);
    for (size_t i = 0; i < snapshot->trouble_count; i++)
        if (!trouble_is(snapshot->troubles[i].kind, TROUBLE_STARTING))
            add_trouble(status, &known, &snapshot->troubles[i]); /* else it is not ready: status_check.c */
    add_late_host(status);
    status_add_hosts(status);
    map_fini(&known);
}
