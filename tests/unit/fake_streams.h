/* fake_streams.h: DynamoDB Streams behind the transport seam, for what DynamoDB Local cannot do: shards that
 * split, iterators that expire, records that are trimmed, throttling. It is strict: an iterator is
 * only good for what it was given for, and a request it does not expect fails the test. */
#ifndef TIDEMILL_TESTS_FAKE_STREAMS_H
#define TIDEMILL_TESTS_FAKE_STREAMS_H

#include "core/world.h"

struct fake_streams;

struct fake_streams *fake_streams_new(struct world *world, const char *table);
void fake_streams_free(struct fake_streams *fake);

/* ---- what the table's writers do ---- */

void fake_put(struct fake_streams *fake, const char *shard, const char *item, int version);
void fake_add_shard(struct fake_streams *fake, const char *shard, const char *parent);
void fake_close_shard(struct fake_streams *fake, const char *shard);
/* A new ARN takes the table's place; the old one is disabled, its shards closed. */
void fake_new_stream(struct fake_streams *fake);
/* The ARN before the current one is unknown from now on. */
void fake_drop_old_stream(struct fake_streams *fake);

/* ---- what goes wrong ---- */

void fake_trim(struct fake_streams *fake, const char *shard, int records); /* the oldest */
void fake_remove_shard(struct fake_streams *fake, const char *shard); /* from the listing, and for good */
void fake_hide_shard(struct fake_streams *fake, const char *shard, bool hidden); /* from the listing only */
void fake_show_open(struct fake_streams *fake, const char *shard); /* a closed one is listed as open */
void fake_expire_iterators(struct fake_streams *fake);
void fake_fail_next(struct fake_streams *fake, const char *operation, const char *code, int times);
void fake_lose_next(struct fake_streams *fake, const char *operation, int times);
/* Faults that were planned and have not come to pass. */
int fake_unused_faults(const struct fake_streams *fake);
void fake_set_listing_page(struct fake_streams *fake, int shards);

/* ---- what was seen ---- */

/* Calls of an operation so far. */
int fake_calls(const struct fake_streams *fake, const char *operation);
/* Iterators handed out of a type. */
int fake_iterators(const struct fake_streams *fake, const char *type);

/* Items put into table "Sink" by handlers, as "item:version" in the order of their arrival, joined by ' '. */
const char *fake_sink(const struct fake_streams *fake);
int fake_sink_count(const struct fake_streams *fake);

/* Handlers' puts get this many ms to answer. */
void fake_set_sink_delay(struct fake_streams *fake, int64_t delay_ms);

#endif
