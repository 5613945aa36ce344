/* engine_http.h: HTTP/1.1 of our own, for what the host asks most and simplest: one request and its answer on
 * a kept connection, without a proxy, plain or TLS. Of all else libcurl knows more. A call costs the
 * processor about half of what it costs there. */
#ifndef TIDEMILL_NET_ENGINE_HTTP_H
#define TIDEMILL_NET_ENGINE_HTTP_H

#include "net/exchange.h"

struct http_origin; /* a scheme, a host, a port, and the connections to it */

struct engine_http_options {
    size_t idle_max;       /* connections kept while nobody uses them */
    long abrupt_ms;        /* see transport_network.h */
    const char *ca_bundle; /* likewise */
};

struct engine *engine_http_new(struct reactor *reactor, const struct engine_http_options *options);

/* Closes the connections that nobody uses: somebody needs a descriptor. */
void engine_http_make_room(struct engine *engine);

/* Where the URL leads; NULL: not for this engine. To be freed before the engine, after its exchanges. */
struct http_origin *http_origin_new(struct engine *engine, const char *url);
void http_origin_free(struct http_origin *origin); /* NULL is allowed */
bool http_origin_is_connected(const struct http_origin *origin);

/* Is it a request that this engine carries to the origin (which may be NULL)? Then `place` of its exchange is
 * to be the origin. */
bool http_origin_takes(const struct http_origin *origin, const struct transport_request *request);

#endif
