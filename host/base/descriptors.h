/* descriptors.h: how many files and sockets this process may have open. */
#ifndef TIDEMILL_BASE_DESCRIPTORS_H
#define TIDEMILL_BASE_DESCRIPTORS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Raise the soft limit to the hard one, and return what holds now. */
int64_t descriptors_raise(void);

/* What holds now. */
int64_t descriptors_limit(void);

/* Does this errno say that there was none, for this process or for the machine? */
static inline bool descriptors_lack(int problem)
{
    return problem == EMFILE || problem == ENFILE;
}

/* Is there none left, for this process or for the machine? */
bool descriptors_exhausted(void);

#endif
