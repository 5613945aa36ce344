/* state_table.h: the table that a group keeps its state in: there, whole, and safe to share. */
#ifndef TIDEMILL_STATE_DYNAMODB_STATE_TABLE_H
#define TIDEMILL_STATE_DYNAMODB_STATE_TABLE_H

#include "aws/client.h"

struct state_table_options {
    struct aws_client *client;
    struct reactor *reactor; /* of the client; it is turned meanwhile */
    struct log *log;
    const char *name;
    bool create;     /* hosts make it where it is missing; on demand */
    bool must_exist; /* but not this process, which is a command */
};

/* Makes the table where it is missing, waits for it, lets rows with `expires` pass away, and looks whether
 * hosts may agree on anything in it: its keys are pk and sk; it is no global table, whose regions do not
 * serialise conditional writes; ScyllaDB Alternator keeps it with an isolation that does. False and `err`. */
bool state_table_prepare(const struct state_table_options *options, struct err *err);

#endif
