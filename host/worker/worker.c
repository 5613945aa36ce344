/* worker.c: a worker's life: its parts, its checkpoints, its end. */
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "worker/internal.h"
#include "net/transport_fenced.h"
#include "state/store_open.h"
#include "source/sources.h"

/* What status shows is written with every fifth checkpoint, and at least so often. */
#define STATISTICS_EVERY_MS 5000
#define FLUSH_FIRST_MS 50
#define PUT_UP_EVERY_MS 1000 /* its numbers, for others */
#define STATISTICS_EVERY_CHECKPOINTS 5

/* ---- events of shards ---- */

static void on_closed(void *user, struct shard *shard)
{
    worker_report(user, REPORT_CLOSED, shard, NULL, NULL, 0);
}

static void on_finished(void *user, struct shard *shard, const char *handler, const char *progress)
{
    worker_report(user, REPORT_FINISHED, shard, handler, progress, 0);
}

static void on_redriven(void *user, struct shard *shard, int64_t letter)
{
    worker_report(user, REPORT_REDRIVEN, shard, NULL, NULL, letter);
}

static void on_held(void *user, struct shard *shard, int64_t letter)
{
    worker_report(user, REPORT_HELD, shard, NULL, NULL, letter);
}

static void on_missing(void *user, struct shard *shard)
{
    worker_report(user, REPORT_MISSING, shard, NULL, NULL, 0);
}

static void on_halted(void *user, struct shard *shard, const char *handler)
{
    (void)shard;
    worker_report(user, REPORT_HALTED, NULL, handler, NULL, 0);
}

static void on_left(void *user, struct shard *shard, const char *handler)
{
    struct worker *worker = user;
    size_t *shards = map_get(&worker->leaving, handler);
    (void)shard;
    CHECK(!shards || *shards > 0);
    if (shards && --*shards == 0)
        worker_forget_handler(worker, handler);
}

/* Those that left while it was written. */
static void forget_handlers(struct worker *worker)
{
    const char *handler;
    size_t at = 0;
    for (const size_t *shards; (shards = map_next(&worker->leaving, &at, &handler));) {
        if (*shards)
            continue;
        worker_forget_handler(worker, handler);
        at = 0; /* removal moves slots */
    }
}

/* ---- checkpoints ---- */

static void on_passed(void *user, struct shard *shard, const char *handler, const char *sequence)
{
    struct worker *worker = user;
    if (worker->outbox && worker->outbox->ops->passed)
        worker->outbox->ops->passed(worker->outbox, handler, shard_id(shard), sequence);
}

static void tell_checkpoint(struct worker *worker, bool durable)
{
    if (worker->outbox && worker->outbox->ops->checkpoint)
        worker->outbox->ops->checkpoint(worker->outbox, durable);
}

static void report_stopped(void *user)
{
    worker_report(user, REPORT_STOPPED, NULL, NULL, NULL, 0);
}

/* Of the last batch of a flush. */
static void on_flush_over(struct worker *worker)
{
    if (!worker->flush_failed)
        tell_checkpoint(worker, true);
    forget_handlers(worker);
    if (worker->phase == STOPPED)
        tracer_stop(worker->tracer, report_stopped, worker);
}

static void on_flushed(void *user, const struct err *err)
{
    struct worker *worker = user;
    CHECK(worker->flushing > 0);
    if (!err)
        stats_took(stats_times(worker->stats, "tidemill_checkpoint_seconds", NULL),
                   clock_monotonic_us(reactor_clock(worker->reactor)) - worker->flush_us);
    worker->flush_failed = worker->flush_failed || err;
    if (!--worker->flushing)
        on_flush_over(worker);
}

/* Shards whose handlers have all finished. */
static void sweep_shards(struct worker *worker)
{
    size_t at = 0, count = 0;
    const char *key;
    char **idle = mem_alloc((worker->shards.count + 1) * sizeof *idle);
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, &key));)
        if (!shard_subscription_count(shard))
            idle[count++] = mem_string(key);
    for (size_t i = 0; i < count; i++) {
        shard_free(map_remove(&worker->shards, idle[i]));
        free(idle[i]);
    }
    free(idle);
    for (size_t i = 0; i < worker->lost_count;) {
        if (shard_subscription_count(worker->lost[i])) {
            i++;
            continue;
        }
        shard_free(worker->lost[i]);
        worker->lost[i] = worker->lost[--worker->lost_count];
    }
}

