/* file.c: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

/* Opening does not wait for who writes into a pipe, and a device is not read for ever. */
static FILE *open_regular(const char *path, struct err *err)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(stat.st_mode)) {
        err_set(err, ERR_IO, "%s: it is no regular file", path);
    } else {
        return fdopen(fd, "r");
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static bool give_to_owner_of_directory(int fd, const char *path)
{
    struct stat directory;
    char *above = path_beside(path, ".");
    bool given = geteuid() != 0 || stat(above, &directory) != 0 || directory.st_uid == 0 ||
                 fchown(fd, directory.st_uid, directory.st_gid) == 0;
    free(above);
    return given;
}

/* One that is there is not opened: closing it would take from this process the locks it has on it. */
bool file_make_private(const char *path)
{
    struct stat stat_now;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool given = give_to_owner_of_directory(fd, path);
        return close(fd) == 0 && given;
    }
    return stat(path, &stat_now) == 0 &&
           (!S_ISREG(stat_now.st_mode) || !(stat_now.st_mode & 0037) || chmod(path, 0600) == 0);
}

/* Closes the file. */
static char *read_all(FILE *file, const char *path, size_t size_max, size_t *size, struct err *err)
{
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

char *file_read(const char *path, size_t size_max, size_t *size, struct err *err)
{
    FILE *file = open_regular(path, err);
    return file ? read_all(file, path, size_max, size, err) : NULL;
}

char *file_read_stream(const char *path, size_t size_max, size_t *size, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file)
        return read_all(file, path, size_max, size, err);
    err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return NULL;
}

static bool failed(struct err *err, const char *path)
{
    return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
}

static bool sync_opened(const char *path, int flags, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok)
        failed(err, path);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool file_sync_directory(const char *path, struct err *err)
{
    return sync_opened(path, O_DIRECTORY, err);
}

bool file_sync(const char *path, struct err *err)
{
    return sync_opened(path, 0, err);
}

bool file_sync_directory_of(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == path ? mem_string("/")
                      : slash       ? mem_copy(path, (size_t)(slash - path))
                                    : mem_string(".");
    bool well = file_sync_directory(directory, err);
    free(directory);
    return well;
}

bool file_make_directories(char *path, struct err *err)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0, ok = made || errno == EEXIST || failed(err, path);
        char *above = made ? strrchr(path, '/') : NULL;
        if (ok && above) {
            *above = '\0';
            ok = file_sync_directory(*path ? path : "/", err);
            *above = '/';
        }
        *slash = '/';
        if (!ok)
            return false;
    }
    return true;
}

char *path_component(const char *name)
{
    struct buf out = BUF_INIT;
    for (const char *at = name; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == '%' || (c == '.' && at == name))
            buf_printf(&out, "%%%02X", c);
        else
            buf_add_char(&out, *at);
    }
    buf_add(&out, "", 0);
    return buf_take(&out);
}

bool path_is_below(const char *path)
{
    for (const char *at = path;; at++) {
        size_t size = strcspn(at, "/");
        if (!size || (size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        for (size_t i = 0; i < size; i++)
            if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f)
                return false;
        at += size;
        if (!*at)
            return true;
    }
}

char *path_beside(const char *base, const char *path)
{
    const char *slash = strrchr(base, '/');
    if (path[0] == '/' || !slash)
        return mem_string(path);
    return mem_printf("%.*s/%s", (int)(slash - base), base, path);
}
