/* backoff.c: see backoff.h. */
#include "base/backoff.h"

#include "base/hash.h"

int64_t backoff_ms(const int64_t range[2], int64_t attempts, uint64_t *random)
{
    int64_t delay = range[0], most = range[1];
    for (int64_t i = 1; i < attempts && delay < most; i++)
        delay = delay ? delay * 2 : 1;
    delay = delay < most ? delay : most;
    *random = hash_mix(*random + 1);
    return delay - (int64_t)(*random % (uint64_t)(delay / 2 + 1));
}
