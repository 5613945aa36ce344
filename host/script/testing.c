/* testing.c: tests as invocations, and the raw verbs under tidemill.test.
 *
 *   raw.register(tests, services) keeps the tables that the module fills
 *   raw.settle(), raw.advance(ms) suspend; raw.dead_letter(index) -> handler, error, or nil
 *   raw.control(operation, request table) raises what the embedded DynamoDB refuses
 *
 * `tests` is a list of {name=, body=}, with .deployment; `services.answer(request)` gives status and body. */
#include "script/testing.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"
#include "value/lua_value.h"

static const char tests_key, services_key;

/* ---- from outside ---- */

static void push_tests(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tests_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L); /* a file without tidemill.test */
    }
}

size_t testing_count(const struct script *script)
{
    push_tests(script->L);
    size_t count = lua_rawlen(script->L, -1);
    lua_pop(script->L, 1);
    return count;
}

static const char *text_of(struct script *script, size_t index, const char *field)
{
    lua_State *L = script->L;
    lua_settop(L, 0);
    push_tests(L);
    if (index)
        lua_rawgeti(L, -1, (lua_Integer)index);
    if (!lua_istable(L, -1))
        return NULL;
    lua_getfield(L, -1, field);
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

const char *testing_name(struct script *script, size_t index)
{
    return text_of(script, index + 1, "name");
}

const char *testing_deployment(struct script *script)
{
    return text_of(script, 0, "deployment");
}

static int push_body(lua_State *L)
{
    lua_Integer index = lua_tointeger(L, 1);
    push_tests(L);
    lua_rawgeti(L, -1, index);
    lua_getfield(L, -1, "body");
    return 1;
}

enum handler_result testing_run(struct script *script, size_t index, handler_done_fn *done, void *user,
                                struct invocation **invocation, struct handler_outcome *outcome)
{
    lua_State *L = script->L;
    lua_settop(L, 0);
    lua_pushcfunction(L, push_body);
    lua_pushinteger(L, (lua_Integer)index + 1);
    lua_call(L, 1, 1); /* reads a table of ours: raises nothing */
    return invocation_start(script, done, user, invocation, outcome);
}

void testing_resume(struct ticket *ticket, const char *problem)
{
    struct invocation *invocation = script_ticket_take(ticket);
    if (!invocation)
        return;
    invocation->stored = mem_string(problem);
    script_go_on(invocation);
}

void testing_answered(struct ticket *ticket, int status, struct handler_answer *answer, const char *why)
{
    struct invocation *invocation = script_ticket_take(ticket);
    if (!invocation) {
        handler_answer_free(answer);
        return;
    }
    invocation->answered = answer;
    invocation->answered_status = status;
    invocation->stored = mem_string(why);
    script_go_on(invocation);
}

/* ---- HTTP services ---- */

struct asking {
    const struct transport_request *request;
    int *status;
    struct buf *body;
    bool answered;
};

static int ask_protected(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);
    size_t size;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &services_key) != LUA_TTABLE)
        return 0;
    lua_getfield(L, -1, "answer");
    lua_newtable(L);
    lua_pushstring(L, asking->request->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, asking->request->url);
    lua_setfield(L, -2, "url");
    lua_pushlstring(L, asking->request->body ? asking->request->body : "", asking->request->body_size);
    lua_setfield(L, -2, "body");
    lua_newtable(L);
    for (size_t i = 0; asking->request->headers && asking->request->headers[i]; i++) {
        const char *header = asking->request->headers[i], *colon = strchr(header, ':');
        lua_pushlstring(L, header, colon ? (size_t)(colon - header) : strlen(header));
        lua_pushstring(L, colon ? colon + 1 + strspn(colon + 1, " ") : "");
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2))
        return 0;
    *asking->status = (int)luaL_checkinteger(L, -2);
    const char *body = luaL_optlstring(L, -1, "", &size);
    buf_add(asking->body, body, size);
    asking->answered = true;
    return 0;
}

bool testing_answer(struct script *script, const struct transport_request *request, int *status,
                    struct buf *body, struct err *err)
{
    lua_State *L = script->L;
    struct asking asking = {request, status, body, false};
    int top = lua_gettop(L);
    err->code = ERR_NONE;
    lua_pushcfunction(L, ask_protected);
    lua_pushlightuserdata(L, &asking);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        err_set(err, ERR_SCRIPT, "the test's service raised: %s", text ? text : "an error");
    }
    lua_settop(L, top);
    return asking.answered;
}

/* ---- raw verbs ---- */

static const struct testing_hooks *hooks_of(lua_State *L)
{
    return script_of(L)->options.testing;
}

static int raw_register(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &tests_key);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &services_key);
    return 0;
}

static int after_waiting(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    (void)status;
    (void)context;
    lua_pushboolean(L, !invocation->stored);
    lua_pushstring(L, invocation->stored); /* nil when there is none */
    free(invocation->stored);
    invocation->stored = NULL;
    return 2;
}

