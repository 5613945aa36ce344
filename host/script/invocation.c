/* invocation.c: a handler called for a record: a coroutine that ends, or waits and goes on. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/resp.h"
#include "script/internal.h"
#include "value/lua_value.h"

#define COROUTINES_KEPT_MAX 256
#define TOLD_BYTES_MAX 1000
#define DESCRIBE_BYTES ((size_t)1 << 20)

static void go_on(struct invocation *invocation, int64_t now_us);

/* A step of the reactor of its own. */
static void on_turn(void *user)
{
    struct invocation *invocation = user;
    go_on(invocation, reactor_step_us(invocation->script->options.reactor));
}

static struct invocation *take_idle(struct script *script)
{
    struct invocation *invocation = script->idle;
    if (invocation) {
        script->idle = invocation->next_idle;
        invocation->root = invocation;
        invocation->depth = invocation->parts = 0;
        invocation->exhausted = false;
        return invocation;
    }
    invocation = mem_zero(sizeof *invocation);
    invocation->script = script;
    invocation->root = invocation;
    invocation->number = script->invocation_count++;
    task_init(&invocation->go_on, on_turn, invocation);
    invocation->next_of_all = script->all;
    script->all = invocation;
    return invocation;
}

static void stop_waiting(struct invocation *invocation);

/* The call is over. */
static void tell_answered(struct invocation *invocation, const struct transport_response *response,
                          const struct err *err)
{
    const struct script *script = invocation->script;
    const struct observer *observer = script->options.observer;
    if (!invocation->told_verb)
        return;
    const struct handler_call *call = invocation->root->call;
    bool has_record = call && call->count;
    const struct aws_place *place = invocation->told_place;
    observer->called(observer->user,
                     &(struct observed_call){
                         .handler = script->handler.name,
                         .version = script->handler.version,
                         .stream_arn = has_record ? call->source->stream_arn : NULL,
                         .record = has_record ? call->inputs[0].record : NULL,
                         .verb = invocation->told_verb,
                         .what = invocation->told.data ? invocation->told.data : "",
                         .size = invocation->told.size,
                         .region = place ? place->region : NULL,
                         .elsewhere = place && place->endpoint && !strstr(place->endpoint, ".amazonaws.com"),
                         .role = place ? place->role : NULL,
                         .status = response ? response->status : 0,
                         .answer = response && response->body.data ? response->body.data : "",
                         .answer_size = response ? response->body.size : 0,
                         .error = err && err->code ? err->text : NULL});
    free(invocation->told_verb);
    aws_place_free(invocation->told_place);
    invocation->told_verb = NULL;
    invocation->told_place = NULL;
    buf_fini(&invocation->told);
}

/* Whatever it says; what becomes of that is the script's to decide. */
static void end_span(struct invocation *invocation, const struct transport_response *response,
                     const struct err *err)
{
    char status[16] = "";
    tell_answered(invocation, response, err);
    if (!invocation->span.sampled)
        return;
    if (response)
        snprintf(status, sizeof status, "%d", response->status);
    tracer_end(invocation->script->handler.tracer, &invocation->span, invocation->span_name, SPAN_CLIENT,
               err ? err->text : NULL,
               (const struct span_attribute[]){{"http.response.status_code", *status ? status : NULL},
                                               {"tidemill.handler", invocation->script->handler.name},
                                               {NULL, NULL}});
}

/* The end of an invocation; the last of a replaced version takes the script with it. */
static void put_idle(struct invocation *invocation)
{
    struct script *script = invocation->script;
    stop_waiting(invocation); /* for what a script has made of an error in the midst of a wait */
    if (invocation->claims)
        invocation->give_up_claims(invocation);
    record_end(invocation);
    invocation->serial++;
    free(invocation->stored);
    invocation->stored = NULL;
    invocation->waiting = invocation->waited = invocation->starved = false;
    invocation->part_of = NULL;
    timer_stop(script->options.reactor, &invocation->limit);
    /* An error out of a hook leaves a coroutine deaf to hooks: that one is not used again either, and not
     * even its __close is run. */
    if (invocation->co && (invocation->deaf || script->coroutine_count > COROUTINES_KEPT_MAX)) {
        luaL_unref(script->L, LUA_REGISTRYINDEX, invocation->co_reference);
        invocation->co = NULL;
        script->coroutine_count--;
    }
    invocation->deaf = false;
    if (invocation->co)
        lua_settop(invocation->co, 0);
    invocation->next_idle = script->idle;
    script->idle = invocation;
    emissions_drop(invocation);
    handler_release(&script->handler);
}

