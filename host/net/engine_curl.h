/* engine_curl.h: libcurl's multi interface as an engine, and the poller of its reactor. `place` of its
 * exchanges is not used. */
#ifndef TIDEMILL_NET_ENGINE_CURL_H
#define TIDEMILL_NET_ENGINE_CURL_H

#include "net/exchange.h"

struct engine_curl_options {
    long idle_max;         /* connections kept while nobody uses them */
    long abrupt_ms;        /* see transport_network.h */
    const char *ca_bundle; /* likewise */
};

struct engine *engine_curl_new(struct reactor *reactor, const struct engine_curl_options *options);

#endif
