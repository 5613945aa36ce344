/* internal.h: what the files of script/ share. */
#ifndef TIDEMILL_SCRIPT_INTERNAL_H
#define TIDEMILL_SCRIPT_INTERNAL_H

#include <lua.h>

#include "script/blocks.h"
#include "script/script.h"
#include "value/lazy_item.h"

struct filter;

#define CLOSE_MS_MAX 100 /* for the __close and the error's __tostring of a handler that failed */

enum handler_function {
    ON_INSERT,
    ON_MODIFY,
    ON_REMOVE,
    ON_RECORD,
    ON_BATCH,
    ON_WINDOW,
    ON_REQUEST,
    FUNCTION_COUNT
};

/* A file the script was made of. */
struct script_file {
    char *path;
    uint64_t hash;
};

struct script {
    struct handler handler; /* the first: one is the other */
    lua_State *L;
    struct script_file *files;
    size_t file_count, file_capacity;
    struct script_options options;
    char *path, *lib;
    const struct config_handler *section; /* of the INI, or NULL */
    struct filter *filter;                /* NULL: all */
    bool has[FUNCTION_COUNT];
    int functions[FUNCTION_COUNT]; /* registry references */
    int record_meta;               /* likewise: the records' metatable */
    struct invocation *current;    /* the one whose coroutine runs now */
    struct invocation *idle;       /* to be used again */
    struct invocation *all;        /* none is freed before the script: Lua may still point to it */
    size_t coroutine_count, invocation_count;
    uint64_t tag; /* names this Lua state among all of all hosts */
    struct blocks blocks;
    struct arena scratch;          /* of attributes that are decoded, for a moment */
    size_t memory_bytes;           /* Lua's, and what C holds for it */
    struct stats_script *counters; /* or NULL */
    size_t answers_bytes;          /* of those: answers whose items are decoded when they are touched */
    int64_t told_bytes;            /* of its memory, to the counters */
    size_t memory_max;
    bool in_slice, loaded;
    int closes;                /* of coroutines, one within the other */
    int drops;                 /* of parts, likewise; they share ... */
    int64_t close_left_ms;     /* ... so much for their __close */
    int bound;                 /* so many coroutines run within something that cannot be suspended */
    lua_State *watched_before; /* the slice */
    int64_t cpu_left_ms;       /* what the running code may use; 0: no limit */
    int64_t cpu_base_ms;       /* thread's time when the hook first saw it run; -1: not yet */
    bool cpu_exhausted;        /* the slice did: no pcall may catch what ends it */
    bool refuses;   /* likewise, while memory ended again and again: no more of it before the slice ends */
    bool preempted; /* the running invocation only made room for others */
    int64_t slice_begin_ms; /* monotonic; and finer: */
    int64_t slice_begin_us, slice_ended_us;
    int64_t slice_end_ms;         /* when it should make room */
    struct list owned;            /* objects of C's that stand on its stacks */
    int weak_meta;                /* registry reference, see keep.c */
    int item_kind;                /* likewise, see lazy_open */
    struct lazy_habits habits[2]; /* of images */
    int touched;                  /* attributes of an image, as far as calls have touched few */
    struct list kept; /* of the pages that record objects point into; and the last, and one for the next */
    struct kept *kept_last, *kept_spare;
    struct script_table *tables;
    size_t table_count, table_capacity;
    char **targets; /* that it says it emits to, ends with NULL; NULL: it has not said */
    struct script_call *calls;
    size_t call_count, call_capacity;
    bool declares_settings, declares_tables, declares_calls, uses_dynamodb, uses_emit, uses_aws;
    bool writes_own_table; /* its text or its settings name the stream's table */
};

/* Everything that it emitted was accepted, or something was refused. */
typedef void emissions_fn(struct invocation *invocation, enum handler_result result,
                          struct handler_outcome *outcome);

/* What parts.c does for invocation.c. */
struct parts_ops {
    void (*over)(struct invocation *part,
                 struct handler_outcome *outcome); /* takes its messages and the error */
    void (*drop)(struct invocation *whole);        /* none of its parts is waited for any longer */
};

