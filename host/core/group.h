/* group.h: this host among the hosts of its group, which share a state: its session, its shards, and what of
 * them comes and goes while it runs. Between the coordinator (lease/) and the streams (assign/). */
#ifndef TIDEMILL_CORE_GROUP_H
#define TIDEMILL_CORE_GROUP_H

#include "assign/streams.h"
#include "lease/coordinator.h"
#include "net/fence.h"

struct group;

struct group_options {
    const struct config *config; /* must stay */
    struct log *log;
    struct clock *clock;
    const char *instance; /* of this process */
    /* Of the scripts and the INI in force; on the first worker. */
    uint64_t (*fingerprint)(void *user);
    size_t reactors;
    struct fence *fence; /* of calls of handlers and targets; must stay */
    /* Everything was given away: the host may go. */
    void (*left)(void *user);
    /* Somebody asks the hosts for something. */
    void (*rung)(void *user);
    /* The table is not there any more: the host is to stop. */
    void (*no_table)(void *user);
    void *user;
};

struct group *group_new(const struct group_options *options);
void group_free(struct group *group); /* after the stores, before the workers */

/* The writer of checkpoints for the worker of that place, on its reactor: before that worker is made. */
struct shard_writer *group_writer(struct group *group, size_t place);
void group_set_worker(struct group *group, size_t place, struct worker *worker);

/* For the supervisors. */
const struct leases *group_leases(const struct group *group);

/* Is this the one host of the group that does what only one is to do? For a moment there may be two. */
bool group_leads(const struct group *group);

/* Begin: on the first worker, whose reactor must be the caller's. */
void group_begin(struct group *group, struct streams *streams);

/* Give everything away; then `left`. */
void group_leave(struct group *group);

/* Report of a worker: so many records of the shard were read there so far. Its share of the load. */
void group_read(struct group *group, const char *stream_arn, const char *shard, int64_t records);

/* Write what status shows of this host, as an answer to that request. */
void group_tell(struct group *group, int64_t asked);

/* What metrics show of it. */
struct group_numbers {
    int64_t came, went; /* shards, since the start */
    double left_s;      /* so long calls may begin without another beat */
    bool held;          /* they may not, or not yet */
    struct coordinator_members members;
};
struct group_numbers group_numbers(const struct group *group);

/* Report of a worker: nothing of the shard runs there any more. */
void group_drained(struct group *group, const char *stream_arn, const char *shard);

#endif
