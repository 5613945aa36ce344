/* fake_alternator.h: the streams of ScyllaDB Alternator behind the transport seam, with what sets them apart
 * from DynamoDB's (after alternator/streams.cc): rows that were written together share one sequence number
 * and come in one page whatever its Limit; event ids repeat; shards have odd names and end together, a
 * generation at a time; an ARN that names keyspace@log table; records are seen ten seconds after the write;
 * an ended shard's last page is empty; no transactions. It is strict: what it does not expect it refuses as
 * Alternator does, or with a ValidationException. */
#ifndef TIDEMILL_TESTS_FAKE_ALTERNATOR_H
#define TIDEMILL_TESTS_FAKE_ALTERNATOR_H

#include "core/world.h"

#define FAKE_ALTERNATOR_WINDOW_MS 10000 /* alternator_streams_time_window_s */

struct fake_alternator;

/* A row of the table: partition key "p", sort key "s"; attribute "v" is its version. */
struct fake_row {
    int partition, sort, version;
    bool removed;
    /* given back: */
    char shard[80], sequence[48];
    char unit[80]; /* as the host knows it */
    int64_t time_ms;
};

struct fake_alternator *fake_alternator_new(struct world *world, const char *table, int shards);
void fake_alternator_free(struct fake_alternator *fake);

const char *fake_alternator_arn(const struct fake_alternator *fake);

/* A batch on one partition: one event of the log. */
void fake_alternator_write(struct fake_alternator *fake, struct fake_row *rows, size_t count);

/* The topology changes: all shards end, others take their place. */
void fake_alternator_new_generation(struct fake_alternator *fake, int shards);

/* False: no operation of its. */
bool fake_alternator_answer(struct fake_alternator *fake, const char *target, const char *body, size_t size,
                            struct answer *answer);

#endif
