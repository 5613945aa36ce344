/* times.h: how long things took, in a few buckets: the inside of a histogram. */
#ifndef TIDEMILL_STATS_TIMES_H
#define TIDEMILL_STATS_TIMES_H

#include <stdint.h>

/* Few, since each handler has them; from a script that only computes to one that waits for a slow service. */
#define STATS_BUCKETS 8
struct stats_bucket {
    int64_t us;       /* what took no longer */
    const char *text; /* the same in seconds */
};
extern const struct stats_bucket stats_buckets[STATS_BUCKETS];

struct stats_times {
    int64_t within[STATS_BUCKETS]; /* of each bucket alone; what took longer is in none */
    int64_t count, us;             /* of all: how many, and their sum */
};

void stats_took(struct stats_times *times, int64_t us);

#endif
