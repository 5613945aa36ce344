/* check.c: tidemill check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "net/reactor.h"
#include "script/directory.h"
#include "script/script.h"

static void check_sections(const struct config *config, char **paths, struct problems *problems)
{
    for (size_t i = 0; i < config->handler_count; i++) {
        const struct config_handler *handler = &config->handlers[i];
        bool found = false;
        for (size_t j = 0; paths[j]; j++) {
            const char *name = strrchr(paths[j], '/') + 1;
            found = found || (strlen(name) == strlen(handler->name) + 4 &&
                              strncmp(name, handler->name, strlen(handler->name)) == 0);
        }
        if (!found)
            problems_add(problems, "%s:%d: [handler %s]: there is no %s/%s.lua", config->path, handler->line,
                         handler->name, config->host.scripts, handler->name);
    }
}

/* Compiles every script as `run` would. Returns how many are sound. */
static size_t check_scripts(const struct config *config, struct problems *problems, struct problems *warnings)
{
    struct err err;
    struct clock clock = clock_system();
    struct log *log = log_new(STDERR_FILENO, LOG_AUTO, LOG_INFO, &clock);
    struct reactor *reactor = reactor_new(&clock);
    char **paths = script_paths(config->host.scripts, &err);
    size_t sound = 0;
    if (!paths)
        problems_add(problems, "%s", err.text);
    for (size_t i = 0; paths && paths[i]; i++) {
        struct script *script = script_load(
            &(struct script_options){.path = paths[i], .config = config, .reactor = reactor, .log = log},
            problems);
        sound += script != NULL;
        if (script)
            script_review(script, warnings);
        handler_release(script ? script_handler(script) : NULL);
    }
    if (paths)
        check_sections(config, paths, problems);
    script_paths_free(paths);
    reactor_free(reactor);
    log_free(log);
    return sound;
}

static int run(int argc, char **argv)
{
    static const char *const flags[] = {NULL};
    const char *path = NULL;
    if (!cmd_options(argc, argv, &path, flags, NULL))
        return EXIT_USAGE;
    struct problems problems = PROBLEMS_INIT, warnings = PROBLEMS_INIT;
    path = cmd_config_path(path);
    struct config *config = config_load(path, &problems);
    size_t sound = access(path, R_OK) == 0 ? check_scripts(config, &problems, &warnings) : 0;
    problems_remove_repeated(&problems);
    for (size_t i = 0; i < problems.count; i++)
        cmd_complain("%s", problems.lines[i]);
    for (size_t i = 0; i < warnings.count; i++)
        cmd_complain("warning: %s", warnings.lines[i]);
    if (!problems.count)
        printf("%s: %zu stream%s, %zu handler%s, nothing wrong\n", path, config->stream_count,
               config->stream_count == 1 ? "" : "s", sound, sound == 1 ? "" : "s");
    int status = problems.count ? EXIT_USAGE : EXIT_DONE;
    problems_fini(&problems);
    problems_fini(&warnings);
    config_release(config);
    return status;
}

const struct command cmd_check = {
    .name = "check",
    .arguments = "[-c FILE]",
    .summary = "validate the INI and compile every script",
    .help = "Reads the INI, compiles and runs the main part of every script, and reports everything that is\n"
            "wrong with file and line; what is only doubtful is a warning. Nothing is called or read from "
            "AWS. Exit status 2 when something is "
            "wrong.\n",
    .run = run,
};
