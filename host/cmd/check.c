/* check.c: tidemill check. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev_here.h"
#include "cmd/seen.h"
#include "conf/target_type.h"
#include "core/plugs.h"
#include "net/reactor.h"
#include "worker/handlers.h"
#include "route/route.h"
#include "script/directory.h"
#include "script/script.h"
#include "state/store_open.h"

/* Each intake has one handler; where it has none, that is told, for it may come. */
static void check_intakes(const struct config *config, char **intakes, char **handlers, size_t count,
                          struct problems *problems, struct problems *warnings)
{
    for (size_t i = 0; i < config->intake_count; i++) {
        const struct config_intake *intake = &config->intakes[i];
        const char *first = NULL;
        for (size_t j = 0; j < count; j++) {
            if (strcmp(intakes[j], intake->name) != 0)
                continue;
            if (first)
                problems_add(problems, "%s:%d: [intake %s] has two handlers: %s and %s", config->path,
                             intake->line, intake->name, first, handlers[j]);
            first = handlers[j];
        }
        if (!first)
            problems_add(warnings,
                         "%s:%d: [intake %s] has no handler: a script with intake = \"%s\" and on_request",
                         config->path, intake->line, intake->name, intake->name);
    }
}

static void check_sections(const struct config *config, char **places, struct problems *problems)
{
    for (size_t i = 0; i < config->handler_count; i++) {
        const struct config_handler *handler = &config->handlers[i];
        bool found = false;
        for (size_t j = 0; places[j]; j++) {
            char *name = handler_place_name(places[j]);
            found = found || (!handler_place_is_route(places[j]) && strcmp(name, handler->name) == 0);
            free(name);
        }
        if (!found)
            problems_add(problems, "%s:%d: [handler %s]: there is no %s/%s.lua", config->path, handler->line,
                         handler->name, config->host.scripts, handler->name);
    }
}

/* What tests and dev have seen the handler call, and it does not say in the list that it has. */
static void review_rights(const struct script *script, const struct script_options *options,
                          const struct seen *seen, struct problems *warnings)
{
    const struct handler *handler = script_handler((struct script *)script);
    bool tables, calls;
    size_t count;
    script_tables(script, &count, &tables);
    script_calls(script, &count, &calls);
    for (size_t i = 0; i < seen->count; i++) {
        const struct seen_call *call = &seen->list[i];
        if (!seen_is_of(call, handler, options->config) || !(call->table ? tables : calls) ||
            seen_is_declared(call, script, options->config))
            continue;
        problems_add(warnings,
                     "%s: handler %s calls %s%s%s, and its %s do not say so: tidemill policy leaves it out",
                     options->path, handler_name(handler), call->action, call->table ? " on " : "",
                     call->table ? call->table : "", call->table ? "tables" : "calls");
    }
}

/* Which intake each handler has. */
struct taken {
    char **intakes, **handlers;
    size_t count, capacity, handler_capacity;
};

static void free_taken(struct taken *taken)
{
    for (size_t i = 0; i < taken->count; i++) {
        free(taken->intakes[i]);
        free(taken->handlers[i]);
    }
    free(taken->intakes);
    free(taken->handlers);
}

static void note_intake(struct taken *taken, const struct script *script)
{
    const struct handler *handler = script_handler((struct script *)script);
    const char *intake = handler_settings_of(handler)->intake;
    if (!intake)
        return;
    mem_grow(&taken->intakes, &taken->capacity, taken->count, sizeof *taken->intakes);
    mem_grow(&taken->handlers, &taken->handler_capacity, taken->count, sizeof *taken->handlers);
    taken->intakes[taken->count] = mem_string(intake);
    taken->handlers[taken->count++] = mem_string(handler_name(handler));
}

static bool check_script(const struct script_options *options, const struct seen *seen, struct taken *taken,
                         struct problems *problems, struct problems *warnings)
{
    struct script *script = handler_load_script(options, problems);
    if (script) {
        script_review(script, warnings);
        review_rights(script, options, seen, warnings);
        note_intake(taken, script);
        handler_release(script_handler(script));
    }
    return script != NULL;
}

static bool check_route(const struct script_options *options, struct problems *problems,
                        struct problems *warnings)
{
    struct handler *route = handler_load(options, problems);
    if (route) {
        route_review(route, warnings);
        handler_release(route);
    }
    return route != NULL;
}

/* Of an INI that is wrong elsewhere: has the route what it needs to be looked at? */
static bool is_whole(const struct config *config, const char *place)
{
    char *name = handler_place_name(place);
    const struct config_route *route = config_route(config, name);
    const struct config_target *target = route && route->target ? config_target(config, route->target) : NULL;
    const struct names *streams = route ? &route->settings.streams : NULL;
    bool whole =
        streams && streams->each && streams->each[0] && target && target->type && target_is_whole(target);
    for (size_t i = 0; whole && streams->each[i]; i++)
        whole = config_stream(config, streams->each[i]) != NULL;
    free(name);
    return whole;
}

