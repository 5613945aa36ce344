/* request.c: what on_request is given, and what it answers. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/internal.h"
#include "value/lazy_item.h"
#include "value/lua_value.h"

#define STATUS_OK 200
#define HEADERS_MAX 32
#define HEADER_BYTES_MAX 4096
#define FIELDS_MAX 1000 /* of a query */
#define TOKEN \
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" /* RFC 9110, 5.6.2 */

static const char request_meta;

/* ---- the request ---- */

/* As forms are encoded: + is a blank, and %41 an A. */
static void push_decoded(lua_State *L, const char *text, size_t size)
{
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < size; i++) {
        bool escaped =
            text[i] == '%' && i + 2 < size && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
        luaL_addchar(&out, escaped          ? (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]))
                           : text[i] == '+' ? ' '
                                            : text[i]);
        i += escaped ? 2 : 0;
    }
    luaL_pushresult(&out);
}

/* "a=1&b=2" as a table; of a name that stands there twice the first value. */
static void push_query(lua_State *L, const char *query)
{
    lua_newtable(L);
    for (size_t fields = 0; query && *query && fields < FIELDS_MAX; fields++) {
        size_t size = strcspn(query, "&"), name = 0;
        while (name < size && query[name] != '=')
            name++;
        push_decoded(L, query, name);
        lua_pushvalue(L, -1);
        if (name && lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            push_decoded(L, query + (name < size ? name + 1 : size), name < size ? size - name - 1 : 0);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
        query += size + (query[size] == '&');
    }
}

/* With names in lower case; of one that comes twice both, with a comma (RFC 9110, 5.2). */
static void push_headers(lua_State *L, const struct handler_request *request)
{
    lua_createtable(L, 0, (int)request->header_count);
    for (size_t i = 0; i < request->header_count; i++) {
        luaL_Buffer name;
        luaL_buffinit(L, &name);
        for (const char *c = request->headers[i].name; *c; c++)
            luaL_addchar(&name, (char)(*c >= 'A' && *c <= 'Z' ? *c + 'a' - 'A' : *c));
        luaL_pushresult(&name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING) {
            lua_pushfstring(L, ", %s", request->headers[i].value);
            lua_concat(L, 2);
        } else {
            lua_pop(L, 1);
            lua_pushstring(L, request->headers[i].value);
        }
        lua_rawset(L, -3);
    }
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* request:json() -> the body, decoded. Raises on what is no JSON. */
static int request_json(lua_State *L)
{
    struct err err;
    size_t size;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "body");
    const char *body = luaL_checklstring(L, -1, &size);
    struct arena *arena = script_arena(L);
    const struct json *root = json_parse(arena, body, size, &err);
    if (!root)
        return luaL_error(L, "request:json(): the body is no JSON: %s", err.text);
    value_push_json(L, root);
    return 1;
}

static int unknown_field(lua_State *L)
{
    return luaL_error(
        L,
        "a request has no %s: id, method, path, query, query_string, headers, body, remote, intake "
        "and :json() it has",
        lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static void push_meta(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &request_meta) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, unknown_field);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "request");
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &request_meta);
}

void request_push(lua_State *L, const struct handler_request *request)
{
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, 0, 10);
    set_text(L, "id", request->id);
    set_text(L, "method", request->method);
    set_text(L, "path", request->path);
    set_text(L, "query_string", request->query ? request->query : "");
    set_text(L, "remote", request->remote);
    set_text(L, "intake", request->intake);
    lua_pushlstring(L, request->body, request->body_size);
    lua_setfield(L, -2, "body");
    push_query(L, request->query);
    lua_setfield(L, -2, "query");
    push_headers(L, request);
    lua_setfield(L, -2, "headers");
    lua_pushcfunction(L, request_json);
    lua_setfield(L, -2, "json");
    push_meta(L);
    lua_setmetatable(L, -2);
}

/* ---- the answer ---- */

static void add_header(lua_State *L, struct handler_answer *answer, const char *name, const char *value)
{
    if (!*name || name[strspn(name, TOKEN)] || strlen(name) > HEADER_BYTES_MAX)
        luaL_error(L, "on_request returned a header with no good name: %s", name);
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            luaL_error(L,
                       "on_request returned a header %s with a line's end or another control character in it",
                       name);
    if (answer->header_count == HEADERS_MAX || strlen(value) > HEADER_BYTES_MAX)
        luaL_error(L, "on_request returned more than %d headers, or one of more than %d bytes", HEADERS_MAX,
                   HEADER_BYTES_MAX);
    if (!answer->headers)
        answer->headers = mem_zero(HEADERS_MAX * sizeof *answer->headers);
    answer->headers[answer->header_count++] = (struct handler_header){mem_string(name), mem_string(value)};
}

