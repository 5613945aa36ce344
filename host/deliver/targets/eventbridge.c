/* eventbridge.c: PutEvents.
 * https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html; how an entry's size is
 * computed: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html */
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/utf8.h"
#include "deliver/targets/json_batch.h"

#define TIME_BYTES 14
#define SOURCE_MAX 256
#define DETAIL_TYPE_MAX 128
#define SOURCE_DEFAULT "tidemill"
#define DETAIL_TYPE_DEFAULT "DynamoDB Stream Record"

struct eventbridge_settings {
    char *bus;
    char *source;
    char *detail_type;
};

static const struct setting settings[] = {
    {"bus", SETTING_TEXT, offsetof(struct eventbridge_settings, bus), 0, 0, NULL},
    {"source", SETTING_TEXT, offsetof(struct eventbridge_settings, source), 0, 0, NULL},
    {"detail_type", SETTING_TEXT, offsetof(struct eventbridge_settings, detail_type), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct eventbridge_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

static const char *source_of(const struct target *target, const struct message *message)
{
    const char *source = message->source ? message->source : settings_of(target)->source;
    return source ? source : SOURCE_DEFAULT;
}

static const char *detail_type_of(const struct target *target, const struct message *message)
{
    const char *type = message->detail_type ? message->detail_type : settings_of(target)->detail_type;
    return type ? type : message->event ? message->event : DETAIL_TYPE_DEFAULT;
}

/* The table's ARN: the stream's up to "/stream/". */
static size_t table_arn_size(const struct message *message)
{
    const char *arn = message->stream_arn, *stream = arn ? strstr(arn, "/stream/") : NULL;
    return stream && strncmp(arn, "arn:", 4) == 0 ? (size_t)(stream - arn) : 0;
}

/* What a route makes is JSON in any case. */
static bool is_object(const struct message *message)
{
    struct arena arena = ARENA_INIT;
    if (message->routed)
        return message->payload_size && message->payload[0] == '{';
    const struct json *detail = json_parse(&arena, message->payload, message->payload_size, NULL);
    bool object =
        detail && detail->type == JSON_OBJECT && utf8_valid(message->payload, message->payload_size);
    arena_fini(&arena);
    return object;
}

/* NULL is no mistake: something stands for it. */
static bool check_names(const char *source, const char *detail_type, struct err *err)
{
    size_t source_size = source ? strlen(source) : 1, type_size = detail_type ? strlen(detail_type) : 1;
    if (source && strncmp(source, "aws.", 4) == 0)
        return err_set(err, ERR_CONFIG, "source: what begins with \"aws.\" is for AWS itself");
    if (!source_size || source_size > SOURCE_MAX)
        return err_set(err, ERR_CONFIG, "source: EventBridge takes 1 to %d characters, not %zu", SOURCE_MAX,
                       source_size);
    if (!type_size || type_size > DETAIL_TYPE_MAX)
        return err_set(err, ERR_CONFIG, "detail_type: EventBridge takes 1 to %d characters, not %zu",
                       DETAIL_TYPE_MAX, type_size);
    return true;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    if (!is_object(message)) {
        err_set(err, ERR_CONFIG, "EventBridge takes only a JSON object, in UTF-8, as an event's detail");
        return 0;
    }
    if (!check_names(source_of(target, message), detail_type_of(target, message), err))
        return 0;
    return (message->time_ms ? TIME_BYTES : 0) + strlen(source_of(target, message)) +
           strlen(detail_type_of(target, message)) + message->payload_size + table_arn_size(message);
}

static void add_entry(struct buf *out, const struct target *target, const struct message *message)
{
    const char *source = source_of(target, message), *type = detail_type_of(target, message);
    buf_add_char(out, '{');
    json_write_member(out, "Source", source, strlen(source));
    buf_add_char(out, ',');
    json_write_member(out, "DetailType", type, strlen(type));
    if (message->time_ms)
        buf_printf(out, ",\"Time\":%lld.%03d", (long long)(message->time_ms / 1000),
                   (int)(message->time_ms % 1000));
    if (table_arn_size(message)) {
        buf_add_literal(out, ",\"Resources\":[");
        json_write_string(out, message->stream_arn, table_arn_size(message));
        buf_add_char(out, ']');
    }
    if (settings_of(target)->bus) {
        buf_add_char(out, ',');
        json_write_member(out, "EventBusName", settings_of(target)->bus, strlen(settings_of(target)->bus));
    }
    buf_add_char(out, ',');
    json_write_member(out, "Detail", message->payload, message->payload_size);
    buf_add_char(out, '}');
}

static void send(struct request *request)
{
    struct aws_request aws = {.service = AWS_EVENTS, .operation = "PutEvents"};
    buf_add_literal(&aws.body, "{\"Entries\":[");
    for (size_t i = 0; i < request->count; i++) {
        if (i)
            buf_add_char(&aws.body, ',');
        add_entry(&aws.body, request->target, &request->entries[i]->message);
    }
    buf_add_literal(&aws.body, "]}");
    request_send_aws(request, &aws);
}

static void read(struct request *request, struct transport_response *response)
{
    json_batch_read(request, response, "Entries", "ErrorCode", "ErrorMessage");
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const struct eventbridge_settings *own = target->own;
    struct err err;
    (void)ini;
    if (!check_names(own->source, own->detail_type, &err))
        complain(user, err.text);
}

static bool check_route(const struct config_target *target, const struct config_route *route, struct err *err)
{
    (void)target;
    return check_names(config_is_filled_in(route->source) ? NULL : route->source,
                       config_is_filled_in(route->detail_type) ? NULL : route->detail_type, err);
}

static char *arn(const struct config_target *target, const struct target_place *place)
{
    const struct eventbridge_settings *own = target->own;
    return target_arn(target, place, "events:%s:*:event-bus/", own->bus ? own->bus : "default");
}

static const char *const actions[] = {"PutEvents", NULL};

const struct target_type target_eventbridge = {
    .name = "eventbridge",
    .settings = settings,
    .settings_size = sizeof(struct eventbridge_settings),
    .check = check,
    .check_route = check_route,
    .service = "events",
    .paid = PRICE_MESSAGES,
    .price = 1.00,
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
