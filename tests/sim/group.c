/* group.c: the world of many hosts: its time, its hosts, what they do with their shards, and what must hold.
 */
#include "group.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define LEASE_MS 10000
#define START_US (25 * US_S) /* then the group is open, and shards run */
#define FAULTS_US (150 * US_S)
#define CALM_US (90 * US_S)
#define MORE 15 /* times ten seconds, at most, for what is left to do */
#define CALL_TIMEOUT_US (2 * US_S)
#define HUNG_TURN_US (250 * US_MS)
#define SHORT_TIMEOUT_US (300 * US_MS) /* of handlers that do not wait until it has surely taken effect */
#define ATTEMPTS 3
#define COMMIT_US (1 * US_S)
#define DISCOVERY_US (5 * US_S)
#define DRAIN_MS 5000

static const char *const handler_names[HANDLERS_MAX] = {"a", "b"};

/* ---- chance and time ---- */

uint64_t group_random(struct group *group)
{
    return group->random = hash_mix(group->random + 0x9e3779b97f4a7c15u);
}

int group_below(struct group *group, int limit)
{
    return (int)(group_random(group) % (uint64_t)limit);
}

bool group_chance(struct group *group, int of_thousand)
{
    return group_below(group, 1000) < of_thousand;
}

int64_t group_between(struct group *group, int64_t from_us, int64_t to_us)
{
    return from_us + (int64_t)(group_random(group) % (uint64_t)(to_us - from_us + 1));
}

/* Half of the mean, or twice, or four times it ... */
int64_t group_exponential(struct group *group, int64_t mean_us)
{
    int64_t most = mean_us;
    while (group_chance(group, 400) && most < 16 * mean_us)
        most *= 2;
    return group_between(group, 0, most);
}

bool group_faulty(const struct group *group)
{
    return group->now_us > START_US && group->now_us < group->faults_until_us && group->kind != GROUP_CALM &&
           group->kind != GROUP_CROWD && group->kind != GROUP_KILLS && group->kind != GROUP_OUTAGE;
}

void group_violated(struct group *group, const char *format, ...)
{
    char text[800];
    va_list arguments;
    if (*group->violation)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(group->violation, sizeof group->violation, "at %.3f s: %s", (double)group->now_us / US_S, text);
}

