/* verify.h: is a request from whom it says? The senders' own ways of signing, with any of several secrets,
 * compared in constant time.
 *
 *   github    X-Hub-Signature-256: sha256=HEX, of the body. Id: X-GitHub-Delivery.
 *             https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 *   stripe    Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX], of SECONDS.BODY. Id: the event's "id".
 *             https://docs.stripe.com/webhooks#verify-manually
 *   slack     X-Slack-Signature: v0=HEX, of v0:X-Slack-Request-Timestamp:BODY. Id: the event's "event_id".
 *             https://docs.slack.dev/authentication/verifying-requests-from-slack
 *   standard  webhook-signature: v1,BASE64[ v1,BASE64], of webhook-id.webhook-timestamp.BODY, by a secret in
 * base64 behind whsec_. Id: webhook-id. https://github.com/standard-webhooks/standard-webhooks tidemill
 * Tidemill-Signature: t=SECONDS,v1=HEX, of SECONDS.BODY, as our HTTP targets sign. Id: Idempotency-Key. hmac
 * HMAC-SHA256 of the body in a header that the INI names, in hex or base64, behind "sha256=" or not. bearer
 * Authorization: Bearer SECRET.
 *
 * Where a request has no id, that is the SHA-256 of its body. */
#ifndef TIDEMILL_INTAKE_VERIFY_H
#define TIDEMILL_INTAKE_VERIFY_H

#include "conf/config.h"

struct verify_request {
    /* A header's value, NULL: it has none. */
    const char *(*header)(void *user, const char *name);
    void *user;
    const char *body;
    size_t size;
};

/* False and `err`, a sentence for the log that tells no secret. `now_ms` is the wall clock. */
bool verify_request(const struct config_intake *intake, const struct verify_request *request, int64_t now_ms,
                    struct err *err);

/* To be freed. */
char *verify_id(const struct config_intake *intake, const struct verify_request *request);

/* For tests: the headers that make it good, as whole lines "Name: value\n"; `id` is the delivery's. */
void verify_sign(const struct config_intake *intake, const char *id, const char *body, size_t size,
                 int64_t now_ms, struct buf *out);

#endif
