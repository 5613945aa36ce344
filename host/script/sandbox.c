/* sandbox.c: what a handler finds in its world: Lua's harmless libraries, and require for tidemill.* and
 * the modules under scripts/lib/. */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "script/internal.h"
#include "value/lazy_item.h"

#define MODULE_BYTES_MAX (4u << 20)

static const struct {
    const char *name; /* require "tidemill.<name>" */
    lua_CFunction open;
} bindings[] = {
    {"dynamodb", bind_dynamodb}, {"json", bind_json},         {"log", bind_log},
    {"config", bind_config},     {"once", bind_once},         {"pattern", bind_pattern},
    {"http", bind_http},         {"aws", bind_aws},           {"time", bind_time},
    {"crypto", bind_crypto},     {"emit", bind_emit},         {"test", bind_test},
    {"all", bind_all},           {"template", bind_template}, {"redis", bind_redis},
    {"postgres", bind_postgres},
};

/* collectgarbage("count") and ("collect") and no tuning. */
static int safe_collectgarbage(lua_State *L)
{
    static const char *const options[] = {"collect", "count", "step", NULL};
    switch (luaL_checkoption(L, 1, "collect", options)) {
    case 1:
        lua_pushnumber(L, (lua_Number)lua_gc(L, LUA_GCCOUNT) + lua_gc(L, LUA_GCCOUNTB) / 1024.0);
        return 1;
    case 2:
        lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, 0));
        return 1;
    default:
        lua_pushinteger(L, lua_gc(L, LUA_GCCOLLECT));
        return 1;
    }
}

/* ---- errors: what ends a handler that used up its time passes every pcall ---- */

static void pass_on_exhaustion(lua_State *L)
{
    if (script_of(L)->cpu_exhausted)
        luaL_error(L, "the handler used up its cpu_limit");
}

/* load(chunk [, name [, mode [, env]]]): text only. */
static int safe_load(lua_State *L)
{
    int arguments = lua_gettop(L);
    luaL_checkstring(L, 1); /* no reader functions: they could yield or change their mind */
    if (arguments < 2)
        lua_pushnil(L);
    lua_settop(L, arguments < 4 ? (arguments < 2 ? 2 : arguments) : 4);
    size_t size;
    const char *text = lua_tolstring(L, 1, &size);
    luaL_argcheck(L, size <= MODULE_BYTES_MAX, 1, "a chunk has at most 4 MiB");
    const char *name = lua_isnoneornil(L, 2) ? "=(load)" : script_check_text(L, 2);
    int code = state_compile(L, text, size, name);
    if (code != LUA_OK) {
        pass_on_exhaustion(L);
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (arguments >= 4) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

/* `context` is how many values stand below the results. */
static int after_pcall(lua_State *L, int status, lua_KContext context)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        pass_on_exhaustion(L);
        lua_pushboolean(L, false);
        lua_pushvalue(L, -2);
        return 2;
    }
    return lua_gettop(L) - (int)context;
}

/* pcall(f, ...) */
static int safe_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    return after_pcall(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, after_pcall), 0);
}

/* Upvalue: the script's own message handler. What the hook raises comes here within the hook, where no other
 * hook would end it. */
static int handle_message(lua_State *L)
{
    if (script_of(L)->cpu_exhausted)
        return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* xpcall(f, handler, ...) */
static int safe_xpcall(lua_State *L)
{
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handle_message, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, true);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    return after_pcall(L, lua_pcallk(L, arguments, LUA_MULTRET, 2, 2, after_pcall), 2);
}

/* setmetatable without __gc: a finalizer would run outside of any invocation and its limits. */
static int safe_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    lazy_force(L, 1);
    lazy_force(L, 2);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "a handler's metatable cannot have __gc; use <close>");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* ---- what would see that an image is not decoded whole ---- */

static int safe_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    lazy_force(L, 1);
    if (!lua_getmetatable(L, 1))
        lua_pushnil(L);
    else
        luaL_getmetafield(L, 1, "__metatable"); /* instead, where there is one */
    return 1;
}

