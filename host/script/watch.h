/* watch.h: whoever lets a script run is looked at from outside.
 *
 * Lua's hook counts instructions, and one instruction may be long: "a .. b", "a == b" or utf8.len of 25 MB.
 * So a thread looks every few milliseconds which scripts still run, and sends their threads a signal
 * (SIGURG), whose handler asks for the hook at the next instruction. lua_sethook may be called by a signal
 * handler on the thread that runs the state (Lua 5.4 manual, 4.7; its own interpreter does so for Ctrl-C). */
#ifndef TIDEMILL_SCRIPT_WATCH_H
#define TIDEMILL_SCRIPT_WATCH_H

#include <lua.h>

/* On this thread L runs from here on, and `hook` is what looks at the clock. Costs no system call. What ran
 * before, to be given to watch_end; NULL: nothing. */
lua_State *watch_begin(lua_State *L, lua_Hook hook);
void watch_end(lua_State *before);

#endif
