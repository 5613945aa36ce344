/* engine_http.c: see engine_http.h. RFC 9112 with one request at a time on a connection.
 *
 * A connection resolves, dials, shakes hands, and then carries one exchange after the other; between them it
 * is idle, and what comes then (its end, mostly) ends it.
 *
 * Large bodies, pages of records mostly, are received one after the other, a few at a time: what many shards
 * send at once waits in the sockets, not in memory of ours that is touched, read once and given back. */
#include "net/engine_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "base/mem.h"
#include "net/dial.h"
#include "net/http_response.h"
#include "net/resolve.h"
#include "net/tls.h"
#include "net/url.h"

#define CHUNK_BYTES (64u << 10)
#define HOST_BYTES_MAX 255
#define TURN_BYTES_MAX (4u << 20)      /* of one connection in a turn; others are to have theirs */
#define TLS_TOGETHER_BYTES (14u << 10) /* a body up to this leaves in one TLS record with its head */
#define ADDRESSES_MS 60000             /* how long a name's addresses are believed */
#define IDLE_MS 118000           /* a connection that idles longer may be dead beyond a silent gateway */
#define TRUST_MS 86400000        /* authorities come and go */
#define LARGE_BYTES (128u << 10) /* a body above waits for its turn to be received */
#define RECEIVING_LEAST 1        /* such bodies at once, or more ... */
#define RECEIVING_MOST 4096
#define LOOK_MS 5       /* ... as is seen so often, while some wait */
#define SLOW_MS 50      /* who says nothing for so long holds nobody back ... */
#define TURN_MS_MAX 250 /* ... nor who takes longer than that */

struct http_engine {
    struct engine engine;
    struct reactor *reactor;
    struct engine_http_options options;
    char *ca_bundle;
    bool proxied; /* by the environment */
    struct tls_context *trust;
    int64_t trust_ms; /* when it was read */
    uint64_t trust_number;
    struct list idle; /* connections, the longest first */
    size_t idle_count;
    struct timer prune;
    struct list receiving, parked; /* connections with a large body: that have their turn; that wait for it */
    size_t receiving_count, receiving_max;
    struct timer look;            /* set while some wait */
    int64_t looked_ms, waited_ms; /* monotonic, when it last looked; what the reactor had waited by then */
    char *chunk;                  /* what is received, for a moment */
};

struct http_origin {
    struct http_engine *engine;
    char *host, *authority; /* "::1"; as Host has it, "[::1]:8000" */
    int port;
    bool tls;
    struct addresses addresses;
    int64_t known_until_ms; /* the addresses */
    struct resolution *resolution;
    struct list resolving; /* connections that wait for it */
    struct list idle;      /* the one used last first */
    size_t connections;
    struct tls_session *session;
    uint64_t session_trust; /* it was agreed on under that */
};

enum state { RESOLVING, DIALLING, SHAKING, BUSY, IDLE };

/* With a large body: PARKED until its turn has come; SLOW goes on beside those that have theirs. */
enum turn { TURN_NONE, PARKED, RECEIVING, SLOW };

struct http_connection {
    struct list link;      /* among its origin's that resolve, or are idle */
    struct list idle_link; /* among the engine's */
    struct http_engine *engine;
    struct http_origin *origin;
    enum state state;
    bool reused; /* it has carried an exchange before */
    bool again;  /* its exchange went out on another one, and may have been read */
    int fd;
    struct watch *watch;
    struct dial *dial;
    struct tls *tls;
    uint64_t trust_number;     /* whom it trusts */
    struct exchange *exchange; /* NULL: idle */
    int64_t due_ms;            /* monotonic: of the exchange */
    struct timer timer;
    struct task failing, going_on;
    enum exchange_end end; /* of `failing` */
    const char *end_text;
    struct buf out; /* the head, and a small body */
    size_t out_at, body_at;
    struct buf in; /* a line that has not come whole */
    struct http_response reading;
    bool some; /* of the answer has come */
    enum turn turn;
    struct list turn_link;
    int64_t left_ms;  /* of the exchange's time, when it was parked */
    int64_t heard_ms; /* something came */
    int64_t turn_ms;  /* its turn began */
    int64_t idle_since_ms;
    struct err err;
    char text[256];
};

static void start(struct http_connection *connection);
static void on_ready(void *user);
static void on_timer(void *user);
static void on_failing(void *user);
static void on_going_on(void *user);
static void on_resolved(void *user, const struct addresses *addresses, const struct err *err);

static int64_t now_ms(const struct http_engine *engine)
{
    return clock_monotonic_ms(reactor_clock(engine->reactor));
}

/* ---- connections ---- */

