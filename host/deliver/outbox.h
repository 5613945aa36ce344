/* outbox.h: the targets of one configuration on one reactor, behind the emitter seam. */
#ifndef TIDEMILL_DELIVER_OUTBOX_H
#define TIDEMILL_DELIVER_OUTBOX_H

#include "aws/client.h"
#include "base/log.h"
#include "conf/config.h"
#include "net/fence.h"
#include "net/reactor.h"
#include "net/transport.h"
#include "handler/emitter.h"
#include "state/troubles.h"
#include "stats/stats.h"

struct outbox_options {
    const struct config *config; /* held */
    struct reactor *reactor;
    struct aws_client *aws;
    struct transport *transport;
    struct fence *fence; /* for what does not go through that; or NULL; must stay */
    struct log *log;
    struct troubles *troubles; /* or NULL */
    struct stats *stats;       /* or NULL; must stay */
    struct paces *paces;       /* likewise */
    struct tracer *tracer;     /* likewise */
    struct store *store; /* where the lake keeps which files it is about to write; NULL: after a crash an
                          * event may stand in two files */
    size_t *late_files;  /* counts the files that an outbox still had under way when it was replaced: who took
                          * its place asks the store for their plans; or NULL */
};

/* Counted by reference through the emitter's hold and release; the caller has the first. */
struct emitter *outbox_new(const struct outbox_options *options);

#endif
