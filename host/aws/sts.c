/* sts.c: the answers hold a handful of elements with distinct names and no attributes, so they are found by
 * name; entities are undone. */
#include "aws/sts.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

void aws_keys_fini(struct aws_keys *keys)
{
    free(keys->access_key);
    mem_free_secret(keys->secret_key);
    mem_free_secret(keys->session_token);
    *keys = (struct aws_keys){0};
}

static void add_field(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "&%s=", name);
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c))
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

char *sts_assume_role_body(const struct credential_role *role)
{
    struct buf out = BUF_INIT;
    buf_add_text(&out, "Action=AssumeRole&Version=2011-06-15");
    add_field(&out, "RoleArn", role->role_arn);
    add_field(&out, "RoleSessionName", role->session_name);
    if (role->external_id)
        add_field(&out, "ExternalId", role->external_id);
    buf_printf(&out, "&DurationSeconds=%ld", role->duration_s);
    return buf_take(&out);
}

char *sts_web_identity_body(const char *role_arn, const char *session_name, const char *token)
{
    struct buf out = BUF_INIT;
    buf_add_text(&out, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    add_field(&out, "RoleArn", role_arn);
    add_field(&out, "RoleSessionName", session_name);
    add_field(&out, "WebIdentityToken", token);
    return buf_take(&out);
}

/* The text of the first <name>, entities undone; to be freed, NULL where there is none. */
static char *element(const char *xml, const char *name)
{
    static const struct {
        const char *entity;
        char byte;
    } entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    char *open = mem_printf("<%s>", name), *close = mem_printf("</%s>", name);
    const char *from = strstr(xml, open), *to = from ? strstr(from, close) : NULL;
    struct buf out = BUF_INIT;
    for (const char *at = from ? from + strlen(open) : NULL; to && at < to;) {
        size_t i = 0, count = sizeof entities / sizeof *entities;
        while (i < count && strncmp(at, entities[i].entity, strlen(entities[i].entity)) != 0)
            i++;
        buf_add_char(&out, i < count ? entities[i].byte : *at);
        at += i < count ? strlen(entities[i].entity) : 1;
    }
    free(open);
    free(close);
    return to ? buf_take(&out) : NULL;
}

static bool read_error(int status, const char *xml, struct err *err)
{
    char *code = element(xml, "Code"), *message = element(xml, "Message");
    err_set(err, ERR_SERVICE, "STS: %s: %s", code ? code : "HTTP error", message ? message : "no message");
    err->http_status = status;
    strncpy(err->service, code ? code : "", sizeof err->service - 1);
    free(code);
    free(message);
    return false;
}

bool sts_read(int status, const char *xml, struct aws_keys *keys, struct err *err)
{
    *keys = (struct aws_keys){0};
    if (status != 200)
        return read_error(status, xml, err);
    char *expiration = element(xml, "Expiration");
    keys->access_key = element(xml, "AccessKeyId");
    keys->secret_key = element(xml, "SecretAccessKey");
    keys->session_token = element(xml, "SessionToken");
    keys->expires_ms = expiration ? clock_from_iso8601(expiration) : -1;
    free(expiration);
    if (keys->access_key && keys->secret_key && keys->session_token && keys->expires_ms > 0)
        return true;
    aws_keys_fini(keys);
    return err_set(err, ERR_PARSE, "STS: the answer holds no credentials");
}
