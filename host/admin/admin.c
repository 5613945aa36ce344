/* admin.c: see admin.h. */
#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
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

static void show_metrics(struct admin *admin, struct listener_reply *reply)
{
    struct sheet sheet = board_read(admin->board);
    reply->status = 200;
    reply->type = "text/plain; version=0.0.4; charset=utf-8";
    exposition_write(&sheet, &reply->body);
    sheet_fini(&sheet);
}

static void show_health(struct admin *admin, struct listener_reply *reply)
{
    (void)admin;
    say(reply, 200, "ok\n");
}

static const struct page {
    const char *path;
    void (*show)(struct admin *admin, struct listener_reply *reply);
} pages[] = {{"/metrics", show_metrics}, {"/healthz", show_health}};

static void on_request(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        say(reply, 405, "only GET\n");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(pages); i++)
        if (strcmp(request->path, pages[i].path) == 0) {
            pages[i].show(user, reply);
            return;
        }
    say(reply, 404, "there are /metrics and /healthz\n");
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
