/* transport_curl.c: libcurl's multi interface as a transport.
 *
 * Calls to one endpoint stand in a line; so many of them are out at once. The host's own calls stand in lines
 * of their own, so an endpoint that never answers a handler keeps neither another endpoint nor the host from
 * its work. A call's time begins when its turn has come. */
#include "net/transport_curl.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/fence.h"
#include "net/url.h"

#define RESPONSE_MAX_DEFAULT (64u << 20)
#define RECEIVE_BUFFER_BYTES (64L << 10)
#define POOL_MAX 1024     /* handles kept for reuse, at most; else as many as an endpoint gets calls */
#define HEADERS_BYTES 512 /* of most answers */
#define STARVED_MS 100    /* before a call that found no descriptor is tried again */
#define ENDPOINTS_KEPT 64

/* The calls to one endpoint: those that are out, and those that wait. */
struct endpoint {
    bool own;
    size_t out, starving;
    struct list waiting;
};

/* What a handle is told of a request with a body; of one without, and of HEAD, libcurl keeps more than it can
 * be told to forget. */
enum shape { SHAPE_NEW, SHAPE_BODY, SHAPE_OTHER };

/* An easy handle and what it has been told: setting an option to what it is costs as much as changing it. */
struct handle {
    CURL *easy;
    struct transport_call *call; /* that it is out for */
    enum shape shape;
    char *url, *method; /* owned */
    long timeout_ms, connect_timeout_ms;
    bool direct, http2;
    char problem[CURL_ERROR_SIZE];
};

struct transport_call {
    struct list link; /* among the calls that are out, or in its endpoint's line */
    struct curl_transport *curl;
    struct endpoint *endpoint;
    struct handle *handle;      /* NULL: it waits */
    struct curl_slist *headers; /* of `texts` */
    struct transport_response response;
    size_t response_max;
    int64_t timeout_ms, asked_ms, began_ms; /* monotonic; began_ms 0: not yet */
    bool too_large, headers_done, status_decides;
    bool idempotent, sent, repeated; /* it would have been sent twice */
    const _Atomic int64_t *fence;    /* or NULL */
    bool past;                       /* it would have been sent behind it */
    struct timer starved;            /* no descriptor was free: to be tried again */
    const char *url, *method;        /* in `texts` */
    const char *body;
    size_t body_size;
    int64_t connect_timeout_ms;
    bool direct, http2;
    transport_done_fn *done;
    void *user;
    char texts[];
};

struct curl_transport {
    struct transport transport;
    struct poller poller;
    struct reactor *reactor;
    CURLM *multi;
    char *ca_bundle;
    struct list calls, starving;          /* that are out; that wait for a descriptor */
    struct map endpoints;                 /* "own https://example.com" */
    long abrupt_ms;                       /* see the options */
    size_t out, connections, descriptors; /* of handlers and targets; their bounds, see the options */
    struct task admit;
    struct handle **pool;
    size_t pool_count, pool_capacity;
    struct curl_waitfd *fds;
    size_t fds_capacity;
};

static struct curl_transport *from_transport(struct transport *transport)
{
    return list_entry(transport, struct curl_transport, transport);
}

static size_t on_body(char *bytes, size_t one, size_t size, void *user)
{
    const struct handle *handle = user;
    struct transport_call *call = handle->call;
    size *= one;
    if (call->response.body.size + size > call->response_max) {
        call->too_large = true;
        if (call->status_decides && call->response.body.size < call->response_max)
            buf_add(&call->response.body, bytes, call->response_max - call->response.body.size);
        return 0;
    }
    if (call->response.body.size == 0) {
        curl_off_t expected = 0;
        curl_easy_getinfo(handle->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
        if (expected > 0 && (size_t)expected <= call->response_max)
            buf_reserve(&call->response.body, (size_t)expected);
    }
    buf_add(&call->response.body, bytes, size);
    return size;
}

static size_t on_header(char *bytes, size_t one, size_t size, void *user)
{
    const struct handle *handle = user;
    struct transport_call *call = handle->call;
    long status = 0;
    size *= one;
    if (size >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        /* A new response: the one before was a proxy's or an interim one. */
        buf_clear(&call->response.headers);
        call->headers_done = false;
        return size;
    }
    if (size <= 2 && (bytes[0] == '\r' || bytes[0] == '\n')) {
        curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status);
        call->headers_done = status >= 200;
    }
    if (!call->response.headers.size)
        buf_reserve(&call->response.headers, HEADERS_BYTES);
    buf_add(&call->response.headers, bytes, size);
    return size;
}