struct invocation {
    struct invocation *next_idle, *next_of_all;
    struct invocation
        *root;         /* itself, or what it is a part of, at the top: time, processor and messages are its */
    struct crew *crew; /* the parts that it waits for; NULL: for none */
    struct crew *part_of;              /* it is one of those; NULL: of none */
    const struct parts_ops *parts_ops; /* of either */
    size_t part_number, depth;         /* 0: it is no part */
    size_t parts;                      /* of a root: those that run, at all depths */
    bool exhausted;                    /* of a root: a part of it used up the processor's time */
    struct list member;
    struct script *script;
    lua_State *co; /* NULL: to be made */
    int co_reference;
    const struct handler_call *call;             /* NULL: a function without a record */
    int results;                                 /* of the function that returned, on the coroutine's stack */
    size_t number;                               /* among the script's */
    struct held_claim *claims;                   /* of tidemill.once, not finished yet; owned */
    void (*give_up_claims)(struct invocation *); /* of those: when it ends, they are nobody's */
    uint64_t serial;              /* grows with each use: Lua's view of an earlier record is no longer good */
    struct record_object *record; /* the one that it is given alone, which stands on its stack; or NULL */
    bool waiting;                 /* a yield that the host understands */
    bool waited;                  /* that, or for its turn, at some time: there may be something to stop */
    bool deaf;                    /* an error out of a hook ended its coroutine: no hook comes any more */
    bool starved;                 /* a call of it found no descriptor: what comes of that is no attempt */
    struct aws_call *aws;         /* what it waits for: one of these three */
    struct transport_call *http;
    struct span span;             /* of that call */
    struct aws_place *told_place; /* where it goes; NULL: where all go; owned */
    char *told_verb;              /* and what an observer will be told of it: owned; NULL: nobody observes */
    struct buf told;
    char span_name[64];
    struct timer sleep;
    struct task go_on;               /* it made room for others, and it is its turn again */
    struct handler_answer *answered; /* of a test's request; owned */
    int answered_status;
    char *stored;                        /* what the store answered, until it is taken; owned */
    size_t held_bytes;                   /* of the request that is on its way */
    struct transport_response *response; /* of the call that just ended */
    const struct err *err;
    int64_t cpu_left_ms;
    struct emitted *emitted; /* what it has emitted, in order; owned */
    size_t emitted_count, emitted_capacity;
    size_t emitted_all, emitted_bytes; /* with what its parts have emitted */
    size_t *emitted_of;             /* of each record of several: how many of them; owned; NULL: none yet */
    size_t emissions;               /* not accepted yet, after the function has returned */
    struct handler_outcome outcome; /* what comes when they are ... */
    emissions_fn *emitted_done;     /* ... here */
    struct timer limit;             /* the whole invocation, waiting included */
    handler_done_fn *done;
    void *user;
};

static inline struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

static inline struct script *script_of_handler(struct handler *handler)
{
    return list_entry(handler, struct script, handler);
}

/* state.c */
void state_open(struct script *script); /* for record_open and sandbox_open to fill */
/* What runs next, in L, may use so much of the processor; `now_us`, monotonic, where that was read just now,
 * else 0. The end tells the milliseconds that it used. */
void state_begin_slice(struct script *script, lua_State *L, int64_t left_ms, int64_t now_us);
int64_t state_end_slice(struct script *script);
/* So much of its memory is among what all versions of the handler have. */
void state_count_memory(struct script *script, int64_t bytes);

/* Within L another coroutine runs, until state_leave. A coroutine may always yield to who resumed it; whether
 * that one can, Lua does not say: what waits for the host must get through all of them. `may_wait`: false
 * where L runs a __close. */
struct state_entry {
    lua_State *before;
    bool bound;
};
struct state_entry state_enter(lua_State *L, lua_State *co, bool may_wait);
void state_leave(lua_State *L, const struct state_entry *entry);

/* An object of C's, zero, onto the stack, where it stays: it is released when the C function that asked for
 * it returns or raises, and not when the collector comes round, which knows nothing of what it holds; one
 * that Lua does not come to release (a finalizer fails where the C stack is at its end) goes with the script,
 * and `L` is NULL. `name` is opened with the state and not with the first use: there the memory may end in
 * the midst of it. */
