/* progress.h: how far the snapshots are that come before handlers' streams, out of the state. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_PROGRESS_H
#define TIDEMILL_SOURCE_SNAPSHOT_PROGRESS_H

#include "state/store.h"

/* A handler that still has a table's items before it. Its texts are the state's. */
struct snapshot_progress {
    const char *arn, *handler, *table;
    int64_t taken_ms; /* what was written since waits in the stream */
    int64_t begun_ms; /* about */
    bool exported;    /* it is read out of an export */
    int64_t segments, finished;
    int64_t items, items_all; /* settled, and of the table when it was taken, about */
    int64_t left_ms;          /* about; -1: not known */
};

/* Of all that STORE_ALL has; in its arena. `now_ms`: wall clock. Returns how many. */
size_t snapshot_progress_read(struct store_snapshot *all, int64_t now_ms, struct snapshot_progress **list);

#endif
