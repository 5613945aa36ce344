/* pace.c: see pace.h. */
#include "base/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

#define UNUSED_NS 100000000 /* for so long what was not used is good */
#define WAIT_NS_MAX 1000000000
#define WHOLE 1000000

struct paces {
    pthread_mutex_t lock; /* of the map */
    struct map all;       /* owned */
    atomic_llong share;
};

struct pace {
    struct paces *paces;
    atomic_llong next_ns; /* monotonic: when the next one would come, if all came evenly */
};

struct paces *paces_new(void)
{
    struct paces *paces = mem_zero(sizeof *paces);
    pthread_mutex_init(&paces->lock, NULL);
    atomic_store(&paces->share, WHOLE);
    return paces;
}

void paces_free(struct paces *paces)
{
    size_t at = 0;
    if (!paces)
        return;
    for (struct pace *pace; (pace = map_next(&paces->all, &at, NULL));)
        free(pace);
    map_fini(&paces->all);
    pthread_mutex_destroy(&paces->lock);
    free(paces);
}

struct pace *paces_find(struct paces *paces, const char *name)
{
    if (!paces)
        return NULL;
    pthread_mutex_lock(&paces->lock);
    struct pace *pace = map_get(&paces->all, name);
    if (!pace) {
        pace = mem_zero(sizeof *pace);
        pace->paces = paces;
        map_set(&paces->all, name, pace);
    }
    pthread_mutex_unlock(&paces->lock);
    return pace;
}

/* What was done with a small part was far apart, and holds nobody back who has a large one now. */
static void rescale(struct pace *pace, double factor, int64_t now_ns)
{
    long long next_ns = atomic_load(&pace->next_ns), then_ns;
    do {
        if (next_ns <= now_ns)
            return;
        then_ns = now_ns + (long long)((double)(next_ns - now_ns) * factor);
    } while (!atomic_compare_exchange_weak(&pace->next_ns, &next_ns, then_ns));
}

void paces_set_share(struct paces *paces, int64_t millionths, int64_t now_us)
{
    int64_t share = millionths > 1 ? millionths : 1;
    double factor = (double)atomic_exchange(&paces->share, share) / (double)share;
    size_t at = 0;
    pthread_mutex_lock(&paces->lock);
    for (struct pace *pace; factor != 1 && (pace = map_next(&paces->all, &at, NULL));)
        rescale(pace, factor, now_us * 1000);
    pthread_mutex_unlock(&paces->lock);
}

/* What is not to be waited for longer, however rare it is. */
#define DEBT_NS_MAX (24 * 3600 * 1e9)

/* So many of this process. */
static int64_t take_ns(const struct pace *pace, int64_t interval_ns, size_t count)
{
    double ns = (double)interval_ns * (double)count * WHOLE / (double)atomic_load(&pace->paces->share);
    return (int64_t)(ns < DEBT_NS_MAX ? ns : DEBT_NS_MAX);
}

int64_t pace_wait(const struct pace *pace, int64_t interval_ns, int64_t now_us)
{
    if (!pace || !interval_ns)
        return 0;
    int64_t wait_ns = atomic_load(&pace->next_ns) - now_us * 1000;
    return wait_ns <= 0 ? 0 : wait_ns < WAIT_NS_MAX ? wait_ns / 1000 + 1 : WAIT_NS_MAX / 1000;
}

void pace_charge(struct pace *pace, int64_t interval_ns, size_t count, int64_t now_us)
{
    if (!pace || !interval_ns || !count)
        return;
    int64_t own_ns = take_ns(pace, interval_ns, count), now_ns = now_us * 1000;
    long long next_ns = atomic_load(&pace->next_ns), then_ns;
    do {
        then_ns = (next_ns > now_ns - UNUSED_NS ? next_ns : now_ns - UNUSED_NS) + own_ns;
        if (then_ns > now_ns + (int64_t)DEBT_NS_MAX)
            then_ns = now_ns + (int64_t)DEBT_NS_MAX;
    } while (!atomic_compare_exchange_weak(&pace->next_ns, &next_ns, then_ns));
}
