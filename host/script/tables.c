/* tables.c: the DynamoDB tables and the targets that a handler says it uses, for tidemill policy.
 *
 *   tables  = { { config.orders_table, "PutItem", "UpdateItem" }, { "record.table", "Query" } }
 *   targets = { "bus" } */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "script/internal.h"

/* IAM's actions on items. A transaction needs those of its parts. */
static const char *const actions[] = {
    "GetItem", "PutItem",      "UpdateItem",     "DeleteItem",         "Query",
    "Scan",    "BatchGetItem", "BatchWriteItem", "ConditionCheckItem", NULL};

static const char *action_named(const char *text)
{
    for (size_t i = 0; text && actions[i]; i++)
        if (strcmp(actions[i], text) == 0)
            return actions[i];
    return NULL;
}

/* The action at `index` of the table on top; false after saying what is wrong with it. */
static bool read_action(lua_State *L, lua_Integer index, struct script_table *table, struct err *err)
{
    lua_rawgeti(L, -1, index);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    const char *action = action_named(text), *meant = text ? nearest_name(text, actions) : NULL;
    if (action && table->action_count < SCRIPT_ACTIONS_MAX)
        table->actions[table->action_count++] = action;
    else if (text && strncmp(text, "Transact", 8) == 0)
        err_set(
            err, ERR_CONFIG,
            "tables: name what the transaction does: PutItem, UpdateItem, DeleteItem, ConditionCheckItem");
    else
        err_set(err, ERR_CONFIG, "tables: %s is not an action on items%s%s%s",
                text ? text : luaL_typename(L, -1), meant ? " (did you mean " : "", meant ? meant : "",
                meant ? "?)" : "");
    lua_pop(L, 1);
    return action != NULL;
}

static void free_table(struct script_table *table)
{
    free((char *)table->name);
    for (size_t i = 0; i < table->key_count; i++)
        free((char *)table->keys[i]);
}

