/* copying.h: a group's state that is filled from another one: rows of shards that no host has yet, and the
 * mark in the group's row that keeps hosts away until all of it is there. */
#ifndef TIDEMILL_STATE_DYNAMODB_COPYING_H
#define TIDEMILL_STATE_DYNAMODB_COPYING_H

#include "state/dynamodb/calls.h"
#include "state/store_open.h"

/* Of rows that no host has taken yet: a session that has left. */
#define COPYING_OWNER "copy#0000000000000000"

extern const struct store_copy_ops copying_ops;

/* False and `err` where the group's state is half a copy. */
bool copying_check(struct calls *calls, const char *table, const char *group, struct err *err);

#endif
