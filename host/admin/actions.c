/* actions.c: see actions.h. */
#include "admin/actions.h"

#include <stdlib.h>
#include <string.h>

#include "admin/status.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/problems.h"
#include "script/directory.h"
#include "state/seek.h"
#include "state/store_open.h"
#include "worker/handlers.h"

/* ---- is there such a handler? ---- */

/* Among the scripts and routes, or in the state: where neither is, the name is wrong. */
static bool is_known(const struct config *config, const struct store_snapshot *snapshot, const char *handler,
                     struct err *err)
{
    char **places = handler_places(config, true, err);
    const char **names = mem_zero((snapshot->follow_count + 1) * sizeof *names);
    size_t count = 0;
    bool known = false;
    for (size_t i = 0; places && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        known = known || strcmp(name, handler) == 0;
        free(places[i]);
        places[i] = name; /* of the list, for the nearest one */
    }
    for (size_t i = 0; i < snapshot->follow_count; i++) {
        names[count++] = snapshot->follows[i].handler;
        known = known || strcmp(snapshot->follows[i].handler, handler) == 0;
    }
    const char *nearest = places ? nearest_name(handler, (const char *const *)places) : NULL;
    nearest = nearest ? nearest : nearest_name(handler, names);
    if (!known)
        err_set(err, ERR_CONFIG, "there is no handler %s in %s, and none in the state%s%s%s", handler,
                config->host.scripts, nearest ? "; is it " : "", nearest ? nearest : "", nearest ? "?" : "");
    if (places)
        script_paths_free(places);
    free(names);
    return known;
}

/* ---- the requests that are open ---- */

static const char *when(const struct config *config)
{
    return store_is_shared(config->host.state) ? "each host within a third of its lease"
           : access_host_runs(config)          ? "within a second"
                                               : "when a host runs";
}

static bool end_pause(struct access *state, const struct config *config, const struct action *action,
                      const struct store_snapshot *requests, struct buf *told, struct err *err);

static bool put_pause(struct access *state, const struct config *config, const struct action *action,
                      const struct store_snapshot *requests, struct buf *told, struct err *err)
{
    const struct store_request *pause = store_find_pause(requests, action->handler);
    char since[CLOCK_ISO_SIZE];
    if (pause && action->toggle)
        return end_pause(state, config, action, requests, told, err);
    if (pause) {
        clock_iso8601(pause->created_ms, since);
        buf_printf(told, "handler %s is paused since %s%s%s", action->handler, since,
                   *pause->argument ? ": " : "", pause->argument);
        return true;
    }
    struct store_request request = {.kind = STORE_PAUSED,
                                    .handler = action->handler,
                                    .shard = "",
                                    .argument = action->reason ? action->reason : ""};
    if (!access_put_request(state, &request, err))
        return false;
    buf_printf(
        told,
        "handler %s is paused: what runs may end, nothing more begins (%s). It keeps its place; what is "
        "written meanwhile is trimmed after 24 hours",
        action->handler, when(config));
    return true;
}

static bool end_pause(struct access *state, const struct config *config, const struct action *action,
                      const struct store_snapshot *requests, struct buf *told, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    bool any = false;
    for (size_t i = 0; i < requests->request_count; i++) {
        const struct store_request *request = &requests->requests[i];
        if (strcmp(request->kind, STORE_PAUSED) != 0 || strcmp(request->handler, action->handler) != 0)
            continue;
        store_answer_request(batch, request->id, true, "resumed");
        any = true;
    }
    if (!any) {
        store_batch_free(batch);
        buf_printf(told, "handler %s is not paused", action->handler);
        return true;
    }
    if (!access_commit(state, batch, err) ||
        (store_is_shared(config->host.state) && !access_ask_all(state, STORE_RESUMED, action->handler, err)))
        return false;
    buf_printf(told, "handler %s goes on where it stands (%s)", action->handler, when(config));
    return true;
}

typedef bool change_fn(struct access *state, const struct config *config, const struct action *action,
                       const struct store_snapshot *requests, struct buf *told, struct err *err);

static bool change_pause(struct access *state, const struct config *config, const struct action *action,
                         change_fn *change, struct buf *told, struct err *err)
{
    struct store_snapshot *all = NULL, *requests = NULL;
    bool ok = (all = access_load(state, &(struct store_query){.what = STORE_ALL}, err)) &&
              (requests = access_load(state, &(struct store_query){.what = STORE_REQUESTS}, err)) &&
              (store_find_pause(requests, action->handler) || is_known(config, all, action->handler, err)) &&
              change(state, config, action, requests, told, err);
    store_snapshot_free(all);
    store_snapshot_free(requests);
    return ok;
}

/* Then all are fed again, else all are paused. */
static bool is_any_paused(struct access *state, char **places, change_fn **change, struct err *err)
{
    struct store_snapshot *requests = access_load(state, &(struct store_query){.what = STORE_REQUESTS}, err);
    bool any = false;
    for (size_t i = 0; requests && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        any = any || store_find_pause(requests, name);
        free(name);
    }
    *change = any ? end_pause : put_pause;
    store_snapshot_free(requests);
    return requests != NULL;
}

