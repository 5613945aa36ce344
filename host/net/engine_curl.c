/* engine_curl.c: see engine_curl.h. */
#include "net/engine_curl.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "base/mem.h"

#define RECEIVE_BUFFER_BYTES (64L << 10)
#define POOL_MAX 1024     /* handles kept for reuse, at most; else as many as connections */
#define HEADERS_BYTES 512 /* of most answers */

/* What a handle is told of a request with a body; of one without, and of HEAD, libcurl keeps more than it can
 * be told to forget. */
enum shape { SHAPE_NEW, SHAPE_BODY, SHAPE_OTHER };

/* An easy handle and what it has been told: setting an option to what it is costs as much as changing it. */
struct handle {
    struct curl_engine *curl;
    CURL *easy;
    enum shape shape;
    char *url, *method; /* owned */
    long timeout_ms, connect_timeout_ms;
    bool direct, http2;
    char problem[CURL_ERROR_SIZE];
    /* Of the exchange that it is out for. */
    struct exchange *exchange;
    struct curl_slist *headers; /* one block, with its texts */
    bool too_large, headers_done;
    bool sent, repeated; /* it would have been sent twice */
    bool past;           /* it would have been sent behind the fence */
};

struct curl_engine {
    struct engine engine;
    struct poller poller;
    struct reactor *reactor;
    CURLM *multi;
    char *ca_bundle;
    size_t out; /* exchanges */
    long abrupt_ms;
    struct handle **pool;
    size_t pool_count, pool_capacity, pool_max;
    struct curl_waitfd *fds;
    size_t fds_capacity;
};

static size_t on_body(char *bytes, size_t one, size_t size, void *user)
{
    struct handle *handle = user;
    struct buf *body = &handle->exchange->response.body;
    size_t most = handle->exchange->request.response_max;
    size *= one;
    if (body->size + size > most) {
        handle->too_large = true;
        if (handle->exchange->request.status_decides && body->size < most)
            buf_add(body, bytes, most - body->size);
        return 0;
    }
    if (body->size == 0) {
        curl_off_t expected = 0;
        curl_easy_getinfo(handle->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
        if (expected > 0 && (size_t)expected <= most)
            buf_reserve(body, (size_t)expected);
    }
    buf_add(body, bytes, size);
    return size;
}

static size_t on_header(char *bytes, size_t one, size_t size, void *user)
{
    struct handle *handle = user;
    struct buf *headers = &handle->exchange->response.headers;
    long status = 0;
    size *= one;
    if (size >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        /* A new response: the one before was a proxy's or an interim one. */
        buf_clear(headers);
        handle->headers_done = false;
        return size;
    }
    if (size <= 2 && (bytes[0] == '\r' || bytes[0] == '\n')) {
        curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status);
        handle->headers_done = status >= 200;
    }
    if (!headers->size)
        buf_reserve(headers, HEADERS_BYTES);
    buf_add(headers, bytes, size);
    return size;
}

/* Before the request goes out on a connection. libcurl repeats one by itself when a kept connection closes
 * without an answer; whether the server has read it nobody knows, so only what is idempotent may go again
 * (RFC 9110, 9.2.2). */
static int on_request(void *user, char *remote, char *local, int remote_port, int local_port)
{
    struct handle *handle = user;
    const struct transport_request *request = &handle->exchange->request;
    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    handle->repeated = handle->sent && !request->idempotent;
    handle->past = exchange_is_past(handle->exchange, handle->curl->reactor);
    handle->sent = handle->sent || !handle->past;
    return handle->repeated || handle->past ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int on_socket(void *user, curl_socket_t socket, curlsocktype purpose)
{
    const struct curl_engine *curl = user;
    unsigned patience_ms = (unsigned)curl->abrupt_ms;
    (void)purpose;
    /* Where one of these cannot be set the call goes on as usual. */
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
    return CURL_SOCKOPT_OK;
}

/* What no request changes. */
static void set_constants(struct curl_engine *curl, struct handle *handle)
{
    CURL *easy = handle->easy;
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (curl->ca_bundle)
        curl_easy_setopt(easy, CURLOPT_CAINFO, curl->ca_bundle);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->problem);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, handle);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, handle);
    if (curl->abrupt_ms) {
        curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
        curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, curl);
    }
}

static void set_text(CURL *easy, CURLoption option, char **known, const char *text)
{
    if (*known && strcmp(*known, text) == 0)
        return;
    curl_easy_setopt(easy, option, text);
    free(*known);
    *known = mem_string(text);
}

static void set_number(CURL *easy, CURLoption option, long *known, long number)
{
    if (*known != number)
        curl_easy_setopt(easy, option, number);
    *known = number;
}

/* As new: what it was told of the last request does not go with the next. Its connections stay, they are the
 * multi handle's. */
