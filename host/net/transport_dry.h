/* transport_dry.h: a transport that sends nothing: it tells what would have been sent and answers 200. */
#ifndef TIDEMILL_NET_TRANSPORT_DRY_H
#define TIDEMILL_NET_TRANSPORT_DRY_H

#include "net/reactor.h"
#include "net/transport.h"

/* Returns the answer's body, which must stay; NULL: "{}". */
typedef const char *transport_dry_fn(void *user, const struct transport_request *request);

struct transport *transport_dry_new(struct reactor *reactor, transport_dry_fn *tell, void *user);

#endif
