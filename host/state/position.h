/* position.h: where a handler stands in a shard. A value. */
#ifndef TIDEMILL_STATE_POSITION_H
#define TIDEMILL_STATE_POSITION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A sequence number: 21 to 40 decimal digits by the service's model; more than any integer holds, so it is
 * text, compared by length and then byte by byte. DynamoDB Local's are shorter. */
#define SEQUENCE_SIZE 64

enum position_kind {
    POSITION_TRIM_HORIZON, /* at the oldest record there is */
    POSITION_LATEST,       /* at what was written since `since_ms`; no record was settled yet */
    POSITION_AFTER,        /* behind the record `sequence` */
    POSITION_FINISHED,     /* the shard is closed and all its records are settled */
};

struct position {
    enum position_kind kind;
    char sequence[SEQUENCE_SIZE]; /* POSITION_AFTER; of the last record when FINISHED, if there was one */
    int64_t since_ms;             /* POSITION_LATEST: wall clock */
    int64_t record_time_ms;       /* creation time of the record `sequence`, 0 when unknown */
};

static inline int sequence_compare(const char *a, const char *b)
{
    size_t size_a = strlen(a), size_b = strlen(b);
    if (size_a != size_b)
        return size_a < size_b ? -1 : 1;
    return strcmp(a, b);
}

/* A sequence number of the service into `sequence`; false when it is too long to be one. */
static inline bool sequence_copy(char sequence[SEQUENCE_SIZE], const char *text)
{
    return snprintf(sequence, SEQUENCE_SIZE, "%s", text) < SEQUENCE_SIZE;
}

/* Does `a` begin before `b`? Both of one shard. */
static inline bool position_before(const struct position *a, const struct position *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind;
    if (a->kind == POSITION_LATEST)
        return a->since_ms < b->since_ms;
    return a->kind == POSITION_AFTER && sequence_compare(a->sequence, b->sequence) < 0;
}

#endif
