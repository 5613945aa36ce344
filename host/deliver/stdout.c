/* stdout.c: a line for each message, on the standard output: for pipes and for trying things. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "deliver/target.h"

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    (void)err;
    return message->payload_size + 1;
}

/* Several threads may write: a request is one write where the system takes it whole. */
static bool write_all(const struct buf *text, struct err *err)
{
    for (size_t at = 0; at < text->size;) {
        ssize_t written = write(STDOUT_FILENO, text->data + at, text->size - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return err_set(err, ERR_IO, "standard output: %s", strerror(errno));
        at += (size_t)written;
    }
    return true;
}

static void send(struct request *request)
{
    struct err err = {0};
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        if (request->target->config->shown)
            buf_printf(&request->body, "         -> %s  ", request->target->config->name);
        buf_add(&request->body, message->payload, message->payload_size);
        buf_add_char(&request->body, '\n');
    }
    bool ok = write_all(&request->body, &err);
    request_answered(request, NULL, ok ? NULL : &err);
}

static void read_nothing(struct request *request, struct transport_response *response)
{
    (void)request;
    (void)response;
}

const struct batch_kind kind_stdout = {
    .count_max = 1000,
    .bytes_max = 1 << 20,
    .bytes_most = 16 << 20,
    .linger_ms = 0,
    .in_flight = 1,
    .measure = measure,
    .send = send,
    .read = read_nothing,
};
