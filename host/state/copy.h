/* copy.h: one state into another, whatever keeps them. */
#ifndef TIDEMILL_STATE_COPY_H
#define TIDEMILL_STATE_COPY_H

#include "state/store_open.h"

struct copy_options {
    struct store *from;
    bool from_shared, to_shared; /* by the hosts of a group */
    struct reactor *reactor;     /* of both; it is turned meanwhile */
    struct store_copy *to;
    void (*progress)(size_t done, size_t all, const char *what); /* `all` 0: not known */
};

struct copy_counts {
    size_t handlers, checkpoints, letters, markers, gaps;
};

/* What a host needs to go on: where its handlers stand, with their progress; what they follow; dead letters,
 * also which of them are to be redriven; the keys of `once`; gaps. What only shows how the last host did is
 * left behind. Nobody may work on either. False and `err`: it can be done again, and goes on then. */
bool copy_state(const struct copy_options *options, struct copy_counts *counts, struct err *err);

#endif
