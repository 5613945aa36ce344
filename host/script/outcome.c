/* outcome.c: what on_batch and on_window are given and what they return. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"
#include "value/lazy_item.h"
#include "value/lua_value.h"

/* ---- arguments ---- */

static void push_records(lua_State *L, struct invocation *invocation)
{
    size_t count = invocation->call->count;
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        record_push(L, invocation, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int read_kept(lua_State *L)
{
    struct err err;
    const char *state = *(const char **)lua_touserdata(L, 1);
    const struct json *json = json_parse(script_arena(L), state, strlen(state), &err);
    if (!json)
        return luaL_error(L, "the window's state cannot be read: %s", err.text);
    value_push_json(L, json);
    return 1;
}

static void push_state(lua_State *L, const char *state)
{
    if (!state) {
        lua_pushnil(L);
        return;
    }
    lua_pushcfunction(L, read_kept); /* on its own, for the arena's sake */
    lua_pushlightuserdata(L, &state);
    lua_call(L, 1, 1);
}

static void push_window(lua_State *L, const struct handler_call *call)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, call->window->start_ms / 1000);
    lua_setfield(L, -2, "start");
    lua_pushinteger(L, call->window->end_ms / 1000);
    lua_setfield(L, -2, "finish");
    lua_pushstring(L, call->source->shard);
    lua_setfield(L, -2, "shard");
    lua_pushstring(L, call->source->table);
    lua_setfield(L, -2, "table");
}

int outcome_push_arguments(lua_State *L, struct invocation *invocation)
{
    const struct handler_call *call = invocation->call;
    if (!call->window) {
        push_records(L, invocation);
        return 1;
    }
    luaL_checkstack(L, 8, NULL);
    push_state(L, call->window->state);
    push_records(L, invocation);
    lua_pushboolean(L, call->window->final);
    push_window(L, call);
    return 4;
}

/* ---- results ---- */

struct reading {
    struct invocation *invocation;
    struct handler_outcome *outcome;
};

/* The array of records that failed is on top. */
static void read_failed(lua_State *L, struct reading *reading)
{
    const struct handler_call *call = reading->invocation->call;
    if (lua_isnoneornil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "on_batch returned %s; it returns nothing, or an array of the records that failed",
                   luaL_typename(L, -1));
    lazy_force(L, -1);
    lua_Unsigned count = lua_rawlen(L, -1);
    if (!count && (lua_pushnil(L), lua_next(L, -2)))
        luaL_error(L, "on_batch returned a table that is no array of records");
    for (lua_Unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        int64_t place = record_place(L, -1, reading->invocation);
        lua_pop(L, 1);
        if (place < 0)
            luaL_error(L, "on_batch returned an array whose element %d is no record of the batch", (int)i);
        if (!reading->outcome->verdicts)
            reading->outcome->verdicts = mem_zero(call->count * sizeof *reading->outcome->verdicts);
        reading->outcome->verdicts[place] = VERDICT_FAILED;
    }
}

static void read_state(lua_State *L, struct reading *reading)
{
    struct err err;
    if (lua_isnoneornil(L, -1))
        return;
    int state = lua_gettop(L);
    struct buf *text = script_buf(L);
    if (!value_write_json(L, state, text, &err))
        luaL_error(L, "on_window returned a state that cannot be kept: %s", err.text);
    if (text->size > SCRIPT_STATE_BYTES_MAX)
        luaL_error(L, "on_window returned a state of %d bytes; %d are allowed", (int)text->size,
                   SCRIPT_STATE_BYTES_MAX);
    reading->outcome->state = mem_string(text->data);
}

static int read_protected(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    struct invocation *invocation = reading->invocation;
    lua_settop(L, 0);
    if (invocation->results > 0) {
        lua_pop(invocation->co, invocation->results - 1); /* the first is meant */
        lua_xmove(invocation->co, L, 1);
    } else {
        lua_pushnil(L);
    }
    if (invocation->script->handler.kind == HANDLER_BATCHES)
        read_failed(L, reading);
    else
        read_state(L, reading);
    return 0;
}

bool outcome_read(struct invocation *invocation, struct handler_outcome *outcome)
{
    struct reading reading = {invocation, outcome};
    lua_State *L = invocation->script->L;
    if (!invocation->call || invocation->script->handler.kind == HANDLER_RECORDS)
        return true;
    if (invocation->call->request)
        return request_read_answer(invocation, outcome);
    lua_pushcfunction(L, read_protected);
    lua_pushlightuserdata(L, &reading);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return true;
    handler_outcome_fini(outcome);
    outcome->error = script_error(invocation->script, lua_tostring(L, -1));
    lua_pop(L, 1);
    return false;
}
