/* archive.c: see archive.h. */
#include "source/archive/archive.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "aws/s3.h"
#include "base/compress.h"
#include "base/file.h"
#include "base/mem.h"
#include "source/archive/archive_export.h"

#define FILE_BYTES_MAX (1u << 30)
#define UNPACKED_BYTES_MAX ((size_t)2 << 30)
#define DEPTH_MAX 32

struct archive {
    struct reactor *reactor;
    struct aws_client *aws;
    char *bucket; /* NULL: on disk */
    struct archive_file *files;
    size_t count, capacity;
    bool any_export;                /* a manifest was met */
    struct archive_export *exports; /* NULL: archived events */
};

/* ---- names ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int archive_compare(const char *a, const char *b)
{
    while (*a && *b) {
        if (!is_digit(*a) || !is_digit(*b)) {
            if (*a != *b)
                return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
            a++;
            b++;
            continue;
        }
        a += strspn(a, "0");
        b += strspn(b, "0");
        size_t size_a = strspn(a, "0123456789"), size_b = strspn(b, "0123456789");
        int order = size_a != size_b ? (size_a < size_b ? -1 : 1) : memcmp(a, b, size_a);
        if (order)
            return order;
        a += size_a;
        b += size_b;
    }
    return (*a != '\0') - (*b != '\0');
}

static int compare_files(const void *a, const void *b)
{
    return archive_compare(((const struct archive_file *)a)->path, ((const struct archive_file *)b)->path);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* In "SHARD-SEQUENCE.jsonl.gz", the size of SHARD. DynamoDB's have a "-" of their own: "shardId-1234-abcd".
 */
static size_t shard_size(const char *name)
{
    size_t at = 0;
    int parts = strncmp(name, "shardId-", 8) == 0 ? 3 : 1;
    for (int part = 0; part < parts; part++) {
        at += strcspn(name + at, "-.");
        if (name[at] != '-')
            return 0;
        at++;
    }
    return at - 1;
}

static void add_file(void *user, const char *path, int64_t bytes)
{
    struct archive *archive = user;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    archive->any_export = archive->any_export || strcmp(name, "manifest-summary.json") == 0;
    if (*name == '.' ||
        (!ends_with(name, ".jsonl") && !ends_with(name, ".jsonl.gz") && !ends_with(name, ".jsonl.zst")))
        return;
    size_t shard = shard_size(name), digits = shard ? strspn(name + shard + 1, "0123456789") : 0;
    mem_grow(&archive->files, &archive->capacity, archive->count, sizeof *archive->files);
    archive->files[archive->count++] = (struct archive_file){
        .path = mem_string(path),
        .bytes = bytes,
        .shard = mem_copy(name, digits ? shard : 0),
        .sequence = mem_copy(name + shard + 1, digits),
    };
}

/* ---- on disk ---- */

static bool walk(struct archive *archive, const char *path, int depth, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode)) {
        add_file(archive, path, status.st_size);
        return true;
    }
    DIR *directory = depth < DEPTH_MAX ? opendir(path) : NULL;
    if (!directory)
        return err_set(err, ERR_IO, "%s: %s", path, depth < DEPTH_MAX ? strerror(errno) : "nested too deep");
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        char *inner = mem_printf("%s/%s", path, entry->d_name);
        ok = walk(archive, inner, depth + 1, err);
        free(inner);
    }
    closedir(directory);
    return ok;
}

/* ---- in S3 ---- */

struct waiting {
    bool done;
    struct buf body;
    struct err err;
};

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct waiting *waiting = user;
    waiting->done = true;
    if (err) {
        waiting->err = *err;
        return;
    }
    waiting->body = response->body;
    response->body = BUF_INIT;
}

static bool ask(struct archive *archive, struct aws_request request, struct buf *body, struct err *err)
{
    struct waiting waiting = {0};
    aws_send(archive->aws, &request, on_answer, &waiting);
    reactor_turn_until(archive->reactor, &waiting.done);
    if (waiting.err.code) {
        *err = waiting.err;
        return false;
    }
    *body = waiting.body;
    return true;
}

