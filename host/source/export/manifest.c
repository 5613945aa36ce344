/* manifest.c: see manifest.h. */
#include "source/export/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/document.h"
#include "base/json.h"
#include "base/mem.h"

static bool says(const cJSON *root, const char *name, const char *wanted)
{
    const char *text = document_text(root, name);
    return !text || strcmp(text, wanted) == 0;
}

static bool read_time(const cJSON *root, const char *name, int64_t *ms)
{
    const char *time = document_text(root, name);
    return time && clock_read_iso8601(time, ms);
}

static bool read_summary(struct export_manifest *manifest, const cJSON *root, struct err *err)
{
    const char *arn = document_text(root, "tableArn");
    manifest->incremental = !says(root, "exportType", "FULL_EXPORT");
    bool timed = manifest->incremental ? read_time(root, "exportFromTime", &manifest->from_ms) &&
                                             read_time(root, "exportToTime", &manifest->taken_ms)
                                       : read_time(root, "exportTime", &manifest->taken_ms);
    if (!arn || !timed)
        return err_set(err, ERR_PARSE, "it has no tableArn, or not the times: it is no export's");
    if (!says(root, "outputFormat", "DYNAMODB_JSON"))
        return err_set(err, ERR_CONFIG, "its format is %s; DYNAMODB_JSON can be read",
                       document_text(root, "outputFormat"));
    manifest->table_arn = mem_string(arn);
    manifest->items = document_integer(root, "itemCount", 0);
    return true;
}

bool manifest_read_summary(struct export_manifest *manifest, const char *text, size_t size, struct err *err)
{
    cJSON *root = document_read(text, size, err);
    bool ok = root && read_summary(manifest, root, err);
    cJSON_Delete(root);
    return ok;
}

static bool read_md5(const cJSON *root, unsigned char md5[16])
{
    const char *text = document_text(root, "md5Checksum");
    unsigned char bytes[64];
    size_t size = 0;
    if (!text || strlen(text) > 40 || !base64_decode(text, strlen(text), bytes, &size) || size != 16)
        return false;
    memcpy(md5, bytes, 16);
    return true;
}

static bool read_file(struct export_manifest *manifest, const char *text, size_t size, struct err *err)
{
    cJSON *root = document_read(text, size, err);
    const char *key = document_text(root, "dataFileS3Key"), *slash = key ? strrchr(key, '/') : NULL;
    struct export_file file = {.items = document_integer(root, "itemCount", -1)};
    const char *name = slash ? slash + 1 : key;
    bool ok = root && name && *name && file.items >= 0 && read_md5(root, file.md5);
    if (root && !ok)
        err_set(err, ERR_PARSE, "a line without dataFileS3Key, itemCount or md5Checksum");
    if (ok && file.items) {
        file.name = mem_string(name);
        mem_grow(&manifest->files, &manifest->capacity, manifest->count, sizeof *manifest->files);
        manifest->files[manifest->count++] = file;
    }
    cJSON_Delete(root);
    return ok;
}

bool manifest_read_files(struct export_manifest *manifest, const char *text, size_t size, struct err *err)
{
    const char *end = text + size;
    int64_t items = 0;
    for (size_t number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop ? stop : end;
        if (stop > text && !read_file(manifest, text, (size_t)(stop - text), err))
            return err_prefix(err, "line %zu", number);
        text = stop + 1;
    }
    for (size_t i = 0; i < manifest->count; i++)
        items += manifest->files[i].items;
    return items == manifest->items ||
           err_set(err, ERR_PARSE,
                   "its files hold %lld items, and the summary says %lld: it is cut, or another "
                   "export's",
                   (long long)items, (long long)manifest->items);
}

void manifest_fini(struct export_manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++)
        free(manifest->files[i].name);
    free(manifest->files);
    free(manifest->table_arn);
    *manifest = (struct export_manifest){0};
}
