/* lua_value.c: reading and writing values. Depth is bounded by json_parse on the way in and by
 * DEPTH_MAX on the way out, so recursion is too. */
#include "value/lua_value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "value/decimal.h"
#include "value/lazy_item.h"
#include "value/types.h"

#define WHOLE_MAX 9.2e18 /* below 2^63: of whole numbers that integers of SQL hold */
#define DEPTH_MAX 40     /* DynamoDB allows 32 */

#define PIECE_BYTES 16384u    /* of a long string that is written at once */
#define UNWATCHED_VALUES 4096 /* written between two looks of the watch */

void value_open(lua_State *L, value_watch_fn *watch)
{
    types_open(L, watch);
}

/* ---- reading ---- */

static bool push_binary(lua_State *L, const struct json *value, struct err *err)
{
    if (value->type != JSON_STRING)
        return err_set(err, ERR_PARSE, "B holds no base64");
    struct binary *binary = types_new_binary(L, BASE64_DECODED_MAX(value->size));
    if (base64_decode(value->text, value->size, binary->bytes, &binary->size))
        return true;
    lua_pop(L, 1);
    return err_set(err, ERR_PARSE, "B holds no base64");
}

static bool push_list(lua_State *L, const struct json *list, struct err *err)
{
    int index = 0;
    if (list->type != JSON_ARRAY)
        return err_set(err, ERR_PARSE, "L holds no array");
    luaL_checkstack(L, 4, "values nested too deeply");
    lua_createtable(L, (int)list->count, 0);
    value_mark_list(L);
    json_each(item, list) {
        if (!value_push(L, item, err)) {
            lua_pop(L, 1);
            return false;
        }
        lua_rawseti(L, -2, ++index);
    }
    return true;
}

static bool push_set(lua_State *L, const struct json *set, char kind, struct err *err)
{
    int index = 0;
    if (set->type != JSON_ARRAY)
        return err_set(err, ERR_PARSE, "%cS holds no array", kind);
    luaL_checkstack(L, 4, "values nested too deeply");
    lua_createtable(L, (int)set->count, 0);
    value_mark_set(L);
    json_each(item, set) {
        bool ok = item->type == JSON_STRING;
        if (ok && kind == 'S')
            lua_pushlstring(L, item->text, item->size);
        else if (ok && kind == 'N')
            value_push_number(L, item->text, item->size);
        else
            ok = ok && push_binary(L, item, err);
        if (!ok) {
            lua_pop(L, 1);
            return err_set(err, ERR_PARSE, "%cS holds something else than strings", kind);
        }
        lua_rawseti(L, -2, ++index);
    }
    return true;
}

bool value_push_item(lua_State *L, const struct json *item, struct err *err)
{
    if (!item || item->type != JSON_OBJECT)
        return err_set(err, ERR_PARSE, "not an item");
    luaL_checkstack(L, 4, "values nested too deeply");
    lua_createtable(L, 0, (int)item->count);
    json_each(attribute, item) {
        lua_pushlstring(L, attribute->key, attribute->key_size);
        if (!value_push(L, attribute, err)) {
            lua_pop(L, 2);
            return false;
        }
        lua_rawset(L, -3);
    }
    return true;
}

static bool push_of_type(lua_State *L, const struct json *value, char type, struct err *err)
{
    bool string = value->type == JSON_STRING;
    switch (type) {
    case 'S':
        if (!string)
            break;
        lua_pushlstring(L, value->text, value->size);
        return true;
    case 'N':
        if (!string)
            break;
        value_push_number(L, value->text, value->size);
        return true;
    case 'B':
        return push_binary(L, value, err);
    case 'M':
        return value_push_item(L, value, err);
    case 'L':
        return push_list(L, value, err);
    default:
        break;
    }
    return err_set(err, ERR_PARSE, "%c holds no string", type);
}

