/* orders.c: see orders.h. */
#include "core/orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "state/seek.h"

#define LOOK_EVERY_MS 1000
#define LOOK_ANYWAY_MS 60000 /* though nobody rings */
#define LOOK_BUSY_MS 100     /* while letters come: who redrives many gives them by and by */
#define BUSY_MS 3000
#define LOOK_PLACE_MS 5000 /* for letters whose shards nobody here reads (yet) */
#define LETTERS_MAX 200    /* that are redriven at once */
#define PLACES_MAX 2000    /* the shards that they are in, together */
#define LOOK_SOON_MS 5
#define ABSENT_MS 30000 /* a handler that is not here for so long does not come back by itself */

/* A shard in which a letter's item may be. */
struct place {
    struct worker *worker;
    char *stream_arn, *shard;
    enum { PLACE_ASKED, PLACE_HELD, PLACE_GONE } state;
};

/* A letter on its way. Where several shards may have its item, each holds its records of that item back until
 * the letter was handled in one of them. */
struct redrive {
    int64_t id;
    char *handler;
    struct place *places;
    size_t count, capacity;
    bool runs;   /* in the first of them */
    bool ending; /* those that hold its item back were told to let go */
};

struct orders {
    struct reactor *reactor;
    struct store *store;
    struct streams *streams;
    struct reloader *reloader;
    struct log *log;
    struct timer look;
    struct map redrives; /* number -> struct redrive */
    struct map requests; /* that were taken up; number -> orders */
    struct map absent;   /* handler -> struct absence, owned */
    size_t places;       /* of all redrives */
    int64_t busy_ms;     /* when a letter was taken up last; monotonic */
    int64_t after;       /* the letter behind which the next look begins */
    bool more;           /* there were as many as one look reads */
    int looking;         /* answers of the store that are waited for */
    bool stopped;
    bool bell;                               /* looks when it is rung for */
    bool rung;                               /* while it looked */
    bool unplaced;                           /* of a marked letter the shard is not read here */
    void (*tell)(void *user, int64_t asked); /* what status shows of this host */
    void *user;
};

/* A handler whose letters are to be redriven is not here. */
struct absence {
    int64_t since_ms;
    bool told;
};

/* ---- dead letters ---- */

static const char *key_of(char key[32], int64_t number)
{
    snprintf(key, 32, "%" PRId64, number);
    return key;
}

static void redrive_free(struct redrive *redrive)
{
    for (size_t i = 0; i < redrive->count; i++) {
        free(redrive->places[i].stream_arn);
        free(redrive->places[i].shard);
    }
    free(redrive->places);
    free(redrive->handler);
    free(redrive);
}

/* Whoever still holds its item back lets go, and says so. It is taken up again only after all have: what one
 * says of the first time must not be taken for what it says of the second. */
static void end_redrive(struct orders *orders, struct redrive *redrive)
{
    char key[32];
    bool all = true;
    for (size_t i = 0; i < redrive->count; i++) {
        const struct place *place = &redrive->places[i];
        all = all && place->state == PLACE_GONE;
        if (place->state != PLACE_GONE && !redrive->ending)
            worker_release(place->worker, place->stream_arn, place->shard, redrive->handler, redrive->id,
                           false);
    }
    redrive->ending = true;
    if (!all)
        return;
    orders->places -= redrive->count;
    map_remove(&orders->redrives, key_of(key, redrive->id));
    redrive_free(redrive);
    if (orders->more && orders->redrives.count < LETTERS_MAX / 2 && !orders->looking && !orders->stopped)
        timer_set(orders->reactor, &orders->look, LOOK_SOON_MS);
}

static struct place *find_place(struct redrive *redrive, const char *stream_arn, const char *shard)
{
    for (size_t i = 0; redrive && i < redrive->count; i++)
        if (strcmp(redrive->places[i].shard, shard) == 0 &&
            strcmp(redrive->places[i].stream_arn, stream_arn) == 0)
            return &redrive->places[i];
    return NULL;
}

void orders_held(struct orders *orders, const char *stream_arn, const char *shard, int64_t letter)
{
    char key[32];
    struct redrive *redrive = map_get(&orders->redrives, key_of(key, letter));
    struct place *place = find_place(redrive, stream_arn, shard);
    if (!place || redrive->runs || redrive->ending)
        return;
    CHECK(place->state != PLACE_GONE);
    place->state = PLACE_HELD;
    for (size_t i = 0; i < redrive->count; i++)
        if (redrive->places[i].state != PLACE_HELD)
            return;
    place = &redrive->places[0];
    redrive->runs = true;
    worker_release(place->worker, place->stream_arn, place->shard, redrive->handler, letter, true);
}

void orders_redriven(struct orders *orders, const char *stream_arn, const char *shard, int64_t letter)
{
    char key[32];
    struct redrive *redrive = map_get(&orders->redrives, key_of(key, letter));
    struct place *place = find_place(redrive, stream_arn, shard);
    if (!place)
        return;
    place->state = PLACE_GONE;
    if (redrive->ending || !redrive->runs || place == &redrive->places[0])
        end_redrive(orders, redrive);
}

