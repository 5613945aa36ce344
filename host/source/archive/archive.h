/* archive.h: events that the s3 and file targets have written, or what exports of a table hold, as events:
 * which files there are, and what is in them.
 *
 * For commands: each call turns the reactor until it has its answer. */
#ifndef TIDEMILL_SOURCE_ARCHIVE_ARCHIVE_H
#define TIDEMILL_SOURCE_ARCHIVE_ARCHIVE_H

#include "aws/client.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/reactor.h"

struct archive_file {
    char *path;     /* or the object's key */
    int64_t bytes;  /* as it is stored */
    char *shard;    /* from its name; "" where that says nothing */
    char *sequence; /* of its first event; "" likewise */
};

struct archive;

/* A file, a directory with all below it, or s3://BUCKET/PREFIX. Files of other kinds than .jsonl, .jsonl.gz
 * and .jsonl.zst are left out, as are those whose names begin with a dot. In the order of their events: runs
 * of digits in the paths count as numbers.
 *
 * Where there are none of them, but exports: an export that was named, or the newest full one of `table`
 * (NULL: of the one that there is) and the incremental ones that go on from it. Each item is an event as a
 * snapshot's.
 *
 * `aws` may be NULL: nothing in S3 then, and no exports. NULL and `err`. */
struct archive *archive_open(const char *from, const char *table, struct reactor *reactor,
                             struct aws_client *aws, struct err *err);
void archive_free(struct archive *archive);

size_t archive_count(const struct archive *archive);
const struct archive_file *archive_file(const struct archive *archive, size_t index);

/* Which exports these are, a line each, and what was passed over; behind `told` and `passed_over`. Nothing of
 * archived events. */
void archive_tell(const struct archive *archive, struct buf *told, struct buf *passed_over);

/* Exports end there, and what was written since is not among them, ms since 1970; 0: these are archived
 * events.
 */
int64_t archive_until_ms(const struct archive *archive);

/* The events of a file, a line each, into `out`. */
bool archive_read(struct archive *archive, size_t index, struct buf *out, struct err *err);

/* The order of paths. */
int archive_compare(const char *a, const char *b);

#endif
