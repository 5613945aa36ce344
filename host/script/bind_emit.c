/* bind_emit.c: tidemill.emit, which is a function.
 *
 *   emit(target, payload, {key=, source=, detail_type=, subject=, record=})
 *   `record`: which one of a batch it is for.
 *   The payload is a string, or anything that has a form in JSON. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "aws/sigv4.h"
#include "base/mem.h"
#include "base/problems.h"
#include "base/utf8.h"
#include "script/internal.h"
#include "value/lazy_item.h"
#include "conf/target_type.h"
#include "value/lua_value.h"

/* The texts of the options, on the stack until they are copied: what raises must not lose memory. */
struct options {
    const char *key, *source, *detail_type, *subject, *object;
    int64_t place; /* of `record` in the batch; -1: not said */
};

/* On top of the stack. */
static void read_record(lua_State *L, struct options *options)
{
    const struct invocation *invocation = script_of(L)->current;
    options->place = invocation && invocation->call ? record_place(L, -1, invocation->root) : -1;
    if (options->place < 0)
        luaL_error(L, "emit: record: one of the records that this call is for expected");
}

/* A key only has to be the same for the same item: a zero byte in it, as DynamoDB's keys may hold, does no
 * harm to its hash. In place of the text on top of the stack. */
static const char *hash_key(lua_State *L, const char *text, size_t size)
{
    char hash[65];
    sha256_hex(text, size, hash);
    lua_pushstring(L, hash);
    lua_replace(L, -2);
    return lua_tostring(L, -1);
}

static void read_options(lua_State *L, int index, struct options *options)
{
    static const char *const names[] = {"key", "source", "detail_type", "subject", "object", "record", NULL};
    const char **fields[] = {&options->key, &options->source, &options->detail_type, &options->subject,
                             &options->object};
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    lazy_force(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        size_t i = 0;
        if (strcmp(name, "record") == 0) {
            read_record(L, options);
            lua_pop(L, 1);
            continue;
        }
        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i]) {
            const char *meant = nearest_name(name, names);
            luaL_error(L, "emit: there is no option \"%s\"%s%s%s", name, meant ? " (did you mean " : "",
                       meant ? meant : "", meant ? "?)" : "");
            return;
        }
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) {
            luaL_error(L, "emit: %s: a string expected, got %s", name, luaL_typename(L, -1));
            return;
        }
        size_t size;
        lua_pushvalue(L, -1);
        *fields[i] = lua_tolstring(L, -1, &size);
        if (strlen(*fields[i]) != size && fields[i] == &options->key)
            *fields[i] = hash_key(L, *fields[i], size);
        else if (strlen(*fields[i]) != size)
            luaL_error(L, "emit: %s: it holds a zero byte, which cannot be used here", name);
        else if (!utf8_valid(*fields[i], size))
            luaL_error(L, "emit: %s: it is no UTF-8 text", name);
        lua_insert(L, -3); /* below the loop's key and value, where it stays alive */
        lua_pop(L, 1);
    }
}

static void check_keeps_files(lua_State *L, const char *name)
{
    const struct config *config = script_of(L)->handler.config;
    const struct config_target *target = config ? config_target(config, name) : NULL;
    if (target && !target->type->keeps_files)
        luaL_error(L, "emit: object: targets of type %s keep no objects (s3 and file do)",
                   target->type->name);
}

static int emit(lua_State *L)
{
    struct options options = {.place = -1};
    struct err err;
    const char *target = script_check_text(L, 1);
    luaL_checkany(L, 2);
    lua_settop(L, 3);
    luaL_checkstack(L, 16, NULL);
    read_options(L, 3, &options);
    if (options.object)
        check_keeps_files(L, target);
    struct buf *payload = script_buf(L);
    size_t size = 0;
    if (lua_type(L, 2) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, 2, &size);
        state_check_room(L, size);
        buf_add(payload, text, size);
    } else if (!value_write_json(L, 2, payload, &err)) {
        return luaL_error(L, "emit: %s", err.text);
    }
    struct message message = {
        .payload_size = payload->size,
        .key = mem_string(options.key),
        .source = mem_string(options.source),
        .detail_type = mem_string(options.detail_type),
        .subject = mem_string(options.subject),
        .object = mem_string(options.object),
    };
    message.payload = buf_take(payload);
    emissions_add(L, target, &message, options.place);
    return 0;
}

int bind_emit(lua_State *L)
{
    lua_pushcfunction(L, emit);
    return 1;
}
