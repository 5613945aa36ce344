/* orders.h: what commands beside the running host ask of it, through the state store: to redrive dead
 * letters, and to move a handler's checkpoint. Looked for every second. */
#ifndef TIDEMILL_CORE_ORDERS_H
#define TIDEMILL_CORE_ORDERS_H

#include "core/reloader.h"
#include "assign/streams.h"

struct orders;

/* All must stay. */
struct orders *orders_new(struct reactor *reactor, struct store *store, struct streams *streams,
                          struct reloader *reloader, struct log *log);

/* The state is shared by hosts: who asks for something rings, and it is looked at then, and seldom besides.
 */
void orders_wait_for_bell(struct orders *orders, void (*tell)(void *user, int64_t asked), void *user);
void orders_ring(struct orders *orders);

/* The store must be closed already. */
void orders_free(struct orders *orders);
void orders_stop(struct orders *orders);

/* A worker is done with a letter in that shard; it holds the letter's item there. */
void orders_redriven(struct orders *orders, const char *stream_arn, const char *shard, int64_t letter);
void orders_held(struct orders *orders, const char *stream_arn, const char *shard, int64_t letter);

#endif
