/* listener.c: see listener.h. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/port.h"

/* Who has not asked for anything yet holds a connection no longer, however steadily the bytes of a head come;
 * the same for a body. */
#define HEAD_S 10u
#define BODY_S 20u
#define END_S 5  /* what is answered when it stops may take so long to be sent */
#define LOOK_S 1 /* so often deadlines are looked at, while there are connections */

struct listener {
    struct listener_options options;
    struct MHD_Daemon *daemon;
    struct MHD_Daemon *
        *before; /* they have the connections of certificates before; each rests once those are over */
    size_t before_count, before_capacity;
    int port;
    struct clock clock;
    pthread_t reaper;
    pthread_mutex_t mutex;  /* of what follows */
    pthread_cond_t changed; /* somebody came, or it stops */
    pthread_cond_t rested;  /* no request is under way */
    struct list connections;
    size_t busy; /* requests that are not over */
    bool stopping;
    bool secure; /* speaks TLS */
    bool closed; /* nobody is let in any more; of whoever has the listener */
};

struct connection {
    struct list link;
    int fd;
    int64_t deadline_ms; /* monotonic; INT64_MAX while it is answered */
    bool in_body;        /* of a request, whose head was read */
};

/* A request whose body is still on its way. */
struct incoming {
    struct buf body;
    char *query; /* or NULL */
    bool begun, too_large;
    bool odd; /* there is a NUL in the path, behind which nobody would see anything */
};

/* ---- requests ---- */

const char *listener_header(const struct listener_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *listener_query(const struct listener_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

struct each {
    listener_header_fn *fn;
    void *user;
};

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct each *each = user;
    (void)kind;
    each->fn(each->user, name, value ? value : "");
    return MHD_YES;
}

void listener_each_header(const struct listener_request *request, listener_header_fn *fn, void *user)
{
    struct each each = {fn, user};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_header, &each);
}

void listener_remote(const struct listener_request *request, char text[LISTENER_REMOTE_SIZE])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const void *bytes = !address ? NULL
                        : address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (!bytes || !inet_ntop(address->sa_family, bytes, text, LISTENER_REMOTE_SIZE))
        *text = '\0';
}

/* A reply that comes by and by. */
struct flowing {
    struct listener *listener;
    struct listener_reply reply;
    struct buf out;
    size_t sent;
};

static bool is_stopping(struct listener *listener)
{
    pthread_mutex_lock(&listener->mutex);
    bool stopping = listener->stopping;
    pthread_mutex_unlock(&listener->mutex);
    return stopping;
}

static ssize_t flow(void *user, uint64_t position, char *room, size_t max)
{
    struct flowing *flowing = user;
    (void)position;
    if (flowing->sent == flowing->out.size) {
        buf_clear(&flowing->out);
        flowing->sent = 0;
        if (is_stopping(flowing->listener) || !flowing->reply.next(flowing->reply.user, &flowing->out))
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t size = flowing->out.size - flowing->sent;
    size = size < max ? size : max;
    if (size)
        memcpy(room, flowing->out.data + flowing->sent, size);
    flowing->sent += size;
    return (ssize_t)size;
}

static void end_flow(void *user)
{
    struct flowing *flowing = user;
    if (flowing->reply.end)
        flowing->reply.end(flowing->reply.user);
    buf_fini(&flowing->out);
    free(flowing);
}

#define FLOW_BYTES 65536

static struct MHD_Response *make_flow(struct listener *listener, const struct listener_reply *reply)
{
    struct flowing *flowing = mem_zero(sizeof *flowing);
    *flowing = (struct flowing){.listener = listener, .reply = *reply};
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, FLOW_BYTES, flow, flowing, end_flow);
}

/* Takes the lines. */
static void add_lines(struct MHD_Response *response, struct buf *lines)
{
    char *text = buf_take(lines), *rest = NULL;
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = '\0';
        MHD_add_response_header(response, line, colon + 1 + strspn(colon + 1, " "));
    }
    free(text);
}