/* What describing an error needs; runs protected, since an error object may raise itself. */
struct description {
    lua_State *co;
    struct handler_error *error;
};

/* The error object at 1 as a text: a table that says nothing of itself by what is in it. */
static void push_text(lua_State *L)
{
    struct err err;
    if (!lua_istable(L, 1) || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        lua_settop(L, 1);
        luaL_tolstring(L, 1, NULL);
        return;
    }
    struct buf *json = script_buf(L);
    if (value_write_json(L, 1, json, &err))
        lua_pushlstring(L, json->data, json->size);
    else
        luaL_tolstring(L, 1, NULL);
}

static int describe_protected(lua_State *L)
{
    struct description *description = lua_touserdata(L, 1);
    lua_State *co = description->co;
    lua_settop(L, 0);
    lua_xmove(co, L, 1);
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "permanent");
        if (luaL_getmetafield(L, 1, "__waits") == LUA_TNIL) /* of tidemill.once */
            lua_pushnil(L);
        description->error->failure = lua_toboolean(L, -2)   ? FAILURE_PERMANENT
                                      : lua_toboolean(L, -1) ? FAILURE_NO_ATTEMPT
                                                             : description->error->failure;
        lua_pop(L, 2);
    }
    push_text(L);
    size_t size;
    const char *whole = lua_tolstring(L, -1, &size), *text = state_without_library_line(whole);
    description->error->text = handler_error_text(text, size - (size_t)(text - whole));
    luaL_traceback(L, co, NULL, 0);
    description->error->traceback = mem_string(lua_tostring(L, -1));
    return 0;
}

/* The error object is on top of the coroutine, whose stack still stands. */
static void describe(struct invocation *invocation, struct handler_error *error)
{
    struct script *script = invocation->script;
    lua_State *L = script->L;
    struct description description = {invocation->co, error};
    char line[512];
    size_t memory_max = script->memory_max;
    int top = lua_gettop(L);
    *error = (struct handler_error){.failure = invocation->starved ? FAILURE_NO_ATTEMPT : FAILURE_PASSING};
    state_find_line(invocation->co, line, sizeof line);
    /* Telling what happened must not fail for want of memory, nor take all there is. */
    if (memory_max < SIZE_MAX - DESCRIBE_BYTES && script->memory_bytes + DESCRIBE_BYTES > memory_max)
        script->memory_max = script->memory_bytes + DESCRIBE_BYTES;
    state_begin_slice(script, L, CLOSE_MS_MAX, 0);
    lua_pushcfunction(L, describe_protected);
    lua_pushlightuserdata(L, &description);
    bool failed = lua_pcall(L, 1, 0, 0) != LUA_OK && lua_type(L, -1) == LUA_TSTRING;
    if (!error->text && failed) /* in an error's __tostring, which is the script's code */
        error->text = mem_printf("an error that cannot be described: %s",
                                 state_without_library_line(lua_tostring(L, -1)));
    else if (!error->text)
        error->text = mem_string("an error without a description");
    lua_settop(L, top);
    state_end_slice(script);
    script->memory_max = memory_max;
    if (!error->traceback)
        error->traceback = mem_string("");
    const char *file = strrchr(script->path, '/'); /* Lua shortens long paths from the front */
    if (*line && !strstr(error->text, file ? file : script->path)) {
        char *text = mem_printf("%s: %s", line, error->text);
        free(error->text);
        error->text = text;
    }
}

