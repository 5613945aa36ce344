/* transport_network.c: see transport_network.h. */
#include "net/transport_network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/engine_curl.h"
#include "net/engine_http.h"
#include "net/fence.h"
#include "net/url.h"

#define RESPONSE_MAX_DEFAULT (64u << 20)
#define STARVED_MS 100 /* before a call that found no descriptor is tried again */
#define ENDPOINTS_LEAST 64

/* The calls to one endpoint: those that are out, and those that wait. */
struct endpoint {
    bool own;
    size_t out, starving;
    struct list waiting;
    struct http_origin *origin; /* or NULL */
};

struct transport_call {
    struct list link; /* among the calls that are out, or in its endpoint's line */
    struct network *network;
    struct endpoint *endpoint;
    struct engine *engine; /* NULL: it waits */
    struct exchange exchange;
    int64_t asked_ms, began_ms; /* monotonic; began_ms 0: not yet */
    struct timer starved;       /* no descriptor was free: to be tried again */
    transport_done_fn *done;
    void *user;
    char texts[];
};

struct network {
    struct transport transport;
    struct reactor *reactor;
    struct engine *curl, *http;
    struct list calls, starving;          /* that are out; that wait for a descriptor */
    struct map endpoints;                 /* "own https://example.com" */
    size_t endpoints_max;                 /* before some are forgotten */
    size_t out, connections, descriptors; /* of handlers and targets; their bounds, see the options */
    struct task admit;
};

static int64_t now_ms(const struct network *network)
{
    return clock_monotonic_ms(reactor_clock(network->reactor));
}

/* ---- lines ---- */

/* A URL up to its path. Two ways to write one endpoint make two lines, which does no harm. */
static struct endpoint *find_endpoint(struct network *network, const struct transport_request *request)
{
    static const char own[] = "own ";
    char key[sizeof own + 500], *at = key;
    size_t size = url_origin_size(request->url);
    size = size < 500 ? size : 500;
    if (request->own)
        at = (char *)memcpy(at, own, sizeof own - 1) + sizeof own - 1;
    memcpy(at, request->url, size);
    at[size] = '\0';
    struct endpoint *endpoint = map_get(&network->endpoints, key);
    if (endpoint)
        return endpoint;
    endpoint = mem_zero(sizeof *endpoint);
    endpoint->own = request->own;
    endpoint->origin = http_origin_new(network->http, request->url);
    list_init(&endpoint->waiting);
    map_set(&network->endpoints, key, endpoint);
    return endpoint;
}

static bool has_turn(const struct network *network, const struct endpoint *endpoint)
{
    return endpoint->own || (endpoint->out < network->connections &&
                             (!network->descriptors || network->out < network->descriptors));
}

static void begin(struct network *network, struct transport_call *call)
{
    struct endpoint *endpoint = call->endpoint;
    CHECK(!call->engine && !timer_is_set(&call->starved) && has_turn(network, endpoint));
    if (!call->began_ms)
        call->began_ms = now_ms(network);
    endpoint->out++;
    network->out += !endpoint->own;
    list_remove(&call->link);
    list_append(&network->calls, &call->link);
    call->exchange.place = endpoint->origin;
    call->engine =
        http_origin_takes(endpoint->origin, &call->exchange.request) ? network->http : network->curl;
    engine_begin(call->engine, &call->exchange);
}

/* Those whose turn has come, one of each line in turn. */
static void admit(void *user)
{
    struct network *network = user;
    struct endpoint *endpoint;
    bool some = true;
    while (some) {
        size_t at = 0;
        some = false;
        while ((endpoint = map_next(&network->endpoints, &at, NULL))) {
            if (list_empty(&endpoint->waiting) || !has_turn(network, endpoint))
                continue;
            begin(network, list_entry(endpoint->waiting.next, struct transport_call, link));
            some = true;
        }
    }
}

static void free_endpoint(struct endpoint *endpoint)
{
    http_origin_free(endpoint->origin);
    free(endpoint);
}

static bool is_needed(const struct endpoint *endpoint)
{
    return endpoint->out || endpoint->starving || !list_empty(&endpoint->waiting) ||
           (endpoint->origin && http_origin_is_connected(endpoint->origin));
}