/* Before the request goes out on a connection. libcurl repeats one by itself when a kept connection closes
 * without an answer; whether the server has read it nobody knows, so only what is idempotent may go again
 * (RFC 9110, 9.2.2). */
static int on_request(void *user, char *remote, char *local, int remote_port, int local_port)
{
    struct transport_call *call = ((const struct handle *)user)->call;
    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    call->repeated = call->sent && !call->idempotent;
    /* After a connection was made, or the machine slept: the last moment to look. */
    call->past = call->fence && atomic_load(call->fence) <= clock_boot_ms(reactor_clock(call->curl->reactor));
    call->sent = call->sent || !call->past;
    return call->repeated || call->past ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int on_socket(void *user, curl_socket_t socket, curlsocktype purpose)
{
    const struct curl_transport *curl = user;
    unsigned patience_ms = (unsigned)curl->abrupt_ms;
    (void)purpose;
    /* Where one of these cannot be set the call goes on as usual. */
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
    return CURL_SOCKOPT_OK;
}

/* What no request changes. */
static void set_constants(struct curl_transport *curl, struct handle *handle)
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
static void forget_request(struct curl_transport *curl, struct handle *handle)
{
    curl_easy_reset(handle->easy);
    free(handle->url);
    free(handle->method);
    *handle = (struct handle){.easy = handle->easy, .call = handle->call};
    set_constants(curl, handle);
}

static void apply_request(struct curl_transport *curl, struct transport_call *call)
{
    struct handle *handle = call->handle;
    enum shape shape = call->body && strcmp(call->method, "HEAD") != 0 ? SHAPE_BODY : SHAPE_OTHER;
    bool same = handle->shape == SHAPE_BODY && shape == SHAPE_BODY && handle->direct == call->direct &&
                handle->http2 == call->http2;
    if (!same && handle->shape != SHAPE_NEW)
        forget_request(curl, handle);
    CURL *easy = handle->easy;
    handle->call = call;
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
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
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

static struct handle *take_handle(struct curl_transport *curl)
{
    if (curl->pool_count)
        return curl->pool[--curl->pool_count];
    struct handle *handle = mem_zero(sizeof *handle);
    handle->easy = curl_easy_init();
    CHECK(handle->easy);
    set_constants(curl, handle);
    return handle;
}

static void free_handle(struct handle *handle)
{
    curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, NULL); /* they were the call's */
    curl_easy_cleanup(handle->easy);
    free(handle->url);
    free(handle->method);
    free(handle);
}

static void put_handle(struct curl_transport *curl, struct handle *handle)
{
    size_t most = curl->connections < POOL_MAX ? curl->connections : POOL_MAX;
    handle->call = NULL;
    if (curl->pool_count >= most) {
        free_handle(handle);
        return;
    }
    mem_grow(&curl->pool, &curl->pool_capacity, curl->pool_count, sizeof(struct handle *));
    curl->pool[curl->pool_count++] = handle;
}

/* ---- lines ---- */

/* A URL up to its path. Two ways to write one endpoint make two lines, which does no harm. */
static struct endpoint *find_endpoint(struct curl_transport *curl, const struct transport_request *request)
{
    char key[512];
    const char *host = strstr(request->url, "://");
    size_t size = host ? (size_t)(host - request->url) + 3 + strcspn(host + 3, "/?#") : 0;
    snprintf(key, sizeof key, "%s%.*s", request->own ? "own " : "", (int)(size < 500 ? size : 500),
             request->url);
    struct endpoint *endpoint = map_get(&curl->endpoints, key);
    if (endpoint)
        return endpoint;
    endpoint = mem_zero(sizeof *endpoint);
    endpoint->own = request->own;
    list_init(&endpoint->waiting);
    map_set(&curl->endpoints, key, endpoint);
    return endpoint;
}

static bool has_turn(const struct curl_transport *curl, const struct endpoint *endpoint)
{
    return endpoint->own ||
           (endpoint->out < curl->connections && (!curl->descriptors || curl->out < curl->descriptors));
}

static int64_t now_ms(const struct curl_transport *curl)
{
    return clock_monotonic_ms(reactor_clock(curl->reactor));
}

static void begin(struct curl_transport *curl, struct transport_call *call)
{
    CHECK(!call->handle && !timer_is_set(&call->starved) && has_turn(curl, call->endpoint));
    call->handle = take_handle(curl);
    if (!call->began_ms)
        call->began_ms = now_ms(curl);
    apply_request(curl, call);
    call->endpoint->out++;
    curl->out += !call->endpoint->own;
    list_remove(&call->link);
    list_append(&curl->calls, &call->link);
    curl_multi_add_handle(curl->multi, call->handle->easy);
}

/* Those whose turn has come, one of each line in turn. */
static void admit(void *user)
{
    struct curl_transport *curl = user;
    struct endpoint *endpoint;
    bool some = true;
    while (some) {
        size_t at = 0;
        some = false;
        while ((endpoint = map_next(&curl->endpoints, &at, NULL))) {
            if (list_empty(&endpoint->waiting) || !has_turn(curl, endpoint))
                continue;
            begin(curl, list_entry(endpoint->waiting.next, struct transport_call, link));
            some = true;
        }
    }
}

/* Lines where nobody stands, once there are many. */
static void forget_endpoints(struct curl_transport *curl)
{
    struct endpoint *endpoint;
    const char *key;
    size_t at = 0;
    while (curl->endpoints.count > ENDPOINTS_KEPT && (endpoint = map_next(&curl->endpoints, &at, &key))) {
        if (endpoint->out || !list_empty(&endpoint->waiting) || endpoint->starving)
            continue;
        free(map_remove(&curl->endpoints, key));
        at = 0; /* removal moves slots */
    }
}

static void on_starved(void *user)
{
    struct transport_call *call = user;
    CHECK(!call->handle && call->endpoint->starving > 0);
    list_remove(&call->link);
    call->endpoint->starving--;
    list_append(&call->endpoint->waiting, &call->link);
    task_defer(call->curl->reactor, &call->curl->admit);
}

/* Copies the text to `*at`, which goes on behind it. */
static char *place_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

/* Without a value libcurl takes a header for one to be left out, unless a semicolon stands in the colon's
 * place. */
static char *place_header(char **at, const char *header)
{
    char *copy = place_text(at, header), *colon = strchr(copy, ':');
    if (colon && !colon[1 + strspn(colon + 1, " \t")]) {
        colon[0] = ';';
        colon[1] = '\0';
    }
    return copy;
}

static size_t count_headers(const struct transport_request *request)
{
    size_t count = 0;
    while (request->headers && request->headers[count])
        count++;
    return count;
}

/* With copies of its texts, its list of headers among them: libcurl only reads that. */
static struct transport_call *make_call(const struct transport_request *request)
{
    static const char no_expect[] = "Expect:";
    size_t count = count_headers(request), list_bytes = (count + 1) * sizeof(struct curl_slist);
    size_t bytes = sizeof no_expect + strlen(request->url) + 1 + strlen(request->method) + 1;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(request->headers[i]) + 2;
    struct transport_call *call = mem_alloc(sizeof *call + list_bytes + bytes);
    memset(call, 0, sizeof *call);
    call->headers = (struct curl_slist *)(void *)call->texts;
    char *at = call->texts + list_bytes;
    call->headers[0].data = place_text(&at, no_expect);
    for (size_t i = 0; i < count; i++)
        call->headers[i + 1].data = place_header(&at, request->headers[i]);
    for (size_t i = 0; i <= count; i++)
        call->headers[i].next = i < count ? &call->headers[i + 1] : NULL;
    call->url = place_text(&at, request->url);
    call->method = place_text(&at, request->method);
    return call;
}

static struct transport_call *curl_send(struct transport *transport, const struct transport_request *request,
                                        transport_done_fn *done, void *user)
{
    struct curl_transport *curl = from_transport(transport);
    struct transport_call *call = make_call(request);
    CHECK(request->timeout_ms > 0);
    call->curl = curl;
    call->done = done;
    call->user = user;
    call->body = request->body;
    call->body_size = request->body_size;
    call->timeout_ms = request->timeout_ms;
    call->connect_timeout_ms = request->connect_timeout_ms;
    call->direct = request->direct;
    call->http2 = request->http2;
    call->idempotent = request->idempotent;
    call->fence = request->fence;
    call->status_decides = request->status_decides;
    call->response_max = request->response_max ? request->response_max : RESPONSE_MAX_DEFAULT;
    call->endpoint = find_endpoint(curl, request);
    call->asked_ms = now_ms(curl);
    timer_init(&call->starved, on_starved, call);
    list_append(&call->endpoint->waiting, &call->link);
    if (call->endpoint->waiting.next == &call->link && has_turn(curl, call->endpoint))
        begin(curl, call);
    return call;
}

/* Its handle goes back to the pool, its place in the line to the next. */
static void end_sending(struct curl_transport *curl, struct transport_call *call)
{
    list_remove(&call->link);
    if (!call->handle)
        return;
    curl_multi_remove_handle(curl->multi, call->handle->easy);
    put_handle(curl, call->handle);
    call->handle = NULL;
    CHECK(call->endpoint->out > 0 && curl->out >= !call->endpoint->own);
    call->endpoint->out--;
    curl->out -= !call->endpoint->own;
    task_defer(curl->reactor, &curl->admit);
}

static void call_free(struct curl_transport *curl, struct transport_call *call)
{
    end_sending(curl, call);
    call->endpoint->starving -= timer_is_set(&call->starved);
    timer_stop(curl->reactor, &call->starved);
    buf_fini(&call->response.headers);
    buf_fini(&call->response.body);
    free(call);
    forget_endpoints(curl);
}

static void curl_cancel(struct transport *transport, struct transport_call *call)
{
    call_free(from_transport(transport), call);
}

static void describe(struct transport_call *call, CURLcode code, bool starved, struct err *err)
{
    const char *text = call->handle->problem[0] ? call->handle->problem : curl_easy_strerror(code);
    char *origin = url_origin(call->url); /* what follows may be a secret */
    if (call->too_large)
        err_set(err, ERR_LIMIT, "%s: the answer is larger than %zu bytes", origin, call->response_max);
    else if (call->repeated)
        err_set(err, ERR_NETWORK,
                "%s: the connection was closed without an answer; the request may have been read, so it was "
                "not sent a second time",
                origin);
    else if (call->past)
        err_set(err, ERR_CANCELLED, "%s: not sent: " FENCE_PASSED, origin);
    else if (starved)
        err_set(err, ERR_RESOURCES,
                "%s: no file descriptor was free to connect with (EMFILE; this process may have %lld): raise "
                "the limit (ulimit -n, LimitNOFILE=) or lower connections in [aws]",
                origin, (long long)descriptors_limit());
    else
        err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK, "%s: %s", origin, text);
    free(origin);
}

