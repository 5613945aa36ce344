/* file.h: whole files and paths. */
#ifndef TIDEMILL_BASE_FILE_H
#define TIDEMILL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The file's bytes with a NUL behind them, to be freed; NULL and `err` (naming the path) otherwise.
 * A file larger than `size_max` is refused, and what is no regular file: a pipe would be waited for. */
char *file_read(const char *path, size_t size_max, size_t *size, struct err *err);

/* The same of whatever it is, waiting for its writer: for what somebody names on a command line. */
char *file_read_stream(const char *path, size_t size_max, size_t *size, struct err *err);

/* Made, where there is none, for the owner alone; one that anybody could read is closed to them. Its group
 * may go on reading it where it does: somebody has said so. What root makes belongs to whom the directory
 * belongs to: what root starts once, that one starts later. False: it cannot be. */
bool file_make_private(const char *path);

/* What stands in the directory (names, not bytes) is durable. */
bool file_sync_directory(const char *path, struct err *err);

/* The directory that the file is in: its name is there for good. */
bool file_sync_directory_of(const char *path, struct err *err);

/* What the file holds is durable. */
bool file_sync(const char *path, struct err *err);

/* All directories on the way to the last '/' of the path, 0700; a new one is durable only with the one above
 * it. `path` is changed meanwhile. */
bool file_make_directories(char *path, struct err *err);

/* A name from outside as one component of a path or a key: what would lead elsewhere ('/', '\\', a dot in
 * front) and controls are written as %2F, and '%' too, so that no two names become one. To be freed. */
char *path_component(const char *name);

/* Is it a name below some directory: no empty component, no "." nor "..", no controls, not absolute? */
bool path_is_below(const char *path);

/* `path` as seen from the directory of the file `base`; absolute paths stay. To be freed. */
char *path_beside(const char *base, const char *path);

#endif
