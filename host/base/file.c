/* file.c: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

char *file_read(const char *path, size_t size_max, size_t *size, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct buf text = BUF_INIT;
    size_t got;
    do {
        buf_reserve(&text, 1 << 16);
        got = fread(text.data + text.size, 1, 1 << 16, file);
        text.size += got;
    } while (got > 0 && text.size <= size_max);
    bool failed = ferror(file) != 0;
    int reason = errno;
    fclose(file);
    if (failed || text.size > size_max) {
        if (failed)
            err_set(err, ERR_IO, "%s: %s", path, strerror(reason));
        else
            err_set(err, ERR_LIMIT, "%s: larger than %zu bytes", path, size_max);
        buf_fini(&text);
        return NULL;
    }
    text.data[text.size] = '\0';
    if (size)
        *size = text.size;
    return buf_take(&text);
}

char *path_beside(const char *base, const char *path)
{
    const char *slash = strrchr(base, '/');
    if (path[0] == '/' || !slash)
        return mem_string(path);
    return mem_printf("%.*s/%s", (int)(slash - base), base, path);
}
