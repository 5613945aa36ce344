/* admin.h: what [host] listen shows: /metrics in Prometheus' text format or OpenMetrics', /healthz, /readyz.
 * Reads the board and nothing else: no request reaches a reactor.
 *
 * Where only this machine reaches the address, whoever asks may read; elsewhere they show `token`, but for
 * the two that say no more than that it is well. */
#ifndef TIDEMILL_ADMIN_ADMIN_H
#define TIDEMILL_ADMIN_ADMIN_H

#include "base/err.h"
#include "stats/board.h"

struct admin;

struct admin_options {
    const char *address; /* base/address.h */
    const char *token;   /* or NULL: nobody can show it */
    struct board *board;
};

/* All must stay. NULL and `err`; ERR_BUSY: somebody else listens there. */
struct admin *admin_start(const struct admin_options *options, struct err *err);
int admin_port(const struct admin *admin);
void admin_stop(struct admin *admin); /* NULL is allowed */

#endif
