/* notes.h: what status shows of a host that shares its state: kept by the host, and written into the table
 * when somebody asks. */
#ifndef TIDEMILL_STATE_DYNAMODB_NOTES_H
#define TIDEMILL_STATE_DYNAMODB_NOTES_H

#include "base/map.h"
#include "state/store.h"

/* Zeroed it is empty. */
struct notes {
    struct map rows; /* what a row is about -> cJSON, owned */
};

void notes_fini(struct notes *notes);

/* What store_note would write. */
void notes_add(struct notes *notes, const struct store_batch *batch);

/* Shards that the host gives away now: known anew each time it is asked. */
void notes_add_hand_over(struct notes *notes, const struct store_hand_over *hand_over);
void notes_forget_hand_overs(struct notes *notes);

/* As text, without what is about shards that `owns` says no to; to be freed. */
char *notes_write(const struct notes *notes,
                  bool (*owns)(const void *user, const char *stream_arn, const char *shard),
                  const void *user);

/* Into a snapshot that has no such rows yet: of all hosts' texts at once, and their sessions. A text that is
 * none is left out, and what a later version says. */
void notes_read(const char *const *texts, const char *const *sessions, size_t count,
                struct store_snapshot *snapshot);

#endif
