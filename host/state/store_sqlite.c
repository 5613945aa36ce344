/* store_sqlite.c: one connection per reactor, one transaction per turn.
 *
 * WAL with synchronous=NORMAL: a killed process loses nothing; a machine that loses power may lose the last
 * commits, in order, which repeats work and skips none. */
#include "state/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"

#define SCHEMA_VERSION 1
#define BUSY_MS 10000 /* another reactor's commit takes milliseconds */
#define RETRY_MS 1000
#define EVENTS_MAX 100
#define EVENTS_KEPT 10000
#define CLAIMS_BETWEEN_SWEEPS 500

static const char schema[] =
    "CREATE TABLE checkpoints (grp TEXT NOT NULL, handler TEXT NOT NULL, stream_arn TEXT NOT NULL,"
    " shard TEXT NOT NULL, kind INTEGER NOT NULL, sequence TEXT NOT NULL, since_ms INTEGER NOT NULL,"
    " record_time_ms INTEGER NOT NULL, PRIMARY KEY (grp, handler, stream_arn, shard)) WITHOUT ROWID;"
    "CREATE TABLE follows (grp TEXT NOT NULL, stream TEXT NOT NULL, handler TEXT NOT NULL,"
    " stream_arn TEXT NOT NULL, PRIMARY KEY (grp, stream, handler)) WITHOUT ROWID;"
    "CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL,"
    " handler TEXT NOT NULL, stream_arn TEXT NOT NULL, shard TEXT NOT NULL, sequence TEXT NOT NULL,"
    " event_id TEXT NOT NULL, keys TEXT NOT NULL, record TEXT NOT NULL, error TEXT NOT NULL,"
    " traceback TEXT NOT NULL, attempts INTEGER NOT NULL, record_time_ms INTEGER NOT NULL,"
    " failed_ms INTEGER NOT NULL, UNIQUE (grp, handler, stream_arn, shard, sequence));"
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, kind TEXT NOT NULL,"
    " handler TEXT NOT NULL, stream_arn TEXT NOT NULL, shard TEXT NOT NULL, from_sequence TEXT NOT NULL,"
    " to_sequence TEXT NOT NULL, text TEXT NOT NULL, time_ms INTEGER NOT NULL);"
    "CREATE TABLE handlers (grp TEXT NOT NULL, handler TEXT NOT NULL, version TEXT NOT NULL,"
    " loaded_ms INTEGER NOT NULL, PRIMARY KEY (grp, handler)) WITHOUT ROWID;"
    "CREATE TABLE markers (grp TEXT NOT NULL, handler TEXT NOT NULL, key TEXT NOT NULL, done INTEGER NOT "
    "NULL,"
    " result TEXT NOT NULL, expires_ms INTEGER NOT NULL, PRIMARY KEY (grp, handler, key)) WITHOUT ROWID;"
    "CREATE TABLE shards (grp TEXT NOT NULL, stream_arn TEXT NOT NULL, shard TEXT NOT NULL,"
    " get_records_calls INTEGER NOT NULL, records INTEGER NOT NULL, read_ms INTEGER NOT NULL,"
    " caught_up_ms INTEGER NOT NULL, PRIMARY KEY (grp, stream_arn, shard)) WITHOUT ROWID;";

enum statement {
    PUT_CHECKPOINT,
    PUT_FOLLOW,
    PUT_DEAD_LETTER,
    PUT_EVENT,
    TRIM_EVENTS,
    PUT_HANDLER,
    PUT_SHARD,
    PUT_MARKER,
    FORGET_MARKER,
    FORGET_EXPIRED,
    GET_MARKER,
    FORGET_CHECKPOINTS,
    FORGET_SHARD,
    GET_CHECKPOINTS,
    GET_FOLLOWS,
    GET_EVENTS,
    GET_SHARDS,
    GET_HANDLERS,
    GET_DEAD,
    STATEMENT_COUNT
};

