/* worker.c: orders come in as posts, reports go out as posts. */
#include "core/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "core/handlers.h"
#include "deliver/outbox.h"
#include "dispatch/shard.h"
#include "state/store_sqlite.h"
#include "stream/source_dynamodb.h"

/* What status shows is written with every fifth checkpoint, and at least so often. */
#define STATISTICS_EVERY_MS 5000
#define STATISTICS_EVERY_CHECKPOINTS 5

struct worker {
    struct worker_options options;
    const struct config *config; /* of scripts to come */
    struct worker_reports reports;
    struct reactor *reactor;
    struct transport *transport;
    struct aws_client *client;
    struct source *source;
    struct store *store;
    struct emitter *outbox;
    struct map handlers; /* name -> struct handler */
    struct map shards;   /* "arn\nshard" -> struct shard */
    struct map leaving;  /* removed handler -> size_t, owned: shards it has not left yet */
    struct timer flush;
    bool flushing; /* a batch is on its way */
    int64_t statistics_ms;
    enum { RUNNING, STOPPING, STOPPED } phase;
};

/* ---- reports ---- */

struct report {
    struct worker *worker;
    enum {
        REPORT_CLOSED,
        REPORT_FINISHED,
        REPORT_MISSING,
        REPORT_LEFT,
        REPORT_REDRIVEN,
        REPORT_STOPPED
    } kind;
    char *stream_arn, *shard, *handler, *progress;
    int64_t letter;
};

static void report_free(void *user)
{
    struct report *report = user;
    free(report->stream_arn);
    free(report->shard);
    free(report->handler);
    free(report->progress);
    free(report);
}

static void deliver_report(void *user)
{
    struct report *report = user;
    const struct worker_reports *reports = &report->worker->reports;
    switch (report->kind) {
    case REPORT_CLOSED:
        reports->closed(reports->user, report->stream_arn, report->shard);
        break;
    case REPORT_FINISHED:
        reports->finished(reports->user, report->stream_arn, report->shard, report->handler,
                          report->progress);
        break;
    case REPORT_MISSING:
        reports->missing(reports->user, report->stream_arn, report->shard);
        break;
    case REPORT_LEFT:
        reports->left(reports->user, report->handler);
        break;
    case REPORT_REDRIVEN:
        reports->redriven(reports->user, report->letter);
        break;
    case REPORT_STOPPED:
        reports->stopped(reports->user, report->worker);
        break;
    }
    report_free(report);
}

static struct report *report_new(struct worker *worker, int kind, const struct shard *shard,
                                 const char *handler)
{
    struct report *report = mem_zero(sizeof *report);
    report->worker = worker;
    report->kind = kind;
    report->stream_arn = mem_string(shard ? shard_stream_arn(shard) : NULL);
    report->shard = mem_string(shard ? shard_id(shard) : NULL);
    report->handler = mem_string(handler);
    return report;
}

static void post_report(struct report *report)
{
    reactor_post_owned(report->worker->reports.reactor, deliver_report, report_free, report);
}

static void send_report(struct worker *worker, int kind, const struct shard *shard, const char *handler)
{
    post_report(report_new(worker, kind, shard, handler));
}

static void on_closed(void *user, struct shard *shard)
{
    send_report(user, REPORT_CLOSED, shard, NULL);
}

static void on_finished(void *user, struct shard *shard, const char *handler, const char *progress)
{
    struct report *report = report_new(user, REPORT_FINISHED, shard, handler);
    report->progress = mem_string(progress);
    post_report(report);
}

static void on_redriven(void *user, struct shard *shard, int64_t letter)
{
    struct report *report = report_new(user, REPORT_REDRIVEN, shard, NULL);
    report->letter = letter;
    post_report(report);
}

static void on_missing(void *user, struct shard *shard)
{
    send_report(user, REPORT_MISSING, shard, NULL);
}

static void forget_handler(struct worker *worker, const char *handler)
{
    free(map_remove(&worker->leaving, handler));
    handler_release(map_remove(&worker->handlers, handler));
    send_report(worker, REPORT_LEFT, NULL, handler);
}

static void on_left(void *user, struct shard *shard, const char *handler)
{
    struct worker *worker = user;
    size_t *shards = map_get(&worker->leaving, handler);
    (void)shard;
    if (shards && --*shards == 0)
        forget_handler(worker, handler);
}

/* ---- checkpoints ---- */

