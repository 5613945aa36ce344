/* batches.h: records that go to on_batch or on_window together.
 *
 * What fails is isolated: records that on_batch gave back go on by themselves, and a call that raised is
 * repeated with each half of its records until the failing ones are alone; that costs no attempts. A record
 * behind a failed one of the same item waits for its turn again, whatever was said of it. */
#ifndef TIDEMILL_DISPATCH_BATCHES_H
#define TIDEMILL_DISPATCH_BATCHES_H

#include "base/list.h"
#include "dispatch/attempts.h"
#include "dispatch/ledger.h"

struct batches {
    struct ledger *ledger;
    struct attempts *attempts; /* for what goes on by itself */
    struct list list;
    struct timer fill; /* of batch_window */
    bool fill_over;    /* what waits need not wait for more */
};

void batches_init(struct batches *batches, struct ledger *ledger, struct attempts *attempts);

/* Start what may start. Where a window is over, nothing but its last call may. */
void batches_work(struct batches *batches);

/* Nothing can join what waits. */
void batches_hurry(struct batches *batches);

/* Stopping: no batch is waited for, and those between two calls are put back. */
void batches_stop(struct batches *batches);
void batches_put_back(struct batches *batches);

/* Give up all of them. */
void batches_abandon(struct batches *batches);

#endif
