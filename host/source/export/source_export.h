/* source_export.h: an export of a table, as a stream whose shards are its files: a snapshot that costs the
 * table nothing. The handler goes on in the stream at the time of the export. */
#ifndef TIDEMILL_SOURCE_EXPORT_SOURCE_EXPORT_H
#define TIDEMILL_SOURCE_EXPORT_SOURCE_EXPORT_H

#include "source/sources.h"

/* In place of a stream's ARN, for sources_for: one that is to be taken. */
#define SOURCE_EXPORT "export:"

extern const struct source_kind source_export_kind;

/* As source_snapshot_take, of the export at `place` (s3://BUCKET/PREFIX, or a directory): where its
 * manifest-summary.json is, or the newest of those below its AWSDynamoDB. */
struct source_call *source_export_take(struct source *source, const char *place, const char *table,
                                       const char *stream_arn, const char *handler, source_stream_fn *done,
                                       void *user);

#endif
