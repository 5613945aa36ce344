/* json_shape.c: see json_shape.h. */
#include "base/json_shape.h"

#include "base/json_scalar.h"

#define SPARE_FIRST 8   /* shapes are learnt */
#define SPARE_EACH 32   /* objects of a known one, and there may be one more */
#define MISSED_FIRST 48 /* objects, before it is asked whether it is worth while */
#define MET_EACH 3      /* of them there is to be one of a known shape */

#define ENTRIES_MIN 16 /* a smaller object is sooner looked at entry by entry */

#define FIRST 0xff0000u /* of an edge */
#define SEPARATOR 0x00ff00u
#define BEFORE 0x0000ffu

#define LANES 8
#define INLINE inline __attribute__((always_inline))

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

static char first_of(uint32_t edge)
{
    return (char)(edge >> 16);
}

static char separator_of(uint32_t edge)
{
    return (char)(edge >> 8);
}

static bool is_open(char c)
{
    return c == '{' || c == '[';
}

static bool is_closing(char c)
{
    return c == '}' || c == ']';
}

static bool is_scalar(char c)
{
    return !is_open(c) && !is_closing(c) && c != '"';
}

void json_shapes_begin(struct json_shapes *shapes)
{
    shapes->count = shapes->missed = shapes->met = 0;
    shapes->wanted = true;
    shapes->spare = SPARE_FIRST;
    shapes->learning = false;
}

/* The bits of eight edges that are to be the same, and are not. */
static INLINE void compare(lanes *bits, const struct json_shape *shape, const uint32_t *edges, uint32_t from)
{
    lanes seen, known, mask;
    memcpy(&seen, edges + from, sizeof seen);
    memcpy(&known, shape->edges + from, sizeof known);
    memcpy(&mask, shape->masks + from, sizeof mask);
    *bits |= (seen ^ known) & mask;
}

static INLINE bool same_edges(const struct json_shape *shape, const uint32_t *edges)
{
    uint32_t i = 0, rest = 0;
    while (i + LANES <= shape->count) {
        lanes bits = {0};
        uint64_t words[LANES / 2], any = 0;
        for (unsigned n = 0; n < 4 && i + LANES <= shape->count; n++, i += LANES)
            compare(&bits, shape, edges, i);
        memcpy(words, &bits, sizeof words);
        for (unsigned n = 0; n < LANES / 2; n++)
            any |= words[n];
        if (any)
            return false;
    }
    for (; i < shape->count; i++)
        rest |= (edges[i] ^ shape->edges[i]) & shape->masks[i];
    return !rest;
}

static bool right_scalars(const struct json_shape *shape, const char *text, const uint32_t *at)
{
    for (uint32_t i = 0; i < shape->scalars_count; i++) {
        uint32_t scalar = shape->scalars[i], next = at[scalar + 1];
        uint32_t last = is_closing(first_of(shape->edges[scalar + 1])) ? next - 1 : next - 2;
        if (!json_scalar_ends_at(text, at[scalar], last))
            return false;
    }
    return true;
}

/* Behind a key stands its closing quote, and a colon. */
static uint32_t key_size(const uint32_t *at)
{
    return at[1] - at[0] - 3;
}

static INLINE void copy_ways(const struct json_shape *shape, const uint32_t *at, uint32_t *restrict ways)
{
    uint32_t i = 0;
    for (; i + LANES <= shape->count; i += LANES) {
        lanes known, begin, next, keys;
        memcpy(&known, shape->ways + i, sizeof known);
        memcpy(&begin, at + i, sizeof begin);
        memcpy(&next, at + i + 1, sizeof next);
        keys = (lanes)(known == JSON_SHAPE_KEY);
        known = (known & ~keys) | ((next - begin - 3) & keys);
        memcpy(ways + i, &known, sizeof known);
    }
    for (; i < shape->count; i++)
        ways[i] = shape->ways[i] == JSON_SHAPE_KEY ? key_size(at + i) : shape->ways[i];
}

static bool is_like(const struct json_shape *shape, const uint32_t *edges)
{
    return same_edges(shape, edges);
}

