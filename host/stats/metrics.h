/* metrics.h: the metrics that there are. To add one: a line in metrics.c, and its samples where its numbers
 * are (exposition.c; or stats_counter and stats_times where something happens). Named as Prometheus wants it:
 * https://prometheus.io/docs/practices/naming/ */
#ifndef TIDEMILL_STATS_METRICS_H
#define TIDEMILL_STATS_METRICS_H

#include <stddef.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum join { JOIN_SUM, JOIN_GREATEST, JOIN_LEAST };

struct metric {
    const char *name; /* of a counter: with _total */
    enum metric_type type;
    enum join join; /* how a series on two reactors becomes one */
    const char *help;
};

/* NULL: there is none of that name. */
const struct metric *metric_find(const char *name);

/* All of them, in the order of their names; NULL behind the last. */
const struct metric *metric_at(size_t i);

/* By the metric's `join`. */
double metric_joins(const char *name, double a, double b);

#endif