static void on_flushed(void *user, const struct err *err)
{
    struct worker *worker = user;
    (void)err;
    worker->flushing = false;
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
}

static struct store_batch *collect(struct worker *worker, bool statistics)
{
    struct store_batch *batch = store_batch_new();
    size_t at = 0;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_collect(shard, batch, statistics);
    return batch;
}

static void flush(void *user)
{
    struct worker *worker = user;
    int64_t now = reactor_now_ms(worker->reactor);
    timer_set(worker->reactor, &worker->flush, worker->options.config->host.checkpoint_interval_ms);
    if (worker->flushing)
        return; /* the store still works on the last one; what moved meanwhile goes with the next */
    int64_t every_ms = STATISTICS_EVERY_CHECKPOINTS * worker->options.config->host.checkpoint_interval_ms;
    bool statistics =
        now - worker->statistics_ms >= (every_ms < STATISTICS_EVERY_MS ? every_ms : STATISTICS_EVERY_MS);
    if (statistics)
        worker->statistics_ms = now;
    struct store_batch *batch = collect(worker, statistics);
    sweep_shards(worker);
    if (store_batch_empty(batch)) {
        store_batch_free(batch);
        return;
    }
    worker->flushing = true;
    store_commit(worker->store, batch, on_flushed, worker);
}

/* ---- stopping ---- */

static void on_last_flush(void *user, const struct err *err)
{
    (void)err;
    send_report(user, REPORT_STOPPED, NULL, NULL);
}

static void finish_if_stopped(struct worker *worker)
{
    size_t at = 0;
    if (worker->phase != STOPPING)
        return;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        if (!shard_stopped(shard))
            return;
    worker->phase = STOPPED;
    timer_stop(worker->reactor, &worker->flush);
    store_commit(worker->store, collect(worker, true), on_last_flush, worker);
}

static void on_stopped(void *user, struct shard *shard)
{
    (void)shard;
    finish_if_stopped(user);
}

