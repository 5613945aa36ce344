/* generation.h: one stream ARN with its shard list, and which worker reads which shard. Private to assign/,
 * but for what it knows of ARNs. */
#ifndef TIDEMILL_ASSIGN_GENERATION_H
#define TIDEMILL_ASSIGN_GENERATION_H

#include "base/list.h"
#include "worker/worker.h"
#include "source/discovery.h"

struct generation {
    struct list link;
    char *stream_arn;
    char *table;
    struct source *source;
    struct discovery *discovery;
    bool missing;           /* the service does not know the ARN, and has said so for a while */
    int missing_count;      /* listings in a row that said so ... */
    int64_t missing_ms;     /* ... and when the first did; monotonic */
    int64_t opened_ms;      /* monotonic */
    int64_t swept_ms;       /* when what is finished for long was last forgotten */
    struct task review;     /* whatever may be done now */
    bool review_all;        /* by whomever; else by those that are due */
    struct map workers;     /* shard -> struct worker */
    struct map told_closed; /* shards whose worker knows that they are closed */
    struct map missed;      /* shards whose reader found them missing */
    void *owner;
};

/* How many shards each worker reads, of all streams. */
struct loads {
    struct worker **workers;
    size_t *counts;
    size_t count;
};

/* What stays the same when a table's stream is disabled and enabled again: the ARN up to its label, or for
 * ARNs without a label the table's name. */
char *stream_identity(const char *stream_arn, const char *table);

struct generation *generation_new(const char *stream_arn, const char *table);
void generation_free(struct generation *generation);

/* The worker that reads the shard; chosen, the one that reads the fewest, when there is none yet. */
struct worker *generation_worker(struct generation *generation, const char *shard, struct loads *loads);

/* Nobody reads the shard any more. */
void generation_release(struct generation *generation, const char *shard, struct loads *loads);
void generation_release_all(struct generation *generation, struct loads *loads);

#endif
