/* store.h: what survives: where each handler stands, its dead letters, and what an operator should know.
 *
 * Writes are collected in a batch and become durable together or not at all. The store answers through the
 * reactor even where it could answer at once. A batch that cannot be written (disk full) is kept and tried
 * again, so a completion without an error always means durable. */
#ifndef TIDEMILL_STATE_STORE_H
#define TIDEMILL_STATE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "net/reactor.h"
#include "record/position.h"

struct store;
struct store_batch;

/* ---- writing ---- */

struct store_checkpoint {
    const char *handler, *stream_arn, *shard;
    struct position position;
    const char *progress; /* JSON of what must be known beside it (dispatch/), or "" */
};

/* In place of an ARN: the handler was sought to the latest record, and begins there when it next joins. */
#define STORE_FOLLOW_LATEST "@latest"

/* The stream (one ARN of possibly several in a row) that a handler is on. */
struct store_follow {
    const char *stream; /* its ARN without the label: one name for all generations */
    const char *handler, *stream_arn;
    /* Of a state that hosts share, where none of them could write where the handler begins in every shard: */
    bool first;           /* to write: only where there is none yet */
    const char *after;    /* to write: only where it still follows that one; or NULL */
    int64_t since_ms;     /* in each shard at what was written since then; 0: at its oldest record */
    const char *over;     /* shards that were over by then, each with a newline behind it; or "" */
    const char *seeks;    /* where it was sought since, as the store has it (state/dynamodb/seeks.h); or "" */
    const char *formerly; /* whose places are its own where it has none (store_inherit); or "" */
};

/* What the handler follows there: that stream, or (sought to the latest) none of its table yet; or NULL. */
const struct store_follow *store_follow_find(const struct store_follow *follows, size_t count,
                                             const char *handler, const char *stream_arn);
bool store_follow_may_be(const struct store_follow *follow, const char *stream_arn);

struct store_dead_letter {
    const char *handler, *stream_arn, *shard, *sequence, *event_id;
    const char *version, *table;   /* of the handler; whose stream it is */
    const char *keys, *record;     /* JSON */
    const char *error, *traceback; /* traceback "" where there is none */
    const char *condition;         /* why there was no other attempt: "RetryAttemptsExhausted" ... */
    const char *refused_by; /* the target of on_failure that did not take it, or "": it is offered again */
    int64_t attempts;
    int64_t record_time_ms, failed_ms;
    int64_t id;         /* given by the store */
    int64_t redrive_ms; /* when it was asked to be redriven; 0: not */
};

struct store_event {
    const char *kind; /* "gap" */
    const char *handler, *stream_arn, *shard;
    const char *from_sequence,
        *to_sequence; /* the last record read before, the first one after; "" unknown */
    const char *text;
    int64_t time_ms;
    int64_t id; /* given by the store */
};

/* Something that does not work now, and since when. */
struct store_trouble {
    const char *subject; /* "stream s", "handler h", "target t" */
    const char *kind;    /* which of the subject's troubles: "read", "record 123" ... */
    const char *text;    /* a sentence: what happened last */
    int64_t since_ms, last_ms;
    int64_t count;
};

/* The process that works, or worked, on this state. */
struct store_host {
    const char *instance, *version;
    int64_t started_ms, beat_ms, stopped_ms; /* stopped_ms 0: it has not stopped cleanly */
    int64_t longest_step_ms;                 /* that kept a reactor from its other work */
    const char *longest_step;                /* what that was */
};

/* A host among those that share a state. */
struct store_member {
    const char *session;               /* its name, '#', and what no two share */
    const char *version, *fingerprint; /* of the program; of scripts and INI */
    enum { MEMBER_RUNS, MEMBER_SICK, MEMBER_LEAVES, MEMBER_LEFT, MEMBER_DEAD } state;
    int64_t since_ms, fingerprint_ms, beat_ms; /* the last by the table's clock; 0: not known */
    int64_t lease_ms, shards, reactors;
    double records_s; /* a second, since a few minutes */
};

/* Whose a shard is, of a state that hosts share. */
struct store_owner {
    const char *stream_arn, *shard, *session; /* session "": no host has had it yet */
    int64_t epoch;
};

/* A shard that is on its way from one of them to another, for status. */
struct store_hand_over {
    const char *stream_arn, *shard;
    const char *from, *to; /* sessions; `to` "": not chosen yet */
    int64_t since_ms;      /* by the giver's wall clock; 0: not known */
};

