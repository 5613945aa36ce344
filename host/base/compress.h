/* compress.h: bytes to gzip or zstd and back, as they come. */
#ifndef TIDEMILL_BASE_COMPRESS_H
#define TIDEMILL_BASE_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum compression { COMPRESSION_GZIP, COMPRESSION_ZSTD, COMPRESSION_NONE };

struct compressor;

/* The same bytes give the same output: there is no time in it. */
struct compressor *compressor_new(enum compression compression);
void compressor_free(struct compressor *compressor);
void compressor_add(struct compressor *compressor, const void *bytes, size_t size, struct buf *out);
void compressor_end(struct compressor *compressor, struct buf *out);

/* ".gz", ".zst" or "" */
const char *compression_suffix(enum compression compression);

/* ISO 3309's, as gzip has it. */
uint32_t checksum_crc32(const void *bytes, size_t size);

/* By the first bytes: what is neither gzip nor zstd is plain. `out` may grow to `size_max`. */
bool decompress(const void *bytes, size_t size, size_t size_max, struct buf *out, struct err *err);

#endif
