/* json_index.h: where things stand in a JSON text, in place of a tree of it: a number for each bracket,
 * string and scalar, and from each value the way past it. Made in two passes: one over the bytes, 64 at a
 * time, with what the processor has for that (AVX-512, AVX2, SSE2, NEON, else plain C), one over what it
 * found, for the grammar (RFC 8259). Keys are found and values passed over without a look at what lies
 * between. */
#ifndef TIDEMILL_BASE_JSON_INDEX_H
#define TIDEMILL_BASE_JSON_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Entries, in the text's order: opening and closing brackets, strings (keys as well), and scalars. Not commas
 * and colons. */
struct json_index {
    const char *text;
    struct arena *arena; /* that it is of */
    const uint32_t *at;  /* an entry's first byte; behind the last the text's size */
    /* Of an opening bracket: entries up to its closing one. Of a closing one: how many children it closes. Of
     * a key: its bytes, as they stand, and whether it has escapes. Else 0. */
    uint32_t *ways;
    const uint32_t *first; /* of each 64 bytes of the text: the first entry that begins there or later */
    uint32_t count;
    uint32_t values; /* of the entries: without keys and closing brackets */
    uint32_t alike;  /* objects of lists that were of a known shape: see json_shape.h */
    bool escapes;    /* some string of it has some */
    bool spaces;     /* there is white space between its values */
};

#define JSON_INDEX_ESCAPED (1u << 31)

/* All of it in the arena; the text must stay. False where the text is no JSON, is nested deeper than
 * JSON_DEPTH_MAX, has a wrong escape, or needs more than the arena may take: json_parse says which. At most 2
 * GiB. */
bool json_index_make(struct json_index *index, struct arena *arena, const char *text, size_t size);

/* The entry that begins there, of whose number the last eight bits are known: 64 bytes have no more. */
static inline uint32_t json_index_entry(const struct json_index *index, const char *begin, uint8_t low)
{
    uint32_t first = index->first[(uint32_t)(begin - index->text) / 64];
    return first + (uint8_t)(low - first);
}

/* Past a value (no key): the entry behind its last one. */
static inline uint32_t json_index_past(const struct json_index *index, uint32_t entry)
{
    return entry + 1 + index->ways[entry];
}

/* The ways of reading 64 bytes, each as far as this machine can: NULL behind the last. For tests and benches;
 * json_index_make takes the first. */
struct json_index_way {
    const char *name;
    bool (*mark)(struct json_index *index, struct arena *arena, size_t size);
    bool wide; /* eight entries are looked at in one go, too (AVX2) */
};
const struct json_index_way *json_index_ways(void);
bool json_index_make_by(const struct json_index_way *way, struct json_index *index, struct arena *arena,
                        const char *text, size_t size);

#endif
