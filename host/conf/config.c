/* config.c: a configuration as a value: its defaults, what is in it, what differs from another. */
#include "conf/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/tables.h"

static void set_defaults(struct config *config)
{
    char name[256] = "tidemill";
    gethostname(name, sizeof name - 1);
    config->host = (struct config_host){
        .name = mem_string(name),
        .group = mem_string("tidemill"),
        .scripts = mem_string("scripts"),
        .state = mem_string("sqlite:tidemill.db"),
        .listen = mem_string("127.0.0.1:9464"),
        .log_level = LOG_INFO,
        .log_format = LOG_AUTO,
        .shutdown_timeout_ms = 30 * SECOND_MS,
        .checkpoint_interval_ms = SECOND_MS,
    };
    config->aws = (struct config_aws){.connections = 64, .call_timeout_ms = 30 * SECOND_MS};
}

struct config *config_empty(void)
{
    struct config *config = mem_zero(sizeof *config);
    config->path = mem_string("");
    atomic_init(&config->references, 1);
    set_defaults(config);
    return config;
}

static void free_texts(const struct setting *table, void *object)
{
    for (; table->name; table++)
        if (table->type == SETTING_TEXT)
            free(*(char **)((char *)object + table->offset));
}

const struct config *config_hold(const struct config *config)
{
    if (config)
        atomic_fetch_add(&((struct config *)config)->references, 1);
    return config;
}

void config_release(const struct config *held)
{
    struct config *config = (struct config *)held;
    if (!config || atomic_fetch_sub(&config->references, 1) != 1)
        return;
    free_texts(conf_host_settings, &config->host);
    free_texts(conf_aws_settings, &config->aws);
    for (size_t i = 0; i < config->stream_count; i++) {
        free_texts(conf_stream_settings, &config->streams[i]);
        free(config->streams[i].name);
    }
    for (size_t i = 0; i < config->handler_count; i++) {
        struct config_handler *handler = &config->handlers[i];
        for (size_t j = 0; j < handler->pair_count; j++) {
            free(handler->pairs[j].name);
            mem_free_secret(handler->pairs[j].value);
            free(handler->pairs[j].shown);
        }
        free(handler->pairs);
        free(handler->name);
    }
    for (size_t i = 0; i < config->table_count; i++) {
        struct config_table *table = &config->tables[i];
        free_texts(conf_table_settings, table);
        config_key_fini(&table->key);
        for (size_t j = 0; j < table->index_count; j++) {
            free(table->indexes[j].name);
            config_key_fini(&table->indexes[j].key);
        }
        free(table->indexes);
        free(table->name);
    }
    free(config->tables);
    free(config->streams);
    free(config->handlers);
    free(config->path);
    free(config);
}

const struct config_stream *config_stream(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->stream_count; i++)
        if (strcmp(config->streams[i].name, name) == 0)
            return &config->streams[i];
    return NULL;
}

const struct config_handler *config_handler(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->handler_count; i++)
        if (strcmp(config->handlers[i].name, name) == 0)
            return &config->handlers[i];
    return NULL;
}

/* ---- what differs ---- */

bool config_same_process(const struct config *a, const struct config *b)
{
    return settings_same(conf_host_settings, &a->host, &b->host) &&
           settings_same(conf_aws_settings, &a->aws, &b->aws);
}

bool config_same_stream(const struct config *a, const struct config *b, const char *name)
{
    const struct config_stream *in_a = config_stream(a, name), *in_b = config_stream(b, name);
    return in_a && in_b ? settings_same(conf_stream_settings, in_a, in_b) : !in_a && !in_b;
}

static const struct config_pair *find_pair(const struct config_handler *handler, const char *name)
{
    for (size_t i = 0; i < handler->pair_count; i++)
        if (strcmp(handler->pairs[i].name, name) == 0)
            return &handler->pairs[i];
    return NULL;
}

bool config_same_handler(const struct config *a, const struct config *b, const char *name)
{
    const struct config_handler *in_a = config_handler(a, name), *in_b = config_handler(b, name);
    size_t count_a = in_a ? in_a->pair_count : 0, count_b = in_b ? in_b->pair_count : 0;
    bool same = count_a == count_b;
    for (size_t i = 0; same && i < count_a; i++) {
        const struct config_pair *pair = find_pair(in_b, in_a->pairs[i].name);
        same = pair && strcmp(pair->value, in_a->pairs[i].value) == 0;
    }
    return same;
}

/* ---- the settings of a handler ---- */

void handler_settings_init(struct handler_settings *settings)
{
    *settings = (struct handler_settings){
        .ordering = ORDERING_ITEM,
        .concurrency = 64,
        .batch_size = 100,
        .retries = 10,
        .backoff_ms = {200, 60 * SECOND_MS},
        .max_age_ms = DAY_MS,
        .on_failure = mem_string("dead"),
        .timeout_ms = 30 * SECOND_MS,
        .cpu_limit_ms = SECOND_MS,
        .memory_bytes = 64 * MIB,
    };
}

void handler_settings_fini(struct handler_settings *settings)
{
    free(settings->stream);
    free(settings->on_failure);
    free(settings->allow_hosts);
    settings->stream = settings->on_failure = NULL;
}

bool handler_settings_knows(const char *name)
{
    return setting_find(conf_handler_settings, name) != NULL;
}

bool handler_settings_set(struct handler_settings *settings, const char *name, const char *text,
                          const char *shown, struct err *err)
{
    if (!setting_store(setting_find(conf_handler_settings, name), settings, text, shown, err))
        return false;
    if (strcmp(name, "on_failure") == 0 && strcmp(text, "dead") != 0 && strcmp(text, "discard") != 0)
        return err_set(err, ERR_CONFIG, "on_failure: \"%s\" is neither dead nor discard", shown);
    return true;
}

void handler_settings_overlay(struct handler_settings *settings, const struct config *config,
                              const struct config_handler *handler, struct problems *problems)
{
    for (size_t i = 0; handler && i < handler->pair_count; i++) {
        const struct config_pair *pair = &handler->pairs[i];
        struct err err;
        if (handler_settings_knows(pair->name) &&
            !handler_settings_set(settings, pair->name, pair->value, pair->shown, &err))
            problems_add(problems, "%s:%d: [handler %s] %s", config->path, pair->line, handler->name,
                         err.text);
    }
}