static struct http_connection *connection_new(struct http_origin *origin)
{
    struct http_connection *connection = mem_zero(sizeof *connection);
    connection->engine = origin->engine;
    connection->origin = origin;
    connection->fd = -1;
    list_init(&connection->link);
    list_init(&connection->idle_link);
    list_init(&connection->turn_link);
    timer_init(&connection->timer, on_timer, connection);
    task_init(&connection->failing, on_failing, connection);
    task_init(&connection->going_on, on_going_on, connection);
    origin->connections++;
    return connection;
}

/* ---- turns ---- */

static void set_events(struct http_connection *connection, bool writes)
{
    watch_events(connection->watch, (short)(POLLIN | (writes ? POLLOUT : 0)));
}

static void take_turn(struct http_connection *connection)
{
    struct http_engine *engine = connection->engine;
    connection->turn = RECEIVING;
    connection->heard_ms = connection->turn_ms = reactor_now_ms(engine->reactor);
    list_append(&engine->receiving, &connection->turn_link);
    engine->receiving_count++;
}

/* From where it was parked. */
static void go_on(struct http_connection *connection)
{
    struct http_engine *engine = connection->engine;
    connection->due_ms = now_ms(engine) + connection->left_ms;
    timer_set(engine->reactor, &connection->timer, connection->left_ms);
    set_events(connection, false);
    task_defer(engine->reactor, &connection->going_on);
}

static void give_turns(struct http_engine *engine)
{
    while (engine->receiving_count < engine->receiving_max && !list_empty(&engine->parked)) {
        struct http_connection *next = list_entry(engine->parked.next, struct http_connection, turn_link);
        list_remove(&next->turn_link);
        take_turn(next);
        go_on(next);
    }
}

static void end_turn(struct http_connection *connection, enum turn turn)
{
    bool had = connection->turn == RECEIVING;
    list_remove(&connection->turn_link);
    connection->turn = turn;
    if (!had)
        return;
    CHECK(connection->engine->receiving_count > 0);
    connection->engine->receiving_count--;
    give_turns(connection->engine);
}

static void look_later(struct http_engine *engine)
{
    engine->looked_ms = reactor_now_ms(engine->reactor);
    engine->waited_ms = reactor_waited_ms(engine->reactor);
    timer_set(engine->reactor, &engine->look, LOOK_MS);
}

/* A thread with time to spare waits for the network, and may receive more at once; one without receives more
 * than it can work on. And nobody waits for one that says nothing, or little. */
static void on_look(void *user)
{
    struct http_engine *engine = user;
    struct http_connection *connection;
    int64_t now = reactor_now_ms(engine->reactor), spent_ms = now - engine->looked_ms;
    int64_t waited_ms = reactor_waited_ms(engine->reactor) - engine->waited_ms;
    if (2 * waited_ms > spent_ms && engine->receiving_max < RECEIVING_MOST)
        engine->receiving_max *= 2;
    else if (8 * waited_ms < spent_ms && engine->receiving_max > RECEIVING_LEAST)
        engine->receiving_max /= 2;
    list_each(connection, &engine->receiving, struct http_connection, turn_link)
        if (now - connection->heard_ms >= SLOW_MS || now - connection->turn_ms >= TURN_MS_MAX)
            end_turn(connection, SLOW);
    give_turns(engine);
    if (!list_empty(&engine->parked))
        look_later(engine);
}

/* May it receive a large body now? Its time stands still while it may not. */
static bool has_turn(struct http_connection *connection)
{
    struct http_engine *engine = connection->engine;
    if (connection->turn != TURN_NONE)
        return connection->turn != PARKED;
    if (engine->receiving_count < engine->receiving_max) {
        take_turn(connection);
        return true;
    }
    connection->turn = PARKED;
    connection->left_ms = connection->due_ms - now_ms(engine);
    connection->left_ms = connection->left_ms > 0 ? connection->left_ms : 1;
    timer_stop(engine->reactor, &connection->timer);
    watch_events(connection->watch, 0);
    list_append(&engine->parked, &connection->turn_link);
    if (!timer_is_set(&engine->look))
        look_later(engine);
    return false;
}

/* ---- their ends ---- */

static void leave_idle(struct http_connection *connection)
{
    if (connection->state != IDLE)
        return;
    list_remove(&connection->link);
    list_remove(&connection->idle_link);
    CHECK(connection->engine->idle_count > 0);
    connection->engine->idle_count--;
}

