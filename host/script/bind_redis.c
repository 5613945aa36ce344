/* bind_redis.c: the raw verbs under tidemill.redis; lua/tidemill/redis.lua makes it pleasant.
 *
 *   raw.check(url)      raises where calls may not go there
 *   raw.fits(command)   raises where others could not share its connection
 *   raw.scope(), raw.seconds(time)   as bind_once.c has them
 *   raw.send(url, commands, timeout_s, checked) -> replies; or nil, {code=, message=}
 *   `commands` is a list of lists of strings and numbers; `checked` false: they may change the connection.
 *   A reply is a string, an integer, a list, false for Redis's nil, { err = "..." }, and for a status its
 *   text, as Redis's own Lua has them (but for the status, which is a table there). */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "script/internal.h"

#ifdef TIDEMILL_REDIS

#include "net/resp.h"
#include "net/transport_redis.h"
#include "net/url.h"

#define COMMANDS_MAX 10000
#define ARGUMENTS_MAX 100000
#define BODY_BYTES_MAX (64u << 20)

static void check_url(lua_State *L, const char *url)
{
    const struct script *script = script_of(L);
    const char *allowed = script->handler.settings.allow_hosts;
    struct err err;
    if (!redis_url_check(url, &err)) {
        luaL_error(L, "redis: a text of %d characters is given as a URL and is none: %s", (int)strlen(url),
                   err.text);
        return;
    }
    char *host = redis_url_host(url);
    bool well = !allowed || (host && url_host_listed(host, allowed));
    lua_pushstring(L, host ? host : "a socket of this machine");
    free(host);
    if (!well)
        luaL_error(L, "redis: %s is not in allow_hosts", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static int raw_check(lua_State *L)
{
    check_url(L, script_check_text(L, 1));
    return 0;
}

/* ---- commands ---- */

static void check_fits(lua_State *L, const char *name, size_t size)
{
    bool multi = strcasecmp(name, "MULTI") == 0 || strcasecmp(name, "EXEC") == 0;
    if (strlen(name) != size || !redis_command_fits(name))
        luaL_error(L, "redis: %s changes the connection, or waits, and others use it too%s", name,
                   multi ? ": use redis.transaction" : "");
}

static int raw_fits(lua_State *L)
{
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    check_fits(L, name, size);
    return 0;
}

/* Of the command on top of the stack, under its word number `j`. */
static void check_word(lua_State *L, const char *word, lua_Integer j)
{
    bool blocks = strcasecmp(word, "BLOCK") == 0, debugs = j == 2 && strcasecmp(word, "DEBUG") == 0;
    if (!blocks && !debugs)
        return;
    lua_rawgeti(L, -2, 1);
    const char *name = lua_tostring(L, -1);
    if ((blocks && (strcasecmp(name, "XREAD") == 0 || strcasecmp(name, "XREADGROUP") == 0)) ||
        (debugs && strcasecmp(name, "SCRIPT") == 0))
        luaL_error(L, "redis: %s %s changes the connection, or waits, and others use it too", name, word);
    lua_pop(L, 1);
}

static const char *name_of(lua_State *L, int at)
{
    lua_rawgeti(L, at, 1);
    return lua_tostring(L, -1);
}

/* The one on top of the stack, number `i` of several. */
static size_t check_command(lua_State *L, lua_Integer i, bool checked)
{
    size_t bytes = 16;
    if (!lua_istable(L, -1))
        luaL_error(L, "redis: command %I: a list expected, such as { \"INCR\", key }, got %s", i,
                   luaL_typename(L, -1));
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    if (count < 1 || count > ARGUMENTS_MAX)
        luaL_error(L, "redis: command %I: 1 to %d words expected, got %I", i, ARGUMENTS_MAX, count);
    for (lua_Integer j = 1; j <= count; j++) {
        size_t size;
        int type = lua_rawgeti(L, -1, j);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            luaL_error(L, "redis: argument %I of %s: a string or a number expected, got %s", j - 1,
                       j > 1 ? name_of(L, -2) : "the command", lua_typename(L, type));
        const char *text = lua_tolstring(L, -1, &size);
        if (j == 1 && checked)
            check_fits(L, text, size);
        if (j > 1 && checked)
            check_word(L, text, j);
        bytes += size + 16;
        lua_pop(L, 1);
    }
    return bytes;
}

/* As the protocol writes it: the list at the top of the stack. */
static void write_command(lua_State *L, struct buf *out)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    resp_add_list(out, (size_t)count);
    for (lua_Integer j = 1; j <= count; j++) {
        size_t size;
        lua_rawgeti(L, -1, j);
        const char *text = lua_tolstring(L, -1, &size);
        resp_add_word(out, text, size);
        lua_pop(L, 1);
    }
}

/* ---- replies ---- */

static void count_commands(const struct script *script, lua_Integer count, const char *result)
{
    *stats_counter(script->options.stats, "tidemill_redis_commands_total", "handler", script->handler.name,
                   "result", result, NULL) += count;
}

/* `context`: how many there were. */
static int after_send(lua_State *L, int status, lua_KContext context)
{
    const struct script *script = script_of(L);
    const struct invocation *invocation = script->current;
    struct transport_response *response = invocation->response;
    (void)status;
    count_commands(script, (lua_Integer)context, response ? "answered" : "unanswered");
    if (!response)
        return script_push_no_response(L, invocation->err);
    script_push_replies(L, response, (lua_Integer)context);
    return 1;
}

static int raw_send(lua_State *L)
{
    const char *url = script_check_text(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Number timeout_s = luaL_checknumber(L, 3);
    bool checked = lua_toboolean(L, 4);
    luaL_argcheck(L, timeout_s > 0 && timeout_s <= 86400, 3, "a timeout in seconds expected");
    check_url(L, url);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    if (count < 1 || count > COMMANDS_MAX)
        return luaL_error(L, "redis: 1 to %d commands expected, got %I", COMMANDS_MAX, count);
    struct buf *body = script_buf(L);
    size_t bytes = 0;
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        bytes += check_command(L, i, checked || (i > 1 && i < count)); /* MULTI and EXEC */
        if (bytes > BODY_BYTES_MAX)
            return luaL_error(L, "redis: the commands have more than 64 MiB");
        state_check_room(L, bytes);
        write_command(L, body);
        lua_pop(L, 1);
    }
    const char *text = lua_pushlstring(L, body->data, body->size); /* stays there until the answer */
    size_t size = body->size, room = state_room(script_of(L));
    buf_fini(body);
    *body = BUF_INIT;
    script_begin_span(L, "redis");
    struct transport_request request = {
        .method = "REDIS",
        .url = url,
        .body = text,
        .body_size = size,
        .timeout_ms = timeout_s < 0.001 ? 1 : (int64_t)(timeout_s * 1000),
        .response_max = room < BODY_BYTES_MAX ? (room ? room : 1) : BODY_BYTES_MAX,
    };
    return script_wait_http_with(L, &request, (lua_KContext)count, after_send);
}

int bind_redis(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"send", raw_send},
                                     {"check", raw_check},
                                     {"fits", raw_fits},
                                     {"scope", script_raw_scope},
                                     {"seconds", script_raw_seconds},
                                     {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}

#else

int bind_redis(lua_State *L)
{
    return luaL_error(L,
                      "tidemill.redis is not built in: libhiredis was not there when this tidemill was made");
}

#endif
