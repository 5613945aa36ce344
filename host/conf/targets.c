/* targets.c: what [target] and [route] sections must and may hold. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "conf/tables.h"
#include "conf/target_type.h"

#define TYPES_MAX 32
#define ROLE_BYTES_MAX 2048

/* ---- what the file says ---- */

struct complaints {
    const struct config *config;
    const struct config_target *target;
    struct problems *problems;
};

static void complain_at(const struct complaints *about, int line, const char *sentence)
{
    problems_add(about->problems, "%s:%d: [target %s] %s", about->config->path, line, about->target->name,
                 sentence);
}

static void complain(void *user, const char *sentence)
{
    const struct complaints *about = user;
    complain_at(about, about->target->line, sentence);
}

/* False where the target has none, or one that does not exist: what else it says cannot be looked at. */
static bool read_type(struct config_target *target, const struct complaints *about)
{
    const char *names[TYPES_MAX];
    size_t count = 0;
    int place;
    struct err err;
    for (; about->config->target_types[count]; count++)
        names[count] = about->config->target_types[count]->name;
    names[count] = NULL;
    const struct setting type = {"type", SETTING_CHOICE, 0, 0, 0, names};
    for (size_t i = 0; i < target->pair_count; i++) {
        const struct config_pair *pair = &target->pairs[i];
        if (strcmp(pair->name, "type") != 0)
            continue;
        if (setting_store(&type, &place, pair->value, pair->shown, &err)) {
            target->type = about->config->target_types[place];
            target->own = target->type->settings ? mem_zero(target->type->settings_size) : NULL;
            return true;
        }
        complain_at(about, pair->line, err.text);
        return false;
    }
    complain((void *)about, "needs a type, such as type = eventbridge");
    return false;
}

/* Has any type such a key? */
static bool is_of_a_type(const struct target_type *const *types, const char *key)
{
    for (; *types; types++)
        if ((*types)->settings && setting_find((*types)->settings, key))
            return true;
    return false;
}

/* Of its own keys and those of all targets, else of another type's. */
static const char *meant_by(const struct target_type *const *types, const struct target_type *type,
                            const char *name)
{
    const char *names[64] = {"type"};
    size_t count = 1;
    setting_names(conf_target_settings, names + count, 31);
    while (names[count])
        count++;
    if (type->settings)
        setting_names(type->settings, names + count, 64 - count);
    const char *meant = nearest_name(name, names);
    for (; !meant && *types; types++) {
        if (!(*types)->settings)
            continue;
        setting_names((*types)->settings, names, 64);
        meant = nearest_name(name, names);
    }
    return meant;
}

static char *unknown_key(const struct target_type *const *types, const struct target_type *type,
                         const char *name)
{
    if (is_of_a_type(types, name))
        return mem_printf("%s is not for type = %s", name, type->name);
    const char *meant = meant_by(types, type, name);
    return mem_printf("%s is not a known key%s%s%s", name, meant ? " (did you mean " : "", meant ? meant : "",
                      meant ? "?)" : "");
}

static bool is_of_aws(const char *name)
{
    return strcmp(name, "region") == 0 || strcmp(name, "role") == 0 || strcmp(name, "external_id") == 0;
}

static void read_pair(struct config_target *target, const struct config_pair *pair,
                      const struct complaints *about)
{
    const struct target_type *type = target->type;
    const struct setting *setting = setting_find(conf_target_settings, pair->name);
    const struct setting *own = type->settings ? setting_find(type->settings, pair->name) : NULL;
    struct err err;
    char *sentence = NULL;
    if (strcmp(pair->name, "type") == 0)
        return;
    if (!setting && !own)
        sentence = unknown_key(about->config->target_types, type, pair->name);
    else if ((is_of_aws(pair->name) && !type->service) || (strcmp(pair->name, "spill") == 0 && !type->spills))
        sentence = mem_printf("%s is not for type = %s", pair->name, type->name);
    else if (!setting_store(own ? own : setting, own ? target->own : target, pair->value, pair->shown, &err))
        sentence = mem_string(err.text);
    if (sentence)
        complain_at(about, pair->line, sentence);
    free(sentence);
}

bool config_is_role(const char *text)
{
    const char *name = strncmp(text, "arn:", 4) == 0 ? strstr(text, ":role/") : NULL;
    return name && name[strlen(":role/")] && strlen(text) <= ROLE_BYTES_MAX &&
           !text[strcspn(text, " \t\r\n\"")];
}

static void check_role(const struct config_target *target, const struct complaints *about)
{
    if (target->role && !config_is_role(target->role))
        complain_at(about, target->line, "role: a role's ARN expected (arn:aws:iam::123456789012:role/NAME)");
    if (target->external_id && !target->role)
        complain_at(about, target->line, "external_id goes with role only");
}

/* The first of the keys that its type needs, from `at` on, that is not set; or NULL. */
static const char *lacks(const struct config_target *target, size_t *at)
{
    const char *const *needed = target->type->needed;
    for (; needed && needed[*at]; ++*at) {
        const struct setting *setting = setting_find(target->type->settings, needed[*at]);
        const char *value = *(char *const *)((const char *)target->own + setting->offset);
        if (!value || !*value)
            return needed[(*at)++];
    }
    return NULL;
}

bool target_is_whole(const struct config_target *target)
{
    return !lacks(target, &(size_t){0});
}

bool target_asks_aws(const struct config_target *target)
{
    const struct target_type *type = target->type;
    const struct target_place anywhere = {"aws", "*"};
    char *arn = type && type->arn && target_is_whole(target) ? type->arn(target, &anywhere) : NULL;
    bool asks = type && type->service && (arn || !type->arn || !target_is_whole(target));
    free(arn);
    return asks;
}

