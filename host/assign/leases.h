/* leases.h: whose is a shard? The question between lineage (what may be read) and reading.
 *
 * Where a state serves one host (SQLite), every shard is its own, always: there are no leases (NULL). A state
 * that many share answers `owns`, and tells streams_gained and streams_lost when that changes; nothing of a
 * shard that was lost is committed any more. */
#ifndef TIDEMILL_ASSIGN_LEASES_H
#define TIDEMILL_ASSIGN_LEASES_H

#include <stdbool.h>
#include <stddef.h>

struct leases {
    /* May this host read the shard now? On the first worker's reactor. */
    bool (*owns)(void *user, const char *stream_arn, const char *shard);
    void *user;
};

static inline bool leases_own(const struct leases *leases, const char *stream_arn, const char *shard)
{
    return !leases || leases->owns(leases->user, stream_arn, shard);
}

#endif
