/* bind_pattern.c: tidemill.pattern, the filters' event patterns for a handler's own use.
 *
 * pattern.compile(pattern) -> matcher. `pattern` is a table, or JSON as a string. Raises with the path to
 * what is wrong. matcher(value) -> boolean, where value is a table, any plain value, or a record. */
#include <lauxlib.h>
#include <lua.h>

#include "filter/filter.h"
#include "script/internal.h"
#include "value/lua_value.h"

static const char matcher_name[] = "tidemill.matcher";

static int matcher_free(lua_State *L)
{
    struct filter **filter = luaL_checkudata(L, 1, matcher_name);
    filter_free(*filter);
    *filter = NULL;
    return 0;
}

static int matcher_call(lua_State *L)
{
    struct filter **filter = luaL_checkudata(L, 1, matcher_name);
    struct err err;
    luaL_checkany(L, 2);
    const struct handler_source *source;
    const struct handler_input *input = record_test(L, 2, &source);
    if (input) {
        lua_pushboolean(L, filter_match_record(*filter, input->record->json, source->stream_arn));
        return 1;
    }
    struct buf *text = script_buf(L);
    struct arena *arena = script_arena(L);
    if (!value_write_json(L, 2, text, &err))
        return luaL_error(L, "pattern: %s", err.text);
    const struct json *value = json_parse(arena, text->data, text->size, &err);
    if (!value)
        return luaL_error(L, "pattern: %s", err.text);
    lua_pushboolean(L, filter_match(*filter, value));
    return 1;
}

static int pattern_compile(lua_State *L)
{
    struct err err;
    struct buf *text = script_buf(L);
    size_t size;
    if (lua_type(L, 1) == LUA_TSTRING) {
        const char *json = lua_tolstring(L, 1, &size);
        buf_add(text, json, size);
    } else {
        luaL_checktype(L, 1, LUA_TTABLE);
        if (!value_write_json(L, 1, text, &err))
            return luaL_error(L, "pattern: %s", err.text);
    }
    struct filter **filter = lua_newuserdatauv(L, sizeof *filter, 0);
    *filter = NULL;
    luaL_setmetatable(L, matcher_name);
    *filter = filter_compile(text->data ? text->data : "", text->size, &err);
    if (!*filter)
        return luaL_error(L, "pattern: %s", err.text);
    return 1;
}

int bind_pattern(lua_State *L)
{
    static const luaL_Reg functions[] = {{"compile", pattern_compile}, {NULL, NULL}};
    if (luaL_newmetatable(L, matcher_name)) {
        lua_pushcfunction(L, matcher_free);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, matcher_call);
        lua_setfield(L, -2, "__call");
        lua_pushliteral(L, "matcher");
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