bool value_push(lua_State *L, const struct json *attribute, struct err *err)
{
    const struct json *value = attribute->type == JSON_OBJECT ? json_children(attribute) : NULL;
    if (!value && attribute->type == JSON_OBJECT) {
        lua_newtable(L); /* how DynamoDB Local's streams show an empty map */
        return true;
    }
    if (!value || value->next)
        return err_set(err, ERR_PARSE, "an attribute value has exactly one type");
    char kind = value->key_size ? value->key[0] : '\0';
    if (value->key_size == 1 && (kind == 'S' || kind == 'N' || kind == 'B' || kind == 'M' || kind == 'L'))
        return push_of_type(L, value, kind, err);
    if (value->key_size == 2 && value->key[1] == 'S' && (kind == 'S' || kind == 'N' || kind == 'B'))
        return push_set(L, value, kind, err);
    if (json_key_is(value, "BOOL")) {
        lua_pushboolean(L, value->type == JSON_TRUE);
        return true;
    }
    if (json_key_is(value, "NULL")) {
        value_push_null(L);
        return true;
    }
    return err_set(err, ERR_PARSE, "%.*s is not an attribute type", (int)value->key_size, value->key);
}

void value_push_json(lua_State *L, const struct json *json)
{
    int index = 0;
    luaL_checkstack(L, 4, "values nested too deeply");
    switch (json->type) {
    case JSON_NULL:
        value_push_null(L);
        return;
    case JSON_FALSE:
    case JSON_TRUE:
        lua_pushboolean(L, json->type == JSON_TRUE);
        return;
    case JSON_NUMBER:
        value_push_number(L, json->text, json->size);
        return;
    case JSON_STRING:
        lua_pushlstring(L, json->text, json->size);
        return;
    case JSON_ARRAY:
        lua_createtable(L, (int)json->count, 0);
        value_mark_list(L);
        json_each(item, json) {
            value_push_json(L, item);
            lua_rawseti(L, -2, ++index);
        }
        return;
    default:
        lua_createtable(L, 0, (int)json->count);
        json_each(member, json) {
            lua_pushlstring(L, member->key, member->key_size);
            value_push_json(L, member);
            lua_rawset(L, -3);
        }
    }
}

/* ---- writing ---- */

/* Where in the value the writer stands, for errors: linked through the C stack. */
struct place {
    const struct place *up;
    const char *key; /* NULL: an index, or the root */
    lua_Integer index;
    int depth;
};

struct writer {
    lua_State *L;
    struct buf *out;
    struct err *err;
    bool typed; /* {"S": ...} and so on, else plain JSON */
    value_watch_fn *watch;
    size_t agreed; /* so many bytes the watch has agreed to */
    size_t values; /* since then */
};

/* So many values and bytes come next. Raises where the watch does. */
static void look(struct writer *w, size_t values, size_t bytes)
{
    w->values += values;
    if (w->out->size + bytes <= w->agreed && w->values < UNWATCHED_VALUES)
        return;
    w->values = 0;
    w->agreed = w->out->size + bytes + (w->out->size + bytes) / 8 + PIECE_BYTES;
    if (w->watch)
        w->watch(w->L, w->agreed);
}

static void write_string(struct writer *w, const char *text, size_t size)
{
    buf_add_char(w->out, '"');
    for (const char *end = text + size; text < end;) {
        size_t piece = (size_t)(end - text) < PIECE_BYTES ? (size_t)(end - text) : PIECE_BYTES;
        look(w, 0, piece);
        json_write_text(w->out, text, piece);
        text += piece;
    }
    buf_add_char(w->out, '"');
}

static void add_place(struct buf *out, const struct place *place)
{
    if (!place->up)
        return;
    add_place(out, place->up);
    if (place->key)
        buf_printf(out, ".%s", place->key);
    else
        buf_printf(out, "[%lld]", (long long)place->index);
}

static bool refuse(struct writer *w, const struct place *place, const char *what)
{
    struct buf path = BUF_INIT;
    add_place(&path, place);
    err_set(w->err, ERR_SCRIPT, "%s%s%s", path.size ? path.data + (path.data[0] == '.') : "",
            path.size ? ": " : "", what);
    buf_fini(&path);
    return false;
}

static bool write_value(struct writer *w, int index, const struct place *place);