/* Of a shard as read by this host, for status. */
struct store_shard {
    const char *stream_arn, *shard;
    int64_t get_records_calls; /* since the host started */
    int64_t records;
    int64_t read_ms;      /* of the last page */
    int64_t caught_up_ms; /* of the last page that was empty */
};

/* A handler on a shard as it is now, for status. */
struct store_subscription {
    const char *handler, *stream_arn, *shard;
    int64_t in_flight, retrying, waiting; /* records */
    bool catching_up;                     /* on a reader of its own */
    int64_t oldest_ms;                    /* when the oldest unsettled record was written; 0: there is none */
    int64_t time_ms;
};

/* What a host that shares its state tells of itself when it is asked (STORE_ASKED). */
struct store_told {
    const char *session;
    int64_t asked; /* the request's number */
    const char
        *text; /* of shards, handlers, troubles: the store's own; in a snapshot "", its rows are beside it */
};
#define STORE_ASKED "status"

/* The kind of a request among hosts that share a state: the handler was sought, and is to begin anew
 * everywhere. */
#define STORE_SOUGHT "sought"

/* The kind of a request that stays open for as long as the handler is paused; its argument says why. */
#define STORE_PAUSED "pause"

/* The kind of a request among hosts that share a state: a pause was ended. */
#define STORE_RESUMED "resume"

/* What a command asks of the running host. */
struct store_request {
    int64_t id;       /* given by who asks: greater than those before, and nobody else's */
    const char *kind; /* "seek" */
    const char *handler, *shard, *argument;
    int64_t created_ms;
    enum { REQUEST_OPEN, REQUEST_DONE, REQUEST_REFUSED } answered;
    const char *answer; /* a sentence */
};

/* What a host asked for in one day (UTC), which may cost something: one row, which a later one takes the
 * place of. Kept for STORE_USAGE_DAYS. */
struct store_usage {
    const char *day;      /* "2026-11-28" */
    const char *instance; /* of the host's run */
    const char *text;     /* JSON: see core/usage.h */
};
#define STORE_USAGE_DAYS 40

/* The version of a handler's script that is in force. */
struct store_handler {
    const char *handler, *version;
    int64_t loaded_ms;
    const char *session; /* in a snapshot: the host's that told it, of those that share a state; or NULL */
};

struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *batch);
bool store_batch_empty(const struct store_batch *batch);

/* All copy what they are given. A letter with an `id` changes that one: error, attempts, time, version; it is
 * not marked any more. A new one is marked where it has `redrive_ms`. */
void store_put_checkpoint(struct store_batch *batch, const struct store_checkpoint *checkpoint);
void store_put_follow(struct store_batch *batch, const struct store_follow *follow);
void store_put_dead_letter(struct store_batch *batch, const struct store_dead_letter *letter);
void store_forget_dead_letter(struct store_batch *batch, int64_t id);
/* Only while it is marked: what was redriven well may have failed again meanwhile, fed anew after a seek, and
 * that is the same letter. */
void store_forget_redriven(struct store_batch *batch, int64_t id);
void store_mark_dead_letter(struct store_batch *batch, int64_t id, int64_t redrive_ms); /* 0: not any more */
void store_put_request(struct store_batch *batch, const struct store_request *request);
void store_answer_request(struct store_batch *batch, int64_t id, bool done, const char *answer);
void store_put_subscription(struct store_batch *batch, const struct store_subscription *subscription);

/* In all shards of all streams the handler goes on at what was written since then, but for those that it had
 * finished before. For who has no shards of his own. */
void store_rewind_checkpoints(struct store_batch *batch, const char *handler, int64_t since_ms);

/* "" for all streams or shards. */
void store_forget_checkpoints(struct store_batch *batch, const char *handler, const char *stream_arn,
                              const char *shard);
void store_put_event(struct store_batch *batch, const struct store_event *event);
void store_forget_events(struct store_batch *batch, const char *handler); /* "": of all handlers */
void store_put_trouble(struct store_batch *batch, const struct store_trouble *trouble);
void store_forget_trouble(struct store_batch *batch, const char *subject, const char *kind);
void store_put_host(struct store_batch *batch, const struct store_host *host);

void store_put_told(struct store_batch *batch, const struct store_told *told);
/* A host begins: it alone works on this state, so claims that another one left are nobody's, and its troubles
 * are gone. */
void store_begin_host(struct store_batch *batch, const struct store_host *host);
void store_put_handler(struct store_batch *batch, const struct store_handler *handler);
void store_put_usage(struct store_batch *batch, const struct store_usage *usage);

