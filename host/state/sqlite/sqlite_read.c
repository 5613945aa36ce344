/* sqlite_read.c: rows into a snapshot. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/sqlite/sqlite_internal.h"

/* ---- reading ---- */

#define COLUMNS_MAX 24

/* The row that is read. Rows stand in order: what the one before says, too, is kept once. */
struct reading {
    struct arena *arena;
    sqlite3_stmt *s;
    struct {
        const char *text;
        size_t size;
    } last[COLUMNS_MAX];
};

static const char *text_at(struct reading *reading, int column)
{
    const char *text = (const char *)sqlite3_column_text(reading->s, column);
    size_t size = (size_t)sqlite3_column_bytes(reading->s, column);
    CHECK(column < COLUMNS_MAX);
    if (!reading->last[column].text || reading->last[column].size != size ||
        (size && memcmp(reading->last[column].text, text, size) != 0)) {
        reading->last[column].text = arena_copy(reading->arena, text ? text : "", size);
        reading->last[column].size = size;
    }
    return reading->last[column].text;
}

static void read_checkpoint(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_checkpoint *checkpoint = row;
    checkpoint->handler = text_at(reading, 0);
    checkpoint->stream_arn = text_at(reading, 1);
    checkpoint->shard = text_at(reading, 2);
    checkpoint->position.kind = (enum position_kind)sqlite3_column_int(s, 3);
    sequence_copy(checkpoint->position.sequence, text_at(reading, 4));
    checkpoint->position.since_ms = sqlite3_column_int64(s, 5);
    checkpoint->position.record_time_ms = sqlite3_column_int64(s, 6);
    checkpoint->progress = text_at(reading, 7);
}

static void read_follow(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_follow *follow = row;
    follow->stream = text_at(reading, 0);
    follow->handler = text_at(reading, 1);
    follow->stream_arn = text_at(reading, 2);
    follow->since_ms = sqlite3_column_int64(s, 3);
    follow->over = text_at(reading, 4);
    follow->seeks = follow->formerly = "";
}

static void read_event(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_event *event = row;
    event->kind = text_at(reading, 0);
    event->handler = text_at(reading, 1);
    event->stream_arn = text_at(reading, 2);
    event->shard = text_at(reading, 3);
    event->from_sequence = text_at(reading, 4);
    event->to_sequence = text_at(reading, 5);
    event->text = text_at(reading, 6);
    event->time_ms = sqlite3_column_int64(s, 7);
    event->id = sqlite3_column_int64(s, 8);
}

static void read_shard(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_shard *shard = row;
    shard->stream_arn = text_at(reading, 0);
    shard->shard = text_at(reading, 1);
    shard->get_records_calls = sqlite3_column_int64(s, 2);
    shard->records = sqlite3_column_int64(s, 3);
    shard->read_ms = sqlite3_column_int64(s, 4);
    shard->caught_up_ms = sqlite3_column_int64(s, 5);
}

static void read_handler(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_handler *handler = row;
    handler->handler = text_at(reading, 0);
    handler->version = text_at(reading, 1);
    handler->loaded_ms = sqlite3_column_int64(s, 2);
}

static void read_dead(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_dead_count *dead = row;
    dead->handler = text_at(reading, 0);
    dead->stream_arn = text_at(reading, 1);
    dead->shard = text_at(reading, 2);
    dead->count = sqlite3_column_int64(s, 3);
}

static void read_letter(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_dead_letter *letter = row;
    const char **texts[] = {&letter->handler,  &letter->stream_arn, &letter->shard,
                            &letter->sequence, &letter->event_id,   &letter->keys,
                            &letter->record,   &letter->error,      &letter->traceback};
    letter->id = sqlite3_column_int64(s, 0);
    for (int i = 0; i < 9; i++)
        *texts[i] = text_at(reading, 1 + i);
    letter->attempts = sqlite3_column_int64(s, 10);
    letter->record_time_ms = sqlite3_column_int64(s, 11);
    letter->failed_ms = sqlite3_column_int64(s, 12);
    letter->version = text_at(reading, 13);
    letter->table = text_at(reading, 14);
    letter->redrive_ms = sqlite3_column_int64(s, 15);
    letter->condition = text_at(reading, 16);
    letter->refused_by = text_at(reading, 17);
}

