/* bind_time.c: tidemill.time.
 *
 * time.now() -> seconds since 1970, with milliseconds
 * time.iso8601([seconds]) -> "2026-01-31T23:59:59.000Z"
 * time.parse(text) -> seconds; raises on what is no time by RFC 3339
 * time.sleep(seconds): suspends the handler, not the thread; counts towards its timeout */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>

#include "script/internal.h"

static double now_s(lua_State *L)
{
    return (double)clock_wall_ms(reactor_clock(script_of(L)->options.reactor)) / 1000.0;
}

static int time_now(lua_State *L)
{
    lua_pushnumber(L, now_s(L));
    return 1;
}

static int time_iso8601(lua_State *L)
{
    char text[CLOCK_ISO_SIZE];
    lua_Number seconds = luaL_optnumber(L, 1, now_s(L));
    luaL_argcheck(L, seconds >= -62167219200.0 && seconds < 253402300799.9995, 1,
                  "seconds since 1970 expected");
    clock_iso8601((int64_t)floor(seconds * 1000.0 + 0.5), text);
    lua_pushstring(L, text);
    return 1;
}

static int time_parse(lua_State *L)
{
    const char *text = script_check_text(L, 1);
    int64_t ms;
    if (!clock_read_iso8601(text, &ms))
        return luaL_error(L, "\"%s\" is not a time such as 2026-01-31T23:59:59Z or 2026-02-01T01:59:59+02:00",
                          text);
    lua_pushnumber(L, (double)ms / 1000.0);
    return 1;
}

static int after_sleep(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 0;
}

static int time_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 86400, 1, "seconds expected, at most a day");
    return script_wait_ms(L, (int64_t)(seconds * 1000.0 + 0.5), after_sleep);
}

int bind_time(lua_State *L)
{
    static const luaL_Reg functions[] = {{"now", time_now},
                                         {"iso8601", time_iso8601},
                                         {"parse", time_parse},
                                         {"sleep", time_sleep},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
