/* bind_postgres.c: the raw verbs under tidemill.postgres; lua/tidemill/postgres.lua makes it pleasant.
 *
 *   raw.check(url)      raises where calls may not go there
 *   raw.scope(), raw.seconds(time)   as bind_once.c has them
 *   raw.text(value)     as a parameter's text; nil for NULL
 *   raw.number(text)    the number of a PostgreSQL that writes it so, to the last digit
 *   raw.release(url, number)   of a transaction that nobody goes on with; waits for nothing
 *   raw.send(url, what, number, statements, timeout_s, own) -> replies; or nil, {code=, message=}; `own`
 * statements come first that whoever is told of the others does not know of `what` and `number`: as
 * net/transport_postgres.h has them. A statement is { SQL, parameter..., n = }: nil and null are NULL,
 * binaries bytea, tables JSON. A reply is as it stands there; false for NULL. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "script/internal.h"

#ifdef TIDEMILL_POSTGRES

#include "net/resp.h"
#include "net/transport_postgres.h"
#include "net/url.h"
#include "value/lua_value.h"

#define STATEMENTS_MAX 10000
#define PARAMETERS_MAX 65535 /* of the protocol */
#define BODY_BYTES_MAX (64u << 20)

static void check_url(lua_State *L, const char *url)
{
    const struct script *script = script_of(L);
    const char *allowed = script->handler.settings.allow_hosts;
    struct err err;
    char *rest = NULL;
    bool well = true;
    if (!postgres_url_check(url, &err)) {
        luaL_error(L, "postgres: a text of %d characters is given as a URL and is none: %s", (int)strlen(url),
                   err.text);
        return;
    }
    char *hosts = postgres_url_hosts(url);
    for (char *host = strtok_r(hosts, ",", &rest); host && well; host = strtok_r(NULL, ",", &rest)) {
        well = !allowed || (*host != '/' && url_host_listed(host, allowed));
        if (!well)
            lua_pushstring(L, *host == '/' ? "a socket of this machine" : host);
    }
    free(hosts);
    if (!well)
        luaL_error(L, "postgres: %s is not in allow_hosts", lua_tostring(L, -1));
}

static int raw_check(lua_State *L)
{
    check_url(L, script_check_text(L, 1));
    return 0;
}

static int raw_number(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    value_push_number(L, text, size);
    return 1;
}

/* raw.text(value): as the text of a parameter; nil for NULL. */
static int raw_text(lua_State *L)
{
    struct err err;
    lua_settop(L, 1);
    struct buf *text = script_buf(L);
    switch (value_write_sql(L, 1, text, &err)) {
    case VALUE_NULL:
        lua_pushnil(L);
        break;
    case VALUE_REFUSED:
        return luaL_error(L, "%s", err.text);
    default:
        lua_pushlstring(L, text->data ? text->data : "", text->size);
    }
    return 1;
}

/* ---- what goes ---- */

static void refuse(lua_State *L, lua_Integer statement, lua_Integer parameter, const char *what)
{
    statement -= luaL_checkinteger(L, 6);
    if (parameter)
        luaL_error(L, "postgres: statement %I: $%I: %s", statement, parameter, what);
    else
        luaL_error(L, "postgres: statement %I: %s", statement, what);
}

/* The value on top of the stack: parameter `j` of statement `i`, or its SQL (0). `word` is empty. */
static void write_value(lua_State *L, struct buf *out, struct buf *word, lua_Integer i, lua_Integer j)
{
    struct err err;
    if (j == 0 && lua_type(L, -1) != LUA_TSTRING)
        refuse(L, i, 0, "its SQL is to be a string");
    enum value_text written = value_write_sql(L, lua_gettop(L), word, &err);
    if (written == VALUE_REFUSED)
        refuse(L, i, j, err.text);
    state_check_room(L, out->size + word->size);
    if (written == VALUE_NULL)
        resp_add_text(out, NULL);
    else
        resp_add_word(out, word->data ? word->data : "", word->size);
    word->size = 0;
}

