/* shard_writer.h: who writes where handlers stand in a shard. Each shard's row has one writer in a host, who
 * has its lease: the stores of all workers hand their checkpoints to it. */
#ifndef TIDEMILL_STATE_DYNAMODB_SHARD_WRITER_H
#define TIDEMILL_STATE_DYNAMODB_SHARD_WRITER_H

#include "state/store.h"

struct shard_change {
    const char *handler;
    bool forget; /* it stands nowhere */
    struct position position;
    const char *progress;
};

struct shard_writer {
    /* All of it in one write of the row; copied. `done` comes later, on the caller's reactor; with an error
     * (ERR_CANCELLED) the shard is not this host's any more and nothing was written. `shard` "": in every
     * shard of the stream, and "" for every stream, that this host has. */
    void (*write)(struct shard_writer *, const char *stream_arn, const char *shard,
                  const struct shard_change *changes, size_t count, store_done_fn *done, void *user);
    /* What is only shown (store_note); taken. */
    void (*note)(struct shard_writer *, struct store_batch *batch);
};

#endif
