/* feeds.h: which reader feeds which of a shard's subscriptions.
 *
 * The shared feed reads for all that keep up. Those that do not, or that begin further back, are fed by the
 * extra one, which there is only while somebody needs it: it serves as many of them as stand close together,
 * then the next. A laggard comes back when it has been fed everything that the shared feed has read, so there
 * is neither gap nor repetition. */
#ifndef TIDEMILL_DISPATCH_FEEDS_H
#define TIDEMILL_DISPATCH_FEEDS_H

#include "dispatch/subscriber.h"

void feeds_init(struct shard *shard);
void feeds_fini(struct shard *shard);

/* A subscriber that has just been added finds its feed. */
void feeds_place(struct subscriber *subscriber, const struct shard_start *start);

/* A subscriber has room again, or has gone. */
void feeds_review(struct shard *shard);

void feeds_closed(struct shard *shard);   /* discovery says so */
void feeds_vanished(struct shard *shard); /* nothing more can be read */
void feeds_stop(struct shard *shard);

#endif
