/* admin.c: see admin.h. */
#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/listener.h"
#include "stats/exposition.h"

#define BODY_BYTES_MAX 4096
#define CONNECTIONS_MAX 64
#define IDLE_S 60

struct admin {
    struct board *board;
    struct listener *listener;
};

static void say(struct listener_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    buf_add_text(&reply->body, text);
}

/* Prometheus names what it takes in the order of its liking, OpenMetrics first. */
static bool wants_open_metrics(const struct listener_request *request)
{
    const char *accepts = listener_header(request, "Accept");
    return accepts && strstr(accepts, "application/openmetrics-text");
}

static void show_metrics(struct admin *admin, const struct listener_request *request,
                         struct listener_reply *reply)
{
    struct sheet sheet = board_read(admin->board);
    bool open_metrics = wants_open_metrics(request);
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
    int64_t silent_ms = board_silent_ms(admin->board, clock_monotonic_ms(&clock));
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
    char *reasons = board_read_reasons(admin->board);
    (void)request;
    if (*reasons)
        say(reply, 503, reasons);
    else
        say(reply, 200, "ready\n");
    free(reasons);
}

static const struct page {
    const char *path;
    void (*show)(struct admin *admin, const struct listener_request *request, struct listener_reply *reply);
} pages[] = {{"/metrics", show_metrics}, {"/healthz", show_health}, {"/readyz", show_ready}};

static void on_request(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        say(reply, 405, "only GET\n");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(pages); i++)
        if (strcmp(request->path, pages[i].path) == 0) {
            pages[i].show(user, request, reply);
            return;
        }
    say(reply, 404, "there are /metrics, /healthz and /readyz\n");
}

struct admin *admin_start(const char *address, struct board *board, struct err *err)
{
    struct admin *admin = mem_zero(sizeof *admin);
    admin->board = board;
    admin->listener = listener_start(&(struct listener_options){.address = address,
                                                                .body_bytes_max = BODY_BYTES_MAX,
                                                                .connections_max = CONNECTIONS_MAX,
                                                                .idle_s = IDLE_S,
                                                                .local = true,
                                                                .answer = on_request,
                                                                .user = admin},
                                     err);
    if (admin->listener)
        return admin;
    free(admin);
    return NULL;
}

int admin_port(const struct admin *admin)
{
    return listener_port(admin->listener);
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    listener_stop(admin->listener);
    free(admin);
}
