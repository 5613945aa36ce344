/* fake_kinesis.h: Kinesis Data Streams behind the transport seam, with one stream: shards that split and
 * merge, iterators that age, five reads a second, listings in pages, empty pages where more is to come.
 * Strict: what the service refuses it refuses. */
#ifndef TIDEMILL_TESTS_SIM_FAKE_KINESIS_H
#define TIDEMILL_TESTS_SIM_FAKE_KINESIS_H

#include "small.h"

#define FAKE_KINESIS_ARN "arn:aws:kinesis:eu-west-1:000000000000:stream/changes"

struct fake_kinesis;

/* Its dice and its clock are the world's. */
struct fake_kinesis *fake_kinesis_new(struct small *small, int shards);
void fake_kinesis_free(struct fake_kinesis *fake);

/* Into the shard of the key, as it came that many ms ago. */
void fake_kinesis_put(struct fake_kinesis *fake, const char *key, const char *data, int64_t ago_ms);

/* Some open shard is split, or two neighbours are merged. */
void fake_kinesis_reshard(struct fake_kinesis *fake);

/* False: no operation of its. */
bool fake_kinesis_answer(struct fake_kinesis *fake, const char *target, const char *body, size_t size,
                         struct answer *answer);

#endif
