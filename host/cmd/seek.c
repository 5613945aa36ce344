/* seek.c: tidemill seek: where a handler goes on. */
#include "admin/actions.h"
#include "cmd/cmd.h"

struct arguments {
    const char *config_path, *handler, *to, *shard;
    bool running;
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--shard", CMD_TEXT, offsetof(struct arguments, shard), NULL},
    {"--running", CMD_FLAG, offsetof(struct arguments, running), NULL},
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {"TO", CMD_OPERAND, offsetof(struct arguments, to), NULL},
    {0},
};

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    arguments->shard = "";
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    if (!arguments->to)
        cmd_complain(
            "seek: a handler and trim_horizon, latest, a time or a sequence number are needed (see tidemill "
            "help seek)");
    return arguments->to != NULL;
}

static bool carry_out(const struct config *config, const struct arguments *arguments, struct err *err)
{
    const struct action action = {.handler = arguments->handler,
                                  .to = arguments->to,
                                  .shard = arguments->shard,
                                  .running = arguments->running};
    struct access state;
    struct buf told = BUF_INIT;
    bool ok = access_open(&state, config, false, err) && action_seek(&state, config, &action, &told, err);
    if (ok)
        cmd_print("%s\n", told.data);
    buf_fini(&told);
    access_close(&state);
    return ok;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct err err;
    if (!read_arguments(argc, argv, &arguments))
        return EXIT_USAGE;
    struct config *config = cmd_load_state_config(arguments.config_path);
    if (!config)
        return EXIT_USAGE;
    bool ok = carry_out(config, &arguments, &err);
    if (!ok)
        cmd_complain("seek: %s", err.text);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

const struct command cmd_seek = {
    .name = "seek",
    .arguments = "[-c FILE] HANDLER WHERE [...]",
    .summary = "move a handler's checkpoint",
    .help =
        "  tidemill seek [-c FILE] HANDLER WHERE [--shard ID] [--running]\n\n"
        "  trim_horizon   everything that the stream still has, once more\n"
        "  latest         only what is written from now on\n"
        "  TIME           what was written since 2026-01-31T12:00:00Z (or +02:00), 2026-01-31, or 2h ago: "
        "2h, 30m;\n"
        "                 within the 24 hours that a stream keeps, and maybe a minute more\n"
        "  SEQUENCE       what was written behind the record with this number; with --shard where the "
        "handler\n"
        "                 is on several shards\n"
        "  --running      a host is running: it stops the handler, moves it and starts it again. Hosts "
        "that share\n"
        "                 their state are told so, each of them\n\n"
        "Without --running it is refused while a host uses the state. Records that are handled again "
        "have no\n"
        "mark: tidemill.once and transact{once=} know them by their id.\n",
    .run = run,
};
