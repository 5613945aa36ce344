/* store_internal.h: what the parts of the DynamoDB store share. Each file writes and reads its own rows. */
#ifndef TIDEMILL_STATE_DYNAMODB_STORE_INTERNAL_H
#define TIDEMILL_STATE_DYNAMODB_STORE_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "state/dynamodb/calls.h"
#include "state/dynamodb/lease_rows.h"
#include "state/dynamodb/pieces.h"
#include "state/dynamodb/standings.h"
#include "state/dynamodb/store_dynamodb.h"

struct pending;
typedef void step_fn(struct pending *pending, const cJSON *answer, bool refused);

struct store_dynamodb {
    struct store store;
    struct store_dynamodb_options options;
    struct calls *calls;
    void (*write)(struct pending *); /* of the batch that comes next */
    char *group;                     /* as it stands in keys */
    struct list pending;             /* in the order they came */
    struct map last;         /* of each row that is to be written: the pending one that comes to it last */
    struct pending *barrier; /* what comes later waits for it; NULL: nothing */
    struct list ready;       /* those that wait for nothing */
    struct task begin;       /* them */
};

/* A batch, a claim or a load, from when it is handed over to when it is told. Writes of a batch are done one
 * after the other, each in steps. */
struct pending {
    struct list link, ready;
    struct store_dynamodb *store;
    struct arena arena;
    size_t waits; /* for so many before it */
    struct pending **followers;
    size_t follower_count, follower_capacity;
    const char **keys; /* of what it writes */
    size_t key_count, key_capacity;

    struct store_batch *batch;
    struct store_write *write; /* the next one, or that is being done */
    store_done_fn *done;

    struct store_claim wanted;
    store_claim_fn *claim;

    struct store_query query;
    store_load_fn *load;
    struct store_snapshot *snapshot;
    struct rows *list, *rows; /* what was read so far */
    struct standings standings;
    int reads; /* of rows whose pieces were gone */

    void *user;
    /* of the step on its way */
    struct call *call;
    struct reading *reading;
    struct written {
        struct pending *pending; /* NULL: it has gone meanwhile */
    } * written;
    step_fn *then;
    const struct putting {
        const char *partition;
        int64_t expires_s;
        step_fn *then;
    } * putting;
    int64_t id; /* of the letter that is written */
    struct forgetting *forgetting;
    cJSON *seen; /* of a claim: the row that was there */
    struct pieces pieces;
    size_t at;
    char nonce[LEASE_NONCE_SIZE];
    int64_t mark; /* under which its last seek was; 0: none */
};

/* ---- pending.c ---- */

/* It waits for nobody any more. */
void pending_ready(struct pending *pending);

/* A batch is done, or will not be: tell. */
void pending_done(struct pending *pending, const struct err *err);

/* `then` is called with what the row's call came to. */
void pending_send(struct pending *pending, const char *operation, cJSON *body, step_fn *then);

/* Put the pieces under `partition`, then go on. */
void pending_put_pieces(struct pending *pending, const char *partition, int64_t expires_s, step_fn *then);

/* The write is done: on to the next. */
void pending_next(struct pending *pending);
void pending_next_step(struct pending *pending, const cJSON *answer, bool refused);

/* It was told: out of the queue, and freed. */
void pending_end(struct pending *pending);

/* "g/GROUP/..." in the arena. */
char *pending_partition(struct pending *pending, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- letters.c ---- */

void letters_put(struct pending *pending);
void letters_forget(struct pending *pending);
void letters_mark(struct pending *pending);
void letters_load(struct pending *pending);
void letters_ask_counts(const struct store_dynamodb *store, struct ask *asks); /* LETTER_PARTITIONS of them */
void letters_count(struct store_snapshot *snapshot, const struct row *rows, size_t count);
void letters_load_counts(struct pending *pending);

#define LETTER_PARTITIONS 16

/* ---- markers.c ---- */

void markers_put(struct pending *pending);
void markers_claim(struct pending *pending);
void markers_load(struct pending *pending);

/* ---- rows_small.c: follows, events, requests ---- */

void follow_put(struct pending *pending);
void follow_seek(struct pending *pending); /* in place of a checkpoint, where this store has no shards */
void event_put(struct pending *pending);
void events_forget(struct pending *pending);
void request_put(struct pending *pending);
void request_answer(struct pending *pending);
void requests_load(struct pending *pending);
void follow_inherit(struct pending *pending);
void usage_put(struct pending *pending);
void usage_load(struct pending *pending);

/* Tell all hosts that there is something to look at. */
void requests_ring(struct pending *pending, const cJSON *answer, bool refused);

/* ---- told.c ---- */

void told_put(struct pending *pending);
void told_load(struct pending *pending);

/* ---- loading ---- */

/* What `load` was asked for is in the snapshot; or `err`, and then it is not. */
void pending_loaded(struct pending *pending, const struct err *err);

/* Everything but the letters. */
void everything_load(struct pending *pending);

/* Text that lives as long as the snapshot. */
const char *snapshot_text(struct store_snapshot *snapshot, const cJSON *item, const char *name);

#endif
