/* transport_redis.c: see transport_redis.h. hiredis reads what comes. */
#include "net/transport_redis.h"

#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/connection.h"
#include "net/fence.h"
#include "net/resp.h"

#define PORT 6379
#define CONNECT_MS 5000
#define REPLY_SLACK_BYTES (1u << 20) /* others' replies that came with it */

struct place {
    char *host, *path, *user, *password, *database;
    int port;
    bool tls;
};

struct transport_call {
    struct list link;
    struct redis *redis;
    struct server *server;
    struct transport_call *passed; /* on to the next transport; NULL: it is ours */
    const char *body;
    size_t body_size, response_max;
    size_t commands; /* whose replies have not come yet */
    size_t received; /* bytes of the server's, when it was sent */
    const _Atomic int64_t *fence;
    struct buf replies;
    bool sent, too_large;
    struct timer limit;
    transport_done_fn *done; /* NULL: nobody wants to know any more */
    void *user;
};

/* A connection. */
struct server {
    struct list link;
    struct redis *redis;
    char *url;
    bool retired;    /* it is silent: whoever comes gets another one */
    struct task end; /* of it, since what it was to send is not to be sent any more */
    struct connection *connection;
    redisReader *reader;
    struct list waiting, sent;
    size_t greetings; /* replies to AUTH and SELECT that have not come yet */
    size_t received;  /* bytes, all in all */
    size_t of_reply;  /* of the one that is coming */
    bool connected;
};

struct redis {
    struct transport transport;
    struct transport *next;
    struct reactor *reactor;
    struct map servers; /* URL -> struct server */
    struct list all;    /* of them, and those that are retired */
    char *ca_bundle;
};

/* ---- URLs ---- */

static void place_fini(struct place *place)
{
    free(place->host);
    free(place->path);
    free(place->user);
    mem_free_secret(place->password);
    free(place->database);
}

static char *part_of(CURLU *parts, CURLUPart which, unsigned flags)
{
    char *text = NULL, *own;
    if (curl_url_get(parts, which, &text, flags) != CURLUE_OK)
        return NULL;
    own = mem_string(text);
    curl_free(text);
    return own;
}

/* False and `err`; the place is to be freed in either case. */
static bool read_url(const char *url, struct place *place, struct err *err)
{
    static const char form[] =
        "redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// or unix:///PATH expected";
    *place = (struct place){.port = PORT, .tls = strncmp(url, "rediss://", 9) == 0};
    if (strncmp(url, "unix:///", 8) == 0) {
        place->path = mem_string(url + strlen("unix://"));
        return true;
    }
    CURLU *parts = curl_url();
    bool well = (place->tls || strncmp(url, "redis://", 8) == 0) &&
                curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    if (well) {
        char *port = part_of(parts, CURLUPART_PORT, 0),
             *path = part_of(parts, CURLUPART_PATH, CURLU_URLDECODE);
        place->host = part_of(parts, CURLUPART_HOST, 0);
        place->user = part_of(parts, CURLUPART_USER, CURLU_URLDECODE);
        place->password = part_of(parts, CURLUPART_PASSWORD, CURLU_URLDECODE);
        place->port = port ? atoi(port) : PORT;
        if (path && path[0] == '/' && path[1])
            place->database = mem_string(path + 1);
        free(port);
        free(path);
        size_t size = place->host ? strlen(place->host) : 0;
        if (size > 2 && place->host[0] == '[') { /* IPv6 */
            memmove(place->host, place->host + 1, size - 2);
            place->host[size - 2] = '\0';
        }
        const char *number = place->database;
        well = size && (!place->user || !*place->user || place->password) &&
               (!number || !number[strspn(number, "0123456789")]);
    }
    curl_url_cleanup(parts);
    return well || err_set(err, ERR_CONFIG, form);
}

bool redis_url_check(const char *url, struct err *err)
{
    struct place place;
    bool well = read_url(url, &place, err);
    place_fini(&place);
    return well;
}