static int safe_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    lazy_force(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int after_pairs(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 3;
}

/* Lua's own would give Lua's own next. */
static int safe_pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    lazy_force(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") == LUA_TNIL) {
        lua_pushcfunction(L, safe_next);
        lua_pushvalue(L, 1);
        lua_pushnil(L);
        return 3;
    }
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 3, 0, after_pairs);
    return 3;
}

/* ---- coroutines: a wait inside a handler's own coroutine suspends the whole invocation ---- */

/* Lua 5.4.4 forgets how deep the C stack is where a coroutine is closed: a chain of them would end it. */
#define CLOSES_MAX 50

static int resume_more(lua_State *L, int status, lua_KContext context);

/* `co` stands at stack index 1 and its arguments are on its own stack. */
static int resume(lua_State *L, lua_State *co, int arguments, bool wrapped)
{
    struct script *script = script_of(L);
    int results = 0;
    state_mark_waiting(L, co,
                       false); /* has room for the mark from here on: a wait that began must not fail */
    struct state_entry entry = state_enter(L, co, true);
    int status = lua_resume(co, L, arguments, &results);
    state_leave(L, &entry);
    if (status == LUA_YIELD && script->current && (script->current->waiting || script->preempted)) {
        state_mark_waiting(L, co, true);
        return lua_yieldk(L, 0, (lua_KContext)wrapped, resume_more);
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, results + 1))
            return luaL_error(L, "too many results");
        if (!wrapped)
            lua_pushboolean(L, true);
        lua_xmove(co, L, results);
        return results + !wrapped;
    }
    pass_on_exhaustion(L);
    if (!wrapped) {
        lua_pushboolean(L, false);
        lua_xmove(co, L, 1);
        return 2;
    }
    if (script->closes < CLOSES_MAX) { /* else it is left as it is */
        entry = state_enter(L, co, false);
        script->closes++;
        lua_resetthread(co);
        script->closes--;
        state_leave(L, &entry);
    }
    lua_xmove(co, L, 1); /* what a __close raised, or the error that it closed with */
    pass_on_exhaustion(L);
    return lua_error(L);
}

static int resume_more(lua_State *L, int status, lua_KContext context)
{
    lua_State *co = lua_tothread(L, 1);
    (void)status;
    state_mark_waiting(L, co, false);
    return resume(L, co, 0, context != 0);
}

/* The coroutine's object is at `index`. */
static int resume_first(lua_State *L, int index, lua_State *co, int arguments, bool wrapped)
{
    const char *problem = NULL;
    if (state_is_waiting(L, index))
        problem = "cannot resume a coroutine that waits for a call, or belongs to another record";
    if (problem)
        ;
    else if (co == L || lua_status(co) > LUA_YIELD || (lua_status(co) == LUA_OK && lua_gettop(co) == 0))
        problem = "cannot resume dead coroutine";
    lua_Debug activation;
    if (!problem && lua_status(co) == LUA_OK && lua_getstack(co, 0, &activation))
        problem = "cannot resume non-suspended coroutine";
    if (!problem && !lua_checkstack(co, arguments))
        problem = "too many arguments to resume";
    if (problem && wrapped)
        return luaL_error(L, "%s", problem);
    if (problem) {
        lua_pushboolean(L, false);
        lua_pushstring(L, problem);
        return 2;
    }
    lua_xmove(L, co, arguments);
    return resume(L, co, arguments, wrapped);
}

static int coroutine_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return resume_first(L, 1, co, lua_gettop(L) - 1, false);
}

/* coroutine.close of such a one would run its __close while the host still counts on it. */
static int coroutine_close(lua_State *L)
{
    luaL_argexpected(L, lua_tothread(L, 1), 1, "coroutine");
    if (state_is_waiting(L, 1))
        return luaL_error(L, "cannot close a coroutine that waits for a call, or belongs to another record");
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    struct script *script = script_of(L);
    if (script->closes >= CLOSES_MAX)
        return luaL_error(L, "C stack overflow: coroutines that close each other");
    struct state_entry entry = state_enter(L, lua_tothread(L, 2), false);
    script->closes++;
    int code = lua_pcall(L, 1, LUA_MULTRET, 0);
    script->closes--;
    state_leave(L, &entry);
    pass_on_exhaustion(L);
    return code == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int wrapped_call(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int arguments = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1)); /* resume_more looks for it at index 1 */
    lua_insert(L, 1);
    return resume_first(L, 1, co, arguments, true);
}

