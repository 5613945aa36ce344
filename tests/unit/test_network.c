/* test_network.c: the transport that goes out over the network, against a server on loopback that answers as
 * it is told: well, badly, late, in pieces, or not at all; the same over TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../fuzz/fuzz_http_response.c"
#include "net/engine_http.h"
#include "net/transport_network.h"

/* ---- the server ---- */

/* What is said to a request for a path. */
struct reply {
    const char *path, *text;
    enum {
        STAYS,
        CLOSES,
        RESETS,
        HOLDS,
        EARLY
    } then;               /* HOLDS: says nothing more; EARLY: does not read the body */
    int status;           /* expected; 0: an error, with ... */
    const char *expected; /* ... this in its text; else the body */
};

#define OK "HTTP/1.1 200 OK\r\n"
static const struct reply replies[] = {
    {"/length", OK "Content-Length: 5\r\n\r\nhello", STAYS, 200, "hello"},
    {"/empty", OK "content-length:0\r\n\r\n", STAYS, 200, ""},
    {"/same-lengths", OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", STAYS, 200, "hi"},
    {"/lines", "HTTP/1.1 404\nContent-Length: 2\n\nno", STAYS, 404, "no"},
    {"/chunks", OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
     STAYS, 200, "abc0123456789"},
    {"/trailers", OK "Transfer-Encoding: Chunked\r\n\r\n1 \r\nx\r\n0\r\nA: b\r\n\r\n", STAYS, 200, "x"},
    {"/both", OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", HOLDS, 200,
     "x"},
    {"/until-close", OK "\r\nall of it", CLOSES, 200, "all of it"},
    {"/says-close", OK "Connection: keep-alive, Close\r\nContent-Length: 1\r\n\r\nx", HOLDS, 200, "x"},
    {"/old", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", HOLDS, 200, "x"},
    {"/no-content", "HTTP/1.1 204 No Content\r\n\r\n", STAYS, 204, ""},
    {"/not-modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", STAYS, 304, ""},
    {"/interim",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\nx",
     STAYS, 200, "x"},
    {"/more", OK "Content-Length: 1\r\n\r\nxHTTP/1.1 500 no\r\n\r\n", HOLDS, 200, "x"},
    {"/silent", "", CLOSES, 0, "closed without an answer"},
    {"/reset", "", RESETS, 0, ""},
    {"/cut-head", "HTTP/1.1 200 OK\r\nContent-", CLOSES, 0, "within its answer's headers"},
    {"/cut-length", OK "Content-Length: 9\r\n\r\nhello", CLOSES, 0, "within its answer"},
    {"/cut-chunk", OK "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", CLOSES, 0, "within its answer"},
    {"/cut-chunks", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CLOSES, 0, "within its answer"},
    {"/lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", HOLDS, 0, "two lengths"},
    {"/negative", OK "Content-Length: -5\r\n\r\nhello", HOLDS, 0, "no number of bytes"},
    {"/list", OK "Content-Length: 5, 5\r\n\r\nhello", HOLDS, 0, "no number of bytes"},
    {"/huge", OK "Content-Length: 99999999999999999999\r\n\r\nhello", HOLDS, 0, "no number of bytes"},
    {"/gzip", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", HOLDS, 0, "Transfer-Encoding"},
    {"/chunk-size", OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", HOLDS, 0, "no size"},
    {"/chunk-long", OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", HOLDS, 0,
     "longer than it says"},
    {"/chunk-endless", OK "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", HOLDS, 0, "no size"},
    {"/folded", OK "A: b\r\n c: d\r\nContent-Length: 1\r\n\r\nx", STAYS, 200, "x"},
    {"/identity", OK "Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", STAYS, 200, "x"},
    {"/old-chunks", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", HOLDS, 200,
     "x"},
    {"/folded-first", OK " A: b\r\n\r\n", HOLDS, 0, "is none"},
    {"/folded-length", OK "Content-Length: 1\r\n 2\r\n\r\nhello", HOLDS, 0, "is none"},
    {"/space", OK "A : b\r\n\r\n", HOLDS, 0, "is none"},
    {"/no-colon", OK "hello\r\n\r\n", HOLDS, 0, "is none"},
    {"/switch", "HTTP/1.1 101 Switching Protocols\r\n\r\n", HOLDS, 0, "another protocol"},
    {"/ssh", "SSH-2.0-OpenSSH_9.2\r\n", HOLDS, 0, "HTTP/1.1"},
    {"/http2", "HTTP/2 200\r\n\r\n", HOLDS, 0, "HTTP/1.1"},
    {"/nul", "HTTP/1.1 2\1 200\r\n\r\n", HOLDS, 0, "HTTP/1.1"},
    {"/late", "", HOLDS, 0, "timed out: no answer came"},
    {"/late-body", OK "Content-Length: 5\r\n\r\nhel", HOLDS, 0, "timed out: the answer was not whole"},
    {"/early", "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", EARLY, 413, "no"},
    {"/stalls", OK "Content-Length: 900000\r\n\r\nhel", HOLDS, 0, "timed out: the answer was not whole"},
    {"/late-more", NULL, STAYS, 0, NULL}, /* says more once its answer has been taken */
    {"/early-well", OK "Content-Length: 2\r\n\r\nok", EARLY, 200, "ok"},
    {"/second-dies", NULL, STAYS, 0, NULL}, /* answers a connection's first request only */
    {"/large", NULL, STAYS, 200, NULL},
    {"/drips", NULL, STAYS, 0, NULL},   /* a byte now and then */
    {"/count", NULL, STAYS, 200, NULL}, /* the request's bytes */
};

#define ONE OK "Content-Length: 1\r\n\r\nx"
#define LARGE_BYTES (9u << 20)
#define ENDLESS_BYTES (64u << 20) /* more than all sockets on its way take in */
#define CONNECTIONS_MAX 200

struct server {
    int fd, port;
    SSL_CTX *tls;
    pthread_t threads[CONNECTIONS_MAX + 1];
    int fds[CONNECTIONS_MAX];
    atomic_int accepted, open, most, requests, resumed, ended, late, read;
    atomic_bool pieces;          /* a byte at a time */
    _Atomic int64_t *fence;      /* that passes when a request is swallowed; or NULL */
    atomic_bool stopping, reads; /* what EARLY leaves in the socket; and what was answered */
    pthread_mutex_t lock;
    char seen[4096]; /* the last request's head */
};

struct peer {
    struct server *server;
    int fd, number;
    SSL *ssl;
};

static bool put(struct peer *peer, const char *bytes, size_t size)
{
    size_t step = atomic_load(&peer->server->pieces) ? 1 : size;
    for (size_t at = 0; at < size; at += step)
        if (peer->ssl ? SSL_write(peer->ssl, bytes + at, (int)(size - at < step ? size - at : step)) <= 0
                      : send(peer->fd, bytes + at, size - at < step ? size - at : step, MSG_NOSIGNAL) <= 0)
            return false;
    return true;
}

static size_t get(struct peer *peer, char *bytes, size_t size)
{
    ssize_t got = peer->ssl ? SSL_read(peer->ssl, bytes, (int)size) : recv(peer->fd, bytes, size, 0);
    return got > 0 ? (size_t)got : 0;
}

/* The head of a request, and how much of its body came along; 0: the connection's end. */
static size_t get_head(struct peer *peer, char *head, size_t size, size_t *body)
{
    size_t have = 0;
    for (const char *end;;) {
        size_t got = get(peer, head + have, size - 1 - have);
        if (!got)
            return 0;
        have += got;
        head[have] = '\0';
        if ((end = strstr(head, "\r\n\r\n"))) {
            *body = have - (size_t)(end + 4 - head);
            return (size_t)(end + 4 - head);
        }
    }
}

static bool say(struct peer *peer, const struct reply *reply, size_t body, bool first)
{
    char text[128];
    if (reply->text)
        return put(peer, reply->text, strlen(reply->text));
    if (strcmp(reply->path, "/second-dies") == 0 && !first && peer->server->fence)
        atomic_store(peer->server->fence, 1);
    if (strcmp(reply->path, "/second-dies") == 0)
        return first && put(peer, ONE, sizeof ONE - 1);
    if (strcmp(reply->path, "/late-more") == 0) {
        bool all = put(peer, ONE, sizeof ONE - 1);
        while (!atomic_load(&peer->server->reads))
            poll(NULL, 0, 1);
        all = all && put(peer, ONE, sizeof ONE - 1);
        atomic_fetch_add(&peer->server->late, 1);
        return all;
    }
    if (strcmp(reply->path, "/count") == 0) {
        int size = snprintf(text, sizeof text, "%zu", body), all;
        char answer[256];
        all = snprintf(answer, sizeof answer, OK "Content-Length: %d\r\n\r\n%s", size, text);
        return put(peer, answer, (size_t)all);
    }
    if (strcmp(reply->path, "/drips") == 0) {
        bool all =
            put(peer, OK "Content-Length: 900000\r\n\r\n", strlen(OK "Content-Length: 900000\r\n\r\n"));
        while (all && !atomic_load(&peer->server->stopping)) {
            all = put(peer, "x", 1);
            poll(NULL, 0, 5);
        }
        return false;
    }
    char *large = mem_alloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        large[i] = (char)(i * 7 + i / 1000);
    int size = snprintf(text, sizeof text, OK "Content-Length: %u\r\n\r\n", LARGE_BYTES);
    bool all = put(peer, text, (size_t)size) && put(peer, large, LARGE_BYTES);
    free(large);
    return all;
}

/* One request and its answer. False: the connection is not needed any more. */
static bool serve_one(struct peer *peer, bool first)
{
    char head[sizeof peer->server->seen], skipped[65536];
    size_t body = 0;
    const struct reply *reply = NULL;
    if (!get_head(peer, head, sizeof head, &body))
        return false;
    const char *length = strstr(head, "Content-Length: "), *path = strchr(head, ' ') + 1;
    size_t wanted = length ? (size_t)atoll(length + 16) : 0, path_size = strcspn(path, " ?");
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        if (strlen(replies[i].path) == path_size && memcmp(replies[i].path, path, path_size) == 0)
            reply = &replies[i];
    if (!reply)
        return false;
    while (body < wanted && reply->then != EARLY) {
        size_t got = get(peer, skipped, sizeof skipped);
        if (!got)
            return false;
        body += got;
    }
    pthread_mutex_lock(&peer->server->lock);
    memcpy(peer->server->seen, head, sizeof head);
    pthread_mutex_unlock(&peer->server->lock);
    atomic_fetch_add(&peer->server->requests, 1);
    if (reply->status == 200 && reply->then == EARLY) { /* and goes on reading */
        bool said = say(peer, reply, body, first);
        for (size_t got = 1; said && got && body < wanted; body += got)
            got = get(peer, skipped, wanted - body < sizeof skipped ? wanted - body : sizeof skipped);
        atomic_store(&peer->server->read, (int)body);
        return said && body == wanted;
    }
    if (!say(peer, reply, body, first) || reply->then == CLOSES)
        return false;
    if (reply->then == RESETS)
        setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    while (reply->then == EARLY && !atomic_load(&peer->server->reads))
        poll(NULL, 0, 1);
    if (reply->then == HOLDS || reply->then == EARLY)
        while (get(peer, skipped, sizeof skipped))
            continue; /* until it is closed from there */
    return reply->then == STAYS;
}

static void *serve(void *user)
{
    struct peer *peer = user;
    struct server *server = peer->server;
    int open = atomic_fetch_add(&server->open, 1) + 1;
    if (open > atomic_load(&server->most))
        atomic_store(&server->most, open);
    bool there = true;
    if (server->tls) {
        peer->ssl = SSL_new(server->tls);
        SSL_set_fd(peer->ssl, peer->fd);
        there = SSL_accept(peer->ssl) == 1;
        atomic_fetch_add(&server->resumed, there && SSL_session_reused(peer->ssl));
    }
    for (bool first = true; there && serve_one(peer, first);)
        first = false;
    if (peer->ssl && there)
        SSL_shutdown(peer->ssl);
    SSL_free(peer->ssl);
    atomic_fetch_sub(&server->open, 1);
    pthread_mutex_lock(&server->lock);
    server->fds[peer->number] = -1;
    close(peer->fd);
    pthread_mutex_unlock(&server->lock);
    atomic_fetch_add(&server->ended, 1);
    free(peer);
    return NULL;
}

static void *take_in(void *user)
{
    struct server *server = user;
    for (int number = 0; number < CONNECTIONS_MAX; number++) {
        int fd = accept(server->fd, NULL, NULL), yes = 1;
        if (fd < 0 || atomic_load(&server->stopping)) {
            if (fd >= 0)
                close(fd);
            break;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct peer *peer = mem_zero(sizeof *peer);
        *peer = (struct peer){.server = server, .fd = fd, .number = number};
        pthread_mutex_lock(&server->lock);
        server->fds[number] = fd;
        pthread_mutex_unlock(&server->lock);
        atomic_fetch_add(&server->accepted, 1);
        pthread_create(&server->threads[number], NULL, serve, peer);
    }
    return NULL;
}

/* For "localhost" alone, signed by itself; written to `path` for who is to trust it. */
static SSL_CTX *make_certificate(const char *path)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    FILE *file = fopen(path, "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(tls, certificate);
    SSL_CTX_use_PrivateKey(tls, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return tls;
}

static void start_server(struct server *server, SSL_CTX *tls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    memset(server, 0, sizeof *server);
    server->tls = tls;
    pthread_mutex_init(&server->lock, NULL);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    getsockname(server->fd, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    pthread_create(&server->threads[CONNECTIONS_MAX], NULL, take_in, server);
}

static void stop_server(struct server *server)
{
    atomic_store(&server->stopping, true);
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->threads[CONNECTIONS_MAX], NULL);
    close(server->fd);
    int accepted = atomic_load(&server->accepted);
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < accepted; i++)
        if (server->fds[i] >= 0)
            shutdown(server->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < accepted; i++)
        pthread_join(server->threads[i], NULL);
    pthread_mutex_destroy(&server->lock);
}

/* ---- the client ---- */

struct fixture {
    struct clock clock;
    struct reactor *reactor;
    struct transport *transport;
    struct server server;
    bool tls;
};

/* A request and what became of it. */
struct asked {
    struct transport_request request;
    struct transport_call *call;
    char url[256];
    bool done;
    int status; /* 0: an error */
    struct err err;
    struct buf headers, body;
};

static char bundle[] = "/tmp/test_network.XXXXXX";
static SSL_CTX *certificate;

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct asked *asked = user;
    asked->done = true;
    if (err) {
        asked->err = *err;
        return;
    }
    asked->status = response->status;
    asked->headers = response->headers;
    asked->body = response->body;
    response->headers = response->body = BUF_INIT;
}

static void open_client(struct fixture *f, long connections, long abrupt_ms)
{
    f->clock = clock_system();
    f->reactor = reactor_new(&f->clock);
    f->transport = transport_network_new(
        f->reactor, &(struct transport_network_options){.connections = connections,
                                                        .abrupt_ms = abrupt_ms,
                                                        .ca_bundle = f->tls ? bundle : NULL});
}

static void set_up(struct fixture *f, bool tls)
{
    f->tls = tls;
    start_server(&f->server, tls ? certificate : NULL);
    open_client(f, 8, 0);
}

static void close_client(struct fixture *f)
{
    transport_free(f->transport);
    reactor_free(f->reactor);
}

static void tear_down(struct fixture *f)
{
    close_client(f);
    stop_server(&f->server);
}

static void ask(struct fixture *f, struct asked *asked, const char *path, struct transport_request request)
{
    memset(asked, 0, sizeof *asked);
    snprintf(asked->url, sizeof asked->url, "http%s://localhost:%d%s", f->tls ? "s" : "", f->server.port,
             path);
    request.url = asked->url;
    request.method = request.method ? request.method : "GET";
    request.timeout_ms = request.timeout_ms ? request.timeout_ms : 60000;
    asked->request = request;
    asked->call = transport_send(f->transport, &request, on_answer, asked);
    assert_false(asked->done);
}

static void forget(struct asked *asked)
{
    buf_fini(&asked->headers);
    buf_fini(&asked->body);
}

static int wait_for(struct fixture *f, struct asked *asked)
{
    reactor_turn_until(f->reactor, &asked->done);
    return asked->status;
}

/* One request, its status; what there is of a body is forgotten. */
static int ask_one(struct fixture *f, const char *path, struct transport_request request)
{
    struct asked asked;
    ask(f, &asked, path, request);
    if (!wait_for(f, &asked))
        print_error("%s: %s\n", path, asked.err.text);
    forget(&asked);
    return asked.status;
}

static void turn_until_at_least(struct fixture *f, atomic_int *number, int wanted)
{
    while (atomic_load(number) < wanted)
        reactor_turn(f->reactor, 2);
}

static bool is_kept(const struct reply *reply)
{
    return reply->then == STAYS && reply->status;
}

/* ---- tests ---- */

static void answers_of_every_kind(bool tls, bool pieces)
{
    struct fixture f;
    set_up(&f, tls);
    atomic_store(&f.server.pieces, pieces);
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        const struct reply *reply = &replies[i];
        struct asked asked;
        bool late = reply->expected && strstr(reply->expected, "timed out");
        int connections = atomic_load(&f.server.accepted);
        if (!reply->text || reply->then == EARLY || (pieces && strcmp(reply->path, "/more") == 0))
            continue;
        ask(&f, &asked, reply->path, (struct transport_request){.timeout_ms = late ? 300 : 60000});
        wait_for(&f, &asked);
        if (asked.status != reply->status)
            fail_msg("%s: %d, not %d (%s)", reply->path, asked.status, reply->status, asked.err.text);
        if (reply->status) {
            assert_int_equal(asked.body.size, strlen(reply->expected));
            assert_memory_equal(asked.body.data ? asked.body.data : "", reply->expected, asked.body.size);
        } else if (!tls || reply->then == HOLDS) { /* TLS has words of its own for an end without good-bye */
            if (!strstr(asked.err.text, reply->expected))
                fail_msg("%s: %s", reply->path, asked.err.text);
            assert_int_equal(asked.err.code, late ? ERR_TIMEOUT : ERR_NETWORK);
        }
        assert_int_equal(ask_one(&f, "/length", (struct transport_request){0}), 200);
        assert_true(atomic_load(&f.server.accepted) - connections <= 1 + !is_kept(reply));
        if (!is_kept(reply) && reply->then != STAYS)
            assert_true(atomic_load(&f.server.accepted) > connections || i == 0);
        forget(&asked);
    }
    tear_down(&f);
}

static void answers_are_read_by_the_grammar(void **state)
{
    (void)state;
    answers_of_every_kind(false, false);
}

static void in_pieces_they_are_the_same(void **state)
{
    (void)state;
    answers_of_every_kind(false, true);
}

static void over_tls_they_are_the_same(void **state)
{
    (void)state;
    answers_of_every_kind(true, false);
    answers_of_every_kind(true, true);
}

static void a_request_is_written_as_it_was_asked_for(void **state)
{
    struct fixture f;
    struct asked asked;
    const char *const headers[] = {"X-One: 1", "Empty:", "User-Agent: t", NULL};
    (void)state;
    set_up(&f, false);
    ask(&f, &asked, "/length?a=b#nobody",
        (struct transport_request){.method = "PUT", .headers = headers, .body = "12", .body_size = 2});
    assert_int_equal(wait_for(&f, &asked), 200);
    forget(&asked);
    char wanted[512];
    snprintf(
        wanted, sizeof wanted,
        "PUT /length?a=b HTTP/1.1\r\nHost: localhost:%d\r\nAccept: */*\r\nX-One: 1\r\nEmpty:\r\n"
        "User-Agent: t\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n12",
        f.server.port);
    assert_string_equal(f.server.seen, wanted);
    const char *const own[] = {"Host: other", "Accept: text/plain", NULL};
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){.method = "POST", .headers = own}),
                     200);
    assert_string_equal(
        f.server.seen,
        "POST /length HTTP/1.1\r\nHost: other\r\nAccept: text/plain\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){.method = "DELETE"}), 200);
    assert_null(strstr(f.server.seen, "Content-Length"));
    tear_down(&f);
}

/* What our own engine leaves to libcurl: the same headers, one without a value among them. */
static void what_is_unusual_is_written_by_libcurl(void **state)
{
    struct fixture f;
    const char *const headers[] = {"X-One: 1", "Empty:", "TE: trailers", "Blank: ", NULL};
    (void)state;
    set_up(&f, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            ask_one(&f, "/length", (struct transport_request){.method = "POST", .headers = headers}), 200);
    assert_non_null(strstr(f.server.seen, "\r\nX-One: 1\r\nEmpty:\r\nTE: trailers\r\nBlank:\r\n"));
    assert_non_null(strstr(f.server.seen, "\r\nContent-Length: 0\r\n"));
    assert_null(strstr(f.server.seen, "Expect"));
    tear_down(&f);
}

static void head_has_no_body(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f, false);
    for (int i = 0; i < 3; i++) {
        struct asked asked;
        ask(&f, &asked, "/empty", (struct transport_request){.method = "HEAD"});
        assert_int_equal(wait_for(&f, &asked), 200);
        assert_int_equal(asked.body.size, 0);
        forget(&asked);
    }
    assert_int_equal(atomic_load(&f.server.accepted), 1);
    tear_down(&f);
}

