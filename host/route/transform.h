/* transform.h: what a route makes of a record: all of it, an image, a part, or a template filled in.
 *
 * Paths and templates are those of EventBridge's input transformer:
 * https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html */
#ifndef TIDEMILL_ROUTE_TRANSFORM_H
#define TIDEMILL_ROUTE_TRANSFORM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/config.h"
#include "record/page.h"

struct transform;

/* NULL and `err`, which names the key, when something in the section is wrong. */
struct transform *transform_new(const struct config_route *route, struct err *err);
void transform_free(struct transform *transform);

/* Does it make the whole record? */
bool transform_none(const struct transform *transform);

/* Has the record what is asked for? A removed item has no new image. */
bool transform_applies(const struct transform *transform, const struct record *record);

/* What the section says of its messages, filled in: a path ("$.dynamodb.NewImage.type.S"), or a text with
 * variables of input_paths in it ("Order <state>"). Each to be freed; NULL where it says nothing, or what it
 * asks for is not there. */
struct transform_texts {
    char *detail_type, *source, *subject;
};
void transform_write_texts(const struct transform *transform, const struct record *record,
                           const char *stream_arn, struct transform_texts *texts);

/* JSON text into `out`. With unmarshalled, paths lead through plain JSON. Where a path leads to nothing
 * stands null, or nothing inside of quotes. */
void transform_apply(const struct transform *transform, const struct record *record, const char *stream_arn,
                     struct buf *out);

#endif