static void hang_up(struct http_connection *connection)
{
    if (connection->dial)
        dial_cancel(connection->dial);
    connection->dial = NULL;
    watch_free(connection->watch);
    connection->watch = NULL;
    tls_free(connection->tls);
    connection->tls = NULL;
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

static void connection_free(struct http_connection *connection)
{
    struct http_origin *origin = connection->origin;
    leave_idle(connection);
    list_remove(&connection->link);
    hang_up(connection);
    timer_stop(connection->engine->reactor, &connection->timer);
    task_cancel(&connection->failing);
    task_cancel(&connection->going_on);
    end_turn(connection, TURN_NONE);
    buf_fini_secret(&connection->out); /* a signature, a token */
    buf_fini(&connection->in);
    CHECK(origin->connections > 0);
    origin->connections--;
    free(connection);
}

/* Closes those that have been idle the longest, until so many are left. */
static void keep_idle(struct http_engine *engine, size_t most)
{
    for (struct list *link; engine->idle_count > most && (link = list_take_first(&engine->idle));)
        connection_free(list_entry(link, struct http_connection, idle_link));
}

static void on_prune(void *user)
{
    struct http_engine *engine = user;
    int64_t now = now_ms(engine);
    struct http_connection *oldest;
    list_each(oldest, &engine->idle, struct http_connection, idle_link) {
        int64_t left_ms = oldest->idle_since_ms + IDLE_MS - now;
        if (left_ms > 0) {
            timer_set(engine->reactor, &engine->prune, left_ms);
            return;
        }
        connection_free(oldest);
    }
}

static void become_idle(struct http_connection *connection)
{
    struct http_engine *engine = connection->engine;
    connection->state = IDLE;
    connection->again = false;
    connection->reused = true;
    connection->exchange = NULL;
    connection->idle_since_ms = reactor_now_ms(engine->reactor);
    list_prepend(&connection->origin->idle, &connection->link);
    list_append(&engine->idle, &connection->idle_link);
    engine->idle_count++;
    if (!timer_is_set(&engine->prune))
        timer_set(engine->reactor, &engine->prune, IDLE_MS);
    keep_idle(engine, engine->options.idle_max);
}

/* ---- the end of an exchange ---- */

/* Has some of the request not left yet? */
static bool is_behind(const struct http_connection *connection)
{
    return connection->out_at < connection->out.size ||
           connection->body_at < connection->exchange->request.body_size;
}

/* Is what has come an answer, whatever becomes of the rest? */
static bool is_decided(const struct http_connection *connection)
{
    return connection->reading.head_done && connection->exchange->request.status_decides;
}

/* The connection is gone, or idle. */
static void tell(struct exchange *exchange, enum exchange_end end, const char *text)
{
    exchange->run = NULL;
    exchange->done(exchange, end, text);
}

static void fail(struct http_connection *connection, enum exchange_end end, const char *text)
{
    struct exchange *exchange = connection->exchange;
    char copy[sizeof connection->err.text];
    snprintf(copy, sizeof copy, "%s", text);
    connection_free(connection);
    tell(exchange, end, copy);
}

/* The same, from inside of a call of the lines': told in the next turn. */
static void fail_later(struct http_connection *connection, enum exchange_end end, const char *text)
{
    connection->end = end;
    connection->end_text = text;
    task_defer(connection->engine->reactor, &connection->failing);
}

static void on_failing(void *user)
{
    struct http_connection *connection = user;
    fail(connection, connection->end, connection->end_text);
}

static void succeed(struct http_connection *connection)
{
    struct exchange *exchange = connection->exchange;
    bool sent = !is_behind(connection);
    exchange->response.status = connection->reading.status;
    timer_stop(connection->engine->reactor, &connection->timer);
    task_cancel(&connection->going_on);
    end_turn(connection, TURN_NONE);
    if (connection->tls && !connection->reused) {
        struct tls_session *session = tls_session_of(connection->tls);
        if (session) {
            tls_session_free(connection->origin->session);
            connection->origin->session = session;
            connection->origin->session_trust = connection->trust_number;
        }
    }
    if (connection->reading.keeps && sent && !connection->in.size)
        become_idle(connection);
    else
        connection_free(connection);
    tell(exchange, EXCHANGE_ANSWERED, NULL);
}

/* No answer came. What a kept connection's end has swallowed may go out again on a new one, if nobody can
 * have read it, or reading it twice does no harm (RFC 9110, 9.2.2). */
static void break_off(struct http_connection *connection, const char *text)
{
    struct exchange *exchange = connection->exchange;
    if (is_decided(connection)) {
        exchange->response.status = connection->reading.status;
        connection_free(connection);
        tell(exchange, EXCHANGE_ANSWERED, NULL);
    } else if (!connection->reused || connection->some) {
        fail(connection, EXCHANGE_FAILED, text);
    } else if (connection->out_at && !exchange->request.idempotent) {
        fail(connection, EXCHANGE_UNSURE, text);
    } else {
        struct http_connection *fresh = connection_new(connection->origin);
        fresh->exchange = exchange;
        fresh->due_ms = connection->due_ms;
        fresh->again = connection->out_at > 0;
        exchange->run = fresh;
        connection_free(connection);
        start(fresh);
    }
}

/* The question for its addresses has taken all of a call's time: the next one asks anew. */
static void ask_anew(struct http_origin *origin)
{
    if (origin->resolution)
        resolve_cancel(origin->resolution);
    origin->resolution = list_empty(&origin->resolving) ? NULL
                                                        : resolve(origin->engine->reactor, origin->host,
                                                                  origin->port, on_resolved, origin);
}

static void on_timer(void *user)
{
    struct http_connection *connection = user;
    if (connection->state == RESOLVING) {
        list_remove(&connection->link);
        ask_anew(connection->origin);
    }
    const struct exchange *exchange = connection->exchange;
    const char *what = connection->state == RESOLVING  ? "no address of it was found"
                       : connection->state == DIALLING ? "no connection was made"
                       : connection->state == SHAKING  ? "TLS was not agreed on"
                       : connection->some              ? "the answer was not whole"
                                                       : "no answer came";
    int64_t spent_ms = exchange->request.timeout_ms - (connection->due_ms - now_ms(connection->engine));
    snprintf(connection->text, sizeof connection->text, "timed out: %s after %lld ms", what,
             (long long)spent_ms);
    if (is_decided(connection))
        break_off(connection, connection->text);
    else
        fail(connection, EXCHANGE_TIMED_OUT, connection->text);
}

/* ---- sending ---- */

/* What follows the authority in a URL; a fragment is nobody's business but ours. */
static const char *target_of(const char *url, size_t *size)
{
    const char *target = url + url_origin_size(url);
    *size = strcspn(target, "#");
    return target;
}

static void add_number(struct buf *out, size_t number)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    buf_add(out, at, (size_t)(digits + sizeof digits - at));
}

