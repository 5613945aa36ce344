/* sts.h: the two STS calls that give credentials: their form bodies and their XML answers.
 * https://docs.aws.amazon.com/STS/latest/APIReference/ */
#ifndef TIDEMILL_AWS_STS_H
#define TIDEMILL_AWS_STS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/profile.h"
#include "base/err.h"

/* Temporary keys. Owned texts. */
struct aws_keys {
    char *access_key;
    char *secret_key;
    char *session_token; /* NULL: long-lived keys */
    int64_t expires_ms;  /* wall clock; 0: never */
};

void aws_keys_fini(struct aws_keys *keys);

char *sts_assume_role_body(const struct credential_role *role);
char *sts_web_identity_body(const char *role_arn, const char *session_name, const char *token);

/* The keys out of an answer, or the error it states. */
bool sts_read(int status, const char *xml, struct aws_keys *keys, struct err *err);

#endif
