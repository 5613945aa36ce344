/* times.c: see times.h. */
#include "stats/times.h"

const struct stats_bucket stats_buckets[STATS_BUCKETS] = {
    {1000, "0.001"}, {5000, "0.005"},  {25000, "0.025"},   {100000, "0.1"},
    {500000, "0.5"}, {2500000, "2.5"}, {10000000, "10.0"}, {60000000, "60.0"},
};

void stats_took(struct stats_times *times, int64_t us)
{
    int at = 0;
    us = us > 0 ? us : 0;
    while (at < STATS_BUCKETS && us > stats_buckets[at].us)
        at++;
    if (at < STATS_BUCKETS)
        times->within[at]++;
    times->count++;
    times->us += us;
}
