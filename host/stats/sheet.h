/* sheet.h: series of metrics, as one reactor or all of them stand. */
#ifndef TIDEMILL_STATS_SHEET_H
#define TIDEMILL_STATS_SHEET_H

#include <stdarg.h>
#include <stddef.h>

#include "stats/times.h"

/* One series of a metric. */
struct sample {
    const char *metric; /* its name: one of metrics.h */
    char *labels;       /* `stream="s",handler="h"`, escaped; "": none; owned */
    int part;           /* of a histogram: which of its lines, see sheet_add_times; else 0 */
    double value;
};

struct sheet {
    struct sample *samples;
    size_t count, capacity;
};

/* Labels are pairs of a name and a value, up to a NULL. */
void sheet_add(struct sheet *sheet, const char *metric, double value, ...) __attribute__((sentinel));

/* As labels stand in a sample: those of `sheet_add`. To be freed. */
char *sheet_labels(va_list pairs);

/* One whose labels are such a text. */
void sheet_add_labelled(struct sheet *sheet, const char *metric, const char *labels, double value);

/* A histogram: a line for each bucket, the sum and the count. Labels as of the two above. */
void sheet_add_times(struct sheet *sheet, const char *metric, const struct stats_times *times, ...)
    __attribute__((sentinel));
void sheet_add_labelled_times(struct sheet *sheet, const char *metric, const char *labels,
                              const struct stats_times *times);

void sheet_fini(struct sheet *sheet);

/* Sorts by metric, labels and part; those of one series become one, as their metric says. */
void sheet_merge(struct sheet *sheet);

/* Adds a copy of the samples. */
void sheet_copy(struct sheet *sheet, const struct sheet *from);

#endif
