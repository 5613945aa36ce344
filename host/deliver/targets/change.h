/* change.h: a record as the stream has it, for targets that keep items elsewhere as they are here. */
#ifndef TIDEMILL_DELIVER_TARGETS_CHANGE_H
#define TIDEMILL_DELIVER_TARGETS_CHANGE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/json.h"
#include "conf/config.h"
#include "deliver/target.h"

/* What the last record has left behind is known by its sequence number, as a text whose order is theirs: one
 * has up to 40 digits, more than any number that databases have.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html */
#define CHANGE_VERSION_DIGITS 40
#define CHANGE_VERSION_NAME "tidemill_sequence"

struct change {
    const struct json *keys, *image; /* image NULL: it was removed */
    char version[CHANGE_VERSION_DIGITS + 1];
};

/* False and `err`. The change is of the arena, and of the message's payload. */
bool change_read(struct arena *arena, const struct message *message, struct change *change, struct err *err);

/* The sequence number with zeros before it; false: it is none. */
bool change_version(const char *sequence, char version[CHANGE_VERSION_DIGITS + 1]);

/* Of a route to a target of this type: it takes one stream's whole records. */
bool change_check_route(const char *type, const struct config_route *route, struct err *err);

#endif