/* ?1 is the group in each. */
static const char *const statements[STATEMENT_COUNT] = {
    [PUT_CHECKPOINT] = "INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [PUT_FOLLOW] = "INSERT OR REPLACE INTO follows VALUES (?1, ?2, ?3, ?4)",
    [PUT_DEAD_LETTER] = "INSERT OR REPLACE INTO dead_letters VALUES "
                        "(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [PUT_EVENT] = "INSERT INTO events VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [TRIM_EVENTS] = "DELETE FROM events WHERE grp = ?1 AND id <= (SELECT max(id) FROM events) - ?2",
    [PUT_HANDLER] = "INSERT OR REPLACE INTO handlers VALUES (?1, ?2, ?3, ?4)",
    [PUT_SHARD] = "INSERT OR REPLACE INTO shards VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [PUT_MARKER] = "INSERT OR REPLACE INTO markers VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [FORGET_MARKER] = "DELETE FROM markers WHERE grp = ?1 AND handler = ?2 AND key = ?3",
    [FORGET_EXPIRED] = "DELETE FROM markers WHERE grp = ?1 AND expires_ms <= ?2",
    [GET_MARKER] =
        "SELECT done, result, expires_ms FROM markers WHERE grp = ?1 AND handler = ?2 AND key = ?3",
    [FORGET_CHECKPOINTS] = "DELETE FROM checkpoints WHERE grp = ?1 AND stream_arn = ?2 AND shard = ?3",
    [FORGET_SHARD] = "DELETE FROM shards WHERE grp = ?1 AND stream_arn = ?2 AND shard = ?3",
    [GET_CHECKPOINTS] = "SELECT handler, stream_arn, shard, kind, sequence, since_ms, record_time_ms"
                        " FROM checkpoints WHERE grp = ?1",
    [GET_FOLLOWS] = "SELECT stream, handler, stream_arn FROM follows WHERE grp = ?1",
    [GET_EVENTS] = "SELECT kind, handler, stream_arn, shard, from_sequence, to_sequence, text, time_ms"
                   " FROM events WHERE grp = ?1 ORDER BY id DESC LIMIT ?2",
    [GET_SHARDS] = "SELECT stream_arn, shard, get_records_calls, records, read_ms, caught_up_ms"
                   " FROM shards WHERE grp = ?1",
    [GET_HANDLERS] = "SELECT handler, version, loaded_ms FROM handlers WHERE grp = ?1",
    [GET_DEAD] = "SELECT handler, count(*) FROM dead_letters WHERE grp = ?1 GROUP BY handler",
};

struct pending {
    struct pending *next;
    struct store_batch *batch;
    store_done_fn *done;
    store_load_fn *load;
    store_claim_fn *claim;
    char *handler, *key; /* of a claim */
    int64_t now_ms, until_ms;
    void *user;
};

struct store_sqlite {
    struct store store;
    struct reactor *reactor;
    struct log *log;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    char *path, *group;
    struct pending *first, **end;
    struct task work;
    struct timer retry;
    bool failing;
    int claims; /* since expired markers were last removed */
};

struct store_lock {
    int fd;
};

static struct store_sqlite *from_store(struct store *store)
{
    return (struct store_sqlite *)(void *)((char *)store - offsetof(struct store_sqlite, store));
}

/* ---- statements ---- */

static bool problem(struct store_sqlite *sqlite, const char *what, struct err *err)
{
    return err_set(err, ERR_IO, "%s: %s: %s", sqlite->path, what, sqlite3_errmsg(sqlite->db));
}

static bool run(struct store_sqlite *sqlite, const char *sql, struct err *err)
{
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           problem(sqlite, "state store", err);
}

static sqlite3_stmt *begin(struct store_sqlite *sqlite, enum statement which, struct err *err)
{
    sqlite3_stmt **statement = &sqlite->prepared[which];
    if (!*statement &&
        sqlite3_prepare_v3(sqlite->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL)) {
        problem(sqlite, "cannot prepare", err);
        return NULL;
    }
    sqlite3_bind_text(*statement, 1, sqlite->group, -1, SQLITE_STATIC);
    return *statement;
}

