/* internal.h: what the files of a subscription share. */
#ifndef TIDEMILL_DISPATCH_INTERNAL_H
#define TIDEMILL_DISPATCH_INTERNAL_H

#include "base/list.h"
#include "dispatch/failure_record.h"
#include "dispatch/subscription.h"
#include "dispatch/watermark.h"

/* A record that is tried on its own, and waits for another attempt between. */
struct attempt {
    struct list link;
    struct subscription *subscription;
    struct entry *entry;
    struct handler_input input;
    struct handler_call call;
    struct handler_window window;
    struct handler *handler;       /* of the invocation */
    struct invocation *invocation; /* while it runs */
    struct failing *failing;       /* on its way to the target that on_failure names ... */
    struct handler_error given_up; /* ... because of this ... */
    const char *condition;         /* ... in the words of Lambda's failure records */
    int64_t began_ms;              /* monotonic: of the first attempt here */
    int64_t unlucky;               /* times in a row that were no attempt */
    struct timer backoff;
};

/* Records that a handler with on_batch or on_window gets together. */
struct batch;

/* The tumbling window of a handler with on_window. */
struct window {
    bool open;
    int64_t start_ms, end_ms;
    int64_t closed_ms; /* the end of the last one that was closed: nothing goes in there any more; 0: none */
    char *state;       /* JSON, or NULL */
    /* its last call */
    bool closing;
    int64_t attempts; /* that were begun, also before a restart */
    int64_t due_ms;   /* wall clock: no other attempt before then; 0: none is waited for */
    struct handler_window arguments;
    struct handler_call call;
    struct handler *handler; /* of the invocation */
    struct invocation *invocation;
    struct failing *failing;    /* on its way to the target that on_failure names ... */
    struct handler_error error; /* ... because of this ... */
    const char *condition;      /* ... in the words of Lambda's failure records */
    bool keeping;               /* its dead letter is on its way to the store */
    struct timer backoff;
};

struct subscription {
    struct subscription_options options;
    struct handler_settings settings; /* borrowed texts */
    struct subscription_events events;
    void *user;
    char *subject;
    struct lanes lanes;
    struct watermark watermark;
    struct list attempts, batches;
    struct attempt *spare;
    struct task work;
    struct block *redrives;   /* out of the dead letters, unsettled */
    struct block **forgotten; /* of these: settled, and their letters not yet forgotten */
    size_t forgotten_count, forgotten_capacity;
    struct timer fill;    /* of batch_window */
    struct timer room;    /* what waits for room among what was emitted looks again */
    bool fill_over;       /* what waits need not wait for more */
    size_t waiting_bytes; /* of records that wait for their turn, as they came */
    int64_t slice_end_ms; /* monotonic: what runs at once leaves the reactor to others then */
    struct window window;
    size_t running; /* invocations that wait for something */
    size_t unsettled;
    size_t started;      /* of these, those that were started */
    int64_t asked_below; /* records fed before this one were asked for with an older script */
    bool stopping, working, full;
    size_t bytes_max; /* when it was last asked whether it is full */
    uint64_t random;
    uint64_t lone; /* lanes of single records given out */
    struct subscription_stats stats;
};

/* ---- subscription.c ---- */

/* The entry is done with: out of its lane, and the watermark may move. */
void subscription_settle(struct subscription *subscription, struct entry *entry);

/* The same, and a dead letter that it came from is forgotten. */
void subscription_settle_well(struct subscription *subscription, struct entry *entry);

/* May the handler go on at once, or is it somebody else's turn? A slice begins with each of its turns. */
void subscription_begin_slice(struct subscription *subscription);
bool subscription_slice_over(const struct subscription *subscription);

/* Its turn has come, but it only keeps others of its item out until it is released: true. */
bool subscription_holds(struct subscription *subscription, struct entry *entry);

/* What is emitted waits in memory until it is accepted: no more of it is made than has room there. False: it
 * is looked at again soon. One call may always run. */
bool subscription_has_room(struct subscription *subscription);

/* It was started, and now waits for its turn again. */
void subscription_put_back(struct subscription *subscription, struct entry *entry);

/* A record out of the dead letters is settled, or given up: its block goes. */
void subscription_end_redrive(struct subscription *subscription, struct block *block);

