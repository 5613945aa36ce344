/* troubles.h: what does not work now, since when and how often, for status. One board on each reactor. */
#ifndef TIDEMILL_STATE_TROUBLES_H
#define TIDEMILL_STATE_TROUBLES_H

#include "state/store.h"

struct troubles;

/* `place` sets this board's rows apart from those of others with the same subjects. */
struct troubles *troubles_new(struct clock *clock, size_t place);
void troubles_free(struct troubles *troubles);

/* It went wrong (again). `subject` as in the log, `kind` names which of its troubles. Nothing without a board
 * (NULL). */
void troubles_tell(struct troubles *troubles, const char *subject, const char *kind, const char *text);

/* It works; cheap when it did before. */
void troubles_end(struct troubles *troubles, const char *subject, const char *kind);

/* Add what has changed since the last time. */
void troubles_collect(struct troubles *troubles, struct store_batch *batch);

#endif
