/* replay.h: archived events through a handler once more.
 *
 * Events go in the order of their shards, those of one item one after the other; what was archived twice
 * comes once. After each page that is settled the place is kept in the state, so that a replay goes on where
 * it was stopped. */
#ifndef TIDEMILL_CORE_REPLAY_H
#define TIDEMILL_CORE_REPLAY_H

#include "base/log.h"
#include "filter/filter.h"
#include "handler/handler.h"
#include "handler/observer.h"
#include "state/store.h"
#include "source/archive/archive.h"

struct replay;

struct replay_options {
    struct reactor *reactor;
    struct store *store;
    struct log *log;
    struct archive *archive;
    struct handler *handler;         /* not one with windows: they would be cut with the pages */
    const char *mark;                /* what is replayed, as one text: the same replay goes on */
    const struct filter *filter;     /* NULL: all */
    const char *const *keys;         /* "NAME=VALUE" that an item's key must have, ends with NULL */
    int64_t after_ms, before_ms;     /* of the events' time; 0: whenever */
    int64_t rate;                    /* events a second; 0: as fast as it goes */
    bool restart;                    /* from the beginning, whatever was done before */
    const struct observer *observer; /* of what the handler does; or NULL; must stay */
};

struct replay_progress {
    int64_t events, left_out; /* of this run, and what was asked for not to be */
    int64_t failed;           /* given up: where on_failure says */
    int64_t resumed;          /* events that runs before did */
    int64_t bytes, bytes_all; /* of the archive's files */
};

struct replay *replay_new(const struct replay_options *options);
void replay_free(struct replay *replay);

/* The next page of events, until all of it is settled. True when there is more to do; false at the end, when
 * it was stopped, or with `err` when it cannot go on. */
bool replay_step(struct replay *replay, struct err *err);

/* Stop with the page that runs; from inside replay_step's turns. */
void replay_stop(struct replay *replay);

const struct replay_progress *replay_progress(const struct replay *replay);

#endif
