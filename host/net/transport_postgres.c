/* transport_postgres.c: see transport_postgres.h. */
#include "net/transport_postgres.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/fence.h"
#include "net/resp.h"

#define CLIENTS_MAX 4 /* of a URL, in each thread */
#define CONNECT_S "5"
#define IDLE_MS 60000 /* then a connection is closed, or its transaction rolled back */
#define ROLLBACK_MS 10000
#define AGAIN_MS 1000
#define SYSTEM_CAS "/etc/ssl/certs/ca-certificates.crt"

enum what { ONCE, BEGIN, IN, END, RELEASE };

struct transport_call {
    struct list link; /* of the pool's waiting */
    struct postgres *postgres;
    struct pool *pool;
    struct client *client;         /* that runs it */
    struct transport_call *passed; /* on to the next transport; NULL: it is ours */
    enum what what;
    struct resp statements;
    size_t response_max;
    const _Atomic int64_t *fence;
    struct buf replies;
    struct buf head, rows; /* of the statement that is being answered */
    size_t row_count;
    bool failed, too_large;
    struct timer limit;
    struct task soon; /* it ends with `err`, or well */
    struct err err;
    transport_done_fn *done; /* NULL: nobody wants to know any more */
    void *user;
};

/* A connection. */
struct client {
    struct list link;
    struct pool *pool;
    struct dial *dial; /* NULL: it is connected */
    PGconn *conn;
    struct watch *watch;
    short watched;
    struct transport_call *call; /* NULL: it is idle */
    uint64_t number;             /* of its transaction; 0: there is none */
    bool released;               /* nobody goes on with it */
    bool spoilt;                 /* a statement has changed the session */
    struct timer idle;
};

struct pool {
    struct postgres *postgres;
    char *url;
    struct list clients, waiting;
    size_t client_count;
    struct task serve;
    struct timer again; /* set: the server took no more connections a while ago */
};

struct postgres {
    struct transport transport;
    struct transport *next;
    struct reactor *reactor;
    struct map pools; /* URL -> struct pool */
    uint64_t transactions;
    char *ca_bundle;
};

/* ---- URLs ---- */

static const char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

/* Those that say where, who and how safely; none that reads a file of passwords or services. */
static bool is_allowed(const char *keyword)
{
    static const char *const allowed[] = {
        "host",
        "hostaddr",
        "port",
        "user",
        "password",
        "dbname",
        "sslmode",

        "sslrootcert",
        "options",
        "application_name",

        "target_session_attrs",
        "channel_binding",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    };
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (strcmp(allowed[i], keyword) == 0)
            return true;
    return false;
}

static bool is_ours(const char *url)
{
    return strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
}

/* Hosts or addresses with commas between them: none is empty, since that would be a socket here, and none has
 * what belongs to a password that was not percent-encoded. */
static bool is_list(const char *text)
{
    for (; text; text = *text ? text + 1 : NULL) {
        size_t size = strcspn(text, ",");
        if (!size || memchr(text, '@', size))
            return false;
        text += size;
    }
    return true;
}

static bool is_ports(const char *text)
{
    return !text || !text[strspn(text, "0123456789,")];
}

/* NULL and `err`; else to be freed with PQconninfoFree. */
static PQconninfoOption *read_url(const char *url, struct err *err)
{
    char *complaint = NULL;
    PQconninfoOption *options = is_ours(url) ? PQconninfoParse(url, &complaint) : NULL;
    bool odd = complaint && strncmp(complaint, "invalid URI query parameter", 27) == 0;
    err_set(err, ERR_CONFIG, "%.*s", (int)strcspn(complaint ? complaint : "", "\n"),
            complaint ? complaint : "");
    PQfreemem(complaint); /* any other one quotes values */
    if (odd)
        return NULL;
    if (!options || !option_of(options, "host") || !is_list(option_of(options, "host")) ||
        !is_list(option_of(options, "hostaddr")) || !is_ports(option_of(options, "port"))) {
        PQconninfoFree(options);
        err_set(
            err, ERR_CONFIG,
            "postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?OPTION=VALUE...] expected, with @ : / in a "
            "password written as %%40 %%3A %%2F");
        return NULL;
    }
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val || is_allowed(option->keyword))
            continue;
        err_set(err, ERR_CONFIG, "%s is none of the options that a URL may have here", option->keyword);
        PQconninfoFree(options);
        return NULL;
    }
    return options;
}

