/* server.c: a listener in front of engine_call; a call may have to wait for its turn, which holds up its own
 * connection alone. */
#include "local/server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/compress.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/listener.h"

#define BODY_BYTES_MAX (16u << 20)
#define CONNECTIONS_MAX 1000
#define IDLE_S 300
#define HOUSEKEEPING_S 1

struct server {
    struct engine *engine;
    struct listener *listener;
    server_inbox_fn *_Atomic inbox;
    server_guard_fn *_Atomic guard;
    void *inbox_user, *guard_user;
    atomic_uint_least64_t requests;
    pthread_t keeper;
    bool keeping;
    pthread_mutex_t lock;
    pthread_cond_t stopping_changed;
    bool stopping;
};

static void say(struct listener_reply *reply, int status, const char *type, const char *text)
{
    reply->status = status;
    reply->type = type;
    buf_add_text(&reply->body, text);
}

static void refuse(struct listener_reply *reply, int status, const char *type, const char *message)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "{\"__type\":\"com.amazon.coral.service#%s\"", type);
    json_add_text(&text, "message", message);
    buf_add_char(&text, '}');
    say(reply, status, "application/x-amz-json-1.0", text.data);
    buf_fini(&text);
}

static void wait_ms(int64_t ms)
{
    struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/dynamodb/aws4_request, ..." NULL: it does not say. */
static const char *read_region(const struct listener_request *http, char *region, size_t size)
{
    const char *text = listener_header(http, "Authorization");
    const char *credential = text ? strstr(text, "Credential=") : NULL;
    size_t end = credential ? strcspn(credential, ", ") : 0, from[4], count = 0;
    for (size_t i = 0; i < end && count < 4; i++)
        if (credential[i] == '/')
            from[count++] = i + 1;
    if (count < 4 || from[2] - from[1] > size) /* a key may hold slashes: no region then, as far as we see */
        return NULL;
    memcpy(region, credential + from[1], from[2] - from[1] - 1);
    region[from[2] - from[1] - 1] = '\0';
    return region;
}

/* ---- what goes over the wire ---- */

/* What is asked in gzip; NULL: what it says that it is it is not, or it is too large. Else to be freed with
 * `own`. */
static const char *plain_body(const struct listener_request *http, struct buf *own, size_t *size)
{
    const char *encoding = listener_header(http, "Content-Encoding");
    struct err err;
    *size = http->size;
    if (!encoding || strcasecmp(encoding, "identity") == 0)
        return http->body;
    bool gzip = strcasecmp(encoding, "gzip") == 0 && http->size > 2 && memcmp(http->body, "\x1f\x8b", 2) == 0;
    if (!gzip || !decompress(http->body, http->size, BODY_BYTES_MAX, own, &err))
        return NULL;
    *size = own->size;
    return own->size ? own->data : "";
}

/* Of what a header lists: is it there, and not with q=0? */
static bool accepts(const struct listener_request *http, const char *encoding)
{
    const char *at = listener_header(http, "Accept-Encoding");
    size_t size = strlen(encoding);
    for (; at && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " \t");
        const char *rest = at + size;
        if (strncasecmp(at, encoding, size) != 0 || (*rest && !strchr(" \t;,", *rest)))
            continue;
        const char *weight = strstr(rest, "q=");
        bool own = weight && (size_t)(weight - rest) < strcspn(rest, ",");
        return !own || strtod(weight + 2, NULL) > 0;
    }
    return false;
}

/* Small answers would not become smaller. */
#define GZIP_BYTES_MIN 1024

/* The checksum is of what is sent: SDKs compare it. */
static void send_off(const struct listener_request *http, struct listener_reply *answer)
{
    if (answer->body.size >= GZIP_BYTES_MIN && accepts(http, "gzip")) {
        struct compressor *gzip = compressor_new(COMPRESSION_GZIP);
        struct buf packed = BUF_INIT;
        compressor_add(gzip, answer->body.data, answer->body.size, &packed);
        compressor_end(gzip, &packed);
        compressor_free(gzip);
        buf_fini(&answer->body);
        answer->body = packed;
        answer->headers[2].name = "Content-Encoding";
        snprintf(answer->headers[2].value, sizeof answer->headers[2].value, "gzip");
    }
    answer->headers[1].name = "x-amz-crc32";
    snprintf(answer->headers[1].value, sizeof answer->headers[1].value, "%" PRIu32,
             checksum_crc32(answer->body.size ? answer->body.data : "", answer->body.size));
}

/* ---- web pages ---- */

/* What Fetch asks before a page may call, and what it wants to see in each answer; the service lets every
 * page. Which pages come so far is the listener's. */
static void allow_page(const struct listener_request *http, struct listener_reply *answer)
{
    static const struct {
        const char *asked, *allowed;
    } wishes[] = {{"Access-Control-Request-Headers", "Access-Control-Allow-Headers"},
                  {"Access-Control-Request-Method", "Access-Control-Allow-Methods"},
                  {"Access-Control-Request-Private-Network", "Access-Control-Allow-Private-Network"}};
    if (!listener_header(http, "Origin"))
        return;
    buf_add_literal(&answer->lines,
                    "Access-Control-Allow-Origin: *\n"
                    "Access-Control-Expose-Headers: x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,"
                    "x-amz-crc32,Date\n");
    if (strcmp(http->method, "OPTIONS") != 0)
        return;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        const char *wish = listener_header(http, wishes[i].asked);
        if (wish && !wish[strcspn(wish, "\r\n")])
            buf_printf(&answer->lines, "%s: %s\n", wishes[i].allowed, wish);
    }
    buf_add_literal(&answer->lines, "Access-Control-Max-Age: 172800\n");
}

