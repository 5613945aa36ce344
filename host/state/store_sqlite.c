/* store_sqlite.c: one connection per reactor, one transaction per turn.
 *
 * WAL with synchronous=NORMAL: a killed process loses nothing; a machine that loses power may lose the last
 * commits, in order, which repeats work and skips none. */
#include "state/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/sqlite_internal.h"

#define BUSY_MS 10000 /* another reactor's commit takes milliseconds */
#define RETRY_MS 1000

struct pending {
    struct pending *next;
    struct store_batch *batch;
    store_done_fn *done;
    store_load_fn *load;
    store_claim_fn *claim;
    char *handler, *key;      /* of a claim */
    struct store_query query; /* of a load; owned texts */
    int64_t now_ms, until_ms;
    void *user;
};

struct store_lock {
    int fd;
};

static struct store_sqlite *from_store(struct store *store)
{
    return (struct store_sqlite *)(void *)((char *)store - offsetof(struct store_sqlite, store));
}

/* All batches that wait for it, in one transaction; `until` is the first that is not a batch. */
static bool write_batches(struct store_sqlite *sqlite, const struct pending *until, struct err *err)
{
    if (!sqlite_run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    for (struct pending *pending = sqlite->first; pending != until; pending = pending->next)
        for (struct store_write *write = pending->batch->first; write; write = write->next)
            if (!sqlite_write(sqlite, write, err))
                goto failed;
    if (sqlite_run(sqlite, "COMMIT", err))
        return true;
failed:
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return false;
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
    free((char *)pending->query.handler);
    free((char *)pending->query.error);
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
    bool ok = sqlite_claim(sqlite, pending->handler, pending->key, pending->now_ms, pending->until_ms,
                           &claimed, &err);
    pending->claim(pending->user, claimed.claim, claimed.result ? claimed.result : "", claimed.expires_ms,
                   ok ? NULL : &err);
    free(claimed.result);
}

static void work_load(struct store_sqlite *sqlite, struct pending *pending)
{
    struct err err = {0};
    struct store_snapshot *snapshot = sqlite_read(sqlite, &pending->query, &err);
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

static void commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user)
{
    struct pending *pending = enqueue(from_store(store));
    pending->batch = batch;
    pending->done = done;
    pending->user = user;
}

static void load(struct store *store, const struct store_query *query, store_load_fn *done, void *user)
{
    struct pending *pending = enqueue(from_store(store));
    pending->query = *query;
    pending->query.handler = mem_string(query->handler);
    pending->query.error = mem_string(query->error);
    pending->load = done;
    pending->user = user;
}

static void enqueue_claim(struct store *store, const char *handler, const char *key, int64_t now_ms,
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

static void close_store(struct store *store)
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

struct store *store_sqlite_new(struct reactor *reactor, const struct store_sqlite_options *options,
                               struct err *err)
{
    static const struct store_ops ops = {commit, enqueue_claim, load, close_store};
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
        sqlite_problem(sqlite, "cannot open the state file", err);
    } else {
        sqlite3_busy_timeout(sqlite->db, BUSY_MS);
        if (!options->read_only)
            ok = sqlite_run(sqlite,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                            "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -512",
                            err);
        ok = ok && sqlite_open_schema(sqlite, options->read_only, err);
    }
    if (ok)
        return &sqlite->store;
    close_store(&sqlite->store);
    return NULL;
}

/* Two names of one file are one lock. To be freed. */
static char *lock_name(const char *path)
{
    char *real = realpath(path, NULL);
    char *name = mem_printf("%s.lock", real ? real : path);
    free(real);
    return name;
}

bool store_sqlite_in_use(const char *path)
{
    char *name = lock_name(path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    free(name);
    return locked;
}

struct store_lock *store_sqlite_lock(const char *path, struct err *err)
{
    char *name = lock_name(path);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    char pid[32] = "";
    if (fd < 0) {
        err_set(err, ERR_IO, "%s: cannot open: %s", name, strerror(errno));
    } else if (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
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
