/* dev.c: tidemill dev: the host and the embedded DynamoDB in one process. */
#include "cmd/dev.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev_here.h"
#include "cmd/serve.h"
#include "conf/target_type.h"
#include "core/plugs.h"
#include "local/server.h"
#include "state/store_open.h"

#define PORT 8000

struct dev {
    const char *ini, *data;
    const char *verb, *table, *item; /* of `dev put` */
    int port;
    char *url, *state; /* the server's, and the directory of the host's state */
    struct clock clock;
    struct engine *engine;
    struct server *server;
    struct dev_display *display;
    const struct config *config; /* in force; held; or NULL */
    struct dev_suggestions suggestions;
    struct dev_console *console;
    int here;  /* what commands beside it find */
    bool made; /* its tables are there */
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct dev, ini),
    {"--port", CMD_PORT, offsetof(struct dev, port), NULL},
    {"--data", CMD_TEXT, offsetof(struct dev, data), "a directory"},
    {"put", CMD_OPERAND, offsetof(struct dev, verb), NULL},
    {"TABLE", CMD_OPERAND, offsetof(struct dev, table), NULL},
    {"ITEM", CMD_OPERAND, offsetof(struct dev, item), NULL},
    {0},
};

/* ---- the configuration, turned to the embedded DynamoDB ---- */

/* Nothing leaves the machine that was not told to: what is for AWS is printed, unless the INI has an endpoint
 * for the service. */
static void print_targets(struct config *config)
{
    for (size_t i = 0; i < config->target_count; i++) {
        const struct target_type *type = config->targets[i].type;
        bool here = type && type->service && strcmp(type->service, "dynamodb") == 0 &&
                    !config->targets[i].region && !config->targets[i].role;
        bool away = type && type->service && !here && target_asks_aws(&config->targets[i]) &&
                    !config_endpoint(&config->aws, type->service);
        if (type && (away || !target_is_whole(&config->targets[i])))
            config_target_show(config, &config->targets[i]);
    }
}

/* It is the one that is in force now. Tables that are there stay as they are. */
static void take(struct dev *dev, const struct config *config)
{
    for (size_t i = 0; dev->config && i < config->table_count; i++) {
        const struct config_table *table = &config->tables[i],
                                  *before = config_table(dev->config, table->name);
        if (before && !dev_same_table(before, table))
            cmd_complain("warning: %s:%d: [table %s] is there already, as it was before: begin dev again to "
                         "have it made anew",
                         config->path, table->line, table->name);
    }
    config_release(dev->config);
    dev->config = config_hold(config);
    dev_display_set_config(dev->display, config);
}

static struct config *load(void *user, const char *path, struct problems *problems)
{
    struct dev *dev = user;
    struct config *config = config_load(path, &host_plugs_playing, problems);
    dev_here_set_calls(config, dev->url);
    print_targets(config);
    free(config->host.state);
    char *state = mem_printf("%s/state.db", dev->state);
    config->host.state = store_in_file(state);
    free(state);
    if (!problems->count)
        take(dev, config);
    struct err err;
    if (dev->made && !problems->count && !dev_make_tables(dev->engine, config, &err)) /* new ones */
        problems_add(problems, "%s", err.text);
    return config;
}

static void tell_played(const struct config *config)
{
    for (size_t i = 0; i < config->stream_count; i++)
        if (config->streams[i].played)
            cmd_complain("note: %s:%d: [stream %s]: %s is not read here: what the table of dev holds, and "
                         "its changes, "
                         "come in its place",
                         config->path, config->streams[i].line, config->streams[i].name,
                         config->streams[i].played);
}

static struct config *load_first(struct dev *dev)
{
    struct problems problems = PROBLEMS_INIT;
    struct config *config = load(dev, dev->ini, &problems);
    cmd_complain_all(&problems);
    cmd_hint_at_init(dev->ini);
    if (!problems.count)
        tell_played(config);
    if (problems.count) {
        config_release(config);
        config = NULL;
    }
    problems_fini(&problems);
    return config;
}

/* ---- a place for the state: beside the data, or one that goes with the process ---- */