static void bind(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static bool step(struct store_sqlite *sqlite, sqlite3_stmt *statement, struct err *err)
{
    bool ok = sqlite3_step(statement) == SQLITE_DONE || problem(sqlite, "cannot write", err);
    sqlite3_reset(statement);
    return ok;
}

/* ---- writing ---- */

static bool put_checkpoint(struct store_sqlite *sqlite, const struct store_checkpoint *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_CHECKPOINT, err);
    if (!s)
        return false;
    bind(s, 2, row->handler);
    bind(s, 3, row->stream_arn);
    bind(s, 4, row->shard);
    sqlite3_bind_int(s, 5, row->position.kind);
    bind(s, 6, row->position.sequence);
    sqlite3_bind_int64(s, 7, row->position.since_ms);
    sqlite3_bind_int64(s, 8, row->position.record_time_ms);
    return step(sqlite, s, err);
}

static bool put_follow(struct store_sqlite *sqlite, const struct store_follow *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_FOLLOW, err);
    if (!s)
        return false;
    bind(s, 2, row->stream);
    bind(s, 3, row->handler);
    bind(s, 4, row->stream_arn);
    return step(sqlite, s, err);
}

static bool put_dead_letter(struct store_sqlite *sqlite, const struct store_dead_letter *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_DEAD_LETTER, err);
    if (!s)
        return false;
    const char *texts[] = {row->handler, row->stream_arn, row->shard, row->sequence, row->event_id,
                           row->keys,    row->record,     row->error, row->traceback};
    for (int i = 0; i < 9; i++)
        bind(s, i + 2, texts[i]);
    sqlite3_bind_int64(s, 11, row->attempts);
    sqlite3_bind_int64(s, 12, row->record_time_ms);
    sqlite3_bind_int64(s, 13, row->failed_ms);
    return step(sqlite, s, err);
}

static bool put_event(struct store_sqlite *sqlite, const struct store_event *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_EVENT, err);
    if (!s)
        return false;
    const char *texts[] = {row->kind,          row->handler,     row->stream_arn, row->shard,
                           row->from_sequence, row->to_sequence, row->text};
    for (int i = 0; i < 7; i++)
        bind(s, i + 2, texts[i]);
    sqlite3_bind_int64(s, 9, row->time_ms);
    if (!step(sqlite, s, err) || !(s = begin(sqlite, TRIM_EVENTS, err)))
        return false;
    sqlite3_bind_int64(s, 2, EVENTS_KEPT);
    return step(sqlite, s, err);
}

static bool put_handler(struct store_sqlite *sqlite, const struct store_handler *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_HANDLER, err);
    if (!s)
        return false;
    bind(s, 2, row->handler);
    bind(s, 3, row->version);
    sqlite3_bind_int64(s, 4, row->loaded_ms);
    return step(sqlite, s, err);
}

static bool put_shard(struct store_sqlite *sqlite, const struct store_shard *row, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, PUT_SHARD, err);
    if (!s)
        return false;
    bind(s, 2, row->stream_arn);
    bind(s, 3, row->shard);
    sqlite3_bind_int64(s, 4, row->get_records_calls);
    sqlite3_bind_int64(s, 5, row->records);
    sqlite3_bind_int64(s, 6, row->read_ms);
    sqlite3_bind_int64(s, 7, row->caught_up_ms);
    return step(sqlite, s, err);
}

static bool forget_shard(struct store_sqlite *sqlite, const struct store_shard *row, struct err *err)
{
    static const enum statement both[] = {FORGET_CHECKPOINTS, FORGET_SHARD};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *s = begin(sqlite, both[i], err);
        if (!s)
            return false;
        bind(s, 2, row->stream_arn);
        bind(s, 3, row->shard);
        if (!step(sqlite, s, err))
            return false;
    }
    return true;
}

static bool put_marker(struct store_sqlite *sqlite, const struct store_marker *row, bool done,
                       struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, row->result ? PUT_MARKER : FORGET_MARKER, err);
    if (!s)
        return false;
    bind(s, 2, row->handler);
    bind(s, 3, row->key);
    if (row->result) {
        sqlite3_bind_int(s, 4, done);
        bind(s, 5, row->result);
        sqlite3_bind_int64(s, 6, row->expires_ms);
    }
    return step(sqlite, s, err);
}