/* Let go of what the coroutine holds. That runs its __close, which is the script's code too. It is not used
 * again: one that waited within an xpcall keeps that one's message handler in Lua 5.4.4, for all errors that
 * come. */
static void reset(struct invocation *invocation)
{
    struct script *script = invocation->script;
    struct clock *clock = reactor_clock(script->options.reactor);
    record_end(invocation); /* its object is garbage with the stack */
    if (invocation->deaf)
        return; /* see put_idle */
    if (script->drops && script->close_left_ms <= 0) {
        invocation->deaf = true;
        return;
    }
    int64_t begun_ms = clock_cpu_ms(clock);
    state_begin_slice(script, invocation->co, script->drops ? script->close_left_ms : CLOSE_MS_MAX, 0);
    lua_resetthread(invocation->co);
    state_end_slice(script);
    invocation->deaf = true;
    int64_t used_ms = clock_cpu_ms(clock) - begun_ms;
    script->close_left_ms -= used_ms;
    if (invocation->part_of)
        invocation->root->cpu_left_ms -= used_ms;
}

static void on_limit(void *user);

/* The invocation's own time begins to count when it first lets others run. */
static void start_limit(struct invocation *invocation)
{
    struct script *script = invocation->script;
    invocation = invocation->root;
    if (timer_is_set(&invocation->limit))
        return;
    timer_init(&invocation->limit, on_limit, invocation);
    timer_set(script->options.reactor, &invocation->limit, script->handler.settings.timeout_ms);
}

/* It waited, and has ended. */
static void finish(struct invocation *invocation, enum handler_result result, struct handler_outcome *outcome)
{
    handler_done_fn *done = invocation->done;
    void *user = invocation->user;
    bool is_part = invocation->part_of;
    outcome->ended_us = 0; /* it may have waited for its messages since */
    if (is_part)
        invocation->parts_ops->over(invocation, outcome);
    put_idle(invocation);
    if (!is_part)
        done(user, result, outcome);
}

/* What the function has returned, in its time: it may be large, and metamethods run. That is on the state's
 * own stack, which is to be watched. False, and the error in `outcome`. */
static bool read_outcome(struct invocation *invocation, struct handler_outcome *outcome)
{
    if (!invocation->call || invocation->script->handler.kind == HANDLER_RECORDS)
        return true;
    struct state_entry entry = state_enter(invocation->co, invocation->script->L, false);
    bool read = outcome_read(invocation, outcome);
    state_leave(invocation->co, &entry);
    return read;
}

/* It ended with its slice. Who raised goes on: errors are described, and what is to be closed is. */
static enum handler_result returned(const struct script *script, struct handler_outcome *outcome)
{
    outcome->ended_us = script->slice_ended_us;
    return HANDLER_RETURNED;
}

/* Run the coroutine until it ends or waits; from `now_us` on, where that was read just now (else 0). */
static enum handler_result advance(struct invocation *invocation, int arguments, int64_t now_us,
                                   struct handler_outcome *outcome)
{
    struct script *script = invocation->script;
    script->current = invocation;
    state_begin_slice(script, invocation->co, invocation->root->cpu_left_ms, now_us);
    invocation->waiting = script->preempted = false;
    reactor_label(script->options.reactor, script->handler.name);
    int status = lua_resume(invocation->co, script->L, arguments, &invocation->results);
    script->current = NULL;
    bool read = status != LUA_OK || invocation->part_of || read_outcome(invocation, outcome);
    invocation->root->cpu_left_ms -= state_end_slice(script);
    invocation->deaf = invocation->deaf || script->cpu_exhausted;
    if (invocation->part_of && script->cpu_exhausted)
        invocation->root->exhausted = true;
    if (!read)
        return HANDLER_RAISED;
    if (status == LUA_OK && invocation->part_of)
        return HANDLER_RETURNED;
    if (status == LUA_OK && invocation->call && invocation->call->request)
        start_limit(invocation);
    if (status == LUA_OK)
        return emissions_send(invocation, outcome, finish) ? HANDLER_WAITING : returned(script, outcome);
    if (status == LUA_YIELD && invocation->waiting)
        return HANDLER_WAITING;
    if (status == LUA_YIELD && script->preempted) {
        start_limit(invocation);
        invocation->waited = true;
        task_defer(script->options.reactor, &invocation->go_on);
        return HANDLER_WAITING;
    }
    if (status == LUA_YIELD) { /* coroutine.yield outside any coroutine of its own */
        size_t memory_max = script->memory_max;
        script->memory_max = SIZE_MAX; /* here nobody could be told that it has ended */
        lua_settop(invocation->co, 0);
        lua_pushstring(invocation->co, "the handler yielded outside of a coroutine");
        script->memory_max = memory_max;
    }
    describe(invocation, &outcome->error);
    reset(invocation);
    return HANDLER_RAISED;
}

