/* firehose.c: PutRecordBatch. Firehose puts records one behind the other: each gets a line of its own.
 * https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "deliver/targets/json_batch.h"

#define FIREHOSE_RECORD_MAX (1000u << 10)

struct firehose_settings {
    char *delivery_stream; /* a name, or an ARN */
};

static const struct setting settings[] = {
    {"delivery_stream", SETTING_TEXT, offsetof(struct firehose_settings, delivery_stream), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct firehose_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    size_t size = message->payload_size + 1;
    (void)target;
    if (size > FIREHOSE_RECORD_MAX)
        err_set(err, ERR_LIMIT, "the record has %zu bytes; Firehose takes %u", size, FIREHOSE_RECORD_MAX);
    return size;
}

static void send(struct request *request)
{
    const char *stream = settings_of(request->target)->delivery_stream;
    struct aws_request aws = {.service = AWS_FIREHOSE, .operation = "PutRecordBatch"};
    struct buf line = BUF_INIT;
    buf_add_char(&aws.body, '{');
    json_write_member(&aws.body, "DeliveryStreamName", stream, strlen(stream));
    buf_add_literal(&aws.body, ",\"Records\":[");
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        if (i)
            buf_add_char(&aws.body, ',');
        buf_clear(&line);
        buf_add(&line, message->payload, message->payload_size);
        buf_add_char(&line, '\n');
        json_batch_add_data(&aws.body, line.data, line.size);
        buf_add_char(&aws.body, '}');
    }
    buf_add_literal(&aws.body, "]}");
    buf_fini(&line);
    request_send_aws(request, &aws);
}

static void read(struct request *request, struct transport_response *response)
{
    json_batch_read(request, response, "RequestResponses", "ErrorCode", "ErrorMessage");
}

/* ---- the type ---- */

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place, "firehose:%s:*:deliverystream/",
                      ((const struct firehose_settings *)target->own)->delivery_stream);
}

static const char *const needed[] = {"delivery_stream", NULL}, *const actions[] = {"PutRecordBatch", NULL};

const struct target_type target_firehose = {
    .name = "firehose",
    .settings = settings,
    .settings_size = sizeof(struct firehose_settings),
    .needed = needed,
    .service = "firehose",
    .paid = PRICE_BYTES,
    .price = 0.029,
    .spills = true,
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 500,
    .bytes_max = 4 << 20,
    .bytes_most = 4 << 20,
    .linger_ms = 20,
    .in_flight = 8,
    .measure = measure,
    .send = send,
    .read = read,
};
