/* mem.c: see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

#define LARGE_BYTES ((size_t)512 << 10)
#define HUGE_BYTES ((uintptr_t)2 << 20)
#define AHEAD_BYTES ((uintptr_t)16 << 20) /* where the next ones will be ... */
#define HEAP_BYTES ((uintptr_t)64 << 20)  /* ... as far as it is a heap of glibc's all the same */
#define MAPPED_BYTES ((size_t)32 << 20)   /* more than that has a mapping of its own, see main.c */

/* Pages of records and what is made of them: out of small pages of memory, of which the processor knows the
 * places of few, they are read at a fraction of the speed. It is a wish: where the kernel has no huge page it
 * stays as it was, and what is mapped already becomes one by and by (madvise(2)). */
static void wish_huge(void *block, size_t size)
{
    uintptr_t begin = (uintptr_t)block, end = (uintptr_t)block + size;
    if (size < LARGE_BYTES)
        return;
    if (size < MAPPED_BYTES) {
        begin &= ~(HUGE_BYTES - 1);
        uintptr_t bound = (end + HEAP_BYTES - 1) & ~(HEAP_BYTES - 1);
        end = bound - end < AHEAD_BYTES ? bound : end + AHEAD_BYTES;
    }
    begin = (begin + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    end &= ~(HUGE_BYTES - 1);
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

static void *checked(void *memory, size_t size)
{
    if (memory)
        return memory;
    fprintf(stderr, "tidemill: out of memory (asked for %zu bytes); nothing is lost, start it again\n", size);
    abort();
}

void mem_reserve(size_t size)
{
    void *block = malloc(size);
    if (block)
        wish_huge(block, size);
    free(block);
}

void *mem_alloc(size_t size)
{
    void *block = checked(malloc(size ? size : 1), size);
    wish_huge(block, size);
    return block;
}

void *mem_zero(size_t size)
{
    return checked(calloc(1, size ? size : 1), size);
}

void *mem_resize(void *old, size_t size)
{
    void *block = checked(realloc(old, size ? size : 1), size);
    wish_huge(block, size);
    return block;
}

char *mem_copy(const void *bytes, size_t size)
{
    char *copy = mem_alloc(size + 1);
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *mem_string(const char *text)
{
    return text ? mem_copy(text, strlen(text)) : NULL;
}

char *mem_printf(const char *format, ...)
{
    char text[256]; /* nearly all are short */
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(size >= 0);
    char *copy = mem_alloc((size_t)size + 1);
    if ((size_t)size < sizeof text) {
        memcpy(copy, text, (size_t)size + 1);
        return copy;
    }
    va_start(args, format);
    vsnprintf(copy, (size_t)size + 1, format, args);
    va_end(args);
    return copy;
}

void mem_grow(void *items, size_t *capacity, size_t count, size_t item_size)
{
    if (count < *capacity)
        return;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    if (wanted > SIZE_MAX / item_size)
        checked(NULL, SIZE_MAX);
    void **slot = items;
    *slot = mem_resize(*slot, wanted * item_size);
    *capacity = wanted;
}

void mem_free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}