static void go_on(struct invocation *invocation, int64_t now_us)
{
    struct handler_outcome outcome = {0};
    const struct script *script = invocation->script;
    enum handler_result result = advance(invocation, 0, now_us, &outcome);
    if (result != HANDLER_WAITING)
        finish(invocation, result, &outcome);
    else if (now_us && invocation->waiting) /* else it has sent what it emitted, or is to go on */
        reactor_step_over(script->options.reactor, script->slice_ended_us);
}

void script_go_on(struct invocation *invocation)
{
    go_on(invocation, 0);
}

static void release_held(struct invocation *invocation)
{
    state_release(invocation->script, invocation->held_bytes);
    invocation->held_bytes = 0;
}

const struct trace_place *script_begin_span(lua_State *L, const char *name)
{
    struct invocation *invocation = script_of(L)->current;
    const struct handler_call *call = invocation ? invocation->call : NULL;
    const struct trace_place *trace = !call           ? NULL
                                      : call->request ? call->request->trace
                                      : call->count   ? call->inputs[0].trace
                                                      : NULL;
    if (!trace)
        return NULL;
    tracer_begin_part(script_of(L)->handler.tracer, trace, &invocation->span);
    snprintf(invocation->span_name, sizeof invocation->span_name, "%s", name);
    return invocation->span.sampled ? &invocation->span.place : NULL;
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct invocation *invocation = user;
    invocation->aws = NULL;
    end_span(invocation, response, err);
    release_held(invocation);
    invocation->response = response;
    invocation->err = err;
    invocation->starved = invocation->starved || (err && err->code == ERR_RESOURCES);
    script_go_on(invocation);
}

static void end_given_up_span(struct invocation *invocation)
{
    if (!invocation->span.sampled && !invocation->told_verb)
        return;
    struct err given_up = {0}; /* some hundred bytes, and nearly all invocations have no span */
    err_set(&given_up, ERR_CANCELLED, "given up: the handler's time was over, or the host stops");
    end_span(invocation, NULL, &given_up);
}

/* Whatever it waits for is not waited for any longer. */
static void stop_waiting(struct invocation *invocation)
{
    struct script *script = invocation->script;
    end_given_up_span(invocation);
    if (!invocation->waited)
        return;
    if (invocation->crew)
        invocation->parts_ops->drop(invocation);
    aws_cancel(invocation->aws);
    invocation->aws = NULL;
    release_held(invocation);
    if (invocation->http)
        transport_cancel(script->options.transport, invocation->http);
    invocation->http = NULL;
    timer_stop(script->options.reactor, &invocation->sleep);
    task_cancel(&invocation->go_on);
}

static void on_limit(void *user)
{
    struct invocation *invocation = user;
    struct handler_outcome outcome = {0};
    char line[512];
    stop_waiting(invocation);
    state_find_line(invocation->co, line, sizeof line);
    outcome.error.text = mem_printf("%s%sthe handler took longer than its timeout", line, *line ? ": " : "");
    outcome.error.traceback = mem_string("");
    outcome.error.timed_out = true;
    reset(invocation);
    finish(invocation, HANDLER_RAISED, &outcome);
}

