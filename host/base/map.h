/* map.h: text keys to pointers. Keys are copied; values stay the caller's. */
#ifndef TIDEMILL_BASE_MAP_H
#define TIDEMILL_BASE_MAP_H

#include <stddef.h>

struct map_slot {
    char *key; /* NULL: empty */
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

#define MAP_INIT ((struct map){0})

void map_fini(struct map *map);
void *map_get(const struct map *map, const char *key);       /* NULL where it is not */
void map_set(struct map *map, const char *key, void *value); /* value must not be NULL */
void *map_remove(struct map *map, const char *key);          /* what was there, or NULL */

/* Walk in no particular order: start with *at = 0; NULL at the end. Do not change the map meanwhile. */
void *map_next(const struct map *map, size_t *at, const char **key);

#endif
