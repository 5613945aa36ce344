/* load.c: a file to a configuration; whatever is wrong becomes a line that says where. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arn.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/check.h"
#include "base/address.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conf/config.h"
#include "conf/ini.h"
#include "conf/tables.h"
#include "conf/target_type.h"

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define CONFIG_BYTES_MAX (4u * MIB)
#define VIEW_DEFAULT 4      /* new_and_old_images: what handlers want */
#define NAME_BYTES_MAX 63   /* as much of it is part of a session, see lease/table.h */
#define GROUP_BYTES_MAX 200 /* of a key's 2048 */
#define ADMIN_TOKEN_BYTES_MIN 16
#define SECRET_BYTES_MAX (64u * KIB)
#define REFERENCE_BYTES_MAX 2048

struct load {
    struct config *config;
    struct problems *problems;
    const struct config_plugs *plugs;
    const struct config_aws *aws; /* whom to ask, and how */
    size_t told;                  /* of these, by entries; others are about lines that are none */
    struct map_of_lines {
        char **keys; /* "section\nname" seen before ... */
        int *lines;  /* ... on these lines */
        size_t count, capacity, line_capacity;
    } seen;
    const struct setting *table; /* of the open section, NULL: the script's own or an unknown section */
    size_t current;              /* index of the stream or handler */
    enum {
        IN_NOTHING,
        IN_HOST,
        IN_AWS,
        IN_STREAM,
        IN_HANDLER,
        IN_TABLE,
        IN_TARGET,
        IN_ROUTE,
        IN_INTAKE,
        IN_PRICES
    } in;
};

static void complain(struct load *load, const char *section, int line, const char *sentence)
{
    problems_add(load->problems, "%s:%d: [%s] %s", load->config->path, line, section, sentence);
}

/* "NAME" or "NAME:-otherwise", as shells have it: that counts where the variable is not set, or is empty. */
static bool fill_in_variable(const char *text, struct buf *out, struct err *err)
{
    const char *otherwise = strstr(text, ":-");
    char *name = mem_copy(text, otherwise ? (size_t)(otherwise - text) : strlen(text));
    const char *value = getenv(name);
    if (otherwise && (!value || !*value))
        value = otherwise + 2;
    if (value)
        buf_add_text(out, value);
    else
        err_set(err, ERR_CONFIG,
                "${env:%s}: the environment has no %s (${env:%s:-TEXT} says what counts then)", name, name,
                name);
    free(name);
    return value != NULL;
}

static bool fill_in_file(struct config *config, const char *name, struct buf *out, struct err *err)
{
    size_t size;
    char *path = path_beside(config->path, name), *text = file_read(path, SECRET_BYTES_MAX, &size, err);
    free(path);
    if (!text)
        return err_prefix(err, "${file:%s}", name);
    while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    buf_add(out, text, size);
    config->files_hash = hash_bytes(text, size, config->files_hash + 1) | 1;
    explicit_bzero(text, size);
    free(text);
    return true;
}

/* What is needed to find the state, and to ask AWS, cannot be asked for there. */
static bool may_ask(const struct load *load, const char *key)
{
    return load->in != IN_AWS && (load->in != IN_HOST || strcmp(key, "admin_token") == 0);
}

/* Nobody is to be asked. */
static bool stand_in(const struct load *load, const char *kind, const char *name, struct buf *out,
                     struct err *err)
{
    if (load->plugs->plays && (load->in == IN_HANDLER || load->in == IN_INTAKE)) {
        buf_printf(out, "${%s:%s}", kind, name);
        return true;
    }
    err->code = ERR_NONE;
    return load->plugs->plays && load->in != IN_TARGET && load->in != IN_HOST
               ? err_set(
                     err, ERR_CONFIG,
                     "${%s:%s}: dev, test and a dry run ask nobody, and what it stands for is needed here "
                     "(${env:NAME:-TEXT} could stand there)",
                     kind, name)
               : false;
}

