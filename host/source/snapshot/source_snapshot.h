/* source_snapshot.h: what a table holds, as a stream whose shards are the segments of a parallel scan.
 *
 * A segment's records are INSERTs without an old image, with `snapshot` beside them; those of one page share
 * a number, which is how many items of the segment were read by the page's end, and the page says from where
 * to read on (page->resume). There is no other way back into a segment. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_SOURCE_SNAPSHOT_H
#define TIDEMILL_SOURCE_SNAPSHOT_SOURCE_SNAPSHOT_H

#include "source/snapshot/snapshots.h"
#include "source/sources.h"

extern const struct source_kind source_snapshot_kind;

/* What a snapshot of the table would be called that is taken now, for the handler and the stream; `segments`
 * 0: by the table's size. `done` as source_find_stream's: the snapshot's ARN. Cancel it with source_cancel.
 */
struct source_call *source_snapshot_take(struct source *source, const char *table, const char *stream_arn,
                                         const char *handler, int64_t taken_ms, int64_t segments,
                                         source_stream_fn *done, void *user);

#endif