static int coroutine_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped_call, 1);
    return 1;
}

/* ---- require ---- */

static int push_library_module(lua_State *L, const char *name)
{
    const char *part = name + strlen("tidemill.");
    size_t size;
    const char *text = library_text(name, &size);
    lua_CFunction open = NULL;
    for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++)
        if (strcmp(bindings[i].name, part) == 0)
            open = bindings[i].open;
    if (!text && !open)
        return luaL_error(L, "module '%s' is not part of tidemill", name);
    if (!text)
        return open(L);
    script_push_library(L, name);
    if (open)
        open(L);
    else
        lua_pushnil(L);
    lua_call(L, 1, 1); /* the Lua part gets the raw verbs as its argument */
    return 1;
}

/* "a.b" is lib/a/b.lua; nothing outside lib/ can be named. */
static int push_own_module(lua_State *L, const char *name)
{
    struct script *script = script_of(L);
    size_t length = strlen(name);
    if (!length ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != length ||
        name[0] == '.' || strstr(name, ".."))
        return luaL_error(L, "require: '%s' is not a module's name", name);
    struct buf *text = script_buf(L), *path = script_buf(L);
    buf_printf(path, "%s/%s.lua", script->lib, name);
    for (char *c = path->data + strlen(script->lib); *c; c++)
        if (*c == '.' && strcmp(c, ".lua") != 0)
            *c = '/';
    struct err err;
    size_t size;
    char *bytes = file_read(path->data, MODULE_BYTES_MAX, &size, &err);
    if (!bytes)
        return luaL_error(L, "module '%s' not found: %s", name, err.text);
    script_add_file(script, path->data, bytes, size);
    buf_add(text, bytes, size);
    free(bytes);
    lua_pushfstring(L, "@%s", path->data);
    const char *code = text->data ? text->data : "";
    size = text->size;
    state_skip_first_line(&code, &size);
    if (state_compile(L, code, size, lua_tostring(L, -1)) != LUA_OK)
        return lua_error(L);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    return 1;
}

static int safe_require(lua_State *L)
{
    const char *name = script_check_text(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, 2, name);
    if (!lua_isnil(L, -1))
        return 1;
    lua_pop(L, 1);
    if (strncmp(name, "tidemill.", 9) == 0) {
        push_library_module(L, name);
        script_make_strict(L, name);
    } else {
        push_own_module(L, name);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

/* ---- globals: set while the script loads, and constant from then on ---- */

/* All invocations of a state share its globals, and many are under way at once: what one set another would
 * read. What scripts see as _G is empty, so that each assignment comes here; what was set stands behind it.
 */

static bool handles_records(lua_State *L)
{
    const struct script *script = script_of(L);
    return script->loaded && !script->options.testing;
}

static const char *name_of(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : luaL_typename(L, index);
}

/* Upvalue 1: the globals. */
static int globals_set(lua_State *L)
{
    if (handles_records(L))
        return luaL_error(L,
                          "the global '%s' is assigned while a record is handled: write \"local %s\" (all "
                          "records that are under way share the globals, which are constants by then)",
                          name_of(L, 2), name_of(L, 2));
    lua_settop(L, 3);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

static int globals_missing(lua_State *L)
{
    if (handles_records(L))
        return luaL_error(L, "the global '%s' was never set (misspelt, or a missing local?)", name_of(L, 2));
    return 0;
}

/* A copy: who has the table itself can set what stands in it. */
static int globals_pairs(lua_State *L)
{
    lua_getfield(L, lua_upvalueindex(1), "next");
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, lua_upvalueindex(1))) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_pushnil(L);
    return 3;
}

static bool is_globals(lua_State *L, int index)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    bool is = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    return is;
}