static int raw_settle(lua_State *L)
{
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->settle(hooks_of(L)->user, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_advance(lua_State *L)
{
    lua_Number ms = luaL_checknumber(L, 1);
    luaL_argcheck(L, ms >= 0 && ms < 1e13, 1, "a time expected");
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->advance(hooks_of(L)->user, (int64_t)ms, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_replay(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *handler = luaL_checkstring(L, 2);
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->replay(hooks_of(L)->user, path, handler, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_event(lua_State *L)
{
    struct err err;
    const char *handler = luaL_checkstring(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    struct buf *event = script_buf(L);
    if (!value_write_json(L, 1, event, &err))
        return luaL_error(L, "%s", err.text);
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->event(hooks_of(L)->user, event->data, event->size, handler, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_seek(lua_State *L)
{
    const char *handler = luaL_optstring(L, 1, NULL), *where = luaL_checkstring(L, 2);
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->seek(hooks_of(L)->user, handler, where, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

/* status, body, headers (a table) -- or status, why it has no other answer */
static int after_request(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    struct handler_answer *answer = invocation->answered;
    (void)status;
    (void)context;
    lua_pushinteger(L, invocation->answered_status);
    if (!answer) {
        lua_pushstring(L, invocation->stored);
        free(invocation->stored);
        invocation->stored = NULL;
        return 2;
    }
    lua_pushlstring(L, answer->body ? answer->body : "", answer->body_size);
    lua_createtable(L, 0, (int)answer->header_count);
    for (size_t i = 0; i < answer->header_count; i++) {
        lua_pushstring(L, answer->headers[i].value);
        lua_setfield(L, -2, answer->headers[i].name);
    }
    handler_answer_free(answer); /* what raised before would only lose it */
    invocation->answered = NULL;
    return 3;
}

/* raw.request{intake=, id=, method=, path=, query=, lines=, body=, signed=} */
static int raw_request(lua_State *L)
{
    static const char *const names[] = {"intake", "id", "method", "path", "query", "lines", "body"};
    const char *texts[sizeof names / sizeof *names];
    size_t size = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getfield(L, 1, names[i]);
        texts[i] = luaL_optlstring(L, -1, NULL, &size); /* the body is the last one */
    }
    lua_getfield(L, 1, "signed");
    const struct testing_request request = {texts[0],
                                            texts[1],
                                            texts[2],
                                            texts[3],
                                            texts[4],
                                            texts[5],
                                            texts[6] ? texts[6] : "",
                                            texts[6] ? size : 0,
                                            lua_toboolean(L, -1)};
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->request(hooks_of(L)->user, &request, ticket);
    return lua_yieldk(L, 0, 0, after_request);
}

static int raw_crash(lua_State *L)
{
    lua_Integer host = luaL_optinteger(L, 1, 0);
    const char *after = luaL_optstring(L, 2, NULL);
    luaL_argcheck(L, host >= 0, 1, "a host's number expected");
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->crash(hooks_of(L)->user, (size_t)host, after, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_hosts(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 1, 1, "a number of hosts expected");
    struct ticket *ticket = script_ticket(L);
    hooks_of(L)->hosts(hooks_of(L)->user, (size_t)count, ticket);
    return lua_yieldk(L, 0, 0, after_waiting);
}

static int raw_dead_letter(lua_State *L)
{
    const char *handler, *error;
    lua_Integer index = luaL_checkinteger(L, 1);
    if (index < 1 || !hooks_of(L)->dead_letter(hooks_of(L)->user, (size_t)index - 1, &handler, &error))
        return 0;
    lua_pushstring(L, handler);
    lua_pushstring(L, error);
    return 2;
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (!text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int raw_emitted(lua_State *L)
{
    const char *target;
    lua_Integer index = luaL_checkinteger(L, 1);
    const struct message *message =
        index < 1 ? NULL : hooks_of(L)->emitted(hooks_of(L)->user, (size_t)index - 1, &target);
    if (!message)
        return 0;
    lua_newtable(L);
    set_text(L, "target", target);
    set_text(L, "handler", message->handler);
    set_text(L, "key", message->key);
    set_text(L, "source", message->source);
    set_text(L, "detail_type", message->detail_type);
    set_text(L, "subject", message->subject);
    set_text(L, "id", message->id);
    lua_pushlstring(L, message->payload, message->payload_size);
    lua_setfield(L, -2, "payload");
    return 1;
}

static int raw_control(lua_State *L)
{
    struct err err;
    const char *operation = luaL_checkstring(L, 1);
    struct buf *body = script_buf(L);
    if (!value_write_json(L, 2, body, &err) ||
        !hooks_of(L)->control(hooks_of(L)->user, operation, body->data, body->size, &err))
        return luaL_error(L, "%s", err.text);
    return 0;
}

int bind_test(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"register", raw_register},
                                     {"settle", raw_settle},
                                     {"advance", raw_advance},
                                     {"dead_letter", raw_dead_letter},
                                     {"control", raw_control},
                                     {"emitted", raw_emitted},
                                     {"replay", raw_replay},
                                     {"event", raw_event},
                                     {"seek", raw_seek},
                                     {"crash", raw_crash},
                                     {"hosts", raw_hosts},
                                     {"request", raw_request},
                                     {NULL, NULL}};
    if (!hooks_of(L))
        return luaL_error(L, "tidemill.test is for *_test.lua files, which tidemill test runs");
    luaL_newlib(L, verbs);
    return 1;
}
