/* sqs.c: SendMessageBatch, over the JSON protocol.
 * https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/json.h"
#include "deliver/targets/json_batch.h"
#include "record/item_key.h"

struct sqs_settings {
    char *queue; /* a URL */
};

static const struct setting settings[] = {
    {"queue", SETTING_TEXT, offsetof(struct sqs_settings, queue), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct sqs_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    return text_measure(message, "SQS", err);
}

static void add_safe(struct buf *out, const char *name, const char *text)
{
    char *safe = item_key_safe(text);
    buf_add_char(out, ',');
    json_write_member(out, name, safe, strlen(safe));
    free(safe);
}

static void send(struct request *request)
{
    const struct target *target = request->target;
    struct buf text = BUF_INIT;
    struct aws_request aws = {.service = AWS_SQS, .operation = "SendMessageBatch"};
    buf_add_char(&aws.body, '{');
    json_write_member(&aws.body, "QueueUrl", settings_of(target)->queue, strlen(settings_of(target)->queue));
    buf_add_literal(&aws.body, ",\"Entries\":[");
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        buf_printf(&aws.body, "%s{\"Id\":\"%zu\",", i ? "," : "", i);
        buf_clear(&text);
        text_write(&text, message);
        json_write_member(&aws.body, "MessageBody", text.data ? text.data : "", text.size);
        if (name_is_fifo(settings_of(target)->queue)) {
            add_safe(&aws.body, "MessageGroupId", message->key ? message->key : message->handler);
            add_safe(&aws.body, "MessageDeduplicationId", message->id);
        }
        if (message->epoch)
            buf_printf(&aws.body,
                       ",\"MessageAttributes\":{\"" EPOCH_ATTRIBUTE
                       "\":{\"DataType\":\"Number\",\"StringValue\":\"%" PRId64 "\"}}",
                       message->epoch);
        buf_add_char(&aws.body, '}');
    }
    buf_fini(&text);
    buf_add_literal(&aws.body, "]}");
    request_send_aws(request, &aws);
}

static void read(struct request *request, struct transport_response *response)
{
    bool *named = mem_zero(request->count);
    cJSON *root = document_read(response->body.data, response->body.size, NULL);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, document_get(root, "Successful"))
        entry_named(request, document_text(entry, "Id"), named);
    cJSON_ArrayForEach(entry, document_get(root, "Failed"))
    {
        struct emission *emission = entry_named(request, document_text(entry, "Id"), named);
        const char *code = document_text(entry, "Code");
        if (emission)
            entry_failed(emission, code ? code : "Failed", document_text(entry, "Message"),
                         cJSON_IsTrue(document_get(entry, "SenderFault")));
    }
    request_unnamed(request, named);
    free(named);
    cJSON_Delete(root);
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const char *queue = ((const struct sqs_settings *)target->own)->queue;
    (void)ini;
    if (queue && strncmp(queue, "http://", 7) != 0 && strncmp(queue, "https://", 8) != 0)
        complain(user, "queue: the URL of an SQS queue expected");
}

/* "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"; what another host stands for is not known. */
static char *arn(const struct config_target *target, const struct target_place *place)
{
    const char *host = strstr(((const struct sqs_settings *)target->own)->queue, "://") + 3;
    const char *region = strncmp(host, "sqs.", 4) == 0 ? host + 4 : NULL;
    const char *path = strchr(host, '/'), *name = path ? strchr(path + 1, '/') : NULL;
    size_t size = region ? strcspn(region, "./") : 0;
    return mem_printf("arn:%s:sqs:%.*s:%.*s:%s", place->partition,
                      region ? (int)size : (int)strlen(place->region), region ? region : place->region,
                      name ? (int)(name - path - 1) : 1, name ? path + 1 : "*", name ? name + 1 : "*");
}

static const char *const needed[] = {"queue", NULL}, *const actions[] = {"SendMessage", NULL};

const struct target_type target_sqs = {
    .name = "sqs",
    .settings = settings,
    .settings_size = sizeof(struct sqs_settings),
    .needed = needed,
    .check = check,
    .service = "sqs",
    .paid = PRICE_REQUESTS,
    .price = 0.40,
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