static bool fill_in_secret(struct load *load, const char *key, const char *kind, const char *name,
                           struct buf *out, struct err *err)
{
    struct config *config = load->config;
    size_t before = out->size;
    if (!may_ask(load, key))
        return err_set(
            err, ERR_CONFIG,
            "${%s:%s}: in [aws], and in [host] but for admin_token, only ${env:} and ${file:} can be "
            "asked for",
            kind, name);
    if (!*name || strlen(name) > REFERENCE_BYTES_MAX)
        return err_set(err, ERR_CONFIG, "${%s:%s}: a name expected, such as ${%s:%s}", kind, name, kind,
                       strcmp(kind, "ssm") == 0 ? "/crm/token" : "crm or crm#password");
    mem_grow(&config->references, &config->reference_capacity, config->reference_count,
             sizeof *config->references);
    config->references[config->reference_count++] =
        (struct config_reference){mem_string(kind), mem_string(name)};
    if (!load->plugs->secret)
        return stand_in(load, kind, name, out, err);
    if (!load->plugs->secret(load->plugs->user, load->aws, kind, name, out, err))
        return err_prefix(err, "${%s:%s}", kind, name);
    config->files_hash = hash_bytes(out->data + before, out->size - before, config->files_hash + 1) | 1;
    return true;
}

/* Fill in one ${env:NAME}, ${file:PATH}, ${ssm:NAME} or ${secret:NAME} in the value of `key`; `name` is what
 * stands between the braces. False and `err`, whose code is ERR_NONE where nobody was to be asked. */
static bool fill_in(struct load *load, const char *key, const char *name, struct buf *out, struct err *err)
{
    if (strncmp(name, "env:", 4) == 0)
        return fill_in_variable(name + 4, out, err);
    if (strncmp(name, "file:", 5) == 0)
        return fill_in_file(load->config, name + 5, out, err);
    if (strncmp(name, "ssm:", 4) == 0)
        return fill_in_secret(load, key, "ssm", name + 4, out, err);
    if (strncmp(name, "secret:", 7) == 0)
        return fill_in_secret(load, key, "secret", name + 7, out, err);
    return err_set(err, ERR_CONFIG,
                   "${%s}: only ${env:NAME}, ${file:PATH}, ${ssm:NAME} and ${secret:NAME} are known", name);
}

static char *expand(struct load *load, const char *key, const char *value, struct err *err)
{
    struct buf out = BUF_INIT;
    const char *open;
    while ((open = strstr(value, "${"))) {
        const char *close = strchr(open, '}');
        if (!close) {
            err_set(err, ERR_CONFIG, "\"${\" without its \"}\"");
            goto failed;
        }
        buf_add(&out, value, (size_t)(open - value));
        char *name = mem_copy(open + 2, (size_t)(close - open - 2));
        bool ok = fill_in(load, key, name, &out, err);
        free(name);
        if (!ok)
            goto failed;
        value = close + 1;
    }
    buf_add_text(&out, value);
    return buf_take(&out);
failed:
    buf_fini_secret(&out);
    return NULL;
}

/* The line on which this was seen before, or 0 and it is remembered. */
static int seen_before(struct load *load, const char *section, const char *name, int line)
{
    char *key = mem_printf("%s\n%s", section, name);
    for (size_t i = 0; i < load->seen.count; i++) {
        if (strcmp(load->seen.keys[i], key) == 0) {
            free(key);
            return load->seen.lines[i];
        }
    }
    mem_grow(&load->seen.keys, &load->seen.capacity, load->seen.count, sizeof *load->seen.keys);
    mem_grow(&load->seen.lines, &load->seen.line_capacity, load->seen.count, sizeof *load->seen.lines);
    load->seen.lines[load->seen.count] = line;
    load->seen.keys[load->seen.count++] = key;
    return 0;
}

static void open_stream(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->streams, &config->stream_capacity, config->stream_count, sizeof *config->streams);
    config->streams[config->stream_count] = (struct config_stream){
        .name = mem_string(name),
        .start = START_TRIM_HORIZON,
        .batch_size = 1000,
        .poll_min_ms = 100,
        .poll_max_ms = SECOND_MS,
        .window_bytes = 32 * MIB,
        .discovery_ms = 30 * SECOND_MS,
        .line = line,
    };
    load->in = IN_STREAM;
    load->table = conf_stream_settings;
    load->current = config->stream_count++;
}

static void open_handler(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->handlers, &config->handler_capacity, config->handler_count, sizeof *config->handlers);
    config->handlers[config->handler_count] =
        (struct config_handler){"handler", .name = mem_string(name), .line = line};
    load->in = IN_HANDLER;
    load->table = NULL;
    load->current = config->handler_count++;
}

static void open_table(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->tables, &config->table_capacity, config->table_count, sizeof *config->tables);
    config->tables[config->table_count] =
        (struct config_table){.name = mem_string(name), .stream = VIEW_DEFAULT, .line = line};
    load->in = IN_TABLE;
    load->table = conf_table_settings;
    load->current = config->table_count++;
}

