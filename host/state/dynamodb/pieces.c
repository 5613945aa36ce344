/* pieces.c: see pieces.h. */
#include "state/dynamodb/pieces.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/compress.h"
#include "base/mem.h"

#define COUNT_MAX 1000                   /* what is read is not believed beyond this */
#define SIZE_MAX_READ (64 * 1024 * 1024) /* likewise */

void pieces_make(struct pieces *pieces, const void *bytes, size_t size, size_t beside_max)
{
    struct compressor *compressor = compressor_new(COMPRESSION_ZSTD);
    *pieces = (struct pieces){.size = size};
    compressor_add(compressor, bytes, size, &pieces->bytes);
    compressor_end(compressor, &pieces->bytes);
    compressor_free(compressor);
    if (pieces->bytes.size > beside_max)
        pieces->count = (pieces->bytes.size + PIECE_SIZE - 1) / PIECE_SIZE;
}

void pieces_fini(struct pieces *pieces)
{
    buf_fini(&pieces->bytes);
    pieces->count = 0;
}

void pieces_add(const struct pieces *pieces, cJSON *item)
{
    if (pieces->count)
        item_add_number(item, "pieces", (int64_t)pieces->count);
    else
        item_add_bytes(item, "body", pieces->bytes.data, pieces->bytes.size);
    item_add_number(item, "size", (int64_t)pieces->size);
}

cJSON *piece_put(const struct pieces *pieces, size_t at, const char *partition, const char *prefix,
                 int64_t expires_s)
{
    size_t from = at * PIECE_SIZE, left = pieces->bytes.size - from;
    char *sort = mem_printf("%s%04zu", prefix, at);
    cJSON *body = call_item(partition, sort), *item = document_get(body, "Item");
    CHECK(at < pieces->count);
    item_add_bytes(item, "body", pieces->bytes.data + from, left < PIECE_SIZE ? left : PIECE_SIZE);
    if (expires_s)
        item_add_number(item, "expires", expires_s);
    free(sort);
    return body;
}

cJSON *piece_delete(size_t at, const char *partition, const char *prefix)
{
    char *sort = mem_printf("%s%04zu", prefix, at);
    cJSON *body = call_key(partition, sort);
    free(sort);
    return body;
}

size_t pieces_of(const cJSON *row)
{
    int64_t count = item_number(row, "pieces");
    return count > 0 && count <= COUNT_MAX ? (size_t)count : 0;
}

static bool unpack(const struct buf *bytes, int64_t size, struct buf *out, struct err *err)
{
    CHECK(!out->size);
    if (size < 0 || size > SIZE_MAX_READ)
        return err_set(err, ERR_PARSE, "a size of %lld bytes", (long long)size);
    return decompress(bytes->data, bytes->size, (size_t)size, out, err) &&
           (out->size == (size_t)size ||
            err_set(err, ERR_PARSE, "%zu of %lld bytes", out->size, (long long)size));
}

bool pieces_join(const struct row *pieces, size_t count, int64_t size, struct buf *out, struct err *err)
{
    struct buf bytes = BUF_INIT;
    bool well = true;
    for (size_t i = 0; well && i < count; i++)
        well = item_bytes(pieces[i].item, "body", &bytes) || err_set(err, ERR_PARSE, "piece %zu is empty", i);
    well = well && unpack(&bytes, size, out, err);
    buf_fini(&bytes);
    return well;
}

static bool join(struct bodies *bodies, size_t wanted, int64_t size, struct buf *out, struct err *err)
{
    const struct rows *pieces = bodies->pieces;
    size_t first = bodies->at;
    while (pieces && bodies->at < pieces->count && pieces->rows[bodies->at].ask == bodies->ask)
        bodies->at++;
    bodies->ask++;
    if (bodies->at - first < wanted)
        return err_set(err, ERR_PARSE, "%zu of its %zu pieces are there", bodies->at - first, wanted);
    return pieces_join(pieces->rows + first, wanted, size, out, err);
}

bool bodies_read(struct bodies *bodies, const cJSON *row, struct buf *out, struct err *err)
{
    struct buf bytes = BUF_INIT;
    size_t wanted = pieces_of(row);
    int64_t size = item_number(row, "size");
    bool well = wanted                            ? join(bodies, wanted, size, out, err)
                : item_bytes(row, "body", &bytes) ? unpack(&bytes, size, out, err)
                                                  : err_set(err, ERR_PARSE, "it has no body");
    buf_fini(&bytes);
    return well ||
           err_prefix(err, "state: row %s of %s is not whole", item_text(row, "sk"), item_text(row, "pk"));
}
