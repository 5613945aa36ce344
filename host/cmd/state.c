/* state.c: see state.h. */
#include "cmd/state.h"

#include <string.h>
#include <unistd.h>

#include "state/store_sqlite.h"

const char *cmd_state_path(const struct config *config)
{
    return config->host.state + strlen("sqlite:");
}

bool cmd_state_open(struct cmd_state *state, const struct config *config, bool read_only, struct err *err)
{
    *state = (struct cmd_state){.clock = clock_system()};
    state->log = log_new(STDERR_FILENO, (enum log_format)config->host.log_format, LOG_WARN, &state->clock);
    state->reactor = reactor_new(&state->clock);
    if (access(cmd_state_path(config), R_OK) != 0)
        return err_set(err, ERR_IO, "%s: there is no state yet, or it cannot be read",
                       cmd_state_path(config));
    state->store = store_sqlite_new(state->reactor,
                                    &(struct store_sqlite_options){.path = cmd_state_path(config),
                                                                   .group = config->host.group,
                                                                   .read_only = read_only,
                                                                   .log = state->log},
                                    err);
    return state->store != NULL;
}

void cmd_state_close(struct cmd_state *state)
{
    store_free(state->store);
    reactor_free(state->reactor);
    log_free(state->log);
}

struct store_snapshot *cmd_state_load(struct cmd_state *state, const struct store_query *query,
                                      struct err *err)
{
    return store_load_now(state->store, state->reactor, query, err);
}

bool cmd_state_commit(struct cmd_state *state, struct store_batch *batch, struct err *err)
{
    return store_commit_now(state->store, state->reactor, batch, err);
}

bool cmd_host_runs(const struct config *config)
{
    return store_sqlite_in_use(cmd_state_path(config));
}
