/* host.c: assembles, starts and stops. The first worker turns on the caller's thread and hosts the
 * supervisors. */
#include "core/host.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/random.h>
#include <unistd.h>

#include "aws/brake.h"
#include "base/descriptors.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/gauges.h"
#include "core/group.h"
#include "intake/intake.h"
#include "source/snapshot/snapshots.h"
#include "lease/table.h"
#include "core/orders.h"
#include "core/reloader.h"
#include "core/usage.h"
#include "assign/streams.h"
#include "net/transport_network.h"
#ifdef TIDEMILL_POSTGRES
#include "net/transport_postgres.h"
#endif
#ifdef TIDEMILL_REDIS
#include "net/transport_redis.h"
#endif
#include "core/forwarder.h"
#include "worker/handlers.h"
#include "script/directory.h"
#include "script/script.h"
#include "state/store_open.h"

struct host {
    struct host_options options;
    struct store_lock *lock;
    const struct config *config; /* in force; held */
    uint64_t digest;             /* of the configuration in force */
    struct group *group;         /* of a state that hosts share; else NULL */
    struct board *board;
    struct paces *paces;
    struct brakes *brakes;
    struct snapshots *snapshots;
    struct worker **workers;
    size_t worker_count;
    pthread_t *threads; /* of workers 1 and up */
    struct streams *streams;
    struct store_snapshot *snapshot, *requests; /* as of the start */
    struct started {
        const struct handler *handler; /* the first worker's; only good until the host runs */
        char *place;
    } * started;
    size_t started_count, started_capacity;
    struct reloader *reloader;
    struct orders *orders;
    struct forwarder *forwarder;
    struct gauges *gauges;
    struct usage *usage;
    struct timer limit; /* on stopping */
    struct loads loads;
    struct fence fence; /* among hosts that share a state */
    char instance[17];  /* of this run: what it owns in the state is marked with it */
    size_t workers_stopped;
    bool stopping, abandoned, failed;
    struct intakes *intakes; /* NULL: in a simulation */
    struct timer look;       /* at their certificates */
    int64_t stopping_ms;
};

static size_t thread_count(const struct config *config);

/* Descriptors that a reactor needs besides its calls: state, scripts, files of the lake, epoll and pipes, and
 * the host's own calls. */
#define DESCRIPTORS_KEPT 32

/* Calls at once to all endpoints, as this process' limit on descriptors allows. */
static int64_t descriptors_each(const struct config *config)
{
    int64_t each = descriptors_limit() / (int64_t)thread_count(config) - DESCRIPTORS_KEPT;
    return each > 4 ? each : 4;
}

static void warn_of_descriptors(struct log *log, const struct config *config)
{
    if (descriptors_each(config) < config->aws.connections)
        log_warn(log, NULL,
                 "this process may have %lld files and sockets open: %lld calls at once in each of %zu "
                 "reactors, not the %lld that connections in [aws] asks for; raise the limit (ulimit -n, "
                 "LimitNOFILE=)",
                 (long long)descriptors_limit(), (long long)descriptors_each(config), thread_count(config),
                 (long long)config->aws.connections);
}

static struct transport *network_new(void *user, struct reactor *reactor, const struct config *config)
{
    (void)user;
    const char *ca_bundle = config->aws.ca_bundle ? config->aws.ca_bundle : getenv("AWS_CA_BUNDLE");
    struct transport *transport = transport_network_new(
        reactor, &(struct transport_network_options){
                     .connections = (long)config->aws.connections,
                     .descriptors = (long)descriptors_each(config),
                     .abrupt_ms = store_is_shared(config->host.state) ? (long)config->host.lease_ms / 8 : 0,
                     .ca_bundle = ca_bundle,
                 });
#ifdef TIDEMILL_REDIS /* the library was there when this was built */
    transport = transport_redis_new(reactor, transport, ca_bundle);
#endif
#ifdef TIDEMILL_POSTGRES /* likewise */
    transport = transport_postgres_new(reactor, transport, ca_bundle);
#endif
    return transport;
}

