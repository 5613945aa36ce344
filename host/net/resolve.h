/* resolve.h: a host's addresses. Asking for them may take a while, so a thread of its own does it. */
#ifndef TIDEMILL_NET_RESOLVE_H
#define TIDEMILL_NET_RESOLVE_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"
#include "net/reactor.h"

#define ADDRESSES_MAX 16

struct address {
    socklen_t size;
    struct sockaddr_storage at;
};

/* In the order in which they are to be tried: IPv6 and IPv4 in turn (RFC 8305, section 4). A value. */
struct addresses {
    size_t count;
    struct address at[ADDRESSES_MAX];
};

struct resolution;

/* `addresses` is NULL when there are none, and `err` says why (ERR_NETWORK, ERR_RESOURCES). */
typedef void resolve_fn(void *user, const struct addresses *addresses, const struct err *err);

/* Never answers from inside of this call. `host`: a name, or an address; "localhost" and what ends with
 * ".localhost" is this machine and nobody is asked (RFC 6761, 6.3). */
struct resolution *resolve(struct reactor *reactor, const char *host, int port, resolve_fn *done, void *user);

/* The answer will not come. Not after it came. */
void resolve_cancel(struct resolution *resolution);

#endif
