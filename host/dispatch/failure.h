/* failure.h: where a record goes when no other attempt is made: `on_failure`. Likewise a window whose last
 * call failed for good: its state stands in place of a record, in a letter that cannot be redriven. */
#ifndef TIDEMILL_DISPATCH_FAILURE_H
#define TIDEMILL_DISPATCH_FAILURE_H

#include "dispatch/ledger.h"

enum given_up {
    GIVEN_UP_DISCARDED, /* on_failure = discard */
    GIVEN_UP_KEPT,      /* it is a dead letter, in one write with the checkpoint that counts it as settled */
    GIVEN_UP_FORWARDED, /* the target that on_failure names has it */
    GIVEN_UP_NOT,       /* the store was closed first: nobody has it */
    GIVEN_UP_LATER,     /* only from failure_give_up: the answer comes through `done` */
};

struct failure; /* something given up that is on its way */

/* From the reactor; the failure is gone. */
typedef void failure_fn(void *user, enum given_up to);

/* Put the entry where on_failure says, or with NULL the ledger's window. Entry and window must stay until the
 * answer. Takes the error's texts. `condition`: why there is no other attempt; a constant. `*failure` is set
 * with GIVEN_UP_LATER. Counts and tells it; to settle it is the caller's. */
enum given_up failure_give_up(struct ledger *ledger, struct entry *entry, struct handler_error *error,
                              const char *condition, failure_fn *done, void *user, struct failure **failure);

/* No answer is wanted any more. False: its dead letter is with the store already, which will answer. */
bool failure_cancel(struct failure *failure);

#endif
