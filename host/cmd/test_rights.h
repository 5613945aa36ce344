/* test_rights.h: what handlers asked of DynamoDB and other services while they were tested: the rights that
 * they need. Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_RIGHTS_H
#define TIDEMILL_CMD_TEST_RIGHTS_H

#include <stddef.h>

struct test_rights {
    struct test_right *list;
    size_t count, capacity;
};

/* As an observer is told: "PutItem" and its body, or "states:StartExecution". Others are no calls to AWS. */
void test_rights_note(struct test_rights *rights, const char *handler, const char *verb, const char *body,
                      size_t size);

/* As handlers say them: tables = { ... }, calls = { ... }. */
void test_rights_print(struct test_rights *rights);
void test_rights_fini(struct test_rights *rights);

#endif
