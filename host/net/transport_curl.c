/* transport_curl.c: libcurl's multi interface as a transport. */
#include "net/transport_curl.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define RESPONSE_MAX_DEFAULT (64u << 20)
#define RECEIVE_BUFFER_BYTES (64L << 10)
#define POOL_MAX 16 /* easy handles kept for reuse; each holds its buffers */

struct transport_call {
    struct list link;
    CURL *easy;
    struct curl_slist *headers;
    struct transport_response response;
    size_t response_max;
    bool too_large;
    char problem[CURL_ERROR_SIZE];
    transport_done_fn *done;
    void *user;
};

struct curl_transport {
    struct transport transport;
    struct poller poller;
    struct reactor *reactor;
    CURLM *multi;
    char *ca_bundle;
    struct list calls;
    CURL *pool[POOL_MAX];
    size_t pool_count;
    struct curl_waitfd *fds;
    size_t fds_capacity;
};

static struct curl_transport *from_transport(struct transport *transport)
{
    return list_entry(transport, struct curl_transport, transport);
}

static size_t on_body(char *bytes, size_t one, size_t size, void *user)
{
    struct transport_call *call = user;
    size *= one;
    if (call->response.body.size + size > call->response_max) {
        call->too_large = true;
        return 0;
    }
    if (call->response.body.size == 0) {
        curl_off_t expected = 0;
        curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
        if (expected > 0 && (size_t)expected <= call->response_max)
            buf_reserve(&call->response.body, (size_t)expected);
    }
    buf_add(&call->response.body, bytes, size);
    return size;
}

static size_t on_header(char *bytes, size_t one, size_t size, void *user)
{
    struct transport_call *call = user;
    size *= one;
    if (size >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        /* A new response: the one before was a proxy's or an interim one. */
        buf_clear(&call->response.headers);
        return size;
    }
    buf_add(&call->response.headers, bytes, size);
    return size;
}

static void apply_request(struct curl_transport *curl, struct transport_call *call,
                          const struct transport_request *request)
{
    CURL *easy = call->easy;
    call->headers = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        call->headers = curl_slist_append(call->headers, request->headers[i]);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
    } else if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     request->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    if (request->connect_timeout_ms)
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    if (curl->ca_bundle)
        curl_easy_setopt(easy, CURLOPT_CAINFO, curl->ca_bundle);
    if (request->direct)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->problem);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

static struct transport_call *curl_send(struct transport *transport, const struct transport_request *request,
                                        transport_done_fn *done, void *user)
{
    struct curl_transport *curl = from_transport(transport);
    struct transport_call *call = mem_zero(sizeof *call);
    assert(request->timeout_ms > 0);
    call->easy = curl->pool_count ? curl->pool[--curl->pool_count] : curl_easy_init();
    call->done = done;
    call->user = user;
    call->response_max = request->response_max ? request->response_max : RESPONSE_MAX_DEFAULT;
    apply_request(curl, call, request);
    list_append(&curl->calls, &call->link);
    curl_multi_add_handle(curl->multi, call->easy);
    return call;
}

static void call_free(struct curl_transport *curl, struct transport_call *call)
{
    list_remove(&call->link);
    curl_multi_remove_handle(curl->multi, call->easy);
    curl_easy_reset(call->easy);
    if (curl->pool_count < POOL_MAX)
        curl->pool[curl->pool_count++] = call->easy;
    else
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_fini(&call->response.headers);
    buf_fini(&call->response.body);
    free(call);
}

static void curl_cancel(struct transport *transport, struct transport_call *call)
{
    call_free(from_transport(transport), call);
}

static void describe(struct transport_call *call, CURLcode code, struct err *err)
{
    const char *text = call->problem[0] ? call->problem : curl_easy_strerror(code);
    char *url = NULL;
    curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
    size_t host = url ? strcspn(url, "?") : 0; /* a query may carry a secret */
    if (call->too_large)
        err_set(err, ERR_LIMIT, "%.*s: the answer is larger than %zu bytes", (int)host, url ? url : "",
                call->response_max);
    else
        err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK, "%.*s: %s", (int)host,
                url ? url : "", text);
}

static void complete(struct curl_transport *curl, struct transport_call *call, CURLcode code)
{
    struct err err = {0};
    transport_done_fn *done = call->done;
    void *user = call->user;
    struct transport_response response = call->response;
    if (code == CURLE_OK) {
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        response.status = (int)status;
    } else {
        describe(call, code, &err);
    }
    call->response = (struct transport_response){0};
    call_free(curl, call); /* before the callback: it may send again, or free its own world */
    done(user, code == CURLE_OK ? &response : NULL, code == CURLE_OK ? NULL : &err);
    buf_fini(&response.headers);
    buf_fini(&response.body);
}

/* Hand out what is complete; true when something was. */
static bool complete_all(struct curl_transport *curl)
{
    int left = 0;
    bool some = false;
    for (CURLMsg *message; (message = curl_multi_info_read(curl->multi, &left));) {
        struct transport_call *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        complete(curl, call, message->data.result);
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
    for (size_t i = 0; i < count; i++)
        fds[i].revents = curl->fds[i].revents;
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
    list_each(call, &curl->calls, struct transport_call, link)
        call_free(curl, call);
    while (curl->pool_count)
        curl_easy_cleanup(curl->pool[--curl->pool_count]);
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
    curl->multi = curl_multi_init();
    curl_multi_setopt(curl->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, options->connections);
    curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, options->connections);
    reactor_set_poller(reactor, &curl->poller);
    return &curl->transport;
}
