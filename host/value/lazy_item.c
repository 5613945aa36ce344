/* lazy_item.c: the table has its owner under a key that no script can name, and a metatable of its kind; both
 * are gone when it has become a plain one. */
#include "value/lazy_item.h"

#include <lauxlib.h>
#include <string.h>

#define TOUCHES_MAX 8 /* an image that is asked for more gets a tree */

static const char owner_key, kind_key;

static bool is_taken(const struct lazy_view *view, size_t i)
{
    return view->taken[i / 64] >> (i % 64) & 1;
}

static void take(const struct lazy_view *view, size_t i)
{
    view->taken[i / 64] |= (uint64_t)1 << (i % 64);
}

static void push_attribute(lua_State *L, const struct lazy_kind *kind, const struct json *attribute)
{
    struct err err;
    if (!kind->push(L, attribute, &err))
        luaL_error(L, "%s cannot be decoded: %s", kind->what, err.text);
}

/* What has not been touched, and the table is plain. */
static void decode_rest(lua_State *L, int table, const struct lazy_kind *kind, const struct lazy_view *view)
{
    if (view->item->deferred) /* else it may be of the scratch arena itself */
        arena_clear(view->scratch);
    struct json_walk walk = json_walk(view->item, true);
    const struct json *attribute;
    for (size_t i = 0; (attribute = json_walk_next(&walk, view->scratch)); i++) {
        if (!is_taken(view, i)) {
            lua_pushlstring(L, attribute->key, attribute->key_size);
            push_attribute(L, kind, attribute);
            lua_rawset(L, table);
            take(view, i); /* at once: what follows may raise, and the script go on */
        }
    }
    lua_pushnil(L);
    lua_rawsetp(L, table, &owner_key);
    lua_pushnil(L);
    lua_setmetatable(L, table);
    *view->over = true;
}

/* The kind of the table at the index, and its owner onto the stack; or NULL and nothing. */
static const struct lazy_kind *push_owner(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return NULL;
    lua_rawgetp(L, -1, &kind_key);
    const struct lazy_kind *kind = lua_touserdata(L, -1);
    lua_pop(L, 2);
    if (!kind || lua_rawgetp(L, index, &owner_key) == LUA_TUSERDATA)
        return kind;
    lua_pop(L, 1);
    return NULL;
}

void lazy_force(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE ||
        !lua_getmetatable(L, index)) /* nearly all: each step of a loop asks */
        return;
    lua_pop(L, 1);
    int top = lua_gettop(L), table = lua_absindex(L, index);
    luaL_checkstack(L, 10, "values nested too deeply");
    const struct lazy_kind *kind = push_owner(L, table);
    if (!kind)
        return;
    struct lazy_view view;
    kind->view(L, lua_gettop(L), kind->which, &view);
    decode_rest(L, table, kind, &view);
    lua_settop(L, top);
}

/* (table, key); upvalue: the kind. */
static int get_attribute(lua_State *L)
{
    const struct lazy_kind *kind = lua_touserdata(L, lua_upvalueindex(1));
    struct lazy_view view;
    size_t size;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    if (!kind->view_own || !kind->view_own(L, lua_topointer(L, 1), kind->which, &view)) {
        if (lua_rawgetp(L, 1, &owner_key) != LUA_TUSERDATA)
            return 0;
        kind->view(L, 3, kind->which, &view);
    }
    const char *name = lua_tolstring(L, 2, &size);
    if (view.passing) {
        decode_rest(L, 1, kind, &view);
        lua_pushvalue(L, 2);
        lua_rawget(L, 1);
        return 1;
    }
    size_t at;
    if (++*view.touches > TOUCHES_MAX && view.item->deferred)
        json_open(view.item);
    arena_clear(view.scratch);
    const struct json *attribute = json_pick(view.item, name, size, view.scratch, &at);
    if (!attribute || is_taken(&view, at)) /* taken, and set to nil since */
        return 0;
    push_attribute(L, kind, attribute);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    take(&view, at); /* from here on: what raises has taken nothing */
    return 1;
}

/* (table, key, value) of a key that it has not, or not yet. */
static int set_attribute(lua_State *L)
{
    if (lua_isnil(L, 2) || (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) != lua_tonumber(L, 2)))
        return luaL_error(L, "table index is %s",
                          lua_isnil(L, 2) ? "nil" : "NaN"); /* with its line, as Lua says it */
    lazy_force(L, 1);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

int lazy_open(lua_State *L, const struct lazy_kind *kind)
{
    lua_createtable(L, 0, 3);
    lua_pushlightuserdata(L, (void *)kind);
    lua_rawsetp(L, -2, &kind_key);
    lua_pushlightuserdata(L, (void *)kind);
    lua_pushcclosure(L, get_attribute, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, set_attribute);
    lua_setfield(L, -2, "__newindex");
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void lazy_push(lua_State *L, int owner, int kind, int attributes)
{
    lua_createtable(L, 0, attributes + 1);
    lua_pushvalue(L, owner < 0 ? owner - 1 : owner);
    lua_rawsetp(L, -2, &owner_key);
    lua_rawgeti(L, LUA_REGISTRYINDEX, kind);
    lua_setmetatable(L, -2);
}
