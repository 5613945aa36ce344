/* problems.h: everything wrong at once, for `check` and for a refused configuration. */
#ifndef TIDEMILL_BASE_PROBLEMS_H
#define TIDEMILL_BASE_PROBLEMS_H

#include <stddef.h>

#include "base/log.h"

struct problems {
    char **lines; /* "file:line: sentence" where there is a line */
    size_t count;
    size_t capacity;
};

#define PROBLEMS_INIT ((struct problems){0})

void problems_fini(struct problems *problems);
void problems_add(struct problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each as an error. */
void problems_log(const struct problems *problems, struct log *log);

/* Those of the file by their lines, before all others, which keep their order. */
void problems_sort(struct problems *problems, const char *path);

/* The same thing may be found wrong from two sides. */
void problems_remove_repeated(struct problems *problems);

/* The known name nearest to `name`, or NULL when none is near enough to be meant. `known` ends with NULL. */
const char *nearest_name(const char *name, const char *const *known);

/* Is it the other with one letter too many, too few or wrong, or two beside each other exchanged? */
bool name_is_slip(const char *name, const char *meant);

#endif
