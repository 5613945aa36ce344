/* outside.h: what a handler needs to run outside of a host: for commands that call it themselves. */
#ifndef TIDEMILL_CMD_OUTSIDE_H
#define TIDEMILL_CMD_OUTSIDE_H

#include "aws/client.h"
#include "deliver/emitter_dry.h"
#include "net/transport_dry.h"
#include "handler/handler.h"
#include "state/store.h"

struct cmd_outside {
    const struct config *config; /* the caller's */
    struct clock clock;
    struct log *log;
    struct reactor *reactor;
    struct transport *transport;
    struct aws_client *aws;
    struct store *store;
    struct emitter *emitter; /* where nothing waits for company */
};

struct cmd_outside_options {
    enum log_level log_level;
    bool keeps;                    /* uses the state that the configuration names; else one in memory */
    transport_dry_fn *tell_call;   /* with these two nothing leaves the process: ... */
    emitter_dry_fn *tell_emission; /* ... they are told instead */
};

/* False and `err`; close it in either case. The struct must stay where it is. */
bool cmd_outside_open(struct cmd_outside *outside, const struct config *config,
                      const struct cmd_outside_options *options, struct err *err);

/* The store first: what still waits for it is told, and may go then. */
void cmd_outside_close_store(struct cmd_outside *outside);
void cmd_outside_close(struct cmd_outside *outside);

/* What stands at the place (worker/handlers.h). `config` may be another than the one it was opened with, or
 * NULL. */
struct handler *cmd_outside_load(const struct cmd_outside *outside, const char *place,
                                 const struct config *config, struct problems *problems);

#endif