static void write_ways(const struct json_shape *shape, const uint32_t *at, uint32_t *ways)
{
    copy_ways(shape, at, ways);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static bool is_like_wide(const struct json_shape *shape,
                                                         const uint32_t *edges)
{
    return same_edges(shape, edges);
}

__attribute__((target("avx2"))) static void write_ways_wide(const struct json_shape *shape,
                                                            const uint32_t *at, uint32_t *ways)
{
    copy_ways(shape, at, ways);
}
#else
#define is_like_wide is_like
#define write_ways_wide write_ways
#endif

/* Writes its ways, where the object is of that shape. */
static bool take(const struct json_shape *shape, const struct json_entries *entries, uint32_t first)
{
    const uint32_t *at = entries->at + first;
    uint32_t *ways = entries->ways + first;
    if (!(entries->wide ? is_like_wide : is_like)(shape, ways) || !right_scalars(shape, entries->text, at))
        return false;
    (entries->wide ? write_ways_wide : write_ways)(shape, at, ways);
    return true;
}

/* The one at that place of the order comes first. */
static struct json_shape *bring_forward(struct json_shapes *shapes, uint32_t place)
{
    uint8_t which = shapes->order[place];
    memmove(shapes->order + 1, shapes->order, place);
    shapes->order[0] = which;
    return &shapes->shapes[which];
}

static void begin_learning(struct json_shapes *shapes, const uint32_t *edges, uint32_t count)
{
    if (shapes->count < JSON_SHAPES_MAX) {
        shapes->order[shapes->count] = (uint8_t)shapes->count;
        shapes->count++;
    }
    struct json_shape *shape = bring_forward(shapes, shapes->count - 1);
    shape->count = count < JSON_SHAPE_ENTRIES_MAX ? count : JSON_SHAPE_ENTRIES_MAX;
    memcpy(shape->edges, edges, shape->count * sizeof *edges);
    shapes->learning = true;
    shapes->spare--;
}

const struct json_shape *json_shapes_take(struct json_shapes *shapes, const struct json_entries *entries,
                                          uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < shapes->count; i++) {
        const struct json_shape *shape = &shapes->shapes[shapes->order[i]];
        if (shape->count <= count && take(shape, entries, first)) {
            shapes->spare += ++shapes->met % SPARE_EACH == 0;
            return i ? bring_forward(shapes, i) : shape;
        }
    }
    if (++shapes->missed >= MISSED_FIRST && shapes->met < shapes->missed / MET_EACH)
        shapes->wanted = false;
    else if (shapes->spare && shapes->missed > 1) /* of one alone there is nothing to learn */
        begin_learning(shapes, entries->ways + first, count);
    return NULL;
}

/* What of an edge is the same in every object of that shape. A scalar's own bytes differ, and it is looked at
 * by itself; so does what is before a string's last quote, or before an object's first brace. */
static uint32_t mask_of(const uint32_t *edges, uint32_t entry)
{
    char c = first_of(edges[entry]);
    bool behind_scalar = is_scalar(first_of(edges[entry - 1]));
    if (is_closing(c))
        return behind_scalar ? FIRST : FIRST | SEPARATOR;
    uint32_t mask = is_scalar(c) ? SEPARATOR : FIRST | SEPARATOR;
    return behind_scalar || is_open(separator_of(edges[entry])) ? mask : mask | BEFORE;
}

void json_shapes_learn(struct json_shapes *shapes, const struct json_entries *entries, uint32_t first,
                       uint32_t count, uint32_t others)
{
    struct json_shape *shape = &shapes->shapes[shapes->order[0]];
    shapes->learning = false;
    bool fits = count >= ENTRIES_MIN && count <= shape->count; /* of which the edges were kept */
    shape->count = count;
    shape->others = others;
    shape->scalars_count = 0;
    for (uint32_t i = 0; fits && i < count; i++) {
        char c = first_of(shape->edges[i]);
        bool key = c == '"' && separator_of(shape->edges[i + 1]) == ':';
        shape->masks[i] = i ? mask_of(shape->edges, i) : FIRST;
        shape->ways[i] = key ? JSON_SHAPE_KEY : entries->ways[first + i];
        fits = !is_scalar(c) || shape->scalars_count < JSON_SHAPE_SCALARS_MAX;
        if (is_scalar(c) && fits)
            shape->scalars[shape->scalars_count++] = i;
    }
    if (!fits) /* nothing is of so many */
        shape->count = UINT32_MAX;
}