void group_trace(struct group *group, const char *format, ...)
{
    va_list arguments;
    if (!group->loud)
        return;
    printf("%9.3f  ", (double)group->now_us / US_S);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void put(struct group *group, size_t at, struct event *event)
{
    while (at > 0 && earlier(event, group->heap[(at - 1) / 2])) {
        group->heap[at] = group->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    group->heap[at] = event;
}

void group_at(struct group *group, int64_t at_us, void (*run)(struct event *), void *subject)
{
    struct event *event = mem_alloc(sizeof *event);
    *event = (struct event){at_us, ++group->order, run, subject};
    mem_grow(&group->heap, &group->heap_capacity, group->heap_count, sizeof *group->heap);
    put(group, group->heap_count++, event);
}

static struct event *take_first(struct group *group)
{
    struct event *first = group->heap[0], *last = group->heap[--group->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < group->heap_count) {
        if (child + 1 < group->heap_count && earlier(group->heap[child + 1], group->heap[child]))
            child++;
        if (!earlier(group->heap[child], last))
            break;
        group->heap[at] = group->heap[child];
        at = child;
    }
    if (group->heap_count)
        group->heap[at] = last;
    return first;
}

/* ---- hosts ---- */

double ghost_rate(const struct ghost *host)
{
    return host->rate;
}

const char *ghost_name(const struct ghost *host)
{
    return host->coordinator ? coordinator_session(host->coordinator) : "";
}

bool ghost_is_gone(const struct ghost *host)
{
    return host->gone;
}

bool ghost_reaches(const struct ghost *host, bool answer)
{
    const struct group *group = host->group;
    if (group->kind == GROUP_OUTAGE && group->now_us > 60 * US_S && group->now_us < 120 * US_S)
        return false;
    return !group_faulty(group) || group->now_us >= host->cut_until_us || !(host->cut & (answer ? 2 : 1));
}

static int64_t own_ms(void *user)
{
    const struct ghost *host = user;
    return host->offset_ms + (int64_t)(host->rate * (double)(host->group->now_us - host->frozen_us) / US_MS);
}

/* Counted and mixed: a sequence of its own, not a part of the world's. */
static uint64_t own_random(void *user)
{
    struct ghost *host = user;
    return hash_mix(host->random += 0x9e3779b97f4a7c15u);
}

static int64_t own_wall_ms(void *user)
{
    const struct ghost *host = user;
    return 1000000 + host->group->now_us / US_MS + host->wall_jump_ms;
}

static void host_turn(struct ghost *host);

struct waking {
    struct ghost *host;
    void (*run)(void *);
    void *subject;
};

static void on_wake(struct event *event)
{
    struct waking waking = *(struct waking *)event->subject;
    free(event->subject);
    free(event);
    ghost_wake(waking.host, waking.run, waking.subject);
}

static void drop(struct ghost *host, void (*run)(void *), void *subject);

void ghost_wake(struct ghost *host, void (*run)(void *), void *subject)
{
    struct group *group = host->group;
    if (host->gone) {
        drop(host, run, subject);
        return;
    }
    if (group->now_us < host->paused_until_us) {
        struct waking *waking = mem_alloc(sizeof *waking);
        *waking = (struct waking){host, run, subject};
        group_at(group, host->paused_until_us + group_between(group, 0, US_MS), on_wake, waking);
        return;
    }
    host_turn(host); /* whatever comes, the lease is looked at first */
    run(subject);
    if (!host->gone)
        host_turn(host);
}

static void nothing(void *subject)
{
    (void)subject;
}

static void on_due(struct event *event)
{
    struct ghost *host = event->subject;
    if (event->order == host->wake_order && !host->gone) {
        host->wake_us = INT64_MAX;
        ghost_wake(host, nothing, NULL);
    }
    free(event);
}

/* ---- the outside ---- */

struct grun *ghost_run(struct ghost *host, const char *shard)
{
    struct grun *run;
    list_each(run, &host->runs, struct grun, link)
        if (strcmp(run->shard ? run->shard->id : LEASE_STREAM_ROW, shard) == 0)
            return run;
    return NULL;
}

static void outcall_release(struct outcall *call)
{
    if (--call->events == 0)
        free(call);
}

/* The newest epoch whose call arrived. */
static int64_t newest_of(struct group *group, const struct gshard *shard, int handler)
{
    const int64_t *own = map_get(&group->newest[handler], shard->id);
    return own ? *own : 0;
}

static const struct ghost *newest_sender(struct group *group, const struct gshard *shard, int handler)
{
    return map_get(&group->senders[handler], shard->id);
}

static void note_newest(struct group *group, const struct gshard *shard, int handler, int64_t epoch,
                        struct ghost *sender)
{
    int64_t *own = map_get(&group->newest[handler], shard->id);
    if (!own) {
        own = mem_zero(sizeof *own);
        map_set(&group->newest[handler], shard->id, own);
    }
    if (epoch < *own)
        return;
    *own = epoch;
    map_set(&group->senders[handler], shard->id, sender);
}

/* What a host sends for a record after a call for it that it gave up may overtake that call: that is between
 * its own calls, as with one host. Between two hosts nothing may. */
static void on_call_arrives(struct event *event)
{
    struct outcall *call = event->subject;
    struct group *group = call->group;
    struct gshard *shard = call->shard;
    free(event);
    call->arrived = true;
    /* No later call of this shard, or of a child, has come before. */
    for (size_t i = 0; i < group->shard_count; i++) {
        const struct gshard *other = group->shards[i];
        bool below = other == shard;
        for (const struct gshard *up = other->parent; up && !below; up = up->parent)
            below = up == shard;
        if (below && newest_of(group, other, call->handler) > call->epoch &&
            newest_sender(group, other, call->handler) != call->host)
            group_violated(group,
                           "STALE: %s's call of %s, record %d, epoch %" PRId64 " comes behind epoch %" PRId64
                           " of %s",
                           call->host->name, shard->id, call->seq, call->epoch,
                           newest_of(group, other, call->handler), other->id);
    }
    /* And what was sent for the parent is older by its epoch, too. */
    for (const struct gshard *up = shard->parent; up; up = up->parent)
        if (newest_of(group, up, call->handler) >= call->epoch)
            group_violated(group, "EPOCH: %s's call of %s has epoch %" PRId64 ", its parent %s had %" PRId64,
                           call->host->name, shard->id, call->epoch, up->id,
                           newest_of(group, up, call->handler));
    note_newest(group, shard, call->handler, call->epoch, call->host);
    char *count = &shard->handled[call->handler][call->seq];
    if (*count < 100)
        ++*count;
    if (*count > 1)
        group->repeats++;
    if (*count > 1 && group->kind == GROUP_CALM)
        group_violated(group, "REPEATED in calm weather: record %d of %s, by %s", call->seq, shard->id,
                       call->host->name);
    outcall_release(call);
}

static void call_over(struct outcall *call, bool answered)
{
    struct grun *run = call->run;
    if (!run)
        return;
    struct gfeed *feed_of = &run->feeds[call->handler];
    call->run = NULL;
    feed_of->call = NULL;
    if (!answered)
        run->quiet_us_host = own_ms(run->host) + coordinator_quiet_ms(run->host->coordinator);
    if (answered || ++feed_of->attempts == ATTEMPTS) {
        if (!answered)
            run->shard->given_up[call->handler][call->seq] = true;
        feed_of->at++;
        feed_of->attempts = 0;
        run->dirty = true;
    }
}

static void on_call_answered(void *subject)
{
    struct outcall *call = subject;
    call_over(call, true);
    outcall_release(call);
}

static void on_call_timeout(void *subject)
{
    struct outcall *call = subject;
    call_over(call, false);
    outcall_release(call);
}

static void on_call_answer(struct event *event)
{
    struct outcall *call = event->subject;
    free(event);
    ghost_wake(call->host, on_call_answered, call);
}

static void on_call_late(struct event *event)
{
    struct outcall *call = event->subject;
    free(event);
    ghost_wake(call->host, on_call_timeout, call);
}

static void send_call(struct grun *run, int handler)
{
    struct ghost *host = run->host;
    struct group *group = host->group;
    struct outcall *call = mem_zero(sizeof *call);
    int64_t net_us = group_between(group, 5 * US_MS, 50 * US_MS),
            back_us = group_between(group, 5 * US_MS, 50 * US_MS);
    int64_t quiet_us = group->lease_ms * 125 / 1000 * US_MS, now = own_ms(host);
    if (!coordinator_may_call(host->coordinator))
        return;
    *call = (struct outcall){.group = group,
                             .host = host,
                             .run = run,
                             .shard = run->shard,
                             .handler = handler,
                             .seq = run->feeds[handler].at,
                             .epoch = coordinator_epoch(host->coordinator, STREAM, run->shard->id)};
    CHECK(call->epoch);
    if (group_faulty(group) && group_chance(group, 300))
        net_us = group_between(group, 50 * US_MS, quiet_us * 99 / 100);
    run->feeds[handler].call = call;
    int64_t own_us = (coordinator_fence_ms(host->coordinator) - now) * US_MS;
    int64_t timeout_us = group_faulty(group) && group_chance(group, 400) ? SHORT_TIMEOUT_US : CALL_TIMEOUT_US;
    if (timeout_us > own_us)
        timeout_us = own_us;
    call->events = 1;
    if (!group_faulty(group) || !group_chance(group, 30)) { /* else it is lost on its way */
        call->events++;
        group_at(group, group->now_us + net_us, on_call_arrives, call);
        if (!group_faulty(group) || !group_chance(group, 80)) {
            call->events++;
            group_at(group, group->now_us + net_us + back_us, on_call_answer, call);
        }
    }
    group_at(group, group->now_us + (int64_t)((double)timeout_us / host->rate), on_call_late, call);
}

/* What can be thrown away when its host is gone. */
static void drop(struct ghost *host, void (*run)(void *), void *subject)
{
    (void)host;
    if (run == on_call_answered || run == on_call_timeout)
        outcall_release(subject);
    else if (run != nothing)
        run(subject); /* the table's: nobody waits for it, it is only freed */
}

/* ---- what a host does with a shard ---- */

static void cancel_calls(struct grun *run)
{
    for (int h = 0; h < HANDLERS_MAX; h++) {
        struct outcall *call = run->feeds[h].call;
        if (!call)
            continue;
        call->run = NULL;
        run->feeds[h].call = NULL;
        run->quiet_us_host = own_ms(run->host) + coordinator_quiet_ms(run->host->coordinator);
    }
}

static void run_free(struct grun *run)
{
    cancel_calls(run);
    list_remove(&run->link);
    free(run);
}

struct commit {
    struct ghost *host;
    char shard[24];
    int serial;
    bool ends[HANDLERS_MAX];
};

static void on_committed(void *user, bool well)
{
    struct commit *commit = user;
    struct ghost *host = commit->host;
    struct grun *run = host->gone ? NULL : ghost_run(host, commit->shard);
    if (run && run->serial == commit->serial) {
        run->committing = false;
        for (int h = 0; h < host->handlers && well; h++)
            run->feeds[h].end = run->feeds[h].end || commit->ends[h];
        for (int h = 0; h < host->handlers; h++)
            run->feeds[h].ending = false;
    }
    free(commit);
}

static bool children_have_rows(struct ghost *host, const struct gshard *shard)
{
    struct group *group = host->group;
    bool all = true;
    for (size_t i = 0; i < group->shard_count; i++) {
        const struct gshard *child = group->shards[i];
        const char *const parents[2] = {shard->id, NULL};
        if (child->parent != shard || child->unlisted)
            continue;
        if (map_get(&host->created, child->id))
            continue;
        all = false;
        int64_t epoch;
        if (*gtable_owner(group->table, child->id,
                          &epoch)) /* asked again and again: it is as good as `done` */
            map_set(&host->created, child->id, host);
        else if (group_chance(group, 300))
            coordinator_create(host->coordinator, STREAM, child->id, parents, NULL, NULL);
    }
    return all;
}

static void commit_run(struct grun *run)
{
    struct ghost *host = run->host;
    struct lease_part parts[HANDLERS_MAX];
    char texts[HANDLERS_MAX][24];
    struct commit *commit = mem_zero(sizeof *commit);
    int64_t quiet_ms = 0;
    size_t count = 0;
    *commit = (struct commit){.host = host, .serial = run->serial};
    snprintf(commit->shard, sizeof commit->shard, "%s", run->shard->id);
    for (int h = 0; h < host->handlers; h++) {
        struct gfeed *one = &run->feeds[h];
        bool end = one->end || (one->open && run->shard->closed && one->at == run->shard->count &&
                                !one->call && children_have_rows(host, run->shard));
        if (end && !one->end) {
            quiet_ms = run->quiet_us_host;
            one->ending = commit->ends[h] = true;
        }
        snprintf(texts[h], sizeof texts[h], "%d", one->at);
        parts[count++] = (struct lease_part){handler_names[h], texts[h], end};
    }
    run->committing = true;
    run->dirty = false;
    run->commit_us = host->group->now_us;
    coordinator_commit(host->coordinator, STREAM, run->shard->id, parts, count, quiet_ms, on_committed,
                       commit);
}

static bool wants_end(const struct grun *run)
{
    bool wants = false;
    for (int h = 0; h < run->host->handlers; h++)
        wants = wants || (!run->feeds[h].end && !run->feeds[h].ending && run->feeds[h].open &&
                          run->shard->closed && run->feeds[h].at == run->shard->count && !run->feeds[h].call);
    return wants;
}

static bool is_calling(const struct grun *run)
{
    for (int h = 0; h < HANDLERS_MAX; h++)
        if (run->feeds[h].call)
            return true;
    return false;
}

static void feed(struct grun *run)
{
    struct ghost *host = run->host;
    struct group *group = host->group;
    if (!run->shard || host->held)
        return;
    for (int h = 0; h < host->handlers && !run->draining && host->reads; h++) {
        struct gfeed *one = &run->feeds[h];
        if (one->open && !one->call && one->at < run->shard->count)
            send_call(run, h);
        if (one->open)
            run->shard->run_us = group->now_us;
    }
    if (run->draining && !run->drained && !is_calling(run)) {
        run->drained = true;
        if (run->dirty)
            commit_run(run);
        coordinator_drained(host->coordinator, STREAM, run->shard->id, run->quiet_us_host);
        return;
    }
    if (!run->draining && !run->committing &&
        (wants_end(run) || (run->dirty && group->now_us - run->commit_us > COMMIT_US)))
        commit_run(run);
}

static void on_gained(void *user, const struct lease_row *row)
{
    struct ghost *host = user;
    struct group *group = host->group;
    struct grun *run = mem_zero(sizeof *run);
    *run = (struct grun){.host = host, .serial = ++host->serial, .commit_us = group->now_us};
    run->shard = map_get(&group->by_id, row->shard);
    CHECK(!ghost_run(host, row->shard));
    group_trace(group, "%s (%s) has %s in epoch %" PRId64, host->name, coordinator_session(host->coordinator),
                row->shard, row->epoch);
    for (int h = 0; h < HANDLERS_MAX; h++)
        for (size_t i = 0; i < row->part_count; i++)
            if (strcmp(row->parts[i].handler, handler_names[h]) == 0) {
                run->feeds[h].at = atoi(row->parts[i].text);
                run->feeds[h].end = row->parts[i].end;
            }
    for (int h = 0; h < HANDLERS_MAX; h++)
        run->feeds[h].open = run->shard && !run->shard->parent;
    list_append(&host->runs, &run->link);
    if (run->shard && run->shard->parent)
        coordinator_gate(host->coordinator, STREAM, run->shard->id, run->shard->parent->id);
}

static void on_lost(void *user, const char *stream, const char *shard)
{
    struct ghost *host = user;
    struct grun *run = ghost_run(host, shard);
    (void)stream;
    CHECK(run);
    group_trace(host->group, "%s loses %s", host->name, shard);
    run_free(run);
}

static void on_drain(void *user, const char *stream, const char *shard)
{
    struct ghost *host = user;
    struct grun *run = ghost_run(host, shard);
    CHECK(run);
    run->draining = true;
    if (!run->shard)
        coordinator_drained(host->coordinator, stream, shard, 0);
}

static void on_undrain(void *user, const char *stream, const char *shard)
{
    struct grun *run = ghost_run(user, shard);
    (void)stream;
    CHECK(run);
    run->draining = run->drained = false;
}

static void on_parent(void *user, const char *stream, const char *shard, const char *parent,
                      const struct lease_row *row)
{
    struct ghost *host = user;
    struct grun *run = ghost_run(host, shard);
    bool all = true;
    (void)parent;
    CHECK(run && run->shard && run->shard->parent);
    for (size_t i = 0; row && i < row->part_count; i++)
        for (int h = 0; h < host->handlers; h++)
            if (strcmp(row->parts[i].handler, handler_names[h]) == 0 && row->parts[i].end)
                run->feeds[h].open = true;
    for (int h = 0; h < host->handlers && !row && run->shard->parent->unlisted; h++)
        run->feeds[h].open = true;
    for (int h = 0; h < host->handlers; h++)
        all = all && run->feeds[h].open;
    if (all)
        coordinator_gate_over(host->coordinator, stream, shard);
}

static void on_held(void *user, bool held)
{
    struct ghost *host = user;
    struct grun *run;
    host->held = held;
    list_each(run, &host->runs, struct grun, link)
        if (held)
            cancel_calls(run);
}

static void on_no_table(void *user)
{
    (void)user;
}

static void on_given(void *user, const char *stream, const char *shard)
{
    on_lost(user, stream, shard);
}

static void on_left(void *user)
{
    struct ghost *host = user;
    host->over = true;
    group_trace(host->group, "%s has left", host->name);
}

static const struct coordinator_events events = {
    .gained = on_gained,
    .lost = on_lost,
    .given = on_given,
    .drain = on_drain,
    .undrain = on_undrain,
    .parent = on_parent,
    .held = on_held,
    .no_table = on_no_table,
    .left = on_left,
};

static void plan(struct ghost *host, int64_t at_us)
{
    if (at_us >= host->wake_us)
        return;
    host->wake_us = at_us;
    host->wake_order = host->group->order + 1;
    group_at(host->group, at_us, on_due, host);
}

static void host_turn(struct ghost *host)
{
    struct group *group = host->group;
    struct grun *run;
    if (host->over)
        return;
    bool hangs = group->now_us < host->hung_until_us;
    coordinator_pulse(host->coordinator,
                      hangs ? (int64_t)(host->rate * (double)(group->now_us - host->hung_from_us)) / US_MS
                            : 0);
    int64_t next_ms = coordinator_turn(host->coordinator);
    list_each(run, &host->runs, struct grun, link)
        if (!hangs)
            feed(run);
    int64_t wait_us = next_ms == INT64_MAX
                          ? 1000 * US_S
                          : (int64_t)((double)((next_ms - own_ms(host)) * US_MS) / host->rate);
    if (hangs && wait_us > HUNG_TURN_US)
        wait_us = HUNG_TURN_US;
    plan(host, group->now_us + (wait_us < US_MS ? US_MS : wait_us));
}

/* ---- the world's course ---- */

static void read_stream(struct ghost *host, bool reads)
{
    host->reads = reads;
    if (reads)
        coordinator_follow(host->coordinator, STREAM);
    else
        coordinator_unfollow(host->coordinator, STREAM);
}

struct ghost *group_join(struct group *group, const char *name)
{
    struct ghost *host = mem_zero(sizeof *host);
    host->group = group;
    snprintf(host->name, sizeof host->name, "%s", name);
    host->rate = group_chance(group, 500)   ? 0.9 + group_below(group, 201) / 1000.0
                 : group_chance(group, 500) ? 0.9
                                            : 1.1;
    host->offset_ms = group_below(group, 1000000);
    host->wake_us = INT64_MAX;
    host->random = group_random(group);
    host->handlers = group->kind == GROUP_FAULTS && group_chance(group, 300) ? 1 : HANDLERS_MAX;
    host->held = true;
    list_init(&host->runs);
    mem_grow(&group->hosts, &group->host_capacity, group->host_count, sizeof *group->hosts);
    group->hosts[group->host_count++] = host;
    host->wire = gwire_new(group->table, host);
    host->coordinator = coordinator_new(&(struct coordinator_options){
        .table = host->wire,
        .name = name,
        .version = "1",
        .fingerprint = "f",
        .lease_ms =
            group->kind == GROUP_FAULTS && group_chance(group, 250) ? 2 * group->lease_ms : group->lease_ms,
        .reactors = 1,
        .drain_ms = DRAIN_MS,
        .random = own_random,
        .now_ms = own_ms,
        .wall_ms = own_wall_ms,
        .events = &events,
        .user = host,
    });
    /* Some read other streams, for a while or all the time. */
    if (group->kind == GROUP_FAULTS && group->now_us > 0 && group_faulty(group) && group_chance(group, 100))
        group_trace(group, "%s does not read the stream", name);
    else
        read_stream(host, true);
    group_trace(group, "%s joins, its clock at %.3f", name, host->rate);
    plan(host, group->now_us);
    return host;
}

void group_kill(struct ghost *host)
{
    struct grun *run;
    if (host->gone)
        return;
    host->gone = true; /* with all that it had under way */
    list_each(run, &host->runs, struct grun, link)
        run_free(run);
    host->over = true;
    coordinator_free(host->coordinator);
    host->coordinator = NULL;
}

struct gshard *group_add_shard(struct group *group, struct gshard *parent)
{
    struct gshard *shard = mem_zero(sizeof *shard);
    mem_grow(&group->shards, &group->shard_capacity, group->shard_count, sizeof *group->shards);
    group->shards[group->shard_count++] = shard;
    *shard =
        (struct gshard){.parent = parent, .run_us = group->now_us, .rate = 1 + group_below(group, 50) / 10.0};
    shard->number = group->shard_count - 1;
    snprintf(shard->id, sizeof shard->id, "s%zu", shard->number);
    map_set(&group->by_id, shard->id, shard);
    return shard;
}

static void split(struct group *group, struct gshard *shard)
{
    if (shard->closed)
        return;
    shard->closed = true;
    group_add_shard(group, shard);
    group_add_shard(group, shard);
    group_trace(group, "%s splits", shard->id);
}

static void write_record(struct group *group, struct gshard *shard)
{
    size_t at = (size_t)shard->count;
    if (at == shard->capacity) {
        shard->capacity = shard->capacity ? 2 * shard->capacity : 64;
        for (int h = 0; h < HANDLERS_MAX; h++) {
            shard->handled[h] = mem_resize(shard->handled[h], shard->capacity);
            shard->given_up[h] = mem_resize(shard->given_up[h], shard->capacity * sizeof(bool));
        }
    }
    for (int h = 0; h < HANDLERS_MAX; h++) {
        shard->handled[h][at] = 0;
        shard->given_up[h][at] = false;
    }
    shard->count++;
    (void)group;
}

static struct ghost *any_host(struct group *group)
{
    size_t living = 0;
    struct ghost *chosen = NULL;
    for (size_t i = 0; i < group->host_count; i++)
        if (!group->hosts[i]->gone && !group->hosts[i]->over && !group->hosts[i]->leaving &&
            group_below(group, (int)++living) == 0)
            chosen = group->hosts[i];
    return chosen;
}

static int living(const struct group *group)
{
    int count = 0;
    for (size_t i = 0; i < group->host_count; i++)
        count += !group->hosts[i]->gone && !group->hosts[i]->over && !group->hosts[i]->leaving;
    return count;
}

static int readers(const struct group *group)
{
    int count = 0;
    for (size_t i = 0; i < group->host_count; i++)
        count += !group->hosts[i]->gone && !group->hosts[i]->over && !group->hosts[i]->leaving &&
                 group->hosts[i]->reads;
    return count;
}

static void join_another(struct group *group)
{
    char name[8];
    snprintf(name, sizeof name, "h%d", group_below(group, 6)); /* names need not differ */
    if (living(group) < 6)
        group_join(group, name);
}

/* Who is new has to watch for a lease before he can call another dead: where those who saw more leave
 * meanwhile, that is later. */
static void leave(struct group *group, struct ghost *host)
{
    bool watching =
        group->kind == GROUP_KILLS && group->kills && group->now_us - group->killed_us < 15 * US_S;
    if (!host || living(group) < 2 || watching)
        return;
    group_trace(group, "%s is to leave", host->name);
    host->leaving = true;
    coordinator_leave(host->coordinator);
    plan(host, group->now_us);
}

static void pause_host(struct group *group, struct ghost *host, bool freeze)
{
    int64_t us = group_exponential(group, 8 * US_S);
    if (!host || group->now_us < host->paused_until_us ||
        (freeze && group->now_us - host->jumped_us < 15 * US_S))
        return;
    group_trace(group, "%s %s for %.3f s", host->name, freeze ? "freezes" : "pauses", (double)us / US_S);
    if (group->now_us + us > group->faults_until_us + 5 * US_S)
        us = group->faults_until_us + 5 * US_S - group->now_us;
    host->paused_until_us = group->now_us + us;
    if (freeze) /* its clock stands still; the wall clock is set right again */
        host->frozen_us += us;
}

void group_hang(struct ghost *host, int64_t us)
{
    struct group *group = host->group;
    group_trace(group, "what %s reads stands still for %.3f s", host->name, (double)us / US_S);
    host->hung_from_us = group->now_us;
    host->hung_until_us = group->now_us + us;
    plan(host, group->now_us);
}

static void hang_one(struct group *group, struct ghost *host)
{
    int64_t us = group_exponential(group, 8 * US_S);
    if (!host || group->now_us < host->hung_until_us)
        return;
    if (group->now_us + us > group->faults_until_us)
        us = group->faults_until_us - group->now_us;
    group_hang(host, us);
}

/* Its INI has the stream no more, or has it again. */
static void reload(struct group *group, struct ghost *host)
{
    if (!host || group->now_us < host->paused_until_us)
        return;
    bool reads = group_chance(group, 500);
    group_trace(group, "%s is to read %s", host->name, reads ? "the stream" : "the stream no more");
    read_stream(host, reads);
    plan(host, group->now_us);
}

/* Somebody sets the wall clock. Back, and the machine standing still at the same time, is what no host can
 * see. */
static void set_wall_clock(struct group *group, struct ghost *host)
{
    if (!host || group->now_us < host->paused_until_us)
        return;
    host->wall_jump_ms += group_between(group, -20000, 20000);
    host->jumped_us = group->now_us;
    group_trace(group, "%s's wall clock is %" PRId64 " ms ahead", host->name, host->wall_jump_ms);
}

static void cut_host(struct group *group, struct ghost *host)
{
    if (!host)
        return;
    host->cut = 1 + group_below(group, 3);
    host->cut_until_us = group->now_us + group_exponential(group, 10 * US_S);
    group_trace(group, "%s is cut off (%d) until %.3f", host->name, host->cut,
                (double)host->cut_until_us / US_S);
}

static void kill_one(struct group *group, struct ghost *host)
{
    bool one_at_a_time =
        group->kind == GROUP_KILLS && group->kills && group->now_us - group->killed_us < 25 * US_S;
    if (!host || living(group) < 3 || one_at_a_time) /* somebody must have watched */
        return;
    group_trace(group, "%s is killed", host->name);
    group->kills++;
    group->killed_us = group->now_us;
    group_kill(host);
}

static bool has_finished(struct ghost *host, const struct gshard *shard)
{
    const struct grun *run = ghost_run(host, shard->id);
    bool all = run;
    for (int h = 0; all && h < host->handlers; h++)
        all = run->feeds[h].end;
    return all;
}

/* Whoever still reads it is a day behind: that is another story. */
static bool is_read(struct group *group, const struct gshard *shard)
{
    int64_t at;
    bool end;
    for (int h = 1; h < HANDLERS_MAX; h++)
        if (gtable_part(group->table, shard->id, handler_names[h], &at, &end) && !end)
            return true;
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        if (!host->gone && !host->over && ghost_run(host, shard->id) && !has_finished(host, shard))
            return true;
    }
    return false;
}

/* After a day they have been read. */
static bool children_are_above(struct group *group, const struct gshard *shard)
{
    int64_t own, its;
    gtable_owner(group->table, shard->id, &own);
    for (size_t i = 0; i < group->shard_count; i++)
        if (group->shards[i]->parent == shard &&
            (!*gtable_owner(group->table, group->shards[i]->id, &its) || its <= own))
            return false;
    return true;
}

/* The service lists a shard no more after a day; its row is of no use when all have finished it. */
static void forget_some(struct group *group)
{
    for (size_t i = 0; i < group->shard_count; i++) {
        struct gshard *shard = group->shards[i];
        int64_t at;
        bool end;
        gtable_part(group->table, shard->id, handler_names[0], &at, &end);
        if (!shard->unlisted && shard->closed && (!shard->parent || shard->parent->forgotten) && end &&
            !is_read(group, shard) && children_are_above(group, shard))
            shard->unlisted = group_chance(group, 500);
        if (!shard->unlisted || shard->forgotten || !children_are_above(group, shard))
            continue;
        for (size_t j = 0; j < group->host_count; j++) {
            struct ghost *host = group->hosts[j];
            if (host->gone || host->over || group->now_us < host->paused_until_us ||
                !has_finished(host, shard))
                continue;
            coordinator_forget(host->coordinator, STREAM, shard->id);
            plan(host, group->now_us);
        }
    }
}

/* Two shards are wanted on one host, as for a dead letter of what both came of. */
static void gather_two(struct group *group)
{
    const char *shard = group->shards[group_below(group, (int)group->shard_count)]->id,
               *beside = group->shards[group_below(group, (int)group->shard_count)]->id;
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        if (host->gone || host->over || group->now_us < host->paused_until_us)
            continue;
        coordinator_gather(host->coordinator, STREAM, shard, beside);
        plan(host, group->now_us);
    }
}

