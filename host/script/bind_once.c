/* bind_once.c: the raw verbs under tidemill.once, in the state store; lua/tidemill/once.lua makes them
 * pleasant.
 *
 *   raw.claim(key, seconds)            -> "won"; or "done", result; or "busy"
 *   raw.finish(key, result, seconds)   keeps the result (a string) for so long
 *   raw.forget(key)                    lets the next claim win
 *   raw.now()                          -> seconds since 1970 */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"

static int64_t now_ms(lua_State *L)
{
    return clock_wall_ms(reactor_clock(script_of(L)->options.reactor));
}

static struct store *check_store(lua_State *L)
{
    struct store *store = script_of(L)->options.store;
    if (!store)
        luaL_error(L, "once: there is no state store here");
    return store;
}

/* What came of it, as text behind a letter: the coroutine goes on from the reactor, and Lua takes it then. */
static void answer(struct ticket *ticket, char kind, const char *text)
{
    struct invocation *invocation = script_ticket_take(ticket);
    if (!invocation)
        return;
    invocation->stored = mem_printf("%c%s", kind, text);
    script_go_on(invocation);
}

static void on_claimed(void *user, enum claim claim, const char *result, int64_t expires_ms,
                       const struct err *err)
{
    static const char kinds[] = {[CLAIM_WON] = 'w', [CLAIM_DONE] = 'd', [CLAIM_BUSY] = 'b'};
    (void)expires_ms;
    answer(user, err ? 'e' : kinds[claim], err ? err->text : result);
}

static void on_kept(void *user, const struct err *err)
{
    answer(user, err ? 'e' : 'k', err ? err->text : "");
}

static int after_store(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    (void)status;
    (void)context;
    const char *stored = invocation->stored; /* freed with the invocation, or replaced by the next answer */
    lua_pushstring(L, stored + 1);
    switch (stored[0]) {
    case 'w':
        lua_pushliteral(L, "won");
        break;
    case 'd':
        lua_pushliteral(L, "done");
        break;
    case 'b':
        lua_pushliteral(L, "busy");
        break;
    case 'k':
        lua_pushliteral(L, "kept");
        break;
    default:
        return luaL_error(L, "once: %s", lua_tostring(L, -1));
    }
    lua_insert(L, -2);
    return 2;
}

static void drop_stored(lua_State *L)
{
    struct invocation *invocation = script_of(L)->current;
    if (invocation)
        mem_free_secret(invocation->stored);
    if (invocation)
        invocation->stored = NULL;
}

static int raw_claim(lua_State *L)
{
    const char *key = luaL_checkstring(L, 1);
    lua_Number seconds = luaL_checknumber(L, 2);
    struct store *store = check_store(L);
    int64_t now = now_ms(L);
    drop_stored(L);
    store_claim(store, script_of(L)->handler.name, key, now, now + (int64_t)(seconds * 1000), on_claimed,
                script_ticket(L));
    return lua_yieldk(L, 0, 0, after_store);
}

static int put_marker(lua_State *L, const char *key, const char *result, int64_t expires_ms)
{
    struct store *store = check_store(L);
    drop_stored(L);
    struct ticket *ticket = script_ticket(L);
    struct store_batch *batch = store_batch_new();
    store_put_marker(batch, &(struct store_marker){script_of(L)->handler.name, key, result, expires_ms});
    store_commit(store, batch, on_kept, ticket);
    return lua_yieldk(L, 0, 0, after_store);
}

static int raw_finish(lua_State *L)
{
    const char *key = luaL_checkstring(L, 1), *result = luaL_checkstring(L, 2);
    return put_marker(L, key, result, now_ms(L) + (int64_t)(luaL_checknumber(L, 3) * 1000));
}

static int raw_forget(lua_State *L)
{
    return put_marker(L, luaL_checkstring(L, 1), NULL, 0);
}

static int raw_now(lua_State *L)
{
    lua_pushinteger(L, now_ms(L) / 1000);
    return 1;
}

int bind_once(lua_State *L)
{
    static const luaL_Reg verbs[] = {
        {"claim", raw_claim}, {"finish", raw_finish}, {"forget", raw_forget}, {"now", raw_now}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}
