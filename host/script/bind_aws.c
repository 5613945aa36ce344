/* bind_aws.c: the raw verb under tidemill.aws; lua/tidemill/aws.lua makes it pleasant.
 *
 *   raw.send{service=, signing=, operation=, method=, path=, body=, endpoint=, region=, timeout=, headers=}
 *       -> status, headers, body; or nil, {code=, message=, status=, kind=}
 *   raw.xml(text) -> what is in the outermost element: a table by name, a text for one without others in it,
 * a list where several have one name; raises on what is no XML `path` is percent-encoded, with its query;
 * `headers` is a list of "Name: value". `kind` is "passes" where another attempt may do better, "never" where
 * none will, "waits" where somebody has to do something first.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "aws/xml.h"
#include "base/mem.h"
#include "script/internal.h"

#define BODY_BYTES_MAX (16u << 20)
#define TIMEOUT_S_MAX 86400

/* A text without line breaks and zero bytes; NULL: there is none of that name. */
static const char *text_of(lua_State *L, const char *name, bool needed)
{
    size_t size;
    lua_pushstring(L, name);
    lua_rawget(L, 1);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
    bool absent = lua_isnil(L, -1);
    if (!text && (needed || !absent))
        luaL_error(L, "aws: %s: a text expected", name);
    if (text && (strlen(text) != size || strpbrk(text, "\r\n")))
        luaL_error(L, "aws: %s holds a line break or a zero byte", name);
    return text; /* it stays on the stack */
}

struct script_place script_read_place(lua_State *L, int index, const char *what)
{
    const char *texts[4];
    static const char *const names[] = {"region", "endpoint", "role", "external_id"};
    for (int i = 0; i < 4; i++) {
        size_t size;
        lua_pushstring(L, names[i]);
        lua_rawget(L, index);
        texts[i] = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
        if (!texts[i] && !lua_isnil(L, -1))
            luaL_error(L, "%s: %s: a text expected, got %s", what, names[i], luaL_typename(L, -1));
        if (texts[i] && (!*texts[i] || strlen(texts[i]) != size || texts[i][strcspn(texts[i], " \t\r\n")]))
            luaL_error(L, "%s: %s: it is empty, or holds a blank, a line break or a zero byte", what,
                       names[i]);
    }
    const struct script_place place = {texts[0], texts[1], texts[2], texts[3]};
    const char *bad =
        place.region ? place.region + strspn(place.region, "abcdefghijklmnopqrstuvwxyz0123456789-") : "";
    if (*bad)
        luaL_error(L, "%s: \"%s\" is no name of a region", what, place.region);
    if (place.endpoint && strncmp(place.endpoint, "http://", 7) != 0 &&
        strncmp(place.endpoint, "https://", 8) != 0)
        luaL_error(L, "%s: endpoint: an http:// or https:// URL expected", what);
    if (place.role && !config_is_role(place.role))
        luaL_error(L, "%s: role: a role's ARN expected (arn:aws:iam::123456789012:role/NAME)", what);
    if (place.external_id && !place.role)
        luaL_error(L, "%s: external_id goes with role only", what);
    return place;
}

struct aws_place *script_make_place(const struct script_place *at)
{
    if (!at->region && !at->endpoint && !at->role)
        return NULL;
    struct aws_place *place = mem_zero(sizeof *place);
    *place = (struct aws_place){mem_string(at->region), mem_string(at->endpoint), mem_string(at->role),
                                mem_string(at->external_id)};
    return place;
}

/* What is wrong has a cause: with the record's data, with the service, with the deployment. */
static const char *kind_of(const struct err *err)
{
    if (err->code != ERR_SERVICE || retry_kind(err) != RETRY_NEVER)
        return "passes";
    if (retry_is_refused(err))
        return "waits";
    return err->http_status >= 400 && err->http_status < 500 ? "never" : "passes";
}

static int push_error(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, *err->service              ? err->service
                      : err->code == ERR_TIMEOUT ? "Timeout"
                      : err->code == ERR_LIMIT   ? "TooLarge"
                                                 : "NetworkError");
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err->text);
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, err->http_status);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, kind_of(err));
    lua_setfield(L, -2, "kind");
    return 2;
}

static int after_send(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    struct transport_response *response = invocation->response;
    (void)status;
    (void)context;
    if (invocation->err) {
        struct err err = *invocation->err;
        return push_error(L, &err);
    }
    return script_push_response(L, response);
}

