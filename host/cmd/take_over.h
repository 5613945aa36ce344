/* take_over.h: --as: a handler that runs a script under another name is filled beside the one that runs, and
 * then follows the stream. Private to replay and backfill. */
#ifndef TIDEMILL_CMD_TAKE_OVER_H
#define TIDEMILL_CMD_TAKE_OVER_H

#include "admin/access.h"
#include "conf/config.h"

/* [handler AS] runs the script of `handler`, and may be filled. False and `err`. */
bool take_over_check(const struct config *config, const char *handler, const char *as, struct err *err);

/* It is fed nothing until take_over_follow. */
bool take_over_hold(struct access *state, const struct config *config, const char *as, struct err *err);

/* In each stream of `handler` it goes on at what was written since then, also where it has a place: what it
 * has had of later changes was overwritten; and it is fed. Where it has a snapshot before it, that brings
 * every item. */
bool take_over_follow(struct access *state, const struct config *config, const char *handler, const char *as,
                      int64_t since_ms, struct err *err);

/* Waits until it has met the stream's end everywhere, where a host runs, and says so. False: `*stop` came
 * first, or `err`. */
bool take_over_meet(struct access *state, const struct config *config, const char *as,
                    const volatile int *stop, struct err *err);

#endif
