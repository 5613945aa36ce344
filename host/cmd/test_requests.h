/* test_requests.h: a test's request to an intake: verified as its listener would, and answered by a host's
 * handler. Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_REQUESTS_H
#define TIDEMILL_CMD_TEST_REQUESTS_H

#include "core/host.h"
#include "script/testing.h"

struct test_request;

/* The texts are copied. `config` must stay. */
struct test_request *test_request_new(const struct config *config, const struct testing_request *asked,
                                      struct ticket *ticket);

/* The answer resumes the ticket, and the request is gone by then. `now_ms`: wall clock. */
void test_request_send(struct test_request *request, struct host *host, int64_t now_ms);

#endif
