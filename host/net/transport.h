/* transport.h: the transport seam. Send an HTTP request, get one completion; all that the host asks of
 * services over HTTP passes here, so that a test can stand in for them.
 *
 * A completion comes from the reactor, never from inside transport_send. */
#ifndef TIDEMILL_NET_TRANSPORT_H
#define TIDEMILL_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct transport;
struct transport_call;

struct transport_request {
    const char *method;
    const char *url;
    const char *const *headers; /* "Name: value", ends with NULL; copied */
    const char *body;           /* not copied: must stay until the completion */
    size_t body_size;
    int64_t timeout_ms;         /* of the whole exchange; must be > 0 */
    int64_t connect_timeout_ms; /* 0: what the whole has */
    size_t response_max;        /* a larger body is an error; 0: 64 MiB */
    bool direct;                /* never through a proxy: link-local endpoints */
    bool http2;                 /* where the server offers it */
    bool own;                   /* the host's own work, which waits for no handler's or target's calls */
    bool idempotent;            /* may be repeated on another connection when this one closed unanswered */
    bool status_decides; /* a status is an answer, whatever becomes of the body: it is cut at response_max */
    /* NULL, or until when its first byte may leave, on the clock that goes on while the machine sleeps; must
     * stay; see transport_fenced.h. */
    const _Atomic int64_t *fence;
};

struct transport_response {
    int status;
    struct buf headers; /* the header lines as they came, of the last response */
    struct buf body;    /* the receiver may take it: copy the struct and zero this one */
    int64_t queued_ms;  /* before it was sent: calls to one endpoint wait their turn */
};

/* `response` is NULL when none arrived, and `err` says why (ERR_NETWORK, ERR_TIMEOUT, ERR_LIMIT,
 * ERR_RESOURCES). Any HTTP status is a response. `timeout_ms` begins when the request's turn has come. */
typedef void transport_done_fn(void *user, struct transport_response *response, const struct err *err);

struct transport_ops {
    struct transport_call *(*send)(struct transport *, const struct transport_request *, transport_done_fn *,
                                   void *user);
    void (*cancel)(struct transport *, struct transport_call *);
    void (*free)(struct transport *);
};

struct transport {
    const struct transport_ops *ops;
};

static inline struct transport_call *transport_send(struct transport *transport,
                                                    const struct transport_request *request,
                                                    transport_done_fn *done, void *user)
{
    return transport->ops->send(transport, request, done, user);
}

/* The completion will not come. Not after it came. */
static inline void transport_cancel(struct transport *transport, struct transport_call *call)
{
    transport->ops->cancel(transport, call);
}

static inline void transport_free(struct transport *transport)
{
    if (transport)
        transport->ops->free(transport);
}

/* Does a request say how long its body is though it has none (RFC 9110, 8.6)? */
bool transport_wants_length(const char *method);

/* Is there a header of that name among a request's (NULL: it has none)? Case does not matter. */
bool transport_has_header(const char *const *headers, const char *name);

/* The value of a header, copied into `value` (cut to its size); false where there is none. Case of `name`
 * does not matter. */
bool transport_header(const struct transport_response *response, const char *name, char *value, size_t size);

#endif
