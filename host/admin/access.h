/* access.h: the state store as somebody beside the host sees it: a command, or the dashboard. */
#ifndef TIDEMILL_ADMIN_ACCESS_H
#define TIDEMILL_ADMIN_ACCESS_H

#include <stdatomic.h>

#include "conf/config.h"
#include "net/reactor.h"
#include "state/store.h"

struct access {
    struct clock clock;
    struct log *log;
    struct reactor *reactor;
    struct transport *transport; /* of a state that hosts share; else NULL */
    struct aws_client *client;   /* likewise */
    struct store *store;
    const atomic_bool *stopping; /* NULL, or it turns true when nothing is to be waited for any more */
};

/* All but the store, which may be opened with it; `shared`: one that hosts share may be. False and `err`;
 * close it in either case. */
bool access_begin(struct access *state, const struct config *config, bool shared, struct err *err);

/* Opens what `state` in [host] names; it must be there. False and `err`; close it in either case. */
bool access_open(struct access *state, const struct config *config, bool read_only, struct err *err);
void access_close(struct access *state);

/* The snapshot is the caller's; NULL and `err`. */
struct store_snapshot *access_load(struct access *state, const struct store_query *query, struct err *err);

/* Takes the batch. */
bool access_commit(struct access *state, struct store_batch *batch, struct err *err);

/* Gives it its number and time. */
bool access_put_request(struct access *state, struct store_request *request, struct err *err);

/* Has the running host carry out the request, which gets its number and time here, and adds its answer.
 * False and `err` when it refuses, stops, or does not answer in a minute: it does it later then. */
bool access_ask(struct access *state, const struct config *config, struct store_request *request,
                struct buf *told, struct err *err);

/* Asks all hosts that share the state for their part of something: STORE_SOUGHT, STORE_ASKED. The request's
 * number; 0 and `err`. */
int64_t access_ask_all(struct access *state, const char *kind, const char *handler, struct err *err);

/* Does a host use this state now? */
bool access_host_runs(const struct config *config);

#endif
