/* test_hostile.c: programs made at random of what scripts trip over: coroutines that are resumed from
 * elsewhere, metamethods, __close, errors of every kind, waits in all of these. Several records are under way
 * in each, some of which are given up. None may end the process or stay for ever; ASan and UBSan see the
 * rest.
 *
 *   HOSTILE=20000 build/tests/test_hostile     so many programs (1,000; 10,000 under a sanitizer)
 *   HOSTILE_SEED=7                             from there on; each program is named by its seed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "cmd/outside.h"
#include "core/plugs.h"
#include "record/page.h"

#if defined(__SANITIZE_THREAD__)
#define PROGRAMS 500 /* it loses count of calls that longjmp leaves, see test_script.c */
#elif defined(__SANITIZE_ADDRESS__)
#define PROGRAMS 10000
#else
#define PROGRAMS 1000
#endif

#define RECORDS 4
#define PATIENCE_S 120 /* of one program: it has 20 ms, and its calls 200 */

/* ---- programs ---- */

struct program {
    uint64_t random;
    struct buf text;
    int depth;
};

static unsigned below(struct program *p, unsigned limit)
{
    p->random = hash_mix(p->random + 0x9e3779b97f4a7c15u);
    return (unsigned)(p->random >> 33) % limit;
}

static void block(struct program *p);
static void expression(struct program *p);

static void add(struct program *p, const char *text)
{
    buf_add_text(&p->text, text);
}

/* `template`: $ an expression, @ a block, ! a function, # a place where all records' code finds things. */
static void expand(struct program *p, const char *template)
{
    static const char *const places[] = {"shared.a", "shared.b", "shared.c", "shared.d", "own.a", "own.b"};
    for (; *template; template ++) {
        if (*template == '$') {
            expression(p);
        } else if (*template == '@') {
            block(p);
        } else if (*template == '!') {
            add(p, "function(...) ");
            block(p);
            add(p, " end");
        } else if (*template == '#') {
            add(p, places[below(p, sizeof places / sizeof *places)]);
        } else {
            buf_add_char(&p->text, *template);
        }
    }
}

static void expression(struct program *p)
{
    static const char *const leaves[] = {
        "nil",
        "1",
        "'x'",
        "#",
        "record",
        "record.new",
        "record.raw",
        "...",
        "{}",
        "own",
        "shared",
        "print",
        "true",
        "('x'):rep(1000)",
        "2.5",
        "math.huge",
        "record.id",
        "dynamodb.null",
        "coroutine.running()",
        "co()",
        "(select(2, coroutine.running()))",
    };
    static const char *const inner[] = {
        "!",
        "coroutine.create(!)",
        "coroutine.wrap(!)",
        "setmetatable({}, {__index = !})",
        "setmetatable({}, {__tostring = !, __name = $})",
        "setmetatable({}, {__close = !})",
        "setmetatable({$}, {__len = !, __eq = !})",
        "setmetatable({}, {__call = !, __concat = !})",
        "setmetatable({}, {__lt = !, __le = !, __unm = !})",
        "setmetatable({a = $}, {__pairs = !, __metatable = $})",
        "{$, $}",
        "{a = $, b = $}",
        "pcall(!)",
        "pcall($, $)",
        "xpcall(!, !)",
        "select('#', pcall(coroutine.resume, #, $))",
        "pcall(coroutine.close, #)",
        "coroutine.status(coroutine.create(!))",
        "coroutine.isyieldable()",
        "pcall(coroutine.yield, $)",
        "tostring($)",
        "pcall(json.encode, $)",
        "pcall(table.sort, {3, 1, 2}, !)",
        "pcall(string.gsub, 'xyz', '.', !)",
        "pcall(string.rep, 'x', 100000)",
        "pcall(next, $)",
        "rawequal($, $)",
        "pcall(rawset, $, 'a', $)",
        "pcall(function(...) return ($) .. ($) end)",
        "pcall(function(...) return ($) < ($) end)",
        "pcall(function(...) return rawlen($) end)",
        "pcall(function(...) return ($)() end)",
        "pcall(function(...) return ($)[$] end)",
        "pcall(load, 'return ...')",
        "dynamodb.list({$})",
        "pcall(dynamodb.set, {$, $})",
        "pcall(pattern.compile, {a = {$}})",
        "pcall(table.unpack, {$, $, $})",
        "collectgarbage('count')",
        "pcall(utf8.char, 65, 66)",
        "pcall(table.concat, {$, $}, ',')",
        "pcall(require, 'tidemill.json')",
        "pcall(error, $)",
        "pcall(record.changed, record, 'id')",
        "pcall(string.format, '%s', $)",
    };
    if (p->depth > 5 || below(p, 100) < 45) {
        expand(p, leaves[below(p, sizeof leaves / sizeof *leaves)]);
        return;
    }
    p->depth++;
    expand(p, inner[below(p, sizeof inner / sizeof *inner)]);
    p->depth--;
}

