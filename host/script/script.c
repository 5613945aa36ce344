/* script.c: from a file to a handler: compile, run the main part, read the table it returns. */
#include "script/script.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "filter/filter.h"
#include "script/directory.h"
#include "script/internal.h"
#include "value/lua_value.h"

#define NAMES_MAX 100 /* in a list of them */
#define SCRIPT_BYTES_MAX (4u << 20)
#define LOAD_MS_MAX 5000 /* for a script's main part */
#define LOAD_BYTES_MAX ((size_t)1 << 30)

static const char *const function_names[FUNCTION_COUNT] = {"on_insert", "on_modify", "on_remove", "on_record",
                                                           "on_batch",  "on_window", "on_request"};

/* A message that names the script's line, whoever raised it. */
static int with_line(lua_State *L)
{
    char line[512];
    const char *text = state_without_library_line(luaL_tolstring(L, 1, NULL));
    state_find_line(L, line, sizeof line);
    if (*line && !strstr(text, script_of(L)->path))
        lua_pushfstring(L, "%s: %s", line, text);
    return 1;
}

struct loading {
    struct script *script;
    struct problems *problems;
    const char *text;
    size_t size;
    bool odd; /* one of the functions is none */
};

static void complain(struct loading *loading, const char *sentence)
{
    problems_add(loading->problems, "%s: %s", loading->script->path, sentence);
}

static bool is_function_name(const char *name)
{
    for (int i = 0; i < FUNCTION_COUNT; i++)
        if (strcmp(name, function_names[i]) == 0)
            return true;
    return false;
}

static void read_function(struct loading *loading, lua_State *L, const char *name)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(name, function_names[i]) != 0)
            continue;
        if (lua_type(L, -1) != LUA_TFUNCTION) {
            char *sentence = mem_printf("%s is not a function, it is a %s", name, luaL_typename(L, -1));
            loading->odd = true;
            complain(loading, sentence);
            free(sentence);
            return;
        }
        lua_pushvalue(L, -1);
        loading->script->functions[i] = luaL_ref(L, LUA_REGISTRYINDEX);
        loading->script->has[i] = true;
    }
}

static void read_filter(struct loading *loading, lua_State *L)
{
    struct err err;
    struct script *script = loading->script;
    int top = lua_gettop(L);
    struct buf *text = script_buf(L);
    if (value_write_json(L, top, text, &err))
        script->filter = filter_compile(text->data, text->size, &err);
    if (!script->filter) {
        err_prefix(&err, "filter");
        complain(loading, err.text);
    }
    lua_settop(L, top);
}

static void read_list(struct loading *loading, lua_State *L,
                      bool (*read)(struct script *, lua_State *, struct err *))
{
    struct err err;
    if (!read(loading->script, L, &err))
        complain(loading, err.text);
}

/* { "orders", "users" } at the top becomes "orders, users"; what else stands there stays. */
static void join_names(lua_State *L)
{
    lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    if (!count || count > NAMES_MAX)
        return;
    lua_pushliteral(L, "");
    for (lua_Integer i = 1; i <= count; i++) {
        lua_pushstring(L, i > 1 ? ", " : "");
        if (lua_rawgeti(L, -3, i) != LUA_TSTRING) {
            lua_pop(L, 3);
            return;
        }
        lua_concat(L, 3);
    }
    lua_replace(L, -2);
}

static void read_setting(struct loading *loading, lua_State *L, const char *name)
{
    struct err err;
    size_t size;
    bool streams = strcmp(name, "stream") == 0;
    lua_pushvalue(L, -1);
    if (streams)
        join_names(L);
    const char *text =
        lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER ? lua_tolstring(L, -1, &size) : NULL;
    if (!text) {
        err_set(&err, ERR_CONFIG,
                streams ? "%s: a name or a list of names expected" : "%s: a string or a number expected",
                name);
        complain(loading, err.text);
    } else if (!handler_settings_set(&loading->script->handler.settings, name, text, text, &err)) {
        complain(loading, err.text);
    }
    lua_pop(L, 1);
}

static void unknown_member(struct loading *loading, const char *name)
{
    static const char *const known[] = {
        "stream",          "filter",    "on_insert",   "on_modify",   "on_remove",  "on_record",
        "on_batch",        "on_window", "ordering",    "concurrency", "batch_size", "batch_window",
        "tumbling_window", "retries",   "backoff",     "max_age",     "on_failure", "timeout",
        "cpu_limit",       "memory",    "allow_hosts", "tables",      "targets",    "calls",
        "formerly",        "settings",  "rate",        "on_request",  "intake",     NULL};
    const char *meant = nearest_name(name, known);
    char *sentence = mem_printf("\"%s\" means nothing in a handler's table%s%s%s", name,
                                meant ? " (did you mean " : "", meant ? meant : "",
                                meant ? "?)" : "; settings of its own are read through tidemill.config");
    complain(loading, sentence);
    free(sentence);
}