static void add_place(void *user, struct worker *worker, const char *stream_arn, const char *shard)
{
    struct redrive *redrive = user;
    mem_grow(&redrive->places, &redrive->capacity, redrive->count, sizeof *redrive->places);
    redrive->places[redrive->count++] =
        (struct place){worker, mem_string(stream_arn), mem_string(shard), PLACE_ASKED};
}

/* Nobody reads for it now, and that is told, not waited for. */
static void note_absent(struct orders *orders, const struct store_dead_letter *letter,
                        struct store_batch *batch)
{
    struct absence *absence = map_get(&orders->absent, letter->handler);
    if (reloader_paused(orders->reloader, letter->handler))
        return; /* they wait for it */
    int64_t now_ms = reactor_now_ms(orders->reactor);
    if (!absence) {
        absence = mem_zero(sizeof *absence);
        absence->since_ms = now_ms;
        map_set(&orders->absent, letter->handler, absence);
    }
    if (now_ms - absence->since_ms < ABSENT_MS)
        return;
    if (!absence->told)
        log_warn(
            orders->log, NULL,
            "dead letters of handler %s were to be redriven, but no such handler runs here; they are kept "
            "and not marked any more",
            letter->handler);
    absence->told = true;
    store_mark_dead_letter(batch, letter->id, 0);
}

/* False: no more for now. */
static bool take_up(struct orders *orders, const struct store_dead_letter *letter, struct store_batch *batch)
{
    char key[32];
    if (map_get(&orders->redrives, key_of(key, letter->id)))
        return true;
    if (orders->redrives.count >= LETTERS_MAX || orders->places >= PLACES_MAX)
        return false;
    struct redrive *redrive = mem_zero(sizeof *redrive);
    redrive->id = letter->id;
    const char *heir = reloader_heir(orders->reloader, letter->handler);
    struct store_dead_letter own = *letter;
    own.handler = heir ? heir : letter->handler;
    redrive->handler = mem_string(own.handler);
    if (!streams_places(orders->streams, &own, add_place, redrive))
        note_absent(orders, letter, batch);
    else
        free(map_remove(&orders->absent, letter->handler));
    if (!redrive->count) {
        orders->unplaced = true;
        redrive_free(redrive);
        return true;
    }
    map_set(&orders->redrives, key, redrive);
    orders->busy_ms = reactor_now_ms(orders->reactor);
    orders->places += redrive->count;
    redrive->runs = redrive->count == 1;
    for (size_t i = 0; i < redrive->count; i++)
        worker_redrive(redrive->places[i].worker, redrive->places[i].stream_arn, redrive->places[i].shard,
                       redrive->handler, letter->id, letter->record, !redrive->runs);
    return true;
}

/* The next look is after both answers: what one of them brings is taken up once. */
static void looked(struct orders *orders)
{
    CHECK(orders->looking > 0);
    if (--orders->looking || orders->stopped)
        return;
    bool soon =
        !orders->bell || orders->rung || orders->redrives.count || orders->absent.count || orders->more;
    bool busy = orders->busy_ms && reactor_now_ms(orders->reactor) - orders->busy_ms < BUSY_MS;
    orders->rung = false;
    timer_set(orders->reactor, &orders->look,
              busy && soon       ? LOOK_BUSY_MS
              : soon             ? LOOK_EVERY_MS
              : orders->unplaced ? LOOK_PLACE_MS
                                 : LOOK_ANYWAY_MS);
}

void orders_wait_for_bell(struct orders *orders, void (*tell)(void *user, int64_t asked), void *user)
{
    orders->bell = true;
    orders->tell = tell;
    orders->user = user;
}

void orders_ring(struct orders *orders)
{
    if (orders->stopped)
        return;
    orders->rung = true;
    if (!orders->looking)
        timer_set(orders->reactor, &orders->look, LOOK_SOON_MS);
}

