/* stdout.c: a line for each message, on the standard output: for pipes and for trying things. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "deliver/target.h"

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    (void)err;
    return message->payload_size + 1;
}

/* Of a pipe or a terminal, a description of its own, which does not block: whoever shares it with us is not
 * changed. -1: there is none to be had, and then what blocks is asked first. */
static int open_again(void)
{
    struct stat status;
    if (fstat(STDOUT_FILENO, &status) != 0 || (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)))
        return -1;
    return open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* What is not written yet. */
struct output {
    struct buf lines;
    size_t written;
    struct watch *watch;
    int fd; /* -1: the one that the process was given */
};

static void cancel(struct request *request)
{
    struct output *output = request->own;
    watch_free(output->watch);
    if (output->fd >= 0)
        close(output->fd);
    buf_fini(&output->lines);
    free(output);
    request->own = NULL;
}

static void end(struct request *request, const struct err *err)
{
    cancel(request);
    request_answered(request, NULL, err);
}

static bool is_full(int fd)
{
    struct pollfd ask = {.fd = fd, .events = POLLOUT};
    return poll(&ask, 1, 0) == 0;
}

/* What a pipe takes whole, or not at all (pipe(7)): several threads may write, and lines should not mix. */
#define WRITE_BYTES_MAX 4096

/* So many whole lines as fit; a longer line alone, in parts. */
static size_t next_size(const struct output *output)
{
    const char *from = output->lines.data + output->written;
    size_t left = output->lines.size - output->written;
    size_t most = left < WRITE_BYTES_MAX ? left : WRITE_BYTES_MAX;
    const char *line_end = memrchr(from, '\n', most);
    return line_end ? (size_t)(line_end - from) + 1 : most;
}

/* As much as goes now. */
static void write_on(void *user)
{
    struct request *request = user;
    struct output *output = request->own;
    struct err err = {0};
    int fd = output->fd >= 0 ? output->fd : STDOUT_FILENO;
    bool must_ask = output->fd < 0;
    while (output->written < output->lines.size) {
        if (must_ask && is_full(fd))
            return;
        ssize_t written = write(fd, output->lines.data + output->written, next_size(output));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EAGAIN)
            return; /* the watch will tell */
        if (written < 0) {
            err_set(&err, ERR_IO, "standard output: %s", strerror(errno));
            end(request, &err);
            return;
        }
        output->written += (size_t)written;
    }
    end(request, NULL);
}

static void send(struct request *request)
{
    struct output *output = request->own = mem_zero(sizeof *output);
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        if (request->target->config->shown)
            buf_printf(&output->lines, "         -> %s  ", request->target->config->name);
        buf_add(&output->lines, message->payload, message->payload_size);
        buf_add_char(&output->lines, '\n');
    }
    output->fd = open_again();
    output->watch = reactor_watch(request->target->outbox->reactor,
                                  output->fd >= 0 ? output->fd : STDOUT_FILENO, POLLOUT, write_on, request);
}

const struct target_type target_stdout = {
    .name = "stdout",
    .pipelined = true,
    .open = batcher_open,
    .count_max = 1000,
    .bytes_max = 1 << 20,
    .bytes_most = 16 << 20,
    .linger_ms = 0,
    .in_flight = 1,
    .measure = measure,
    .send = send,
    .cancel = cancel,
};