static void complain_of_setting(void *user, const char *sentence)
{
    complain(user, sentence);
}

/* The table that the script returned is on top. */
static void read_table(struct loading *loading, lua_State *L)
{
    struct script *script = loading->script;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (!name)
            complain(loading, "the handler's table has members without a name");
        else if (is_function_name(name))
            read_function(loading, L, name);
        else if (strcmp(name, "filter") == 0)
            read_filter(loading, L);
        else if (strcmp(name, "tables") == 0)
            read_list(loading, L, tables_read);
        else if (strcmp(name, "targets") == 0)
            read_list(loading, L, targets_read);
        else if (strcmp(name, "calls") == 0)
            read_list(loading, L, services_read);
        else if (strcmp(name, "settings") == 0)
            settings_declare(script, L, complain_of_setting, loading);
        else if (handler_settings_knows(name))
            read_setting(loading, L, name);
        else
            unknown_member(loading, name);
        lua_pop(L, 1);
    }
    bool single =
        script->has[ON_INSERT] || script->has[ON_MODIFY] || script->has[ON_REMOVE] || script->has[ON_RECORD];
    int kinds = single + script->has[ON_BATCH] + script->has[ON_WINDOW] + script->has[ON_REQUEST];
    script->handler.kind = script->has[ON_BATCH]     ? HANDLER_BATCHES
                           : script->has[ON_WINDOW]  ? HANDLER_WINDOWS
                           : script->has[ON_REQUEST] ? HANDLER_REQUESTS
                                                     : HANDLER_RECORDS;
    if (!kinds && !loading->odd)
        complain(
            loading,
            "the handler has none of on_insert, on_modify, on_remove, on_record, on_batch, on_window and "
            "on_request");
    else if (kinds > 1)
        complain(
            loading,
            "a handler takes its records one by one (on_insert, on_modify, on_remove, on_record), or with "
            "on_batch, or with on_window, or it has requests (on_request): it cannot have more than one of "
            "these");
}

/* Settings that go with one kind of handler. */
static void check_kind(struct loading *loading)
{
    const struct script *script = loading->script;
    bool window = script->has[ON_WINDOW];
    if (window && !script->handler.settings.tumbling_window_ms)
        complain(
            loading,
            "on_window needs tumbling_window, the length of its windows (try tumbling_window = \"60s\")");
    if (!window && script->handler.settings.tumbling_window_ms)
        complain(loading, "tumbling_window is set, but the handler has no on_window");
}

/* Runs protected. */
static int load_protected(lua_State *L)
{
    struct loading *loading = lua_touserdata(L, 1);
    struct script *script = loading->script;
    lua_settop(L, 0);
    size_t size;
    const char *tidemill = library_text("tidemill", &size);
    if (state_compile(L, tidemill, size, "=tidemill") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_setglobal(L, "tidemill");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getglobal(L, "tidemill");
    lua_setfield(L, -2, "tidemill");
    lua_pushfstring(L, "@%s", script->path);
    const char *text = loading->text;
    size = loading->size;
    state_skip_first_line(&text, &size);
    if (state_compile(L, text, size, lua_tostring(L, -1)) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    if (script->options.testing)
        return 0;
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s: the script returned %s; a handler returns a table", script->path,
                          luaL_typename(L, -1));
    read_table(loading, L);
    return 0;
}

static void run_file(struct loading *loading)
{
    struct script *script = loading->script;
    lua_State *L = script->L;
    script->memory_max = LOAD_BYTES_MAX;
    state_begin_slice(script, L, LOAD_MS_MAX, 0);
    lua_pushcfunction(L, with_line);
    lua_pushcfunction(L, load_protected);
    lua_pushlightuserdata(L, loading);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        /* Lua's own messages begin with the file and line. */
        problems_add(loading->problems, "%s%s%s", strstr(text ? text : "", script->path) ? "" : script->path,
                     strstr(text ? text : "", script->path) ? "" : ": ", text ? text : "unknown error");
    }
    lua_settop(L, 0);
    state_end_slice(script);
    script->loaded = true;
}

/* Named in quotes in the script, or as one of its settings. */
static bool names_table(const struct loading *loading, const char *table)
{
    const struct config_handler *section = loading->script->section;
    char *quoted = mem_printf("\"%s\"", table);
    bool found = strstr(loading->text, quoted) != NULL;
    free(quoted);
    for (size_t i = 0; section && i < section->pair_count; i++)
        found = found || strcmp(section->pairs[i].value, table) == 0;
    return found && strstr(loading->text, "tidemill.dynamodb");
}

