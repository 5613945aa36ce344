/* sigv4.c: canonical request, string to sign, signature. */
#include "aws/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/hex.h"
#include "base/mem.h"
#include "net/url.h"

#define HEADERS_MAX 64

struct text {
    const char *start;
    size_t size;
};

/* A URL's parts; all point into it. */
struct url {
    struct text authority, path, query;
};

static void hex(const unsigned char *bytes, size_t size, char *text)
{
    *hex_write(text, bytes, size) = '\0';
}

static void sha256(const void *bytes, size_t size, unsigned char digest[32])
{
    EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL);
}

void sha256_hex(const void *bytes, size_t size, char *text)
{
    unsigned char digest[32];
    sha256(bytes, size, digest);
    hex(digest, sizeof digest, text);
}

static void hmac(const void *key, size_t key_size, const char *text, unsigned char out[32])
{
    HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), out, NULL);
}

static struct url split_url(const char *text)
{
    struct url url = {0};
    const char *from = strstr(text, "://");
    bool https = strncmp(text, "https:", 6) == 0;
    from = from ? from + 3 : text;
    url.authority = (struct text){from, strcspn(from, "/?#")};
    const char *path = from + url.authority.size;
    url.path = (struct text){path, strcspn(path, "?#")};
    const char *query = path + url.path.size;
    if (*query == '?')
        url.query = (struct text){query + 1, strcspn(query + 1, "#")};
    /* The Host header has no port where it is the scheme's own. */
    const char *port = https ? ":443" : ":80";
    size_t size = strlen(port);
    if (url.authority.size > size && memcmp(from + url.authority.size - size, port, size) == 0)
        url.authority.size -= size;
    return url;
}

/* Resolve "." and ".." and drop empty segments, then encode, '%' included: the path on the wire is encoded
 * once, in the canonical request twice (every service but S3). */
static void add_path(struct buf *out, struct text path)
{
    struct text *segments = NULL;
    size_t count = 0, capacity = 0;
    const char *at = path.start, *end = path.start + path.size;
    while (at < end) {
        const char *slash = memchr(at, '/', (size_t)(end - at)), *stop = slash ? slash : end;
        struct text segment = {at, (size_t)(stop - at)};
        if (segment.size == 2 && memcmp(at, "..", 2) == 0)
            count -= count > 0;
        else if (segment.size && !(segment.size == 1 && *at == '.')) {
            mem_grow(&segments, &capacity, count, sizeof *segments);
            segments[count++] = segment;
        }
        at = stop + 1;
    }
    for (size_t i = 0; i < count; i++) {
        buf_add_char(out, '/');
        url_encode(out, segments[i].start, segments[i].size, URL_UNRESERVED "/");
    }
    if (!count || (path.size && end[-1] == '/'))
        buf_add_char(out, '/');
    free(segments);
}

static struct text pair_key(const struct text *pair)
{
    const char *equals = memchr(pair->start, '=', pair->size);
    return (struct text){pair->start, equals ? (size_t)(equals - pair->start) : pair->size};
}

static int compare_text(struct text a, struct text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.start, b.start, size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_pairs(const void *left, const void *right)
{
    const struct text *a = left, *b = right;
    struct text key_a = pair_key(a), key_b = pair_key(b);
    int order = compare_text(key_a, key_b);
    if (order)
        return order;
    size_t skip = key_a.size;
    return compare_text((struct text){a->start + skip, a->size - skip},
                        (struct text){b->start + skip, b->size - skip});
}

static void add_query(struct buf *out, struct text query)
{
    struct text *pairs = NULL;
    size_t count = 0, capacity = 0;
    if (!query.size)
        return;
    const char *at = query.start, *end = query.start + query.size;
    do {
        const char *amp = memchr(at, '&', (size_t)(end - at)), *stop = amp ? amp : end;
        mem_grow(&pairs, &capacity, count, sizeof *pairs);
        pairs[count++] = (struct text){at, (size_t)(stop - at)};
        at = stop + 1;
    } while (at <= end);
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, '&');
        buf_add(out, pairs[i].start, pairs[i].size);
        if (!memchr(pairs[i].start, '=', pairs[i].size))
            buf_add_char(out, '=');
    }
    free(pairs);
}

/* A header to sign: its lower-case name and its value with runs of white space made one. */
struct canonical_header {
    char *name;
    char *value;
};