static void write_head(struct http_connection *connection)
{
    const struct transport_request *request = &connection->exchange->request;
    struct buf *out = &connection->out;
    size_t size;
    const char *target = target_of(request->url, &size);
    buf_clear(out);
    buf_add_text(out, request->method);
    buf_add_char(out, ' ');
    if (*target != '/')
        buf_add_char(out, '/');
    buf_add(out, target, size);
    buf_add_literal(out, " HTTP/1.1\r\n");
    if (!transport_has_header(request->headers, "Host")) {
        buf_add_literal(out, "Host: ");
        buf_add_text(out, connection->origin->authority);
        buf_add_literal(out, "\r\n");
    }
    if (!transport_has_header(request->headers, "Accept"))
        buf_add_literal(out, "Accept: */*\r\n");
    for (const char *const *header = request->headers; header && *header; header++) {
        buf_add_text(out, *header);
        buf_add_literal(out, "\r\n");
    }
    if (request->body && !transport_has_header(request->headers, "Content-Type")) /* as libcurl has it */
        buf_add_literal(out, "Content-Type: application/x-www-form-urlencoded\r\n");
    if (request->body || transport_wants_length(request->method)) {
        buf_add_literal(out, "Content-Length: ");
        add_number(out, request->body_size);
        buf_add_literal(out, "\r\n");
    }
    buf_add_literal(out, "\r\n");
    connection->out_at = connection->body_at = 0;
    if (connection->tls && request->body_size && request->body_size <= TLS_TOGETHER_BYTES) {
        buf_add(out, request->body, request->body_size);
        connection->body_at = request->body_size;
    }
}

/* So many bytes have left. */
static void advance(struct http_connection *connection, size_t size)
{
    size_t head = connection->out.size - connection->out_at;
    head = size < head ? size : head;
    connection->out_at += head;
    connection->body_at += size - head;
}

