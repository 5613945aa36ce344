/* troubles.h: what does not work now, since when and how often, for status. One board on each reactor. */
#ifndef TIDEMILL_STATE_TROUBLES_H
#define TIDEMILL_STATE_TROUBLES_H

#include "base/buf.h"
#include "state/store.h"

struct troubles;

/* The kind of what only says that somebody is not ready yet. */
#define TROUBLE_STARTING "starting"

/* `place` sets this board's rows apart from those of others with the same subjects. */
struct troubles *troubles_new(struct clock *clock, size_t place);
void troubles_free(struct troubles *troubles);

/* It went wrong (again). `subject` as in the log, `kind` names which of its troubles. Nothing without a board
 * (NULL). */
void troubles_tell(struct troubles *troubles, const char *subject, const char *kind, const char *text);

/* It works; cheap when it did before. */
void troubles_end(struct troubles *troubles, const char *subject, const char *kind);

/* Is it of that kind, on whichever thread? */
bool trouble_is(const char *kind, const char *name);

/* The names in `subject` and `kind` as told of whom a trouble keeps from being ready: it reads a stream, and
 * that does not work for a while; it runs a handler, and that could not be loaded; it is not so far yet. */
bool trouble_is_unready(const char *subject, const char *kind, int64_t for_ms);

/* Of those that last: "subject: text", with a line break behind each, into `out`. */
void troubles_unready(const struct troubles *troubles, struct buf *out);

/* Add what has changed since the last time. */
void troubles_collect(struct troubles *troubles, struct store_batch *batch);

#endif
