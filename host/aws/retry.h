/* retry.h: which errors are worth another attempt, how long to wait, and when to stop trying at all.
 * The rules of the SDKs' standard retry mode:
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html */
#ifndef TIDEMILL_AWS_RETRY_H
#define TIDEMILL_AWS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum retry_kind {
    RETRY_NEVER,
    RETRY_TRANSIENT,  /* the network or the service stumbled */
    RETRY_THROTTLING, /* we are too fast */
};

/* Is the service's error code in the list, which ends with NULL? */
bool retry_code_is_one_of(const char *code, const char *const *codes);

enum retry_kind retry_kind(const struct err *err);

/* Does it say something of who asks (a key, a token, a right, a clock) and nothing of what is asked? It
 * passes when somebody has set that right. */
bool retry_is_refused(const struct err *err);

/* Milliseconds to wait before attempt number `attempt` (2 is the first repetition). `random` is any
 * 64 random bits. */
int64_t retry_delay_ms(enum retry_kind kind, int attempt, uint64_t random);

/* A bucket of tokens shared by all calls of a client: when most calls fail, repetitions stop, so that
 * a service in trouble is not hit three times as hard. */
struct retry_budget {
    int tokens;
};

void retry_budget_init(struct retry_budget *budget);

/* Take what a repetition costs; 0 when the bucket cannot pay. */
int retry_budget_take(struct retry_budget *budget, const struct err *err);

/* After a success: `taken` is what its last repetition took, 0 when there was none. */
void retry_budget_give(struct retry_budget *budget, int taken);

#endif
