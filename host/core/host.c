/* host.c: assembles, starts and stops. The first worker turns on the caller's thread and hosts the
 * supervisors. */
#include "core/host.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/orders.h"
#include "core/reloader.h"
#include "core/streams.h"
#include "net/transport_curl.h"
#include "core/forwarder.h"
#include "core/handlers.h"
#include "script/directory.h"
#include "script/script.h"
#include "state/store_sqlite.h"

struct host {
    struct host_options options;
    struct store_lock *lock;
    struct worker **workers;
    size_t worker_count;
    pthread_t *threads; /* of workers 1 and up */
    struct streams *streams;
    struct store_snapshot *snapshot;
    struct started {
        const struct handler *handler; /* the first worker's; only good until the host runs */
        char *place;
    } * started;
    size_t started_count, started_capacity;
    struct reloader *reloader;
    struct orders *orders;
    struct forwarder *forwarder;
    struct timer limit; /* on stopping */
    size_t workers_stopped;
    bool stopping, abandoned;
};

static struct transport *curl_new(void *user, struct reactor *reactor, const struct config *config)
{
    (void)user;
    return transport_curl_new(
        reactor, &(struct transport_curl_options){
                     .connections = (long)config->aws.connections,
                     .ca_bundle = config->aws.ca_bundle ? config->aws.ca_bundle : getenv("AWS_CA_BUNDLE"),
                 });
}

struct worker_world host_world_system(struct clock *clock)
{
    return (struct worker_world){.clock = clock, .transport_new = curl_new};
}

/* ---- reports of workers: on the first worker's reactor ---- */

static void on_closed(void *user, const char *stream_arn, const char *shard)
{
    struct host *host = user;
    streams_closed(host->streams, stream_arn, shard);
}

static void on_finished(void *user, const char *stream_arn, const char *shard, const char *handler,
                        const char *progress)
{
    struct host *host = user;
    streams_finished(host->streams, stream_arn, shard, handler, progress);
}

static void on_redriven(void *user, int64_t letter)
{
    struct host *host = user;
    orders_redriven(host->orders, letter);
}

static void on_missing(void *user, const char *stream_arn, const char *shard)
{
    struct host *host = user;
    streams_missing(host->streams, stream_arn, shard);
}

static void on_left(void *user, const char *handler)
{
    struct host *host = user;
    reloader_left(host->reloader, handler);
}

static void on_stopped(void *user, struct worker *worker)
{
    struct host *host = user;
    (void)worker;
    if (++host->workers_stopped < host->worker_count)
        return;
    for (size_t i = 0; i < host->worker_count; i++)
        worker_end(host->workers[i]);
}

/* ---- making ---- */

static size_t thread_count(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->host.threads)
        return (size_t)config->host.threads;
    return cores > 0 ? (size_t)cores : 1;
}

static bool make_workers(struct host *host, struct err *err)
{
    size_t count = thread_count(host->options.config);
    struct worker_options options = {host->options.config, host->options.log, host->options.world,
                                     host->options.observer};
    host->workers = mem_zero(count * sizeof *host->workers);
    for (; host->worker_count < count; host->worker_count++) {
        host->workers[host->worker_count] = worker_new(&options, err);
        if (!host->workers[host->worker_count])
            return false;
    }
    struct worker_reports reports = {
        .reactor = worker_reactor(host->workers[0]),
        .closed = on_closed,
        .finished = on_finished,
        .missing = on_missing,
        .left = on_left,
        .redriven = on_redriven,
        .stopped = on_stopped,
        .user = host,
    };
    for (size_t i = 0; i < count; i++)
        worker_set_reports(host->workers[i], &reports);
    return true;
}

static void log_problems(struct host *host, const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        log_error(host->options.log, NULL, "%s", problems->lines[i]);
}

/* For each worker its own copy; the first tells what is wrong and what the settings are. */
static void add_handler(struct host *host, const char *place)
{
    struct problems problems = PROBLEMS_INIT;
    const struct handler *handler = worker_add_handler(host->workers[0], place, &problems);
    bool ok = handler != NULL;
    for (size_t i = 1; ok && i < host->worker_count; i++)
        ok = worker_add_handler(host->workers[i], place, &problems) != NULL;
    if (!ok) {
        log_problems(host, &problems);
        log_error(host->options.log, NULL, "%s: left out until it is mended", place);
        problems_fini(&problems);
        return;
    }
    mem_grow(&host->started, &host->started_capacity, host->started_count, sizeof *host->started);
    host->started[host->started_count++] = (struct started){handler, mem_string(place)};
    log_info(host->options.log, NULL, "%s %s (version %s) on stream %s",
             handler_place_is_route(place) ? "route" : "handler", handler_name(handler),
             handler_version(handler), handler_settings_of(handler)->stream);
    problems_fini(&problems);
}

static bool add_handlers(struct host *host, struct err *err)
{
    char **places = handler_places(host->options.config, true, err);
    if (!places)
        return false;
    for (size_t i = 0; places[i]; i++)
        add_handler(host, places[i]);
    script_paths_free(places);
    if (!host->started_count)
        log_warn(host->options.log, NULL, "%s: no handler runs yet; one that is put there will",
                 host->options.config->host.scripts);
    return true;
}

