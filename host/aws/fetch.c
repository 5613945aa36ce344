/* fetch.c: see fetch.h. */
#include "aws/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define RESPONSE_BYTES_MAX (1u << 20)
#define HEADERS_MAX 8
#define PAUSE_MS 200

struct fetch {
    struct reactor *reactor;
    struct transport *transport;
    struct transport_call *call;
    struct timer pause;
    char *method, *url, *body;
    char *headers[HEADERS_MAX + 1];
    int64_t timeout_ms;
    int attempts_left;
    bool direct;
    fetch_fn *done;
    void *user;
};

static void attempt(void *user);

static void fetch_free(struct fetch *fetch)
{
    timer_stop(fetch->reactor, &fetch->pause);
    for (size_t i = 0; fetch->headers[i]; i++)
        mem_free_secret(fetch->headers[i]);
    mem_free_secret(fetch->body);
    free(fetch->method);
    free(fetch->url);
    free(fetch);
}

static void on_done(void *user, struct transport_response *response, const struct err *err)
{
    struct fetch *fetch = user;
    fetch->call = NULL;
    bool failed = !response || response->status >= 500;
    if (failed && --fetch->attempts_left > 0) {
        timer_set(fetch->reactor, &fetch->pause, PAUSE_MS);
        return;
    }
    fetch_fn *done = fetch->done;
    void *owner = fetch->user;
    fetch_free(fetch);
    if (response)
        done(owner, response->status, response->body.data ? response->body.data : "", response->body.size,
             NULL);
    else
        done(owner, 0, NULL, 0, err);
}

static void attempt(void *user)
{
    struct fetch *fetch = user;
    struct transport_request request = {
        .method = fetch->method,
        .url = fetch->url,
        .headers = (const char *const *)fetch->headers,
        .body = fetch->body,
        .body_size = fetch->body ? strlen(fetch->body) : 0,
        .timeout_ms = fetch->timeout_ms,
        .response_max = RESPONSE_BYTES_MAX,
        .own = true,
        .direct = fetch->direct,
    };
    fetch->call = transport_send(fetch->transport, &request, on_done, fetch);
}

struct fetch *fetch_start(struct reactor *reactor, struct transport *transport,
                          const struct fetch_request *request, fetch_fn *done, void *user)
{
    struct fetch *fetch = mem_zero(sizeof *fetch);
    fetch->reactor = reactor;
    fetch->transport = transport;
    fetch->method = mem_string(request->method);
    fetch->url = mem_string(request->url);
    fetch->body = mem_string(request->body);
    for (size_t i = 0; request->headers && request->headers[i] && i < HEADERS_MAX; i++)
        fetch->headers[i] = mem_string(request->headers[i]);
    fetch->timeout_ms = request->timeout_ms;
    fetch->attempts_left = request->attempts;
    fetch->direct = request->direct;
    fetch->done = done;
    fetch->user = user;
    timer_init(&fetch->pause, attempt, fetch);
    attempt(fetch);
    return fetch;
}

void fetch_cancel(struct fetch *fetch)
{
    if (!fetch)
        return;
    if (fetch->call)
        transport_cancel(fetch->transport, fetch->call);
    fetch_free(fetch);
}
