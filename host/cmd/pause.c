/* pause.c: tidemill pause, tidemill resume: a handler that is fed nothing for a while, and keeps its place. A
 * pause is a request that stays open: hosts that begin later find it, too. */
#include "admin/actions.h"
#include "cmd/cmd.h"

struct arguments {
    const char *config_path, *handler, *reason;
    bool all, toggle;
};

static const struct cmd_option pause_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--all", CMD_FLAG, offsetof(struct arguments, all), NULL},
    {"--toggle", CMD_FLAG, offsetof(struct arguments, toggle), NULL},
    {"--reason", CMD_TEXT, offsetof(struct arguments, reason), "a text"},
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {0},
};

static const struct cmd_option resume_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--all", CMD_FLAG, offsetof(struct arguments, all), NULL},
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {0},
};

/* ---- the commands ---- */

typedef bool action_fn(struct access *state, const struct config *config, const struct action *action,
                       struct buf *told, struct err *err);

static bool carry_out(const struct config *config, const struct arguments *arguments, action_fn *act,
                      struct err *err)
{
    const struct action action = {
        .handler = arguments->handler, .reason = arguments->reason, .toggle = arguments->toggle};
    struct access state;
    struct buf told = BUF_INIT;
    bool ok = access_open(&state, config, false, err) && act(&state, config, &action, &told, err);
    if (ok)
        cmd_print("%s\n", told.data);
    buf_fini(&told);
    access_close(&state);
    return ok;
}

static int run(int argc, char **argv, const struct cmd_option *options, action_fn *act)
{
    struct arguments arguments = {0};
    struct err err = {0};
    if (!cmd_options(argc, argv, options, &arguments))
        return EXIT_USAGE;
    if (!arguments.handler == !arguments.all) {
        cmd_complain("%s: %s (see tidemill help %s)", argv[0],
                     arguments.all ? "either a handler's name or --all"
                                   : "a handler's name, or --all, is needed",
                     argv[0]);
        return EXIT_USAGE;
    }
    struct config *config = cmd_load_state_config(arguments.config_path);
    if (!config)
        return EXIT_USAGE;
    bool ok = carry_out(config, &arguments, act, &err);
    if (!ok)
        cmd_complain("%s: %s", argv[0], err.text);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int run_pause(int argc, char **argv)
{
    return run(argc, argv, pause_options, action_pause);
}

static int run_resume(int argc, char **argv)
{
    return run(argc, argv, resume_options, action_resume);
}

const struct command cmd_pause = {
    .name = "pause",
    .arguments = "[-c FILE] HANDLER|--all [--reason TEXT] [--toggle]",
    .summary = "stop feeding a handler or route, keep its place",
    .help = "What runs may end, nothing more begins, on all hosts that share the state, until tidemill "
            "resume; also\n"
            "over restarts. Other handlers do not notice. tidemill status shows who is paused, and the time "
            "that\n"
            "is left until the first record it has not handled is trimmed (24 hours after it was written); "
            "under\n"
            "6 hours status --check and the log warn. Its dead letters can be marked to be redriven: they "
            "wait.\n"
            "--toggle feeds those again that are paused already.\n",
    .run = run_pause,
};

const struct command cmd_resume = {
    .name = "resume",
    .arguments = "[-c FILE] HANDLER|--all",
    .summary = "feed a handler that is paused again",
    .help = "It goes on where it stands, with everything that was written meanwhile.\n",
    .run = run_resume,
};
