/* lazy_item.c: the table has its owner under a key that no script can name, and a metatable of its kind; both
 * are gone when it has become a plain one. The key is a text that nobody can guess: it is found sooner than
 * what is no text. */
#include "value/lazy_item.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

#define TOUCHES_MAX 8 /* an image that is asked for more gets a tree */

#define WATCHED_FIRST 8  /* items, before anything is known */
#define WATCHED_EACH 31u /* then one of so many */
#define USUAL_OF_EIGHT 6 /* what half of the calls ask for costs as much beforehand as when they do */

#define OWNER_KEY_BYTES 20
#define OWNER_KEY_AT 1 /* of the metatable, which has the names of habits behind it */
#define NAMES_AT 2

static const char kind_key;

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
    lua_getmetatable(L, table);
    lua_rawgeti(L, -1, OWNER_KEY_AT);
    lua_pushnil(L);
    lua_rawset(L, table);
    lua_pop(L, 1);
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
    if (!kind) {
        lua_pop(L, 2);
        return NULL;
    }
    lua_rawgeti(L, -2, OWNER_KEY_AT);
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (lua_rawget(L, index) == LUA_TUSERDATA)
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

/* ---- habits ---- */

/* Where a name stands, or may: the first place that nothing was noted of lately. LAZY_HABITS_MAX: nowhere. */
static unsigned place_of(const struct lazy_habits *habits, const char *name)
{
    unsigned free = LAZY_HABITS_MAX;
    for (unsigned i = 0; i < habits->count; i++) {
        if (habits->names[i].text == name)
            return i;
        if (!habits->noted[i] && free == LAZY_HABITS_MAX)
            free = i;
    }
    return free < LAZY_HABITS_MAX ? free : habits->count;
}

/* Of the table at 1; the name is at 2, and stays where it is for as long as the metatable has it. */
static void note(lua_State *L, struct lazy_habits *habits, const char *name, size_t size, size_t at)
{
    unsigned place = place_of(habits, name);
    if (place == LAZY_HABITS_MAX)
        return;
    if (place == habits->count || habits->names[place].text != name) {
        lua_getmetatable(L, 1);
        lua_pushvalue(L, 2);
        lua_rawseti(L, -2, NAMES_AT + (lua_Integer)place);
        lua_pop(L, 1);
        habits->names[place] = (struct json_name){name, size};
        habits->noted[place] = 0;
        habits->count += place == habits->count;
    }
    habits->noted[place] |= 1;
    habits->places[place] = at;
}

static void choose(struct lazy_habits *habits)
{
    habits->usual_count = 0;
    for (unsigned i = 0; i < habits->count; i++) {
        if (__builtin_popcount(habits->noted[i]) < USUAL_OF_EIGHT)
            continue;
        unsigned at = habits->usual_count++;
        for (; at && habits->places[habits->usual[at - 1]] > habits->places[i]; at--)
            habits->usual[at] = habits->usual[at - 1];
        habits->usual[at] = (uint8_t)i;
    }
}

/* The next item: those that are usual are known when the one that was watched is over. */
static void go_on(struct lazy_habits *habits)
{
    if (habits->watches)
        choose(habits);
    habits->watches = habits->items < WATCHED_FIRST || habits->items % WATCHED_EACH == 0;
    habits->items++;
    for (unsigned i = 0; habits->watches && i < habits->count; i++)
        habits->noted[i] = (uint8_t)(habits->noted[i] << 1);
}

void lazy_fill(lua_State *L, int meta, const struct lazy_kind *kind, const struct lazy_view *view)
{
    struct lazy_habits *habits = view->habits;
    struct json_finger finger = {0};
    struct err err;
    int table = lua_gettop(L);
    go_on(habits);
    if (habits->watches || !habits->usual_count)
        return;
    arena_clear(view->scratch);
    for (unsigned i = 0; i < habits->usual_count; i++) {
        unsigned which = habits->usual[i];
        const struct json_name *name = &habits->names[which];
        size_t at = habits->places[which];
        const struct json *attribute =
            json_pick_at(view->item, name->text, name->size, view->scratch, &finger, &at);
        if (!attribute)
            continue;
        habits->places[which] = at;
        lua_rawgeti(L, meta, NAMES_AT + (lua_Integer)which);
        if (kind->push(L, attribute, &err)) {
            lua_rawset(L, table);
            take(view, at);
        } else { /* that is told when it is asked for */
            lua_settop(L, table);
        }
    }
    *view->touches += habits->usual_count;
}

/* ---- metamethods ---- */

/* (table, key); upvalues: the kind, and its owner's key. */
static int get_attribute(lua_State *L)
{
    const struct lazy_kind *kind = lua_touserdata(L, lua_upvalueindex(1));
    struct lazy_view view;
    size_t size;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    if (!kind->view_own || !kind->view_own(L, lua_topointer(L, 1), kind->which, &view)) {
        lua_pushvalue(L, lua_upvalueindex(2));
        if (lua_rawget(L, 1) != LUA_TUSERDATA)
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
    if (view.habits && view.habits->watches)
        note(L, view.habits, name, size, at);
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

void lazy_open(lua_State *L, const struct lazy_kind *kind)
{
    unsigned char key[OWNER_KEY_BYTES];
    CHECK(getrandom(key, sizeof key, 0) == (ssize_t)sizeof key);
    lua_createtable(L, NAMES_AT - 1 + LAZY_HABITS_MAX, 3);
    lua_pushlstring(L, (const char *)key, sizeof key);
    lua_rawseti(L, -2, OWNER_KEY_AT);
    lua_pushlightuserdata(L, (void *)kind);
    lua_rawsetp(L, -2, &kind_key);
    lua_pushlightuserdata(L, (void *)kind);
    lua_rawgeti(L, -2, OWNER_KEY_AT);
    lua_pushcclosure(L, get_attribute, 2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, set_attribute);
    lua_setfield(L, -2, "__newindex");
}

void lazy_push(lua_State *L, int owner, int meta, int attributes)
{
    owner = lua_absindex(L, owner);
    meta = lua_absindex(L, meta);
    lua_createtable(L, 0, attributes + 1);
    lua_rawgeti(L, meta, OWNER_KEY_AT);
    lua_pushvalue(L, owner);
    lua_rawset(L, -3);
    lua_pushvalue(L, meta);
    lua_setmetatable(L, -2);
}
