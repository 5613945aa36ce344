/* sigv4.h: AWS Signature Version 4, header form.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
#ifndef TIDEMILL_AWS_SIGV4_H
#define TIDEMILL_AWS_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct sigv4_identity {
    const char *access_key;
    const char *secret_key;
    const char *session_token; /* or NULL */
};

struct sigv4_request {
    const char *method;
    const char *url;            /* absolute; path and query percent-encoded as they go over the wire */
    const char *const *headers; /* "Name: value", ends with NULL; all are signed but User-Agent and Expect */
    const char *body;
    size_t body_size;
    const char *region;
    const char *service;
    bool plain_path; /* S3: the path is signed as it stands */
    bool signs_all;  /* also what may be rewritten on the way: for who looks at another one's signature */
    int64_t wall_ms; /* the service's idea of now */
};

/* A signing key lasts a day: kept between calls, it saves four HMACs of each. Zero it to begin with, and with
 * explicit_bzero to end with: what the key was derived from stands in it. */
struct sigv4_cache {
    unsigned char key[32];
    char origin[256];
    size_t origin_size;
};

/* What the signature adds, as header lines to send along. */
struct sigv4_headers {
    char date[40];    /* "X-Amz-Date: ..." */
    struct buf token; /* "X-Amz-Security-Token: ...", size 0 without a session token */
    struct buf authorization;
};

void sigv4_sign(const struct sigv4_identity *identity, const struct sigv4_request *request,
                struct sigv4_cache *cache, struct sigv4_headers *headers);
void sigv4_headers_fini(struct sigv4_headers *headers);

/* Lower-case hex of SHA-256; `text` holds 65 bytes. */
void sha256_hex(const void *bytes, size_t size, char *text);

#endif