bool postgres_url_check(const char *url, struct err *err)
{
    PQconninfoOption *options = read_url(url, err);
    PQconninfoFree(options);
    return options;
}

/* Where it connects to: an address decides, where one is given. */
static char *hosts_of(const PQconninfoOption *options)
{
    const char *address = option_of(options, "hostaddr"), *host = option_of(options, "host");
    char *hosts = address ? mem_printf("%s,%s", host, address) : mem_string(host);
    for (char *c = hosts; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    return hosts;
}

char *postgres_url_hosts(const char *url)
{
    struct err err;
    PQconninfoOption *options = read_url(url, &err);
    char *hosts = options ? hosts_of(options) : NULL;
    PQconninfoFree(options);
    return hosts;
}

static bool is_near(const char *host)
{
    struct in_addr v4;
    return *host == '/' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && inet_pton(AF_INET, host, &v4) == 1);
}

/* Nothing leaves this machine unless the other side is known, but for those who say otherwise. */
static bool stays_here(const PQconninfoOption *options)
{
    char *hosts = hosts_of(options), *rest = NULL;
    bool near = true;
    for (char *host = strtok_r(hosts, ",", &rest); host; host = strtok_r(NULL, ",", &rest))
        near = near && is_near(host);
    free(hosts);
    return near;
}

/* ---- connecting, on a thread of its own: names, handshakes ---- */

struct dial {
    atomic_int references;
    struct reactor *reactor;
    struct client *client; /* on the reactor alone; NULL: it has gone */
    char *url, *sslmode, *sslrootcert;
    PGconn *conn;
    pthread_mutex_t lock; /* of what follows: the reactor may go before a name is found */
    bool abandoned;
};

static void dial_release(void *user)
{
    struct dial *dial = user;
#ifdef __clang_analyzer__ /* it does not count */
    return;
#endif
    if (atomic_fetch_sub(&dial->references, 1) != 1)
        return;
    PQfinish(dial->conn);
    pthread_mutex_destroy(&dial->lock);
    mem_free_secret(dial->url);
    free(dial->sslmode);
    free(dial->sslrootcert);
    free(dial);
}

static void ignore_notice(void *user, const PGresult *result)
{
    (void)user;
    (void)result;
}

static void on_dialled(void *user);

static void *dial_it(void *user)
{
    struct dial *dial = user;
    /* Before the URL what it may say otherwise, behind it what it may not. */
    const char *names[] = {"application_name", "sslmode",         "sslrootcert",     "dbname",
                           "gssencmode",       "client_encoding", "connect_timeout", NULL},
               *values[] = {"tidemill", dial->sslmode, dial->sslrootcert, dial->url,
                            "disable",  "UTF8",        CONNECT_S,         NULL};
    dial->conn = PQconnectdbParams(names, values, 1);
    if (PQstatus(dial->conn) ==
        CONNECTION_OK) /* what is read of its texts, whatever the database is set to */
        PQclear(PQexec(dial->conn, "SET bytea_output TO hex; SET datestyle TO ISO"));
    pthread_mutex_lock(&dial->lock);
    if (!dial->abandoned) {
        atomic_fetch_add(&dial->references, 1); /* ours is needed until the lock is left */
        reactor_post_owned(dial->reactor, on_dialled, dial_release, dial);
    }
    pthread_mutex_unlock(&dial->lock);
    dial_release(dial);
    return NULL;
}

