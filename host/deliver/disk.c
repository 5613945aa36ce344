/* disk.c: see disk.h. */
#include "deliver/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"
#include "base/mem.h"

struct disk {
    struct reactor *reactor;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list jobs;    /* to be written */
    struct list waiting; /* on the reactor: all that have not been told of */
    bool ending, ended;
};

#define END_SECONDS_MAX 5

struct job {
    struct list link;       /* in `jobs`: under the lock */
    struct list of_reactor; /* in `waiting` */
    struct disk *disk;
    char *path;
    struct buf bytes;
    struct err err;
    disk_fn *done;
    void *user;
    bool look; /* only whether it is there */
};

static void job_free(void *user)
{
    struct job *job = user;
    free(job->path);
    buf_fini(&job->bytes);
    free(job);
}

static bool failed(struct err *err, const char *path)
{
    return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
}

/* ---- on the thread ---- */

static bool write_bytes(int fd, const struct buf *bytes)
{
    for (size_t at = 0; at < bytes->size;) {
        ssize_t written = write(fd, bytes->data + at, bytes->size - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        at += (size_t)written;
    }
    return fsync(fd) == 0;
}

static bool write_part(const char *part, const struct buf *bytes, struct err *err)
{
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, part);
    bool ok = write_bytes(fd, bytes) || failed(err, part);
    if (close(fd) != 0 && ok)
        ok = failed(err, part);
    if (!ok)
        unlink(part);
    return ok;
}

static bool write_file(const struct job *job, struct err *err)
{
    char *path = mem_string(job->path), *slash = strrchr(path, '/');
    char *directory = slash ? mem_copy(path, (size_t)(slash - path)) : mem_string(".");
    char *part = mem_printf("%s/.%s.part", directory, slash ? slash + 1 : path);
    bool ok = file_make_directories(path, err) && write_part(part, &job->bytes, err) &&
              (rename(part, job->path) == 0 || failed(err, job->path)) &&
              file_sync_directory(*directory ? directory : "/", err);
    free(part);
    free(directory);
    free(path);
    return ok;
}

static void look_for(struct job *job)
{
    if (access(job->path, F_OK) != 0)
        failed(&job->err, job->path);
}

static void on_written(void *user)
{
    struct job *job = user;
    disk_fn *done = job->done;
    struct err err = job->err;
    list_remove(&job->of_reactor);
    void *of = job->user;
    job_free(job);
    done(of, err.code ? &err : NULL);
}

/* The disk has gone; so has who asked. */
static void on_dropped(void *user)
{
    job_free(user);
}

static void *run(void *user)
{
    struct disk *disk = user;
    pthread_mutex_lock(&disk->lock);
    while (!disk->ending) {
        if (list_empty(&disk->jobs)) {
            pthread_cond_wait(&disk->changed, &disk->lock);
            continue;
        }
        struct job *job = list_entry(disk->jobs.next, struct job, link);
        list_remove(&job->link);
        pthread_mutex_unlock(&disk->lock);
        if (job->look)
            look_for(job);
        else
            write_file(job, &job->err);
        reactor_post_owned(disk->reactor, on_written, on_dropped, job);
        pthread_mutex_lock(&disk->lock);
    }
    disk->ended = true;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    return NULL;
}

/* ---- on the reactor ---- */

static void nobody(void *user, const struct err *err)
{
    (void)user;
    (void)err;
}

struct disk *disk_new(struct reactor *reactor)
{
    struct disk *disk = mem_zero(sizeof *disk);
    disk->reactor = reactor;
    list_init(&disk->jobs);
    list_init(&disk->waiting);
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->changed, NULL);
    if (pthread_create(&disk->thread, NULL, run, disk) != 0)
        abort();
    return disk;
}

void disk_free(struct disk *disk)
{
    struct job *job;
    if (!disk)
        return;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_SECONDS_MAX;
    pthread_mutex_lock(&disk->lock);
    disk->ending = true;
    pthread_cond_signal(&disk->changed);
    while (!disk->ended && pthread_cond_timedwait(&disk->changed, &disk->lock, &until) == 0)
        ;
    bool ended = disk->ended;
    pthread_mutex_unlock(&disk->lock);
    if (!ended) { /* it hangs in the file system, and still uses all of this */
        pthread_detach(disk->thread);
        return;
    }
    pthread_join(disk->thread, NULL);
    list_each(job, &disk->jobs, struct job, link) {
        list_remove(&job->of_reactor);
        job_free(job);
    }
    /* These were written, and their completions are under way. */
    list_each(job, &disk->waiting, struct job, of_reactor) {
        job->done = nobody;
        list_remove(&job->of_reactor);
    }
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

static void add_job(struct disk *disk, struct job job)
{
    struct job *own = mem_alloc(sizeof *own);
    *own = job;
    own->disk = disk;
    list_init(&own->link);
    list_init(&own->of_reactor);
    list_append(&disk->waiting, &own->of_reactor);
    pthread_mutex_lock(&disk->lock);
    list_append(&disk->jobs, &own->link);
    pthread_cond_signal(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

void disk_write(struct disk *disk, const char *path, struct buf *bytes, disk_fn *done, void *user)
{
    add_job(disk, (struct job){.path = mem_string(path), .bytes = *bytes, .done = done, .user = user});
    *bytes = BUF_INIT;
}

void disk_look(struct disk *disk, const char *path, disk_fn *done, void *user)
{
    add_job(disk, (struct job){.path = mem_string(path), .done = done, .user = user, .look = true});
}
