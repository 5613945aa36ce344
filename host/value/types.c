/* types.c: metatables of decimal, binary, list, set and null. They are kept in the registry under the
 * address of their key, which costs one lookup by pointer. */
#include "value/types.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "value/decimal.h"

static const char binary_key, decimal_key, fragment_key, list_key, set_key, null_key, null_meta_key,
    watch_key;

#define UNWATCHED_BYTES ((size_t)4 << 20) /* compared between two looks of the watch */
#define ELEMENT_BYTES 64                  /* as much as so many bytes, however short it is */

/* Is the metatable of the value at `index` the one kept under `key`? */
static bool has_meta(lua_State *L, int index, const void *key)
{
    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

const struct binary *types_binary(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA && has_meta(L, index, &binary_key) ? lua_touserdata(L, index)
                                                                                  : NULL;
}

const struct decimal_text *types_decimal(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA && has_meta(L, index, &decimal_key) ? lua_touserdata(L, index)
                                                                                   : NULL;
}

const struct fragment *types_fragment(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA && has_meta(L, index, &fragment_key) ? lua_touserdata(L, index)
                                                                                    : NULL;
}

bool types_is_null(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TUSERDATA && has_meta(L, index, &null_meta_key);
}

enum value_mark types_mark(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return MARK_NONE;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &set_key);
    enum value_mark mark = lua_rawequal(L, -3, -2)   ? MARK_LIST
                           : lua_rawequal(L, -3, -1) ? MARK_SET
                                                     : MARK_NONE;
    lua_pop(L, 3);
    return mark;
}

void value_push_null(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
}

struct binary *types_new_binary(lua_State *L, size_t size)
{
    struct binary *binary = lua_newuserdatauv(L, sizeof *binary + size + 1, 0);
    memset(binary, 0, sizeof *binary + size + 1);
    binary->size = size;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &binary_key);
    lua_setmetatable(L, -2);
    return binary;
}

void value_push_binary(lua_State *L, const void *bytes, size_t size)
{
    struct binary *binary = types_new_binary(L, size);
    if (size)
        memcpy(binary->bytes, bytes, size);
}

void value_push_fragment(lua_State *L, const char *json, size_t size)
{
    struct fragment *fragment = lua_newuserdatauv(L, sizeof *fragment + size, 0);
    fragment->size = size;
    memcpy(fragment->text, json, size);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &fragment_key);
    lua_setmetatable(L, -2);
}

static void push_decimal(lua_State *L, const char *text, size_t size)
{
    struct decimal_text *decimal = lua_newuserdatauv(L, sizeof *decimal + size + 1, 0);
    decimal->size = size;
    memcpy(decimal->text, text, size);
    decimal->text[size] = '\0';
    lua_rawgetp(L, LUA_REGISTRYINDEX, &decimal_key);
    lua_setmetatable(L, -2);
}

/* A fraction of at most 15 digits, such as 12.95. Its digits and the power of ten are both exact as doubles,
 * so one division rounds correctly, and 15 digits always survive the way through a double. */
static bool push_short_fraction(lua_State *L, const char *text, size_t size)
{
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t at = text[0] == '-', behind = 0;
    int64_t digits = 0;
    bool point = false;
    if (size - at < 3 || size - at > 16)
        return false;
    for (; at < size; at++) {
        if (text[at] == '.' && !point)
            point = true;
        else if (text[at] >= '0' && text[at] <= '9')
            digits = digits * 10 + (text[at] - '0'), behind += point;
        else
            return false;
    }
    if (!behind || digits % 10 == 0) /* 1.0 is an integer */
        return false;
    double number = (double)digits / powers[behind];
    lua_pushnumber(L, text[0] == '-' ? -number : number);
    return true;
}

