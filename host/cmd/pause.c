/* pause.c: tidemill pause, tidemill resume: a handler that is fed nothing for a while, and keeps its place. A
 * pause is a request that stays open: hosts that begin later find it, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/problems.h"
#include "cmd/cmd.h"
#include "cmd/state.h"
#include "script/directory.h"
#include "state/store_open.h"
#include "worker/handlers.h"

struct arguments {
    const char *config_path, *handler, *reason;
};

static const struct cmd_option pause_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--reason", CMD_TEXT, offsetof(struct arguments, reason), "a text"},
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {0},
};

static const struct cmd_option resume_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {0},
};

/* ---- is there such a handler? ---- */

/* Among the scripts and routes, or in the state: where neither is, the name is wrong. */
static bool is_known(const struct config *config, const struct store_snapshot *snapshot, const char *handler,
                     struct err *err)
{
    char **places = handler_places(config, true, err);
    const char **names = mem_zero((snapshot->follow_count + 1) * sizeof *names);
    size_t count = 0;
    bool known = false;
    for (size_t i = 0; places && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        known = known || strcmp(name, handler) == 0;
        free(places[i]);
        places[i] = name; /* of the list, for the nearest one */
    }
    for (size_t i = 0; i < snapshot->follow_count; i++) {
        names[count++] = snapshot->follows[i].handler;
        known = known || strcmp(snapshot->follows[i].handler, handler) == 0;
    }
    const char *nearest = places ? nearest_name(handler, (const char *const *)places) : NULL;
    nearest = nearest ? nearest : nearest_name(handler, names);
    if (!known)
        err_set(err, ERR_CONFIG, "there is no handler %s in %s, and none in the state%s%s%s", handler,
                config->host.scripts, nearest ? "; is it " : "", nearest ? nearest : "", nearest ? "?" : "");
    if (places)
        script_paths_free(places);
    free(names);
    return known;
}

/* ---- the requests that are open ---- */

static const char *when(const struct config *config)
{
    return store_is_shared(config->host.state) ? "each host within a third of its lease"
           : cmd_host_runs(config)             ? "within a second"
                                               : "when a host runs";
}

static bool pause_handler(struct cmd_state *state, const struct config *config,
                          const struct arguments *arguments, const struct store_snapshot *requests,
                          struct err *err)
{
    const struct store_request *pause = store_find_pause(requests, arguments->handler);
    char since[CLOCK_ISO_SIZE];
    if (pause) {
        clock_iso8601(pause->created_ms, since);
        cmd_print("handler %s is paused since %s%s%s\n", arguments->handler, since,
                  *pause->argument ? ": " : "", pause->argument);
        return true;
    }
    struct store_request request = {.kind = STORE_PAUSED,
                                    .handler = arguments->handler,
                                    .shard = "",
                                    .argument = arguments->reason ? arguments->reason : ""};
    if (!cmd_state_put_request(state, &request, err))
        return false;
    printf("handler %s is paused: what runs may end, nothing more begins (%s). It keeps its place; what is "
           "written meanwhile is trimmed after 24 hours\n",
           arguments->handler, when(config));
    return true;
}

static bool resume_handler(struct cmd_state *state, const struct config *config,
                           const struct arguments *arguments, const struct store_snapshot *requests,
                           struct err *err)
{
    struct store_batch *batch = store_batch_new();
    bool any = false;
    for (size_t i = 0; i < requests->request_count; i++) {
        const struct store_request *request = &requests->requests[i];
        if (strcmp(request->kind, STORE_PAUSED) != 0 || strcmp(request->handler, arguments->handler) != 0)
            continue;
        store_answer_request(batch, request->id, true, "resumed");
        any = true;
    }
    if (!any) {
        store_batch_free(batch);
        printf("handler %s is not paused\n", arguments->handler);
        return true;
    }
    if (!cmd_state_commit(state, batch, err) ||
        (store_is_shared(config->host.state) &&
         !cmd_state_ask_all(state, STORE_RESUMED, arguments->handler, err)))
        return false;
    printf("handler %s goes on where it stands (%s)\n", arguments->handler, when(config));
    return true;
}

/* ---- the commands ---- */

typedef bool change_fn(struct cmd_state *state, const struct config *config,
                       const struct arguments *arguments, const struct store_snapshot *requests,
                       struct err *err);

static bool carry_out(const struct config *config, const struct arguments *arguments, change_fn *change,
                      struct err *err)
{
    struct cmd_state state;
    struct store_snapshot *all = NULL, *requests = NULL;
    bool ok =
        cmd_state_open(&state, config, false, err) &&
        (all = cmd_state_load(&state, &(struct store_query){.what = STORE_ALL}, err)) &&
        (requests = cmd_state_load(&state, &(struct store_query){.what = STORE_REQUESTS}, err)) &&
        (store_find_pause(requests, arguments->handler) || is_known(config, all, arguments->handler, err)) &&
        change(&state, config, arguments, requests, err);
    store_snapshot_free(all);
    store_snapshot_free(requests);
    cmd_state_close(&state);
    return ok;
}

static int run(int argc, char **argv, const struct cmd_option *options, change_fn *change)
{
    struct arguments arguments = {0};
    struct err err = {0};
    if (!cmd_options(argc, argv, options, &arguments))
        return EXIT_USAGE;
    if (!arguments.handler) {
        cmd_complain("%s: a handler's name is needed (see tidemill help %s)", argv[0], argv[0]);
        return EXIT_USAGE;
    }
    struct config *config = cmd_load_state_config(arguments.config_path);
    if (!config)
        return EXIT_USAGE;
    bool ok = carry_out(config, &arguments, change, &err);
    if (!ok)
        cmd_complain("%s: %s", argv[0], err.text);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int run_pause(int argc, char **argv)
{
    return run(argc, argv, pause_options, pause_handler);
}

static int run_resume(int argc, char **argv)
{
    return run(argc, argv, resume_options, resume_handler);
}

const struct command cmd_pause = {
    .name = "pause",
    .arguments = "[-c FILE] HANDLER [--reason TEXT]",
    .summary = "stop feeding a handler or route, keep its place",
    .help = "What runs may end, nothing more begins, on all hosts that share the state, until tidemill "
            "resume; also\n"
            "over restarts. Other handlers do not notice. tidemill status shows who is paused, and the time "
            "that\n"
            "is left until the first record it has not handled is trimmed (24 hours after it was written); "
            "under\n"
            "6 hours status --check and the log warn. Its dead letters can be marked to be redriven: they "
            "wait.\n",
    .run = run_pause,
};

const struct command cmd_resume = {
    .name = "resume",
    .arguments = "[-c FILE] HANDLER",
    .summary = "feed a handler that is paused again",
    .help = "It goes on where it stands, with everything that was written meanwhile.\n",
    .run = run_resume,
};