static void open_intake(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->intakes, &config->intake_capacity, config->intake_count, sizeof *config->intakes);
    config->intakes[config->intake_count] = (struct config_intake){.name = mem_string(name),
                                                                   .verify = -1,
                                                                   .tolerance_ms = 5 * 60 * SECOND_MS,
                                                                   .body_bytes = MIB,
                                                                   .concurrency = 64,
                                                                   .line = line};
    load->in = IN_INTAKE;
    load->table = conf_intake_settings;
    load->current = config->intake_count++;
}

static void open_target(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->targets, &config->target_capacity, config->target_count, sizeof *config->targets);
    conf_target_init(&config->targets[config->target_count]);
    config->targets[config->target_count].name = mem_string(name);
    config->targets[config->target_count].line = line;
    load->in = IN_TARGET;
    load->table = NULL;
    load->current = config->target_count++;
}

static void open_route(struct load *load, const char *name, int line)
{
    struct config *config = load->config;
    mem_grow(&config->routes, &config->route_capacity, config->route_count, sizeof *config->routes);
    struct config_route *route = &config->routes[config->route_count];
    *route =
        (struct config_route){.section = {"route", .name = mem_string(name), .line = line}, .line = line};
    route->name = route->section.name;
    load->in = IN_ROUTE;
    load->table = NULL;
    load->current = config->route_count++;
}

/* "index NAME" and "local_index NAME" of a table. False: it is none of these. */
static bool add_index(struct load *load, const char *name, const char *value, struct err *err)
{
    struct config_table *table = &load->config->tables[load->current];
    bool local = strncmp(name, "local_index ", 12) == 0, global = strncmp(name, "index ", 6) == 0;
    if (load->in != IN_TABLE || (!local && !global))
        return false;
    const char *given = strchr(name, ' ');
    mem_grow(&table->indexes, &table->index_capacity, table->index_count, sizeof *table->indexes);
    struct config_index *index = &table->indexes[table->index_count++];
    *index = (struct config_index){.name = mem_string(given + strspn(given, " ")), .local = local};
    err->code = ERR_NONE;
    config_key_parse(value, &index->key, err);
    return true;
}

static void open_section(struct load *load, const char *section, int line)
{
    static const char *const known[] = {"host",   "aws",   "stream", "handler", "table",
                                        "target", "route", "intake", "prices",  NULL};
    load->in = IN_NOTHING;
    load->table = NULL;
    int before = seen_before(load, section, "", line);
    if (before) {
        problems_add(load->problems, "%s:%d: [%s] stands on line %d already", load->config->path, line,
                     section, before);
        return;
    }
    const char *space = strchr(section, ' ');
    const char *name = space ? space + strspn(space, " ") : "";
    if (strcmp(section, "host") == 0) {
        load->in = IN_HOST;
        load->table = conf_host_settings;
    } else if (strcmp(section, "aws") == 0) {
        load->in = IN_AWS;
        load->table = conf_aws_settings;
    } else if (strcmp(section, "prices") == 0) {
        load->in = IN_PRICES;
    } else if (strncmp(section, "stream ", 7) == 0 && *name) {
        open_stream(load, name, line);
    } else if (strncmp(section, "handler ", 8) == 0 && *name) {
        open_handler(load, name, line);
    } else if (strncmp(section, "table ", 6) == 0 && *name) {
        open_table(load, name, line);
    } else if (strncmp(section, "target ", 7) == 0 && *name) {
        open_target(load, name, line);
    } else if (strncmp(section, "route ", 6) == 0 && *name) {
        open_route(load, name, line);
    } else if (strncmp(section, "intake ", 7) == 0 && *name) {
        open_intake(load, name, line);
    } else if (strcmp(section, "table") == 0 || strcmp(section, "stream") == 0 ||
               strcmp(section, "handler") == 0 || strcmp(section, "target") == 0 ||
               strcmp(section, "route") == 0 || strcmp(section, "intake") == 0) {
        complain(load, section, line, "needs a name behind it, such as [stream products]");
    } else {
        char *word = mem_copy(section, space ? (size_t)(space - section) : strlen(section));
        const char *meant = nearest_name(word, known);
        problems_add(load->problems, "%s:%d: [%s] is not a known section%s%s%s", load->config->path, line,
                     section, meant ? " (did you mean [" : "", meant ? meant : "", meant ? "]?)" : "");
        load->config->state_known = false; /* it may have been meant for [host] */
        free(word);
    }
}

