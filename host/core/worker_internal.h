/* worker_internal.h: what worker.c, worker_orders.c and worker_reports.c share. */
#ifndef TIDEMILL_CORE_WORKER_INTERNAL_H
#define TIDEMILL_CORE_WORKER_INTERNAL_H

#include "base/map.h"
#include "core/worker.h"
#include "dispatch/shard.h"

struct worker {
    struct worker_options options;
    const struct config *config; /* of scripts to come */
    struct worker_reports reports;
    struct reactor *reactor;
    struct transport *transport;
    struct aws_client *client;
    struct source *source;
    struct store *store;
    struct emitter *outbox;
    struct map handlers; /* name -> struct handler */
    struct map shards;   /* "arn\nshard" -> struct shard */
    struct map leaving;  /* removed handler -> size_t, owned: shards it has not left yet */
    struct timer flush;
    bool flushing; /* a batch is on its way */
    int64_t statistics_ms;
    enum { RUNNING, STOPPING, STOPPED } phase;
};

/* ---- worker_reports.c ---- */

enum worker_report {
    REPORT_CLOSED,
    REPORT_FINISHED,
    REPORT_MISSING,
    REPORT_LEFT,
    REPORT_REDRIVEN,
    REPORT_STOPPED
};

/* What is not said is NULL, or 0. */
void worker_report(struct worker *worker, enum worker_report kind, const struct shard *shard,
                   const char *handler, const char *progress, int64_t letter);

/* ---- worker.c ---- */

extern const struct shard_events worker_shard_events;

/* No shard has the handler any more. */
void worker_forget_handler(struct worker *worker, const char *handler);

/* ---- worker_orders.c ---- */

/* What stands at the place, with the configuration in force; one reference. */
struct handler *worker_load(struct worker *worker, const char *place, struct problems *problems);

/* The targets of the configuration in force. */
struct emitter *worker_make_outbox(struct worker *worker);

#endif