void subscription_start_entry(struct subscription *subscription, struct entry *entry);
void subscription_keep_working(struct subscription *subscription);
void subscription_report_if_drained(struct subscription *subscription);
int64_t subscription_wall_ms(const struct subscription *subscription);
bool subscription_serial(const struct subscription *subscription); /* one record after the other */

/* The script does not want the record any more that the one before it asked for. */
bool subscription_unwanted(const struct subscription *subscription, const struct entry *entry);

/* Tell the observer. */
void subscription_observe(const struct subscription *subscription, const struct entry *entry,
                          enum outcome outcome, const char *error);

/* ---- attempts.c ---- */

/* The entry, which was started, on its own; attempt_run makes the next attempt. */
struct attempt *attempt_new(struct subscription *subscription, struct entry *entry);
void attempt_run(struct attempt *attempt);

/* The same, once it is due: an attempt that was waited for before a restart. */
void attempt_begin(struct attempt *attempt);
bool entry_is_due(const struct subscription *subscription, const struct entry *entry);

/* An attempt that was made has failed: another one after a while, or on_failure. Takes the error's texts. */
void attempt_failed(struct attempt *attempt, struct handler_error *error);

/* What is said of a record that on_batch returned. */
struct handler_error attempt_given_back(const struct subscription *subscription);

void attempt_settle(struct attempt *attempt,
                    bool well);                /* well: a dead letter that it came from is forgotten */
void attempt_abandon(struct attempt *attempt); /* it waits for its turn again */
void attempts_abandon(struct subscription *subscription); /* all of them, those that run too */
void attempts_stop(struct subscription *subscription);    /* those that wait for another attempt */

/* How long to wait until then (wall clock; 0: nothing is waited for): a clock that was set back makes nobody
 * wait longer than the longest backoff. */
int64_t attempt_wait_ms(const struct subscription *subscription, int64_t due_ms);

/* What status shows of why records wait. */
void attempt_keep_trouble(struct subscription *subscription, const char *text);

/* By the handler's `backoff`. */
int64_t attempt_backoff_ms(struct subscription *subscription, int64_t attempts);

/* ---- batches.c ---- */

void batches_work(struct subscription *subscription);
void batches_abandon(struct subscription *subscription);
void batches_put_back(struct subscription *subscription); /* stopping: those between two calls */

/* ---- windows.c ---- */

void window_read(struct subscription *subscription, const char *progress);
void window_write(const struct subscription *subscription, struct buf *progress);
void window_fini(struct subscription *subscription);
void window_abandon(struct subscription *subscription);

/* What failed for good is where on_failure says; window_kept: when the store answers for a dead letter. */
void window_given_up(struct subscription *subscription);
void window_kept(void *subscription, const struct err *err);

/* Does the last call run, or is somebody being told that it failed? A stop waits for that. */
bool window_runs(const struct subscription *subscription);

/* Is the window's last call being made, or waited for? Nothing else may run then. */
bool window_busy(const struct subscription *subscription);

/* Make room for a record of this time: true when the window for it is open, false when the one before is
 * being closed first. */
int64_t window_time(const struct subscription *subscription, const struct entry *entry); /* wall clock */
bool window_accepts(struct subscription *subscription, int64_t time_ms);

/* Does the record belong to the window that is open? */
bool window_holds(const struct subscription *subscription, int64_t time_ms);

/* The arguments of a call within the open window; `arguments` must stay. */
void window_fill_call(const struct subscription *subscription, struct handler_window *arguments,
                      struct handler_call *call);

/* on_window returned for records: its state, which is taken. */
void window_take_state(struct subscription *subscription, char **state);

/* ---- failure.c ---- */

/* Put the record where on_failure says; then it is settled. May take the error's texts. `condition`: why
 * there is no other attempt. */
void failure_give_up(struct attempt *attempt, struct handler_error *error, const char *condition);

/* The same with the window, whose last call is not made any more: window_given_up or window_kept follows. */
void failure_give_up_window(struct subscription *subscription, struct handler_error *error,
                            const char *condition);

/* The record out of the dead letters is settled: forget the letter with the next flush, which comes at the
 * end of each call of the handler. */
void failure_forget_letter(struct subscription *subscription, struct block *block);
void failure_flush(struct subscription *subscription);

#endif
