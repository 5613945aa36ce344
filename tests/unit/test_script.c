/* test_script.c: the string functions of the sandbox against Lua's own, on patterns made at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "script/string_match.h"

#define ROUNDS 12000

static int ticks;

static void count_tick(lua_State *L)
{
    ticks++;
    if (ticks > 50)
        luaL_error(L, "stopped");
}

static bool never(lua_State *L)
{
    (void)L;
    return false;
}

static bool never_large(lua_State *L, size_t bytes)
{
    (void)L;
    (void)bytes;
    return false;
}

static void hold(lua_State *L, ptrdiff_t bytes)
{
    (void)L;
    (void)bytes;
}

/* `ours` holds the functions under test, `string` Lua's. */
static lua_State *new_state(void)
{
    static const struct string_match_limits limits = {count_tick, never, NULL, never_large, hold, NULL};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_newtable(L);
    string_match_open(L, &limits);
    lua_setglobal(L, "ours");
    ticks = 0;
    return L;
}

static void run_lua(lua_State *L, const char *text)
{
    if (luaL_dostring(L, text) == LUA_OK)
        return;
    print_error("%s\n", lua_tostring(L, -1));
    fail();
}

/* Short subjects, so that Lua's own functions come to an end. */
static const char compare[] =
    "local parts = { 'a', 'b', '.', '%a', '%A', '%d', '%s', '%w', '%W', '%p', '%.', '%%', '[ab]', '[^a]',\n"
    "  '[a-c]', '[%a_]', '[]]', '[^]a]', '[a-]', '[%d-z]', '(', ')', '()', '%1', '%2', '%b()', '%bab', "
    "'%f[%a]', '%f[^b]',\n"
    "  '*', '+', '-', '?', '$', '^', '%', '[', ']', '\\0', 'x', '(a)', '(.-)', '(%a+)', '%f', '%b', '%9', "
    "'%0' }\n"
    "local letters = { 'a', 'b', 'c', 'x', '(', ')', ' ', '1', '.', '%', '\\0', ']', '-', '_', '\\255' }\n"
    "local replacements = { '', 'r', '%0', '%1', '%2', '<%0%1>', '%%', '%', '%x', 7 }\n"
    "local function text(from, most)\n"
    "  local out = {}\n"
    "  for i = 1, math.random(0, most) do out[i] = from[math.random(#from)] end\n"
    "  return table.concat(out)\n"
    "end\n"
    "local function show(...)\n"
    "  local out = { n = select('#', ...), ... }\n"
    "  for i = 1, out.n do out[i] = (math.type(out[i]) or type(out[i])) .. string.format('%q', "
    "tostring(out[i])) end\n"
    "  return table.concat(out, ' ')\n"
    "end\n"
    "local function all(f, ...)\n"
    "  local out = {}\n"
    "  for a, b, c in f(...) do out[#out + 1] = show(a, b, c) end\n"
    "  return table.concat(out, '|')\n"
    "end\n"
    "local function same(what, subject, pattern, ...)\n"
    "  local function call(library, ...)\n"
    "    if what == 'gmatch' then return show(pcall(all, library.gmatch, ...)) end\n"
    "    return show(pcall(library[what], ...))\n"
    "  end\n"
    "  local mine, theirs = call(ours, subject, pattern, ...), call(string, subject, pattern, ...)\n"
    "  if mine ~= theirs then\n"
    "    error(string.format('%s(%q, %q, %s):\\n ours %s\\n Lua  %s', what, subject, pattern, show(...), "
    "mine, theirs))\n"
    "  end\n"
    "end\n"
    "math.randomseed(SEED)\n"
    "for _ = 1, ROUNDS do\n"
    "  local subject, pattern, start = text(letters, 12), text(parts, 6), math.random(-14, 14)\n"
    "  same('find', subject, pattern)\n"
    "  same('find', subject, pattern, start)\n"
    "  same('find', subject, pattern, start, true)\n"
    "  same('match', subject, pattern, start)\n"
    "  same('gmatch', subject, pattern, start)\n"
    "  same('gsub', subject, pattern, replacements[math.random(#replacements)])\n"
    "  same('gsub', subject, pattern, 'r', math.random(-1, 3))\n"
    "  same('gsub', subject, pattern, { a = 'A', b = false, ab = 12, c = {} })\n"
    "  same('gsub', subject, pattern, function(a, b) return b or a ~= 'b' and a end)\n"
    "end\n";

static void random_patterns_agree(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 3; seed++) {
        lua_State *L = new_state();
        lua_pushinteger(L, seed);
        lua_setglobal(L, "SEED");
        lua_pushinteger(L, ROUNDS);
        lua_setglobal(L, "ROUNDS");
        run_lua(L, compare);
        lua_close(L);
    }
}

static void limits_agree(void **state)
{
    (void)state;
    lua_State *L = new_state();
    run_lua(
        L,
        "local function call(f, ...)\n"
        "  local out = { pcall(f, ...) }\n"
        "  if not out[1] then out[2] = out[2]:gsub(\"to '.-'\", 'to it') end -- where Lua knows the "
        "function's name\n"
        "  return table.concat(out, ' ', 2)\n"
        "end\n"
        "local function same(what, ...)\n"
        "  local a, b = call(ours[what], ...), call(string[what], ...)\n"
        "  assert(a == b, what .. ': ' .. a .. ' / ' .. b)\n"
        "end\n"
        "same('find', 'a', ('('):rep(33) .. (')'):rep(33))\n"
        "same('find', 'a', ('()'):rep(32))\n"
        "same('find', 'a', ('()'):rep(33))\n"
        "for n = 195, 205 do same('find', ('a'):rep(300), ('a?'):rep(n)) end\n"
        "for n = 195, 205 do same('find', ('a'):rep(300), ('a*'):rep(n)) end\n"
        "same('find', nil, 'a') same('find', 'a', nil) same('gsub', 'a', 'a') same('gsub', 'a', 'a', true)\n"
        "same('gsub', 'a', 'a', {}, {}) same('gmatch', 'a') same('match', {}, 'a') same('match', 12, '%d')\n"
        "same('find', 'abc', 'b', math.mininteger) same('find', 'abc', 'b', math.maxinteger)\n"
        "same('find', 'abc', '', 4) same('find', 'abc', '', 5) same('match', 'abc', '()', 4)\n"
        "same('find', 'a\\0b', 'b', 1, true) same('gsub', 'abc', '', '-') same('gsub', 'abc', '^a', 'x')\n");
    assert_int_equal(ticks, 0);
    lua_close(L);
}

static void backtracking_is_stopped(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "ours.find(('a'):rep(5000), ('.-'):rep(20) .. 'x')",
        "ours.match(('a'):rep(5000), ('a*'):rep(20) .. 'x')",
        "ours.gsub(('a'):rep(5000), ('a?'):rep(190) .. 'x', '')",
        "ours.find(('a'):rep(1000000), ('[' .. ('b'):rep(100000) .. ']'))",
        "ours.find(('('):rep(1000000), '%b()')",
        "for _ in ours.gmatch(('a'):rep(5000), '(.-)(.-)(.-)(.-)(.-)x') do end",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        lua_State *L = new_state();
        assert_int_not_equal(luaL_dostring(L, calls[i]), LUA_OK);
        assert_non_null(strstr(lua_tostring(L, -1), "stopped"));
        lua_close(L);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_patterns_agree),
        cmocka_unit_test(limits_agree),
        cmocka_unit_test(backtracking_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