static void *section_object(struct load *load)
{
    switch (load->in) {
    case IN_HOST:
        return &load->config->host;
    case IN_AWS:
        return &load->config->aws;
    case IN_STREAM:
        return &load->config->streams[load->current];
    case IN_TABLE:
        return &load->config->tables[load->current];
    case IN_INTAKE:
        return &load->config->intakes[load->current];
    default:
        return NULL;
    }
}

static void unknown_key(struct load *load, const char *section, const char *name, int line)
{
    const char *names[32];
    setting_names(load->table, names, sizeof names / sizeof *names);
    const char *meant = nearest_name(name, names);
    problems_add(load->problems, "%s:%d: [%s] %s is not a known key%s%s%s", load->config->path, line, section,
                 name, meant ? " (did you mean " : "", meant ? meant : "", meant ? "?)" : "");
}

/* FNV-1a over the three of them. */
static void add_to_digest(struct config *config, const char *section, const char *name, const char *value)
{
    const char *texts[] = {section, name, value};
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        for (const char *at = texts[i];; at++) {
            hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
            if (!*at)
                break;
        }
    config->digest += hash;
}

/* "sqs = 0.40": a million of them; the name is that of a target's type, or one of ours. */
static void add_price(struct load *load, const char *name, const char *value, int line)
{
    struct config *config = load->config;
    const char *names[32] = {"currency", CONFIG_PRICE_STREAM, CONFIG_PRICE_READ, CONFIG_PRICE_WRITE};
    size_t count = 4;
    bool known = false;
    char *end;
    for (size_t i = 0; config->target_types && config->target_types[i] && count < 31; i++)
        if (config->target_types[i]->paid)
            names[count++] = config->target_types[i]->name;
    for (size_t i = 0; i < count; i++)
        known = known || strcmp(names[i], name) == 0;
    if (!known) {
        const char *meant = nearest_name(name, names);
        problems_add(load->problems, "%s:%d: [prices] %s is not a known key%s%s%s", config->path, line, name,
                     meant ? " (did you mean " : "", meant ? meant : "", meant ? "?)" : "");
        return;
    }
    if (strcmp(name, "currency") == 0) {
        free(config->currency);
        config->currency = mem_string(value);
        return;
    }
    double price = strtod(value, &end);
    if (end == value || *end || !(price >= 0 && price < 1e9)) {
        problems_add(load->problems,
                     "%s:%d: [prices] %s: \"%s\" is no price (what a million costs, like 0.40)", config->path,
                     line, name, value);
        return;
    }
    mem_grow(&config->prices, &config->price_capacity, config->price_count, sizeof *config->prices);
    config->prices[config->price_count++] = (struct config_price){mem_string(name), price, line};
}

static void read_entry(struct load *load, const char *section, const char *name, const char *value, int line)
{
    if (!name) {
        open_section(load, section, line);
        return;
    }
    if (load->in == IN_NOTHING) {
        if (!*section)
            problems_add(load->problems, "%s:%d: %s stands before the first [section]", load->config->path,
                         line, name);
        return;
    }
    if (strcmp(section, "host") != 0 && strcmp(section, "aws") != 0)
        add_to_digest(load->config, section, name, value);
    int before = seen_before(load, section, name, line);
    struct err err = {0};
    if (before) {
        problems_add(load->problems, "%s:%d: [%s] %s stands on line %d already", load->config->path, line,
                     section, name, before);
        return;
    }
    char *filled = expand(load, name, value, &err);
    load->config->incomplete = load->config->incomplete || !filled;
    if (!filled && err.code != ERR_NONE)
        problems_add(load->problems, "%s:%d: [%s] %s: %s", load->config->path, line, section, name, err.text);
    if (!filled)
        return;
    if (load->in == IN_PRICES) {
        add_price(load, name, filled, line);
        free(filled);
        return;
    }
    if (load->in == IN_TARGET) {
        struct config_target *target = &load->config->targets[load->current];
        mem_grow(&target->pairs, &target->pair_capacity, target->pair_count, sizeof *target->pairs);
        target->pairs[target->pair_count++] =
            (struct config_pair){mem_string(name), filled, mem_string(value), line};
        return;
    }
    if (load->in == IN_HANDLER || load->in == IN_ROUTE) {
        struct config_handler *handler = load->in == IN_HANDLER
                                             ? &load->config->handlers[load->current]
                                             : &load->config->routes[load->current].section;
        mem_grow(&handler->pairs, &handler->pair_capacity, handler->pair_count, sizeof *handler->pairs);
        handler->pairs[handler->pair_count++] =
            (struct config_pair){mem_string(name), filled, mem_string(value), line};
        return;
    }
    if (add_index(load, name, filled, &err)) {
        if (err.code)
            problems_add(load->problems, "%s:%d: [%s] %s: %s", load->config->path, line, section, name,
                         err.text);
        free(filled);
        return;
    }
    if (load->in == IN_STREAM && strcmp(name, "start") == 0 &&
        (strcmp(filled, "at") == 0 || strncmp(filled, "at ", 3) == 0)) {
        struct config_stream *stream = section_object(load);
        if (filled[2] && clock_read_iso8601(filled + 3, &stream->start_at_ms) && stream->start_at_ms > 0 &&
            stream->start_at_ms <= (int64_t)time(NULL) * 1000)
            stream->start = START_AT;
        else
            problems_add(
                load->problems,
                "%s:%d: [%s] start: at 2026-01-31T12:00:00Z expected, a time that is over, not \"%s\"",
                load->config->path, line, section, value);
        free(filled);
        return;
    }
    const struct setting *setting = setting_find(load->table, name);
    if (!setting)
        unknown_key(load, section, name, line);
    else if (!setting_store(setting, section_object(load), filled, value, &err))
        problems_add(load->problems, "%s:%d: [%s] %s", load->config->path, line, section, err.text);
    mem_free_secret(filled);
}

