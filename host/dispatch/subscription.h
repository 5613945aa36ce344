/* subscription.h: one handler on one shard.
 *
 * Pages go in; each record is settled once: when the handler returned, when its filter left it out, or when
 * it was put where on_failure says. Records of one item run one at a time and in order, different items
 * overlap. The position is the end of the settled prefix: it never passes a record that is not settled. */
#ifndef TIDEMILL_DISPATCH_SUBSCRIPTION_H
#define TIDEMILL_DISPATCH_SUBSCRIPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "net/reactor.h"
#include "script/script.h"
#include "state/position.h"
#include "state/store.h"
#include "stream/page.h"

struct subscription;

struct subscription_options {
    struct reactor *reactor;
    struct store *store; /* for dead letters */
    struct log *log;
    struct script *script;
    const struct observer *observer; /* or NULL; must stay */
    struct script_source source;     /* the texts must stay */
};

struct subscription_stats {
    int64_t handled;  /* records the handler returned for */
    int64_t left_out; /* by its filter or for want of a function */
    int64_t retried;  /* attempts that failed and were followed by another */
    int64_t dead;
    int64_t discarded;
};

/* `drained`: everything that was fed is settled, or after subscription_stop: nothing runs any more. May come
 * again and again; from the reactor or from inside subscription_feed and _stop. */
struct subscription *subscription_new(const struct subscription_options *options,
                                      const struct position *start, void (*drained)(void *user), void *user);

/* Nothing may be running, unless the store is closed and the reactor will turn no more. */
void subscription_free(struct subscription *subscription);

const char *subscription_handler(const struct subscription *subscription);

/* Records up to where the subscription was fed before are left out, so a reader may go back. */
void subscription_feed(struct subscription *subscription, struct page *page);

/* Start nothing that lies behind the last record that was started; what is before it still runs, so that
 * nothing is repeated after a clean stop. A record that waits for another attempt gets its last one now. */
void subscription_stop(struct subscription *subscription);

/* From now on records go to this version. Those that run finish on the old one; what waits, for its turn or
 * for another attempt, belongs to the new one, and is left out where its filter says so. */
void subscription_replace_script(struct subscription *subscription, struct script *script);

/* Give up what still runs. */
void subscription_abandon(struct subscription *subscription);

bool subscription_drained(const struct subscription *subscription);

/* Behind the last record that was fed, settled or not. */
const struct position *subscription_fed(const struct subscription *subscription);

/* The end of the settled prefix; true when it moved since it was last asked for. */
bool subscription_position(struct subscription *subscription, struct position *position);

const struct subscription_stats *subscription_stats(const struct subscription *subscription);

#endif
