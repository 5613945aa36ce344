/* places.c: see places.h. Rows mostly come in order, and so do those that they are asked for: where they do
 * no index is made. Else by open addressing; nothing is ever removed. */
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

static int compare_texts(const char *a, const char *b)
{
    return a == b ? 0 : strcmp(a, b);
}

static int compare(const struct places *places, size_t number, const char *handler, const char *stream_arn,
                   const char *shard)
{
    const char *row = places->rows + number * places->row_size;
    int order = compare_texts(handler_of(places, row), handler);
    order = order ? order : compare_texts(text_of(row, places->texts.stream_arn), stream_arn);
    return order ? order : compare_texts(text_of(row, places->texts.shard), shard);
}

/* No two of them have the same texts, then. */
static bool are_in_order(const struct places *places)
{
    for (size_t i = 1; i < places->count; i++) {
        const char *row = places->rows + i * places->row_size;
        if (compare(places, i - 1, handler_of(places, row), text_of(row, places->texts.stream_arn),
                    text_of(row, places->texts.shard)) >= 0)
            return false;
    }
    return true;
}

struct places places_of(struct arena *arena, struct place_texts texts, const void *rows, size_t row_size,
                        size_t count)
{
    struct places places = {
        .texts = texts, .rows = rows, .row_size = row_size, .count = count, .capacity = 16};
    if (are_in_order(&places)) {
        places.next = arena_alloc(arena, sizeof *places.next);
        *places.next = 0;
        return places;
    }
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

/* Most are asked for one behind the other. */
static const void *find_in_order(const struct places *places, const char *handler, const char *stream_arn,
                                 const char *shard)
{
    size_t from = 0, to = places->count, at = *places->next < to ? *places->next : to / 2;
    while (from < to) {
        int order = compare(places, at, handler, stream_arn, shard);
        if (!order) {
            *places->next = at + 1;
            return places->rows + at * places->row_size;
        }
        if (order < 0)
            from = at + 1;
        else
            to = at;
        at = from + (to - from) / 2;
    }
    return NULL;
}

const void *places_find(const struct places *places, const char *handler, const char *stream_arn,
                        const char *shard)
{
    CHECK(places->next || places->slots);
    handler = places->texts.handler == SIZE_MAX ? "" : handler;
    if (places->next)
        return find_in_order(places, handler, stream_arn, shard);
    size_t number = *slot_of(places, handler, stream_arn, shard);
    return number ? places->rows + (number - 1) * places->row_size : NULL;
}