static void forget_request(struct curl_engine *curl, struct handle *handle)
{
    curl_easy_reset(handle->easy);
    free(handle->url);
    free(handle->method);
    *handle = (struct handle){.curl = handle->curl, .easy = handle->easy};
    set_constants(curl, handle);
}

static size_t count_headers(const struct transport_request *request)
{
    size_t count = 0;
    while (request->headers && request->headers[count])
        count++;
    return count;
}

/* Without a value libcurl takes a header for one to be left out, unless a semicolon stands in the colon's
 * place: how long the name is then, else 0. */
static size_t empty_name_size(const char *header)
{
    const char *colon = strchr(header, ':');
    return colon && !colon[1 + strspn(colon + 1, " \t")] ? (size_t)(colon - header) : 0;
}

static void list_header(struct curl_slist *list, size_t *count, const char *text)
{
    list[*count] = (struct curl_slist){.data = (char *)(uintptr_t)text};
    if (*count)
        list[*count - 1].next = &list[*count];
    ++*count;
}

/* A list in one block, which libcurl only reads; its texts are the exchange's, but for those without a value.
 */
static struct curl_slist *list_headers(const struct transport_request *request)
{
    size_t count = count_headers(request), bytes = 0, all = 0;
    for (size_t i = 0; i < count; i++)
        bytes += empty_name_size(request->headers[i]) + 2;
    struct curl_slist *list = mem_alloc((count + 2) * sizeof *list + bytes);
    char *at = (char *)(list + count + 2);
    list_header(list, &all, "Expect:");
    if (!request->body && transport_wants_length(request->method))
        list_header(list, &all, "Content-Length: 0");
    for (size_t i = 0; i < count; i++) {
        size_t size = empty_name_size(request->headers[i]);
        list_header(list, &all, size ? at : request->headers[i]);
        if (size)
            at += sprintf(at, "%.*s;", (int)size, request->headers[i]) + 1;
    }
    return list;
}

static void apply_request(struct curl_engine *curl, struct handle *handle, struct exchange *exchange)
{
    const struct transport_request *call = &exchange->request;
    enum shape shape = call->body && strcmp(call->method, "HEAD") != 0 ? SHAPE_BODY : SHAPE_OTHER;
    bool same = handle->shape == SHAPE_BODY && shape == SHAPE_BODY && handle->direct == call->direct &&
                handle->http2 == call->http2;
    if (!same && handle->shape != SHAPE_NEW)
        forget_request(curl, handle);
    CURL *easy = handle->easy;
    handle->exchange = exchange;
    handle->headers = list_headers(call);
    handle->too_large = handle->headers_done = handle->sent = handle->repeated = handle->past = false;
    handle->shape = shape;
    handle->problem[0] = '\0';
    set_text(easy, CURLOPT_URL, &handle->url, call->url);
    if (strcmp(call->method, "HEAD") == 0 && !call->body_size) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L); /* else it waits for one that never comes */
    } else if (call->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_size);
    }
    set_text(easy, CURLOPT_CUSTOMREQUEST, &handle->method, call->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handle->headers);
    set_number(easy, CURLOPT_TIMEOUT_MS, &handle->timeout_ms, (long)call->timeout_ms);
    set_number(easy, CURLOPT_CONNECTTIMEOUT_MS, &handle->connect_timeout_ms, (long)call->connect_timeout_ms);
    if (same)
        return;
    handle->direct = call->direct;
    handle->http2 = call->http2;
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     call->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    if (call->direct)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

/* ---- handles ---- */

static struct handle *take_handle(struct curl_engine *curl)
{
    if (curl->pool_count)
        return curl->pool[--curl->pool_count];
    struct handle *handle = mem_zero(sizeof *handle);
    handle->curl = curl;
    handle->easy = curl_easy_init();
    CHECK(handle->easy);
    set_constants(curl, handle);
    return handle;
}

static void free_handle(struct handle *handle)
{
    curl_easy_cleanup(handle->easy);
    free(handle->url);
    free(handle->method);
    free(handle);
}

static void put_handle(struct curl_engine *curl, struct handle *handle)
{
    curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, NULL); /* they were the exchange's */
    free(handle->headers);
    handle->headers = NULL;
    handle->exchange = NULL;
    if (curl->pool_count >= curl->pool_max) {
        free_handle(handle);
        return;
    }
    mem_grow(&curl->pool, &curl->pool_capacity, curl->pool_count, sizeof(struct handle *));
    curl->pool[curl->pool_count++] = handle;
}

/* ---- exchanges ---- */

static void curl_begin(struct engine *engine, struct exchange *exchange)
{
    struct curl_engine *curl = list_entry(engine, struct curl_engine, engine);
    struct handle *handle = take_handle(curl);
    exchange->run = handle;
    apply_request(curl, handle, exchange);
    curl->out++;
    curl_multi_add_handle(curl->multi, handle->easy);
}

