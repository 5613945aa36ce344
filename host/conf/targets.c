/* targets.c: what [target] and [route] sections must and may hold. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "conf/tables.h"

#define BIT(type) (1u << (type))
#define LAKES (BIT(TARGET_S3) | BIT(TARGET_FILE))
#define ALL (BIT(TARGET_TYPE_COUNT) - 1)
#define AWS (ALL & ~(BIT(TARGET_HTTP) | BIT(TARGET_FILE) | BIT(TARGET_STDOUT)))

/* Which types a key is for; it is needed by those of `needed`. What is not listed is for all. */
static const struct {
    const char *key;
    size_t offset;
    unsigned types, needed;
} uses[] = {
    {"region", offsetof(struct config_target, region), AWS, 0},
    {"bus", offsetof(struct config_target, bus), BIT(TARGET_EVENTBRIDGE), 0},
    {"source", offsetof(struct config_target, source), BIT(TARGET_EVENTBRIDGE), 0},
    {"detail_type", offsetof(struct config_target, detail_type), BIT(TARGET_EVENTBRIDGE), 0},
    {"queue", offsetof(struct config_target, queue), BIT(TARGET_SQS), BIT(TARGET_SQS)},
    {"topic", offsetof(struct config_target, topic), BIT(TARGET_SNS), BIT(TARGET_SNS)},
    {"subject", offsetof(struct config_target, subject), BIT(TARGET_SNS), 0},
    {"stream", offsetof(struct config_target, stream), BIT(TARGET_KINESIS), BIT(TARGET_KINESIS)},
    {"delivery_stream", offsetof(struct config_target, delivery_stream), BIT(TARGET_FIREHOSE),
     BIT(TARGET_FIREHOSE)},
    {"function", offsetof(struct config_target, function), BIT(TARGET_LAMBDA), BIT(TARGET_LAMBDA)},
    {"bucket", offsetof(struct config_target, bucket), BIT(TARGET_S3), BIT(TARGET_S3)},
    {"prefix", offsetof(struct config_target, prefix), BIT(TARGET_S3), 0},
    {"path", offsetof(struct config_target, path), BIT(TARGET_FILE), BIT(TARGET_FILE)},
    {"url", offsetof(struct config_target, url), BIT(TARGET_HTTP), BIT(TARGET_HTTP)},
    {"secret", offsetof(struct config_target, secret), BIT(TARGET_HTTP), 0},
    {"authorization", offsetof(struct config_target, authorization), BIT(TARGET_HTTP), 0},
    {"content_type", offsetof(struct config_target, content_type), BIT(TARGET_HTTP), 0},
    {"spill", offsetof(struct config_target, spill), ALL & ~LAKES & ~BIT(TARGET_STDOUT), 0},
};

const char *target_type_name(int type)
{
    return conf_target_types[type];
}

void conf_target_init(struct config_target *target)
{
    *target = (struct config_target){
        .type = -1,
        .linger_ms = -1,
        .retries = -1,
        .backoff_ms = {100, 20 * SECOND_MS},
    };
}

static void complain(const struct config *config, const struct config_target *target,
                     struct problems *problems, const char *sentence)
{
    problems_add(problems, "%s:%d: [target %s] %s", config->path, target->line, target->name, sentence);
}

static void check_keys(const struct config *config, const struct config_target *target,
                       struct problems *problems)
{
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        const char *value = *(char *const *)((const char *)target + uses[i].offset);
        char *sentence = NULL;
        if (value && !(uses[i].types & BIT(target->type)))
            sentence = mem_printf("%s is not for type = %s", uses[i].key, target_type_name(target->type));
        else if ((!value || !*value) && (uses[i].needed & BIT(target->type)))
            sentence = mem_printf("type = %s needs %s", target_type_name(target->type), uses[i].key);
        if (sentence)
            complain(config, target, problems, sentence);
        free(sentence);
    }
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_lake(const struct config_target *target)
{
    return target && target->type >= 0 && (BIT(target->type) & LAKES);
}

