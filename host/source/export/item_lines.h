/* item_lines.h: the lines of an export's file as records. */
#ifndef TIDEMILL_SOURCE_EXPORT_ITEM_LINES_H
#define TIDEMILL_SOURCE_EXPORT_ITEM_LINES_H

#include "source/export/manifest.h"
#include "source/snapshot/item_records.h"

/* A line of a full export, {"Item": ...}, or of an incremental one, {"Metadata": ..., "Keys": ...,
 * "OldImage":
 * ..., "NewImage": ...}, behind `records` (item_records.h). False and `err`: it is none. */
bool item_line_add(struct buf *records, const struct item_frame *frame,
                   const struct export_manifest *manifest, const char *line, size_t size, struct err *err);

#endif
