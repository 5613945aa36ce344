/* lineage.c: see lineage.h. */
#include "source/lineage.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "record/position.h"

/* So many full listings in a row, and so long, without a shard: it is gone. After a shard closed two of them
 * may be 50 ms apart, and the service needs a moment until all of it knows the same. */
#define MISSES_MAX 3
#define MISSED_MS 10000

struct node {
    struct shard_info info; /* owned texts */
    uint64_t generation;    /* of ScyllaDB Alternator's shards; 0: it has none */
    bool has_child;
    bool listed;       /* in any listing; else it is expected */
    bool seen;         /* in the listing that is being learned */
    bool has_heir;     /* a child with no other parent */
    int misses;        /* full listings in a row without it */
    int64_t missed_ms; /* when the first of these ended */
};

struct lineage {
    struct node **nodes; /* in the order they were first seen: parents come before children */
    size_t count, capacity;
    bool misses;      /* the last listing */
    uint64_t version; /* grows when shards come or go */
    struct map by_id;
};

struct lineage *lineage_new(void)
{
    return mem_zero(sizeof(struct lineage));
}

static void node_free(struct node *node)
{
    free((char *)node->info.id);
    for (size_t i = 0; i < SHARD_PARENTS_MAX; i++)
        free((char *)node->info.parents[i]);
    free((char *)node->info.starting);
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

/* "H 19b7c3a1f00:8a51...": ScyllaDB's shards carry when their generation began (alternator/streams.cc). */
static uint64_t generation_of(const char *id)
{
    char *end;
    if (strncmp(id, "H ", 2) != 0)
        return 0;
    uint64_t generation = strtoull(id + 2, &end, 16);
    return *end == ':' ? generation : 0;
}

static struct node *add(struct lineage *lineage, const struct shard_info *info)
{
    CHECK(info->id); /* a source leaves out what has none */
    struct node *node = mem_zero(sizeof *node);
    CHECK(!find(lineage, info->id));
    node->info.id = mem_string(info->id);
    node->generation = generation_of(info->id);
    lineage->version++;
    mem_grow(&lineage->nodes, &lineage->capacity, lineage->count, sizeof(struct node *));
    lineage->nodes[lineage->count++] = node;
    map_set(&lineage->by_id, info->id, node);
    return node;
}

static void tell_parents(struct lineage *lineage, const struct shard_info *info)
{
    for (size_t i = 0; i < SHARD_PARENTS_MAX; i++) {
        struct node *parent = find(lineage, info->parents[i]);
        if (!parent)
            continue;
        parent->has_child = true;
        parent->has_heir = parent->has_heir || !info->parents[1];
    }
}

void lineage_learn(struct lineage *lineage, const struct shard_info *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct node *node = find(lineage, shards[i].id);
        if (!node)
            node = add(lineage, &shards[i]);
        node->seen = node->listed = true;
        node->misses = 0;
        for (size_t p = 0; p < SHARD_PARENTS_MAX; p++)
            if (!node->info.parents[p]) /* once said, it stays */
                node->info.parents[p] = mem_string(shards[i].parents[p]);
        if (shards[i].starting &&
            (!node->info.starting || strcmp(node->info.starting, shards[i].starting) != 0)) {
            free((char *)node->info.starting);
            node->info.starting = mem_string(shards[i].starting);
        }
        node->info.closed |= shards[i].closed; /* a closed shard never opens again */
    }
    for (size_t i = 0; i < count; i++)
        tell_parents(lineage, &shards[i]);
}

static bool is_gone(struct node *node, int64_t now_ms)
{
    if (node->seen)
        return false;
    if (!node->misses++)
        node->missed_ms = now_ms;
    return node->misses >= MISSES_MAX && now_ms - node->missed_ms >= MISSED_MS;
}

