/* validate.h: a request against the service's model, before anybody asks what it means. */
#ifndef TIDEMILL_LOCAL_MODEL_VALIDATE_H
#define TIDEMILL_LOCAL_MODEL_VALIDATE_H

#include "base/arena.h"
#include "base/json.h"
#include "local/model/fault.h"
#include "local/model/shapes.h"

/* False and a fault: SerializationException where a member is of another type than its shape, else all that
 * the shapes forbid in one ValidationException (ten of it at most), in the service's words and order. Members
 * that the model does not know are left alone, as the service leaves them; those of structures that are null
 * are taken out of the tree. */
bool validate(struct arena *arena, const struct json *request, const struct shape *input,
              struct fault *fault);

#endif
