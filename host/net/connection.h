/* connection.h: a connection, TCP, TLS or a Unix socket, for protocols that are not HTTP.
 *
 * Connecting may take a while (names, handshakes), so a thread of its own does it; all else is on the
 * reactor, and no callback comes from inside a call of these. */
#ifndef TIDEMILL_NET_CONNECTION_H
#define TIDEMILL_NET_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/reactor.h"

struct connection;

struct connection_events {
    void (*connected)(void *user);
    /* What has come; all of it is to be taken. */
    void (*received)(void *user, const char *bytes, size_t size);
    /* It could not be made, broke, or was closed from there: nothing comes any more, and connection_close is
     * still to be called, from here or later. */
    void (*ended)(void *user, const struct err *err);
};

struct connection_options {
    const char *host; /* a name or an address; or ... */
    const char *path; /* ... of a Unix socket */
    int port;
    bool tls;              /* verified, by the host's name */
    const char *ca_bundle; /* a PEM file instead of the system's; NULL: the system's */
    int64_t timeout_ms;    /* of connecting */
};

struct connection *connection_open(struct reactor *reactor, const struct connection_options *options,
                                   const struct connection_events *events, void *user);

/* Once it is connected. What cannot leave at once is kept until it can. */
void connection_send(struct connection *connection, const char *bytes, size_t size);

/* Is there something that has not left yet? */
bool connection_is_behind(const struct connection *connection);

void connection_close(struct connection *connection); /* NULL is allowed */

#endif
