/* hash.c: multiply-and-fold over eight bytes at a time. */
#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

/* Odd constants: the fractional bits of the square roots of 2 and 3. */
#define MULTIPLIER_A 0x6a09e667f3bcc909ull
#define MULTIPLIER_B 0xbb67ae8584caa73bull

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_mix(uint64_t value)
{
    return fold(value ^ MULTIPLIER_A, MULTIPLIER_B);
}

/* The less than eight bytes behind the last eight, as one number; `size` is that of all. What is written in
 * pieces must not be read as one at once: the processor waits for all of them. */
static inline uint64_t rest_of(const unsigned char *at, size_t size)
{
    uint64_t word = 0;
    size_t left = size & 7;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (left && size >= 8) {
        memcpy(&word, at + left - 8, 8);
        return word >> (64 - 8 * left);
    }
    if (left >= 4) {
        uint32_t first, last;
        memcpy(&first, at, 4);
        memcpy(&last, at + left - 4, 4);
        return first | (uint64_t)last << 8 * (left - 4);
    }
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)at[i] << 8 * i;
#else
    memcpy(&word, at, left);
#endif
    return word;
}

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t state = seed ^ MULTIPLIER_B ^ size;
    uint64_t word;
    for (size_t left = size; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        state = fold(state ^ word, MULTIPLIER_A);
    }
    return fold(state ^ rest_of(at, size), MULTIPLIER_B) ^ hash_mix(state);
}

uint64_t hash_kind(const char *text, size_t size)
{
    uint64_t hash = 0;
    bool before = false;
    for (size_t i = 0; i < size; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (!digit || !before)
            hash = hash_mix(hash ^ (uint64_t)(unsigned char)(digit ? '0' : text[i]));
        before = digit;
    }
    return hash;
}