static void do_stop(void *user)
{
    struct worker *worker = user;
    size_t at = 0;
    if (worker->phase != RUNNING)
        return;
    worker->phase = STOPPING;
    worker->outbox->flush(worker->outbox);
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

/* ---- orders ---- */

struct order {
    struct worker *worker;
    struct assignment assignment; /* owned texts */
    int64_t letter;               /* of a redrive */
    char *record;                 /* likewise */
};

static struct order *order_new(struct worker *worker, const struct assignment *assignment)
{
    struct order *order = mem_zero(sizeof *order);
    order->worker = worker;
    order->assignment = *assignment;
    config_hold(assignment->config);
    order->assignment.stream_arn = mem_string(assignment->stream_arn);
    order->assignment.table = mem_string(assignment->table);
    order->assignment.shard = mem_string(assignment->shard);
    order->assignment.handler = mem_string(assignment->handler);
    order->assignment.cursor = mem_string(assignment->cursor);
    order->assignment.progress = mem_string(assignment->progress ? assignment->progress : "");
    return order;
}

static void order_free(void *user)
{
    struct order *order = user;
    free((char *)order->assignment.stream_arn);
    free((char *)order->assignment.table);
    free((char *)order->assignment.shard);
    free((char *)order->assignment.handler);
    free((char *)order->assignment.cursor);
    free((char *)order->assignment.progress);
    free(order->record);
    config_release(order->assignment.config);
    free(order);
}

static char *shard_key(const struct assignment *assignment)
{
    return mem_printf("%s\n%s", assignment->stream_arn, assignment->shard);
}

static struct shard *find_shard(struct order *order)
{
    char *key = shard_key(&order->assignment);
    struct shard *shard = map_get(&order->worker->shards, key);
    free(key);
    return shard;
}

static struct shard *make_shard(struct worker *worker, const struct assignment *assignment)
{
    static const struct shard_events events = {.closed = on_closed,
                                               .finished = on_finished,
                                               .missing = on_missing,
                                               .left = on_left,
                                               .redriven = on_redriven,
                                               .stopped = on_stopped};
    struct shard *shard = shard_new(
        &(struct shard_options){
            .reactor = worker->reactor,
            .source = worker->source,
            .store = worker->store,
            .log = worker->options.log,
            .observer = worker->options.observer,
            .config = assignment->config,
            .stream = assignment->stream,
            .stream_arn = assignment->stream_arn,
            .id = assignment->shard,
            .table = assignment->table,
        },
        &events, worker);
    char *key = shard_key(assignment);
    map_set(&worker->shards, key, shard);
    free(key);
    return shard;
}

/* One that every handler has left may have been read with other settings. */
static struct shard *take_shard(struct order *order)
{
    struct shard *shard = find_shard(order);
    if (shard && shard_subscription_count(shard))
        return shard;
    char *key = shard_key(&order->assignment);
    shard_free(map_remove(&order->worker->shards, key));
    free(key);
    return make_shard(order->worker, &order->assignment);
}

static void do_assign(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    const struct assignment *assignment = &order->assignment;
    struct handler *handler = map_get(&worker->handlers, assignment->handler);
    if (worker->phase == RUNNING && handler) {
        struct shard *shard = take_shard(order);
        shard_subscribe(shard, handler,
                        &(struct shard_start){assignment->position, assignment->progress, assignment->cursor,
                                              assignment->last});
        if (assignment->closed)
            shard_closed(shard);
    }
    order_free(order);
}

static void do_closed(void *user)
{
    struct order *order = user;
    struct shard *shard = find_shard(order);
    if (shard)
        shard_closed(shard);
    order_free(order);
}

static void do_vanished(void *user)
{
    struct order *order = user;
    struct shard *shard = find_shard(order);
    if (shard && order->worker->phase == RUNNING)
        shard_vanished(shard);
    order_free(order);
}

static void do_redrive(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    struct shard *shard = find_shard(order);
    if (worker->phase != RUNNING || !shard ||
        !shard_redrive(shard, order->assignment.handler, order->letter, order->record)) {
        struct report *report = report_new(worker, REPORT_REDRIVEN, NULL, NULL);
        report->letter = order->letter;
        post_report(report);
    }
    order_free(order);
}

static struct handler *load(struct worker *worker, const char *place, struct problems *problems)
{
    return handler_load(
        &(struct script_options){
            .path = place,
            .config = worker->config,
            .reactor = worker->reactor,
            .aws = worker->client,
            .transport = worker->transport,
            .store = worker->store,
            .emitter = worker->outbox,
            .log = worker->options.log,
            .observer = worker->options.observer,
        },
        problems);
}

struct text_order {
    struct worker *worker;
    char *text; /* a place, or a handler's name */
};

static void text_order_free(void *user)
{
    struct text_order *order = user;
    free(order->text);
    free(order);
}

static void post_text_order(struct worker *worker, reactor_fn *fn, const char *text)
{
    struct text_order *order = mem_zero(sizeof *order);
    *order = (struct text_order){worker, mem_string(text)};
    reactor_post_owned(worker->reactor, fn, text_order_free, order);
}

static void do_load_handler(void *user)
{
    struct text_order *order = user;
    struct worker *worker = order->worker;
    struct problems problems = PROBLEMS_INIT;
    struct handler *handler = worker->phase == RUNNING ? load(worker, order->text, &problems) : NULL;
    size_t at = 0;
    for (size_t i = 0; i < problems.count; i++)
        log_error(worker->options.log, NULL, "%s", problems.lines[i]);
    if (handler) {
        struct handler *old = map_get(&worker->handlers, handler_name(handler));
        map_set(&worker->handlers, handler_name(handler), handler);
        for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
            shard_replace_handler(shard, handler);
        handler_release(old);
    }
    problems_fini(&problems);
    text_order_free(order);
}

static void do_remove_handler(void *user)
{
    struct text_order *order = user;
    struct worker *worker = order->worker;
    size_t at = 0, *shards = mem_zero(sizeof *shards);
    map_set(&worker->leaving, order->text, shards);
    *shards = 1; /* so that it does not end while we count */
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        *shards += shard_unsubscribe(shard, order->text);
    if (--*shards == 0)
        forget_handler(worker, order->text);
    text_order_free(order);
}

struct config_order {
    struct worker *worker;
    const struct config *config;
};

static void config_order_free(void *user)
{
    struct config_order *order = user;
    config_release(order->config);
    free(order);
}

static struct emitter *make_outbox(struct worker *worker)
{
    const struct worker_world *world = &worker->options.world;
    if (world->emitter_new)
        return world->emitter_new(world->emitter_user, worker->reactor, worker->config);
    return outbox_new(&(struct outbox_options){
        .config = worker->config,
        .reactor = worker->reactor,
        .aws = worker->client,
        .transport = worker->transport,
        .log = worker->options.log,
    });
}

static void do_set_config(void *user)
{
    struct config_order *order = user;
    struct worker *worker = order->worker;
    bool same = config_same_targets(worker->config, order->config);
    config_release(worker->config);
    worker->config = order->config;
    free(order);
    if (same)
        return;
    /* Handlers of the versions before keep the targets that they were loaded with. */
    worker->outbox->release(worker->outbox);
    worker->outbox = make_outbox(worker);
}

void worker_set_config(struct worker *worker, const struct config *config)
{
    struct config_order *order = mem_zero(sizeof *order);
    *order = (struct config_order){worker, config_hold(config)};
    reactor_post_owned(worker->reactor, do_set_config, config_order_free, order);
}

void worker_load_handler(struct worker *worker, const char *place)
{
    post_text_order(worker, do_load_handler, place);
}

void worker_remove_handler(struct worker *worker, const char *handler)
{
    post_text_order(worker, do_remove_handler, handler);
}

void worker_assign(struct worker *worker, const struct assignment *assignment)
{
    reactor_post_owned(worker->reactor, do_assign, order_free, order_new(worker, assignment));
}

void worker_redrive(struct worker *worker, const char *stream_arn, const char *shard, const char *handler,
                    int64_t letter, const char *record)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard, .handler = handler};
    struct order *order = order_new(worker, &assignment);
    order->letter = letter;
    order->record = mem_string(record);
    reactor_post_owned(worker->reactor, do_redrive, order_free, order);
}

