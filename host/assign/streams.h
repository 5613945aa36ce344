/* streams.h: the streams of the configuration, each with its supervisor.
 *
 * When the configuration changes, a stream that it describes otherwise, or no longer, retires: its handlers
 * have to leave it, and join the one that takes its place. */
#ifndef TIDEMILL_ASSIGN_STREAMS_H
#define TIDEMILL_ASSIGN_STREAMS_H

#include "assign/stream_supervisor.h"

struct streams;

/* `model` is what all supervisors have in common: everything but the stream. */
struct streams *streams_new(const struct stream_supervisor_options *model);
void streams_free(struct streams *streams);

/* Streams that are new in it begin, those that changed or are gone retire. */
void streams_set_config(struct streams *streams, const struct config *config);

/* Must the handlers of one of these streams leave it? */
bool streams_retired(const struct streams *streams, const struct names *names);

/* Free what is retired and has no handler any more; true when there was something. */
bool streams_sweep(struct streams *streams);

/* As of stream_supervisor.h, for the streams of these names that are not retired. */
void streams_add_handler(struct streams *streams, const struct names *names, const char *handler);
void streams_remove_handler(struct streams *streams, const char *handler);
void streams_set_snapshot(struct streams *streams, const struct store_snapshot *snapshot);

/* Does a handler still have a table's items before it? */
bool streams_any_snapshot(const struct streams *streams);

/* Those that have handlers and are not read yet: their names, with ", " between them, behind `out`. */
void streams_unread(const struct streams *streams, struct buf *out);

bool streams_places(struct streams *streams, const struct store_dead_letter *letter, redrive_place_fn *add,
                    void *user);

/* Shards come and go with their leases, see leases.h. */
void streams_lead(struct streams *streams, const char *stream_arn);
void streams_gained(struct streams *streams, const char *stream_arn, const char *shard,
                    const struct store_snapshot *snapshot);
void streams_tell(struct streams *streams, const char *stream_arn, const char *shard);
void streams_lost(struct streams *streams, const char *stream_arn, const char *shard);

bool streams_finished_elsewhere(struct streams *streams, const char *stream_arn, const char *shard,
                                const struct store_snapshot *snapshot);
void streams_moved(struct streams *streams, const struct store_snapshot *snapshot);
bool streams_drain(struct streams *streams, const char *stream_arn, const char *shard);

void streams_closed(struct streams *streams, const char *stream_arn, const char *shard);
void streams_finished(struct streams *streams, const char *stream_arn, const char *shard, const char *handler,
                      const char *progress);
void streams_missing(struct streams *streams, const char *stream_arn, const char *shard);

#endif
