/* bind_once.c: the raw verbs under tidemill.once, in the state store; lua/tidemill/once.lua makes them
 * pleasant.
 *
 *   raw.claim(key, seconds)            -> "won"; or "done", result; or "busy"; or "own": held by this call
 *   raw.finish(key, result, seconds)   keeps the result (a string) for so long
 *   raw.forget(key)                    lets the next claim win
 *   raw.now()                          -> seconds since 1970
 *   raw.seconds(value)                 -> seconds, of a number or a text such as "7d"; nil: it is neither
 *   raw.owner()                        -> a text that names this invocation among all of all hosts
 *   raw.over(owner)                    -> true when that invocation is known to have ended
 *
 * What an invocation has claimed and not finished is forgotten with it, however it ends; what a process had
 * claimed, with the process (state/store.h). So a claim that is met is somebody's who works on it now. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/settings.h"
#include "script/internal.h"

/* A hundred years. */
#define SECONDS_MAX (100 * 366 * 86400.0)

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

/* "host:INSTANCE/TAG.SERIAL": the tag is this Lua state's, the serial the invocation's. */
static void write_owner(const struct invocation *invocation, struct buf *out)
{
    const struct script *script = invocation->script;
    char process[STORE_OWNER_SIZE];
    if (!script->options.owner)
        store_process_owner(process);
    buf_printf(out, "%s/%016llx.%zu.%llu", script->options.owner ? script->options.owner : process,
               (unsigned long long)script->tag, invocation->number, (unsigned long long)invocation->serial);
}

/* ---- what is claimed ---- */

struct held_claim {
    struct held_claim *next;
    char *key, *owner;
};

static void claim_free(struct held_claim *claim)
{
    free(claim->key);
    free(claim->owner);
    free(claim);
}

static void forget(struct script *script, const char *key, const char *owner)
{
    struct store_batch *batch = store_batch_new();
    store_put_marker(batch, &(struct store_marker){script->handler.name, key, NULL, 0, owner});
    store_commit(script->options.store, batch, NULL, NULL);
}

/* The invocation has ended; what it claimed and did not finish is nobody's. */
static void give_up_claims(struct invocation *invocation)
{
    for (struct held_claim *claim; (claim = invocation->claims);) {
        invocation->claims = claim->next;
        forget(invocation->script, claim->key, claim->owner);
        claim_free(claim);
    }
}

static void hold_claim(struct invocation *invocation, const char *key, const char *owner)
{
    struct held_claim *claim = mem_alloc(sizeof *claim);
    *claim = (struct held_claim){invocation->claims, mem_string(key), mem_string(owner)};
    invocation->claims = claim;
    invocation->give_up_claims = give_up_claims;
}

static void drop_claim(struct invocation *invocation, const char *key)
{
    for (struct held_claim **at = &invocation->claims; *at; at = &(*at)->next) {
        struct held_claim *claim = *at;
        if (strcmp(claim->key, key) != 0)
            continue;
        *at = claim->next;
        claim_free(claim);
        return;
    }
}

/* ---- answers ---- */

/* What came of it, as text behind a letter: the coroutine goes on from the reactor, and Lua takes it then. */
static void answer(struct invocation *invocation, char kind, const char *text)
{
    if (!invocation)
        return;
    invocation->stored = mem_printf("%c%s", kind, text);
    script_go_on(invocation);
}

struct claiming {
    struct ticket *ticket;
    struct script *script; /* held by the ticket */
    char *key, *owner;
};

static void on_claimed(void *user, enum claim claim, const char *result, int64_t expires_ms,
                       const struct err *err)
{
    static const char kinds[] = {[CLAIM_WON] = 'w', [CLAIM_DONE] = 'd', [CLAIM_BUSY] = 'b'};
    struct claiming claiming = *(struct claiming *)user;
    (void)expires_ms;
    free(user);
    handler_hold(&claiming.script->handler);
    struct invocation *invocation = script_ticket_take(claiming.ticket);
    if (invocation && !err && claim == CLAIM_WON)
        hold_claim(invocation, claiming.key, claiming.owner);
    else if (!err && claim == CLAIM_WON) /* nobody waits for it any longer */
        forget(claiming.script, claiming.key, claiming.owner);
    answer(invocation, err ? 'e' : kinds[claim], err ? err->text : result);
    handler_release(&claiming.script->handler);
    free(claiming.key);
    free(claiming.owner);
}

