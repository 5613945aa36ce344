/* fault.h: an error in the service's own form: HTTP status, type, and the sentence that the service uses. */
#ifndef TIDEMILL_LOCAL_MODEL_FAULT_H
#define TIDEMILL_LOCAL_MODEL_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct fault {
    int status;       /* 0: none */
    const char *type; /* "ValidationException" */
    struct buf message;
    struct buf members; /* more JSON members, each with a comma before it */
};

void fault_fini(struct fault *fault);

/* All return false, so that `return fault_set(...)` reads well. The first fault of several stays. */
bool fault_set(struct fault *fault, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool fault_unknown_operation(struct fault *fault);
bool fault_invalid(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* {"__type": ..., "message": ...} */
void fault_write(const struct fault *fault, struct buf *out);

#endif
