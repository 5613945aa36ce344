/* dev_put.c: tidemill dev put: an item into a table of the dev that runs here. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev.h"
#include "cmd/dev_here.h"
#include "cmd/outside.h"
#include "core/plugs.h"

#define ITEM_BYTES_MAX (1u << 20)

struct putting {
    bool over;
    struct err err;
};

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct putting *putting = user;
    (void)response;
    putting->over = true;
    if (err)
        putting->err = *err;
}

static bool send(const struct config *config, struct buf *body, struct err *err)
{
    const struct cmd_outside_options options = {.log_level = LOG_ERROR};
    struct cmd_outside outside = {0};
    struct putting putting = {0};
    bool ok = cmd_outside_open(&outside, config, &options, err);
    if (ok) {
        struct aws_request request = {.service = AWS_DYNAMODB, .operation = "PutItem", .body = *body};
        *body = BUF_INIT;
        aws_send(outside.aws, &request, on_answer, &putting);
        reactor_turn_until(outside.reactor, &putting.over);
        ok = putting.err.code == ERR_NONE;
        *err = putting.err;
    }
    cmd_outside_close(&outside);
    return ok;
}

/* The item itself, or a file with it. */
static char *read_item(const char *item, size_t *size, struct err *err)
{
    if (!strchr("{[", item[strspn(item, " \t\r\n")]))
        return file_read(item, ITEM_BYTES_MAX, size, err);
    *size = strlen(item);
    return mem_string(item);
}

static bool put(struct config *config, const char *table, const char *item, struct err *err)
{
    struct arena arena = ARENA_INIT;
    struct buf body = BUF_INIT;
    size_t size;
    char *text = read_item(item, &size, err);
    const struct json *root = text ? json_parse(&arena, text, size, err) : NULL;
    bool ok = root != NULL;
    if (ok && root->type != JSON_OBJECT)
        ok = err_set(err, ERR_CONFIG, "an item expected, such as '{\"id\": \"1\"}', or a file with one");
    if (ok) {
        dev_write_put(table, root, &body);
        ok = send(config, &body, err);
    }
    buf_fini(&body);
    arena_fini(&arena);
    free(text);
    return ok;
}

int dev_put(const char *ini, const char *table, const char *item)
{
    struct config *config = cmd_load_config_with(ini, &host_plugs_playing);
    if (!config)
        return EXIT_USAGE;
    struct err err = {0};
    char *url = dev_here_turn(config, true);
    bool ok = url && put(config, table, item, &err);
    if (!url)
        cmd_complain("dev put: no tidemill dev runs on %s: begin one in another terminal", config->path);
    else if (!ok)
        cmd_complain("dev put: %s", err.text);
    else
        cmd_print("put into %s on %s; tidemill dev shows what becomes of it\n", table, url);
    free(url);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