static void connections_are_kept(bool tls)
{
    struct fixture f;
    set_up(&f, tls);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_one(&f, i % 2 ? "/length" : "/chunks", (struct transport_request){0}), 200);
    assert_int_equal(atomic_load(&f.server.accepted), 1);
    for (int i = 0; i < 3; i++) /* both sides keep to what closes */
        assert_int_equal(ask_one(&f, "/says-close", (struct transport_request){0}), 200);
    turn_until_at_least(&f, &f.server.ended, 3);
    assert_int_equal(atomic_load(&f.server.accepted), 3);
    assert_int_equal(atomic_load(&f.server.resumed), tls ? 2 : 0);
    tear_down(&f);
}

static void a_kept_connection_carries_one_exchange_after_the_other(void **state)
{
    (void)state;
    connections_are_kept(false);
    connections_are_kept(true);
}

/* The server closes when the second request of a connection comes. */
static void what_a_dying_connection_swallowed_goes_again_only_where_it_may(void **state)
{
    struct fixture f;
    struct asked asked;
    (void)state;
    set_up(&f, false);
    assert_int_equal(ask_one(&f, "/second-dies", (struct transport_request){0}), 200);
    assert_int_equal(ask_one(&f, "/second-dies", (struct transport_request){.idempotent = true}), 200);
    assert_int_equal(atomic_load(&f.server.accepted), 2);
    assert_int_equal(atomic_load(&f.server.requests), 3); /* the swallowed one among them */
    ask(&f, &asked, "/second-dies",
        (struct transport_request){.method = "POST", .body = "x", .body_size = 1});
    assert_int_equal(wait_for(&f, &asked), 0);
    assert_non_null(strstr(asked.err.text, "not sent a second time"));
    assert_int_equal(atomic_load(&f.server.requests), 4);
    /* Nor is it said to have stayed here, where the fence forbids to send it again. */
    _Atomic int64_t fence;
    atomic_init(&fence, INT64_MAX);
    assert_int_equal(ask_one(&f, "/second-dies", (struct transport_request){0}), 200);
    f.server.fence = &fence;
    ask(&f, &asked, "/second-dies", (struct transport_request){.idempotent = true, .fence = &fence});
    assert_int_equal(wait_for(&f, &asked), 0);
    assert_non_null(strstr(asked.err.text, "may have been read"));
    tear_down(&f);
}

