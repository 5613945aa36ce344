/* sigv4.c: canonical request, string to sign, signature. Each call is signed: so texts are copied and not
 * formatted, and what OpenSSL looks up by name is looked up once. */
#include "aws/sigv4.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
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

/* ---- SHA-256 and HMAC ---- */

#define DIGEST_BYTES 32
#define BLOCK_BYTES 64 /* of SHA-256 */

static EVP_MD *algorithm;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void begin(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    CHECK(algorithm && pthread_key_create(&context_key, free_context) == 0);
}

/* Of this thread, about to take bytes. */
static EVP_MD_CTX *begin_digest(void)
{
    static _Thread_local EVP_MD_CTX *context;
    pthread_once(&once, begin);
    if (!context) {
        context = EVP_MD_CTX_new();
        CHECK(context);
        pthread_setspecific(context_key, context);
    }
    CHECK(EVP_DigestInit_ex2(context, algorithm, NULL));
    return context;
}

static void sha256(const void *bytes, size_t size, unsigned char digest[DIGEST_BYTES])
{
    EVP_MD_CTX *context = begin_digest();
    CHECK(EVP_DigestUpdate(context, bytes, size) && EVP_DigestFinal_ex(context, digest, NULL));
}

/* One of the two hashes of HMAC (RFC 2104): of the padded key and the text. */
static void hash_padded(const unsigned char key[BLOCK_BYTES], unsigned char pad, const void *text,
                        size_t size, unsigned char digest[DIGEST_BYTES])
{
    unsigned char padded[BLOCK_BYTES];
    EVP_MD_CTX *context = begin_digest();
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        padded[i] = key[i] ^ pad;
    CHECK(EVP_DigestUpdate(context, padded, sizeof padded) && EVP_DigestUpdate(context, text, size) &&
          EVP_DigestFinal_ex(context, digest, NULL));
    explicit_bzero(padded, sizeof padded);
}

void sha256_hex(const void *bytes, size_t size, char *text)
{
    unsigned char digest[DIGEST_BYTES];
    sha256(bytes, size, digest);
    hex(digest, sizeof digest, text);
}

static void hmac(const void *key, size_t key_size, const void *text, size_t size,
                 unsigned char out[DIGEST_BYTES])
{
    unsigned char block[BLOCK_BYTES] = {0}, inner[DIGEST_BYTES];
    if (key_size > sizeof block)
        sha256(key, key_size, block);
    else
        memcpy(block, key, key_size);
    hash_padded(block, 0x36, text, size, inner);
    hash_padded(block, 0x5c, inner, sizeof inner, out);
    explicit_bzero(block, sizeof block);
}

/* ---- the canonical request ---- */

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