static void make_streams(struct host *host)
{
    host->streams = streams_new(&(struct stream_supervisor_options){
        .config = host->options.config,
        .reactor = worker_reactor(host->workers[0]),
        .source = worker_source(host->workers[0]),
        .store = worker_store(host->workers[0]),
        .client = worker_client(host->workers[0]),
        .log = host->options.log,
        .workers = host->workers,
        .worker_count = host->worker_count,
        .snapshot = host->snapshot,
    });
    for (size_t i = 0; i < host->started_count; i++) {
        const struct handler *handler = host->started[i].handler;
        streams_add_handler(host->streams, handler_settings_of(handler)->stream, handler_name(handler));
    }
}

static void make_reloader(struct host *host)
{
    host->reloader = reloader_new(&(struct reloader_options){
        .config = host->options.config,
        .log = host->options.log,
        .reactor = worker_reactor(host->workers[0]),
        .store = worker_store(host->workers[0]),
        .workers = host->workers,
        .worker_count = host->worker_count,
        .streams = host->streams,
    });
    for (size_t i = 0; i < host->started_count; i++)
        reloader_running(host->reloader, host->started[i].place, host->started[i].handler);
}

static bool load_snapshot(struct host *host, struct err *err)
{
    host->snapshot = store_load_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]),
                                    &(struct store_query){0}, err);
    return host->snapshot != NULL;
}

static void on_limit(void *user)
{
    struct host *host = user;
    host->abandoned = true;
    log_warn(host->options.log, NULL,
             "shutdown_timeout passed; what still runs is given up and will be repeated");
    for (size_t i = 0; i < host->worker_count; i++)
        worker_abandon(host->workers[i]);
}

struct host *host_new(const struct host_options *options, struct err *err)
{
    struct host *host = mem_zero(sizeof *host);
    host->options = *options;
    config_hold(options->config);
    host->lock = store_sqlite_lock(options->config->host.state + strlen("sqlite:"), err);
    if (!host->lock || !make_workers(host, err) || !add_handlers(host, err) || !load_snapshot(host, err)) {
        host_free(host);
        return NULL;
    }
    timer_init(&host->limit, on_limit, host);
    make_streams(host);
    make_reloader(host);
    host->orders = orders_new(worker_reactor(host->workers[0]), worker_store(host->workers[0]), host->streams,
                              host->reloader, host->options.log);
    host->forwarder = forwarder_new(host->workers[0], host->options.log);
    return host;
}

void host_free(struct host *host)
{
    if (!host)
        return;
    for (size_t i = 0; i < host->worker_count; i++)
        worker_close_store(host->workers[i]);
    orders_free(host->orders);
    forwarder_free(host->forwarder);
    streams_free(host->streams);
    reloader_free(host->reloader);
    for (size_t i = 0; i < host->worker_count; i++)
        worker_free(host->workers[i]);
    for (size_t i = 0; i < host->started_count; i++)
        free(host->started[i].place);
    store_snapshot_free(host->snapshot);
    store_sqlite_unlock(host->lock);
    free(host->started);
    free(host->workers);
    free(host->threads);
    config_release(host->options.config);
    free(host);
}

struct reactor *host_reactor(struct host *host)
{
    return worker_reactor(host->workers[0]);
}

bool host_drained(const struct host *host)
{
    return worker_drained(host->workers[0]);
}

struct aws_client *host_client(struct host *host)
{
    return worker_client(host->workers[0]);
}

struct transport *host_transport(struct host *host)
{
    return worker_transport(host->workers[0]);
}

struct store *host_store(struct host *host)
{
    return worker_store(host->workers[0]);
}

const struct handler *host_handler(struct host *host, const char *name)
{
    return worker_handler(host->workers[0], name);
}

/* ---- running ---- */

static void *run_worker(void *worker)
{
    worker_run(worker);
    return NULL;
}

bool host_run(struct host *host)
{
    host->threads = mem_zero(host->worker_count * sizeof *host->threads);
    for (size_t i = 1; i < host->worker_count; i++)
        if (pthread_create(&host->threads[i], NULL, run_worker, host->workers[i]) != 0)
            abort();
    worker_run(host->workers[0]);
    for (size_t i = 1; i < host->worker_count; i++)
        pthread_join(host->threads[i], NULL);
    return !host->abandoned;
}

enum host_reload host_reload(struct host *host, const struct config *config, struct problems *problems)
{
    if (host->stopping)
        return HOST_RELOADED;
    if (!reloader_accepts(host->reloader, config, problems))
        return HOST_REFUSED;
    if (!config_same_process(host->options.config, config))
        return HOST_MUST_RESTART;
    reloader_set_config(host->reloader, config);
    return HOST_RELOADED;
}

void host_stop(struct host *host)
{
    if (host->stopping) {
        timer_stop(host_reactor(host), &host->limit);
        on_limit(host);
        return;
    }
    host->stopping = true;
    reloader_stop(host->reloader);
    orders_stop(host->orders);
    forwarder_stop(host->forwarder);
    log_info(host->options.log, NULL, "stopping");
    timer_set(host_reactor(host), &host->limit, host->options.config->host.shutdown_timeout_ms);
    for (size_t i = 0; i < host->worker_count; i++)
        worker_stop(host->workers[i]);
}