/* Of handlers whose script is not there at the moment. */
static bool end_other_pauses(struct access *state, const struct config *config, char **places,
                             struct buf *told, struct err *err)
{
    struct store_snapshot *requests = access_load(state, &(struct store_query){.what = STORE_REQUESTS}, err);
    bool ok = requests != NULL;
    for (size_t i = 0; ok && i < requests->request_count; i++) {
        const struct store_request *request = &requests->requests[i];
        bool there = false;
        for (size_t j = 0; places[j] && !there; j++) {
            char *name = handler_place_name(places[j]);
            there = strcmp(name, request->handler) == 0;
            free(name);
        }
        if (there || store_find_pause(requests, request->handler) != request)
            continue;
        buf_add_char(told, '\n');
        ok = end_pause(state, config, &(struct action){.handler = request->handler}, requests, told, err);
    }
    store_snapshot_free(requests);
    return ok;
}

/* Each script and route that there is. */
static bool change_all(struct access *state, const struct config *config, const struct action *action,
                       change_fn *change, struct buf *told, struct err *err)
{
    char **places = handler_places(config, true, err);
    bool ok = places != NULL;
    if (ok && !places[0])
        ok = err_set(err, ERR_CONFIG, "there is no handler in %s", config->host.scripts);
    if (ok && action->toggle)
        ok = is_any_paused(state, places, &change, err);
    for (size_t i = 0; ok && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        const struct action one = {.handler = name, .reason = action->reason};
        buf_add_text(told, i ? "\n" : "");
        ok = change_pause(state, config, &one, change, told, err);
        free(name);
    }
    if (ok && change == end_pause)
        ok = end_other_pauses(state, config, places, told, err);
    script_paths_free(places);
    return ok;
}

bool action_pause(struct access *state, const struct config *config, const struct action *action,
                  struct buf *told, struct err *err)
{
    return (action->handler ? change_pause : change_all)(state, config, action, put_pause, told, err);
}

bool action_resume(struct access *state, const struct config *config, const struct action *action,
                   struct buf *told, struct err *err)
{
    return (action->handler ? change_pause : change_all)(state, config, action, end_pause, told, err);
}

/* ---- another place ---- */

/* Without a host. */
static bool seek_here(struct access *state, const struct action *action, struct buf *told, struct err *err)
{
    struct store_snapshot *snapshot = access_load(state, &(struct store_query){.what = STORE_ALL}, err);
    struct store_batch *batch = store_batch_new();
    bool ok = snapshot && seek_write(snapshot, action->handler, action->shard, action->to, batch, told, err);
    if (ok)
        ok = access_commit(state, batch, err);
    else
        store_batch_free(batch);
    store_snapshot_free(snapshot);
    return ok;
}

/* By the running host. */
static bool seek_there(struct access *state, const struct config *config, const struct action *action,
                       struct buf *told, struct err *err)
{
    struct store_request request = {
        .kind = "seek", .handler = action->handler, .shard = action->shard, .argument = action->to};
    return access_ask(state, config, &request, told, err);
}

/* Beside hosts that share it. */
static bool seek_shared(struct access *state, const struct action *action, struct buf *told, struct err *err)
{
    struct store_snapshot *snapshot = access_load(state, &(struct store_query){.what = STORE_ALL}, err);
    struct status status = {.snapshot = snapshot, .now_ms = clock_wall_ms(&state->clock)};
    bool running = snapshot && status_runs(&status), ok = snapshot != NULL;
    store_snapshot_free(snapshot);
    if (running && !action->running)
        return err_set(err, ERR_BUSY,
                       "hosts are running on this state: say --running, and they begin anew there");
    ok = ok && seek_here(state, action, told, err) &&
         (!running || access_ask_all(state, STORE_SOUGHT, action->handler, err));
    if (ok && running)
        buf_add_text(told,
                     "; the hosts let what runs finish and go on there, each within a third of its lease");
    return ok;
}

static bool knows(struct access *state, const struct config *config, const char *handler, struct err *err)
{
    struct store_snapshot *all = access_load(state, &(struct store_query){.what = STORE_ALL}, err);
    bool known = all && is_known(config, all, handler, err);
    store_snapshot_free(all);
    return known;
}

bool action_seek(struct access *state, const struct config *config, const struct action *asked,
                 struct buf *told, struct err *err)
{
    struct store_lock *lock = NULL;
    char place[CLOCK_ISO_SIZE];
    struct action own = *asked, *action = &own;
    bool ok = true;
    if (!seek_read_place(asked->to, clock_wall_ms(&state->clock), place, &own.to, err) ||
        !knows(state, config, asked->handler, err))
        return false;
    if (store_is_shared(config->host.state))
        ok = seek_shared(state, action, told, err);
    else if (ok && !(lock = store_lock(config->host.state, err)) && err->code != ERR_BUSY)
        ok = false;
    else if (ok && !lock && !action->running)
        ok = err_set(err, ERR_BUSY,
                     "a host is running on this state: stop it, or let it seek itself with --running");
    else if (ok)
        ok = lock ? seek_here(state, action, told, err) : seek_there(state, config, action, told, err);
    store_unlock(lock);
    return ok;
}
