/* check.c: see check.h. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr,
            "tidemill: this must not happen: not (%s), at %s:%d; please report it. Start it again: "
            "nothing that is not done counts as done\n",
            condition, file, line);
    abort();
}