static void statement(struct program *p)
{
    static const char *const statements[] = {
        "# = $",
        "# = $",
        "# = coroutine.create(!)",
        "# = coroutine.wrap(!)",
        "# = coroutine.running()",
        "# = record",
        "# = !",
        "local _ = $",
        "local _ <close> = setmetatable({}, {__close = !})",
        "do local _ <close> = setmetatable({}, {__close = !}) @ end",
        "pcall(!)",
        "pcall(coroutine.resume, #, $)",
        "pcall(coroutine.resume, coroutine.create(!), $)",
        "pcall(coroutine.close, #)",
        "pcall(#, $)",
        "local _ = pcall(function(...) return #.new, #.id end)",
        "for _ = 1, 3 do @ end",
        "if $ then @ else @ end",
        "pcall(http.get, 'http://a.example/', {timeout = 1})",
        "http.post('http://a.example/', {body = 'x'})",
        "pcall(dynamodb.put, 'T', {id = 'a', v = $})",
        "dynamodb.get('T', {id = 'a'})",
        "time.sleep(0)",
        "pcall(time.sleep, 0.001)",
        "once('k' .. record.sequence, !)",
        "pcall(once, 'k', !)",
        "pcall(emit, 't', $)",
        "emit('t', 'x')",
        "log.debug($, {a = $})",
        "pcall(log.info, $)",
        "coroutine.yield($)",
        "pcall(coroutine.wrap(!), $)",
        "local _ = coroutine.wrap(!)($)",
        "collectgarbage()",
        "pcall(table.sort, {1, 2, 3, 4}, !)",
        "pcall(string.gsub, 'abc', '%w', !)",
        "for k, v in pcall(pairs, $) do break end",
        "local t = setmetatable({}, {__gc = $})",
        "pcall(setmetatable, #, {__close = !, __index = !})",
        "error($)",
        "error(setmetatable({}, {__tostring = !}))",
        "error(tidemill.permanent($))",
        "do return $ end",
        "pcall(xpcall, !, !, $)",
        "while $ do @ break end",
        "repeat @ until true",
        "repeat local _ <close> = setmetatable({}, {__close = !}) until true",
        "local function f(...) @ end pcall(f, $)",
        "own.n = (own.n or 0) + 1 if own.n > 50 then error('enough') end",
    };
    if (below(p, 400) == 0)
        expand(p, "while true do @ end");
    else
        expand(p, statements[below(p, sizeof statements / sizeof *statements)]);
}

static void block(struct program *p)
{
    unsigned count = 1 + below(p, 3);
    if (++p->depth > 6)
        count = 0;
    add(p, "do ");
    for (unsigned i = 0; i < count; i++) {
        statement(p);
        add(p, "; ");
    }
    add(p, "end");
    if (below(p, 4) == 0) {
        add(p, " do return ");
        expression(p);
        add(p, " end");
    }
    p->depth--;
}

static void make_program(struct program *p)
{
    add(p, "local json, http, log, once = require 'tidemill.json', require 'tidemill.http', require "
           "'tidemill.log', require 'tidemill.once'\n"
           "local emit, time, pattern = require 'tidemill.emit', require 'tidemill.time', require "
           "'tidemill.pattern'\n"
           "local dynamodb, shared = require 'tidemill.dynamodb', {}\n"
           "local function co() return shared.a end\n"
           "return { stream = 's', cpu_limit = '20ms', memory = '8MiB', timeout = '200ms', on_record = "
           "function(record, ...)\n"
           "local own = {}\n");
    for (int i = 0; i < 4; i++) {
        block(p);
        add(p, "\n");
    }
    add(p, "end }\n");
}

/* ---- running them ---- */

struct call {
    struct invocation *invocation;
    enum handler_result result;
    struct handler_outcome outcome;
    bool done;
};

struct fixture {
    struct cmd_outside outside;
    struct config *config;
    struct page *page;
    char directory[64], path[128];
};

static const char *tell_call(void *user, const struct transport_request *request)
{
    (void)user;
    (void)request;
    return NULL;
}

static void tell_emission(void *user, const char *target, const struct message *message)
{
    (void)user;
    (void)target;
    (void)message;
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct call *call = user;
    assert_false(call->done);
    call->done = true;
    call->result = result;
    call->outcome = *outcome;
}