/* The first worker says that the host is alive, and what kept a reactor longest lately. */
static void put_beat(struct worker *worker, struct store_batch *batch)
{
    log_flush(worker->options.log);
    if (worker->options.place != 0 || !worker->options.instance)
        return;
    store_put_host(
        batch, &(struct store_host){
                   .instance = worker->options.instance,
                   .version = TIDEMILL_VERSION,
                   .started_ms = worker->started_ms,
                   .beat_ms = clock_wall_ms(reactor_clock(worker->reactor)),
                   .stopped_ms = worker->phase == STOPPED ? clock_wall_ms(reactor_clock(worker->reactor)) : 0,
                   .longest_step_ms = worker->longest_ms,
                   .longest_step = worker->longest,
               });
}

/* Suspended, or set: whoever reads times should know. */
#define JUMP_MS 60000

static void look_at_clocks(struct worker *worker)
{
    struct clock *clock = reactor_clock(worker->reactor);
    int64_t offset_ms = clock_wall_ms(clock) - clock_monotonic_ms(clock);
    int64_t jump_ms = offset_ms - worker->wall_offset_ms;
    if (llabs(jump_ms) < JUMP_MS)
        return;
    worker->wall_offset_ms = offset_ms;
    if (worker->options.place == 0)
        log_warn(
            worker->options.log, NULL,
            "this machine's clock was set %s by %lld s; the age of records is reckoned with the new time",
            jump_ms > 0 ? "forward" : "back", (long long)llabs(jump_ms) / 1000);
}

static void commit(struct worker *worker, struct store_batch *batch)
{
    worker->flushing++;
    store_commit(worker->store, batch, on_flushed, worker);
}

/* A batch for each shard where something moved. */
static void write_shards(struct worker *worker)
{
    size_t at = 0;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));) {
        struct store_batch *batch = store_batch_new();
        shard_collect(shard, batch);
        if (store_batch_empty(batch))
            store_batch_free(batch);
        else
            commit(worker, batch);
    }
}

static void put_notes(struct worker *worker, struct store_batch *notes)
{
    troubles_collect(worker->troubles, notes);
    put_beat(worker, notes);
}

/* The first checkpoints come sooner: what is ended within its first second again and again gets on, too. */
static int64_t next_flush_ms(struct worker *worker)
{
    int64_t interval_ms = worker->options.config->host.checkpoint_interval_ms;
    worker->flush_ms = worker->flush_ms ? 2 * worker->flush_ms : FLUSH_FIRST_MS;
    if (worker->flush_ms > interval_ms)
        worker->flush_ms = interval_ms;
    return worker->flush_ms;
}

static void flush(void *user)
{
    struct worker *worker = user;
    int64_t now = reactor_now_ms(worker->reactor);
    timer_set(worker->reactor, &worker->flush, next_flush_ms(worker));
    look_at_clocks(worker);
    if (worker->flushing)
        return; /* the store still works on the last one; what moved meanwhile goes with the next */
    int64_t every_ms = STATISTICS_EVERY_CHECKPOINTS * worker->options.config->host.checkpoint_interval_ms;
    bool statistics =
        now - worker->statistics_ms >= (every_ms < STATISTICS_EVERY_MS ? every_ms : STATISTICS_EVERY_MS);
    if (statistics)
        worker->statistics_ms = now;
    tell_checkpoint(worker, false);
    worker->flush_us = clock_monotonic_us(reactor_clock(worker->reactor));
    struct store_batch *notes = store_batch_new();
    worker->flush_failed = false;
    write_shards(worker);
    worker_tell(worker, notes, statistics);
    if (statistics)
        put_notes(worker, notes);
    store_note(worker->store, notes);
    sweep_shards(worker);
    if (!worker->flushing)
        on_flush_over(worker); /* it was durable before */
}

/* Also while the store takes nothing: that is when somebody looks. */
static void put_up(void *user)
{
    struct worker *worker = user;
    timer_set(worker->reactor, &worker->put_up, PUT_UP_EVERY_MS);
    if (worker->options.place == 0)
        log_flush(worker->options.log); /* also while the store hangs */
    worker_put_up(worker);
}

/* ---- stopping ---- */