static void on_entry(void *user, const char *section, const char *name, const char *value, int line)
{
    struct load *load = user;
    size_t before = load->problems->count;
    read_entry(load, section, name, value, line);
    size_t found = load->problems->count - before;
    load->told += found;
    if (found && (!*section || strcmp(section, "host") == 0 || strcmp(section, "aws") == 0))
        load->config->state_known = false;
}

/* Never 0. */
static uint64_t hash_text(const char *text, size_t size)
{
    return hash_bytes(text, size, 1) | 1;
}

uint64_t config_text_hash(const char *path)
{
    size_t size = 0;
    char *text = file_read(path, CONFIG_BYTES_MAX, &size, NULL);
    uint64_t hash = text ? hash_text(text, size) : 0;
    free(text);
    return hash;
}

static void refuse(const struct config *config, const struct config_stream *stream, const char *key,
                   const char *value, const char *expected, struct problems *problems)
{
    problems_add(problems, "%s:%d: [stream %s] %s: %s expected, not \"%s\"", config->path, stream->line,
                 stream->name, key, expected, value);
}

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* A name, or "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME". */
static bool is_kinesis(const char *text)
{
    if (strncmp(text, "arn:", 4) == 0) {
        const char *name = strstr(text, ":kinesis:") ? strstr(text, ":stream/") : NULL;
        text = name ? name + strlen(":stream/") : "";
    }
    size_t size = strlen(text);
    return size && size <= 128 && strspn(text, NAME_CHARACTERS) == size;
}

/* What names a stream is a name; what is none would be looked for in vain. */
static void check_stream_names(const struct config *config, const struct config_stream *stream,
                               struct problems *problems)
{
    char **each = stream->tables.each;
    for (size_t i = 0; each && each[i]; i++)
        if (strspn(each[i], NAME_CHARACTERS "*?") != strlen(each[i]))
            refuse(config, stream, "tables", each[i], "names of tables, with * for what may differ",
                   problems);
    if (stream->tag && (*stream->tag == ':' || strchr(stream->tag, '=')))
        refuse(config, stream, "tag", stream->tag, "KEY:VALUE, or KEY", problems);
    if (stream->kinesis && !is_kinesis(stream->kinesis))
        refuse(config, stream, "kinesis", stream->kinesis, "a Kinesis stream's name or ARN", problems);
    if (stream->arn && snapshot_of_arn(stream->arn))
        refuse(config, stream, "arn", stream->arn, "a stream's ARN", problems);
    if (stream->export &&
        (strncmp(stream->export, "s3://", 5) == 0 ? !stream->export[5] || stream->export[5] == '/'
                                                  : strstr(stream->export, "://") != NULL))
        refuse(config, stream, "export", stream->export, "s3://BUCKET/PREFIX or a directory", problems);
}

/* Where there is nothing but an embedded DynamoDB: what comes by Kinesis comes by the table's own stream, and
 * what an export has is what the table has. */
static void play_streams(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        struct config_stream *stream = &config->streams[i];
        if (stream->kinesis && !stream->table)
            problems_add(problems, "%s:%d: [stream %s] needs a table beside kinesis to be played without AWS",
                         config->path, stream->line, stream->name);
        stream->snapshot = stream->snapshot || stream->export;
        stream->played = stream->export ? "export" : stream->kinesis ? "kinesis" : NULL;
        free(stream->kinesis);
        free(stream->export);
        stream->kinesis = stream->export = NULL;
    }
}

