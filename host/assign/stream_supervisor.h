/* stream_supervisor.h: one [stream] of the INI and the handlers that follow it.
 *
 * It finds the table's stream, keeps its shard list, and gives each shard to a worker for each handler that
 * may read it now. A stream that was disabled and enabled again is two streams in a row (two ARNs): each
 * handler finishes the old one and then goes on to the next.
 *
 * Lives on one reactor, which is also where its source and store answer. */
#ifndef TIDEMILL_ASSIGN_STREAM_SUPERVISOR_H
#define TIDEMILL_ASSIGN_STREAM_SUPERVISOR_H

#include "assign/leases.h"
#include "assign/generation.h"
#include "worker/worker.h"

struct stream_supervisor;

struct stream_supervisor_options {
    const struct config *config;        /* held */
    const struct config_stream *stream; /* of `config` */
    struct reactor *reactor;
    struct sources *sources;
    struct source *source; /* of these, for the stream: set when it is made */
    struct snapshots *snapshots;
    struct store *store;
    const struct leases *leases; /* or NULL: every shard is this host's; must stay */
    struct aws_client *client;
    struct log *log;
    struct loads *loads;                   /* of the workers; must stay */
    struct troubles *troubles;             /* or NULL */
    bool from_first;                       /* set by stream_supervisor_from_first */
    const struct store_snapshot *snapshot; /* what the store knew at the start; must stay */
};

struct stream_supervisor *stream_supervisor_new(const struct stream_supervisor_options *options);
/* Of the stream, in the INI. */
const char *stream_supervisor_name(const struct stream_supervisor *supervisor);

/* What it was made from. */
const struct config *stream_supervisor_config(const struct stream_supervisor *supervisor);

/* Its table is one of many, and came when the others were known already: handlers begin at its first record.
 */
void stream_supervisor_from_first(struct stream_supervisor *supervisor);

/* Its table is gone: what its stream still has is read, and each handler that has come to the end leaves. */
void stream_supervisor_end(struct stream_supervisor *supervisor);

/* A new one, without handlers: of a table that went before, whose stream handlers that are added now have not
 * read to its end. */
void stream_supervisor_read_rest(struct stream_supervisor *supervisor, const char *stream_arn);

/* Has every handler left, so that it may be freed while the host runs? */
bool stream_supervisor_idle(const struct stream_supervisor *supervisor);

/* Its shards were listed, and each of its handlers knows where it begins; true of one without handlers. */
bool stream_supervisor_reads(const struct stream_supervisor *supervisor);

/* Does one of its handlers still have the table's items before it? */
bool stream_supervisor_any_snapshot(const struct stream_supervisor *supervisor);
void stream_supervisor_free(struct stream_supervisor *supervisor);

/* It is this host that lists the stream for all, from now on. See leases.h. */
void stream_supervisor_lead(struct stream_supervisor *supervisor, const char *stream_arn);

/* The shard is this host's from now on, and the snapshot says where its handlers stand in it; or it is not
 * any more: what runs in it is given up, and nothing of it is kept. See leases.h. */
/* leases->listed of the shard once more, if it is known. */
void stream_supervisor_tell(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard);
void stream_supervisor_gained(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard,
                              const struct store_snapshot *snapshot);
void stream_supervisor_lost(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard);

/* Of a shard that another host has (NULL: of every one): what its handlers have finished there. True: all
 * that are here have. */
bool stream_supervisor_finished_elsewhere(struct stream_supervisor *supervisor, const char *stream_arn,
                                          const char *shard, const struct store_snapshot *snapshot);

/* Handlers that another host found at the end of their stream are on the next one. */
void stream_supervisor_moved(struct stream_supervisor *supervisor, const struct store_snapshot *snapshot);

/* The shard is to be given away: it is fed no more, see worker_drain. False: nobody here reads it. */
bool stream_supervisor_drain(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard);

/* What the store knows by now, for handlers added from here on; must stay. */
void stream_supervisor_set_snapshot(struct stream_supervisor *supervisor,
                                    const struct store_snapshot *snapshot);

void stream_supervisor_add_handler(struct stream_supervisor *supervisor, const char *handler);

/* Give it no further shard; what the workers do is the caller's business. Nothing when it is not here. */
void stream_supervisor_remove_handler(struct stream_supervisor *supervisor, const char *handler);

/* Where the records of the letter's item are read now: a shard, or several of which nobody knows which one
 * has the item. Each is given to `add` (the texts must be copied). False: the handler is not here. True
 * without any: it is between two shards; ask again. */
typedef void redrive_place_fn(void *user, struct worker *worker, const char *stream_arn, const char *shard);
bool stream_supervisor_places(struct stream_supervisor *supervisor, const struct store_dead_letter *letter,
                              redrive_place_fn *add, void *user);

/* Reports of workers; ignored when they are about another stream. */
void stream_supervisor_closed(struct stream_supervisor *supervisor, const char *stream_arn,
                              const char *shard);
void stream_supervisor_finished(struct stream_supervisor *supervisor, const char *stream_arn,
                                const char *shard, const char *handler, const char *progress);
void stream_supervisor_missing(struct stream_supervisor *supervisor, const char *stream_arn,
                               const char *shard);

#endif