/* Lines where nobody stands, and to which no connection is kept, once there are many. */
static void forget_endpoints(struct network *network)
{
    struct endpoint *endpoint;
    const char *key;
    size_t at = 0;
    if (network->endpoints.count <= network->endpoints_max)
        return;
    while ((endpoint = map_next(&network->endpoints, &at, &key))) {
        if (is_needed(endpoint))
            continue;
        free_endpoint(map_remove(&network->endpoints, key));
        at = 0; /* removal moves slots */
    }
    network->endpoints_max = 2 * network->endpoints.count;
    if (network->endpoints_max < ENDPOINTS_LEAST)
        network->endpoints_max = ENDPOINTS_LEAST;
}

static void on_starved(void *user)
{
    struct transport_call *call = user;
    CHECK(!call->engine && call->endpoint->starving > 0);
    list_remove(&call->link);
    call->endpoint->starving--;
    list_append(&call->endpoint->waiting, &call->link);
    task_defer(call->network->reactor, &call->network->admit);
}

/* ---- calls ---- */

/* Copies the text to `*at`, which goes on behind it. */
static char *place_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

/* With copies of the request's texts, the list of its headers among them. */
static struct transport_call *make_call(const struct transport_request *request)
{
    size_t count = 0, bytes = strlen(request->url) + 1 + strlen(request->method) + 1;
    for (; request->headers && request->headers[count]; count++)
        bytes += strlen(request->headers[count]) + 1;
    size_t list_bytes = (count + 1) * sizeof(char *);
    struct transport_call *call = mem_alloc(sizeof *call + list_bytes + bytes);
    memset(call, 0, sizeof *call);
    char *at = call->texts + list_bytes;
    const char **headers = (const char **)(void *)call->texts;
    for (size_t i = 0; i < count; i++)
        headers[i] = place_text(&at, request->headers[i]);
    headers[count] = NULL;
    call->exchange.request = *request;
    call->exchange.request.headers = headers;
    call->exchange.request.url = place_text(&at, request->url);
    call->exchange.request.method = place_text(&at, request->method);
    if (!request->body)
        call->exchange.request.body_size = 0;
    if (!request->response_max)
        call->exchange.request.response_max = RESPONSE_MAX_DEFAULT;
    return call;
}

static void on_done(struct exchange *exchange, enum exchange_end end, const char *text);

static struct transport_call *network_send(struct transport *transport,
                                           const struct transport_request *request, transport_done_fn *done,
                                           void *user)
{
    struct network *network = list_entry(transport, struct network, transport);
    struct transport_call *call = make_call(request);
    CHECK(request->timeout_ms > 0);
    call->network = network;
    call->exchange.done = on_done;
    call->done = done;
    call->user = user;
    call->endpoint = find_endpoint(network, request);
    call->asked_ms = now_ms(network);
    timer_init(&call->starved, on_starved, call);
    list_append(&call->endpoint->waiting, &call->link);
    if (call->endpoint->waiting.next == &call->link && has_turn(network, call->endpoint))
        begin(network, call);
    return call;
}

/* It is not out any more; its place in the line is the next one's. */
static void end_sending(struct network *network, struct transport_call *call)
{
    list_remove(&call->link);
    if (!call->engine)
        return;
    call->engine = NULL;
    CHECK(call->endpoint->out > 0 && network->out >= !call->endpoint->own);
    call->endpoint->out--;
    network->out -= !call->endpoint->own;
    task_defer(network->reactor, &network->admit);
}

static void call_free(struct network *network, struct transport_call *call)
{
    end_sending(network, call);
    call->endpoint->starving -= timer_is_set(&call->starved);
    timer_stop(network->reactor, &call->starved);
    buf_fini(&call->exchange.response.headers);
    buf_fini(&call->exchange.response.body);
    free(call);
    forget_endpoints(network);
}

static void network_cancel(struct transport *transport, struct transport_call *call)
{
    if (call->engine)
        engine_give_up(call->engine, &call->exchange);
    call_free(list_entry(transport, struct network, transport), call);
}

