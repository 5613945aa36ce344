/* transport_dry.c: see transport_dry.h. */
#include "net/transport_dry.h"

#include <stdlib.h>

#include "base/mem.h"

struct transport_call {
    struct task task;
    const char *body;
    transport_done_fn *done;
    void *user;
};

struct dry_transport {
    struct transport transport;
    struct reactor *reactor;
    transport_dry_fn *tell;
    void *user;
};

static void answer(void *user)
{
    struct transport_call call = *(struct transport_call *)user;
    struct transport_response response = {.status = 200};
    free(user);
    buf_add_text(&response.body, call.body);
    call.done(call.user, &response, NULL);
    buf_fini(&response.body);
}

static struct transport_call *dry_send(struct transport *transport, const struct transport_request *request,
                                       transport_done_fn *done, void *user)
{
    struct dry_transport *dry = list_entry(transport, struct dry_transport, transport);
    struct transport_call *call = mem_zero(sizeof *call);
    call->done = done;
    call->user = user;
    call->body = dry->tell(dry->user, request);
    call->body = call->body ? call->body : "{}";
    task_init(&call->task, answer, call);
    task_defer(dry->reactor, &call->task);
    return call;
}

static void dry_cancel(struct transport *transport, struct transport_call *call)
{
    (void)transport;
    task_cancel(&call->task);
    free(call);
}

static void dry_free(struct transport *transport)
{
    free(list_entry(transport, struct dry_transport, transport));
}

struct transport *transport_dry_new(struct reactor *reactor, transport_dry_fn *tell, void *user)
{
    static const struct transport_ops ops = {dry_send, dry_cancel, dry_free};
    struct dry_transport *dry = mem_zero(sizeof *dry);
    *dry = (struct dry_transport){.transport = {&ops}, .reactor = reactor, .tell = tell, .user = user};
    return &dry->transport;
}