/* A handler that has no place anywhere yet goes on where the former one stands. The former one's rows stay:
 * of one that was split in two, both begin there. In a state that hosts share the places become its own one
 * by one, as their owners write them. */
void store_inherit(struct store_batch *batch, const char *heir, const char *former);

/* What it follows, what it did once, its version and its troubles: not its checkpoints and letters. A state
 * that hosts share keeps what it follows, which is little; without checkpoints it begins at the oldest. */
void store_forget_handler(struct store_batch *batch, const char *handler);
void store_put_shard(struct store_batch *batch, const struct store_shard *shard);
void store_forget_shard(struct store_batch *batch, const char *stream_arn, const char *shard);

/* What tidemill.once remembers of a key: that it is done, with its result. A `result` of NULL forgets the
 * key. */
struct store_marker {
    const char *handler, *key;
    const char *result; /* JSON */
    int64_t expires_ms; /* wall clock: forgotten then */
    const char *owner;  /* who did it; to forget: only a claim of that owner, "": whosever it is */
};

void store_put_marker(struct store_batch *batch, const struct store_marker *marker);

/* Takes the batch, which becomes durable as a whole: what one shard's subscriptions must not lose apart from
 * each other, and no more than that. A store without transactions writes its rows one after the other, in
 * their order: after a crash the first ones may stand alone. Of batches that touch one row the later one
 * becomes durable later. `done` may be NULL. `err` is NULL, or ERR_CANCELLED when the store was freed first,
 * or the shard that the batch is about is another host's by now. */
typedef void store_done_fn(void *user, const struct err *err);
void store_commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user);

/* What status shows, and nothing is decided by: each row stands for itself. A store may write them one by one
 * and later than what is committed after them, a newer row in place of an older one, and lose them with the
 * process. Takes the batch, which may be empty. */
void store_note(struct store *store, struct store_batch *batch);

/* ---- claiming ---- */

enum claim {
    CLAIM_WON,  /* nobody else may, until it is done, forgotten, or the claim expires */
    CLAIM_DONE, /* `result` is what was kept */
    CLAIM_BUSY, /* somebody has claimed it; `expires_ms` says until when */
};

/* Whose claim it is: a host's is "host:INSTANCE:...", which the next host on this state knows to be dead; a
 * command's is made by store_process_owner, and is nobody's once that process is gone. */
#define STORE_OWNER_SIZE 160
void store_process_owner(char owner[STORE_OWNER_SIZE]);

/* Is it a process that is not there any more? */
bool store_owner_is_gone(const char *owner);

struct store_claim {
    const char *handler, *key, *owner;
    int64_t now_ms, until_ms; /* wall clock */
};

/* Claim the key for `handler` until `until_ms`. Durable before `done`; waits where nothing can be written
 * now. The texts are valid during the call. On an error nothing was claimed. */
typedef void store_claim_fn(void *user, enum claim claim, const char *result, int64_t expires_ms,
                            const struct err *err);
void store_claim(struct store *store, const struct store_claim *claim, store_claim_fn *done, void *user);

/* ---- reading ---- */

/* In the order of handlers. */
struct store_dead_count {
    const char *handler, *stream_arn, *shard;
    int64_t count;
};

/* What to read. All of it but the letters themselves, or letters, or what the running host is asked for. */
struct store_query {
    enum {
        STORE_ALL,
        STORE_LETTERS,
        STORE_MARKED,  /* letters that are to be redriven, behind after_id, at most limit */
        STORE_REFUSED, /* likewise, those that a target of on_failure has not taken yet */
        STORE_DEAD,    /* how many letters there are; of a state that hosts share that reads all of them */
        STORE_REQUESTS,
        STORE_ANSWER,
        STORE_TOLD, /* what hosts that share the state have told: subscriptions, shards, troubles, handlers,
                       hand-overs */
        STORE_MARKERS, /* those of `handler` (NULL: of all) that are done and have not expired */
        STORE_USAGE
    } what;
    int64_t id; /* of STORE_ANSWER: the request's; of STORE_TOLD: the question's; of STORE_LETTERS: this one
                   alone, 0: any */
    /* STORE_LETTERS */
    const char *handler;                       /* NULL: any */
    const char *error;                         /* a part of its text; NULL: any */
    int64_t failed_before_ms, failed_after_ms; /* 0: whenever */
    int64_t after_id, limit;
};

