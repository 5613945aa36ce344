/* calls.c: what a handler's call costs besides the handler. One that does nothing, again and again: entering
 * it with a record and leaving. And 64 invocations that do nothing but wait for no time: suspending, keeping
 * account, resuming. Prints nanoseconds of the first and of a suspension. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/reactor.h"
#include "script/script.h"
#include "record/page.h"

#define INVOCATIONS 64
#define ROUNDS 20000
#define CALLS 2000000
#define UNMEASURED (CALLS / 10)

static const char empty[] = "return { stream = 's', on_record = function(record) end }\n";
static const char waiting[] = "local sleep = require('tidemill.time').sleep\n"
                              "return { stream = 's', cpu_limit = '10m', timeout = '10m',\n"
                              "  on_record = function() for _ = 1, 20000 do sleep(0) end end }\n";

static const char answer[] =
    "{\"Records\":[{\"eventID\":\"0\",\"eventName\":\"REMOVE\",\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"a\"}},"
    "\"SequenceNumber\":\"100000000000000000042\",\"SizeBytes\":3,\"ApproximateCreationDateTime\":1767225600}"
    "}]}";

static size_t ended;

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    (void)user;
    if (result == HANDLER_RAISED) {
        fprintf(stderr, "%s\n", outcome->error.text);
        exit(1);
    }
    ended++;
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* One behind the other, as the queue calls them: each begins when the one before it has ended. */
static double enter(struct script *script, struct handler_call *call)
{
    struct handler_outcome outcome;
    struct invocation *invocation;
    double begun = 0;
    for (int i = 0; i < CALLS + UNMEASURED; i++) {
        if (i == UNMEASURED)
            begun = now_ns();
        if (handler_run(script_handler(script), call, on_done, NULL, &invocation, &outcome) !=
            HANDLER_RETURNED)
            exit(1);
        call->begun_us = outcome.ended_us;
    }
    return (now_ns() - begun) / CALLS;
}

static double suspend(struct reactor *reactor, struct script *script, const struct handler_call *call)
{
    struct handler_outcome outcome;
    double begun = now_ns();
    for (int i = 0; i < INVOCATIONS; i++) {
        struct invocation *invocation;
        if (handler_run(script_handler(script), call, on_done, NULL, &invocation, &outcome) !=
            HANDLER_WAITING)
            exit(1);
    }
    while (ended < INVOCATIONS)
        reactor_turn(reactor, 0);
    return (now_ns() - begun) / INVOCATIONS / ROUNDS;
}

static struct script *load(const struct script_options *options, const char *text)
{
    char path[] = "/tmp/benchXXXXXX.lua";
    struct script_options own = *options;
    struct problems problems = PROBLEMS_INIT;
    int fd = mkstemps(path, 4);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        exit(1);
    own.path = path;
    struct script *script = script_load(&own, &problems);
    close(fd);
    unlink(path);
    if (!script) {
        fprintf(stderr, "%s\n", problems.lines[0]);
        exit(1);
    }
    return script;
}

int main(void)
{
    struct clock clock = clock_system();
    struct reactor *reactor = reactor_new(&clock);
    struct log *log = log_new(STDERR_FILENO, LOG_TEXT, LOG_WARN, &clock);
    struct buf body = BUF_INIT;
    struct err err;
    struct transport no_transport = {0}; /* nothing is sent */
    struct config_aws aws = {.region = (char *)"eu-west-1"};
    struct aws_client *client = aws_client_new(reactor, &no_transport, &aws, log, &err);
    struct script_options options = {.reactor = reactor, .aws = client, .log = log};
    struct script *quick = load(&options, empty), *slow = load(&options, waiting);
    buf_add_text(&body, answer);
    struct page *page = page_read(&body, &err);
    if (!page) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct handler_source source = {.stream = "s", .stream_arn = "arn", .table = "t", .shard = "shard"};
    struct handler_input input = {.record = &page->records[0], .attempt = 1};
    struct handler_call call = {.inputs = &input, .count = 1, .source = &source};
    double entering = enter(quick, &call);
    call.begun_us = 0;
    printf("%.1f %.1f\n", entering, suspend(reactor, slow, &call));
    page_release(page);
    handler_release(script_handler(quick));
    handler_release(script_handler(slow));
    aws_client_free(client);
    log_free(log);
    reactor_free(reactor);
    return 0;
}
