/* sheet.h: series of metrics, as one reactor or all of them stand. */
#ifndef TIDEMILL_STATS_SHEET_H
#define TIDEMILL_STATS_SHEET_H

#include <stddef.h>

/* One series of a metric. */
struct sample {
    const char *metric; /* its name: one of metrics.h */
    char *labels;       /* `stream="s",handler="h"`, escaped; "": none; owned */
    double value;
};

struct sheet {
    struct sample *samples;
    size_t count, capacity;
};

/* Labels are pairs of a name and a value, up to a NULL. */
void sheet_add(struct sheet *sheet, const char *metric, double value, ...) __attribute__((sentinel));
void sheet_fini(struct sheet *sheet);

/* Sorts by metric and labels; those of one series become one, as their metric says. */
void sheet_merge(struct sheet *sheet);

/* Adds a copy of the samples. */
void sheet_copy(struct sheet *sheet, const struct sheet *from);

#endif
