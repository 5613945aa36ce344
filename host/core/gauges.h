/* gauges.h: what only the host as a whole can say of itself: onto its board, for metrics and /readyz; and
 * into the state, for status. Turns on the first worker's reactor. */
#ifndef TIDEMILL_CORE_GAUGES_H
#define TIDEMILL_CORE_GAUGES_H

#include "assign/streams.h"
#include "core/group.h"
#include "core/reloader.h"
#include "stats/board.h"

struct gauges;

struct gauges_options {
    struct worker *worker; /* the first */
    const struct streams *streams;
    const struct reloader *reloader;
    const struct group *group; /* or NULL */
    struct log *log;
    struct board *board;
    struct brakes *brakes;
    struct paces *paces; /* of which this host has its part among those that share the state */
    size_t place;        /* on the board, behind the workers' */
};

/* All must stay. */
struct gauges *gauges_new(const struct gauges_options *options);
void gauges_free(struct gauges *gauges); /* NULL is allowed */

/* The host stops: it is not ready any more, and stays so. */
void gauges_stop(struct gauges *gauges);

/* An INI was read again, and taken over or not. */
void gauges_count_ini(struct gauges *gauges, bool taken);

#endif
