/* transport_postgres.h: a transport that takes requests to postgres:// and postgresql:// URLs, and hands all
 * others on. libpq speaks; a few connections for each URL are kept and shared.
 *
 * A request's body is lists of words (net/resp.h). The first is { what, number }, each that follows a
 * statement: { SQL, parameter... }, nil for NULL. All of a request leave together. What:
 *   once      they are a transaction of their own
 *   begin     they begin a transaction, which has a connection to itself from here on
 *   in, end   they go on in the transaction with this number, or end it
 *   release   the transaction with this number is rolled back, where it is open still; no statements
 * The answer's body (its status is 200): what begins a transaction has its number first, a word; then comes
 * for each statement a list { count of rows, tag, { columns }, { their types' numbers }, row... }, or for the
 * first that failed, and last, { "error", field, value, ... }. Values are as PostgreSQL writes them as texts.
 * https://www.postgresql.org/docs/15/libpq-pipeline-mode.html
 *
 * What was sent, and not answered when the connection broke, may have been done. What nobody waits for any
 * more is cancelled there, and its connection closed. */
#ifndef TIDEMILL_NET_TRANSPORT_POSTGRES_H
#define TIDEMILL_NET_TRANSPORT_POSTGRES_H

#include "base/err.h"
#include "net/reactor.h"
#include "net/transport.h"

/* Takes `next`, whom all else is for. `ca_bundle`: a PEM file instead of the system's, or NULL; copied. */
struct transport *transport_postgres_new(struct reactor *reactor, struct transport *next,
                                         const char *ca_bundle);

/* False and `err`, which does not quote it: there may be a password in it. */
bool postgres_url_check(const char *url, struct err *err);

/* Its hosts, lower-case, with commas between them, owned; a socket's directory begins with '/'. */
char *postgres_url_hosts(const char *url);

#endif
