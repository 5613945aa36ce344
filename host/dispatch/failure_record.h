/* failure_record.h: on_failure = TARGET: what failed and how, in the shape of the records that Lambda sends
 * to its failure destinations, and always with the payload in it.
 * https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
 *
 * Where the target does not take so much, the payload is put away as an object of the target's `spill`, and
 * the record says where ("payloadLocation"). */
#ifndef TIDEMILL_DISPATCH_FAILURE_RECORD_H
#define TIDEMILL_DISPATCH_FAILURE_RECORD_H

#include "conf/config.h"
#include "handler/emitter.h"
#include "state/store.h"

struct failing;

/* `err` is NULL when the target has it. */
typedef void failing_fn(void *user, const struct err *err);

/* The letter to the target of that name, which the emitter knows; it is only read during this call. `done`
 * never comes from inside. `now_ms`: wall clock. */
struct failing *failing_send(const struct emitter *emitter, const struct config *config, const char *target,
                             const struct store_dead_letter *letter, int64_t now_ms, failing_fn *done,
                             void *user);
void failing_cancel(struct failing *failing); /* NULL is allowed */

#endif
