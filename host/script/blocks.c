/* blocks.c: see blocks.h. */
#include "script/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL_MAX (BLOCKS_ALIGN * BLOCKS_SIZES)
#define REGION_BYTES ((size_t)16 << 20) /* of addresses: memory comes page by page, when it is first used */

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HAS_REGION 0
#else
#define HAS_REGION 1
#endif

void blocks_init(struct blocks *blocks)
{
    *blocks = (struct blocks){0};
    if (!HAS_REGION)
        return;
    void *region =
        mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return;
    madvise(region, REGION_BYTES, MADV_NOHUGEPAGE); /* most handlers need a few hundred KiB */
    blocks->region = blocks->next = region;
    blocks->end = blocks->region + REGION_BYTES;
}

void blocks_fini(struct blocks *blocks)
{
    if (blocks->region)
        munmap(blocks->region, REGION_BYTES);
    *blocks = (struct blocks){0};
}

void *blocks_more(struct blocks *blocks, size_t size)
{
    if (size > SMALL_MAX)
        return malloc(size);
    size_t rounded = (blocks_class(size) + 1) * BLOCKS_ALIGN;
    if ((size_t)(blocks->end - blocks->next) < rounded)
        return malloc(size);
    void *block = blocks->next;
    blocks->next += rounded;
    return block;
}

void *blocks_resize(struct blocks *blocks, void *old, size_t old_size, size_t size)
{
    if (!old)
        return blocks_new(blocks, size);
    if (!blocks_has(blocks, old))
        return realloc(old, size);
    if (size <= SMALL_MAX && blocks_class(size) == blocks_class(old_size))
        return old;
    void *block = blocks_new(blocks, size);
    if (!block)
        return NULL;
    memcpy(block, old, old_size < size ? old_size : size);
    blocks_free(blocks, old, old_size);
    return block;
}
