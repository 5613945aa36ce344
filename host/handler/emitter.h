/* emitter.h: what a handler emits, and where it goes: the seam to the targets (deliver/outbox.h). */
#ifndef TIDEMILL_HANDLER_EMITTER_H
#define TIDEMILL_HANDLER_EMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "stats/trace.h"

/* One thing for a target. A value: zero it; message_fini frees the texts. */
struct message {
    char *payload;
    size_t payload_size;
    /* What the sender says; NULL: the target's own setting, or nothing. */
    char *key;    /* messages of one key are accepted in order; of the item, unless set */
    char *source; /* EventBridge */
    char *detail_type;
    const char *event; /* INSERT, MODIFY or REMOVE, for what has no detail_type at all; static; or NULL */
    char *subject;     /* SNS */
    char *object;      /* s3, file: a name of its own instead of a place among the events */
    /* Where it comes from. */
    char *handler, *stream_arn, *table, *shard, *sequence;
    const void *call;    /* what emitted it with others, and repeats it with them; alive while it waits */
    char *id;            /* the same whenever the same record emits the same thing again */
    char *revision;      /* NULL; "redriven" or "replayed": not in its place in the stream */
    int64_t epoch;       /* as in struct handler_source */
    int64_t time_ms;     /* of the record */
    int64_t give_up_ms;  /* wall clock: what passes is waited for until then; 0: for ever ... */
    int64_t patience_ms; /* ... and at least so long: clocks jump */
    bool routed;         /* by a route, not by a script */
    bool traced;         /* what emitted it is at this place of a trace: */
    struct trace_place trace;
};

void message_fini(struct message *message);
struct message message_copy(const struct message *message);

/* `err` is NULL when the target has accepted it; ERR_LIMIT: it never will, as it is too large; ERR_CONFIG:
 * nor any other; ERR_CANCELLED: nobody waits for it any longer, since the host stops. `answer`: what the
 * target said, of those that say something (lambda), else NULL. */
typedef void emitted_fn(void *user, const struct buf *answer, const struct err *err);

struct emission;

struct emitter;

/* All but what says so must be there. */
struct emitter_ops {
    void (*hold)(const struct emitter *);
    void (*release)(const struct emitter *);
    /* Is there such a target? False and `err`. */
    bool (*known)(const struct emitter *, const char *target, struct err *err);
    /* Takes the message's texts. `done` never comes from inside this call. */
    struct emission *(*send)(const struct emitter *, const char *target, struct message *message,
                             emitted_fn *done, void *user);
    /* `done` will not come; the target may get it or not. */
    void (*cancel)(const struct emitter *, struct emission *);
    /* Where an object of that name would be: "s3://bucket/...", "file:///...". To be freed; NULL: the target
     * keeps no objects. */
    char *(*locate)(const struct emitter *, const char *target, const char *object);
    /* What this handler has waiting need not wait for company. */
    void (*hurry)(const struct emitter *, const char *handler);
    /* From now on nothing waits for company. `stopping`: nor for better times; the host stops, or others have
     * taken the place of these targets. */
    void (*flush)(const struct emitter *, bool stopping);
    /* The handler leaves, or is back: what it has waiting for better times is given back at once
     * (ERR_CANCELLED), and nothing more waits for them. */
    void (*give_back)(const struct emitter *, const char *handler, bool leaves);
    /* Of the shard the handler has settled all up to the sequence (NULL: all there is), as the next
     * checkpoint will say. */
    void (*passed)(const struct emitter *, const char *handler, const char *shard, const char *sequence);
    /* A checkpoint of all that was passed by now begins; with `durable`: it is in the store. */
    void (*checkpoint)(const struct emitter *, bool durable);
    /* Bytes of messages that were sent and not accepted yet. */
    size_t (*held_bytes)(const struct emitter *);
    /* What its targets have done by now, into the reactor's numbers. Or NULL. */
    void (*tell)(const struct emitter *);
};

struct emitter {
    const struct emitter_ops *ops;
};

#endif