/* The table with headers is on top. Those that frame the answer are the host's. */
static void read_headers(lua_State *L, struct handler_answer *answer)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "connection", "upgrade",
                                          "trailer"};
    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "on_request returned headers that are no table: { [\"X-Name\"] = \"value\" }");
    lazy_force(L, -1);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) != LUA_TSTRING ||
            (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER))
            luaL_error(L, "on_request returned headers that are no texts: { [\"X-Name\"] = \"value\" }");
        lua_pushvalue(L, -1); /* a number becomes a text in place, which must not be the table's */
        const char *name = lua_tostring(L, -3), *value = lua_tostring(L, -1);
        for (size_t i = 0; i < sizeof framing / sizeof *framing; i++)
            if (strcasecmp(name, framing[i]) == 0)
                luaL_error(L, "on_request returned a header %s: that one is the host's", name);
        add_header(L, answer, name, value);
        lua_pop(L, 2);
    }
}

static bool has_header(const struct handler_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (strcasecmp(answer->headers[i].name, name) == 0)
            return true;
    return false;
}

static void set_body(lua_State *L, struct handler_answer *answer, const char *body, size_t size,
                     const char *type)
{
    if (size > SCRIPT_ANSWER_BYTES_MAX)
        luaL_error(L, "on_request returned a body of more than %d bytes", SCRIPT_ANSWER_BYTES_MAX);
    answer->body = mem_copy(body, size);
    answer->body_size = size;
    if (!has_header(answer, "Content-Type"))
        add_header(L, answer, "Content-Type", type);
}

/* The returned table is at 1. */
static void check_members(lua_State *L)
{
    static const char *const known[] = {"status", "headers", "json", "body", NULL};
    lazy_force(L, 1);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        bool is = false;
        for (size_t i = 0; name && known[i]; i++)
            is = is || strcmp(known[i], name) == 0;
        if (!is)
            luaL_error(
                L,
                "on_request returned a table with %s: { status =, headers =, json = or body = } it may have",
                name ? name : "members without a name");
        lua_pop(L, 1);
    }
}

static int read_protected(lua_State *L)
{
    struct handler_answer *answer = lua_touserdata(L, 1);
    struct err err;
    size_t size;
    lua_remove(L, 1);
    answer->status = STATUS_OK;
    if (lua_isnil(L, 1))
        return 0;
    if (lua_type(L, 1) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, 1, &size);
        set_body(L, answer, text, size, "text/plain; charset=utf-8");
        return 0;
    }
    if (!lua_istable(L, 1))
        return luaL_error(L,
                          "on_request returned %s; it returns nothing, a text, or { status =, headers =, "
                          "json = or body = }",
                          luaL_typename(L, 1));
    check_members(L);
    if (lua_getfield(L, 1, "status") != LUA_TNIL) {
        lua_Integer status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (status < 200 || status > 599)
            return luaL_error(L, "on_request returned a status that is none: %s",
                              luaL_tolstring(L, -1, NULL));
        answer->status = (int)status;
    }
    lua_getfield(L, 1, "headers");
    read_headers(L, answer);
    if (lua_getfield(L, 1, "body") != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "on_request returned a body that is no text (json = takes a table)");
        const char *body = lua_tolstring(L, -1, &size);
        set_body(L, answer, body, size, "application/octet-stream");
    }
    if (lua_getfield(L, 1, "json") != LUA_TNIL) {
        int json = lua_gettop(L);
        if (answer->body)
            return luaL_error(L, "on_request returned both json and body");
        struct buf *text = script_buf(L);
        if (!value_write_json(L, json, text, &err))
            return luaL_error(L, "on_request returned json that cannot be written: %s", err.text);
        set_body(L, answer, text->data, text->size, "application/json");
    }
    return 0;
}

bool request_read_answer(struct invocation *invocation, struct handler_outcome *outcome)
{
    lua_State *L = invocation->script->L;
    outcome->answer = mem_zero(sizeof *outcome->answer);
    lua_pushcfunction(L, read_protected);
    lua_pushlightuserdata(L, outcome->answer);
    if (invocation->results > 0) {
        lua_pop(invocation->co, invocation->results - 1); /* the first is meant */
        lua_xmove(invocation->co, L, 1);
    } else {
        lua_pushnil(L);
    }
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return true;
    handler_outcome_fini(outcome);
    outcome->error = script_error(invocation->script, lua_tostring(L, -1));
    lua_pop(L, 1);
    return false;
}
