/* bind_dynamodb.c: the raw verbs under tidemill.dynamodb; lua/tidemill/dynamodb.lua makes them pleasant.
 *
 *   raw.item(table)   -> an item in DynamoDB's JSON, to be put into a request
 *   raw.call(operation, request) -> response; or nil and {code=, message=, operation=}
 *                        `request` is the API's own request as a table
 *   raw.token()       -> 32 random hex digits
 *   raw.set, raw.list, raw.binary, raw.null: constructors */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/hex.h"
#include "base/json.h"
#include "script/internal.h"
#include "value/lua_value.h"

static int raw_item(lua_State *L)
{
    struct err err;
    luaL_checktype(L, 1, LUA_TTABLE);
    struct buf *out = script_buf(L);
    if (!value_write_item(L, 1, out, &err))
        return luaL_error(L, "%s", err.text);
    value_push_fragment(L, out->data, out->size);
    return 1;
}

/* ---- answers: which of their members hold items ---- */

enum shape {
    SHAPE_PLAIN,
    SHAPE_ITEM,     /* an item */
    SHAPE_ITEMS,    /* a list of items */
    SHAPE_TABLES,   /* a list of items per table */
    SHAPE_FRAGMENT, /* to be sent back as it is; nil when empty */
};

static enum shape shape_of(const struct json *member)
{
    static const struct {
        const char *name;
        enum shape shape;
    } shapes[] = {
        {"Item", SHAPE_ITEM},   {"Attributes", SHAPE_ITEM},          {"LastEvaluatedKey", SHAPE_ITEM},
        {"Items", SHAPE_ITEMS}, {"UnprocessedKeys", SHAPE_FRAGMENT}, {"UnprocessedItems", SHAPE_FRAGMENT},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (json_key_is(member, shapes[i].name))
            return shapes[i].shape;
    if (json_key_is(member, "Responses") && member->type == JSON_OBJECT)
        return SHAPE_TABLES;
    return SHAPE_PLAIN;
}

static void check(lua_State *L, bool ok, const struct err *err)
{
    if (!ok)
        luaL_error(L, "the answer cannot be decoded: %s", err->text);
}

static void push_items(lua_State *L, const struct json *items)
{
    struct err err;
    int index = 0;
    lua_createtable(L, (int)items->count, 0);
    value_mark_list(L);
    json_each(item, items) {
        check(L, value_push_item(L, item, &err), &err);
        lua_rawseti(L, -2, ++index);
    }
}

static void push_member(lua_State *L, const struct json *member)
{
    struct err err;
    switch (shape_of(member)) {
    case SHAPE_ITEM:
        check(L, value_push_item(L, member, &err), &err);
        return;
    case SHAPE_ITEMS:
        push_items(L, member);
        return;
    case SHAPE_TABLES:
        lua_createtable(L, 0, (int)member->count);
        json_each(table, member) {
            lua_pushlstring(L, table->key, table->key_size);
            push_items(L, table);
            lua_rawset(L, -3);
        }
        return;
    case SHAPE_FRAGMENT:
        if (member->count)
            value_push_fragment(L, member->text, member->size);
        else
            lua_pushnil(L);
        return;
    case SHAPE_PLAIN:
        value_push_json(L, member);
    }
}

/* {code=, message=, operation=, reasons=}: reasons of a cancelled transaction. */
static int push_error(lua_State *L, const struct err *err, const struct json *root)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, *err->service ? err->service : err->code == ERR_TIMEOUT ? "Timeout" : "NetworkError");
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err->text);
    lua_setfield(L, -2, "message");
    const struct json *reasons = json_get(root, "CancellationReasons");
    if (reasons) {
        value_push_json(L, reasons);
        lua_setfield(L, -2, "reasons");
    }
    return 2;
}

/* ---- what it cost ---- */

static const char consumed_name[] = "ConsumedCapacity";

