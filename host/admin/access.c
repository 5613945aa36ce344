/* access.c: see access.h. */
#include "admin/access.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "aws/client.h"
#include "core/host.h"
#include "state/store_open.h"

#define WRITE_MS 20000    /* a state that does not take what a command writes, by then, will not soon */
#define PATIENCE_MS 60000 /* for the running host's answer; it lets what runs finish first */

bool access_begin(struct access *state, const struct config *config, bool shared, struct err *err)
{
    *state = (struct access){.clock = clock_system()};
    state->log = log_new(STDERR_FILENO, (enum log_format)config->host.log_format, LOG_WARN, &state->clock);
    state->reactor = reactor_new(&state->clock);
    if (shared) {
        struct worker_world world = host_world_system(&state->clock);
        state->transport = world.transport_new(world.user, state->reactor, config);
        state->client = aws_client_new(state->reactor, state->transport, &config->aws, state->log, err);
        if (!state->client)
            return false;
    }
    return true;
}

bool access_open(struct access *state, const struct config *config, bool read_only, struct err *err)
{
    if (!access_begin(state, config, store_is_shared(config->host.state), err))
        return false;
    state->store = store_open(state->reactor, config->host.state,
                              &(struct store_options){
                                  .group = config->host.group,
                                  .read_only = read_only,
                                  .must_exist = true,
                                  .create = config->host.create_state,
                                  .client = state->client,
                                  .log = state->log,
                              },
                              err);
    return state->store != NULL;
}

void access_close(struct access *state)
{
    store_free(state->store);
    aws_client_free(state->client);
    if (state->transport)
        transport_free(state->transport);
    reactor_free(state->reactor);
    log_free(state->log);
}

struct store_snapshot *access_load(struct access *state, const struct store_query *query, struct err *err)
{
    return store_load_now(state->store, state->reactor, query, err);
}

bool access_commit(struct access *state, struct store_batch *batch, struct err *err)
{
    return store_commit_within(state->store, state->reactor, batch, WRITE_MS, err);
}

bool access_host_runs(const struct config *config)
{
    return store_in_use(config->host.state);
}

/* ---- asking the running host ---- */

/* 0: not answered yet; 1: done; -1: refused, or `err` says why it cannot be known. */
static int look_for_answer(struct access *state, int64_t id, struct buf *told, struct err *err)
{
    int found = 0;
    struct store_snapshot *snapshot =
        access_load(state, &(struct store_query){.what = STORE_ANSWER, .id = id}, err);
    if (!snapshot)
        return -1;
    if (snapshot->request_count && snapshot->requests[0].answered != REQUEST_OPEN) {
        const struct store_request *request = &snapshot->requests[0];
        found = request->answered == REQUEST_DONE ? 1 : -1;
        if (found > 0)
            buf_add_text(told, request->answer);
        else
            err_set(err, ERR_CONFIG, "%s", request->answer);
    }
    store_snapshot_free(snapshot);
    return found;
}

bool access_put_request(struct access *state, struct store_request *request, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    request->created_ms = clock_wall_ms(&state->clock);
    uint16_t chance = 0; /* others may ask in the same millisecond, on this machine or another */
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance)
        chance = (uint16_t)getpid();
    request->id = (request->created_ms << 16) + chance;
    store_put_request(batch, request);
    return access_commit(state, batch, err);
}

int64_t access_ask_all(struct access *state, const char *kind, const char *handler, struct err *err)
{
    struct store_request request = {.kind = kind, .handler = handler, .shard = "", .argument = ""};
    return access_put_request(state, &request, err) ? request.id : 0;
}

bool access_ask(struct access *state, const struct config *config, struct store_request *request,
                struct buf *told, struct err *err)
{
    int64_t end_ms = clock_monotonic_ms(&state->clock) + PATIENCE_MS;
    if (!access_put_request(state, request, err))
        return false;
    for (;;) {
        int answer = look_for_answer(state, request->id, told, err);
        if (answer)
            return answer > 0;
        if (state->stopping && *state->stopping)
            return err_set(err, ERR_CANCELLED, "the host stops; it does it when it next runs");
        if (!access_host_runs(config))
            return err_set(err, ERR_BUSY, "the host has stopped; it does it when it next runs");
        if (clock_monotonic_ms(&state->clock) > end_ms)
            return err_set(
                err, ERR_TIMEOUT,
                "the host has not answered in a minute; it does it once what the handler does has ended");
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
}
