/* coordinator.h: which shards are this host's, among all hosts of a group that share a table.
 *
 * A host is a session: a name and 64 random bits, one row, a beat (a new nonce each time) every third of a
 * lease. Death is written: who has seen a beat unchanged for the whole lease of its row marks the row, where
 * the beat is still that one; only what belongs to a marked session may be taken, and a marked session's next
 * beat is refused. A session that was not marked goes on where it stood, however long it could not beat:
 * nobody has taken anything. Meanwhile it fences itself: no call may begin later than 0.6 of a lease after
 * the sending of the last beat that succeeded.
 *
 * Nobody lists all rows as a routine: hosts list hosts. What is given comes by mail; what a dead one leaves
 * is found by wardens, one for each bucket of rows, by rendezvous hashing.
 *
 * Without threads, sockets or timers: it says when it wants to be turned, and a table answers it. What it is
 * told it copies. Times are in milliseconds of a clock that counts on while the machine sleeps
 * (CLOCK_BOOTTIME) unless they say otherwise. */
#ifndef TIDEMILL_LEASE_COORDINATOR_H
#define TIDEMILL_LEASE_COORDINATOR_H

#include "lease/table.h"

struct coordinator;

/* Nothing is called from within a call of its user's, but from coordinator_turn and the table's answers. */
struct coordinator_events {
    /* The shard is this host's; `row` says where its handlers stand (valid during the call). */
    void (*gained)(void *user, const struct lease_row *row);
    /* It is not any more, or may not be: stop it at once; nothing of it can be committed. */
    void (*lost)(void *user, const char *stream, const char *shard);
    /* Before `lost`: its row is not in the table any more, somebody has deleted it; it is made anew, and its
     * handlers begin there again. May be NULL. */
    void (*row_gone)(void *user, const char *stream, const char *shard);
    /* It was drained and is another's now. */
    void (*given)(void *user, const char *stream, const char *shard);
    /* It is to be given to another host: feed it no more; when nothing of it runs, coordinator_drained. */
    void (*drain)(void *user, const char *stream, const char *shard);
    /* It is not: go on. */
    void (*undrain)(void *user, const char *stream, const char *shard);
    /* Of a shard whose gate was asked for: its parent's row; NULL: there is none. */
    void (*parent)(void *user, const char *stream, const char *shard, const char *parent,
                   const struct lease_row *row);
    /* Calls may begin, or may not: what runs must end. Before `lost`, which may or may not follow. */
    void (*held)(void *user, bool held);
    /* Somebody has rung for all hosts: there may be something to do. May be NULL. */
    void (*rung)(void *user);
    /* Another host is there (LEASE_ALIVE), or is not any more: it has left, or was marked. May be NULL. */
    void (*member)(void *user, const char *session, enum lease_death death);
    /* The table is new: nobody takes anything for a lease. May be NULL. */
    void (*waits)(void *user);
    /* The table is not there (any more). */
    void (*no_table)(void *user);
    /* Everything was given away or written, and this session has left. */
    void (*left)(void *user);
};

struct coordinator_options {
    struct lease_table *table;
    const char *name;                  /* of the host; need not be its alone */
    const char *instance;              /* of this process, its alone; NULL: it claims nothing */
    const char *version, *fingerprint; /* of the program; of scripts and INI */
    int64_t lease_ms;
    int reactors;
    int64_t drain_ms; /* how long a shard may take until it is given, before balance lets it be */
    /* For names that no two hosts may ever share: the system's generator, or as good. */
    uint64_t (*random)(void *user);
    int64_t (*now_ms)(void *user);
    int64_t (*wall_ms)(void *user);
    const struct coordinator_events *events;
    void *user; /* of these and the events */
};

struct coordinator *coordinator_new(const struct coordinator_options *options);
void coordinator_free(struct coordinator *coordinator); /* at once; what it had under way may still be done */

/* Do what is due; before anything else on each wake-up. Returns when it wants to be turned next. */
int64_t coordinator_turn(struct coordinator *coordinator);

/* May a call begin now? To be asked last before its first byte, and its deadline is at most
 * coordinator_fence_ms. */
bool coordinator_may_call(struct coordinator *coordinator);
int64_t coordinator_fence_ms(const struct coordinator *coordinator);

/* How long a call may take effect after this host's last look at its lease, so that order holds. */
int64_t coordinator_quiet_ms(const struct coordinator *coordinator);

