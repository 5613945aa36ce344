/* state.c: a handler's Lua state: its memory, the processor's time, what it is told when something goes
 * wrong. */
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/check.h"
#include "script/internal.h"
#include "script/watch.h"
#include "value/lua_value.h"

/* The hook comes by itself only where the watch's signal does not come in time: ThreadSanitizer puts it off
 * until the next call that it knows, and Lua makes none. */
#ifdef __SANITIZE_THREAD__
#define HOOK_MASK LUA_MASKCOUNT
#define HOOK_INSTRUCTIONS 10000
#else
#define HOOK_MASK 0
#define HOOK_INSTRUCTIONS 0
#endif
#define SLICE_MS_MAX 10 /* how long a handler computes before others have their turn */

/* The handler's memory, counted. Lua turns NULL into an error that it raises in the handler. */
/* When memory has ended, Lua collects all garbage and asks again. What C makes and throws away, within one
 * call, could have that done for ever: when the slice's time is over this much is not given any more. */
#define REFUSED_BYTES ((size_t)64 << 10)

static bool is_over(struct script *script);

/* Little things may go beyond the limit by so much: a finalizer of Lua's own (of the buffer of string.rep)
 * that has no memory to be called in does not come again, and what it was to free is lost. */
#define LITTLE_BYTES ((size_t)16 << 10)
#define BEYOND_BYTES ((size_t)64 << 10)

static size_t memory_limit(const struct script *script, size_t size)
{
    if (script->refuses)
        return script->memory_max > REFUSED_BYTES ? script->memory_max - REFUSED_BYTES : 0;
    return size <= LITTLE_BYTES && script->memory_max < SIZE_MAX - BEYOND_BYTES
               ? script->memory_max + BEYOND_BYTES
               : script->memory_max;
}

/* Of another size, or where memory may end. */
static __attribute__((noinline)) void *resize(struct script *script, void *old, size_t before, size_t size)
{
    if (size > before && script->memory_bytes - before + size > memory_limit(script, size)) {
        if (is_over(script))
            script->refuses = script->cpu_exhausted = true;
        return NULL;
    }
    void *block = old ? blocks_resize(&script->blocks, old, before, size) : blocks_new(&script->blocks, size);
    if (block)
        script->memory_bytes += size - before;
    return block;
}

/* Some ten times for a record. */
static void *allocate(void *user, void *old, size_t old_size, size_t size)
{
    struct script *script = user;
    if (size == 0) {
        script->memory_bytes -= old ? old_size : 0;
        blocks_free(&script->blocks, old, old_size);
        return NULL;
    }
    if (old || script->refuses || script->memory_bytes + size > script->memory_max)
        return resize(script, old, old ? old_size : 0, size);
    void *block = blocks_new(&script->blocks, size);
    if (block)
        script->memory_bytes += size;
    return block;
}

static void on_count(lua_State *L, lua_Debug *activation);

/* The watch looks sooner: what is more than that was somebody else's, such as a machine that stood still. */
#define UNSEEN_MS_MAX 250

/* The code that runs next may use `left_ms` of the processor. Time is looked at by the hook only, which comes
 * when the watch asks for it: a handler of a few instructions costs no system call, and an instruction that
 * could meet a hook costs more than twice as much. */
void state_begin_slice(struct script *script, lua_State *L, int64_t left_ms, int64_t now_us)
{
    CHECK(!script->in_slice);
    script->in_slice = true;
    script->cpu_exhausted = script->refuses = false;
    script->cpu_left_ms = left_ms > 0 ? left_ms : 1;
    /* A little is counted from here on: others may have the processor before the first look. */
    script->cpu_base_ms = left_ms > UNSEEN_MS_MAX ? -1 : clock_cpu_ms(reactor_clock(script->options.reactor));
    script->slice_begin_us = now_us ? now_us : clock_monotonic_us(reactor_clock(script->options.reactor));
    script->slice_begin_ms = script->slice_begin_us / 1000;
    script->slice_end_ms = script->slice_begin_ms + SLICE_MS_MAX;
    script->watched_before = watch_begin(L, on_count);
}

