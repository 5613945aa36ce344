/* transport_network.h: the transport that goes out over the network, and the poller of its reactor.
 *
 * Calls to one endpoint stand in a line; so many of them are out at once. The host's own calls stand in lines
 * of their own, so an endpoint that never answers a handler keeps neither another endpoint nor the host from
 * its work. A call's time begins when its turn has come.
 *
 * Two engines carry what is out: HTTP/1.1 of our own where that is all that is asked for, libcurl the rest
 * (HTTP/2, proxies, whatever is unusual in a URL or a header). Certificates and host names are always
 * verified. HTTPS_PROXY, http_proxy and NO_PROXY are obeyed as libcurl does. */
#ifndef TIDEMILL_NET_TRANSPORT_NETWORK_H
#define TIDEMILL_NET_TRANSPORT_NETWORK_H

#include "net/reactor.h"
#include "net/transport.h"

struct transport_network_options {
    long connections; /* calls at once to one endpoint; further ones wait their turn */
    long descriptors; /* calls at once to all of them but the host's own; 0: no such bound */
    /* What was given up must not be sent on by the kernel: sockets are reset, not closed, and what is not
     * acknowledged for so long is dropped. 0: as usual. */
    long abrupt_ms;
    const char *ca_bundle; /* a PEM file instead of the system's; NULL: the system's */
};

struct transport *transport_network_new(struct reactor *reactor,
                                        const struct transport_network_options *options);

#endif
