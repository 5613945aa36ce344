/* ledger.h: what is known of a subscription's records: which wait, run or are settled, whose turn it is, what
 * is kept for a restart. It runs nothing.
 *
 * Below attempts, batches and the last call of a window, which start what it gives them and tell it what
 * became of that; above lanes, watermark and window. */
#ifndef TIDEMILL_DISPATCH_LEDGER_H
#define TIDEMILL_DISPATCH_LEDGER_H

#include "dispatch/lanes.h"
#include "dispatch/terms.h"
#include "dispatch/watermark.h"
#include "dispatch/window.h"

/* Which records are kept in line. */
enum lane_rule { LANES_BY_ITEM, LANE_OF_SHARD, LANES_OF_ONE };

struct ledger {
    struct subscription_options options;
    struct handler_settings settings; /* borrowed texts */
    struct subscription_events events;
    void *user;
    char *subject; /* "handler NAME" */
    /* What waits has a place in the lanes, or in the line: that is looked into when there is nothing else to
     * start, and what ends where it begins never has a lane. */
    struct lanes lanes;
    struct entry *line, *line_last; /* behind all that is in the lanes */
    struct entry *begins;           /* began just now, and has no lane yet; nobody of its item has one */
    enum lane_rule rule;            /* by which those that wait were queued */
    struct watermark watermark;
    struct window window;
    struct block *redrives;   /* out of the dead letters, unsettled, in the order in which they came */
    struct block **forgotten; /* of these: settled, and their letters not yet forgotten */
    size_t forgotten_count, forgotten_capacity;
    struct list forgettings; /* on their way to the store */
    size_t unsettled;
    size_t started;       /* of these, those that were started */
    size_t waiting_bytes; /* of the others, as they came */
    size_t running;       /* calls of the handler that wait for something */
    int64_t asked_below;  /* records fed before this one were asked for with an older script */
    struct task work;     /* of the subscription: looks at everything that may go on */
    bool working;         /* it does so now */
    bool stopping;
    int64_t slice_end_us; /* monotonic: what runs at once leaves the reactor to others then */
    int64_t seen_us;      /* the last time that was read while it works, and ... */
    bool seen;            /* ... nothing that takes time has begun since */
    bool ended;           /* a call has, since ledger_slice_over looked */
    struct timer room;    /* what waits for room among what was emitted looks again */
    uint64_t random;
    uint64_t trace_seed;            /* of the shard */
    uint64_t lone;                  /* lanes of single records given out */
    struct stats_handler *counters; /* `alone` where nobody collects them */
    struct stats_handler alone;
    struct subscription_trouble trouble;
};

/* `work` looks at everything that may go on; ledger_wake has it called from the reactor. */
void ledger_init(struct ledger *ledger, const struct subscription_options *options,
                 const struct position *start, const char *progress, const struct subscription_events *events,
                 void *user, void (*work)(void *subscription), void *subscription);
void ledger_fini(struct ledger *ledger);

void ledger_wake(struct ledger *ledger);

/* Another version of the handler, or other settings. */
void ledger_replace_handler(struct ledger *ledger, struct handler *handler);

/* ---- what it is asked ---- */

int64_t ledger_wall_ms(const struct ledger *ledger);
int64_t ledger_now_ms(const struct ledger *ledger); /* monotonic, as of this turn of the reactor */
bool ledger_has_windows(const struct ledger *ledger);
bool ledger_is_serial(const struct ledger *ledger); /* one record after the other */

/* Another version of the handler keeps other records in line: nothing more is fed before what was queued by
 * the former rule is settled, or records of one item would overtake each other. */
bool ledger_changes_rule(const struct ledger *ledger);

/* Records that wait for their turn; some of them behind others. */
size_t ledger_waiting(const struct ledger *ledger);

/* May something start, as far as its turn goes? Maybe all of it stands behind what runs. */
bool ledger_may_start(const struct ledger *ledger);

/* Does nobody of its item stand before the entry, which was started? */
bool ledger_is_first(const struct ledger *ledger, const struct entry *entry);

/* Is it not too early for the next attempt that was waited for before a restart? */
bool ledger_is_due(const struct ledger *ledger, const struct entry *entry);

/* How long to wait until then (wall clock; 0: nothing is waited for): a clock that was set back makes nobody
 * wait longer than the longest backoff. */
int64_t ledger_wait_ms(const struct ledger *ledger, int64_t due_ms);

/* By the handler's `backoff`. */
int64_t ledger_backoff_ms(struct ledger *ledger, int64_t attempts);

/* The script does not want the record any more that the one before it asked for. */
bool ledger_is_unwanted(const struct ledger *ledger, const struct entry *entry);

