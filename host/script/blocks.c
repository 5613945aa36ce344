/* blocks.c: see blocks.h. */
#include "script/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 16u
#define SMALL_MAX (ALIGN * BLOCKS_SIZES)
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

struct block {
    struct block *next;
};

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

static size_t class_of(size_t size)
{
    return (size - 1) / ALIGN;
}

static int is_in_region(const struct blocks *blocks, const void *block)
{
    return (const char *)block >= blocks->region && (const char *)block < blocks->end;
}

static void *take(struct blocks *blocks, size_t size)
{
    if (size > SMALL_MAX)
        return malloc(size);
    struct block *block = blocks->free[class_of(size)];
    if (block) {
        blocks->free[class_of(size)] = block->next;
        return block;
    }
    size_t rounded = (class_of(size) + 1) * ALIGN;
    if ((size_t)(blocks->end - blocks->next) < rounded)
        return malloc(size);
    block = (struct block *)(void *)blocks->next;
    blocks->next += rounded;
    return block;
}

void blocks_free(struct blocks *blocks, void *block, size_t size)
{
    if (!block || !is_in_region(blocks, block)) {
        free(block);
        return;
    }
    struct block *freed = block;
    freed->next = blocks->free[class_of(size)];
    blocks->free[class_of(size)] = freed;
}

void *blocks_resize(struct blocks *blocks, void *old, size_t old_size, size_t size)
{
    if (!old)
        return take(blocks, size);
    if (!is_in_region(blocks, old))
        return realloc(old, size);
    if (size <= SMALL_MAX && class_of(size) == class_of(old_size))
        return old;
    void *block = take(blocks, size);
    if (!block)
        return NULL;
    memcpy(block, old, old_size < size ? old_size : size);
    blocks_free(blocks, old, old_size);
    return block;
}