/* What the fast paths of value_push_number leave: long fractions, exponents, more than 18 digits. */
static void push_unusual_number(lua_State *L, const char *text, size_t size)
{
    char copy[DECIMAL_DIGITS_MAX * 4], shortest[32];
    struct decimal exact, rounded;
    if (size >= sizeof copy || !decimal_read(text, size, &exact)) {
        push_decimal(L, text, size);
        return;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (exact.exponent >= 0 && exact.exponent <= 18) {
        /* Perhaps an integer of 19 digits, or one written with an exponent. */
        char digits[DECIMAL_DIGITS_MAX + 24];
        int count = 0;
        if (exact.negative)
            digits[count++] = '-';
        memcpy(digits + count, exact.digits, (size_t)exact.digit_count);
        count += exact.digit_count;
        for (long i = 0; i < exact.exponent; i++)
            digits[count++] = '0';
        digits[count] = '\0';
        long long integer = strtoll(digits, NULL, 10);
        snprintf(shortest, sizeof shortest, "%lld", integer);
        if (exact.digit_count && strcmp(shortest, digits) == 0) {
            lua_pushinteger(L, integer);
            return;
        }
    }
    double number = strtod(copy, NULL);
    if (isfinite(number)) {
        double_shortest(number, shortest);
        if (decimal_read(shortest, strlen(shortest), &rounded) && decimal_compare(&exact, &rounded) == 0) {
            lua_pushnumber(L, number);
            return;
        }
    }
    push_decimal(L, text, size);
}

void value_push_number(lua_State *L, const char *text, size_t size)
{
    size_t at = size && text[0] == '-';
    lua_Integer integer = 0;
    if (size - at >= 1 && size - at <= 18) {
        while (at < size && text[at] >= '0' && text[at] <= '9')
            integer = integer * 10 + (text[at++] - '0');
        if (at == size) {
            lua_pushinteger(L, text[0] == '-' ? -integer : integer);
            return;
        }
    }
    if (!push_short_fraction(L, text, size))
        push_unusual_number(L, text, size);
}

void value_mark_list(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
    lua_setmetatable(L, -2);
}

void value_mark_set(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &set_key);
    lua_setmetatable(L, -2);
}

/* ---- methods ---- */

static int binary_tostring(lua_State *L)
{
    const struct binary *binary = types_binary(L, 1);
    luaL_argcheck(L, binary, 1, "binary expected");
    lua_pushlstring(L, binary->bytes, binary->size);
    return 1;
}

static int binary_len(lua_State *L)
{
    const struct binary *binary = types_binary(L, 1);
    luaL_argcheck(L, binary, 1, "binary expected");
    lua_pushinteger(L, (lua_Integer)binary->size);
    return 1;
}

static int binary_eq(lua_State *L)
{
    const struct binary *a = types_binary(L, 1), *b = types_binary(L, 2);
    lua_pushboolean(L, a && b && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0);
    return 1;
}

static int decimal_tostring(lua_State *L)
{
    const struct decimal_text *decimal = types_decimal(L, 1);
    luaL_argcheck(L, decimal, 1, "decimal expected");
    lua_pushlstring(L, decimal->text, decimal->size);
    return 1;
}

/* A decimal, or a Lua number, at `index`. Infinities and NaN compare as if out of every decimal's range. */
static void check_number(lua_State *L, int index, struct decimal *number)
{
    const struct decimal_text *text = types_decimal(L, index);
    char shortest[32];
    bool ok;
    if (text) {
        ok = decimal_read(text->text, text->size, number);
    } else if (lua_isinteger(L, index)) {
        snprintf(shortest, sizeof shortest, "%lld", (long long)lua_tointeger(L, index));
        ok = decimal_read(shortest, strlen(shortest), number);
    } else {
        double value = luaL_checknumber(L, index);
        luaL_argcheck(L, isfinite(value), index, "a finite number expected beside a decimal");
        double_shortest(value, shortest);
        ok = decimal_read(shortest, strlen(shortest), number);
    }
    if (!ok)
        luaL_argerror(L, index, "not a number");
}

static int compare(lua_State *L)
{
    struct decimal a, b;
    check_number(L, 1, &a);
    check_number(L, 2, &b);
    return decimal_compare(&a, &b);
}

static int decimal_eq(lua_State *L)
{
    bool both = types_decimal(L, 1) && types_decimal(L, 2);
    lua_pushboolean(L, both && compare(L) == 0);
    return 1;
}

static int decimal_lt(lua_State *L)
{
    lua_pushboolean(L, compare(L) < 0);
    return 1;
}

static int decimal_le(lua_State *L)
{
    lua_pushboolean(L, compare(L) <= 0);
    return 1;
}

/* ---- exact arithmetic, as far as DynamoDB's numbers go ---- */

static void check_operand(lua_State *L, int index, struct decimal *number)
{
    if (types_decimal(L, index) || lua_type(L, index) == LUA_TNUMBER) /* no texts, though Lua takes them */
        check_number(L, index, number);
    else
        luaL_error(L, "arithmetic on a decimal and a %s", luaL_typename(L, index));
    if (decimal_check(number) != DECIMAL_OK)
        luaL_error(L, "a number of more than 38 digits, or out of DynamoDB's range");
}

static int push_result(lua_State *L, enum decimal_fault fault, const struct decimal *result)
{
    char text[DECIMAL_TEXT_SIZE];
    if (fault == DECIMAL_TOO_PRECISE)
        return luaL_error(L, "the exact result has more than 38 digits, which DynamoDB cannot hold");
    if (fault != DECIMAL_OK)
        return luaL_error(L, "the result is out of the range of DynamoDB's numbers");
    push_decimal(L, text, decimal_write(result, text));
    return 1;
}

