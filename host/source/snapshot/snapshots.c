/* snapshots.c: a table of changed items for each snapshot, under one lock. */
#include "source/snapshot/snapshots.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

/* Of the images that are kept for one snapshot. What changes beyond that comes by the stream alone. */
#define IMAGE_BYTES_MAX ((size_t)64 << 20)

struct change {
    uint64_t item; /* 0: the place is free */
    char *image;   /* NULL: none */
};

struct snapshot {
    size_t watchers; /* heirs of one handler may be on it */
    int64_t units, seen_ms;
    struct pace *pace;
    bool consistent;
    struct change *changes; /* open addressing; more than half of them free */
    size_t count, capacity;
    size_t image_bytes;
};

struct snapshots {
    pthread_mutex_t lock;
    struct paces *paces;
    struct map all; /* ARN -> struct snapshot, owned */
};

struct snapshots *snapshots_new(struct paces *paces)
{
    struct snapshots *snapshots = mem_zero(sizeof *snapshots);
    pthread_mutex_init(&snapshots->lock, NULL);
    snapshots->paces = paces;
    return snapshots;
}

static void snapshot_free(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (size_t i = 0; i < snapshot->capacity; i++)
        free(snapshot->changes[i].image);
    free(snapshot->changes);
    free(snapshot);
}

void snapshots_free(struct snapshots *snapshots)
{
    size_t at = 0;
    if (!snapshots)
        return;
    for (struct snapshot *snapshot; (snapshot = map_next(&snapshots->all, &at, NULL));)
        snapshot_free(snapshot);
    map_fini(&snapshots->all);
    pthread_mutex_destroy(&snapshots->lock);
    free(snapshots);
}

/* Locks; NULL where the snapshot is not under way here. */
static struct snapshot *enter(struct snapshots *snapshots, const char *arn)
{
    pthread_mutex_lock(&snapshots->lock);
    return map_get(&snapshots->all, arn);
}

static void leave(struct snapshots *snapshots)
{
    pthread_mutex_unlock(&snapshots->lock);
}

bool snapshots_any(struct snapshots *snapshots)
{
    pthread_mutex_lock(&snapshots->lock);
    bool any = snapshots->all.count > 0;
    leave(snapshots);
    return any;
}

/* The place of the item, or where it belongs. */
static struct change *place_of(const struct snapshot *snapshot, uint64_t item)
{
    size_t mask = snapshot->capacity - 1, at = (size_t)hash_mix(item) & mask;
    while (snapshot->changes[at].item && snapshot->changes[at].item != item)
        at = (at + 1) & mask;
    return &snapshot->changes[at];
}

static void grow(struct snapshot *snapshot)
{
    struct change *old = snapshot->changes;
    size_t count = snapshot->capacity;
    if (snapshot->count * 2 < count)
        return;
    snapshot->capacity = count ? count * 2 : 1024;
    snapshot->changes = mem_zero(snapshot->capacity * sizeof *snapshot->changes);
    for (size_t i = 0; i < count; i++)
        if (old[i].item)
            *place_of(snapshot, old[i].item) = old[i];
    free(old);
}

/* 0 is the mark of a free place. */
static uint64_t number_of(uint64_t item)
{
    return item ? item : 1;
}

/* ---- whoever watches the stream ---- */

void snapshots_begin(struct snapshots *snapshots, const char *arn, const char *table, int64_t units,
                     bool consistent)
{
    char *name = mem_printf("snapshot of %s", table);
    struct pace *pace = paces_find(snapshots->paces, name);
    struct snapshot *snapshot = enter(snapshots, arn);
    free(name);
    if (!snapshot) {
        snapshot = mem_zero(sizeof *snapshot);
        grow(snapshot);
        map_set(&snapshots->all, arn, snapshot);
    }
    snapshot->watchers++;
    snapshot->units = units;
    snapshot->pace = pace;
    snapshot->consistent = consistent;
    leave(snapshots);
}

void snapshots_end(struct snapshots *snapshots, const char *arn)
{
    struct snapshot *snapshot = enter(snapshots, arn);
    CHECK(snapshot && snapshot->watchers > 0);
    if (!--snapshot->watchers)
        snapshot_free(map_remove(&snapshots->all, arn));
    leave(snapshots);
}

void snapshots_saw(struct snapshots *snapshots, const char *arn, int64_t until_ms)
{
    struct snapshot *snapshot = enter(snapshots, arn);
    if (snapshot && snapshot->seen_ms < until_ms)
        snapshot->seen_ms = until_ms;
    leave(snapshots);
}

void snapshots_changed(struct snapshots *snapshots, const char *arn, uint64_t item, const char *image,
                       size_t size)
{
    struct snapshot *snapshot = enter(snapshots, arn);
    if (snapshot) {
        struct change *change = place_of(snapshot, number_of(item));
        if (!change->item) {
            bool kept = image && snapshot->image_bytes + size <= IMAGE_BYTES_MAX;
            *change = (struct change){number_of(item), kept ? mem_copy(image, size) : NULL};
            snapshot->image_bytes += kept ? size : 0;
            snapshot->count++;
            grow(snapshot);
        }
    }
    leave(snapshots);
}

/* ---- whoever reads the table ---- */

bool snapshots_terms(struct snapshots *snapshots, const char *arn, struct snapshot_terms *terms)
{
    const struct snapshot *snapshot = enter(snapshots, arn);
    bool known = snapshot != NULL;
    if (known)
        *terms = (struct snapshot_terms){
            .consistent = snapshot->consistent,
            .interval_ns = snapshot->units ? 1000000000 / snapshot->units : 0,
            .pace = snapshot->pace,
        };
    leave(snapshots);
    return known;
}

int64_t snapshots_seen_ms(struct snapshots *snapshots, const char *arn)
{
    const struct snapshot *snapshot = enter(snapshots, arn);
    int64_t seen_ms = snapshot ? snapshot->seen_ms : 0;
    leave(snapshots);
    return seen_ms;
}

enum snapshot_item snapshots_look(struct snapshots *snapshots, const char *arn, uint64_t item,
                                  struct buf *image)
{
    enum snapshot_item answer = ITEM_AS_READ;
    const struct snapshot *snapshot = enter(snapshots, arn);
    const struct change *change = snapshot ? place_of(snapshot, number_of(item)) : NULL;
    if (change && change->item) {
        answer = change->image ? ITEM_AS_IT_WAS : ITEM_LATER;
        if (change->image)
            buf_add_text(image, change->image);
    }
    leave(snapshots);
    return answer;
}
