/* exposition.h: a reactor's numbers as a sheet, and a sheet in Prometheus' text format:
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef TIDEMILL_STATS_EXPOSITION_H
#define TIDEMILL_STATS_EXPOSITION_H

#include "base/buf.h"
#include "stats/sheet.h"
#include "stats/stats.h"

/* A reactor's numbers as samples. `now_ms`: wall clock. */
void exposition_add(struct sheet *sheet, struct stats *stats, int64_t now_ms);

/* The sheet must be merged. */
void exposition_write(const struct sheet *sheet, struct buf *out);

#endif
