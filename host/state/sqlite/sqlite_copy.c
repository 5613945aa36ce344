/* sqlite_copy.c: a state file that is filled from another state, beside its place, and comes there whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "state/sqlite/store_sqlite.h"

struct file_copy {
    struct store_copy copy; /* the first: one is the other */
    char *path, *beside;
};

static void file_copy_free(struct file_copy *file)
{
    store_free(file->copy.store);
    free(file->path);
    free(file->beside);
    free(file);
}

/* What was begun and not ended. */
static void remove_leftovers(const char *beside)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char *path = mem_printf("%s%s", beside, ends[i]);
        unlink(path);
        free(path);
    }
}

static struct store_copy *begin(const struct store_kind *kind, struct reactor *reactor, const char *path,
                                const struct store_options *options, const char *from, struct err *err)
{
    (void)from;
    if (access(path, F_OK) == 0) {
        err_set(err, ERR_BUSY, "%s: there is a file already: name another, or take it away", path);
        return NULL;
    }
    struct file_copy *file = mem_zero(sizeof *file);
    *file = (struct file_copy){.copy = {.ops = &store_sqlite_copy},
                               .path = mem_string(path),
                               .beside = mem_printf("%s.copying", path)};
    remove_leftovers(file->beside);
    file->copy.store = kind->open(reactor, file->beside, options, err);
    if (file->copy.store)
        return &file->copy;
    file_copy_free(file);
    return NULL;
}

static bool end(struct store_copy *copy, bool whole, struct err *err)
{
    struct file_copy *file = (struct file_copy *)copy;
    bool well = true;
    store_free(copy->store); /* what stands in its log comes into the file */
    copy->store = NULL;
    if (whole) {
        well = rename(file->beside, file->path) == 0 ||
               err_set(err, ERR_IO, "%s: cannot be named %s: %s", file->beside, file->path, strerror(errno));
        well = well && file_sync_directory_of(file->path, err);
    } else {
        remove_leftovers(file->beside);
    }
    file_copy_free(file);
    return well;
}

const struct store_copy_ops store_sqlite_copy = {begin, end};
