/* http_response.c: see http_response.h. Sections are RFC 9112's. */
#include "net/http_response.h"

#include <string.h>
#include <strings.h>

#include "base/hex.h"

#define CHUNK_DIGITS_MAX 15 /* of a size that is no attack */

void http_response_init(struct http_response *response, bool without_body, struct buf *headers,
                        struct buf *body, size_t body_max)
{
    *response = (struct http_response){
        .without_body = without_body, .headers = headers, .body = body, .body_max = body_max};
}

static enum http_reading broken(struct http_response *response, const char *problem)
{
    response->problem = problem;
    return HTTP_BROKEN;
}

static enum http_reading complete(struct http_response *response)
{
    response->at = HTTP_AT_END;
    response->keeps = response->old ? response->stays && !response->closes : !response->closes;
    return HTTP_COMPLETE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Section 4: "HTTP/1.1 200 OK". */
static enum http_reading read_status(struct http_response *response, const char *line, size_t size)
{
    static const char version[] = "HTTP/1.";
    size_t at = sizeof version - 1;
    if (size < at + 5 || memcmp(line, version, at) != 0 || !is_digit(line[at]) || line[at + 1] != ' ' ||
        !is_digit(line[at + 2]) || !is_digit(line[at + 3]) || !is_digit(line[at + 4]) ||
        (size > at + 5 && line[at + 5] != ' '))
        return broken(response, "it does not answer in HTTP/1.1");
    response->old = line[at] == '0';
    response->status = (line[at + 2] - '0') * 100 + (line[at + 3] - '0') * 10 + (line[at + 4] - '0');
    if (response->status < 100)
        return broken(response, "its answer has no status");
    response->chunked = response->measured = response->closes = response->stays = false;
    response->lines = response->framed = false;
    response->left = 0;
    buf_clear(response->headers);
    response->at = HTTP_AT_HEADERS;
    return HTTP_GOES_ON;
}

static bool is_named(const char *line, size_t name_size, const char *name, size_t size)
{
    return name_size == size && strncasecmp(line, name, size) == 0;
}

bool http_is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return size > 0;
}

/* Is it in the list "close, x-other"? */
static bool lists(const char *value, size_t size, const char *word)
{
    size_t length = strlen(word);
    while (size) {
        size_t item = 0, end;
        while (size && (*value == ' ' || *value == '\t' || *value == ','))
            value++, size--;
        while (item < size && value[item] != ',')
            item++;
        for (end = item; end && (value[end - 1] == ' ' || value[end - 1] == '\t');)
            end--;
        if (end == length && strncasecmp(value, word, length) == 0)
            return true;
        value += item;
        size -= item;
    }
    return false;
}

