/* bounds.c: Lua's library functions that could stay in C for ever, where neither the hook nor the allocator
 * would ever see them: each is bounded before it begins, or counts its own steps. */
#include <lauxlib.h>
#include <lualib.h>

#include "script/internal.h"
#include "value/lazy_item.h"
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

/* Table functions of C's read and write by metamethods, which may be tables behind tables: no call that a
 * hook would see. A table that has a metatable is handled by Lua code instead, which does the same. */
static const char table_text[] =
    "local concat, unpack = table.concat, table.unpack\n"
    "local function copy(list, first, last)\n"
    "  local plain = {}\n"
    "  for at = first, last do plain[at - first + 1] = list[at] end\n"
    "  return plain, last < first and 0 or last - first + 1\n"
    "end\n"
    "local slow = {}\n"
    "function slow.concat(list, separator, first, last)\n"
    "  local plain, count = copy(list, first or 1, last or #list)\n"
    "  return concat(plain, separator, 1, count)\n"
    "end\n"
    "function slow.unpack(list, first, last)\n"
    "  local plain, count = copy(list, first or 1, last or #list)\n"
    "  return unpack(plain, 1, count)\n"
    "end\n"
    "function slow.move(from, first, last, at, to)\n"
    "  local into = to == nil and from or to\n"
    "  if at > last or at <= first or (to ~= nil and not rawequal(to, from)) then\n"
    "    for i = 0, last - first do into[at + i] = from[first + i] end\n"
    "  else\n"
    "    for i = last - first, 0, -1 do into[at + i] = from[first + i] end\n"
    "  end\n"
    "  return into\n"
    "end\n"
    "function slow.insert(list, ...)\n"
    "  local count, position, value = select('#', ...), ...\n"
    "  local free = #list + 1\n"
    "  if count == 1 then list[free] = position return end\n"
    "  if count ~= 2 then error(\"wrong number of arguments to 'insert'\", 3) end\n"
    "  position = math.tointeger(position) or\n"
    "    error(\"bad argument #2 to 'insert' (number expected)\", 3)\n"
    "  if position < 1 or position > free then\n"
    "    error(\"bad argument #2 to 'insert' (position out of bounds)\", 3)\n"
    "  end\n"
    "  for at = free, position + 1, -1 do list[at] = list[at - 1] end\n"
    "  list[position] = value\n"
    "end\n"
    "function slow.remove(list, ...)\n"
    "  local size, position = #list, ...\n"
    "  if select('#', ...) == 0 then position = size end\n"
    "  position = math.tointeger(position) or\n"
    "    error(\"bad argument #2 to 'remove' (number expected)\", 3)\n"
    "  if position ~= size and (position < 1 or position > size + 1) then\n"
    "    error(\"bad argument #2 to 'remove' (position out of bounds)\", 3)\n"
    "  end\n"
    "  local value = list[position]\n"
    "  for at = position, size - 1 do list[at] = list[at + 1] end\n"
    "  list[position < size and size or position] = nil\n"
    "  return value\n"
    "end\n"
    "return slow\n";

static int all_results(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L);
}

static bool has_metatable(lua_State *L, int index)
{
    lazy_force(L, index);
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    lua_pop(L, 1);
    return true;
}

/* The function that was bounded is the upvalue, and behind it the one that does the same in Lua. */
static int go_on(lua_State *L)
{
    if (!has_metatable(L, 1) && !has_metatable(L, 5)) /* of table.move, where it goes to */
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, all_results);
    return lua_gettop(L);
}

/* table.insert and remove */
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

/* table.unpack(list, first, last) */
static int bounded_unpack(lua_State *L)
{
    check_length(L);
    if (lua_isinteger(L, 3))
        check_range(L, luaL_optinteger(L, 2, 1), lua_tointeger(L, 3));
    return go_on(L);
}

/* table.move(from, first, last, to) */
static int bounded_move(lua_State *L)
{
    check_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    luaL_checkinteger(L, 4);
    return go_on(L);
}