/* What was read, of this group. */
struct store_snapshot {
    struct store_dead_letter *letters;
    size_t letter_count;
    struct store_request *requests;
    size_t request_count;
    struct store_subscription *subscriptions;
    size_t subscription_count;
    struct store_checkpoint *checkpoints;
    size_t checkpoint_count;
    struct store_follow *follows;
    size_t follow_count;
    struct store_event *events; /* newest first */
    size_t event_count;
    struct store_shard *shards;
    size_t shard_count;
    struct store_handler *handlers;
    size_t handler_count;
    struct store_dead_count *dead;
    size_t dead_count;
    struct store_trouble *troubles;
    size_t trouble_count;
    struct store_marker *markers;
    size_t marker_count;
    struct store_host *hosts; /* newest first, at most 100 */
    size_t host_count;
    struct store_member *members;
    size_t member_count;
    struct store_owner *owners;
    size_t owner_count;
    struct store_hand_over *hand_overs;
    size_t hand_over_count;
    struct store_told *told;
    size_t told_count;
    struct store_usage *usage;
    size_t usage_count;
    struct arena arena;
};

/* The snapshot is the receiver's: store_snapshot_free. NULL and `err` when it cannot be read. */
typedef void store_load_fn(void *user, struct store_snapshot *snapshot, const struct err *err);
void store_load(struct store *store, const struct store_query *query, store_load_fn *done, void *user);

/* The same for a caller that can do nothing without it: turns the reactor until it is there. */
struct store_snapshot *store_load_now(struct store *store, struct reactor *reactor,
                                      const struct store_query *query, struct err *err);

/* Likewise for a batch, which is taken. */
bool store_commit_now(struct store *store, struct reactor *reactor, struct store_batch *batch,
                      struct err *err);

/* Likewise, for so long: then ERR_TIMEOUT, and nobody knows whether it is still done. */
bool store_commit_within(struct store *store, struct reactor *reactor, struct store_batch *batch,
                         int64_t patience_ms, struct err *err);

void store_snapshot_free(struct store_snapshot *snapshot);

/* Of the handler, among the requests of the snapshot that are open; NULL: it is not paused. */
const struct store_request *store_find_pause(const struct store_snapshot *snapshot, const char *handler);

/* How many dead letters the handler at *i has in all its shards, which stand together; *i ends on its last.
 */
int64_t store_sum_dead(const struct store_snapshot *snapshot, size_t *i);

/* Completes what is pending with ERR_CANCELLED. */
void store_free(struct store *store);

/* ---- the implementation's side ---- */

struct store_ops {
    void (*commit)(struct store *, struct store_batch *, store_done_fn *, void *user);
    void (*note)(struct store *, struct store_batch *); /* not empty */
    void (*claim)(struct store *, const struct store_claim *, store_claim_fn *, void *user);
    void (*load)(struct store *, const struct store_query *, store_load_fn *, void *user);
    void (*free)(struct store *);
};

struct store {
    const struct store_ops *ops;
};

enum store_write_kind {
    WRITE_CHECKPOINT,
    WRITE_FOLLOW,
    WRITE_DEAD_LETTER,
    WRITE_EVENT,
    WRITE_HANDLER,
    WRITE_SHARD,
    WRITE_FORGET_SHARD,
    WRITE_MARKER,
    WRITE_FORGET_DEAD_LETTER,
    WRITE_MARK_DEAD_LETTER,
    WRITE_REQUEST,
    WRITE_ANSWER,
    WRITE_SUBSCRIPTION,
    WRITE_FORGET_CHECKPOINTS,
    WRITE_FORGET_EVENTS,
    WRITE_TROUBLE,
    WRITE_FORGET_TROUBLE,
    WRITE_HOST,
    WRITE_BEGIN_HOST,
    WRITE_TOLD,
    WRITE_INHERIT,
    WRITE_FORGET_HANDLER,
    WRITE_USAGE,
};

struct store_write {
    struct store_write *next;
    enum store_write_kind kind;
    union {
        struct store_checkpoint checkpoint;
        struct store_follow follow;
        struct store_dead_letter dead_letter;
        struct store_event event;
        struct store_handler handler;
        struct store_shard shard;
        struct store_marker marker;
        struct store_request request;
        struct store_subscription subscription;
        struct store_trouble trouble;
        struct store_host host;
        struct store_told told;
        struct store_usage usage;
        struct {
            const char *handler, *former;
        } heritage;
    };
};

struct store_batch {
    struct arena arena;
    struct store_write *first, **end;
};

#endif