void worker_shard_closed(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_closed, order_free, order_new(worker, &assignment));
}

void worker_shard_vanished(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_vanished, order_free, order_new(worker, &assignment));
}

/* ---- life ---- */

static struct store *open_store(struct worker *worker, struct err *err)
{
    const struct config_host *host = &worker->options.config->host;
    struct store_sqlite_options options = {
        .path = host->state + strlen("sqlite:"),
        .group = host->group,
        .log = worker->options.log,
    };
    return store_sqlite_new(worker->reactor, &options, err);
}

struct worker *worker_new(const struct worker_options *options, struct err *err)
{
    struct worker *worker = mem_zero(sizeof *worker);
    worker->options = *options;
    config_hold(options->config);
    worker->config = config_hold(options->config);
    worker->reactor = reactor_new(options->world.clock);
    worker->transport = options->world.transport_new(options->world.user, worker->reactor, options->config);
    worker->client =
        aws_client_new(worker->reactor, worker->transport, &options->config->aws, options->log, err);
    worker->store = worker->client ? open_store(worker, err) : NULL;
    if (!worker->store) {
        worker_free(worker);
        return NULL;
    }
    worker->source = source_dynamodb_new(worker->client);
    worker->outbox = make_outbox(worker);
    timer_init(&worker->flush, flush, worker);
    timer_set(worker->reactor, &worker->flush, options->config->host.checkpoint_interval_ms);
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
    worker_close_store(worker);
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_free(shard);
    map_fini(&worker->shards);
    at = 0;
    for (struct handler *handler; (handler = map_next(&worker->handlers, &at, NULL));)
        handler_release(handler);
    map_fini(&worker->handlers);
    at = 0;
    for (size_t *shards; (shards = map_next(&worker->leaving, &at, NULL));)
        free(shards);
    map_fini(&worker->leaving);
    if (worker->outbox)
        worker->outbox->release(worker->outbox);
    source_free(worker->source);
    aws_client_free(worker->client);
    transport_free(worker->transport);
    reactor_free(worker->reactor);
    config_release(worker->config);
    config_release(worker->options.config);
    free(worker);
}

void worker_set_reports(struct worker *worker, const struct worker_reports *reports)
{
    worker->reports = *reports;
}

const struct handler *worker_add_handler(struct worker *worker, const char *place, struct problems *problems)
{
    struct handler *handler = load(worker, place, problems);
    if (handler)
        map_set(&worker->handlers, handler_name(handler), handler);
    return handler;
}

const struct handler *worker_handler(const struct worker *worker, const char *name)
{
    return map_get(&worker->handlers, name);
}

struct reactor *worker_reactor(struct worker *worker)
{
    return worker->reactor;
}

struct source *worker_source(struct worker *worker)
{
    return worker->source;
}

struct store *worker_store(struct worker *worker)
{
    return worker->store;
}

struct aws_client *worker_client(struct worker *worker)
{
    return worker->client;
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
    reactor_run(worker->reactor);
}

void worker_end(struct worker *worker)
{
    reactor_stop(worker->reactor);
}
