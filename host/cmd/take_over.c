/* take_over.c: see take_over.h. */
#include "cmd/take_over.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/actions.h"
#include "admin/status.h"
#include "base/arn.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "state/store_open.h"

#define LOOK_MS 1000
#define LOOK_SHARED_MS 5000
#define SEEKS_MAX 10

static const char *script_of(const struct config *config, const char *handler)
{
    const struct config_handler *section = config_handler(config, handler);
    const char *script = section ? config_handler_script(section) : NULL;
    return script ? script : handler;
}

bool take_over_check(const struct config *config, const char *handler, const char *as, struct err *err)
{
    const struct config_handler *section = config_handler(config, as);
    if (strcmp(handler, as) == 0)
        return err_set(err, ERR_CONFIG, "--as: %s is the handler itself: it needs another name", as);
    if (!section)
        return err_set(
            err, ERR_CONFIG,
            "--as: there is no [handler %s]: its section says script = %s, and what it has of its own, "
            "such as where it writes",
            as, script_of(config, handler));
    if (strcmp(script_of(config, as), script_of(config, handler)) != 0)
        return err_set(err, ERR_CONFIG, "--as: [handler %s] runs %s.lua, and %s is %s.lua", as,
                       script_of(config, as), handler, script_of(config, handler));
    return true;
}

bool take_over_hold(struct access *state, const struct config *config, const char *as, struct err *err)
{
    struct buf told = BUF_INIT;
    const struct action action = {.handler = as, .reason = "it is being filled: tidemill replay --as"};
    bool ok = action_pause(state, config, &action, &told, err);
    buf_fini(&told);
    return ok;
}

static const struct store_follow *find(const struct store_snapshot *all, const char *handler,
                                       const char *stream)
{
    for (size_t i = 0; i < all->follow_count; i++)
        if (strcmp(all->follows[i].handler, handler) == 0 && strcmp(all->follows[i].stream, stream) == 0)
            return &all->follows[i];
    return NULL;
}

static bool seek_back(struct access *state, const struct config *config, const char *as, int64_t since_ms,
                      struct err *err)
{
    int64_t now_ms = clock_wall_ms(&state->clock);
    struct buf told = BUF_INIT;
    char time[CLOCK_ISO_SIZE];
    clock_iso8601(since_ms < now_ms ? since_ms : now_ms, time);
    const struct action action = {.handler = as, .to = time, .shard = "", .running = true};
    bool ok = action_seek(state, config, &action, &told, err);
    for (int again = 0; !ok && again < SEEKS_MAX;
         again++) { /* a host may be busy with it: it was held just now */
        nanosleep(&(struct timespec){LOOK_MS / 1000, LOOK_MS % 1000 * 1000000}, NULL);
        buf_clear(&told);
        ok = action_seek(state, config, &action, &told, err);
    }
    buf_fini(&told);
    return ok;
}

bool take_over_follow(struct access *state, const struct config *config, const char *handler, const char *as,
                      int64_t since_ms, struct err *err)
{
    struct store_snapshot *all = access_load(state, &(struct store_query){.what = STORE_ALL}, err);
    struct store_batch *batch = store_batch_new();
    struct buf told = BUF_INIT;
    size_t count = 0;
    bool stands = false, copies = false;
    for (size_t i = 0; all && i < all->follow_count; i++) {
        const struct store_follow *follow = &all->follows[i];
        if (strcmp(follow->handler, handler) != 0 || strcmp(follow->stream_arn, STORE_FOLLOW_LATEST) == 0)
            continue;
        count++;
        const struct store_follow *own = find(all, as, follow->stream);
        stands = stands || own;
        copies = copies || (own && snapshot_of_arn(own->stream_arn));
        if (own)
            continue;
        char *stream_arn = stream_of_arn(follow->stream_arn);
        store_put_follow(batch, &(struct store_follow){.stream = follow->stream,
                                                       .handler = as,
                                                       .stream_arn = stream_arn,
                                                       .first = true,
                                                       .since_ms = since_ms});
        free(stream_arn);
    }
    bool ok = all != NULL;
    store_snapshot_free(all);
    if (ok && !count)
        ok = err_set(err, ERR_CONFIG,
                     "--as: handler %s follows no stream yet, so nobody knows which one %s is to "
                     "follow",
                     handler, as);
    if (ok && !store_batch_empty(batch))
        ok = access_commit(state, batch, err);
    else
        store_batch_free(batch);
    ok = ok && (!stands || copies || seek_back(state, config, as, since_ms, err));
    ok = ok && action_resume(state, config, &(struct action){.handler = as}, &told, err);
    buf_fini(&told);
    return ok;
}

/* Of all shards; -1: not known of some of them yet. */
static bool has_met(struct access *state, const struct config *config, const char *as, int64_t *lag_ms,
                    bool *runs, struct err *err)
{
    struct status status;
    size_t count = 0;
    bool met = true;
    *lag_ms = -1;
    if (!status_load(&status, state, config, NULL, err)) {
        status_fini(&status);
        return false;
    }
    *runs = status.running;
    for (size_t i = 0; i < status.row_count; i++) {
        const struct status_row *row = &status.rows[i];
        if (strcmp(row->checkpoint->handler, as) != 0)
            continue;
        count++;
        met = met && row->lag_ms == 0 && !row->paused && !row->idle;
        *lag_ms = row->lag_ms > *lag_ms ? row->lag_ms : *lag_ms;
    }
    status_fini(&status);
    return met && count;
}

bool take_over_meet(struct access *state, const struct config *config, const char *as,
                    const volatile int *stop, struct err *err)
{
    int64_t every_ms = store_is_shared(config->host.state) ? LOOK_SHARED_MS : LOOK_MS, lag_ms;
    bool runs = true;
    err->code = ERR_NONE;
    for (;;) {
        bool met = has_met(state, config, as, &lag_ms, &runs, err);
        if (met || err->code || *stop || !runs)
            break;
        char *what = lag_ms < 0 ? mem_string("behind the live stream")
                                : mem_printf("%llds behind the live stream", (long long)lag_ms / 1000);
        cmd_progress(0, 1, what);
        free(what);
        nanosleep(&(struct timespec){every_ms / 1000, every_ms % 1000 * 1000000}, NULL);
    }
    cmd_progress_end();
    if (err->code)
        return false;
    if (!runs)
        cmd_print("handler %s follows the stream from there once a host runs\n", as);
    else if (*stop)
        cmd_print("handler %s goes on: tidemill status shows how far it is\n", as);
    else
        cmd_print("handler %s has met the live stream\n", as);
    return true;
}
