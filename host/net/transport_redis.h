/* transport_redis.h: a transport that takes requests to redis:// and rediss:// URLs, and unix:// ones (a
 * server's socket on this machine), and hands all others on.
 *
 * A request's body is commands, and the answer's (whose status is 200) their replies, in the same order, as
 * the protocol writes both; a reply may be an error.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2). The commands of a request leave
 * together, with none of another between them, over one connection for each URL, which others share: none
 * that changes it, or waits, is to be among them (redis_command_fits). What was sent, and not answered when
 * the connection broke, may have been done.
 *
 * URL: redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], percent-encoded; unix:///PATH. */
#ifndef TIDEMILL_NET_TRANSPORT_REDIS_H
#define TIDEMILL_NET_TRANSPORT_REDIS_H

#include "base/err.h"
#include "net/reactor.h"
#include "net/transport.h"

/* Takes `next`, whom all else is for. `ca_bundle`: as in connection.h; copied. */
struct transport *transport_redis_new(struct reactor *reactor, struct transport *next, const char *ca_bundle);

/* False and `err`, which does not quote it: there may be a password in it. */
bool redis_url_check(const char *url, struct err *err);

/* Can a connection be shared by those who send it? */
bool redis_command_fits(const char *name);

/* Its host, lower-case, owned; NULL of a socket's. */
char *redis_url_host(const char *url);

#endif
