/* sqlite_internal.h: what the files of the SQLite store share. */
#ifndef TIDEMILL_STATE_SQLITE_SQLITE_INTERNAL_H
#define TIDEMILL_STATE_SQLITE_SQLITE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "state/sqlite/store_sqlite.h"

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
    FORGET_EVENTS,
    PUT_TROUBLE,
    FORGET_TROUBLE,
    FORGET_TROUBLES,
    PUT_HOST,
    TRIM_HOSTS,
    FORGET_CLAIMS,
    PUT_EVENT,
    FORGET_EVENT,
    TRIM_EVENTS,
    PUT_HANDLER,
    PUT_SHARD,
    PUT_MARKER,
    FORGET_MARKER,
    FORGET_EXPIRED,
    GET_MARKER,
    FORGET_CHECKPOINTS,
    REWIND_CHECKPOINTS,
    FORGET_SHARD,
    FORGET_SUBSCRIPTIONS_OF,
    FORGET_SUBSCRIPTIONS,
    GET_CHECKPOINTS,
    GET_FOLLOWS,
    GET_EVENTS,
    GET_SHARDS,
    GET_HANDLERS,
    GET_DEAD,
    GET_LETTERS,
    GET_MARKED,
    GET_REFUSED,
    GET_TROUBLES,
    GET_HOSTS,
    GET_MARKERS,
    GET_REQUESTS,
    GET_ANSWER,
    GET_SUBSCRIPTIONS,
    PUT_USAGE,
    TRIM_USAGE,
    GET_USAGE,
    INHERIT_CHECKPOINTS,
    INHERIT_FOLLOWS,
    FORGET_HANDLER_FOLLOWS,
    FORGET_HANDLER_MARKERS,
    FORGET_HANDLER_SUBSCRIPTIONS,
    FORGET_HANDLER_TROUBLES,
    FORGET_HANDLER_VERSION,
    STATEMENT_COUNT
};

struct store_sqlite {
    struct store store;
    struct reactor *reactor;
    struct log *log;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    char *path, *group;
    struct pending *first, **end; /* to be done */
    struct task work;
    struct timer retry;
    bool failing;
    int64_t told_ms;
    /* With a thread: it does what stands in the queue, and hands over what is done. The lock is over both
     * lists and the flags. */
    bool threaded, closing, ended;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct pending *done, **done_end;
    int done_fd;
    struct watch *watch;
    int claims; /* since expired markers were last removed */
};

/* sqlite_schema.c */
/* What an older version has written is read as it would be after an upgrade, from a copy in memory; only a
 * host brings the file itself on (options->upgrade), and keeps the former one beside it. */
bool sqlite_open_schema(struct store_sqlite *sqlite, const struct store_options *options, struct err *err);

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
bool sqlite_claim(struct store_sqlite *sqlite, const struct store_claim *claim, struct claimed *claimed,
                  struct err *err);

/* sqlite_read.c: NULL and `err` */
struct store_snapshot *sqlite_read(struct store_sqlite *sqlite, const struct store_query *query,
                                   struct err *err);

#endif
