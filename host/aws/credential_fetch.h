/* credential_fetch.h: carry out a credential plan: its first source, then its roles one after the other. */
#ifndef TIDEMILL_AWS_CREDENTIAL_FETCH_H
#define TIDEMILL_AWS_CREDENTIAL_FETCH_H

#include "aws/profile.h"
#include "aws/sts.h"
#include "net/reactor.h"
#include "net/transport.h"

struct credential_fetch;

/* The receiver owns `keys`; NULL and `err` on failure. */
typedef void credential_fetch_fn(void *user, struct aws_keys *keys, const struct err *err);

/* Takes the plan. The texts must stay until the completion, after which the fetch is gone. */
struct credential_fetch *credential_fetch_start(struct reactor *reactor, struct transport *transport,
                                                struct credential_plan *plan, const char *region,
                                                const char *endpoint_sts, int64_t skew_ms,
                                                credential_fetch_fn *done, void *user);
void credential_fetch_cancel(struct credential_fetch *fetch);

#endif
