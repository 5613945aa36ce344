/* state_copy.c: tidemill state copy: a group's state from one place to another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "admin/access.h"
#include "admin/status.h"
#include "state/copy.h"
#include "state/store_open.h"

struct arguments {
    const char *config_path, *verb, *from, *to;
    bool letters;
};

struct copying {
    struct access state; /* its store is the one that is copied */
    const struct config *config;
    const struct arguments *arguments;
    struct store_lock *from_lock, *to_lock;
    struct store_copy *copy;
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--letters", CMD_FLAG, offsetof(struct arguments, letters), NULL},
    {"VERB", CMD_OPERAND, offsetof(struct arguments, verb), NULL},
    {"FROM", CMD_OPERAND, offsetof(struct arguments, from), NULL},
    {"TO", CMD_OPERAND, offsetof(struct arguments, to), NULL},
    {0},
};

static bool is_place(const char *uri)
{
    struct err err;
    if (store_check(uri, &err))
        return true;
    cmd_complain("state: %s (see tidemill help state)", err.text);
    return false;
}

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    bool copy = arguments->verb && strcmp(arguments->verb, "copy") == 0;
    bool backup = arguments->verb && strcmp(arguments->verb, "backup") == 0;
    if (!copy && !backup && (!arguments->verb || strcmp(arguments->verb, "forget") != 0)) {
        cmd_complain("state: copy, backup or forget is needed (see tidemill help state)");
        return false;
    }
    if (!copy && (!arguments->from || arguments->to)) {
        cmd_complain(backup ? "state backup: the file that it is written to is needed, and no more"
                            : "state forget: the handler's name is needed, and no more");
        return false;
    }
    if (!copy)
        return true;
    if (!arguments->to) {
        cmd_complain("state copy: from where and where to, like sqlite:tidemill.db dynamodb:TABLE");
        return false;
    }
    if (strcmp(arguments->from, arguments->to) == 0) {
        cmd_complain("state copy: %s is both", arguments->to);
        return false;
    }
    return is_place(arguments->from) && is_place(arguments->to);
}

/* ---- nobody works on either ---- */

static bool lock(const char *uri, struct store_lock **held, struct err *err)
{
    if (!store_is_shared(uri))
        *held = store_lock(uri, err);
    return store_is_shared(uri) || *held;
}

/* Of one that hosts share none may run. */
static bool is_quiet(struct copying *copying, struct err *err)
{
    struct status status = {.now_ms = clock_wall_ms(&copying->state.clock)};
    if (!store_is_shared(copying->arguments->from))
        return true;
    status.snapshot = access_load(&copying->state, &(struct store_query){.what = STORE_ALL}, err);
    bool quiet = status.snapshot != NULL;
    if (quiet && status_runs(&status))
        quiet = err_set(err, ERR_BUSY, "hosts are running on %s: stop them all, then copy",
                        copying->arguments->from);
    store_snapshot_free(status.snapshot);
    return quiet;
}

/* ---- copying ---- */

static struct store_options options_of(const struct copying *copying)
{
    return (struct store_options){
        .group = copying->config->host.group,
        .client = copying->state.client,
        .log = copying->state.log,
        .create = copying->config->host.create_state,
    };
}

static bool open_from(struct copying *copying, struct err *err)
{
    struct store_options options = options_of(copying);
    options.must_exist = true;
    options.read_only = true;
    copying->state.store = store_open(copying->state.reactor, copying->arguments->from, &options, err);
    return copying->state.store && lock(copying->arguments->from, &copying->from_lock, err) &&
           is_quiet(copying, err);
}

static bool open_to(struct copying *copying, struct err *err)
{
    struct store_options options = options_of(copying);
    if (!lock(copying->arguments->to, &copying->to_lock, err))
        return false;
    copying->copy = store_copy_begin(copying->state.reactor, copying->arguments->to, &options,
                                     copying->arguments->from, err);
    return copying->copy != NULL;
}