static void large_bodies_arrive_whole(bool tls)
{
    struct fixture f;
    struct asked asked;
    set_up(&f, tls);
    ask(&f, &asked, "/large", (struct transport_request){0});
    assert_int_equal(wait_for(&f, &asked), 200);
    assert_int_equal(asked.body.size, LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        if (asked.body.data[i] != (char)(i * 7 + i / 1000))
            fail_msg("byte %zu differs", i);
    forget(&asked);
    char *body = mem_zero(LARGE_BYTES);
    for (size_t size = 1; size <= LARGE_BYTES; size = size * 5 + 3) {
        ask(&f, &asked, "/count",
            (struct transport_request){.method = "POST", .body = body, .body_size = size});
        assert_int_equal(wait_for(&f, &asked), 200);
        assert_int_equal(atoll(asked.body.data), size);
        forget(&asked);
    }
    assert_int_equal(atomic_load(&f.server.accepted), 1);
    /* An answer that comes before all is sent: the rest is not sent, the connection not kept. */
    char *endless = mem_zero(ENDLESS_BYTES);
    ask(&f, &asked, "/early",
        (struct transport_request){.method = "POST", .body = endless, .body_size = ENDLESS_BYTES});
    assert_int_equal(wait_for(&f, &asked), 413);
    atomic_store(&f.server.reads, true);
    forget(&asked);
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){0}), 200);
    assert_int_equal(atomic_load(&f.server.accepted), 2);
    ask(&f, &asked, "/early-well",
        (struct transport_request){.method = "PUT", .body = body, .body_size = LARGE_BYTES});
    assert_int_equal(wait_for(&f, &asked), 200);
    forget(&asked);
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){0}), 200);
    assert_int_equal(atomic_load(&f.server.read), LARGE_BYTES);
    assert_int_equal(atomic_load(&f.server.accepted), 2);
    free(body);
    free(endless);
    tear_down(&f);
}

