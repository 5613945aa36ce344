/* types.h: the Lua types that DynamoDB needs beside Lua's own. Private to value/. */
#ifndef TIDEMILL_VALUE_TYPES_H
#define TIDEMILL_VALUE_TYPES_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "value/lua_value.h"

struct binary {
    size_t size;
    char bytes[];
};

struct decimal_text {
    size_t size;
    char text[];
};

/* JSON text that is written as it stands. */
struct fragment {
    size_t size;
    char text[];
};

enum value_mark { MARK_NONE, MARK_LIST, MARK_SET };

void types_open(lua_State *L, value_watch_fn *watch);
value_watch_fn *types_watch(lua_State *L); /* or NULL */

/* Push one with room for so many bytes, and a zero behind them; its size may be set to fewer. */
struct binary *types_new_binary(lua_State *L, size_t size);

const struct binary *types_binary(lua_State *L, int index); /* NULL: it is something else */
const struct decimal_text *types_decimal(lua_State *L, int index);
const struct fragment *types_fragment(lua_State *L, int index);
bool types_is_null(lua_State *L, int index);
enum value_mark types_mark(lua_State *L, int index); /* of a table */

#endif
