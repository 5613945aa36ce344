/* slow_pattern.h: event patterns once more, in the most obvious way: an event is a list of leaves with their
 * paths and the array elements that they stand in, and all choices of leaves are tried. For property tests of
 * filter/. */
#ifndef TIDEMILL_TESTS_SLOW_PATTERN_H
#define TIDEMILL_TESTS_SLOW_PATTERN_H

#include <stdbool.h>

#include "base/json.h"

/* `pattern` must be one that is compiled. {"exists": false} below an array is not looked at as the bus does.
 */
bool slow_pattern_matches(const struct json *pattern, const struct json *event);

#endif
