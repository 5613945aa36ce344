/* bind_config.c: tidemill.config, the keys of the [handler] section that are the script's own; and what a
 * script says of them in its `settings`:
 *
 *   settings = { orders_table = "required", notify_url = "optional", region = "eu", slots = 2 }
 *
 * A default says the type, too: slots is a number then, whatever the INI writes it as. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"

int bind_config(lua_State *L)
{
    const struct config_handler *section = script_of(L)->section;
    lua_newtable(L);
    for (size_t i = 0; section && i < section->pair_count; i++) {
        const struct config_pair *pair = &section->pairs[i];
        if (handler_settings_knows(pair->name))
            continue;
        lua_pushstring(L, pair->value);
        lua_setfield(L, -2, pair->name);
    }
    return 1;
}

/* What modules of the library look for themselves. */
static const char *const librarys[] = {"once_table", "redis_url", "postgres_url", "postgres_timeout"};

static bool is_the_librarys(const char *name)
{
    for (size_t i = 0; i < sizeof librarys / sizeof *librarys; i++)
        if (strcmp(name, librarys[i]) == 0)
            return true;
    return false;
}

/* Upvalue 1: the settings as declared; 2: the handler's name. */
static int config_missing(lua_State *L)
{
    luaL_checkany(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) /* an optional one */
        return 0;
    const char *name = luaL_tolstring(L, 2, NULL), *meant = script_nearest_key(L, lua_upvalueindex(1), name);
    return luaL_error(L, "config.%s is not among the settings of handler %s%s%s%s", name,
                      lua_tostring(L, lua_upvalueindex(2)), meant ? " (did you mean " : "",
                      meant ? meant : "", meant ? "?)" : "");
}

struct declaring {
    struct script *script;
    settings_complain_fn *complain;
    void *user;
};

static void complain(const struct declaring *declaring, char *sentence) /* takes it */
{
    declaring->complain(declaring->user, sentence);
    free(sentence);
}

static const struct config_pair *pair_of(const struct script *script, const char *name)
{
    const struct config_handler *section = script->section;
    for (size_t i = 0; section && i < section->pair_count; i++)
        if (strcmp(section->pairs[i].name, name) == 0)
            return &section->pairs[i];
    return NULL;
}

/* What the INI says, as the default's type; the default is at the top of the stack. False: it is none. */
static bool push_typed(lua_State *L, const char *value)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        lua_pushstring(L, value);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        if (!lua_stringtonumber(L, value))
            return false;
    } else {
        bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
        if (!yes && strcmp(value, "no") != 0 && strcmp(value, "false") != 0)
            return false;
        lua_pushboolean(L, yes);
    }
    return true;
}

/* On the stack: the module's table at `module`, the name and what the script says of it at the top. */
static void declare_one(const struct declaring *declaring, lua_State *L, int module)
{
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    int type = lua_type(L, -1);
    if (!name || handler_settings_knows(name)) {
        complain(declaring,
                 mem_printf("settings: %s%s", name ? name : "a name expected, got a list",
                            name ? " is a key of every handler, and none of the script's own" : ""));
        return;
    }
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        complain(
            declaring,
            mem_printf("settings: %s: \"required\", \"optional\" or a default (a text, a number, a boolean) "
                       "expected, got %s",
                       name, luaL_typename(L, -1)));
        return;
    }
    const char *text = type == LUA_TSTRING ? lua_tostring(L, -1) : "";
    const struct config_pair *pair = pair_of(declaring->script, name);
    bool required = strcmp(text, "required") == 0, optional = strcmp(text, "optional") == 0;
    const struct config *config = declaring->script->handler.config;
    if (!pair && required && !(config && config->incomplete))
        complain(declaring, mem_printf("set %s in [handler %s]: the script needs it", name,
                                       declaring->script->handler.name));
    if (required || optional)
        return;
    if (pair && !push_typed(L, pair->value)) {
        complain(declaring,
                 mem_printf("[handler %s] %s: %s expected, got \"%s\"", declaring->script->handler.name, name,
                            type == LUA_TNUMBER ? "a number" : "yes or no", pair->shown));
        return;
    }
    if (!pair)
        lua_pushvalue(L, -1);
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, module);
}

/* Keys of the section that the script says nothing of are misspelt. */
static void find_strangers(const struct declaring *declaring, lua_State *L, int declared)
{
    const struct config_handler *section = declaring->script->section;
    for (size_t i = 0; section && i < section->pair_count; i++) {
        const char *name = section->pairs[i].name;
        if (handler_settings_knows(name) || is_the_librarys(name))
            continue;
        lua_pushstring(L, name);
        bool known = lua_rawget(L, declared) != LUA_TNIL;
        lua_pop(L, 1);
        if (known)
            continue;
        const char *meant = script_nearest_key(L, declared, name);
        meant = meant ? meant : handler_settings_nearest(name);
        complain(declaring,
                 mem_printf("[handler %s] the script has no setting %s%s%s%s", section->name, name,
                            meant ? " (did you mean " : "", meant ? meant : "", meant ? "?)" : ""));
    }
}

void settings_declare(struct script *script, lua_State *L, settings_complain_fn *complain_fn, void *user)
{
    const struct declaring declaring = {script, complain_fn, user};
    int declared = lua_gettop(L);
    script->declares_settings = true;
    if (!lua_istable(L, declared)) {
        complain(&declaring, mem_printf("settings: a table expected, got %s", luaL_typename(L, declared)));
        return;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "tidemill.config") == LUA_TNIL) {
        lua_pop(L, 1);
        bind_config(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "tidemill.config");
    }
    int config = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, declared)) {
        int at = lua_gettop(L);
        declare_one(&declaring, L, config);
        lua_settop(L, at - 1);
    }
    find_strangers(&declaring, L, declared);
    lua_newtable(L);
    lua_newtable(L); /* a copy of the names: the script's table may change */
    lua_pushnil(L);
    while (lua_next(L, declared)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            lua_pushvalue(L, -2);
            lua_pushboolean(L, true);
            lua_rawset(L, -5);
        }
        lua_pop(L, 1);
    }
    for (size_t i = 0; i < sizeof librarys / sizeof *librarys; i++) {
        lua_pushstring(L, librarys[i]);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    lua_pushstring(L, script->handler.name);
    lua_pushcclosure(L, config_missing, 2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "tidemill.config"); /* what getmetatable shows */
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, config);
    lua_settop(L, declared);
}