typedef void state_release_fn(lua_State *L, void *object);
void state_open_owned(lua_State *L, const char *name);
/* One that a script keeps: released when the collector finds it, else with the script. Its metatable has only
 * __gc. state_kept() is NULL where it is released, which keys of a weak table can outlive. */
void state_open_kept(lua_State *L, const char *name);
void *state_push_kept(lua_State *L, struct list *all, size_t size, const char *name,
                      state_release_fn *release);
void *state_kept(lua_State *L, int index, const char *name); /* raises where it is none of `name` */
void *state_push_owned(lua_State *L, struct list *all, size_t size, const char *name,
                       state_release_fn *release);
void *state_owned(lua_State *L, int index); /* the object there */
void state_release_owned(struct script *script);

/* Can what runs in L be suspended, down to the host? */
bool state_may_wait(lua_State *L);

/* May the code go on? Raises when it used up its part of the processor. */
void state_tick(lua_State *L);

/* A file may begin with a byte order mark and with a line for the shell, as lua(1) takes them; lines keep
 * their numbers. */
void state_skip_first_line(const char **text, size_t *size);

/* Pushes the chunk (text only) as a function and returns LUA_OK, or an error: a text, and Lua's number of it.
 * The compiler calls nothing that a hook would see: it is watched as it reads. */
int state_compile(lua_State *L, const char *text, size_t size, const char *name);

/* coverage.c. coverage_tell_lines: the chunk that was just compiled is on top; `lines`: there are no more. */
void coverage_tell_lines(lua_State *L, const struct observer *observer, const char *path, size_t lines);
void coverage_count(lua_State *L, const struct observer *observer,
                    lua_Debug *activation); /* a line is about to run */

/* Has the running invocation had its turn, and can it wait here? Then use `return state_make_room(L, ...)`,
 * which goes on with `k` when it is its turn again. */
bool state_should_make_room(lua_State *L);
int state_make_room(lua_State *L, lua_KContext context, lua_KFunction k);

/* Do so many bytes more fit into the handler's memory? The second raises where they do not. */
bool state_has_room(lua_State *L, size_t bytes);
void state_check_room(lua_State *L, size_t bytes);
size_t state_room(const struct script *script);

/* What C keeps for a script longer than one call of it (bodies on their way, compiled patterns) counts as its
 * memory. */
void state_hold(struct script *script, size_t bytes);
void state_release(struct script *script, size_t bytes);

/* "scripts/stock.lua:12" of the innermost line of the handler's own files; "" when there is none. */
void state_find_line(lua_State *co, char *text, size_t size);

/* Behind "tidemill.dynamodb:12: ": where in the runtime library it was raised helps nobody. */
const char *state_without_library_line(const char *text);

/* What went wrong around a call, as an error of the script; `text` may be NULL: there was no memory for it.
 */
struct handler_error script_error(const struct script *script, const char *text);

/* May a script not resume that coroutine now, since the host will, or another invocation is in it? `index`:
 * of its object. */
void state_mark_waiting(lua_State *L, lua_State *co, bool waits);
bool state_is_waiting(lua_State *L, int index);

/* The script was made of these bytes, too. */
void script_add_file(struct script *script, const char *path, const char *text, size_t size);

/* Suspend the running invocation until its call ends; then `after` continues with invocation->response or
 * ->err. `body` and `tables` (of Lua's) are taken. Raises where nothing can wait (while the script loads).
 * Use as `return script_wait(...)`. */
/* A call of the running invocation begins, with a span of its own where its record is traced: where it is in
 * the trace; NULL: in none. */
const struct trace_place *script_begin_span(lua_State *L, const char *name);

/* Raises where a call cannot wait now; what follows at once can. */
void script_check_waits(lua_State *L);

/* The invocation waits from here on, and its time counts. Raises as script_check_waits does. */
struct invocation *script_begin_wait(lua_State *L);

int script_wait_aws(lua_State *L, struct aws_request *request, struct buf *body, struct buf *tables,
                    lua_KFunction after);

