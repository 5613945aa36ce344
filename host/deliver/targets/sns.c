/* sns.c: PublishBatch, over the query protocol.
 * https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/xml.h"
#include "base/mem.h"
#include "deliver/targets/json_batch.h"
#include "net/url.h"
#include "record/item_key.h"

#define ENTRY "PublishBatchRequestEntries.member.%zu."

struct sns_settings {
    char *topic; /* an ARN */
    char *subject;
};

static const struct setting settings[] = {
    {"topic", SETTING_TEXT, offsetof(struct sns_settings, topic), 0, 0, NULL},
    {"subject", SETTING_TEXT, offsetof(struct sns_settings, subject), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct sns_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static const char *subject_of(const struct target *target, const struct message *message)
{
    return message->subject ? message->subject : settings_of(target)->subject;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    const char *subject = subject_of(target, message);
    size_t size = text_measure(message, "SNS", err);
    if (!err->code && subject && (!*subject || strlen(subject) > 100))
        err_set(err, ERR_CONFIG, "subject: SNS takes 1 to 100 characters");
    return size + (subject ? strlen(subject) : 0);
}

static void add_member(struct buf *out, size_t place, const char *name, const char *text, size_t size)
{
    buf_printf(out, "&" ENTRY "%s=", place + 1, name);
    url_encode(out, text, size, URL_UNRESERVED);
}

static void add_safe(struct buf *out, size_t place, const char *name, const char *text)
{
    char *safe = item_key_safe(text);
    add_member(out, place, name, safe, strlen(safe));
    free(safe);
}

static void add_entry(struct buf *out, const struct target *target, const struct message *message,
                      size_t place)
{
    const char *subject = subject_of(target, message);
    char id[24];
    snprintf(id, sizeof id, "%zu", place);
    add_member(out, place, "Id", id, strlen(id));
    struct buf text = BUF_INIT;
    text_write(&text, message);
    add_member(out, place, "Message", text.data ? text.data : "", text.size);
    buf_fini(&text);
    if (subject)
        add_member(out, place, "Subject", subject, strlen(subject));
    if (name_is_fifo(settings_of(target)->topic)) {
        add_safe(out, place, "MessageGroupId", message->key ? message->key : message->handler);
        add_safe(out, place, "MessageDeduplicationId", message->id);
    }
    if (message->epoch) {
        char epoch[24];
        snprintf(epoch, sizeof epoch, "%" PRId64, message->epoch);
        add_member(out, place, "MessageAttributes.entry.1.Name", EPOCH_ATTRIBUTE, strlen(EPOCH_ATTRIBUTE));
        add_member(out, place, "MessageAttributes.entry.1.Value.DataType", "Number", strlen("Number"));
        add_member(out, place, "MessageAttributes.entry.1.Value.StringValue", epoch, strlen(epoch));
    }
}

static void send(struct request *request)
{
    const struct target *target = request->target;
    struct aws_request aws = {.service = AWS_SNS, .operation = "PublishBatch"};
    buf_add_literal(&aws.body, "Action=PublishBatch&Version=2010-03-31&TopicArn=");
    url_encode(&aws.body, settings_of(target)->topic, strlen(settings_of(target)->topic), URL_UNRESERVED);
    for (size_t i = 0; i < request->count; i++)
        add_entry(&aws.body, target, &request->entries[i]->message, i);
    request_send_aws(request, &aws);
}

static void read(struct request *request, struct transport_response *response)
{
    struct arena arena = ARENA_INIT;
    bool *named = mem_zero(request->count);
    const struct xml *root = xml_parse(&arena, response->body.data, response->body.size, NULL);
    const struct xml *done = xml_find(root, "Successful"), *failed = xml_find(root, "Failed");
    for (const struct xml *member = done ? done->child : NULL; member; member = member->next)
        entry_named(request, xml_text(member, "Id"), named);
    for (const struct xml *member = failed ? failed->child : NULL; member; member = member->next) {
        struct emission *emission = entry_named(request, xml_text(member, "Id"), named);
        const char *code = xml_text(member, "Code"), *sender = xml_text(member, "SenderFault");
        if (emission)
            entry_failed(emission, code ? code : "Failed", xml_text(member, "Message"),
                         sender && strcmp(sender, "true") == 0);
    }
    request_unnamed(request, named);
    free(named);
    arena_fini(&arena);
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const char *topic = ((const struct sns_settings *)target->own)->topic;
    (void)ini;
    if (topic && strncmp(topic, "arn:", 4) != 0)
        complain(user, "topic: the ARN of an SNS topic expected");
}

static char *arn(const struct config_target *target, const struct target_place *place)
{
    (void)place;
    return mem_string(((const struct sns_settings *)target->own)->topic);
}

static const char *const needed[] = {"topic", NULL}, *const actions[] = {"Publish", NULL};

const struct target_type target_sns = {
    .name = "sns",
    .settings = settings,
    .settings_size = sizeof(struct sns_settings),
    .needed = needed,
    .check = check,
    .service = "sns",
    .paid = PRICE_MESSAGES,
    .price = 0.50,
    .spills = true,
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 10,
    .bytes_max = 256 << 10,
    .bytes_most = 1 << 20,
    .linger_ms = 20,
    .in_flight = 16,
    .measure = measure,
    .send = send,
    .read = read,
};