static void read_request(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_request *request = row;
    request->id = sqlite3_column_int64(s, 0);
    request->kind = text_at(reading, 1);
    request->handler = text_at(reading, 2);
    request->shard = text_at(reading, 3);
    request->argument = text_at(reading, 4);
    request->created_ms = sqlite3_column_int64(s, 5);
    request->answered = sqlite3_column_int(s, 6);
    request->answer = text_at(reading, 7);
}

static void read_subscription(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_subscription *subscription = row;
    subscription->handler = text_at(reading, 0);
    subscription->stream_arn = text_at(reading, 1);
    subscription->shard = text_at(reading, 2);
    subscription->in_flight = sqlite3_column_int64(s, 3);
    subscription->retrying = sqlite3_column_int64(s, 4);
    subscription->waiting = sqlite3_column_int64(s, 5);
    subscription->catching_up = sqlite3_column_int(s, 6);
    subscription->oldest_ms = sqlite3_column_int64(s, 7);
    subscription->time_ms = sqlite3_column_int64(s, 8);
}

static void read_trouble(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_trouble *trouble = row;
    trouble->subject = text_at(reading, 0);
    trouble->kind = text_at(reading, 1);
    trouble->text = text_at(reading, 2);
    trouble->since_ms = sqlite3_column_int64(s, 3);
    trouble->last_ms = sqlite3_column_int64(s, 4);
    trouble->count = sqlite3_column_int64(s, 5);
}

static void read_host(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_host *host = row;
    host->instance = text_at(reading, 0);
    host->version = text_at(reading, 1);
    host->started_ms = sqlite3_column_int64(s, 2);
    host->beat_ms = sqlite3_column_int64(s, 3);
    host->stopped_ms = sqlite3_column_int64(s, 4);
    host->longest_step_ms = sqlite3_column_int64(s, 5);
    host->longest_step = text_at(reading, 6);
}

static void read_marker(struct reading *reading, void *row)
{
    sqlite3_stmt *s = reading->s;
    struct store_marker *marker = row;
    marker->handler = text_at(reading, 0);
    marker->key = text_at(reading, 1);
    marker->result = text_at(reading, 2);
    marker->expires_ms = sqlite3_column_int64(s, 3);
    marker->owner = "";
}

static void read_usage(struct reading *reading, void *row)
{
    struct store_usage *usage = row;
    usage->day = text_at(reading, 0);
    usage->instance = text_at(reading, 1);
    usage->text = text_at(reading, 2);
}

typedef void read_row_fn(struct reading *reading, void *row);

static void bind_query(sqlite3_stmt *s, enum statement which, const struct store_query *query)
{
    if (which == GET_ANSWER)
        sqlite3_bind_int64(s, 2, query->id);
    if (which == GET_LETTERS) {
        sqlite_bind(s, 2, query->handler ? query->handler : "");
        sqlite3_bind_int64(s, 3, query->id);
        sqlite3_bind_int64(s, 4, query->failed_before_ms);
        sqlite3_bind_int64(s, 5, query->failed_after_ms);
        sqlite_bind(s, 6, query->error ? query->error : "");
    }
    if (which == GET_REFUSED || which == GET_MARKERS)
        sqlite_bind(s, 2, query->handler ? query->handler : "");
    if (which == GET_LETTERS || which == GET_MARKED || which == GET_REFUSED) {
        sqlite3_bind_int64(s, 7, query->after_id);
        sqlite3_bind_int64(s, 8, query->limit);
    }
}

