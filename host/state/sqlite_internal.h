/* sqlite_internal.h: what the files of the SQLite store share. */
#ifndef TIDEMILL_STATE_SQLITE_INTERNAL_H
#define TIDEMILL_STATE_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "state/store_sqlite.h"

enum statement {
    PUT_CHECKPOINT,
    PUT_FOLLOW,
    PUT_DEAD_LETTER,
    CHANGE_DEAD_LETTER,
    FORGET_DEAD_LETTER,
    MARK_DEAD_LETTER,
    PUT_REQUEST,
    ANSWER_REQUEST,
    TRIM_REQUESTS,
    PUT_SUBSCRIPTION,
    FORGET_HANDLER_CHECKPOINTS,
    FORGET_FOLLOW,
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
    FORGET_SUBSCRIPTIONS,
    GET_CHECKPOINTS,
    GET_FOLLOWS,
    GET_EVENTS,
    GET_SHARDS,
    GET_HANDLERS,
    GET_DEAD,
    GET_LETTERS,
    GET_MARKED,
    GET_REQUESTS,
    GET_ANSWER,
    GET_SUBSCRIPTIONS,
    STATEMENT_COUNT
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

/* sqlite_schema.c */
bool sqlite_open_schema(struct store_sqlite *sqlite, bool read_only, struct err *err);

bool sqlite_problem(struct store_sqlite *sqlite, const char *what, struct err *err); /* false */
bool sqlite_run(struct store_sqlite *sqlite, const char *sql, struct err *err);

/* The statement with the group bound; NULL and `err`. */
sqlite3_stmt *sqlite_begin(struct store_sqlite *sqlite, enum statement which, struct err *err);
void sqlite_bind(sqlite3_stmt *statement, int at, const char *text);

/* Run one that gives no rows. */
bool sqlite_step(struct store_sqlite *sqlite, sqlite3_stmt *statement, struct err *err);

/* sqlite_write.c: within a transaction */
bool sqlite_write(struct store_sqlite *sqlite, const struct store_write *write, struct err *err);

struct claimed {
    enum claim claim;
    char *result; /* owned */
    int64_t expires_ms;
};

/* Look a key up and claim it, in a transaction of its own. */
bool sqlite_claim(struct store_sqlite *sqlite, const char *handler, const char *key, int64_t now_ms,
                  int64_t until_ms, struct claimed *claimed, struct err *err);

/* sqlite_read.c: NULL and `err` */
struct store_snapshot *sqlite_read(struct store_sqlite *sqlite, const struct store_query *query,
                                   struct err *err);

#endif
