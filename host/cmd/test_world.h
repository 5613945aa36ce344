/* test_world.h: one test in a world of its own: an embedded DynamoDB, a host with the handlers, virtual time.
 * Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_WORLD_H
#define TIDEMILL_CMD_TEST_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/test_cover.h"
#include "cmd/seen.h"

struct test_outcome {
    bool passed;
    char *text; /* why not, with the test's line; owned */
    char *log;  /* what the host said meanwhile; owned */
    double real_ms;
};

void test_outcome_fini(struct test_outcome *outcome);

struct test_options {
    const char *path;         /* of the file */
    const char *deployment;   /* its INI, or the INI's path */
    size_t index;             /* of the test in it */
    struct seen *seen;        /* what handlers call is noted there */
    struct test_cover *cover; /* and which of their lines run; or NULL */
    uint64_t seed; /* services answer after times that it draws, so that records meet in other orders; 0: at
                      once */
};

void test_world_run(const struct test_options *options, struct test_outcome *outcome);

#endif