/* Neither JSON nor DynamoDB has any other text. */
static bool check_text(struct writer *w, const char *text, size_t size, const struct place *place)
{
    char what[120];
    size_t valid = utf8_valid_size(text, size);
    if (valid == size)
        return true;
    snprintf(what, sizeof what,
             "no UTF-8 text from byte %zu on (cut within a character?); bytes go into dynamodb.binary",
             valid + 1);
    return refuse(w, place, what);
}

static bool write_text(struct writer *w, const char *text, size_t size, const struct place *place)
{
    if (!check_text(w, text, size, place))
        return false;
    if (w->typed)
        buf_add_literal(w->out, "{\"S\":");
    write_string(w, text, size);
    if (w->typed)
        buf_add_char(w->out, '}');
    return true;
}

static void write_base64(struct writer *w, const struct binary *binary)
{
    look(w, 0, binary->size / 3 * 4 + 6);
    buf_add_char(w->out, '"');
    base64_write(w->out, binary->bytes, binary->size);
    buf_add_char(w->out, '"');
}

/* The number at `index` as DynamoDB writes it; NULL where it is none that could be written. */
static const char *number_text(lua_State *L, int index, char *text, size_t size)
{
    const struct decimal_text *decimal = types_decimal(L, index);
    if (decimal)
        return decimal->text;
    if (lua_type(L, index) != LUA_TNUMBER)
        return NULL;
    if (lua_isinteger(L, index))
        snprintf(text, size, "%lld", (long long)lua_tointeger(L, index));
    else if (isfinite(lua_tonumber(L, index)))
        double_shortest(lua_tonumber(L, index), text);
    else
        return NULL;
    return text;
}

static bool write_number(struct writer *w, int index, const struct place *place)
{
    char room[48];
    const char *text = number_text(w->L, index, room, sizeof room);
    if (!text)
        return refuse(w, place, "not a finite number");
    buf_printf(w->out, w->typed ? "{\"N\":\"%s\"}" : "%s", text);
    return true;
}

static bool write_userdata(struct writer *w, int index, const struct place *place)
{
    const struct binary *binary = types_binary(w->L, index);
    if (types_is_null(w->L, index)) {
        buf_add_text(w->out, w->typed ? "{\"NULL\":true}" : "null");
        return true;
    }
    if (types_decimal(w->L, index))
        return write_number(w, index, place);
    const struct fragment *fragment = w->typed ? NULL : types_fragment(w->L, index);
    if (fragment) {
        look(w, 0, fragment->size);
        buf_add(w->out, fragment->text, fragment->size);
        return true;
    }
    if (!binary)
        return refuse(w, place, "a value of this kind cannot be written");
    if (!w->typed)
        return refuse(w, place, "JSON has no binary; use tostring, or encode it");
    buf_add_literal(w->out, "{\"B\":");
    write_base64(w, binary);
    buf_add_char(w->out, '}');
    return true;
}

/* 'S', 'N' or 'B' for an element of a set, 0 for what cannot be in one. */
static char element_kind(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TSTRING)
        return 'S';
    if (lua_type(L, index) == LUA_TNUMBER || types_decimal(L, index))
        return 'N';
    return types_binary(L, index) ? 'B' : 0;
}

static bool write_element(struct writer *w, int index, char kind, const struct place *place)
{
    char room[48];
    size_t size;
    if (element_kind(w->L, index) != kind)
        return refuse(w, place, "the elements of a set are all strings, all numbers or all binaries");
    if (kind == 'B') {
        write_base64(w, types_binary(w->L, index));
    } else if (kind == 'S') {
        const char *text = lua_tolstring(w->L, index, &size);
        if (!check_text(w, text, size, place))
            return false;
        write_string(w, text, size);
    } else {
        const char *text = number_text(w->L, index, room, sizeof room);
        if (!text)
            return refuse(w, place, "not a finite number");
        buf_printf(w->out, "\"%s\"", text);
    }
    return true;
}

