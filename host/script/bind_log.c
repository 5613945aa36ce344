/* bind_log.c: tidemill.log, and print, which writes to the same place.
 *
 * log.debug(message [, fields]), log.info, log.warn, log.error: `fields` is a table that becomes JSON. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "script/internal.h"
#include "value/lua_value.h"

static void write_line(lua_State *L, enum log_level level, const char *message, const char *fields)
{
    struct script *script = script_of(L);
    struct buf *subject = script_buf(L);
    buf_printf(subject, "handler %s", script->handler.name);
    log_write_fields(script->options.log, level, subject->data, message, fields);
}

/* Of one text, and of all fields; what is longer is cut, and its size told. */
#define TEXT_BYTES_MAX ((size_t)64 << 10)
#define FIELDS_BYTES_MAX ((size_t)256 << 10)
#define LOOSE_DEPTH_MAX 6

/* C ends at a zero byte, a line of the log does not. */
static void add_text(struct buf *out, const char *text, size_t whole)
{
    size_t size = whole <= TEXT_BYTES_MAX ? whole : utf8_cut(text, TEXT_BYTES_MAX);
    for (const char *zero; (zero = memchr(text, '\0', size)); text = zero + 1) {
        buf_add(out, text, (size_t)(zero - text));
        buf_add_literal(out, "\\0");
        size -= (size_t)(zero - text) + 1;
    }
    buf_add(out, text, size);
    if (whole > TEXT_BYTES_MAX)
        buf_printf(out, "... (%zu bytes)", whole);
    buf_add(out, "", 0);
}

/* {"value": text}: what cannot stand there as it is. */
static void write_value(lua_State *L, struct buf *fields, const char *text, size_t size)
{
    struct buf *cut = script_buf(L), *valid = script_buf(L);
    add_text(cut, text, size);
    utf8_write(valid, cut->data, cut->size);
    buf_clear(fields);
    buf_add_literal(fields, "{\"value\":");
    json_write_string(fields, valid->data, valid->size);
    buf_add_char(fields, '}');
}

/* What is to be written loosely, and room for it: nothing that Lua closes may stand above what is popped. */
struct loose {
    struct buf *out, *cut, *valid;
};

static struct loose loose_open(lua_State *L, struct buf *out)
{
    return (struct loose){out, script_buf(L), script_buf(L)};
}

static void write_cut(struct loose *loose, const char *text, size_t size)
{
    buf_clear(loose->cut);
    buf_clear(loose->valid);
    add_text(loose->cut, text, size);
    utf8_write(loose->valid, loose->cut->data, loose->cut->size);
    json_write_string(loose->out, loose->valid->data ? loose->valid->data : "", loose->valid->size);
}

/* What JSON has no way for (binaries, cycles, functions, mixed tables) as text: a line of the log fails no
 * record. */
static void write_loosely(lua_State *L, int index, struct loose *loose, int depth)
{
    struct err err;
    struct buf *out = loose->out;
    size_t start = out->size, size;
    bool first = true;
    luaL_checkstack(L, 8, "log");
    if (value_write_json(L, index, out, &err))
        return;
    out->size = start;
    if (!lua_istable(L, index) || depth == LOOSE_DEPTH_MAX || out->size > FIELDS_BYTES_MAX) {
        const char *text = luaL_tolstring(L, index, &size);
        write_cut(loose, text, size);
        lua_pop(L, 1);
        return;
    }
    buf_add_char(out, '{');
    lua_pushnil(L);
    while (out->size <= FIELDS_BYTES_MAX && lua_next(L, index)) {
        int value = lua_gettop(L);
        if (!first)
            buf_add_char(out, ',');
        first = false;
        const char *name = luaL_tolstring(L, value - 1, &size);
        write_cut(loose, name, size);
        lua_pop(L, 1);
        buf_add_char(out, ':');
        write_loosely(L, value, loose, depth + 1);
        lua_pop(L, 1);
        state_tick(L);
    }
    buf_add_char(out, '}');
}

static bool says_what_it_is(lua_State *L, int index)
{
    bool says = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
    if (says)
        lua_pop(L, 1);
    return says;
}

static int write_log(lua_State *L, enum log_level level)
{
    struct err err;
    if (!log_wanted(script_of(L)->options.log, level))
        return 0;
    size_t size;
    lua_settop(L, 2);
    struct buf *fields = script_buf(L), *text = script_buf(L);
    const char *message = NULL;
    if (lua_istable(L, 1) && !says_what_it_is(L, 1)) {
        struct buf *whole = script_buf(L);
        struct loose loose = loose_open(L, whole);
        write_loosely(L, 1, &loose, 0);
        add_text(text, whole->data, whole->size);
    } else {
        message = luaL_tolstring(L, 1, &size);
        add_text(text, message, size);
    }
    if (lua_istable(L, 2) && !value_write_json(L, 2, fields, &err)) {
        struct loose loose = loose_open(L, fields);
        buf_clear(fields);
        write_loosely(L, 2, &loose, 0);
    } else if (!lua_isnil(L, 2) && !lua_istable(L, 2)) {
        buf_fini(fields); /* what comes now is the script's code */
        *fields = BUF_INIT;
        message = luaL_tolstring(L, 2, &size); /* a line of the log fails no record */
        write_value(L, fields, message, size);
    } else if (fields->size > FIELDS_BYTES_MAX) {
        struct buf *whole = script_buf(L);
        buf_add(whole, fields->data, fields->size);
        write_value(L, fields, whole->data, whole->size);
    }
    write_line(L, level, text->data, fields->size ? fields->data : NULL);
    return 0;
}

static int log_debug_(lua_State *L)
{
    return write_log(L, LOG_DEBUG);
}

static int log_info_(lua_State *L)
{
    return write_log(L, LOG_INFO);
}

static int log_warn_(lua_State *L)
{
    return write_log(L, LOG_WARN);
}

static int log_error_(lua_State *L)
{
    return write_log(L, LOG_ERROR);
}

int bind_log(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", log_debug_}, {"info", log_info_}, {"warn", log_warn_}, {"error", log_error_}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

int bind_print(lua_State *L)
{
    int count = lua_gettop(L);
    struct buf *text = script_buf(L);
    buf_add_text(text, "");
    for (int i = 1; i <= count; i++) {
        size_t size;
        if (text->size > FIELDS_BYTES_MAX) {
            buf_printf(text, "... (%d more)", count - i + 1);
            break;
        }
        const char *part = luaL_tolstring(L, i, &size);
        if (i > 1)
            buf_add_char(text, '\t');
        add_text(text, part, size);
        lua_pop(L, 1);
    }
    write_line(L, LOG_INFO, text->data, NULL);
    return 0;
}