/* From where the last look ended, and round: what stands first never hides what stands behind it. */
static void on_marked(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct orders *orders = user;
    size_t count = snapshot && !orders->stopped ? snapshot->letter_count : 0, i = 0;
    struct store_batch *batch = store_batch_new();
    orders->unplaced = false;
    if (err && err->code != ERR_CANCELLED)
        log_warn(orders->log, NULL, "%s", err->text);
    while (i < count && take_up(orders, &snapshot->letters[i], batch))
        orders->after = snapshot->letters[i++].id;
    orders->more = i < count || count == LETTERS_MAX;
    if (!orders->more)
        orders->after = 0;
    looked(orders);
    if (store_batch_empty(batch))
        store_batch_free(batch);
    else
        store_commit(orders->store, batch, NULL, NULL);
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
    bool gaps; /* it is about gaps, not a place */
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

/* A gap is accepted: the handler goes on at the oldest record that there is. */
static void drop_gaps(const struct seeking *seeking, const struct store_snapshot *snapshot)
{
    struct orders *orders = seeking->orders;
    struct store_batch *batch = store_batch_new();
    struct buf told = BUF_INIT;
    seek_past_gaps(snapshot, seeking->handler, batch, &told);
    store_answer_request(batch, seeking->id, true, told.data);
    log_info(orders->log, NULL, "%s", told.data);
    if (!reloader_restart(orders->reloader, seeking->handler, batch))
        answer(orders, seeking->id, false, "the handler is just being stopped; try again");
    buf_fini(&told);
}

static void on_where_they_stand(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct seeking *seeking = user;
    if (snapshot && !seeking->orders->stopped && seeking->gaps)
        drop_gaps(seeking, snapshot);
    else if (snapshot && !seeking->orders->stopped)
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
    *seeking = (struct seeking){orders,
                                request->id,
                                strcmp(request->kind, "drop_gaps") == 0,
                                mem_string(request->handler),
                                mem_string(request->shard),
                                mem_string(request->argument)};
    store_load(orders->store, &(struct store_query){.what = STORE_ALL}, on_where_they_stand, seeking);
}

#define KEPT_MS (10 * 60 * 1000)

/* Among hosts that share a state: what each of them does. */
static bool is_for_all(const struct store_request *request)
{
    return strcmp(request->kind, STORE_SOUGHT) == 0 || strcmp(request->kind, STORE_ASKED) == 0 ||
           strcmp(request->kind, STORE_RESUMED) == 0;
}

/* False: not yet. A handler that was sought begins anew where that says. */
static bool do_part(struct orders *orders, const struct store_request *request)
{
    if (strcmp(request->kind, STORE_SOUGHT) == 0)
        return reloader_restart(orders->reloader, request->handler, NULL);
    if (strcmp(request->kind, STORE_RESUMED) == 0)
        return true; /* only so that all look: its pause is not open any more */
    orders->tell(orders->user, request->id);
    return true;
}

/* Each host once; one that came later does it in vain. It stays open for those that see it late. */
static void take_part(struct orders *orders, const struct store_request *request)
{
    char key[32];
    int64_t age_ms = clock_wall_ms(reactor_clock(orders->reactor)) - request->created_ms;
    if (!map_get(&orders->requests, key_of(key, request->id)) && !do_part(orders, request)) {
        timer_set(orders->reactor, &orders->look, LOOK_EVERY_MS); /* the handler is just being stopped */
        return;
    }
    map_set(&orders->requests, key, orders);
    if (age_ms > KEPT_MS)
        answer(orders, request->id, true, "done");
}

/* What is not open any more was answered. */
static void forget_answered(struct orders *orders, const struct store_snapshot *snapshot)
{
    const char *key;
    size_t at = 0;
    char own[32];
    while (map_next(&orders->requests, &at, &key)) {
        bool open = false;
        for (size_t i = 0; i < snapshot->request_count && !open; i++)
            open = strcmp(key, key_of(own, snapshot->requests[i].id)) == 0;
        if (open)
            continue;
        map_remove(&orders->requests, key);
        at = 0; /* removal moves slots */
    }
}

/* Each is taken up once: it is answered before the next look, or with what stops the handler. */
static void on_requests(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct orders *orders = user;
    looked(orders);
    if (err && err->code != ERR_CANCELLED)
        log_warn(orders->log, NULL, "%s", err->text);
    if (snapshot)
        forget_answered(orders, snapshot);
    for (size_t i = 0; snapshot && i < snapshot->request_count && !orders->stopped; i++) {
        const struct store_request *request = &snapshot->requests[i];
        char key[32];
        if (strcmp(request->kind, STORE_PAUSED) == 0)
            continue; /* all of them together, below */
        if (orders->bell && is_for_all(request)) {
            take_part(orders, request);
            continue;
        }
        if (map_get(&orders->requests, key_of(key, request->id)))
            continue;
        map_set(&orders->requests, key, orders);
        if (strcmp(request->kind, "seek") == 0 || strcmp(request->kind, "drop_gaps") == 0)
            begin_seek(orders, request);
        else
            answer(orders, request->id, false, "this version does not know how to do that");
    }
    if (snapshot && !orders->stopped)
        reloader_set_paused(orders->reloader, snapshot);
    store_snapshot_free(snapshot);
}

/* ---- life ---- */

static void look(void *user)
{
    struct orders *orders = user;
    orders->looking = 2;
    store_load(orders->store, &(struct store_query){.what = STORE_REQUESTS}, on_requests, orders);
    store_load(orders->store,
               &(struct store_query){.what = STORE_MARKED, .after_id = orders->after, .limit = LETTERS_MAX},
               on_marked, orders);
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
    size_t at = 0;
    timer_stop(orders->reactor, &orders->look);
    for (struct redrive *redrive; (redrive = map_next(&orders->redrives, &at, NULL));)
        redrive_free(redrive);
    at = 0;
    for (struct absence *absence; (absence = map_next(&orders->absent, &at, NULL));)
        free(absence);
    map_fini(&orders->redrives);
    map_fini(&orders->requests);
    map_fini(&orders->absent);
    free(orders);
}