static bool write_set(struct writer *w, int index, const struct place *place)
{
    lua_Integer count = (lua_Integer)lua_rawlen(w->L, index);
    if (count == 0)
        return refuse(w, place, "a set cannot be empty");
    lua_rawgeti(w->L, index, 1);
    char kind = element_kind(w->L, -1);
    lua_pop(w->L, 1);
    buf_printf(w->out, "{\"%cS\":[", kind ? kind : 'S');
    for (lua_Integer i = 1; i <= count; i++) {
        struct place at = {place, NULL, i, place->depth + 1};
        if (i > 1)
            buf_add_char(w->out, ',');
        lua_rawgeti(w->L, index, i);
        look(w, 1, 0);
        if (!write_element(w, lua_gettop(w->L), kind, &at))
            return false;
        lua_pop(w->L, 1);
    }
    buf_add_literal(w->out, "]}");
    return true;
}

static bool write_list(struct writer *w, int index, const struct place *place)
{
    lua_Integer count = (lua_Integer)lua_rawlen(w->L, index);
    buf_add_text(w->out, w->typed ? "{\"L\":[" : "[");
    for (lua_Integer i = 1; i <= count; i++) {
        struct place at = {place, NULL, i, place->depth + 1};
        if (i > 1)
            buf_add_char(w->out, ',');
        lua_rawgeti(w->L, index, i);
        if (!write_value(w, lua_gettop(w->L), &at))
            return false;
        lua_pop(w->L, 1);
    }
    buf_add_text(w->out, w->typed ? "]}" : "]");
    return true;
}

/* {"key": value, ...}; keys must be strings (numbers would come back as strings). */
static bool write_members(struct writer *w, int index, const struct place *place)
{
    bool first = true;
    buf_add_char(w->out, '{');
    lua_pushnil(w->L);
    while (lua_next(w->L, index)) {
        if (lua_type(w->L, -2) != LUA_TSTRING)
            return refuse(w, place, "a table is either a list (1, 2, 3 ...) or a map with string keys");
        size_t size;
        const char *key = lua_tolstring(w->L, -2, &size);
        struct place at = {place, key, 0, place->depth + 1};
        if (!first)
            buf_add_char(w->out, ',');
        first = false;
        if (!check_text(w, key, size, &at))
            return false;
        write_string(w, key, size);
        buf_add_char(w->out, ':');
        if (!write_value(w, lua_gettop(w->L), &at))
            return false;
        lua_pop(w->L, 1);
    }
    buf_add_char(w->out, '}');
    return true;
}

static size_t count_keys(struct writer *w, int index)
{
    size_t keys = 0;
    lua_pushnil(w->L);
    while (lua_next(w->L, index)) {
        lua_pop(w->L, 1);
        keys++;
    }
    look(w, keys, 0);
    return keys;
}

static bool looks_like_list(struct writer *w, int index)
{
    size_t count = lua_rawlen(w->L, index);
    return count && count_keys(w, index) == count;
}

/* What is marked as a list or a set, and has more than its elements, would lose that without a word. */
static bool check_elements(struct writer *w, int index, const struct place *place)
{
    size_t count = lua_rawlen(w->L, index);
    if (count_keys(w, index) == count)
        return true;
    return refuse(w, place, "a list (or set) with further keys, or with holes: they would be lost");
}

static bool write_table(struct writer *w, int index, const struct place *place)
{
    lazy_force(w->L, index);
    enum value_mark mark = types_mark(w->L, index);
    if (place->depth > DEPTH_MAX)
        return refuse(w, place, "nested too deeply (or a table that holds itself)");
    luaL_checkstack(w->L, 6, "values nested too deeply");
    if (mark != MARK_NONE && !check_elements(w, index, place))
        return false;
    if (mark == MARK_SET && w->typed)
        return write_set(w, index, place);
    if (mark != MARK_NONE || looks_like_list(w, index))
        return write_list(w, index, place);
    if (w->typed)
        buf_add_literal(w->out, "{\"M\":");
    if (!write_members(w, index, place))
        return false;
    if (w->typed)
        buf_add_char(w->out, '}');
    return true;
}