static void bodies_larger_than_a_socket_takes_go_both_ways(void **state)
{
    (void)state;
    large_bodies_arrive_whole(false);
    large_bodies_arrive_whole(true);
}

static void an_answer_has_a_bound(void **state)
{
    static const char *const paths[] = {"/large", "/chunks", "/until-close"};
    struct fixture f;
    struct asked asked;
    (void)state;
    set_up(&f, false);
    for (int i = 0; i < 3; i++) {
        ask(&f, &asked, paths[i], (struct transport_request){.response_max = 4});
        assert_int_equal(wait_for(&f, &asked), 0);
        assert_int_equal(asked.err.code, ERR_LIMIT);
        ask(&f, &asked, paths[i], (struct transport_request){.response_max = 4, .status_decides = true});
        assert_int_equal(wait_for(&f, &asked), 200);
        assert_int_equal(asked.body.size, 4);
        forget(&asked);
    }
    ask(&f, &asked, "/late-body", (struct transport_request){.timeout_ms = 300, .status_decides = true});
    assert_int_equal(wait_for(&f, &asked), 200);
    forget(&asked);
    ask(&f, &asked, "/cut-length", (struct transport_request){.status_decides = true});
    assert_int_equal(wait_for(&f, &asked), 200);
    forget(&asked);
    tear_down(&f);
}