/* The same for an HTTP request, whose body must stay on the coroutine's stack, and for time. */
int script_wait_http(lua_State *L, const struct transport_request *request, lua_KFunction after);
int script_wait_http_with(lua_State *L, const struct transport_request *request, lua_KContext context,
                          lua_KFunction after);
int script_wait_ms(lua_State *L, int64_t ms, lua_KFunction after);

/* The same for something that cannot be cancelled: `ticket` outlives the invocation. When it is over, take it
 * back with script_ticket_take: the invocation if it still waits for this, else NULL; then script_go_on, or
 * nothing. */
struct ticket;
struct ticket *script_ticket(lua_State *L);
struct invocation *script_ticket_take(struct ticket *ticket);
void script_go_on(struct invocation *invocation);

/* Call the function on top of the state's stack, without a record. */
enum handler_result invocation_start(struct script *script, handler_done_fn *done, void *user,
                                     struct invocation **running, struct handler_outcome *outcome);

/* As handler_ops say. */
enum handler_result invocation_run(struct handler *handler, const struct handler_call *call,
                                   handler_done_fn *done, void *user, struct invocation **running,
                                   struct handler_outcome *outcome);
void invocation_cancel(struct handler *handler, struct invocation *invocation);

/* Calls the function (a registry reference) with the number as a part of `whole`, among `members`; when that
 * has ended, maybe at once, parts_ops->over is called. invocation_drop_part: it is not waited for. */
void invocation_run_part(struct invocation *whole, struct crew *crew, struct list *members, int function,
                         size_t number);
void invocation_drop_part(struct invocation *part);

/* Which function takes such an event; maybe one that the handler does not have. */
enum handler_function invocation_function_for(const struct script *script, enum record_event event);

/* request.c. False, and outcome->error, where what the function returned is no answer. */
void request_push(lua_State *L, const struct handler_request *request);
bool request_read_answer(struct invocation *invocation, struct handler_outcome *outcome);

/* emissions.c: what an invocation emits is collected until it returns, then sent. */

/* Takes the message. `place`: the record that it is for, -1: the call as a whole. Raises where nothing can be
 * emitted, and when it is too much. */
void emissions_add(lua_State *L, const char *target, struct message *message, int64_t place);

/* The function has returned: send. True when that is to be waited for; `outcome` is then taken, and `done`
 * gets it. */
bool emissions_send(struct invocation *invocation, struct handler_outcome *outcome, emissions_fn *done);
void emissions_drop(struct invocation *invocation);

/* What a part has emitted, into the whole's, behind what that has. The messages are taken, not the array. */
void emissions_take(struct invocation *whole, struct emitted *emitted, size_t count);
void emissions_free(struct script *script, struct emitted *emitted, size_t count);

/* The argument as text without zero bytes, which C cannot carry: else it raises, and says so. */
const char *script_check_text(lua_State *L, int argument);

/* On the stack, where it stays: Lua frees it when the C function returns or raises. The arena is bounded by
 * the handler's memory. */
struct buf *script_buf(lua_State *L);
struct arena *script_arena(lua_State *L);

/* sandbox.c */
void sandbox_open(lua_State *L);

/* bounds.c: what could stay in C for ever. */
void bounds_open(lua_State *L);

/* record.c: push Lua's view of the invocation's record; good until the invocation's serial changes. Images of
 * it that the script keeps are good for ever. */
void record_open(lua_State *L);
struct record_object *record_push(lua_State *L, struct invocation *invocation, size_t index);

/* Its call ends; the stack that its object stands on is still there. */
void record_end(struct invocation *invocation);

/* keep.c: objects that point into a page. Those that live when it goes are kept: `keep` is called with the
 * index of each and raises nothing. keep_open: once per state. keep_until: the object at the index points
 * into that page; a script has one `keep` for all that point into one. Raises where memory ends; takes six
 * places of the stack. keep_drop_all: no object of the script's points anywhere any more. */
typedef void keep_fn(lua_State *L, int object);
void keep_open(lua_State *L);
void keep_until(lua_State *L, int object, struct page *page, keep_fn *keep);
void keep_drop_all(struct script *script);

/* What the record object at `index` shows; NULL when it is something else. Raises when the record was handed
 * back. `source` may be NULL. */
