/* generation.c: see generation.h. */
#include "assign/generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/mem.h"

char *stream_identity(const char *stream_arn, const char *table)
{
    const char *label = strstr(stream_arn, "/stream/");
    const char *created = created_of_arn(stream_arn);
    if (created)
        return mem_copy(stream_arn, (size_t)(created - stream_arn));
    if (label)
        return mem_copy(stream_arn, (size_t)(label - stream_arn));
    return mem_printf("table:%s", table ? table : stream_arn);
}

struct generation *generation_new(const char *stream_arn, const char *table)
{
    struct generation *generation = mem_zero(sizeof *generation);
    list_init(&generation->link);
    task_init(&generation->review, NULL, NULL);
    generation->stream_arn = mem_string(stream_arn);
    generation->table = table ? mem_string(table) : table_of_arn(stream_arn, NULL);
    return generation;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    CHECK(!generation->workers.count); /* they still count as their workers' load */
    list_remove(&generation->link);
    task_cancel(&generation->review);
    discovery_free(generation->discovery);
    map_fini(&generation->workers);
    map_fini(&generation->told_closed);
    map_fini(&generation->missed);
    free(generation->stream_arn);
    free(generation->table);
    free(generation);
}

struct worker *generation_worker(struct generation *generation, const char *shard, struct loads *loads)
{
    struct worker *worker = map_get(&generation->workers, shard);
    size_t best = 0;
    if (worker)
        return worker;
    CHECK(loads->count > 0);
    for (size_t i = 1; i < loads->count; i++)
        if (loads->counts[i] < loads->counts[best])
            best = i;
    loads->counts[best]++;
    map_set(&generation->workers, shard, loads->workers[best]);
    return loads->workers[best];
}

static void unload(struct loads *loads, const struct worker *worker)
{
    for (size_t i = 0; i < loads->count; i++)
        if (loads->workers[i] == worker) {
            CHECK(loads->counts[i] > 0);
            loads->counts[i]--;
        }
}

void generation_release(struct generation *generation, const char *shard, struct loads *loads)
{
    struct worker *worker = map_remove(&generation->workers, shard);
    if (worker)
        unload(loads, worker);
}

void generation_release_all(struct generation *generation, struct loads *loads)
{
    struct worker *worker;
    size_t at = 0;
    while ((worker = map_next(&generation->workers, &at, NULL)))
        unload(loads, worker);
    map_fini(&generation->workers);
    generation->workers = MAP_INIT;
}