static void describe(const struct transport_call *call, enum exchange_end end, const char *text,
                     struct err *err)
{
    const struct transport_request *request = &call->exchange.request;
    char *origin = url_origin(request->url); /* what follows may be a secret */
    switch (end) {
    case EXCHANGE_TOO_LARGE:
        err_set(err, ERR_LIMIT, "%s: the answer is larger than %zu bytes", origin, request->response_max);
        break;
    case EXCHANGE_UNSURE:
        err_set(err, ERR_NETWORK,
                "%s: the connection was closed without an answer; the request may have been read, so it was "
                "not sent a second time",
                origin);
        break;
    case EXCHANGE_PAST:
        err_set(err, ERR_CANCELLED, "%s: not sent: " FENCE_PASSED, origin);
        break;
    case EXCHANGE_STARVED:
        err_set(err, ERR_RESOURCES,
                "%s: no file descriptor was free to connect with (EMFILE; this process may have %lld): raise "
                "the limit (ulimit -n, LimitNOFILE=) or lower connections in [aws]",
                origin, (long long)descriptors_limit());
        break;
    default:
        err_set(err, end == EXCHANGE_TIMED_OUT ? ERR_TIMEOUT : ERR_NETWORK, "%s: %s", origin, text);
    }
    free(origin);
}

static void on_done(struct exchange *exchange, enum exchange_end end, const char *text)
{
    struct transport_call *call = list_entry(exchange, struct transport_call, exchange);
    struct network *network = call->network;
    if (end == EXCHANGE_STARVED && now_ms(network) - call->began_ms < exchange->request.timeout_ms) {
        end_sending(network, call); /* it waits for one, and that is no failure */
        engine_http_make_room(network->http);
        call->endpoint->starving++;
        list_append(&network->starving, &call->link);
        timer_set(network->reactor, &call->starved, STARVED_MS);
        return;
    }
    transport_done_fn *done = call->done;
    void *user = call->user;
    struct transport_response response = exchange->response;
    struct err err = {0};
    response.queued_ms = call->began_ms - call->asked_ms;
    if (end != EXCHANGE_ANSWERED) {
        describe(call, end, text, &err);
        err.queued_ms = response.queued_ms;
    }
    exchange->response = (struct transport_response){0};
    call_free(network, call); /* before the callback: it may send again */
    done(user, end == EXCHANGE_ANSWERED ? &response : NULL, end == EXCHANGE_ANSWERED ? NULL : &err);
    buf_fini(&response.headers);
    buf_fini(&response.body);
}

static void free_calls(struct network *network, struct list *calls)
{
    struct transport_call *call;
    list_each(call, calls, struct transport_call, link)
        network_cancel(&network->transport, call);
}

static void network_free(struct transport *transport)
{
    struct network *network = list_entry(transport, struct network, transport);
    struct endpoint *endpoint;
    const char *key;
    size_t at = 0;
    free_calls(network, &network->calls);
    free_calls(network, &network->starving);
    while ((endpoint = map_next(&network->endpoints, &at, &key)))
        for (struct list *link; (link = list_take_first(&endpoint->waiting));)
            free(list_entry(link, struct transport_call, link)); /* nothing of it has been out */
    for (at = 0; (endpoint = map_next(&network->endpoints, &at, &key));)
        free_endpoint(endpoint);
    map_fini(&network->endpoints);
    task_cancel(&network->admit);
    engine_free(network->http);
    engine_free(network->curl);
    free(network);
}

struct transport *transport_network_new(struct reactor *reactor,
                                        const struct transport_network_options *options)
{
    static const struct transport_ops ops = {network_send, network_cancel, network_free};
    struct network *network = mem_zero(sizeof *network);
    network->transport.ops = &ops;
    network->reactor = reactor;
    network->connections = (size_t)options->connections;
    network->descriptors = (size_t)options->descriptors;
    network->endpoints_max = ENDPOINTS_LEAST;
    list_init(&network->calls);
    list_init(&network->starving);
    task_init(&network->admit, admit, network);
    network->curl = engine_curl_new(reactor, &(struct engine_curl_options){.idle_max = options->connections,
                                                                           .abrupt_ms = options->abrupt_ms,
                                                                           .ca_bundle = options->ca_bundle});
    network->http =
        engine_http_new(reactor, &(struct engine_http_options){.idle_max = (size_t)options->connections,
                                                               .abrupt_ms = options->abrupt_ms,
                                                               .ca_bundle = options->ca_bundle});
    return &network->transport;
}