/* What the INI says of it was looked at with the INI. */
static void check_failure(struct loading *loading)
{
    const struct script *script = loading->script;
    if (script->section && config_key_line(script->section, "on_failure") != script->section->line)
        return;
    char *where = mem_printf("%s:", script->path);
    handler_settings_check(&script->handler.settings, script->handler.config, script->section, where,
                           loading->problems);
    free(where);
}

static void check_targets(struct loading *loading)
{
    const struct script *script = loading->script;
    const struct config *config = script->handler.config;
    for (size_t i = 0; config && script->targets && script->targets[i]; i++) {
        if (config_target(config, script->targets[i]))
            continue;
        char *sentence =
            mem_printf("targets: there is no [target %s] in %s", script->targets[i], config->path);
        complain(loading, sentence);
        free(sentence);
    }
}

static bool names_any(const char *text, const char *const *names)
{
    for (; *names; names++)
        if (strstr(text, *names))
            return true;
    return false;
}

static void check_intake(struct loading *loading)
{
    const struct script *script = loading->script;
    const struct config *config = script->handler.config;
    const char *intake = script->handler.settings.intake;
    char *sentence = NULL;
    if (script->handler.settings.streams.each)
        complain(loading,
                 "a handler with on_request reads no stream: what it writes is the streams' to tell");
    if (!intake)
        complain(loading, "on_request needs intake: set it in its table, or in its [handler] section");
    else if (config && !config_intake(config, intake))
        sentence = mem_printf("intake = \"%s\": there is no [intake %s] in %s", intake, intake, config->path);
    if (sentence)
        complain(loading, sentence);
    free(sentence);
}

static void check_stream(struct loading *loading)
{
    struct script *script = loading->script;
    const struct config *config = script->handler.config;
    const struct names *streams = &script->handler.settings.streams;
    struct err err;
    script->uses_dynamodb = strstr(loading->text, "tidemill.dynamodb") != NULL;
    script->uses_aws = names_any(
        loading->text, (const char *const[]){"tidemill.aws", "tidemill.s3", "tidemill.secrets", NULL});
    script->uses_emit = strstr(loading->text, "tidemill.emit") != NULL;
    for (size_t i = 0; config && streams->each && streams->each[i]; i++) {
        const struct config_stream *stream = config_stream(config, streams->each[i]);
        script->writes_own_table =
            script->writes_own_table || (stream && stream->table && names_table(loading, stream->table));
    }
    if (script->handler.kind == HANDLER_REQUESTS) {
        check_intake(loading);
    } else if (script->handler.settings.intake) {
        complain(loading, "intake is set, and the handler has no on_request");
    } else if (!streams->each) {
        complain(loading,
                 "the handler names no stream: set stream in its table, or in its [handler] section");
    } else if (config && !handler_streams_check(&script->handler.settings, config, script->section, &err)) {
        const char *what = err.text + strlen("stream: ");
        char *sentence =
            mem_printf("stream = \"%s\": %s in %s", config_shown(script->section, "stream", streams->text),
                       what, config->path);
        complain(loading, sentence);
        free(sentence);
    }
}

static void set_version(struct script *script)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < script->file_count; i++)
        hash = hash_mix(hash ^ script->files[i].hash);
    snprintf(script->handler.version, sizeof script->handler.version, "%012llx",
             (unsigned long long)hash & 0xffffffffffffull);
}

static bool files_changed(const struct script *script)
{
    for (size_t i = 0; i < script->file_count; i++) {
        size_t size = 0;
        char *text = file_read(script->files[i].path, SCRIPT_BYTES_MAX, &size, NULL);
        bool same = text && hash_bytes(text, size, 0) == script->files[i].hash;
        free(text);
        if (!same)
            return true;
    }
    return false;
}

/* It may emit to any target. */
static bool stale(const struct handler *handler, const struct config *config)
{
    return !config_same_handler(handler->config, config, handler->name) ||
           !config_same_targets(handler->config, config) ||
           files_changed(script_of_handler((struct handler *)handler));
}

static bool wants(const struct handler *handler, const struct record *record,
                  const struct handler_source *source);
static void explain(const struct handler *handler, const struct record *record,
                    const struct handler_source *source, struct buf *out);
static void script_free(struct handler *handler);

static const struct handler_ops ops = {wants, explain, invocation_run, invocation_cancel, stale, script_free};