static void check_streams(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        struct config_stream *stream = &config->streams[i];
        int named = (stream->table || stream->kinesis) + !!stream->arn + config_stream_is_many(stream);
        if (named != 1 && (named || !config->incomplete))
            problems_add(problems, "%s:%d: [stream %s] needs a table, an arn, or tables%s%s", config->path,
                         stream->line, stream->name, named ? ": one of these" : "",
                         stream->kinesis ? " (kinesis stands beside table, or alone)" : "");
        check_stream_names(config, stream, problems);
        if (stream->kinesis && !stream->table && (stream->snapshot || stream->export))
            problems_add(problems, "%s:%d: [stream %s] needs a table beside kinesis: whose items come first?",
                         config->path, stream->line, stream->name);
        if (stream->export && config_stream_is_many(stream))
            problems_add(problems, "%s:%d: [stream %s] export is of one table, and this names many",
                         config->path, stream->line, stream->name);
        if (stream->poll_min_ms > stream->poll_max_ms)
            problems_add(problems, "%s:%d: [stream %s] poll_min is longer than poll_max", config->path,
                         stream->line, stream->name);
    }
    if (config->stream_count == 0 && config->intake_count == 0)
        problems_add(problems, "%s:1: no [stream NAME] section: there is nothing to read", config->path);
}

#define INTAKE_SECRET_BYTES_MIN 8

/* The shortest of those between blanks; 0: there are none. */
static size_t shortest_word(const char *text)
{
    size_t shortest = 0;
    for (; text && *text; text += strspn(text, " \t")) {
        size_t size = strcspn(text, " \t");
        shortest = size && (!shortest || size < shortest) ? size : shortest;
        text += size;
    }
    return shortest;
}

static void check_intake(struct config *config, struct config_intake *intake, struct problems *problems)
{
    char *where = mem_printf("%s:%d: [intake %s]", config->path, intake->line, intake->name);
    union address address;
    struct err err;
    if (!intake->listen)
        problems_add(problems, "%s needs listen: an address such as 127.0.0.1:8080", where);
    else if (!address_read(intake->listen, &address, &err))
        problems_add(problems, "%s listen: %s", where, err.text);
    if (!intake->certificate != !intake->key)
        problems_add(problems, "%s certificate and key go together", where);
    if (intake->path && *intake->path != '/')
        problems_add(problems, "%s path: it begins with /", where);
    if (intake->verify < 0)
        problems_add(
            problems,
            "%s needs verify: github, stripe, slack, standard, tidemill, hmac or bearer, with a secret; "
            "or none, where whoever can send may",
            where);
    if (intake->verify > VERIFY_NONE && !intake->secrets && !config->incomplete)
        problems_add(problems, "%s needs secret: what its sender signs with", where);
    if (intake->secrets && shortest_word(intake->secrets) < INTAKE_SECRET_BYTES_MIN)
        problems_add(problems,
                     "%s secret: at least %d characters (several, between blanks, while they rotate)", where,
                     INTAKE_SECRET_BYTES_MIN);
    if (intake->verify == VERIFY_NONE && intake->secrets)
        problems_add(problems, "%s verify = none needs no secret", where);
    if (intake->verify == VERIFY_HMAC && !intake->signature)
        problems_add(problems, "%s verify = hmac needs signature: the header that it is in", where);
    if (intake->signature && intake->verify != VERIFY_HMAC && intake->verify >= 0)
        problems_add(problems, "%s signature goes with verify = hmac", where);
    char **files[] = {&intake->certificate, &intake->key};
    for (size_t i = 0; i < COUNT_OF(files); i++)
        if (*files[i]) {
            char *path = path_beside(config->path, *files[i]);
            free(*files[i]);
            *files[i] = path;
        }
    free(where);
}

