/* bounds.c: Lua's library functions that could stay in C for ever, where neither the hook nor the allocator
 * would ever see them: each is bounded before it begins, or counts its own steps. */
#include <lauxlib.h>
#include <lualib.h>

#include "script/internal.h"
#include "script/string_match.h"

#define RANGE_MAX ((lua_Integer)1 << 26)
#define ELEMENT_BYTES 16 /* no table holds an element in less */

/* More elements than the handler's memory could hold come from a metamethod or a wrong number. */
static void check_count(lua_State *L, lua_Integer count)
{
    size_t fits = script_of(L)->memory_max / ELEMENT_BYTES;
    lua_Integer max = fits < (size_t)RANGE_MAX ? (lua_Integer)fits : RANGE_MAX;
    if (count > max)
        luaL_error(L, "a range of %I elements is more than the handler's memory could hold",
                   (LUAI_UACINT)count);
}

/* first..last without overflow */
static void check_range(lua_State *L, lua_Integer first, lua_Integer last)
{
    if (last < first)
        return;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;
    check_count(L, count < (lua_Unsigned)LUA_MAXINTEGER ? (lua_Integer)count : LUA_MAXINTEGER);
}

static void check_length(lua_State *L)
{
    if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__len") != LUA_TNIL) {
        lua_pop(L, 1);
        check_count(L, luaL_len(L, 1));
    }
}

/* The function that was bounded is the upvalue. */
static int go_on(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* table.insert, remove and sort */
static int whole_table(lua_State *L)
{
    check_length(L);
    return go_on(L);
}

/* table.concat(list, separator, first, last) */
static int bounded_concat(lua_State *L)
{
    check_length(L);
    if (lua_isinteger(L, 4))
        check_range(L, luaL_optinteger(L, 3, 1), lua_tointeger(L, 4));
    return go_on(L);
}

/* table.move(from, first, last, to) */
static int bounded_move(lua_State *L)
{
    check_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return go_on(L);
}

/* string.rep: nothing takes no memory, however often. */
static int bounded_rep(lua_State *L)
{
    size_t size, separator = 0;
    luaL_checklstring(L, 1, &size);
    luaL_optlstring(L, 3, "", &separator);
    if (size + separator > 0)
        return go_on(L);
    luaL_checkinteger(L, 2);
    lua_pushliteral(L, "");
    return 1;
}

#define SORTED_IN_C_MAX 2000

/* A merge sort: it compares no more often than it must, and an order that contradicts itself ends it all the
 * same. */
static const char sort_text[] = "local function less(a, b) return a < b end\n"
                                "return function(list, before)\n"
                                "  before = before or less\n"
                                "  local from, to, count, width = list, {}, #list, 1\n"
                                "  while width < count do\n"
                                "    for start = 1, count, 2 * width do\n"
                                "      local a, b = start, start + width\n"
                                "      local a_end, b_end = b < count + 1 and b or count + 1, b + width\n"
                                "      if b_end > count + 1 then b_end = count + 1 end\n"
                                "      for at = start, b_end - 1 do\n"
                                "        if a < a_end and (b >= b_end or not before(from[b], from[a])) then\n"
                                "          to[at] = from[a]; a = a + 1\n"
                                "        else\n"
                                "          to[at] = from[b]; b = b + 1\n"
                                "        end\n"
                                "      end\n"
                                "    end\n"
                                "    from, to, width = to, from, 2 * width\n"
                                "  end\n"
                                "  if from ~= list then\n"
                                "    for at = 1, count do list[at] = from[at] end\n"
                                "  end\n"
                                "end\n";

static int sorted(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 0;
}

static bool too_large(lua_State *L, size_t bytes)
{
    const struct script *script = script_of(L);
    return script->memory_bytes + bytes > script->memory_max;
}

/* A long list is sorted by Lua code, which makes room for others; a short one by C, which is faster. */
static int bounded_sort(lua_State *L)
{
    check_length(L);
    if (!lua_istable(L, 1) || luaL_len(L, 1) <= SORTED_IN_C_MAX)
        return go_on(L);
    luaL_argcheck(L, lua_isnoneornil(L, 2) || lua_isfunction(L, 2), 2, "function expected");
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, 2, 0, 0, sorted);
    return 0;
}

static void bound(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static void bind_sort(lua_State *L)
{
    lua_getfield(L, -1, "sort");
    if (luaL_loadbufferx(L, sort_text, sizeof sort_text - 1, "=sort", "t") != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 1);
    lua_pushcclosure(L, bounded_sort, 2);
    lua_setfield(L, -2, "sort");
}

void bounds_open(lua_State *L)
{
    static const struct string_match_limits limits = {state_tick, state_should_make_room, state_make_room,
                                                      too_large};
    lua_getglobal(L, LUA_TABLIBNAME);
    bound(L, "insert", whole_table);
    bound(L, "remove", whole_table);
    bind_sort(L);
    bound(L, "concat", bounded_concat);
    bound(L, "move", bounded_move);
    lua_pop(L, 1);
    lua_getglobal(L, LUA_STRLIBNAME);
    bound(L, "rep", bounded_rep);
    string_match_open(L, &limits);
    lua_pop(L, 1);
}
