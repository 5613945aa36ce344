/* s3.h: the requests of S3 that read.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html, API_GetObject.html */
#ifndef TIDEMILL_AWS_S3_H
#define TIDEMILL_AWS_S3_H

#include <stdint.h>

#include "aws/client.h"

/* A page of a listing; `token` of the page before, NULL: the first one. */
struct aws_request s3_list(const char *bucket, const char *prefix, const char *token);
struct aws_request s3_get(const char *bucket, const char *key);

/* Of a large one, of so many bytes at most; it may take its time. */
struct aws_request s3_get_large(const char *bucket, const char *key, size_t bytes_max);

/* Call `each` for every object of the page. The next page's token, to be freed; NULL: that was all, or `err`
 * says what is wrong. */
typedef void s3_object_fn(void *user, const char *key, int64_t bytes);
char *s3_read_list(const struct buf *body, s3_object_fn *each, void *user, struct err *err);

/* Percent-encoded for a path: all but the unreserved characters and '/'. To be freed. */
char *s3_path(const char *key);

#endif
