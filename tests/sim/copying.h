/* copying.h: worlds in which a handler copies a table, from a snapshot on. */
#ifndef TIDEMILL_TESTS_SIM_COPYING_H
#define TIDEMILL_TESTS_SIM_COPYING_H

#include <stdbool.h>
#include <stdint.h>

/* Lives through the world of the seed. `violation`: 1000 bytes, "" where all holds. */
void copying_run(uint64_t seed, bool loud, char *violation);

#endif