struct worker_world host_world_system(struct clock *clock)
{
    return (struct worker_world){.clock = clock, .transport_new = network_new};
}

#define SAME_STOP_MS 2000

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

static void on_redriven(void *user, const char *stream_arn, const char *shard, int64_t letter)
{
    struct host *host = user;
    orders_redriven(host->orders, stream_arn, shard, letter);
}

static void on_held(void *user, const char *stream_arn, const char *shard, int64_t letter)
{
    struct host *host = user;
    orders_held(host->orders, stream_arn, shard, letter);
}

static void on_loaded(void *user, struct worker *worker, const char *place, bool ok)
{
    struct host *host = user;
    reloader_loaded(host->reloader, worker, place, ok);
}

/* It leaves its shards, comes back, and stands still until the gap is dropped. */
static void on_halted(void *user, const char *handler)
{
    struct host *host = user;
    reloader_restart(host->reloader, handler, NULL);
}

static void on_drained(void *user, const char *stream_arn, const char *shard)
{
    struct host *host = user;
    if (host->group)
        group_drained(host->group, stream_arn, shard);
}

static void on_read(void *user, const char *stream_arn, const char *shard, int64_t records)
{
    struct host *host = user;
    if (host->group)
        group_read(host->group, stream_arn, shard, records);
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

static void on_all_kept(void *user, const struct err *err)
{
    struct host *host = user;
    if (err) /* it was closed first: it is being freed */
        return;
    timer_stop(host_reactor(host), &host->limit);
    for (size_t i = 0; i < host->worker_count; i++)
        worker_end(host->workers[i]);
}

static void on_stopped(void *user, struct worker *worker)
{
    struct host *host = user;
    (void)worker;
    if (++host->workers_stopped == host->worker_count)
        usage_stop(host->usage, on_all_kept, host);
}

/* ---- making ---- */

static size_t thread_count(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->host.threads)
        return (size_t)config->host.threads;
    return cores > 0 ? (size_t)cores : 1;
}

/* It worked on this state before, and so does not any more: we have the lock. */
static bool known_dead(const void *user, const char *owner)
{
    const struct host *host = user;
    const char *instance = strncmp(owner, "host:", 5) == 0 ? owner + 5 : "";
    size_t size = strcspn(instance, "/");
    if (!size || strncmp(instance, host->instance, size) == 0)
        return false;
    for (size_t i = 0; host->snapshot && i < host->snapshot->host_count; i++)
        if (strncmp(host->snapshot->hosts[i].instance, instance, size) == 0 &&
            !host->snapshot->hosts[i].instance[size])
            return true;
    return false;
}

/* Those that another configuration had a limit for lose it. */
static void limit_tables(struct host *host, const struct config *config)
{
    const struct config *before = host->config;
    for (size_t i = 0; before && i < before->table_count; i++)
        brake_set_max_in_flight(brakes_find(host->brakes, before->tables[i].name), 0);
    for (size_t i = 0; i < config->table_count; i++)
        if (config->tables[i].max_in_flight)
            brake_set_max_in_flight(brakes_find(host->brakes, config->tables[i].name),
                                    config->tables[i].max_in_flight);
    config_hold(config);
    config_release(before);
    host->config = config;
}

