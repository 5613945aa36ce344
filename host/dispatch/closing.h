/* closing.h: the last call of a tumbling window that has ended: made, tried again after a while, and in the
 * end given up. */
#ifndef TIDEMILL_DISPATCH_CLOSING_H
#define TIDEMILL_DISPATCH_CLOSING_H

#include "dispatch/failure.h"
#include "dispatch/ledger.h"

struct closing {
    struct ledger *ledger;
    struct handler_window arguments;
    struct handler_call call;
    struct handler *handler; /* of the invocation */
    struct invocation *invocation;
    struct failure *failure; /* somebody is being told that it failed for good */
    struct timer backoff;
};

void closing_init(struct closing *closing, struct ledger *ledger);

/* Make the last call of the window, which has ended; once it is due. It may be over at once. */
void closing_begin(struct closing *closing);

/* Does the last call run, or is somebody being told that it failed? A stop waits for that. */
bool closing_runs(const struct closing *closing);

/* Does it wait for another attempt? */
bool closing_waits(const struct closing *closing);

/* Give up what runs or waits: it is made again when the host is back. */
void closing_abandon(struct closing *closing);

#endif
