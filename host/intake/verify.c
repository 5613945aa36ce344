/* verify.c: see verify.h. */
#include "intake/verify.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/mem.h"

#define DIGEST_SIZE 32
#define SECRET_BYTES_MAX 4096
#define ID_BYTES_MAX 512
#define SIGNATURES_MAX 20 /* in a header: a sender has a few while its secret rotates */
#define STANDARD_PREFIX "whsec_"

typedef unsigned char digest_t[DIGEST_SIZE];

static const char *header(const struct verify_request *request, const char *name)
{
    return request->header(request->user, name);
}

/* ---- secrets ---- */

/* The next of those between blanks, from *at on; false: there is none. */
static bool next_secret(const char **at, const char **secret, size_t *size)
{
    const char *begin = *at ? *at + strspn(*at, " \t") : "";
    *secret = begin;
    *size = strcspn(begin, " \t");
    *at = begin + *size;
    return *size > 0;
}

/* The key that a secret stands for: itself, or of Standard Webhooks what its base64 says. */
static size_t key_of(const struct config_intake *intake, const char *secret, size_t size,
                     unsigned char key[SECRET_BYTES_MAX])
{
    size_t prefix = strlen(STANDARD_PREFIX), decoded;
    if (intake->verify == VERIFY_STANDARD && size > prefix && memcmp(secret, STANDARD_PREFIX, prefix) == 0 &&
        BASE64_DECODED_MAX(size - prefix) <= SECRET_BYTES_MAX &&
        base64_decode(secret + prefix, size - prefix, key, &decoded))
        return decoded;
    size = size < SECRET_BYTES_MAX ? size : SECRET_BYTES_MAX;
    memcpy(key, secret, size);
    return size;
}

static void sign(const struct config_intake *intake, const char *secret, size_t secret_size,
                 const char *before, const char *body, size_t size, digest_t digest)
{
    unsigned char key[SECRET_BYTES_MAX];
    unsigned length = DIGEST_SIZE;
    size_t key_size = key_of(intake, secret, secret_size, key);
    struct buf text = BUF_INIT;
    buf_add_text(&text, before);
    buf_add(&text, body, size);
    HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)(text.data ? text.data : ""), text.size,
         digest, &length);
    buf_fini(&text);
    explicit_bzero(key, sizeof key);
}

/* ---- what was sent ---- */