static int decimal_plus(lua_State *L)
{
    struct decimal a, b, result;
    check_operand(L, 1, &a);
    check_operand(L, 2, &b);
    return push_result(L, decimal_add(&a, &b, &result), &result);
}

static int decimal_minus(lua_State *L)
{
    struct decimal a, b = {0}, result;
    check_operand(L, 1, &a);
    check_operand(L, 2, &b);
    b.negative = b.digit_count && !b.negative;
    return push_result(L, decimal_add(&a, &b, &result), &result);
}

static int decimal_times(lua_State *L)
{
    struct decimal a, b, result;
    check_operand(L, 1, &a);
    check_operand(L, 2, &b);
    return push_result(L, decimal_multiply(&a, &b, &result), &result);
}

static int decimal_unary_minus(lua_State *L)
{
    struct decimal a = {0};
    check_operand(L, 1, &a);
    a.negative = a.digit_count && !a.negative;
    return push_result(L, DECIMAL_OK, &a);
}

static int decimal_inexact(lua_State *L)
{
    return luaL_error(
        L, "decimals are added, subtracted, multiplied and compared exactly; a quotient or a power has no "
           "exact value in general: tonumber(tostring(d)) where a float will do");
}

/* A number as Lua has it, a decimal, or a text: as a decimal. */
void value_push_as_decimal(lua_State *L, int index)
{
    size_t size;
    struct decimal number;
    char text[DECIMAL_TEXT_SIZE];
    const char *written = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &size) : NULL;
    if (written ? !decimal_read(written, size, &number)
                : !types_decimal(L, index) && lua_type(L, index) != LUA_TNUMBER)
        luaL_argerror(L, index, "a number expected, or its digits as a text");
    if (!written)
        check_number(L, index, &number);
    if (decimal_check(&number) != DECIMAL_OK)
        luaL_argerror(L, index, "it has more than 38 digits, or is out of the range of DynamoDB's numbers");
    push_decimal(L, text, decimal_write(&number, text));
}

value_watch_fn *types_watch(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &watch_key);
    value_watch_fn *watch = *(value_watch_fn **)lua_touserdata(L, -1);
    lua_pop(L, 1);
    return watch;
}

/* set:contains(value) */
static int set_contains(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    value_watch_fn *watch = types_watch(L);
    size_t compared = 0, of_each = ELEMENT_BYTES;
    if (lua_type(L, 2) == LUA_TSTRING || lua_type(L, 2) == LUA_TUSERDATA)
        of_each += lua_rawlen(L, 2);
    bool found = false;
    for (lua_Integer i = 1; i <= count && !found; i++) {
        if ((compared += of_each) > UNWATCHED_BYTES && watch) {
            watch(L, 0);
            compared = 0;
        }
        lua_rawgeti(L, 1, i);
        found = lua_compare(L, -1, 2, LUA_OPEQ);
        lua_pop(L, 1);
    }
    lua_pushboolean(L, found);
    return 1;
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

static void make(lua_State *L, const void *key, const char *name, const luaL_Reg *methods)
{
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushstring(L, name); /* what getmetatable shows: the tables are shared by all of the state */
    lua_setfield(L, -2, "__metatable");
    luaL_setfuncs(L, methods, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void types_open(lua_State *L, value_watch_fn *watch)
{
    value_watch_fn **kept = lua_newuserdatauv(L, sizeof *kept, 0);
    *kept = watch;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &watch_key);
    static const luaL_Reg binary[] = {
        {"__tostring", binary_tostring}, {"__len", binary_len}, {"__eq", binary_eq}, {NULL, NULL}};
    static const luaL_Reg decimal[] = {{"__tostring", decimal_tostring},
                                       {"__eq", decimal_eq},
                                       {"__lt", decimal_lt},
                                       {"__le", decimal_le},
                                       {"__add", decimal_plus},
                                       {"__sub", decimal_minus},
                                       {"__mul", decimal_times},
                                       {"__div", decimal_inexact},
                                       {"__mod", decimal_inexact},
                                       {"__pow", decimal_inexact},
                                       {"__unm", decimal_unary_minus},
                                       {"__idiv", decimal_inexact},
                                       {NULL, NULL}};
    static const luaL_Reg null[] = {{"__tostring", null_tostring}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};
    make(L, &binary_key, "binary", binary);
    make(L, &decimal_key, "decimal", decimal);
    make(L, &fragment_key, "fragment", none);
    make(L, &list_key, "list", none);
    make(L, &set_key, "set", none);
    make(L, &null_meta_key, "null", null);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &set_key);
    lua_newtable(L);
    lua_pushcfunction(L, set_contains);
    lua_setfield(L, -2, "contains");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newuserdatauv(L, 1, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &null_meta_key);
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
}