static enum MHD_Result send_reply(struct listener *listener, struct MHD_Connection *connection,
                                  struct listener_reply *reply)
{
    size_t size = reply->body.size;
    char *text = reply->next ? NULL : buf_take(&reply->body);
    struct MHD_Response *response =
        reply->next ? make_flow(listener, reply)
                    : MHD_create_response_from_buffer(size, text ? text : "",
                                                      text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (reply->type)
        MHD_add_response_header(response, "Content-Type", reply->type);
    for (size_t i = 0; i < sizeof reply->headers / sizeof *reply->headers && reply->headers[i].name; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    add_lines(response, &reply->lines);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- patience ---- */

static void set_patience(struct listener *listener, struct MHD_Connection *mhd, int64_t seconds)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info ? info->socket_context : NULL;
    if (!connection)
        return;
    pthread_mutex_lock(&listener->mutex);
    connection->deadline_ms = seconds < 0 ? INT64_MAX : clock_monotonic_ms(&listener->clock) + seconds * 1000;
    connection->in_body = seconds == BODY_S;
    pthread_mutex_unlock(&listener->mutex);
}

static void on_connection(void *user, struct MHD_Connection *mhd, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct listener *listener = user;
    struct connection *connection = *state;
    pthread_mutex_lock(&listener->mutex);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *state = connection = mem_zero(sizeof *connection);
        list_init(&connection->link);
        connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        connection->deadline_ms = clock_monotonic_ms(&listener->clock) + HEAD_S * 1000;
        list_append(&listener->connections, &connection->link);
        pthread_cond_signal(&listener->changed);
    } else if (connection) { /* before its descriptor is another's */
        list_remove(&connection->link);
        free(connection);
        *state = NULL;
    }
    pthread_mutex_unlock(&listener->mutex);
}

/* Nothing else is written meanwhile: its request is still being read. */
static void say_late(int fd)
{
    static const char late[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    if (send(fd, late, sizeof late - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; /* it is closed in any case */
}

static void cut_late(struct listener *listener)
{
    struct connection *connection;
    int64_t now = clock_monotonic_ms(&listener->clock);
    list_each(connection, &listener->connections, struct connection, link) {
        if (connection->deadline_ms > now)
            continue;
        connection->deadline_ms = INT64_MAX;
        if (connection->in_body && !listener->secure)
            say_late(connection->fd);
        shutdown(connection->fd, SHUT_RDWR); /* libmicrohttpd notices and closes */
    }
}

static void *reap(void *user)
{
    struct listener *listener = user;
    pthread_mutex_lock(&listener->mutex);
    while (!listener->stopping) {
        struct timespec until;
        if (list_empty(&listener->connections)) {
            pthread_cond_wait(&listener->changed, &listener->mutex);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_S;
        while (!listener->stopping &&
               pthread_cond_timedwait(&listener->changed, &listener->mutex, &until) == 0)
            continue;
        cut_late(listener);
    }
    pthread_mutex_unlock(&listener->mutex);
    return NULL;
}

/* ---- web pages ---- */

/* "localhost", "x.localhost", an address: no page of another site has such a name, whatever DNS says. */
static bool is_own_name(const char *name, size_t size)
{
    static const char suffix[] = ".localhost";
    size_t tail = sizeof suffix - 1;
    char *text = mem_copy(name, size);
    struct in_addr v4;
    bool own = strcasecmp(text, "localhost") == 0 || (size > 2 && text[0] == '[' && text[size - 1] == ']') ||
               inet_pton(AF_INET, text, &v4) == 1 ||
               (size > tail && strcasecmp(text + size - tail, suffix) == 0);
    free(text);
    return own;
}

/* "NAME", "NAME:PORT", "[V6]:PORT". */
static bool is_own_host(const char *host)
{
    return is_own_name(host, *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":"));
}

static bool is_listed(const char *list, const char *origin)
{
    size_t size = strlen(origin);
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (*at == '*' || (strncasecmp(at, origin, size) == 0 && (!at[size] || at[size] == ',')))
            return true;
    return false;
}

/* A page that has had its name resolved to this machine shows it in Host; one that sends to another site says
 * in Origin where it is from. */
static bool is_from_a_page(struct MHD_Connection *connection, const char *pages)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    const char *from = origin ? strstr(origin, "://") : NULL;
    return (host && !is_own_host(host)) ||
           (origin && (!from || !is_own_host(from + 3)) && !is_listed(pages, origin));
}

static bool refuse(struct listener_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain";
    buf_add_text(&reply->body, text);
    return false;
}

struct framing {
    const char *length; /* the first Content-Length */
    bool ambiguous;
};

static enum MHD_Result look_at_header(void *user, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct framing *framing = user;
    (void)kind;
    if (strcasecmp(name, "Content-Length") == 0) {
        framing->ambiguous = framing->ambiguous || (framing->length && strcmp(framing->length, value) != 0) ||
                             !*value || value[strspn(value, "0123456789")];
        framing->length = value;
    }
    return MHD_YES;
}

/* Two who read it differently would see two different requests (RFC 9112, 6.3). */
static bool is_ambiguous(struct MHD_Connection *connection)
{
    struct framing framing = {0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_header, &framing);
    return framing.ambiguous ||
           (framing.length && MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding"));
}

/* Before the body is read. */
static bool admit(struct listener *listener, struct MHD_Connection *connection, const char *method,
                  const char *path, struct listener_reply *reply)
{
    struct listener_request request = {.method = method, .path = path, .body = "", .connection = connection};
    if (is_ambiguous(connection))
        return refuse(reply, 400, "the length of the request is said in two ways\n");
    if (listener->options.local && is_from_a_page(connection, listener->options.pages))
        return refuse(reply, 403,
                      "this is for programs on this machine: name it localhost or by its address\n");
    return !listener->options.admit || listener->options.admit(listener->options.user, &request, reply);
}

static enum MHD_Result answer(struct listener *listener, struct MHD_Connection *connection,
                              const char *method, const char *path, const struct incoming *incoming)
{
    struct listener_reply reply = {0};
    struct listener_request request = {
        .method = method,
        .path = path,
        .query = incoming->query,
        .body = incoming->body.data && !incoming->too_large ? incoming->body.data : "",
        .size = incoming->too_large ? 0 : incoming->body.size,
        .too_large = incoming->too_large,
        .connection = connection,
    };
    listener->options.answer(listener->options.user, &request, &reply);
    if (!reply.cut)
        return send_reply(listener, connection, &reply);
    buf_fini(&reply.body);
    buf_fini(&reply.lines);
    return MHD_NO;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state)
{
    struct listener *listener = user;
    struct incoming *incoming = *state;
    (void)version;
    if (!incoming->begun) {
        struct listener_reply reply = {0};
        incoming->begun = true;
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, listener->options.idle_s);
        set_patience(listener, connection, BODY_S);
        bool admitted = incoming->odd ? refuse(&reply, 400, "there is a NUL in the path\n")
                                      : admit(listener, connection, method, path, &reply);
        return admitted ? MHD_YES : send_reply(listener, connection, &reply);
    }
    if (!*size) {
        set_patience(listener, connection, -1);
        return answer(listener, connection, method, path, incoming);
    }
    if (incoming->body.size + *size > listener->options.body_bytes_max)
        incoming->too_large = true;
    else
        buf_add(&incoming->body, data, *size);
    *size = 0;
    return MHD_YES;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct incoming *incoming = *state;
    struct listener *listener = user;
    (void)code;
    set_patience(listener, connection, listener->options.idle_s + HEAD_S); /* for the next request */
    if (!incoming)
        return;
    buf_fini(&incoming->body);
    free(incoming->query);
    free(incoming);
    *state = NULL;
    pthread_mutex_lock(&listener->mutex);
    if (!--listener->busy)
        pthread_cond_signal(&listener->rested);
    pthread_mutex_unlock(&listener->mutex);
}

/* A request's first line is here; on_completed will come. */
static void *on_uri(void *user, const char *uri, struct MHD_Connection *connection)
{
    struct listener *listener = user;
    struct incoming *incoming = mem_zero(sizeof *incoming);
    const char *query = strchr(uri, '?');
    (void)connection;
    incoming->query = mem_string(query ? query + 1 : NULL);
    const char *nul = strstr(uri, "%00");
    incoming->odd = nul && (!query || nul < query);
    pthread_mutex_lock(&listener->mutex);
    listener->busy++;
    pthread_mutex_unlock(&listener->mutex);
    return incoming;
}

/* ---- life ---- */

static void explain(const char *address, int code, struct err *err)
{
    char holder[100];
    if (code != EADDRINUSE) {
        err_set(err, ERR_IO, "cannot listen on %s: %s", address, strerror(code));
        return;
    }
    port_holder(atoi(strrchr(address, ':') + 1), holder, sizeof holder);
    err_set(err, ERR_BUSY, "%s is in use: %s listens there", address, holder);
}

static void free_listener(struct listener *listener)
{
    free(listener->before);
    pthread_cond_destroy(&listener->changed);
    pthread_cond_destroy(&listener->rested);
    pthread_mutex_destroy(&listener->mutex);
    free(listener);
}

/* `socket`: one that listens already, which is taken. */
static struct MHD_Daemon *start_daemon(struct listener *listener, const union address *address,
                                       MHD_socket socket, const char *certificate, const char *key)
{
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                     MHD_USE_ITC | (address && address->any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0) |
                     (certificate ? MHD_USE_TLS : 0);
    struct MHD_OptionItem more[5];
    size_t count = 0;
    if (socket != MHD_INVALID_SOCKET)
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_LISTEN_SOCKET, socket, NULL};
    else
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_SOCK_ADDR, 0, (void *)&address->any};
    if (certificate) {
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)certificate};
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key};
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                                (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
    }
    more[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, listener, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, listener, MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener,
                            MHD_OPTION_URI_LOG_CALLBACK, on_uri, listener, MHD_OPTION_CONNECTION_LIMIT,
                            listener->options.connections_max, MHD_OPTION_CONNECTION_TIMEOUT, HEAD_S,
                            MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

bool listener_renew(struct listener *listener, const char *certificate, const char *key, struct err *err)
{
    MHD_socket socket = MHD_quiesce_daemon(listener->daemon);
    struct MHD_Daemon *next = start_daemon(listener, NULL, dup(socket), certificate, key);
    bool renewed = next != NULL;
    if (!renewed) /* the copy is closed by then */
        next =
            start_daemon(listener, NULL, dup(socket), listener->options.certificate, listener->options.key);
    close(socket);
    mem_grow(&listener->before, &listener->before_capacity, listener->before_count, sizeof *listener->before);
    listener->before[listener->before_count++] = listener->daemon;
    listener->daemon = next;
    if (renewed) {
        listener->options.certificate = certificate;
        listener->options.key = key;
    }
    return renewed || err_set(err, ERR_CONFIG, "the certificate and its key cannot be used together");
}

struct listener *listener_start(const struct listener_options *options, struct err *err)
{
    union address address;
    if (!address_read(options->address, &address, err))
        return NULL;
    struct listener *listener = mem_zero(sizeof *listener);
    listener->options = *options;
    listener->secure = options->certificate != NULL;
    listener->clock = clock_system();
    list_init(&listener->connections);
    pthread_mutex_init(&listener->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&listener->changed, &monotonic);
    pthread_cond_init(&listener->rested, &monotonic);
    pthread_condattr_destroy(&monotonic);
    listener->daemon =
        start_daemon(listener, &address, MHD_INVALID_SOCKET, options->certificate, options->key);
    if (!listener->daemon) {
        explain(options->address, errno, err);
        free_listener(listener);
        return NULL;
    }
    if (pthread_create(&listener->reaper, NULL, reap, listener) != 0) {
        err_set(err, ERR_RESOURCES, "no thread can be made for %s", options->address);
        MHD_stop_daemon(listener->daemon);
        free_listener(listener);
        return NULL;
    }
    listener->port = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return listener;
}

int listener_port(const struct listener *listener)
{
    return listener->port;
}

/* libmicrohttpd closes connections when it stops, whatever is on its way in them. */
static void wait_for_answers(struct listener *listener)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_S;
    pthread_mutex_lock(&listener->mutex);
    while (listener->busy && pthread_cond_timedwait(&listener->rested, &listener->mutex, &until) == 0)
        continue;
    pthread_mutex_unlock(&listener->mutex);
}

void listener_close(struct listener *listener)
{
    MHD_socket socket = MHD_INVALID_SOCKET;
    if (listener->daemon && !listener->closed) /* a second time it would give the number of somebody else's */
        socket = MHD_quiesce_daemon(listener->daemon);
    listener->closed = true;
    if (socket == MHD_INVALID_SOCKET)
        return;
    shutdown(socket, SHUT_RDWR);
    close(socket);
}

void listener_stop(struct listener *listener)
{
    if (!listener)
        return;
    pthread_mutex_lock(&listener->mutex);
    listener->stopping = true;
    pthread_cond_signal(&listener->changed);
    pthread_mutex_unlock(&listener->mutex);
    pthread_join(listener->reaper, NULL);
    listener_close(listener);
    wait_for_answers(listener);
    if (listener->daemon)
        MHD_stop_daemon(listener->daemon);
    for (size_t i = 0; i < listener->before_count; i++)
        MHD_stop_daemon(listener->before[i]);
    free_listener(listener);
}
