/* posts.c: what a worker is told comes in as posts. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "worker/handlers.h"
#include "worker/internal.h"
#include "deliver/outbox.h"

struct order {
    struct list link; /* of one that is early */
    struct worker *worker;
    struct assignment assignment; /* owned texts */
    int64_t letter;               /* of a redrive */
    char *record;                 /* likewise */
    bool hold, run;               /* of a redrive, of a release */
};

static struct order *order_new(struct worker *worker, const struct assignment *assignment)
{
    struct order *order = mem_zero(sizeof *order);
    order->worker = worker;
    list_init(&order->link);
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
    list_remove(&order->link);
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
    struct shard *shard = shard_new(
        &(struct shard_options){
            .reactor = worker->reactor,
            .source = sources_for(worker->sources, assignment->stream, assignment->stream_arn),
            .store = worker->store,
            .log = worker->options.log,
            .observer = worker->options.observer,
            .troubles = worker->troubles,
            .stats = worker->stats,
            .config = assignment->config,
            .stream = assignment->stream,
            .stream_arn = assignment->stream_arn,
            .id = assignment->shard,
            .table = assignment->table,
        },
        worker->shard_events, worker);
    char *key = shard_key(assignment);
    map_set(&worker->shards, key, shard);
    free(key);
    return shard;
}

