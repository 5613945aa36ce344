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
#include "value/lazy_item.h"
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

/* ---- items ---- */

#define ITEM_ATTRIBUTES 7 /* that are looked at, as a guess */

/* Smaller items are decoded at once: keeping the answer for them would cost more. */
#define LAZY_ANSWER_ATTRIBUTES_MIN 12

/* What items that are decoded later point into: kept by the last of them. */
struct answer {
    struct script *script;
    struct buf body;
    struct arena arena;
    size_t held;
};

static const char answer_name[] = "tidemill.answer";

static void free_answer(lua_State *L, void *object)
{
    struct answer *answer = object;
    (void)L;
    buf_fini(&answer->body);
    arena_fini(&answer->arena);
    state_release(answer->script, answer->held);
    answer->script->answers_bytes -= answer->held;
}

/* Its user value 1 is the answer. */
struct lazy_item {
    const struct json *item;
    unsigned touches;
    bool over;
    uint64_t taken[];
};

static void view_item(lua_State *L, int owner, int which, struct lazy_view *view)
{
    struct lazy_item *lazy = lua_touserdata(L, owner);
    (void)which;
    *view = (struct lazy_view){.item = lazy->item,
                               .taken = lazy->taken,
                               .touches = &lazy->touches,
                               .over = &lazy->over,
                               .scratch = &script_of(L)->scratch};
}

static const struct lazy_kind item_kind = {view_item, NULL, 0, "the answer", value_push};

/* An answer that is read: where it stands until an item is to outlive the call, and the stack's index of the
 * object that has it from then on; 0: none yet. */
struct reading {
    struct buf *body;
    struct arena *arena;
    int kept;
};

/* The collector knows nothing of what C holds: it is told. */
static void keep_answer(lua_State *L, struct reading *reading)
{
    struct script *script = script_of(L);
    struct answer *answer = state_push_kept(L, &script->owned, sizeof *answer, answer_name, free_answer);
    *answer = (struct answer){script, *reading->body, *reading->arena, 0};
    *reading->body = BUF_INIT;
    *reading->arena = ARENA_INIT;
    answer->held = answer->body.capacity + answer->arena.bytes;
    state_hold(script, answer->held);
    script->answers_bytes += answer->held;
    lua_gc(L, LUA_GCSTEP, (int)(answer->held / 1024));
}

