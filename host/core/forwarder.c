/* forwarder.c: see forwarder.h. */
#include "core/forwarder.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "dispatch/failure_record.h"
#include "handler/handler.h"

#define FIRST_MS 1000
#define EVERY_MS 30000
#define LETTERS_MAX 20 /* that are read at once */
#define REFUSALS_MAX 3 /* in a row: the others would hardly fare better now */

/* The letters of one handler, one after the other: what its target refuses holds back nobody else's. */
struct lane {
    struct forwarder *forwarder;
    char *handler;
    struct timer timer;
    struct store_snapshot *snapshot; /* of the page that is worked on */
    bool loading;
    size_t next;
    int64_t after; /* the letter behind which the next page begins */
    size_t forwarded;
    int refusals; /* in a row */
    struct failing *failing;
};

struct forwarder {
    struct worker *worker;
    struct log *log;
    struct timer look; /* for handlers that are new */
    struct map lanes;
    bool (*may)(void *user); /* NULL: always */
    void *user;
    bool stopped;
};

static struct reactor *reactor_of(const struct lane *lane)
{
    return worker_reactor(lane->forwarder->worker);
}

static void rest(struct lane *lane)
{
    if (lane->forwarded)
        log_info(lane->forwarder->log, NULL,
                 "handler %s: %zu dead letters were taken by the target of on_failure", lane->handler,
                 lane->forwarded);
    store_snapshot_free(lane->snapshot);
    lane->snapshot = NULL;
    lane->forwarded = 0;
    lane->refusals = 0;
    if (!lane->forwarder->stopped)
        timer_set(reactor_of(lane), &lane->timer, EVERY_MS);
}

static void send_next(struct lane *lane);

static bool is_its_own_fault(const struct err *err)
{
    return err->code == ERR_LIMIT || err->code == ERR_CONFIG;
}

static void on_sent(void *user, const struct err *err)
{
    struct lane *lane = user;
    const struct store_dead_letter *letter = &lane->snapshot->letters[lane->next++];
    lane->failing = NULL;
    lane->after = letter->id;
    if (!err) {
        struct store_batch *batch = store_batch_new();
        store_forget_dead_letter(batch, letter->id);
        store_commit(worker_store(lane->forwarder->worker), batch, NULL, NULL);
        lane->forwarded++;
        lane->refusals = 0;
    } else {
        log_debug(lane->forwarder->log, NULL, "dead letter %lld is not taken yet: %s", (long long)letter->id,
                  err->text);
        lane->refusals += !is_its_own_fault(err);
    }
    if (lane->refusals >= REFUSALS_MAX)
        rest(lane); /* and goes on behind the letter that was tried last */
    else
        send_next(lane);
}

static void send_letter(struct lane *lane, const struct handler *handler,
                        const struct store_dead_letter *letter)
{
    lane->failing = failing_send(handler->emitter, handler->config, handler_settings_of(handler)->on_failure,
                                 letter, clock_wall_ms(reactor_clock(reactor_of(lane))), on_sent, lane);
}

static void load(struct lane *lane);

/* The handler's settings may have changed since, or it is gone: then the letters wait. */
static void send_next(struct lane *lane)
{
    const struct handler *handler = worker_handler(lane->forwarder->worker, lane->handler);
    bool may = !lane->forwarder->stopped && handler && handler->emitter &&
               config_target(handler->config, handler_settings_of(handler)->on_failure);
    if (may && lane->next < lane->snapshot->letter_count) {
        send_letter(lane, handler, &lane->snapshot->letters[lane->next]);
        return;
    }
    bool more = may && lane->snapshot->letter_count == LETTERS_MAX;
    if (!more)
        lane->after = 0; /* the next round begins at the first again */
    if (more)
        load(lane);
    else
        rest(lane);
}

static void on_letters(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct lane *lane = user;
    (void)err;
    lane->loading = false;
    store_snapshot_free(lane->snapshot);
    lane->snapshot = snapshot;
    lane->next = 0;
    if (snapshot && !lane->forwarder->stopped)
        send_next(lane);
    else
        rest(lane);
}

static void load(struct lane *lane)
{
    lane->loading = true;
    store_load(
        worker_store(lane->forwarder->worker),
        &(struct store_query){
            .what = STORE_REFUSED, .handler = lane->handler, .after_id = lane->after, .limit = LETTERS_MAX},
        on_letters, lane);
}

static void begin_round(void *user)
{
    struct lane *lane = user;
    const struct forwarder *forwarder = lane->forwarder;
    if (forwarder->may && !forwarder->may(forwarder->user))
        rest(lane);
    else if (!lane->loading && !lane->failing && !lane->snapshot)
        load(lane);
}

static void look_at(void *user, const struct handler *handler)
{
    struct forwarder *forwarder = user;
    if (map_get(&forwarder->lanes, handler_name(handler)) || !handler->config ||
        !config_target(handler->config, handler_settings_of(handler)->on_failure))
        return;
    struct lane *lane = mem_zero(sizeof *lane);
    lane->forwarder = forwarder;
    lane->handler = mem_string(handler_name(handler));
    timer_init(&lane->timer, begin_round, lane);
    timer_set(worker_reactor(forwarder->worker), &lane->timer, 0);
    map_set(&forwarder->lanes, lane->handler, lane);
}

static void look(void *user)
{
    struct forwarder *forwarder = user;
    timer_set(worker_reactor(forwarder->worker), &forwarder->look, EVERY_MS);
    worker_each_handler(forwarder->worker, look_at, forwarder);
}

struct forwarder *forwarder_new(struct worker *worker, struct log *log, bool (*may)(void *user), void *user)
{
    struct forwarder *forwarder = mem_zero(sizeof *forwarder);
    forwarder->worker = worker;
    forwarder->log = log;
    forwarder->may = may;
    forwarder->user = user;
    timer_init(&forwarder->look, look, forwarder);
    timer_set(worker_reactor(worker), &forwarder->look, FIRST_MS);
    return forwarder;
}

void forwarder_stop(struct forwarder *forwarder)
{
    size_t at = 0;
    forwarder->stopped = true;
    timer_stop(worker_reactor(forwarder->worker), &forwarder->look);
    for (struct lane *lane; (lane = map_next(&forwarder->lanes, &at, NULL));)
        timer_stop(worker_reactor(forwarder->worker), &lane->timer);
}

void forwarder_free(struct forwarder *forwarder)
{
    size_t at = 0;
    if (!forwarder)
        return;
    forwarder_stop(forwarder);
    for (struct lane *lane; (lane = map_next(&forwarder->lanes, &at, NULL));) {
        failing_cancel(lane->failing);
        store_snapshot_free(lane->snapshot);
        free(lane->handler);
        free(lane);
    }
    map_fini(&forwarder->lanes);
    free(forwarder);
}
