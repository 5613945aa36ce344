/* outbox.h: the targets of one configuration on one reactor, behind the emitter seam. */
#ifndef TIDEMILL_DELIVER_OUTBOX_H
#define TIDEMILL_DELIVER_OUTBOX_H

#include "aws/client.h"
#include "base/log.h"
#include "conf/config.h"
#include "net/reactor.h"
#include "net/transport.h"
#include "handler/emitter.h"
#include "state/troubles.h"

struct outbox_options {
    const struct config *config; /* held */
    struct reactor *reactor;
    struct aws_client *aws;
    struct transport *transport;
    struct log *log;
    struct troubles *troubles; /* or NULL */
    struct store *store; /* where the lake keeps which files it is about to write; NULL: after a crash an
                          * event may stand in two files */
    size_t *late_files;  /* counts the files that an outbox still had under way when it was replaced: who took
                          * its place asks the store for their plans; or NULL */
};

/* Counted by reference through the emitter's hold and release; the caller has the first. */
struct emitter *outbox_new(const struct outbox_options *options);

/* What a target has done since it was made; the log tells of it once a minute, and in the end. */
struct target_stats {
    int64_t accepted, bytes; /* messages, and their payloads */
    int64_t requests;        /* that carried them and others */
    int64_t retried;         /* messages sent again */
    int64_t failed;          /* messages given up */
    int64_t waiting;         /* now */
};

#endif
