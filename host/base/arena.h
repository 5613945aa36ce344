/* arena.h: memory that lives and dies together, such as all that belongs to one page of records.
 *
 * Nothing in an arena is freed alone. Not thread-safe; an arena belongs to one reactor. */
#ifndef TIDEMILL_BASE_ARENA_H
#define TIDEMILL_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *next;
    char *end;
    size_t bytes; /* taken from the system, for accounting */
    size_t max;   /* of those, for who asks before it takes (json_parse); 0: as it comes */
};

#define ARENA_INIT ((struct arena){0})

void arena_fini(struct arena *arena);

/* Make the next chunk at least this large: one chunk where the need can be guessed. */
void arena_reserve(struct arena *arena, size_t size);

/* Aligned to 16 bytes; uninitialised. */
void *arena_alloc(struct arena *arena, size_t size);

/* Of what was taken last only that much is needed. */
void arena_trim(struct arena *arena, void *memory, size_t size);

/* May it take so much more, by its `max`? */
static inline bool arena_fits(const struct arena *arena, size_t more)
{
    return !arena->max || (arena->bytes <= arena->max && more <= arena->max - arena->bytes);
}

/* What is taken after a mark can be given back together. */
struct arena_mark {
    struct arena_chunk *chunk;
    char *next;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_release(struct arena *arena, struct arena_mark mark);

/* Everything in it is gone; one chunk stays, for what comes next. */
void arena_clear(struct arena *arena);

char *arena_copy(struct arena *arena, const void *bytes, size_t size); /* with a NUL after it */

#endif
