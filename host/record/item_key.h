/* item_key.h: an item's primary key as one text: what message groups and partition keys are made of. */
#ifndef TIDEMILL_RECORD_ITEM_KEY_H
#define TIDEMILL_RECORD_ITEM_KEY_H

#include "base/json.h"

/* SQS allows so many characters for a message group, and only printable ones of ASCII. */
#define ITEM_KEY_BYTES_MAX 128

/* The values of the key's attributes, in the order of their names, with "|" between two; a hash where that is
 * too long or has other characters. Equal keys give equal texts. To be freed. */
char *item_key_text(const struct json *keys);

/* An id of the item's in a store of documents: as tidemill.dynamodb's key_text has it, "CUSTOMER-1#ORDER-1";
 * a hash where that is longer than `size_max`. Different keys of a table give different texts. To be freed.
 */
char *item_key_document(const struct json *keys, size_t size_max);

/* The same bounds for any text. To be freed. */
char *item_key_safe(const char *text);

#endif