static int compare_headers(const void *left, const void *right)
{
    const struct canonical_header *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static char *squeezed(const char *value)
{
    struct buf out = BUF_INIT;
    for (value += strspn(value, " \t\r\n"); *value;) {
        size_t word = strcspn(value, " \t\r\n");
        if (out.size)
            buf_add_char(&out, ' ');
        buf_add(&out, value, word);
        value += word;
        value += strspn(value, " \t\r\n");
    }
    return buf_take(&out);
}

static void add_header(struct canonical_header *list, size_t *count, const char *line, bool any)
{
    const char *colon = strchr(line, ':');
    if (!colon || *count == HEADERS_MAX)
        return;
    char *name = mem_copy(line, (size_t)(colon - line));
    for (char *c = name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    if (!any && (strcmp(name, "user-agent") == 0 || strcmp(name, "expect") == 0 ||
                 strcmp(name, "x-amzn-trace-id") == 0)) {
        free(name); /* these are rewritten on the way */
        return;
    }
    list[(*count)++] = (struct canonical_header){name, squeezed(colon + 1)};
}

/* The canonical headers and, after an empty line, the names signed; these also into `names`. */
static void add_headers(struct buf *out, struct buf *names, const struct sigv4_request *request,
                        const struct url *url, const struct sigv4_headers *ours)
{
    struct canonical_header list[HEADERS_MAX];
    size_t count = 0;
    char *host = mem_printf("host:%.*s", (int)url->authority.size, url->authority.start);
    add_header(list, &count, host, true);
    free(host);
    add_header(list, &count, ours->date, true);
    if (ours->token.size)
        add_header(list, &count, ours->token.data, true);
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        add_header(list, &count, request->headers[i], request->signs_all);
    qsort(list, count, sizeof *list, compare_headers);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s:%s\n", list[i].name, list[i].value);
        buf_printf(names, "%s%s", i ? ";" : "", list[i].name);
        free(list[i].name);
        free(list[i].value);
    }
    buf_printf(out, "\n%s\n", names->data);
}

static void signing_key(const struct sigv4_identity *identity, const struct sigv4_request *request,
                        const char *date, struct sigv4_cache *cache)
{
    char *first = mem_printf("AWS4%s", identity->secret_key);
    char *what = mem_printf("%s/%s/%s/%s", first, date, request->region, request->service);
    unsigned char of[32], key[32];
    sha256(what, strlen(what), of);
    mem_free_secret(what);
    if (!cache->filled || memcmp(of, cache->of, sizeof of) != 0) {
        hmac(first, strlen(first), date, key);
        hmac(key, sizeof key, request->region, key);
        hmac(key, sizeof key, request->service, key);
        hmac(key, sizeof key, "aws4_request", cache->key);
        memcpy(cache->of, of, sizeof of);
        cache->filled = true;
        explicit_bzero(key, sizeof key);
    }
    mem_free_secret(first);
}

void sigv4_sign(const struct sigv4_identity *identity, const struct sigv4_request *request,
                struct sigv4_cache *cache, struct sigv4_headers *headers)
{
    char stamp[20], date[9], digest[65];
    time_t seconds = (time_t)(request->wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    memcpy(date, stamp, 8);
    date[8] = '\0';
    *headers = (struct sigv4_headers){0};
    snprintf(headers->date, sizeof headers->date, "X-Amz-Date: %s", stamp);
    if (identity->session_token && *identity->session_token)
        buf_printf(&headers->token, "X-Amz-Security-Token: %s", identity->session_token);

    struct url url = split_url(request->url);
    struct buf canonical = BUF_INIT, names = BUF_INIT, to_sign = BUF_INIT;
    buf_printf(&canonical, "%s\n", request->method);
    if (request->plain_path)
        buf_add(&canonical, url.path.size ? url.path.start : "/", url.path.size ? url.path.size : 1);
    else
        add_path(&canonical, url.path);
    buf_add_char(&canonical, '\n');
    add_query(&canonical, url.query);
    buf_add_char(&canonical, '\n');
    add_headers(&canonical, &names, request, &url, headers);
    sha256_hex(request->body ? request->body : "", request->body_size, digest);
    buf_add_text(&canonical, digest);

    sha256_hex(canonical.data, canonical.size, digest);
    buf_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", stamp, date, request->region,
               request->service, digest);
    signing_key(identity, request, date, cache);
    unsigned char signature[32];
    hmac(cache->key, sizeof cache->key, to_sign.data, signature);
    hex(signature, sizeof signature, digest);
    buf_printf(&headers->authorization,
               "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, "
               "Signature=%s",
               identity->access_key, date, request->region, request->service, names.data, digest);
    buf_fini(&canonical);
    buf_fini(&names);
    buf_fini(&to_sign);
}

void sigv4_headers_fini(struct sigv4_headers *headers)
{
    buf_fini(&headers->token);
    buf_fini(&headers->authorization);
}
