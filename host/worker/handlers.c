/* handlers.c: see handlers.h. */
#include "worker/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "route/route.h"
#include "script/directory.h"

#define ROUTE "[route "
#define SECTION "[handler "

bool handler_place_is_route(const char *place)
{
    return strncmp(place, ROUTE, strlen(ROUTE)) == 0;
}

static bool is_section(const char *place)
{
    return strncmp(place, SECTION, strlen(SECTION)) == 0;
}

char *handler_place_of_route(const char *name)
{
    return mem_printf(ROUTE "%s]", name);
}

char *handler_place_of_section(const char *name)
{
    return mem_printf(SECTION "%s]", name);
}

static char *script_path(const struct config *config, const char *name)
{
    return mem_printf("%s/%s.lua", config->host.scripts, name);
}

/* Of a section; NULL: it is gone, or says no script any more. */
static const struct config_handler *section_of(const char *place, const struct config *config)
{
    char *name = handler_place_name(place);
    const struct config_handler *section = config ? config_handler(config, name) : NULL;
    free(name);
    return section && config_handler_script(section) ? section : NULL;
}

char *handler_place_name(const char *place)
{
    if (!handler_place_is_route(place) && !is_section(place))
        return script_name_of(place);
    place += handler_place_is_route(place) ? strlen(ROUTE) : strlen(SECTION);
    return mem_copy(place, strlen(place) - 1);
}

bool handler_place_exists(const char *place, const struct config *config)
{
    if (is_section(place)) {
        const struct config_handler *section = section_of(place, config);
        char *path = section ? script_path(config, config_handler_script(section)) : NULL;
        bool there = path && access(path, F_OK) == 0;
        free(path);
        return there;
    }
    if (!handler_place_is_route(place)) {
        char *own = script_name_of(place);
        bool shared = config && config_script_is_shared(config, own);
        free(own);
        return !shared && access(place, F_OK) == 0;
    }
    char *name = handler_place_name(place);
    bool exists = config_route(config, name) != NULL;
    free(name);
    return exists;
}

/* Those of sections that name them stand there by the sections. Returns how many are left. */
static size_t drop_shared(const struct config *config, char **places)
{
    size_t left = 0;
    for (size_t i = 0; places[i]; i++) {
        char *name = script_name_of(places[i]);
        if (config_script_is_shared(config, name))
            free(places[i]);
        else
            places[left++] = places[i];
        free(name);
    }
    return left;
}

char **handler_places(const struct config *config, bool optional, struct err *err)
{
    const char *directory = config->host.scripts;
    size_t count = 0;
    bool absent = optional && config->route_count && access(directory, F_OK) != 0 && errno == ENOENT;
    char **places = absent ? mem_zero(sizeof *places) : script_paths(directory, err);
    if (!places)
        return NULL;
    count = drop_shared(config, places);
    places = mem_resize(places, (count + config->handler_count + config->route_count + 1) * sizeof *places);
    for (size_t i = 0; i < config->handler_count; i++)
        if (config_handler_script(&config->handlers[i]))
            places[count++] = handler_place_of_section(config->handlers[i].name);
    for (size_t i = 0; i < config->route_count; i++)
        places[count++] = handler_place_of_route(config->routes[i].name);
    places[count] = NULL;
    return places;
}

static struct handler *load_route(const struct script_options *options, struct problems *problems)
{
    const struct config *config = options->config;
    char *name = handler_place_name(options->path);
    char *script = mem_printf("%s/%s.lua", config->host.scripts, name);
    struct handler *route = NULL;
    if (access(script, F_OK) == 0)
        problems_add(problems,
                     "%s:%d: [route %s] there is a script %s too: a handler and a route need names of "
                     "their own",
                     config->path, config_route(config, name)->line, name, script);
    else
        route =
            route_load(&(struct route_options){name, config, options->reactor, options->emitter}, problems);
    free(script);
    free(name);
    return route;
}

static struct script *load_section(const struct script_options *options, struct problems *problems)
{
    const struct config *config = options->config;
    const struct config_handler *section = section_of(options->path, config);
    if (!section) {
        problems_add(problems, "%s is not in the INI, or names no script", options->path);
        return NULL;
    }
    struct script_options own = *options;
    char *path = script_path(config, config_handler_script(section)),
         *same = script_path(config, section->name);
    struct script *script = NULL;
    if (strcmp(path, same) != 0 && access(same, F_OK) == 0) {
        problems_add(problems, "%s:%d: [handler %s] script: there is a script %s too, which has that name",
                     config->path, section->line, section->name, same);
    } else {
        own.path = path;
        own.name = section->name;
        script = script_load(&own, problems);
    }
    free(path);
    free(same);
    return script;
}

struct script *handler_load_script(const struct script_options *options, struct problems *problems)
{
    return is_section(options->path) ? load_section(options, problems) : script_load(options, problems);
}

struct handler *handler_load(const struct script_options *options, struct problems *problems)
{
    if (handler_place_is_route(options->path))
        return load_route(options, problems);
    struct script *script = handler_load_script(options, problems);
    return script ? script_handler(script) : NULL;
}
