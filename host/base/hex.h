/* hex.h: bytes as hexadecimal digits, in lower case. */
#ifndef TIDEMILL_BASE_HEX_H
#define TIDEMILL_BASE_HEX_H

#include <stddef.h>

/* What the digit stands for; below 0: it is none. */
static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

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