static void on_kept(void *user, const struct err *err)
{
    answer(script_ticket_take(user), err ? 'e' : 'k', err ? err->text : "");
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

/* ---- verbs ---- */

#define KEY_BYTES_MAX 2048 /* as a partition key of DynamoDB's */

static const char *check_key(lua_State *L)
{
    const char *key = script_check_text(L, 1);
    luaL_argcheck(L, strlen(key) <= KEY_BYTES_MAX, 1, "a key has at most 2048 bytes");
    return key;
}

/* Nobody else has it while this invocation runs, so it lapses no sooner than that may take. */
static int raw_claim(lua_State *L)
{
    const char *key = check_key(L);
    lua_Number seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= SECONDS_MAX, 2, "seconds expected");
    struct store *store = check_store(L);
    struct script *script = script_of(L);
    int64_t now = now_ms(L), least = script->handler.settings.timeout_ms, wanted = (int64_t)(seconds * 1000);
    if (!script->current)
        return luaL_error(L, "once can be called only while a record is handled");
    for (const struct held_claim *claim = script->current->claims; claim; claim = claim->next)
        if (strcmp(claim->key, key) == 0) {
            lua_pushliteral(L, "own");
            return 1;
        }
    drop_stored(L);
    struct ticket *ticket = script_ticket(L);
    struct buf owner = BUF_INIT;
    struct claiming *claiming = mem_alloc(sizeof *claiming);
    least = least < 366 * 86400000ll ? least : 366 * 86400000ll;
    write_owner(script->current, &owner);
    *claiming = (struct claiming){ticket, script, mem_string(key), buf_take(&owner)};
    store_claim(store,
                &(struct store_claim){script->handler.name, key, claiming->owner, now,
                                      now + (wanted > least ? wanted : least)},
                on_claimed, claiming);
    return lua_yieldk(L, 0, 0, after_store);
}

static int put_marker(lua_State *L, const char *key, const char *result, int64_t expires_ms)
{
    struct store *store = check_store(L);
    drop_stored(L);
    struct ticket *ticket = script_ticket(L);
    struct store_batch *batch = store_batch_new();
    drop_claim(script_of(L)->current, key); /* what comes of it is on its way */
    store_put_marker(batch,
                     &(struct store_marker){script_of(L)->handler.name, key, result, expires_ms, NULL});
    store_commit(store, batch, on_kept, ticket);
    return lua_yieldk(L, 0, 0, after_store);
}

static int raw_finish(lua_State *L)
{
    const char *key = check_key(L), *result = luaL_checkstring(L, 2);
    lua_Number seconds = luaL_checknumber(L, 3);
    luaL_argcheck(L, seconds >= 0 && seconds <= SECONDS_MAX, 3, "seconds expected");
    return put_marker(L, key, result, now_ms(L) + (int64_t)(seconds * 1000));
}

static int raw_forget(lua_State *L)
{
    return put_marker(L, check_key(L), NULL, 0);
}

static int raw_now(lua_State *L)
{
    lua_pushinteger(L, now_ms(L) / 1000);
    return 1;
}

int script_raw_scope(lua_State *L)
{
    const struct script *script = script_of(L);
    const struct config *config = script->handler.config;
    lua_pushfstring(L, "%s:%s", config ? config->host.group : "", script->handler.name);
    return 1;
}

int script_raw_seconds(lua_State *L)
{
    struct err err;
    int64_t ms;
    lua_Number seconds = 0;
    if (lua_type(L, 1) == LUA_TNUMBER)
        seconds = lua_tonumber(L, 1);
    else if (lua_type(L, 1) == LUA_TSTRING && duration_parse(lua_tostring(L, 1), &ms, &err))
        seconds = (lua_Number)ms / 1000;
    if (seconds > 0 && seconds <= SECONDS_MAX)
        lua_pushnumber(L, seconds);
    else
        lua_pushnil(L);
    return 1;
}

static int raw_owner(lua_State *L)
{
    struct invocation *invocation = script_of(L)->current;
    struct buf *text = script_buf(L);
    if (!invocation)
        return luaL_error(L, "once can be called only while a record is handled");
    write_owner(invocation, text);
    lua_pushlstring(L, text->data, text->size);
    return 1;
}

/* Of this Lua state it knows each invocation; of another process only whether it is gone. */
static int raw_over(lua_State *L)
{
    const char *owner = luaL_checkstring(L, 1), *mine = strrchr(owner, '/');
    const struct script *script = script_of(L);
    unsigned long long tag, serial;
    size_t number;
    bool over = store_owner_is_gone(owner) ||
                (script->options.known_dead && script->options.known_dead(script->options.known_user, owner));
    if (!over && mine && sscanf(mine, "/%16llx.%zu.%llu", &tag, &number, &serial) == 3 &&
        tag == script->tag) {
        const struct invocation *invocation = script->all;
        while (invocation && invocation->number != number)
            invocation = invocation->next_of_all;
        over = invocation && invocation->serial != serial;
    }
    lua_pushboolean(L, over);
    return 1;
}

int bind_once(lua_State *L)
{
    static const luaL_Reg verbs[] = {
        {"claim", raw_claim}, {"finish", raw_finish}, {"forget", raw_forget},          {"now", raw_now},
        {"owner", raw_owner}, {"over", raw_over},     {"seconds", script_raw_seconds}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}