static bool make_state(struct dev *dev)
{
    const char *temporary = getenv("TMPDIR");
    if (dev->data) { /* from wherever a command looks */
        char *here = *dev->data == '/' ? NULL : realpath(".", NULL);
        dev->state = here ? mem_printf("%s/%s", here, dev->data) : mem_string(dev->data);
        free(here);
        return true;
    }
    dev->state = mem_printf("%s/tidemill-dev-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (mkdtemp(dev->state))
        return true;
    cmd_complain("%s: cannot be made", dev->state);
    return false;
}

static void remove_state(struct dev *dev)
{
    DIR *directory = dev->data || !dev->state ? NULL : opendir(dev->state);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *path = mem_printf("%s/%s", dev->state, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
        free(path);
    }
    if (directory) {
        closedir(directory);
        rmdir(dev->state);
    }
    free(dev->state);
}

/* ---- life ---- */

static bool start(struct dev *dev, struct err *err)
{
    dev->display = dev_display_new(dev->ini);
    dev->engine = engine_new(&(struct engine_options){.directory = dev->data,
                                                      .clock = &dev->clock,
                                                      .region = getenv("AWS_REGION")},
                             err);
    dev->server = dev->engine ? server_start(dev->engine, dev->port, NULL, err) : NULL;
    if (!dev->server)
        return false;
    server_set_inbox(dev->server, dev_display_inbox, dev->display);
    dev->url = mem_printf("http://127.0.0.1:%d", server_port(dev->server));
    dev_here_set_environment(dev->url);
    setenv("TIDEMILL_IN_DEV", "1", 1); /* for commands that keys run */
    return true;
}

static void announce(struct dev *dev, const struct config *config)
{
    bool colour = isatty(STDOUT_FILENO);
    const char *on = colour ? "\033[36m" : "", *off = colour ? "\033[0m" : "";
    printf("%sDynamoDB on %s%s, %s%s. Scripts in %s and the INI are watched. Ctrl-C ends it.\n", on, dev->url,
           off, dev->data ? "kept in " : "in memory", dev->data ? dev->data : "", config->host.scripts);
    dev_suggest(config, &dev->suggestions);
    fflush(stdout);
}

/* ---- for the dashboard ---- */

static int call_engine(void *user, const char *operation, const char *body, size_t size, struct buf *out)
{
    struct dev *dev = user;
    char *target = mem_printf("DynamoDB_20120810.%s", operation);
    struct engine_reply reply = {0};
    engine_call(dev->engine, &(struct engine_request){.target = target, .body = body, .size = size}, &reply);
    buf_add(out, reply.body.data, reply.body.size);
    buf_fini(&reply.body);
    free(target);
    return reply.status;
}

static void write_inbox(void *user, struct buf *out)
{
    dev_display_write_inbox(((struct dev *)user)->display, out);
}

static int run_dev(struct dev *dev, int signal_fd)
{
    struct err err;
    dev->clock = clock_system(); /* the engine has it for as long as it lives */
    if (!make_state(dev))
        return EXIT_FAILED;
    if (!start(dev, &err)) {
        cmd_complain("%s", err.text);
        return EXIT_FAILED;
    }
    struct config *config = load_first(dev);
    if (!config)
        return EXIT_USAGE;
    if (!dev_make_tables(dev->engine, config, &err)) {
        cmd_complain("%s", err.text);
        config_release(config);
        return EXIT_USAGE;
    }
    dev->made = true;
    dev->here = dev_here_open(dev->ini, config->host.state, dev->url, &err);
    announce(dev, config);
    if (dev->here < 0)
        cmd_complain("warning: %s: status, dead, seek, pause and the like do not find this one", err.text);
    dev->console = dev_console_start(dev->display, dev->ini, &dev->suggestions, dev->here >= 0);
    struct observer observer = dev_display_observer(dev->display);
    const struct playground playground = {call_engine, write_inbox, dev};
    return serve(&(struct serve_options){.ini = dev->ini,
                                         .load = load,
                                         .observer = &observer,
                                         .playground = &playground,
                                         .follows_ini = true,
                                         .user = dev},
                 config, signal_fd);
}

static int run(int argc, char **argv)
{
    struct dev dev = {.port = PORT, .here = -1};
    if (!cmd_options(argc, argv, known_options, &dev))
        return EXIT_USAGE;
    if (dev.verb)
        return dev_items(dev.ini, dev.verb, dev.table, dev.item);
    dev.ini = cmd_config_path(dev.ini);
    int signal_fd = serve_block_signals();
    int status = run_dev(&dev, signal_fd);
    dev_console_stop(dev.console);
    dev_suggestions_fini(&dev.suggestions);
    server_stop(dev.server);
    engine_free(dev.engine);
    dev_display_free(dev.display);
    config_release(dev.config);
    dev_here_close(dev.here, dev.ini);
    remove_state(&dev);
    free(dev.url);
    close(signal_fd);
    return status;
}

const struct command cmd_dev = {
    .name = "dev",
    .arguments = "[-c FILE] [--port N] [--data DIR] [put|get|delete|scan TABLE ...]",
    .summary = "the same, with an embedded DynamoDB on 127.0.0.1",
    .help =
        "Starts a DynamoDB with streams inside the process, makes the tables of the INI's [table] sections,\n"
        "puts their seed items, runs the handlers on them, and shows each record and what became of it.\n"
        "No account, no network, no credentials. Scripts and the INI are taken anew when they change.\n"
        "status, dead, seek, pause and invoke --dead with the same INI are about it, while it runs.\n"
        "\n"
        "  -c FILE     the INI; its endpoint, credentials and state are left aside, and what\n"
        "              is for an AWS service without an endpoint_... of its own is printed\n"
        "  --port N    where the DynamoDB listens (8000); 0 takes a free port\n"
        "  --data DIR  keep tables and checkpoints in DIR; without it, nothing is kept\n"
        "\n"
        "In another terminal, of the dev that runs on the same INI:\n"
        "\n"
        "    tidemill dev put Products '{\"productId\": \"p\", \"stock\": 5}'\n"
        "    tidemill dev get Products p\n"
        "    tidemill dev delete Products '{\"productId\": \"p\"}'\n"
        "    tidemill dev scan Products\n"
        "\n"
        "An item is plain JSON or DynamoDB's, or a file with one; a key that is one attribute is its value.\n"
        "\n"
        "Keys of its terminal: r redrives all dead letters, d shows the last one, l lists them, p pauses "
        "all\n"
        "handlers or feeds them again, s is status, c what handlers have called, w writes an item, ? shows "
        "these.\n"
        "\n"
        "    [table Products]\n"
        "    key    = productId             ; or two attributes: customer, jobId:N\n"
        "    index by_shelf = shelf, row:N  ; a global secondary index; local_index NAME = attribute\n"
        "    stream = new_and_old_images    ; none, keys_only, new_image, old_image\n"
        "    ttl    = expires\n"
        "    seed   = seed/products.json    ; an array of items, plain JSON or DynamoDB's\n"
        "\n"
        "${env:TIDEMILL_DEV_URL} in the INI is the address of the embedded DynamoDB; what is sent to its\n"
        "/inbox/... is shown and answered with 200: it stands for the services that handlers call.\n",
    .run = run,
};
