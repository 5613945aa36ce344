/* follower.h: one handler on one stream. Private to assign/. */
#ifndef TIDEMILL_ASSIGN_FOLLOWER_H
#define TIDEMILL_ASSIGN_FOLLOWER_H

#include "base/list.h"
#include "base/map.h"
#include "assign/generation.h"
#include "assign/stream_supervisor.h"
#include "source/snapshot/watch.h"

/* Where a handler stands in a shard. */
struct known {
    struct position position;
    char progress[];
};

/* One handler on this stream. */
struct follower {
    struct list link;
    const struct stream_supervisor_options *options;      /* of its stream */
    const char *subject;                                  /* for the log: the stream */
    void (*ready)(void *user, struct follower *follower); /* it may be given shards */
    /* Beside other hosts: it is on the stream that the store says, from where it says; and ready. */
    void (*adopt)(void *user, struct follower *follower, const struct store_follow *follow);
    void *user;
    char *handler;
    struct generation *generation; /* NULL: not known yet */
    enum {
        FOLLOWER_NEW,     /* has never seen the stream: `start` will apply */
        FOLLOWER_JOINING, /* its beginning is being made durable */
        FOLLOWER_READY,
    } phase;
    bool removed; /* to be freed when its beginning is durable */
    struct progress progress;
    char *seeks;            /* where it was sought, as the store has it; or NULL */
    int64_t begins_ms;      /* in shards that the store says nothing of: what was written since; 0: all */
    char *over;             /* shards that were over when it began, each with a newline behind it; or NULL */
    bool latest;            /* begins at the latest record, whatever `start` says: it was sought there */
    struct map positions;   /* shard -> struct known, owned: where to begin */
    struct map cursors;     /* shard -> char *, owned: cursors at LATEST, used once */
    struct map active;      /* shards given to a worker */
    int64_t listing_needed; /* the listing that must have ended before the generation can be over */
    bool due;               /* for a review, see generation.h */
    bool told_disabled;
    bool halted; /* at a gap, by on_gap = stop: it goes on when the gap's event is dropped */
    /* while it joins at LATEST */
    int64_t since_ms;
    size_t cursors_wanted;
    struct list cursor_calls;
    struct list inheritances; /* of windows, on their way to the store */
    /* before a snapshot, and in it */
    void (*taken)(void *user, struct follower *follower, const char *snapshot_arn);
    struct source_call *taking; /* of a snapshot's name */
    struct timer take_again;
    struct log_limit complained;
    struct snapshot_watch *watch;
    struct map ahead; /* shard -> struct ahead, owned: what the watch asks for */
};

/* What was settled in a shard beyond the place where the handler left it; NULL: nothing, or no more. */
struct ahead {
    struct settled_ahead *settled;
};

struct cursor_call {
    struct list link;
    struct follower *follower;
    struct source_call *call;
    struct timer retry;
    char *shard;
};

/* The handler's first sight of its generation: where it begins there is made durable first. May be called
 * again until `phase` has changed. */
void follower_begin(struct follower *follower);

/* What the store says that it follows, of its stream in all generations; NULL: nothing. */
const struct store_follow *follower_find_follow(const struct follower *follower,
                                                const struct store_snapshot *snapshot);

/* Beside other hosts: it goes on to another stream, unless one of them was first; then `adopt`. */
void follower_commit_move(struct follower *follower, struct store_batch *batch, const char *stream_arn);

/* It begins with the snapshot, whose name was just made: that becomes durable, and then it is read. */
void follower_join_snapshot(struct follower *follower, const char *snapshot_arn);

/* Ask for the name of a snapshot; of `take_again`, for a follower. */
void follower_take(void *follower);

/* Its snapshot's name is being made. */
bool follower_takes(const struct follower *follower);

/* The shards of its generation that are over, each with a newline behind it. */
void follower_write_over(const struct follower *follower, struct buf *over);

/* Its generation is a snapshot: what changes meanwhile is looked for, from where it will go on. Nothing
 * otherwise. */
void follower_watch(struct follower *follower);
void follower_unwatch(struct follower *follower);

/* What the store says of where it began. */
void follower_take_follow(struct follower *follower, const struct store_follow *follow);

/* It follows its generation, which becomes durable with the batch (taken), and where it stood on the stream
 * that it has left (NULL: none) is forgotten behind that; then it is FOLLOWER_READY. */
void follower_commit_join(struct follower *follower, struct store_batch *batch, const char *left_arn);

/* Give each shard that may be read now to its worker. */
void follower_assign_ready(struct follower *follower);

/* The shard is another host's: a window that goes on in it and is on its way to the store begins there. */
void follower_disinherit(struct follower *follower, const char *shard);

/* Nothing follows some of the shards that it has finished (`over`: any of them): the windows that are open in
 * those are closed. False when there are none. */
bool follower_close_windows(struct follower *follower, bool over);

void follower_set_position(struct follower *follower, const char *shard, const struct position *position,
                           const char *progress);

/* The shards where records of the items of that one are read now: one, or several when nobody knows in which
 * of them an item is. None while the handler is between two of them. */
void follower_places(struct follower *follower, const char *shard, void (*add)(void *user, const char *shard),
                     void *user);

/* It is given no further shard until the gap is dropped, and says so. */
void follower_halt(struct follower *follower);

/* What followed the handler's position in this shard can be read no more: tell, and forget the position. */
void follower_lose(struct follower *follower, const char *shard, const struct known *known, const char *why,
                   struct store_batch *batch);

/* Values are freed, too. */
void follower_clear_owned(struct map *map);
void follower_free(struct follower *follower);

#endif
