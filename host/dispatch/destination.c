/* destination.c: on_failure = TARGET: what failed and how, in the shape of the records that Lambda sends to
 * its failure destinations, and always with the payload in it.
 * https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
 *
 * Where a target does not take so much, the payload is put away as an object of the target's `spill`, and the
 * record says where. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "dispatch/internal.h"
#include "stream/item_key.h"
#include "stream/record_json.h"

struct failing {
    struct attempt *attempt;
    destination_fn *done;
    struct buf head;    /* the failure record up to its payload */
    struct buf payload; /* {"Records": [...]} */
    char *spill;        /* the target's; NULL: none */
    char *location;     /* where the payload was put */
    bool spilling;
    const struct emitter *emitter; /* held */
    struct emission *emission;
};

static void failing_free(struct failing *failing)
{
    buf_fini(&failing->head);
    buf_fini(&failing->payload);
    failing->emitter->release(failing->emitter);
    free(failing->location);
    free(failing->spill);
    free(failing);
}

void destination_cancel(struct failing *failing)
{
    if (!failing)
        return;
    failing->emitter->cancel(failing->emitter, failing->emission);
    failing_free(failing);
}

/* ---- what is sent ---- */

static void add_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "\"%s\":", name);
    json_write_string(out, text, strlen(text));
}

/* Lambda gives these to the second. */
static void add_seconds(struct buf *out, const char *name, int64_t time_ms)
{
    char text[CLOCK_ISO_SIZE];
    clock_iso8601(time_ms, text);
    char *dot = strchr(text, '.');
    if (dot)
        memcpy(dot, "Z", 2);
    buf_printf(out, "\"%s\":\"%s\",", name, text);
}

static void write_head(struct failing *failing, const struct handler_error *error, const char *condition)
{
    const struct subscription *subscription = failing->attempt->subscription;
    const struct entry *entry = failing->attempt->entry;
    const struct record *record = entry->record;
    const struct handler *handler = subscription->options.handler;
    const struct handler_source *source = &subscription->options.source;
    struct buf *out = &failing->head;
    char now[CLOCK_ISO_SIZE];
    clock_iso8601(subscription_wall_ms(subscription), now);
    char *id = json_string_dup(json_get(record->json, "eventID"));
    buf_add_literal(out, "{\"requestContext\":{");
    add_text(out, "requestId", id ? id : record->sequence);
    buf_add_char(out, ',');
    add_text(out, "functionArn", handler_name(handler));
    buf_printf(out, ",\"condition\":\"%s\",\"approximateInvokeCount\":%u},", condition, entry->attempts);
    buf_add_literal(out, "\"responseContext\":{\"statusCode\":200,");
    add_text(out, "executedVersion", handler_version(handler));
    buf_add_literal(out, ",\"functionError\":\"Unhandled\",");
    add_text(out, "errorMessage", error->text);
    buf_printf(out, "},\"version\":\"1.0\",\"timestamp\":\"%s\",\"DDBStreamBatchInfo\":{", now);
    add_text(out, "shardId", source->shard);
    buf_printf(out, ",\"startSequenceNumber\":\"%s\",\"endSequenceNumber\":\"%s\",", record->sequence,
               record->sequence);
    add_seconds(out, "approximateArrivalOfFirstRecord", record->time_ms);
    add_seconds(out, "approximateArrivalOfLastRecord", record->time_ms);
    buf_add_literal(out, "\"batchSize\":1,");
    add_text(out, "streamArn", source->stream_arn);
    buf_add_char(out, '}');
    free(id);
}

static void write_payload(struct failing *failing)
{
    buf_add_literal(&failing->payload, "{\"Records\":[");
    record_write_json(&failing->payload, failing->attempt->entry->record,
                      failing->attempt->subscription->options.source.stream_arn);
    buf_add_literal(&failing->payload, "]}");
}