static bool make_workers(struct host *host, struct err *err)
{
    size_t count = thread_count(host->options.config);
    struct worker_options options = {.config = host->options.config,
                                     .log = host->options.log,
                                     .world = host->options.world,
                                     .observer = host->options.observer,
                                     .instance = host->instance,
                                     .known_dead = known_dead,
                                     .known_user = host};
    options.paces = host->paces = paces_new();
    options.brakes = host->brakes = brakes_new();
    options.snapshots = host->snapshots = snapshots_new(host->paces);
    limit_tables(host, host->options.config);
    options.board = host->board = board_new(count + 1);
    host->workers = mem_zero(count * sizeof *host->workers);
    for (; host->worker_count < count; host->worker_count++) {
        options.place = host->worker_count;
        options.writer = host->group ? group_writer(host->group, host->worker_count) : NULL;
        options.fence = host->group ? &host->fence : NULL;
        host->workers[host->worker_count] = worker_new(&options, err);
        if (!host->workers[host->worker_count])
            return false;
        if (host->group)
            group_set_worker(host->group, host->worker_count, host->workers[host->worker_count]);
    }
    struct worker_reports reports = {
        .reactor = worker_reactor(host->workers[0]),
        .closed = on_closed,
        .finished = on_finished,
        .missing = on_missing,
        .left = on_left,
        .redriven = on_redriven,
        .held = on_held,
        .loaded = on_loaded,
        .halted = on_halted,
        .drained = on_drained,
        .read = on_read,
        .stopped = on_stopped,
        .user = host,
    };
    for (size_t i = 0; i < count; i++)
        worker_set_reports(host->workers[i], &reports);
    return true;
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
        problems_log(&problems, host->options.log);
        log_error(host->options.log, NULL, "%s: left out until it is mended", place);
        reloader_tell_broken(host->workers[0], place, problems.count ? problems.lines[0] : "it is wrong");
        problems_fini(&problems);
        return;
    }
    mem_grow(&host->started, &host->started_capacity, host->started_count, sizeof *host->started);
    host->started[host->started_count++] = (struct started){handler, mem_string(place)};
    const struct handler_settings *settings = handler_settings_of(handler);
    log_info(host->options.log, NULL, "%s %s (version %s) on %s %s",
             handler_place_is_route(place) ? "route" : "handler", handler_name(handler),
             handler_version(handler), settings->intake ? "intake" : "stream",
             settings->intake ? settings->intake : settings->streams.text);
    problems_fini(&problems);
}

static bool is_paused(const struct host *host, const char *place)
{
    char *name = handler_place_name(place);
    bool paused = store_find_pause(host->requests, name) != NULL;
    free(name);
    return paused;
}

static bool add_handlers(struct host *host, struct err *err)
{
    char **places = handler_places(host->options.config, true, err);
    if (!places)
        return false;
    bool paused = false;
    for (size_t i = 0; places[i]; i++) {
        if (!is_paused(host, places[i]))
            add_handler(host, places[i]);
        else
            paused = true;
    }
    script_paths_free(places);
    if (!host->started_count && !paused)
        log_warn(host->options.log, NULL, "%s: no handler runs yet; one that is put there will",
                 host->options.config->host.scripts);
    return true;
}

static bool load_snapshot(struct host *host, struct err *err)
{
    host->snapshot = store_load_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]),
                                    &(struct store_query){0}, err);
    if (host->snapshot)
        host->requests = store_load_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]),
                                        &(struct store_query){.what = STORE_REQUESTS}, err);
    return host->requests != NULL;
}

static bool follows(const struct host *host, const char *handler)
{
    for (size_t i = 0; i < host->snapshot->follow_count; i++)
        if (strcmp(host->snapshot->follows[i].handler, handler) == 0)
            return true;
    return false;
}

/* What it did once, when it still had the other name. */
static bool inherit_markers(struct host *host, const struct handler *handler, struct store_batch *batch,
                            struct err *err)
{
    const char *former = handler_settings_of(handler)->formerly;
    struct store_snapshot *markers =
        store_load_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]),
                       &(struct store_query){.what = STORE_MARKERS, .handler = former}, err);
    if (markers)
        reloader_inherit_markers(markers, handler_name(handler), batch);
    store_snapshot_free(markers);
    return markers != NULL;
}

/* One with a new name goes on where the one with the old name stands. */
static bool inherit(struct host *host, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    bool any = false, well = true;
    for (size_t i = 0; well && i < host->started_count; i++) {
        const struct handler *handler = host->started[i].handler;
        if (follows(host, handler_name(handler)) || !reloader_inherit(handler, batch))
            continue;
        any = true;
        well = inherit_markers(host, handler, batch, err);
    }
    if (!any || !well) {
        store_batch_free(batch);
        return well;
    }
    store_snapshot_free(host->snapshot);
    store_snapshot_free(host->requests);
    host->snapshot = host->requests = NULL;
    return store_commit_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]), batch, err) &&
           load_snapshot(host, err);
}

