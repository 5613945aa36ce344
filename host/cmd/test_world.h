/* test_world.h: one test in a world of its own: an embedded DynamoDB, a host with the handlers, virtual time.
 * Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_WORLD_H
#define TIDEMILL_CMD_TEST_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd/test_rights.h"

struct test_outcome {
    bool passed;
    char *text; /* why not, with the test's line; owned */
    char *log;  /* what the host said meanwhile; owned */
    double real_ms;
};

void test_outcome_fini(struct test_outcome *outcome);

/* Run test `index` of the file. `deployment` is its INI or the INI's path. `rights`: what handlers call is
 * noted there; NULL: nowhere. */
void test_world_run(const char *path, const char *deployment, size_t index, struct test_rights *rights,
                    struct test_outcome *outcome);

#endif
