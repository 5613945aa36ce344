/* arena.c: bump allocation in chunks that double. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define ARENA_ALIGN 16u
#define CHUNK_BYTES_MIN 4096u
#define CHUNK_BYTES_MAX (1u << 20)

struct arena_chunk {
    struct arena_chunk *older;
    size_t size;
    _Alignas(ARENA_ALIGN) char bytes[];
};

void arena_fini(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
    *arena = ARENA_INIT;
}

void arena_clear(struct arena *arena)
{
    struct arena_chunk *kept = arena->chunks;
    if (!kept)
        return;
    arena_fini(&(struct arena){.chunks = kept->older});
    kept->older = NULL;
    arena->next = kept->bytes;
    arena->end = kept->bytes + kept->size;
    arena->bytes = sizeof *kept + kept->size;
}

static void add_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = mem_alloc(sizeof *chunk + size);
    chunk->older = arena->chunks;
    chunk->size = size;
    arena->chunks = chunk;
    arena->next = chunk->bytes;
    arena->end = chunk->bytes + size;
    arena->bytes += sizeof *chunk + size;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->chunks, arena->next};
}

void arena_release(struct arena *arena, struct arena_mark mark)
{
    while (arena->chunks != mark.chunk) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->older;
        arena->bytes -= sizeof *chunk + chunk->size;
        free(chunk);
    }
    arena->next = mark.next;
    arena->end = mark.chunk ? mark.chunk->bytes + mark.chunk->size : NULL;
}

void arena_reserve(struct arena *arena, size_t size)
{
    if ((size_t)(arena->end - arena->next) < size)
        add_chunk(arena, size);
}

static size_t aligned(size_t size)
{
    return (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

void arena_trim(struct arena *arena, void *memory, size_t size)
{
    char *end = (char *)memory + aligned(size);
    CHECK((char *)memory >= arena->chunks->bytes && end <= arena->next);
    arena->next = end;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size = aligned(size);
    if ((size_t)(arena->end - arena->next) < size) {
        size_t chunk = arena->chunks ? arena->chunks->size * 2 : CHUNK_BYTES_MIN;
        if (chunk > CHUNK_BYTES_MAX)
            chunk = CHUNK_BYTES_MAX;
        add_chunk(arena, chunk < size ? size : chunk);
    }
    void *memory = arena->next;
    arena->next += size;
    return memory;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t size)
{
    char *copy = arena_alloc(arena, size + 1);
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}