static struct draining *find_draining(struct worker *worker, const struct shard *shard)
{
    struct draining *draining;
    list_each(draining, &worker->draining, struct draining, link)
        if (shard && draining->shard == shard)
            return draining;
    return NULL;
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

static void carry_out(struct order *order, struct handler *handler)
{
    const struct assignment *assignment = &order->assignment;
    if (find_draining(order->worker, find_shard(order)))
        return; /* whoever has it next gives it to the handler */
    struct shard *shard = take_shard(order);
    shard_subscribe(shard, handler,
                    &(struct shard_start){assignment->position, assignment->progress, assignment->cursor,
                                          assignment->last, assignment->epoch});
    if (assignment->closed)
        shard_closed(shard);
}

static void do_assign(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    struct handler *handler = map_get(&worker->handlers, order->assignment.handler);
    if (worker->phase == RUNNING && !handler) { /* it could not be loaded, and will be tried again */
        list_append(&worker->early, &order->link);
        return;
    }
    if (worker->phase == RUNNING)
        carry_out(order, handler);
    order_free(order);
}

void worker_run_early(struct worker *worker, const char *name)
{
    struct order *order;
    struct handler *handler = map_get(&worker->handlers, name);
    list_each(order, &worker->early, struct order, link) {
        if (!handler || strcmp(order->assignment.handler, name) != 0)
            continue;
        carry_out(order, handler);
        order_free(order);
    }
}

void worker_drop_early(struct worker *worker, const char *name)
{
    struct order *order;
    list_each(order, &worker->early, struct order, link)
        if (!name || strcmp(order->assignment.handler, name) == 0)
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

/* Handlers that could not be loaded yet begin in it elsewhere. */
static void drop_early_of(const struct order *lost)
{
    struct order *order;
    list_each(order, &lost->worker->early, struct order, link)
        if (strcmp(order->assignment.stream_arn, lost->assignment.stream_arn) == 0 &&
            strcmp(order->assignment.shard, lost->assignment.shard) == 0)
            order_free(order);
}

static void on_drained(void *user, const struct err *err)
{
    struct draining *draining = user;
    draining->writing = false;
    if (draining->shard && !err)
        worker_report(draining->worker, REPORT_DRAINED, draining->shard, NULL, NULL, 0);
    if (draining->shard)
        return; /* it is to be lost yet */
    free(draining);
}

void worker_drain_further(struct worker *worker, struct shard *shard)
{
    struct draining *draining = find_draining(worker, shard);
    if (!draining || draining->written || !shard_stopped(shard))
        return;
    struct store_batch *batch = store_batch_new();
    draining->written = draining->writing = true;
    shard_collect(shard, batch);
    /* Behind whatever of it is on its way, also where nothing has moved since. */
    store_put_subscription(
        batch, &(struct store_subscription){.stream_arn = shard_stream_arn(shard), .shard = shard_id(shard)});
    store_commit(worker->store, batch, on_drained, draining);
}

static void do_drain(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    struct shard *shard = find_shard(order);
    if (shard && !find_draining(worker, shard)) {
        struct draining *draining = mem_zero(sizeof *draining);
        draining->worker = worker;
        draining->shard = shard;
        list_append(&worker->draining, &draining->link);
        shard_stop(shard);
        worker_drain_further(worker, shard);
    } else if (!shard) {
        worker_report_drained(worker, order->assignment.stream_arn, order->assignment.shard);
    }
    order_free(order);
}

static void end_draining(struct worker *worker, struct shard *shard)
{
    struct draining *draining = find_draining(worker, shard);
    if (!draining)
        return;
    list_remove(&draining->link);
    draining->shard = NULL;
    if (!draining->writing) /* else the store comes back to it */
        free(draining);
}

/* It may come back at once, as another one; what the store still works on comes to this one. */
static void do_lose(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    struct shard *shard = find_shard(order);
    if (shard) {
        char *key = shard_key(&order->assignment);
        map_remove(&worker->shards, key);
        free(key);
        mem_grow(&worker->lost, &worker->lost_capacity, worker->lost_count, sizeof *worker->lost);
        worker->lost[worker->lost_count++] = shard;
        end_draining(worker, shard);
        shard_lose(shard);
        worker->shard_events->stopped(worker, shard); /* it may have been the last that the end waited for */
    }
    drop_early_of(order);
    order_free(order);
}

static void do_redrive(void *user)
{
    struct order *order = user;
    struct worker *worker = order->worker;
    struct shard *shard = find_shard(order);
    if (worker->phase != RUNNING || !shard ||
        !shard_redrive(shard, order->assignment.handler, order->letter, order->record, order->hold))
        worker_report_redriven(worker, order->assignment.stream_arn, order->assignment.shard, order->letter);
    order_free(order);
}

static void do_release(void *user)
{
    struct order *order = user;
    struct shard *shard = find_shard(order);
    if (!shard || !shard_release(shard, order->assignment.handler, order->letter, order->run))
        worker_report_redriven(order->worker, order->assignment.stream_arn, order->assignment.shard,
                               order->letter);
    order_free(order);
}

struct handler *worker_load(struct worker *worker, const char *place, struct problems *problems)
{
    struct handler *handler = handler_load(
        &(struct script_options){
            .stats = worker->stats,
            .path = place,
            .config = worker->config,
            .reactor = worker->reactor,
            .aws = worker->client,
            .transport = worker->transport,
            .store = worker->store,
            .emitter = worker->outbox,
            .log = worker->options.log,
            .observer = worker->options.observer,
            .owner = worker->owner,
            .known_dead = worker->options.known_dead,
            .known_user = worker->options.known_user,
        },
        problems);
    char *name = handler ? mem_printf("handler %s", handler_name(handler)) : NULL;
    if (handler)
        handler->pace = paces_find(worker->options.paces, name);
    if (handler)
        handler->tracer = worker->tracer;
    free(name);
    return handler;
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
    struct handler *handler = worker->phase == RUNNING ? worker_load(worker, order->text, &problems) : NULL;
    size_t at = 0;
    problems_log(&problems, worker->options.log);
    if (worker->phase == RUNNING)
        worker_report(worker, REPORT_LOADED, NULL, order->text, NULL, handler != NULL);
    if (handler) {
        struct handler *old = map_get(&worker->handlers, handler_name(handler));
        map_set(&worker->handlers, handler_name(handler), handler);
        if (handler->emitter && handler->emitter->ops->give_back)
            handler->emitter->ops->give_back(handler->emitter, handler_name(handler), false);
        for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
            shard_replace_handler(shard, handler);
        handler_release(old);
        worker_run_early(worker, handler_name(handler));
    }
    problems_fini(&problems);
    text_order_free(order);
}

/* What it wrote last may have gone with a flush that is on its way still: whoever hears that it has left may
 * read where it stood. */
void worker_forget_handler(struct worker *worker, const char *handler)
{
    if (worker->flushing)
        return;                       /* when that is over */
    char *name = mem_string(handler); /* which may be the map's */
    size_t *shards = map_remove(&worker->leaving, handler);
    CHECK(shards && !*shards);
    free(shards);
    handler_release(map_remove(&worker->handlers, name));
    worker_report(worker, REPORT_LEFT, NULL, name, NULL, 0);
    free(name);
}

static void do_remove_handler(void *user)
{
    struct text_order *order = user;
    struct worker *worker = order->worker;
    size_t at = 0, *shards = mem_zero(sizeof *shards);
    const struct handler *handler = map_get(&worker->handlers, order->text);
    worker_drop_early(worker, order->text);
    if (handler && handler->emitter && handler->emitter->ops->give_back)
        handler->emitter->ops->give_back(handler->emitter, order->text, true);
    map_set(&worker->leaving, order->text, shards);
    *shards = 1; /* so that it does not end while we count */
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        *shards += shard_unsubscribe(shard, order->text);
    if (--*shards == 0)
        worker_forget_handler(worker, order->text);
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

struct emitter *worker_make_outbox(struct worker *worker)
{
    const struct worker_world *world = &worker->options.world;
    if (world->emitter_new)
        return world->emitter_new(world->emitter_user, worker->reactor, worker->config);
    return outbox_new(&(struct outbox_options){
        .config = worker->config,
        .reactor = worker->reactor,
        .aws = worker->client,
        .transport = worker->transport,
        .fence = worker->options.fence,
        .log = worker->options.log,
        .troubles = worker->troubles,
        .stats = worker->stats,
        .paces = worker->options.paces,
        .tracer = worker->tracer,
        .store = worker->store,
        .late_files = &worker->late_files,
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
    /* Handlers of the versions before keep the targets that they were loaded with, until those have sent what
     * they can send at once and given back the rest: it goes where the new ones say. */
    struct emitter *former = worker->outbox;
    worker->outbox = worker_make_outbox(worker);
    former->ops->flush(former, true);
    former->ops->release(former);
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
                    int64_t letter, const char *record, bool hold)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard, .handler = handler};
    struct order *order = order_new(worker, &assignment);
    order->letter = letter;
    order->record = mem_string(record);
    order->hold = hold;
    reactor_post_owned(worker->reactor, do_redrive, order_free, order);
}

void worker_release(struct worker *worker, const char *stream_arn, const char *shard, const char *handler,
                    int64_t letter, bool run)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard, .handler = handler};
    struct order *order = order_new(worker, &assignment);
    order->letter = letter;
    order->run = run;
    reactor_post_owned(worker->reactor, do_release, order_free, order);
}

void worker_shard_closed(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_closed, order_free, order_new(worker, &assignment));
}

void worker_drain(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_drain, order_free, order_new(worker, &assignment));
}

void worker_lose(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_lose, order_free, order_new(worker, &assignment));
}

void worker_shard_vanished(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct assignment assignment = {.stream_arn = stream_arn, .shard = shard};
    reactor_post_owned(worker->reactor, do_vanished, order_free, order_new(worker, &assignment));
}
