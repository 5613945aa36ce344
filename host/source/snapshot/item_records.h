/* item_records.h: items of a table as records of a page, marked as of a snapshot: an INSERT each, without an
 * old image, or what became of an item between two. What a segment has read so far is their number, which
 * they share. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_ITEM_RECORDS_H
#define TIDEMILL_SOURCE_SNAPSHOT_ITEM_RECORDS_H

#include <cjson/cJSON.h>

#include "aws/client.h"
#include "base/json.h"
#include "record/page.h"
#include "source/source.h"

/* The attributes of a table's key; the second may be NULL. */
struct key_names {
    char *names[2];
    int64_t created_ms; /* the table */
    int64_t asked_ms;   /* monotonic; the asker's */
};
void key_names_free(struct key_names *names); /* itself, too; NULL is allowed */

/* Of DescribeTable's Table; 0: it does not say. */
int64_t created_ms_of(const cJSON *table);

/* DescribeTable: `done` is given the names, which are its own then, or `err`. */
typedef void key_names_fn(void *user, struct key_names *names, const struct err *err);
struct key_names_call;
struct key_names_call *key_names_ask(struct aws_client *client, const char *table, key_names_fn *done,
                                     void *user);
void key_names_cancel(struct key_names_call *call); /* NULL is allowed */

/* What all records of a snapshot have in common. */
struct item_frame {
    const struct key_names *keys;
    const char *region;
    const char *source_arn; /* eventSourceARN; NULL: the record has none */
    int64_t taken_ms;
};

/* An item as it was and as it is; NULL: it was, or is, not there. Not both, unless the keys tell which item.
 */
struct item_change {
    const struct json *keys; /* NULL: out of the image */
    const struct json *old_image, *new_image;
    int64_t time_ms; /* of the change */
};

/* Behind `out`, with a comma where something stands there. False and `err`: the item lacks a part of the key.
 */
bool item_record_add(struct buf *out, const struct item_frame *frame, const struct json *item,
                     struct err *err);
bool item_change_add(struct buf *out, const struct item_frame *frame, const struct item_change *change,
                     struct err *err);

/* Fills the number in that was left open in each of the records. */
void item_records_number(struct buf *records, int64_t number);

/* The records, with their number, as a page. NULL and `err`. */
struct page *item_records_page(struct buf *records, int64_t number, struct err *err);

/* What an error of a call means for who reads items. */
struct source_error item_source_error(const struct err *err);

#endif