static void finish_if_stopped(struct worker *worker)
{
    size_t at = 0;
    if (worker->phase != STOPPING || !list_empty(&worker->asked))
        return;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        if (!shard_stopped(shard))
            return;
    worker->phase = STOPPED;
    timer_stop(worker->reactor, &worker->flush);
    tell_checkpoint(worker, false);
    worker->flush_us = clock_monotonic_us(reactor_clock(worker->reactor));
    if (worker->options.place == 0)
        troubles_end(worker->troubles, "host", TROUBLE_STARTING); /* "it stops" */
    struct store_batch *last = store_batch_new(); /* that it stopped must not be lost either */
    write_shards(worker);
    worker_put_up(worker);
    worker_tell(worker, last, true);
    put_notes(worker, last);
    commit(worker, last);
}

static void on_stopped(void *user, struct shard *shard)
{
    worker_drain_further(user, shard);
    finish_if_stopped(user);
}

static const struct shard_events shard_events = {.closed = on_closed,
                                                 .finished = on_finished,
                                                 .passed = on_passed,
                                                 .missing = on_missing,
                                                 .left = on_left,
                                                 .redriven = on_redriven,
                                                 .held = on_held,
                                                 .halted = on_halted,
                                                 .stopped = on_stopped};

static void do_stop(void *user)
{
    struct worker *worker = user;
    size_t at = 0;
    if (worker->phase != RUNNING)
        return;
    worker->phase = STOPPING;
    worker->outbox->ops->flush(worker->outbox, true);
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_stop(shard);
    finish_if_stopped(worker);
}

static void do_abandon(void *user)
{
    struct worker *worker = user;
    size_t at = 0;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_abandon(shard);
    worker_abandon_requests(worker);
    finish_if_stopped(worker);
}

void worker_stop(struct worker *worker)
{
    reactor_post(worker->reactor, do_stop, worker);
}

void worker_abandon(struct worker *worker)
{
    reactor_post(worker->reactor, do_abandon, worker);
}

/* ---- life ---- */

static struct store *open_store(struct worker *worker, struct err *err)
{
    const struct config_host *host = &worker->options.config->host;
    struct store_options options = {
        .group = host->group,
        .client = worker->client,
        .writer = worker->options.writer,
        .prepared = worker->options.place > 0,
        .create = host->create_state,
        .upgrade = true,
        .log = worker->options.log,
        .threaded = !worker->options.world.one_thread,
        .commit_fails = worker->options.world.commit_fails,
        .user = worker->options.world.user,
    };
    return store_open(worker->reactor, host->state, &options, err);
}

#define STEP_MS_TOLD 100
#define STEPS_TOLD_EVERY_MS 10000

static void on_long_step(void *user, int64_t ms, const char *what)
{
    struct worker *worker = user;
    if (ms > worker->longest_ms) {
        worker->longest_ms = ms;
        snprintf(worker->longest, sizeof worker->longest, "%s", what);
    }
    if (ms < STEP_MS_TOLD || reactor_now_ms(worker->reactor) < worker->step_told_ms)
        return;
    worker->step_told_ms = reactor_now_ms(worker->reactor) + STEPS_TOLD_EVERY_MS;
    log_warn(worker->options.log, NULL, "one step took %lld ms (%s); all else on its thread waited",
             (long long)ms, what);
}

/* Each attempt by itself: who waits longer, and who is throttled, should be seen. */
static void on_aws_attempt(void *user, const struct aws_attempt *attempt)
{
    struct stats *stats = user;
    ++*stats_counter(stats, "tidemill_aws_requests_total", "service", attempt->service, "operation",
                     attempt->operation, "code", attempt->code, NULL);
    stats_took(stats_times(stats, "tidemill_aws_request_seconds", "service", attempt->service, NULL),
               attempt->us);
}

