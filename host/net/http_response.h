/* http_response.h: the answer to one HTTP/1.1 request, read as it comes (RFC 9112). It opens no socket and
 * waits for nothing: bytes go in, headers and a body come out.
 *
 * A body's end is where Content-Length, chunks or the connection's end say; where two of them disagree, where
 * a line is not what the grammar asks for, or a bound is passed, there is no answer. */
#ifndef TIDEMILL_NET_HTTP_RESPONSE_H
#define TIDEMILL_NET_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Of status lines and headers of one answer; of what frames one chunk; of trailers. */
#define HTTP_HEAD_BYTES_MAX (256u << 10)

enum http_reading {
    HTTP_GOES_ON,   /* more is to come */
    HTTP_COMPLETE,  /* bytes behind it are not its own */
    HTTP_TOO_LARGE, /* the body is cut at its bound */
    HTTP_BROKEN,    /* `problem` says why */
};

struct http_response {
    int status;
    bool keeps;                 /* once complete: the connection may carry another request */
    bool head_done;             /* status and headers are known */
    struct buf *headers, *body; /* where they are put: the lines as they came, of the last response */
    size_t body_max;
    const char *problem;
    /* its own */
    enum {
        HTTP_AT_STATUS,
        HTTP_AT_HEADERS,
        HTTP_AT_LENGTH,
        HTTP_AT_CHUNK_SIZE,
        HTTP_AT_CHUNK,
        HTTP_AT_CHUNK_END,
        HTTP_AT_TRAILERS,
        HTTP_AT_CLOSE,
        HTTP_AT_END,
    } at;
    bool without_body, old, chunked, measured, closes, stays;
    bool lines, framed; /* a header has come; the last one says where the body ends */
    uint64_t left;      /* of the body, or of a chunk */
    size_t head_bytes;
};

/* A letter, a digit, or one of some signs, at least one (RFC 9110, 5.6.2): what a header may be called. */
bool http_is_token(const char *text, size_t size);

/* `without_body`: it answers HEAD. Both bufs stay the caller's. */
void http_response_init(struct http_response *response, bool without_body, struct buf *headers,
                        struct buf *body, size_t body_max);

/* Takes `*taken` of the bytes. What is left of them, the beginning of a line, is to be shown again together
 * with what follows. */
enum http_reading http_response_read(struct http_response *response, const char *bytes, size_t size,
                                     size_t *taken);

/* How many bytes come next that are nothing but body, and may be put behind `body` by the caller (who has
 * left room there and tells with http_response_placed); 0: none, or not known, or not within the bound. */
size_t http_response_plain(const struct http_response *response);
enum http_reading http_response_placed(struct http_response *response, size_t size);

static inline bool http_response_is_complete(const struct http_response *response)
{
    return response->at == HTTP_AT_END;
}

/* The connection has ended in order. */
enum http_reading http_response_ended(struct http_response *response);

#endif
