/* sigv4_verify.c: what was signed is signed once more, and compared. */
#include "aws/sigv4_verify.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"

#define SIGNED_MAX 40
#define OLD_S (5 * 60)

/* "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX"; all
 * in one text of its own. */
struct claim {
    char *text;
    const char *key, *date, *region, *service, *signed_headers, *signature;
    int64_t signed_s;     /* what X-Amz-Date says */
    const char *amz_date; /* as it says it */
};

static bool refuse(struct sigv4_refusal *refusal, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(struct sigv4_refusal *refusal, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
    va_end(arguments);
    refusal->code = code;
    return false;
}

static const char *header(const struct sigv4_received *request, const char *name)
{
    return request->header(request->user, name);
}

/* ---- the claim ---- */

static const char *part(char *text, const char *name)
{
    char *at = strstr(text, name);
    if (!at || (at > text && at[-1] != ' ' && at[-1] != ','))
        return NULL;
    return at + strlen(name);
}

static void end_at(const char *text, const char *marks)
{
    if (text)
        ((char *)text)[strcspn(text, marks)] = '\0';
}

static bool read_scope(struct claim *claim, char *credential)
{
    const char **parts[] = {&claim->service, &claim->region, &claim->date};
    char *slash = strrchr(credential, '/');
    if (!slash || strcmp(slash + 1, "aws4_request") != 0)
        return false;
    for (size_t i = 0; i < 3; i++) {
        *slash = '\0';
        slash = strrchr(credential, '/');
        if (!slash)
            return false;
        *parts[i] = slash + 1;
    }
    *slash = '\0';
    claim->key = credential;
    return *credential != '\0';
}

static bool read_claim(const struct sigv4_received *request, struct claim *claim,
                       struct sigv4_refusal *refusal)
{
    static const char scheme[] = "AWS4-HMAC-SHA256", incomplete[] = "IncompleteSignatureException";
    const char *given = header(request, "Authorization"), *date = header(request, "X-Amz-Date");
    if (!given) {
        refuse(refusal, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
        return false;
    }
    if (strncmp(given, scheme, sizeof scheme - 1) != 0) {
        refuse(refusal, incomplete, "Authorization header requires the algorithm %s.", scheme);
        return false;
    }
    claim->text = mem_string(given + sizeof scheme - 1);
    const char *credential = part(claim->text, "Credential=");
    claim->signed_headers = part(claim->text, "SignedHeaders=");
    claim->signature = part(claim->text, "Signature=");
    end_at(credential, ", ");
    end_at(claim->signed_headers, ", ");
    end_at(claim->signature, ", ");
    if (!credential || !claim->signed_headers || !claim->signature || !date) {
        refuse(refusal, incomplete, "%s%s%s%sAuthorization=%.200s",
               credential ? "" : "Authorization header requires 'Credential' parameter. ",
               claim->signature ? "" : "Authorization header requires 'Signature' parameter. ",
               claim->signed_headers ? "" : "Authorization header requires 'SignedHeaders' parameter. ",
               date ? ""
                    : "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
               scheme);
        return false;
    }
    if (!read_scope(claim, (char *)credential)) {
        refuse(refusal, incomplete,
               "Credential must have exactly 5 slash-delimited elements, e.g. "
               "keyid/date/region/service/term");
        return false;
    }
    claim->amz_date = date;
    return true;
}

/* ---- what it claims ---- */

static bool read_date(const char *text, int64_t *seconds)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y%m%dT%H%M%SZ", &tm);
    if (!end || *end || strlen(text) != 16)
        return false;
    *seconds = timegm(&tm);
    return true;
}

static const char *write_date(int64_t seconds, char text[20])
{
    struct tm tm;
    time_t time = seconds;
    gmtime_r(&time, &tm);
    strftime(text, 20, "%Y%m%dT%H%M%SZ", &tm);
    return text;
}

static bool is_in_time(const struct claim *claim, int64_t now_s, struct sigv4_refusal *refusal)
{
    static const char invalid[] = "InvalidSignatureException";
    char now[20], bound[20];
    write_date(now_s, now);
    if (claim->signed_s < now_s - OLD_S)
        return refuse(refusal, invalid, "Signature expired: %s is now earlier than %s (%s - 5 min.)",
                      claim->amz_date, write_date(now_s - OLD_S, bound), now);
    if (claim->signed_s > now_s + OLD_S)
        return refuse(refusal, invalid, "Signature not yet current: %s is still later than %s (%s + 5 min.)",
                      claim->amz_date, write_date(now_s + OLD_S, bound), now);
    return true;
}

static bool fits(const struct claim *claim, const struct sigv4_identity *identity,
                 const struct sigv4_received *request, struct sigv4_refusal *refusal)
{
    static const char invalid[] = "InvalidSignatureException";
    const char *token = header(request, "X-Amz-Security-Token");
    bool has_token = identity->session_token ? token && strcmp(token, identity->session_token) == 0 : !token;
    if (strcmp(claim->key, identity->access_key) != 0 || !has_token)
        return refuse(refusal, "UnrecognizedClientException",
                      "The security token included in the request is invalid.");
    if (strcmp(claim->service, request->service) != 0)
        return refuse(refusal, invalid, "Credential should be scoped to correct service: '%s'. ",
                      request->service);
    if (strncmp(claim->date, claim->amz_date, 8) != 0 || strlen(claim->date) != 8)
        return refuse(
            refusal, invalid,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            "'%.20s' != '%.8s', from '%.20s'.",
            claim->date, claim->amz_date, claim->amz_date);
    return is_in_time(claim, request->wall_ms / 1000, refusal);
}

/* ---- the signature ---- */

/* Signing adds these itself. */
static bool is_added(const char *name)
{
    return strcasecmp(name, "host") == 0 || strcasecmp(name, "x-amz-date") == 0 ||
           strcasecmp(name, "x-amz-security-token") == 0;
}

/* Those that the claim names and the request has, as lines; `lines` ends with NULL. False: one is not there,
 * or host is not among them, or they are too many. */
static bool signed_lines(const struct claim *claim, const struct sigv4_received *request,
                         char *lines[SIGNED_MAX + 1])
{
    char *names = mem_string(claim->signed_headers), *left = NULL;
    size_t count = 0;
    bool host = false, ok = true;
    for (char *name = strtok_r(names, ";", &left); name && ok; name = strtok_r(NULL, ";", &left)) {
        const char *value = header(request, name);
        host = host || strcasecmp(name, "host") == 0;
        ok = value && count < SIGNED_MAX;
        if (ok && !is_added(name))
            lines[count++] = mem_printf("%s: %s", name, value);
    }
    lines[count] = NULL;
    free(names);
    return ok && host;
}

static bool is_same(const char *authorization, const struct claim *claim)
{
    const char *names = strstr(authorization, "SignedHeaders="),
               *signature = strstr(authorization, "Signature=");
    names = names ? names + strlen("SignedHeaders=") : "";
    signature = signature ? signature + strlen("Signature=") : "";
    size_t size = strlen(claim->signature), names_size = strlen(claim->signed_headers);
    return strcspn(names, ",") == names_size && memcmp(names, claim->signed_headers, names_size) == 0 &&
           strlen(signature) == size && CRYPTO_memcmp(signature, claim->signature, size) == 0;
}

static bool is_right(const struct claim *claim, const struct sigv4_identity *identity,
                     const struct sigv4_received *request)
{
    char *lines[SIGNED_MAX + 1] = {0};
    bool right = signed_lines(claim, request, lines);
    if (right) {
        struct sigv4_cache cache = {0};
        struct sigv4_headers headers = {0};
        char *url = mem_printf("http://%s%s", header(request, "Host"), request->path);
        sigv4_sign(identity,
                   &(struct sigv4_request){.method = request->method,
                                           .url = url,
                                           .headers = (const char *const *)lines,
                                           .body = request->body,
                                           .body_size = request->body_size,
                                           .region = claim->region,
                                           .service = claim->service,
                                           .signs_all = true,
                                           .wall_ms = claim->signed_s * 1000},
                   &cache, &headers);
        right = is_same(headers.authorization.data, claim);
        sigv4_headers_fini(&headers);
        OPENSSL_cleanse(&cache, sizeof cache);
        free(url);
    }
    for (size_t i = 0; lines[i]; i++)
        free(lines[i]);
    return right;
}

bool sigv4_verify(const struct sigv4_identity *identity, const struct sigv4_received *request,
                  struct sigv4_refusal *refusal)
{
    struct claim claim = {0};
    bool ok = read_claim(request, &claim, refusal);
    if (ok && !read_date(claim.amz_date, &claim.signed_s)) {
        ok = false;
        refuse(refusal, "IncompleteSignatureException",
               "Date must be in ISO-8601 'basic format'. Got '%.40s'. See "
               "http://en.wikipedia.org/wiki/ISO_8601",
               claim.amz_date);
    }
    ok = ok && fits(&claim, identity, request, refusal);
    if (ok && !is_right(&claim, identity, request))
        ok = refuse(
            refusal, "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details.");
    free(claim.text);
    return ok;
}
