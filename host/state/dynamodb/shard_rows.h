/* shard_rows.h: the one writer of a host's shard rows, and what they say when they come to it: between what
 * the store says of a checkpoint and the lease that it is written under.
 *
 * Progress that is too large for its row stands in pieces beside it, written before the row that names them,
 * under a name that no other write uses, and taken away behind the next one. So whoever reads a row finds its
 * pieces whole, and what a host that has lost the shard still writes is never mixed in. */
#ifndef TIDEMILL_STATE_DYNAMODB_SHARD_ROWS_H
#define TIDEMILL_STATE_DYNAMODB_SHARD_ROWS_H

#include "lease/coordinator.h"
#include "state/dynamodb/calls.h"
#include "state/dynamodb/shard_writer.h"

struct shard_rows;

/* Both must stay; `group` is copied. */
struct shard_rows *shard_rows_new(struct calls *calls, struct coordinator *coordinator, const char *group);
void shard_rows_free(struct shard_rows *rows); /* writes that are under way are cancelled */

/* That a handler has finished a shard is not written before `quiet_ms`, on the coordinator's clock: what it
 * has called without an answer may take effect until then, and another host may go on below. */
void shard_rows_wait(struct shard_rows *rows, int64_t (*quiet_ms)(void *user), void *user);

/* On the coordinator's reactor. */
struct shard_writer *shard_rows_writer(struct shard_rows *rows);

/* What a handler of this host follows from now on, and where it was sought there: what is written for it
 * stands under that mark, and what rows say under a smaller one does not count. */
void shard_rows_follow(struct shard_rows *rows, const struct store_follow *follow);

/* The coordinator's `gained`: the checkpoints of the row, from now on this host's, in a snapshot that is the
 * receiver's. Where they cannot be read it tries again until they can or the shard is lost: then nothing is
 * told. */
typedef void shard_rows_gained_fn(void *user, const char *stream, const char *shard,
                                  struct store_snapshot *snapshot);
void shard_rows_gained(struct shard_rows *rows, const struct lease_row *row, shard_rows_gained_fn *done,
                       void *user);

/* Likewise of a row that is another host's: nothing of it is changed. */
void shard_rows_read(struct shard_rows *rows, const struct lease_row *row, shard_rows_gained_fn *done,
                     void *user);

/* Its `lost` and `given`: what was to be told of the shard is not. */
void shard_rows_lost(struct shard_rows *rows, const char *stream, const char *shard);

#endif
