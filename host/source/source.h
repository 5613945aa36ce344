/* source.h: the source seam: which stream, which shards with which parents, a cursor from a position, the
 * next page. DynamoDB Streams is the first source behind it.
 *
 * To add one: a folder beside dynamodb/ with a `const struct source_kind`, and its line in sources.c. All
 * of source_ops must be there. A call answers once, never from inside itself, unless it is cancelled; pages
 * are made with record/page.h. */
#ifndef TIDEMILL_SOURCE_SOURCE_H
#define TIDEMILL_SOURCE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "record/page.h"

struct source;
struct source_call;

/* What an error means for a reader. */
enum source_fault {
    SOURCE_OTHER,     /* may pass: try again */
    SOURCE_THROTTLED, /* we are too fast, or not alone */
    SOURCE_EXPIRED,   /* the cursor is too old: get another */
    SOURCE_TRIMMED,   /* the records behind the cursor are gone */
    SOURCE_MISSING,   /* no such table, stream or shard */
};

struct source_error {
    enum source_fault fault;
    struct err err;
};

/* Of a record in DynamoDB's streams, by the service's documentation. */
#define SOURCE_RETENTION_MS (24 * 3600 * 1000LL)

/* What a reader has to know of its source. */
struct source_traits {
    int64_t cursor_age_ms_max;  /* one that lay unused longer is replaced before use */
    int64_t retention_ms;       /* so long the service keeps a record */
    size_t full_page_bytes_min; /* a page of so many has more behind it, however few its records */
    int64_t (*late_ms)(const char *stream_arn); /* so much later than its time says may a record be read */
    bool finds_time;                            /* it knows CURSOR_SINCE */
};

#define SHARD_PARENTS_MAX 2 /* where shards merge */

enum stream_status { STREAM_ENABLED, STREAM_DISABLED };

struct shard_info {
    const char *id;
    const char *parents[SHARD_PARENTS_MAX]; /* NULL: none */
    bool closed;
    const char *starting; /* the number of its oldest record, or of where it began; NULL: not said */
};

struct shard_page {
    enum stream_status status;
    const struct shard_info *shards;
    size_t count;
    const char *last; /* where the next page starts behind; NULL: this was the last page */
};

/* Behind the record of that number; at what was written since, in ms since 1970 (in place of the number). */
enum cursor_kind { CURSOR_TRIM_HORIZON, CURSOR_LATEST, CURSOR_AFTER, CURSOR_SINCE };

/* All texts and structs are valid during the call; a page is the receiver's. Exactly one of result and
 * `error` is given. `next`: the cursor behind the page; NULL: the shard is closed and this was its last. */
typedef void source_stream_fn(void *user, const char *stream_arn, const struct source_error *error);
typedef void source_shards_fn(void *user, const struct shard_page *page, const struct source_error *error);
typedef void source_cursor_fn(void *user, const char *cursor, const struct source_error *error);
typedef void source_page_fn(void *user, struct page *page, const char *next,
                            const struct source_error *error);

/* An answer of `bytes` has come, whose page is not read yet. By the looks of it `next` is the cursor behind
 * it: it may be asked for at once, so that the service works meanwhile; then true is returned. Where the
 * page, which follows, says another, or fails, that call is to be cancelled. A source need not tell it. */
typedef bool source_ahead_fn(void *user, const char *next, size_t bytes);

struct source_ops {
    struct source_call *(*find_stream)(struct source *, const char *table, source_stream_fn *, void *user);
    struct source_call *(*next_stream)(struct source *, const char *table, const char *stream_arn,
                                       source_stream_fn *, void *user);
    struct source_call *(*list_shards)(struct source *, const char *stream_arn, const char *after,
                                       source_shards_fn *, void *user);
    struct source_call *(*get_cursor)(struct source *, const char *stream_arn, const char *shard,
                                      enum cursor_kind, const char *sequence, source_cursor_fn *, void *user);
    struct source_call *(*read_page)(struct source *, const char *cursor, int64_t limit, source_ahead_fn *,
                                     source_page_fn *, void *user);
    void (*cancel)(struct source_call *);
    void (*free)(struct source *);
};

struct source {
    const struct source_ops *ops;
    struct source_traits traits;
    size_t awaited; /* pages behind full ones: while there are any, the reactor has work to come */
};

/* The ARN of the table's latest stream; NULL without an error when it never had one. */
static inline struct source_call *source_find_stream(struct source *source, const char *table,
                                                     source_stream_fn *done, void *user)
{
    return source->ops->find_stream(source, table, done, user);
}

/* The table's stream that was enabled next after `stream_arn`; NULL without an error when there is none yet.
 */
static inline struct source_call *source_next_stream(struct source *source, const char *table,
                                                     const char *stream_arn, source_stream_fn *done,
                                                     void *user)
{
    return source->ops->next_stream(source, table, stream_arn, done, user);
}

static inline struct source_call *source_list_shards(struct source *source, const char *stream_arn,
                                                     const char *after, source_shards_fn *done, void *user)
{
    return source->ops->list_shards(source, stream_arn, after, done, user);
}

static inline struct source_call *source_get_cursor(struct source *source, const char *stream_arn,
                                                    const char *shard, enum cursor_kind kind,
                                                    const char *sequence, source_cursor_fn *done, void *user)
{
    return source->ops->get_cursor(source, stream_arn, shard, kind, sequence, done, user);
}

/* `ahead` may be NULL. */
static inline struct source_call *source_read_page(struct source *source, const char *cursor, int64_t limit,
                                                   source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    return source->ops->read_page(source, cursor, limit, ahead, done, user);
}

static inline void source_cancel(struct source *source, struct source_call *call)
{
    if (call)
        source->ops->cancel(call);
}

static inline void source_free(struct source *source)
{
    if (source)
        source->ops->free(source);
}

#endif