/* Of whom nobody knows here: was it renamed, or left out by mistake? Then it is told now, or never. */
static void tell_strangers(const struct host *host)
{
    struct map told = {0};
    for (size_t i = 0; !host->group && i < host->snapshot->follow_count; i++) { /* else others may run it */
        const char *name = host->snapshot->follows[i].handler;
        bool known = map_get(&told, name) || store_find_pause(host->requests, name) != NULL;
        for (size_t j = 0; j < host->started_count && !known; j++) {
            const struct handler *handler = host->started[j].handler;
            const char *former = handler_settings_of(handler)->formerly;
            known = strcmp(handler_name(handler), name) == 0 || (former && strcmp(former, name) == 0);
        }
        const struct config *config = host->options.config;
        const struct config_handler *section = config_handler(config, name);
        char *file = mem_printf("%s/%s.lua", config->host.scripts, name);
        known = known || (access(file, F_OK) == 0 && !config_script_is_shared(config, name)) ||
                (section && config_handler_script(section)); /* it is told that it is broken */
        free(file);
        if (known)
            continue;
        map_set(&told, name, &told);
        int64_t dead = 0;
        for (size_t j = 0; j < host->snapshot->dead_count; j++)
            if (strcmp(host->snapshot->dead[j].handler, name) == 0)
                dead += host->snapshot->dead[j].count;
        log_warn(host->options.log, NULL,
                 "the state knows of a handler %s (%lld dead letter%s), and none runs here: where it has "
                 "another name now, say formerly = %s there, and it goes on where that one stands; where it "
                 "is gone for good, `tidemill state forget %s` ends this",
                 name, (long long)dead, dead == 1 ? "" : "s", name, name);
    }
    map_fini(&told);
}

/* Such a handler has a place nowhere. */
static bool has_requests(struct host *host, const char *name)
{
    const struct handler *handler = host_handler(host, name);
    return handler && handler_kind(handler) == HANDLER_REQUESTS;
}

/* Whose state is it, and how old? A file that was put in its place, or none, is noticed here or never. */
static void tell_place(const struct host *host, const char *handler)
{
    const struct store_snapshot *snapshot = host->snapshot;
    int64_t oldest_ms = 0;
    size_t shards = 0;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        int64_t time_ms = row->position.record_time_ms;
        if (strcmp(row->handler, handler) != 0 || row->position.kind == POSITION_FINISHED)
            continue;
        shards++;
        if (time_ms && (!oldest_ms || time_ms < oldest_ms))
            oldest_ms = time_ms;
    }
    char time[CLOCK_ISO_SIZE] = "";
    if (oldest_ms)
        clock_iso8601(oldest_ms, time);
    if (!shards && has_requests((struct host *)host, handler))
        return;
    if (shards)
        log_info(host->options.log, NULL, "handler %s goes on where it stands in %zu shard%s%s%s", handler,
                 shards, shards == 1 ? "" : "s", oldest_ms ? "; the oldest of these places is of " : "",
                 time);
    else
        log_info(host->options.log, NULL, "handler %s has no place in %s yet", handler,
                 host->options.config->host.state);
}

static void make_streams(struct host *host)
{
    host->loads =
        (struct loads){host->workers, mem_zero(host->worker_count * sizeof(size_t)), host->worker_count};
    host->streams = streams_new(&(struct stream_supervisor_options){
        .config = host->options.config,
        .reactor = worker_reactor(host->workers[0]),
        .sources = worker_sources(host->workers[0]),
        .snapshots = host->snapshots,
        .store = worker_store(host->workers[0]),
        .leases = host->group ? group_leases(host->group) : host->options.leases,
        .client = worker_client(host->workers[0]),
        .log = host->options.log,
        .loads = &host->loads,
        .troubles = worker_troubles(host->workers[0]),
        .snapshot = host->snapshot,
    });
    for (size_t i = 0; i < host->started_count; i++) {
        const struct handler *handler = host->started[i].handler;
        tell_place(host, handler_name(handler));
        streams_add_handler(host->streams, &handler_settings_of(handler)->streams, handler_name(handler));
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
        .requests = host->requests,
        .take_release = host->options.take_release,
        .user = host->options.user,
    });
    for (size_t i = 0; i < host->started_count; i++)
        reloader_running(host->reloader, host->started[i].place, host->started[i].handler);
}