/* Nothing waits within a slice: that is the processor's time, as long as the thread has it. */
static void count_slice(struct script *script)
{
    struct stats_script *counters = script->counters;
    script->slice_ended_us = clock_monotonic_us(reactor_clock(script->options.reactor));
    if (!counters)
        return;
    counters->us += script->slice_ended_us - script->slice_begin_us;
    state_count_memory(script, (int64_t)script->memory_bytes);
}

void state_count_memory(struct script *script, int64_t bytes)
{
    if (script->counters)
        script->counters->bytes += bytes - script->told_bytes;
    script->told_bytes = bytes;
}

/* Milliseconds used, as far as the hook saw it. */
int64_t state_end_slice(struct script *script)
{
    int64_t used = 0;
    CHECK(script->in_slice);
    script->in_slice = false;
    watch_end(script->watched_before);
    if (script->cpu_base_ms >= 0)
        used = clock_cpu_ms(reactor_clock(script->options.reactor)) - script->cpu_base_ms;
    script->cpu_left_ms = 0;
    count_slice(script);
    return used;
}

struct state_entry state_enter(lua_State *L, lua_State *co, bool may_wait)
{
    struct script *script = script_of(L);
    struct state_entry entry = {watch_begin(co, on_count), !may_wait || !lua_isyieldable(L)};
    script->bound += entry.bound;
    return entry;
}

void state_leave(lua_State *L, const struct state_entry *entry)
{
    CHECK(script_of(L)->bound >= entry->bound);
    script_of(L)->bound -= entry->bound;
    watch_end(entry->before);
}

bool state_may_wait(lua_State *L)
{
    return lua_isyieldable(L) && !script_of(L)->bound;
}

/* Has the slice used all that it may? */
static bool is_over(struct script *script)
{
    if (!script->cpu_left_ms)
        return false;
    struct clock *clock = reactor_clock(script->options.reactor);
    int64_t now = clock_cpu_ms(clock);
    if (script->cpu_base_ms < 0) { /* it is the first look: until here the slice had the thread for itself */
        int64_t unseen_ms = clock_monotonic_ms(clock) - script->slice_begin_ms;
        script->cpu_base_ms = now - (unseen_ms < UNSEEN_MS_MAX ? unseen_ms : UNSEEN_MS_MAX);
    }
    return now - script->cpu_base_ms >= script->cpu_left_ms;
}

void state_tick(lua_State *L)
{
    struct script *script = script_of(L);
    if (!is_over(script))
        return;
    script->cpu_exhausted = true;
    luaL_error(L, "the handler used up its cpu_limit");
}

bool state_should_make_room(lua_State *L)
{
    const struct script *script = script_of(L);
    return script->current && state_may_wait(L) &&
           clock_monotonic_ms(reactor_clock(script->options.reactor)) >= script->slice_end_ms;
}

int state_make_room(lua_State *L, lua_KContext context, lua_KFunction k)
{
    script_of(L)->preempted = true;
    return lua_yieldk(L, 0, context, k);
}

/* Who wants to know which lines run; NULL: nobody. */
static const struct observer *counting(lua_State *L)
{
    const struct observer *observer = script_of(L)->options.observer;
    return observer && observer->ran ? observer : NULL;
}

static void set_hook(lua_State *L, int mask, int count)
{
    mask |= counting(L) ? LUA_MASKLINE : 0;
    if (lua_gethookmask(L) != mask || lua_gethookcount(L) != count)
        lua_sethook(L, on_count, mask, count);
}

/* A loop that never yields is stopped here, and makes room for others before that: at an instruction, a call
 * cannot. The watch may have asked for it. */
static void on_count(lua_State *L, lua_Debug *activation)
{
    bool at_call = activation->event != LUA_HOOKCOUNT;
    if (activation->event == LUA_HOOKLINE) {
        coverage_count(L, counting(L), activation);
        return;
    }
    if (script_of(L)->cpu_exhausted) /* each __close that still stands on the way out ends as it begins */
        set_hook(L, LUA_MASKCOUNT | LUA_MASKCALL, 1);
    else
        set_hook(L, at_call ? LUA_MASKCOUNT : HOOK_MASK, at_call ? 1 : HOOK_INSTRUCTIONS);
    state_tick(L);
    if (at_call || !state_should_make_room(L))
        return;
    script_of(L)->preempted = true;
    lua_yield(L, 0);
}

