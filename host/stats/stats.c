/* stats.c: see stats.h. */
#include "stats/stats.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "stats/sheet.h"

struct stats {
    struct map handlers; /* "stream\nhandler" -> struct stats_handler, owned */
    struct map streams, targets, scripts;
    struct map series; /* "metric\nlabels" -> struct series, owned */
};

#define SERIES_MAX 2000

struct series {
    double value;
    struct stats_times times;
    bool timed;
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
    clear(&stats->scripts);
    clear(&stats->series);
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

struct stats_script *stats_script(struct stats *stats, const char *handler)
{
    return stats ? find(&stats->scripts, handler, sizeof(struct stats_script)) : NULL;
}

/* ---- series by labels ---- */

static struct series *find_series(struct stats *stats, const char *metric, const char *labels)
{
    char *key = mem_printf("%s\n%s", metric, labels);
    struct series *series = map_get(&stats->series, key);
    if (!series && stats->series.count < SERIES_MAX)
        series = find(&stats->series, key, sizeof *series);
    free(key);
    return series;
}

/* The same names, each with the value "other". */
static char *other_labels(const char *labels)
{
    struct buf out = BUF_INIT;
    for (const char *name = labels; *name;) {
        size_t size = strcspn(name, "=");
        buf_printf(&out, "%s%.*s=\"other\"", out.size ? "," : "", (int)size, name);
        const char *value = name + size + 2;
        while (*value != '"')
            value += 1 + (*value == '\\');
        name = value[1] ? value + 2 : value + 1;
    }
    buf_add(&out, "", 0);
    return buf_take(&out);
}

/* One of each metric has room behind the others. */
static struct series *find_other(struct stats *stats, const char *metric, const char *labels)
{
    char *others = other_labels(labels), *key = mem_printf("%s\n%s", metric, others);
    struct series *series = find(&stats->series, key, sizeof *series);
    free(others);
    free(key);
    return series;
}

static struct series *series_of(struct stats *stats, const char *metric, va_list pairs)
{
    static _Thread_local struct series unread;
    if (!stats)
        return &unread;
    char *labels = sheet_labels(pairs);
    struct series *series = find_series(stats, metric, labels);
    if (!series)
        series = find_other(stats, metric, labels);
    free(labels);
    return series;
}

double *stats_counter(struct stats *stats, const char *metric, ...)
{
    va_list pairs;
    va_start(pairs, metric);
    struct series *series = series_of(stats, metric, pairs);
    va_end(pairs);
    return &series->value;
}

struct stats_times *stats_times(struct stats *stats, const char *metric, ...)
{
    va_list pairs;
    va_start(pairs, metric);
    struct series *series = series_of(stats, metric, pairs);
    va_end(pairs);
    series->timed = true;
    return &series->times;
}

void stats_each_script(struct stats *stats,
                       void (*fn)(void *user, const char *handler, const struct stats_script *counters),
                       void *user)
{
    const char *name;
    size_t at = 0;
    for (struct stats_script *counters; (counters = map_next(&stats->scripts, &at, &name));)
        fn(user, name, counters);
}

void stats_each_series(struct stats *stats,
                       void (*fn)(void *user, const char *metric, const char *labels, double value,
                                  const struct stats_times *times),
                       void *user)
{
    const char *key;
    size_t at = 0;
    for (const struct series *series; (series = map_next(&stats->series, &at, &key));) {
        const char *labels = strchr(key, '\n') + 1;
        char *metric = mem_copy(key, (size_t)(labels - key) - 1);
        fn(user, metric, labels, series->value, series->timed ? &series->times : NULL);
        free(metric);
    }
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
    at = 0;
    for (struct stats_stream *counters; (counters = map_next(&stats->streams, &at, NULL));)
        counters->shards = counters->window_bytes = 0;
}

void stats_add_now(struct stats_handler *counters, const struct stats_subscription *now)
{
    struct stats_subscription *all = &counters->now;
    all->shards++;
    all->in_flight += now->in_flight;
    all->retrying += now->retrying;
    all->waiting += now->waiting;
    if (now->oldest_ms && (!all->oldest_ms || now->oldest_ms < all->oldest_ms))
        all->oldest_ms = now->oldest_ms;
    if (now->behind_ms && (!all->behind_ms || now->behind_ms < all->behind_ms))
        all->behind_ms = now->behind_ms;
    all->catching_up = all->catching_up || now->catching_up;
}