/* What another host left in progress is nobody's. */
static bool begin_host(struct host *host, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    int64_t now_ms = clock_wall_ms(reactor_clock(worker_reactor(host->workers[0])));
    store_begin_host(batch, &(struct store_host){.instance = host->instance,
                                                 .version = TIDEMILL_VERSION,
                                                 .started_ms = now_ms,
                                                 .beat_ms = now_ms});
    troubles_tell(worker_troubles(host->workers[0]), "host", TROUBLE_STARTING, "it begins");
    if (!host->group) /* who looks now knows that it is not ready */
        troubles_collect(worker_troubles(host->workers[0]), batch);
    return store_commit_now(worker_store(host->workers[0]), worker_reactor(host->workers[0]), batch, err);
}

/* How long the last positions may take to be written when the time to stop is over. */
#define LAST_WRITE_MS 2000

static void on_last_limit(void *user)
{
    struct host *host = user;
    log_error(
        host->options.log, NULL,
        "the state could not be written before the end; what was done since it last could be is repeated "
        "by the next host");
    for (size_t i = 0; i < host->worker_count; i++)
        worker_end(host->workers[i]);
}

static void on_limit(void *user)
{
    struct host *host = user;
    host->abandoned = true;
    timer_init(&host->limit, on_last_limit, host);
    timer_set(host_reactor(host), &host->limit, LAST_WRITE_MS);
    log_warn(host->options.log, NULL,
             "shutdown_timeout passed; what still runs is given up and will be repeated");
    for (size_t i = 0; i < host->worker_count; i++)
        worker_abandon(host->workers[i]);
}

/* ---- beside other hosts ---- */

static void stop_workers(struct host *host)
{
    for (size_t i = 0; i < host->worker_count; i++)
        worker_stop(host->workers[i]);
}

static void on_group_left(void *user)
{
    stop_workers(user);
}

static void on_rung(void *user)
{
    struct host *host = user;
    if (host->orders)
        orders_ring(host->orders);
}

static void tell_status(void *user, int64_t asked)
{
    struct host *host = user;
    group_tell(host->group, asked);
}

static bool may_forward(void *user)
{
    const struct host *host = user;
    return !host->group || group_leads(host->group);
}

static void on_group_over(void *user)
{
    struct host *host = user;
    host->abandoned = host->failed = true;
    host_stop(host);
    stop_workers(host);
}

static void add_version(void *user, const struct handler *handler)
{
    uint64_t *sum = user;
    *sum += lease_hash((const char *const[]){handler_name(handler), handler_version(handler), NULL});
}

/* Which hosts of a group are to have alike. */
static uint64_t fingerprint(void *user)
{
    const struct host *host = user;
    uint64_t sum = host->digest;
    worker_each_handler(host->workers[0], add_version, &sum);
    return sum;
}

static void make_group(struct host *host)
{
    if (!store_is_shared(host->options.config->host.state))
        return;
    host->group = group_new(&(struct group_options){
        .config = host->options.config,
        .log = host->options.log,
        .clock = host->options.world.clock,
        .instance = host->instance,
        .fingerprint = fingerprint,
        .reactors = thread_count(host->options.config),
        .fence = &host->fence,
        .left = on_group_left,
        .rung = on_rung,
        .no_table = on_group_over,
        .user = host,
    });
}

#define LOOK_EVERY_MS 2000

static void look_at_certificates(void *user)
{
    struct host *host = user;
    timer_set(host_reactor(host), &host->look, LOOK_EVERY_MS);
    if (!host->stopping)
        intakes_look(host->intakes);
}