/* Nothing was sent, since no socket was to be had. */
static bool is_starved(const struct transport_call *call, CURLcode code)
{
    return (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
            code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_FAILED_INIT ||
            code == CURLE_SSL_CACERT_BADFILE || code == CURLE_UNSUPPORTED_PROTOCOL) &&
           !call->sent && descriptors_exhausted();
}

static void complete(struct curl_transport *curl, struct transport_call *call, CURLcode code)
{
    struct err err = {0};
    bool starved = code != CURLE_OK && is_starved(call, code);
    if (starved && now_ms(curl) - call->began_ms < call->timeout_ms) {
        end_sending(curl, call); /* it waits for one, and that is no failure */
        call->endpoint->starving++;
        list_append(&curl->starving, &call->link);
        timer_set(curl->reactor, &call->starved, STARVED_MS);
        return;
    }
    transport_done_fn *done = call->done;
    void *user = call->user;
    bool answered = code == CURLE_OK || (call->status_decides && call->headers_done);
    struct transport_response response = call->response;
    response.queued_ms = call->began_ms - call->asked_ms;
    if (answered) {
        long status = 0;
        curl_easy_getinfo(call->handle->easy, CURLINFO_RESPONSE_CODE, &status);
        response.status = (int)status;
    } else {
        describe(call, code, starved, &err);
        err.queued_ms = response.queued_ms;
    }
    call->response = (struct transport_response){0};
    call_free(curl, call); /* before the callback: it may send again, or free its own world */
    reactor_step_begin(curl->reactor);
    done(user, answered ? &response : NULL, answered ? NULL : &err);
    reactor_step_end(curl->reactor);
    buf_fini(&response.headers);
    buf_fini(&response.body);
}