static bool read_hex(const char *text, size_t size, digest_t digest)
{
    if (size != 2 * DIGEST_SIZE)
        return false;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool read_base64(const char *text, size_t size, digest_t digest)
{
    unsigned char bytes[BASE64_DECODED_MAX(64)];
    size_t decoded;
    if (size > 64 || !base64_decode(text, size, bytes, &decoded) || decoded != DIGEST_SIZE)
        return false;
    memcpy(digest, bytes, DIGEST_SIZE);
    return true;
}

/* "t=1,v1=HEX,v1=HEX" or "v1,BASE64 v1,BASE64", cut by `separators`. */
struct signatures {
    digest_t all[SIGNATURES_MAX];
    size_t count;
    char time[24]; /* "": none */
};

static void read_signatures(const char *text, const char *separators, const char *prefix, bool base64,
                            struct signatures *signatures)
{
    size_t prefix_size = strlen(prefix);
    *signatures = (struct signatures){.count = 0};
    while (text && *text && signatures->count < SIGNATURES_MAX) {
        text += strspn(text, separators);
        size_t size = strcspn(text, separators);
        if (size > 2 && size - 2 < sizeof signatures->time && strncmp(text, "t=", 2) == 0)
            snprintf(signatures->time, sizeof signatures->time, "%.*s", (int)size - 2, text + 2);
        if (size > prefix_size && strncmp(text, prefix, prefix_size) == 0)
            signatures->count += (base64 ? read_base64 : read_hex)(text + prefix_size, size - prefix_size,
                                                                   signatures->all[signatures->count]);
        text += size;
    }
}

/* Every pair is compared, whichever is the good one. */
static bool is_signed(const struct config_intake *intake, const struct signatures *signatures,
                      const char *before, const struct verify_request *request)
{
    const char *at = intake->secrets, *secret;
    size_t size;
    bool good = false;
    while (next_secret(&at, &secret, &size)) {
        digest_t digest;
        sign(intake, secret, size, before, request->body, request->size, digest);
        for (size_t i = 0; i < signatures->count; i++)
            good |= CRYPTO_memcmp(digest, signatures->all[i], DIGEST_SIZE) == 0;
    }
    return good;
}

/* ---- times ---- */

static bool is_recent(const struct config_intake *intake, const char *seconds, int64_t now_ms,
                      struct err *err)
{
    size_t digits = seconds ? strspn(seconds, "0123456789") : 0;
    if (!digits || seconds[digits] || digits > 12)
        return err_set(err, ERR_CONFIG, "it says no time of its signature");
    int64_t age_ms = now_ms - strtoll(seconds, NULL, 10) * 1000;
    if (age_ms > intake->tolerance_ms || age_ms < -intake->tolerance_ms)
        return err_set(err, ERR_CONFIG, "its signature is of %lld s %s now (tolerance)", llabs(age_ms) / 1000,
                       age_ms > 0 ? "before" : "after");
    return true;
}

/* ---- each sender's way ---- */

static bool need(const char *value, const char *name, struct err *err)
{
    return value || err_set(err, ERR_CONFIG, "it has no %s", name);
}

static bool check(const struct config_intake *intake, const struct signatures *signatures, const char *before,
                  const struct verify_request *request, const char *name, struct err *err)
{
    if (!signatures->count)
        return err_set(err, ERR_CONFIG, "there is no signature in its %s that can be read", name);
    return is_signed(intake, signatures, before, request) ||
           err_set(err, ERR_CONFIG, "its %s is of another secret, or another body", name);
}

/* t=SECONDS,v1=HEX, of SECONDS.BODY */
static bool verify_timed(const struct config_intake *intake, const struct verify_request *request,
                         const char *name, int64_t now_ms, struct err *err)
{
    struct signatures signatures;
    const char *value = header(request, name);
    if (!need(value, name, err))
        return false;
    read_signatures(value, ", ", "v1=", false, &signatures);
    char before[sizeof signatures.time + 1];
    snprintf(before, sizeof before, "%s.", signatures.time);
    return check(intake, &signatures, before, request, name, err) &&
           is_recent(intake, signatures.time, now_ms, err);
}

static bool verify_slack(const struct config_intake *intake, const struct verify_request *request,
                         int64_t now_ms, struct err *err)
{
    struct signatures signatures;
    const char *value = header(request, "X-Slack-Signature"),
               *time = header(request, "X-Slack-Request-Timestamp");
    if (!need(value, "X-Slack-Signature", err) || !need(time, "X-Slack-Request-Timestamp", err) ||
        !is_recent(intake, time, now_ms, err))
        return false;
    read_signatures(value, ", ", "v0=", false, &signatures);
    char *before = mem_printf("v0:%s:", time);
    bool good = check(intake, &signatures, before, request, "X-Slack-Signature", err);
    free(before);
    return good;
}

static bool verify_standard(const struct config_intake *intake, const struct verify_request *request,
                            int64_t now_ms, struct err *err)
{
    struct signatures signatures;
    const char *value = header(request, "webhook-signature"), *time = header(request, "webhook-timestamp"),
               *id = header(request, "webhook-id");
    if (!need(value, "webhook-signature", err) || !need(id, "webhook-id", err) ||
        !need(time, "webhook-timestamp", err) || !is_recent(intake, time, now_ms, err))
        return false;
    read_signatures(value, " ", "v1,", true, &signatures);
    char *before = mem_printf("%s.%s.", id, time);
    bool good = check(intake, &signatures, before, request, "webhook-signature", err);
    free(before);
    return good;
}

/* "sha256=HEX", HEX or BASE64. */
static bool verify_plain(const struct config_intake *intake, const struct verify_request *request,
                         const char *name, struct err *err)
{
    struct signatures signatures = {.count = 0};
    const char *value = header(request, name);
    if (!need(value, name, err))
        return false;
    value += strncmp(value, "sha256=", 7) == 0 ? 7 : 0;
    signatures.count =
        read_hex(value, strlen(value), signatures.all[0]) ||
        (intake->verify == VERIFY_HMAC && read_base64(value, strlen(value), signatures.all[0]));
    return check(intake, &signatures, "", request, name, err);
}

static bool verify_bearer(const struct config_intake *intake, const struct verify_request *request,
                          struct err *err)
{
    const char *value = header(request, "Authorization"), *at = intake->secrets, *secret;
    size_t size;
    bool good = false;
    if (!need(value, "Authorization", err))
        return false;
    if (strncasecmp(value, "Bearer ", 7) != 0)
        return err_set(err, ERR_CONFIG, "its Authorization is not of the form Bearer SECRET");
    value += 7;
    digest_t sent, ours;
    SHA256((const unsigned char *)value, strlen(value), sent);
    while (next_secret(&at, &secret, &size)) { /* digests have one length, whatever the secrets have */
        SHA256((const unsigned char *)secret, size, ours);
        good |= CRYPTO_memcmp(sent, ours, DIGEST_SIZE) == 0;
    }
    return good || err_set(err, ERR_CONFIG, "its Authorization has another secret");
}

bool verify_request(const struct config_intake *intake, const struct verify_request *request, int64_t now_ms,
                    struct err *err)
{
    switch ((enum intake_verify)intake->verify) {
    case VERIFY_NONE:
        return true;
    case VERIFY_GITHUB:
        return verify_plain(intake, request, "X-Hub-Signature-256", err);
    case VERIFY_STRIPE:
        return verify_timed(intake, request, "Stripe-Signature", now_ms, err);
    case VERIFY_TIDEMILL:
        return verify_timed(intake, request, "Tidemill-Signature", now_ms, err);
    case VERIFY_SLACK:
        return verify_slack(intake, request, now_ms, err);
    case VERIFY_STANDARD:
        return verify_standard(intake, request, now_ms, err);
    case VERIFY_HMAC:
        return verify_plain(intake, request, intake->signature, err);
    case VERIFY_BEARER:
        return verify_bearer(intake, request, err);
    }
    return err_set(err, ERR_CONFIG, "it cannot be verified");
}

/* ---- ids ---- */

/* The header that has it; NULL: none. */
static const char *id_header(const struct config_intake *intake)
{
    static const char *const usual[] = {[VERIFY_GITHUB] = "X-GitHub-Delivery",
                                        [VERIFY_STANDARD] = "webhook-id",
                                        [VERIFY_TIDEMILL] = "Idempotency-Key",
                                        [VERIFY_BEARER] = NULL};
    return intake->id ? intake->id : intake->verify >= 0 ? usual[intake->verify] : NULL;
}

/* The body's own: "evt_..." of Stripe's events, "Ev..." of Slack's. */
static char *id_of_body(const struct config_intake *intake, const struct verify_request *request)
{
    const char *name = intake->verify == VERIFY_STRIPE  ? "id"
                       : intake->verify == VERIFY_SLACK ? "event_id"
                                                        : NULL;
    struct arena arena = ARENA_INIT;
    const struct json *root = name ? json_parse(&arena, request->body, request->size, NULL) : NULL;
    const struct json *id = root && root->type == JSON_OBJECT ? json_get(root, name) : NULL;
    char *text =
        id && id->type == JSON_STRING && id->size && id->size <= ID_BYTES_MAX ? json_string_dup(id) : NULL;
    arena_fini(&arena);
    return text;
}

char *verify_id(const struct config_intake *intake, const struct verify_request *request)
{
    const char *name = id_header(intake), *id = name ? header(request, name) : NULL;
    if (id && *id && strlen(id) <= ID_BYTES_MAX)
        return mem_string(id);
    char *own = id_of_body(intake, request);
    if (own && *own)
        return own;
    free(own);
    digest_t digest;
    char text[2 * DIGEST_SIZE + 1];
    SHA256((const unsigned char *)request->body, request->size, digest);
    *hex_write(text, digest, DIGEST_SIZE) = '\0';
    return mem_string(text);
}

/* ---- for tests ---- */

void verify_sign(const struct config_intake *intake, const char *id, const char *body, size_t size,
                 int64_t now_ms, struct buf *out)
{
    const char *at = intake->secrets, *secret;
    const char *name = id_header(intake);
    long long seconds = now_ms / 1000;
    size_t secret_size;
    char before[1024] = "", text[2 * DIGEST_SIZE + 1];
    digest_t digest;
    if (name && id)
        buf_printf(out, "%s: %s\n", name, id);
    if (!next_secret(&at, &secret, &secret_size))
        return;
    if (intake->verify == VERIFY_STRIPE || intake->verify == VERIFY_TIDEMILL)
        snprintf(before, sizeof before, "%lld.", seconds);
    else if (intake->verify == VERIFY_SLACK)
        snprintf(before, sizeof before, "v0:%lld:", seconds);
    else if (intake->verify == VERIFY_STANDARD)
        snprintf(before, sizeof before, "%s.%lld.", id ? id : "", seconds);
    sign(intake, secret, secret_size, before, body, size, digest);
    *hex_write(text, digest, DIGEST_SIZE) = '\0';
    switch ((enum intake_verify)intake->verify) {
    case VERIFY_NONE:
        return;
    case VERIFY_GITHUB:
        buf_printf(out, "X-Hub-Signature-256: sha256=%s\n", text);
        return;
    case VERIFY_STRIPE:
        buf_printf(out, "Stripe-Signature: t=%lld,v1=%s\n", seconds, text);
        return;
    case VERIFY_TIDEMILL:
        buf_printf(out, "Tidemill-Signature: t=%lld,v1=%s\n", seconds, text);
        return;
    case VERIFY_SLACK:
        buf_printf(out, "X-Slack-Request-Timestamp: %lld\nX-Slack-Signature: v0=%s\n", seconds, text);
        return;
    case VERIFY_STANDARD:
        buf_printf(out, "webhook-timestamp: %lld\nwebhook-signature: v1,", seconds);
        base64_write(out, digest, DIGEST_SIZE);
        buf_add_char(out, '\n');
        return;
    case VERIFY_HMAC:
        buf_printf(out, "%s: %s\n", intake->signature, text);
        return;
    case VERIFY_BEARER:
        buf_printf(out, "Authorization: Bearer %.*s\n", (int)secret_size, secret);
    }
}
