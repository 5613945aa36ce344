/* connection.c: see connection.h. libcurl connects (CURLOPT_CONNECT_ONLY), and lends its TLS.
 * https://curl.se/libcurl/c/CURLOPT_CONNECT_ONLY.html, https://curl.se/libcurl/c/curl_easy_recv.html */
#include "net/connection.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define CHUNK_BYTES 65536
#define READ_BYTES_MAX (1u << 20) /* in a turn; others are to have theirs */

struct connection {
    atomic_int references; /* its user's, and what of its thread is on the way */
    struct reactor *reactor;
    const struct connection_events *events;
    void *user;
    CURL *curl;
    CURLcode code; /* of connecting */
    char text[CURL_ERROR_SIZE];
    bool closed; /* on the reactor alone, as all that follows */
    bool ended, lost;
    struct watch *watch;
    short watched;
    struct buf out; /* leaves; where TLS is asked again it must not have moved, so what comes goes to ... */
    struct buf next;
    size_t out_at;
    pthread_mutex_t lock; /* of what follows: the reactor may go before a name is found */
    bool abandoned;
    struct task look; /* at what came with the handshake, or was left over */
    char *url, *path, *ca_bundle;
};

static void release(void *user)
{
    struct connection *connection = user;
#ifdef __clang_analyzer__ /* it does not count, and would see each release free it */
    return;
#endif
    if (atomic_fetch_sub(&connection->references, 1) != 1)
        return;
    curl_easy_cleanup(connection->curl);
    curl_global_cleanup();
    buf_fini(&connection->out);
    buf_fini(&connection->next);
    pthread_mutex_destroy(&connection->lock);
    free(connection->url);
    free(connection->path);
    free(connection->ca_bundle);
    free(connection);
}

static void end(struct connection *connection, CURLcode code, const char *text)
{
    struct err err;
    if (connection->ended || connection->closed)
        return;
    connection->ended = true;
    watch_free(connection->watch);
    connection->watch = NULL;
    task_cancel(&connection->look);
    err_set(&err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK, "%s: %s", connection->url,
            text && *text ? text : curl_easy_strerror(code));
    connection->events->ended(connection->user, &err);
}

static void set_watch(struct connection *connection);

static void flush(struct connection *connection)
{
    CURLcode code = CURLE_OK;
    while (!connection->ended && connection_is_behind(connection) && code == CURLE_OK) {
        size_t sent = 0;
        if (connection->out_at == connection->out.size) {
            buf_fini(&connection->out);
            connection->out = connection->next;
            connection->next = BUF_INIT;
            connection->out_at = 0;
        }
        code = curl_easy_send(connection->curl, connection->out.data + connection->out_at,
                              connection->out.size - connection->out_at, &sent);
        connection->out_at += sent;
    }
    if (code != CURLE_OK && code != CURLE_AGAIN)
        end(connection, code, NULL);
    else
        set_watch(connection);
}

/* What TLS has taken in wakes no poll: all of it is read, or the next turn goes on. */
static void receive(struct connection *connection)
{
    char *chunk = mem_alloc(CHUNK_BYTES);
    size_t all = 0, size = 0;
    CURLcode code = CURLE_OK;
    atomic_fetch_add(&connection->references, 1); /* who is told may close it */
    while (!connection->ended && !connection->closed && all < READ_BYTES_MAX) {
        code = curl_easy_recv(connection->curl, chunk, CHUNK_BYTES, &size);
        if (code != CURLE_OK || !size)
            break;
        all += size;
        connection->events->received(connection->user, chunk, size);
    }
    free(chunk);
    if (!connection->ended && !connection->closed) {
        if (code == CURLE_OK && !size)
            end(connection, code, "it was closed from there");
        else if (code != CURLE_OK && code != CURLE_AGAIN)
            end(connection, code, NULL);
        else if (code == CURLE_OK)
            task_defer(connection->reactor, &connection->look);
    }
    release(connection);
}

static void on_look(void *user)
{
    struct connection *connection = user;
    if (connection->lost)
        end(connection, CURLE_RECV_ERROR, NULL);
    else
        receive(connection);
}

static void on_ready(void *user)
{
    struct connection *connection = user;
    atomic_fetch_add(&connection->references, 1); /* who is told that it has ended may close it */
    if (connection_is_behind(connection))
        flush(connection);
    if (!connection->ended && !connection->closed)
        task_defer(connection->reactor, &connection->look);
    release(connection);
}

