/* store_sqlite.c: one connection per reactor, with a thread of its own, so that neither a lock of another
 * process nor a slow disk holds the reactor up; a simulation, which has one thread only, asks for none.
 *
 * WAL with synchronous=NORMAL: a killed process loses nothing; a machine that loses power may lose the last
 * commits, in order, which repeats work and skips none. */
#include "state/sqlite/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "state/sqlite/sqlite_internal.h"

#define BUSY_MS 10000 /* another reactor's commit takes milliseconds */
#define BUSY_STEP_MS 5
#define RETRY_MS 1000
#define TELL_EVERY_MS 10000 /* the log hears of a disk that says no */
#define CLOSE_SECONDS_MAX 5

struct pending {
    struct pending *next;
    struct store_batch *batch;
    store_done_fn *done;
    store_load_fn *load;
    store_claim_fn *claim;
    struct store_claim wanted; /* of a claim; owned texts */
    struct store_query query;  /* of a load; likewise */
    void *user;
    /* what came of it */
    struct store_snapshot *snapshot;
    struct claimed claimed;
    struct err err; /* of a load */
};

struct file_lock {
    struct store_lock lock; /* the first: one is the other */
    int fd;
};

static struct store_sqlite *from_store(struct store *store)
{
    return (struct store_sqlite *)(void *)((char *)store - offsetof(struct store_sqlite, store));
}

/* ---- the work: by the store's thread, or by its task on the reactor ---- */

