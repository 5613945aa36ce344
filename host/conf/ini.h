/* ini.h: an INI file, entry by entry, each with its line.
 *
 * inih does the splitting; this adds what it does not give in Debian's build: line numbers, lines of any
 * length (its own limit is 200 bytes, less than a session token), sections without keys, and every wrong
 * line reported instead of the first. */
#ifndef TIDEMILL_CONF_INI_H
#define TIDEMILL_CONF_INI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/problems.h"

/* `name` and `value` are NULL when a section opens. A value continued on indented lines arrives whole,
 * its lines joined by '\n'. The texts are valid during the call. */
typedef void ini_entry_fn(void *user, const char *section, const char *name, const char *value, int line);

/* `label` names the text in problems. Goes on after a wrong line. */
void ini_read(const char *label, const char *text, ini_entry_fn *entry, void *user,
              struct problems *problems);

#endif