struct script *script_load(const struct script_options *options, struct problems *problems)
{
    struct script *script = mem_zero(sizeof *script);
    struct err err;
    size_t before = problems->count, size = 0;
    list_init(&script->owned);
    list_init(&script->kept);
    script->options = *options;
    script->path = mem_string(options->path);
    char *name = options->name ? mem_string(options->name) : script_name_of(options->path);
    handler_init(&script->handler, &ops, name, options->config, options->emitter);
    free(name);
    script->counters = stats_script(options->stats, script->handler.name);
    script->lib = path_beside(options->path, "lib");
    script->section = options->config ? config_handler(options->config, script->handler.name) : NULL;
    char *text = file_read(options->path, SCRIPT_BYTES_MAX, &size, &err);
    if (!text) {
        problems_add(problems, "%s", err.text);
    } else {
        struct loading loading = {script, problems, text, size, false};
        script_add_file(script, options->path, text, size);
        state_open(script);
        sandbox_open(script->L);
        record_open(script->L);
        keep_open(script->L);
        dynamodb_open(script->L);
        run_file(&loading);
        if (options->testing) {
            script->handler.settings.timeout_ms = INT64_MAX / 4; /* of virtual time */
        } else if (problems->count == before) {
            handler_settings_overlay(&script->handler.settings, options->config, script->section, problems);
            check_failure(&loading);
            check_targets(&loading);
            check_kind(&loading);
            check_stream(&loading);
        }
        script->memory_max = (size_t)script->handler.settings.memory_bytes;
        set_version(script);
        free(text);
    }
    if (problems->count == before)
        return script;
    handler_release(&script->handler);
    return NULL;
}

static void script_free(struct handler *handler)
{
    struct script *script = script_of_handler(handler);
    for (size_t i = 0; i < script->file_count; i++)
        free(script->files[i].path);
    free(script->files);
    /* What C holds for it is released by functions that Lua calls, which needs some memory to do so. */
    script->memory_max = SIZE_MAX;
    script->refuses = false;
    if (script->L) {
        lua_close(script->L);
        blocks_fini(&script->blocks);
    }
    state_release_owned(script);
    keep_drop_all(script);
    arena_fini(&script->scratch);
    if (script->options.reactor)
        reactor_label(script->options.reactor, "a handler that has ended");
    for (struct invocation *invocation = script->all, *next; invocation; invocation = next) {
        next = invocation->next_of_all;
        free(invocation->emitted);
        free(invocation);
    }
    state_count_memory(script, 0);
    filter_free(script->filter);
    tables_free(script);
    handler_fini(handler);
    free(script->lib);
    free(script->path);
    free(script);
}

struct handler *script_handler(struct script *script)
{
    return script ? &script->handler : NULL;
}

bool script_uses_dynamodb(const struct script *script)
{
    return script->uses_dynamodb;
}

bool script_uses_aws(const struct script *script)
{
    return script->uses_aws;
}

bool script_uses_emit(const struct script *script)
{
    return script->uses_emit;
}

static bool wants(const struct handler *handler, const struct record *record,
                  const struct handler_source *source)
{
    const struct script *script = script_of_handler((struct handler *)handler);
    return script->has[invocation_function_for(script, record->event)] &&
           handler_filter_matches(script->filter, record, source);
}

static void explain(const struct handler *handler, const struct record *record,
                    const struct handler_source *source, struct buf *out)
{
    const struct script *script = script_of_handler((struct handler *)handler);
    if (!script->has[invocation_function_for(script, record->event)]) {
        buf_printf(out, "the handler has neither %s nor on_record", function_names[record->event]);
        return;
    }
    buf_add_text(out, "by its filter: ");
    filter_explain(script->filter, record->json, source->stream_arn, out);
}

/* A key that is nearly one of all handlers', and not the script's: it has not said which it has. */
static void review_keys(const struct script *script, struct problems *warnings)
{
    const struct config_handler *section = script->section;
    for (size_t i = 0; !script->declares_settings && section && i < section->pair_count; i++) {
        const char *name = section->pairs[i].name;
        const char *meant = handler_settings_knows(name) ? NULL : handler_settings_nearest(name);
        if (meant && name_is_slip(name, meant))
            problems_add(
                warnings,
                "%s:%d: [handler %s] %s is taken for a setting of the script's own; did you mean %s?",
                script->handler.config->path, config_key_line(section, name), section->name, name, meant);
    }
}

void script_review(const struct script *script, struct problems *warnings)
{
    review_keys(script, warnings);

    char *label = mem_printf("%s: filter", script->path);
    if (script->filter)
        filter_review(script->filter, label, warnings);
    else if (script->writes_own_table)
        problems_add(warnings,
                     "%s: the handler seems to write to the table whose stream it reads, and has no filter: "
                     "its own writes will reach it again",
                     script->path);
    free(label);
}