/* All batches from `first` to `last` in one transaction. */
static bool write_batches(struct store_sqlite *sqlite, const struct pending *first,
                          const struct pending *last, struct err *err)
{
    if (!sqlite_run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    for (const struct pending *pending = first;; pending = pending->next) {
        for (struct store_write *write = pending->batch->first; write; write = write->next)
            if (!sqlite_write(sqlite, write, err))
                goto failed;
        if (pending == last)
            break;
    }
    if (sqlite_run(sqlite, "COMMIT", err))
        return true;
failed:
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

/* What is done together begins with `first`, and ends here: all batches in a row, or one of the others. */
static struct pending *group_last(struct pending *first)
{
    struct pending *last = first;
    while (first->batch && last->next && last->next->batch)
        last = last->next;
    return last;
}

/* False: it cannot be written now, and is to be tried again. */
static bool perform(struct store_sqlite *sqlite, struct pending *first, const struct pending *last,
                    struct err *err)
{
    if (first->batch)
        return write_batches(sqlite, first, last, err);
    if (first->claim)
        return sqlite_claim(sqlite, &first->wanted, &first->claimed, err);
    first->snapshot = sqlite_read(sqlite, &first->query, &first->err);
    return true;
}

static void tell_failure(struct store_sqlite *sqlite, const struct err *err)
{
    int64_t now_ms = clock_monotonic_ms(reactor_clock(sqlite->reactor));
    if (sqlite->failing && now_ms - sqlite->told_ms < TELL_EVERY_MS)
        return;
    log_error(sqlite->log, "state", "%s; nothing is lost, trying again", err->text);
    sqlite->failing = true;
    sqlite->told_ms = now_ms;
}

static void tell_success(struct store_sqlite *sqlite)
{
    if (sqlite->failing)
        log_info(sqlite->log, "state", "%s can be written again", sqlite->path);
    sqlite->failing = false;
}

/* ---- the queue ---- */

static void pending_free(struct pending *pending)
{
    store_batch_free(pending->batch);
    free((char *)pending->wanted.handler);
    free((char *)pending->wanted.key);
    free((char *)pending->wanted.owner);
    free((char *)pending->query.handler);
    free((char *)pending->query.error);
    free(pending->claimed.result);
    free(pending);
}

static void tell(struct pending *pending)
{
    const struct claimed *claimed = &pending->claimed;
    if (pending->claim)
        pending->claim(pending->user, claimed->claim, claimed->result ? claimed->result : "",
                       claimed->expires_ms, NULL);
    else if (pending->load)
        pending->load(pending->user, pending->snapshot, pending->snapshot ? NULL : &pending->err);
    else if (pending->done)
        pending->done(pending->user, NULL);
}

static void tell_all(struct pending *pending)
{
    for (struct pending *next; pending; pending = next) {
        next = pending->next;
        tell(pending);
        pending_free(pending);
    }
}

/* Out of the queue, up to `last`: a list that ends there. What came meanwhile stays. */
static struct pending *take_group(struct store_sqlite *sqlite, struct pending *last)
{
    struct pending *group = sqlite->first;
    sqlite->first = last->next;
    last->next = NULL;
    if (!sqlite->first)
        sqlite->end = &sqlite->first;
    return group;
}

/* In a task: what was there by now. Whoever is told may put something new at the end. */
static void work(void *user)
{
    struct store_sqlite *sqlite = user;
    struct pending *last = NULL;
    for (struct pending *pending = sqlite->first; pending; pending = pending->next)
        last = pending;
    for (bool more = last != NULL; more && sqlite->first;) {
        struct pending *group = group_last(sqlite->first);
        struct err err = {0};
        if (!perform(sqlite, sqlite->first, group, &err)) {
            tell_failure(sqlite, &err);
            timer_set(sqlite->reactor, &sqlite->retry, RETRY_MS);
            return;
        }
        if (!sqlite->first->load)
            tell_success(sqlite);
        for (struct pending *pending = sqlite->first; pending != group->next; pending = pending->next)
            more = more && pending != last;
        tell_all(take_group(sqlite, group));
    }
    if (sqlite->first)
        task_defer(sqlite->reactor, &sqlite->work);
}

/* ---- the thread ---- */

static void wait_a_while(struct store_sqlite *sqlite, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!sqlite->closing && pthread_cond_timedwait(&sqlite->changed, &sqlite->lock, &until) == 0)
        ; /* new work does not make the disk any better */
}

/* Done: the reactor tells, from its own thread. */
static void hand_over(struct store_sqlite *sqlite, struct pending *group)
{
    uint64_t one = 1;
    *sqlite->done_end = group;
    while (*sqlite->done_end)
        sqlite->done_end = &(*sqlite->done_end)->next;
    if (write(sqlite->done_fd, &one, sizeof one) < 0)
        return; /* the counter is full: the reactor will come */
}

static void *run(void *user)
{
    struct store_sqlite *sqlite = user;
    pthread_mutex_lock(&sqlite->lock);
    while (!sqlite->closing) {
        struct pending *first = sqlite->first, *last = first ? group_last(first) : NULL;
        struct err err = {0};
        if (!first) {
            pthread_cond_wait(&sqlite->changed, &sqlite->lock);
            continue;
        }
        pthread_mutex_unlock(&sqlite->lock); /* others only add behind this group */
        bool ok = perform(sqlite, first, last, &err), load = first->load != NULL;
        if (ok && !load)
            tell_success(sqlite);
        pthread_mutex_lock(&sqlite->lock);
        if (ok) {
            hand_over(sqlite, take_group(sqlite, last));
        } else if (!sqlite->closing) {
            tell_failure(sqlite, &err);
            wait_a_while(sqlite, RETRY_MS);
        }
    }
    sqlite->ended = true;
    pthread_cond_broadcast(&sqlite->changed);
    pthread_mutex_unlock(&sqlite->lock);
    return NULL;
}

static void on_done(void *user)
{
    struct store_sqlite *sqlite = user;
    uint64_t times;
    if (read(sqlite->done_fd, &times, sizeof times) < 0)
        return; /* told already */
    pthread_mutex_lock(&sqlite->lock);
    struct pending *group = sqlite->done;
    sqlite->done = NULL;
    sqlite->done_end = &sqlite->done;
    pthread_mutex_unlock(&sqlite->lock);
    tell_all(group);
}

/* Another connection has the file: waited for, unless we are asked to end. */
static int on_busy(void *user, int times)
{
    struct store_sqlite *sqlite = user;
    pthread_mutex_lock(&sqlite->lock);
    bool closing = sqlite->closing;
    pthread_mutex_unlock(&sqlite->lock);
    if (closing || times >= BUSY_MS / BUSY_STEP_MS)
        return 0;
    usleep(BUSY_STEP_MS * 1000);
    return 1;
}

static bool start_thread(struct store_sqlite *sqlite, struct err *err)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&sqlite->lock, NULL);
    pthread_cond_init(&sqlite->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sqlite->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sqlite->done_fd < 0)
        return err_set(err, ERR_IO, "state store: %s", strerror(errno));
    sqlite3_busy_handler(sqlite->db, on_busy, sqlite);
    sqlite->watch = reactor_watch(sqlite->reactor, sqlite->done_fd, POLLIN, on_done, sqlite);
    sigfillset(&all); /* signals are for the thread that waits for them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sqlite->threaded = pthread_create(&sqlite->thread, NULL, run, sqlite) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sqlite->threaded || err_set(err, ERR_IO, "state store: no thread: %s", strerror(errno));
}

/* False: it hangs in the file system, and what it has in hand must stay. */
static bool stop_thread(struct store_sqlite *sqlite)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CLOSE_SECONDS_MAX;
    pthread_mutex_lock(&sqlite->lock);
    sqlite->closing = true;
    pthread_cond_broadcast(&sqlite->changed);
    sqlite3_interrupt(sqlite->db);
    while (!sqlite->ended && pthread_cond_timedwait(&sqlite->changed, &sqlite->lock, &until) == 0)
        ;
    bool ended = sqlite->ended;
    pthread_mutex_unlock(&sqlite->lock);
    if (ended)
        pthread_join(sqlite->thread, NULL);
    else
        pthread_detach(sqlite->thread);
    return ended;
}