static void check_table(struct config *config, struct config_table *table, struct problems *problems)
{
    struct err err = {0};
    bool made = table->key_text || table->ttl || table->seed || table->index_count;
    if (!made && !table->max_in_flight)
        problems_add(
            problems,
            "%s:%d: [table %s] needs a key, such as key = id or key = customer, jobId:N; or max_in_flight",
            config->path, table->line, table->name);
    else if (!made)
        return; /* of a table that somebody else makes */
    else if (!table->key_text)
        problems_add(problems, "%s:%d: [table %s] needs a key, such as key = id or key = customer, jobId:N",
                     config->path, table->line, table->name);
    else if (!config_key_parse(table->key_text, &table->key, &err))
        problems_add(problems, "%s:%d: [table %s] key: %s", config->path, table->line, table->name, err.text);
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].local && (table->indexes[i].key.count != 1 || table->key.count != 2))
            problems_add(
                problems,
                "%s:%d: [table %s] local_index %s: one attribute expected, of a table with two in its key",
                config->path, table->line, table->name, table->indexes[i].name);
    if (table->seed) {
        char *seed = path_beside(config->path, table->seed);
        free(table->seed);
        table->seed = seed;
    }
}

/* Check the settings alone now; with the script's own under them, again when the script is loaded. */
static void check_handlers(struct config *config, struct problems *problems)
{
    for (size_t i = 0; i < config->handler_count; i++) {
        struct handler_settings settings;
        handler_settings_init(&settings);
        handler_settings_overlay(&settings, config, &config->handlers[i], problems);
        char *where =
            mem_printf("%s:%d: [handler %s]", config->path,
                       config_key_line(&config->handlers[i], "on_failure"), config->handlers[i].name);
        handler_settings_check(&settings, config, &config->handlers[i], where, problems);
        free(where);
        struct err err;
        if (!handler_streams_check(&settings, config, &config->handlers[i], &err))
            problems_add(problems, "%s:%d: [handler %s] %s", config->path, config->handlers[i].line,
                         config->handlers[i].name, err.text);
        if (settings.script && (!*settings.script || settings.script[strspn(settings.script, NAME_LETTERS)]))
            problems_add(problems,
                         "%s:%d: [handler %s] script: the name of a script in %s expected, without .lua",
                         config->path, config_key_line(&config->handlers[i], "script"),
                         config->handlers[i].name, config->host.scripts);
        handler_settings_fini(&settings);
    }
}

static void resolve_exports(struct config *config)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        char **export = &config->streams[i].export;
        if (!*export || strstr(*export, "://"))
            continue;
        char *path = path_beside(config->path, *export);
        free(*export);
        *export = path;
    }
}

static void resolve_scripts(struct config *config)
{
    char *scripts = path_beside(config->path, config->host.scripts);
    free(config->host.scripts);
    config->host.scripts = scripts;
}

/* What stands behind the scheme; NULL: it is another one. */
static const char *place_in(const struct store_place *store, const char *uri)
{
    size_t size = strlen(store->scheme);
    return strncmp(uri, store->scheme, size) == 0 && uri[size] == ':' && uri[size + 1] ? uri + size + 1
                                                                                       : NULL;
}

static void resolve_state(struct config *config, const struct store_place *const *stores,
                          struct problems *problems)
{
    struct config_host *host = &config->host;
    struct buf forms = BUF_INIT;
    for (; *stores; stores++) {
        const char *place = place_in(*stores, host->state);
        if (place && (*stores)->is_path) {
            char *path = path_beside(config->path, place);
            /* It is a file, whatever such a name means elsewhere. */
            if (*path == ':' || strncmp(path, "file:", 5) == 0) {
                char *plain = mem_printf("./%s", path);
                free(path);
                path = plain;
            }
            char *state = mem_printf("%s:%s", (*stores)->scheme, path);
            free(path);
            free(host->state);
            host->state = state;
        }
        if (place && !host->checkpoint_interval_ms)
            host->checkpoint_interval_ms = (*stores)->checkpoint_interval_ms;
        if (place)
            break;
        buf_printf(&forms, "%s%s", forms.size ? " or " : "", (*stores)->form);
    }
    if (!*stores)
        problems_add(problems, "%s: [host] state: \"%s\" is not %s", config->path, host->state, forms.data);
    buf_fini(&forms);
}

/* Both are parts of keys where hosts share a state. */
static void check_names(const struct config *config, struct problems *problems)
{
    const char *name = config->host.name, *group = config->host.group;
    if (!*name || strlen(name) > NAME_BYTES_MAX || !utf8_valid(name, strlen(name)) || strpbrk(name, "#\n\t"))
        problems_add(problems, "%s: [host] name: one to %d bytes of UTF-8 without # in them", config->path,
                     NAME_BYTES_MAX);
    if (!*group || strlen(group) > GROUP_BYTES_MAX || !utf8_valid(group, strlen(group)))
        problems_add(problems, "%s: [host] group: one to %d bytes of UTF-8", config->path, GROUP_BYTES_MAX);
}

