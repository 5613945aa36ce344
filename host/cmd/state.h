/* state.h: the state store as a command sees it, beside a running host or without one. */
#ifndef TIDEMILL_CMD_STATE_H
#define TIDEMILL_CMD_STATE_H

#include "conf/config.h"
#include "net/reactor.h"
#include "state/store.h"

struct cmd_state {
    struct clock clock;
    struct log *log;
    struct reactor *reactor;
    struct transport *transport; /* of a state that hosts share; else NULL */
    struct aws_client *client;   /* likewise */
    struct store *store;
};

/* All but the store, which may be opened with it; `shared`: one that hosts share may be. False and `err`;
 * close it in either case. */
bool cmd_state_begin(struct cmd_state *state, const struct config *config, bool shared, struct err *err);

/* Opens what `state` in [host] names; it must be there. False and `err`; close it in either case. */
bool cmd_state_open(struct cmd_state *state, const struct config *config, bool read_only, struct err *err);
void cmd_state_close(struct cmd_state *state);

/* The snapshot is the caller's; NULL and `err`. */
struct store_snapshot *cmd_state_load(struct cmd_state *state, const struct store_query *query,
                                      struct err *err);

/* Takes the batch. */
bool cmd_state_commit(struct cmd_state *state, struct store_batch *batch, struct err *err);

/* Gives it its number and time. */
bool cmd_state_put_request(struct cmd_state *state, struct store_request *request, struct err *err);

/* Has the running host carry out the request, which gets its number and time here, and prints the answer.
 * False and `err` when it refuses, stops, or does not answer in a minute: it does it later then. */
bool cmd_state_ask(struct cmd_state *state, const struct config *config, struct store_request *request,
                   struct err *err);

/* Asks all hosts that share the state for their part of something: STORE_SOUGHT, STORE_ASKED. The request's
 * number; 0 and `err`. */
int64_t cmd_state_ask_all(struct cmd_state *state, const char *kind, const char *handler, struct err *err);

/* Does a host use this state now? */
bool cmd_host_runs(const struct config *config);

#endif
