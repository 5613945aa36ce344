/* hash.h: a seeded 64-bit hash for tables in memory. Not for security, not for anything that is stored. */
#ifndef TIDEMILL_BASE_HASH_H
#define TIDEMILL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed);
/* Of a text in which any run of digits is as good as any other: errors that differ in numbers are of a kind.
 */
uint64_t hash_kind(const char *text, size_t size);

uint64_t hash_mix(uint64_t value); /* spreads every input bit over the word */

#endif
