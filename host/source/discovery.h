/* discovery.h: keep a lineage true to the service's shard list.
 *
 * Lists all pages at the start, once in an interval, when asked, and quickly in a row after a shard closed
 * until its children show (DescribeStream may need a moment to know them). */
#ifndef TIDEMILL_SOURCE_DISCOVERY_H
#define TIDEMILL_SOURCE_DISCOVERY_H

#include "base/log.h"
#include "net/reactor.h"
#include "source/lineage.h"
#include "state/troubles.h"
#include "source/source.h"

struct discovery;

struct discovery_options {
    struct reactor *reactor;
    struct source *source;
    struct log *log;
    const char *subject;
    const char *stream_arn;
    struct troubles *troubles; /* or NULL */
};

struct discovery_events {
    /* How long until the next listing when there is no reason for one; asked after each. */
    int64_t (*interval_ms)(void *user);
    /* A full listing was merged into the lineage. */
    void (*listed)(void *user);
    /* A shard left the listing for good. */
    void (*gone)(void *user, const char *shard);
    /* The service does not know the stream. Asking goes on. */
    void (*missing)(void *user);
};

struct discovery *discovery_new(const struct discovery_options *options,
                                const struct discovery_events *events, void *user);
void discovery_free(struct discovery *discovery);

const struct lineage *discovery_lineage(const struct discovery *discovery);
bool discovery_listed(const struct discovery *discovery);               /* at least once */
enum stream_status discovery_status(const struct discovery *discovery); /* as of the last listing */

/* The number of the listing that began last; with discovery_listings below, one can wait for a listing that
 * began after a certain moment. */
int64_t discovery_begun(const struct discovery *discovery);
int64_t discovery_ended(const struct discovery *discovery); /* number of the last one that ended */

/* A shard that is known from elsewhere, see lineage_expect. */
void discovery_expect(struct discovery *discovery, const char *shard);

void discovery_now(struct discovery *discovery);

/* A shard was read to its end: list until a child of it shows. */
void discovery_shard_closed(struct discovery *discovery, const char *shard);

#endif
