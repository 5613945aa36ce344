/* config.c: a configuration as a value: its defaults, what is in it, what differs from another. */
#include "conf/config.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/mem.h"
#include "conf/tables.h"
#include "conf/target_type.h"

#define SETTINGS_MAX 63 /* keys of a handler */

static void set_defaults(struct config *config, const struct config_plugs *plugs)
{
    char name[64] = "tidemill"; /* as much as a host's name may have */
    gethostname(name, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    config->host = (struct config_host){
        .name = mem_string(name),
        .group = mem_string("tidemill"),
        .scripts = mem_string("scripts"),
        .state = mem_printf("%s:%s", plugs->stores[0]->scheme, plugs->stores[0]->standard),
        .log_level = LOG_INFO,
        .landlock = 1,
        .log_format = LOG_AUTO,
        .otlp_sample_ppm = 10000,
        .shutdown_timeout_ms = 30 * SECOND_MS,
        .secrets_age_ms = 5 * 60 * SECOND_MS,
        .checkpoint_interval_ms = SECOND_MS,
        .lease_ms = 10 * SECOND_MS,
        .create_state = 1,
    };
    config->aws = (struct config_aws){.connections = 64, .call_timeout_ms = 30 * SECOND_MS};
}

struct config *config_empty(const struct config_plugs *plugs)
{
    struct config *config = mem_zero(sizeof *config);
    config->path = mem_string("");
    atomic_init(&config->holders, 1);
    set_defaults(config, plugs);
    config->target_types = plugs->targets;
    return config;
}

struct config_found {
    struct config_found *next;
    const struct config_stream *many;
    struct config_stream stream; /* its texts are those of `many`, but for the table */
};

static void free_texts(const struct setting *table, void *object)
{
    for (; table->name; table++)
        if (table->type == SETTING_TEXT)
            free(*(char **)((char *)object + table->offset));
}

const struct config *config_hold(const struct config *config)
{
    if (config)
        CHECK(atomic_fetch_add(&((struct config *)config)->holders, 1) > 0);
    return config;
}

static void free_section(struct config_handler *section)
{
    for (size_t i = 0; i < section->pair_count; i++) {
        free(section->pairs[i].name);
        mem_free_secret(section->pairs[i].value);
        free(section->pairs[i].shown);
    }
    free(section->pairs);
    free(section->name);
}

void config_release(const struct config *held)
{
    struct config *config = (struct config *)held;
    if (!config || atomic_fetch_sub(&config->holders, 1) != 1)
        return;
    free_texts(conf_host_settings, &config->host);
    free_texts(conf_aws_settings, &config->aws);
    for (struct config_found *found = config->found, *next; found; found = next) {
        next = found->next;
        free(found->stream.table);
        free(found);
    }
    for (size_t i = 0; i < config->stream_count; i++) {
        free_texts(conf_stream_settings, &config->streams[i]);
        names_fini(&config->streams[i].tables);
        free(config->streams[i].name);
    }
    for (size_t i = 0; i < config->handler_count; i++)
        free_section(&config->handlers[i]);
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
    for (size_t i = 0; i < config->intake_count; i++) {
        free_texts(conf_intake_settings, &config->intakes[i]);
        free(config->intakes[i].name);
    }
    for (size_t i = 0; i < config->target_count; i++)
        conf_target_fini(&config->targets[i]);
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route *route = &config->routes[i];
        free_texts(conf_route_settings, route);
        handler_settings_fini(&route->settings);
        free_section(&route->section);
    }
    for (size_t i = 0; i < config->price_count; i++)
        free(config->prices[i].name);
    for (size_t i = 0; i < config->reference_count; i++) {
        free(config->references[i].kind);
        free(config->references[i].name);
    }
    free(config->references);
    free(config->prices);
    free(config->currency);
    free(config->targets);
    free(config->routes);
    free(config->tables);
    free(config->intakes);
    free(config->streams);
    free(config->handlers);
    free(config->path);
    free(config);
}

double config_price(const struct config *config, const char *name)
{
    /* https://aws.amazon.com/dynamodb/pricing/on-demand/, us-east-1, since November 2024 */
    static const struct {
        const char *name;
        double price;
    } usual[] = {{CONFIG_PRICE_STREAM, 0.20}, {CONFIG_PRICE_READ, 0.125}, {CONFIG_PRICE_WRITE, 0.625}};
    for (size_t i = 0; i < config->price_count; i++)
        if (strcmp(config->prices[i].name, name) == 0)
            return config->prices[i].price;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (strcmp(usual[i].name, name) == 0)
            return usual[i].price;
    const struct target_type *type = target_type_find(config->target_types, name);
    return type ? type->price : 0;
}

int64_t config_read_late_ms(const struct config_stream *stream)
{
    int64_t polls_ms = stream ? 3 * stream->poll_max_ms : 0;
    return polls_ms > CONFIG_READ_LATE_MS ? polls_ms : CONFIG_READ_LATE_MS;
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

const struct config_target *config_target(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->target_count; i++)
        if (strcmp(config->targets[i].name, name) == 0)
            return &config->targets[i];
    return NULL;
}

