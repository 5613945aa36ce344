/* s3.c: see s3.h. */
#include "aws/s3.h"

#include <stdlib.h>
#include <string.h>

#include "aws/xml.h"
#include "base/mem.h"
#include "net/url.h"

char *s3_path(const char *key)
{
    struct buf out = BUF_INIT;
    url_encode(&out, key, strlen(key), URL_UNRESERVED "/");
    return buf_take(&out);
}

struct aws_request s3_list(const char *bucket, const char *prefix, const char *token)
{
    struct buf path = BUF_INIT;
    buf_add_literal(&path, "?");
    if (token) {
        buf_add_literal(&path, "continuation-token=");
        url_encode(&path, token, strlen(token), URL_UNRESERVED);
        buf_add_char(&path, '&');
    }
    buf_add_literal(&path, "list-type=2&prefix=");
    url_encode(&path, prefix, strlen(prefix), URL_UNRESERVED);
    return (struct aws_request){.service = AWS_S3,
                                .operation = "ListObjectsV2",
                                .method = "GET",
                                .bucket = mem_string(bucket),
                                .path = buf_take(&path)};
}

struct aws_request s3_get(const char *bucket, const char *key)
{
    return (struct aws_request){.service = AWS_S3,
                                .operation = "GetObject",
                                .method = "GET",
                                .bucket = mem_string(bucket),
                                .path = s3_path(key)};
}

#define LARGE_TIMEOUT_MS (15 * 60 * 1000)

struct aws_request s3_get_large(const char *bucket, const char *key, size_t bytes_max)
{
    struct aws_request request = s3_get(bucket, key);
    request.response_max = bytes_max;
    request.timeout_ms = LARGE_TIMEOUT_MS;
    return request;
}

#define OBJECT_BYTES_MAX (50LL << 40) /* no object has more; sizes are added up */

char *s3_read_list(const struct buf *body, s3_object_fn *each, void *user, struct err *err)
{
    struct arena arena = ARENA_INIT;
    char *next = NULL;
    err->code = ERR_NONE;
    const struct xml *root = xml_parse(&arena, body->data ? body->data : "", body->size, err);
    for (const struct xml *item = root ? root->child : NULL; item; item = item->next) {
        const char *key = strcmp(item->name, "Contents") == 0 ? xml_text(item, "Key") : NULL;
        const char *text = xml_text(item, "Size");
        long long size = text ? strtoll(text, NULL, 10) : 0;
        if (key)
            each(user, key, size < 0 ? 0 : size < OBJECT_BYTES_MAX ? size : OBJECT_BYTES_MAX);
        if (strcmp(item->name, "NextContinuationToken") == 0)
            next = mem_string(item->text);
    }
    arena_fini(&arena);
    return next;
}
