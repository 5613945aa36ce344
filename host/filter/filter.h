/* filter.h: event patterns, compiled once and matched on an event's JSON, which needs no tree for it.
 *
 * The language is EventBridge's, whole: exact values, prefix, suffix, equals-ignore-case (alone and inside
 * the two), anything-but (values, lists, prefix, suffix, equals-ignore-case, wildcard), numeric, exists,
 * cidr, wildcard, $or; a value that is an array matches when one of its elements does.
 * https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
 *
 * Two things differ, for stream records. A number in an attribute value ({"N": "42"}) is a string in JSON;
 * `numeric` and numbers match it as the decimal it is. And userIdentity's members may be named as Lambda's
 * event does (type) or as the API does (Type). Case is folded for ASCII letters only. */
#ifndef TIDEMILL_FILTER_FILTER_H
#define TIDEMILL_FILTER_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/problems.h"

struct filter;

/* NULL and `err`, beginning with the path to the wrong part, when it is no pattern. A key that is given twice
 * is refused. */
struct filter *filter_compile(const char *pattern_json, size_t size, struct err *err);
void filter_free(struct filter *filter);

bool filter_match(const struct filter *filter, const struct json *event);

/* Which part of it differs, and what stands there: "dynamodb.NewImage.stock.N is \"7\"". Of one that does not
 * match. */
void filter_explain(const struct filter *filter, const struct json *record, const char *stream_arn,
                    struct buf *out);

/* The memory that it takes. */
size_t filter_bytes(const struct filter *filter);

/* For patterns and values of who is not trusted with time: no more comparisons than `steps`. `stream_arn` as
 * below, or NULL. */
enum filter_verdict { FILTER_DIFFERS, FILTER_MATCHES, FILTER_TOO_MUCH };
enum filter_verdict filter_match_within(const struct filter *filter, const struct json *event,
                                        const char *stream_arn, int64_t steps);

/* For a stream record, whose eventSourceARN is not part of its tree. */
bool filter_match_record(const struct filter *filter, const struct json *record, const char *stream_arn);

/* False: it matches no record of that eventName. Asks for next to nothing, as no record is looked at. */
bool filter_may_match(const struct filter *filter, const char *event_name);

/* Why the pattern can match no stream record, a line for each reason, each beginning with `label`. */
void filter_review(const struct filter *filter, const char *label, struct problems *problems);

#endif
