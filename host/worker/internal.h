/* internal.h: what worker.c, posts.c and reports.c share. */
#ifndef TIDEMILL_WORKER_INTERNAL_H
#define TIDEMILL_WORKER_INTERNAL_H

#include "base/map.h"
#include "worker/worker.h"
#include "dispatch/shard.h"

struct worker {
    struct worker_options options;
    const struct config *config; /* of scripts to come */
    struct worker_reports reports;
    const struct shard_events *shard_events; /* what is done when its shards say something */
    struct reactor *reactor;
    struct transport *transport;
    struct aws_client *client;
    struct sources *sources;
    struct store *store;
    size_t late_files; /* see struct outbox_options */
    struct emitter *outbox;
    struct map handlers; /* name -> struct handler */
    struct map shards;   /* "arn\nshard" -> struct shard */
    struct shard **lost; /* until nothing of them is under way */
    size_t lost_count, lost_capacity;
    struct list draining;                /* struct draining: shards that are to be given away */
    struct map leaving;                  /* removed handler -> size_t, owned: shards it has not left yet */
    void (*over)(struct worker *worker); /* something has come to its end, and it may be stopping */
    struct list asked;                   /* struct asking: requests that handlers work on */
    struct list early;                   /* orders for handlers that could not be loaded yet */
    struct troubles *troubles;
    struct tracer *tracer; /* or NULL */
    struct stats *stats;
    char *owner;            /* of what its scripts claim */
    int64_t wall_offset_ms; /* of the wall clock over the other one, when last looked at */
    int64_t started_ms;     /* wall clock */
    int64_t step_told_ms;   /* monotonic: the log hears of long steps no sooner */
    int64_t longest_ms;     /* of all steps, and what it was */
    char longest[64];
    struct timer flush;
    struct timer put_up; /* its numbers */
    size_t flushing;     /* batches that are on their way; only then the next ones are made */
    int64_t flush_ms;    /* between the last flush and the next one */
    int64_t flush_us;    /* when they were given to the store, monotonic */
    bool flush_failed;   /* one of these was not written */
    int64_t statistics_ms;
    enum { RUNNING, STOPPING, STOPPED } phase;
};

/* One that is being drained, until it is lost. */
struct draining {
    struct list link;
    struct worker *worker;
    struct shard *shard; /* NULL: it was lost meanwhile */
    bool written;        /* its last checkpoint is on its way, or kept */
    bool writing;        /* on its way */
};

/* requests.c: none of them is waited for any longer. */
void worker_abandon_requests(struct worker *worker);

/* Where its handlers have come to an end, keep where they stand, and say so. */
void worker_drain_further(struct worker *worker, struct shard *shard);

/* ---- reports.c ---- */

enum worker_report {
    REPORT_CLOSED,
    REPORT_FINISHED,
    REPORT_MISSING,
    REPORT_LEFT,
    REPORT_REDRIVEN,
    REPORT_HELD,
    REPORT_LOADED,
    REPORT_HALTED,
    REPORT_DRAINED,
    REPORT_READ, /* so many records, in `letter` */
    REPORT_STOPPED
};

/* What is not said is NULL, or 0. */
void worker_report(struct worker *worker, enum worker_report kind, const struct shard *shard,
                   const char *handler, const char *progress, int64_t letter);

/* A redrive that this worker cannot do, where the shard is not here. */
void worker_report_redriven(struct worker *worker, const char *stream_arn, const char *shard, int64_t letter);

/* What it has read of the shard so far. */
void worker_report_read(struct worker *worker, const char *stream_arn, const char *shard, int64_t records);

/* A shard that this worker does not read: nothing of it runs. */
void worker_report_drained(struct worker *worker, const char *stream_arn, const char *shard);

/* ---- notes.c ---- */

/* What status shows of its shards (`statistics`: also of their readers), into `notes`. */
void worker_tell(struct worker *worker, struct store_batch *notes, bool statistics);

/* Its numbers, and why it is not ready, onto the board; and that it turns. */
void worker_put_up(struct worker *worker);

/* ---- posts.c ---- */

/* No shard has the handler any more: it has left, as soon as the flush that is on its way is over. */
void worker_forget_handler(struct worker *worker, const char *handler);

/* What stands at the place, with the configuration in force; one reference. */
struct handler *worker_load(struct worker *worker, const char *place, struct problems *problems);

/* Those that came before their handler: of one that is here now they are carried out, of one that was removed
 * dropped (`handler`; NULL: of all). */
void worker_run_early(struct worker *worker, const char *handler);
void worker_drop_early(struct worker *worker, const char *handler);

/* The targets of the configuration in force. */
struct emitter *worker_make_outbox(struct worker *worker);

#endif
