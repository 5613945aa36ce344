/* replies.c: what the transports for databases answer, as Lua values. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "script/internal.h"

#define DEPTH_MAX 16

struct script_replies {
    const char *at, *end;
};

static lua_Integer read_number(struct script_replies *replies)
{
    char *rest;
    long long number = strtoll(replies->at + 1, &rest, 10); /* a "\r\n" stands behind each */
    replies->at = rest + 2;
    return (lua_Integer)number;
}

static void push_reply(lua_State *L, struct script_replies *replies, int depth);

static void push_line(lua_State *L, struct script_replies *replies, bool error)
{
    const char *text = replies->at + 1, *stop = memmem(text, (size_t)(replies->end - text), "\r\n", 2);
    stop = stop ? stop : replies->end;
    replies->at = stop + 2 < replies->end ? stop + 2 : replies->end;
    if (error)
        lua_createtable(L, 0, 1);
    lua_pushlstring(L, text, (size_t)(stop - text));
    if (error)
        lua_setfield(L, -2, "err");
}

static void push_list(lua_State *L, struct script_replies *replies, int depth)
{
    lua_Integer count = read_number(replies);
    luaL_checkstack(L, 4, "replies");
    lua_createtable(L, count < 4096 ? (int)count : 4096, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        state_tick(L);
        push_reply(L, replies, depth + 1);
        lua_rawseti(L, -2, i);
    }
}

static void push_reply(lua_State *L, struct script_replies *replies, int depth)
{
    lua_Integer size;
    if (replies->at >= replies->end || depth > DEPTH_MAX) {
        lua_pushliteral(L, "OK"); /* a dry run answers nothing */
        return;
    }
    switch (*replies->at) {
    case '+':
    case '-':
        push_line(L, replies, *replies->at == '-');
        break;
    case ':':
        lua_pushinteger(L, read_number(replies));
        break;
    case '$':
        size = read_number(replies);
        if (size < 0) {
            lua_pushboolean(L, false);
            break;
        }
        lua_pushlstring(L, replies->at, (size_t)size);
        replies->at += size + 2;
        break;
    default:
        push_list(L, replies, depth);
    }
}

void script_push_replies(lua_State *L, struct transport_response *response, lua_Integer least)
{
    struct buf *body = script_buf(L);
    *body = response->body; /* ours from here: what raises below must not lose it */
    response->body = BUF_INIT;
    const char *text = body->data ? body->data : "";
    struct script_replies replies = {text, text + (*text == '{' ? 0 : body->size)}; /* a dry run has none */
    lua_createtable(L, least < 4096 ? (int)least : 4096, 0);
    for (lua_Integer i = 1; i <= least || replies.at < replies.end; i++) {
        push_reply(L, &replies, 0);
        lua_rawseti(L, -2, i);
    }
}
