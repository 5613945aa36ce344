/* listener.h: HTTP/1.1 for whoever asks this process: libmicrohttpd, a thread for each connection. Serves the
 * embedded DynamoDB and what [host] listen shows; each has a listener of its own. */
#ifndef TIDEMILL_NET_LISTENER_H
#define TIDEMILL_NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct listener;

/* All valid during the call. */
struct listener_request {
    const char *method, *path; /* the path is unescaped, without its query */
    const char *query;         /* as it was sent, behind the ?; NULL: there is none */
    const char *body;          /* never NULL */
    size_t size;
    bool too_large; /* the body was, and is not there */
    void *connection;
};

/* NULL: the request has none of that name. */
const char *listener_header(const struct listener_request *request, const char *name);
const char *listener_query(const struct listener_request *request, const char *name);

/* Every header as it came, in its order. */
typedef void listener_header_fn(void *user, const char *name, const char *value);
void listener_each_header(const struct listener_request *request, listener_header_fn *each, void *user);

/* The address that it came from, without its port. */
#define LISTENER_REMOTE_SIZE 64
void listener_remote(const struct listener_request *request, char text[LISTENER_REMOTE_SIZE]);

/* Zero, to be filled. */
struct listener_reply {
    int status;
    const char *type; /* Content-Type; stays */
    struct buf body;
    struct {
        const char *name; /* stays */
        char value[256];
    } headers[4];     /* more of them, up to one without a name */
    struct buf lines; /* and more: "Name: value\n" each, well formed */
    bool cut;         /* close the connection instead of answering */
    /* Instead of `body`: what is added is sent, again and again, until it says false. On the connection's
     * thread; it comes back within a second or so, with nothing where there is nothing. `end`: it is called
     * no more. */
    bool (*next)(void *user, struct buf *out);
    void (*end)(void *user);
    void *user;
};

/* On a thread of the listener, several at once. May wait. */
typedef void listener_fn(void *user, const struct listener_request *request, struct listener_reply *reply);

/* Asked before the body is read: false, and a reply, when it is not wanted. Nothing of the body is there. */
typedef bool listener_admit_fn(void *user, const struct listener_request *request,
                               struct listener_reply *reply);

struct listener_options {
    const char *address; /* see base/address.h; port 0: one that is free */
    size_t body_bytes_max;
    unsigned connections_max, idle_s;
    const char *certificate, *key; /* PEM, of TLS; NULL: plain */
    bool local; /* for programs of this machine alone: what a web page sends, whatever name it has found for
                 * this address, is answered with 403 */
    const char *pages; /* but not that of pages from here, "https://a.example,http://b.example:3000", or from
                        * anywhere, "*"; NULL: none */
    listener_admit_fn *admit; /* or NULL: everything is */
    listener_fn *answer;
    void *user;
};

/* NULL and `err`; ERR_BUSY: somebody else listens there, and `err` says who. */
struct listener *listener_start(const struct listener_options *options, struct err *err);

int listener_port(const struct listener *listener);

/* Connections that come from now on get another certificate; those that are there keep theirs. False and
 * `err`: they get the one before. */
bool listener_renew(struct listener *listener, const char *certificate, const char *key, struct err *err);

/* Nobody is let in any more, and the address is free; what is connected goes on. listener_stop must follow.
 */
void listener_close(struct listener *listener);

/* Answers what it has begun, then ends: of `next` it waits for the call that runs. NULL is allowed. */
void listener_stop(struct listener *listener);

#endif
