/* seek.h: moving a handler's checkpoint: what is to be written for it. */
#ifndef TIDEMILL_STATE_SEEK_H
#define TIDEMILL_STATE_SEEK_H

#include "base/buf.h"
#include "base/clock.h"
#include "state/store.h"

/* What people say, in the form that seek_write takes: a time also as "2h" ago, or "2026-01-31". `*whole` is
 * `to` or `place`. False and `err`: it is in the future, or longer ago than a stream keeps records. */
bool seek_read_place(const char *to, int64_t now_ms, char place[CLOCK_ISO_SIZE], const char **whole,
                     struct err *err);

/* `to` is "trim_horizon", "latest", a time (RFC 3339), or a sequence number, behind which the handler goes
 * on. `shard` "" for all, of all streams that it follows. Adds to the batch what moves the handler from where
 * the snapshot says it is, and to `told` a sentence of what was done. False and `err` when it cannot be: the
 * handler is unknown, the sequence number is none, or it says not of which shard. */
bool seek_write(const struct store_snapshot *snapshot, const char *handler, const char *shard, const char *to,
                struct store_batch *batch, struct buf *told, struct err *err);

/* Drop the handler's gaps ("" for all handlers): where it still stands before one of them it goes on at the
 * oldest record that there is. */
void seek_past_gaps(const struct store_snapshot *snapshot, const char *handler, struct store_batch *batch,
                    struct buf *told);

#endif
