/* status.c: what the state store knows, and of a state that hosts share what they tell when they are asked.
 */
#include "admin/status.h"

#include <string.h>
#include <time.h>

#include "state/store_open.h"

/* ---- asking the hosts that share the state ---- */

#define ANSWER_MS 15000 /* they look once in a while whether somebody has rung */
#define LOOK_MS 100
#define LOOK_ANEW_MS 2000 /* at all else, while somebody does not answer */

/* All that is in the table but what the hosts tell, in place of what it was; the first is kept. */
static void look_anew(struct access *state, struct status *status)
{
    struct err err = {0};
    struct store_snapshot *now = access_load(state, &(struct store_query){.what = STORE_ALL}, &err);
    if (!now)
        return;
    if (status->snapshot != status->first)
        store_snapshot_free(status->snapshot);
    status->snapshot = now;
    status->now_ms = clock_wall_ms(&state->clock);
}

/* What they have told until all have, or it takes too long; where one does not beat either, not so long. */
static void wait_for_answers(struct access *state, struct status *status, void (*waits)(bool begins),
                             struct err *err)
{
    int64_t begun_ms = clock_monotonic_ms(&state->clock), look_ms = begun_ms + LOOK_ANEW_MS;
    bool told = false;
    for (;;) {
        store_snapshot_free(status->told);
        status->told =
            access_load(state, &(struct store_query){.what = STORE_TOLD, .id = status->asked}, err);
        int64_t now_ms = clock_monotonic_ms(&state->clock);
        status->waited_ms = now_ms - begun_ms;
        bool stops = state->stopping && *state->stopping;
        if (!status->told || stops || status_all_told(status) || status->waited_ms > ANSWER_MS)
            break;
        if (now_ms >= look_ms) {
            look_anew(state, status);
            look_ms = now_ms + LOOK_ANEW_MS;
        }
        if (waits && !told && status->waited_ms > LOOK_ANEW_MS) {
            told = true;
            waits(true);
        }
        nanosleep(&(struct timespec){0, LOOK_MS * 1000000}, NULL);
    }
    if (told)
        waits(false);
}

/* Not being able to is no failure: the rest is shown. */
static void ask_hosts(struct access *state, struct status *status, void (*waits)(bool begins))
{
    struct err err = {0};
    if (!status_runs(status))
        return;
    status->asked = access_ask_all(state, STORE_ASKED, "", &err);
    if (status->asked)
        wait_for_answers(state, status, waits, &err);
    if (!status->told) {
        status->unasked = err;
        return;
    }
    struct store_snapshot *all = status->snapshot;
    const struct store_snapshot *told = status->told;
    all->subscriptions = told->subscriptions;
    all->subscription_count = told->subscription_count;
    all->shards = told->shards;
    all->shard_count = told->shard_count;
    all->troubles = told->troubles;
    all->trouble_count = told->trouble_count;
    all->handlers = told->handlers;
    all->handler_count = told->handler_count;
    all->hand_overs = told->hand_overs;
    all->hand_over_count = told->hand_over_count;
    struct store_batch *batch = store_batch_new();
    store_answer_request(batch, status->asked, true, "");
    access_commit(state, batch, &err);
}

/* ---- all of it ---- */

bool status_load(struct status *status, struct access *access, const struct config *config,
                 void (*waits)(bool begins), struct err *err)
{
    *status = (struct status){.config = config};
    status->first = status->snapshot = access_load(access, &(struct store_query){.what = STORE_ALL}, err);
    if (!status->snapshot)
        return false;
    status->now_ms = clock_wall_ms(&access->clock);
    status->running = status_runs(status) || (!status->snapshot->member_count && access_host_runs(config));
    struct err unread = {0}; /* that is no reason to show nothing */
    status->requests = access_load(access, &(struct store_query){.what = STORE_REQUESTS}, &unread);
    if (store_is_shared(config->host.state))
        ask_hosts(access, status, waits);
    status_add_hand_overs(status);
    status_gather(status);
    return true;
}

void status_fini(struct status *status)
{
    map_fini(&status->versions);
    if (status->first != status->snapshot)
        store_snapshot_free(status->first);
    store_snapshot_free(status->snapshot);
    store_snapshot_free(status->told);
    store_snapshot_free(status->requests);
}
