/* exposition.h: a reactor's numbers as a sheet, and a sheet in Prometheus' text format or in OpenMetrics':
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * https://prometheus.io/docs/specs/om/open_metrics_spec/ */
#ifndef TIDEMILL_STATS_EXPOSITION_H
#define TIDEMILL_STATS_EXPOSITION_H

#include "base/buf.h"
#include "stats/sheet.h"
#include "stats/stats.h"

/* A reactor's numbers as samples. `now_ms`: wall clock. */
void exposition_add(struct sheet *sheet, struct stats *stats, int64_t now_ms);

/* This process', as Prometheus' own client libraries name them. */
void exposition_add_process(struct sheet *sheet);

/* The sheet must be merged. Numbers have one form in both. */
void exposition_write(const struct sheet *sheet, bool open_metrics, struct buf *out);

#endif
