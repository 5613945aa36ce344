/* store_sqlite.h: the store in one SQLite file (WAL). */
#ifndef TIDEMILL_STATE_SQLITE_STORE_SQLITE_H
#define TIDEMILL_STATE_SQLITE_STORE_SQLITE_H

#include "state/store.h"

/* Exclusive use of a state file by one host. It is a lock on `<path>.lock` beside the file, since closing any
 * descriptor of the database itself would drop SQLite's own locks. Gone with the process, however it ends. */
struct store_lock;
struct store_lock *store_sqlite_lock(const char *path, struct err *err); /* ERR_BUSY: another host has it */
void store_sqlite_unlock(struct store_lock *lock);

/* Has somebody the lock? Does not take it, not even for a moment: a host may be about to. */
bool store_sqlite_in_use(const char *path);

struct store_sqlite_options {
    const char *path;
    const char *group;
    bool read_only; /* beside a running host; the file must exist */
    bool threaded;  /* work on a thread of its own; completions still come through the reactor */
    struct log *log;
    int (*commit_fails)(void *user); /* NULL, or for tests: asked at each COMMIT whether it is to fail */
    void *user;
};

/* Opens, and creates or upgrades the schema. */
struct store *store_sqlite_new(struct reactor *reactor, const struct store_sqlite_options *options,
                               struct err *err);

#endif
