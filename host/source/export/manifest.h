/* manifest.h: what an export of a table to S3 says of itself.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html */
#ifndef TIDEMILL_SOURCE_EXPORT_MANIFEST_H
#define TIDEMILL_SOURCE_EXPORT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct export_file {
    char *name; /* of its key the last part: "asdl123dasas.json.gz" */
    int64_t items;
    unsigned char md5[16];
};

/* A full one is the table as it was; an incremental one has what became by then of each item that was changed
 * since. */
struct export_manifest {
    char *table_arn;
    bool incremental;
    int64_t from_ms;  /* what was written from then on; 0 of a full one */
    int64_t taken_ms; /* and until before this */
    int64_t items;
    struct export_file *files; /* those that hold something */
    size_t count, capacity;
};

/* manifest-summary.json. False and `err`: it is none, or not in DynamoDB's JSON. */
bool manifest_read_summary(struct export_manifest *manifest, const char *text, size_t size, struct err *err);

/* manifest-files.json: a line for each file, together what the summary says. */
bool manifest_read_files(struct export_manifest *manifest, const char *text, size_t size, struct err *err);

void manifest_fini(struct export_manifest *manifest);

#endif
