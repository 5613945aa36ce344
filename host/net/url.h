/* url.h: the parts of a URL, as libcurl will understand them. */
#ifndef TIDEMILL_NET_URL_H
#define TIDEMILL_NET_URL_H

#include <stdbool.h>

#include "base/err.h"

/* The host of an http or https URL, lower-case, to be freed. NULL and `err` for anything else, and for one
 * that carries a user's name. */
char *url_host(const char *url, struct err *err);

/* Is `host` in the list, separated by spaces or commas? "*.example.com" stands for all names under it. */
bool url_host_listed(const char *host, const char *list);

#endif