const struct handler_input *record_test(lua_State *L, int index, const struct handler_source **source);

/* The place among the invocation's records of the object at `index`; -1 when it is none of them. Raises
 * nothing. */
int64_t record_place(lua_State *L, int index, const struct invocation *invocation);

/* outcome.c: what a handler returned, off its coroutine's stack. False and an error in `outcome`. */
bool outcome_read(struct invocation *invocation, struct handler_outcome *outcome);

/* outcome.c: push the arguments of on_batch and on_window; may raise. */
int outcome_push_arguments(lua_State *L, struct invocation *invocation);

/* tables.c: the list on top of the stack, its `tables` or `targets`. False and `err`. */
bool tables_read(struct script *script, lua_State *L, struct err *err);
bool targets_read(struct script *script, lua_State *L, struct err *err);
bool services_read(struct script *script, lua_State *L, struct err *err);
void tables_free(struct script *script);

/* library.c: the text of a module of the runtime library, or NULL. */
const char *library_text(const char *module, size_t *size);
/* One after the other; NULL: there are no more. */
const char *library_at(size_t i, const char **module, size_t *size);
/* Likewise, as a function that takes the module's raw verbs. */
void script_push_library(lua_State *L, const char *name);
/* The text among the keys of the table at `index` that `name` may have been meant for; NULL: none. It stays
 * as long as the table has it. Leaves the stack as it was. */
const char *script_nearest_key(lua_State *L, int index, const char *name);
/* The module at the top of the stack: what it does not have is an error. */
void script_make_strict(lua_State *L, const char *name);

/* bind_dynamodb.c: once per state, before any script runs. */
void dynamodb_open(lua_State *L);

/* bind_*.c: each pushes its module's table of raw verbs. */
int bind_dynamodb(lua_State *L);
int bind_json(lua_State *L);
int bind_log(lua_State *L);
int bind_config(lua_State *L);
/* The table on top of the stack is what the script says of its settings: defaults go into tidemill.config,
 * which knows no others from here on. What is wrong is told. */
typedef void settings_complain_fn(void *user, const char *sentence);
void settings_declare(struct script *script, lua_State *L, settings_complain_fn *complain, void *user);
int bind_pattern(lua_State *L);
int bind_once(lua_State *L);
/* bind_once.c, for others, too: seconds(number or "7d") -> number, or nil where it is no time above 0. */
int script_raw_seconds(lua_State *L);
/* Likewise: scope() -> "GROUP:HANDLER", what markers of this handler's begin with elsewhere. */
int script_raw_scope(lua_State *L);
int bind_http(lua_State *L);
/* bind_http.c: its status, headers (a table by lower-case name) and body, which it takes; 3. */
int script_push_response(lua_State *L, struct transport_response *response);
/* Of a call that had none: nil and { code =, message = }; 2. */
int script_push_no_response(lua_State *L, const struct err *err);
/* replies.c: all that net/transport_redis.c or net/transport_postgres.c have answered, as a list of replies
 * as tidemill.redis has them; with "OK" for those that are missing of `least`. Takes the response's body. */
void script_push_replies(lua_State *L, struct transport_response *response, lua_Integer least);
/* bind_aws.c: where a call goes: region, endpoint, role and external_id in the table at `index` (not a
 * negative one); the texts stay on the stack. Raises with `what` before it. */
struct script_place {
    const char *region, *endpoint, *role, *external_id; /* NULL: as the host has it */
};
struct script_place script_read_place(lua_State *L, int index, const char *what);
struct aws_place *script_make_place(const struct script_place *at); /* owned; NULL: where the host is */

int bind_aws(lua_State *L);
int bind_redis(lua_State *L);
int bind_postgres(lua_State *L);
int bind_all(lua_State *L); /* parts.c */
int bind_template(lua_State *L);
int bind_time(lua_State *L);
int bind_crypto(lua_State *L);
int bind_emit(lua_State *L);
int bind_test(lua_State *L);

/* bind_pattern.c: once per state, before any script runs. */
void pattern_open(lua_State *L);

/* bind_log.c: print */
int bind_print(lua_State *L);

#endif
