/* pieces.h: what is too large for a row beside others, compressed and cut: an item has room for 400 KB. */
#ifndef TIDEMILL_STATE_DYNAMODB_PIECES_H
#define TIDEMILL_STATE_DYNAMODB_PIECES_H

#include "state/dynamodb/calls.h"

/* What stays in a row, and where a piece ends. */
#define PIECES_BESIDE_MAX (16 * 1024)
#define PIECE_SIZE (300 * 1024)

struct pieces {
    struct buf bytes; /* compressed */
    size_t size;      /* as it was */
    size_t count;     /* in so many items of their own; 0: it stays in its row */
};

/* Compressed it stays in its row up to `beside_max` bytes. */
void pieces_make(struct pieces *pieces, const void *bytes, size_t size, size_t beside_max);
void pieces_fini(struct pieces *pieces);

/* Into the row: the bytes themselves, or how many pieces there are; and the size in either case. */
void pieces_add(const struct pieces *pieces, cJSON *item);

/* The body that puts a piece into an item of its own: `prefix` and four digits under `partition`. */
cJSON *piece_put(const struct pieces *pieces, size_t at, const char *partition, const char *prefix,
                 int64_t expires_s);
cJSON *piece_delete(size_t at, const char *partition, const char *prefix);

/* How many pieces belong to the row. */
size_t pieces_of(const cJSON *row);

/* The bodies of rows, one row after the other, where what was read has an ask for each row with pieces. */
struct bodies {
    const struct rows *pieces; /* NULL: there are none */
    size_t ask, at;
};

/* The next row's, into an empty `out`. False and `err` where it is not whole. */
bool bodies_read(struct bodies *bodies, const cJSON *row, struct buf *out, struct err *err);

/* Pieces in the order of their numbers, into an empty `out`: `size` bytes. */
bool pieces_join(const struct row *pieces, size_t count, int64_t size, struct buf *out, struct err *err);

#endif