static void check_values(const struct config *config, const struct config_target *target,
                         struct problems *problems)
{
    if (target->queue && !starts_with(target->queue, "http://") && !starts_with(target->queue, "https://"))
        complain(config, target, problems, "queue: the URL of an SQS queue expected");
    if (target->topic && !starts_with(target->topic, "arn:"))
        complain(config, target, problems, "topic: the ARN of an SNS topic expected");
    if (target->url && !starts_with(target->url, "http://") && !starts_with(target->url, "https://"))
        complain(config, target, problems, "url: an http:// or https:// URL expected");
    if (target->spill && !is_lake(config_target(config, target->spill)))
        complain(config, target, problems, "spill: the name of an s3 or file target expected");
}

void conf_check_targets(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->target_count; i++) {
        struct config_target *target = &config->targets[i];
        if (target->type < 0) {
            complain(config, target, problems, "needs a type, such as type = eventbridge");
            continue;
        }
        check_keys(config, target, problems);
        check_values(config, target, problems);
        if (strcmp(target->name, "dead") == 0 || strcmp(target->name, "discard") == 0)
            complain(config, target, problems, "the name is taken: on_failure has a meaning for it");
        if (target->path) {
            char *path = path_beside(config->path, target->path);
            free(target->path);
            target->path = path;
        }
    }
}

/* ---- routes ---- */

/* Settings of a handler that only a script has. */
static bool for_scripts_only(const char *name)
{
    static const char *const names[] = {"cpu_limit", "memory", "allow_hosts", "tumbling_window", "timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void read_pair(const struct config *config, struct config_route *route, const struct config_pair *pair,
                      struct problems *problems)
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

/* Files are named after the first record in them: two routes would overwrite each other's. */
static void check_lake(const struct config *config, const struct config_route *route,
                       struct problems *problems)
{
    if (!is_lake(config_target(config, route->target)))
        return;
    for (const struct config_route *other = config->routes; other != route; other++) {
        if (!other->target || strcmp(other->target, route->target) != 0)
            continue;
        char *sentence = mem_printf("[route %s] writes to target %s already: give this one a target of its "
                                    "own, with another prefix or path",
                                    other->name, route->target);
        complain_route(config, route, problems, sentence);
        free(sentence);
        return;
    }
}

static void check_route(const struct config *config, struct config_route *route, struct problems *problems)
{
    char *where = mem_printf("%s:%d: [route %s]", config->path,
                             config_key_line(&route->section, "on_failure"), route->name);
    handler_settings_overlay(&route->settings, config, &route->section, problems);
    handler_settings_check(&route->settings, config, where, problems);
    free(where);
    where = mem_printf("%s:%d: [route %s]", config->path, route->line, route->name);
    if (!route->settings.stream)
        problems_add(problems, "%s needs a stream", where);
    else if (!config_stream(config, route->settings.stream))
        problems_add(problems, "%s stream: there is no [stream %s]", where, route->settings.stream);
    if (!route->target)
        problems_add(problems, "%s needs a target", where);
    else if (!config_target(config, route->target))
        problems_add(problems, "%s target: there is no [target %s]", where, route->target);
    else
        check_lake(config, route, problems);
    if (config_handler(config, route->name))
        problems_add(problems,
                     "%s there is a [handler %s] too: a handler and a route need names of their own", where,
                     route->name);
    if (route->image != IMAGE_RECORD && (route->input_path || route->input_template))
        problems_add(problems, "%s image goes with neither input_path nor input_template", where);
    if (route->input_path && route->input_template)
        problems_add(problems, "%s input_path or input_template, not both", where);
    if (route->input_paths && !route->input_template)
        problems_add(problems, "%s input_paths are for an input_template", where);
    if (route->unmarshalled && (route->input_path || route->input_template))
        problems_add(problems, "%s unmarshalled goes with image only", where);
    free(where);
}

void conf_check_routes(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route *route = &config->routes[i];
        handler_settings_init(&route->settings);
        route->settings.concurrency = 1000; /* a message costs less than a call of Lua */
        for (size_t j = 0; j < route->section.pair_count; j++)
            read_pair(config, route, &route->section.pairs[j], problems);
        check_route(config, route, problems);
    }
}
