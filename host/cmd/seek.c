/* seek.c: tidemill seek: where a handler goes on. */
#include "state/seek.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/state.h"
#include "cmd/status.h"
#include "state/store_open.h"

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
            "seek: a handler and trim_horizon, latest or a sequence number are needed (see tidemill help "
            "seek)");
    return arguments->to != NULL;
}

/* ---- without a host ---- */

static bool seek_here(struct cmd_state *state, const struct arguments *arguments, struct err *err)
{
    struct store_snapshot *snapshot = cmd_state_load(state, &(struct store_query){.what = STORE_ALL}, err);
    struct store_batch *batch = store_batch_new();
    struct buf told = BUF_INIT;
    bool ok = snapshot &&
              seek_write(snapshot, arguments->handler, arguments->shard, arguments->to, batch, &told, err);
    if (ok)
        ok = cmd_state_commit(state, batch, err);
    else
        store_batch_free(batch);
    if (ok)
        puts(told.data);
    buf_fini(&told);
    store_snapshot_free(snapshot);
    return ok;
}

/* ---- by the running host ---- */

static bool seek_there(struct cmd_state *state, const struct config *config,
                       const struct arguments *arguments, struct err *err)
{
    struct store_request request = {
        .kind = "seek", .handler = arguments->handler, .shard = arguments->shard, .argument = arguments->to};
    return cmd_state_ask(state, config, &request, err);
}

/* ---- beside hosts that share it ---- */

static bool seek_shared(struct cmd_state *state, const struct arguments *arguments, struct err *err)
{
    struct store_snapshot *snapshot = cmd_state_load(state, &(struct store_query){.what = STORE_ALL}, err);
    struct status status = {.snapshot = snapshot, .now_ms = clock_wall_ms(&state->clock)};
    bool running = snapshot && status_runs(&status), ok = snapshot != NULL;
    store_snapshot_free(snapshot);
    if (running && !arguments->running)
        return err_set(err, ERR_BUSY,
                       "hosts are running on this state: say --running, and they begin anew there");
    ok = ok && seek_here(state, arguments, err) &&
         (!running || cmd_state_ask_all(state, STORE_SOUGHT, arguments->handler, err));
    if (ok && running)
        puts("the hosts let what runs finish and go on there, each within a third of its lease");
    return ok;
}

/* ---- the command ---- */

static bool carry_out(const struct config *config, const struct arguments *arguments, struct err *err)
{
    struct cmd_state state;
    struct store_lock *lock = NULL;
    bool ok = cmd_state_open(&state, config, false, err);
    if (ok && store_is_shared(config->host.state))
        ok = seek_shared(&state, arguments, err);
    else if (ok && !(lock = store_lock(config->host.state, err)) && err->code != ERR_BUSY)
        ok = false;
    else if (ok && !lock && !arguments->running)
        ok = err_set(err, ERR_BUSY,
                     "a host is running on this state: stop it, or let it seek itself with --running");
    else if (ok)
        ok = lock ? seek_here(&state, arguments, err) : seek_there(&state, config, arguments, err);
    store_unlock(lock);
    cmd_state_close(&state);
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
    .help = "  tidemill seek [-c FILE] HANDLER trim_horizon|latest|SEQUENCE [--shard ID] [--running]\n\n"
            "  trim_horizon   everything that the stream still has, once more\n"
            "  latest         only what is written from now on\n"
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