/* NULL: this machine has no thread to give. */
static struct dial *dial_start(struct client *client, const char *url, const char *ca_bundle)
{
    struct dial *dial = mem_zero(sizeof *dial);
    struct reactor *reactor = client->pool->postgres->reactor;
    struct err err;
    pthread_t thread;
    PQconninfoOption *options = read_url(url, &err);
    const char *said = options ? option_of(options, "sslmode") : NULL;
    dial->sslmode = mem_string(said ? said : options && stays_here(options) ? "prefer" : "verify-full");
    if (strncmp(dial->sslmode, "verify", 6) == 0) /* else libpq would verify where nobody asked for it */
        dial->sslrootcert = mem_string(ca_bundle ? ca_bundle : SYSTEM_CAS);
    PQconninfoFree(options);
    atomic_init(&dial->references, 2);
    pthread_mutex_init(&dial->lock, NULL);
    dial->reactor = reactor;
    dial->client = client;
    dial->url = mem_string(url);
    if (pthread_create(&thread, NULL, dial_it, dial) == 0) {
        reactor_join_later(reactor, thread);
        return dial;
    }
    dial_release(dial);
    dial_release(dial);
    return NULL;
}

static void dial_abandon(struct dial *dial)
{
    if (!dial)
        return;
    dial->client = NULL;
    pthread_mutex_lock(&dial->lock);
    dial->abandoned = true;
    pthread_mutex_unlock(&dial->lock);
    dial_release(dial);
}

/* ---- calls ---- */

static void call_free(struct transport_call *call)
{
    list_remove(&call->link);
    timer_stop(call->postgres->reactor, &call->limit);
    task_cancel(&call->soon);
    buf_fini(&call->replies);
    buf_fini(&call->head);
    buf_fini(&call->rows);
#ifndef __clang_analyzer__ /* it does not see that nobody has it any more */
    free(call);
#endif
}

static void call_end(struct transport_call *call, const struct err *failed)
{
    transport_done_fn *done = call->done;
    void *user = call->user;
    struct transport_response response = {.status = 200, .body = call->replies};
    struct err err = {0};
    if (failed)
        err = *failed;
    call->replies = BUF_INIT;
    call_free(call);
    if (done)
        done(user, failed ? NULL : &response, failed ? &err : NULL);
    buf_fini(&response.body);
}

static void on_soon(void *user)
{
    struct transport_call *call = user;
    call_end(call, call->err.code == ERR_NONE ? NULL : &call->err);
}

static void end_soon(struct transport_call *call)
{
    task_defer(call->postgres->reactor, &call->soon);
}

static bool is_fenced(const struct transport_call *call)
{
    return call->fence && atomic_load(call->fence) <= clock_boot_ms(reactor_clock(call->postgres->reactor));
}

/* ---- connections ---- */

static void serve_soon(struct pool *pool)
{
    if (!list_empty(&pool->waiting))
        task_defer(pool->postgres->reactor, &pool->serve);
}

/* What it ran is told `err`, last: who is told may send again. */
static void client_end(struct client *client, const struct err *err)
{
    struct pool *pool = client->pool;
    struct transport_call *call = client->call;
    struct err own = *err;
    list_remove(&client->link);
    pool->client_count--;
    dial_abandon(client->dial);
    watch_free(client->watch);
    timer_stop(pool->postgres->reactor, &client->idle);
    PQfinish(client->conn);
    free(client);
    serve_soon(pool);
    if (call)
        call_end(call, &own);
}

static void set_err(struct err *err, const char *text)
{
    char line[400];
    size_t size = 0;
    for (; *text && size + 1 < sizeof line; text++)
        line[size++] = *text == '\n' || *text == '\t' ? ' ' : *text;
    while (size && line[size - 1] == ' ')
        size--;
    line[size] = '\0';
    err_set(err, ERR_NETWORK, "%s", *line ? line : "the connection broke");
}

static void client_end_with(struct client *client, const char *text)
{
    struct err err;
    set_err(&err, text);
    client_end(client, &err);
}

static void client_broke(struct client *client)
{
    client_end_with(client, PQerrorMessage(client->conn));
}

static void client_close(struct client *client)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the connection is closed");
    client_end(client, &err);
}

static void *cancel_it(void *user)
{
    char text[256];
    PQcancel(user, text, sizeof text); /* it connects, and waits for that */
    PQfreeCancel(user);
    return NULL;
}