/* All rows of a statement into an array in the snapshot's arena. */
static bool read_rows(struct store_sqlite *sqlite, struct store_snapshot *snapshot,
                      const struct store_query *query, enum statement which, read_row_fn *read_row,
                      size_t row_size, void *rows, size_t *count, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, which, err);
    struct reading reading = {.arena = &snapshot->arena, .s = s};
    char *items = NULL;
    size_t capacity = 0;
    int code;
    if (!s)
        return false;
    bind_query(s, which, query);
    for (*count = 0; (code = sqlite3_step(s)) == SQLITE_ROW; (*count)++) {
        mem_grow(&items, &capacity, *count, row_size);
        memset(items + *count * row_size, 0, row_size);
        read_row(&reading, items + *count * row_size);
    }
    sqlite3_reset(s);
    *(void **)rows = *count ? arena_copy(&snapshot->arena, items, *count * row_size) : NULL;
    free(items);
    return code == SQLITE_DONE || sqlite_problem(sqlite, "cannot read", err);
}

#define READ_ROWS(which, read_row, rows, count)                                                  \
    read_rows(sqlite, snapshot, query, which, read_row, sizeof *snapshot->rows, &snapshot->rows, \
              &snapshot->count, err)

static bool read_all(struct store_sqlite *sqlite, struct store_snapshot *snapshot,
                     const struct store_query *query, struct err *err)
{
    return READ_ROWS(GET_CHECKPOINTS, read_checkpoint, checkpoints, checkpoint_count) &&
           READ_ROWS(GET_FOLLOWS, read_follow, follows, follow_count) &&
           READ_ROWS(GET_EVENTS, read_event, events, event_count) &&
           READ_ROWS(GET_SHARDS, read_shard, shards, shard_count) &&
           READ_ROWS(GET_HANDLERS, read_handler, handlers, handler_count) &&
           READ_ROWS(GET_SUBSCRIPTIONS, read_subscription, subscriptions, subscription_count) &&
           READ_ROWS(GET_DEAD, read_dead, dead, dead_count) &&
           READ_ROWS(GET_TROUBLES, read_trouble, troubles, trouble_count) &&
           READ_ROWS(GET_HOSTS, read_host, hosts, host_count);
}

static bool read_what(struct store_sqlite *sqlite, struct store_snapshot *snapshot,
                      const struct store_query *query, struct err *err)
{
    switch (query->what) {
    case STORE_LETTERS:
        return READ_ROWS(GET_LETTERS, read_letter, letters, letter_count);
    case STORE_MARKED:
        return READ_ROWS(GET_MARKED, read_letter, letters, letter_count);
    case STORE_REFUSED:
        return READ_ROWS(GET_REFUSED, read_letter, letters, letter_count);
    case STORE_DEAD:
        return READ_ROWS(GET_DEAD, read_dead, dead, dead_count);
    case STORE_REQUESTS:
        return READ_ROWS(GET_REQUESTS, read_request, requests, request_count);
    case STORE_ANSWER:
        return READ_ROWS(GET_ANSWER, read_request, requests, request_count);
    case STORE_MARKERS:
        return READ_ROWS(GET_MARKERS, read_marker, markers, marker_count);
    case STORE_USAGE:
        return READ_ROWS(GET_USAGE, read_usage, usage, usage_count);
    case STORE_TOLD: /* of states that hosts share */
        return true;
    case STORE_ALL:
        break;
    }
    return read_all(sqlite, snapshot, query, err);
}

struct store_snapshot *sqlite_read(struct store_sqlite *sqlite, const struct store_query *query,
                                   struct err *err)
{
    struct store_snapshot *snapshot = mem_zero(sizeof *snapshot);
    bool ok = sqlite_run(sqlite, "BEGIN", err) && read_what(sqlite, snapshot, query, err);
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "COMMIT", NULL, NULL, NULL);
    if (ok)
        return snapshot;
    store_snapshot_free(snapshot);
    return NULL;
}
