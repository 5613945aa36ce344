/* stats.h: the numbers of one reactor: counters that whoever counts is given, and a sink to which each room
 * tells how things stand now.
 *
 * Counters are kept by name, not by shard: they outlive shards, reloads and handlers, and never fall. To add
 * one: a member here, a line where it happens, a line in exposition.c (and one in metrics.c). */
#ifndef TIDEMILL_STATS_STATS_H
#define TIDEMILL_STATS_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "stats/times.h"

/* ---- counters ---- */

/* How the records of a handler stand. */
struct stats_subscription {
    int64_t in_flight; /* records that a handler works on */
    int64_t retrying;  /* that wait for another attempt */
    int64_t waiting;   /* that wait for their turn */
    int64_t oldest_ms; /* when the oldest unsettled record was written; 0: there is none */
    bool catching_up;  /* on a reader of its own */
    int64_t shards;    /* how many of these were added up, see stats_add_now */
    int64_t behind_ms; /* since when (wall clock) it has not seen the end of what there is; 0: it has */
};

/* Of a handler on a stream: records. */
struct stats_handler {
    int64_t handled;  /* the handler returned for them */
    int64_t left_out; /* by its filter or for want of a function */
    int64_t retried;  /* attempts that failed and were followed by another */
    int64_t dead;
    int64_t discarded;
    int64_t forwarded;             /* to the target that on_failure names */
    struct stats_times calls;      /* of the handler: an attempt at a record, a batch, a window */
    struct stats_subscription now; /* on all shards together, see stats_add_now */
};

/* Of a stream's shards. */
struct stats_stream {
    int64_t calls; /* GetRecords */
    int64_t records;
    int64_t throttled;    /* reads that were refused as too many */
    int64_t expired;      /* iterators */
    int64_t gaps;         /* times that records were trimmed before they were read */
    int64_t retention_ms; /* so long the service keeps a record; 0: nobody has said */
    /* On all shards together, see stats_clear_now: how many, and what of their records is in memory. */
    int64_t shards, window_bytes;
};

struct stats_target {
    int64_t accepted, bytes; /* messages, and their payloads */
    int64_t requests;        /* that carried them and others */
    int64_t retried;         /* messages sent again */
    int64_t failed;          /* messages given up */
    int64_t waiting;         /* now */
};

struct stats;

struct stats *stats_new(void);
void stats_free(struct stats *stats); /* NULL is allowed */

/* By the names in the INI. They stay until stats_free. Without `stats` (NULL) there are none: NULL. */
struct stats_handler *stats_handler(struct stats *stats, const char *stream, const char *handler);
struct stats_stream *stats_stream(struct stats *stats, const char *stream);
struct stats_target *stats_target(struct stats *stats, const char *target);

/* Of a handler's script, all its versions on this reactor. */
struct stats_script {
    int64_t us;    /* in its Lua code */
    int64_t bytes; /* its memory, as of the last time that it ran */
};
struct stats_script *stats_script(struct stats *stats, const char *handler);

/* A counter, or a histogram, that nobody else knows by name: of the metric (metrics.h) with these labels,
 * pairs of a name and a value up to a NULL, always in one order. They stay until stats_free. Never NULL: a
 * service can answer with any code and a script may name any table, so those that are too many share one,
 * whose labels are all "other"; without `stats`, one that nobody reads. */
double *stats_counter(struct stats *stats, const char *metric, ...) __attribute__((sentinel));
struct stats_times *stats_times(struct stats *stats, const char *metric, ...) __attribute__((sentinel));

void stats_each_script(struct stats *stats,
                       void (*fn)(void *user, const char *handler, const struct stats_script *counters),
                       void *user);
/* `times` of a histogram, else NULL. */
void stats_each_series(struct stats *stats,
                       void (*fn)(void *user, const char *metric, const char *labels, double value,
                                  const struct stats_times *times),
                       void *user);
void stats_each_handler(struct stats *stats,
                        void (*fn)(void *user, const char *stream, const char *handler,
                                   const struct stats_handler *counters),
                        void *user);
void stats_each_stream(struct stats *stats,
                       void (*fn)(void *user, const char *stream, const struct stats_stream *counters),
                       void *user);
void stats_each_target(struct stats *stats,
                       void (*fn)(void *user, const char *target, const struct stats_target *counters),
                       void *user);

/* ---- how things stand ---- */

/* Of a new round nothing is known; then how each subscription stands is added to its handler's `now`, each
 * shard to its stream. */
void stats_clear_now(struct stats *stats);
void stats_add_now(struct stats_handler *counters, const struct stats_subscription *now);

/* What the numbers are of. Valid during the call. */
struct stats_place {
    const char *stream; /* the name in the INI */
    const char *stream_arn, *shard;
    const char *handler;            /* of a subscription; else NULL */
    struct stats_handler *counters; /* likewise; or NULL */
    struct stats_stream *of_stream; /* or NULL */
    uint64_t *told;                 /* for the sink to remember what it last made of these; 0 at first */
};

struct stats_shard {
    int64_t calls, records; /* since the reader began */
    int64_t read_ms;        /* wall clock of the last page; 0: none yet */
    int64_t caught_up_ms;   /* of the last page that was empty */
    int64_t began_ms;       /* of the reader */
    int64_t window_bytes;   /* records in memory */
};

/* A member may be NULL. */
struct stats_sink {
    void (*subscription)(void *user, const struct stats_place *place, const struct stats_subscription *now);
    void (*shard)(void *user, const struct stats_place *place, const struct stats_shard *now);
    void *user;
};

#endif
