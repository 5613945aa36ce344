/* keep.c: record objects that may outlive the page which their images point into. Few do: nearly all are
 * garbage before the page goes, and the collector has cleared them out of the weak array in which they stand.
 * For those that are left their texts are copied, when the page goes. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/mem.h"
#include "script/internal.h"

#define OBJECTS_MIN 64

/* Those of a page. */
struct kept {
    struct page_watch watch;
    struct list link; /* among the script's */
    struct script *script;
    const struct page *page;
    keep_fn *keep;
    int reference; /* in the registry: the array */
    lua_Integer count, room;
};

static void push_array(lua_State *L, int room)
{
    lua_createtable(L, room, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->weak_meta);
    lua_setmetatable(L, -2);
}

/* Those that live, to the front of an array with room for as many again. `array`: its index. */
static void make_room(lua_State *L, struct kept *kept, int array)
{
    lua_Integer left = 0;
    for (lua_Integer i = 1; i <= kept->count; i++) {
        if (lua_rawgeti(L, array, i) == LUA_TUSERDATA)
            lua_rawseti(L, array, ++left);
        else
            lua_pop(L, 1);
    }
    kept->count = left; /* what stands behind them is written over */
    if (left <= kept->room / 2)
        return;
    push_array(L, (int)kept->room * 2);
    for (lua_Integer i = 1; i <= left; i++) {
        lua_rawgeti(L, array, i);
        lua_rawseti(L, -2, i);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, kept->reference);
    lua_replace(L, array);
    kept->room *= 2;
}

/* The page goes, and nothing of the script runs: nobody is here to be told that the memory has ended. */
static void on_leave(struct page_watch *watch)
{
    struct kept *kept = list_entry(watch, struct kept, watch);
    struct script *script = kept->script;
    lua_State *L = script->L;
    size_t memory_max = script->memory_max;
    int top = lua_gettop(L);
    script->memory_max = SIZE_MAX;
    lua_checkstack(L, 8);
    lua_rawgeti(L, LUA_REGISTRYINDEX, kept->reference);
    for (lua_Integer i = 1; i <= kept->count; i++) {
        if (lua_rawgeti(L, top + 1, i) == LUA_TUSERDATA)
            kept->keep(L, lua_gettop(L));
        lua_settop(L, top + 1);
        lua_pushboolean(L, false); /* it may be used for another page */
        lua_rawseti(L, top + 1, i);
    }
    lua_settop(L, top);
    script->memory_max = memory_max;
    kept->count = 0;
    if (script->kept_last == kept)
        script->kept_last = NULL;
    list_remove(&kept->link);
    if (!script->kept_spare && kept->room <= OBJECTS_MIN) {
        script->kept_spare = kept;
        return;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, kept->reference);
    free(kept);
}

static struct kept *find(const struct script *script, const struct page *page)
{
    struct page_watch *watch;
    list_each(watch, &page->watches, struct page_watch, link) {
        struct kept *kept = list_entry(watch, struct kept, watch);
        if (watch->leave == on_leave && kept->script == script)
            return kept;
    }
    return NULL;
}

static struct kept *begin(lua_State *L, struct page *page, keep_fn *keep)
{
    struct script *script = script_of(L);
    struct kept *kept = script->kept_spare;
    if (!kept) {
        push_array(L, OBJECTS_MIN);
        int reference = luaL_ref(L, LUA_REGISTRYINDEX);
        kept = mem_alloc(sizeof *kept);
        *kept = (struct kept){
            .watch = {.leave = on_leave}, .script = script, .reference = reference, .room = OBJECTS_MIN};
    }
    script->kept_spare = NULL;
    kept->page = page;
    kept->keep = keep;
    list_append(&script->kept, &kept->link);
    page_watch(page, &kept->watch);
    return kept;
}

void keep_until(lua_State *L, int object, struct page *page, keep_fn *keep)
{
    struct script *script = script_of(L);
    struct kept *kept = script->kept_last;
    if (!kept || kept->page != page) {
        kept = find(script, page);
        kept = kept ? kept : begin(L, page, keep);
        script->kept_last = kept;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, kept->reference);
    if (kept->count == kept->room)
        make_room(L, kept, lua_gettop(L));
    lua_pushvalue(L, object);
    lua_rawseti(L, -2, ++kept->count);
    lua_pop(L, 1);
}

void keep_open(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    script_of(L)->weak_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}

void keep_drop_all(struct script *script)
{
    struct kept *kept;
    list_each(kept, &script->kept, struct kept, link) {
        list_remove(&kept->watch.link);
        list_remove(&kept->link);
        free(kept);
    }
    free(script->kept_spare);
}