/* keys = "user#*" or { "user#*", "team#*" }, of the table on top. */
static bool read_keys(lua_State *L, struct script_table *table, struct err *err)
{
    bool one = lua_getfield(L, -1, "keys") == LUA_TSTRING, list = lua_istable(L, -1), well = true;
    size_t count = one ? 1 : list ? (size_t)lua_rawlen(L, -1) : 0;
    bool some = !lua_isnil(L, -1);
    for (size_t i = 0; well && i < count; i++) {
        if (one)
            lua_pushvalue(L, -1);
        else
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        size_t size = 0;
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
        well = key && size && utf8_valid(key, size) && strlen(key) == size && i < SCRIPT_KEYS_MAX;
        if (well)
            table->keys[table->key_count++] = mem_string(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (some && (!well || !count))
        return err_set(err, ERR_CONFIG,
                       "tables: keys: what partition keys are like expected: \"user#*\", or up to "
                       "8 of them");
    for (size_t i = 0; some && i < table->action_count; i++)
        if (strcmp(table->actions[i], "Scan") == 0)
            return err_set(err, ERR_CONFIG,
                           "tables: a Scan reads all keys: put it in a list of its own, without keys");
    return true;
}

static bool read_one(struct script *script, lua_State *L, struct err *err)
{
    struct script_table table = {0};
    if (!lua_istable(L, -1))
        return err_set(err, ERR_CONFIG, "tables: a list of lists expected: { { \"Orders\", \"PutItem\" } }");
    lua_Integer count = 1;
    lua_pushnil(L);
    while (lua_next(L, -2)) { /* not its length: the name may be a setting that is not there */
        lua_Integer at = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        bool known = at > 0 || (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "keys") == 0);
        count = at > count ? at : count;
        lua_pop(L, 1);
        if (!known) {
            err_set(err, ERR_CONFIG,
                    "tables: %s: beside the table's name and actions only keys may stand here",
                    lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
            lua_pop(L, 1);
            return false;
        }
    }
    if (count < 2 || count > SCRIPT_ACTIONS_MAX + 1)
        return err_set(err, ERR_CONFIG,
                       "tables: an action such as \"PutItem\" expected behind the table's name");
    for (lua_Integer i = 2; i <= count; i++)
        if (!read_action(L, i, &table, err))
            return false;
    if (!read_keys(L, &table, err)) {
        free_table(&table);
        return false;
    }
    lua_rawgeti(L, -1, 1);
    table.name = lua_type(L, -1) == LUA_TSTRING ? mem_string(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    mem_grow(&script->tables, &script->table_capacity, script->table_count, sizeof *script->tables);
    script->tables[script->table_count++] = table;
    return true;
}

bool tables_read(struct script *script, lua_State *L, struct err *err)
{
    if (!lua_istable(L, -1))
        return err_set(err, ERR_CONFIG, "tables: a list of lists expected: { { \"Orders\", \"PutItem\" } }");
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    bool ok = true;
    script->declares_tables = true;
    for (lua_Integer i = 1; i <= count && ok; i++) {
        lua_rawgeti(L, -1, i);
        ok = read_one(script, L, err);
        lua_pop(L, 1);
    }
    return ok;
}

bool targets_read(struct script *script, lua_State *L, struct err *err)
{
    if (!lua_istable(L, -1))
        return err_set(err, ERR_CONFIG, "targets: a list of names expected: { \"bus\" }");
    size_t count = (size_t)lua_rawlen(L, -1);
    script->targets = mem_zero((count + 1) * sizeof *script->targets);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            script->targets[i] = mem_string(lua_tostring(L, -1));
        lua_pop(L, 1);
        if (!script->targets[i])
            return err_set(err, ERR_CONFIG, "targets: a list of names expected: { \"bus\" }");
    }
    return true;
}

static bool is_action(const char *text)
{
    const char *colon = text ? strchr(text, ':') : NULL;
    return colon && colon > text && colon[1] &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:*")] == '\0';
}

/* { RESOURCE, "service:Action", ... }: the resource may be a setting that is not there. */
static bool read_calls_of(struct script *script, lua_State *L, struct err *err)
{
    static const char wanted[] =
        "calls: a list of lists expected: { { config.machine_arn, \"states:StartExecution\" } }";
    lua_Integer last = 1;
    if (!lua_istable(L, -1))
        return err_set(err, ERR_CONFIG, "%s", wanted);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_Integer at = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        last = at > last ? at : last;
        lua_pop(L, 1);
    }
    if (last < 2 || last > SCRIPT_ACTIONS_MAX + 1)
        return err_set(err, ERR_CONFIG, "%s", wanted);
    lua_rawgeti(L, -1, 1);
    const char *resource = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    for (lua_Integer i = 2; i <= last; i++) {
        lua_rawgeti(L, -2, i);
        const char *action = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (!is_action(action))
            return err_set(err, ERR_CONFIG, "calls: %s is no action (such as \"states:StartExecution\")",
                           action ? action : luaL_typename(L, -1));
        mem_grow(&script->calls, &script->call_capacity, script->call_count, sizeof *script->calls);
        script->calls[script->call_count++] = (struct script_call){mem_string(resource), mem_string(action)};
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return true;
}

bool services_read(struct script *script, lua_State *L, struct err *err)
{
    if (!lua_istable(L, -1))
        return err_set(err, ERR_CONFIG, "calls: a list of lists expected");
    int top = lua_gettop(L);
    bool ok = true;
    script->declares_calls = true;
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, top) && ok; i++) {
        lua_rawgeti(L, top, i);
        ok = read_calls_of(script, L, err);
        lua_settop(L, top);
    }
    return ok;
}

const struct script_call *script_calls(const struct script *script, size_t *count, bool *declared)
{
    *count = script->call_count;
    *declared = script->declares_calls;
    return script->calls;
}

const char *const *script_targets(const struct script *script)
{
    return (const char *const *)script->targets;
}

void tables_free(struct script *script)
{
    for (size_t i = 0; i < script->table_count; i++)
        free_table(&script->tables[i]);
    free(script->tables);
    for (size_t i = 0; i < script->call_count; i++) {
        free((char *)script->calls[i].resource);
        free((char *)script->calls[i].action);
    }
    free(script->calls);
    for (size_t i = 0; script->targets && script->targets[i]; i++)
        free(script->targets[i]);
    free(script->targets);
}

const struct script_table *script_tables(const struct script *script, size_t *count, bool *declared)
{
    *count = script->table_count;
    *declared = script->declares_tables;
    return script->tables;
}
