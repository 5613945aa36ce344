/* subscriber.h: a handler on a shard, with the feeds that it may be fed by. Private to shard, feeds and gaps.
 */
#ifndef TIDEMILL_DISPATCH_SUBSCRIBER_H
#define TIDEMILL_DISPATCH_SUBSCRIBER_H

#include "base/list.h"
#include "dispatch/shard.h"
#include "dispatch/subscription.h"
#include "source/reader.h"

enum subscriber_phase {
    SUBSCRIBER_READS,
    SUBSCRIBER_HALTED,  /* at a gap, by on_gap = stop: it is fed nothing more */
    SUBSCRIBER_LEAVING, /* the handler was removed: what runs, finishes */
    SUBSCRIBER_ENDING,  /* its last checkpoint is on its way to the store */
    SUBSCRIBER_GONE,    /* it is there: to be freed from the top of the stack */
};

struct subscriber {
    struct list link;
    struct shard *shard;
    struct subscription *subscription;
    char *handler;
    char *progress; /* of its last checkpoint, once it is ending */
    char *cursor;   /* at hand for where it begins, until the extra feed has used it; or NULL */
    enum subscriber_phase phase;
    bool lagging; /* not fed by the shared feed */
    bool last;    /* it has finished the shard before, and only closes a window */
    int64_t troubles_told;
    int gap_told;  /* the number of the last gap that was kept for it */
    uint64_t told; /* see struct stats_place */
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
    char *source_arn; /* the stream's that its records are of; the other may be a snapshot's */
    struct list subscribers;
    size_t subscriber_count;
    struct feed shared, extra;
    int gaps;
    int64_t pages_at_tip; /* of the shared feed, when the extra one last came to the tip */
    bool closed;          /* discovery says so */
    bool ended;           /* the shared feed: no more pages will come */
    bool stopping;
    bool lost;             /* to another host */
    struct task sweep;     /* frees the subscribers that are gone */
    struct task serve;     /* sees to the laggards */
    struct timer patience; /* of a laggard that waits for the shared feed */
    int64_t pages_at_turn; /* of the shared feed, when a laggard was last given a page */
    uint64_t told;         /* see struct stats_place */
};

bool subscriber_is_active(const struct subscriber *subscriber);

/* Does the extra feed's next page go on where the laggard stands? */
bool subscriber_in_group(const struct subscriber *subscriber);

/* Position and progress into the batch. `last`: there will be no other; whatever moved. Did it? */
bool subscriber_put_checkpoint(struct subscriber *subscriber, struct store_batch *batch, bool last,
                               bool finished);

/* The handler was removed: once nothing of it is under way, keep where it stands and go. */
void subscriber_leave_if_done(struct subscriber *subscriber);

/* The shard is closed: once it is settled to its end, make that durable and say so. */
void subscriber_finish_if_done(struct subscriber *subscriber);

#endif
