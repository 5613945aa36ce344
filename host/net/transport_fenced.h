/* transport_fenced.h: a transport that sends only while it may: calls of handlers and targets, not the host's
 * own, begin before the fence or not at all, and those that have not ended by then are cancelled.
 *
 * For a host that shares its shards with others: who cannot tell that they are still his must not act. */
#ifndef TIDEMILL_NET_TRANSPORT_FENCED_H
#define TIDEMILL_NET_TRANSPORT_FENCED_H

#include "net/fence.h"
#include "net/reactor.h"
#include "net/transport.h"

/* Takes the transport. `fence` must stay; what ends without an answer is noted there. */
struct transport *transport_fenced_new(struct transport *transport, struct reactor *reactor,
                                       struct fence *fence);

#endif