/* Nobody waits for what it runs: the server is told, and goes on without. */
static void client_cancel(struct client *client, const struct err *err)
{
    PGcancel *cancel = client->call && client->conn ? PQgetCancel(client->conn) : NULL;
    pthread_t thread;
    if (cancel && pthread_create(&thread, NULL, cancel_it, cancel) == 0)
        pthread_detach(thread); /* it may take as long as the network does, and has nothing of ours */
    else
        PQfreeCancel(cancel);
    client_end(client, err);
}

static void on_ready(void *user);

/* False: the connection broke. */
static bool client_flush(struct client *client)
{
    int left = PQflush(client->conn);
    short wanted = (short)(POLLIN | (left ? POLLOUT : 0));
    if (left < 0 || PQstatus(client->conn) != CONNECTION_OK)
        return false;
    if (client->watch && wanted == client->watched)
        return true;
    watch_free(client->watch);
    client->watched = wanted;
    client->watch =
        reactor_watch(client->pool->postgres->reactor, PQsocket(client->conn), wanted, on_ready, client);
    return true;
}

/* The texts of a list end with a byte 0, which libpq wants. */
static char *take_text(struct resp *resp)
{
    size_t size;
    const char *word = resp_take_word(resp, &size);
    char *text = word ? mem_alloc(size + 1) : NULL;
    if (!text)
        return NULL;
    memcpy(text, word, size);
    text[size] = '\0';
    return text;
}

static bool has_word(const char *sql, const char *word)
{
    for (const char *at = sql; (at = strcasestr(at, word)); at++)
        if ((at == sql || isspace((unsigned char)at[-1])) && isspace((unsigned char)at[strlen(word)]))
            return true;
    return false;
}

/* Tables, locks and settings that would stay with a connection that others have after it: it is closed
 * instead. What SET and the like do, their tags say. */
static bool leaves_traces(const char *sql)
{
    return strcasestr(sql, "set_config") || strcasestr(sql, "advisory_lock") || has_word(sql, "temp") ||
           has_word(sql, "temporary");
}

