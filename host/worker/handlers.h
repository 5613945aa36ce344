/* handlers.h: what there is to run: the scripts of the directory and the routes of the configuration.
 *
 * Each is named by its place: a script's path, or "[route NAME]". */
#ifndef TIDEMILL_WORKER_HANDLERS_H
#define TIDEMILL_WORKER_HANDLERS_H

#include "base/problems.h"
#include "script/script.h"

/* All places, ending with NULL; script_paths_free. NULL and `err` when the directory cannot be read, but that
 * it is not there is no error when `optional` and there are routes. */
char **handler_places(const struct config *config, bool optional, struct err *err);

bool handler_place_is_route(const char *place);

/* Both are to be freed. */
char *handler_place_of_route(const char *name);
char *handler_place_name(const char *place);

/* Is it still there, under this configuration? */
bool handler_place_exists(const char *place, const struct config *config);

/* What stands there; `options->path` is the place. One reference. NULL when anything is wrong; each thing is
 * a line of `problems`. */
struct handler *handler_load(const struct script_options *options, struct problems *problems);

#endif
