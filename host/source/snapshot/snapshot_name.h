/* snapshot_name.h: what a snapshot of a table is called: the ARN of its stream, with what must be known of it
 * behind that. So it is one more stream in a row, before the one that it is named after, and whoever has its
 * name, on any host, knows all there is to know. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_SNAPSHOT_NAME_H
#define TIDEMILL_SOURCE_SNAPSHOT_SNAPSHOT_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/config.h"
#include "source/source.h"

struct snapshot_name {
    char *stream_arn; /* that its handler goes on with */
    char *handler;    /* each has its own */
    char *table;
    int64_t taken_ms;   /* what was written later comes behind it; the services' clock */
    int64_t created_ms; /* the table: one of its name that is made later is another; 0: not said */
    int64_t segments;
    char *export;         /* where an export of the table is, which is read in its place; or NULL */
    int64_t until_ms;     /* incremental exports go on from it until then; 0: none do */
    int64_t begun_ms;     /* when an export was begun to be read; 0: not said */
    int64_t items, bytes; /* the table's, as it was described when the snapshot was taken: hours old */
};

/* False when it is none; else what it says, for snapshot_name_fini. */
bool snapshot_name_read(const char *arn, struct snapshot_name *name);
void snapshot_name_fini(struct snapshot_name *name);

/* The ARN; owned by the caller. */
char *snapshot_name_write(const struct snapshot_name *name);

/* What was written later comes by the stream. */
int64_t snapshot_ends_ms(const struct snapshot_name *name);

/* The name of a segment, as a shard has one: "segment-00012". And back: -1 when it is none. */
#define SNAPSHOT_SEGMENT_SIZE 32
const char *snapshot_segment(char out[SNAPSHOT_SEGMENT_SIZE], int64_t segment);
int64_t snapshot_segment_read(const char *shard);

/* How many segments for a table of that size, where the INI does not say. */
int64_t snapshot_segments_for(int64_t bytes);

#endif
