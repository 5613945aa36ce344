/* library.c: the Lua part of the runtime library, carried inside the binary. */
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "base/problems.h"
#include "script/internal.h"

#define NAMES_MAX 256 /* of keys, as candidates */

EMBED(library_tidemill, "lua/tidemill.lua");
EMBED(library_all, "lua/tidemill/all.lua");
EMBED(library_aws, "lua/tidemill/aws.lua");
EMBED(library_crypto, "lua/tidemill/crypto.lua");
EMBED(library_dynamodb, "lua/tidemill/dynamodb.lua");
EMBED(library_http, "lua/tidemill/http.lua");
EMBED(library_once, "lua/tidemill/once.lua");
EMBED(library_options, "lua/tidemill/options.lua");
EMBED(library_redis, "lua/tidemill/redis.lua");
EMBED(library_postgres, "lua/tidemill/postgres.lua");
EMBED(library_s3, "lua/tidemill/s3.lua");
EMBED(library_secrets, "lua/tidemill/secrets.lua");
EMBED(library_template, "lua/tidemill/template.lua");
EMBED(library_test, "lua/tidemill/test.lua");
EMBED(library_url, "lua/tidemill/url.lua");

static const struct {
    const char *module, *start, *end;
} modules[] = {
    {"tidemill", library_tidemill_start, library_tidemill_end},
    {"tidemill.all", library_all_start, library_all_end},
    {"tidemill.aws", library_aws_start, library_aws_end},
    {"tidemill.crypto", library_crypto_start, library_crypto_end},
    {"tidemill.dynamodb", library_dynamodb_start, library_dynamodb_end},
    {"tidemill.http", library_http_start, library_http_end},
    {"tidemill.once", library_once_start, library_once_end},
    {"tidemill.options", library_options_start, library_options_end},
    {"tidemill.redis", library_redis_start, library_redis_end},
    {"tidemill.postgres", library_postgres_start, library_postgres_end},
    {"tidemill.s3", library_s3_start, library_s3_end},
    {"tidemill.secrets", library_secrets_start, library_secrets_end},
    {"tidemill.template", library_template_start, library_template_end},
    {"tidemill.test", library_test_start, library_test_end},
    {"tidemill.url", library_url_start, library_url_end},
};

const char *library_text(const char *module, size_t *size)
{
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        if (strcmp(modules[i].module, module) != 0)
            continue;
        *size = (size_t)(modules[i].end - modules[i].start);
        return modules[i].start;
    }
    return NULL;
}

const char *library_at(size_t i, const char **module, size_t *size)
{
    if (i >= sizeof modules / sizeof *modules)
        return NULL;
    *module = modules[i].module;
    *size = (size_t)(modules[i].end - modules[i].start);
    return modules[i].start;
}

void script_push_library(lua_State *L, const char *name)
{
    size_t size = 0;
    const char *text = library_text(name, &size);
    char *chunk = mem_printf("=%s", name); /* freed below: neither call raises for our own text */
    int code = state_compile(L, text, size, chunk);
    free(chunk);
    if (code != LUA_OK)
        lua_error(L);
}

const char *script_nearest_key(lua_State *L, int index, const char *name)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    size_t count = 0;
    int top = lua_gettop(L);
    lua_pushnil(L);
    while (count < NAMES_MAX && lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            names[count++] = lua_tostring(L, -1);
    }
    lua_settop(L, top);
    const char *meant = nearest_name(name, names);
    for (size_t i = 0; !meant && i < count; i++) /* putItem: put */
        if (strlen(names[i]) > 2 && strncmp(name, names[i], strlen(names[i])) == 0)
            meant = names[i];
    return meant;
}

/* Upvalue 1: the module's name. What a module does not have is a misspelt name. */
static int module_missing(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    const char *meant = script_nearest_key(L, 1, name);
    return luaL_error(L, "%s has no '%s'%s%s%s", lua_tostring(L, lua_upvalueindex(1)), name,
                      meant ? " (did you mean '" : "", meant ? meant : "", meant ? "'?)" : "");
}

/* The module at the top of the stack. Settings may be left out, and some modules are functions. */
void script_make_strict(lua_State *L, const char *name)
{
    if (!lua_istable(L, -1) || strcmp(name, "tidemill.config") == 0)
        return;
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_pushcclosure(L, module_missing, 1);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name); /* what getmetatable shows: the rest is nobody's to call or to change */
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}