static bool send_statement(struct client *client, struct resp *statements)
{
    PGconn *conn = client->conn;
    size_t count = resp_take_list(statements) - 1;
    char *sql = take_text(statements), **values = mem_zero((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = take_text(statements);
    bool sent =
        PQsendQueryParams(conn, sql, (int)count, NULL, (const char *const *)values, NULL, NULL, 0) == 1;
    for (size_t i = 0; i < count; i++)
        free(values[i]);
    free(values);
    client->spoilt = client->spoilt || leaves_traces(sql);
    free(sql);
    return sent;
}

/* False: the connection broke; the call is the client's in either case. */
static bool client_run(struct client *client, struct transport_call *call)
{
    struct resp statements = call->statements;
    list_remove(&call->link);
    call->client = client;
    client->call = call;
    timer_stop(client->pool->postgres->reactor, &client->idle);
    while (resp_has_more(&statements))
        if (!send_statement(client, &statements))
            return false;
    call->statements = (struct resp){0}; /* whose they are may go */
    if (!PQpipelineSync(client->conn))
        return false;
    PQsetSingleRowMode(client->conn); /* so that rows without end do not pile up */
    return client_flush(client);
}

static void on_limit(void *user);

static struct transport_call *call_new(struct postgres *postgres, struct pool *pool, enum what what)
{
    struct transport_call *call = mem_zero(sizeof *call);
    list_init(&call->link);
    call->postgres = postgres;
    call->pool = pool;
    call->what = what;
    timer_init(&call->limit, on_limit, call);
    task_init(&call->soon, on_soon, call);
    return call;
}

static void roll_back(struct client *client)
{
    static const char rollback[] = "*1\r\n$8\r\nROLLBACK\r\n";
    struct transport_call *call = call_new(client->pool->postgres, client->pool, END);
    call->statements = (struct resp){rollback, rollback + sizeof rollback - 1};
    timer_set(client->pool->postgres->reactor, &call->limit, ROLLBACK_MS);
    client->released = true;
    if (!client_run(client, call))
        client_broke(client);
}

static void on_idle(void *user)
{
    struct client *client = user;
    if (client->call) /* it could not be sent */
        client_broke(client);
    else if (client->number)
        roll_back(client);
    else
        client_close(client);
}

/* It has nothing to do, or its transaction has not. */
static void client_rest(struct client *client)
{
    if (client->number && client->released) {
        roll_back(client);
    } else if (!client->number && client->spoilt) {
        client_close(client);
    } else {
        timer_set(client->pool->postgres->reactor, &client->idle, IDLE_MS);
        serve_soon(client->pool);
    }
}

/* ---- results ---- */

static void end_statement(struct transport_call *call, const char *count, const char *tag)
{
    resp_add_list(&call->replies, 4 + call->row_count);
    resp_add_integer(&call->replies, count && *count ? atoll(count) : (long long)call->row_count);
    resp_add_text(&call->replies, tag ? tag : "");
    if (!call->head.size) {
        resp_add_list(&call->head, 0);
        resp_add_list(&call->head, 0);
    }
    buf_add(&call->replies, call->head.data, call->head.size);
    buf_add(&call->replies, call->rows.data, call->rows.size);
    buf_fini(&call->head);
    buf_fini(&call->rows);
    call->head = call->rows = BUF_INIT;
    call->row_count = 0;
}

static void add_head(struct transport_call *call, const PGresult *result)
{
    int count = PQnfields(result);
    resp_add_list(&call->head, (size_t)count);
    for (int i = 0; i < count; i++)
        resp_add_text(&call->head, PQfname(result, i));
    resp_add_list(&call->head, (size_t)count);
    for (int i = 0; i < count; i++)
        resp_add_integer(&call->head, (int64_t)PQftype(result, i));
}

static void add_rows(struct transport_call *call, const PGresult *result)
{
    if (!call->done || call->too_large)
        return;
    if (!call->head.size)
        add_head(call, result);
    for (int row = 0; row < PQntuples(result); row++, call->row_count++) {
        resp_add_list(&call->rows, (size_t)PQnfields(result));
        for (int i = 0; i < PQnfields(result); i++)
            if (PQgetisnull(result, row, i))
                resp_add_text(&call->rows, NULL);
            else
                resp_add_word(&call->rows, PQgetvalue(result, row, i), (size_t)PQgetlength(result, row, i));
    }
    call->too_large = call->response_max && call->replies.size + call->rows.size > call->response_max;
}

static void add_error(struct transport_call *call, const char *const *fields)
{
    size_t count = 0;
    while (fields[count])
        count++;
    call->failed = true;
    call->row_count = 0;
    resp_add_list(&call->replies, 1 + count);
    resp_add_text(&call->replies, "error");
    for (size_t i = 0; i < count; i++)
        resp_add_text(&call->replies, fields[i]);
}

static void add_refusal(struct transport_call *call, const PGresult *result)
{
    static const struct {
        const char *name;
        int code;
    } known[] = {{"code", PG_DIAG_SQLSTATE},
                 {"message", PG_DIAG_MESSAGE_PRIMARY},
                 {"detail", PG_DIAG_MESSAGE_DETAIL},
                 {"hint", PG_DIAG_MESSAGE_HINT},
                 {"constraint", PG_DIAG_CONSTRAINT_NAME},
                 {"schema", PG_DIAG_SCHEMA_NAME},
                 {"table", PG_DIAG_TABLE_NAME},
                 {"column", PG_DIAG_COLUMN_NAME},
                 {"position", PG_DIAG_STATEMENT_POSITION}};
    const char *fields[2 * sizeof known / sizeof *known + 1];
    size_t count = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *value = PQresultErrorField(result, known[i].code);
        if (!value)
            continue;
        fields[count++] = known[i].name;
        fields[count++] = value;
    }
    fields[count] = NULL;
    add_error(call, count ? fields : (const char *const[]){"message", PQresultErrorMessage(result), NULL});
}

/* Of a connection that others have after it. What begins a transaction shows by its state. */
static bool changes_session(const char *tag)
{
    static const char *const tags[] = {"SET", "LISTEN", "PREPARE", "DECLARE CURSOR", "LOAD"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (strcmp(tag, tags[i]) == 0)
            return true;
    return false;
}

static void add_result(struct client *client, struct transport_call *call, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        add_rows(call, result);
        break;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        add_rows(call, result);
        client->spoilt = client->spoilt || changes_session(PQcmdStatus(result));
        end_statement(call, PQcmdTuples(result), PQcmdStatus(result));
        break;
    case PGRES_PIPELINE_ABORTED: /* one before it has failed */
        break;
    default:
        if (!call->failed)
            add_refusal(call, result);
    }
}

static void add_complaint(struct transport_call *call, const char *text)
{
    if (!call->failed)
        add_error(call, (const char *const[]){"code", "Transaction", "message", text, NULL});
}

static void take_number(struct client *client, struct transport_call *call)
{
    struct buf replies = call->replies;
    char number[24];
    client->number = ++client->pool->postgres->transactions;
    snprintf(number, sizeof number, "%llu", (unsigned long long)client->number);
    call->replies = BUF_INIT;
    resp_add_text(&call->replies, number);
    buf_add(&call->replies, replies.data, replies.size);
    buf_fini(&replies);
}

/* All has been answered. */
static void client_done(struct client *client)
{
    struct transport_call *call = client->call;
    bool open = PQtransactionStatus(client->conn) != PQTRANS_IDLE,
         own = call->what != ONCE && call->what != END;
    client->call = NULL;
    call->client = NULL;
    if (own && !open)
        add_complaint(call, "a statement has ended the transaction: what came before it may be done");
    else if (!own && open)
        add_complaint(call,
                      "a transaction was left open, and is rolled back: postgres.transaction is for those");
    if (call->what == BEGIN && open && !call->failed && call->done) {
        take_number(client, call);
    } else if (call->what != IN || !open) {
        client->number = 0;
        client->released = false;
    }
    if (open && call->what == END)
        client_close(client);
    else if (open && !client->number)
        roll_back(client);
    else
        client_rest(client);
    call_end(call, NULL);
}

static void take_results(struct client *client)
{
    size_t ends = 0; /* in a row; each statement has one */
    struct err err;
    while (client->call && !PQisBusy(client->conn)) {
        PGresult *result = PQgetResult(client->conn);
        ExecStatusType status = PQresultStatus(result);
        bool copies = status == PGRES_COPY_IN || status == PGRES_COPY_OUT;
        if (PQstatus(client->conn) != CONNECTION_OK || copies || ++ends > 2) {
            PQclear(result);
            client_end_with(client,
                            copies ? "COPY is not for handlers: INSERT of many rows, or unnest of arrays, is"
                                   : PQerrorMessage(client->conn));
            return;
        }
        if (!result) {
            PQsetSingleRowMode(client->conn);
            continue;
        }
        ends = 0;
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            client_done(client); /* who is told may end nothing here: what is sent goes its way later */
            return;
        }
        add_result(client, client->call, result);
        PQclear(result);
        if (client->call->too_large) { /* more rows may come for ever */
            err_set(&err, ERR_LIMIT, "the rows have more than %zu bytes", client->call->response_max);
            client_cancel(client, &err);
            return;
        }
    }
}

