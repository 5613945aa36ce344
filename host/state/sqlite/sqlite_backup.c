/* sqlite_backup.c: a whole copy of a state file beside a host that works on it, by SQLite's own means: what
 * was committed at one moment, in one file without a log beside it. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "state/sqlite/store_sqlite.h"

#define BUSY_MS 10000
#define TRIES_MAX 1000 /* while somebody writes just now */

static bool problem(sqlite3 *db, const char *path, const char *what, struct err *err)
{
    return err_set(err, ERR_IO, "%s: %s: %s", path, what, db ? sqlite3_errmsg(db) : "out of memory");
}

/* All pages in one go, under a reader's lock: of a WAL that keeps no writer waiting. */
bool sqlite_copy_pages(sqlite3 *from, sqlite3 *to, const char *file, struct err *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int code = SQLITE_OK, tries = 0;
    if (!backup)
        return problem(to, file, "cannot be written", err);
    do {
        code = sqlite3_backup_step(backup, -1);
        if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
            sqlite3_sleep(10);
        tries++;
    } while ((code == SQLITE_BUSY || code == SQLITE_LOCKED) && tries < TRIES_MAX);
    sqlite3_backup_finish(backup);
    return code == SQLITE_DONE || problem(to, file, "cannot be written", err);
}

static bool run(sqlite3 *db, const char *path, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           problem(db, path, "cannot be written", err);
}

/* Is it what it seems? */
static bool is_sound(sqlite3 *db, const char *path, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    bool sound = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL) == SQLITE_OK &&
                 sqlite3_step(statement) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    sqlite3_finalize(statement);
    return sound || err_set(err, ERR_IO, "%s: the state is damaged: this is no back-up of it", path);
}

static bool fill(const char *path, const char *beside, struct err *err)
{
    sqlite3 *from = NULL, *to = NULL;
    bool well = sqlite3_open_v2(path, &from, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK ||
                problem(from, path, "cannot be opened", err);
    well = well &&
           (sqlite3_open_v2(beside, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK ||
            problem(to, beside, "cannot be made", err));
    if (well) {
        file_make_private(beside);
        sqlite3_busy_timeout(from, BUSY_MS);
        well = sqlite_copy_pages(from, to, beside, err) &&
               run(to, beside, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", err) &&
               is_sound(to, beside, err);
    }
    sqlite3_close(to);
    sqlite3_close(from);
    return well;
}

bool sqlite_backup(const char *path, const char *file, struct err *err)
{
    if (access(path, R_OK) != 0)
        return err_set(err, ERR_IO, errno == ENOENT ? "%s: there is no state yet: no such file" : "%s: %s",
                       path, strerror(errno));
    if (access(file, F_OK) == 0)
        return err_set(err, ERR_BUSY, "%s: there is a file already: name another, or take it away", file);
    char *beside = mem_printf("%s.%d.copying", file, (int)getpid()); /* two may be made at once */
    bool well = fill(path, beside, err) && file_sync(beside, err);
    if (well && rename(beside, file) != 0)
        well = err_set(err, ERR_IO, "%s: cannot be named %s: %s", beside, file, strerror(errno));
    well = well && file_sync_directory_of(file, err);
    if (!well)
        unlink(beside);
    free(beside);
    return well;
}
