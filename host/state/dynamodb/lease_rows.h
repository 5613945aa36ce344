/* lease_rows.h: the rows that a group's hosts share, in a DynamoDB table: every request of lease/table.h as
 * one call of the service. Only single-item conditional writes, so that ScyllaDB Alternator can keep them
 * too.
 *
 * | row | pk | sk |
 * |---|---|---|
 * | group | g/GROUP | g |
 * | host | g/GROUP/h | session |
 * | bell | g/GROUP/h | ~bell |
 * | mail | g/GROUP/m/SESSION | random |
 * | shard | g/GROUP/s/STREAM/BUCKET | shard id; ~stream |
 *
 * While a group's state is being copied there (copying.h) its row says so, and counts as not opened.
 *
 * GROUP has its '%' and '/' as in URLs; STREAM is a hash of the ARN, BUCKET two hexadecimal digits. Host rows
 * get `expires` (TTL, seconds) together with their death, mail when it is written; nothing else ever does. */
#ifndef TIDEMILL_STATE_DYNAMODB_LEASE_ROWS_H
#define TIDEMILL_STATE_DYNAMODB_LEASE_ROWS_H

#include "aws/client.h"
#include "base/document.h"
#include "lease/table.h"

/* `client` must stay; `table` is its name. */
struct lease_table *lease_rows_new(struct aws_client *client, const char *table, const char *group);
/* The partition of a stream's bucket, in a group as it stands in keys (item.h); to be freed. */
char *lease_rows_partition(const char *group, const char *stream, int bucket);

/* What a shard's row says of a handler, as an attribute of `map`. */
void lease_rows_add_part(cJSON *map, const char *name, const char *text, bool end);

/* A host's row; it points into the item. */
struct lease_host lease_rows_host(const cJSON *item);

void lease_rows_free(struct lease_table *rows); /* no call may be under way */

#endif
