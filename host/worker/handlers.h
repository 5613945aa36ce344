/* handlers.h: what there is to run: the scripts of the directory and the routes of the configuration.
 *
 * Each is named by its place: a script's path; "[handler NAME]", of a section that says which script it runs;
 * or
 * "[route NAME]". */
#ifndef TIDEMILL_WORKER_HANDLERS_H
#define TIDEMILL_WORKER_HANDLERS_H

#include "base/problems.h"
#include "script/script.h"

/* All places, ending with NULL; script_paths_free. NULL and `err` when the directory cannot be read, but that
 * it is not there is no error when `optional` and there are routes. */
char **handler_places(const struct config *config, bool optional, struct err *err);

bool handler_place_is_route(const char *place);

/* Of a section with `script`. */
char *handler_place_of_section(const char *name); /* to be freed */

/* Both are to be freed. */
char *handler_place_of_route(const char *name);
char *handler_place_name(const char *place);

/* Is it still there, under this configuration? */
bool handler_place_exists(const char *place, const struct config *config);

/* What stands there; `options->path` is the place. One reference. NULL when anything is wrong; each thing is
 * a line of `problems`. */
struct handler *handler_load(const struct script_options *options, struct problems *problems);

/* Likewise, of a place that is no route: the script. */
struct script *handler_load_script(const struct script_options *options, struct problems *problems);

#endif