/* The running invocation, which is about to wait; raises where nothing can. */
void script_check_waits(lua_State *L)
{
    struct script *script = script_of(L);
    struct invocation *invocation = script->current;
    if (!invocation || !script->options.aws) {
        luaL_error(L, "calls can be made only while a record is handled, not while the script loads");
        return; /* luaL_error does not come back */
    }
    if (invocation->waiting)
        luaL_error(L, "another call of this record is on its way");
    if (!state_may_wait(L))
        luaL_error(L, "a call cannot wait here (inside a sort, a __close or a metamethod of C)");
}

/* Its own time begins to count with the first wait. */
struct invocation *script_begin_wait(lua_State *L)
{
    struct invocation *invocation = script_of(L)->current;
    script_check_waits(L);
    start_limit(invocation);
    invocation->waiting = invocation->waited = true;
    return invocation;
}

static bool is_observed(const struct script *script)
{
    return script->options.observer && script->options.observer->called;
}

/* "PutItem", or of another service "states:StartExecution". */
static void keep_asked(struct invocation *invocation, const struct aws_request *request,
                       const struct buf *body)
{
    if (!is_observed(invocation->script))
        return;
    invocation->told_verb = request->other ? mem_printf("%s:%s", request->other->signing, request->operation)
                                           : mem_string(request->operation);
    const struct aws_place *place = request->place;
    if (place) {
        invocation->told_place = mem_zero(sizeof *place);
        *invocation->told_place = (struct aws_place){mem_string(place->region), mem_string(place->endpoint),
                                                     mem_string(place->role), NULL};
    }
    buf_add(&invocation->told, body->data ? body->data : "", body->size);
}

int script_wait_aws(lua_State *L, struct aws_request *request, struct buf *body, struct buf *tables,
                    lua_KFunction after)
{
    struct invocation *invocation = script_begin_wait(L);
    keep_asked(invocation, request, body);
    request->body = *body; /* not before: what raises must not lose it */
    *body = BUF_INIT;
    request->tables = tables->size ? buf_take(tables) : NULL;
    char name[64];
    snprintf(name, sizeof name, "%s.%s", request->other ? request->other->service : "DynamoDB",
             request->operation);
    const struct trace_place *trace = script_begin_span(L, name);
    if (trace)
        trace_write_amzn(trace, request->trace);
    invocation->held_bytes = request->body.size;
    state_hold(invocation->script, invocation->held_bytes);
    invocation->aws = aws_send(script_of(L)->options.aws, request, on_answer, invocation);
    return lua_yieldk(L, 0, 0, after);
}

static void on_http(void *user, struct transport_response *response, const struct err *err)
{
    struct invocation *invocation = user;
    invocation->http = NULL;
    end_span(invocation, response, err);
    invocation->response = response;
    invocation->err = err;
    invocation->starved = invocation->starved || (err && err->code == ERR_RESOURCES);
    script_go_on(invocation);
}

/* Of a request to a database (net/resp.h): its statements or commands. */
static void add_words(struct buf *out, const struct transport_request *request)
{
    struct resp resp = {request->body, request->body + request->body_size};
    size_t size;
    for (size_t list = 0; resp_has_more(&resp) && out->size < TOLD_BYTES_MAX; list++) {
        bool heads = list == 0 && strcmp(request->method, "POSTGRES") == 0;
        if (list && out->size)
            buf_add_text(out, "; ");
        for (size_t i = 0, words = resp_take_list(&resp); i < words; i++) {
            const char *word = resp_take_word(&resp, &size);
            if (!heads)
                buf_printf(out, "%s%.*s", i ? " " : "", word ? (int)size : 4, word ? word : "NULL");
        }
    }
}

static void keep_called(struct invocation *invocation, const struct transport_request *request)
{
    if (!is_observed(invocation->script))
        return;
    if (strncmp(request->url, "http", 4) == 0)
        buf_add_text(&invocation->told, request->url);
    else
        add_words(&invocation->told, request); /* a password may stand in the URL */
    if (invocation->told.size)
        invocation->told_verb = mem_string(request->method);
}

