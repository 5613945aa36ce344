/* string_match.h: string.find, match, gmatch and gsub with Lua's own patterns and results, but able to be
 * stopped.
 *
 * A pattern such as ".-.-.-.-x" backtracks for hours inside one call of Lua's own functions, where no hook
 * runs. These count their steps and ask every so often whether they may go on. The patterns are those of the
 * Lua 5.4 manual, section 6.4.1. */
#ifndef TIDEMILL_SCRIPT_STRING_MATCH_H
#define TIDEMILL_SCRIPT_STRING_MATCH_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct list;

struct string_match_limits {
    void (*tick)(lua_State *L); /* called every few ten thousand steps; raises to end the call */
    /* Should others have their turn now? Then `make_room` is returned, and `k` goes on with `context`. */
    bool (*should_make_room)(lua_State *L);
    int (*make_room)(lua_State *L, lua_KContext context, lua_KFunction k);
    bool (*too_large)(lua_State *L, size_t bytes); /* more than may be gathered outside of Lua's memory? */
    /* So many bytes are, from now on (negative: no longer), while something else runs. */
    void (*hold)(lua_State *L, ptrdiff_t bytes);
    struct list *(*owned)(lua_State *L); /* where its objects are kept; or NULL */
};

/* Put them into the table on top of the stack. `limits` must stay. */
void string_match_open(lua_State *L, const struct string_match_limits *limits);

#endif