static void set_up(struct fixture *f)
{
    struct err err;
    struct problems problems = PROBLEMS_INIT;
    struct buf body = BUF_INIT;
    snprintf(f->directory, sizeof f->directory, "/tmp/tidemill-hostile-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/tidemill.ini", f->directory);
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fputs("[aws]\nregion = us-east-1\n[host]\nlog_level = error\n[stream s]\ntable = T\n[target t]\ntype = "
          "stdout\n",
          file);
    fclose(file);
    f->config = config_load(f->path, &host_plugs, &problems);
    assert_int_equal(problems.count, 0);
    unlink(f->path);
    assert_true(cmd_outside_open(&f->outside, f->config,
                                 &(struct cmd_outside_options){.log_level = LOG_ERROR,
                                                               .tell_call = tell_call,
                                                               .tell_emission = tell_emission},
                                 &err));
    buf_add_text(&body, "{\"Records\":[");
    for (int i = 1; i <= RECORDS; i++)
        buf_printf(&body,
                   "%s{\"eventID\":\"%d\",\"eventName\":\"INSERT\",\"eventSource\":\"aws:dynamodb\","
                   "\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"i%d\"}},"
                   "\"NewImage\":{\"id\":{\"S\":\"i%d\"},\"n\":{\"N\":\"%d\"}},\"SequenceNumber\":\"%d\","
                   "\"ApproximateCreationDateTime\":1700000000},"
                   "\"eventSourceARN\":\"arn:aws:dynamodb:us-east-1:0:table/T/stream/x\"}",
                   i > 1 ? "," : "", i, i, i, i, 1000 + i);
    buf_add_text(&body, "]}");
    f->page = page_read(&body, &err);
    assert_non_null(f->page);
    snprintf(f->path, sizeof f->path, "%s/h.lua", f->directory);
}

static void tear_down(struct fixture *f)
{
    cmd_outside_close_store(&f->outside);
    cmd_outside_close(&f->outside);
    page_release(f->page);
    config_release(f->config);
    unlink(f->path);
    rmdir(f->directory);
}

static void write_program(const struct fixture *f, const struct program *p)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(p->text.data, 1, p->text.size, file), p->text.size);
    fclose(file);
}

static bool all_done(const struct call *calls)
{
    for (int i = 0; i < RECORDS; i++)
        if (!calls[i].done)
            return false;
    return true;
}

/* All records at once, and one of some is given up. */
static void run_program(struct fixture *f, struct handler *handler, struct program *p, int *returned)
{
    static const struct handler_source source = {.stream = "s",
                                                 .stream_arn =
                                                     "arn:aws:dynamodb:us-east-1:0:table/T/stream/x",
                                                 .table = "T",
                                                 .shard = "shardId-1"};
    struct call calls[RECORDS] = {0};
    struct handler_input inputs[RECORDS];
    struct handler_call asked[RECORDS];
    for (int i = 0; i < RECORDS; i++) {
        struct call *call = &calls[i];
        inputs[i] = (struct handler_input){.record = &f->page->records[i], .attempt = 1};
        asked[i] = (struct handler_call){.inputs = &inputs[i], .count = 1, .source = &source};
        call->result = handler_run(handler, &asked[i], on_done, call, &call->invocation, &call->outcome);
        call->done = call->result != HANDLER_WAITING;
    }
    unsigned given_up = below(p, 4 * RECORDS);
    if (given_up < RECORDS && !calls[given_up].done) {
        reactor_turn(f->outside.reactor, 0);
        if (!calls[given_up].done) {
            handler_cancel(handler, calls[given_up].invocation);
            calls[given_up].done = true;
        }
    }
    while (!all_done(calls))
        reactor_turn(f->outside.reactor, 10);
    for (int i = 0; i < RECORDS; i++) {
        *returned += calls[i].result == HANDLER_RETURNED;
        handler_outcome_fini(&calls[i].outcome);
    }
}

static void programs_made_at_random_hurt_themselves_alone(void **state)
{
    struct fixture f = {0};
    const char *many = getenv("HOSTILE"), *first = getenv("HOSTILE_SEED");
    long count = many ? strtol(many, NULL, 10) : PROGRAMS, seed = first ? strtol(first, NULL, 10) : 1;
    int returned = 0, loaded = 0;
    (void)state;
    set_up(&f);
    for (long i = seed; i < seed + count; i++) {
        struct program p = {.random = (uint64_t)i};
        struct problems problems = PROBLEMS_INIT;
        make_program(&p);
        write_program(&f, &p);
        if (count == 1)
            print_message("%s\n", p.text.data);
        alarm(PATIENCE_S);
        struct handler *handler = cmd_outside_load(&f.outside, f.path, f.config, &problems);
        if (handler) {
            loaded++;
            run_program(&f, handler, &p, &returned);
            handler_release(handler);
        } else if (many && count == 1) {
            print_error("%s\n", problems.count ? problems.lines[0] : "?");
        }
        problems_fini(&problems);
        buf_fini(&p.text);
    }
    alarm(0);
    print_message("%ld programs, %d of them sound; %d of %d calls returned\n", count, loaded, returned,
                  loaded * RECORDS);
    assert_true(loaded > count / 2 || count < 10);
    assert_true(returned > loaded / 4 || count < 10); /* they do get somewhere */
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_made_at_random_hurt_themselves_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