char *redis_url_host(const char *url)
{
    struct place place;
    char *host = read_url(url, &place, &(struct err){0}) ? mem_string(place.host) : NULL;
    place_fini(&place);
    for (char *c = host; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    return host;
}

bool redis_command_fits(const char *name)
{
    static const char *const others[] = {
        "AUTH",         "HELLO",        "SELECT",  "QUIT",      "RESET",      "MULTI",      "EXEC",
        "DISCARD",      "WATCH",        "UNWATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE",
        "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "SYNC",      "PSYNC",      "CLIENT",     "BLPOP",
        "BRPOP",        "BRPOPLPUSH",   "BLMOVE",  "BLMPOP",    "BZPOPMIN",   "BZPOPMAX",   "BZMPOP",
        "WAIT",         "WAITAOF",      "ASKING",  "READONLY",  "REPLCONF",   "FAILOVER",   "READWRITE",
        "SHUTDOWN",     "DEBUG",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcasecmp(name, others[i]) == 0)
            return false;
    return true;
}

/* ---- what goes and comes ---- */

/* As the protocol writes it. */
static void write_reply(struct buf *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        buf_add_char(out, reply->type == REDIS_REPLY_ERROR ? '-' : '+');
        buf_add(out, reply->str, reply->len);
        buf_add_literal(out, "\r\n");
        break;
    case REDIS_REPLY_INTEGER:
        resp_add_integer(out, reply->integer);
        break;
    case REDIS_REPLY_STRING:
        resp_add_word(out, reply->str, reply->len);
        break;
    case REDIS_REPLY_ARRAY:
        resp_add_list(out, reply->elements);
        for (size_t i = 0; i < reply->elements; i++)
            write_reply(out, reply->element[i]);
        break;
    default:
        buf_add_literal(out, "$-1\r\n");
    }
}

/* How many commands there are: "*2\r\n$3\r\nGET\r\n..." of ours, so that it is well-formed. */
static size_t count_commands(const char *body, size_t size)
{
    size_t count = 0, bytes;
    for (struct resp resp = {body, body + size}; resp_has_more(&resp); count++)
        for (size_t words = resp_take_list(&resp); words > 0; words--)
            resp_take_word(&resp, &bytes);
    return count;
}

/* ---- calls ---- */

static void call_free(struct transport_call *call)
{
    list_remove(&call->link);
    timer_stop(call->redis->reactor, &call->limit);
    buf_fini(&call->replies);
#ifndef __clang_analyzer__ /* it does not see that no list has it any more */
    free(call);
#endif
}

static void call_end(struct transport_call *call, const struct err *err)
{
    transport_done_fn *done = call->done;
    void *user = call->user;
    struct transport_response response = {.status = 200, .body = call->replies};
    call->replies = BUF_INIT;
    call_free(call);
    if (done)
        done(user, err ? NULL : &response, err);
    buf_fini(&response.body);
}

/* The connection is no good any more; those that wait for it are told. Who is told may send again, which
 * makes another. */
static void server_end(struct server *server, const struct err *err)
{
    struct redis *redis = server->redis;
    struct list told;
    list_init(&told);
    if (!server->retired)
        map_remove(&redis->servers, server->url);
    list_remove(&server->link);
    task_cancel(&server->end);
    connection_close(server->connection);
    redisReaderFree(server->reader);
    for (struct list *link; (link = list_take_first(&server->sent));)
        list_append(&told, link);
    for (struct list *link; (link = list_take_first(&server->waiting));)
        list_append(&told, link);
    mem_free_secret(server->url);
    free(server);
    struct transport_call *call;
    list_each(call, &told, struct transport_call, link)
        call->server = NULL;
    for (struct list *link; (link = list_take_first(&told));)
        call_end(list_entry(link, struct transport_call, link), err);
}

static bool is_fenced(const struct transport_call *call)
{
    return call->fence && atomic_load(call->fence) <= clock_boot_ms(reactor_clock(call->redis->reactor));
}

static void send_call(struct server *server, struct transport_call *call)
{
    list_remove(&call->link);
    list_append(&server->sent, &call->link);
    call->sent = true;
    call->received = server->received;
    connection_send(server->connection, call->body, call->body_size);
    call->body = NULL;
}

static void send_waiting(struct server *server)
{
    struct transport_call *call;
    if (!server->connected || server->greetings)
        return;
    list_each(call, &server->waiting, struct transport_call, link)
        if (!is_fenced(call)) /* else who set it gives the call up */
            send_call(server, call);
}