static void on_ready(void *user)
{
    struct client *client = user;
    if (!PQconsumeInput(client->conn) || !client_flush(client)) {
        client_broke(client);
        return;
    }
    for (PGnotify *notify; (notify = PQnotifies(client->conn));)
        PQfreemem(notify);
    take_results(client);
}

/* Of a connection that could not be made. Those that are there may serve all that wait. */
static void tell_waiting(struct pool *pool, const struct err *err)
{
    struct list told;
    list_init(&told);
    if (pool->client_count)
        timer_set(pool->postgres->reactor, &pool->again, AGAIN_MS);
    while (!pool->client_count && !list_empty(&pool->waiting))
        list_append(&told, list_take_first(&pool->waiting));
    for (struct list *link; (link = list_take_first(&told));)
        call_end(list_entry(link, struct transport_call, link), err);
}

static void on_dialled(void *user)
{
    struct dial *dial = user;
    struct client *client = dial->client;
    struct err err;
    if (client) {
        struct pool *pool = client->pool;
        client->dial = NULL;
        client->conn = dial->conn;
        dial->conn = NULL;
        dial_release(dial);
        if (PQstatus(client->conn) == CONNECTION_OK) {
            PQsetNoticeReceiver(client->conn, ignore_notice, NULL);
            PQsetnonblocking(client->conn, 1);
            PQenterPipelineMode(client->conn);
        }
        if (PQstatus(client->conn) == CONNECTION_OK && client_flush(client)) {
            client_rest(client);
        } else {
            set_err(&err, PQerrorMessage(client->conn));
            client_end(client, &err);
            tell_waiting(pool, &err);
        }
    }
    dial_release(dial);
}