/* Where targets that keep objects put it: like Lambda's "aws/lambda/ID/SHARD/YYYY/MM/DD/...", but with a name
 * that a repetition has again. */
static char *object_name(const struct failing *failing, const char *kind)
{
    const struct subscription *subscription = failing->attempt->subscription;
    const struct record *record = failing->attempt->entry->record;
    time_t seconds = (time_t)(record->time_ms / 1000);
    struct tm tm;
    char day[16];
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y/%m/%d", &tm);
    return mem_printf("failures/%s/%s/%s/%s%s.json", handler_name(subscription->options.handler),
                      subscription->options.source.shard, day, record->sequence, kind);
}

static struct message message_for(const struct failing *failing, const char *kind)
{
    const struct subscription *subscription = failing->attempt->subscription;
    const struct record *record = failing->attempt->entry->record;
    const struct handler_source *source = &subscription->options.source;
    const char *name = handler_name(subscription->options.handler);
    return (struct message){
        .key = item_key_text(record->keys),
        .detail_type = mem_string("Failed record"),
        .object = object_name(failing, kind),
        .handler = mem_string(name),
        .stream_arn = mem_string(source->stream_arn),
        .table = mem_string(source->table),
        .shard = mem_string(source->shard),
        .sequence = mem_string(record->sequence),
        .id = mem_printf("%s/%s/%s/failure", name, source->shard, record->sequence),
        .time_ms = record->time_ms,
    };
}

/* ---- sending ---- */

static void on_sent(void *user, const struct buf *answer, const struct err *err);

static void send_record(struct failing *failing)
{
    const struct subscription *subscription = failing->attempt->subscription;
    struct message message = message_for(failing, "");
    struct buf out = BUF_INIT;
    buf_add(&out, failing->head.data, failing->head.size);
    if (failing->location) {
        buf_add_char(&out, ',');
        add_text(&out, "payloadLocation", failing->location);
    } else {
        buf_add_literal(&out, ",\"payload\":");
        json_write_string(&out, failing->payload.data, failing->payload.size);
    }
    buf_add_char(&out, '}');
    message.payload_size = out.size;
    message.payload = buf_take(&out);
    failing->spilling = false;
    failing->emission = failing->emitter->send(failing->emitter, subscription->settings.on_failure, &message,
                                               on_sent, failing);
}

static void send_spill(struct failing *failing)
{
    struct message message = message_for(failing, "-payload");
    failing->location = failing->emitter->locate(failing->emitter, failing->spill, message.object);
    message.payload_size = failing->payload.size;
    message.payload = mem_copy(failing->payload.data, failing->payload.size);
    failing->spilling = true;
    failing->emission = failing->emitter->send(failing->emitter, failing->spill, &message, on_sent, failing);
}

static void on_sent(void *user, const struct buf *answer, const struct err *err)
{
    struct failing *failing = user;
    (void)answer;
    if (!err && failing->spilling) {
        send_record(failing);
        return;
    }
    if (err && err->code == ERR_LIMIT && failing->spill && !failing->location) {
        send_spill(failing);
        return;
    }
    struct attempt *attempt = failing->attempt;
    destination_fn *done = failing->done;
    struct err copy = err ? *err : (struct err){0};
    failing_free(failing);
    done(attempt, err ? &copy : NULL);
}

struct failing *destination_send(struct attempt *attempt, const struct handler_error *error,
                                 const char *condition, destination_fn *done)
{
    struct failing *failing = mem_zero(sizeof *failing);
    const struct subscription *subscription = attempt->subscription;
    const struct handler *handler = subscription->options.handler;
    const struct config_target *target = config_target(handler->config, subscription->settings.on_failure);
    failing->attempt = attempt;
    failing->done = done;
    failing->spill = mem_string(target ? target->spill : NULL);
    failing->emitter = handler->emitter;
    failing->emitter->hold(failing->emitter);
    write_head(failing, error, condition);
    write_payload(failing);
    send_record(failing);
    return failing;
}
