/* usage.h: what a host asks services for, by the day, kept in its state: what `status --cost` reckons with.
 *
 * A row's text is JSON: {"from_ms":, "to_ms":, "counts": {"METRIC LABELS": number, ...}}: when that day it
 * was counted, and counters of metrics.h with their labels as they stand in /metrics. */
#ifndef TIDEMILL_CORE_USAGE_H
#define TIDEMILL_CORE_USAGE_H

#include "stats/board.h"
#include "worker/worker.h"

struct usage;

struct usage_options {
    struct worker *worker; /* the first: its state and reactor */
    struct board *board;
    const char *instance;
};

/* All must stay. */
struct usage *usage_new(const struct usage_options *options);

/* The host has stopped: what was counted is kept; `done` when it is durable. */
void usage_stop(struct usage *usage, store_done_fn *done, void *user);
void usage_free(struct usage *usage); /* NULL is allowed */

#endif