/* More large answers at once than are received at once; some of them never go on. */
static void large_answers_take_turns(void **state)
{
    struct fixture f;
    struct asked asked[20], stalled[6];
    (void)state;
    set_up(&f, false);
    close_client(&f);
    open_client(&f, 40, 0);
    for (int i = 0; i < 6; i++)
        ask(&f, &stalled[i], "/stalls", (struct transport_request){0});
    turn_until_at_least(&f, &f.server.requests, 6);
    for (int i = 0; i < 20; i++)
        ask(&f, &asked[i], "/large", (struct transport_request){0});
    for (int i = 0; i < 20; i++) {
        assert_int_equal(wait_for(&f, &asked[i]), 200);
        assert_int_equal(asked[i].body.size, LARGE_BYTES);
        forget(&asked[i]);
    }
    for (int i = 0; i < 6; i++)
        assert_false(stalled[i].done);
    for (int i = 0; i < 3; i++)
        transport_cancel(f.transport, stalled[i].call);
    for (int i = 0; i < 8; i++)
        ask(&f, &asked[i], "/stalls", (struct transport_request){.timeout_ms = 300});
    for (int i = 0; i < 8; i++) {
        assert_int_equal(wait_for(&f, &asked[i]), 0);
        assert_int_equal(asked[i].err.code, ERR_TIMEOUT);
    }
    stop_server(&f.server);
    for (int i = 3; i < 6; i++) {
        assert_int_equal(wait_for(&f, &stalled[i]), 0);
        assert_int_equal(stalled[i].err.code, ERR_NETWORK);
    }
    close_client(&f);
}

