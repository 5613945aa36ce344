/* compress.c: zlib and libzstd behind two verbs. */
#include "base/compress.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

#define STEP_BYTES (64u << 10)
#define GZIP_WINDOW (15 + 16) /* zlib's way to say gzip */
#define GZIP_LEVEL 6
#define ZSTD_LEVEL 3

struct compressor {
    enum compression compression;
    z_stream gzip;
    ZSTD_CStream *zstd;
};

struct compressor *compressor_new(enum compression compression)
{
    struct compressor *compressor = mem_zero(sizeof *compressor);
    compressor->compression = compression;
    if (compression == COMPRESSION_GZIP &&
        deflateInit2(&compressor->gzip, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    if (compression == COMPRESSION_ZSTD) {
        compressor->zstd = ZSTD_createCStream();
        if (!compressor->zstd)
            abort();
        ZSTD_initCStream(compressor->zstd, ZSTD_LEVEL);
    }
    return compressor;
}

void compressor_free(struct compressor *compressor)
{
    if (!compressor)
        return;
    if (compressor->compression == COMPRESSION_GZIP)
        deflateEnd(&compressor->gzip);
    ZSTD_freeCStream(compressor->zstd);
    free(compressor);
}

static void run_gzip(struct compressor *compressor, const void *bytes, size_t size, int flush,
                     struct buf *out)
{
    z_stream *gzip = &compressor->gzip;
    gzip->next_in = (Bytef *)bytes;
    gzip->avail_in = (uInt)size;
    do {
        buf_reserve(out, STEP_BYTES);
        gzip->next_out = (Bytef *)out->data + out->size;
        gzip->avail_out = STEP_BYTES;
        deflate(gzip, flush);
        out->size += STEP_BYTES - gzip->avail_out;
    } while (gzip->avail_out == 0);
}

static void run_zstd(struct compressor *compressor, const void *bytes, size_t size, ZSTD_EndDirective end,
                     struct buf *out)
{
    ZSTD_inBuffer in = {bytes, size, 0};
    size_t left;
    do {
        buf_reserve(out, STEP_BYTES);
        ZSTD_outBuffer to = {out->data + out->size, STEP_BYTES, 0};
        left = ZSTD_compressStream2(compressor->zstd, &to, &in, end);
        out->size += to.pos;
    } while (in.pos < in.size || (end == ZSTD_e_end && left));
}

void compressor_add(struct compressor *compressor, const void *bytes, size_t size, struct buf *out)
{
    if (compressor->compression == COMPRESSION_GZIP)
        run_gzip(compressor, bytes, size, Z_NO_FLUSH, out);
    else if (compressor->compression == COMPRESSION_ZSTD)
        run_zstd(compressor, bytes, size, ZSTD_e_continue, out);
    else
        buf_add(out, bytes, size);
}

void compressor_end(struct compressor *compressor, struct buf *out)
{
    if (compressor->compression == COMPRESSION_GZIP)
        run_gzip(compressor, "", 0, Z_FINISH, out);
    else if (compressor->compression == COMPRESSION_ZSTD)
        run_zstd(compressor, "", 0, ZSTD_e_end, out);
    buf_add(out, "", 0); /* its NUL */
}

const char *compression_suffix(enum compression compression)
{
    return compression == COMPRESSION_GZIP ? ".gz" : compression == COMPRESSION_ZSTD ? ".zst" : "";
}

/* ---- back ---- */

static bool too_large(size_t size_max, struct err *err)
{
    return err_set(err, ERR_LIMIT, "unpacked it is larger than %zu bytes", size_max);
}

/* A file may be several streams, one behind the other. */
static bool gunzip(const void *bytes, size_t size, size_t size_max, struct buf *out, struct err *err)
{
    z_stream gzip = {.next_in = (Bytef *)bytes, .avail_in = (uInt)size};
    bool ok = inflateInit2(&gzip, GZIP_WINDOW) == Z_OK;
    int state = Z_OK;
    while (ok && (gzip.avail_in || state != Z_STREAM_END)) {
        if (state == Z_STREAM_END)
            inflateReset(&gzip);
        buf_reserve(out, STEP_BYTES);
        gzip.next_out = (Bytef *)out->data + out->size;
        gzip.avail_out = STEP_BYTES;
        state = inflate(&gzip, Z_NO_FLUSH);
        out->size += STEP_BYTES - gzip.avail_out;
        if (state != Z_OK && state != Z_STREAM_END)
            ok = err_set(err, ERR_PARSE, "damaged gzip data%s%s", gzip.msg ? ": " : "",
                         gzip.msg ? gzip.msg : "");
        else if (out->size > size_max)
            ok = too_large(size_max, err);
        else if (state == Z_OK && !gzip.avail_in && gzip.avail_out)
            ok = err_set(err, ERR_PARSE, "the gzip data end too early");
    }
    inflateEnd(&gzip);
    return ok;
}

static bool unzstd(const void *bytes, size_t size, size_t size_max, struct buf *out, struct err *err)
{
    ZSTD_DStream *zstd = ZSTD_createDStream();
    ZSTD_inBuffer in = {bytes, size, 0};
    size_t left = 1;
    bool ok = zstd != NULL;
    while (ok && in.pos < in.size) {
        buf_reserve(out, STEP_BYTES);
        ZSTD_outBuffer to = {out->data + out->size, STEP_BYTES, 0};
        left = ZSTD_decompressStream(zstd, &to, &in);
        out->size += to.pos;
        if (ZSTD_isError(left))
            ok = err_set(err, ERR_PARSE, "damaged zstd data: %s", ZSTD_getErrorName(left));
        else if (out->size > size_max)
            ok = too_large(size_max, err);
    }
    if (ok && left)
        ok = err_set(err, ERR_PARSE, "the zstd data end too early");
    ZSTD_freeDStream(zstd);
    return ok;
}

uint32_t checksum_crc32(const void *bytes, size_t size)
{
    return (uint32_t)crc32_z(0, bytes, size);
}

bool decompress(const void *bytes, size_t size, size_t size_max, struct buf *out, struct err *err)
{
    bool ok = true;
    if (size >= 2 && memcmp(bytes, "\x1f\x8b", 2) == 0)
        ok = gunzip(bytes, size, size_max, out, err);
    else if (size >= 4 && memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0)
        ok = unzstd(bytes, size, size_max, out, err);
    else if (size > size_max)
        ok = too_large(size_max, err);
    else
        buf_add(out, bytes, size);
    buf_add(out, "", 0);
    return ok;
}
