/* storage.c: prepared statements over three tables of bytes. */
#include "local/keep/storage.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/file.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS texts (kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,"
    " PRIMARY KEY (kind, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS items (tbl INTEGER NOT NULL, hash BLOB NOT NULL, range BLOB NOT NULL,"
    " item TEXT NOT NULL, PRIMARY KEY (tbl, hash, range)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS entries (idx INTEGER NOT NULL, hash BLOB NOT NULL, range BLOB NOT NULL,"
    " ihash BLOB NOT NULL, irange BLOB NOT NULL, PRIMARY KEY (idx, hash, range, ihash, irange)) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS records (shard INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (shard, sequence)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS records_by_time ON records (time_ms);";

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    GET,
    PUT,
    DELETE,
    CLEAR,
    COUNT,
    INDEX,
    UNINDEX,
    CLEAR_INDEX,
    SET_TEXT,
    UNSET_TEXT,
    EACH_TEXT,
    GET_TEXT,
    APPEND,
    RECORDS,
    LAST,
    TRIM,
    FORGET,
    TABLE_UP,
    TABLE_DOWN,
    TABLE_ALL,
    INDEX_UP,
    INDEX_DOWN,
    INDEX_ALL,
    STATEMENTS
};

#define ENTRY_ROWS                                                                  \
    "SELECT e.hash, e.range, e.ihash, e.irange, i.item FROM entries e JOIN items i" \
    " ON i.tbl = ?1 AND i.hash = e.ihash AND i.range = e.irange WHERE e.idx = ?2 AND "

static const char *const texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GET] = "SELECT item FROM items WHERE tbl = ?1 AND hash = ?2 AND range = ?3",
    [PUT] = "INSERT OR REPLACE INTO items VALUES (?1, ?2, ?3, ?4)",
    [DELETE] = "DELETE FROM items WHERE tbl = ?1 AND hash = ?2 AND range = ?3",
    [CLEAR] = "DELETE FROM items WHERE tbl = ?1",
    [COUNT] = "SELECT count(*), ifnull(sum(length(item)), 0) FROM items WHERE tbl = ?1",
    [INDEX] = "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5)",
    [UNINDEX] =
        "DELETE FROM entries WHERE idx = ?1 AND hash = ?2 AND range = ?3 AND ihash = ?4 AND irange = ?5",
    [CLEAR_INDEX] = "DELETE FROM entries WHERE idx = ?1",
    [SET_TEXT] = "INSERT OR REPLACE INTO texts VALUES (?1, ?2, ?3)",
    [UNSET_TEXT] = "DELETE FROM texts WHERE kind = ?1 AND name = ?2",
    [GET_TEXT] = "SELECT text FROM texts WHERE kind = ?1 AND name = ?2",
    [EACH_TEXT] = "SELECT name, text FROM texts WHERE kind = ?1 ORDER BY name",
    [APPEND] = "INSERT INTO records VALUES (?1, ?2, ?3, ?4)",
    [RECORDS] = "SELECT sequence, record FROM records WHERE shard = ?1 AND sequence >= ?2 ORDER BY sequence",
    [LAST] = "SELECT ifnull(max(sequence), 0) FROM records",
    [TRIM] = "DELETE FROM records WHERE time_ms < ?1",
    [FORGET] = "DELETE FROM records WHERE shard = ?1",
    /* ?1 the table, ?2 the index; ?3 and ?4 where to begin, ?5 and ?6 the item there */
    [TABLE_UP] =
        "SELECT hash, range, hash, range, item FROM items WHERE tbl = ?1 AND hash = ?3 AND range >= ?4"
        " ORDER BY range",
    [TABLE_DOWN] =
        "SELECT hash, range, hash, range, item FROM items WHERE tbl = ?1 AND hash = ?3 AND range <= ?4"
        " ORDER BY range DESC",
    [TABLE_ALL] =
        "SELECT hash, range, hash, range, item FROM items WHERE tbl = ?1 AND (hash, range) >= (?3, ?4)"
        " ORDER BY hash, range",
    [INDEX_UP] = ENTRY_ROWS "e.hash = ?3 AND (e.range, e.ihash, e.irange) >= (?4, ?5, ?6)"
                            " ORDER BY e.range, e.ihash, e.irange",
    [INDEX_DOWN] = ENTRY_ROWS "e.hash = ?3 AND (e.range, e.ihash, e.irange) <= (?4, ?5, ?6)"
                              " ORDER BY e.range DESC, e.ihash DESC, e.irange DESC",
    [INDEX_ALL] = ENTRY_ROWS "(e.hash, e.range, e.ihash, e.irange) >= (?3, ?4, ?5, ?6)"
                             " ORDER BY e.hash, e.range, e.ihash, e.irange",
};