static void end(struct curl_engine *curl, struct exchange *exchange)
{
    struct handle *handle = exchange->run;
    curl->out--;
    curl_multi_remove_handle(curl->multi, handle->easy);
    put_handle(curl, handle);
    exchange->run = NULL;
}

static void curl_give_up(struct engine *engine, struct exchange *exchange)
{
    end(list_entry(engine, struct curl_engine, engine), exchange);
}

/* Nothing was sent, since no socket was to be had. */
static bool is_starved(const struct handle *handle, CURLcode code)
{
    return (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
            code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_FAILED_INIT ||
            code == CURLE_SSL_CACERT_BADFILE || code == CURLE_UNSUPPORTED_PROTOCOL) &&
           !handle->sent && descriptors_exhausted();
}

static enum exchange_end end_of(const struct handle *handle, CURLcode code)
{
    if (code == CURLE_OK || (handle->exchange->request.status_decides && handle->headers_done))
        return EXCHANGE_ANSWERED;
    return handle->too_large                                    ? EXCHANGE_TOO_LARGE
           : handle->repeated || (handle->past && handle->sent) ? EXCHANGE_UNSURE
           : handle->past                                       ? EXCHANGE_PAST
           : is_starved(handle, code)                           ? EXCHANGE_STARVED
           : code == CURLE_OPERATION_TIMEDOUT                   ? EXCHANGE_TIMED_OUT
                                                                : EXCHANGE_FAILED;
}

static void complete(struct curl_engine *curl, struct handle *handle, CURLcode code)
{
    struct exchange *exchange = handle->exchange;
    enum exchange_end how = end_of(handle, code);
    char text[CURL_ERROR_SIZE];
    snprintf(text, sizeof text, "%s", handle->problem[0] ? handle->problem : curl_easy_strerror(code));
    if (how == EXCHANGE_ANSWERED) {
        long status = 0;
        curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status);
        exchange->response.status = (int)status;
    }
    end(curl, exchange); /* before the callback: it may send again */
    reactor_step_begin(curl->reactor);
    exchange->done(exchange, how, text);
    reactor_step_end(curl->reactor);
}

/* Hand out what is complete; true when something was. */
static bool complete_all(struct curl_engine *curl)
{
    int left = 0;
    bool some = false;
    for (CURLMsg *message; (message = curl_multi_info_read(curl->multi, &left));) {
        struct handle *handle = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &handle);
        complete(curl, handle, message->data.result);
        some = true;
    }
    return some;
}

static void curl_wait(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    struct curl_engine *curl = list_entry(poller, struct curl_engine, poller);
    int running = 0;
    if (curl->fds_capacity < count) {
        curl->fds_capacity = count;
        curl->fds = mem_resize(curl->fds, count * sizeof *curl->fds);
    }
    for (size_t i = 0; i < count; i++)
        curl->fds[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = fds[i].events};
    /* Requests added since go out before the thread sleeps. */
    curl_multi_perform(curl->multi, &running);
    if (complete_all(curl))
        timeout_ms = 0;
    curl_multi_poll(curl->multi, curl->fds, (unsigned)count, (int)timeout_ms, NULL);
    curl_multi_perform(curl->multi, &running);
    bool writes = false;
    for (size_t i = 0; i < count; i++) {
        fds[i].revents = curl->fds[i].revents;
        writes = writes || (fds[i].events & POLLOUT);
    }
    if (writes) /* libcurl does not tell of a pipe whose reader is gone */
        poll(fds, (nfds_t)count, 0);
    complete_all(curl);
}

static void curl_wake(struct poller *poller)
{
    curl_multi_wakeup(list_entry(poller, struct curl_engine, poller)->multi);
}

static void curl_engine_free(struct engine *engine)
{
    struct curl_engine *curl = list_entry(engine, struct curl_engine, engine);
    CHECK(!curl->out);
    reactor_set_poller(curl->reactor, NULL);
    while (curl->pool_count)
        free_handle(curl->pool[--curl->pool_count]);
    free(curl->pool);
    curl_multi_cleanup(curl->multi);
    curl_global_cleanup();
    free(curl->fds);
    free(curl->ca_bundle);
    free(curl);
}

struct engine *engine_curl_new(struct reactor *reactor, const struct engine_curl_options *options)
{
    static const struct engine_ops ops = {curl_begin, curl_give_up, curl_engine_free};
    struct curl_engine *curl = mem_zero(sizeof *curl);
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counted by libcurl, safe from several threads */
    curl->engine.ops = &ops;
    curl->poller = (struct poller){.wait = curl_wait, .wake = curl_wake};
    curl->reactor = reactor;
    curl->ca_bundle = mem_string(options->ca_bundle);
    curl->abrupt_ms = options->abrupt_ms;
    curl->pool_max = options->idle_max < POOL_MAX ? (size_t)options->idle_max : POOL_MAX;
    curl->multi = curl_multi_init();
    curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, options->idle_max);
    reactor_set_poller(reactor, &curl->poller);
    return &curl->engine;
}
