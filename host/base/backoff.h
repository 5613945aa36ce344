/* backoff.h: how long to wait before something is tried again. */
#ifndef TIDEMILL_BASE_BACKOFF_H
#define TIDEMILL_BASE_BACKOFF_H

#include <stdint.h>

/* Milliseconds after `attempts` attempts: doubles from range[0] up to range[1], and then between half and all
 * of that, so that what failed together does not come back together. `random` is any state of the caller's,
 * and moves on. */
int64_t backoff_ms(const int64_t range[2], int64_t attempts, uint64_t *random);

#endif
