/* sqlite_schema.c: tables, statements, and how an older file becomes a newer one. */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/sqlite/sqlite_internal.h"

/* Version by version: a file of version n is brought on by what stands behind place n. */
static const char *const versions[] = {
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
    " caught_up_ms INTEGER NOT NULL, PRIMARY KEY (grp, stream_arn, shard)) WITHOUT ROWID;",
    "ALTER TABLE checkpoints ADD COLUMN progress TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE dead_letters ADD COLUMN version TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE dead_letters ADD COLUMN table_name TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE dead_letters ADD COLUMN redrive_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX dead_letters_marked ON dead_letters (grp, id) WHERE redrive_ms > 0;"
    "CREATE TABLE requests (id INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, kind TEXT NOT NULL,"
    " handler TEXT NOT NULL, shard TEXT NOT NULL, argument TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    " answered INTEGER NOT NULL DEFAULT 0, answer TEXT NOT NULL DEFAULT '');"
    "CREATE TABLE subscriptions (grp TEXT NOT NULL, handler TEXT NOT NULL, stream_arn TEXT NOT NULL,"
    " shard TEXT NOT NULL, in_flight INTEGER NOT NULL, retrying INTEGER NOT NULL, waiting INTEGER NOT NULL,"
    " catching_up INTEGER NOT NULL, oldest_ms INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " PRIMARY KEY (grp, handler, stream_arn, shard)) WITHOUT ROWID;",
    /* Until then a letter said in its error that a target had refused it: "... (on_failure = NAME: ...)". */
    "ALTER TABLE dead_letters ADD COLUMN condition TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE dead_letters ADD COLUMN refused_by TEXT NOT NULL DEFAULT '';"
    "UPDATE dead_letters SET refused_by = substr(error, instr(error, '(on_failure = ') + 14) WHERE"
    " instr(error, '(on_failure = ') > 0;"
    "UPDATE dead_letters SET refused_by = substr(refused_by, 1, instr(refused_by, ':') - 1) WHERE"
    " refused_by <> '';"
    "CREATE INDEX dead_letters_refused ON dead_letters (grp, id) WHERE refused_by <> '';"
    "ALTER TABLE markers ADD COLUMN owner TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE troubles (grp TEXT NOT NULL, subject TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,"
    " since_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (grp, subject, kind)) WITHOUT ROWID;"
    "CREATE TABLE hosts (grp TEXT NOT NULL, instance TEXT NOT NULL, version TEXT NOT NULL,"
    " started_ms INTEGER NOT NULL, beat_ms INTEGER NOT NULL, stopped_ms INTEGER NOT NULL,"
    " longest_ms INTEGER NOT NULL, longest TEXT NOT NULL, PRIMARY KEY (grp, instance)) WITHOUT ROWID;",
    ("CREATE TABLE usage (grp TEXT NOT NULL, day TEXT NOT NULL, instance TEXT NOT NULL, text TEXT NOT NULL,"
     " PRIMARY KEY (grp, day, instance)) WITHOUT ROWID;"),
    "ALTER TABLE follows ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE follows ADD COLUMN over TEXT NOT NULL DEFAULT '';",
};

#define SCHEMA_VERSION ((int)(sizeof versions / sizeof *versions))

#define LETTER_COLUMNS                                                                               \
    "id, handler, stream_arn, shard, sequence, event_id, keys, record, error, traceback, attempts, " \
    "record_time_ms, failed_ms, version, table_name, redrive_ms, condition, refused_by"