/* Section 6.3: several equal lengths are one. */
static enum http_reading read_length(struct http_response *response, const char *value, size_t size)
{
    uint64_t length = 0;
    size_t i = 0;
    for (; i < size && is_digit(value[i]); i++) {
        if (length > (UINT64_MAX - 9) / 10)
            return broken(response, "its answer's Content-Length is no number of bytes");
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    if (!size || i < size)
        return broken(response, "its answer's Content-Length is no number of bytes");
    if (response->measured && response->left != length)
        return broken(response, "its answer has two lengths");
    response->measured = true;
    response->left = length;
    return HTTP_GOES_ON;
}

/* Section 5. */
static enum http_reading read_header(struct http_response *response, const char *line, size_t size)
{
#define IS(name) is_named(line, name_size, name, sizeof(name) - 1)
    if ((*line == ' ' || *line == '\t') && response->lines && !response->framed)
        return HTTP_GOES_ON; /* section 5.2: the line before goes on; nobody makes such lines any more */
    response->lines = true;
    const char *colon = memchr(line, ':', size);
    size_t name_size = colon ? (size_t)(colon - line) : 0;
    if (!colon || !http_is_token(line, name_size))
        return broken(response, "a header of its answer is none");
    if (memchr(line, '\0', size) || memchr(line, '\r', size))
        return broken(response, "a header of its answer holds what none may");
    const char *value = colon + 1, *end = line + size;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t value_size = (size_t)(end - value);
    response->framed = IS("Content-Length");
    if (response->framed)
        return read_length(response, value, value_size);
    if (IS("Transfer-Encoding")) {
        response->framed = true;
        if (is_named(value, value_size, "identity", 8)) /* of HTTP before 1999, and means none */
            return HTTP_GOES_ON;
        if (response->chunked || !is_named(value, value_size, "chunked", 7))
            return broken(response, "its answer has a Transfer-Encoding that was not asked for");
        response->chunked = true;
        response->closes = response->closes || response->old; /* section 6.1 */
    } else if (IS("Connection")) {
        response->closes = response->closes || lists(value, value_size, "close");
        response->stays = response->stays || lists(value, value_size, "keep-alive");
    }
    return HTTP_GOES_ON;
#undef IS
}

/* Section 6.3: what of it is a body. */
static enum http_reading end_head(struct http_response *response)
{
    if (response->status == 101)
        return broken(response, "it changes to another protocol, which was not asked for");
    if (response->status < 200) {
        response->at = HTTP_AT_STATUS;
        return HTTP_GOES_ON;
    }
    response->head_done = true;
    if (response->without_body || response->status == 204 || response->status == 304)
        return complete(response);
    if (response->chunked) {
        response->closes = response->closes || response->measured; /* one of the two is a lie */
        response->at = HTTP_AT_CHUNK_SIZE;
        return HTTP_GOES_ON;
    }
    if (!response->measured) {
        response->closes = true;
        response->at = HTTP_AT_CLOSE;
        return HTTP_GOES_ON;
    }
    response->at = HTTP_AT_LENGTH;
    return response->left ? HTTP_GOES_ON : complete(response);
}

/* Section 7.1: "1F;extension". */
static enum http_reading read_chunk_size(struct http_response *response, const char *line, size_t size)
{
    size_t i = 0;
    response->left = 0;
    for (; i < size && hex_digit(line[i]) >= 0; i++)
        response->left = response->left * 16 + (uint64_t)hex_digit(line[i]);
    size_t digits = i;
    while (i < size && (line[i] == ' ' || line[i] == '\t'))
        i++;
    if (!digits || digits > CHUNK_DIGITS_MAX || (i < size && line[i] != ';'))
        return broken(response, "a chunk of its answer has no size");
    response->at = response->left ? HTTP_AT_CHUNK : HTTP_AT_TRAILERS;
    response->head_bytes = 0;
    return HTTP_GOES_ON;
}

static enum http_reading read_line(struct http_response *response, const char *line, size_t size,
                                   size_t size_with_end)
{
    switch (response->at) {
    case HTTP_AT_STATUS:
        return read_status(response, line, size);
    case HTTP_AT_HEADERS:
        buf_add(response->headers, line, size_with_end);
        return size ? read_header(response, line, size) : end_head(response);
    case HTTP_AT_CHUNK_SIZE:
        return read_chunk_size(response, line, size);
    case HTTP_AT_CHUNK_END:
        response->at = HTTP_AT_CHUNK_SIZE;
        return size ? broken(response, "a chunk of its answer is longer than it says") : HTTP_GOES_ON;
    default: /* trailers, which nobody asks for */
        return size ? HTTP_GOES_ON : complete(response);
    }
}

static bool is_in_body(const struct http_response *response)
{
    return response->at == HTTP_AT_LENGTH || response->at == HTTP_AT_CHUNK || response->at == HTTP_AT_CLOSE;
}

/* So many bytes more are in the body. */
static enum http_reading go_on_in_body(struct http_response *response, size_t size)
{
    if (response->at == HTTP_AT_CLOSE)
        return HTTP_GOES_ON;
    response->left -= size;
    if (response->left)
        return HTTP_GOES_ON;
    if (response->at == HTTP_AT_LENGTH)
        return complete(response);
    response->at = HTTP_AT_CHUNK_END;
    return HTTP_GOES_ON;
}

static enum http_reading read_body(struct http_response *response, const char *bytes, size_t size,
                                   size_t *taken)
{
    size_t room = response->body_max - response->body->size;
    if (response->at != HTTP_AT_CLOSE && size > response->left)
        size = (size_t)response->left;
    *taken = size;
    buf_add(response->body, bytes, size < room ? size : room);
    return size > room ? HTTP_TOO_LARGE : go_on_in_body(response, size);
}

enum http_reading http_response_read(struct http_response *response, const char *bytes, size_t size,
                                     size_t *taken)
{
    enum http_reading reading = response->at == HTTP_AT_END ? HTTP_COMPLETE : HTTP_GOES_ON;
    size_t at = 0;
    while (reading == HTTP_GOES_ON && at < size) {
        size_t step;
        if (is_in_body(response)) {
            reading = read_body(response, bytes + at, size - at, &step);
        } else {
            const char *end = memchr(bytes + at, '\n', size - at);
            if (response->head_bytes + (end ? (size_t)(end - bytes) + 1 - at : size - at) >
                HTTP_HEAD_BYTES_MAX) {
                reading = broken(response, "the headers of its answer do not end");
                break;
            }
            if (!end)
                break;
            step = (size_t)(end - bytes) + 1 - at;
            response->head_bytes += step;
            size_t line = step - 1; /* section 2.2: a line may end with LF alone */
            line -= line && bytes[at + line - 1] == '\r';
            reading = read_line(response, bytes + at, line, step);
        }
        at += step;
    }
    *taken = at;
    return reading;
}

size_t http_response_plain(const struct http_response *response)
{
    if (response->at != HTTP_AT_LENGTH && response->at != HTTP_AT_CHUNK)
        return 0;
    return response->left <= response->body_max - response->body->size ? (size_t)response->left : 0;
}

enum http_reading http_response_placed(struct http_response *response, size_t size)
{
    response->body->size += size;
    response->body->data[response->body->size] = '\0';
    return go_on_in_body(response, size);
}

enum http_reading http_response_ended(struct http_response *response)
{
    if (response->at == HTTP_AT_END)
        return HTTP_COMPLETE;
    if (response->at == HTTP_AT_CLOSE)
        return complete(response);
    return broken(response, response->head_done    ? "the connection was closed within its answer"
                            : response->head_bytes ? "the connection was closed within its answer's headers"
                                                   : "the connection was closed without an answer");
}
