/* filter.h: event patterns, compiled once and matched on a record's tree without allocating.
 *
 * A pattern is an object of the event's shape; its leaves are arrays of values, any of which may match:
 * {"eventName": ["INSERT", "MODIFY"]}. This version knows exact values: strings, numbers (compared as they
 * are written), true, false and null. */
#ifndef TIDEMILL_FILTER_FILTER_H
#define TIDEMILL_FILTER_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"

struct filter;

/* NULL and `err`, with the path to the wrong part, when it is no pattern. */
struct filter *filter_compile(const char *pattern_json, size_t size, struct err *err);
void filter_free(struct filter *filter);

bool filter_match(const struct filter *filter, const struct json *event);

#endif