/* Hand out what is complete; true when something was. */
static bool complete_all(struct curl_transport *curl)
{
    int left = 0;
    bool some = false;
    for (CURLMsg *message; (message = curl_multi_info_read(curl->multi, &left));) {
        struct handle *handle = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &handle);
        complete(curl, handle->call, message->data.result);
        some = true;
    }
    return some;
}

static void curl_wait(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    struct curl_transport *curl = list_entry(poller, struct curl_transport, poller);
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
    curl_multi_wakeup(list_entry(poller, struct curl_transport, poller)->multi);
}

static void curl_free_transport(struct transport *transport)
{
    struct curl_transport *curl = from_transport(transport);
    struct transport_call *call;
    reactor_set_poller(curl->reactor, NULL);
    struct endpoint *endpoint;
    size_t at = 0;
    list_each(call, &curl->calls, struct transport_call, link)
        call_free(curl, call);
    list_each(call, &curl->starving, struct transport_call, link)
        call_free(curl, call);
    while ((endpoint = map_next(&curl->endpoints, &at, NULL))) {
        list_each(call, &endpoint->waiting, struct transport_call, link)
            call_free(curl, call);
        free(endpoint);
    }
    map_fini(&curl->endpoints);
    task_cancel(&curl->admit);
    while (curl->pool_count)
        free_handle(curl->pool[--curl->pool_count]);
    free(curl->pool);
    curl_multi_cleanup(curl->multi);
    curl_global_cleanup();
    free(curl->fds);
    free(curl->ca_bundle);
    free(curl);
}

struct transport *transport_curl_new(struct reactor *reactor, const struct transport_curl_options *options)
{
    static const struct transport_ops ops = {curl_send, curl_cancel, curl_free_transport};
    struct curl_transport *curl = mem_zero(sizeof *curl);
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counted by libcurl, safe from several threads */
    curl->transport.ops = &ops;
    curl->poller = (struct poller){.wait = curl_wait, .wake = curl_wake};
    curl->reactor = reactor;
    curl->ca_bundle = mem_string(options->ca_bundle);
    list_init(&curl->calls);
    list_init(&curl->starving);
    curl->multi = curl_multi_init();
    curl->abrupt_ms = options->abrupt_ms;
    curl->connections = (size_t)options->connections;
    curl->descriptors = (size_t)options->descriptors;
    task_init(&curl->admit, admit, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, options->connections); /* kept while idle */
    reactor_set_poller(reactor, &curl->poller);
    return &curl->transport;
}
