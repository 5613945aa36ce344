/* map.c: open addressing with linear probing; removal shifts back, so there are no tombstones. */
#include "base/check.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static size_t home(const struct map *map, const char *key)
{
    return hash_bytes(key, strlen(key), 0) & (map->capacity - 1);
}

/* The slot of the key, or the empty one where it would go. Needs capacity. */
static struct map_slot *find(const struct map *map, const char *key)
{
    size_t at = home(map, key);
    CHECK(map->count < map->capacity); /* else it looks for ever */
    while (map->slots[at].key && strcmp(map->slots[at].key, key) != 0)
        at = (at + 1) & (map->capacity - 1);
    return &map->slots[at];
}

void map_fini(struct map *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        free(map->slots[i].key);
    free(map->slots);
    *map = MAP_INIT;
}

void *map_get(const struct map *map, const char *key)
{
    return map->capacity ? find(map, key)->value : NULL;
}

static void grow(struct map *map)
{
    struct map old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : 16;
    map->slots = mem_zero(map->capacity * sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].key)
            *find(map, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

void map_set(struct map *map, const char *key, void *value)
{
    if ((map->count + 1) * 4 > map->capacity * 3)
        grow(map);
    struct map_slot *slot = find(map, key);
    if (!slot->key) {
        slot->key = mem_string(key);
        map->count++;
    }
    slot->value = value;
}

void *map_remove(struct map *map, const char *key)
{
    struct map_slot *slot = map->capacity ? find(map, key) : NULL;
    if (!slot || !slot->key)
        return NULL;
    void *value = slot->value;
    CHECK(map->count > 0);
    free(slot->key);
    map->count--;
    size_t hole = (size_t)(slot - map->slots), mask = map->capacity - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].key; at = (at + 1) & mask) {
        size_t wanted = home(map, map->slots[at].key);
        /* May move back only if its home is not between the hole and itself. */
        if (((at - wanted) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    return value;
}

void *map_next(const struct map *map, size_t *at, const char **key)
{
    while (*at < map->capacity) {
        struct map_slot *slot = &map->slots[(*at)++];
        if (!slot->key)
            continue;
        if (key)
            *key = slot->key;
        return slot->value;
    }
    return NULL;
}
