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

struct failing;

/* What is known of a failure. Only read during failing_send. */
struct failing_facts {
    const char *handler, *version;
    const char *condition; /* "RetryAttemptsExhausted" ... */
    const char *error;
    int64_t attempts;
    int64_t failed_ms, now_ms, record_time_ms;
    const char *stream_arn, *table, *shard, *sequence, *event_id;
    const char *unit;   /* which record of the shard, see record_unit */
    const char *keys;   /* JSON */
    const char *record; /* JSON, as Lambda shows it */
};

/* `err` is NULL when the target has it. */
typedef void failing_fn(void *user, const struct err *err);

/* To the target of that name, which the emitter knows. `done` never comes from inside this call. */
struct failing *failing_send(const struct emitter *emitter, const struct config *config, const char *target,
                             const struct failing_facts *facts, failing_fn *done, void *user);
void failing_cancel(struct failing *failing); /* NULL is allowed */

#endif