static void something_happens(struct group *group)
{
    bool faulty = group_faulty(group), early = group->now_us < group->faults_until_us;
    int what = group_below(group, 300);
    if (!early) {
        if (living(group) < 2 || !readers(group))
            join_another(group);
        return;
    }
    if (what < 3)
        join_another(group);
    else if (what < 5)
        leave(group, any_host(group));
    else if (what < 7 && (faulty || group->kind == GROUP_KILLS))
        kill_one(group, any_host(group));
    else if (what < 12 && faulty)
        pause_host(group, any_host(group), false);
    else if (what < 14 && faulty)
        pause_host(group, any_host(group), true);
    else if (what < 18 && faulty)
        cut_host(group, any_host(group));
    else if (what == 20 && faulty)
        set_wall_clock(group, any_host(group));
    else if (what == 18 && faulty)
        gtable_expire_hosts(group->table);
    else if (what == 19 && group->shard_count < 12)
        split(group, group->shards[group_below(group, (int)group->shard_count)]);
    else if (what >= 24 && what < 30)
        gather_two(group);
    else if (what >= 30 && what < 35)
        forget_some(group);
    else if (what >= 35 && what < 38 && faulty)
        hang_one(group, any_host(group));
    else if (what == 38 && faulty)
        reload(group, any_host(group));
    else if (what >= 21 && what < 24 && group->kind == GROUP_WIPED &&
             group->now_us < group->faults_until_us / 2) {
        /* Who is cut off just then believes in his lease for a while; who is new is quick. */
        struct ghost *cut = any_host(group);
        group_trace(group, "the table is deleted and made anew");
        if (cut) {
            cut->cut = 3;
            cut->cut_until_us = group->now_us + group_between(group, 0, 8 * US_S);
        }
        join_another(group);
        gtable_wipe(group->table);
    }
}