static bool put(struct store_sqlite *sqlite, const struct store_write *write, struct err *err)
{
    switch (write->kind) {
    case WRITE_CHECKPOINT:
        return put_checkpoint(sqlite, &write->checkpoint, err);
    case WRITE_FOLLOW:
        return put_follow(sqlite, &write->follow, err);
    case WRITE_DEAD_LETTER:
        return put_dead_letter(sqlite, &write->dead_letter, err);
    case WRITE_EVENT:
        return put_event(sqlite, &write->event, err);
    case WRITE_HANDLER:
        return put_handler(sqlite, &write->handler, err);
    case WRITE_SHARD:
        return put_shard(sqlite, &write->shard, err);
    case WRITE_FORGET_SHARD:
        return forget_shard(sqlite, &write->shard, err);
    case WRITE_MARKER:
        return put_marker(sqlite, &write->marker, true, err);
    }
    return true;
}

/* All batches that wait for it, in one transaction; `until` is the first that is not a batch. */
static bool write_batches(struct store_sqlite *sqlite, const struct pending *until, struct err *err)
{
    if (!run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    for (struct pending *pending = sqlite->first; pending != until; pending = pending->next)
        for (struct store_write *write = pending->batch->first; write; write = write->next)
            if (!put(sqlite, write, err))
                goto failed;
    if (run(sqlite, "COMMIT", err))
        return true;
failed:
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

/* ---- claiming ---- */

struct claimed {
    enum claim claim;
    char *result;
    int64_t expires_ms;
};

static bool look_up_marker(struct store_sqlite *sqlite, const struct pending *pending,
                           struct claimed *claimed, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, GET_MARKER, err);
    if (!s)
        return false;
    bind(s, 2, pending->handler);
    bind(s, 3, pending->key);
    int code = sqlite3_step(s);
    claimed->claim = CLAIM_WON;
    if (code == SQLITE_ROW && sqlite3_column_int64(s, 2) > pending->now_ms) {
        claimed->claim = sqlite3_column_int(s, 0) ? CLAIM_DONE : CLAIM_BUSY;
        claimed->result = mem_string((const char *)sqlite3_column_text(s, 1));
        claimed->expires_ms = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE || problem(sqlite, "cannot read", err);
}

static bool sweep_markers(struct store_sqlite *sqlite, int64_t now_ms, struct err *err)
{
    if (++sqlite->claims < CLAIMS_BETWEEN_SWEEPS)
        return true;
    sqlite->claims = 0;
    sqlite3_stmt *s = begin(sqlite, FORGET_EXPIRED, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, now_ms);
    return step(sqlite, s, err);
}

/* Looked up and claimed in one transaction: other reactors have connections of their own. */
static bool claim(struct store_sqlite *sqlite, const struct pending *pending, struct claimed *claimed,
                  struct err *err)
{
    const struct store_marker marker = {pending->handler, pending->key, "", pending->until_ms};
    if (!run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    bool ok = sweep_markers(sqlite, pending->now_ms, err) && look_up_marker(sqlite, pending, claimed, err) &&
              (claimed->claim != CLAIM_WON || put_marker(sqlite, &marker, false, err)) &&
              run(sqlite, "COMMIT", err);
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

/* ---- reading ---- */

static const char *text_at(struct store_snapshot *snapshot, sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return arena_copy(&snapshot->arena, text ? text : "", (size_t)sqlite3_column_bytes(s, column));
}

static void read_checkpoint(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_checkpoint *checkpoint = row;
    checkpoint->handler = text_at(snapshot, s, 0);
    checkpoint->stream_arn = text_at(snapshot, s, 1);
    checkpoint->shard = text_at(snapshot, s, 2);
    checkpoint->position.kind = (enum position_kind)sqlite3_column_int(s, 3);
    sequence_copy(checkpoint->position.sequence, text_at(snapshot, s, 4));
    checkpoint->position.since_ms = sqlite3_column_int64(s, 5);
    checkpoint->position.record_time_ms = sqlite3_column_int64(s, 6);
}

static void read_follow(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_follow *follow = row;
    follow->stream = text_at(snapshot, s, 0);
    follow->handler = text_at(snapshot, s, 1);
    follow->stream_arn = text_at(snapshot, s, 2);
}

static void read_event(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_event *event = row;
    event->kind = text_at(snapshot, s, 0);
    event->handler = text_at(snapshot, s, 1);
    event->stream_arn = text_at(snapshot, s, 2);
    event->shard = text_at(snapshot, s, 3);
    event->from_sequence = text_at(snapshot, s, 4);
    event->to_sequence = text_at(snapshot, s, 5);
    event->text = text_at(snapshot, s, 6);
    event->time_ms = sqlite3_column_int64(s, 7);
}

static void read_shard(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_shard *shard = row;
    shard->stream_arn = text_at(snapshot, s, 0);
    shard->shard = text_at(snapshot, s, 1);
    shard->get_records_calls = sqlite3_column_int64(s, 2);
    shard->records = sqlite3_column_int64(s, 3);
    shard->read_ms = sqlite3_column_int64(s, 4);
    shard->caught_up_ms = sqlite3_column_int64(s, 5);
}

static void read_handler(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_handler *handler = row;
    handler->handler = text_at(snapshot, s, 0);
    handler->version = text_at(snapshot, s, 1);
    handler->loaded_ms = sqlite3_column_int64(s, 2);
}

static void read_dead(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s)
{
    struct store_dead_count *dead = row;
    dead->handler = text_at(snapshot, s, 0);
    dead->count = sqlite3_column_int64(s, 1);
}

typedef void read_row_fn(struct store_snapshot *snapshot, void *row, sqlite3_stmt *s);

/* All rows of a statement into an array in the snapshot's arena. */
static bool read_rows(struct store_sqlite *sqlite, struct store_snapshot *snapshot, enum statement which,
                      read_row_fn *read_row, size_t row_size, void *rows, size_t *count, struct err *err)
{
    sqlite3_stmt *s = begin(sqlite, which, err);
    char *items = NULL;
    size_t capacity = 0;
    int code;
    if (!s)
        return false;
    if (which == GET_EVENTS)
        sqlite3_bind_int(s, 2, EVENTS_MAX);
    for (*count = 0; (code = sqlite3_step(s)) == SQLITE_ROW; (*count)++) {
        mem_grow(&items, &capacity, *count, row_size);
        memset(items + *count * row_size, 0, row_size);
        read_row(snapshot, items + *count * row_size, s);
    }
    sqlite3_reset(s);
    *(void **)rows = *count ? arena_copy(&snapshot->arena, items, *count * row_size) : NULL;
    free(items);
    return code == SQLITE_DONE || problem(sqlite, "cannot read", err);
}

#define READ_ALL(which, read_row, rows, count)                                                              \
    read_rows(sqlite, snapshot, which, read_row, sizeof *snapshot->rows, &snapshot->rows, &snapshot->count, \
              err)

static struct store_snapshot *read_snapshot(struct store_sqlite *sqlite, struct err *err)
{
    struct store_snapshot *snapshot = mem_zero(sizeof *snapshot);
    bool ok = run(sqlite, "BEGIN", err) &&
              READ_ALL(GET_CHECKPOINTS, read_checkpoint, checkpoints, checkpoint_count) &&
              READ_ALL(GET_FOLLOWS, read_follow, follows, follow_count) &&
              READ_ALL(GET_EVENTS, read_event, events, event_count) &&
              READ_ALL(GET_SHARDS, read_shard, shards, shard_count) &&
              READ_ALL(GET_HANDLERS, read_handler, handlers, handler_count) &&
              READ_ALL(GET_DEAD, read_dead, dead, dead_count);
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "COMMIT", NULL, NULL, NULL);
    if (ok)
        return snapshot;
    store_snapshot_free(snapshot);
    return NULL;
}

/* ---- the queue ---- */

static struct pending *take_first(struct store_sqlite *sqlite)
{
    struct pending *pending = sqlite->first;
    sqlite->first = pending->next;
    if (!sqlite->first)
        sqlite->end = &sqlite->first;
    return pending;
}

static void pending_free(struct pending *pending)
{
    store_batch_free(pending->batch);
    free(pending->handler);
    free(pending->key);
    free(pending);
}

static void batch_done(const struct pending *pending, const struct err *err)
{
    if (pending->done)
        pending->done(pending->user, err);
}

/* False: the disk said no, and the batches stay where they are. */
static bool work_batches(struct store_sqlite *sqlite)
{
    struct pending *until = sqlite->first;
    struct err err;
    while (until && until->batch)
        until = until->next;
    if (!write_batches(sqlite, until, &err)) {
        log_error(sqlite->log, "state", "%s; nothing is lost, trying again", err.text);
        sqlite->failing = true;
        timer_set(sqlite->reactor, &sqlite->retry, RETRY_MS);
        return false;
    }
    if (sqlite->failing)
        log_info(sqlite->log, "state", "%s can be written again", sqlite->path);
    sqlite->failing = false;
    /* Taken out of the queue before anybody is told: who is told may put something new at its end. */
    struct pending *written = sqlite->first;
    sqlite->first = until;
    if (!until)
        sqlite->end = &sqlite->first;
    for (struct pending *next; written != until; written = next) {
        next = written->next;
        batch_done(written, NULL);
        pending_free(written);
    }
    return true;
}

static void work_claim(struct store_sqlite *sqlite, struct pending *pending)
{
    struct claimed claimed = {0};
    struct err err = {0};
    bool ok = claim(sqlite, pending, &claimed, &err);
    pending->claim(pending->user, claimed.claim, claimed.result ? claimed.result : "", claimed.expires_ms,
                   ok ? NULL : &err);
    free(claimed.result);
}

static void work_load(struct store_sqlite *sqlite, struct pending *pending)
{
    struct err err = {0};
    struct store_snapshot *snapshot = read_snapshot(sqlite, &err);
    pending->load(pending->user, snapshot, snapshot ? NULL : &err);
}

static void work(void *user)
{
    struct store_sqlite *sqlite = user;
    struct pending *last = NULL;
    for (struct pending *pending = sqlite->first; pending; pending = pending->next)
        last = pending;
    /* What completions add is for the next turn. */
    for (bool more = last != NULL; more && sqlite->first;) {
        more = sqlite->first != last;
        if (sqlite->first->batch) {
            if (!work_batches(sqlite))
                return;
            break;
        }
        struct pending *pending = take_first(sqlite);
        if (pending->claim)
            work_claim(sqlite, pending);
        else
            work_load(sqlite, pending);
        pending_free(pending);
    }
    if (sqlite->first)
        task_defer(sqlite->reactor, &sqlite->work);
}

static struct pending *enqueue(struct store_sqlite *sqlite)
{
    struct pending *pending = mem_zero(sizeof *pending);
    *sqlite->end = pending;
    sqlite->end = &pending->next;
    if (!timer_is_set(&sqlite->retry))
        task_defer(sqlite->reactor, &sqlite->work);
    return pending;
}

static void sqlite_commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user)
{
    struct pending *pending = enqueue(from_store(store));
    pending->batch = batch;
    pending->done = done;
    pending->user = user;
}

static void sqlite_load(struct store *store, store_load_fn *done, void *user)
{
    struct pending *pending = enqueue(from_store(store));
    pending->load = done;
    pending->user = user;
}

static void sqlite_claim(struct store *store, const char *handler, const char *key, int64_t now_ms,
                         int64_t until_ms, store_claim_fn *done, void *user)
{
    struct pending *pending = enqueue(from_store(store));
    pending->claim = done;
    pending->handler = mem_string(handler);
    pending->key = mem_string(key);
    pending->now_ms = now_ms;
    pending->until_ms = until_ms;
    pending->user = user;
}

static void sqlite_free(struct store *store)
{
    struct store_sqlite *sqlite = from_store(store);
    struct err cancelled;
    err_set(&cancelled, ERR_CANCELLED, "the state store was closed");
    while (sqlite->first) {
        struct pending *pending = take_first(sqlite);
        if (pending->batch)
            batch_done(pending, &cancelled);
        else if (pending->claim)
            pending->claim(pending->user, CLAIM_BUSY, "", 0, &cancelled);
        else
            pending->load(pending->user, NULL, &cancelled);
        pending_free(pending);
    }
    task_cancel(&sqlite->work);
    timer_stop(sqlite->reactor, &sqlite->retry);
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(sqlite->prepared[i]);
    sqlite3_close(sqlite->db);
    free(sqlite->path);
    free(sqlite->group);
    free(sqlite);
}

/* ---- opening ---- */

static bool read_version(struct store_sqlite *sqlite, int *version, struct err *err)
{
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(sqlite->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
              sqlite3_step(s) == SQLITE_ROW;
    if (ok)
        *version = sqlite3_column_int(s, 0);
    else
        problem(sqlite, "cannot read", err);
    sqlite3_finalize(s);
    return ok;
}

/* The version is read again inside the transaction: two reactors may open a new file at once. */
static bool make_schema(struct store_sqlite *sqlite, struct err *err)
{
    int version = 0;
    if (!run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    bool ok = read_version(sqlite, &version, err);
    if (ok && version == 0)
        ok = run(sqlite, schema, err) && run(sqlite, "PRAGMA user_version = 1", err);
    if (!run(sqlite, ok ? "COMMIT" : "ROLLBACK", ok ? err : NULL))
        ok = false;
    return ok;
}

static bool open_schema(struct store_sqlite *sqlite, bool read_only, struct err *err)
{
    int version = 0;
    if (!read_version(sqlite, &version, err))
        return false;
    if (version > SCHEMA_VERSION)
        return err_set(err, ERR_CONFIG, "%s was written by a newer tidemill (schema %d; this one knows %d)",
                       sqlite->path, version, SCHEMA_VERSION);
    if (version < SCHEMA_VERSION && read_only)
        return err_set(err, ERR_CONFIG, "%s holds no state yet: the host has not run", sqlite->path);
    return version == SCHEMA_VERSION || make_schema(sqlite, err);
}

struct store *store_sqlite_new(struct reactor *reactor, const struct store_sqlite_options *options,
                               struct err *err)
{
    static const struct store_ops ops = {sqlite_commit, sqlite_claim, sqlite_load, sqlite_free};
    struct store_sqlite *sqlite = mem_zero(sizeof *sqlite);
    sqlite->store.ops = &ops;
    sqlite->reactor = reactor;
    sqlite->log = options->log;
    sqlite->path = mem_string(options->path);
    sqlite->group = mem_string(options->group);
    sqlite->end = &sqlite->first;
    task_init(&sqlite->work, work, sqlite);
    timer_init(&sqlite->retry, work, sqlite);
    int flags = options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    bool ok = sqlite3_open_v2(options->path, &sqlite->db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
    if (!ok) {
        problem(sqlite, "cannot open the state file", err);
    } else {
        sqlite3_busy_timeout(sqlite->db, BUSY_MS);
        if (!options->read_only)
            ok = run(sqlite,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                     "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -512",
                     err);
        ok = ok && open_schema(sqlite, options->read_only, err);
    }
    if (ok)
        return &sqlite->store;
    sqlite_free(&sqlite->store);
    return NULL;
}

struct store_lock *store_sqlite_lock(const char *path, struct err *err)
{
    char *real = realpath(path, NULL); /* two names of one file are one lock */
    char *name = mem_printf("%s.lock", real ? real : path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    char pid[32] = "";
    if (fd < 0) {
        err_set(err, ERR_IO, "%s: cannot open: %s", name, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t size = read(fd, pid, sizeof pid - 1);
        pid[size > 0 ? size : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        err_set(err, ERR_BUSY,
                "%s is in use by another tidemill%s%s%s; stop it, or give this one a state file of its own",
                path, *pid ? " (process " : "", pid, *pid ? ")" : "");
        close(fd);
        fd = -1;
    } else if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        err_set(err, ERR_IO, "%s: cannot write: %s", name, strerror(errno));
        close(fd);
        fd = -1;
    }
    free(name);
    free(real);
    if (fd < 0)
        return NULL;
    struct store_lock *lock = mem_alloc(sizeof *lock);
    lock->fd = fd;
    return lock;
}

void store_sqlite_unlock(struct store_lock *lock)
{
    if (!lock)
        return;
    close(lock->fd);
    free(lock);
}
