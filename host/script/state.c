/* state.c: a handler's Lua state: its memory, the processor's time, what it is told when something goes
 * wrong. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "script/internal.h"
#include "value/lua_value.h"

#define HOOK_INSTRUCTIONS 10000

struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

/* The handler's memory, counted. Lua turns NULL into an error that it raises in the handler. */
static void *allocate(void *user, void *old, size_t old_size, size_t size)
{
    struct script *script = user;
    size_t before = old ? old_size : 0;
    if (size == 0) {
        script->memory_bytes -= before;
        free(old);
        return NULL;
    }
    if (size > before && script->memory_bytes - before + size > script->memory_max)
        return NULL;
    void *block = realloc(old, size);
    if (block)
        script->memory_bytes += size - before;
    return block;
}

/* The code that runs next may use `left_ms` of the processor. Time is looked at by the hook only, so that a
 * handler of a few instructions costs no system call. */
void state_begin_slice(struct script *script, int64_t left_ms)
{
    script->cpu_left_ms = left_ms > 0 ? left_ms : 1;
    script->cpu_base_ms = -1;
}

/* Milliseconds used, as far as the hook saw it. */
int64_t state_end_slice(struct script *script)
{
    int64_t used = 0;
    if (script->cpu_base_ms >= 0)
        used = clock_cpu_ms(reactor_clock(script->options.reactor)) - script->cpu_base_ms;
    script->cpu_left_ms = 0;
    return used;
}

void state_tick(lua_State *L)
{
    struct script *script = script_of(L);
    if (!script->cpu_left_ms)
        return;
    int64_t now = clock_cpu_ms(reactor_clock(script->options.reactor));
    if (script->cpu_base_ms < 0)
        script->cpu_base_ms = now;
    if (now - script->cpu_base_ms < script->cpu_left_ms)
        return;
    script->cpu_exhausted = true;
    luaL_error(L, "the handler used up its cpu_limit");
}

bool state_should_make_room(lua_State *L)
{
    const struct script *script = script_of(L);
    return script->current && lua_isyieldable(L) &&
           clock_monotonic_ms(reactor_clock(script->options.reactor)) >= script->slice_end_ms;
}

int state_make_room(lua_State *L, lua_KContext context, lua_KFunction k)
{
    script_of(L)->preempted = true;
    return lua_yieldk(L, 0, context, k);
}

/* A loop that never yields is stopped here, and makes room for others before that. */
static void on_count(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    state_tick(L);
    if (!state_should_make_room(L))
        return;
    script_of(L)->preempted = true;
    lua_yield(L, 0);
}

static int free_buf(lua_State *L)
{
    buf_fini(lua_touserdata(L, 1));
    return 0;
}

static int free_arena(lua_State *L)
{
    arena_fini(lua_touserdata(L, 1));
    return 0;
}

static void *push_owned(lua_State *L, size_t size, const char *name, lua_CFunction release)
{
    void *object = memset(lua_newuserdatauv(L, size, 0), 0, size);
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return object;
}

struct buf *script_buf(lua_State *L)
{
    return push_owned(L, sizeof(struct buf), "tidemill.buf", free_buf);
}

struct arena *script_arena(lua_State *L)
{
    return push_owned(L, sizeof(struct arena), "tidemill.arena", free_arena);
}

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    log_error(script_of(L)->options.log, script_of(L)->handler.name, "Lua: %s",
              text ? text : "unprotected error");
    return 0; /* Lua aborts: a bug of ours, every entrance is protected */
}

void state_open(struct script *script)
{
    script->memory_max = SIZE_MAX;
    if (getrandom(&script->tag, sizeof script->tag, 0) != sizeof script->tag)
        script->tag = (uint64_t)clock_wall_ms(reactor_clock(script->options.reactor)) ^ (uintptr_t)script;
    script->L = lua_newstate(allocate, script);
    if (!script->L)
        abort();
    lua_State *L = script->L;
    *(struct script **)lua_getextraspace(L) = script; /* each new coroutine gets a copy */
    lua_atpanic(L, on_panic);
    value_open(L);
    sandbox_open(L);
    record_open(L);
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS); /* inherited by coroutines */
}

const char *script_check_text(lua_State *L, int argument)
{
    size_t size;
    const char *text = luaL_checklstring(L, argument, &size);
    luaL_argcheck(L, strlen(text) == size, argument, "it holds a zero byte, which cannot be used here");
    return text;
}

/* "scripts/stock.lua:12" of the innermost line of the handler's own files; "" when there is none. */
void state_find_line(lua_State *co, char *text, size_t size)
{
    lua_Debug activation;
    text[0] = '\0';
    for (int level = 0; lua_getstack(co, level, &activation); level++) {
        lua_getinfo(co, "Sl", &activation);
        if (activation.source[0] != '@' || activation.currentline <= 0)
            continue;
        snprintf(text, size, "%s:%d", activation.source + 1, activation.currentline);
        return;
    }
}

struct handler_error script_error(const struct script *script, const char *text)
{
    char *bounded = text ? handler_error_text(text, strlen(text)) : mem_string("out of memory");
    struct handler_error error = {.text = mem_printf("%s: %s", script->path, bounded),
                                  .traceback = mem_string("")};
    free(bounded);
    return error;
}

/* Behind "tidemill.dynamodb:12: ": where in the runtime library it was raised helps nobody. */
const char *state_without_library_line(const char *text)
{
    size_t at = strspn(text, "abcdefghijklmnopqrstuvwxyz._");
    if (strncmp(text, "tidemill", 8) != 0 || text[at] != ':')
        return text;
    size_t digits = strspn(text + at + 1, "0123456789");
    return digits && strncmp(text + at + 1 + digits, ": ", 2) == 0 ? text + at + digits + 3 : text;
}