struct busy {
    struct fixture *f;
    struct task task;
};

static void work_on(void *user)
{
    struct busy *busy = user;
    poll(NULL, 0, 2);
    task_defer(busy->f->reactor, &busy->task);
}

/* Their turn ends, though the thread has no time to spare and they say something all the while. */
static void who_drips_holds_nobody_back(void **state)
{
    struct fixture f;
    struct asked drips[3], asked[3];
    struct busy busy = {.f = &f};
    (void)state;
    set_up(&f, false);
    close_client(&f);
    open_client(&f, 40, 0);
    task_init(&busy.task, work_on, &busy);
    task_defer(f.reactor, &busy.task);
    for (int i = 0; i < 3; i++)
        ask(&f, &drips[i], "/drips", (struct transport_request){0});
    turn_until_at_least(&f, &f.server.requests, 3);
    for (int i = 0; i < 100; i++)
        reactor_turn(f.reactor, 2);
    for (int i = 0; i < 3; i++)
        ask(&f, &asked[i], "/large", (struct transport_request){0});
    for (int i = 0; i < 3; i++) {
        for (int turns = 0; turns < 10000 && !asked[i].done; turns++)
            reactor_turn(f.reactor, 2);
        assert_true(asked[i].done);
        assert_int_equal(asked[i].body.size, LARGE_BYTES);
        forget(&asked[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_false(drips[i].done);
        transport_cancel(f.transport, drips[i].call);
    }
    task_cancel(&busy.task);
    tear_down(&f);
}

static void calls_wait_in_a_line(void **state)
{
    struct fixture f;
    struct asked asked[30];
    (void)state;
    set_up(&f, false);
    close_client(&f);
    open_client(&f, 3, 0);
    for (int i = 0; i < 30; i++)
        ask(&f, &asked[i], "/length", (struct transport_request){0});
    for (int i = 0; i < 30; i++) {
        assert_int_equal(wait_for(&f, &asked[i]), 200);
        forget(&asked[i]);
    }
    assert_int_equal(atomic_load(&f.server.accepted), 3);
    assert_int_equal(atomic_load(&f.server.most), 3);
    tear_down(&f);
}

static void what_is_given_up_ends_its_connection(void **state)
{
    struct fixture f;
    struct asked asked[4];
    (void)state;
    set_up(&f, false);
    close_client(&f);
    open_client(&f, 3, 1000);
    ask(&f, &asked[0], "/late", (struct transport_request){0});
    turn_until_at_least(&f, &f.server.requests, 1);
    transport_cancel(f.transport, asked[0].call);
    turn_until_at_least(&f, &f.server.ended, 1);
    ask(&f, &asked[0], "/length", (struct transport_request){0}); /* before anything has left */
    transport_cancel(f.transport, asked[0].call);
    for (int i = 0; i < 4; i++) /* three are out, one waits, when all ends */
        ask(&f, &asked[i], "/late", (struct transport_request){0});
    turn_until_at_least(&f, &f.server.requests, 4);
    close_client(&f);
    while (atomic_load(&f.server.ended) < atomic_load(&f.server.accepted))
        sched_yield();
    for (int i = 0; i < 4; i++)
        assert_false(asked[i].done);
    stop_server(&f.server);
}

static void nothing_leaves_behind_the_fence(void **state)
{
    struct fixture f;
    _Atomic int64_t fence;
    (void)state;
    set_up(&f, false);
    for (int kept = 0; kept < 2; kept++) {
        struct asked asked;
        int before = atomic_load(&f.server.requests);
        atomic_init(&fence, clock_boot_ms(&f.clock) - 1);
        ask(&f, &asked, "/length", (struct transport_request){.fence = &fence});
        assert_int_equal(wait_for(&f, &asked), 0);
        assert_int_equal(asked.err.code, ERR_CANCELLED);
        assert_int_equal(atomic_load(&f.server.requests), before);
        atomic_store(&fence, clock_boot_ms(&f.clock) + 60000);
        assert_int_equal(ask_one(&f, "/length", (struct transport_request){.fence = &fence}), 200);
    }
    tear_down(&f);
}

static void without_a_server_it_says_so(void **state)
{
    struct fixture f;
    struct asked asked;
    (void)state;
    set_up(&f, false);
    stop_server(&f.server);
    ask(&f, &asked, "/length", (struct transport_request){0});
    assert_int_equal(wait_for(&f, &asked), 0);
    assert_int_equal(asked.err.code, ERR_NETWORK);
    assert_non_null(strstr(asked.err.text, "Connection refused"));
    close_client(&f);
}

static void who_is_not_trusted_hears_nothing(void **state)
{
    struct fixture f;
    struct asked asked;
    (void)state;
    set_up(&f, true);
    struct transport_request request = {.method = "GET", .timeout_ms = 60000};
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/length",
             f.server.port); /* the certificate has its name only */
    memset(&asked, 0, sizeof asked);
    request.url = url;
    transport_send(f.transport, &request, on_answer, &asked);
    assert_int_equal(wait_for(&f, &asked), 0);
    assert_non_null(strstr(asked.err.text, "target host name"));
    close_client(&f);
    f.tls = false; /* the system's authorities do not know it */
    open_client(&f, 8, 0);
    f.tls = true;
    ask(&f, &asked, "/length", (struct transport_request){0});
    assert_int_equal(wait_for(&f, &asked), 0);
    assert_non_null(strstr(asked.err.text, "certificate"));
    assert_int_equal(atomic_load(&f.server.requests), 0);
    tear_down(&f);
}

static int64_t ahead_ms; /* of the machine's clock */

static int64_t later_ms(struct clock *clock)
{
    static struct clock system;
    (void)clock;
    system = clock_system();
    return clock_monotonic_ms(&system) + ahead_ms;
}

/* Whom to trust is read anew each day. What was agreed on with who is not trusted any more is not gone on
 * with; a connection that was open then ends when it will. */
static void trust_does_not_outlive_a_day(void **state)
{
    struct fixture f;
    struct asked kept;
    char other[] = "/tmp/test_network.XXXXXX";
    (void)state;
    set_up(&f, true);
    f.clock.monotonic_ms = later_ms;
    f.clock.monotonic_us = NULL;
    close(mkstemp(other));
    SSL_CTX_free(make_certificate(other));
    assert_int_equal(ask_one(&f, "/says-close", (struct transport_request){0}), 200);
    assert_int_equal(ask_one(&f, "/says-close", (struct transport_request){0}), 200);
    assert_int_equal(atomic_load(&f.server.resumed), 1);
    ask(&f, &kept, "/late", (struct transport_request){.timeout_ms = 10 * 86400000ll});
    turn_until_at_least(&f, &f.server.requests, 3);
    char before[sizeof bundle + 4];
    snprintf(before, sizeof before, "%s.own", bundle);
    assert_int_equal(rename(bundle, before), 0);
    assert_int_equal(rename(other, bundle), 0);
    ahead_ms += 25 * 3600000ll;
    struct asked refused;
    ask(&f, &refused, "/length", (struct transport_request){0});
    assert_int_equal(wait_for(&f, &refused), 0);
    assert_non_null(strstr(refused.err.text, "certificate"));
    assert_false(kept.done);
    transport_cancel(f.transport, kept.call);
    assert_int_equal(rename(before, bundle), 0);
    ahead_ms += 25 * 3600000ll;
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){0}), 200);
    tear_down(&f);
    ahead_ms = 0;
}

