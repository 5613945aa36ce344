/* blocks.h: the small blocks of one Lua state.
 *
 * Lua makes and throws away some thirty of them for a record. They come from lists by size, out of a region
 * that only this state has; what is large, and all when the region is used up, comes from malloc. What is
 * free in the region is for blocks of its size alone: so the region is bounded. Under AddressSanitizer all
 * comes from malloc. */
#ifndef TIDEMILL_SCRIPT_BLOCKS_H
#define TIDEMILL_SCRIPT_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define BLOCKS_SIZES 32 /* 16, 32 ... 512 bytes */

#define BLOCKS_ALIGN 16u

struct block {
    struct block *next;
};

struct blocks {
    char *region, *next, *end; /* NULL: there is none */
    struct block *free[BLOCKS_SIZES];
};

void blocks_init(struct blocks *blocks);
void blocks_fini(struct blocks *blocks); /* all of them are gone */

/* As realloc: `old` may be NULL, `size` is not 0. NULL: there is no memory, and `old` stays. */
void *blocks_resize(struct blocks *blocks, void *old, size_t old_size, size_t size);

/* One that no list has. */
void *blocks_more(struct blocks *blocks, size_t size);

static inline size_t blocks_class(size_t size)
{
    return (size - 1) / BLOCKS_ALIGN;
}

static inline bool blocks_has(const struct blocks *blocks, const void *block)
{
    return (const char *)block >= blocks->region && (const char *)block < blocks->end;
}

/* As malloc; `size` is not 0. */
static inline void *blocks_new(struct blocks *blocks, size_t size)
{
    size_t class = blocks_class(size);
    struct block *block = class < BLOCKS_SIZES ? blocks->free[class] : NULL;
    if (!block)
        return blocks_more(blocks, size);
    blocks->free[class] = block->next;
    return block;
}

/* `block` may be NULL. */
static inline void blocks_free(struct blocks *blocks, void *block, size_t size)
{
    struct block *freed = block;
    if (!block || !blocks_has(blocks, block)) {
        free(block);
        return;
    }
    freed->next = blocks->free[blocks_class(size)];
    blocks->free[blocks_class(size)] = freed;
}

#endif