static bool list(struct archive *archive, const char *prefix, struct err *err)
{
    char *token = NULL;
    bool ok = true;
    do {
        struct buf body = BUF_INIT;
        ok = ask(archive, s3_list(archive->bucket, prefix, token), &body, err);
        char *next = ok ? s3_read_list(&body, add_file, archive, err) : NULL;
        ok = ok && !err->code;
        if (next && token && strcmp(next, token) == 0) /* it would go round for ever */
            ok = err_set(err, ERR_PARSE, "the service repeats the page of files behind %s", next);
        free(token);
        token = next;
        buf_fini(&body);
    } while (token && ok);
    free(token);
    return ok;
}

/* ---- both ---- */

static bool open_exports(struct archive *archive, const char *from, const char *table, struct err *err)
{
    archive->exports = archive_export_open(from, table, archive->reactor, archive->aws, err);
    for (size_t i = 0; archive->exports && i < archive_export_count(archive->exports); i++) {
        mem_grow(&archive->files, &archive->capacity, archive->count, sizeof *archive->files);
        archive->files[archive->count++] = (struct archive_file){
            .path = archive_export_path(archive->exports, i),
            .bytes = archive_export_items(archive->exports, i),
            .shard = mem_string(""),
            .sequence = mem_string(""),
        };
    }
    return archive->exports != NULL;
}

struct archive *archive_open(const char *from, const char *table, struct reactor *reactor,
                             struct aws_client *aws, struct err *err)
{
    struct archive *archive = mem_zero(sizeof *archive);
    bool ok;
    archive->reactor = reactor;
    archive->aws = aws;
    err->code = ERR_NONE;
    if (strncmp(from, "s3://", 5) == 0) {
        const char *bucket = from + 5;
        size_t size = strcspn(bucket, "/");
        archive->bucket = mem_copy(bucket, size);
        ok = size && aws ? list(archive, bucket[size] ? bucket + size + 1 : "", err)
                         : err_set(err, ERR_CONFIG, "%s: s3://BUCKET/PREFIX expected%s", from,
                                   aws ? "" : ", and not here");
    } else {
        ok = walk(archive, from, 0, err);
    }
    bool exports = ok && !archive->count && archive->any_export && aws;
    if (exports)
        ok = open_exports(archive, from, table, err);
    else if (ok && !archive->count)
        ok =
            err_set(err, ERR_IO, "%s: there are no archived events (*.jsonl, *.jsonl.gz, *.jsonl.zst)", from);
    if (!ok) {
        archive_free(archive);
        return NULL;
    }
    if (!exports)
        qsort(archive->files, archive->count, sizeof *archive->files, compare_files);
    return archive;
}

void archive_free(struct archive *archive)
{
    if (!archive)
        return;
    for (size_t i = 0; i < archive->count; i++) {
        free(archive->files[i].path);
        free(archive->files[i].shard);
        free(archive->files[i].sequence);
    }
    free(archive->files);
    archive_export_free(archive->exports);
    free(archive->bucket);
    free(archive);
}

void archive_tell(const struct archive *archive, struct buf *told, struct buf *passed_over)
{
    if (archive->exports)
        archive_export_tell(archive->exports, told, passed_over);
}

int64_t archive_until_ms(const struct archive *archive)
{
    return archive->exports ? archive_export_until_ms(archive->exports) : 0;
}

size_t archive_count(const struct archive *archive)
{
    return archive->count;
}

const struct archive_file *archive_file(const struct archive *archive, size_t index)
{
    return &archive->files[index];
}

bool archive_read(struct archive *archive, size_t index, struct buf *out, struct err *err)
{
    const char *path = archive->files[index].path;
    struct buf packed = BUF_INIT;
    bool ok;
    if (archive->exports)
        return archive_export_read(archive->exports, index, out, err);
    if (archive->bucket) {
        ok = ask(archive, s3_get_large(archive->bucket, path, FILE_BYTES_MAX), &packed, err);
    } else {
        packed.data = file_read(path, FILE_BYTES_MAX, &packed.size, err);
        ok = packed.data != NULL;
    }
    if (ok && !decompress(packed.data, packed.size, UNPACKED_BYTES_MAX, out, err))
        ok = err_prefix(err, "%s", path);
    buf_fini(&packed);
    return ok;
}
