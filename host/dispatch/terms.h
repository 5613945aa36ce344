/* terms.h: what a subscription is given, and what it tells: the words that all its files share. */
#ifndef TIDEMILL_DISPATCH_TERMS_H
#define TIDEMILL_DISPATCH_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "handler/handler.h"
#include "handler/observer.h"
#include "net/reactor.h"
#include "state/store.h"
#include "stats/stats.h"

struct subscription_options {
    struct reactor *reactor;
    struct store *store; /* for dead letters */
    struct log *log;
    struct handler *handler;
    const struct observer *observer; /* or NULL; must stay */
    bool replayed;                   /* the records are out of an archive: there is no checkpoint to write */
    struct handler_source source;    /* the texts must stay */
    const char *stream_arn; /* what the state is kept under: the source's, or its snapshot's; must stay */
    struct stats_handler *counters; /* or NULL; must stay */
    int64_t late_ms;                /* so much later than its time says may a record be read */
};

/* From the reactor and from inside calls of the subscription. */
struct subscription_events {
    /* Everything that was fed is settled, or after subscription_stop: nothing runs any more. May come again
     * and again. */
    void (*drained)(void *user);
    /* It was full and has room again. */
    void (*room)(void *user);
    /* What it had not settled before a restart is not there any more, up to `to` ("": all of it). */
    bool (*missed)(void *user, const char *to); /* false: it is not to go on behind that */
    /* A record out of the dead letters is settled, or was given up without that (it is still marked). */
    void (*redriven)(void *user, int64_t letter);
    /* One that was given to subscription_redrive to be held has its turn. */
    void (*held)(void *user, int64_t letter);
};

/* Why records wait. */
struct subscription_trouble {
    int64_t count; /* attempts that failed and are to be repeated, with what the last one said */
    char text[256];
};

#endif