/* May the handler go on at once, or is it somebody else's turn? A slice begins with each of its turns. */
void ledger_begin_slice(struct ledger *ledger);
bool ledger_slice_over(struct ledger *ledger);

/* What is emitted waits in memory until it is accepted: no more of it is made than has room there. False: it
 * is looked at again soon. One call may always run. */
bool ledger_has_room(struct ledger *ledger);

/* May a call begin now, by the handler's rate? False: the work looks again when one may. */
bool ledger_in_pace(struct ledger *ledger);

/* How long to wait before that, in ms; 0: not at all. For who has a timer of its own. */
int64_t ledger_pace_ms(const struct ledger *ledger);

/* A call begins: it counts for the rate. The time, for the call: the last one's end, where it begins at once
 * behind that. */
int64_t ledger_begin_call(struct ledger *ledger);

/* The time that counts for its window, wall clock. One out of the dead letters closes no window, nor opens
 * one ahead of what waits: it counts in the window of that. */
int64_t ledger_window_time(const struct ledger *ledger, const struct entry *entry);

/* Is the window for the entry open? False: the one before it is over, and the work is woken to close it. */
bool ledger_window_accepts(struct ledger *ledger, const struct entry *entry);

/* ---- what it is told ---- */

/* The entry waits for its turn; at the end of its item's lane. */
void ledger_queue(struct ledger *ledger, struct entry *entry);

/* The same with one that lost its place when others were cut; it is counted already. */
void ledger_queue_again(struct ledger *ledger, struct entry *entry);

/* Whose turn it is; NULL: nobody's. To be started, and when its attempt has begun, or has ended already,
 * ledger_began is to be told. Not for batches, which take from the lanes. */
struct entry *ledger_next(struct ledger *ledger);
void ledger_began(struct ledger *ledger);

/* Its turn, it was taken out of its lane. Batches count the attempt here, others when it is made. */
void ledger_start(struct ledger *ledger, struct entry *entry);

/* It was started, and now waits for its turn again. */
void ledger_put_back(struct ledger *ledger, struct entry *entry);

/* The entry is done with: out of its lane, and the watermark may move. */
void ledger_settle(struct ledger *ledger, struct entry *entry);

/* The same, and a dead letter that it came from is forgotten with the next ledger_flush. */
void ledger_settle_well(struct ledger *ledger, struct entry *entry);

/* The letters, in one write. At the end of each call of the handler. */
void ledger_flush(struct ledger *ledger);

/* Its turn has come, but it only keeps others of its item out until it is released: true. */
bool ledger_holds(struct ledger *ledger, struct entry *entry);

/* A record out of the dead letters is settled, or given up: its block goes. */
void ledger_end_redrive(struct ledger *ledger, struct block *block);

/* What was fed, never touched and waits is taken back. */
void ledger_cut(struct ledger *ledger);

int64_t ledger_now_us(const struct ledger *ledger); /* monotonic */
/* A call of the handler, begun by ledger_begin_call, has ended. */
void ledger_time_call(struct ledger *ledger, const struct handler_call *call,
                      const struct handler_outcome *outcome);

/* A call's span: while it is sampled the handler is held, which may be the last that is left of a version. */
void ledger_begin_span(const struct ledger *ledger, struct handler *handler, struct span *span,
                       const struct record *record);
void ledger_drop_span(struct handler *handler, struct span *span);

/* Its span, of so many records from the entry's on. `error`: NULL: well. */
void ledger_end_span(struct ledger *ledger, struct handler *handler, struct span *span,
                     const struct entry *entry, int64_t count, const char *error);

/* A call of the handler waits; it does not any more. */
void ledger_began_call(struct ledger *ledger);
void ledger_ended_call(struct ledger *ledger);

/* Something that is kept with the position is different now. */
void ledger_changed(struct ledger *ledger);

/* Of what a record met, in the log: debug where an observer tells it. */
enum log_level ledger_log_level(const struct ledger *ledger, enum log_level level);

/* Tell the observer. */
void ledger_observe(const struct ledger *ledger, const struct entry *entry, enum outcome outcome,
                    const char *error);

/* What status shows of why records wait. */
void ledger_keep_trouble(struct ledger *ledger, const char *text, const struct record *record);

/* ---- what is kept ---- */

/* See subscription_checkpoint. */
bool ledger_checkpoint(struct ledger *ledger, bool whole, struct position *position, struct buf *progress);

/* What is said beside it belongs into one write with it: a record is settled, or counts in a window. */
void ledger_put_checkpoint(struct ledger *ledger, struct store_batch *batch);

#endif