static enum tls_result send_plain(struct http_connection *connection)
{
    const struct transport_request *request = &connection->exchange->request;
    struct iovec parts[2] = {
        {connection->out.data + connection->out_at, connection->out.size - connection->out_at},
        {(void *)(uintptr_t)(request->body_size ? request->body + connection->body_at : NULL),
         request->body_size - connection->body_at},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent;
    do
        sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        advance(connection, (size_t)sent);
        return TLS_DONE;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TLS_WANTS_WRITE;
    err_set(&connection->err, ERR_NETWORK, "sending: %s", strerror(errno));
    return TLS_FAILED;
}

static enum tls_result send_tls(struct http_connection *connection)
{
    const struct transport_request *request = &connection->exchange->request;
    bool head = connection->out_at < connection->out.size;
    size_t sent = 0;
    enum tls_result result =
        head ? tls_write(connection->tls, connection->out.data + connection->out_at,
                         connection->out.size - connection->out_at, &sent, &connection->err)
             : tls_write(connection->tls, request->body + connection->body_at,
                         request->body_size - connection->body_at, &sent, &connection->err);
    advance(connection, sent);
    return result;
}

/* What is left of the request, as far as the socket takes it. False: the connection is broken. */
static bool flush(struct http_connection *connection)
{
    enum tls_result result = TLS_DONE;
    bool behind;
    while ((behind = is_behind(connection)) && result == TLS_DONE)
        result = connection->tls ? send_tls(connection) : send_plain(connection);
    if (result == TLS_FAILED || result == TLS_CLOSED)
        return false;
    set_events(connection, behind && result == TLS_WANTS_WRITE);
    return true;
}

/* The exchange on a connection that is there; from inside of a call of the lines' or not. */
static void send_request(struct http_connection *connection)
{
    struct exchange *exchange = connection->exchange;
    const struct transport_request *request = &exchange->request;
    connection->state = BUSY;
    connection->some = false;
    buf_clear(&exchange->response.headers);
    buf_clear(&exchange->response.body);
    http_response_init(&connection->reading, strcmp(request->method, "HEAD") == 0,
                       &exchange->response.headers, &exchange->response.body, request->response_max);
    write_head(connection);
    if (exchange_is_past(exchange, connection->engine->reactor))
        fail_later(connection, connection->again ? EXCHANGE_UNSURE : EXCHANGE_PAST, "");
    else if (!flush(connection)) /* an answer may stand in the socket all the same, before its end */
        task_defer(connection->engine->reactor, &connection->going_on);
}

/* ---- receiving ---- */

enum received { RECEIVED_SOME, RECEIVED_ALL, RECEIVED_END, RECEIVED_ERROR };

static enum received receive_plain(struct http_connection *connection, char *bytes, size_t size, size_t *got)
{
    ssize_t received;
    do
        received = recv(connection->fd, bytes, size, 0);
    while (received < 0 && errno == EINTR);
    *got = received > 0 ? (size_t)received : 0;
    if (received > 0)
        return *got < size ? RECEIVED_ALL : RECEIVED_SOME; /* what comes later wakes the poll */
    if (received == 0)
        return RECEIVED_END;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return RECEIVED_ALL;
    err_set(&connection->err, ERR_NETWORK, "receiving: %s", strerror(errno));
    return RECEIVED_ERROR;
}

static enum received receive_tls(struct http_connection *connection, char *bytes, size_t size, size_t *got)
{
    *got = 0;
    switch (tls_read(connection->tls, bytes, size, got, &connection->err)) {
    case TLS_DONE:
        return RECEIVED_SOME; /* TLS may have taken in more, which wakes no poll */
    case TLS_WANTS_READ:
        set_events(connection, is_behind(connection));
        return RECEIVED_ALL;
    case TLS_WANTS_WRITE: /* a renewal of keys */
        set_events(connection, true);
        return RECEIVED_ALL;
    case TLS_CLOSED:
        return RECEIVED_END;
    default:
        return RECEIVED_ERROR;
    }
}

/* A chunk has come. */
static enum http_reading take(struct http_connection *connection, const char *bytes, size_t size)
{
    struct buf *in = &connection->in;
    size_t taken;
    if (in->size) {
        buf_add(in, bytes, size);
        bytes = in->data;
        size = in->size;
    }
    enum http_reading reading = http_response_read(&connection->reading, bytes, size, &taken);
    if (in->size) {
        memmove(in->data, in->data + taken, in->size - taken);
        in->size -= taken;
    } else {
        buf_add(in, bytes + taken, size - taken);
    }
    return reading;
}

/* Into the body itself, where its length is known; else by way of the engine's chunk. */
static enum received receive_some(struct http_connection *connection, size_t *got, enum http_reading *reading)
{
    struct buf *body = &connection->exchange->response.body;
    size_t plain = connection->in.size ? 0 : http_response_plain(&connection->reading);
    char *bytes = connection->engine->chunk;
    size_t size = CHUNK_BYTES;
    if (plain >= LARGE_BYTES && !has_turn(connection)) {
        *got = 0;
        return RECEIVED_ALL;
    }
    if (plain) {
        buf_reserve(body, plain);
        bytes = body->data + body->size;
        size = plain;
    }
    enum received received = connection->tls ? receive_tls(connection, bytes, size, got)
                                             : receive_plain(connection, bytes, size, got);
    connection->some = connection->some || *got;
    connection->heard_ms = reactor_now_ms(connection->engine->reactor);
    if (*got)
        *reading = plain ? http_response_placed(&connection->reading, *got) : take(connection, bytes, *got);
    return received;
}

/* Who says early that all is well wants the rest of the request all the same. */
static bool goes_on_sending(const struct http_connection *connection)
{
    return is_behind(connection) && connection->reading.status < 400;
}

static void end_reading(struct http_connection *connection, enum http_reading reading)
{
    switch (reading) {
    case HTTP_COMPLETE:
        if (!goes_on_sending(connection))
            succeed(connection);
        else if (!flush(connection))
            fail(connection, EXCHANGE_FAILED, "it answered, and closed before it had the whole request");
        else if (!is_behind(connection))
            succeed(connection);
        else
            watch_events(connection->watch, POLLOUT);
        break;
    case HTTP_TOO_LARGE:
        if (connection->exchange->request.status_decides)
            break_off(connection, "");
        else
            fail(connection, EXCHANGE_TOO_LARGE, "");
        break;
    default:
        snprintf(connection->text, sizeof connection->text, "%s", connection->reading.problem);
        break_off(connection, connection->text);
    }
}

static void receive(struct http_connection *connection)
{
    if (http_response_is_complete(&connection->reading)) { /* it is still sending */
        end_reading(connection, HTTP_COMPLETE);
        return;
    }
    enum received received = RECEIVED_SOME;
    enum http_reading reading = HTTP_GOES_ON;
    for (size_t all = 0, got; received == RECEIVED_SOME && reading == HTTP_GOES_ON; all += got) {
        if (all >= TURN_BYTES_MAX) {
            task_defer(connection->engine->reactor, &connection->going_on);
            return;
        }
        received = receive_some(connection, &got, &reading);
    }
    if (reading == HTTP_GOES_ON && received == RECEIVED_END)
        reading = http_response_ended(&connection->reading);
    if (reading != HTTP_GOES_ON)
        end_reading(connection, reading);
    else if (received == RECEIVED_ERROR)
        break_off(connection, connection->err.text);
}

static void on_going_on(void *user)
{
    receive(user);
}

/* ---- connecting ---- */

/* All of the exchange's time is there from here on, not only that of connecting. */
static void on_connected(struct http_connection *connection)
{
    timer_set(connection->engine->reactor, &connection->timer,
              connection->due_ms - now_ms(connection->engine));
    send_request(connection);
}

static void shake(struct http_connection *connection)
{
    switch (tls_handshake(connection->tls, &connection->err)) {
    case TLS_DONE:
        set_events(connection, false);
        on_connected(connection);
        break;
    case TLS_WANTS_READ:
        set_events(connection, false);
        break;
    case TLS_WANTS_WRITE:
        watch_events(connection->watch, POLLOUT);
        break;
    default:
        fail(connection, EXCHANGE_FAILED, connection->err.text);
    }
}

/* Whom to trust, as of the last day. */
static struct tls_context *trust_of(struct http_engine *engine, struct err *err)
{
    int64_t now = now_ms(engine);
    if (engine->trust && now - engine->trust_ms < TRUST_MS)
        return engine->trust;
    struct tls_context *fresh = tls_context_new(engine->ca_bundle, err);
    if (!fresh)
        return NULL;
    tls_context_free(engine->trust);
    engine->trust = fresh;
    engine->trust_number++;
    engine->trust_ms = now;
    return fresh;
}

/* The one that answered is asked first from now on. */
static void put_first(struct addresses *addresses, const struct address *address)
{
    size_t number = 0;
    while (number < addresses->count &&
           memcmp(&addresses->at[number].at, &address->at, sizeof address->at) != 0)
        number++;
    if (number == addresses->count)
        return; /* others have been found since */
    memmove(addresses->at + 1, addresses->at, number * sizeof *address);
    addresses->at[0] = *address;
}

static void on_dialled(void *user, int fd, const struct address *address, int problem)
{
    struct http_connection *connection = user;
    struct http_origin *origin = connection->origin;
    connection->dial = NULL;
    if (fd < 0 && descriptors_lack(problem) && connection->engine->idle_count) {
        keep_idle(connection->engine, connection->engine->idle_count - 1);
        start(connection);
        return;
    }
    if (fd < 0) {
        origin->known_until_ms = 0; /* they may have others by now */
        snprintf(connection->text, sizeof connection->text, "Failed to connect to %.100s port %d: %s",
                 origin->host, origin->port, strerror(problem));
        fail(connection, descriptors_lack(problem) ? EXCHANGE_STARVED : EXCHANGE_FAILED, connection->text);
        return;
    }
    connection->fd = fd;
    put_first(&origin->addresses, address);
    connection->watch = reactor_watch(connection->engine->reactor, fd, POLLIN, on_ready, connection);
    if (!origin->tls) {
        on_connected(connection);
        return;
    }
    struct tls_context *trust = trust_of(connection->engine, &connection->err);
    if (!trust) {
        fail(connection, descriptors_exhausted() ? EXCHANGE_STARVED : EXCHANGE_FAILED, connection->err.text);
        return;
    }
    connection->trust_number = connection->engine->trust_number;
    connection->tls = tls_open(trust, fd, origin->host,
                               origin->session_trust == connection->trust_number ? origin->session : NULL);
    connection->state = SHAKING;
    shake(connection);
}

static void dial_it(struct http_connection *connection)
{
    connection->state = DIALLING;
    connection->dial = dial(connection->engine->reactor,
                            &(struct dial_options){.addresses = connection->origin->addresses,
                                                   .abrupt_ms = connection->engine->options.abrupt_ms},
                            on_dialled, connection);
}

static void on_resolved(void *user, const struct addresses *addresses, const struct err *err)
{
    struct http_origin *origin = user;
    struct http_engine *engine = origin->engine;
    struct err problem = *err;
    origin->resolution = NULL;
    if (!addresses && problem.code == ERR_RESOURCES && engine->idle_count &&
        !list_empty(&origin->resolving)) {
        keep_idle(engine, engine->idle_count - 1);
        origin->resolution = resolve(engine->reactor, origin->host, origin->port, on_resolved, origin);
        return;
    }
    if (addresses) {
        origin->addresses = *addresses;
        origin->known_until_ms = now_ms(engine) + ADDRESSES_MS;
    }
    for (struct list *link; addresses && (link = list_take_first(&origin->resolving));)
        dial_it(list_entry(link, struct http_connection, link));
    for (struct list *link; !addresses && (link = list_take_first(&origin->resolving));) {
        struct http_connection *connection = list_entry(link, struct http_connection, link);
        connection->err = problem;
        fail_later(connection, problem.code == ERR_RESOURCES ? EXCHANGE_STARVED : EXCHANGE_FAILED,
                   connection->err.text);
    }
}

/* A new connection for an exchange, which is due at due_ms. */
static void start(struct http_connection *connection)
{
    struct http_origin *origin = connection->origin;
    struct http_engine *engine = connection->engine;
    int64_t now = now_ms(engine), left_ms = connection->due_ms - now;
    int64_t connect_ms = connection->exchange->request.connect_timeout_ms;
    timer_set(engine->reactor, &connection->timer, connect_ms && connect_ms < left_ms ? connect_ms : left_ms);
    if (now < origin->known_until_ms) {
        dial_it(connection);
        return;
    }
    connection->state = RESOLVING;
    list_append(&origin->resolving, &connection->link);
    if (!origin->resolution)
        origin->resolution = resolve(engine->reactor, origin->host, origin->port, on_resolved, origin);
}

/* Of one that is idle: neither its end has come nor what nobody asked for. TLS has words of its own, such as
 * tickets. */
static bool is_quiet(struct http_connection *connection)
{
    char byte;
    size_t got = 0;
    if (connection->tls)
        return tls_read(connection->tls, &byte, 1, &got, &connection->err) == TLS_WANTS_READ;
    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void on_ready(void *user)
{
    struct http_connection *connection = user;
    if (connection->state == IDLE) {
        if (!is_quiet(connection))
            connection_free(connection);
    } else if (connection->state == SHAKING) {
        shake(connection);
    } else if (connection->turn == PARKED) {
        end_turn(connection, SLOW); /* it is woken by its end, and need not wait for that */
        go_on(connection);
    } else if (list_empty(&connection->failing.link)) {
        if (is_behind(connection) && !http_response_is_complete(&connection->reading))
            flush(connection); /* if it is broken, receiving says so, after an answer that came before */
        receive(connection);
    }
}

/* ---- the engine ---- */

/* The one used last that is alive at this moment; NULL: there is none. A look costs little, and spares what
 * must not go twice a connection that has ended, and everybody the answer to a question that nobody asked. */
static struct http_connection *find_idle(struct http_origin *origin)
{
    for (struct list *link; (link = list_take_first(&origin->idle));) {
        struct http_connection *last = list_entry(link, struct http_connection, link);
        if (is_quiet(last)) {
            list_prepend(&origin->idle, link);
            return last;
        }
        connection_free(last);
    }
    return NULL;
}

static void http_begin(struct engine *engine, struct exchange *exchange)
{
    struct http_engine *http = list_entry(engine, struct http_engine, engine);
    struct http_origin *origin = exchange->place;
    struct http_connection *kept = find_idle(origin);
    struct http_connection *connection = kept ? kept : connection_new(origin);
    exchange->run = connection;
    connection->due_ms = now_ms(http) + exchange->request.timeout_ms;
    leave_idle(connection);
    connection->exchange = exchange;
    if (!kept) {
        start(connection);
        return;
    }
    timer_set(http->reactor, &connection->timer, exchange->request.timeout_ms);
    send_request(connection);
}

void engine_http_make_room(struct engine *engine)
{
    keep_idle(list_entry(engine, struct http_engine, engine), 0);
}

static void http_give_up(struct engine *engine, struct exchange *exchange)
{
    (void)engine;
    connection_free(exchange->run);
}

static void http_free(struct engine *engine)
{
    struct http_engine *http = list_entry(engine, struct http_engine, engine);
    CHECK(!http->idle_count);
    timer_stop(http->reactor, &http->prune);
    timer_stop(http->reactor, &http->look);
    tls_context_free(http->trust);
    free(http->ca_bundle);
    free(http->chunk);
    free(http);
}

/* As libcurl's: HTTP_PROXY in capitals may come from a request to a CGI program. */
static bool names_a_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return true;
    }
    return false;
}

