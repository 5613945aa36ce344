/* stats.c: see stats.h. */
#include "stats/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

struct stats {
    struct map handlers; /* "stream\nhandler" -> struct stats_handler, owned */
    struct map streams, targets;
};

struct stats *stats_new(void)
{
    return mem_zero(sizeof(struct stats));
}

static void clear(struct map *map)
{
    size_t at = 0;
    for (void *counters; (counters = map_next(map, &at, NULL));)
        free(counters);
    map_fini(map);
}

void stats_free(struct stats *stats)
{
    if (!stats)
        return;
    clear(&stats->handlers);
    clear(&stats->streams);
    clear(&stats->targets);
    free(stats);
}

static void *find(struct map *map, const char *name, size_t size)
{
    void *counters = map_get(map, name);
    if (!counters) {
        counters = mem_zero(size);
        map_set(map, name, counters);
    }
    return counters;
}

struct stats_handler *stats_handler(struct stats *stats, const char *stream, const char *handler)
{
    if (!stats)
        return NULL;
    char *name = mem_printf("%s\n%s", stream, handler);
    struct stats_handler *counters = find(&stats->handlers, name, sizeof *counters);
    free(name);
    return counters;
}

struct stats_stream *stats_stream(struct stats *stats, const char *stream)
{
    return stats ? find(&stats->streams, stream, sizeof(struct stats_stream)) : NULL;
}

struct stats_target *stats_target(struct stats *stats, const char *target)
{
    return stats ? find(&stats->targets, target, sizeof(struct stats_target)) : NULL;
}

void stats_each_handler(struct stats *stats,
                        void (*fn)(void *user, const char *stream, const char *handler,
                                   const struct stats_handler *counters),
                        void *user)
{
    const char *name;
    size_t at = 0;
    for (struct stats_handler *counters; (counters = map_next(&stats->handlers, &at, &name));) {
        const char *handler = strchr(name, '\n') + 1;
        char *stream = mem_copy(name, (size_t)(handler - name) - 1);
        fn(user, stream, handler, counters);
        free(stream);
    }
}

void stats_each_stream(struct stats *stats,
                       void (*fn)(void *user, const char *stream, const struct stats_stream *counters),
                       void *user)
{
    const char *name;
    size_t at = 0;
    for (struct stats_stream *counters; (counters = map_next(&stats->streams, &at, &name));)
        fn(user, name, counters);
}

void stats_each_target(struct stats *stats,
                       void (*fn)(void *user, const char *target, const struct stats_target *counters),
                       void *user)
{
    const char *name;
    size_t at = 0;
    for (struct stats_target *counters; (counters = map_next(&stats->targets, &at, &name));)
        fn(user, name, counters);
}

/* ---- how things stand ---- */

void stats_clear_now(struct stats *stats)
{
    size_t at = 0;
    for (struct stats_handler *counters; (counters = map_next(&stats->handlers, &at, NULL));)
        counters->now = (struct stats_subscription){0};
}

void stats_add_now(struct stats_handler *counters, const struct stats_subscription *now)
{
    struct stats_subscription *all = &counters->now;
    all->in_flight += now->in_flight;
    all->retrying += now->retrying;
    all->waiting += now->waiting;
    if (now->oldest_ms && (!all->oldest_ms || now->oldest_ms < all->oldest_ms))
        all->oldest_ms = now->oldest_ms;
    all->catching_up = all->catching_up || now->catching_up;
}
