/* body.h: is the JSON of a request such as the service takes? */
#ifndef TIDEMILL_LOCAL_MODEL_BODY_H
#define TIDEMILL_LOCAL_MODEL_BODY_H

#include <stdbool.h>

#include "base/json.h"
#include "local/model/fault.h"

/* `root` was made of the text. False and the fault for bytes that are not UTF-8, half characters, and members
 * that an object has twice. */
bool body_check(struct arena *arena, const struct json *root, const char *text, size_t size,
                struct fault *fault);

#endif
