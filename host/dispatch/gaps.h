/* gaps.h: records that were trimmed before a handler got them, and which handlers are told so. */
#ifndef TIDEMILL_DISPATCH_GAPS_H
#define TIDEMILL_DISPATCH_GAPS_H

#include "dispatch/subscriber.h"

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

#endif