/* RFC 6750's token68, and long enough that nobody finds it by asking. */
static void check_token(const struct config *config, struct problems *problems)
{
    const char *token = config->host.admin_token;
    size_t size = token ? strlen(token) : ADMIN_TOKEN_BYTES_MIN;
    size_t good =
        token ? strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") : size;
    if (size < ADMIN_TOKEN_BYTES_MIN || good < size)
        problems_add(
            problems,
            "%s: [host] admin_token: at least %d letters, digits or - . _ ~ + / = (openssl rand -hex "
            "16 makes one; ${file:...} keeps it out of the INI)",
            config->path, ADMIN_TOKEN_BYTES_MIN);
}

static void check_otlp(const struct config *config, struct problems *problems)
{
    const char *otlp = config->host.otlp;
    if (otlp && *otlp && strncmp(otlp, "http://", 7) != 0 && strncmp(otlp, "https://", 8) != 0)
        problems_add(problems, "%s: [host] otlp: an http:// or https:// URL expected (http://127.0.0.1:4318)",
                     config->path);
}

/* Whoever reaches it sees what is handled here. */
static void check_listen(const struct config *config, struct problems *problems)
{
    const char *listen = config->host.listen;
    union address address;
    struct err err;
    if (!listen || strcmp(listen, "off") == 0)
        return;
    if (!address_read(listen, &address, &err))
        problems_add(problems, "%s: [host] listen: %s, or off", config->path, err.text);
    else if (!address_is_loopback(&address) && !config->host.admin_token && !config->incomplete)
        problems_add(
            problems,
            "%s: [host] listen: %s can be reached from other machines: set admin_token, which whoever "
            "asks has to show then; or name an address of this machine, such as 127.0.0.1:9464",
            config->path, listen);
}

static bool mentions_secrets(const char *text)
{
    return strstr(text, "${ssm:") || strstr(text, "${secret:");
}

bool config_mentions_secrets(const char *path)
{
    size_t size = 0;
    char *text = file_read(path, CONFIG_BYTES_MAX, &size, NULL);
    bool any = text && mentions_secrets(text);
    free(text);
    return any;
}

/* [aws] alone: it may stand behind what is asked for with it. NULL: nothing is asked for. */
static struct config *load_aws(const char *path, const char *text, const struct config_plugs *plugs)
{
    struct problems none = PROBLEMS_INIT; /* they come once more */
    struct config_plugs silent = *plugs;
    silent.secret = NULL;
    struct config *config =
        plugs->secret && mentions_secrets(text) ? config_load(path, &silent, &none) : NULL;
    problems_fini(&none);
    return config;
}

struct config *config_load(const char *path, const struct config_plugs *plugs, struct problems *problems)
{
    struct config *config = config_empty(plugs);
    free(config->path);
    config->path = mem_string(path);
    struct err err;
    size_t size = 0, problems_before = problems->count;
    char *text = file_read(path, CONFIG_BYTES_MAX, &size, &err);
    if (!text) {
        problems_add(problems, "%s", err.text);
        return config;
    }
    struct config *first = load_aws(path, text, plugs);
    struct load load = {
        .config = config, .problems = problems, .plugs = plugs, .aws = first ? &first->aws : &config->aws};
    config->text_hash = hash_text(text, size);
    config->state_known = true;
    config->host.checkpoint_interval_ms = 0; /* as usual for the state, unless the file says otherwise */
    ini_read(path, text, on_entry, &load, problems);
    if (problems->count - problems_before > load.told)
        config->state_known = false; /* such a line may have been about it */
    free(text);
    config_release(first);
    for (size_t i = 0; i < load.seen.count; i++)
        free(load.seen.keys[i]);
    free(load.seen.keys);
    free(load.seen.lines);
    if (plugs->plays)
        play_streams(config, problems);
    check_streams(config, problems);
    conf_check_targets(config, problems);
    check_handlers(config, problems);
    conf_check_routes(config, problems);
    for (size_t i = 0; i < config->table_count; i++)
        check_table(config, &config->tables[i], problems);
    for (size_t i = 0; i < config->intake_count; i++)
        check_intake(config, &config->intakes[i], problems);
    resolve_scripts(config);
    resolve_exports(config);
    size_t before = problems->count;
    resolve_state(config, plugs->stores, problems);
    check_names(config, problems);
    if (problems->count > before)
        config->state_known = false;
    check_listen(config, problems);
    check_otlp(config, problems);
    check_token(config, problems);
    return config;
}
