/* ses.c: mail, one message a mail: SendEmail of SES v2.
 * https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
 *
 * The service knows no repetitions: where a mail must not come twice, a script sends it inside `once`. */
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/mem.h"
#include "conf/config.h"
#include "deliver/targets/json_batch.h"

#define MAIL_BYTES_MAX (10u << 20) /* the service's own limit is of the mail that it makes of it */
#define ADDRESSES_MAX 50           /* of all of a mail */

struct ses_settings {
    char *from;
    char *configuration_set;
};

static const struct setting settings[] = {
    {"from", SETTING_TEXT, offsetof(struct ses_settings, from), 0, 0, NULL},
    {"configuration_set", SETTING_TEXT, offsetof(struct ses_settings, configuration_set), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct ses_settings *settings_of(const struct config_target *target)
{
    return target->own;
}

/* ---- what is sent ---- */

/* An address, or a list of them, as a list. NULL: it is neither. Owned. */
static cJSON *read_addresses(const cJSON *value, size_t *count)
{
    cJSON *list = cJSON_CreateArray();
    const cJSON *each;
    bool well = cJSON_IsString(value) || cJSON_IsArray(value);
    if (cJSON_IsString(value))
        cJSON_AddItemToArray(list, cJSON_Duplicate(value, false));
    if (cJSON_IsArray(value))
        cJSON_ArrayForEach(each, value)
        {
            well = well && cJSON_IsString(each);
            cJSON_AddItemToArray(list, cJSON_Duplicate(each, false));
        }
    cJSON_ArrayForEach(each, list) well = well && cJSON_IsString(each) && strchr(each->valuestring, '@') &&
                                          !each->valuestring[strcspn(each->valuestring, "\r\n")];
    *count += (size_t)cJSON_GetArraySize(list);
    if (well && cJSON_GetArraySize(list))
        return list;
    cJSON_Delete(list);
    return NULL;
}

static bool add_addresses(cJSON *out, const char *name, const cJSON *mail, const char *member, size_t *count,
                          struct err *err)
{
    const cJSON *value = document_get(mail, member);
    if (!value || cJSON_IsNull(value))
        return true;
    cJSON *list = read_addresses(value, count);
    if (!list)
        return err_set(err, ERR_CONFIG, "%s: an e-mail address or a list of them expected", member);
    cJSON_AddItemToObject(out, name, list);
    return true;
}

static bool is_text(const cJSON *mail, const char *member, struct err *err)
{
    const cJSON *value = document_get(mail, member);
    return !value || cJSON_IsNull(value) || cJSON_IsString(value) ||
           err_set(err, ERR_CONFIG, "%s: a text expected", member);
}

static void add_text(cJSON *out, const char *name, const char *text)
{
    if (!text)
        return;
    cJSON *part = cJSON_AddObjectToObject(out, name);
    document_add_text(part, "Data", text);
    document_add_text(part, "Charset", "UTF-8");
}

static bool add_content(cJSON *out, const cJSON *mail, struct err *err)
{
    const char *template = document_text(mail, "template"), *subject = document_text(mail, "subject"),
               *text = document_text(mail, "text"), *html = document_text(mail, "html");
    const cJSON *data = document_get(mail, "data");
    cJSON *content = cJSON_AddObjectToObject(out, "Content");
    if (template) {
        char *values = data && !cJSON_IsNull(data) ? cJSON_PrintUnformatted(data) : mem_string("{}");
        cJSON *part = cJSON_AddObjectToObject(content, "Template");
        document_add_text(part, "TemplateName", template);
        document_add_text(part, "TemplateData", values);
        free(values);
        return !subject && !text && !html
                   ? true
                   : err_set(err, ERR_CONFIG, "a template has its own subject, text and html");
    }
    if (!subject || (!text && !html))
        return err_set(err, ERR_CONFIG, "subject and text or html expected, or template");
    cJSON *simple = cJSON_AddObjectToObject(content, "Simple");
    add_text(simple, "Subject", subject);
    cJSON *body = cJSON_AddObjectToObject(simple, "Body");
    add_text(body, "Text", text);
    add_text(body, "Html", html);
    return true;
}

static bool check_members(const cJSON *mail, struct err *err)
{
    static const char *const known[] = {"to",   "cc",   "bcc",  "reply_to", "from", "subject",
                                        "text", "html", "data", "template", NULL};
    static const char *const texts[] = {"from", "subject", "text", "html", "template", NULL};
    const cJSON *member;
    if (!cJSON_IsObject(mail))
        return err_set(err, ERR_CONFIG, "a JSON object expected, with to, subject and text or html");
    cJSON_ArrayForEach(member, mail)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], member->string) != 0)
            i++;
        if (!known[i])
            return err_set(
                err, ERR_CONFIG,
                "a mail has no \"%s\": to, cc, bcc, reply_to, from, subject, text, html, template, "
                "data",
                member->string);
    }
    for (size_t i = 0; texts[i]; i++)
        if (!is_text(mail, texts[i], err))
            return false;
    return true;
}