struct storage {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    struct err err; /* the first since storage_begin */
    bool failed;
};

/* A walk has a statement of its own: walks may be nested. */
struct storage_rows {
    struct storage *storage;
    sqlite3_stmt *statement;
};

/* More than any key: none begins with 0xff, which is in no UTF-8 text and begins no number's key; a binary
 * key that does is shorter. */
static const char last_key[2100] = {[0 ... 2099] = '\xff'};
const struct text storage_last_key = {last_key, sizeof last_key};

static void fail(struct storage *storage, const char *what)
{
    if (!storage->failed)
        err_set(&storage->err, ERR_IO, "the data cannot be written or read: %s: %s", what,
                sqlite3_errmsg(storage->db));
    storage->failed = true;
}

static sqlite3_stmt *prepare(struct storage *storage, enum statement which)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(storage->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK)
        fail(storage, texts[which]);
    return statement;
}

static sqlite3_stmt *take(struct storage *storage, enum statement which)
{
    if (!storage->statements[which])
        storage->statements[which] = prepare(storage, which);
    return storage->statements[which];
}

static void bind_bytes(sqlite3_stmt *statement, int index, struct text bytes)
{
    sqlite3_bind_blob(statement, index, bytes.size ? bytes.data : "", (int)bytes.size, SQLITE_STATIC);
}

static void bind_key(sqlite3_stmt *statement, int index, struct row_key key)
{
    bind_bytes(statement, index, key.hash);
    bind_bytes(statement, index + 1, key.range);
}

/* One that gives no rows. */
static void run(struct storage *storage, enum statement which)
{
    sqlite3_stmt *statement = take(storage, which);
    if (sqlite3_step(statement) != SQLITE_DONE)
        fail(storage, texts[which]);
    sqlite3_reset(statement);
}

static struct text column(sqlite3_stmt *statement, int index)
{
    const char *bytes = sqlite3_column_blob(statement, index);
    return (struct text){bytes ? bytes : "", (size_t)sqlite3_column_bytes(statement, index)};
}

/* ---- life ---- */

static bool set_up(struct storage *storage, const char *path)
{
    const char *pragmas =
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "PRAGMA cache_size = -65536;"; /* KiB at most */
    return (!path || sqlite3_exec(storage->db, pragmas, NULL, NULL, NULL) == SQLITE_OK) &&
           sqlite3_exec(storage->db, schema, NULL, NULL, NULL) == SQLITE_OK;
}

struct storage *storage_open(const char *path, struct err *err)
{
    struct storage *storage = mem_zero(sizeof *storage);
    if (path)
        file_make_private(path);
    if (sqlite3_open_v2(path ? path : ":memory:", &storage->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) == SQLITE_OK &&
        set_up(storage, path))
        return storage;
    int code = sqlite3_errcode(storage->db);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        err_set(err, ERR_BUSY, "%s: another process has the data", path);
    else
        err_set(err, ERR_IO, "%s: %s", path ? path : "the memory", sqlite3_errmsg(storage->db));
    storage_free(storage);
    return NULL;
}

void storage_free(struct storage *storage)
{
    if (!storage)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(storage->statements[i]);
    sqlite3_close(storage->db);
    free(storage);
}

void storage_begin(struct storage *storage)
{
    storage->failed = false;
    run(storage, BEGIN);
}