/* Loads every script and route as `run` would. Returns how many are sound. */
static size_t check_scripts(const struct config *config, struct problems *problems, struct problems *warnings)
{
    struct err err;
    struct clock clock = clock_system();
    struct log *log = log_new(STDERR_FILENO, LOG_AUTO, LOG_INFO, &clock);
    struct reactor *reactor = reactor_new(&clock);
    char **places = handler_places(config, true, &err);
    size_t sound = 0;
    struct seen seen = {0};
    struct taken taken = {0};
    seen_load(&seen, config->path);
    bool ini_sound = !problems->count; /* else a route may lack what it needs */
    if (!places)
        problems_add(problems, "%s", err.text);
    for (size_t i = 0; places && places[i]; i++) {
        struct script_options options = {.path = places[i], .config = config, .reactor = reactor, .log = log};
        if (!handler_place_is_route(places[i]))
            sound += check_script(&options, &seen, &taken, problems, warnings);
        else if (ini_sound || is_whole(config, places[i]))
            sound += check_route(&options, problems, warnings);
    }
    if (places)
        check_sections(config, places, problems);
    script_paths_free(places);
    if (places)
        check_intakes(config, taken.intakes, taken.handlers, taken.count, problems, warnings);
    free_taken(&taken);
    seen_fini(&seen);
    reactor_free(reactor);
    log_free(log);
    return sound;
}

/* ---- where it will write ---- */

/* Whether something can be made in it: what no user could is wrong, what this one cannot is doubtful, for the
 * host may run as another one. `subject`: whose it is. */
static void try_directory(const char *subject, const char *directory, struct problems *problems,
                          struct problems *warnings)
{
    struct stat status;
    char *path = mem_string(*directory ? directory : ".");
    while (lstat(path, &status) != 0 && errno == ENOENT && strcmp(path, ".") != 0 && strcmp(path, "/") != 0) {
        char *slash = strrchr(path, '/'),
             *above = slash ? mem_copy(path, (size_t)(slash - path) + (slash == path)) : mem_string(".");
        free(path);
        path = above;
    }
    if (stat(path, &status) != 0)
        problems_add(errno == EACCES ? warnings : problems, "%s: %s: %s", subject, directory,
                     strerror(errno));
    else if (!S_ISDIR(status.st_mode))
        problems_add(problems, "%s: %s: %s is not a directory", subject, directory, path);
    else if (access(path, W_OK | X_OK) != 0)
        problems_add(warnings, "%s: %s: in %s nothing can be written by the user who asks: %s", subject,
                     directory, path, strerror(errno));
    free(path);
}

static void try_state(const struct config *config, struct problems *problems, struct problems *warnings)
{
    const char *file = store_file(config->host.state);
    char *directory = store_directory(config->host.state), *subject = mem_printf("%s: state", config->path);
    struct stat status;
    if (directory)
        try_directory(subject, directory, problems, warnings);
    if (file && stat(file, &status) == 0 && !S_ISREG(status.st_mode))
        problems_add(problems, "%s: %s is no file", subject, file);
    else if (file && stat(file, &status) == 0 && access(file, R_OK | W_OK) != 0)
        problems_add(warnings, "%s: %s: cannot be written by the user who asks: %s", subject, file,
                     strerror(errno));
    free(directory);
    free(subject);
}

static void try_paths(const struct config *config, struct problems *problems, struct problems *warnings)
{
    try_state(config, problems, warnings);
    for (size_t i = 0; i < config->target_count; i++) {
        const struct config_target *target = &config->targets[i];
        const char *directory =
            target->type && target->type->directory ? target->type->directory(target) : NULL;
        char *subject = mem_printf("%s:%d: [target %s]", config->path, target->line, target->name);
        if (directory && *directory)
            try_directory(subject, directory, problems, warnings);
        free(subject);
    }
}

/* What is to be read from disk before a stream. */
static void try_exports(const struct config *config, struct problems *warnings)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        const struct config_stream *stream = &config->streams[i];
        if (stream->export && strncmp(stream->export, "s3://", 5) != 0 &&
            access(stream->export, R_OK | X_OK) != 0)
            problems_add(warnings, "%s:%d: [stream %s] export = %s: %s", config->path, stream->line,
                         stream->name, stream->export, strerror(errno));
    }
}

static void tell_sound(const char *path, const struct config *config, size_t sound, size_t warnings)
{
    printf("%s: %zu stream%s, %zu handler%s, ", path, config->stream_count,
           config->stream_count == 1 ? "" : "s", sound, sound == 1 ? "" : "s");
    if (warnings)
        printf("nothing wrong but %zu warning%s\n", warnings, warnings == 1 ? "" : "s");
    else
        puts("nothing wrong");
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    if (!cmd_config_option(argc, argv, &path))
        return EXIT_USAGE;
    struct problems problems = PROBLEMS_INIT, warnings = PROBLEMS_INIT;
    path = cmd_config_path(path);
    dev_here_know(path);
    struct config *config = config_load(path, &host_plugs, &problems);
    size_t sound = access(path, R_OK) == 0 ? check_scripts(config, &problems, &warnings) : 0;
    if (access(path, R_OK) == 0) {
        try_paths(config, &problems, &warnings);
        try_exports(config, &warnings);
    }
    problems_remove_repeated(&problems);
    problems_sort(&problems, path);
    cmd_complain_all(&problems);
    cmd_hint_at_init(path);
    for (size_t i = 0; i < warnings.count; i++)
        cmd_complain("warning: %s", warnings.lines[i]);
    if (!problems.count)
        tell_sound(path, config, sound, warnings.count);
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
            "wrong with file and line; what is only doubtful is a warning: that the user who asks may not\n"
            "write where the state or a file target is, for one. Nothing is called or read from "
            "AWS. Exit status 2 when something is "
            "wrong.\n",
    .run = run,
};