static void on_connected(void *user)
{
    struct server *server = user;
    struct place place;
    struct buf out = BUF_INIT;
    server->connected = true;
    read_url(server->url, &place, &(struct err){0});
    if (place.password) {
        bool named = place.user && *place.user;
        resp_add_list(&out, named ? 3 : 2);
        resp_add_text(&out, "AUTH");
        if (named)
            resp_add_text(&out, place.user);
        resp_add_text(&out, place.password);
        server->greetings++;
    }
    if (place.database) {
        resp_add_list(&out, 2);
        resp_add_text(&out, "SELECT");
        resp_add_text(&out, place.database);
        server->greetings++;
    }
    if (out.size)
        connection_send(server->connection, out.data, out.size);
    buf_fini_secret(&out);
    place_fini(&place);
    send_waiting(server);
}

/* False: the server has ended. */
static bool take_greeting(struct server *server, const redisReply *reply)
{
    struct err err;
    server->greetings--;
    if (reply->type == REDIS_REPLY_ERROR) {
        /* Not the rest: a server that knows no AUTH repeats what it was given. */
        err_set(&err, ERR_SERVICE, "Redis has refused AUTH or SELECT: %.*s", (int)strcspn(reply->str, " "),
                reply->str);
        err.passes = PASSES_LATER;
        server_end(server, &err);
        return false;
    }
    send_waiting(server);
    return true;
}

/* Does anybody wait for it? */
static bool is_wanted(const struct server *server)
{
    struct transport_call *call;
    if (!list_empty(&server->waiting))
        return true;
    list_each(call, (struct list *)&server->sent, struct transport_call, link)
        if (call->done)
            return true;
    return false;
}

/* One that is retired has let the last of them go. */
static void end_unwanted(struct server *server)
{
    if (server->retired && !is_wanted(server))
        task_defer(server->redis->reactor, &server->end);
}

static bool take_reply(struct server *server, const redisReply *reply)
{
    struct err err;
    server->of_reply = 0;
    if (server->greetings)
        return take_greeting(server, reply);
    if (list_empty(&server->sent)) {
        err_set(&err, ERR_NETWORK, "Redis has sent what nobody asked for");
        server_end(server, &err);
        return false;
    }
    struct transport_call *call = list_entry(server->sent.next, struct transport_call, link);
    if (call->done && !call->too_large) {
        write_reply(&call->replies, reply);
        call->too_large = call->response_max && call->replies.size > call->response_max;
    }
    if (--call->commands)
        return true;
    err_set(&err, ERR_LIMIT, "the replies have more than %zu bytes", call->response_max);
    call_end(call, call->too_large ? &err : NULL);
    end_unwanted(server);
    return true; /* who was told has not ended it: a connection's end comes from the reactor */
}

/* Nobody would take it: it is not waited for. */
static bool is_too_large(const struct server *server)
{
    const struct transport_call *call =
        list_empty(&server->sent) ? NULL : list_entry(server->sent.next, struct transport_call, link);
    return call && call->response_max && server->of_reply > call->response_max + REPLY_SLACK_BYTES;
}

static void on_received(void *user, const char *bytes, size_t size)
{
    struct server *server = user;
    struct err err;
    void *reply = NULL;
    server->received += size;
    server->of_reply += size;
    redisReaderFeed(server->reader, bytes, size);
    while (redisReaderGetReply(server->reader, &reply) == REDIS_OK) {
        if (!reply && !is_too_large(server))
            return;
        if (!reply) {
            err_set(&err, ERR_LIMIT, "Redis sends a reply that is larger than the handler's memory");
            server_end(server, &err);
            return;
        }
        bool goes_on = take_reply(server, reply);
        freeReplyObject(reply);
        if (!goes_on)
            return;
    }
    err_set(&err, ERR_NETWORK, "Redis: %s", server->reader->errstr);
    server_end(server, &err);
}

static void on_ended(void *user, const struct err *err)
{
    struct err own = *err;
    err_prefix(&own, "Redis");
    server_end(user, &own);
}

static void on_doomed(void *user)
{
    struct err err;
    err_set(&err, ERR_NETWORK, "Redis: the connection was given up, with what had not left");
    server_end(user, &err);
}

