/* failure_record.c: see failure_record.h. */
#include "dispatch/failure_record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "record/item_key.h"

/* The dead letters wait with more patience. */
#define PATIENCE_MS 60000

struct failing {
    const struct emitter *emitter; /* held */
    char *target, *spill;          /* spill NULL: there is none */
    struct message message;        /* all but the payload and the object's name */
    char *object;
    struct buf head;    /* the failure record up to its payload */
    struct buf payload; /* {"Records": [...]} */
    char *location;     /* where the payload was put; NULL: nowhere */
    bool spilling;
    struct emission *emission;
    failing_fn *done;
    void *user;
};

static void failing_free(struct failing *failing)
{
    buf_fini(&failing->head);
    buf_fini(&failing->payload);
    message_fini(&failing->message);
    failing->emitter->release(failing->emitter);
    free(failing->target);
    free(failing->spill);
    free(failing->object);
    free(failing->location);
    free(failing);
}

void failing_cancel(struct failing *failing)
{
    if (!failing)
        return;
    failing->emitter->cancel(failing->emitter, failing->emission);
    failing_free(failing);
}

/* ---- what is sent ---- */

static void add_text(struct buf *out, const char *name, const char *text)
{
    struct buf valid = BUF_INIT; /* an error may quote anything */
    utf8_write(&valid, text, strlen(text));
    buf_printf(out, "\"%s\":", name);
    json_write_string(out, valid.data ? valid.data : "", valid.size);
    buf_fini(&valid);
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

static void write_head(struct buf *out, const struct failing_facts *facts)
{
    char now[CLOCK_ISO_SIZE];
    clock_iso8601(facts->failed_ms, now);
    buf_add_literal(out, "{\"requestContext\":{");
    add_text(out, "requestId", facts->event_id && *facts->event_id ? facts->event_id : facts->sequence);
    buf_add_char(out, ',');
    add_text(out, "functionArn", facts->handler);
    buf_printf(out, ",\"condition\":\"%s\",\"approximateInvokeCount\":%lld},", facts->condition,
               (long long)facts->attempts);
    buf_add_literal(out, "\"responseContext\":{\"statusCode\":200,");
    add_text(out, "executedVersion", facts->version);
    buf_add_literal(out, ",\"functionError\":\"Unhandled\",");
    add_text(out, "errorMessage", facts->error);
    buf_printf(out, "},\"version\":\"1.0\",\"timestamp\":\"%s\",\"DDBStreamBatchInfo\":{", now);
    add_text(out, "shardId", facts->shard);
    buf_printf(out, ",\"startSequenceNumber\":\"%s\",\"endSequenceNumber\":\"%s\",", facts->sequence,
               facts->sequence);
    add_seconds(out, "approximateArrivalOfFirstRecord", facts->record_time_ms);
    add_seconds(out, "approximateArrivalOfLastRecord", facts->record_time_ms);
    buf_add_literal(out, "\"batchSize\":1,");
    add_text(out, "streamArn", facts->stream_arn);
    buf_add_char(out, '}');
}

/* Where targets that keep objects put it: like Lambda's "aws/lambda/ID/SHARD/YYYY/MM/DD/...", but with a name
 * that a repetition has again. Without ".json". */
static char *object_name(const struct failing_facts *facts)
{
    time_t seconds = (time_t)(facts->record_time_ms / 1000);
    struct tm tm;
    char day[16];
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y/%m/%d", &tm);
    char *unit = mem_string(facts->unit), *part = strchr(unit, '/');
    if (part)
        *part = '-';
    char *name = mem_printf("failures/%s/%s/%s/%s", facts->handler, facts->shard, day, unit);
    free(unit);
    return name;
}

static char *key_of(const struct failing_facts *facts)
{
    struct arena arena = ARENA_INIT;
    char *key = item_key_text(json_parse(&arena, facts->keys, strlen(facts->keys), NULL));
    arena_fini(&arena);
    return key;
}

static struct message message_of(const struct failing_facts *facts)
{
    return (struct message){
        .key = key_of(facts),
        .detail_type = mem_string("Failed record"),
        .handler = mem_string(facts->handler),
        .stream_arn = mem_string(facts->stream_arn),
        .table = mem_string(facts->table),
        .shard = mem_string(facts->shard),
        .sequence = mem_string(facts->sequence),
        .id = mem_printf("%s/%s/%s/failure", facts->handler, facts->shard, facts->unit),
        .time_ms = facts->record_time_ms,
        .give_up_ms = facts->now_ms + PATIENCE_MS,
        .patience_ms = PATIENCE_MS,
    };
}

/* ---- sending ---- */

static void on_sent(void *user, const struct buf *answer, const struct err *err);

static void send(struct failing *failing, const char *target, const char *suffix, struct buf *payload)
{
    struct message message = message_copy(&failing->message);
    message.object = mem_printf("%s%s.json", failing->object, suffix);
    message.payload_size = payload->size;
    message.payload = buf_take(payload);
    failing->emission = failing->emitter->send(failing->emitter, target, &message, on_sent, failing);
}

static void send_record(struct failing *failing)
{
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
    failing->spilling = false;
    send(failing, failing->target, "", &out);
}

static void send_spill(struct failing *failing)
{
    struct buf copy = BUF_INIT;
    char *object = mem_printf("%s-payload.json", failing->object);
    failing->location = failing->emitter->locate(failing->emitter, failing->spill, object);
    free(object);
    buf_add(&copy, failing->payload.data, failing->payload.size);
    failing->spilling = true;
    send(failing, failing->spill, "-payload", &copy);
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
    failing_fn *done = failing->done;
    void *of = failing->user;
    struct err copy = err ? *err : (struct err){0};
    failing_free(failing);
    done(of, err ? &copy : NULL);
}

struct failing *failing_send(const struct emitter *emitter, const struct config *config, const char *target,
                             const struct failing_facts *facts, failing_fn *done, void *user)
{
    struct failing *failing = mem_zero(sizeof *failing);
    const struct config_target *settings = config_target(config, target);
    failing->emitter = emitter;
    emitter->hold(emitter);
    failing->target = mem_string(target);
    failing->spill = mem_string(settings ? settings->spill : NULL);
    failing->message = message_of(facts);
    failing->object = object_name(facts);
    failing->done = done;
    failing->user = user;
    write_head(&failing->head, facts);
    buf_printf(&failing->payload, "{\"Records\":[%s]}", facts->record);
    send_record(failing);
    return failing;
}
