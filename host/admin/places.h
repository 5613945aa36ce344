/* places.h: rows of the state found again by their handler, stream and shard, whose texts stay where they
 * are: a thousand shards with fifty handlers have fifty thousand. Private to admin/. */
#ifndef TIDEMILL_ADMIN_PLACES_H
#define TIDEMILL_ADMIN_PLACES_H

#include <stddef.h>

#include "base/arena.h"

/* Where in a row of some kind its texts stand; handler SIZE_MAX: it is of the shard itself. */
struct place_texts {
    size_t handler, stream_arn, shard;
};

#define PLACE_TEXTS(type)                                                                    \
    ((struct place_texts){offsetof(struct type, handler), offsetof(struct type, stream_arn), \
                          offsetof(struct type, shard)})
#define PLACE_TEXTS_OF_SHARD(type) \
    ((struct place_texts){SIZE_MAX, offsetof(struct type, stream_arn), offsetof(struct type, shard)})

struct places {
    struct place_texts texts;
    const char *rows;
    size_t row_size, count;
    size_t *next; /* of rows in order: the one behind that found last; NULL: they are in none */
    size_t capacity;
    size_t *slots; /* of others: the number of a row and 1, or 0 */
};

/* All of them, which must stay where they are; of several with the same texts the last one counts. */
struct places places_of(struct arena *arena, struct place_texts texts, const void *rows, size_t row_size,
                        size_t count);

/* The row, or NULL. `handler` is not looked at where rows have none. */
const void *places_find(const struct places *places, const char *handler, const char *stream_arn,
                        const char *shard);

#endif