/* No descriptor is no failure but a wait, and connections that idle make room. */
static void descriptors_that_are_used_up_are_waited_for(void **state)
{
    struct fixture f, other;
    struct asked asked;
    struct rlimit before, tight;
    int taken[64], count = 0;
    (void)state;
    set_up(&f, false);
    start_server(&other.server, NULL);
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){0}), 200); /* one idles */
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next; /* not one more; the server has what it needs for none, either */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (count < 64 && (taken[count] = dup(0)) >= 0)
        count++;
    int port = f.server.port;
    f.server.port = other.server.port;
    ask(&f, &asked, "/length", (struct transport_request){0});
    f.server.port = port;
    for (int i = 0; i < 100 && !asked.done; i++)
        reactor_turn(f.reactor, 2);
    setrlimit(RLIMIT_NOFILE, &before);
    while (count)
        close(taken[--count]);
    assert_int_equal(wait_for(&f, &asked), 200);
    forget(&asked);
    stop_server(&other.server);
    tear_down(&f);
}

static void only_what_is_plain_is_carried_by_our_own(void **state)
{
    struct clock clock = clock_system();
    struct reactor *reactor = reactor_new(&clock);
    struct engine *engine = engine_http_new(reactor, &(struct engine_http_options){.idle_max = 1});
    static const char *const plain[] = {
        "http://localhost/x", "https://a.b-c.example:8443/?q#f",           "http://127.0.0.1:8000",
        "http://[::1]:80/",   "https://dynamodb.eu-west-1.amazonaws.com/", "http://A_B/"};
    static const char *const odd[] = {"ftp://localhost/",        "http://user@localhost/",
                                      "http://0x7f.1/",          "http://localhost:0/",
                                      "http://localhost:99999/", "http://localhost:/",
                                      "http://ex%61mple/",       "http://[::1%25lo]/",
                                      "http://localhost./",      "http://",
                                      "HTTP://localhost/",       "http://b\xc3\xbc.example/",
                                      "http://2130706433/",      "http://127.1/",
                                      "http://[::1]x:1/",        "http://a:1:2/"};
    static const char *const usual[] = {"X: 1", "Teapot: 1", NULL};
    static const char *const special[] = {
        "Transfer-Encoding: chunked", "connection: close",      "Expect: 100-continue", "TE: x",
        "Content-Length: 1",          "Proxy-Authorization: x", "Upgrade: x",           "A: b\r\nC: d"};
    struct transport_request request = {.method = "GET", .url = "http://localhost/x", .headers = usual};
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct http_origin *origin = http_origin_new(engine, plain[i]);
        if (!origin)
            fail_msg("%s", plain[i]);
        http_origin_free(origin);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (http_origin_new(engine, odd[i]))
            fail_msg("%s", odd[i]);
    struct http_origin *origin = http_origin_new(engine, request.url);
    assert_true(http_origin_takes(origin, &request));
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        request.headers = (const char *const[]){special[i], NULL};
        assert_false(http_origin_takes(origin, &request));
    }
    request.headers = (const char *const[]){"Host: a", "host: b", NULL};
    assert_false(http_origin_takes(origin, &request));
    request.headers = NULL;
    request.url = "http://localhost/a b";
    assert_false(http_origin_takes(origin, &request));
    http_origin_free(origin);
    engine_free(engine);
    reactor_free(reactor);
}

