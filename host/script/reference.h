/* reference.h: pages about the modules, records and values, out of the annotations that editors read. */
#ifndef TIDEMILL_SCRIPT_REFERENCE_H
#define TIDEMILL_SCRIPT_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

/* The page "dynamodb", "record" and so on, for a terminal or as Markdown, to be freed; NULL: there is none.
 * `names`, to be freed: all there are, with spaces between them. */
char *reference_page(const char *name, bool markdown, char **names);

/* What editors read, one file after the other: its path below a library's directory ("tidemill/http.lua"), to
 * be freed, and its text. NULL: there are no more. */
const char *reference_source(size_t i, char **path, size_t *size);

#endif
