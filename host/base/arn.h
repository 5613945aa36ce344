/* arn.h: what an ARN names. */
#ifndef TIDEMILL_BASE_ARN_H
#define TIDEMILL_BASE_ARN_H

#include <stdint.h>

/* "Orders" of arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/..., and of ScyllaDB Alternator's
 * .../table/alternator_Orders@Orders_scylla_cdc_log/stream/...; `fallback` (NULL: the ARN) where it names
 * none. Owned by the caller. */
char *table_of_arn(const char *arn, const char *fallback);

/* A snapshot of a table is named by its stream's ARN and what stands behind this mark
 * (source/snapshot/snapshot_name.h). NULL: it is no snapshot's. */
#define ARN_SNAPSHOT "/snapshot/"
const char *snapshot_of_arn(const char *arn);

/* A Kinesis stream is named by its ARN and, behind this mark, when it was made: another may get its name. */
#define ARN_CREATED "/created/"
const char *created_of_arn(const char *arn); /* NULL: it is none's */

/* When it was taken, in ms since 1970; 0: it is none. */
int64_t snapshot_taken_ms(const char *arn);

/* The stream's ARN of either; owned by the caller. */
char *stream_of_arn(const char *arn);

/* As the service has it, without what we set behind it; owned by the caller. */
char *service_arn(const char *arn);

/* When the stream was enabled, which its label says: DynamoDB's end in "/stream/2026-01-31T12:00:00.000"; ms
 * since 1970. 0: it says none (ScyllaDB Alternator's, Kinesis'). */
int64_t stream_enabled_ms(const char *arn);

/* "eu-west-1" of it, owned by the caller; NULL where it names none. */
char *region_of_arn(const char *arn);

#endif
