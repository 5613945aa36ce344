/* json_shape.h: what the objects of a list have in common. Records of a page, items of an answer mostly look
 * alike: the same brackets, strings and scalars in the same order, with other texts in them. Where one was
 * found right, another is right that differs from it in nothing but the texts: that is seen many entries at a
 * time, where the grammar goes from one to the next.
 *
 * A part of json_index.c, for texts without white space between their values. */
#ifndef TIDEMILL_BASE_JSON_SHAPE_H
#define TIDEMILL_BASE_JSON_SHAPE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Of an entry the byte before the one before it (the lowest eight bits), the one before it, and its first
 * one: without white space they tell what lies between it and the entry before. Four bytes are read, from
 * three before it on. */
static inline uint32_t json_edge_at(const char *first)
{
    uint32_t edge;
    memcpy(&edge, first - 3, sizeof edge);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    edge = __builtin_bswap32(edge);
#endif
    return edge >> 8;
}

#define JSON_SHAPE_ENTRIES_MAX 1024 /* a larger object is looked at entry by entry */
#define JSON_SHAPE_SCALARS_MAX 256
#define JSON_SHAPES_MAX 8

/* Of entries that are numbered from the object's first one. */
struct json_shape {
    uint32_t count;
    uint32_t others; /* of them keys and closing brackets */
    uint32_t scalars_count;
    uint32_t scalars[JSON_SHAPE_SCALARS_MAX]; /* which they are, in their order */
    uint32_t edges[JSON_SHAPE_ENTRIES_MAX];
    uint32_t masks[JSON_SHAPE_ENTRIES_MAX]; /* the bits of an edge that are to be the same */
    uint32_t ways[JSON_SHAPE_ENTRIES_MAX];  /* as the index has them; of a key JSON_SHAPE_KEY */
};
#define JSON_SHAPE_KEY UINT32_MAX

/* Those seen in one list. `order` has the one that was met last first. Large: nothing of it is to be set but
 * by json_shapes_begin. */
struct json_shapes {
    uint32_t count;
    uint32_t met, missed; /* objects of a known shape, and others */
    uint32_t spare;       /* so many more may be learnt: that takes longer than what is saved by one */
    uint8_t order[JSON_SHAPES_MAX];
    bool wanted;   /* else it takes longer than the grammar */
    bool learning; /* the first of the order is of an object that is being looked at */
    struct json_shape shapes[JSON_SHAPES_MAX];
};

/* The text, its entries' first bytes, and their edges, in whose place their ways are written. */
struct json_entries {
    const char *text;
    const uint32_t *at;
    uint32_t *ways;
    bool wide; /* the processor has AVX2 */
};

void json_shapes_begin(struct json_shapes *shapes);

/* The shape of the object that begins with the entry `first`, of which there are `count` at most and one
 * behind them: its ways are written then. NULL where it is none of those known: nothing is written, and its
 * edges may be kept, for json_shapes_learn. */
const struct json_shape *json_shapes_take(struct json_shapes *shapes, const struct json_entries *entries,
                                          uint32_t first, uint32_t count);

/* Where the shapes are `learning`: the same object was found right, and has its ways now. */
void json_shapes_learn(struct json_shapes *shapes, const struct json_entries *entries, uint32_t first,
                       uint32_t count, uint32_t others);

#endif
