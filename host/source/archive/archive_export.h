/* archive_export.h: exports of a table as an archive: the files of all of them, one after the other. */
#ifndef TIDEMILL_SOURCE_ARCHIVE_ARCHIVE_EXPORT_H
#define TIDEMILL_SOURCE_ARCHIVE_ARCHIVE_EXPORT_H

#include "aws/client.h"
#include "base/buf.h"

struct archive_export;

/* As archive_open says. Turns the reactor meanwhile, as reading does. NULL and `err`. */
struct archive_export *archive_export_open(const char *from, const char *table, struct reactor *reactor,
                                           struct aws_client *aws, struct err *err);
void archive_export_free(struct archive_export *exports); /* NULL is allowed */

void archive_export_tell(const struct archive_export *exports, struct buf *told, struct buf *passed_over);
int64_t archive_export_until_ms(const struct archive_export *exports);

size_t archive_export_count(const struct archive_export *exports);
char *archive_export_path(const struct archive_export *exports, size_t index); /* to be freed */
int64_t archive_export_items(const struct archive_export *exports, size_t index);

/* Its items as events, a line each, into `out`. */
bool archive_export_read(struct archive_export *exports, size_t index, struct buf *out, struct err *err);

#endif
