/* observer.h: somebody who watches what handlers do; called on the reactor's thread of the worker. */
#ifndef TIDEMILL_HANDLER_OBSERVER_H
#define TIDEMILL_HANDLER_OBSERVER_H

#include <stdint.h>

#include "record/page.h"

enum outcome { OUTCOME_HANDLED, OUTCOME_RETRIED, OUTCOME_DEAD, OUTCOME_FORWARDED, OUTCOME_DISCARDED };

struct observed {
    const char *handler, *stream_arn, *table;
    const struct record *record;
    int64_t attempt; /* from 1 */
    enum outcome outcome;
    const char *error; /* NULL of OUTCOME_HANDLED */
};

struct observer {
    /* A handler makes a call: "PutItem", or of another service "states:StartExecution", and its body; or
     * "POST", and the URL; or "POSTGRES", and its statements. NULL: not of interest. */
    void (*called)(void *user, const char *handler, const char *verb, const char *what, size_t size);
    void (*attempted)(void *user, const struct observed *observed);
    void *user;
};

#endif