static void count_units(const struct script *script, const char *operation, const struct json *one)
{
    const struct json *table = json_get(one, "TableName"), *units = json_get(one, "CapacityUnits");
    static const char *const reads[] = {"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"};
    bool read = false;
    char name[256];
    if (!table || !units || table->type != JSON_STRING || units->type != JSON_NUMBER ||
        table->size >= sizeof name)
        return;
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        read = read || strcmp(operation, reads[i]) == 0;
    snprintf(name, sizeof name, "%.*s", (int)table->size, table->text);
    *stats_counter(script->options.stats, "tidemill_capacity_units_total", "handler", script->handler.name,
                   "table", name, "kind", read ? "read" : "write", NULL) += json_double(units, 0);
}

/* One, or a list with one for each table. Services that only speak DynamoDB's API may tell nothing. */
static void count_consumed(const struct script *script, const char *operation, const struct json *root)
{
    const struct json *consumed = json_get(root, consumed_name);
    if (consumed && consumed->type == JSON_ARRAY) {
        json_each(one, consumed) {
            count_units(script, operation, one);
        }
    } else if (consumed) {
        count_units(script, operation, consumed);
    }
}

/* The arena is at the top of the stack when a call is made, and still there when it ends. */
static int after_call(lua_State *L, int status, lua_KContext context)
{
    struct invocation *invocation = script_of(L)->current;
    struct transport_response *response = invocation->response;
    struct err err = invocation->err ? *invocation->err : (struct err){0};
    (void)status;
    (void)context;
    struct buf *body = script_buf(L);
    struct arena *arena = script_arena(L);
    if (response) { /* ours from here: what raises below must not lose it */
        *body = response->body;
        response->body = BUF_INIT;
    }
    const struct json *root = body->size ? json_parse(arena, body->data, body->size, &err) : NULL;
    if (invocation->err || !root) {
        if (!invocation->err)
            err.code = ERR_PARSE;
        return push_error(L, invocation->err ? invocation->err : &err, root);
    }
    count_consumed(script_of(L), lua_tostring(L, 1), root);
    lua_createtable(L, 0, (int)root->count);
    json_each(member, root) {
        if (json_key_is(member, consumed_name))
            continue;
        lua_pushlstring(L, member->key, member->key_size);
        push_member(L, member);
        lua_rawset(L, -3);
    }
    return 1;
}

/* What the call costs is asked for with each: that makes it no dearer. */
static void ask_for_units(struct buf *body)
{
    static const char member[] = "\"ReturnConsumedCapacity\":\"TOTAL\"}";
    if (!body->size || body->data[body->size - 1] != '}')
        return;
    bool empty = body->size == 2;
    body->size--;
    buf_printf(body, "%s%s", empty ? "" : ",", member);
}

static int raw_call(lua_State *L)
{
    static const char *const operations[] = {
        "GetItem",      "PutItem",        "UpdateItem",         "DeleteItem",       "Query", "Scan",
        "BatchGetItem", "BatchWriteItem", "TransactWriteItems", "TransactGetItems", NULL};
    struct err err;
    const char *operation = operations[luaL_checkoption(L, 1, NULL, operations)];
    luaL_checktype(L, 2, LUA_TTABLE);
    struct buf *body = script_buf(L);
    if (!value_write_json(L, 2, body, &err))
        return luaL_error(L, "%s: %s", operation, err.text);
    if (script_of(L)->options.stats)
        ask_for_units(body);
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = operation};
    return script_wait_aws(L, &request, body, after_call);
}

static int raw_token(lua_State *L)
{
    unsigned char bytes[16];
    char text[2 * sizeof bytes];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return luaL_error(L, "the system gives no random bytes");
    hex_write(text, bytes, sizeof bytes);
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

/* ---- constructors ---- */

/* A copy of the array at index 1 that is marked. */
static void copy_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    lua_createtable(L, (int)count, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, -2, i);
    }
}

static int raw_list(lua_State *L)
{
    copy_array(L);
    value_mark_list(L);
    return 1;
}

static int raw_set(lua_State *L)
{
    copy_array(L);
    value_mark_set(L);
    return 1;
}

static int raw_binary(lua_State *L)
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    value_push_binary(L, bytes, size);
    return 1;
}

int bind_dynamodb(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"item", raw_item}, {"call", raw_call}, {"token", raw_token},
                                     {"list", raw_list}, {"set", raw_set},   {"binary", raw_binary},
                                     {NULL, NULL}};
    luaL_newlib(L, verbs);
    value_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
