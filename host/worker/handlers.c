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

bool handler_place_is_route(const char *place)
{
    return strncmp(place, ROUTE, strlen(ROUTE)) == 0;
}

char *handler_place_of_route(const char *name)
{
    return mem_printf(ROUTE "%s]", name);
}

char *handler_place_name(const char *place)
{
    if (!handler_place_is_route(place))
        return script_name_of(place);
    place += strlen(ROUTE);
    return mem_copy(place, strlen(place) - 1);
}

bool handler_place_exists(const char *place, const struct config *config)
{
    if (!handler_place_is_route(place))
        return access(place, F_OK) == 0;
    char *name = handler_place_name(place);
    bool exists = config_route(config, name) != NULL;
    free(name);
    return exists;
}

char **handler_places(const struct config *config, bool optional, struct err *err)
{
    const char *directory = config->host.scripts;
    size_t count = 0;
    bool absent = optional && config->route_count && access(directory, F_OK) != 0 && errno == ENOENT;
    char **places = absent ? mem_zero(sizeof *places) : script_paths(directory, err);
    if (!places)
        return NULL;
    while (places[count])
        count++;
    places = mem_resize(places, (count + config->route_count + 1) * sizeof *places);
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

struct handler *handler_load(const struct script_options *options, struct problems *problems)
{
    if (handler_place_is_route(options->path))
        return load_route(options, problems);
    struct script *script = script_load(options, problems);
    return script ? script_handler(script) : NULL;
}