/* ?1 is the group in each. */
static const char *const statements[STATEMENT_COUNT] = {
    [PUT_CHECKPOINT] = "INSERT OR REPLACE INTO checkpoints (grp, handler, stream_arn, shard, kind, sequence,"
                       " since_ms, record_time_ms, progress) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [FORGET_HANDLER_CHECKPOINTS] = "DELETE FROM checkpoints WHERE grp = ?1 AND handler = ?2 AND"
                                   " (?3 = '' OR stream_arn = ?3) AND (?4 = '' OR shard = ?4)",
    [FORGET_SUBSCRIPTIONS_OF] = "DELETE FROM subscriptions WHERE grp = ?1 AND handler = ?2 AND"
                                " (?3 = '' OR stream_arn = ?3) AND (?4 = '' OR shard = ?4)",
    [PUT_FOLLOW] = "INSERT OR REPLACE INTO follows VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [PUT_DEAD_LETTER] =
        "INSERT INTO dead_letters (grp, handler, stream_arn, shard, sequence, event_id, keys, record, error,"
        " traceback, attempts, record_time_ms, failed_ms, version, table_name, condition, refused_by, "
        "redrive_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
        " ON CONFLICT (grp, handler, stream_arn, shard, sequence) DO UPDATE SET error = ?9, traceback = ?10,"
        " attempts = ?11, failed_ms = ?13, version = ?14, condition = ?16, refused_by = ?17, redrive_ms = "
        "?18",
    [CHANGE_DEAD_LETTER] =
        "UPDATE dead_letters SET error = ?3, traceback = ?4, attempts = ?5, failed_ms = ?6,"
        " version = ?7, condition = ?8, refused_by = ?9, redrive_ms = 0 WHERE grp = ?1 AND id = ?2",
    [FORGET_DEAD_LETTER] = "DELETE FROM dead_letters WHERE grp = ?1 AND id = ?2 AND redrive_ms >= ?3",
    [MARK_DEAD_LETTER] = "UPDATE dead_letters SET redrive_ms = ?3 WHERE grp = ?1 AND id = ?2",
    [PUT_REQUEST] = "INSERT INTO requests (id, grp, kind, handler, shard, argument, created_ms)"
                    " VALUES (?7, ?1, ?2, ?3, ?4, ?5, ?6)",
    [ANSWER_REQUEST] = "UPDATE requests SET answered = ?3, answer = ?4 WHERE grp = ?1 AND id = ?2",
    [TRIM_REQUESTS] = "DELETE FROM requests WHERE grp = ?1 AND answered <> 0 AND id NOT IN"
                      " (SELECT id FROM requests WHERE grp = ?1 ORDER BY id DESC LIMIT ?2)",
    [PUT_SUBSCRIPTION] =
        "INSERT OR REPLACE INTO subscriptions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [PUT_EVENT] = "INSERT INTO events VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [FORGET_EVENT] =
        "DELETE FROM events WHERE grp = ?1 AND kind = ?2 AND handler = ?3 AND stream_arn = ?4 AND"
        " shard = ?5 AND from_sequence = ?6",
    [TRIM_EVENTS] = "DELETE FROM events WHERE grp = ?1 AND id <= (SELECT max(id) FROM events) - ?2",
    [PUT_HANDLER] = "INSERT OR REPLACE INTO handlers VALUES (?1, ?2, ?3, ?4)",
    [PUT_SHARD] = "INSERT OR REPLACE INTO shards VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [FORGET_EVENTS] = "DELETE FROM events WHERE grp = ?1 AND (?2 = '' OR handler = ?2)",
    [PUT_TROUBLE] = "INSERT OR REPLACE INTO troubles VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [FORGET_TROUBLE] = "DELETE FROM troubles WHERE grp = ?1 AND subject = ?2 AND kind = ?3",
    [FORGET_TROUBLES] = "DELETE FROM troubles WHERE grp = ?1",
    [PUT_HOST] = "INSERT OR REPLACE INTO hosts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [TRIM_HOSTS] = "DELETE FROM hosts WHERE grp = ?1 AND instance NOT IN"
                   " (SELECT instance FROM hosts WHERE grp = ?1 ORDER BY started_ms DESC LIMIT ?2)",
    [FORGET_CLAIMS] = "DELETE FROM markers WHERE grp = ?1 AND done = 0 AND"
                      " (owner = '' OR owner LIKE 'host:%')",
    [PUT_MARKER] = "INSERT OR REPLACE INTO markers (grp, handler, key, done, result, expires_ms, owner)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [FORGET_MARKER] = "DELETE FROM markers WHERE grp = ?1 AND handler = ?2 AND key = ?3 AND"
                      " (?7 = '' OR (done = 0 AND owner = ?7))",
    [FORGET_EXPIRED] = "DELETE FROM markers WHERE grp = ?1 AND expires_ms <= ?2",
    [GET_MARKERS] = "SELECT handler, key, result, expires_ms FROM markers WHERE grp = ?1 AND"
                    " (handler = ?2 OR ?2 = '') AND done = 1 ORDER BY handler, key",
    [GET_MARKER] =
        "SELECT done, result, expires_ms, owner FROM markers WHERE grp = ?1 AND handler = ?2 AND key = ?3",
    [FORGET_CHECKPOINTS] = "DELETE FROM checkpoints WHERE grp = ?1 AND stream_arn = ?2 AND shard = ?3",
    [REWIND_CHECKPOINTS] =
        "UPDATE checkpoints SET kind = ?3, sequence = '', since_ms = ?4, record_time_ms = 0,"
        " progress = '' WHERE grp = ?1 AND handler = ?2 AND (kind <> ?5 OR since_ms >= ?4)",
    [FORGET_SHARD] = "DELETE FROM shards WHERE grp = ?1 AND stream_arn = ?2 AND shard = ?3",
    [FORGET_SUBSCRIPTIONS] = "DELETE FROM subscriptions WHERE grp = ?1 AND stream_arn = ?2 AND shard = ?3",
    [GET_CHECKPOINTS] =
        "SELECT handler, stream_arn, shard, kind, sequence, since_ms, record_time_ms, progress"
        " FROM checkpoints WHERE grp = ?1",
    [GET_FOLLOWS] = "SELECT stream, handler, stream_arn, since_ms, over FROM follows WHERE grp = ?1",
    [GET_EVENTS] = "SELECT kind, handler, stream_arn, shard, from_sequence, to_sequence, text, time_ms, id"
                   " FROM events WHERE grp = ?1 ORDER BY id DESC",
    [GET_SHARDS] = "SELECT stream_arn, shard, get_records_calls, records, read_ms, caught_up_ms"
                   " FROM shards WHERE grp = ?1",
    [GET_HANDLERS] = "SELECT handler, version, loaded_ms FROM handlers WHERE grp = ?1",
    [GET_LETTERS] = "SELECT " LETTER_COLUMNS " FROM dead_letters WHERE grp = ?1 AND (?2 = '' OR handler = ?2)"
                    " AND (?3 = 0 OR id = ?3) AND (?4 = 0 OR failed_ms < ?4) AND (?5 = 0 OR failed_ms >= ?5)"
                    " AND (?6 = '' OR instr(error, ?6) > 0) AND id > ?7 ORDER BY id LIMIT ?8",
    [GET_REFUSED] = "SELECT " LETTER_COLUMNS " FROM dead_letters WHERE grp = ?1 AND refused_by <> '' AND"
                    " (?2 = '' OR handler = ?2) AND redrive_ms = 0 AND id > ?7 ORDER BY id LIMIT ?8",
    [GET_TROUBLES] = "SELECT subject, kind, text, since_ms, last_ms, count FROM troubles WHERE grp = ?1"
                     " ORDER BY since_ms, subject",
    [GET_HOSTS] = "SELECT instance, version, started_ms, beat_ms, stopped_ms, longest_ms, longest FROM hosts"
                  " WHERE grp = ?1 ORDER BY started_ms DESC, beat_ms DESC LIMIT 100",
    [GET_MARKED] = "SELECT " LETTER_COLUMNS " FROM dead_letters WHERE grp = ?1 AND redrive_ms > 0 AND id > ?7"
                   " ORDER BY id LIMIT ?8",
    [GET_REQUESTS] = "SELECT id, kind, handler, shard, argument, created_ms, answered, answer FROM requests"
                     " WHERE grp = ?1 AND answered = 0 ORDER BY id LIMIT 10000",
    [GET_ANSWER] = "SELECT id, kind, handler, shard, argument, created_ms, answered, answer FROM requests"
                   " WHERE grp = ?1 AND id = ?2",
    [GET_SUBSCRIPTIONS] =
        "SELECT handler, stream_arn, shard, in_flight, retrying, waiting, catching_up, oldest_ms, time_ms"
        " FROM subscriptions WHERE grp = ?1",
    [PUT_USAGE] = "INSERT OR REPLACE INTO usage VALUES (?1, ?2, ?3, ?4)",
    [TRIM_USAGE] = "DELETE FROM usage WHERE grp = ?1 AND day < date(?2, '-' || ?3 || ' days')",
    [GET_USAGE] = "SELECT day, instance, text FROM usage WHERE grp = ?1 ORDER BY day, instance",
    /* ?2 the heir, ?3 the former one. The follows come last: what has none has not run yet. */
    [INHERIT_CHECKPOINTS] =
        "INSERT OR IGNORE INTO checkpoints (grp, handler, stream_arn, shard, kind, sequence, since_ms,"
        " record_time_ms, progress) SELECT grp, ?2, stream_arn, shard, kind, sequence, since_ms,"
        " record_time_ms, progress FROM checkpoints WHERE grp = ?1 AND handler = ?3 AND NOT EXISTS"
        " (SELECT 1 FROM follows WHERE grp = ?1 AND handler = ?2)",
    [INHERIT_FOLLOWS] =
        "INSERT OR IGNORE INTO follows (grp, stream, handler, stream_arn, since_ms, over)"
        " SELECT grp, stream, ?2, stream_arn, since_ms, over FROM follows WHERE grp = ?1 AND handler = ?3"
        " AND NOT EXISTS (SELECT 1 FROM follows WHERE grp = ?1 AND handler = ?2)",
    [FORGET_HANDLER_FOLLOWS] = "DELETE FROM follows WHERE grp = ?1 AND handler = ?2",
    [FORGET_HANDLER_MARKERS] = "DELETE FROM markers WHERE grp = ?1 AND handler = ?2",
    [FORGET_HANDLER_SUBSCRIPTIONS] = "DELETE FROM subscriptions WHERE grp = ?1 AND handler = ?2",
    [FORGET_HANDLER_TROUBLES] = "DELETE FROM troubles WHERE grp = ?1 AND subject = 'handler ' || ?2",
    [FORGET_HANDLER_VERSION] = "DELETE FROM handlers WHERE grp = ?1 AND handler = ?2",
    [GET_DEAD] = "SELECT handler, stream_arn, shard, count(*) FROM dead_letters WHERE grp = ?1"
                 " GROUP BY handler, stream_arn, shard",
};

