/* handler.h: the seam between records and what takes them.
 *
 * A handler is called with records and answers, at once or through the reactor. Lua scripts are one kind,
 * routes another (route/route.h). */
#ifndef TIDEMILL_HANDLER_HANDLER_H
#define TIDEMILL_HANDLER_HANDLER_H

#include <stdbool.h>
#include <stddef.h>

#include <string.h>

#include "base/pace.h"
#include "conf/config.h"
#include "filter/filter.h"
#include "handler/emitter.h"
#include "record/page.h"
#include "stats/trace.h"

/* Where a record comes from. The texts must stay during the call. */
struct handler_source {
    const char *stream; /* the name in the INI */
    const char *stream_arn;
    const char *table;
    const char *shard;
    int64_t epoch; /* of the shard's owner among hosts that share it; 0: one host has it alone */
};

/* How a handler takes its records: one by one (on_insert, ...), in batches (on_batch), or into the state of a
 * tumbling window (on_window); or it has requests from outside instead (on_request). */
enum handler_kind { HANDLER_RECORDS, HANDLER_BATCHES, HANDLER_WINDOWS, HANDLER_REQUESTS };

/* A record on its way to the handler. */
struct handler_input {
    const struct record *record;
    int64_t attempt;                 /* from 1 */
    bool redriven;                   /* out of the dead letters */
    bool replayed;                   /* out of an archive */
    const struct trace_place *trace; /* where its handling is in a trace; NULL: in none */
};

/* For on_window. */
struct handler_window {
    int64_t start_ms, end_ms; /* wall clock, end exclusive */
    const char *state;        /* JSON; NULL: the window's first call */
    bool final;
};

/* One call of the handler. All of it must stay until the end. */
struct handler_header {
    char *name, *value;
};

/* For on_request; its sender is known. */
struct handler_request {
    const char *intake;
    const char *id; /* the sender's delivery id: the same when it comes again */
    const char *method, *path;
    const char *query; /* as it was sent; NULL: none */
    const struct handler_header *headers;
    size_t header_count;
    const char *body; /* never NULL */
    size_t body_size;
    const char *remote;              /* the address that it came from */
    const char *traceparent;         /* the header; NULL: none */
    const struct trace_place *trace; /* where its handling is in a trace; NULL: in none */
};

struct handler_answer {
    int status;
    struct handler_header *headers;
    size_t header_count;
    char *body; /* NULL: none */
    size_t body_size;
};

struct handler_call {
    const struct handler_input *inputs;
    size_t count; /* 1 for HANDLER_RECORDS */
    const struct handler_source *source;
    const struct handler_window *window;   /* of HANDLER_WINDOWS */
    const struct handler_request *request; /* of HANDLER_REQUESTS, which have no inputs */
    int64_t begun_us;                      /* monotonic, where that was read just now; else 0 */
};

enum handler_result {
    HANDLER_RETURNED,
    HANDLER_RAISED,
    HANDLER_WAITING, /* only from handler_run: the end will come through `done` */
};

enum handler_failure {
    FAILURE_PASSING,   /* another attempt may do better */
    FAILURE_PERMANENT, /* tidemill.permanent, or what can never pass: another attempt is pointless */
    FAILURE_NO_ATTEMPT /* nobody's fault: what it needs is not free now, or the host stops. Again later */
};

/* Of HANDLER_RAISED. */
struct handler_error {
    enum handler_failure failure;
    bool timed_out;  /* its time was over */
    char *text;      /* with the script's file and line; owned */
    char *traceback; /* owned */
};

/* What came of one record of a batch. */
enum handler_verdict {
    VERDICT_HANDLED,
    VERDICT_FAILED,
    VERDICT_UNTOUCHED, /* behind one that failed: to be handed over again, that was no attempt */
};

/* What came of a call. */
struct handler_outcome {
    struct handler_error error;
    enum handler_verdict *verdicts; /* HANDLER_BATCHES: of each record; NULL: all are handled. Owned */
    char *state;                    /* HANDLER_WINDOWS: the new state, as JSON; NULL: nothing. Owned */
    struct handler_answer *answer;  /* HANDLER_REQUESTS. Owned */
    int64_t ended_us;               /* monotonic, where that was read just now; else 0 */
};

void handler_answer_free(struct handler_answer *answer); /* NULL is allowed */
void handler_error_fini(struct handler_error *error);

/* What a script says went wrong, as it is kept: no longer than is good for logs and letters ("... (20000000
 * bytes)"). To be freed. */
char *handler_error_text(const char *text, size_t size);
void handler_outcome_fini(struct handler_outcome *outcome);

/* `outcome` is the receiver's. From the reactor; the invocation is gone. */
typedef void handler_done_fn(void *user, enum handler_result result, struct handler_outcome *outcome);

struct invocation; /* a call that waits; each kind of handler has its own */

