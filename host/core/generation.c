/* generation.c: see generation.h. */
#include "core/generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char *table_of_arn(const char *stream_arn, const char *fallback)
{
    const char *table = strstr(stream_arn, ":table/"), *end;
    if (!table)
        return mem_string(fallback ? fallback : stream_arn);
    table += strlen(":table/");
    end = strchr(table, '/');
    return mem_copy(table, end ? (size_t)(end - table) : strlen(table));
}

char *stream_identity(const char *stream_arn, const char *table)
{
    const char *label = strstr(stream_arn, "/stream/");
    if (label)
        return mem_copy(stream_arn, (size_t)(label - stream_arn));
    return mem_printf("table:%s", table ? table : stream_arn);
}

struct generation *generation_new(const char *stream_arn, const char *table)
{
    struct generation *generation = mem_zero(sizeof *generation);
    list_init(&generation->link);
    generation->stream_arn = mem_string(stream_arn);
    generation->table = table_of_arn(stream_arn, table);
    return generation;
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    list_remove(&generation->link);
    discovery_free(generation->discovery);
    map_fini(&generation->workers);
    map_fini(&generation->told_closed);
    map_fini(&generation->missed);
    free(generation->stream_arn);
    free(generation->table);
    free(generation);
}

struct worker *generation_worker(struct generation *generation, const char *shard, struct worker **workers,
                                 size_t count)
{
    struct worker *worker = map_get(&generation->workers, shard), *assigned;
    size_t fewest = SIZE_MAX;
    if (worker)
        return worker;
    for (size_t i = 0; i < count; i++) {
        size_t has = 0, at = 0;
        while ((assigned = map_next(&generation->workers, &at, NULL)))
            has += assigned == workers[i];
        if (has < fewest) {
            fewest = has;
            worker = workers[i];
        }
    }
    map_set(&generation->workers, shard, worker);
    return worker;
}