/* ---- compiling ---- */

/* What the compiler gets at once: each name in it may be looked for among thousands. */
#define PIECE_BYTES 256

struct pieces {
    const char *text;
    size_t left;
};

static const char *next_piece(lua_State *L, void *user, size_t *size)
{
    struct pieces *pieces = user;
    const char *piece = pieces->text;
    state_tick(L);
    *size = pieces->left < PIECE_BYTES ? pieces->left : PIECE_BYTES;
    pieces->text += *size;
    pieces->left -= *size;
    return piece;
}

void state_skip_first_line(const char **text, size_t *size)
{
    if (*size >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *size -= 3;
    }
    if (!*size || **text != '#')
        return;
    const char *end = memchr(*text, '\n', *size);
    end = end ? end : *text + *size;
    *size -= (size_t)(end - *text);
    *text = end;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}

int state_compile(lua_State *L, const char *text, size_t size, const char *name)
{
    struct pieces pieces = {text, size};
    int code = lua_load(L, next_piece, &pieces, name, "t");
    if (code == LUA_OK && *name == '@' && counting(L))
        coverage_tell_lines(L, counting(L), name + 1, count_lines(text, size));
    return code;
}

/* ---- memory that C holds for a script ---- */

static bool fits(const struct script *script, size_t bytes)
{
    return bytes <= script->memory_max && script->memory_bytes <= script->memory_max - bytes;
}

/* What is garbage may hold answers; where they are what is missing it is collected. */
bool state_has_room(lua_State *L, size_t bytes)
{
    struct script *script = script_of(L);
    if (!fits(script, bytes) && script->answers_bytes)
        lua_gc(L, LUA_GCCOLLECT);
    return fits(script, bytes);
}

void state_check_room(lua_State *L, size_t bytes)
{
    const struct script *script = script_of(L);
    if (!state_has_room(L, bytes))
        luaL_error(L, "not enough memory: this takes %d KiB, and the handler has %d KiB (memory)",
                   (int)(bytes / 1024), (int)(script->memory_max / 1024));
}

void state_hold(struct script *script, size_t bytes)
{
    script->memory_bytes += bytes;
}

void state_release(struct script *script, size_t bytes)
{
    CHECK(script->memory_bytes >= bytes);
    script->memory_bytes -= bytes;
}

size_t state_room(const struct script *script)
{
    return script->memory_max > script->memory_bytes ? script->memory_max - script->memory_bytes : 0;
}

/* A text that is written: it may have no end. */
static void watch_text(lua_State *L, size_t bytes)
{
    state_tick(L);
    state_check_room(L, bytes);
}

struct owned {
    struct list link;
    state_release_fn *release;
    max_align_t object[];
};

static void free_owned(lua_State *L, struct owned *owned)
{
    list_remove(&owned->link);
    owned->release(L, owned->object);
    free(owned);
}

static int close_owned(lua_State *L)
{
    struct owned **place = lua_touserdata(L, 1), *owned = *place;
    *place = NULL;
    if (owned)
        free_owned(L, owned);
    return 0;
}

static void *push_owned(lua_State *L, struct list *all, size_t size, const char *name,
                        state_release_fn *release, bool kept)
{
    struct owned **place = lua_newuserdatauv(L, sizeof *place, 0);
    *place = NULL;
    luaL_setmetatable(L, name);
    if (!kept)
        lua_toclose(L, -1);
    struct owned *owned = mem_zero(sizeof *owned + size); /* from here on nothing raises */
    owned->release = release;
    list_init(&owned->link);
    if (all)
        list_append(all, &owned->link);
    *place = owned;
    return owned->object;
}

void *state_push_owned(lua_State *L, struct list *all, size_t size, const char *name,
                       state_release_fn *release)
{
    return push_owned(L, all, size, name, release, false);
}

void *state_push_kept(lua_State *L, struct list *all, size_t size, const char *name,
                      state_release_fn *release)
{
    return push_owned(L, all, size, name, release, true);
}

void *state_kept(lua_State *L, int index, const char *name)
{
    struct owned **place = luaL_checkudata(L, index, name);
    return *place ? (*place)->object : NULL;
}

void *state_owned(lua_State *L, int index)
{
    return (*(struct owned **)lua_touserdata(L, index))->object;
}

