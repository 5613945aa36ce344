/* mem.h: allocation that does not fail.
 *
 * Every queue and buffer of the host has a bound of its own, so running out of memory is not an input
 * to handle but the end: these write one line to stderr and abort. A kill at any instant loses nothing. */
#ifndef TIDEMILL_BASE_MEM_H
#define TIDEMILL_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

void *mem_alloc(size_t size); /* uninitialised; free() it */

/* So much is soon wanted in large blocks: the heap grows at once, where it can, to be of huge pages. */
void mem_reserve(size_t size);

void *mem_zero(size_t size); /* zeroed */
void *mem_resize(void *old, size_t size);
char *mem_copy(const void *bytes, size_t size); /* with a NUL after the copy */
char *mem_string(const char *text);             /* NULL gives NULL */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Grow `*items` of `item_size` so that `count + 1` fit; `*capacity` is kept beside it. */
void mem_grow(void *items, size_t *capacity, size_t count, size_t item_size);

/* Equal texts, or neither. */
static inline bool mem_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Overwrite and free a secret. */
void mem_free_secret(char *text);

#endif
