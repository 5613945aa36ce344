/* seeks.h: handlers that are sought, though their shards are others' and nobody may write into those rows but
 * their owners. What a handler follows says under which mark it was sought where; what a shard's row says of
 * it stands under the mark that its owner knew, and says nothing any more where a greater one concerns it. So
 * a seek is one write of one row, whichever hosts run, come or die. */
#ifndef TIDEMILL_STATE_DYNAMODB_SEEKS_H
#define TIDEMILL_STATE_DYNAMODB_SEEKS_H

#include "state/dynamodb/standings.h"

/* The mark that concerns the shard; 0: none. `position`: where it was sought to, or NULL; of a kind that is
 * not POSITION_AFTER nothing is known of the shard, and it begins as the follow says. */
int64_t seeks_mark(const char *seeks, const char *shard, struct position *position);

/* With one more, in place of what it overrides; `shard` "": in all. To be freed. */
char *seeks_with(const char *seeks, const char *shard, int64_t mark, const struct position *position);

/* Where the handler had another name before, and stands nowhere in a shard yet, it stands where that one
 * does. Before seeks_apply. */
void seeks_inherit(struct standings *standings, const struct store_follow *follow);

/* What does not hold any more goes, or is where it was sought to. `find` says what the handler follows there,
 * or NULL. */
void seeks_apply(struct standings *standings,
                 const struct store_follow *(*find)(const void *user, const char *handler,
                                                    const char *stream),
                 const void *user);

#endif
