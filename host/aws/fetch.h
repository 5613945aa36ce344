/* fetch.h: one plain HTTP exchange repeated a few times, for the places credentials come from. */
#ifndef TIDEMILL_AWS_FETCH_H
#define TIDEMILL_AWS_FETCH_H

#include "base/err.h"
#include "net/reactor.h"
#include "net/transport.h"

struct fetch;

struct fetch_request {
    const char *method;
    const char *url;
    const char *const *headers; /* ends with NULL */
    const char *body;           /* NULL: none */
    int64_t timeout_ms;         /* of one attempt */
    int attempts;
    bool direct; /* no proxy */
};

/* `body` is NUL-terminated and valid during the call; NULL and `err` when no answer came at all, after all
 * attempts. A status of 500 and more is repeated too. */
typedef void fetch_fn(void *user, int status, const char *body, size_t size, const struct err *err);

/* Copies the request. Frees itself after the completion. */
struct fetch *fetch_start(struct reactor *reactor, struct transport *transport,
                          const struct fetch_request *request, fetch_fn *done, void *user);
void fetch_cancel(struct fetch *fetch);

#endif
