/* file.h: whole files and paths. */
#ifndef TIDEMILL_BASE_FILE_H
#define TIDEMILL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The file's bytes with a NUL behind them, to be freed; NULL and `err` (naming the path) otherwise.
 * A file larger than `size_max` is refused. */
char *file_read(const char *path, size_t size_max, size_t *size, struct err *err);

/* `path` as seen from the directory of the file `base`; absolute paths stay. To be freed. */
char *path_beside(const char *base, const char *path);

#endif
