/* state_forget.c: tidemill state forget: a handler that is gone for good. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/cmd.h"
#include "admin/access.h"
#include "script/directory.h"
#include "state/store_open.h"
#include "worker/handlers.h"

#define PAGE 500

struct forgetting {
    struct access state;
    const struct config *config;
    const char *handler;
    size_t places;
    int64_t letters;
};

/* One that is there would begin at once where its stream's start is. */
static bool is_gone(const struct forgetting *forgetting, struct err *err)
{
    char **places = handler_places(forgetting->config, true, err);
    bool gone = true;
    for (size_t i = 0; places && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        if (strcmp(name, forgetting->handler) == 0)
            gone = err_set(err, ERR_CONFIG,
                           "%s is there: take it away first, or move its place (tidemill seek)", places[i]);
        free(name);
    }
    if (places)
        script_paths_free(places);
    return places && gone;
}

static bool count(struct forgetting *forgetting, bool letters, struct err *err)
{
    const char *handler = forgetting->handler;
    struct store_snapshot *snapshot =
        access_load(&forgetting->state, &(struct store_query){.what = STORE_ALL}, err);
    bool known = false;
    if (!snapshot)
        return false;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++)
        forgetting->places += strcmp(snapshot->checkpoints[i].handler, handler) == 0;
    for (size_t i = 0; i < snapshot->follow_count; i++)
        known = known || strcmp(snapshot->follows[i].handler, handler) == 0;
    for (size_t i = 0; i < snapshot->dead_count; i++)
        if (strcmp(snapshot->dead[i].handler, handler) == 0)
            forgetting->letters += snapshot->dead[i].count;
    bool runs = false;
    for (size_t i = 0; i < snapshot->subscription_count; i++)
        runs = runs || (strcmp(snapshot->subscriptions[i].handler, handler) == 0 &&
                        snapshot->subscriptions[i].in_flight > 0);
    store_snapshot_free(snapshot);
    if (runs && access_host_runs(forgetting->config))
        return err_set(err, ERR_BUSY, "the host lets it finish just now: again in a moment");
    if (!known && !forgetting->places && !forgetting->letters)
        return err_set(err, ERR_CONFIG, "the state knows of no handler %s (see tidemill status)", handler);
    if (forgetting->letters && !letters)
        return err_set(
            err, ERR_CONFIG,
            "%s has %lld dead letter%s: --letters drops them, too; or give them to the handler that "
            "has its work now (formerly = %s there, and tidemill dead redrive)",
            handler, (long long)forgetting->letters, forgetting->letters == 1 ? "" : "s", handler);
    return true;
}

static bool drop_letters(struct forgetting *forgetting, struct err *err)
{
    struct store_query query = {.what = STORE_LETTERS, .handler = forgetting->handler, .limit = PAGE};
    for (size_t done = 0;;) {
        struct store_snapshot *snapshot = access_load(&forgetting->state, &query, err);
        size_t found = snapshot ? snapshot->letter_count : 0;
        struct store_batch *batch = store_batch_new();
        for (size_t i = 0; i < found; i++) {
            store_forget_dead_letter(batch, snapshot->letters[i].id);
            query.after_id = snapshot->letters[i].id;
        }
        bool read = snapshot != NULL;
        store_snapshot_free(snapshot);
        if (!found)
            store_batch_free(batch);
        if (!found || !access_commit(&forgetting->state, batch, err))
            return read && !found;
        done += found;
        cmd_progress(done, (size_t)forgetting->letters, "dropped");
    }
}

static bool drop_markers(struct forgetting *forgetting, struct err *err)
{
    struct store_snapshot *snapshot =
        access_load(&forgetting->state,
                    &(struct store_query){.what = STORE_MARKERS, .handler = forgetting->handler}, err);
    size_t found = snapshot ? snapshot->marker_count : 0;
    bool ok = snapshot != NULL;
    for (size_t i = 0; ok && i < found;) {
        struct store_batch *batch = store_batch_new();
        for (size_t end = i + PAGE; i < end && i < found; i++) {
            struct store_marker marker = snapshot->markers[i];
            marker.result = NULL;
            marker.owner = "";
            store_put_marker(batch, &marker);
        }
        ok = access_commit(&forgetting->state, batch, err);
    }
    store_snapshot_free(snapshot);
    return ok;
}

/* One that comes with this name later is not paused. */
static void end_pauses(struct forgetting *forgetting, struct store_batch *batch)
{
    struct err err = {0};
    struct store_snapshot *requests =
        access_load(&forgetting->state, &(struct store_query){.what = STORE_REQUESTS}, &err);
    const struct store_request *pause = requests ? store_find_pause(requests, forgetting->handler) : NULL;
    if (pause)
        store_answer_request(batch, pause->id, true, "forgotten");
    store_snapshot_free(requests);
}

static bool forget(struct forgetting *forgetting, bool letters, struct err *err)
{
    if (!access_open(&forgetting->state, forgetting->config, false, err) || !is_gone(forgetting, err) ||
        !count(forgetting, letters, err) || (letters && !drop_letters(forgetting, err)) ||
        !drop_markers(forgetting, err))
        return false;
    cmd_progress_end();
    struct store_batch *batch = store_batch_new();
    store_forget_checkpoints(batch, forgetting->handler, "", "");
    store_forget_events(batch, forgetting->handler);
    store_forget_handler(batch, forgetting->handler);
    end_pauses(forgetting, batch);
    return access_commit(&forgetting->state, batch, err);
}

int cmd_state_forget(const char *config_path, const char *handler, bool letters)
{
    struct config *config = cmd_load_config(config_path);
    struct err err = {0};
    if (!config)
        return EXIT_USAGE;
    struct forgetting forgetting = {.config = config, .handler = handler};
    bool ok = forget(&forgetting, letters, &err);
    if (ok)
        cmd_print("handler %s is forgotten: %zu place%s, %lld dead letter%s\n", handler, forgetting.places,
                  forgetting.places == 1 ? "" : "s", (long long)forgetting.letters,
                  forgetting.letters == 1 ? "" : "s");
    else
        cmd_complain("state forget: %s", err.text);
    access_close(&forgetting.state);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
