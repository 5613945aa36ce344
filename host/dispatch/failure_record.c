/* failure_record.c: see failure_record.h. */
#include "dispatch/failure_record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/document.h"
#include "base/json.h"
#include "base/mem.h"
#include "record/item_key.h"

/* The dead letters wait with more patience. */
#define PATIENCE_MS 60000

struct failing {
    const struct emitter *emitter; /* held */
    char *target, *spill;          /* spill NULL: there is none */
    struct message message;        /* all but the payload and the object's name */
    char *object;
    cJSON *frame;       /* the failure record but for its payload */
    struct buf payload; /* {"Records": [...]} */
    char *location;     /* where the payload was put; NULL: nowhere */
    bool spilling;
    struct emission *emission;
    failing_fn *done;
    void *user;
};

static void failing_free(struct failing *failing)
{
    cJSON_Delete(failing->frame);
    buf_fini(&failing->payload);
    message_fini(&failing->message);
    failing->emitter->ops->release(failing->emitter);
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
    failing->emitter->ops->cancel(failing->emitter, failing->emission);
    failing_free(failing);
}

/* ---- what is sent ---- */

/* Lambda gives these to the second. */
static void add_seconds(cJSON *object, const char *name, int64_t time_ms)
{
    char text[CLOCK_ISO_SIZE];
    clock_iso8601(time_ms, text);
    char *dot = strchr(text, '.');
    if (dot)
        memcpy(dot, "Z", 2);
    cJSON_AddStringToObject(object, name, text);
}

static void add_contexts(cJSON *frame, const struct store_dead_letter *letter, const char *sequence)
{
    cJSON *request = cJSON_AddObjectToObject(frame, "requestContext");
    document_add_text(request, "requestId", *letter->event_id ? letter->event_id : sequence);
    document_add_text(request, "functionArn", letter->handler);
    cJSON_AddStringToObject(request, "condition",
                            *letter->condition ? letter->condition : "RetryAttemptsExhausted");
    document_add_integer(request, "approximateInvokeCount", letter->attempts);
    cJSON *response = cJSON_AddObjectToObject(frame, "responseContext");
    document_add_integer(response, "statusCode", 200);
    document_add_text(response, "executedVersion", letter->version);
    cJSON_AddStringToObject(response, "functionError", "Unhandled");
    document_add_text(response, "errorMessage", letter->error);
}

/* All but its payload. */
static cJSON *frame_of(const struct store_dead_letter *letter)
{
    char now[CLOCK_ISO_SIZE];
    char *sequence = mem_copy(letter->sequence, strcspn(letter->sequence, "/")); /* without its part */
    cJSON *frame = cJSON_CreateObject();
    clock_iso8601(letter->failed_ms, now);
    add_contexts(frame, letter, sequence);
    cJSON_AddStringToObject(frame, "version", "1.0");
    cJSON_AddStringToObject(frame, "timestamp", now);
    cJSON *info = cJSON_AddObjectToObject(frame, "DDBStreamBatchInfo");
    document_add_text(info, "shardId", letter->shard);
    cJSON_AddStringToObject(info, "startSequenceNumber", sequence);
    cJSON_AddStringToObject(info, "endSequenceNumber", sequence);
    add_seconds(info, "approximateArrivalOfFirstRecord", letter->record_time_ms);
    add_seconds(info, "approximateArrivalOfLastRecord", letter->record_time_ms);
    document_add_integer(info, "batchSize", 1);
    document_add_text(info, "streamArn", letter->stream_arn);
    free(sequence);
    return frame;
}

/* Where targets that keep objects put it: like Lambda's "aws/lambda/ID/SHARD/YYYY/MM/DD/...", but with a name
 * that a repetition has again. Without ".json". */
static char *object_name(const struct store_dead_letter *letter)
{
    time_t seconds = (time_t)(letter->record_time_ms / 1000);
    struct tm tm;
    char day[16];
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y/%m/%d", &tm);
    char *unit = mem_string(letter->sequence), *part = strchr(unit, '/');
    if (part)
        *part = '-';
    char *handler = path_component(letter->handler), *shard = path_component(letter->shard);
    char *name = mem_printf("failures/%s/%s/%s/%s", handler, shard, day, unit);
    free(handler);
    free(shard);
    free(unit);
    return name;
}

static char *key_of(const struct store_dead_letter *letter)
{
    struct arena arena = ARENA_INIT;
    char *key = item_key_text(json_parse(&arena, letter->keys, strlen(letter->keys), NULL));
    arena_fini(&arena);
    return key;
}

static struct message message_of(const struct store_dead_letter *letter, int64_t now_ms)
{
    return (struct message){
        .key = key_of(letter),
        .detail_type = mem_string("Failed record"),
        .handler = mem_string(letter->handler),
        .stream_arn = mem_string(letter->stream_arn),
        .table = mem_string(letter->table),
        .shard = mem_string(letter->shard),
        .sequence = mem_string(letter->sequence),
        .id = mem_printf("%s/%s/%s/failure", letter->handler, letter->shard, letter->sequence),
        .time_ms = letter->record_time_ms,
        .give_up_ms = now_ms + PATIENCE_MS,
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
    failing->emission = failing->emitter->ops->send(failing->emitter, target, &message, on_sent, failing);
}

/* The payload is the records' own text. */
static void send_record(struct failing *failing)
{
    struct buf out = BUF_INIT, payload = BUF_INIT;
    cJSON *record = cJSON_Duplicate(failing->frame, true);
    if (failing->location) {
        document_add_text(record, "payloadLocation", failing->location);
    } else {
        json_write_string(&payload, failing->payload.data, failing->payload.size);
        cJSON_AddRawToObject(record, "payload", payload.data);
    }
    document_write(record, &out);
    buf_fini(&payload);
    failing->spilling = false;
    send(failing, failing->target, "", &out);
}

static void send_spill(struct failing *failing)
{
    struct buf copy = BUF_INIT;
    char *object = mem_printf("%s-payload.json", failing->object);
    failing->location = failing->emitter->ops->locate(failing->emitter, failing->spill, object);
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
                             const struct store_dead_letter *letter, int64_t now_ms, failing_fn *done,
                             void *user)
{
    struct failing *failing = mem_zero(sizeof *failing);
    const struct config_target *settings = config_target(config, target);
    failing->emitter = emitter;
    emitter->ops->hold(emitter);
    failing->target = mem_string(target);
    failing->spill = mem_string(settings ? settings->spill : NULL);
    failing->message = message_of(letter, now_ms);
    failing->object = object_name(letter);
    failing->done = done;
    failing->user = user;
    failing->frame = frame_of(letter);
    buf_printf(&failing->payload, "{\"Records\":[%s]}", letter->record);
    send_record(failing);
    return failing;
}
