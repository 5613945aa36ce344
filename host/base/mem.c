/* mem.c: see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory, size_t size)
{
    if (memory)
        return memory;
    fprintf(stderr, "tidemill: out of memory (asked for %zu bytes); nothing is lost, start it again\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    return checked(malloc(size ? size : 1), size);
}

void *mem_zero(size_t size)
{
    return checked(calloc(1, size ? size : 1), size);
}

void *mem_resize(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1), size);
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
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    return checked(size < 0 ? NULL : text, 0);
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
