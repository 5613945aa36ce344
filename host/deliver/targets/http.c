/* http.c: a POST for each message.
 *
 * With `secret` the request carries "Tidemill-Signature: t=SECONDS,v1=HEX": HMAC-SHA256, with the secret, of
 * "SECONDS.BODY". "Idempotency-Key" is the same whenever the same message is sent again. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "deliver/target.h"
#include "deliver/targets/http_answer.h"
#include "record/item_key.h"

#define TIMEOUT_MS 30000
#define BODY_BYTES_MAX (64u << 20)
#define ANSWER_BYTES_MAX 4096 /* of an answer, which nobody reads */
#define CONTENT_TYPE "application/json"

struct http_settings {
    char *url;
    char *secret;
    char *authorization;
    char *content_type;
};

static const struct setting settings[] = {
    {"url", SETTING_TEXT, offsetof(struct http_settings, url), 0, 0, NULL},
    {"secret", SETTING_TEXT, offsetof(struct http_settings, secret), 0, 0, NULL},
    {"authorization", SETTING_TEXT, offsetof(struct http_settings, authorization), 0, 0, NULL},
    {"content_type", SETTING_TEXT, offsetof(struct http_settings, content_type), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct http_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    (void)err;
    return message->payload_size;
}

static char *signature(const char *secret, int64_t wall_ms, const struct message *message)
{
    struct buf text = BUF_INIT;
    unsigned char digest[32];
    char hex[65];
    buf_printf(&text, "%lld.", (long long)(wall_ms / 1000));
    buf_add(&text, message->payload, message->payload_size);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text.data, text.size, digest,
         NULL);
    *hex_write(hex, digest, sizeof digest) = '\0';
    buf_fini(&text);
    return mem_printf("Tidemill-Signature: t=%lld,v1=%s", (long long)(wall_ms / 1000), hex);
}

static void send(struct request *request)
{
    const struct target *target = request->target;
    const struct http_settings *config = settings_of(target);
    const struct message *message = &request->entries[0]->message;
    int64_t wall_ms = clock_wall_ms(reactor_clock(target->outbox->reactor));
    char *key = item_key_safe(message->id);
    char *type = mem_printf("Content-Type: %s", config->content_type ? config->content_type : CONTENT_TYPE);
    char *idempotency = mem_printf("Idempotency-Key: %s", key);
    char *signed_ = config->secret ? signature(config->secret, wall_ms, message) : NULL;
    char *authorization =
        config->authorization ? mem_printf("Authorization: %s", config->authorization) : NULL;
    char *epoch = message->epoch ? mem_printf("Tidemill-Epoch: %lld", (long long)message->epoch) : NULL;
    const char *headers[9] = {type, idempotency};
    char trace[TRACE_PARENT_SIZE];
    size_t count = 2;
    if (request->span.sampled) {
        trace_write_parent(&request->span.place, trace);
        headers[count++] = trace;
    }
    if (epoch)
        headers[count++] = epoch;
    if (signed_)
        headers[count++] = signed_;
    if (authorization)
        headers[count++] = authorization;
    struct transport_request http = {
        .method = "POST",
        .url = config->url,
        .headers = headers,
        .body = message->payload,
        .body_size = message->payload_size,
        .timeout_ms = request_timeout_ms(request),
        .response_max = ANSWER_BYTES_MAX,
        .http2 = true,
        .idempotent = true,     /* it carries an Idempotency-Key */
        .status_decides = true, /* nothing is read of the answer */
    };
    request->http = transport_send(target->outbox->transport, &http, http_answered, request);
    mem_free_secret(authorization);
    free(signed_);
    free(epoch);
    free(idempotency);
    free(type);
    free(key);
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const char *url = ((const struct http_settings *)target->own)->url;
    (void)ini;
    if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        complain(user, "url: an http:// or https:// URL expected");
}

static const char *const needed[] = {"url", NULL};

const struct target_type target_http = {
    .name = "http",
    .settings = settings,
    .settings_size = sizeof(struct http_settings),
    .needed = needed,
    .check = check,
    .spills = true,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = BODY_BYTES_MAX,
    .bytes_most = BODY_BYTES_MAX,
    .linger_ms = 0,
    .in_flight = 16,
    .timeout_ms = TIMEOUT_MS,
    .measure = measure,
    .send = send,
};
