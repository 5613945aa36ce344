/* bind_http.c: the raw verb under tidemill.http; lua/tidemill/http.lua makes it pleasant.
 *
 *   raw.send(method, url, headers, body or nil, timeout_s, max_bytes)
 *       -> status, headers, body; or nil, {code=, message=}
 *   `headers` is a list of "Name: value"; those returned are a table by lower-case name. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/url.h"
#include "script/internal.h"

#define HEADERS_MAX 64
#define METHOD_MAX 20
#define BODY_BYTES_MAX (64 << 20)

static void push_lower(lua_State *L, const char *text, size_t size)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, size);
    for (size_t i = 0; i < size; i++)
        out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
    luaL_pushresultsize(&buffer, size);
}

/* A name that came twice has its values joined, as RFC 9110 allows. */
static void add_header(lua_State *L, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size), *end = line + size;
    if (!colon)
        return;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    push_lower(L, line, (size_t)(colon - line));
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushlstring(L, value, (size_t)(end - value));
    } else {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, (size_t)(end - value));
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, const struct buf *headers)
{
    const char *line = headers->data, *end = line + headers->size;
    lua_newtable(L);
    while (line && line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        size_t size = (size_t)(stop - line);
        if (size && line[size - 1] == '\r')
            size--;
        add_header(L, line, size);
        line = stop + 1;
    }
}

int script_push_response(lua_State *L, struct transport_response *response)
{
    int status = response->status;
    struct buf *headers = script_buf(L), *body = script_buf(L);
    *headers = response->headers; /* ours from here: what raises below must not lose them */
    *body = response->body;
    response->headers = response->body = BUF_INIT;
    lua_pushinteger(L, status);
    push_headers(L, headers);
    lua_pushlstring(L, body->data ? body->data : "", body->size);
    return 3;
}

int script_push_no_response(lua_State *L, const struct err *failed)
{
    struct err err = *failed; /* what raises below may end what it is of */
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, err.code == ERR_TIMEOUT     ? "Timeout"
                      : err.code == ERR_LIMIT     ? "TooLarge"
                      : err.code == ERR_RESOURCES ? "OutOfDescriptors"
                      : err.code == ERR_SERVICE   ? "Refused"
                                                  : "NetworkError");
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err.text);
    lua_setfield(L, -2, "message");
    return 2;
}

static void count_request(const struct script *script, int status)
{
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    ++*stats_counter(script->options.stats, "tidemill_http_requests_total", "handler", script->handler.name,
                     "status", text, NULL);
}

static int after_send(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    struct transport_response *response = invocation->response;
    (void)status;
    (void)context;
    count_request(script_of(L), response ? response->status : 0);
    return response ? script_push_response(L, response) : script_push_no_response(L, invocation->err);
}

static void check_host(lua_State *L, const char *url)
{
    struct script *script = script_of(L);
    struct err err;
    char *host = url_host(url, &err);
    if (!host) {
        luaL_error(L, "http: %s", err.text);
        return;
    }
    if (script->handler.settings.allow_hosts &&
        !url_host_listed(host, script->handler.settings.allow_hosts)) {
        lua_pushstring(L, host);
        free(host);
        luaL_error(L, "http: %s is not in allow_hosts", lua_tostring(L, -1));
        return;
    }
    free(host);
}

/* What may go out again on another connection, see transport.h: RFC 9110, 9.2.2. */
static bool is_idempotent(const char *method, const char *const *headers)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return transport_has_header(headers, "Idempotency-Key");
}

/* What would not fit into the handler's memory is not read. */
static size_t bounded(const struct script *script, size_t bytes)
{
    size_t room = state_room(script);
    return bytes < room ? bytes : room > 1 ? room : 1;
}

static int raw_send(lua_State *L)
{
    const char *headers[HEADERS_MAX + 2] = {NULL};
    char trace[TRACE_PARENT_SIZE];
    size_t body_size = 0;
    const char *method = script_check_text(L, 1), *url = script_check_text(L, 2);
    size_t letters = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");
    luaL_argcheck(L, letters && letters <= METHOD_MAX && !method[letters], 1, "a method is letters only");
    luaL_checktype(L, 3, LUA_TTABLE);
    const char *body = luaL_optlstring(L, 4, NULL, &body_size);
    lua_Number timeout_s = luaL_checknumber(L, 5);
    lua_Integer max_bytes = luaL_checkinteger(L, 6);
    luaL_argcheck(L, timeout_s > 0 && timeout_s <= 86400, 5, "a timeout in seconds expected");
    luaL_argcheck(L, max_bytes > 0 && max_bytes <= BODY_BYTES_MAX, 6, "at most 64 MiB");
    check_host(L, url);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 3);
    luaL_argcheck(L, count <= HEADERS_MAX, 3, "too many headers");
    luaL_checkstack(L, (int)count + 8, "headers");
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 3, i);
        size_t size;
        headers[i - 1] = luaL_checklstring(L, -1, &size);
        if (strpbrk(headers[i - 1], "\r\n") || strlen(headers[i - 1]) != size)
            return luaL_error(L, "http: a header holds a line break or a zero byte");
    }
    const struct trace_place *place = script_begin_span(L, method);
    if (place && !transport_has_header(headers, "traceparent")) { /* a script may have a trace of its own */
        trace_write_parent(place, trace);
        headers[count] = trace;
    }
    struct transport_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = body, /* stays on this coroutine's stack until the answer */
        .body_size = body_size,
        .timeout_ms = timeout_s < 0.001 ? 1 : (int64_t)(timeout_s * 1000),
        .response_max = bounded(script_of(L), (size_t)max_bytes),
        .http2 = true,
        .idempotent = is_idempotent(method, headers),
    };
    return script_wait_http(L, &request, after_send);
}

/* raw.check(url): raises where calls may not go there. */
static int raw_check(lua_State *L)
{
    check_host(L, script_check_text(L, 1));
    return 0;
}

int bind_http(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"send", raw_send}, {"check", raw_check}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}
