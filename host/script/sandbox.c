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

#define MODULE_BYTES_MAX (4u << 20)

static const struct {
    const char *name; /* require "tidemill.<name>" */
    lua_CFunction open;
} bindings[] = {
    {"dynamodb", bind_dynamodb}, {"json", bind_json},       {"log", bind_log},   {"config", bind_config},
    {"once", bind_once},         {"pattern", bind_pattern}, {"http", bind_http}, {"time", bind_time},
    {"crypto", bind_crypto},     {"emit", bind_emit},       {"test", bind_test},
};

/* load(chunk [, name [, mode [, env]]]): text only. */
static int safe_load(lua_State *L)
{
    int arguments = lua_gettop(L);
    luaL_checkstring(L, 1); /* no reader functions: they could yield or change their mind */
    if (arguments < 2)
        lua_pushnil(L);
    lua_settop(L, arguments < 4 ? (arguments < 2 ? 2 : arguments) : 4);
    size_t size;
    const char *text = lua_tolstring(L, 1, &size), *name = luaL_optstring(L, 2, "=(load)");
    int code = luaL_loadbufferx(L, text, size, name, "t");
    if (code != LUA_OK) {
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

/* xpcall(f, handler, ...) */
static int safe_xpcall(lua_State *L)
{
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
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

/* ---- coroutines: a wait inside a handler's own coroutine suspends the whole invocation ---- */

static int resume_more(lua_State *L, int status, lua_KContext context);

/* `co` stands at stack index 1 and its arguments are on its own stack. */
static int resume(lua_State *L, lua_State *co, int arguments, bool wrapped)
{
    struct script *script = script_of(L);
    int results = 0;
    int status = lua_resume(co, L, arguments, &results);
    if (status == LUA_YIELD && script->current && script->current->waiting)
        return lua_yieldk(L, 0, (lua_KContext)wrapped, resume_more);
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
    lua_xmove(co, L, 1);
    lua_resetthread(co);
    return lua_error(L);
}

static int resume_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    return resume(L, lua_tothread(L, 1), 0, context != 0);
}

static int resume_first(lua_State *L, lua_State *co, int arguments, bool wrapped)
{
    const char *problem = NULL;
    if (co == L || lua_status(co) > LUA_YIELD || (lua_status(co) == LUA_OK && lua_gettop(co) == 0))
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
    return resume_first(L, co, lua_gettop(L) - 1, false);
}

static int wrapped_call(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int arguments = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1)); /* resume_more looks for it at index 1 */
    lua_insert(L, 1);
    return resume_first(L, co, arguments, true);
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
    char *chunk = mem_printf("=%s", name); /* freed below: neither call raises for our own text */
    int code = luaL_loadbufferx(L, text, size, chunk, "t");
    free(chunk);
    if (code != LUA_OK)
        return lua_error(L);
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
    if (luaL_loadbufferx(L, text->data, text->size, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    return 1;
}

static int safe_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, 2, name);
    if (!lua_isnil(L, -1))
        return 1;
    lua_pop(L, 1);
    if (strncmp(name, "tidemill.", 9) == 0)
        push_library_module(L, name);
    else
        push_own_module(L, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
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
    lua_register(L, "load", safe_load);
    lua_register(L, "collectgarbage", safe_collectgarbage);
    lua_register(L, "require", safe_require);
    lua_register(L, "print", bind_print);
    lua_register(L, "pcall", safe_pcall);
    lua_register(L, "xpcall", safe_xpcall);
    lua_register(L, "setmetatable", safe_setmetatable);
    set_field(L, "coroutine", "resume", coroutine_resume);
    set_field(L, "coroutine", "wrap", coroutine_wrap);
    /* The metatable of strings is shared by all code of the state. */
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushliteral(L, "string");
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