static void push_item(lua_State *L, const struct json *item, struct reading *reading)
{
    struct err err;
    if (item->type != JSON_OBJECT || item->count < LAZY_ANSWER_ATTRIBUTES_MIN) {
        check(L, value_push_item(L, item, &err), &err);
        return;
    }
    size_t bytes = LAZY_WORDS(item->count) * sizeof(uint64_t);
    luaL_checkstack(L, 8, "items");
    struct lazy_item *lazy = lua_newuserdatauv(L, sizeof *lazy + bytes, 1);
    *lazy = (struct lazy_item){.item = item};
    memset(lazy->taken, 0, bytes);
    lua_pushvalue(L, reading->kept);
    lua_setiuservalue(L, -2, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->item_kind);
    lazy_push(L, -2, -1, ITEM_ATTRIBUTES);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static void push_items(lua_State *L, const struct json *items, struct reading *reading)
{
    int index = 0;
    lua_createtable(L, (int)items->count, 0);
    value_mark_list(L);
    json_each(item, items) {
        push_item(L, item, reading);
        lua_rawseti(L, -2, ++index);
    }
}

static bool has_large(const struct json *items)
{
    json_each(item, items) {
        if (item->type == JSON_OBJECT && item->count >= LAZY_ANSWER_ATTRIBUTES_MIN)
            return true;
    }
    return false;
}

/* Has it an item that is decoded later? */
static bool has_lazy(const struct json *root)
{
    json_each(member, root) {
        enum shape shape = shape_of(member);
        if (shape == SHAPE_ITEM && member->type == JSON_OBJECT && member->count >= LAZY_ANSWER_ATTRIBUTES_MIN)
            return true;
        if (shape == SHAPE_ITEMS && has_large(member))
            return true;
        if (shape == SHAPE_TABLES) {
            json_each(table, member) {
                if (has_large(table))
                    return true;
            }
        }
    }
    return false;
}

static void push_member(lua_State *L, const struct json *member, struct reading *reading)
{
    switch (shape_of(member)) {
    case SHAPE_ITEM:
        push_item(L, member, reading);
        return;
    case SHAPE_ITEMS:
        push_items(L, member, reading);
        return;
    case SHAPE_TABLES:
        lua_createtable(L, 0, (int)member->count);
        json_each(table, member) {
            lua_pushlstring(L, table->key, table->key_size);
            push_items(L, table, reading);
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

/* {code=, message=, operation=, reasons=}: reasons of a cancelled transaction.
 * Which table is not there, the service does not say; the request is at 2. */
static void push_message(lua_State *L, const struct err *err)
{
    lua_pushstring(L, err->text);
    if (strcmp(err->service, "ResourceNotFoundException") != 0 || !lua_istable(L, 2))
        return;
    lua_pushliteral(L, "TableName");
    if (lua_rawget(L, 2) == LUA_TSTRING)
        lua_pushfstring(L, "%s (table %s)", err->text, lua_tostring(L, -1));
    else
        lua_pushstring(L, err->text);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static int push_error(lua_State *L, const struct err *err, const struct json *root)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, *err->service ? err->service : err->code == ERR_TIMEOUT ? "Timeout" : "NetworkError");
    lua_setfield(L, -2, "code");
    push_message(L, err);
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

/* `where` is behind the table's name: "@eu-central-1", or "". */
static void count_units(const struct script *script, const char *operation, const char *where,
                        const struct json *one)
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
    snprintf(name, sizeof name, "%.*s%.40s", (int)table->size, table->text, where);
    *stats_counter(script->options.stats, "tidemill_capacity_units_total", "handler", script->handler.name,
                   "table", name, "kind", read ? "read" : "write", NULL) += json_double(units, 0);
}

/* One, or a list with one for each table. Services that only speak DynamoDB's API may tell nothing. */
static void count_consumed(const struct script *script, const char *operation, const char *where,
                           const struct json *root)
{
    const struct json *consumed = json_get(root, consumed_name);
    if (consumed && consumed->type == JSON_ARRAY) {
        json_each(one, consumed) {
            count_units(script, operation, where, one);
        }
    } else if (consumed) {
        count_units(script, operation, where, consumed);
    }
}

/* What a batch left out was too much for its table. */
static void slow_left_out(const struct script *script, const struct json *root)
{
    static const char *const members[] = {"UnprocessedItems", "UnprocessedKeys"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct json *left = json_get(root, members[i]);
        char name[256];
        if (!left || left->type != JSON_OBJECT)
            continue;
        json_each(table, left) {
            snprintf(name, sizeof name, "%.*s", (int)table->key_size, table->key);
            aws_client_slow(script->options.aws, name);
        }
    }
}

/* Upvalue: where else the tables are (raw.at); none: where the host is. Onto the stack, where its texts stay.
 */
static struct script_place read_place(lua_State *L)
{
    if (!lua_istable(L, lua_upvalueindex(1)))
        return (struct script_place){0};
    lua_pushvalue(L, lua_upvalueindex(1));
    return script_read_place(L, lua_gettop(L), "dynamodb.at");
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
    bool elsewhere = lua_istable(L, lua_upvalueindex(1));
    struct script_place at = read_place(L);
    char where[64] = "";
    if (elsewhere)
        snprintf(where, sizeof where, "@%s", at.region ? at.region : "elsewhere");
    count_consumed(script_of(L), lua_tostring(L, 1), where, root);
    if (!elsewhere) /* its brakes know the host's tables */
        slow_left_out(script_of(L), root);
    struct reading reading = {body, arena, 0};
    if (has_lazy(root)) {
        keep_answer(L, &reading);
        reading.kept = lua_gettop(L);
    }
    lua_createtable(L, 0, (int)root->count);
    json_each(member, root) {
        if (json_key_is(member, consumed_name))
            continue;
        lua_pushlstring(L, member->key, member->key_size);
        push_member(L, member, &reading);
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

/* The text at the top of the stack, which is popped, into the list, once. */
static bool add_table(lua_State *L, struct buf *tables, size_t *count)
{
    size_t size;
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
    bool known = !name || memchr(name, '\n', size) != NULL;
    for (char *at = tables->data; !known && at && *at; at = strchr(at, '\n') + 1)
        known = strcspn(at, "\n") == size && memcmp(at, name, size) == 0;
    if (!known) {
        buf_printf(tables, "%s\n", name);
        ++*count;
    }
    lua_pop(L, 1);
    return *count <= AWS_TABLES_MAX;
}

/* Raw, as what is sent is read: a metamethod has no say. */
static void get_member(lua_State *L, int table, const char *name)
{
    table = lua_absindex(L, table);
    lua_pushstring(L, name);
    lua_rawget(L, table);
}

/* "TableName", at the top level or in each member of "TransactItems", or the keys of "RequestItems". Empty
 * where there are too many. */
static void find_tables(lua_State *L, struct buf *tables)
{
    int top = lua_gettop(L);
    size_t count = 0;
    bool few = true;
    get_member(L, 2, "TableName");
    add_table(L, tables, &count);
    get_member(L, 2, "RequestItems");
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            few = add_table(L, tables, &count) && few;
        }
    }
    lua_pop(L, 1);
    get_member(L, 2, "TransactItems");
    for (lua_Integer i = 1; lua_istable(L, -1) && lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
        lua_pushnil(L);
        while (lua_next(L, -2)) { /* "Put" and what it is about */
            if (lua_istable(L, -1)) {
                get_member(L, -1, "TableName");
                few = add_table(L, tables, &count) && few;
            }
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_settop(L, top);
    if (!few)
        tables->size = 0;
}

static int raw_call(lua_State *L)
{
    static const char *const operations[] = {
        "GetItem",      "PutItem",        "UpdateItem",         "DeleteItem",       "Query", "Scan",
        "BatchGetItem", "BatchWriteItem", "TransactWriteItems", "TransactGetItems", NULL};
    struct err err;
    const char *operation = operations[luaL_checkoption(L, 1, NULL, operations)];
    luaL_checktype(L, 2, LUA_TTABLE);
    struct buf *tables = script_buf(L), *body = script_buf(L);
    struct script_place at = read_place(L);
    if (!lua_istable(L, lua_upvalueindex(1)))
        find_tables(L, tables);
    if (!value_write_json(L, 2, body, &err))
        return luaL_error(L, "%s: %s", operation, err.text);
    if (script_of(L)->options.stats)
        ask_for_units(body);
    script_check_waits(L); /* from here on nothing raises */
    struct aws_request request = {
        .service = AWS_DYNAMODB, .operation = operation, .place = script_make_place(&at)};
    return script_wait_aws(L, &request, body, tables, after_call);
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

static int raw_decimal(lua_State *L)
{
    luaL_checkany(L, 1);
    value_push_as_decimal(L, 1);
    return 1;
}

/* raw.at{region=, endpoint=, role=, external_id=} -> the module, whose calls go there. */
static int raw_at(lua_State *L)
{
    static const char *const names[] = {"region", "endpoint", "role", "external_id"};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    script_read_place(L, 1, "dynamodb.at");
    script_push_library(L, "tidemill.dynamodb");
    bind_dynamodb(L);
    lua_createtable(L, 0, 4); /* a copy: the script's may change */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getfield(L, 1, names[i]);
        lua_setfield(L, -2, names[i]);
    }
    lua_pushcclosure(L, raw_call, 1);
    lua_setfield(L, -2, "call");
    lua_call(L, 1, 1);
    script_make_strict(L, "tidemill.dynamodb");
    return 1;
}

void dynamodb_open(lua_State *L)
{
    state_open_kept(L, answer_name);
    lazy_open(L, &item_kind);
    script_of(L)->item_kind = luaL_ref(L, LUA_REGISTRYINDEX);
}

int bind_dynamodb(lua_State *L)
{
    static const luaL_Reg verbs[] = {
        {"item", raw_item}, {"call", raw_call},       {"token", raw_token},
        {"list", raw_list}, {"set", raw_set},         {"binary", raw_binary},
        {"at", raw_at},     {"decimal", raw_decimal}, {"seconds", script_raw_seconds},
        {NULL, NULL}};
    luaL_newlib(L, verbs);
    value_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