/* rawset and rawget would go past all that. Upvalue 1: the globals. */
static int safe_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (is_globals(L, 1)) {
        globals_set(L);
        lua_settop(L, 1);
        return 1;
    }
    lazy_force(L, 1);
    lua_rawset(L, 1);
    return 1;
}

static int safe_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lazy_force(L, 1);
    if (is_globals(L, 1))
        lua_rawget(L, lua_upvalueindex(1));
    else
        lua_rawget(L, 1);
    return 1;
}

static void set_closure(lua_State *L, int globals, int table, const char *name, lua_CFunction function)
{
    lua_pushvalue(L, globals);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, table, name);
}

static void guard_globals(lua_State *L)
{
    lua_pushglobaltable(L);
    int globals = lua_gettop(L), shown = globals + 1, meta = globals + 2;
    set_closure(L, globals, globals, "rawset", safe_rawset);
    set_closure(L, globals, globals, "rawget", safe_rawget);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, globals);
    lua_setfield(L, meta, "__index");
    set_closure(L, globals, meta, "__newindex", globals_set);
    set_closure(L, globals, meta, "__pairs", globals_pairs);
    lua_pushliteral(L, "globals");
    lua_setfield(L, meta, "__metatable");
    lua_setmetatable(L, shown);
    lua_pushvalue(L, shown);
    lua_setfield(L, globals, "_G");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, shown);
    lua_setfield(L, -2, "_G");
    lua_pop(L, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); /* takes `shown` */
    lua_newtable(L);
    lua_pushcfunction(L, globals_missing);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, globals);
    lua_settop(L, globals - 1);
}

/* ---- the world ---- */

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 1);
    lua_pop(L, 1);
}

static void remove_global(lua_State *L, const char *name)
{
    lua_pushnil(L);
    lua_setglobal(L, name);
}

static void remove_field(lua_State *L, const char *table, const char *name)
{
    lua_getglobal(L, table);
    lua_pushnil(L);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void set_field(lua_State *L, const char *table, const char *name, lua_CFunction function)
{
    lua_getglobal(L, table);
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void keep_only_clocks(lua_State *L)
{
    static const char *const kept[] = {"time", "date", "clock", "difftime", NULL};
    lua_getglobal(L, "os");
    lua_newtable(L);
    for (size_t i = 0; kept[i]; i++) {
        lua_getfield(L, -2, kept[i]);
        lua_setfield(L, -2, kept[i]);
    }
    lua_pushvalue(L, -1);
    lua_setglobal(L, "os");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_insert(L, -2);
    lua_setfield(L, -2, "os");
    lua_pop(L, 2);
}

void sandbox_open(lua_State *L)
{
    open_library(L, LUA_GNAME, luaopen_base);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, LUA_UTF8LIBNAME, luaopen_utf8);
    open_library(L, LUA_COLIBNAME, luaopen_coroutine);
    open_library(L, LUA_OSLIBNAME, luaopen_os);
    keep_only_clocks(L);
    remove_global(L, "dofile");
    remove_global(L, "loadfile");
    remove_field(L, "string", "dump");
    bounds_open(L);
    pattern_open(L);
    lua_register(L, "load", safe_load);
    lua_register(L, "collectgarbage", safe_collectgarbage);
    lua_register(L, "require", safe_require);
    lua_register(L, "print", bind_print);
    lua_register(L, "pcall", safe_pcall);
    lua_register(L, "xpcall", safe_xpcall);
    lua_register(L, "setmetatable", safe_setmetatable);
    lua_register(L, "getmetatable", safe_getmetatable);
    lua_register(L, "next", safe_next);
    lua_register(L, "pairs", safe_pairs);
    set_field(L, "coroutine", "resume", coroutine_resume);
    set_field(L, "coroutine", "wrap", coroutine_wrap);
    lua_getglobal(L, "coroutine");
    lua_getfield(L, -1, "close");
    lua_pushcclosure(L, coroutine_close, 1);
    lua_setfield(L, -2, "close");
    lua_pop(L, 1);
    /* The metatable of strings is shared by all code of the state. */
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushliteral(L, "string");
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    guard_globals(L);
}
