/* unmarshal.h: DynamoDB's values as plain JSON. */
#ifndef TIDEMILL_RECORD_UNMARSHAL_H
#define TIDEMILL_RECORD_UNMARSHAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/json.h"

/* A value ({"N": "1"}) as plain JSON: numbers keep all their digits, sets become arrays, binaries stay
 * base64. `item`: it is the attributes of an item. */
void record_unmarshal(struct buf *out, const struct json *value, bool item);

#endif
