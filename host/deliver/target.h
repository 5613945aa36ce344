/* target.h: what all targets have in common; outbox.c has them by name. */
#ifndef TIDEMILL_DELIVER_TARGET_H
#define TIDEMILL_DELIVER_TARGET_H

#include "base/list.h"
#include "base/map.h"
#include "conf/config.h"
#include "conf/target_type.h"
#include "deliver/outbox.h"

struct target;

/* A message under way. */
struct emission {
    struct list link;
    struct target *target;
    struct message message;
    emitted_fn *done; /* NULL: nobody wants to know any more */
    void *user;
    size_t bytes;           /* as the service counts them */
    int64_t born_ms;        /* monotonic */
    int attempts;           /* that were made */
    struct err *err;        /* of the last one; owned; NULL: none */
    struct buf answer;      /* of targets that say something */
    int64_t due_ms;         /* it need not wait for company longer than this (monotonic) */
    int64_t retry_after_ms; /* the target asked for so much patience; 0: it did not */
    bool alone;             /* in a request of its own: with others it was refused */
    enum { EMISSION_WAITING, EMISSION_BEHIND, EMISSION_SENT, EMISSION_PAUSED, EMISSION_OVER } state;
    struct timer pause;
    char *lane;              /* its key with the handler; NULL: no order to keep */
    struct emission *behind; /* the next one of the lane */
};

struct target_ops {
    void (*add)(struct emission *);
    void (*cancel)(struct emission *);                   /* its `done` is gone already */
    void (*hurry)(struct target *, const char *handler); /* NULL: any handler */
    /* The handler leaves: what it has waiting for better times is given back. Or NULL. */
    void (*give_back)(struct target *, const char *handler);
    /* Of the shard the handler has settled all up to the sequence (NULL: all there is), as the next
     * checkpoint will say. Or NULL. */
    void (*passed)(struct target *, const char *handler, const char *shard, const char *sequence);
    /* A checkpoint of all that was passed by now begins; `durable`: it is. Or NULL. */
    void (*checkpoint)(struct target *, bool durable);
    /* Where an object of that name would be ("s3://...", "file:///..."), to be freed. Or NULL: it keeps none.
     */
    char *(*locate)(const struct target *, const char *object);
    void (*free)(struct target *);
};

struct target {
    const struct target_ops *ops;
    void *own; /* what the type keeps between requests, until its `close` */
    const struct config_target *config;
    const struct outbox_options *outbox;
    struct emitter *emitter;            /* to be held while completions run */
    size_t *held_bytes;                 /* of messages that were sent and not accepted yet, of all targets */
    const struct map *leaving;          /* handlers whose messages wait for nothing */
    char *subject;                      /* for the log: "target bus" */
    struct pace *pace;                  /* of its messages; or NULL */
    struct stats_target stats;          /* since it was made */
    struct stats_target reported, told; /* as the log, and as the reactor's numbers know them */
    bool flushing, stopping;
    bool troubled; /* the last attempt of something went wrong */
    struct log_limit told_retry;
    uint64_t random;
};

/* Frees the emission, then tells; `err` NULL: accepted. */
void emission_finish(struct emission *emission, const struct err *err);
void emission_free(struct emission *emission);

/* The last attempt went wrong like this. */
void emission_set_err(struct emission *emission, const struct err *err);

/* As which role AWS is asked; NULL: as the host. To be given to a request. */
struct aws_place *target_place_of(const struct config_target *config);

/* Milliseconds before attempt number `attempts` + 1, by the target's `backoff`. */
int64_t target_backoff_ms(struct target *target, int attempts);

/* How long something may be tried: the values of its messages. */
struct patience {
    const char *handler;
    int attempts;
    int64_t give_up_ms, patience_ms; /* as in struct message */
    int64_t born_ms;                 /* monotonic */
};

/* May what was sent so often, and met an error that passes, be sent again? */
bool target_may_retry(const struct target *target, const struct patience *patience);

/* Is its message to wait for nothing any more: the host stops, or the handler goes? */
bool target_leaves(const struct target *target, const char *handler);

/* May the same message be accepted later? What a service says of who sends, and not of it, is wrong for a
 * while. */
bool target_passes(const struct err *err);

/* It is not, although the error may pass: when the host stops, or the handler leaves, that is nobody's fault.
 * What can never pass says so. */
void target_give_up(const struct target *target, const char *handler, struct err *err);

/* One of its messages is not wanted any more. */
void target_forget(struct target *target);

/* The target has taken something. */
void target_tell_well(struct target *target);

/* What went wrong will be tried again: the log hears of each time, and the operator now and then. */
void target_tell_retry(struct target *target, const struct err *err, int attempts, int64_t delay_ms);

/* What has happened since it was told the last time, into the log; and into the reactor's numbers. */
void target_report(struct target *target);
void target_tell(struct target *target);

/* ---- what batcher.c gathers, each service in its file ---- */

struct request {
    struct list link;
    struct target *target;
    struct emission **entries;
    size_t count;
    struct aws_call *aws; /* of those that go one of these ways */
    struct transport_call *http;
    struct span span; /* of the request, in the trace of its first message that is in any */
    void *own;        /* what the type's `send` keeps of it until it is answered or cancelled */
    bool refused;     /* as a whole, not entry by entry */
};

/* For `open` of such a type. */
struct target *batcher_open(const struct target_type *type);

int64_t request_timeout_ms(const struct request *request);
void request_send_aws(struct request *request, struct aws_request *aws);
void request_answered(struct request *request, struct transport_response *response, const struct err *err);

/* Each entry that the service does not name has failed; `named` was zeroed. */
void request_unnamed(struct request *request, const bool *named);

#endif
