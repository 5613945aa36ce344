/* part.h: where a handler stands in a shard, as its row says it: position and progress as one text. */
#ifndef TIDEMILL_STATE_DYNAMODB_PART_H
#define TIDEMILL_STATE_DYNAMODB_PART_H

#include "lease/table.h"
#include "record/position.h"
#include "state/dynamodb/pieces.h"

/* Progress up to this size stands in the row, of which there is a new one at each write; more in pieces. */
#define PART_PROGRESS_MAX 2048

struct part {
    struct position position;
    char *progress; /* to be freed; NULL: it is in pieces */
    char nonce[LEASE_NONCE_SIZE];
    size_t pieces;
    int64_t size; /* of all pieces together, as it was */
    int64_t mark; /* under which the handler was sought there last (seeks.h) */
};

void part_fini(struct part *part);

/* `mark`: 0 where it was never sought. `pieces` and `nonce` of progress that is in pieces, else NULL. */
char *part_write(const struct position *position, const char *progress, const struct pieces *pieces,
                 const char *nonce, int64_t mark);

/* False and `err` when it is none that this version reads. */
bool part_read(const char *text, struct part *part, struct err *err);

/* Under which partition a handler's pieces are, in the group's (escaped) keys; to be freed. */
char *part_partition(const char *group, const char *stream, const char *shard, const char *handler);

#endif