/* The table on top of the stack. */
static void write_statement(lua_State *L, struct buf *out, struct buf *word, lua_Integer i)
{
    if (!lua_istable(L, -1))
        refuse(L, i, 0, "a list expected, such as { \"DELETE FROM users WHERE id = $1\", id }");
    lua_Integer count =
        lua_getfield(L, -1, "n") == LUA_TNUMBER ? lua_tointeger(L, -1) : (lua_Integer)lua_rawlen(L, -2);
    lua_pop(L, 1);
    if (count < 1 || count - 1 > PARAMETERS_MAX)
        refuse(L, i, 0, count < 1 ? "its SQL is to be a string" : "at most 65535 parameters");
    resp_add_list(out, (size_t)count);
    for (lua_Integer j = 0; j < count; j++) {
        lua_rawgeti(L, -1, j + 1);
        write_value(L, out, word, i, j);
        lua_pop(L, 1);
        if (out->size > BODY_BYTES_MAX)
            luaL_error(L, "postgres: the statements have more than 64 MiB");
    }
}

static void write_what(struct buf *out, const char *what, const char *number)
{
    resp_add_list(out, 2);
    resp_add_text(out, what);
    resp_add_text(out, number);
}

static void on_released(void *user, struct transport_response *response, const struct err *err)
{
    (void)response;
    (void)err;
    buf_fini(user);
    free(user);
}

/* Also when the handler was given up: then nobody waits any more. */
static int raw_release(lua_State *L)
{
    const char *url = script_check_text(L, 1), *number = luaL_checkstring(L, 2);
    struct buf *body = calloc(1, sizeof *body);
    if (!body)
        return 0; /* it ends by itself, later */
    write_what(body, "release", number);
    transport_send(
        script_of(L)->options.transport,
        &(struct transport_request){.method = "POSTGRES",
                                    .url = url,
                                    .body = body->data,
                                    .body_size = body->size,
                                    .timeout_ms = 60000,
                                    .own = true /* also behind a fence: its locks are not ours any more */},
        on_released, body);
    return 0;
}

/* ---- what comes ---- */

static void count_statements(const struct script *script, lua_Integer count, const char *result)
{
    *stats_counter(script->options.stats, "tidemill_postgres_statements_total", "handler",
                   script->handler.name, "result", result, NULL) += count;
}

/* `context`: how many statements there were. */
static int after_send(lua_State *L, int status, lua_KContext context)
{
    const struct script *script = script_of(L);
    const struct invocation *invocation = script->current;
    struct transport_response *response = invocation->response;
    (void)status;
    count_statements(script, (lua_Integer)context, response ? "answered" : "unanswered");
    if (!response)
        return script_push_no_response(L, invocation->err);
    script_push_replies(L, response, 0);
    return 1;
}

static int raw_send(lua_State *L)
{
    const char *url = script_check_text(L, 1), *what = luaL_checkstring(L, 2),
               *number = luaL_checkstring(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_Number timeout_s = luaL_checknumber(L, 5);
    luaL_argcheck(L, timeout_s > 0, 5, "a timeout in seconds expected");
    luaL_checkinteger(L, 6);
    check_url(L, url);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 4);
    if (count < 1 || count > STATEMENTS_MAX)
        return luaL_error(L, "postgres: 1 to %d statements expected, got %I", STATEMENTS_MAX, count);
    struct buf *body = script_buf(L), *word = script_buf(L);
    write_what(body, what, number);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 4, i);
        write_statement(L, body, word, i);
        lua_pop(L, 1);
    }
    const char *text = lua_pushlstring(L, body->data, body->size); /* stays there until the answer */
    size_t size = body->size, room = state_room(script_of(L));
    buf_fini(body);
    *body = BUF_INIT;
    script_begin_span(L, "postgres");
    struct transport_request request = {
        .method = "POSTGRES",
        .url = url,
        .body = text,
        .body_size = size,
        .timeout_ms = timeout_s < 0.001 ? 1 : (int64_t)(timeout_s * 1000),
        .response_max = room < BODY_BYTES_MAX ? (room ? room : 1) : BODY_BYTES_MAX,
    };
    return script_wait_http_with(L, &request, (lua_KContext)count, after_send);
}

int bind_postgres(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"send", raw_send},          {"check", raw_check},
                                     {"scope", script_raw_scope}, {"seconds", script_raw_seconds},
                                     {"number", raw_number},      {"text", raw_text},
                                     {"release", raw_release},    {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}

#else

int bind_postgres(lua_State *L)
{
    return luaL_error(L,
                      "tidemill.postgres is not built in: libpq was not there when this tidemill was made");
}

#endif
