/* places.c: see places.h. Open addressing; nothing is ever removed. */
#include "admin/places.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"

static const char *text_of(const char *row, size_t at)
{
    return *(const char *const *)(const void *)(row + at);
}

static uint64_t hash_of(const char *handler, const char *stream_arn, const char *shard)
{
    uint64_t hash = hash_bytes(handler, strlen(handler), 0);
    return hash_bytes(shard, strlen(shard), hash_bytes(stream_arn, strlen(stream_arn), hash));
}

static const char *handler_of(const struct places *places, const char *row)
{
    return places->texts.handler == SIZE_MAX ? "" : text_of(row, places->texts.handler);
}

/* Of the row with those texts, or the empty one where it would go. */
static size_t *slot_of(const struct places *places, const char *handler, const char *stream_arn,
                       const char *shard)
{
    size_t mask = places->capacity - 1;
    for (size_t at = hash_of(handler, stream_arn, shard) & mask;; at = (at + 1) & mask) {
        size_t number = places->slots[at];
        const char *row = number ? places->rows + (number - 1) * places->row_size : NULL;
        if (!row || (strcmp(text_of(row, places->texts.shard), shard) == 0 &&
                     strcmp(handler_of(places, row), handler) == 0 &&
                     strcmp(text_of(row, places->texts.stream_arn), stream_arn) == 0))
            return &places->slots[at];
    }
}

struct places places_of(struct arena *arena, struct place_texts texts, const void *rows, size_t row_size,
                        size_t count)
{
    struct places places = {texts, rows, row_size, 16, NULL};
    while (places.capacity * 3 < (count + 1) * 4)
        places.capacity *= 2;
    places.slots = arena_alloc(arena, places.capacity * sizeof *places.slots);
    memset(places.slots, 0, places.capacity * sizeof *places.slots);
    for (size_t i = 0; i < count; i++) {
        const char *row = places.rows + i * row_size;
        *slot_of(&places, handler_of(&places, row), text_of(row, texts.stream_arn),
                 text_of(row, texts.shard)) = i + 1;
    }
    return places;
}

const void *places_find(const struct places *places, const char *handler, const char *stream_arn,
                        const char *shard)
{
    CHECK(places->slots);
    size_t number = *slot_of(places, places->texts.handler == SIZE_MAX ? "" : handler, stream_arn, shard);
    return number ? places->rows + (number - 1) * places->row_size : NULL;
}