/* A long answer's headers have an end. */
static void endless_headers_are_refused(void **state)
{
    struct buf text = BUF_INIT, headers = BUF_INIT, body = BUF_INIT;
    struct http_response response;
    size_t taken = 0;
    (void)state;
    buf_add_text(&text, OK);
    while (text.size < 2 * HTTP_HEAD_BYTES_MAX)
        buf_add_text(&text, "X: y\r\n");
    http_response_init(&response, false, &headers, &body, 10);
    assert_int_equal(http_response_read(&response, text.data, text.size, &taken), HTTP_BROKEN);
    buf_clear(&text);
    buf_add_text(&text, OK "X: ");
    while (text.size < 2 * HTTP_HEAD_BYTES_MAX)
        buf_add_text(&text, "yyyyyyyy");
    http_response_init(&response, false, &headers, &body, 10);
    assert_int_equal(http_response_read(&response, text.data, text.size, &taken), HTTP_BROKEN);
    buf_fini(&text);
    buf_fini(&headers);
    buf_fini(&body);
}

/* What frames a body is no part of the headers' bound. */
static void a_body_may_have_any_number_of_chunks(void **state)
{
    struct buf text = BUF_INIT, headers = BUF_INIT, body = BUF_INIT;
    struct http_response response;
    size_t taken = 0;
    (void)state;
    buf_add_text(&text, OK "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100000; i++)
        buf_add_text(&text, "1\r\nx\r\n");
    buf_add_text(&text, "0\r\n\r\n");
    http_response_init(&response, false, &headers, &body, 100000);
    assert_int_equal(http_response_read(&response, text.data, text.size, &taken), HTTP_COMPLETE);
    assert_int_equal(body.size, 100000);
    assert_int_equal(taken, text.size);
    buf_fini(&text);
    buf_fini(&headers);
    buf_fini(&body);
}

/* What a server sends behind an answer is no answer to what is asked next. */
static void bytes_that_nobody_asked_for_answer_nothing(bool tls)
{
    struct fixture f;
    struct asked more, next;
    set_up(&f, tls);
    close_client(&f);
    open_client(&f, 1, 0); /* the next waits in the line, and goes out at once */
    ask(&f, &more, "/more", (struct transport_request){.idempotent = true});
    ask(&f, &next, "/length", (struct transport_request){.idempotent = true});
    assert_int_equal(wait_for(&f, &more), 200);
    assert_int_equal(wait_for(&f, &next), 200);
    forget(&more);
    forget(&next);
    assert_int_equal(ask_one(&f, "/late-more", (struct transport_request){.idempotent = true}), 200);
    atomic_store(&f.server.reads, true);
    turn_until_at_least(&f, &f.server.late, 1);
    assert_int_equal(ask_one(&f, "/length", (struct transport_request){.idempotent = true}), 200);
    assert_int_equal(atomic_load(&f.server.accepted), 3);
    tear_down(&f);
}

static void an_answer_belongs_to_its_question(void **state)
{
    (void)state;
    bytes_that_nobody_asked_for_answer_nothing(false);
    bytes_that_nobody_asked_for_answer_nothing(true);
}

/* As the fuzzer asks, of every text above, whole and changed. */
static void pieces_make_the_same_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        size_t size = replies[i].text ? strlen(replies[i].text) : 0;
        char *text = mem_zero(size + 2);
        for (size_t at = 0; size && at <= size; at++)
            for (int change = 0; change < 3; change++) {
                memcpy(text + 1, replies[i].text, size);
                text[at] = (char)(change == 1 ? text[at] ^ 1 : change == 2 ? '\n' : text[at]);
                text[0] = at % 2 ? 'H' : ' ';
                LLVMFuzzerTestOneInput((const uint8_t *)text, size + 1);
            }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read_by_the_grammar),
        cmocka_unit_test(in_pieces_they_are_the_same),
        cmocka_unit_test(over_tls_they_are_the_same),
        cmocka_unit_test(a_request_is_written_as_it_was_asked_for),
        cmocka_unit_test(what_is_unusual_is_written_by_libcurl),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(a_kept_connection_carries_one_exchange_after_the_other),
        cmocka_unit_test(what_a_dying_connection_swallowed_goes_again_only_where_it_may),
        cmocka_unit_test(bodies_larger_than_a_socket_takes_go_both_ways),
        cmocka_unit_test(an_answer_has_a_bound),
        cmocka_unit_test(large_answers_take_turns),
        cmocka_unit_test(who_drips_holds_nobody_back),
        cmocka_unit_test(calls_wait_in_a_line),
        cmocka_unit_test(what_is_given_up_ends_its_connection),
        cmocka_unit_test(nothing_leaves_behind_the_fence),
        cmocka_unit_test(without_a_server_it_says_so),
        cmocka_unit_test(who_is_not_trusted_hears_nothing),
        cmocka_unit_test(trust_does_not_outlive_a_day),
        cmocka_unit_test(descriptors_that_are_used_up_are_waited_for),
        cmocka_unit_test(only_what_is_plain_is_carried_by_our_own),
        cmocka_unit_test(endless_headers_are_refused),
        cmocka_unit_test(a_body_may_have_any_number_of_chunks),
        cmocka_unit_test(an_answer_belongs_to_its_question),
        cmocka_unit_test(pieces_make_the_same_answer),
    };
    static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                          "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
    signal(SIGPIPE, SIG_IGN); /* the server's TLS */
    close(mkstemp(bundle));
    certificate = make_certificate(bundle);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_CTX_free(certificate);
    unlink(bundle);
    return failed;
}
