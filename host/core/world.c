/* world.c: see world.h. */
#include "core/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"

struct transport_call {
    struct list link;
    struct answer answer;
    int64_t due_ms, timeout_at_ms;
    transport_done_fn *done;
    void *user;
};

static struct world *from_clock(struct clock *clock)
{
    return list_entry(clock, struct world, clock);
}

/* Whose time it is. */
static struct world *leading(struct world *world)
{
    return world->leader ? world->leader : world;
}

static int64_t monotonic_ms(struct clock *clock)
{
    return leading(from_clock(clock))->now_ms;
}

static int64_t wall_ms(struct clock *clock)
{
    const struct world *leader = leading(from_clock(clock));
    return leader->wall_start_ms + leader->now_ms;
}

static int64_t cpu_ms(struct clock *clock)
{
    (void)clock;
    return 0; /* the processor is infinitely fast here */
}

static void add_date(struct world *world, struct answer *answer)
{
    time_t seconds = (time_t)((wall_ms(&world->clock) + world->skew_ms) / 1000);
    struct tm tm;
    char date[64];
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    buf_add_text(&answer->headers, date);
}

static void call_free(struct transport_call *call)
{
    list_remove(&call->link);
    buf_fini(&call->answer.headers);
    buf_fini(&call->answer.body);
    free(call);
}

static void free_calls(struct list *calls)
{
    struct transport_call *call;
    list_each(call, calls, struct transport_call, link)
        call_free(call);
}

static struct transport_call *send(struct transport *transport, const struct transport_request *request,
                                   transport_done_fn *done, void *user)
{
    struct world *world = list_entry(transport, struct world, transport);
    free_calls(&world->delivered);
    struct transport_call *call = mem_zero(sizeof *call);
    call->done = done;
    call->user = user;
    call->answer.delay_ms = 2;
    world->requests++;
    world->answer(world->user, request, &call->answer);
    if (call->answer.status && !call->answer.headers.size)
        add_date(world, &call->answer);
    call->due_ms = leading(world)->now_ms + call->answer.delay_ms;
    call->timeout_at_ms = leading(world)->now_ms + request->timeout_ms;
    if (call->answer.lost || call->due_ms > call->timeout_at_ms)
        call->due_ms = call->timeout_at_ms;
    list_append(&world->calls, &call->link);
    return call;
}

static void cancel(struct transport *transport, struct transport_call *call)
{
    (void)transport;
    call_free(call);
}

static void free_transport(struct transport *transport)
{
    struct world *world = list_entry(transport, struct world, transport);
    free_calls(&world->calls);
    reactor_set_poller(world->reactor, NULL);
}

static void deliver(struct world *world, struct transport_call *call)
{
    struct err err;
    struct transport_response response = {
        .status = call->answer.status, .headers = call->answer.headers, .body = call->answer.body};
    bool late = call->answer.lost || leading(world)->now_ms >= call->timeout_at_ms;
    transport_done_fn *done = call->done;
    void *user = call->user;
    call->answer.headers = call->answer.body = BUF_INIT;
    list_remove(&call->link);
    list_append(&world->delivered, &call->link);
    if (late || !response.status) {
        err_set(&err, late ? ERR_TIMEOUT : ERR_NETWORK, "%s", late ? "timed out" : "connection reset");
        done(user, NULL, &err);
    } else {
        done(user, &response, NULL);
    }
    buf_fini(&response.headers);
    buf_fini(&response.body);
}

static struct transport_call *earliest(struct world *world)
{
    struct transport_call *call, *first = NULL;
    list_each(call, &world->calls, struct transport_call, link)
        if (!first || call->due_ms < first->due_ms)
            first = call;
    return first;
}

/* Nothing to do now: time jumps to whatever comes next, where nobody else lives in it. */
static void wait_for_next(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    struct world *world = list_entry(poller, struct world, poller), *leader = leading(world);
    int64_t until = leader->now_ms + timeout_ms;
    struct transport_call *call = earliest(world);
    (void)fds;
    (void)count;
    if (call && call->due_ms < until)
        until = call->due_ms;
    world->until_ms = until > leader->now_ms ? until : leader->now_ms;
    if (!leader->turning)
        leader->now_ms = world->until_ms;
    while ((call = earliest(world)) && call->due_ms <= leader->now_ms)
        deliver(world, call);
}

static void wake(struct poller *poller)
{
    (void)poller;
}

void world_init(struct world *world)
{
    static const struct transport_ops ops = {send, cancel, free_transport};
    *world = (struct world){
        .clock = {.monotonic_ms = monotonic_ms, .wall_ms = wall_ms, .cpu_ms = cpu_ms},
        .wall_start_ms = 1767225600000, /* 2026-01-01 */
        .transport = {&ops},
        .poller = {wait_for_next, wake},
    };
    world->now_ms = 1000;
    list_init(&world->calls);
    list_init(&world->delivered);
    list_init(&world->followers);
    list_init(&world->link);
}

void world_follow(struct world *world, struct world *leader)
{
    world->leader = leader;
    list_append(&leader->followers, &world->link);
}

void world_add_reactor(struct world *world)
{
    world->reactor = reactor_new(&world->clock);
    reactor_set_poller(world->reactor, &world->poller);
}

void world_fini(struct world *world)
{
    free_calls(&world->calls);
    free_calls(&world->delivered);
    list_remove(&world->link);
    reactor_free(world->reactor);
}

static struct transport *give_transport(void *user, struct reactor *reactor, const struct config *config)
{
    struct world *world = user;
    (void)config;
    world->reactor = reactor;
    reactor_set_poller(reactor, &world->poller);
    return &world->transport;
}

struct worker_world world_of_host(struct world *world)
{
    return (struct worker_world){
        .clock = &world->clock, .transport_new = give_transport, .user = world, .one_thread = true};
}

/* Each of them does what is to be done now; then time goes to the first that has something to do again. */
static void turn_all(struct world *leader, int64_t end_ms)
{
    int64_t left_ms = end_ms - leader->now_ms, next_ms = end_ms;
    struct world *world;
    leader->turning = true;
    reactor_turn(leader->reactor, left_ms);
    next_ms = leader->until_ms < next_ms ? leader->until_ms : next_ms;
    list_each(world, &leader->followers, struct world, link) {
        reactor_turn(world->reactor, left_ms);
        next_ms = world->until_ms < next_ms ? world->until_ms : next_ms;
    }
    leader->turning = false;
    leader->now_ms = next_ms > leader->now_ms ? next_ms : leader->now_ms;
}

bool world_turn(struct world *world, bool (*condition)(void *user), void *user, int64_t limit_ms)
{
    int64_t end_ms = world->now_ms + limit_ms;
    while (!condition(user)) {
        if (world->now_ms >= end_ms)
            return false;
        if (list_empty(&world->followers))
            reactor_turn(world->reactor, end_ms - world->now_ms);
        else
            turn_all(world, end_ms);
    }
    return true;
}

const char *request_header(const struct transport_request *request, const char *name, char *value,
                           size_t size)
{
    for (size_t i = 0; request->headers && request->headers[i]; i++) {
        size_t length = strlen(name);
        if (strncasecmp(request->headers[i], name, length) != 0 || request->headers[i][length] != ':')
            continue;
        snprintf(value, size, "%s", request->headers[i] + length + 2);
        return value;
    }
    return NULL;
}