/* Does some host run it by rights? */
static bool runs(struct group *group, const struct gshard *shard)
{
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        const struct grun *run = host->gone || host->over || host->held ? NULL : ghost_run(host, shard->id);
        if (run && run->feeds[0].open && !run->draining)
            return true;
    }
    return false;
}

/* All that a shard waits for is there: its parent has ended. */
static bool may_run(struct group *group, const struct gshard *shard)
{
    int64_t at;
    bool end = true;
    if (shard->parent)
        gtable_part(group->table, shard->parent->id, handler_names[0], &at, &end);
    return end;
}

static bool is_finished(struct group *group, const struct gshard *shard, int handler)
{
    int64_t at;
    bool end;
    gtable_part(group->table, shard->id, handler_names[handler], &at, &end);
    return end;
}

static void watch_silence(struct group *group, struct gshard *shard)
{
    if (!may_run(group, shard) || is_finished(group, shard, 0) || runs(group, shard) ||
        group->now_us < START_US) {
        shard->run_us = group->now_us;
        return;
    }
    if (group->now_us - shard->run_us > shard->silent_us) {
        shard->silent_us = group->now_us - shard->run_us;
        if (shard->silent_us > 13 * US_S)
            group_trace(group, "  %s is silent for %.1f s", shard->id, (double)shard->silent_us / US_S);
    }
}