struct engine *engine_http_new(struct reactor *reactor, const struct engine_http_options *options)
{
    static const struct engine_ops ops = {http_begin, http_give_up, http_free};
    struct http_engine *http = mem_zero(sizeof *http);
    http->engine.ops = &ops;
    http->reactor = reactor;
    http->options = *options;
    http->ca_bundle = mem_string(options->ca_bundle);
    http->proxied = names_a_proxy();
    http->chunk = mem_alloc(CHUNK_BYTES);
    list_init(&http->idle);
    list_init(&http->receiving);
    list_init(&http->parked);
    http->receiving_max = RECEIVING_LEAST;
    timer_init(&http->look, on_look, http);
    timer_init(&http->prune, on_prune, http);
    return &http->engine;
}

/* ---- origins ---- */

bool http_origin_is_connected(const struct http_origin *origin)
{
    return origin->connections;
}

/* Letters, digits, ".", "-" and "_", or an IPv6 address in []: what everybody reads in one way. */
static bool is_plain_host(const char *host, size_t size)
{
#define DIGITS "0123456789"
#define HEX DIGITS "abcdef"
#define ALL HEX "ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_"
    if (!size || size > HOST_BYTES_MAX)
        return false;
    if (*host == '[')
        return strspn(host + 1, HEX ":.") == size - 2 && host[size - 1] == ']';
    return strspn(host, ALL) >= size && !strchr(".-_", *host) && host[size - 1] != '.';
#undef DIGITS
#undef HEX
#undef ALL
}