bool storage_commit(struct storage *storage, struct err *err)
{
    if (!storage->failed)
        run(storage, COMMIT);
    if (!storage->failed)
        return true;
    storage_rollback(storage);
    *err = storage->err;
    return false;
}

void storage_rollback(struct storage *storage)
{
    if (!sqlite3_get_autocommit(storage->db))
        run(storage, ROLLBACK);
}

/* ---- items ---- */

bool storage_get(struct storage *storage, int64_t table, struct row_key key, struct buf *out)
{
    sqlite3_stmt *statement = take(storage, GET);
    sqlite3_bind_int64(statement, 1, table);
    bind_key(statement, 2, key);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        struct text item = column(statement, 0);
        buf_add(out, item.data, item.size);
    } else if (code != SQLITE_DONE) {
        fail(storage, texts[GET]);
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW;
}

void storage_put(struct storage *storage, int64_t table, struct row_key key, const struct buf *item)
{
    sqlite3_stmt *statement = take(storage, PUT);
    sqlite3_bind_int64(statement, 1, table);
    bind_key(statement, 2, key);
    sqlite3_bind_text(statement, 4, item->data, (int)item->size, SQLITE_STATIC);
    run(storage, PUT);
}

void storage_delete(struct storage *storage, int64_t table, struct row_key key)
{
    sqlite3_stmt *statement = take(storage, DELETE);
    sqlite3_bind_int64(statement, 1, table);
    bind_key(statement, 2, key);
    run(storage, DELETE);
}

void storage_clear(struct storage *storage, int64_t table)
{
    sqlite3_bind_int64(take(storage, CLEAR), 1, table);
    run(storage, CLEAR);
}

void storage_count(struct storage *storage, int64_t table, int64_t *items, int64_t *bytes)
{
    sqlite3_stmt *statement = take(storage, COUNT);
    sqlite3_bind_int64(statement, 1, table);
    *items = *bytes = 0;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        *items = sqlite3_column_int64(statement, 0);
        *bytes = sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
}

static void run_entry(struct storage *storage, enum statement which, int64_t index, struct row_key at,
                      struct row_key item)
{
    sqlite3_stmt *statement = take(storage, which);
    sqlite3_bind_int64(statement, 1, index);
    bind_key(statement, 2, at);
    bind_key(statement, 4, item);
    run(storage, which);
}

void storage_index(struct storage *storage, int64_t index, struct row_key at, struct row_key item)
{
    run_entry(storage, INDEX, index, at, item);
}

void storage_unindex(struct storage *storage, int64_t index, struct row_key at, struct row_key item)
{
    run_entry(storage, UNINDEX, index, at, item);
}

void storage_clear_index(struct storage *storage, int64_t index)
{
    sqlite3_bind_int64(take(storage, CLEAR_INDEX), 1, index);
    run(storage, CLEAR_INDEX);
}

/* ---- walking ---- */

struct storage_rows *storage_walk(struct storage *storage, const struct walk *walk)
{
    struct storage_rows *rows = mem_zero(sizeof *rows);
    enum statement which = walk->whole ? TABLE_ALL : walk->descending ? TABLE_DOWN : TABLE_UP;
    if (walk->index)
        which = walk->whole ? INDEX_ALL : walk->descending ? INDEX_DOWN : INDEX_UP;
    rows->storage = storage;
    rows->statement = storage->statements[which]; /* the one at hand, until it is brought back */
    storage->statements[which] = NULL;
    if (!rows->statement)
        rows->statement = prepare(storage, which);
    sqlite3_bind_int64(rows->statement, 1, walk->table);
    if (walk->index) {
        sqlite3_bind_int64(rows->statement, 2, walk->index);
        bind_key(rows->statement, 5, walk->from.item);
    }
    bind_key(rows->statement, 3, walk->from.at);
    return rows;
}

bool storage_next(struct storage_rows *rows, struct row *row)
{
    int code = sqlite3_step(rows->statement);
    if (code == SQLITE_ROW) {
        row->at = (struct row_key){column(rows->statement, 0), column(rows->statement, 1)};
        row->item = (struct row_key){column(rows->statement, 2), column(rows->statement, 3)};
        row->text = column(rows->statement, 4);
        return true;
    }
    if (code != SQLITE_DONE)
        fail(rows->storage, "walking");
    return false;
}

