/* suspend.c: 64 invocations that do nothing but wait for no time, again and again: what a call costs besides
 * the call: suspending, keeping account, resuming. Prints nanoseconds per suspension. */
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

static const char handler[] = "local sleep = require('tidemill.time').sleep\n"
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

static double run(struct reactor *reactor, struct script *script, const struct record *record)
{
    struct handler_source source = {.stream = "s", .stream_arn = "arn", .table = "t", .shard = "shard"};
    struct handler_input input = {.record = record, .attempt = 1};
    struct handler_call call = {.inputs = &input, .count = 1, .source = &source};
    struct handler_outcome outcome;
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = 0; i < INVOCATIONS; i++) {
        struct invocation *invocation;
        if (handler_run(script_handler(script), &call, on_done, NULL, &invocation, &outcome) !=
            HANDLER_WAITING)
            exit(1);
    }
    while (ended < INVOCATIONS)
        reactor_turn(reactor, 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begun.tv_sec) * 1e9 + (double)(now.tv_nsec - begun.tv_nsec);
}

int main(void)
{
    char path[] = "/tmp/benchXXXXXX.lua";
    int fd = mkstemps(path, 4);
    struct clock clock = clock_system();
    struct reactor *reactor = reactor_new(&clock);
    struct log *log = log_new(STDERR_FILENO, LOG_TEXT, LOG_WARN, &clock);
    struct problems problems = PROBLEMS_INIT;
    struct buf body = BUF_INIT;
    struct err err;
    if (fd < 0 || write(fd, handler, sizeof handler - 1) != (ssize_t)sizeof handler - 1)
        return 1;
    struct transport no_transport = {0}; /* nothing is sent */
    struct config_aws aws = {.region = (char *)"eu-west-1"};
    struct aws_client *client = aws_client_new(reactor, &no_transport, &aws, log, &err);
    struct script *script = script_load(
        &(struct script_options){.path = path, .reactor = reactor, .aws = client, .log = log}, &problems);
    unlink(path);
    buf_add_text(&body, answer);
    struct page *page = page_read(&body, &err);
    if (!script || !page) {
        fprintf(stderr, "%s\n", script ? err.text : problems.lines[0]);
        return 1;
    }
    printf("%.0f\n", run(reactor, script, &page->records[0]) / INVOCATIONS / ROUNDS);
    page_release(page);
    handler_release(script_handler(script));
    aws_client_free(client);
    log_free(log);
    reactor_free(reactor);
    close(fd);
    return 0;
}
