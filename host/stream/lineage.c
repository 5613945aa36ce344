/* lineage.c: see lineage.h. */
#include "stream/lineage.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MISSES_MAX 2

struct node {
    struct shard_info info; /* owned texts */
    bool has_child;
    bool seen;  /* in the listing that is being learned */
    int misses; /* full listings in a row without it */
};

struct lineage {
    struct node **nodes; /* in the order they were first seen: parents come before children */
    size_t count, capacity;
    struct map by_id;
};

struct lineage *lineage_new(void)
{
    return mem_zero(sizeof(struct lineage));
}

static void node_free(struct node *node)
{
    free((char *)node->info.id);
    free((char *)node->info.parent);
    free(node);
}

void lineage_free(struct lineage *lineage)
{
    if (!lineage)
        return;
    for (size_t i = 0; i < lineage->count; i++)
        node_free(lineage->nodes[i]);
    free(lineage->nodes);
    map_fini(&lineage->by_id);
    free(lineage);
}

static struct node *find(const struct lineage *lineage, const char *shard)
{
    return shard ? map_get(&lineage->by_id, shard) : NULL;
}

void lineage_begin(struct lineage *lineage)
{
    for (size_t i = 0; i < lineage->count; i++)
        lineage->nodes[i]->seen = false;
}

static struct node *add(struct lineage *lineage, const struct shard_info *info)
{
    struct node *node = mem_zero(sizeof *node);
    node->info.id = mem_string(info->id);
    node->info.parent = mem_string(info->parent);
    mem_grow(&lineage->nodes, &lineage->capacity, lineage->count, sizeof(struct node *));
    lineage->nodes[lineage->count++] = node;
    map_set(&lineage->by_id, info->id, node);
    return node;
}

void lineage_learn(struct lineage *lineage, const struct shard_info *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct node *node = find(lineage, shards[i].id);
        if (!node)
            node = add(lineage, &shards[i]);
        node->seen = true;
        node->misses = 0;
        node->info.closed |= shards[i].closed; /* a closed shard never opens again */
    }
    for (size_t i = 0; i < count; i++) {
        struct node *parent = find(lineage, shards[i].parent);
        if (parent)
            parent->has_child = true;
    }
}

void lineage_end(struct lineage *lineage, void (*gone)(void *user, const char *shard), void *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < lineage->count; i++) {
        struct node *node = lineage->nodes[i];
        struct node *parent = find(lineage, node->info.parent);
        if (parent) /* a parent may have been listed behind its child */
            parent->has_child = true;
        if (!node->seen && ++node->misses >= MISSES_MAX) {
            map_remove(&lineage->by_id, node->info.id);
            if (gone)
                gone(user, node->info.id);
            node_free(node);
        } else {
            lineage->nodes[kept++] = node;
        }
    }
    lineage->count = kept;
}

size_t lineage_count(const struct lineage *lineage)
{
    return lineage->count;
}

bool lineage_knows(const struct lineage *lineage, const char *shard)
{
    return find(lineage, shard) != NULL;
}

bool lineage_closed(const struct lineage *lineage, const char *shard)
{
    const struct node *node = find(lineage, shard);
    return node && (node->info.closed || node->has_child);
}

bool lineage_has_child(const struct lineage *lineage, const char *shard)
{
    const struct node *node = find(lineage, shard);
    return node && node->has_child;
}

const struct shard_info *lineage_at(const struct lineage *lineage, size_t index)
{
    return &lineage->nodes[index]->info;
}

void progress_fini(struct progress *progress)
{
    map_fini(&progress->finished);
}

void progress_finish(struct progress *progress, const char *shard)
{
    map_set(&progress->finished, shard, progress);
}

void progress_forget(struct progress *progress, const char *shard)
{
    map_remove(&progress->finished, shard);
}

bool progress_finished(const struct progress *progress, const char *shard)
{
    return map_get(&progress->finished, shard) != NULL;
}

bool lineage_ready(const struct lineage *lineage, const struct progress *progress, const char *shard)
{
    const struct node *node = find(lineage, shard);
    if (!node || progress_finished(progress, shard))
        return false;
    const struct node *parent = find(lineage, node->info.parent);
    return !parent || progress_finished(progress, parent->info.id);
}

bool lineage_all_finished(const struct lineage *lineage, const struct progress *progress)
{
    for (size_t i = 0; i < lineage->count; i++)
        if (!progress_finished(progress, lineage->nodes[i]->info.id))
            return false;
    return true;
}
