/* parts.c: the raw verb under tidemill.all; lua/tidemill/all.lua makes it pleasant.
 *
 *   raw.run(step, count, limit)
 *       calls step(1) ... step(count), each in an invocation of its own that is a part of the one that asks:
 * with its records, its time, its part of the processor; at most `limit` at once. Goes on when all have
 * ended. What parts emit is the whole's, in the order of their numbers and not of their ends: it must have
 * the same identity whenever the records come again.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "script/internal.h"

#define PARTS_MAX 1000 /* at once, of an invocation; one of each tidemill.all more */
#define DEPTH_MAX 8    /* of one within the other */
#define SLICE_US 5000  /* of starting parts that do not wait; then it is others' turn */

/* What a part has emitted. */
struct share {
    size_t number;
    struct emitted *emitted; /* owned */
    size_t count;
};

struct crew {
    struct invocation *whole;
    int function; /* registry reference */
    size_t count, begun, limit, running;
    struct list members; /* those that run */
    struct task more;    /* begins others, or lets the whole go on */
    struct share *shares;
    size_t share_count, share_capacity;
    char *error; /* of a part that could not even raise: the first; owned */
};

static struct reactor *reactor_of(const struct crew *crew)
{
    return crew->whole->script->options.reactor;
}

static void crew_free(struct crew *crew)
{
    struct script *script = crew->whole->script;
    task_cancel(&crew->more);
    for (size_t i = 0; i < crew->share_count; i++)
        emissions_free(script, crew->shares[i].emitted, crew->shares[i].count);
    free(crew->shares);
    luaL_unref(script->L, LUA_REGISTRYINDEX, crew->function);
    free(crew->error);
    free(crew);
}

static void drop_members(struct crew *crew)
{
    struct script *script = crew->whole->script;
    struct invocation *part;
    if (!script->drops++)
        script->close_left_ms = CLOSE_MS_MAX;
    list_each(part, &crew->members, struct invocation, member) {
        list_remove(&part->member);
        crew->running--;
        crew->whole->root->parts--;
        invocation_drop_part(part);
    }
    script->drops--;
}

static void parts_drop(struct invocation *whole)
{
    struct crew *crew = whole->crew;
    if (!crew)
        return;
    whole->crew = NULL;
    drop_members(crew);
    crew_free(crew);
}

static void parts_over(struct invocation *part, struct handler_outcome *outcome)
{
    struct crew *crew = part->part_of;
    list_remove(&part->member);
    crew->running--;
    crew->whole->root->parts--;
    if (part->emitted_count) {
        mem_grow(&crew->shares, &crew->share_capacity, crew->share_count, sizeof *crew->shares);
        crew->shares[crew->share_count++] =
            (struct share){part->part_number, part->emitted, part->emitted_count};
        part->emitted = NULL;
        part->emitted_count = part->emitted_capacity = 0;
    }
    if (outcome->error.text && !crew->error) {
        crew->error = outcome->error.text;
        outcome->error.text = NULL;
    }
    handler_outcome_fini(outcome);
    crew->whole->starved = crew->whole->starved || part->starved;
    task_defer(reactor_of(crew), &crew->more);
}

/* An error that a part's own code could not catch ends it for the others, too. */
static bool may_begin(const struct crew *crew)
{
    return crew->begun < crew->count && crew->running < crew->limit && !crew->error &&
           !crew->whole->root->exhausted && (!crew->running || crew->whole->root->parts < PARTS_MAX);
}

/* A part that ends at once has come to parts_over by then. */
static void on_more(void *user)
{
    struct crew *crew = user;
    struct invocation *root = crew->whole->root;
    struct clock *clock = reactor_clock(reactor_of(crew));
    int64_t end_us = clock_monotonic_us(clock) + SLICE_US, used_ms = clock_cpu_ms(clock),
            left_ms = root->cpu_left_ms;
    while (may_begin(crew) && clock_monotonic_us(clock) < end_us) {
        crew->running++;
        root->parts++;
        invocation_run_part(crew->whole, crew, &crew->members, crew->function, ++crew->begun);
    }
    /* A slice that is short is not counted; thousands are. */
    used_ms = clock_cpu_ms(clock) - used_ms;
    if (used_ms > left_ms - root->cpu_left_ms)
        root->cpu_left_ms = left_ms - used_ms;
    root->exhausted = root->exhausted || root->cpu_left_ms <= 0;
    if (root->exhausted) /* nothing can come of the others */
        drop_members(crew);
    if (may_begin(crew))
        task_defer(reactor_of(crew), &crew->more);
    else if (!crew->running)
        script_go_on(crew->whole);
}

static int by_number(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int after_run(lua_State *L, int status, lua_KContext context)
{
    struct invocation *whole = script_of(L)->current;
    struct crew *crew = whole->crew;
    (void)status;
    (void)context;
    CHECK(crew && !crew->running);
    if (whole->root->exhausted) { /* no pcall may catch that, see pass_on_exhaustion */
        parts_drop(whole);
        script_of(L)->cpu_exhausted = true;
        return luaL_error(L, "the handler used up its cpu_limit");
    }
    if (crew->share_count)
        qsort(crew->shares, crew->share_count, sizeof *crew->shares, by_number);
    for (size_t i = 0; i < crew->share_count; i++) {
        emissions_take(whole, crew->shares[i].emitted, crew->shares[i].count);
        crew->shares[i].count = 0;
    }
    bool failed = crew->error != NULL;
    lua_pushstring(L, crew->error);
    parts_drop(whole);
    return failed ? lua_error(L) : 0;
}

static const struct parts_ops ops = {parts_over, parts_drop};

static int raw_run(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Integer count = luaL_checkinteger(L, 2), limit = luaL_checkinteger(L, 3);
    luaL_argcheck(L, count > 0, 2, "at least one expected");
    luaL_argcheck(L, limit > 0 && limit <= PARTS_MAX, 3, "from 1 to 1000 expected");
    script_check_waits(L);
    struct invocation *whole = script_of(L)->current;
    if (whole->depth == DEPTH_MAX)
        return luaL_error(L, "all: more than %d of them one within the other", DEPTH_MAX);
    parts_drop(whole); /* of one whose end the script has caught */
    lua_settop(L, 1);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    struct crew *crew = mem_zero(sizeof *crew);
    crew->whole = whole;
    crew->function = function;
    crew->count = (size_t)count;
    crew->limit = (size_t)limit;
    list_init(&crew->members);
    task_init(&crew->more, on_more, crew);
    whole->crew = crew;
    whole->parts_ops = &ops;
    script_begin_wait(L);
    task_defer(reactor_of(crew), &crew->more);
    return lua_yieldk(L, 0, 0, after_run);
}

int bind_all(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"run", raw_run}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}
