/* bind_pattern.c: tidemill.pattern, the filters' event patterns for a handler's own use.
 *
 * pattern.compile(pattern) -> matcher. `pattern` is a table, or JSON as a string. Raises with the path to
 * what is wrong. matcher(value) -> boolean, where value is a table, any plain value, or a record. */
#include <lauxlib.h>
#include <lua.h>

#include "filter/filter.h"
#include "script/internal.h"
#include "value/lua_value.h"

static const char matcher_name[] = "tidemill.matcher";

#define PATTERN_BYTES_MAX (256u << 10) /* compiled it takes some twenty times that, for a moment */
#define STEPS_MAX 50000000             /* of one comparison: a long list of values with one of alternatives */

struct matcher {
    struct filter *filter;
    size_t held; /* of the script's memory */
};

static void free_matcher(lua_State *L, void *object)
{
    struct matcher *matcher = object;
    if (L)
        state_release(script_of(L), matcher->held);
    filter_free(matcher->filter);
}

static void push_match(lua_State *L, enum filter_verdict verdict)
{
    if (verdict == FILTER_TOO_MUCH)
        luaL_error(L, "pattern: the value and the pattern are too large for each other");
    lua_pushboolean(L, verdict == FILTER_MATCHES);
}

static int matcher_call(lua_State *L)
{
    const struct matcher *matcher = state_kept(L, 1, matcher_name);
    struct err err;
    luaL_checkany(L, 2);
    if (!matcher)
        return luaL_error(L, "pattern: this matcher has been collected: only a weak table still had it");
    const struct handler_source *source;
    const struct handler_input *input = record_test(L, 2, &source);
    if (input) {
        push_match(L,
                   filter_match_within(matcher->filter, input->record->json, source->stream_arn, STEPS_MAX));
        return 1;
    }
    struct buf *text = script_buf(L);
    struct arena *arena = script_arena(L);
    if (!value_write_json(L, 2, text, &err))
        return luaL_error(L, "pattern: %s", err.text);
    const struct json *value = json_parse(arena, text->data, text->size, &err);
    if (!value)
        return luaL_error(L, "pattern: %s", err.text);
    push_match(L, filter_match_within(matcher->filter, value, NULL, STEPS_MAX));
    return 1;
}

static int pattern_compile(lua_State *L)
{
    struct err err;
    struct buf *text = script_buf(L);
    size_t size;
    const char *json = NULL;
    if (lua_type(L, 1) == LUA_TSTRING) {
        json = lua_tolstring(L, 1, &size);
    } else {
        luaL_checktype(L, 1, LUA_TTABLE);
        if (!value_write_json(L, 1, text, &err))
            return luaL_error(L, "pattern: %s", err.text);
        json = text->data;
        size = text->size;
    }
    if (size > PATTERN_BYTES_MAX)
        return luaL_error(L, "pattern: it has %d KiB; %d are allowed", (int)(size >> 10),
                          (int)(PATTERN_BYTES_MAX >> 10));
    struct script *script = script_of(L);
    struct matcher *matcher = state_push_kept(L, &script->owned, sizeof *matcher, matcher_name, free_matcher);
    matcher->filter = filter_compile(json, size, &err);
    if (!matcher->filter)
        return luaL_error(L, "pattern: %s", err.text);
    matcher->held = filter_bytes(matcher->filter);
    state_hold(script, matcher->held); /* until it is freed, also where it is too much: */
    state_check_room(L, 0);
    return 1;
}

void pattern_open(lua_State *L)
{
    state_open_kept(L, matcher_name);
    luaL_getmetatable(L, matcher_name);
    lua_pushcfunction(L, matcher_call);
    lua_setfield(L, -2, "__call");
    lua_pushliteral(L, "matcher");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int bind_pattern(lua_State *L)
{
    static const luaL_Reg functions[] = {{"compile", pattern_compile}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