void state_release_owned(struct script *script)
{
    struct owned *owned;
    list_each(owned, &script->owned, struct owned, link)
        free_owned(NULL, owned);
}

static const char buf_name[] = "tidemill.buf", arena_name[] = "tidemill.arena";

void state_open_kept(lua_State *L, const char *name)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, close_owned);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void state_open_owned(lua_State *L, const char *name)
{
    state_open_kept(L, name); /* its finalizer is for a coroutine that is not closed any more */
    luaL_getmetatable(L, name);
    lua_pushcfunction(L, close_owned);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

static void free_buf(lua_State *L, void *object)
{
    (void)L;
    buf_fini(object);
}

static void free_arena(lua_State *L, void *object)
{
    (void)L;
    arena_fini(object);
}

struct buf *script_buf(lua_State *L)
{
    return state_push_owned(L, &script_of(L)->owned, sizeof(struct buf), buf_name, free_buf);
}

struct arena *script_arena(lua_State *L)
{
    struct arena *arena = state_push_owned(L, &script_of(L)->owned, sizeof *arena, arena_name, free_arena);
    struct script *script = script_of(L);
    if (state_room(script) < script->answers_bytes && state_room(script) < script->memory_max / 4)
        lua_gc(L, LUA_GCCOLLECT);
    size_t room = state_room(script);
    arena->max = room ? room : 1; /* SIZE_MAX: as good as none */
    return arena;
}

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    log_error(script_of(L)->options.log, script_of(L)->handler.name, "Lua: %s",
              text ? text : "unprotected error");
    return 0; /* Lua aborts: a bug of ours, every entrance is protected */
}

/* ---- coroutines that wait for the host ---- */

/* Coroutines that wait for the host, or made room for others, may be resumed by the host alone: a set in the
 * registry. An invocation's own coroutine is always in it. */
static const char host_waits;

void state_mark_waiting(lua_State *L, lua_State *co, bool waits)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &host_waits);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    /* False, and not away: marking it again takes no memory, which may have ended. */
    lua_pushboolean(L, waits);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

bool state_is_waiting(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &host_waits);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    bool waits = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return waits;
}

static void open_waiting(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &host_waits);
}

/* ---- life ---- */

void state_open(struct script *script)
{
    script->memory_max = SIZE_MAX;
    if (getrandom(&script->tag, sizeof script->tag, 0) != sizeof script->tag)
        script->tag = (uint64_t)clock_wall_ms(reactor_clock(script->options.reactor)) ^ (uintptr_t)script;
    blocks_init(&script->blocks);
    script->L = lua_newstate(allocate, script);
    if (!script->L)
        abort();
    lua_State *L = script->L;
    *(struct script **)lua_getextraspace(L) = script; /* each new coroutine gets a copy */
    lua_atpanic(L, on_panic);
    value_open(L, watch_text);
    open_waiting(L);
    state_open_owned(L, buf_name);
    state_open_owned(L, arena_name);
    set_hook(L, HOOK_MASK, HOOK_INSTRUCTIONS); /* inherited by coroutines */
}

/* ---- what Lua is told ---- */

const char *script_check_text(lua_State *L, int argument)
{
    size_t size;
    const char *text = luaL_checklstring(L, argument, &size);
    luaL_argcheck(L, strlen(text) == size, argument, "it holds a zero byte, which cannot be used here");
    return text;
}

#define LEVELS_MAX 200 /* each is counted from the top of the stack */

/* "scripts/stock.lua:12" of the innermost line of the handler's own files; "" when there is none. */
void state_find_line(lua_State *co, char *text, size_t size)
{
    lua_Debug activation;
    text[0] = '\0';
    for (int level = 0; level < LEVELS_MAX && lua_getstack(co, level, &activation); level++) {
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

void script_add_file(struct script *script, const char *path, const char *text, size_t size)
{
    for (size_t i = 0; i < script->file_count; i++)
        if (strcmp(script->files[i].path, path) == 0)
            return; /* a module that raises is asked for again */
    mem_grow(&script->files, &script->file_capacity, script->file_count, sizeof *script->files);
    script->files[script->file_count++] = (struct script_file){mem_string(path), hash_bytes(text, size, 0)};
}
