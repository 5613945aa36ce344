/* stepfunctions.c: StartExecution, one message an execution. Its name is made of the message's id: a
 * repetition starts no second one, as long as the service remembers it (90 days, of a STANDARD state
 * machine). https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html */
#include <stdlib.h>
#include <string.h>

#include "aws/sigv4.h"
#include "base/json.h"
#include "conf/config.h"
#include "deliver/targets/json_batch.h"

#define INPUT_MAX (256u << 10)
#define INPUT_MOST (1u << 20) /* the service decides */

struct stepfunctions_settings {
    char *machine; /* ARN */
};

static const struct setting settings[] = {
    {"machine", SETTING_TEXT, offsetof(struct stepfunctions_settings, machine), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct stepfunctions_settings *settings_of(const struct config_target *target)
{
    return target->own;
}

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const char *machine = settings_of(target)->machine;
    (void)ini;
    if (machine && (strncmp(machine, "arn:", 4) != 0 || !strstr(machine, ":stateMachine:")))
        complain(user, "machine: the ARN of a state machine expected");
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    return json_event_measure(message, "Step Functions takes", err);
}

static void send(struct request *request)
{
    const struct message *message = &request->entries[0]->message;
    const char *machine = settings_of(request->target->config)->machine;
    struct aws_request aws = {.service = AWS_STATES, .operation = "StartExecution"};
    char name[65]; /* of what its rules allow in any case */
    sha256_hex(message->id, strlen(message->id), name);
    buf_add_char(&aws.body, '{');
    json_write_member(&aws.body, "stateMachineArn", machine, strlen(machine));
    buf_add_char(&aws.body, ',');
    json_write_member(&aws.body, "name", name, strlen(name));
    buf_add_char(&aws.body, ',');
    json_write_member(&aws.body, "input", message->payload, message->payload_size);
    buf_add_char(&aws.body, '}');
    request_send_aws(request, &aws);
}

/* The first attempt's answer was lost, and its execution has ended since. */
static bool is_done(const struct err *err)
{
    return err->code == ERR_SERVICE && strcmp(err->service, "ExecutionAlreadyExists") == 0;
}

/* ---- the type ---- */

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place, "states:%s:*:stateMachine:", settings_of(target)->machine);
}

static const char *const needed[] = {"machine", NULL}, *const actions[] = {"StartExecution", NULL};

const struct target_type target_stepfunctions = {
    .name = "stepfunctions",
    .settings = settings,
    .settings_size = sizeof(struct stepfunctions_settings),
    .needed = needed,
    .check = check,
    .service = "states",
    .paid = PRICE_REQUESTS,
    .price = 25.0, /* a state transition, of which each execution has one at least */
    .spills = true,
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = INPUT_MAX,
    .bytes_most = INPUT_MOST,
    .linger_ms = 0,
    .in_flight = 16,
    .measure = measure,
    .send = send,
    .is_done = is_done,
};