/* ---- the seam ---- */

static void enqueue(struct store_sqlite *sqlite, struct pending *pending)
{
    if (sqlite->threaded)
        pthread_mutex_lock(&sqlite->lock);
    *sqlite->end = pending;
    sqlite->end = &pending->next;
    if (sqlite->threaded) {
        pthread_cond_signal(&sqlite->changed);
        pthread_mutex_unlock(&sqlite->lock);
    } else if (!timer_is_set(&sqlite->retry)) {
        task_defer(sqlite->reactor, &sqlite->work);
    }
}

static void commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user)
{
    struct pending *pending = mem_zero(sizeof *pending);
    pending->batch = batch;
    pending->done = done;
    pending->user = user;
    enqueue(from_store(store), pending);
}

/* In one transaction with whatever waits beside it. */
static void note(struct store *store, struct store_batch *batch)
{
    commit(store, batch, NULL, NULL);
}

static void load(struct store *store, const struct store_query *query, store_load_fn *done, void *user)
{
    struct pending *pending = mem_zero(sizeof *pending);
    pending->query = *query;
    pending->query.handler = mem_string(query->handler);
    pending->query.error = mem_string(query->error);
    pending->load = done;
    pending->user = user;
    enqueue(from_store(store), pending);
}

static void claim(struct store *store, const struct store_claim *wanted, store_claim_fn *done, void *user)
{
    struct pending *pending = mem_zero(sizeof *pending);
    pending->claim = done;
    pending->wanted = *wanted;
    pending->wanted.handler = mem_string(wanted->handler);
    pending->wanted.key = mem_string(wanted->key);
    pending->wanted.owner = mem_string(wanted->owner ? wanted->owner : "");
    pending->user = user;
    enqueue(from_store(store), pending);
}

static void cancel_all(struct pending *pending)
{
    struct err cancelled;
    err_set(&cancelled, ERR_CANCELLED, "the state store was closed");
    for (struct pending *next; pending; pending = next) {
        next = pending->next;
        if (pending->claim)
            pending->claim(pending->user, CLAIM_BUSY, "", 0, &cancelled);
        else if (pending->load)
            pending->load(pending->user, NULL, &cancelled);
        else if (pending->done)
            pending->done(pending->user, &cancelled);
        store_snapshot_free(pending->snapshot);
        pending_free(pending);
    }
}

