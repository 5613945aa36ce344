/* credentials.h: the keys to sign with, kept fresh.
 *
 * They are fetched when first asked for, fetched again in the background some minutes before they expire,
 * and waited for only when the old ones no longer hold. All who wait share one fetch. */
#ifndef TIDEMILL_AWS_CREDENTIALS_H
#define TIDEMILL_AWS_CREDENTIALS_H

#include <stdint.h>

#include "aws/sigv4.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "net/reactor.h"
#include "net/transport.h"

struct credentials;

struct credentials_options {
    bool quiet;               /* it is no news where they come from: stand-ins are asked */
    const char *profile;      /* NULL: AWS_PROFILE or "default" */
    const char *region;       /* of STS */
    const char *endpoint_sts; /* NULL: the region's */
    const char *role_arn;     /* assumed with what the profile gives; NULL: none */
    const char *external_id;  /* likewise; NULL: none */
    struct log *log;
};

struct credentials *credentials_new(struct reactor *reactor, struct transport *transport,
                                    const struct credentials_options *options);
void credentials_free(struct credentials *credentials);

/* `identity` is valid during the call; NULL and `err` when there are none. */
typedef void credentials_fn(void *user, const struct sigv4_identity *identity, const struct err *err);

/* Somebody waiting; lives inside its owner. */
struct credentials_wait {
    struct list link;
    credentials_fn *fn;
    void *user;
};

/* Calls `fn` at once when the credentials hold, else later. */
void credentials_get(struct credentials *credentials, struct credentials_wait *wait, credentials_fn *fn,
                     void *user);
void credentials_cancel(struct credentials_wait *wait);

/* How far the services' clock is ahead of ours: a call that assumes a role is signed with it. */
void credentials_set_skew(struct credentials *credentials, int64_t skew_ms);

/* Which keys credentials_get last gave: a number that grows whenever they are fetched. */
uint64_t credentials_number(const struct credentials *credentials);

/* The service refused those of that number as expired or unknown. True: the next use has others, which are
 * fetched if need be. False: they have only just been fetched, and were refused like those before; the next
 * fetch comes after a pause that grows. */
bool credentials_refused(struct credentials *credentials, uint64_t number);
void credentials_accepted(struct credentials *credentials, uint64_t number);

#endif
