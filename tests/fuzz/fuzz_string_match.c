/* fuzz_string_match.c: the sandbox's find, match, gmatch and gsub: a pattern, a zero byte, what it is matched
 * with. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <string.h>

#include "script/string_match.h"

static int ticks;

static void tick(lua_State *L)
{
    if (++ticks > 20)
        luaL_error(L, "stopped");
}

static bool never(lua_State *L)
{
    (void)L;
    return false;
}

static bool too_large(lua_State *L, size_t bytes)
{
    (void)L;
    return bytes > 1 << 20;
}

static void hold(lua_State *L, ptrdiff_t bytes)
{
    (void)L;
    (void)bytes;
}

static const char program[] = "local s, p = ...\n"
                              "pcall(ours.find, s, p) pcall(ours.match, s, p, -3)\n"
                              "pcall(ours.gsub, s, p, p) pcall(ours.gsub, s, p, function(a) return a end)\n"
                              "pcall(function() for a, b in ours.gmatch(s, p) do end end)\n";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct string_match_limits limits = {tick, never, NULL, too_large, hold, NULL};
    static lua_State *L;
    const uint8_t *zero = size ? memchr(bytes, 0, size) : NULL;
    size_t first = zero ? (size_t)(zero - bytes) : size;
    if (!L) {
        L = luaL_newstate();
        luaL_openlibs(L);
        lua_newtable(L);
        string_match_open(L, &limits);
        lua_setglobal(L, "ours");
        if (luaL_loadstring(L, program) != LUA_OK)
            return -1;
    }
    ticks = 0;
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)bytes + first + (zero != NULL), size - first - (zero != NULL));
    lua_pushlstring(L, (const char *)bytes, first);
    lua_pcall(L, 2, 0, 0);
    lua_settop(L, 1);
    return 0;
}