static struct pending *take_all(struct store_sqlite *sqlite)
{
    struct pending *all = sqlite->done;
    *sqlite->done_end = sqlite->first;
    if (!all)
        all = sqlite->first;
    sqlite->first = sqlite->done = NULL;
    sqlite->end = &sqlite->first;
    sqlite->done_end = &sqlite->done;
    return all;
}

static void close_store(struct store *store)
{
    struct store_sqlite *sqlite = from_store(store);
    bool hangs = sqlite->threaded && !stop_thread(sqlite);
    watch_free(sqlite->watch);
    if (hangs) {
        log_error(sqlite->log, "state",
                  "%s: the file system does not answer; what was not written is "
                  "repeated by the next host",
                  sqlite->path);
        return; /* its thread still uses all of this */
    }
    sqlite->threaded = false;
    for (struct pending *all; (all = take_all(sqlite));)
        cancel_all(all); /* which may ask for more */
    task_cancel(&sqlite->work);
    timer_stop(sqlite->reactor, &sqlite->retry);
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(sqlite->prepared[i]);
    sqlite3_close(sqlite->db);
    if (sqlite->done_fd >= 0)
        close(sqlite->done_fd);
    free(sqlite->path);
    free(sqlite->group);
    free(sqlite);
}

/* ---- opening ---- */

/* Records are nobody's business but the owner's. What SQLite makes beside the file has its mode. */
static void make_private(const char *path)
{
    char *beside[] = {mem_printf("%s-wal", path), mem_printf("%s-shm", path)};
    file_make_private(path); /* where it cannot be, SQLite says why */
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        if (access(beside[i], F_OK) == 0)
            file_make_private(beside[i]);
        free(beside[i]);
    }
}

static bool in_use(const char *path);

/* Whom the file belongs to is the usual reason why it cannot be used. */
static bool cannot_open(struct store_sqlite *sqlite, bool read_only, struct err *err)
{
    struct stat status;
    const struct passwd *owner;
    sqlite_problem(sqlite, "cannot open the state file", err);
    if (access(sqlite->path, read_only ? R_OK : R_OK | W_OK) == 0 || errno != EACCES ||
        stat(sqlite->path, &status) != 0)
        return false;
    owner = getpwuid(status.st_uid);
    return err_set(err, ERR_IO, "%s: it belongs to %s, and this process (user %d) may not %s it%s",
                   sqlite->path, owner ? owner->pw_name : "another user", (int)geteuid(),
                   read_only ? "read" : "write",
                   read_only ? "; who may is let in by its group's right to read (chmod g+r)"
                             : ": was it once started as another user?");
}

/* SQLite reads a WAL's file only where it may write its index, or somebody has done so. Where nobody works on
 * the file, and nothing stands in the WAL, it is read as it is. */
static bool open_as_it_is(struct store_sqlite *sqlite)
{
    char *wal = mem_printf("%s-wal", sqlite->path);
    struct stat status;
    bool quiet = (stat(wal, &status) != 0 || status.st_size == 0) && !in_use(sqlite->path);
    free(wal);
    if (!quiet)
        return false;
    struct buf uri = BUF_INIT;
    char *whole = realpath(sqlite->path, NULL);
    buf_add_text(&uri, "file:");
    for (const char *at = whole ? whole : sqlite->path; *at; at++) {
        if (strchr("?#%", *at))
            buf_printf(&uri, "%%%02X", (unsigned char)*at);
        else
            buf_add_char(&uri, *at);
    }
    buf_add_text(&uri, "?immutable=1");
    sqlite3_close(sqlite->db);
    sqlite->db = NULL;
    bool ok =
        sqlite3_open_v2(uri.data, &sqlite->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                        NULL) == SQLITE_OK;
    buf_fini(&uri);
    free(whole);
    return ok;
}

