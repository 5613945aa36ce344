/* json_scalar.h: numbers and words in a JSON text (RFC 8259). */
#ifndef TIDEMILL_BASE_JSON_SCALAR_H
#define TIDEMILL_BASE_JSON_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

/* Past the number that begins at `at`, which is before `end`; NULL where none does, and `problem` says why.
 */
const char *json_number_end(const char *at, const char *end, const char **problem);

/* Is what stands from the byte `begin` to the byte `last`, and no further, a number, true, false or null?
 * UINT32_MAX is no last byte. */
bool json_scalar_ends_at(const char *text, uint32_t begin, uint32_t last);

#endif
