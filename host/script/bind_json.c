/* bind_json.c: tidemill.json. encode(value) -> string, decode(text) -> value, null. */
#include <lauxlib.h>
#include <lua.h>

#include "base/json.h"
#include "script/internal.h"
#include "value/lua_value.h"

/* json.encode(value) -> string. Raises on functions, cycles, binaries and NaN, naming the path to it. */
static int json_encode(lua_State *L)
{
    struct err err;
    luaL_checkany(L, 1);
    struct buf *out = script_buf(L);
    if (!value_write_json(L, 1, out, &err))
        return luaL_error(L, "json.encode: %s", err.text);
    lua_pushlstring(L, out->data, out->size);
    return 1;
}

/* json.decode(text) -> value. Raises with the byte offset on what is not JSON. null is json.null. */
static int json_decode(lua_State *L)
{
    struct err err;
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    struct arena *arena = script_arena(L);
    const struct json *root = json_parse(arena, text, size, &err);
    if (!root)
        return luaL_error(L, "json.decode: %s", err.text);
    value_push_json(L, root);
    return 1;
}

int bind_json(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", json_encode}, {"decode", json_decode}, {NULL, NULL}};
    luaL_newlib(L, functions);
    value_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
