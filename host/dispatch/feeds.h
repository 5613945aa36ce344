/* feeds.h: which reader feeds which of a shard's subscriptions.
 *
 * The shared feed reads for all that keep up. Those that do not, or that begin further back, are fed by the
 * extra one, which there is only while somebody needs it: it serves as many of them as stand close together,
 * then the next. A laggard comes back when it has been fed everything that the shared feed has read, so there
 * is neither gap nor repetition. */
#ifndef TIDEMILL_DISPATCH_FEEDS_H
#define TIDEMILL_DISPATCH_FEEDS_H

#include "base/list.h"
#include "dispatch/shard.h"
#include "dispatch/subscription.h"
#include "source/reader.h"

struct subscriber {
    struct list link;
    struct shard *shard;
    struct subscription *subscription;
    char *handler;
    char *progress; /* of its last checkpoint, once it is finishing */
    char *cursor;   /* at hand for where it begins, until the extra feed has used it; or NULL */
    bool lagging;   /* not fed by the shared feed */
    bool finishing; /* its last checkpoint is on its way to the store, or there */
    bool leaving;   /* the handler was removed */
    bool last;      /* it has finished the shard before, and only closes a window */
    bool gone;      /* finished: to be freed from the top of the stack */
    bool halted;    /* at a gap, by on_gap = stop: it is fed nothing more */
    int64_t troubles_told;
    int gap_told;                   /* the number of the last gap that was kept for it */
    struct store_subscription told; /* what the store was last told */
};

struct feed {
    struct shard *shard;
    struct reader *reader;
    bool reading;         /* the reader was started */
    struct position read; /* where it is */
    size_t live_bytes;    /* of pages that somebody still holds */
    int64_t pages;        /* that it delivered */
    int gap;              /* there is one behind `read`: its number; 0: none */
    char gap_from[SEQUENCE_SIZE];
};

struct shard {
    struct shard_options options;
    struct shard_events events;
    void *user;
    char *stream_arn, *id, *table, *subject;
    struct list subscribers;
    size_t subscriber_count;
    struct feed shared, extra;
    int gaps;
    int64_t pages_at_tip; /* of the shared feed, when the extra one last came to the tip */
    bool closed;          /* discovery says so */
    bool ended;           /* the shared feed: no more pages will come */
    bool stopping;
    struct task sweep;       /* frees the subscribers that are gone */
    struct task serve;       /* sees to the laggards */
    struct timer patience;   /* of a laggard that waits for the shared feed */
    int64_t pages_at_turn;   /* of the shared feed, when a laggard was last given a page */
    int64_t collected_calls; /* GetRecords calls when the store was last told */
};

void feeds_init(struct shard *shard);
void feeds_fini(struct shard *shard);

/* A subscriber that has just been added finds its feed. */
void feeds_place(struct subscriber *subscriber, const struct shard_start *start);

/* A subscriber has room again, or has gone. */
void feeds_review(struct shard *shard);

void feeds_closed(struct shard *shard);   /* discovery says so */
void feeds_vanished(struct shard *shard); /* nothing more can be read */
void feeds_stop(struct shard *shard);

/* Whoever reads on from `from` misses nothing that is wanted from `position` on. */
bool position_reaches(const struct position *from, const struct position *position);

bool subscriber_is_active(const struct subscriber *subscriber);

/* Does the extra feed's next page go on where the laggard stands? */
bool subscriber_in_group(const struct subscriber *subscriber);

/* ---- gaps.c ---- */

/* What lies between, exclusive, is lost to the subscriber. "" for a side that is not known. */
void gap_put(struct subscriber *subscriber, struct store_batch *batch, const char *from, const char *to);

/* The reader found that what follows `from` was trimmed; `to` is what it came upon, or "". */
void gap_begin(struct feed *feed, const char *from, const char *to);

/* Before the subscriber is fed a page that begins with `next`, or NULL at the end of what is written: a feed
 * that was at `before` must have come by the last record that the subscriber was fed, unless that was
 * trimmed, and then more may have been. */
void gap_check(struct feed *feed, struct subscriber *subscriber, const struct position *before,
               const char *next);

/* The shared feed has come to the shard's end, and the subscriber with it. */
void gap_check_end(struct subscriber *subscriber);

/* The feed came to the end of what is written, and so has everybody whom it feeds. Returns the furthest of
 * them. */
struct position gap_check_tip(struct feed *feed);

/* With on_gap = stop: it is fed nothing more until somebody has said that it may go on. */
void gap_halt(struct subscriber *subscriber);

/* Records that the subscriber had not settled before a restart are gone, up to `to`. */
void gap_missed(struct subscriber *subscriber, const char *to);

/* ---- shard.c ---- */

/* The subscriber that keeps up may have finished the shard. */
void shard_finish_if_done(struct subscriber *subscriber);

#endif
