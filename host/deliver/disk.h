/* disk.h: whole files, written by a thread of their own: a slow disk holds up nobody else. */
#ifndef TIDEMILL_DELIVER_DISK_H
#define TIDEMILL_DELIVER_DISK_H

#include "base/buf.h"
#include "base/err.h"
#include "net/reactor.h"

struct disk;

struct disk *disk_new(struct reactor *reactor);

/* Finishes what is being written; the rest is dropped, and no completion comes any more. */
void disk_free(struct disk *disk);

/* Make `path` hold the bytes (taken), durably, and its directories with it. Nobody ever sees a part of it: it
 * is written under another name, which begins with a dot, and renamed. `done` comes from the reactor; `err`
 * is NULL when it is done. */
typedef void disk_fn(void *user, const struct err *err);
void disk_write(struct disk *disk, const char *path, struct buf *bytes, disk_fn *done, void *user);

/* Is there such a file? `err` is NULL when there is. */
void disk_look(struct disk *disk, const char *path, disk_fn *done, void *user);

#endif