static void add_client(struct pool *pool)
{
    struct postgres *postgres = pool->postgres;
    struct client *client = mem_zero(sizeof *client);
    struct err err;
    client->pool = pool;
    timer_init(&client->idle, on_idle, client);
    list_append(&pool->clients, &client->link);
    pool->client_count++;
    client->dial = dial_start(client, pool->url, postgres->ca_bundle);
    if (client->dial)
        return;
    err_set(&err, ERR_RESOURCES, "this machine has no thread to give");
    client_end(client, &err);
    tell_waiting(pool, &err);
}

static struct client *idle_client(struct pool *pool)
{
    struct client *client;
    list_each(client, &pool->clients, struct client, link)
        if (!client->dial && !client->call && !client->number)
            return client;
    return NULL;
}

static size_t dialling(struct pool *pool)
{
    struct client *client;
    size_t count = 0;
    list_each(client, &pool->clients, struct client, link)
        count += client->dial != NULL;
    return count;
}

/* From the reactor, so that who is told of a broken connection is not in the midst of sending. */
static void on_serve(void *user)
{
    struct pool *pool = user;
    struct transport_call *call, *first = NULL;
    size_t waiting = 0;
    list_each(call, &pool->waiting, struct transport_call, link) {
        if (is_fenced(call)) /* who set it gives the call up */
            continue;
        first = first ? first : call;
        waiting++;
    }
    struct client *client = first ? idle_client(pool) : NULL;
    if (client) {
        task_defer(pool->postgres->reactor, &pool->serve); /* the others */
        if (!client_run(client, first))
            client_broke(client);
    } else if (waiting > dialling(pool) && pool->client_count < CLIENTS_MAX && !timer_is_set(&pool->again)) {
        task_defer(pool->postgres->reactor, &pool->serve);
        add_client(pool);
    }
}

static struct client *find_transaction(struct pool *pool, uint64_t number)
{
    struct client *client;
    if (number)
        list_each(client, &pool->clients, struct client, link)
            if (client->number == number && !client->released)
                return client;
    return NULL;
}

static void on_limit(void *user)
{
    struct transport_call *call = user;
    struct client *client = call->client;
    transport_done_fn *done = call->done;
    void *owner = call->user;
    struct err err;
    err_set(&err, ERR_TIMEOUT,
            client ? "the server has not answered in time"
            : call->pool->client_count - dialling(call->pool) < CLIENTS_MAX
                ? "no connection was made in time"
                : "no connection was free in time: %d of a thread are in other calls and transactions (what "
                  "belongs to "
                  "a transaction goes by its own query)",
            CLIENTS_MAX);
    call->done = NULL;
    if (client)
        client_cancel(client, &err);
    else
        call_free(call);
    if (done)
        done(owner, NULL, &err);
}

/* ---- the transport ---- */

static void on_passed(void *user, struct transport_response *response, const struct err *err)
{
    struct transport_call *call = user;
    transport_done_fn *done = call->done;
    void *owner = call->user;
    free(call);
    done(owner, response, err);
}

static struct pool *pool_of(struct postgres *postgres, const char *url)
{
    struct pool *pool = map_get(&postgres->pools, url);
    if (pool)
        return pool;
    pool = mem_zero(sizeof *pool);
    pool->postgres = postgres;
    pool->url = mem_string(url);
    list_init(&pool->clients);
    list_init(&pool->waiting);
    task_init(&pool->serve, on_serve, pool);
    timer_init(&pool->again, on_serve, pool);
    map_set(&postgres->pools, pool->url, pool);
    return pool;
}