/* string.rep: nothing takes no memory, however often. */
static int bounded_rep(lua_State *L)
{
    size_t size, separator = 0;
    luaL_checklstring(L, 1, &size);
    luaL_optlstring(L, 3, "", &separator);
    if (size + separator > 0)
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    luaL_checkinteger(L, 2);
    lua_pushliteral(L, "");
    return 1;
}

#define SORTED_IN_C_MAX 2000
#define SORTED_IN_C_BYTES_MAX 1024 /* of each text: no hook comes between two comparisons of texts */

/* A merge sort: it compares no more often than it must, and an order that contradicts itself ends it all the
 * same. The list is written once it is over: a comparison may raise. */
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
                                "    from, to, width = to, from == list and {} or from, 2 * width\n"
                                "  end\n"
                                "  if from ~= list then\n"
                                "    for at = 1, count do list[at] = from[at] end\n"
                                "  end\n"
                                "end\n";

static struct list *owned(lua_State *L)
{
    return &script_of(L)->owned;
}

static bool too_large(lua_State *L, size_t bytes)
{
    return !state_has_room(L, bytes);
}

static bool is_short(lua_State *L)
{
    lua_Integer count = luaL_len(L, 1);
    bool fits = count <= SORTED_IN_C_MAX;
    for (lua_Integer i = 1; i <= count && fits; i++) {
        lua_rawgeti(L, 1, i);
        fits = lua_type(L, -1) != LUA_TSTRING || lua_rawlen(L, -1) <= SORTED_IN_C_BYTES_MAX;
        lua_pop(L, 1);
    }
    return fits;
}

static void hold(lua_State *L, ptrdiff_t bytes)
{
    if (bytes > 0)
        state_hold(script_of(L), (size_t)bytes);
    else
        state_release(script_of(L), (size_t)-bytes);
}

/* A long list is sorted by Lua code, which makes room for others; a short one by C, which is faster. */
static int bounded_sort(lua_State *L)
{
    check_length(L);
    if (!lua_istable(L, 1) || (!has_metatable(L, 1) && is_short(L)))
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    luaL_argcheck(L, lua_isnoneornil(L, 2) || lua_isfunction(L, 2), 2, "function expected");
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, 2, 0, 0, all_results);
    return 0;
}

/* The library is on top of the stack, and below it what is to be done in Lua, or nil. */
static void bound(lua_State *L, const char *name, lua_CFunction function)
{
    int upvalues = 1;
    lua_getfield(L, -1, name);
    if (lua_istable(L, -3)) {
        lua_getfield(L, -3, name);
        upvalues = 2;
    }
    lua_pushcclosure(L, function, upvalues);
    lua_setfield(L, -2, name);
}

/* Pushes what the chunk returns. */
static void run_text(lua_State *L, const char *text, size_t size, const char *name)
{
    if (state_compile(L, text, size, name) != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 1);
}

static void bind_sort(lua_State *L)
{
    lua_getfield(L, -1, "sort");
    run_text(L, sort_text, sizeof sort_text - 1, "=sort");
    lua_pushcclosure(L, bounded_sort, 2);
    lua_setfield(L, -2, "sort");
}

void bounds_open(lua_State *L)
{
    static const struct string_match_limits limits = {
        state_tick, state_should_make_room, state_make_room, too_large, hold, owned};
    run_text(L, table_text, sizeof table_text - 1, "=table");
    lua_getglobal(L, LUA_TABLIBNAME);
    bound(L, "insert", whole_table);
    bound(L, "remove", whole_table);
    bind_sort(L);
    bound(L, "concat", bounded_concat);
    bound(L, "move", bounded_move);
    bound(L, "unpack", bounded_unpack);
    lua_pop(L, 2);
    lua_pushnil(L);
    lua_getglobal(L, LUA_STRLIBNAME);
    bound(L, "rep", bounded_rep);
    string_match_open(L, &limits);
    lua_pop(L, 2);
}
