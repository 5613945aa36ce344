/* sigv4_verify.h: is a request that was received signed as it should be? By its Authorization header; answers
 * are the service's: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
 * and https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html */
#ifndef TIDEMILL_AWS_SIGV4_VERIFY_H
#define TIDEMILL_AWS_SIGV4_VERIFY_H

#include "aws/sigv4.h"

struct sigv4_received {
    const char *method;
    const char *path;                                          /* as it came, with its query */
    const char *(*header)(const void *user, const char *name); /* NULL: it has none of that name */
    const void *user;
    const char *body;
    size_t body_size;
    const char *service; /* that the scope must name */
    int64_t wall_ms;
};

struct sigv4_refusal {
    const char *code; /* "InvalidSignatureException" */
    char message[700];
};

/* By `identity`'s keys; its session token, if it has one, must be there, too. False and `refusal`. */
bool sigv4_verify(const struct sigv4_identity *identity, const struct sigv4_received *request,
                  struct sigv4_refusal *refusal);

#endif