void lineage_end(struct lineage *lineage, int64_t now_ms, void (*gone)(void *user, const char *shard),
                 void *user)
{
    size_t kept = 0;
    lineage->misses = false;
    for (size_t i = 0; i < lineage->count; i++) {
        struct node *node = lineage->nodes[i];
        tell_parents(lineage, &node->info); /* one may have been listed behind its child */
        lineage->misses = lineage->misses || !node->seen;
        if (is_gone(node, now_ms)) {
            lineage->version++;
            map_remove(&lineage->by_id, node->info.id);
            if (gone)
                gone(user, node->info.id);
            node_free(node);
        } else {
            lineage->nodes[kept++] = node;
        }
    }
    lineage->count = kept;
    CHECK(lineage->count == lineage->by_id.count);
}

void lineage_expect(struct lineage *lineage, const char *shard)
{
    if (!find(lineage, shard))
        add(lineage, &(struct shard_info){.id = shard});
}

bool lineage_misses(const struct lineage *lineage)
{
    return lineage->misses;
}

bool lineage_listed(const struct lineage *lineage, const char *shard)
{
    const struct node *node = find(lineage, shard);
    return node && node->listed;
}

const char *lineage_next_starting(const struct lineage *lineage, const char *sequence)
{
    const char *next = NULL;
    for (size_t i = 0; i < lineage->count; i++) {
        const char *starting = lineage->nodes[i]->seen ? lineage->nodes[i]->info.starting : NULL;
        if (starting && sequence_valid(starting) && sequence_compare(starting, sequence) > 0 &&
            (!next || sequence_compare(starting, next) < 0))
            next = starting;
    }
    return next;
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

bool lineage_has_heir(const struct lineage *lineage, const char *shard)
{
    const struct node *node = find(lineage, shard);
    return node && node->has_heir;
}

bool shard_is_child(const struct shard_info *shard, const char *parent)
{
    for (size_t i = 0; i < SHARD_PARENTS_MAX; i++)
        if (shard->parents[i] && strcmp(shard->parents[i], parent) == 0)
            return true;
    return false;
}

bool lineage_superseded(const struct lineage *lineage, const char *shard)
{
    const struct node *node = find(lineage, shard);
    for (size_t i = 0; node && node->generation && i < lineage->count; i++)
        if (lineage->nodes[i]->generation > node->generation)
            return true;
    return false;
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
    progress->version = 0;
}

void progress_forget(struct progress *progress, const char *shard)
{
    map_remove(&progress->finished, shard);
    progress->version = 0;
}

bool progress_finished(const struct progress *progress, const char *shard)
{
    return map_get(&progress->finished, shard) != NULL;
}

/* The oldest generation with a shard that is not finished. */
static uint64_t oldest_open(const struct lineage *lineage, struct progress *progress)
{
    if (progress->version == lineage->version)
        return progress->oldest_open;
    progress->version = lineage->version;
    progress->oldest_open = UINT64_MAX;
    for (size_t i = 0; i < lineage->count; i++) {
        const struct node *node = lineage->nodes[i];
        if (node->generation && node->generation < progress->oldest_open &&
            !progress_finished(progress, node->info.id))
            progress->oldest_open = node->generation;
    }
    return progress->oldest_open;
}

bool lineage_ready(const struct lineage *lineage, struct progress *progress, const char *shard)
{
    const struct node *node = find(lineage, shard);
    if (!node || !node->listed || progress_finished(progress, shard))
        return false;
    /* A shard of the next generation names one parent, and may hold items of several. */
    if (node->generation && oldest_open(lineage, progress) < node->generation)
        return false;
    for (size_t i = 0; i < SHARD_PARENTS_MAX; i++) {
        const struct node *parent = find(lineage, node->info.parents[i]);
        if (parent && !progress_finished(progress, parent->info.id))
            return false;
    }
    return true;
}

bool lineage_all_finished(const struct lineage *lineage, const struct progress *progress)
{
    for (size_t i = 0; i < lineage->count; i++)
        if (!progress_finished(progress, lineage->nodes[i]->info.id))
            return false;
    return true;
}