static bool open_database(struct store_sqlite *sqlite, const char *path, const struct store_options *options,
                          struct err *err)
{
    int flags = options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &sqlite->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return cannot_open(sqlite, options->read_only, err);
    sqlite3_busy_timeout(sqlite->db, BUSY_MS);
    if (options->read_only &&
        sqlite3_exec(sqlite->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) != SQLITE_OK &&
        !open_as_it_is(sqlite))
        return cannot_open(sqlite, true, err);
    if (options->read_only)
        return true;
    return (sqlite3_db_readonly(sqlite->db, "main") == 0 || cannot_open(sqlite, false, err)) &&
           sqlite_run(sqlite,
                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                      "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -512; "
                      "PRAGMA temp_store = MEMORY", /* elsewhere it may not write (base/rights.h) */
                      err);
}

static struct store *open_store(struct reactor *reactor, const char *path,
                                const struct store_options *options, struct err *err)
{
    if (options->must_exist && access(path, R_OK) != 0) {
        err_set(err, ERR_IO, errno == ENOENT ? "%s: there is no state yet: no such file" : "%s: %s", path,
                strerror(errno));
        return NULL;
    }
    if (options->passing)
        path = ":memory:";
    static const struct store_ops ops = {commit, note, claim, load, close_store};
    struct store_sqlite *sqlite = mem_zero(sizeof *sqlite);
    sqlite->store.ops = &ops;
    sqlite->reactor = reactor;
    sqlite->log = options->log;
    sqlite->path = mem_string(path);
    sqlite->group = mem_string(options->group);
    sqlite->end = &sqlite->first;
    sqlite->done_end = &sqlite->done;
    sqlite->done_fd = -1;
    task_init(&sqlite->work, work, sqlite);
    timer_init(&sqlite->retry, work, sqlite);
    if (!options->read_only && !options->passing)
        make_private(path);
    bool ok = open_database(sqlite, path, options, err) && sqlite_open_schema(sqlite, options, err);
    if (ok && options->commit_fails)
        sqlite3_commit_hook(sqlite->db, options->commit_fails, options->user);
    if (ok && (!options->threaded || start_thread(sqlite, err)))
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

static bool in_use(const char *path)
{
    char *name = lock_name(path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    bool locked = fd >= 0 ? fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK
                          : errno == EACCES; /* whoever cannot know does not say that nobody does */
    if (fd >= 0)
        close(fd);
    free(name);
    return locked;
}

static struct store_lock *lock_file(const char *path, struct err *err)
{
    char *name = lock_name(path);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    file_make_private(name);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int reason = errno;
    struct stat state;
    char pid[32] = "";
    if (fd >= 0 && stat(path, &state) == 0 && (state.st_mode & 0077) == S_IRGRP)
        fchmod(fd, 0640); /* who may read the state may see that it is in use */
    if (fd < 0) {
        err_set(err, ERR_IO, "%s: cannot open: %s%s", name, strerror(reason),
                reason == EACCES
                    ? ": was the host once started as another user? `state` says where it is kept"
                : reason == EROFS ? ": `state` says where it is kept"
                                  : "");
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
    struct file_lock *held = mem_alloc(sizeof *held);
    held->lock.kind = &store_sqlite_kind;
    held->fd = fd;
    return &held->lock;
}

static void unlock_file(struct store_lock *lock)
{
    struct file_lock *held = (struct file_lock *)lock;
    close(held->fd);
    free(held);
}

const struct store_kind store_sqlite_kind = {
    .place = {.scheme = "sqlite",
              .form = "sqlite:PATH",
              .standard = "tidemill.db",
              .is_path = true,
              .checkpoint_interval_ms = 1000},
    .open = open_store,
    .lock = lock_file,
    .unlock = unlock_file,
    .in_use = in_use,
    .copy = &store_sqlite_copy,
    .backup = sqlite_backup,
};