static bool write_value(struct writer *w, int index, const struct place *place)
{
    size_t size;
    const char *text;
    look(w, 1, 64); /* more than any number has */
    switch (lua_type(w->L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(w->L, index, &size);
        return write_text(w, text, size, place);
    case LUA_TNUMBER:
        return write_number(w, index, place);
    case LUA_TBOOLEAN:
        buf_printf(w->out, w->typed ? "{\"BOOL\":%s}" : "%s", lua_toboolean(w->L, index) ? "true" : "false");
        return true;
    case LUA_TTABLE:
        return write_table(w, index, place);
    case LUA_TUSERDATA:
        return write_userdata(w, index, place);
    case LUA_TNIL:
        return refuse(w, place, "nil cannot be written; use null");
    default:
        return refuse(w, place, "a value of this kind cannot be written");
    }
}

static bool write_root(lua_State *L, int index, struct buf *out, bool typed, bool item, struct err *err)
{
    struct writer w = {.L = L, .out = out, .err = err, .typed = typed};
    struct place root = {0};
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    luaL_checkstack(L, 6, "values nested too deeply");
    w.watch = types_watch(L);
    lazy_force(L, index);
    bool ok = item ? write_members(&w, index, &root) : write_value(&w, index, &root);
    lua_settop(L, top);
    return ok;
}

bool value_write(lua_State *L, int index, struct buf *out, struct err *err)
{
    return write_root(L, index, out, true, false, err);
}

bool value_write_item(lua_State *L, int index, struct buf *out, struct err *err)
{
    if (lua_type(L, index) != LUA_TTABLE)
        return err_set(err, ERR_SCRIPT, "a table of attributes expected, got %s",
                       lua_typename(L, lua_type(L, index)));
    return write_root(L, index, out, true, true, err);
}

bool value_write_json(lua_State *L, int index, struct buf *out, struct err *err)
{
    return write_root(L, index, out, false, false, err);
}

static void write_hex(struct buf *out, const struct binary *binary)
{
    static const char digits[] = "0123456789abcdef";
    buf_add_literal(out, "\\x");
    for (size_t i = 0; i < binary->size; i++) {
        buf_add_char(out, digits[(unsigned char)binary->bytes[i] >> 4]);
        buf_add_char(out, digits[(unsigned char)binary->bytes[i] & 15]);
    }
}

/* JSON has no such numbers, PostgreSQL has. */
static const char *odd_number(lua_Number number)
{
    return isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
}

static enum value_text write_sql_text(lua_State *L, int index, struct buf *out, struct err *err)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    if (utf8_valid_size(text, size) != size)
        return err_set(err, ERR_SCRIPT,
                       "no UTF-8 text (cut within a character?); bytes go into dynamodb.binary"),
               VALUE_REFUSED;
    if (memchr(text, '\0', size))
        return err_set(err, ERR_SCRIPT, "a text with a byte 0; bytes go into dynamodb.binary"), VALUE_REFUSED;
    buf_add(out, text, size);
    return VALUE_TEXT;
}

enum value_text value_write_sql(lua_State *L, int index, struct buf *out, struct err *err)
{
    char room[48];
    const struct binary *binary = types_binary(L, index);
    const char *number = number_text(L, index, room, sizeof room);
    int type = lua_type(L, index);
    bool whole = type == LUA_TNUMBER && !lua_isinteger(L, index) &&
                 fabs(lua_tonumber(L, index)) < WHOLE_MAX &&
                 floor(lua_tonumber(L, index)) == lua_tonumber(L, index);
    if (whole) /* "1e+15" would be no integer there */
        snprintf(room, sizeof room, "%.0f", lua_tonumber(L, index));
    if (type == LUA_TNIL || types_is_null(L, index))
        return VALUE_NULL;
    if (type == LUA_TSTRING)
        return write_sql_text(L, index, out, err);
    if (type == LUA_TBOOLEAN)
        buf_add_text(out, lua_toboolean(L, index) ? "true" : "false");
    else if (number || type == LUA_TNUMBER)
        buf_add_text(out, number ? number : odd_number(lua_tonumber(L, index)));
    else if (binary)
        write_hex(out, binary);
    else if (!value_write_json(L, index, out, err))
        return VALUE_REFUSED;
    return VALUE_TEXT;
}