struct http_origin *http_origin_new(struct engine *engine, const char *url)
{
    bool tls = strncmp(url, "https://", 8) == 0;
    if (!tls && strncmp(url, "http://", 7) != 0)
        return NULL;
    const char *host = url + (tls ? 8 : 7);
    size_t size = strcspn(host, "/?#"), host_size = size;
    for (const char *at = host; *host != '[' && at < host + size; at++)
        if (*at == ':')
            host_size = host_size < size ? host_size : (size_t)(at - host);
    if (*host == '[') {
        const char *close = memchr(host, ']', size);
        host_size = close ? (size_t)(close - host) + 1 : 0;
    }
    int usual = tls ? 443 : 80, port = usual;
    if (!is_plain_host(host, host_size))
        return NULL;
    if (host_size < size) {
        size_t digits = strspn(host + host_size + 1, "0123456789");
        port = digits && digits < 6 && host[host_size] == ':' && host_size + 1 + digits == size
                   ? atoi(host + host_size + 1)
                   : 0;
    }
    /* Who may be called was asked of libcurl's reading of the URL: it must be ours. */
    char *ours = mem_printf("http%s://%.*s:%d", tls ? "s" : "", (int)host_size, host, port);
    char *read = url_origin(url);
    bool same = port > 0 && port < 65536 && strcmp(ours, read) == 0;
    free(ours);
    free(read);
    if (!same)
        return NULL;
    struct http_origin *origin = mem_zero(sizeof *origin);
    origin->engine = list_entry(engine, struct http_engine, engine);
    origin->host = *host == '[' ? mem_copy(host + 1, host_size - 2) : mem_copy(host, host_size);
    origin->authority =
        port == usual ? mem_copy(host, host_size) : mem_printf("%.*s:%d", (int)host_size, host, port);
    origin->port = port;
    origin->tls = tls;
    list_init(&origin->resolving);
    list_init(&origin->idle);
    return origin;
}