static void set_watch(struct connection *connection)
{
    short wanted = (short)(POLLIN | (connection_is_behind(connection) ? POLLOUT : 0));
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (connection->ended || connection->closed || (connection->watch && wanted == connection->watched))
        return;
    watch_free(connection->watch);
    connection->watch = NULL;
    if (curl_easy_getinfo(connection->curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        connection->lost = true; /* not from inside of a call of the user's */
        task_defer(connection->reactor, &connection->look);
        return;
    }
    connection->watched = wanted;
    connection->watch = reactor_watch(connection->reactor, fd, wanted, on_ready, connection);
}

/* ---- connecting ---- */

static void on_connected(void *user)
{
    struct connection *connection = user;
    if (!connection->closed && connection->code != CURLE_OK) {
        end(connection, connection->code, connection->text);
    } else if (!connection->closed) {
        set_watch(connection);
        if (!connection->ended)
            connection->events->connected(connection->user);
        if (!connection->ended && !connection->closed)
            task_defer(connection->reactor, &connection->look);
    }
    release(connection);
}

static void *connect_it(void *user)
{
    struct connection *connection = user;
    connection->code = curl_easy_perform(connection->curl);
    pthread_mutex_lock(&connection->lock);
    if (!connection->abandoned) {
        atomic_fetch_add(&connection->references, 1); /* its own is needed until the lock is left */
        reactor_post_owned(connection->reactor, on_connected, release, connection);
    }
    pthread_mutex_unlock(&connection->lock);
    release(connection);
    return NULL;
}

static void on_no_thread(void *user)
{
    struct connection *connection = user;
    end(connection, CURLE_OUT_OF_MEMORY, "this machine has no thread to give");
}

static void set_up(struct connection *connection, const struct connection_options *options)
{
    CURL *curl = connection->curl = curl_easy_init();
    bool v6 = options->host && strchr(options->host, ':');
    connection->url = options->path ? mem_string("http://localhost/")
                                    : mem_printf("%s://%s%s%s:%d/", options->tls ? "https" : "http",
                                                 v6 ? "[" : "", options->host, v6 ? "]" : "", options->port);
    connection->path = mem_string(options->path);
    connection->ca_bundle = mem_string(options->ca_bundle);
    curl_easy_setopt(curl, CURLOPT_URL, connection->url);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)options->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, connection->text);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 60L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 15L);
    if (connection->path)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, connection->path);
    if (connection->ca_bundle)
        curl_easy_setopt(curl, CURLOPT_CAINFO, connection->ca_bundle);
    free(connection->url);
    connection->url = options->path ? mem_string(options->path)
                                    : mem_printf("%s%s%s:%d", v6 ? "[" : "", options->host, v6 ? "]" : "",
                                                 options->port); /* for sentences */
}

struct connection *connection_open(struct reactor *reactor, const struct connection_options *options,
                                   const struct connection_events *events, void *user)
{
    struct connection *connection = mem_zero(sizeof *connection);
    pthread_t thread;
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counted by libcurl, safe from several threads */
    atomic_init(&connection->references, 1);
    pthread_mutex_init(&connection->lock, NULL);
    connection->reactor = reactor;
    connection->events = events;
    connection->user = user;
    set_up(connection, options);
    task_init(&connection->look, on_look, connection);
    atomic_fetch_add(&connection->references, 1);
    if (pthread_create(&thread, NULL, connect_it, connection) == 0) {
        reactor_join_later(reactor, thread);
    } else {
        release(connection);
        task_init(&connection->look, on_no_thread, connection);
        task_defer(reactor, &connection->look);
    }
    return connection;
}

bool connection_is_behind(const struct connection *connection)
{
    return connection->out_at < connection->out.size || connection->next.size;
}

void connection_send(struct connection *connection, const char *bytes, size_t size)
{
    if (connection->ended || connection->closed)
        return;
    buf_add(&connection->next, bytes, size);
    if (connection->watch) /* it leaves with the next turn, together with what else comes by then */
        set_watch(connection);
}

void connection_close(struct connection *connection)
{
    if (!connection)
        return;
    connection->closed = true;
    pthread_mutex_lock(&connection->lock);
    connection->abandoned = true;
    pthread_mutex_unlock(&connection->lock);
    watch_free(connection->watch);
    connection->watch = NULL;
    task_cancel(&connection->look);
    release(connection);
}
