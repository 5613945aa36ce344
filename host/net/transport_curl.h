/* transport_curl.h: the transport that goes out over the network, and the poller of its reactor.
 *
 * Certificates and host names are always verified. HTTPS_PROXY, http_proxy and NO_PROXY are obeyed as
 * libcurl does. */
#ifndef TIDEMILL_NET_TRANSPORT_CURL_H
#define TIDEMILL_NET_TRANSPORT_CURL_H

#include "net/reactor.h"
#include "net/transport.h"

struct transport_curl_options {
    long connections; /* calls at once to one endpoint; further ones wait their turn */
    long descriptors; /* calls at once to all of them but the host's own; 0: no such bound */
    /* What was given up must not be sent on by the kernel: sockets are reset, not closed, and what is not
     * acknowledged for so long is dropped. 0: as usual. */
    long abrupt_ms;
    const char *ca_bundle; /* a PEM file instead of the system's; NULL: the system's */
};

struct transport *transport_curl_new(struct reactor *reactor, const struct transport_curl_options *options);

#endif