static enum what take_what(struct resp *resp, uint64_t *number)
{
    static const char *const names[] = {"once", "begin", "in", "end", "release"};
    char *what, *digits;
    size_t found = 0;
    resp_take_list(resp);
    what = take_text(resp);
    digits = take_text(resp);
    *number = strtoull(digits, NULL, 10);
    while (found < RELEASE && strcmp(names[found], what) != 0)
        found++;
    free(what);
    free(digits);
    return (enum what)found;
}

/* Goes on in its transaction, or lets it go. */
static void go_on(struct transport_call *call, uint64_t number)
{
    struct client *client = find_transaction(call->pool, number);
    if (call->what == RELEASE) {
        end_soon(call);
        if (!client)
            return;
        client->released = true;
        if (!client->call)
            timer_set(call->postgres->reactor, &client->idle, 0);
    } else if (!client || client->call || is_fenced(call)) {
        err_set(&call->err, client && is_fenced(call) ? ERR_CANCELLED : ERR_SERVICE, "%s",
                client ? "one call of a transaction after the other"
                       : "the transaction is over: it was rolled back, or its connection broke");
        end_soon(call);
    } else if (!client_run(client, call)) {
        timer_set(call->postgres->reactor, &client->idle, 0); /* it is found broken from the reactor */
    }
}

static struct transport_call *postgres_send(struct transport *transport,
                                            const struct transport_request *request, transport_done_fn *done,
                                            void *user)
{
    struct postgres *postgres = list_entry(transport, struct postgres, transport);
    uint64_t number = 0;
    struct transport_call *call = call_new(postgres, NULL, ONCE);
    call->done = done;
    call->user = user;
    if (!is_ours(request->url)) {
        call->passed = transport_send(postgres->next, request, on_passed, call);
        return call;
    }
    call->pool = pool_of(postgres, request->url);
    call->statements = (struct resp){request->body, request->body + request->body_size};
    call->what = take_what(&call->statements, &number);
    call->response_max = request->response_max;
    call->fence = request->fence;
    timer_set(postgres->reactor, &call->limit, request->timeout_ms);
    if (call->what != ONCE && call->what != BEGIN) {
        go_on(call, number);
    } else {
        list_append(&call->pool->waiting, &call->link);
        serve_soon(call->pool);
    }
    return call;
}

static void postgres_cancel(struct transport *transport, struct transport_call *call)
{
    struct postgres *postgres = list_entry(transport, struct postgres, transport);
    struct err err;
    err_set(&err, ERR_CANCELLED, "given up");
    call->done = NULL;
    if (call->passed) {
        transport_cancel(postgres->next, call->passed);
        free(call);
    } else if (call->client) {
        client_cancel(call->client, &err);
    } else {
        call_free(call);
    }
}

static void pool_free(struct pool *pool)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the connection is closed");
    for (struct list *link; (link = list_take_first(&pool->clients));)
        client_end(list_entry(link, struct client, link), &err);
    for (struct list *link; (link = list_take_first(&pool->waiting));)
        call_end(list_entry(link, struct transport_call, link), &err);
    task_cancel(&pool->serve);
    timer_stop(pool->postgres->reactor, &pool->again);
    mem_free_secret(pool->url);
    free(pool);
}

static void postgres_free(struct transport *transport)
{
    struct postgres *postgres = list_entry(transport, struct postgres, transport);
    struct pool *pool;
    for (size_t at = 0; (pool = map_next(&postgres->pools, &at, NULL));)
        pool_free(pool);
    map_fini(&postgres->pools);
    transport_free(postgres->next);
    free(postgres->ca_bundle);
    free(postgres);
}

struct transport *transport_postgres_new(struct reactor *reactor, struct transport *next,
                                         const char *ca_bundle)
{
    static const struct transport_ops ops = {postgres_send, postgres_cancel, postgres_free};
    struct postgres *postgres = mem_zero(sizeof *postgres);
    *postgres = (struct postgres){.transport = {&ops}, .next = next, .reactor = reactor};
    postgres->ca_bundle = mem_string(ca_bundle);
    return &postgres->transport;
}