/* A header to sign: its name, and what stands behind the colon. */
struct canonical_header {
    struct text name;
    const char *value;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int compare_names(struct text a, struct text b)
{
    for (size_t i = 0; i < a.size && i < b.size; i++)
        if (lower(a.start[i]) != lower(b.start[i]))
            return (unsigned char)lower(a.start[i]) < (unsigned char)lower(b.start[i]) ? -1 : 1;
    return (a.size > b.size) - (a.size < b.size);
}

/* In lower case. */
static void add_name(struct buf *out, struct text name)
{
    buf_reserve(out, name.size);
    for (size_t i = 0; i < name.size; i++)
        out->data[out->size + i] = lower(name.start[i]);
    out->size += name.size;
}

/* With runs of white space made one. */
static void add_squeezed(struct buf *out, const char *value)
{
    bool first = true;
    for (value += strspn(value, " \t\r\n"); *value;) {
        size_t word = strcspn(value, " \t\r\n");
        if (!first)
            buf_add_char(out, ' ');
        first = false;
        buf_add(out, value, word);
        value += word;
        value += strspn(value, " \t\r\n");
    }
}

static bool is_rewritten(struct text name)
{
    static const char *const names[] = {"user-agent", "expect", "x-amzn-trace-id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (compare_names(name, (struct text){names[i], strlen(names[i])}) == 0)
            return true;
    return false;
}

/* Sorted by their names; equal ones as they came. */
static void add_header(struct canonical_header *list, size_t *count, const char *line, bool any)
{
    const char *colon = strchr(line, ':');
    if (!colon || *count == HEADERS_MAX)
        return;
    struct canonical_header header = {{line, (size_t)(colon - line)}, colon + 1};
    if (!any && is_rewritten(header.name))
        return;
    size_t at = (*count)++;
    for (; at > 0 && compare_names(list[at - 1].name, header.name) > 0; at--)
        list[at] = list[at - 1];
    list[at] = header;
}

/* The canonical headers and, after an empty line, the names signed; these also into `names`. */
static void add_headers(struct buf *out, struct buf *names, const struct sigv4_request *request,
                        const struct url *url, const struct sigv4_headers *ours)
{
    struct canonical_header list[HEADERS_MAX];
    struct buf host = BUF_INIT;
    size_t count = 0;
    buf_add_literal(&host, "host:");
    buf_add(&host, url->authority.start, url->authority.size);
    add_header(list, &count, host.data, true);
    add_header(list, &count, ours->date, true);
    if (ours->token.size)
        add_header(list, &count, ours->token.data, true);
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        add_header(list, &count, request->headers[i], request->signs_all);
    for (size_t i = 0; i < count; i++) {
        size_t at = out->size;
        add_name(out, list[i].name);
        if (i)
            buf_add_char(names, ';');
        buf_add(names, out->data + at, out->size - at);
        buf_add_char(out, ':');
        add_squeezed(out, list[i].value);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    buf_add(out, names->data, names->size);
    buf_add_char(out, '\n');
    buf_fini(&host);
}

/* ---- the signature ---- */

/* What a key is derived from: "AWS4<secret>\0<date>\0<region>\0<service>". 0: it is too long to be kept. */
static size_t write_origin(const struct sigv4_identity *identity, const struct sigv4_request *request,
                           const char *date, char *origin, size_t size)
{
    const char *const parts[] = {"AWS4", identity->secret_key, "", date,
                                 "",     request->region,      "", request->service};
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t part = strlen(parts[i]) + (*parts[i] == '\0'); /* "" is the NUL between two */
        if (at + part > size)
            return 0;
        memcpy(origin + at, parts[i], part);
        at += part;
    }
    return at;
}

static void derive_key(const struct sigv4_identity *identity, const struct sigv4_request *request,
                       const char *date, unsigned char key[DIGEST_BYTES])
{
    struct buf first = BUF_INIT;
    buf_add_literal(&first, "AWS4");
    buf_add_text(&first, identity->secret_key);
    hmac(first.data, first.size, date, strlen(date), key);
    hmac(key, DIGEST_BYTES, request->region, strlen(request->region), key);
    hmac(key, DIGEST_BYTES, request->service, strlen(request->service), key);
    hmac(key, DIGEST_BYTES, "aws4_request", strlen("aws4_request"), key);
    buf_fini_secret(&first);
}

static void signing_key(const struct sigv4_identity *identity, const struct sigv4_request *request,
                        const char *date, struct sigv4_cache *cache)
{
    char origin[sizeof cache->origin];
    size_t size = write_origin(identity, request, date, origin, sizeof origin);
    if (!size || size != cache->origin_size || memcmp(origin, cache->origin, size) != 0) {
        derive_key(identity, request, date, cache->key);
        memcpy(cache->origin, origin, size);
        cache->origin_size = size;
    }
    explicit_bzero(origin, sizeof origin); /* also of one that was too long, of which a part is there */
}

/* "20260101T000000Z" of the time; one and the same for all calls of a second. */
static void write_stamp(int64_t wall_ms, char stamp[20])
{
    static _Thread_local time_t of = -1;
    static _Thread_local char text[20];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (seconds != of || !*text) {
        gmtime_r(&seconds, &tm);
        strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &tm);
        of = seconds;
    }
    memcpy(stamp, text, sizeof text);
}

/* The texts one behind the other. */
static void add_texts(struct buf *out, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_add_text(out, texts[i]);
}

#define ADD_TEXTS(out, ...)                            \
    add_texts(out, (const char *const[]){__VA_ARGS__}, \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#define CANONICAL_BYTES 1024 /* of most requests */

void sigv4_sign(const struct sigv4_identity *identity, const struct sigv4_request *request,
                struct sigv4_cache *cache, struct sigv4_headers *headers)
{
    char stamp[20], date[9], digest[65];
    write_stamp(request->wall_ms, stamp);
    memcpy(date, stamp, 8);
    date[8] = '\0';
    *headers = (struct sigv4_headers){0};
    memcpy(headers->date, "X-Amz-Date: ", sizeof "X-Amz-Date: ");
    strcat(headers->date, stamp);
    if (identity->session_token && *identity->session_token)
        ADD_TEXTS(&headers->token, "X-Amz-Security-Token: ", identity->session_token);

    struct url url = split_url(request->url);
    struct buf canonical = BUF_INIT, names = BUF_INIT, to_sign = BUF_INIT;
    buf_reserve(&canonical, CANONICAL_BYTES + headers->token.size);
    buf_reserve(&names, CANONICAL_BYTES / 4);
    ADD_TEXTS(&canonical, request->method, "\n");
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
    buf_reserve(&to_sign, CANONICAL_BYTES / 4);
    ADD_TEXTS(&to_sign, "AWS4-HMAC-SHA256\n", stamp, "\n", date, "/", request->region, "/", request->service,
              "/aws4_request\n", digest);
    signing_key(identity, request, date, cache);
    unsigned char signature[DIGEST_BYTES];
    hmac(cache->key, sizeof cache->key, to_sign.data, to_sign.size, signature);
    hex(signature, sizeof signature, digest);
    buf_reserve(&headers->authorization, CANONICAL_BYTES / 2);
    ADD_TEXTS(&headers->authorization, "Authorization: AWS4-HMAC-SHA256 Credential=", identity->access_key,
              "/", date, "/", request->region, "/", request->service,
              "/aws4_request, SignedHeaders=", names.data, ", Signature=", digest);
    buf_fini(&canonical);
    buf_fini(&names);
    buf_fini(&to_sign);
}

void sigv4_headers_fini(struct sigv4_headers *headers)
{
    buf_fini(&headers->token);
    buf_fini(&headers->authorization);
}