static void check_needed(const struct config_target *target, const struct complaints *about)
{
    size_t at = 0;
    for (const char *name; !about->config->incomplete && (name = lacks(target, &at));) {
        char *sentence = mem_printf("type = %s needs %s", target->type->name, name);
        complain((void *)about, sentence);
        free(sentence);
    }
}

static void check_target(const struct config *config, struct config_target *target,
                         const struct complaints *about)
{
    const struct config_target *spill = target->spill ? config_target(config, target->spill) : NULL;
    check_needed(target, about);
    check_role(target, about);
    if (target->type->check)
        target->type->check(target, config->path, complain, (void *)about);
    if (target->spill && (!spill || !spill->type || !spill->type->keeps_files))
        complain((void *)about, "spill: the name of an s3 or file target expected");
    if (target->rate_ns && target->type->keeps_files)
        complain((void *)about,
                 "rate: a target of files takes lines as they come; set linger and batch_bytes");
    if (strcmp(target->name, "dead") == 0 || strcmp(target->name, "discard") == 0)
        complain((void *)about, "the name is taken: on_failure has a meaning for it");
}

void conf_check_targets(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->target_count; i++) {
        struct config_target *target = &config->targets[i];
        const struct complaints about = {config, target, problems};
        bool typed = read_type(target, &about);
        for (size_t j = 0; typed && j < target->pair_count; j++)
            read_pair(target, &target->pairs[j], &about);
        conf_target_forget_pairs(target);
    }
    for (size_t i = 0; i < config->target_count; i++)
        if (config->targets[i].type)
            check_target(config, &config->targets[i],
                         &(struct complaints){config, &config->targets[i], problems});
}

/* ---- routes ---- */

/* Settings of a handler that only a script has. */
static bool for_scripts_only(const char *name)
{
    static const char *const names[] = {"cpu_limit",       "memory",  "allow_hosts",
                                        "tumbling_window", "timeout", "intake"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void read_route_pair(const struct config *config, struct config_route *route,
                            const struct config_pair *pair, struct problems *problems)
{
    struct err err;
    const struct setting *setting = setting_find(conf_route_settings, pair->name);
    if (setting ? setting_store(setting, route, pair->value, pair->shown, &err)
                : handler_settings_knows(pair->name) && !for_scripts_only(pair->name))
        return;
    if (!setting) {
        const char *names[64];
        setting_names(conf_route_settings, names, 24);
        size_t count = 0;
        while (names[count])
            count++;
        setting_names(conf_handler_settings, names + count, 64 - count);
        const char *meant = nearest_name(pair->name, names);
        bool other = meant && !for_scripts_only(meant);
        err_set(&err, ERR_CONFIG, "%s is not a known key%s%s%s", pair->name, other ? " (did you mean " : "",
                other ? meant : "", other ? "?)" : "");
    }
    problems_add(problems, "%s:%d: [route %s] %s", config->path, pair->line, route->name, err.text);
}

static void complain_route(const struct config *config, const struct config_route *route,
                           struct problems *problems, const char *sentence)
{
    problems_add(problems, "%s:%d: [route %s] %s", config->path, route->line, route->name, sentence);
}

static void check_its_target(const struct config *config, const struct config_route *route,
                             struct problems *problems)
{
    const struct config_target *target = config_target(config, route->target);
    struct err err;
    if (target->type->check_route && !target->type->check_route(target, route, &err))
        complain_route(config, route, problems, err.text);
}

bool config_is_filled_in(const char *text)
{
    return text && (*text == '$' || strchr(text, '<'));
}

static void check_route(const struct config *config, struct config_route *route, struct problems *problems)
{
    char *where = mem_printf("%s:%d: [route %s]", config->path,
                             config_key_line(&route->section, "on_failure"), route->name);
    handler_settings_overlay(&route->settings, config, &route->section, problems);
    handler_settings_check(&route->settings, config, &route->section, where, problems);
    free(where);
    where = mem_printf("%s:%d: [route %s]", config->path, route->line, route->name);
    struct err err;
    if (!route->settings.streams.each && !config->incomplete)
        problems_add(problems, "%s needs a stream", where);
    else if (route->settings.streams.each &&
             !handler_streams_check(&route->settings, config, &route->section, &err))
        problems_add(problems, "%s %s", where, err.text);
    if (!route->target && !config->incomplete)
        problems_add(problems, "%s needs a target", where);
    else if (route->target && !config_target(config, route->target))
        problems_add(problems, "%s target: there is no [target %s]", where,
                     config_shown(&route->section, "target", route->target));
    else if (route->target && config_target(config, route->target)->type)
        check_its_target(config, route, problems);
    if (config_handler(config, route->name))
        problems_add(problems,
                     "%s there is a [handler %s] too: a handler and a route need names of their own", where,
                     route->name);
    if (route->image != IMAGE_RECORD && (route->input_path || route->input_template))
        problems_add(problems, "%s image goes with neither input_path nor input_template", where);
    if (route->input_path && route->input_template)
        problems_add(problems, "%s input_path or input_template, not both", where);
    const char *texts[] = {route->detail_type, route->source, route->subject};
    bool variables = route->input_template != NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        variables = variables || (texts[i] && *texts[i] != '$' && strchr(texts[i], '<'));
    if (route->input_paths && !variables)
        problems_add(problems,
                     "%s input_paths are for an input_template, detail_type, source and subject, which have "
                     "<name> in them",
                     where);
    free(where);
}

void conf_check_routes(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route *route = &config->routes[i];
        handler_settings_init(&route->settings);
        route->settings.concurrency = 1000; /* a message costs less than a call of Lua */
        for (size_t j = 0; j < route->section.pair_count; j++)
            read_route_pair(config, route, &route->section.pairs[j], problems);
        check_route(config, route, problems);
    }
}