/* This host reads the stream, and may be given its shards; who discovers it is agreed on like a shard,
 * LEASE_STREAM_ROW. Or it does not read it any more: when it has not for a lease, what it has of it goes to
 * hosts that do. */
void coordinator_follow(struct coordinator *coordinator, const char *stream);
void coordinator_unfollow(struct coordinator *coordinator, const char *stream);

/* The stream has this shard (seen by who discovers it, or by its parent's owner before the parent's END is
 * committed): it gets a row, and an owner, unless it has one. `done`: it has, for certain; where it
 * does not come (there is no session now), ask again later. */
void coordinator_create(struct coordinator *coordinator, const char *stream, const char *shard,
                        const char *const parents[2], void (*done)(void *user), void *user);

/* Write these handlers' checkpoints, not before `quiet_ms` (0: at once). `well` false: the shard is not this
 * host's any more and nothing was written. */
typedef void coordinator_done_fn(void *user, bool well);
void coordinator_commit(struct coordinator *coordinator, const char *stream, const char *shard,
                        const struct lease_part *parts, size_t count, int64_t quiet_ms,
                        coordinator_done_fn *done, void *user);

/* Every shard of the stream (NULL: of every stream) that is this host's. */
void coordinator_each(const struct coordinator *coordinator, const char *stream,
                      void (*fn)(void *user, const char *stream, const char *shard), void *user);

/* Every shard that this host gives away now: to which session ("": not chosen yet), and since when. */
void coordinator_each_given(const struct coordinator *coordinator,
                            void (*fn)(void *user, const char *stream, const char *shard, const char *to,
                                       int64_t since_ms),
                            void *user);

/* Nothing of it runs, all is committed (or on its way), and the last call without an answer ended
 * coordinator_quiet_ms before `quiet_ms`. */
void coordinator_drained(struct coordinator *coordinator, const char *stream, const char *shard,
                         int64_t quiet_ms);

/* It is wanted on the host that has `beside`, another shard of the stream: if that is another that runs, it
 * is given to it like one that balance gives. May be asked again and again. */
void coordinator_gather(struct coordinator *coordinator, const char *stream, const char *shard,
                        const char *beside);

/* The service shows the shard no more, since long: its row is deleted, if it is this host's and all handlers
 * that stand in it have finished it. Then `lost` is told. */
void coordinator_forget(struct coordinator *coordinator, const char *stream, const char *shard);

/* Look at the parent's row until told not to: `parent` is called when it was read. */
void coordinator_gate(struct coordinator *coordinator, const char *stream, const char *shard,
                      const char *parent);
void coordinator_gate_over(struct coordinator *coordinator, const char *stream, const char *shard);

/* Other scripts or another INI from now on; told with the next beat. */
void coordinator_set_fingerprint(struct coordinator *coordinator, const char *fingerprint);

/* Its load: records a second, averaged over 100 s, and LEASE_SHARD_LOAD for the shard itself, which is read
 * though nobody writes to it. */
#define LEASE_SHARD_LOAD 0.2
void coordinator_weigh(struct coordinator *coordinator, const char *stream, const char *shard, double load);

/* Is it this host's, and not being given away? Its epoch, 0: it is not. */
int64_t coordinator_epoch(const struct coordinator *coordinator, const char *stream, const char *shard);

/* As of its row, while it is this host's in any way, also when it is being given away or was lost a moment
 * ago (within `lost` and `given`); 0: it is not. */
int64_t coordinator_row_epoch(const struct coordinator *coordinator, const char *stream, const char *shard);

/* How long the reactor of this host that has stood still longest has done so now; told again and again. From
 * half a lease on this host is sick: nothing more is given to it. After a whole one it does not beat any
 * more, and what it has goes to others. */
void coordinator_pulse(struct coordinator *coordinator, int64_t silent_ms);

/* Give everything away, or write it, and go. */
void coordinator_leave(struct coordinator *coordinator);

/* The hosts that it knows, this one among them. */
struct coordinator_members {
    size_t running, sick, leaving, dead; /* `dead`: lately, or has left */
};
struct coordinator_members coordinator_members(const struct coordinator *coordinator);

const char *coordinator_session(const struct coordinator *coordinator); /* "": none at the moment */
const char *coordinator_why(const struct coordinator *coordinator); /* the last beat failed; "": it did not */

#endif
