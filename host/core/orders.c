/* orders.c: see orders.h. */
#include "core/orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "state/seek.h"

#define LOOK_EVERY_MS 1000
#define LETTERS_MAX 200 /* that are redriven at once */

struct orders {
    struct reactor *reactor;
    struct store *store;
    struct streams *streams;
    struct reloader *reloader;
    struct log *log;
    struct timer look;
    struct map letters; /* that workers have; number -> itself */
    bool stopped;
};

/* ---- dead letters ---- */

static const char *letter_key(char key[32], int64_t letter)
{
    snprintf(key, 32, "%" PRId64, letter);
    return key;
}

void orders_redriven(struct orders *orders, int64_t letter)
{
    char key[32];
    map_remove(&orders->letters, letter_key(key, letter));
}

static void on_marked(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct orders *orders = user;
    if (err && err->code != ERR_CANCELLED)
        log_warn(orders->log, NULL, "%s", err->text);
    for (size_t i = 0; snapshot && i < snapshot->letter_count && !orders->stopped; i++) {
        const struct store_dead_letter *letter = &snapshot->letters[i];
        char key[32];
        if (orders->letters.count < LETTERS_MAX && !map_get(&orders->letters, letter_key(key, letter->id)) &&
            streams_redrive(orders->streams, letter))
            map_set(&orders->letters, key, orders);
    }
    store_snapshot_free(snapshot);
}

/* ---- requests ---- */

static void answer(struct orders *orders, int64_t id, bool done, const char *text)
{
    struct store_batch *batch = store_batch_new();
    store_answer_request(batch, id, done, text);
    store_commit(orders->store, batch, NULL, NULL);
}

struct seeking {
    struct orders *orders;
    int64_t id;
    char *handler, *shard, *to;
};

static void seek(const struct seeking *seeking, const struct store_snapshot *snapshot)
{
    struct orders *orders = seeking->orders;
    struct store_batch *batch = store_batch_new();
    struct buf told = BUF_INIT;
    struct err err;
    if (!seek_write(snapshot, seeking->handler, seeking->shard, seeking->to, batch, &told, &err)) {
        store_batch_free(batch);
        answer(orders, seeking->id, false, err.text);
        return;
    }
    log_info(orders->log, NULL, "seek: %s", told.data);
    store_answer_request(batch, seeking->id, true, told.data);
    if (!reloader_restart(orders->reloader, seeking->handler, batch))
        answer(orders, seeking->id, false, "the handler is just being stopped; try again");
    buf_fini(&told);
}

static void on_where_they_stand(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct seeking *seeking = user;
    if (snapshot && !seeking->orders->stopped)
        seek(seeking, snapshot);
    else if (err && err->code != ERR_CANCELLED)
        answer(seeking->orders, seeking->id, false, err->text);
    store_snapshot_free(snapshot);
    free(seeking->handler);
    free(seeking->shard);
    free(seeking->to);
    free(seeking);
}

static void begin_seek(struct orders *orders, const struct store_request *request)
{
    struct seeking *seeking = mem_alloc(sizeof *seeking);
    *seeking = (struct seeking){orders, request->id, mem_string(request->handler), mem_string(request->shard),
                                mem_string(request->argument)};
    store_load(orders->store, &(struct store_query){.what = STORE_ALL}, on_where_they_stand, seeking);
}

/* Each is taken up once: it is answered before the next look, or with what stops the handler. */
static void on_requests(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct orders *orders = user;
    if (err && err->code != ERR_CANCELLED)
        log_warn(orders->log, NULL, "%s", err->text);
    for (size_t i = 0; snapshot && i < snapshot->request_count && !orders->stopped; i++) {
        const struct store_request *request = &snapshot->requests[i];
        char key[40];
        snprintf(key, sizeof key, "request %" PRId64, request->id);
        if (map_get(&orders->letters, key))
            continue;
        map_set(&orders->letters, key, orders);
        if (strcmp(request->kind, "seek") == 0)
            begin_seek(orders, request);
        else
            answer(orders, request->id, false, "this version does not know how to do that");
    }
    store_snapshot_free(snapshot);
}

/* ---- life ---- */

static void look(void *user)
{
    struct orders *orders = user;
    timer_set(orders->reactor, &orders->look, LOOK_EVERY_MS);
    store_load(orders->store, &(struct store_query){.what = STORE_REQUESTS}, on_requests, orders);
    store_load(orders->store, &(struct store_query){.what = STORE_MARKED, .limit = LETTERS_MAX}, on_marked,
               orders);
}

struct orders *orders_new(struct reactor *reactor, struct store *store, struct streams *streams,
                          struct reloader *reloader, struct log *log)
{
    struct orders *orders = mem_zero(sizeof *orders);
    *orders = (struct orders){
        .reactor = reactor, .store = store, .streams = streams, .reloader = reloader, .log = log};
    timer_init(&orders->look, look, orders);
    timer_set(reactor, &orders->look, LOOK_EVERY_MS);
    return orders;
}

void orders_stop(struct orders *orders)
{
    orders->stopped = true;
    timer_stop(orders->reactor, &orders->look);
}

void orders_free(struct orders *orders)
{
    if (!orders)
        return;
    timer_stop(orders->reactor, &orders->look);
    map_fini(&orders->letters);
    free(orders);
}
