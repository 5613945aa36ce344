/* kinesis.c: PutRecords.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "deliver/targets/json_batch.h"
#include "record/item_key.h"

#define KINESIS_RECORD_MAX (10u << 20) /* a stream may take so much; by default it takes 1 MiB */

struct kinesis_settings {
    char *stream; /* a name, or an ARN */
};

static const struct setting settings[] = {
    {"stream", SETTING_TEXT, offsetof(struct kinesis_settings, stream), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct kinesis_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

/* Messages without a key have no order to keep, and spread by what names them. To be freed. */
static char *partition_key(const struct message *message)
{
    return item_key_safe(message->key ? message->key : message->id);
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    char *key = partition_key(message);
    size_t size = message->payload_size + strlen(key);
    (void)target;
    free(key);
    if (size > KINESIS_RECORD_MAX)
        err_set(err, ERR_LIMIT, "the record has %zu bytes; Kinesis takes %u", size, KINESIS_RECORD_MAX);
    return size;
}

static void send(struct request *request)
{
    const char *stream = settings_of(request->target)->stream;
    struct aws_request aws = {.service = AWS_KINESIS, .operation = "PutRecords"};
    buf_add_char(&aws.body, '{');
    json_write_member(&aws.body, strncmp(stream, "arn:", 4) == 0 ? "StreamARN" : "StreamName", stream,
                      strlen(stream));
    buf_add_literal(&aws.body, ",\"Records\":[");
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        char *key = partition_key(message);
        if (i)
            buf_add_char(&aws.body, ',');
        json_batch_add_data(&aws.body, message->payload, message->payload_size);
        buf_add_char(&aws.body, ',');
        json_write_member(&aws.body, "PartitionKey", key, strlen(key));
        buf_add_char(&aws.body, '}');
        free(key);
    }
    buf_add_literal(&aws.body, "]}");
    request_send_aws(request, &aws);
}

static void read(struct request *request, struct transport_response *response)
{
    json_batch_read(request, response, "Records", "ErrorCode", "ErrorMessage");
}

/* ---- the type ---- */

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place, "kinesis:%s:*:stream/",
                      ((const struct kinesis_settings *)target->own)->stream);
}

static const char *const needed[] = {"stream", NULL}, *const actions[] = {"PutRecords", NULL};

const struct target_type target_kinesis = {
    .name = "kinesis",
    .settings = settings,
    .settings_size = sizeof(struct kinesis_settings),
    .needed = needed,
    .service = "kinesis",
    .paid = PRICE_BYTES,
    .price = 0.08,
    .spills = true,
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 500,
    .bytes_max = 5 << 20,
    .bytes_most = 10 << 20,
    .linger_ms = 20,
    .in_flight = 8,
    .measure = measure,
    .send = send,
    .read = read,
};
