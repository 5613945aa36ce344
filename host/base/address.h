/* address.h: where to listen, as an operator writes it: "127.0.0.1:9464", "localhost:9464", "[::1]:9464", and
 * ":9464" for all of IPv4. */
#ifndef TIDEMILL_BASE_ADDRESS_H
#define TIDEMILL_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>

#include "base/err.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* False and `err` (ERR_CONFIG) when it is not well formed. */
bool address_read(const char *text, union address *address, struct err *err);

/* Can it be reached from this machine only? */
bool address_is_loopback(const union address *address);

#endif
