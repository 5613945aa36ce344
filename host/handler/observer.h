/* observer.h: somebody who watches what handlers do; called on the reactor's thread of the worker. */
#ifndef TIDEMILL_HANDLER_OBSERVER_H
#define TIDEMILL_HANDLER_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
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

/* A call that a handler made, and how it ended. */
struct observed_call {
    const char *handler, *version;
    const char *stream_arn;      /* NULL: for no record */
    const struct record *record; /* for which; of several the first; NULL: for none */
    const char *verb; /* "PutItem"; of another service "states:StartExecution"; "POST"; "POSTGRES" */
    const char *what; /* its body; the URL; the statements */
    size_t size;
    const char *region; /* another one than the INI's; or NULL */
    bool elsewhere;     /* at an endpoint of its own */
    const char *role;   /* another one's credentials that it is made with; NULL: the host's */
    int status;         /* of the answer; 0: there is none */
    const char *answer; /* its body */
    size_t answer_size;
    const char *error; /* why the call failed; NULL: it did not */
};

struct observer {
    void (*called)(void *user, const struct observed_call *call); /* NULL: not of interest */
    void (*attempted)(void *user, const struct observed *observed);
    /* A line of a script can run, or (`now`) does; NULL: not of interest, which costs nothing. */
    void (*ran)(void *user, const char *path, size_t line, bool now);
    bool tells; /* what fails is told by it, and need not stand in the log as well (but with level debug) */
    void *user;
};

#endif
