/* pace.h: how often something may be done: one limit for all threads that keep to it.
 *
 * No bucket is filled by a timer: the time at which the next one would come if all came evenly is all that is
 * kept (the generic cell rate algorithm). What was not used is good for a tenth of a second, so that a limit
 * is one also within a second. */
#ifndef TIDEMILL_BASE_PACE_H
#define TIDEMILL_BASE_PACE_H

#include <stddef.h>
#include <stdint.h>

struct pace;

/* Paces by name: whoever asks for the same name gets the same one, from any thread. They stay until
 * paces_free. */
struct paces;
struct paces *paces_new(void);
void paces_free(struct paces *paces);                           /* NULL is allowed */
struct pace *paces_find(struct paces *paces, const char *name); /* NULL of NULL */

/* Of all limits, this process' part: millionths, at least 1. What is to be waited for changes with it.
 * `now_us`: monotonic. */
void paces_set_share(struct paces *paces, int64_t millionths, int64_t now_us);

/* How many microseconds to wait before one may be done, a second at most, since the part may be another by
 * then: ask again. 0: now. `interval_ns`: between two at the limit; 0: there is none. `now_us`: monotonic.
 * NULL has no limit. */
int64_t pace_wait(const struct pace *pace, int64_t interval_ns, int64_t now_us);

/* So many were done, whether they might or not: those that come wait for them. */
void pace_charge(struct pace *pace, int64_t interval_ns, size_t count, int64_t now_us);

#endif