static struct intakes *make_intakes(struct host *host, struct err *err)
{
    return intakes_new(&(struct intakes_options){.config = host->options.config,
                                                 .log = host->options.log,
                                                 .workers = host->workers,
                                                 .worker_count = host->worker_count,
                                                 .paces = host->paces},
                       err);
}

static void make_instance(struct host *host)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        number = (uint64_t)clock_wall_ms(host->options.world.clock) ^ (uint64_t)getpid() << 40;
    snprintf(host->instance, sizeof host->instance, "%016llx", (unsigned long long)number);
}

/* A command has it for a moment: tidemill seek, backfill. Another host keeps it. */
#define LOCK_WAIT_MS 2000
#define LOCK_AGAIN_MS 50

static struct store_lock *lock_state(const char *uri, struct err *err)
{
    struct store_lock *lock = store_lock(uri, err);
    for (int waited_ms = 0; !lock && err->code == ERR_BUSY && waited_ms < LOCK_WAIT_MS;
         waited_ms += LOCK_AGAIN_MS) {
        nanosleep(&(struct timespec){0, LOCK_AGAIN_MS * 1000000L}, NULL);
        lock = store_lock(uri, err);
    }
    return lock;
}

struct host *host_new(const struct host_options *options, struct err *err)
{
    struct host *host = mem_zero(sizeof *host);
    warn_of_descriptors(options->log, options->config);
    host->options = *options;
    config_hold(options->config);
    host->digest = options->config->digest;
    make_instance(host);
    make_group(host);
    if (!host->group)
        host->lock = lock_state(options->config->host.state, err);
    if ((!host->lock && !host->group) || !make_workers(host, err) || !begin_host(host, err) ||
        !load_snapshot(host, err) || !add_handlers(host, err) || !inherit(host, err)) {
        host_free(host);
        return NULL;
    }
    timer_init(&host->limit, on_limit, host);
    tell_strangers(host);
    make_streams(host);
    if (host->group)
        group_begin(host->group, host->streams);
    make_reloader(host);
    host->orders = orders_new(worker_reactor(host->workers[0]), worker_store(host->workers[0]), host->streams,
                              host->reloader, host->options.log);
    if (host->group)
        orders_wait_for_bell(host->orders, tell_status, host);
    host->forwarder = forwarder_new(host->workers[0], host->options.log, may_forward, host);
    host->gauges = gauges_new(&(struct gauges_options){
        .worker = host->workers[0],
        .streams = host->streams,
        .reloader = host->reloader,
        .group = host->group,
        .log = host->options.log,
        .board = host->board,
        .place = host->worker_count,
        .paces = host->paces,
        .brakes = host->brakes,
    });
    if (!options->world.one_thread && !(host->intakes = make_intakes(host, err))) {
        host_free(host);
        return NULL;
    }
    timer_init(&host->look, look_at_certificates, host);
    if (host->intakes)
        timer_set(host_reactor(host), &host->look, LOOK_EVERY_MS);
    host->usage = usage_new(&(struct usage_options){
        .worker = host->workers[0], .board = host->board, .instance = host->instance});
    return host;
}

