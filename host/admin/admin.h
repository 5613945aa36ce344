/* admin.h: what [host] listen shows: /metrics in Prometheus' text format or OpenMetrics', /healthz, /readyz,
 * which read the board and nothing else, and the dashboard. No request reaches a reactor.
 *
 * Where only this machine reaches the address, whoever asks may read; elsewhere they show `token`, but for
 * the two that say no more than that it is well. */
#ifndef TIDEMILL_ADMIN_ADMIN_H
#define TIDEMILL_ADMIN_ADMIN_H

#include "base/buf.h"
#include "base/err.h"
#include "conf/config.h"
#include "stats/board.h"

struct admin;

/* What there is to play with while developing: an embedded DynamoDB, and what handlers sent to the outside.
 * All from any thread. */
struct playground {
    /* An operation of DynamoDB: its status, and its answer in `out`. */
    int (*call)(void *user, const char *operation, const char *body, size_t size, struct buf *out);
    void (*inbox)(void *user, struct buf *out); /* JSON: an array of texts, the newest first */
    void *user;
};

struct admin_options {
    const char *address; /* base/address.h */
    const char *token;   /* or NULL: nobody can show it */
    struct board *board;
    const struct config *config;         /* whose state the dashboard shows; NULL: there is no dashboard */
    struct log *log;                     /* hears of what is changed */
    const struct playground *playground; /* NULL, or everybody may change what there is; must stay */
};

/* All must stay. NULL and `err`; ERR_BUSY: somebody else listens there. */
struct admin *admin_start(const struct admin_options *options, struct err *err);
/* Another one is in force. */
void admin_set_config(struct admin *admin, const struct config *config); /* NULL is allowed */
int admin_port(const struct admin *admin);
void admin_stop(struct admin *admin); /* NULL is allowed */

#endif