void group_discover(struct group *group, struct ghost *host)
{
    for (size_t i = 0; i < group->shard_count; i++) {
        struct gshard *shard = group->shards[i];
        const char *const parents[2] = {shard->parent ? shard->parent->id : NULL, NULL};
        int64_t epoch;
        if (!shard->unlisted && !*gtable_owner(group->table, shard->id, &epoch))
            coordinator_create(host->coordinator, STREAM, shard->id, parents, NULL, NULL);
    }
}

static void on_tick(struct event *event)
{
    struct group *group = event->subject;
    free(event);
    if (group->ending)
        return;
    for (size_t i = 0; i < group->shard_count; i++) {
        struct gshard *shard = group->shards[i];
        if (!shard->closed && group->now_us < group->end_us - 30 * US_S &&
            group_chance(group, (int)(shard->rate * 100)))
            write_record(group, shard);
        watch_silence(group, shard);
    }
    something_happens(group);
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        if (host->gone || host->over)
            continue;
        plan(host, group->now_us);
        /* Who discovers: all that has no row gets one, at once and then now and then. */
        const struct grun *discovery = ghost_run(host, LEASE_STREAM_ROW);
        bool due = (group->now_us / (100 * US_MS)) % (DISCOVERY_US / (100 * US_MS)) == 0;
        if (!discovery || host->held || group->now_us < host->paused_until_us ||
            (!due && host->discovered == discovery->serial))
            continue;
        host->discovered = discovery->serial;
        group_discover(group, host);
    }
    group_at(group, group->now_us + 100 * US_MS, on_tick, group);
}

