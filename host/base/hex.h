/* hex.h: bytes as hexadecimal digits, in lower case. */
#ifndef TIDEMILL_BASE_HEX_H
#define TIDEMILL_BASE_HEX_H

#include <stddef.h>

/* 2 * size digits into `text`, and no NUL behind them. Returns what stands behind the last one. */
static inline char *hex_write(char *text, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        *text++ = digits[byte[i] >> 4];
        *text++ = digits[byte[i] & 15];
    }
    return text;
}

#endif
