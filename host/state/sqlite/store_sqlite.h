/* store_sqlite.h: the store in one SQLite file (WAL). Its lock is on `<path>.lock` beside the file, since
 * closing any descriptor of the database itself would drop SQLite's own locks. */
#ifndef TIDEMILL_STATE_SQLITE_STORE_SQLITE_H
#define TIDEMILL_STATE_SQLITE_STORE_SQLITE_H

#include "state/store_open.h"

extern const struct store_kind store_sqlite_kind;

/* sqlite_copy.c */
extern const struct store_copy_ops store_sqlite_copy;

/* sqlite_backup.c: see struct store_kind */
bool sqlite_backup(const char *path, const char *file, struct err *err);

struct sqlite3;

/* All of one database into the other; `file` is what an error names. */
bool sqlite_copy_pages(struct sqlite3 *from, struct sqlite3 *to, const char *file, struct err *err);

#endif
