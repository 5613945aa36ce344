/* lambda.c: Invoke, one message a call, waiting for the function's answer.
 * https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html */
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/mem.h"
#include "deliver/targets/json_batch.h"
#include "net/url.h"

#define PAYLOAD_MAX (6u << 20)
#define TIMEOUT_MS \
    (15 * 60 * 1000 + 5000) /* a function may take so long: giving up earlier would run it twice */

struct lambda_settings {
    char *function; /* a name, or an ARN */
};

static const struct setting settings[] = {
    {"function", SETTING_TEXT, offsetof(struct lambda_settings, function), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct lambda_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    return json_event_measure(message, "Lambda takes", err);
}

/* A name, a partial or a whole ARN, in a path. To be freed. */
static char *path_of(const char *function)
{
    struct buf path = BUF_INIT;
    buf_add_literal(&path, "2015-03-31/functions/");
    url_encode(&path, function, strlen(function), URL_UNRESERVED);
    buf_add_literal(&path, "/invocations");
    return buf_take(&path);
}

static void send(struct request *request)
{
    const struct message *message = &request->entries[0]->message;
    struct aws_request aws = {
        .service = AWS_LAMBDA,
        .operation = "Invoke",
        .headers = {"Content-Type: application/json", "X-Amz-Invocation-Type: RequestResponse"},
        .path = path_of(settings_of(request->target)->function),
    };
    buf_add(&aws.body, message->payload, message->payload_size);
    request_send_aws(request, &aws);
}

/* The function raised: what it said. Another attempt is the sender's business. */
static void read(struct request *request, struct transport_response *response)
{
    struct emission *emission = request->entries[0];
    char kind[64];
    if (!transport_header(response, "x-amz-function-error", kind, sizeof kind)) {
        emission->answer = response->body;
        response->body = BUF_INIT;
        buf_add(&emission->answer, "", 0);
        return;
    }
    cJSON *root = document_read(response->body.data, response->body.size, NULL);
    const char *type = document_text(root, "errorType"), *text = document_text(root, "errorMessage");
    struct err err;
    err_set(&err, ERR_SERVICE, "the function failed: %s%s%s", type ? type : kind, text ? ": " : "",
            text ? text : "");
    emission_set_err(emission, &err);
    cJSON_Delete(root);
}

/* ---- the type ---- */

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place,
                      "lambda:%s:*:function:", ((const struct lambda_settings *)target->own)->function);
}

static const char *const needed[] = {"function", NULL}, *const actions[] = {"InvokeFunction", NULL};

const struct target_type target_lambda = {
    .name = "lambda",
    .settings = settings,
    .settings_size = sizeof(struct lambda_settings),
    .needed = needed,
    .service = "lambda",
    .paid = PRICE_REQUESTS,
    .price = 0.20,
    .spills = true,
    .takes_batches = true,
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = PAYLOAD_MAX,
    .bytes_most = PAYLOAD_MAX,
    .linger_ms = 0,
    .in_flight = 16,
    .timeout_ms = TIMEOUT_MS,
    .measure = measure,
    .send = send,
    .read = read,
};
