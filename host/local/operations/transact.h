/* transact.h: why a transaction is cancelled. */
#ifndef TIDEMILL_LOCAL_OPERATIONS_TRANSACT_H
#define TIDEMILL_LOCAL_OPERATIONS_TRANSACT_H

#include "local/keep/call.h"

#define TRANSACTION_READS 2 /* what a transaction reads costs so many times as much */

struct reason {
    const struct fault *fault; /* status 0: none */
    const struct attr *item;   /* as it is, where that was asked for; or NULL */
};

/* TransactionCanceledException with a reason for each; but what the service takes for the request's own fault
 * is a ValidationException. Returns false. */
bool transaction_cancelled(struct call *call, const struct reason *reasons, size_t count);

#endif
