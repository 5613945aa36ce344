/* kinesis.c: PutRecords of Kinesis, PutRecordBatch of Firehose.
 * https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
 * https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "deliver/targets/json_batch.h"
#include "record/item_key.h"

#define KINESIS_RECORD_MAX (10u << 20) /* a stream may take so much; by default it takes 1 MiB */
#define FIREHOSE_RECORD_MAX (1000u << 10)

/* Messages without a key have no order to keep, and spread by what names them. To be freed. */
static char *partition_key(const struct message *message)
{
    return item_key_safe(message->key ? message->key : message->id);
}

static size_t measure_kinesis(const struct target *target, const struct message *message, struct err *err)
{
    char *key = partition_key(message);
    size_t size = message->payload_size + strlen(key);
    (void)target;
    free(key);
    if (size > KINESIS_RECORD_MAX)
        err_set(err, ERR_LIMIT, "the record has %zu bytes; Kinesis takes %u", size, KINESIS_RECORD_MAX);
    return size;
}

static void add_data(struct buf *out, const char *bytes, size_t size)
{
    buf_add_literal(out, "{\"Data\":\"");
    base64_write(out, bytes, size);
    buf_add_char(out, '"');
}

static void send_kinesis(struct request *request)
{
    const char *stream = request->target->config->stream;
    struct aws_request aws = {.service = AWS_KINESIS, .operation = "PutRecords"};
    buf_add_char(&aws.body, '{');
    json_batch_add(&aws.body, strncmp(stream, "arn:", 4) == 0 ? "StreamARN" : "StreamName", stream,
                   strlen(stream));
    buf_add_literal(&aws.body, ",\"Records\":[");
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        char *key = partition_key(message);
        if (i)
            buf_add_char(&aws.body, ',');
        add_data(&aws.body, message->payload, message->payload_size);
        buf_add_char(&aws.body, ',');
        json_batch_add(&aws.body, "PartitionKey", key, strlen(key));
        buf_add_char(&aws.body, '}');
        free(key);
    }
    buf_add_literal(&aws.body, "]}");
    request_send_aws(request, &aws);
}

static void read_kinesis(struct request *request, struct transport_response *response)
{
    json_batch_read(request, response, "Records", "ErrorCode", "ErrorMessage");
}

const struct batch_kind kind_kinesis = {
    .count_max = 500,
    .bytes_max = 5 << 20,
    .bytes_most = 10 << 20,
    .linger_ms = 20,
    .in_flight = 8,
    .measure = measure_kinesis,
    .send = send_kinesis,
    .read = read_kinesis,
};

/* ---- Firehose, which puts records one behind the other: each gets a line of its own ---- */

static size_t measure_firehose(const struct target *target, const struct message *message, struct err *err)
{
    size_t size = message->payload_size + 1;
    (void)target;
    if (size > FIREHOSE_RECORD_MAX)
        err_set(err, ERR_LIMIT, "the record has %zu bytes; Firehose takes %u", size, FIREHOSE_RECORD_MAX);
    return size;
}

static void send_firehose(struct request *request)
{
    const char *stream = request->target->config->delivery_stream;
    struct aws_request aws = {.service = AWS_FIREHOSE, .operation = "PutRecordBatch"};
    struct buf line = BUF_INIT;
    buf_add_char(&aws.body, '{');
    json_batch_add(&aws.body, "DeliveryStreamName", stream, strlen(stream));
    buf_add_literal(&aws.body, ",\"Records\":[");
    for (size_t i = 0; i < request->count; i++) {
        const struct message *message = &request->entries[i]->message;
        if (i)
            buf_add_char(&aws.body, ',');
        buf_clear(&line);
        buf_add(&line, message->payload, message->payload_size);
        buf_add_char(&line, '\n');
        add_data(&aws.body, line.data, line.size);
        buf_add_char(&aws.body, '}');
    }
    buf_add_literal(&aws.body, "]}");
    buf_fini(&line);
    request_send_aws(request, &aws);
}

static void read_firehose(struct request *request, struct transport_response *response)
{
    json_batch_read(request, response, "RequestResponses", "ErrorCode", "ErrorMessage");
}

const struct batch_kind kind_firehose = {
    .count_max = 500,
    .bytes_max = 4 << 20,
    .bytes_most = 4 << 20,
    .linger_ms = 20,
    .in_flight = 8,
    .measure = measure_firehose,
    .send = send_firehose,
    .read = read_firehose,
};
