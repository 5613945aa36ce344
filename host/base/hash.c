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

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t state = seed ^ MULTIPLIER_B ^ size;
    uint64_t word;
    for (size_t left = size; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        state = fold(state ^ word, MULTIPLIER_A);
    }
    word = 0;
    if (size & 7)
        memcpy(&word, at, size & 7);
    return fold(state ^ word, MULTIPLIER_B) ^ hash_mix(state);
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
