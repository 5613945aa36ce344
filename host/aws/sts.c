/* sts.c: see sts.h. */
#include "aws/sts.h"

#include <stdlib.h>
#include <string.h>

#include "aws/xml.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/url.h"

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
    url_encode(out, value, strlen(value), URL_UNRESERVED);
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

static bool read_error(int status, const struct xml *xml, struct err *err)
{
    const char *code = xml_text(xml, "Code"), *message = xml_text(xml, "Message");
    err_set(err, ERR_SERVICE, "STS: %s: %s", code ? code : "HTTP error", message ? message : "no message");
    err->http_status = status;
    strncpy(err->service, code ? code : "", sizeof err->service - 1);
    return false;
}

static bool read_keys(int status, const struct xml *xml, struct aws_keys *keys, struct err *err)
{
    if (status != 200)
        return read_error(status, xml, err);
    const char *expiration = xml_text(xml, "Expiration");
    keys->access_key = mem_string(xml_text(xml, "AccessKeyId"));
    keys->secret_key = mem_string(xml_text(xml, "SecretAccessKey"));
    keys->session_token = mem_string(xml_text(xml, "SessionToken"));
    keys->expires_ms = expiration ? clock_from_iso8601(expiration) : -1;
    if (keys->access_key && keys->secret_key && keys->session_token && keys->expires_ms > 0)
        return true;
    aws_keys_fini(keys);
    return err_set(err, ERR_PARSE, "STS: the answer holds no credentials");
}

bool sts_read(int status, const char *text, struct aws_keys *keys, struct err *err)
{
    struct arena arena = ARENA_INIT;
    *keys = (struct aws_keys){0};
    bool ok = read_keys(status, xml_parse(&arena, text, strlen(text), NULL), keys, err);
    arena_fini(&arena);
    return ok;
}
