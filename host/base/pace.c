/* pace.c: see pace.h. */
#include "base/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

#define UNUSED_NS 100000000 /* for so long what was not used is good */
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

void paces_set_share(struct paces *paces, int64_t millionths)
{
    atomic_store(&paces->share, millionths > 1 ? millionths : 1);
}

/* Between two of this process. */
static int64_t own_interval_ns(const struct pace *pace, int64_t interval_ns)
{
    return (int64_t)((double)interval_ns * WHOLE / (double)atomic_load(&pace->paces->share));
}

int64_t pace_take(struct pace *pace, int64_t interval_ns, int64_t now_us)
{
    if (!pace || !interval_ns)
        return 0;
    int64_t own_ns = own_interval_ns(pace, interval_ns), now_ns = now_us * 1000;
    long long next_ns = atomic_load(&pace->next_ns);
    for (;;) {
        long long due_ns = next_ns > now_ns - UNUSED_NS ? next_ns : now_ns - UNUSED_NS;
        if (due_ns > now_ns)
            return (due_ns - now_ns) / 1000 + 1;
        if (atomic_compare_exchange_weak(&pace->next_ns, &next_ns, due_ns + own_ns))
            return 0;
    }
}

void pace_charge(struct pace *pace, int64_t interval_ns, size_t count, int64_t now_us)
{
    if (!pace || !interval_ns || !count)
        return;
    int64_t own_ns = own_interval_ns(pace, interval_ns) * (int64_t)count, now_ns = now_us * 1000;
    long long next_ns = atomic_load(&pace->next_ns), from_ns;
    do
        from_ns = next_ns > now_ns - UNUSED_NS ? next_ns : now_ns - UNUSED_NS;
    while (!atomic_compare_exchange_weak(&pace->next_ns, &next_ns, from_ns + own_ns));
}
