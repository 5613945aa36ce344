/* fence.h: until when a host that shares its shards with others may act on the outside, and what of it may
 * still take effect. All times on the clock that goes on while the machine sleeps (clock_boot_ms); set and
 * read from any thread. */
#ifndef TIDEMILL_NET_FENCE_H
#define TIDEMILL_NET_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* Why nothing is sent behind it. */
#define FENCE_PASSED "this host cannot tell that its shards are still its own"

struct fence {
    _Atomic int64_t until_ms;      /* calls may begin and run; 0: not at all */
    _Atomic int64_t unanswered_ms; /* when one last ended without an answer; 0: none has */
};

static inline int64_t fence_left_ms(const struct fence *fence, struct clock *clock)
{
    return atomic_load(&fence->until_ms) - clock_boot_ms(clock);
}

/* A call was given up, or met an error, after it may have left. */
static inline void fence_unanswered(struct fence *fence, struct clock *clock)
{
    atomic_store(&fence->unanswered_ms, clock_boot_ms(clock));
}

#endif
