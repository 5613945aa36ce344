/* lua.c: the floors that a handler stands on, in bare Lua: a loop of 1,000 turns, entering a function that
 * does nothing, yielding and being resumed, entering with an object on a coroutine. Prints nanoseconds of
 * each. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOPS 20000
#define CALLS 5000000
#define OBJECT_BYTES 64

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The chunk's function stays on the stack. */
static void load(lua_State *L, const char *text)
{
    if (luaL_dostring(L, text) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
}

static double call_again(lua_State *L, int count)
{
    double begun = now_ns();
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, -1);
        lua_pcall(L, 0, 0, 0);
    }
    return (now_ns() - begun) / count;
}

/* The same as a host has to: an object that tells what it is for, on a coroutine, since the function may
 * wait. The function stays on the stack. */
static double call_with_object(lua_State *L, int count)
{
    int results;
    lua_State *thread = lua_newthread(L);
    lua_newtable(L);
    double begun = now_ns();
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, -3);
        lua_newuserdatauv(L, OBJECT_BYTES, 1);
        lua_pushvalue(L, -3);
        lua_setmetatable(L, -2);
        lua_xmove(L, thread, 2);
        lua_resume(thread, L, 1, &results);
        lua_settop(thread, 0);
    }
    lua_pop(L, 2);
    return (now_ns() - begun) / count;
}

int main(void)
{
    lua_State *L = luaL_newstate();
    int results;
    luaL_openlibs(L);
    load(L, "local below = 0 return function() for i = 1, 1000 do below = below + i end end");
    double loop = call_again(L, LOOPS);
    load(L, "return function() end");
    double call = call_again(L, CALLS), object = call_with_object(L, CALLS);
    load(L, "local yield = coroutine.yield return function() while true do yield() end end");
    lua_State *thread = lua_newthread(L);
    lua_pushvalue(L, -2);
    lua_xmove(L, thread, 1);
    double begun = now_ns();
    for (int i = 0; i < CALLS; i++) {
        lua_resume(thread, L, 0, &results);
        lua_pop(thread, results);
    }
    printf("%.1f %.1f %.1f %.1f\n", loop, call, (now_ns() - begun) / CALLS, object);
    lua_close(L);
    return 0;
}
