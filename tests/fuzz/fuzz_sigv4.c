/* fuzz_sigv4.c: what claims to be signed (Signature Version 4), of any bytes: nobody is let in by chance; who
 * signs is, and not with a byte more. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/sigv4_verify.h"
#include "base/check.h"
#include "base/mem.h"

#define NOW_MS 1767225600000
#define HEADER(line, name) ((line) + strlen(name ": "))

static const struct sigv4_identity identity = {"key", "secret", NULL};

struct headers {
    const char *authorization, *date, *target;
};

static const char *header(const void *user, const char *name)
{
    const struct headers *headers = user;
    return strcasecmp(name, "Authorization") == 0  ? headers->authorization
           : strcasecmp(name, "X-Amz-Date") == 0   ? headers->date
           : strcasecmp(name, "X-Amz-Target") == 0 ? headers->target
           : strcasecmp(name, "Host") == 0         ? "localhost:8000"
                                                   : NULL;
}

static bool verify(const struct headers *headers, const char *body)
{
    struct sigv4_refusal refusal = {0};
    bool right = sigv4_verify(&identity,
                              &(struct sigv4_received){.method = "POST",
                                                       .path = "/",
                                                       .header = header,
                                                       .user = headers,
                                                       .body = body,
                                                       .body_size = strlen(body),
                                                       .service = "dynamodb",
                                                       .wall_ms = NOW_MS},
                              &refusal);
    CHECK(right || (refusal.code && *refusal.message));
    return right;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = mem_copy((const char *)bytes, size);
    char *claim = mem_printf("AWS4-HMAC-SHA256 %s", text), *longer = mem_printf("%sx", text);
    CHECK(!verify(&(struct headers){text, "20260101T000000Z", "t"}, "{}"));
    CHECK(!verify(&(struct headers){claim, "20260101T000000Z", "t"}, "{}"));
    CHECK(!verify(&(struct headers){claim, text, "t"}, "{}"));
    struct sigv4_cache cache = {0};
    struct sigv4_headers signed_as = {0};
    const char *const lines[] = {"X-Amz-Target: t", NULL};
    sigv4_sign(&identity,
               &(struct sigv4_request){.method = "POST",
                                       .url = "http://localhost:8000/",
                                       .headers = lines,
                                       .body = text,
                                       .body_size = strlen(text),
                                       .region = "r",
                                       .service = "dynamodb",
                                       .wall_ms = NOW_MS},
               &cache, &signed_as);
    const struct headers sealed = {HEADER(signed_as.authorization.data, "Authorization"),
                                   HEADER(signed_as.date, "X-Amz-Date"), "t"};
    CHECK(verify(&sealed, text));
    CHECK(!verify(&sealed, longer));
    sigv4_headers_fini(&signed_as);
    free(longer);
    free(claim);
    free(text);
    return 0;
}
