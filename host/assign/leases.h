/* leases.h: whose is a shard? The question between lineage (what may be read) and reading.
 *
 * Where a state serves one host (SQLite), every shard is its own, always: there are no leases (NULL). A state
 * that many share answers `owns`, and tells streams_gained and streams_lost when that changes; nothing of a
 * shard that was lost is committed any more. */
#ifndef TIDEMILL_ASSIGN_LEASES_H
#define TIDEMILL_ASSIGN_LEASES_H

#include <stdbool.h>
#include <stddef.h>

#include "source/source.h"
#include "state/store.h"

struct leases {
    /* May this host read the shard now? On the first worker's reactor, as all of these. */
    bool (*owns)(void *user, const char *stream_arn, const char *shard);
    /* May a handler begin there now, where nothing else is in its way? What it has: see `owns`. Or NULL. */
    bool (*ready)(void *user, const char *stream_arn, const char *shard);
    /* The rest may be NULL, all of it: then the store says of every shard where its handlers begin. The
     * stream is read here from now on. */
    void (*follow)(void *user, const char *stream_arn);
    /* As often as `follow`: it is not, by that one. */
    void (*unfollow)(void *user, const char *stream_arn);
    /* The epoch of its owner, which is this host. */
    int64_t (*epoch)(void *user, const char *stream_arn, const char *shard);
    /* A listing of the stream shows the shard. */
    void (*listed)(void *user, const char *stream_arn, const struct shard_info *shard);
    /* Is it this host that lists the stream for all? May be NULL by itself: each lists for itself. */
    bool (*leads)(void *user, const char *stream_arn);
    /* The stream ends, and as far as this host knows its handlers have not finished all of its shards: what
     * others have finished is to be told by streams_finished_elsewhere. */
    void (*look)(void *user, const char *stream_arn);
    /* A handler begins there, or goes on: what others have finished of its shards it does not know yet. */
    void (*joined)(void *user, const struct store_follow *follow);
    /* All handlers that are here have finished the shard. May be NULL by itself. */
    void (*finished)(void *user, const char *stream_arn, const char *shard);
    /* Likewise, and the service shows it no more. May be NULL by itself. */
    void (*forget)(void *user, const char *stream_arn, const char *shard);
    /* The shard, which is this host's, is wanted on the host that has `beside`. May be NULL by itself. */
    void (*gather)(void *user, const char *stream_arn, const char *shard, const char *beside);
    void *user;
};

static inline bool leases_own(const struct leases *leases, const char *stream_arn, const char *shard)
{
    return !leases || leases->owns(leases->user, stream_arn, shard);
}

static inline bool leases_ready(const struct leases *leases, const char *stream_arn, const char *shard)
{
    return leases_own(leases, stream_arn, shard) &&
           (!leases || !leases->ready || leases->ready(leases->user, stream_arn, shard));
}

static inline bool leases_lead(const struct leases *leases, const char *stream_arn)
{
    return !leases || !leases->leads || leases->leads(leases->user, stream_arn);
}

static inline int64_t leases_epoch(const struct leases *leases, const char *stream_arn, const char *shard)
{
    return leases && leases->epoch ? leases->epoch(leases->user, stream_arn, shard) : 0;
}

#endif
