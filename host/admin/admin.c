/* admin.c: see admin.h. */
#include "admin/admin.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/dashboard.h"
#include "base/address.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/listener.h"
#include "stats/exposition.h"

#define BODY_BYTES_MAX 65536
#define CONNECTIONS_MAX 64
#define IDLE_S 60

struct admin {
    struct admin_options options;
    bool local; /* only this machine reaches it */
    struct listener *listener;
    struct dashboard *dashboard; /* or NULL */
};

static void say(struct listener_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    buf_add_text(&reply->body, text);
}

/* ---- who may ---- */

/* As RFC 6750 has it: "Authorization: Bearer TOKEN". Nobody learns from the time that it takes how much of it
 * was right. */
static bool shows_token(const struct admin *admin, const struct listener_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *shown = listener_header(request, "Authorization"), *token = admin->options.token;
    unsigned char own[SHA256_DIGEST_LENGTH], other[SHA256_DIGEST_LENGTH];
    if (!token || !shown || strncasecmp(shown, scheme, strlen(scheme)) != 0)
        return false;
    shown += strlen(scheme);
    SHA256((const unsigned char *)token, strlen(token), own);
    SHA256((const unsigned char *)shown, strlen(shown), other);
    return CRYPTO_memcmp(own, other, sizeof own) == 0;
}

/* ---- pages ---- */

/* Prometheus names what it takes in the order of its liking, OpenMetrics first. */
static bool wants_open_metrics(const struct listener_request *request)
{
    const char *accepts = listener_header(request, "Accept");
    return accepts && strstr(accepts, "application/openmetrics-text");
}

static void show_metrics(struct admin *admin, const struct listener_request *request,
                         struct listener_reply *reply)
{
    struct sheet sheet = board_read(admin->options.board);
    bool open_metrics = wants_open_metrics(request);
    char *reasons = board_read_reasons(admin->options.board);
    sheet_add(&sheet, "tidemill_ready", !*reasons, NULL);
    free(reasons);
    exposition_add_process(&sheet);
    sheet_merge(&sheet);
    reply->status = 200;
    reply->type = open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                               : "text/plain; version=0.0.4; charset=utf-8";
    exposition_write(&sheet, open_metrics, &reply->body);
    sheet_fini(&sheet);
}

/* So long a reactor may take to come round, whatever it does: a handler has its cpu_limit. */
#define SILENT_MS_MAX 30000

/* The process turns. */
static void show_health(struct admin *admin, const struct listener_request *request,
                        struct listener_reply *reply)
{
    struct clock clock = clock_system();
    int64_t silent_ms = board_silent_ms(admin->options.board, clock_monotonic_ms(&clock));
    (void)request;
    if (silent_ms <= SILENT_MS_MAX) {
        say(reply, 200, "ok\n");
        return;
    }
    say(reply, 503, "");
    buf_printf(&reply->body, "a reactor has not turned for %lld s\n", (long long)silent_ms / 1000);
}

/* Every stream is read and every handler loaded; or why not. */
static void show_ready(struct admin *admin, const struct listener_request *request,
                       struct listener_reply *reply)
{
    char *reasons = board_read_reasons(admin->options.board);
    bool knows = admin->local || shows_token(admin, request); /* they name handlers, roles, accounts */
    if (*reasons)
        say(reply, 503, knows ? reasons : "not ready\n");
    else
        say(reply, 200, "ready\n");
    free(reasons);
}

static void refuse_stranger(struct listener_reply *reply)
{
    say(reply, 401, "this is for who shows the admin_token of [host]: Authorization: Bearer ...\n");
    reply->headers[0].name = "WWW-Authenticate";
    snprintf(reply->headers[0].value, sizeof reply->headers[0].value, "Bearer realm=\"tidemill\"");
}

static const struct page {
    const char *path;
    bool open; /* to everybody */
    void (*show)(struct admin *admin, const struct listener_request *request, struct listener_reply *reply);
} pages[] = {
    {"/metrics", false, show_metrics},
    {"/healthz", true, show_health},
    {"/readyz", true, show_ready},
};

static void show_page(struct admin *admin, const struct page *page, const struct listener_request *request,
                      struct listener_reply *reply)
{
    if (page->open || admin->local || shows_token(admin, request))
        page->show(admin, request, reply);
    else
        refuse_stranger(reply);
}

/* What changes something wants the token of everybody: no page of another site has it to send. So do records,
 * where there is one: other accounts of this machine reach the address, but not the state. */
static void show_dashboard(struct admin *admin, enum dashboard_path path,
                           const struct listener_request *request, struct listener_reply *reply)
{
    bool reads = strcmp(request->method, "POST") != 0;
    bool open = path == DASHBOARD_PAGE || (path == DASHBOARD_READS && admin->local) ||
                (path == DASHBOARD_RECORDS && admin->local && !admin->options.token);
    if ((open && reads) || (admin->options.playground && admin->local) || shows_token(admin, request))
        dashboard_answer(admin->dashboard, request, reply);
    else
        refuse_stranger(reply);
}

static void on_request(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    struct admin *admin = user;
    enum dashboard_path path = admin->dashboard ? dashboard_path(request->path) : DASHBOARD_NOT;
    if (path && (strcmp(request->method, "POST") == 0 || strcmp(request->method, "GET") == 0 ||
                 (path == DASHBOARD_PAGE && strcmp(request->method, "HEAD") == 0))) {
        show_dashboard(admin, path, request, reply);
        return;
    }
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        say(reply, 405, "only GET\n");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(pages); i++)
        if (strcmp(request->path, pages[i].path) == 0) {
            show_page(user, &pages[i], request, reply);
            return;
        }
    say(reply, 404, "there are /, /metrics, /healthz and /readyz\n");
}

struct admin *admin_start(const struct admin_options *options, struct err *err)
{
    union address address;
    if (!address_read(options->address, &address, err))
        return NULL;
    struct admin *admin = mem_zero(sizeof *admin);
    admin->options = *options;
    admin->local = address_is_loopback(&address);
    admin->dashboard = options->config ? dashboard_new(options) : NULL;
    admin->listener = listener_start(&(struct listener_options){.address = options->address,
                                                                .body_bytes_max = BODY_BYTES_MAX,
                                                                .connections_max = CONNECTIONS_MAX,
                                                                .idle_s = IDLE_S,
                                                                .local = admin->local,
                                                                .answer = on_request,
                                                                .user = admin},
                                     err);
    if (admin->listener)
        return admin;
    if (admin->dashboard)
        dashboard_free(admin->dashboard);
    free(admin);
    return NULL;
}

int admin_port(const struct admin *admin)
{
    return listener_port(admin->listener);
}

void admin_set_config(struct admin *admin, const struct config *config)
{
    if (admin && admin->dashboard)
        dashboard_set_config(admin->dashboard, config);
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    if (admin->dashboard)
        dashboard_stop(admin->dashboard);
    listener_stop(admin->listener);
    if (admin->dashboard)
        dashboard_free(admin->dashboard);
    free(admin);
}
