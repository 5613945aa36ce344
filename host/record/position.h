/* position.h: where a handler stands in a shard. A value. */
#ifndef TIDEMILL_RECORD_POSITION_H
#define TIDEMILL_RECORD_POSITION_H

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
    int64_t since_ms;             /* wall clock: older records are not wanted (start = latest); 0: all are */
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

/* A record's time is rounded down, by DynamoDB to its second and by DynamoDB Local to its minute, and is on
 * the service's clock, which we know roughly. Records this much older than `since_ms` are surely not wanted.
 */
#define POSITION_MARGIN_MS (63 * 1000)

/* Added to a time that is of the service's clock itself, as an export's: the margin for another would only
 * repeat.
 */
#define POSITION_NEARER_MS (POSITION_MARGIN_MS - 3000)

/* Only digits, and no more of them than fit. */
static inline bool sequence_valid(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size < SEQUENCE_SIZE && strspn(text, "0123456789") == size;
}

/* Where one must begin to read so that neither `a` nor `b` misses a record. Both of one shard, none
 * FINISHED. */
static inline struct position position_earlier(const struct position *a, const struct position *b)
{
    if (a->kind == POSITION_TRIM_HORIZON || b->kind == POSITION_TRIM_HORIZON)
        return (struct position){.kind = POSITION_TRIM_HORIZON};
    if (a->kind == POSITION_AFTER && b->kind == POSITION_AFTER)
        return sequence_compare(a->sequence, b->sequence) <= 0 ? *a : *b;
    if (a->kind == b->kind)
        return a->since_ms <= b->since_ms ? *a : *b;
    const struct position *after = a->kind == POSITION_AFTER ? a : b,
                          *latest = a->kind == POSITION_AFTER ? b : a;
    if (after->record_time_ms && after->record_time_ms < latest->since_ms - POSITION_MARGIN_MS)
        return *after;
    return (struct position){.kind = POSITION_TRIM_HORIZON};
}

static inline bool position_same(const struct position *a, const struct position *b)
{
    return a->kind == b->kind && (a->kind != POSITION_AFTER || strcmp(a->sequence, b->sequence) == 0);
}

/* Whoever reads on from `from` misses nothing that is wanted from `position` on. */
static inline bool position_reaches(const struct position *from, const struct position *position)
{
    struct position earlier = position_earlier(from, position);
    return position_same(&earlier, from);
}

#endif
