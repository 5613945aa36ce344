/* transport_fenced.c: see transport_fenced.h. */
#include "net/transport_fenced.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

struct transport_call {
    struct list link;
    struct fenced *fenced;
    struct transport_call *inner; /* NULL: it was refused */
    bool own;                     /* the host's, which nobody outside sees */
    struct task refuse;
    transport_done_fn *done;
    void *user;
};

struct fenced {
    struct transport transport;
    struct transport *inner;
    struct reactor *reactor;
    struct fence *fence;
    struct list calls; /* that are under way, but for the host's own */
    struct timer look;
};

static bool is_past(const struct fenced *fenced, int64_t *left_ms)
{
    *left_ms = fence_left_ms(fenced->fence, reactor_clock(fenced->reactor));
    return *left_ms <= 0;
}

static void end(struct transport_call *call, struct transport_response *response, const struct err *err)
{
    transport_done_fn *done = call->done;
    void *user = call->user;
    list_remove(&call->link);
    free(call);
    done(user, response, err);
}

static void refuse(struct transport_call *call, const char *what)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "%s: " FENCE_PASSED, what);
    end(call, NULL, &err);
}

static void on_refused(void *user)
{
    refuse(user, "nothing was sent");
}

static void note_unanswered(const struct transport_call *call)
{
    if (!call->own)
        fence_unanswered(call->fenced->fence, reactor_clock(call->fenced->reactor));
}

static void on_done(void *user, struct transport_response *response, const struct err *err)
{
    if (err)
        note_unanswered(user);
    end(user, response, err);
}

/* The fence moves on as long as all is well. */
static void look(void *user)
{
    struct fenced *fenced = user;
    int64_t left_ms;
    if (!is_past(fenced, &left_ms)) {
        if (!list_empty(&fenced->calls))
            timer_set(fenced->reactor, &fenced->look, left_ms);
        return;
    }
    for (struct list *link;
         (link = list_take_first(&fenced->calls));) { /* who is told may send again: in vain */
        struct transport_call *call = list_entry(link, struct transport_call, link);
        transport_cancel(fenced->inner, call->inner);
        note_unanswered(call);
        refuse(call, "given up");
    }
}

static struct transport_call *fenced_send(struct transport *transport,
                                          const struct transport_request *request, transport_done_fn *done,
                                          void *user)
{
    struct fenced *fenced = list_entry(transport, struct fenced, transport);
    struct transport_call *call = mem_zero(sizeof *call);
    int64_t left_ms;
    *call = (struct transport_call){.fenced = fenced, .own = request->own, .done = done, .user = user};
    list_init(&call->link);
    task_init(&call->refuse, on_refused, call);
    if (!request->own && is_past(fenced, &left_ms)) {
        task_defer(fenced->reactor, &call->refuse);
        return call;
    }
    if (!request->own) {
        list_append(&fenced->calls, &call->link);
        if (!timer_is_set(&fenced->look))
            timer_set(fenced->reactor, &fenced->look, left_ms);
    }
    struct transport_request inner = *request;
    inner.fence = request->own ? NULL : &fenced->fence->until_ms;
    call->inner = transport_send(fenced->inner, &inner, on_done, call);
    return call;
}

static void fenced_cancel(struct transport *transport, struct transport_call *call)
{
    struct fenced *fenced = list_entry(transport, struct fenced, transport);
    if (call->inner) {
        transport_cancel(fenced->inner, call->inner);
        note_unanswered(call);
    }
    task_cancel(&call->refuse);
    list_remove(&call->link);
    free(call);
}

static void fenced_free(struct transport *transport)
{
    struct fenced *fenced = list_entry(transport, struct fenced, transport);
    timer_stop(fenced->reactor, &fenced->look);
    transport_free(fenced->inner);
    free(fenced);
}

struct transport *transport_fenced_new(struct transport *transport, struct reactor *reactor,
                                       struct fence *fence)
{
    static const struct transport_ops ops = {fenced_send, fenced_cancel, fenced_free};
    struct fenced *fenced = mem_zero(sizeof *fenced);
    *fenced = (struct fenced){.transport = {&ops}, .inner = transport, .reactor = reactor, .fence = fence};
    list_init(&fenced->calls);
    timer_init(&fenced->look, look, fenced);
    return &fenced->transport;
}
