/* base64.h: RFC 4648's standard alphabet with padding. */
#ifndef TIDEMILL_BASE_BASE64_H
#define TIDEMILL_BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"

/* Room for what `size` characters decode to. */
#define BASE64_DECODED_MAX(size) ((size) / 4 * 3 + 3)

/* False where `text` is no base64; `bytes` holds BASE64_DECODED_MAX(size). */
bool base64_decode(const char *text, size_t size, void *bytes, size_t *decoded);

void base64_write(struct buf *out, const void *bytes, size_t size);

#endif