/* ---- the end ---- */

/* Who took a shard late has more to do than the calm is long; what moves on is not lost. */
static bool has_backlog(struct group *group)
{
    for (size_t i = 0; i < group->shard_count; i++) {
        int64_t at;
        bool end;
        gtable_part(group->table, group->shards[i]->id, handler_names[0], &at, &end);
        if (at < group->shards[i]->count)
            return true;
    }
    return false;
}

static void check_end(struct group *group)
{
    if (group->kind == GROUP_OUTAGE && group->living_marked)
        group_violated(group, "MARKED: %" PRId64 " hosts that lived, for an outage of the table",
                       group->living_marked);
    for (size_t i = 0; i < group->shard_count && !*group->violation; i++) {
        const struct gshard *shard = group->shards[i];
        for (int h = 0; h < HANDLERS_MAX; h++) {
            int64_t at;
            bool end, known = false;
            for (size_t j = 0; j < group->host_count; j++)
                known = known ||
                        (!group->hosts[j]->gone && !group->hosts[j]->over && group->hosts[j]->handlers > h);
            gtable_part(group->table, shard->id, handler_names[h], &at, &end);
            for (int k = 0; k < (known && h == 0 ? shard->count : (int)at); k++)
                if (!shard->handled[h][k] && !shard->given_up[h][k])
                    group_violated(
                        group,
                        "LOST: record %d of %d of %s was never handled by %s (its checkpoint: %" PRId64 "%s)",
                        k, shard->count, shard->id, handler_names[h], at, end ? ", ended" : "");
        }
    }
}

