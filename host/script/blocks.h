/* blocks.h: the small blocks of one Lua state.
 *
 * Lua makes and throws away some thirty of them for a record. They come from lists by size, out of a region
 * that only this state has; what is large, and all when the region is used up, comes from malloc. What is
 * free in the region is for blocks of its size alone: so the region is bounded. Under AddressSanitizer all
 * comes from malloc. */
#ifndef TIDEMILL_SCRIPT_BLOCKS_H
#define TIDEMILL_SCRIPT_BLOCKS_H

#include <stddef.h>

#define BLOCKS_SIZES 32 /* 16, 32 ... 512 bytes */

struct blocks {
    char *region, *next, *end; /* NULL: there is none */
    struct block *free[BLOCKS_SIZES];
};

void blocks_init(struct blocks *blocks);
void blocks_fini(struct blocks *blocks); /* all of them are gone */

/* As realloc: `old` may be NULL, `size` is not 0. NULL: there is no memory, and `old` stays. */
void *blocks_resize(struct blocks *blocks, void *old, size_t old_size, size_t size);
void blocks_free(struct blocks *blocks, void *block, size_t size); /* may be NULL */

#endif
