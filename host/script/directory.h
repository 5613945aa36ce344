/* directory.h: the handlers found in the scripts directory. */
#ifndef TIDEMILL_SCRIPT_DIRECTORY_H
#define TIDEMILL_SCRIPT_DIRECTORY_H

#include <stddef.h>

#include "base/err.h"

/* Paths of the *.lua files in `directory` but *_test.lua, sorted; ends with NULL. NULL and `err` when the
 * directory cannot be read. */
char **script_paths(const char *directory, struct err *err);
void script_paths_free(char **paths);

/* The handler's name: the path's last part without .lua. To be freed. */
char *script_name_of(const char *path);

#endif