/* ---- requests ---- */

static void call(struct server *server, const struct listener_request *http, struct listener_reply *answer)
{
    struct engine_reply reply = {0};
    struct engine_request request = {.target = listener_header(http, "X-Amz-Target")};
    struct buf own = BUF_INIT;
    char region[64];
    if (http->too_large) {
        refuse(answer, 413, "RequestEntityTooLargeException", "the request is larger than 16 MiB");
        return;
    }
    server_guard_fn *guard = atomic_load(&server->guard);
    char code[SERVER_CODE_SIZE], message[SERVER_MESSAGE_SIZE];
    if (guard && !guard(server->guard_user, http, code, message)) {
        refuse(answer, 400, code, message);
        return;
    }
    request.body = plain_body(http, &own, &request.size);
    if (!request.body) {
        buf_fini(&own);
        refuse(answer, 400, "SerializationException", "the body is not in the Content-Encoding that it says");
        return;
    }
    request.region = read_region(http, region, sizeof region);
    engine_call(server->engine, &request, &reply);
    buf_fini(&own);
    if (reply.delay_ms)
        wait_ms(reply.delay_ms);
    answer->status = reply.status;
    answer->type = "application/x-amz-json-1.0";
    answer->body = reply.body;
    answer->cut = reply.dropped;
    answer->headers[0].name = "x-amzn-RequestId";
    snprintf(answer->headers[0].value, sizeof answer->headers[0].value, "TIDEMILL%024" PRIuLEAST64,
             atomic_fetch_add(&server->requests, 1));
    send_off(http, answer);
}

/* Nobody's body is kept who does not even claim to be somebody. */
static bool admit(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    struct server *server = user;
    if (strcmp(request->method, "POST") != 0 || listener_header(request, "Authorization") ||
        (strncmp(request->path, "/inbox/", 7) == 0 && atomic_load(&server->inbox)))
        return true;
    allow_page(request, reply);
    refuse(reply, 400, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
    return false;
}

static void on_request(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    struct server *server = user;
    server_inbox_fn *inbox = strncmp(request->path, "/inbox/", 7) == 0 ? atomic_load(&server->inbox) : NULL;
    allow_page(request, reply);
    if (inbox) {
        inbox(server->inbox_user, request->method, request->path, request->body, request->size);
        say(reply, 200, "application/json", "{}");
    } else if (strcmp(request->method, "POST") == 0) {
        call(server, request, reply);
    } else if (strcmp(request->method, "OPTIONS") == 0) {
        reply->status = 200;
    } else {
        say(reply, strcmp(request->method, "GET") == 0 ? 200 : 405, "text/plain",
            "healthy: tidemill local\n");
    }
}

/* ---- housekeeping ---- */

static void *keep_house(void *user)
{
    struct server *server = user;
    pthread_mutex_lock(&server->lock);
    while (!server->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += HOUSEKEEPING_S;
        pthread_cond_timedwait(&server->stopping_changed, &server->lock, &until);
        if (server->stopping)
            break;
        pthread_mutex_unlock(&server->lock);
        engine_housekeeping(server->engine);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* ---- life ---- */

struct server *server_start(struct engine *engine, int port, const char *pages, struct err *err)
{
    struct server *server = mem_zero(sizeof *server);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    server->engine = engine;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->stopping_changed, NULL);
    server->listener = listener_start(&(struct listener_options){.address = address,
                                                                 .body_bytes_max = BODY_BYTES_MAX,
                                                                 .connections_max = CONNECTIONS_MAX,
                                                                 .idle_s = IDLE_S,
                                                                 .local = true,
                                                                 .pages = pages,
                                                                 .admit = admit,
                                                                 .answer = on_request,
                                                                 .user = server},
                                      err);
    if (!server->listener) {
        if (err->code == ERR_BUSY) {
            struct err busy = *err;
            err_set(err, ERR_BUSY, "%s. Stop it, or take another port: --port N", busy.text);
        }
        server_stop(server);
        return NULL;
    }
    server->keeping = pthread_create(&server->keeper, NULL, keep_house, server) == 0;
    return server;
}

void server_set_inbox(struct server *server, server_inbox_fn *inbox, void *user)
{
    server->inbox_user = user;
    atomic_store(&server->inbox, inbox);
}

void server_set_guard(struct server *server, server_guard_fn *guard, void *user)
{
    server->guard_user = user;
    atomic_store(&server->guard, guard);
}

int server_port(const struct server *server)
{
    return listener_port(server->listener);
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_signal(&server->stopping_changed);
    pthread_mutex_unlock(&server->lock);
    if (server->keeping)
        pthread_join(server->keeper, NULL);
    listener_stop(server->listener);
    pthread_cond_destroy(&server->stopping_changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