void group_live(struct group *group, int64_t until_us)
{
    while (group->heap_count && group->now_us < until_us && !*group->violation) {
        struct event *event = take_first(group);
        group->now_us = event->at_us;
        event->run(event);
    }
}

static void free_values(struct map *map)
{
    size_t at = 0;
    for (void *value; (value = map_next(map, &at, NULL));)
        free(value);
    map_fini(map);
}

void group_fini(struct group *group)
{
    for (size_t i = 0; i < group->host_count; i++)
        group_kill(group->hosts[i]);
    group->ending = true;
    while (group->heap_count) { /* what is on its way is nobody's, and frees itself */
        struct event *event = take_first(group);
        group->now_us = event->at_us;
        event->run(event);
    }
    for (size_t i = 0; i < group->host_count; i++) {
        gwire_free(group->hosts[i]->wire);
        map_fini(&group->hosts[i]->created);
        free(group->hosts[i]);
    }
    for (size_t i = 0; i < group->shard_count; i++) {
        for (int h = 0; h < HANDLERS_MAX; h++) {
            free(group->shards[i]->handled[h]);
            free(group->shards[i]->given_up[h]);
        }
        free(group->shards[i]);
    }
    for (int h = 0; h < HANDLERS_MAX; h++) {
        free_values(&group->newest[h]);
        map_fini(&group->senders[h]);
    }
    free_values(&group->committed);
    map_fini(&group->by_id);
    gtable_free(group->table);
    free(group->hosts);
    free(group->shards);
    free(group->heap);
}

