/* segments.h: what a source whose shards are segments (snapshot_name.h) answers without asking anybody: never
 * from within the call that asked. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_SEGMENTS_H
#define TIDEMILL_SOURCE_SNAPSHOT_SEGMENTS_H

#include "net/reactor.h"
#include "source/snapshot/snapshot_name.h"
#include "source/source.h"

/* A part of the source's call, which `free` ends before the answer is given. */
struct segments_answer {
    struct task task;
    struct source_call *call;
    void (*free)(struct source_call *call);
    union {
        source_stream_fn *stream;
        source_shards_fn *shards;
        source_cursor_fn *cursor;
    } done;
    void *user;
    char *text; /* the answer, or what it is made of */
};

void segments_answer_init(struct segments_answer *answer, struct source_call *call,
                          void (*free)(struct source_call *call), void *user);

/* The stream that the snapshot `arn` is named after; NULL: none. */
void segments_answer_stream(struct segments_answer *answer, struct reactor *reactor, const char *arn,
                            source_stream_fn *done);

/* All segments of the snapshot `arn`: each closed, of a stream that is disabled. */
void segments_answer_shards(struct segments_answer *answer, struct reactor *reactor, const char *arn,
                            source_shards_fn *done);

/* `cursor` is taken. */
void segments_answer_cursor(struct segments_answer *answer, struct reactor *reactor, char *cursor,
                            source_cursor_fn *done);

void segments_answer_fini(struct segments_answer *answer);

#endif