/* ---- statements ---- */

bool sqlite_problem(struct store_sqlite *sqlite, const char *what, struct err *err)
{
    return err_set(err, ERR_IO, "%s: %s: %s", sqlite->path, what, sqlite3_errmsg(sqlite->db));
}

bool sqlite_run(struct store_sqlite *sqlite, const char *sql, struct err *err)
{
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           sqlite_problem(sqlite, "state store", err);
}

sqlite3_stmt *sqlite_begin(struct store_sqlite *sqlite, enum statement which, struct err *err)
{
    sqlite3_stmt **statement = &sqlite->prepared[which];
    if (!*statement &&
        sqlite3_prepare_v3(sqlite->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL)) {
        sqlite_problem(sqlite, "cannot prepare", err);
        return NULL;
    }
    sqlite3_bind_text(*statement, 1, sqlite->group, -1, SQLITE_STATIC);
    return *statement;
}

void sqlite_bind(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

bool sqlite_step(struct store_sqlite *sqlite, sqlite3_stmt *statement, struct err *err)
{
    bool ok = sqlite3_step(statement) == SQLITE_DONE || sqlite_problem(sqlite, "cannot write", err);
    sqlite3_reset(statement);
    return ok;
}

/* ---- versions ---- */

static bool read_version(struct store_sqlite *sqlite, int *version, struct err *err)
{
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(sqlite->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
              sqlite3_step(s) == SQLITE_ROW;
    if (ok)
        *version = sqlite3_column_int(s, 0);
    else
        sqlite_problem(sqlite, "cannot read", err);
    sqlite3_finalize(s);
    return ok;
}

/* The version is read again inside the transaction: two reactors may open a new file at once. */
static bool make_schema(struct store_sqlite *sqlite, struct err *err)
{
    int version = 0;
    if (!sqlite_run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    bool ok = read_version(sqlite, &version, err);
    CHECK(version >= 0);
    for (; ok && version < SCHEMA_VERSION; version++)
        ok = sqlite_run(sqlite, versions[version], err);
    if (ok) {
        char *sql = mem_printf("PRAGMA user_version = %d", SCHEMA_VERSION);
        ok = sqlite_run(sqlite, sql, err);
        free(sql);
    }
    if (!sqlite_run(sqlite, ok ? "COMMIT" : "ROLLBACK", ok ? err : NULL))
        ok = false;
    return ok;
}

/* The copy takes the place of the file, and has no more to do with it. */
static bool read_in_memory(struct store_sqlite *sqlite, struct err *err)
{
    sqlite3 *memory = NULL;
    bool ok = sqlite3_open_v2(":memory:", &memory, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
                  SQLITE_OK &&
              sqlite_copy_pages(sqlite->db, memory, sqlite->path, err);
    if (!ok) {
        sqlite3_close(memory);
        return false;
    }
    sqlite3_close(sqlite->db);
    sqlite->db = memory;
    return make_schema(sqlite, err);
}

/* The way back: an older tidemill reads what is kept here. */
static bool keep_former(struct store_sqlite *sqlite, int version, struct log *log, struct err *err)
{
    char *former = mem_printf("%s.schema%d", sqlite->path, version);
    unlink(former); /* of an earlier way there: this one is newer */
    bool kept = sqlite_backup(sqlite->path, former, err);
    if (kept)
        log_info(
            log, NULL,
            "%s was written by an older tidemill (schema %d): it becomes schema %d; as it was it is kept "
            "in %s, for the way back",
            sqlite->path, version, SCHEMA_VERSION, former);
    else
        err_prefix(err, "the state is not upgraded, since it cannot be kept as it is first");
    free(former);
    return kept;
}

bool sqlite_open_schema(struct store_sqlite *sqlite, const struct store_options *options, struct err *err)
{
    int version = 0;
    if (!read_version(sqlite, &version, err))
        return false;
    if (version > SCHEMA_VERSION)
        return err_set(err, ERR_CONFIG,
                       "%s was written by a newer tidemill (schema %d; this one knows %d): run that one, or "
                       "go back to what it kept in %s.schema%d (what was done since then is done again)",
                       sqlite->path, version, SCHEMA_VERSION, sqlite->path, SCHEMA_VERSION);
    if (version < 0)
        return err_set(err, ERR_CONFIG, "%s is damaged, or no state of tidemill's (schema %d)", sqlite->path,
                       version);
    if (version == SCHEMA_VERSION)
        return true;
    if (options->read_only)
        return version ? read_in_memory(sqlite, err)
                       : err_set(err, ERR_CONFIG, "%s holds no state: the host has not run", sqlite->path);
    if (version && !options->upgrade)
        return err_set(
            err, ERR_CONFIG,
            "%s was written by an older tidemill (schema %d; this one has %d): only `tidemill run` "
            "upgrades it; until then what changes it is that version's to do",
            sqlite->path, version, SCHEMA_VERSION);
    return (!version || keep_former(sqlite, version, options->log, err)) && make_schema(sqlite, err);
}