/* The list at the top of the stack. False: there are too many. */
static bool check_headers(lua_State *L, int at)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, at);
    for (lua_Integer i = 1; i <= count; i++) {
        size_t size;
        lua_rawgeti(L, at, i);
        const char *header = luaL_checklstring(L, -1, &size);
        if (strlen(header) != size || strpbrk(header, "\r\n") || !strchr(header, ':'))
            luaL_error(L, "aws: a header is \"Name: value\", without a line break");
        lua_pop(L, 1);
    }
    return count < AWS_OTHER_HEADERS_MAX;
}

static int raw_send(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char *service = text_of(L, "service", true), *signing = text_of(L, "signing", true),
               *operation = text_of(L, "operation", true), *method = text_of(L, "method", true),
               *path = text_of(L, "path", false);
    struct script_place at = script_read_place(L, 1, "aws");
    if (service[strspn(service, "abcdefghijklmnopqrstuvwxyz0123456789-.")] || !*service)
        return luaL_error(L, "aws: \"%s\" is no name of a service (such as states)", service);
    lua_getfield(L, 1, "timeout");
    lua_Number timeout_s = lua_isnil(L, -1) ? 0 : luaL_checknumber(L, -1);
    if (timeout_s < 0 || timeout_s > TIMEOUT_S_MAX)
        return luaL_error(L, "aws: timeout: seconds expected");
    lua_getfield(L, 1, "headers");
    int headers_at = lua_gettop(L);
    luaL_checktype(L, headers_at, LUA_TTABLE);
    if (!check_headers(L, headers_at))
        return luaL_error(L, "aws: at most %d headers", AWS_OTHER_HEADERS_MAX - 1);
    lua_getfield(L, 1, "body");
    size_t size = 0;
    const char *text = luaL_optlstring(L, -1, "", &size);
    if (size > BODY_BYTES_MAX)
        return luaL_error(L, "aws: a body of at most 16 MiB");
    script_check_waits(L); /* from here on nothing raises */
    struct buf *body = script_buf(L), *tables = script_buf(L);
    buf_add(body, text, size);
    struct aws_other *other = mem_zero(sizeof *other);
    *other = (struct aws_other){
        .service = mem_string(service),
        .signing = mem_string(signing),
        .operation = mem_string(operation),
        .method = mem_string(method),
    };
    for (size_t i = 0; i < lua_rawlen(L, headers_at); i++) {
        lua_rawgeti(L, headers_at, (lua_Integer)i + 1);
        other->headers[i] = mem_string(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    struct aws_request request = {.service = AWS_OTHER,
                                  .operation = other->operation,
                                  .other = other,
                                  .place = script_make_place(&at),
                                  .timeout_ms = (int64_t)(timeout_s * 1000),
                                  .response_max = state_room(script_of(L)) > 1 ? state_room(script_of(L)) : 1,
                                  .path = mem_string(path)};
    return script_wait_aws(L, &request, body, tables, after_send);
}

/* ---- XML ---- */

static void push_element(lua_State *L, const struct xml *element);

/* On top of the stack: the table of the element's parent. */
static void add_element(lua_State *L, const struct xml *element)
{
    lua_pushstring(L, element->name);
    lua_pushvalue(L, -1);
    int before = lua_rawget(L, -3);
    bool several = before == LUA_TTABLE && lua_getmetatable(L, -1);
    if (several) {
        lua_pop(L, 1);
        push_element(L, element);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 2);
        return;
    }
    if (before == LUA_TNIL) {
        lua_pop(L, 1);
        push_element(L, element);
        lua_rawset(L, -3);
        return;
    }
    /* The second of its name: a list, which is known by a mark until all are read. */
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    push_element(L, element);
    lua_rawseti(L, -2, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    lua_rawset(L, -3);
}

static void push_element(lua_State *L, const struct xml *element)
{
    if (!element->child) {
        lua_pushstring(L, element->text);
        return;
    }
    luaL_checkstack(L, 8, "xml");
    lua_newtable(L);
    for (const struct xml *child = element->child; child; child = child->next) {
        state_tick(L);
        add_element(L, child);
    }
    lua_pushnil(L); /* the marks go */
    while (lua_next(L, -2)) {
        if (lua_istable(L, -1)) {
            lua_pushnil(L);
            lua_setmetatable(L, -2);
        }
        lua_pop(L, 1);
    }
}

/* Upvalue: the mark. */
static int raw_xml(lua_State *L)
{
    size_t size;
    struct err err;
    const char *text = luaL_checklstring(L, 1, &size);
    const struct xml *root = xml_parse(script_arena(L), text, size, &err);
    if (!root)
        return luaL_error(L, "xml: %s", err.text);
    if (root->child)
        push_element(L, root);
    else
        lua_newtable(L);
    return 1;
}

int bind_aws(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"send", raw_send}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    lua_newtable(L);
    lua_pushcclosure(L, raw_xml, 1);
    lua_setfield(L, -2, "xml");
    return 1;
}