struct worker *worker_new(const struct worker_options *options, struct err *err)
{
    struct worker *worker = mem_zero(sizeof *worker);
    worker->options = *options;
    config_hold(options->config);
    worker->config = config_hold(options->config);
    worker->reactor = reactor_new(options->world.clock);
    worker->troubles = troubles_new(options->world.clock, options->place);
    worker->stats = stats_new();
    worker->owner = options->instance ? mem_printf("host:%s", options->instance) : NULL;
    worker->started_ms = clock_wall_ms(options->world.clock);
    worker->wall_offset_ms = worker->started_ms - clock_monotonic_ms(options->world.clock);
    list_init(&worker->early);
    list_init(&worker->asked);
    worker->over = finish_if_stopped;
    list_init(&worker->draining);
    reactor_watch_steps(worker->reactor, on_long_step, worker);
    worker->transport = options->world.transport_new(options->world.user, worker->reactor, options->config);
    if (options->fence)
        worker->transport = transport_fenced_new(worker->transport, worker->reactor, options->fence);
    worker->client =
        aws_client_new(worker->reactor, worker->transport, &options->config->aws, options->log, err);
    if (worker->client) {
        aws_client_watch(worker->client, on_aws_attempt, worker->stats);
        aws_client_set_brakes(worker->client, options->brakes);
    }
    if (options->config->host.otlp && *options->config->host.otlp)
        worker->tracer = tracer_new(&(struct tracer_options){
            .url = options->config->host.otlp,
            .sample_ppm = options->config->host.otlp_sample_ppm,
            .instance = options->instance,
            .group = options->config->host.group,
            .reactor = worker->reactor,
            .transport = worker->transport,
            .log = options->log,
            .stats = worker->stats,
        });
    worker->store = worker->client ? open_store(worker, err) : NULL;
    if (!worker->store) {
        worker_free(worker);
        return NULL;
    }
    worker->sources = sources_new(&(struct source_world){.reactor = worker->reactor,
                                                         .client = worker->client,
                                                         .log = options->log,
                                                         .snapshots = options->snapshots});
    worker->outbox = worker_make_outbox(worker);
    timer_init(&worker->flush, flush, worker);
    timer_init(&worker->put_up, put_up, worker);
    timer_set(worker->reactor, &worker->flush, next_flush_ms(worker));
    return worker;
}

void worker_close_store(struct worker *worker)
{
    store_free(worker->store);
    worker->store = NULL;
}

void worker_free(struct worker *worker)
{
    size_t at = 0;
    if (!worker)
        return;
    timer_stop(worker->reactor, &worker->flush);
    timer_stop(worker->reactor, &worker->put_up);
    worker_close_store(worker);
    worker_abandon_requests(worker);
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_free(shard);
    map_fini(&worker->shards);
    for (size_t i = 0; i < worker->lost_count; i++)
        shard_free(worker->lost[i]);
    free(worker->lost);
    struct draining *draining;
    list_each(draining, &worker->draining, struct draining, link)
        free(draining);
    at = 0;
    for (struct handler *handler; (handler = map_next(&worker->handlers, &at, NULL));)
        handler_release(handler);
    map_fini(&worker->handlers);
    at = 0;
    for (size_t *shards; (shards = map_next(&worker->leaving, &at, NULL));)
        free(shards);
    map_fini(&worker->leaving);
    worker_drop_early(worker, NULL);
    if (worker->outbox)
        worker->outbox->ops->release(worker->outbox);
    sources_free(worker->sources);
    tracer_free(worker->tracer);
    aws_client_free(worker->client);
    transport_free(worker->transport);
    reactor_free(worker->reactor);
    troubles_free(worker->troubles);
    stats_free(worker->stats);
    free(worker->owner);
    config_release(worker->config);
    config_release(worker->options.config);
    free(worker);
}

void worker_set_reports(struct worker *worker, const struct worker_reports *reports)
{
    worker->reports = *reports;
    worker->shard_events = &shard_events;
}

const struct handler *worker_add_handler(struct worker *worker, const char *place, struct problems *problems)
{
    struct handler *handler = worker_load(worker, place, problems);
    if (handler)
        map_set(&worker->handlers, handler_name(handler), handler);
    return handler;
}

const struct handler *worker_handler(const struct worker *worker, const char *name)
{
    return map_get(&worker->handlers, name);
}

void worker_each_handler(struct worker *worker, void (*fn)(void *user, const struct handler *handler),
                         void *user)
{
    size_t at = 0;
    for (struct handler *handler; (handler = map_next(&worker->handlers, &at, NULL));)
        fn(user, handler);
}

struct reactor *worker_reactor(struct worker *worker)
{
    return worker->reactor;
}

struct sources *worker_sources(struct worker *worker)
{
    return worker->sources;
}

struct store *worker_store(struct worker *worker)
{
    return worker->store;
}

struct aws_client *worker_client(struct worker *worker)
{
    return worker->client;
}

struct troubles *worker_troubles(struct worker *worker)
{
    return worker->troubles;
}

struct transport *worker_transport(struct worker *worker)
{
    return worker->transport;
}

bool worker_drained(const struct worker *worker)
{
    size_t at = 0;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        if (!shard_drained(shard))
            return false;
    return true;
}

void worker_run(struct worker *worker)
{
    put_up(worker); /* so that whoever asks at once sees more than nothing */
    reactor_run(worker->reactor);
}

void worker_end(struct worker *worker)
{
    reactor_stop(worker->reactor);
}