/* One version of a handler on one reactor. What stands here is for all to read. */
struct handler {
    const struct handler_ops *ops;
    size_t references;
    char *name;
    char version[17]; /* "12ab34cd56ef": a hash of what it was made of */
    enum handler_kind kind;
    /* It keeps the order of records itself, so those of one item need not wait for each other. */
    bool pipelined;
    struct handler_settings settings;
    const struct config *config;   /* held; may be NULL */
    const struct emitter *emitter; /* held; for what it emits, and for on_failure; NULL: it runs nowhere */
    size_t emits_bytes;            /* in a call, as it did lately: what may be expected of the next one */
    struct tracer *tracer;         /* of its reactor; NULL: nobody traces */
    struct pace *pace;             /* of its calls, see settings.rate_ns; NULL: nobody counts them */
};

struct handler_ops {
    /* Does it want this record? */
    bool (*wants)(const struct handler *, const struct record *, const struct handler_source *);
    /* Why it does not: a clause behind "left out: ". */
    void (*explain)(const struct handler *, const struct record *, const struct handler_source *,
                    struct buf *);
    enum handler_result (*run)(struct handler *, const struct handler_call *, handler_done_fn *, void *user,
                               struct invocation **, struct handler_outcome *);
    void (*cancel)(struct handler *, struct invocation *);
    /* Does it differ from what would be loaded now, under this configuration? */
    bool (*stale)(const struct handler *, const struct config *);
    void (*free)(struct handler *);
};

static inline const char *handler_name(const struct handler *handler)
{
    return handler->name;
}

static inline const char *handler_version(const struct handler *handler)
{
    return handler->version;
}

/* The handler's own settings with the INI's over them. */
static inline const struct handler_settings *handler_settings_of(const struct handler *handler)
{
    return &handler->settings;
}

static inline enum handler_kind handler_kind(const struct handler *handler)
{
    return handler->kind;
}

/* The [stream] says not of which table its records are. */
static inline bool handler_source_names_none(const struct handler_source *source)
{
    return !source->table || strncmp(source->table, "arn:", 4) == 0;
}

static inline bool handler_wants(const struct handler *handler, const struct record *record,
                                 const struct handler_source *source)
{
    if (record->table && !handler_source_names_none(source) && strcmp(record->table, source->table) != 0)
        return false; /* another table's, in the same Kinesis stream */
    return record->unreadable || handler->ops->wants(handler, record, source);
}

/* Does the handler's filter let the record through? NULL: it has none. */
static inline bool handler_filter_matches(const struct filter *filter, const struct record *record,
                                          const struct handler_source *source)
{
    return !filter || (filter_may_match(filter, record_event_name(record->event)) &&
                       filter_match_record(filter, record->json, source->stream_arn));
}

static inline void handler_explain(const struct handler *handler, const struct record *record,
                                   const struct handler_source *source, struct buf *out)
{
    handler->ops->explain(handler, record, source, out);
}

/* One of the call's records is none that a handler could take: why, into `outcome`. */
void handler_refuse(const struct handler_call *call, const char *why, struct handler_outcome *outcome);

/* Call the handler. `*invocation` is set when it waits; else `outcome` is. */
static inline enum handler_result handler_run(struct handler *handler, const struct handler_call *call,
                                              handler_done_fn *done, void *user,
                                              struct invocation **invocation, struct handler_outcome *outcome)
{
    *outcome = (struct handler_outcome){0};
    for (size_t i = 0; i < call->count; i++)
        if (call->inputs[i].record->unreadable) {
            handler_refuse(call, call->inputs[i].record->unreadable, outcome);
            return HANDLER_RAISED;
        }
    return handler->ops->run(handler, call, done, user, invocation, outcome);
}

/* Give up on one that waits; `done` will not come. `handler` is the one that was run. */
static inline void handler_cancel(struct handler *handler, struct invocation *invocation)
{
    handler->ops->cancel(handler, invocation);
}

static inline bool handler_stale(const struct handler *handler, const struct config *config)
{
    return handler->ops->stale(handler, config);
}

/* How long a target may try to take what comes of the record, see struct message: max_age. */
void handler_set_patience(const struct handler *handler, const struct handler_input *input, int64_t now_ms,
                          struct message *message);

/* What a target's error means for who emitted: ERR_LIMIT and ERR_CONFIG can never pass, and of ERR_CANCELLED
 * and ERR_RESOURCES nobody is to blame. `parts`: a part may pass where the whole does not. */
enum handler_failure emission_failure(const struct err *err, bool parts);

/* A call has emitted so much. */
void handler_note_emitted(struct handler *handler, size_t bytes);

/* No record can follow before what runs has ended: what it emitted need not wait for company. */
void handler_hurry(struct handler *handler);

/* Counted by reference; a running invocation holds one of its own, so a version that was replaced lives until
 * its last record is done. */
struct handler *handler_hold(struct handler *handler);
void handler_release(struct handler *handler);

/* The name, settings and configuration that all kinds have. _fini is for `ops->free`. */
void handler_init(struct handler *handler, const struct handler_ops *ops, const char *name,
                  const struct config *config, const struct emitter *emitter);
void handler_fini(struct handler *handler);

#endif
