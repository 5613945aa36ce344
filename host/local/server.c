/* server.c: libmicrohttpd in front of engine_call: a thread for each connection, since SDKs keep few of them
 * open and a call may have to wait for its turn. */
#include "local/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/port.h"

#define BODY_BYTES_MAX (16u << 20)
#define CONNECTIONS_MAX 1000
#define IDLE_S 300
#define HOUSEKEEPING_S 1

struct server {
    struct engine *engine;
    struct MHD_Daemon *daemon;
    int port;
    server_inbox_fn *_Atomic inbox;
    void *inbox_user;
    atomic_uint_least64_t requests;
    pthread_t keeper;
    bool keeping;
    pthread_mutex_t lock;
    pthread_cond_t stopping_changed;
    bool stopping;
};

struct incoming {
    struct buf body;
    bool too_large;
};

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, const char *type,
                                 char *text, size_t size, enum MHD_ResponseMemoryMode mode, const char *id)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(size, text, mode);
    MHD_add_response_header(response, "Content-Type", type);
    if (id)
        MHD_add_response_header(response, "x-amzn-RequestId", id);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *type,
                              const char *message)
{
    char *text = mem_printf("{\"__type\":\"com.amazon.coral.service#%s\",\"message\":\"%s\"}", type, message);
    return send_text(connection, status, "application/x-amz-json-1.0", text, strlen(text),
                     MHD_RESPMEM_MUST_FREE, NULL);
}

static void wait_ms(int64_t ms)
{
    struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/dynamodb/aws4_request, ..." NULL: it does not say. */
static const char *read_region(struct MHD_Connection *connection, char *region, size_t size)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
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

static enum MHD_Result answer(struct server *server, struct MHD_Connection *connection,
                              const struct incoming *incoming)
{
    struct engine_reply reply = {0};
    struct engine_request request = {
        .target = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Target"),
        .body = incoming->body.data ? incoming->body.data : "",
        .size = incoming->body.size,
    };
    char id[40], region[64];
    if (incoming->too_large)
        return refuse(connection, 413, "RequestEntityTooLargeException", "the request is larger than 16 MiB");
    if (!MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization"))
        return refuse(connection, 400, "MissingAuthenticationTokenException",
                      "Request is missing Authentication Token");
    request.region = read_region(connection, region, sizeof region);
    engine_call(server->engine, &request, &reply);
    if (reply.delay_ms)
        wait_ms(reply.delay_ms);
    if (reply.dropped) {
        buf_fini(&reply.body);
        return MHD_NO; /* the connection is cut */
    }
    snprintf(id, sizeof id, "TIDEMILL%024" PRIuLEAST64, atomic_fetch_add(&server->requests, 1));
    size_t size = reply.body.size;
    return send_text(connection, (unsigned)reply.status, "application/x-amz-json-1.0", buf_take(&reply.body),
                     size, MHD_RESPMEM_MUST_FREE, id);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state)
{
    struct server *server = user;
    struct incoming *incoming = *state;
    (void)version;
    if (!incoming) {
        *state = mem_zero(sizeof(struct incoming));
        return MHD_YES;
    }
    if (*size) {
        if (incoming->body.size + *size > BODY_BYTES_MAX)
            incoming->too_large = true;
        else
            buf_add(&incoming->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    server_inbox_fn *inbox = strncmp(url, "/inbox/", 7) == 0 ? atomic_load(&server->inbox) : NULL;
    if (inbox) {
        static char empty[] = "{}";
        inbox(server->inbox_user, method, url, incoming->body.data ? incoming->body.data : "",
              incoming->body.size);
        return send_text(connection, 200, "application/json", empty, 2, MHD_RESPMEM_PERSISTENT, NULL);
    }
    if (strcmp(method, "POST") == 0)
        return answer(server, connection, incoming);
    static char healthy[] = "healthy: tidemill local\n";
    return send_text(connection, strcmp(method, "GET") == 0 ? 200 : 405, "text/plain", healthy,
                     sizeof healthy - 1, MHD_RESPMEM_PERSISTENT, NULL);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct incoming *incoming = *state;
    (void)user;
    (void)connection;
    (void)code;
    if (!incoming)
        return;
    buf_fini(&incoming->body);
    free(incoming);
    *state = NULL;
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

static void explain(int port, int code, struct err *err)
{
    char holder[100];
    if (code != EADDRINUSE) {
        err_set(err, ERR_IO, "cannot listen on 127.0.0.1:%d: %s", port, strerror(code));
        return;
    }
    port_holder(port, holder, sizeof holder);
    err_set(err, ERR_IO, "127.0.0.1:%d is in use: %s listens there. Stop it, or take another port: --port N",
            port, holder);
}

struct server *server_start(struct engine *engine, int port, struct err *err)
{
    struct server *server = mem_zero(sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->engine = engine;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->stopping_changed, NULL);
    server->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC,
        (uint16_t)port, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_END);
    if (!server->daemon) {
        explain(port, errno, err);
        server_stop(server);
        return NULL;
    }
    server->port = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    server->keeping = pthread_create(&server->keeper, NULL, keep_house, server) == 0;
    return server;
}

void server_set_inbox(struct server *server, server_inbox_fn *inbox, void *user)
{
    server->inbox_user = user;
    atomic_store(&server->inbox, inbox);
}

int server_port(const struct server *server)
{
    return server->port;
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
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    pthread_cond_destroy(&server->stopping_changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
