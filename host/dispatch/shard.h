/* shard.h: one shard on one reactor, and a subscription for each handler that is on it.
 *
 * One reader feeds all handlers. One that falls out of the window, or joins further back, is fed by a second
 * reader until it has caught up (feeds.c). */
#ifndef TIDEMILL_DISPATCH_SHARD_H
#define TIDEMILL_DISPATCH_SHARD_H

#include "base/log.h"
#include "conf/config.h"
#include "net/reactor.h"
#include "handler/handler.h"
#include "handler/observer.h"
#include "state/store.h"
#include "state/troubles.h"
#include "stats/stats.h"
#include "source/source.h"

struct shard;

struct shard_options {
    struct reactor *reactor;
    struct source *source;
    struct store *store;
    struct log *log;
    const struct observer *observer;    /* or NULL; must stay */
    struct troubles *troubles;          /* or NULL */
    struct stats *stats;                /* or NULL; must stay */
    const struct config *config;        /* held */
    const struct config_stream *stream; /* of `config` */
    const char *stream_arn, *id, *table;
};

/* From the reactor. None of them may free the shard. */
struct shard_events {
    /* The reader came to the end of the shard. */
    void (*closed)(void *user, struct shard *shard);
    /* A handler settled its last record of the closed shard, and the store knows it. `progress`: what was
     * kept with its last checkpoint. */
    void (*finished)(void *user, struct shard *shard, const char *handler, const char *progress);
    /* The handler has settled all up to the sequence (NULL: all there is): so says a checkpoint that is on
     * its way to the store. */
    void (*passed)(void *user, struct shard *shard, const char *handler, const char *sequence);
    /* The service does not know the shard; the reader goes on asking. */
    void (*missing)(void *user, struct shard *shard);
    /* After shard_unsubscribe: the handler's last position is durable, its subscription gone. */
    void (*left)(void *user, struct shard *shard, const char *handler);
    /* A dead letter that was given to shard_redrive is settled, or was given up. */
    void (*redriven)(void *user, struct shard *shard, int64_t letter);
    /* One that is to be held has its turn: nobody else of its item runs. */
    void (*held)(void *user, struct shard *shard, int64_t letter);
    /* The handler stands still at a gap (on_gap = stop): it is fed nothing more. */
    void (*halted)(void *user, struct shard *shard, const char *handler);
    /* After shard_stop: nothing runs any more. Maybe more than once. */
    void (*stopped)(void *user, struct shard *shard);
};

struct shard *shard_new(const struct shard_options *options, const struct shard_events *events, void *user);

/* The store must be closed already, or the shard be stopped, or have no subscription left. */
void shard_free(struct shard *shard);

const char *shard_id(const struct shard *shard);
const char *shard_stream_arn(const struct shard *shard);

/* Where a handler begins on the shard. */
struct shard_start {
    struct position position;
    const char *progress; /* what was kept with the position, or "" */
    const char *cursor;   /* one at hand for the position, or NULL */
    bool last;            /* it was finished, and nothing follows it: only to close a window that is open */
    int64_t epoch; /* of handler/handler.h: as of now, others on the shard may have begun under another */
};

/* The script must stay. */
void shard_subscribe(struct shard *shard, struct handler *handler, const struct shard_start *start);

/* Another version of a handler, if the handler is on this shard. */
void shard_replace_handler(struct shard *shard, struct handler *handler);

/* The handler is to stop: what was started finishes. False when it is not on this shard. */
bool shard_unsubscribe(struct shard *shard, const char *handler);

/* Give a handler a record out of the dead letters (JSON as kept there). False when it is not on this shard,
 * or the record cannot be read. */
bool shard_redrive(struct shard *shard, const char *handler, int64_t letter, const char *record, bool hold);

/* See subscription_release. */
bool shard_release(struct shard *shard, const char *handler, int64_t letter, bool run);

/* Have all handlers settled what was read? */
bool shard_drained(const struct shard *shard);

size_t shard_subscription_count(const struct shard *shard);

/* Discovery says that the shard is closed: read to its end without pausing. */
void shard_closed(struct shard *shard);

/* The shard has vanished from the stream: what was read is all there is. */
void shard_vanished(struct shard *shard);

/* Add what moved since the last time and must become durable together. */
void shard_collect(struct shard *shard, struct store_batch *batch);

/* How its records stand; and, to the board, why some wait. */
void shard_tell(struct shard *shard, const struct stats_sink *sink);

/* It is another host's: what runs is given up, and nothing is checkpointed any more. In the end no
 * subscription is left. */
void shard_lose(struct shard *shard);

void shard_stop(struct shard *shard);
bool shard_stopped(const struct shard *shard);
void shard_abandon(struct shard *shard);

#endif
