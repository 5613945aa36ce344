/* subscription.h: one handler on one shard.
 *
 * Pages go in; each record is settled once: when the handler returned, when its filter left it out, or when
 * it was put where on_failure says. Records of one item run one at a time and in order, different items
 * overlap. The position is the end of the settled prefix: it never passes a record that is not settled. */
#ifndef TIDEMILL_DISPATCH_SUBSCRIPTION_H
#define TIDEMILL_DISPATCH_SUBSCRIPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "dispatch/terms.h"
#include "record/page.h"
#include "record/position.h"

struct subscription;

/* `progress` is what was kept with the position, see subscription_checkpoint; "" when there is none. */
struct subscription *subscription_new(const struct subscription_options *options,
                                      const struct position *start, const char *progress,
                                      const struct subscription_events *events, void *user);

/* Nothing may be running, unless the store is closed and the reactor will turn no more. */
void subscription_free(struct subscription *subscription);

/* Records up to where the subscription was fed before are left out, so a reader may go back. */
void subscription_feed(struct subscription *subscription, struct page *page);

/* A page of one record out of the dead letters, which goes the same way as others of its item, behind those
 * that wait already. False when the handler stops; events.redriven comes only after true. */
bool subscription_redrive(struct subscription *subscription, struct page *page, int64_t letter, bool hold);

/* `hold`: the record's item may be elsewhere. When its turn comes, it is not given to the handler but keeps
 * the others of the item from running, until it is released: to `run` here, or to leave (events.redriven
 * comes then, too). False when there is no such record. */
bool subscription_release(struct subscription *subscription, int64_t letter, bool run);

/* Does it hold more than so many bytes of pages, or too many records of one item? Tries to make room first.
 * After true, events.room tells when that has changed. */
bool subscription_full(struct subscription *subscription, size_t bytes_max);

/* Take back what was fed and has not begun to run: subscription_fed goes back, the memory is free. */
void subscription_cut(struct subscription *subscription);

/* The reader came to the end of what is written, at this time (wall clock): a window that ended may close.
 * subscription_ended: there will be no more. */
void subscription_caught_up(struct subscription *subscription, int64_t time_ms);
void subscription_ended(struct subscription *subscription);

/* No record can follow now: neither what the handler emitted nor a batch need wait for company. */
void subscription_hurry(struct subscription *subscription);

/* Nothing follows this shard: close the window that is open, before its time. */
void subscription_close_window(struct subscription *subscription);

/* Start nothing any more; what runs, finishes. What waits is kept in the progress. */
void subscription_stop(struct subscription *subscription);

/* From now on records go to this version. Those that run finish on the old one; what waits, for its turn or
 * for another attempt, belongs to the new one, and is left out where its filter says so. */
void subscription_replace_handler(struct subscription *subscription, struct handler *handler);

/* Give up what still runs. */
void subscription_abandon(struct subscription *subscription);

bool subscription_drained(const struct subscription *subscription);

/* Behind the last record that was fed, settled or not. */
const struct position *subscription_fed(const struct subscription *subscription);

/* The end of the settled prefix, and into `progress` a JSON text of what must be known beside it: which
 * records beyond it are settled, attempts, the window's state. Position and progress belong together. False
 * when neither changed since it was last asked for. `whole`: however long it gets. */
bool subscription_checkpoint(struct subscription *subscription, bool whole, struct position *position,
                             struct buf *progress);

/* The progress a child shard begins with when its parent was finished with this one: the window that is open
 * goes on there. False when there is nothing to go on with. */
bool subscription_inherit(const char *parent_progress, struct buf *progress);

/* The cursor that leads back to where the progress was written, owned by the caller; NULL: the position alone
 * does. */
char *subscription_resume(const char *progress);

/* What a progress says of records that lie behind the position which was kept with it: NULL: nothing. */
struct settled_ahead;
struct settled_ahead *settled_ahead_new(const char *progress);
void settled_ahead_free(struct settled_ahead *ahead); /* NULL is allowed */

/* Is the record settled? */
bool settled_ahead_has(const struct settled_ahead *ahead, const struct record *record);

/* Does it say nothing of this record, nor of any behind it? */
bool settled_ahead_ends(const struct settled_ahead *ahead, const struct record *record);

/* How its records stand; who is `catching_up` knows the shard. */
struct stats_subscription subscription_now(const struct subscription *subscription);

/* Those it was given; or its own. */
struct stats_handler *subscription_counters(struct subscription *subscription);

/* What the last failed attempts said. */
const struct subscription_trouble *subscription_trouble(const struct subscription *subscription);

#endif