void host_free(struct host *host)
{
    if (!host)
        return;
    if (host->intakes)
        timer_stop(host_reactor(host), &host->look);
    intakes_stop(host->intakes);
    for (size_t i = 0; i < host->worker_count; i++)
        worker_close_store(host->workers[i]);
    gauges_free(host->gauges);
    usage_free(host->usage);
    orders_free(host->orders);
    forwarder_free(host->forwarder);
    streams_free(host->streams);
    reloader_free(host->reloader);
    group_free(host->group);
    for (size_t i = 0; i < host->worker_count; i++)
        worker_free(host->workers[i]);
    intakes_free(host->intakes);
    for (size_t i = 0; i < host->started_count; i++)
        free(host->started[i].place);
    store_snapshot_free(host->snapshot);
    store_snapshot_free(host->requests);
    board_free(host->board);
    snapshots_free(host->snapshots);
    paces_free(host->paces);
    brakes_free(host->brakes);
    config_release(host->config);
    store_unlock(host->lock);
    free(host->loads.counts);
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

void host_tell_trouble(struct host *host, const char *kind, const char *text)
{
    if (text)
        troubles_tell(worker_troubles(host->workers[0]), "host", kind, text);
    else
        troubles_end(worker_troubles(host->workers[0]), "host", kind);
}

void host_count_ini(struct host *host, bool taken)
{
    gauges_count_ini(host->gauges, taken);
}

bool host_drained(const struct host *host)
{
    return worker_drained(host->workers[0]) && !snapshots_any(host->snapshots);
}

struct gaining {
    struct host *host;
    char *stream_arn, *shard;
};

/* What the one before it has kept of the shard. Where it cannot be read, it is tried again. */
static void on_gained(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct gaining *gaining = user;
    struct host *host = gaining->host;
    if (snapshot)
        streams_gained(host->streams, gaining->stream_arn, gaining->shard, snapshot);
    else if (err->code != ERR_CANCELLED)
        host_gained(host, gaining->stream_arn, gaining->shard);
    store_snapshot_free(snapshot);
    free(gaining->stream_arn);
    free(gaining->shard);
    free(gaining);
}

void host_gained(struct host *host, const char *stream_arn, const char *shard)
{
    struct gaining *gaining = mem_alloc(sizeof *gaining);
    *gaining = (struct gaining){host, mem_string(stream_arn), mem_string(shard)};
    store_load(host_store(host), &(struct store_query){.what = STORE_ALL}, on_gained, gaining);
}

void host_lost(struct host *host, const char *stream_arn, const char *shard)
{
    streams_lost(host->streams, stream_arn, shard);
}

struct board *host_board(struct host *host)
{
    return host->board;
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

void host_ask(struct host *host, const struct handler_request *request, worker_answer_fn *done, void *user)
{
    worker_ask(host->workers[0], request, done, user);
}

void host_each_handler(struct host *host, void (*fn)(void *user, const struct handler *handler), void *user)
{
    worker_each_handler(host->workers[0], fn, user);
}

const struct handler *host_handler(struct host *host, const char *name)
{
    return worker_handler(host->workers[0], name);
}

bool host_reads(struct host *host, const char *stream)
{
    bool any = false;
    for (size_t i = 0; i < host->started_count && !any; i++) {
        char *name = handler_place_name(host->started[i].place);
        const struct handler *handler = host_handler(host, name); /* as it is by now */
        any = handler && names_have(&handler_settings_of(handler)->streams, stream);
        free(name);
    }
    return any;
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

bool host_failed(const struct host *host)
{
    return host->failed;
}

enum host_reload host_reload(struct host *host, const struct config *config, struct problems *problems)
{
    if (host->stopping)
        return HOST_RELOADED;
    if (!reloader_accepts(host->reloader, config, problems))
        return HOST_REFUSED;
    if (!config_same_process(host->options.config, config))
        return HOST_MUST_RESTART;
    host->digest = config->digest;
    limit_tables(host, config);
    if (host->intakes)
        intakes_set_config(host->intakes, config);
    reloader_set_config(host->reloader, config);
    return HOST_RELOADED;
}

void host_stop(struct host *host)
{
    int64_t now_ms = reactor_now_ms(host_reactor(host));
    if (host->stopping) {
        /* Signals of one stop come to the process and to its group, and may come twice. */
        if (now_ms - host->stopping_ms < SAME_STOP_MS || host->abandoned)
            return;
        timer_stop(host_reactor(host), &host->limit);
        on_limit(host);
        return;
    }
    host->stopping = true;
    host->stopping_ms = now_ms;
    gauges_stop(host->gauges);
    reloader_stop(host->reloader);
    orders_stop(host->orders);
    forwarder_stop(host->forwarder);
    if (host->intakes)
        intakes_drain(host->intakes);
    log_info(host->options.log, NULL, "stopping");
    timer_set(host_reactor(host), &host->limit, host->options.config->host.shutdown_timeout_ms);
    if (host->group && !host->abandoned)
        group_leave(host->group); /* then on_group_left */
    else
        stop_workers(host);
}