/* The request's body, owned; NULL and `err`: it is no mail. */
static char *make_body(const struct config_target *target, const struct message *message, struct err *err)
{
    const struct ses_settings *own = settings_of(target);
    cJSON *mail = document_read(message->payload, message->payload_size, NULL), *out = cJSON_CreateObject();
    bool well = check_members(mail, err);
    const char *from = well ? document_text(mail, "from") : NULL;
    size_t count = 0;
    if (well) {
        from = from ? from : own->from;
        document_add_text(out, "FromEmailAddress", from);
        if (own->configuration_set && *own->configuration_set)
            document_add_text(out, "ConfigurationSetName", own->configuration_set);
        cJSON *to = cJSON_AddObjectToObject(out, "Destination");
        well = add_addresses(to, "ToAddresses", mail, "to", &count, err) &&
               add_addresses(to, "CcAddresses", mail, "cc", &count, err) &&
               add_addresses(to, "BccAddresses", mail, "bcc", &count, err);
        if (well && (!count || count > ADDRESSES_MAX))
            well = err_set(err, ERR_CONFIG, "to, cc and bcc: 1 to %d addresses expected, got %zu",
                           ADDRESSES_MAX, count);
        well = well && add_addresses(out, "ReplyToAddresses", mail, "reply_to", &count, err) &&
               add_content(out, mail, err);
    }
    char *text = well ? cJSON_PrintUnformatted(out) : NULL;
    cJSON_Delete(out);
    cJSON_Delete(mail);
    return text;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    char *body = make_body(target->config, message, err);
    free(body);
    return message->payload_size;
}

static void send(struct request *request)
{
    struct err err = {0};
    char *body = make_body(request->target->config, &request->entries[0]->message, &err);
    if (!body) { /* `measure` has made it */
        request_answered(request, NULL, &err);
        return;
    }
    struct aws_other *other = mem_zero(sizeof *other);
    *other = (struct aws_other){.service = mem_string("email"),
                                .signing = mem_string("ses"),
                                .operation = mem_string("SendEmail"),
                                .method = mem_string("POST")};
    other->headers[0] = mem_string("Content-Type: application/json");
    struct aws_request aws = {.service = AWS_OTHER,
                              .operation = other->operation,
                              .other = other,
                              .path = mem_string("/v2/email/outbound-emails")};
    buf_add_text(&aws.body, body);
    free(body);
    request_send_aws(request, &aws);
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const char *from = settings_of(target)->from;
    (void)ini;
    if (from && *from && !strchr(from, '@'))
        complain(user, "from: an e-mail address expected, such as \"Shop <shop@example.com>\"");
}

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place, "ses:%s:*:identity/", "*");
}

static char *set_arn(const struct config_target *target, const struct target_place *place)
{
    const char *set = settings_of(target)->configuration_set;
    return target_arn(target, place, "ses:%s:*:configuration-set/", set && *set ? set : "*");
}

static const char *const needed[] = {"from", NULL}, *const actions[] = {"SendEmail", NULL};

const struct target_type target_ses = {
    .name = "ses",
    .settings = settings,
    .settings_size = sizeof(struct ses_settings),
    .needed = needed,
    .check = check,
    .service = "ses",
    .paid = PRICE_REQUESTS,
    .price = 100.0, /* a mail to one address */
    .actions = actions,
    .arn = arn,
    .around_actions = actions,
    .around_arn = set_arn,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = MAIL_BYTES_MAX,
    .bytes_most = MAIL_BYTES_MAX,
    .linger_ms = 0,
    .in_flight = 8,
    .measure = measure,
    .send = send,
};
