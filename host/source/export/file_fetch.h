/* file_fetch.h: a file of an export, from S3 or from disk, looked after and unpacked beside the reactor. */
#ifndef TIDEMILL_SOURCE_EXPORT_FILE_FETCH_H
#define TIDEMILL_SOURCE_EXPORT_FILE_FETCH_H

#include "aws/client.h"
#include "base/buf.h"

struct file_fetch;

/* `text` may be taken. Exactly one of it and `err` is given. */
typedef void file_fetch_fn(void *user, struct buf *text, const struct err *err);

/* `place`: s3://BUCKET/KEY or a path. `md5` (16 bytes) is of the file as it is stored; NULL: it is not
 * looked at. */
struct file_fetch *file_fetch_begin(struct reactor *reactor, struct aws_client *client, const char *place,
                                    const unsigned char *md5, file_fetch_fn *done, void *user);
void file_fetch_cancel(struct file_fetch *fetch); /* NULL is allowed */

#endif
