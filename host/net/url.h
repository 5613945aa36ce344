/* url.h: the parts of a URL, as libcurl will understand them. */
#ifndef TIDEMILL_NET_URL_H
#define TIDEMILL_NET_URL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* The host of an http or https URL, lower-case, to be freed. NULL and `err` for anything else, and for one
 * that carries a user's name. */
char *url_host(const char *url, struct err *err);

/* "https://example.com:443": where a URL leads, without what may be a secret in it; to be freed. Of what is
 * no URL, "?". */
char *url_origin(const char *url);

/* How many bytes of it stand before its path: scheme and authority; 0: there are none. */
size_t url_origin_size(const char *url);

/* Is `host` in the list, separated by spaces or commas? "*.example.com" stands for all names under it. */
bool url_host_listed(const char *host, const char *list);

/* Percent-encode what is neither a letter nor a digit nor in `kept`. RFC 3986's unreserved ones are "-_.~".
 */
#define URL_UNRESERVED "-_.~"
void url_encode(struct buf *out, const char *text, size_t size, const char *kept);

#endif
