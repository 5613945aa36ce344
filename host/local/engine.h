/* engine.h: the embedded DynamoDB: a store with streams that answers the service's API.
 *
 * Thread-safe: calls are carried out one after the other, so that what clients see is serialisable. */
#ifndef TIDEMILL_LOCAL_ENGINE_H
#define TIDEMILL_LOCAL_ENGINE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

struct engine;

struct engine_options {
    const char *directory; /* where to keep everything; NULL: in memory */
    struct clock *clock;   /* must stay */
    const char *region;    /* in ARNs; NULL: us-east-1 */
    int shards;            /* a new stream's open shards; 0: one */
    int64_t
        shard_age_ms; /* when a shard is closed and its child goes on; 0: four hours, as the service does */
    int64_t table_ms; /* how long a table is CREATING, UPDATING or DELETING; 0: not at all */
    int64_t ttl_ms;   /* how much later than it expires an item goes; the service takes days */
};

/* NULL and `err`. */
struct engine *engine_new(const struct engine_options *options, struct err *err);
void engine_free(struct engine *engine);

struct engine_request {
    const char *target; /* the X-Amz-Target header: "DynamoDB_20120810.PutItem"; NULL: none */
    const char *body;
    size_t size;
    const char *region; /* of who signed it; NULL: the engine's */
};

struct engine_reply {
    int status;       /* HTTP */
    struct buf body;  /* JSON */
    bool dropped;     /* a fault on request: it was done, and nobody is to hear of it */
    int64_t delay_ms; /* a fault on request: answer so much later */
};

/* Any request gets a reply. `reply` begins zeroed; its body is the caller's to free. */
void engine_call(struct engine *engine, const struct engine_request *request, struct engine_reply *reply);

/* Grows with each stream record: has anything been written since? */
int64_t engine_changes(struct engine *engine);

/* Each shard of each stream, by the number that its iterators carry; `each` must not call the engine. */
void engine_each_shard(struct engine *engine, void (*each)(void *user, const char *table, int64_t shard),
                       void *user);

/* The number of the shard that a GetRecords request is about; -1: none. */
int64_t engine_shard_of(const char *body, size_t size);

/* What the service does by itself: items whose time to live has passed, shards that grow old, records that
 * are trimmed. To be called every now and then; returns how many items were removed. */
size_t engine_housekeeping(struct engine *engine);

#endif
