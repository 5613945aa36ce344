/* process.c: a pipe for its output and a pidfd for its end, both watched. */
#include "aws/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define OUTPUT_BYTES_MAX (64u << 10)

extern char **environ;

struct process {
    struct reactor *reactor;
    pid_t pid;
    int out_fd, pid_fd;
    struct watch *out_watch, *end_watch;
    struct timer limit;
    struct buf output;
    process_fn *done;
    void *user;
};

static void process_free(struct process *process)
{
    timer_stop(process->reactor, &process->limit);
    watch_free(process->out_watch);
    watch_free(process->end_watch);
    close(process->out_fd);
    if (process->pid_fd >= 0)
        close(process->pid_fd);
    buf_fini_secret(&process->output);
    free(process);
}

static void take_output(struct process *process)
{
    char bytes[4096];
    ssize_t size;
    while ((size = read(process->out_fd, bytes, sizeof bytes)) > 0)
        if (process->output.size <= OUTPUT_BYTES_MAX)
            buf_add(&process->output, bytes, (size_t)size);
    if (size == 0) { /* closed: nothing more to watch */
        watch_free(process->out_watch);
        process->out_watch = NULL;
    }
}

static void finish(struct process *process, const struct err *err)
{
    process->done(process->user,
                  err                    ? NULL
                  : process->output.data ? process->output.data
                                         : "",
                  process->output.size, err);
    process_free(process);
}

static void on_output(void *user)
{
    take_output(user);
}

static void on_end(void *user)
{
    struct process *process = user;
    struct err err;
    int status = 0;
    if (waitpid(process->pid, &status, WNOHANG) != process->pid)
        return;
    if (process->out_watch)
        take_output(process);
    if (process->output.size > OUTPUT_BYTES_MAX)
        err_set(&err, ERR_LIMIT, "it printed more than %u bytes", OUTPUT_BYTES_MAX);
    else if (WIFSIGNALED(status))
        err_set(&err, ERR_IO, "it was ended by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        err_set(&err, ERR_IO, "it ended with status %d", WEXITSTATUS(status));
    else {
        finish(process, NULL);
        return;
    }
    finish(process, &err);
}

static void *reap(void *user)
{
    pid_t pid = *(pid_t *)user;
    free(user);
    waitpid(pid, NULL, 0);
    return NULL;
}

/* One that hangs in the kernel does not end at once: nobody waits for it here. */
static void kill_it(struct process *process)
{
    kill(process->pid, SIGKILL);
    if (waitpid(process->pid, NULL, WNOHANG) == process->pid)
        return;
    pid_t *pid = mem_alloc(sizeof *pid);
    pthread_t thread;
    *pid = process->pid;
    if (pthread_create(&thread, NULL, reap, pid) == 0)
        pthread_detach(thread);
    else
        free(pid);
}

static void on_limit(void *user)
{
    struct process *process = user;
    struct err err;
    kill_it(process);
    err_set(&err, ERR_TIMEOUT, "it did not end in time and was killed");
    finish(process, &err);
}

static bool spawn(struct process *process, const char *command, struct err *err)
{
    int ends[2];
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none); /* the host blocks signals; its children should not */
    posix_spawnattr_setsigmask(&attributes, &none);
    sigaddset(&none, SIGPIPE); /* which the host ignores */
    posix_spawnattr_setsigdefault(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int failed = posix_spawn(&process->pid, "/bin/sh", &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    process->out_fd = ends[0];
    if (failed) {
        close(ends[0]);
        return err_set(err, ERR_IO, "cannot start /bin/sh: %s", strerror(failed));
    }
    fcntl(process->out_fd, F_SETFL, O_NONBLOCK);
    process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (process->pid_fd < 0) {
        kill_it(process);
        close(ends[0]);
        return err_set(err, ERR_IO, "cannot watch a process: %s", strerror(errno));
    }
    return true;
}

struct process *process_start(struct reactor *reactor, const char *command, int64_t timeout_ms,
                              process_fn *done, void *user, struct err *err)
{
    struct process *process = mem_zero(sizeof *process);
    process->reactor = reactor;
    process->done = done;
    process->user = user;
    if (!spawn(process, command, err)) {
        free(process);
        return NULL;
    }
    process->out_watch = reactor_watch(reactor, process->out_fd, POLLIN, on_output, process);
    process->end_watch = reactor_watch(reactor, process->pid_fd, POLLIN, on_end, process);
    timer_init(&process->limit, on_limit, process);
    timer_set(reactor, &process->limit, timeout_ms);
    return process;
}

void process_cancel(struct process *process)
{
    if (!process)
        return;
    kill_it(process);
    process_free(process);
}