void http_origin_free(struct http_origin *origin)
{
    if (!origin)
        return;
    for (struct list *link; (link = list_take_first(&origin->idle));)
        connection_free(list_entry(link, struct http_connection, link));
    CHECK(!origin->connections);
    if (origin->resolution)
        resolve_cancel(origin->resolution);
    tls_session_free(origin->session);
    free(origin->host);
    free(origin->authority);
    free(origin);
}

/* A header that goes out as it stands; not one that speaks of the connection or of the body's form, which
 * libcurl knows to obey, and not what is none. */
static bool is_plain_header(const char *header)
{
    static const char *const special[] = {"Connection", "Content-Length",    "Expect", "Keep-Alive", "TE",
                                          "Trailer",    "Transfer-Encoding", "Upgrade"};
    size_t size = strcspn(header, ":");
    if (header[size] != ':' || !http_is_token(header, size) || strpbrk(header, "\r\n"))
        return false;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (strlen(special[i]) == size && strncasecmp(header, special[i], size) == 0)
            return false;
    return strncasecmp(header, "Proxy-", 6) != 0;
}

/* What stands for itself in a request's first line. */
static bool is_plain_text(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text >= 0x7f)
            return false;
    return true;
}

bool http_origin_takes(const struct http_origin *origin, const struct transport_request *request)
{
    if (!origin || (origin->tls && request->http2) || (origin->engine->proxied && !request->direct))
        return false;
    size_t hosts = 0;
    for (const char *const *header = request->headers; header && *header; header++) {
        hosts += strncasecmp(*header, "Host:", 5) == 0;
        if (hosts > 1 || !is_plain_header(*header))
            return false;
    }
    return is_plain_text(request->url) && strcmp(request->method, "CONNECT") != 0;
}