static struct server *server_open(struct redis *redis, const char *url)
{
    static const struct connection_events events = {on_connected, on_received, on_ended};
    struct server *server = mem_zero(sizeof *server);
    struct place place;
    read_url(url, &place, &(struct err){0});
    server->redis = redis;
    server->url = mem_string(url);
    server->reader = redisReaderCreate();
    list_init(&server->waiting);
    list_init(&server->sent);
    list_append(&redis->all, &server->link);
    task_init(&server->end, on_doomed, server);
    server->connection = connection_open(redis->reactor,
                                         &(struct connection_options){.host = place.host,
                                                                      .path = place.path,
                                                                      .port = place.port,
                                                                      .tls = place.tls,
                                                                      .ca_bundle = redis->ca_bundle,
                                                                      .timeout_ms = CONNECT_MS},
                                         &events, server);
    place_fini(&place);
    map_set(&redis->servers, server->url, server);
    return server;
}

/* Nothing at all has come since it was sent, or connected: whoever comes gets another connection, and those
 * that wait here have their own limits. Else the reply may come late, and is left. */
static void on_limit(void *user)
{
    struct transport_call *call = user;
    struct server *server = call->server;
    transport_done_fn *done = call->done;
    void *owner = call->user;
    struct err err;
    bool silent = !server ? false : call->sent ? server->received == call->received : server->connected;
    err_set(&err, ERR_TIMEOUT, "Redis has not answered in time");
    if (silent && !server->retired) {
        server->retired = true;
        map_remove(&server->redis->servers, server->url);
    }
    if (call->sent)
        call->done = NULL;
    else
        call_free(call);
    if (server)
        end_unwanted(server);
    if (done)
        done(owner, NULL, &err);
}

/* ---- the transport ---- */

static bool is_ours(const char *url)
{
    return strncmp(url, "redis://", 8) == 0 || strncmp(url, "rediss://", 9) == 0 ||
           strncmp(url, "unix://", 7) == 0;
}

static void on_passed(void *user, struct transport_response *response, const struct err *err)
{
    struct transport_call *call = user;
    transport_done_fn *done = call->done;
    void *owner = call->user;
    free(call);
    done(owner, response, err);
}

static struct transport_call *redis_send(struct transport *transport, const struct transport_request *request,
                                         transport_done_fn *done, void *user)
{
    struct redis *redis = list_entry(transport, struct redis, transport);
    struct transport_call *call = mem_zero(sizeof *call);
    list_init(&call->link);
    call->redis = redis;
    call->done = done;
    call->user = user;
    if (!is_ours(request->url)) {
        call->passed = transport_send(redis->next, request, on_passed, call);
        return call;
    }
    struct server *server = map_get(&redis->servers, request->url);
    server = server ? server : server_open(redis, request->url);
    call->server = server;
    call->body = request->body;
    call->body_size = request->body_size;
    call->commands = count_commands(request->body, request->body_size);
    call->response_max = request->response_max;
    call->fence = request->fence;
    list_append(&server->waiting, &call->link);
    timer_init(&call->limit, on_limit, call);
    timer_set(redis->reactor, &call->limit, request->timeout_ms);
    if (server->connected && !server->greetings && !is_fenced(call)) /* else its end comes with the fence */
        send_call(server, call);
    return call;
}

static void redis_cancel(struct transport *transport, struct transport_call *call)
{
    struct redis *redis = list_entry(transport, struct redis, transport);
    if (call->passed) {
        transport_cancel(redis->next, call->passed);
        free(call);
    } else if (call->sent) {
        call->done = NULL; /* its replies come all the same ... */
        if (call->server && connection_is_behind(call->server->connection))
            task_defer(redis->reactor, &call->server->end); /* ... unless it may not have left */
        else if (call->server)
            end_unwanted(call->server);
    } else {
        call_free(call);
    }
}

static void redis_free(struct transport *transport)
{
    struct redis *redis = list_entry(transport, struct redis, transport);
    struct err err;
    err_set(&err, ERR_CANCELLED, "the connection is closed");
    for (struct list *link; (link = list_take_first(&redis->all));)
        server_end(list_entry(link, struct server, link), &err);
    map_fini(&redis->servers);
    transport_free(redis->next);
    free(redis->ca_bundle);
    free(redis);
}

struct transport *transport_redis_new(struct reactor *reactor, struct transport *next, const char *ca_bundle)
{
    static const struct transport_ops ops = {redis_send, redis_cancel, redis_free};
    struct redis *redis = mem_zero(sizeof *redis);
    *redis = (struct redis){.transport = {&ops}, .next = next, .reactor = reactor};
    list_init(&redis->all);
    redis->ca_bundle = mem_string(ca_bundle);
    return &redis->transport;
}
