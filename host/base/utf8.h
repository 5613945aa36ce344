/* utf8.h: is text what it should be? */
#ifndef TIDEMILL_BASE_UTF8_H
#define TIDEMILL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* How many bytes from the beginning are UTF-8 by RFC 3629 (no surrogates, nothing overlong, no end within a
 * character); `size` when all of it is. */
size_t utf8_valid_size(const char *text, size_t size);

static inline bool utf8_valid(const char *text, size_t size)
{
    return utf8_valid_size(text, size) == size;
}

/* `text` was cut to fit: an incomplete character at its end goes, too. The first returns what is left of
 * `size`. */
size_t utf8_cut(const char *text, size_t size);
void utf8_trim(char *text);

/* The text with U+FFFD for each byte that belongs to no character: for people, and for what must be text. */
void utf8_write(struct buf *out, const char *text, size_t size);
char *utf8_copy(const char *text); /* likewise; to be freed */

/* The same for a terminal, which control characters could drive: each is "?", those of 8 bits (U+0080 to
 * U+009F) and those that turn the direction of writing, too. Newlines and tabs stay. */
void utf8_write_printable(struct buf *out, const char *text, size_t size);

#endif
