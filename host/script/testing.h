/* testing.h: a *_test.lua file: its tests, and what they may ask of the world they run in.
 *
 * A test runs as an invocation, in a state like a handler's, beside the host that it tests: its calls go to
 * the same services, and while it waits, time passes. */
#ifndef TIDEMILL_SCRIPT_TESTING_H
#define TIDEMILL_SCRIPT_TESTING_H

#include "script/script.h"

struct ticket;

/* All texts are the hook's to copy. */
struct testing_request {
    const char *intake, *id, *method, *path, *query, *lines, *body;
    size_t body_size;
    bool is_signed;
};

/* What tidemill.test asks for. Tickets are to be given to testing_resume, from the reactor. */
struct testing_hooks {
    void (*settle)(void *user, struct ticket *ticket);              /* wait until all handlers are done */
    void (*advance)(void *user, int64_t ms, struct ticket *ticket); /* let time pass */
    /* Archived events through the handler; `path` as seen from the test. */
    void (*replay)(void *user, const char *path, const char *handler, struct ticket *ticket);
    /* One event, a line of JSON as archives have it, through the handler. */
    void (*event)(void *user, const char *event, size_t size, const char *handler, struct ticket *ticket);
    /* The handler (NULL: each of them) goes on at `where`: as `tidemill seek` has it. */
    void (*seek)(void *user, const char *handler, const char *where, struct ticket *ticket);
    /* A request to the intake, by whoever signs as its sender does where `is_signed`; in `request` there are
     * no texts of headers but what the test has set ("Name: value\n" lines). testing_answered takes the
     * answer. */
    void (*request)(void *user, const struct testing_request *request, struct ticket *ticket);
    /* `host` (from 1; 0: each of them) dies and begins anew; with `after`, whichever makes its next call of
     * that operation, once the service has done it. */
    void (*crash)(void *user, size_t host, const char *after, struct ticket *ticket);
    void (*hosts)(void *user, size_t count,
                  struct ticket *ticket); /* so many begin anew, which share a state */
    /* The `index`th record that was given up, or false. */
    bool (*dead_letter)(void *user, size_t index, const char **handler, const char **error);
    /* The `index`th message that was emitted, or NULL. */
    const struct message *(*emitted)(void *user, size_t index, const char **target);
    /* Faults and splits of the embedded DynamoDB: its control operations. False and `err`. */
    bool (*control)(void *user, const char *operation, const char *body, size_t size, struct err *err);
    void *user;
};

/* As script_load, with options->testing set. */
size_t testing_count(const struct script *script);
const char *testing_name(struct script *script, size_t index); /* until the next call */

/* The INI that the file asks for, or NULL. */
const char *testing_deployment(struct script *script);

enum handler_result testing_run(struct script *script, size_t index, handler_done_fn *done, void *user,
                                struct invocation **invocation, struct handler_outcome *outcome);

/* `problem`: what was waited for did not come, or why it cannot; NULL: it did. */
void testing_resume(struct ticket *ticket, const char *problem);

/* Of `request`: its answer, which is taken; NULL: only its status, and why. */
void testing_answered(struct ticket *ticket, int status, struct handler_answer *answer, const char *why);

/* Ask the test what an HTTP service answers. Status 0: the connection breaks; false: no test has said how. */
bool testing_answer(struct script *script, const struct transport_request *request, int *status,
                    struct buf *body, struct err *err);

#endif
