/* record_json.h: a record in the shape that Lambda hands to its functions. */
#ifndef TIDEMILL_RECORD_RECORD_JSON_H
#define TIDEMILL_RECORD_RECORD_JSON_H

#include <stdbool.h>

#include "record/page.h"

/* GetRecords' record with eventSourceARN added, and userIdentity's members spelled as Lambda does. */
void record_write_json(struct buf *out, const struct record *record, const char *stream_arn);

/* Removed by the service because its time to live had passed. */
bool record_expired(const struct record *record);

/* "NEW_AND_OLD_IMAGES" ...; NULL when the record does not say. */
const struct json *record_view(const struct record *record);

#endif
