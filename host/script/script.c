/* script.c: load a handler, and run its invocations as coroutines. */
#include "script/script.h"

#include <assert.h>
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

#define SCRIPT_BYTES_MAX (4u << 20)
#define COROUTINES_KEPT_MAX 256
#define LOAD_MS_MAX 5000 /* for a script's main part */
#define HOOK_INSTRUCTIONS 10000
#define CLOSE_MS_MAX 100 /* for the __close and the error's __tostring of a handler that failed */

static const char *const function_names[FUNCTION_COUNT] = {"on_insert", "on_modify", "on_remove",
                                                           "on_record"};

/* ---- the Lua state ---- */

struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

/* The handler's memory, counted. Lua turns NULL into an error that it raises in the handler. */
static void *allocate(void *user, void *old, size_t old_size, size_t size)
{
    struct script *script = user;
    size_t before = old ? old_size : 0;
    if (size == 0) {
        script->memory_bytes -= before;
        free(old);
        return NULL;
    }
    if (size > before && script->memory_bytes - before + size > script->memory_max)
        return NULL;
    void *block = realloc(old, size);
    if (block)
        script->memory_bytes += size - before;
    return block;
}

/* The code that runs next may use `left_ms` of the processor. Time is looked at by the hook only, so that a
 * handler of a few instructions costs no system call. */
static void begin_slice(struct script *script, int64_t left_ms)
{
    script->cpu_left_ms = left_ms > 0 ? left_ms : 1;
    script->cpu_base_ms = -1;
}

/* Milliseconds used, as far as the hook saw it. */
static int64_t end_slice(struct script *script)
{
    int64_t used = 0;
    if (script->cpu_base_ms >= 0)
        used = clock_cpu_ms(reactor_clock(script->options.reactor)) - script->cpu_base_ms;
    script->cpu_left_ms = 0;
    return used;
}

/* A loop that never yields is stopped here. */
static void on_count(lua_State *L, lua_Debug *activation)
{
    struct script *script = script_of(L);
    (void)activation;
    if (!script->cpu_left_ms)
        return;
    int64_t now = clock_cpu_ms(reactor_clock(script->options.reactor));
    if (script->cpu_base_ms < 0)
        script->cpu_base_ms = now;
    if (now - script->cpu_base_ms < script->cpu_left_ms)
        return;
    script->cpu_exhausted = true;
    luaL_error(L, "the handler used up its cpu_limit");
}

static int free_buf(lua_State *L)
{
    buf_fini(lua_touserdata(L, 1));
    return 0;
}

static int free_arena(lua_State *L)
{
    arena_fini(lua_touserdata(L, 1));
    return 0;
}

static void *push_owned(lua_State *L, size_t size, const char *name, lua_CFunction release)
{
    void *object = memset(lua_newuserdatauv(L, size, 0), 0, size);
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return object;
}

struct buf *script_buf(lua_State *L)
{
    return push_owned(L, sizeof(struct buf), "tidemill.buf", free_buf);
}

struct arena *script_arena(lua_State *L)
{
    return push_owned(L, sizeof(struct arena), "tidemill.arena", free_arena);
}

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    log_error(script_of(L)->options.log, script_of(L)->name, "Lua: %s", text ? text : "unprotected error");
    return 0; /* Lua aborts: a bug of ours, every entrance is protected */
}

static void open_state(struct script *script)
{
    script->memory_max = SIZE_MAX;
    script->L = lua_newstate(allocate, script);
    if (!script->L)
        abort();
    lua_State *L = script->L;
    *(struct script **)lua_getextraspace(L) = script; /* each new coroutine gets a copy */
    lua_atpanic(L, on_panic);
    value_open(L);
    sandbox_open(L);
    record_open(L);
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS); /* inherited by coroutines */
}

/* ---- loading ---- */

/* "scripts/stock.lua:12" of the innermost line of the handler's own files; "" when there is none. */
static void find_line(lua_State *co, char *text, size_t size)
{
    lua_Debug activation;
    text[0] = '\0';
    for (int level = 0; lua_getstack(co, level, &activation); level++) {
        lua_getinfo(co, "Sl", &activation);
        if (activation.source[0] != '@' || activation.currentline <= 0)
            continue;
        snprintf(text, size, "%s:%d", activation.source + 1, activation.currentline);
        return;
    }
}

