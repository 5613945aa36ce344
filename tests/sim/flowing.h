/* flowing.h: worlds in which a table's changes come by way of Kinesis. */
#ifndef TIDEMILL_TESTS_SIM_FLOWING_H
#define TIDEMILL_TESTS_SIM_FLOWING_H

#include <stdbool.h>
#include <stdint.h>

/* Lives through the world of the seed. `violation`: 1000 bytes, "" where all holds. */
void flowing_run(uint64_t seed, bool loud, char *violation);

#endif