int script_wait_http_with(lua_State *L, const struct transport_request *request, lua_KContext context,
                          lua_KFunction after)
{
    struct invocation *invocation = script_begin_wait(L);
    keep_called(invocation, request);
    invocation->http = transport_send(script_of(L)->options.transport, request, on_http, invocation);
    return lua_yieldk(L, 0, context, after);
}

int script_wait_http(lua_State *L, const struct transport_request *request, lua_KFunction after)
{
    return script_wait_http_with(L, request, 0, after);
}

struct ticket {
    struct script *script; /* held: the invocation cannot go before it */
    struct invocation *invocation;
    uint64_t serial;
};

struct ticket *script_ticket(lua_State *L)
{
    struct invocation *invocation = script_begin_wait(L);
    struct ticket *ticket = mem_alloc(sizeof *ticket);
    handler_hold(&script_of(L)->handler);
    *ticket = (struct ticket){script_of(L), invocation, invocation->serial};
    return ticket;
}

struct invocation *script_ticket_take(struct ticket *ticket)
{
    struct invocation *invocation = ticket->invocation;
    bool waits = invocation->serial == ticket->serial;
    struct script *script = ticket->script;
    free(ticket);
    handler_release(&script->handler); /* one that waits holds the script, too */
    return waits ? invocation : NULL;
}

int script_wait_ms(lua_State *L, int64_t ms, lua_KFunction after)
{
    struct invocation *invocation = script_begin_wait(L);
    timer_init(&invocation->sleep, on_turn, invocation);
    timer_set(script_of(L)->options.reactor, &invocation->sleep, ms);
    return lua_yieldk(L, 0, 0, after);
}

enum handler_function invocation_function_for(const struct script *script, enum record_event event)
{
    enum handler_function own = (enum handler_function)event; /* both count INSERT, MODIFY, REMOVE */
    if (script->handler.kind == HANDLER_REQUESTS)
        return ON_REQUEST;
    if (script->handler.kind != HANDLER_RECORDS)
        return script->has[ON_BATCH] ? ON_BATCH : ON_WINDOW;
    return script->has[own] ? own : ON_RECORD;
}

/* Making a coroutine and the arguments may run out of the handler's memory. */
static void make_coroutine(lua_State *L, struct invocation *invocation)
{
    if (invocation->co) /* which it has only when nothing can raise any more */
        return;
    lua_State *co = lua_newthread(L);
    state_mark_waiting(L, co, true); /* no script resumes it */
    invocation->co_reference = luaL_ref(L, LUA_REGISTRYINDEX);
    invocation->co = co;
    invocation->script->coroutine_count++;
}

static int reference_of(const struct invocation *invocation)
{
    const struct script *script = invocation->script;
    const struct handler_call *call = invocation->call;
    return script->functions[invocation_function_for(script, call->count ? call->inputs->record->event
                                                                         : RECORD_INSERT)];
}

static int prepare_protected(lua_State *L)
{
    struct invocation *invocation = lua_touserdata(L, 1);
    struct script *script = invocation->script;
    int arguments = 1;
    lua_settop(L, 0);
    make_coroutine(L, invocation);
    if (!invocation->call || script->handler.kind == HANDLER_RECORDS)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference_of(invocation));
    if (script->handler.kind == HANDLER_REQUESTS)
        request_push(L, invocation->call->request);
    else
        arguments = outcome_push_arguments(L, invocation);
    lua_xmove(L, invocation->co, arguments + 1);
    lua_pushinteger(L, arguments);
    return 1;
}

/* What is made for one record takes a few hundred bytes: they may be more than there are, so that nothing
 * here can raise. */
static void push_record(struct invocation *invocation)
{
    struct script *script = invocation->script;
    lua_State *co = invocation->co;
    size_t memory_max = script->memory_max;
    script->memory_max = SIZE_MAX;
    invocation->record = record_push(co, invocation, 0); /* it stays below the function */
    lua_rawgeti(co, LUA_REGISTRYINDEX, reference_of(invocation));
    lua_pushvalue(co, -2);
    script->memory_max = memory_max;
}