void storage_end(struct storage_rows *rows)
{
    struct storage *storage = rows->storage;
    sqlite3_reset(rows->statement);
    for (int which = TABLE_UP; which < STATEMENTS; which++) {
        if (storage->statements[which] || strcmp(sqlite3_sql(rows->statement), texts[which]) != 0)
            continue;
        storage->statements[which] = rows->statement;
        rows->statement = NULL;
        break;
    }
    sqlite3_finalize(rows->statement);
    free(rows);
}

/* ---- texts ---- */

static void bind_names(sqlite3_stmt *statement, const char *kind, const char *name)
{
    sqlite3_bind_text(statement, 1, kind, -1, SQLITE_STATIC);
    if (name)
        sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
}

void storage_set(struct storage *storage, const char *kind, const char *name, const char *text, size_t size)
{
    sqlite3_stmt *statement = take(storage, SET_TEXT);
    bind_names(statement, kind, name);
    sqlite3_bind_text(statement, 3, text, (int)size, SQLITE_STATIC);
    run(storage, SET_TEXT);
}

void storage_unset(struct storage *storage, const char *kind, const char *name)
{
    bind_names(take(storage, UNSET_TEXT), kind, name);
    run(storage, UNSET_TEXT);
}

bool storage_text(struct storage *storage, const char *kind, const char *name, struct buf *out)
{
    sqlite3_stmt *statement = take(storage, GET_TEXT);
    bind_names(statement, kind, name);
    bool found = sqlite3_step(statement) == SQLITE_ROW;
    if (found)
        buf_add(out, (const char *)sqlite3_column_text(statement, 0),
                (size_t)sqlite3_column_bytes(statement, 0));
    sqlite3_reset(statement);
    return found;
}

void storage_each(struct storage *storage, const char *kind,
                  void (*each)(void *user, const char *name, const char *text, size_t size), void *user)
{
    sqlite3_stmt *statement = take(storage, EACH_TEXT);
    bind_names(statement, kind, NULL);
    while (sqlite3_step(statement) == SQLITE_ROW)
        each(user, (const char *)sqlite3_column_text(statement, 0),
             (const char *)sqlite3_column_text(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));
    sqlite3_reset(statement);
}

/* ---- stream records ---- */

void storage_append(struct storage *storage, int64_t shard, int64_t sequence, int64_t time_ms,
                    const struct buf *record)
{
    sqlite3_stmt *statement = take(storage, APPEND);
    sqlite3_bind_int64(statement, 1, shard);
    sqlite3_bind_int64(statement, 2, sequence);
    sqlite3_bind_int64(statement, 3, time_ms);
    sqlite3_bind_text(statement, 4, record->data, (int)record->size, SQLITE_STATIC);
    run(storage, APPEND);
}

void storage_records(struct storage *storage, int64_t shard, int64_t sequence,
                     bool (*each)(void *user, int64_t sequence, struct text record), void *user)
{
    sqlite3_stmt *statement = take(storage, RECORDS);
    sqlite3_bind_int64(statement, 1, shard);
    sqlite3_bind_int64(statement, 2, sequence);
    while (sqlite3_step(statement) == SQLITE_ROW)
        if (!each(user, sqlite3_column_int64(statement, 0), column(statement, 1)))
            break;
    sqlite3_reset(statement);
}

int64_t storage_last_sequence(struct storage *storage)
{
    sqlite3_stmt *statement = take(storage, LAST);
    int64_t last = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return last;
}

void storage_trim(struct storage *storage, int64_t before_ms)
{
    sqlite3_bind_int64(take(storage, TRIM), 1, before_ms);
    run(storage, TRIM);
}

void storage_forget_records(struct storage *storage, int64_t shard)
{
    sqlite3_bind_int64(take(storage, FORGET), 1, shard);
    run(storage, FORGET);
}
