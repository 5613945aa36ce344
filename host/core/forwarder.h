/* forwarder.h: dead letters that belong elsewhere.
 *
 * What the target that on_failure names did not take is kept as a dead letter; it is offered to the target
 * again until it is taken, and forgotten then. */
#ifndef TIDEMILL_CORE_FORWARDER_H
#define TIDEMILL_CORE_FORWARDER_H

#include "worker/worker.h"

struct forwarder;

/* `worker` is the one on whose reactor it is called; its handlers' settings and targets are used. */
struct forwarder *forwarder_new(struct worker *worker, struct log *log, bool (*may)(void *user), void *user);
void forwarder_stop(struct forwarder *forwarder);
void forwarder_free(struct forwarder *forwarder); /* the worker must still be there; NULL is allowed */

#endif
