/* records.h: what Kinesis has of a table's changes, as records of a page.
 *
 * DynamoDB may write a change into the stream several times, and changes of an item in another order than
 * they were made: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html. A repetition is
 * left out where its first one is still known; within a page each item's changes have their turns
 * (page->turns) in the order of their times, and one that comes when a later one was given before is marked
 * (`late`). What is no change of a table is marked, too, with why (`unreadable`): no handler gets it. */
#ifndef TIDEMILL_SOURCE_KINESIS_RECORDS_H
#define TIDEMILL_SOURCE_KINESIS_RECORDS_H

#include <stdint.h>

#include "base/json.h"
#include "record/page.h"

/* What is remembered of a shard. */
struct kinesis_memory;
struct kinesis_memory *kinesis_memory_new(void);
void kinesis_memory_free(struct kinesis_memory *memory);

/* `root`: GetRecords' answer. What has the number `until` or a smaller one is only remembered; NULL: nothing
 * is. NULL and `err`: it is no such answer, and nothing of it is remembered. */
struct page *kinesis_page(const struct json *root, struct kinesis_memory *memory, const char *until,
                          struct err *err);

#endif