void group_run(uint64_t seed, bool loud, char *violation)
{
    struct group group = {.seed = seed, .random = hash_mix(seed), .loud = loud, .lease_ms = LEASE_MS};
    group.kind = (enum group_kind)(seed % 10 < 6    ? GROUP_FAULTS
                                   : seed % 10 == 6 ? GROUP_CALM
                                   : seed % 10 == 7 ? GROUP_KILLS
                                   : seed % 10 == 8 ? GROUP_WIPED
                                                    : GROUP_OUTAGE);
    group.faults_until_us = FAULTS_US;
    group.end_us = FAULTS_US + CALM_US;
    group.table = gtable_new(&group);
    for (int i = 0; i < 3; i++)
        group_add_shard(&group, NULL);
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "h%d", i);
        group_join(&group, name);
    }
    group_at(&group, 0, on_tick, &group);
    group_live(&group, group.end_us);
    for (int i = 0; i < MORE && !*group.violation && has_backlog(&group); i++)
        group_live(&group, group.now_us + 10 * US_S);
    check_end(&group);
    for (size_t i = 0; i < group.shard_count && loud; i++) {
        int64_t epoch;
        const char *owner = gtable_owner(group.table, group.shards[i]->id, &epoch);
        group_trace(&group, "%s is %s's in epoch %" PRId64, group.shards[i]->id, owner, epoch);
    }
    int64_t silent_us = 0;
    for (size_t i = 0; i < group.shard_count; i++)
        if (group.shards[i]->silent_us > silent_us)
            silent_us = group.shards[i]->silent_us;
    /* A lease and 3 s, of the slowest clock; calm: what is handed over and waits for its parent. */
    int64_t bound_us = group.kind == GROUP_KILLS || group.kind == GROUP_CALM ? 14450 * US_MS : 200 * US_S;
    if (silent_us > bound_us)
        group_violated(&group, "SILENT: a shard ran nowhere for %.1f s", (double)silent_us / US_S);
    if (loud)
        printf("%" PRId64 " requests, %" PRId64 " moves, %" PRId64 " marks, %" PRId64 " kills, %" PRId64
               " repeated, %" PRId64 " forgotten, silent for %.1f s at most\n",
               group.requests, group.moves, group.marks, group.kills, group.repeats, group.forgotten,
               (double)silent_us / US_S);
    snprintf(violation, 1000, "%s", group.violation);
    group_fini(&group);
}