static void tell(const struct arguments *arguments, const struct copy_counts *counts)
{
    printf(
        "copied %s to %s: %zu handler%s at %zu checkpoints, %zu dead letters, %zu keys of once, %zu gaps\n",
        arguments->from, arguments->to, counts->handlers, counts->handlers == 1 ? "" : "s",
        counts->checkpoints, counts->letters, counts->markers, counts->gaps);
    printf("point state in [host] of the INI to it and start the hosts; %s stays as it is\n",
           arguments->from);
}

static bool carry_out(struct copying *copying, struct err *err)
{
    const struct arguments *arguments = copying->arguments;
    struct copy_counts counts;
    bool shared = store_is_shared(arguments->from) || store_is_shared(arguments->to);
    if (!access_begin(&copying->state, copying->config, shared, err) || !open_from(copying, err) ||
        !open_to(copying, err))
        return false;
    struct copy_options options = {
        .from = copying->state.store,
        .from_shared = store_is_shared(arguments->from),
        .to_shared = store_is_shared(arguments->to),
        .reactor = copying->state.reactor,
        .to = copying->copy,
        .progress = cmd_progress,
    };
    bool well = copy_state(&options, &counts, err);
    cmd_progress_end();
    well = well && is_quiet(copying, err); /* nor has one begun meanwhile */
    struct err not_ended;
    if (!store_copy_end(copying->copy, well, &not_ended) && well) {
        *err = not_ended;
        well = false;
    }
    if (well)
        tell(arguments, &counts);
    return well;
}

/* ---- a back-up ---- */

static int back_up(const struct arguments *arguments)
{
    struct config *config = cmd_load_state_config(arguments->config_path);
    struct err err = {0};
    if (!config)
        return EXIT_USAGE;
    bool ok = store_backup(config->host.state, arguments->from, &err);
    if (ok)
        cmd_print("%s is a back-up of %s\n", arguments->from, config->host.state);
    else
        cmd_complain("state backup: %s", err.text);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct err err;
    if (!read_arguments(argc, argv, &arguments))
        return EXIT_USAGE;
    if (strcmp(arguments.verb, "backup") == 0)
        return back_up(&arguments);
    if (strcmp(arguments.verb, "forget") == 0)
        return cmd_state_forget(arguments.config_path, arguments.from, arguments.letters);
    struct config *config = cmd_load_config(arguments.config_path);
    if (!config)
        return EXIT_USAGE;
    struct copying copying = {.config = config, .arguments = &arguments};
    bool ok = carry_out(&copying, &err);
    if (!ok)
        cmd_complain("state copy: %s", err.text);
    access_close(&copying.state);
    store_unlock(copying.from_lock);
    store_unlock(copying.to_lock);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

const struct command cmd_state = {
    .name = "state",
    .arguments = "copy|backup|forget [-c FILE] [...]",
    .summary = "copy a state to another place, back it up, forget a handler",
    .help =
        "  tidemill state copy [-c FILE] sqlite:FILE dynamodb:TABLE\n"
        "  tidemill state copy [-c FILE] dynamodb:TABLE sqlite:FILE\n"
        "  tidemill state backup [-c FILE] FILE\n"
        "  tidemill state forget [-c FILE] HANDLER [--letters]\n\n"
        "Copies where the handlers of the INI's group stand, their dead letters, the keys of tidemill.once "
        "and\n"
        "gaps. No host may run on either. TO must not have a state of the group yet; while it is filled no "
        "host\n"
        "starts on it. What is interrupted goes on with the same command. Dead letters get other numbers. "
        "The\n"
        "table is reached as [aws] says, and made where it is missing, unless create_state = no.\n\n"
        "backup writes what the state file holds at one moment, checked, into one FILE that is not there "
        "yet; "
        "also\n"
        "beside a running host (cp does not: most of it may be in the log beside the file). To restore: stop "
        "the "
        "host,\n"
        "take state, state-wal and state-shm away, put FILE in the state's place, start. Handlers go on "
        "where "
        "they stood\n"
        "then, and repeat what came after; what is older than 24 hours is a gap, and told.\n\n"
        "forget takes away what the state knows of a handler that is gone: where it stood, what it did once, "
        "and with\n"
        "--letters its dead letters. One that got another name says so (formerly = OLD) and goes on there; "
        "once the\n"
        "host has started with it, the old one can be forgotten.\n",
    .run = run,
};