const struct config_route *config_route(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (strcmp(config->routes[i].name, name) == 0)
            return &config->routes[i];
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
    return in_a && in_b
               ? settings_same(conf_stream_settings, in_a, in_b) && in_a->start_at_ms == in_b->start_at_ms
               : !in_a && !in_b;
}

const struct config_table *config_table(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->table_count; i++)
        if (strcmp(config->tables[i].name, name) == 0)
            return &config->tables[i];
    return NULL;
}

const struct config_intake *config_intake(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->intake_count; i++)
        if (strcmp(config->intakes[i].name, name) == 0)
            return &config->intakes[i];
    return NULL;
}

bool config_same_intake(const struct config *a, const struct config *b, const char *name)
{
    const struct config_intake *in_a = config_intake(a, name), *in_b = config_intake(b, name);
    return in_a && in_b ? settings_same(conf_intake_settings, in_a, in_b) : !in_a && !in_b;
}

static const struct config_pair *find_pair(const struct config_handler *handler, const char *name)
{
    for (size_t i = 0; i < handler->pair_count; i++)
        if (strcmp(handler->pairs[i].name, name) == 0)
            return &handler->pairs[i];
    return NULL;
}

static bool same_section(const struct config_handler *in_a, const struct config_handler *in_b)
{
    size_t count_a = in_a ? in_a->pair_count : 0, count_b = in_b ? in_b->pair_count : 0;
    bool same = count_a == count_b;
    for (size_t i = 0; same && i < count_a; i++) {
        const struct config_pair *pair = find_pair(in_b, in_a->pairs[i].name);
        same = pair && strcmp(pair->value, in_a->pairs[i].value) == 0;
    }
    return same;
}

bool config_same_handler(const struct config *a, const struct config *b, const char *name)
{
    return same_section(config_handler(a, name), config_handler(b, name));
}

bool config_same_route(const struct config *a, const struct config *b, const char *name)
{
    const struct config_route *in_a = config_route(a, name), *in_b = config_route(b, name);
    return in_a && in_b ? same_section(&in_a->section, &in_b->section) : !in_a && !in_b;
}

bool config_same_targets(const struct config *a, const struct config *b)
{
    if ((a ? a->target_count : 0) != (b ? b->target_count : 0))
        return false;
    for (size_t i = 0; a && i < a->target_count; i++) {
        const struct config_target *other = config_target(b, a->targets[i].name);
        if (!other || !conf_same_target(&a->targets[i], other))
            return false;
    }
    return true;
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
    names_fini(&settings->streams);
    for (const struct setting *setting = conf_handler_settings; setting->name; setting++)
        if (setting->type == SETTING_TEXT) {
            char **text = (char **)((char *)settings + setting->offset);
            free(*text);
            *text = NULL;
        }
}

void handler_settings_copy(struct handler_settings *settings, const struct handler_settings *from)
{
    handler_settings_fini(settings);
    *settings = *from;
    names_copy(&settings->streams, &from->streams);
    for (const struct setting *setting = conf_handler_settings; setting->name; setting++)
        if (setting->type == SETTING_TEXT) {
            char **text = (char **)((char *)settings + setting->offset);
            *text = mem_string(*text);
        }
}

const char *handler_settings_nearest(const char *name)
{
    const char *names[SETTINGS_MAX + 1] = {NULL};
    setting_names(conf_handler_settings, names, SETTINGS_MAX);
    return nearest_name(name, names);
}

bool handler_settings_knows(const char *name)
{
    return setting_find(conf_handler_settings, name) != NULL;
}

bool handler_settings_set(struct handler_settings *settings, const char *name, const char *text,
                          const char *shown, struct err *err)
{
    return setting_store(setting_find(conf_handler_settings, name), settings, text, shown, err);
}

void handler_settings_overlay(struct handler_settings *settings, const struct config *config,
                              const struct config_handler *handler, struct problems *problems)
{
    for (size_t i = 0; handler && i < handler->pair_count; i++) {
        const struct config_pair *pair = &handler->pairs[i];
        struct err err;
        if (handler_settings_knows(pair->name) &&
            !handler_settings_set(settings, pair->name, pair->value, pair->shown, &err))
            problems_add(problems, "%s:%d: [%s %s] %s", config->path, pair->line, handler->kind,
                         handler->name, err.text);
    }
}

int config_key_line(const struct config_handler *section, const char *name)
{
    const struct config_pair *pair = find_pair(section, name);
    return pair ? pair->line : section->line;
}

const char *config_shown(const struct config_handler *section, const char *name, const char *value)
{
    const struct config_pair *pair = section ? find_pair(section, name) : NULL;
    return pair && strcmp(pair->value, value) == 0 ? pair->shown : value;
}

bool config_refuse(const struct config_handler *section, const char *name, const char *value, struct err *err)
{
    return setting_refuse(name, value, config_shown(section, name, value), err);
}

