/* generation.h: one stream ARN with its shard list, and which worker reads which shard. Private to core/. */
#ifndef TIDEMILL_CORE_GENERATION_H
#define TIDEMILL_CORE_GENERATION_H

#include "base/list.h"
#include "core/worker.h"
#include "stream/discovery.h"

struct generation {
    struct list link;
    char *stream_arn;
    char *table;
    struct discovery *discovery;
    bool missing;           /* the service does not know the ARN */
    struct map workers;     /* shard -> struct worker */
    struct map told_closed; /* shards whose worker knows that they are closed */
    struct map missed;      /* shards whose reader found them missing */
    void *owner;
};

/* "Orders" of arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/...; `fallback` where the ARN names none. */
char *table_of_arn(const char *stream_arn, const char *fallback);

/* What stays the same when a table's stream is disabled and enabled again: the ARN up to its label, or for
 * ARNs without a label the table's name. */
char *stream_identity(const char *stream_arn, const char *table);

struct generation *generation_new(const char *stream_arn, const char *table);
void generation_free(struct generation *generation);

/* The worker that reads the shard; chosen, the one with the fewest shards, when there is none yet. */
struct worker *generation_worker(struct generation *generation, const char *shard, struct worker **workers,
                                 size_t count);

#endif
