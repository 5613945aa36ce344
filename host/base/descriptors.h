/* descriptors.h: how many files and sockets this process may have open. */
#ifndef TIDEMILL_BASE_DESCRIPTORS_H
#define TIDEMILL_BASE_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* Raise the soft limit to the hard one, and return what holds now. */
int64_t descriptors_raise(void);

/* What holds now. */
int64_t descriptors_limit(void);

/* Is there none left, for this process or for the machine? */
bool descriptors_exhausted(void);

#endif
