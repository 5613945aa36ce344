/* attempts.h: a record on its own: tried, tried again after a while, and in the end given up. */
#ifndef TIDEMILL_DISPATCH_ATTEMPTS_H
#define TIDEMILL_DISPATCH_ATTEMPTS_H

#include "base/list.h"
#include "dispatch/ledger.h"

struct attempts {
    struct ledger *ledger;
    struct list list;
    struct attempt *spare;
};

void attempts_init(struct attempts *attempts, struct ledger *ledger);
void attempts_fini(struct attempts *attempts);

/* The entry, which was started: the next attempt, once it is due. It may be settled at once. */
void attempts_begin(struct attempts *attempts, struct entry *entry);

/* The same, due or not. */
void attempts_run(struct attempts *attempts, struct entry *entry);

/* An attempt at the entry was made elsewhere and has failed: another one here after a while, or on_failure.
 * Takes the error's texts. */
void attempts_failed(struct attempts *attempts, struct entry *entry, struct handler_error error);

/* What is said of a record that on_batch returned. */
struct handler_error attempt_given_back(const struct ledger *ledger);

/* Does the entry, which is started, only wait for another attempt? */
bool attempts_waits(const struct attempts *attempts, const struct entry *entry);
size_t attempts_waiting(const struct attempts *attempts);

/* Stopping: those that wait for another attempt wait for their turn again. */
void attempts_stop(struct attempts *attempts);

/* Give up all of them, those that run too. */
void attempts_abandon(struct attempts *attempts);

#endif