void handler_settings_check(const struct handler_settings *settings, const struct config *config,
                            const struct config_handler *section, const char *where,
                            struct problems *problems)
{
    const char *to = settings->on_failure;
    if (strcmp(to, "dead") == 0 || strcmp(to, "discard") == 0 || (config && config_target(config, to)))
        return;
    problems_add(problems,
                 "%s on_failure: \"%s\" is neither dead, nor discard, nor the name of a [target ...]", where,
                 config_shown(section, "on_failure", to));
}

char *config_stream_subject(const struct config *config, const struct config_stream *stream)
{
    const struct config_stream *named = config_stream(config, stream->name);
    return named && config_stream_is_many(named) && stream->table
               ? mem_printf("stream %s (%s)", stream->name, stream->table)
               : mem_printf("stream %s", stream->name);
}

bool config_stream_is_many(const struct config_stream *stream)
{
    return stream->tables.each || stream->tag;
}

bool config_stream_fits(const struct config_stream *stream, const char *table)
{
    char **each = stream->tables.each;
    bool any = !each && stream->tag;
    for (size_t i = 0; each && each[i] && !any; i++)
        any = fnmatch(each[i], table, FNM_NOESCAPE) == 0;
    return any;
}

const struct config_stream *config_stream_of(const struct config *config, const struct config_stream *many,
                                             const char *table)
{
    struct config_found **end = (struct config_found **)&config->found;
    for (; *end; end = &(*end)->next)
        if ((*end)->many == many && strcmp((*end)->stream.table, table) == 0)
            return &(*end)->stream;
    struct config_found *found = *end = mem_zero(sizeof *found);
    found->many = many;
    found->stream = *many;
    found->stream.tables = (struct names){0};
    found->stream.tag = NULL;
    found->stream.table = mem_string(table);
    return &found->stream;
}

char *config_stream_table(const struct config_stream *stream)
{
    return stream->table ? mem_string(stream->table) : stream->arn ? table_of_arn(stream->arn, NULL) : NULL;
}

/* A shard's records would come twice, and have one place. */
static bool read_twice(const struct handler_settings *settings, const struct config *config, struct err *err)
{
    char **each = settings->streams.each;
    bool twice = false;
    for (size_t i = 0; !twice && each[i]; i++) {
        char *table = config_stream_table(config_stream(config, each[i]));
        for (size_t j = 0; !twice && j < i; j++) {
            char *other = config_stream_table(config_stream(config, each[j]));
            const struct config_stream *left = config_stream(config, each[j]),
                                       *right = config_stream(config, each[i]);
            twice = table && other ? strcmp(table, other) == 0
                    : table        ? config_stream_fits(left, table) && !left->tag
                    : other        ? config_stream_fits(right, other) && !right->tag
                                   : false;
            if (twice)
                err_set(err, ERR_CONFIG, "stream: %s and %s are both of the table %s", each[j], each[i],
                        table ? table : other);
            free(other);
        }
        free(table);
    }
    return twice;
}

bool handler_streams_check(const struct handler_settings *settings, const struct config *config,
                           const struct config_handler *section, struct err *err)
{
    const struct names *streams = &settings->streams;
    if (settings->intake && !config_intake(config, settings->intake))
        return err_set(err, ERR_CONFIG, "intake: there is no [intake %s]", settings->intake);
    if (settings->intake && streams->each)
        return err_set(err, ERR_CONFIG, "intake: it has requests, and reads no stream");
    const char *shown = streams->text ? config_shown(section, "stream", streams->text) : NULL;
    for (size_t i = 0; streams->each && streams->each[i]; i++)
        if (!config_stream(config, streams->each[i]))
            return err_set(err, ERR_CONFIG, "stream: there is no [stream %s]",
                           !shown || strcmp(shown, streams->text) == 0 ? streams->each[i] : shown);
    return !streams->each || !read_twice(settings, config, err);
}

const struct config_stream *handler_stream_of(const struct handler_settings *settings,
                                              const struct config *config, const char *table)
{
    const struct config_stream *first = NULL;
    for (size_t i = 0; config && settings->streams.each && settings->streams.each[i]; i++) {
        const struct config_stream *stream = config_stream(config, settings->streams.each[i]);
        char *its = stream ? config_stream_table(stream) : NULL;
        bool same = its && table && strcmp(its, table) == 0;
        free(its);
        if (same)
            return stream;
        first = first ? first : stream;
    }
    return first;
}

const char *config_handler_script(const struct config_handler *section)
{
    for (size_t i = 0; i < section->pair_count; i++)
        if (strcmp(section->pairs[i].name, "script") == 0 &&
            strcmp(section->pairs[i].value, section->name) != 0)
            return section->pairs[i].value;
    return NULL;
}

bool config_script_is_shared(const struct config *config, const char *name)
{
    bool shared = false;
    for (size_t i = 0; i < config->handler_count; i++) {
        const char *script = config_handler_script(&config->handlers[i]);
        if (strcmp(config->handlers[i].name, name) == 0)
            return false;
        shared = shared || (script && strcmp(script, name) == 0);
    }
    return shared;
}
