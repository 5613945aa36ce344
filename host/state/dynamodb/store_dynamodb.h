/* store_dynamodb.h: a group's state in a DynamoDB table that many hosts share.
 *
 * | row | pk | sk |
 * |---|---|---|
 * | dead letter | g/GROUP/l/X | its number, 16 digits |
 * | to be redriven, to be offered again | g/GROUP/lm, g/GROUP/lr | its number |
 * | gap | g/GROUP/e | a digest of what it says |
 * | marker | g/GROUP/k/XX | handler/digest of the key |
 * | request | g/GROUP/q | its number, 20 digits |
 * | follow | g/GROUP/f | a digest of stream and handler |
 * | what a host has told | g/GROUP/n | its session |
 * | pieces of that | g/GROUP/nb/NONCE | 0000 ... |
 * | pieces of a letter, of a marker | g/GROUP/b/DIGEST, g/GROUP/kb/NONCE | 0000 ... |
 * | pieces of progress | g/GROUP/p/DIGEST | NONCE0000 ... |
 *
 * and those of lease_rows.h. Only single-item writes, each with what it demands of its row, and reads that
 * are not old: ScyllaDB Alternator keeps it as DynamoDB does. */
#ifndef TIDEMILL_STATE_DYNAMODB_STORE_DYNAMODB_H
#define TIDEMILL_STATE_DYNAMODB_STORE_DYNAMODB_H

#include "aws/client.h"
#include "state/dynamodb/shard_writer.h"
#include "state/store_open.h"

struct store_dynamodb_options {
    struct aws_client *client;
    struct reactor *reactor; /* of the client */
    struct log *log;
    const char *table, *group;
    struct shard_writer *writer; /* NULL: nobody here has leases: where a handler is put is a seek (seeks.h),
                                    whoever has the shard */
};

/* The table must be there and ready (state_table.h). */
struct store *store_dynamodb_new(const struct store_dynamodb_options *options);

extern const struct store_kind store_dynamodb_kind;

#endif
