/* lua_value.h: DynamoDB attribute values and plain JSON, to Lua and back.
 *
 * Nothing is lost on the way: what was read can be written back unchanged. N is a Lua integer or float when
 * that is exactly the same number, else a decimal; B a binary; L a table marked as a list (so that an empty
 * one stays a list); M a plain table; sets are tables marked as sets; NULL is the one value `null`. */
#ifndef TIDEMILL_VALUE_LUA_VALUE_H
#define TIDEMILL_VALUE_LUA_VALUE_H

#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

/* Told while a text is written that it will have `bytes` by the next time. May raise: what is written stands
 * in a buf that Lua frees. Of a table that holds itself the text has no end. */
typedef void value_watch_fn(lua_State *L, size_t bytes);

/* Once per Lua state, before anything else here. `watch` may be NULL. */
void value_open(lua_State *L, value_watch_fn *watch);

/* Push the value of {"S": "text"} and so on; false (nothing pushed) where it is none. */
bool value_push(lua_State *L, const struct json *attribute, struct err *err);

/* Push an item: {"name": {"S": ...}, ...} as a table. */
bool value_push_item(lua_State *L, const struct json *item, struct err *err);

/* Append {"S": "text"} ... for the value at `index`; `err` names the path to what cannot be written. */
bool value_write(lua_State *L, int index, struct buf *out, struct err *err);

/* Append {"name": {...}, ...} for the table at `index`, whose keys must be strings. */
bool value_write_item(lua_State *L, int index, struct buf *out, struct err *err);

/* Plain JSON: arrays are lists, numbers as N above, null is `null`. */
void value_push_json(lua_State *L, const struct json *json);
bool value_write_json(lua_State *L, int index, struct buf *out, struct err *err);

/* Append the value at `index` as PostgreSQL reads the text of a parameter: a text as it stands, a number with
 * all its digits, "true", "\\x" and hex digits of a binary, the JSON of a table. VALUE_NULL: nil, or null,
 * and nothing is written. VALUE_REFUSED and `err`: bytes that are no text, or what no JSON can hold.
 * https://www.postgresql.org/docs/15/datatype-binary.html */
enum value_text { VALUE_TEXT, VALUE_NULL, VALUE_REFUSED };
enum value_text value_write_sql(lua_State *L, int index, struct buf *out, struct err *err);

void value_push_null(lua_State *L);
void value_push_binary(lua_State *L, const void *bytes, size_t size);
void value_push_number(lua_State *L, const char *text, size_t size); /* integer, float or decimal */
/* The number at `index`, or its digits as a text: a decimal in any case. Raises where it is none. */
void value_push_as_decimal(lua_State *L, int index);
/* A value that value_write_json writes as this very text: typed values inside a plain request. */
void value_push_fragment(lua_State *L, const char *json, size_t size);

void value_mark_list(lua_State *L); /* the table on top */
void value_mark_set(lua_State *L);

#endif