/* With its coroutine, and the function and its arguments on that: how many; -1 and the error. */
static int prepare(struct invocation *invocation, struct handler_outcome *outcome)
{
    struct script *script = invocation->script;
    lua_State *L = script->L;
    bool of_record = invocation->call && script->handler.kind == HANDLER_RECORDS;
    int arguments = 1;
    invocation->cpu_left_ms = script->handler.settings.cpu_limit_ms;
    if (!of_record || !invocation->co) { /* nearly always it has one, which has been used before */
        lua_pushcfunction(L, prepare_protected);
        lua_pushlightuserdata(L, invocation);
        if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
            outcome->error = script_error(script, lua_tostring(L, -1));
            lua_settop(L, 0);
            put_idle(invocation);
            return -1;
        }
        arguments = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    if (of_record)
        push_record(invocation);
    return of_record ? 1 : arguments;
}

static enum handler_result begin(struct invocation *invocation, int arguments, struct invocation **running,
                                 struct handler_outcome *outcome)
{
    int64_t now_us = invocation->call ? invocation->call->begun_us : 0;
    enum handler_result result = advance(invocation, arguments, now_us, outcome);
    if (result == HANDLER_WAITING)
        *running = invocation;
    else
        put_idle(invocation);
    return result;
}

enum handler_result invocation_start(struct script *script, handler_done_fn *done, void *user,
                                     struct invocation **running, struct handler_outcome *outcome)
{
    handler_hold(&script->handler);
    struct invocation *invocation = take_idle(script);
    invocation->call = NULL;
    invocation->done = done;
    invocation->user = user;
    if (prepare(invocation, outcome) < 0)
        return HANDLER_RAISED;
    lua_xmove(script->L, invocation->co, 1);
    return begin(invocation, 0, running, outcome);
}

enum handler_result invocation_run(struct handler *handler, const struct handler_call *call,
                                   handler_done_fn *done, void *user, struct invocation **running,
                                   struct handler_outcome *outcome)
{
    struct script *script = script_of_handler(handler);
    handler_hold(handler);
    struct invocation *invocation = take_idle(script);
    CHECK(!script->current);
    invocation->call = call;
    invocation->done = done;
    invocation->user = user;
    int arguments = prepare(invocation, outcome);
    return arguments < 0 ? HANDLER_RAISED : begin(invocation, arguments, running, outcome);
}

/* ---- parts ---- */

static int prepare_part(lua_State *L)
{
    struct invocation *part = lua_touserdata(L, 1);
    int function = (int)lua_tointeger(L, 2);
    lua_settop(L, 0);
    make_coroutine(L, part);
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    lua_pushinteger(L, (lua_Integer)part->part_number);
    lua_xmove(L, part->co, 2);
    return 0;
}

void invocation_run_part(struct invocation *whole, struct crew *crew, struct list *members, int function,
                         size_t number)
{
    struct script *script = whole->script;
    struct handler_outcome outcome = {0};
    lua_State *L = script->L;
    CHECK(!script->current);
    handler_hold(&script->handler);
    struct invocation *part = take_idle(script);
    part->call = whole->call;
    part->root = whole->root;
    part->depth = whole->depth + 1;
    part->part_of = crew;
    part->parts_ops = whole->parts_ops;
    part->part_number = number;
    list_append(members, &part->member);
    lua_pushcfunction(L, prepare_part);
    lua_pushlightuserdata(L, part);
    lua_pushinteger(L, function);
    bool ok = lua_pcall(L, 2, 0, 0) == LUA_OK;
    if (!ok)
        outcome.error = script_error(script, lua_tostring(L, -1));
    lua_settop(L, 0);
    enum handler_result result = ok ? advance(part, 1, 0, &outcome) : HANDLER_RAISED;
    if (result != HANDLER_WAITING)
        finish(part, result, &outcome);
}

void invocation_drop_part(struct invocation *part)
{
    stop_waiting(part);
    reset(part);
    put_idle(part);
}

void invocation_cancel(struct handler *handler, struct invocation *invocation)
{
    (void)handler;
    stop_waiting(invocation);
    reset(invocation);
    put_idle(invocation);
}
