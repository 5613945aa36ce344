/* admin.h: what [host] listen shows: /metrics in Prometheus' text format, /healthz. Reads the board and
 * nothing else: no request reaches a reactor. */
#ifndef TIDEMILL_ADMIN_ADMIN_H
#define TIDEMILL_ADMIN_ADMIN_H

#include "base/err.h"
#include "stats/board.h"

struct admin;

/* The board must stay. NULL and `err`; ERR_BUSY: somebody else listens there. */
struct admin *admin_start(const char *address, struct board *board, struct err *err);
int admin_port(const struct admin *admin);
void admin_stop(struct admin *admin); /* NULL is allowed */

#endif