/* Behind "tidemill.dynamodb:12: ": where in the runtime library it was raised helps nobody. */
static const char *without_library_line(const char *text)
{
    size_t at = strspn(text, "abcdefghijklmnopqrstuvwxyz._");
    if (strncmp(text, "tidemill", 8) != 0 || text[at] != ':')
        return text;
    size_t digits = strspn(text + at + 1, "0123456789");
    return digits && strncmp(text + at + 1 + digits, ": ", 2) == 0 ? text + at + digits + 3 : text;
}

/* A message that names the script's line, whoever raised it. */
static int with_line(lua_State *L)
{
    char line[512];
    const char *text = without_library_line(luaL_tolstring(L, 1, NULL));
    find_line(L, line, sizeof line);
    if (*line && !strstr(text, script_of(L)->path))
        lua_pushfstring(L, "%s: %s", line, text);
    return 1;
}

struct loading {
    struct script *script;
    struct problems *problems;
    const char *text;
    size_t size;
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
            char *sentence = mem_printf("%s is not a function", name);
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
    struct buf text = BUF_INIT;
    struct err err;
    struct script *script = loading->script;
    if (value_write_json(L, -1, &text, &err))
        script->filter = filter_compile(text.data, text.size, &err);
    if (!script->filter) {
        err_prefix(&err, "filter");
        complain(loading, err.text);
    }
    buf_fini(&text);
}

static void read_setting(struct loading *loading, lua_State *L, const char *name)
{
    struct err err;
    size_t size;
    lua_pushvalue(L, -1);
    const char *text =
        lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER ? lua_tolstring(L, -1, &size) : NULL;
    if (!text) {
        err_set(&err, ERR_CONFIG, "%s: a string or a number expected", name);
        complain(loading, err.text);
    } else if (!handler_settings_set(&loading->script->settings, name, text, text, &err)) {
        complain(loading, err.text);
    }
    lua_pop(L, 1);
}

static void unknown_member(struct loading *loading, const char *name)
{
    static const char *const known[] = {"stream",      "filter",     "on_insert",   "on_modify", "on_remove",
                                        "on_record",   "ordering",   "concurrency", "retries",   "backoff",
                                        "max_age",     "on_failure", "timeout",     "cpu_limit", "memory",
                                        "allow_hosts", NULL};
    const char *meant = nearest_name(name, known);
    char *sentence =
        strcmp(name, "on_batch") == 0
            ? mem_string("on_batch is not part of this version; use on_record")
            : mem_printf("\"%s\" means nothing in a handler's table%s%s%s", name,
                         meant ? " (did you mean " : "", meant ? meant : "",
                         meant ? "?)" : "; settings of its own are read through tidemill.config");
    complain(loading, sentence);
    free(sentence);
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
        else if (handler_settings_knows(name))
            read_setting(loading, L, name);
        else
            unknown_member(loading, name);
        lua_pop(L, 1);
    }
    if (!script->has[ON_INSERT] && !script->has[ON_MODIFY] && !script->has[ON_REMOVE] &&
        !script->has[ON_RECORD])
        complain(loading, "the handler has none of on_insert, on_modify, on_remove and on_record");
}

