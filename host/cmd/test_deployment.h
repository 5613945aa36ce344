/* test_deployment.h: what a test's world is made of: its configuration, turned to the embedded DynamoDB, and
 * a directory with a state and links to the scripts that run there. Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_DEPLOYMENT_H
#define TIDEMILL_CMD_TEST_DEPLOYMENT_H

#include "conf/config.h"

#define TEST_ENDPOINT "http://dynamodb.test"
#define TEST_STATE_TABLE "tidemill-test-state" /* where hosts share a state */

struct test_deployment {
    const char *path; /* of the test's file */
    char *directory;
    char
        *deployed; /* the scripts directory of a deployment that is there; NULL: the test has its INI in it */
    struct config *config;
};

/* `deployment` is an INI's text, or its path beside the test. False and `err`; to be freed in either case. */
bool test_deployment_make(struct test_deployment *deployment, const char *path, const char *ini,
                          struct err *err);
void test_deployment_fini(struct test_deployment *deployment);

/* Before a host has it: the state is one that many hosts share. */
void test_deployment_share_state(struct test_deployment *deployment);

/* Scripts are links in the world's own directory; people know them beside their tests. To be freed. */
char *test_deployment_beside(const struct test_deployment *deployment, const char *text);

#endif