/* Runs protected. */
static int load_protected(lua_State *L)
{
    struct loading *loading = lua_touserdata(L, 1);
    struct script *script = loading->script;
    lua_settop(L, 0);
    size_t size;
    const char *tidemill = library_text("tidemill", &size);
    if (luaL_loadbufferx(L, tidemill, size, "=tidemill", "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_setglobal(L, "tidemill");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getglobal(L, "tidemill");
    lua_setfield(L, -2, "tidemill");
    lua_pushfstring(L, "@%s", script->path);
    if (luaL_loadbufferx(L, loading->text, loading->size, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
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
    begin_slice(script, LOAD_MS_MAX);
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
    end_slice(script);
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

static void check_stream(struct loading *loading)
{
    struct script *script = loading->script;
    const struct config *config = script->options.config;
    const struct config_stream *stream =
        config && script->settings.stream ? config_stream(config, script->settings.stream) : NULL;
    script->writes_own_table = stream && stream->table && names_table(loading, stream->table);
    if (!script->settings.stream)
        complain(loading,
                 "the handler names no stream: set stream in its table, or in its [handler] section");
    else if (config && !stream) {
        char *sentence = mem_printf("stream = \"%s\": there is no [stream %s] in %s", script->settings.stream,
                                    script->settings.stream, config->path);
        complain(loading, sentence);
        free(sentence);
    }
}

void script_add_file(struct script *script, const char *path, const char *text, size_t size)
{
    mem_grow(&script->files, &script->file_capacity, script->file_count, sizeof *script->files);
    script->files[script->file_count++] = (struct script_file){mem_string(path), hash_bytes(text, size, 0)};
}

static void set_version(struct script *script)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < script->file_count; i++)
        hash = hash_mix(hash ^ script->files[i].hash);
    snprintf(script->version, sizeof script->version, "%012llx",
             (unsigned long long)hash & 0xffffffffffffull);
}

bool script_stale(const struct script *script)
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

static void script_free(struct script *script);

struct script *script_load(const struct script_options *options, struct problems *problems)
{
    struct script *script = mem_zero(sizeof *script);
    script->references = 1;
    struct err err;
    size_t before = problems->count, size = 0;
    script->options = *options;
    script->path = mem_string(options->path);
    script->name = script_name_of(options->path);
    script->lib = path_beside(options->path, "lib");
    script->section = options->config ? config_handler(options->config, script->name) : NULL;
    handler_settings_init(&script->settings);
    char *text = file_read(options->path, SCRIPT_BYTES_MAX, &size, &err);
    if (!text) {
        problems_add(problems, "%s", err.text);
    } else {
        struct loading loading = {script, problems, text, size};
        script_add_file(script, options->path, text, size);
        open_state(script);
        run_file(&loading);
        if (problems->count == before) {
            handler_settings_overlay(&script->settings, options->config, script->section, problems);
            check_stream(&loading);
        }
        script->memory_max = (size_t)script->settings.memory_bytes;
        set_version(script);
        free(text);
    }
    if (problems->count == before)
        return script;
    script_free(script);
    return NULL;
}

struct script *script_hold(struct script *script)
{
    script->references++;
    return script;
}

void script_release(struct script *script)
{
    if (script && --script->references == 0)
        script_free(script);
}

static void script_free(struct script *script)
{
    for (size_t i = 0; i < script->file_count; i++)
        free(script->files[i].path);
    free(script->files);
    if (script->L)
        lua_close(script->L);
    for (struct invocation *invocation = script->all, *next; invocation; invocation = next) {
        next = invocation->next_of_all;
        free(invocation);
    }
    filter_free(script->filter);
    handler_settings_fini(&script->settings);
    free(script->lib);
    free(script->name);
    free(script->path);
    free(script);
}

const char *script_name(const struct script *script)
{
    return script->name;
}

const char *script_version(const struct script *script)
{
    return script->version;
}

const struct handler_settings *script_settings(const struct script *script)
{
    return &script->settings;
}

static enum handler_function function_for(const struct script *script, enum record_event event)
{
    enum handler_function own = (enum handler_function)event; /* both count INSERT, MODIFY, REMOVE */
    return script->has[own] ? own : ON_RECORD;
}

bool script_wants(const struct script *script, const struct record *record,
                  const struct script_source *source)
{
    return script->has[function_for(script, record->event)] &&
           (!script->filter || filter_match_record(script->filter, record->json, source->stream_arn));
}

void script_review(const struct script *script, struct problems *warnings)
{
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

/* ---- invocations ---- */

static struct invocation *take_idle(struct script *script)
{
    struct invocation *invocation = script->idle;
    if (invocation) {
        script->idle = invocation->next_idle;
        return invocation;
    }
    invocation = mem_zero(sizeof *invocation);
    invocation->script = script;
    invocation->next_of_all = script->all;
    script->all = invocation;
    return invocation;
}

/* The end of an invocation; the last of a replaced version takes the script with it. */
static void put_idle(struct invocation *invocation)
{
    struct script *script = invocation->script;
    invocation->serial++;
    free(invocation->stored);
    invocation->stored = NULL;
    invocation->call = NULL;
    invocation->waiting = false;
    timer_stop(script->options.reactor, &invocation->limit);
    /* An error out of a hook leaves a coroutine deaf to hooks: that one is not used again, and not even its
     * __close is run. */
    if (invocation->co && (script->cpu_exhausted || script->coroutine_count > COROUTINES_KEPT_MAX)) {
        luaL_unref(script->L, LUA_REGISTRYINDEX, invocation->co_reference);
        invocation->co = NULL;
        script->coroutine_count--;
    }
    if (invocation->co)
        lua_settop(invocation->co, 0);
    invocation->next_idle = script->idle;
    script->idle = invocation;
    script_release(script);
}

/* What describing an error needs; runs protected, since an error object may raise itself. */
struct description {
    lua_State *co;
    struct script_error *error;
};

static int describe_protected(lua_State *L)
{
    struct description *description = lua_touserdata(L, 1);
    lua_State *co = description->co;
    lua_settop(L, 0);
    lua_xmove(co, L, 1);
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "permanent");
        description->error->permanent = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    luaL_tolstring(L, 1, NULL);
    free(description->error->text);
    description->error->text = mem_string(without_library_line(lua_tostring(L, -1)));
    luaL_traceback(L, co, NULL, 0);
    description->error->traceback = mem_string(lua_tostring(L, -1));
    return 0;
}

/* The error object is on top of the coroutine, whose stack still stands. */
static void describe(struct invocation *invocation, struct script_error *error)
{
    struct script *script = invocation->script;
    lua_State *L = script->L;
    struct description description = {invocation->co, error};
    char line[512];
    size_t memory_max = script->memory_max;
    int top = lua_gettop(L);
    *error = (struct script_error){.text = mem_string("an error without a description")};
    find_line(invocation->co, line, sizeof line);
    script->memory_max = SIZE_MAX; /* telling what happened must not fail for want of memory */
    bool exhausted = script->cpu_exhausted;
    begin_slice(script, CLOSE_MS_MAX);
    lua_pushcfunction(L, describe_protected);
    lua_pushlightuserdata(L, &description);
    lua_pcall(L, 1, 0, 0); /* an error's __tostring is the script's code */
    lua_settop(L, top);
    end_slice(script);
    script->cpu_exhausted = exhausted;
    script->memory_max = memory_max;
    if (!error->traceback)
        error->traceback = mem_string("");
    if (*line && !strstr(error->text, script->path)) {
        char *text = mem_printf("%s: %s", line, error->text);
        free(error->text);
        error->text = text;
    }
}

void script_error_fini(struct script_error *error)
{
    free(error->text);
    free(error->traceback);
    *error = (struct script_error){0};
}

/* Make the coroutine fit for use again. That runs the __close of what it holds, which is the script's code
 * too. */
static void reset(struct invocation *invocation)
{
    struct script *script = invocation->script;
    if (script->cpu_exhausted)
        return; /* see put_idle */
    begin_slice(script, CLOSE_MS_MAX);
    lua_resetthread(invocation->co);
    end_slice(script);
}

/* Run the coroutine until it ends or waits. */
static enum script_result advance(struct invocation *invocation, int arguments, struct script_error *error)
{
    struct script *script = invocation->script;
    int results = 0;
    script->current = invocation;
    begin_slice(script, invocation->cpu_left_ms);
    script->cpu_exhausted = false;
    invocation->waiting = false;
    int status = lua_resume(invocation->co, script->L, arguments, &results);
    script->current = NULL;
    invocation->cpu_left_ms -= end_slice(script);
    if (status == LUA_OK)
        return SCRIPT_RETURNED;
    if (status == LUA_YIELD && invocation->waiting)
        return SCRIPT_WAITING;
    if (status == LUA_YIELD) { /* coroutine.yield outside any coroutine of its own */
        lua_settop(invocation->co, 0);
        lua_pushstring(invocation->co, "the handler yielded outside of a coroutine");
    }
    describe(invocation, error);
    reset(invocation);
    return SCRIPT_RAISED;
}

static void finish(struct invocation *invocation, enum script_result result, struct script_error *error)
{
    script_done_fn *done = invocation->done;
    void *user = invocation->user;
    put_idle(invocation);
    done(user, result, error);
}

static void go_on(struct invocation *invocation)
{
    struct script_error error = {0};
    enum script_result result = advance(invocation, 0, &error);
    if (result != SCRIPT_WAITING)
        finish(invocation, result, &error);
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct invocation *invocation = user;
    invocation->call = NULL;
    invocation->response = response;
    invocation->err = err;
    go_on(invocation);
}

/* Whatever it waits for is not waited for any longer. */
static void stop_waiting(struct invocation *invocation)
{
    struct script *script = invocation->script;
    aws_cancel(invocation->call);
    invocation->call = NULL;
    if (invocation->http)
        transport_cancel(script->options.transport, invocation->http);
    invocation->http = NULL;
    timer_stop(script->options.reactor, &invocation->sleep);
}

static void on_limit(void *user)
{
    struct invocation *invocation = user;
    struct script_error error = {0};
    char line[512];
    stop_waiting(invocation);
    find_line(invocation->co, line, sizeof line);
    error.text = mem_printf("%s%sthe handler took longer than its timeout", line, *line ? ": " : "");
    error.traceback = mem_string("");
    reset(invocation);
    finish(invocation, SCRIPT_RAISED, &error);
}

/* The running invocation, which is about to wait; raises where nothing can. Its own time begins to count with
 * the first wait. */
static struct invocation *begin_wait(lua_State *L)
{
    struct script *script = script_of(L);
    struct invocation *invocation = script->current;
    if (!invocation || !script->options.aws) {
        luaL_error(L, "calls can be made only while a record is handled, not while the script loads");
        return NULL; /* luaL_error does not come back */
    }
    if (!lua_isyieldable(L))
        luaL_error(L, "a call cannot wait here (inside a sort, a gsub or a metamethod of C)");
    if (!timer_is_set(&invocation->limit)) {
        timer_init(&invocation->limit, on_limit, invocation);
        timer_set(script->options.reactor, &invocation->limit, script->settings.timeout_ms);
    }
    invocation->waiting = true;
    return invocation;
}

int script_wait_aws(lua_State *L, struct aws_request *request, struct buf *body, lua_KFunction after)
{
    struct invocation *invocation = begin_wait(L);
    request->body = *body; /* not before: what raises must not lose it */
    *body = BUF_INIT;
    invocation->call = aws_send(script_of(L)->options.aws, request, on_answer, invocation);
    return lua_yieldk(L, 0, 0, after);
}

static void on_http(void *user, struct transport_response *response, const struct err *err)
{
    struct invocation *invocation = user;
    invocation->http = NULL;
    invocation->response = response;
    invocation->err = err;
    go_on(invocation);
}

int script_wait_http(lua_State *L, const struct transport_request *request, lua_KFunction after)
{
    struct invocation *invocation = begin_wait(L);
    invocation->http = transport_send(script_of(L)->options.transport, request, on_http, invocation);
    return lua_yieldk(L, 0, 0, after);
}

struct ticket {
    struct script *script; /* held: the invocation cannot go before it */
    struct invocation *invocation;
    uint64_t serial;
};

struct ticket *script_ticket(lua_State *L)
{
    struct invocation *invocation = begin_wait(L);
    struct ticket *ticket = mem_alloc(sizeof *ticket);
    *ticket = (struct ticket){script_hold(script_of(L)), invocation, invocation->serial};
    return ticket;
}

struct invocation *script_ticket_take(struct ticket *ticket)
{
    struct invocation *invocation = ticket->invocation;
    bool waits = invocation->serial == ticket->serial;
    struct script *script = ticket->script;
    free(ticket);
    script_release(script); /* one that waits holds the script, too */
    return waits ? invocation : NULL;
}

void script_go_on(struct invocation *invocation)
{
    go_on(invocation);
}

static void on_slept(void *user)
{
    go_on(user);
}

int script_wait_ms(lua_State *L, int64_t ms, lua_KFunction after)
{
    struct invocation *invocation = begin_wait(L);
    timer_init(&invocation->sleep, on_slept, invocation);
    timer_set(script_of(L)->options.reactor, &invocation->sleep, ms);
    return lua_yieldk(L, 0, 0, after);
}

/* Making a coroutine and the record object may run out of the handler's memory. */
static int prepare_protected(lua_State *L)
{
    struct invocation *invocation = lua_touserdata(L, 1);
    struct script *script = invocation->script;
    lua_settop(L, 0);
    if (!invocation->co) {
        invocation->co = lua_newthread(L);
        invocation->co_reference = luaL_ref(L, LUA_REGISTRYINDEX);
        script->coroutine_count++;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->functions[function_for(script, invocation->record->event)]);
    record_push(L, invocation);
    lua_xmove(L, invocation->co, 2);
    return 0;
}

enum script_result script_run(struct script *script, const struct record *record,
                              const struct script_source *source, int64_t attempt, script_done_fn *done,
                              void *user, struct invocation **running, struct script_error *error)
{
    struct invocation *invocation = take_idle(script_hold(script));
    lua_State *L = script->L;
    assert(!script->current);
    invocation->record = record;
    invocation->source = source;
    invocation->attempt = attempt;
    invocation->done = done;
    invocation->user = user;
    invocation->cpu_left_ms = script->settings.cpu_limit_ms;
    lua_pushcfunction(L, prepare_protected);
    lua_pushlightuserdata(L, invocation);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        *error =
            (struct script_error){.text = mem_printf("%s: %s", script->path, text ? text : "out of memory"),
                                  .traceback = mem_string("")};
        lua_settop(L, 0);
        put_idle(invocation);
        return SCRIPT_RAISED;
    }
    enum script_result result = advance(invocation, 1, error);
    if (result == SCRIPT_WAITING)
        *running = invocation;
    else
        put_idle(invocation);
    return result;
}

void script_cancel(struct invocation *invocation)
{
    stop_waiting(invocation);
    reset(invocation);
    put_idle(invocation);
}
