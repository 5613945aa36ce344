/* notes.c: see notes.h. */
#include "state/dynamodb/notes.h"

#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/mem.h"

enum kind { SUBSCRIPTION, SHARD, TROUBLE, HANDLER, HAND_OVER, KIND_COUNT };
static const char *const kinds[KIND_COUNT] = {"subscription", "shard", "trouble", "handler", "hand_over"};

/* ---- a host's ---- */

static void forget(struct notes *notes, const char *key)
{
    cJSON_Delete(map_remove(&notes->rows, key));
}

/* A new row in place of the one before. */
static cJSON *row_for(struct notes *notes, enum kind kind, const char *one, const char *two,
                      const char *three)
{
    char *key = mem_printf("%s\n%s\n%s\n%s", kinds[kind], one, two, three);
    cJSON *row = cJSON_CreateObject();
    document_add_text(row, "kind", kinds[kind]);
    forget(notes, key);
    map_set(&notes->rows, key, row);
    free(key);
    return row;
}

static void add_subscription(struct notes *notes, const struct store_subscription *now)
{
    cJSON *row = row_for(notes, SUBSCRIPTION, now->handler, now->stream_arn, now->shard);
    document_add_text(row, "handler", now->handler);
    document_add_text(row, "stream", now->stream_arn);
    document_add_text(row, "shard", now->shard);
    document_add_integer(row, "in_flight", now->in_flight);
    document_add_integer(row, "retrying", now->retrying);
    document_add_integer(row, "waiting", now->waiting);
    document_add_integer(row, "catching_up", now->catching_up);
    document_add_integer(row, "oldest", now->oldest_ms);
    document_add_integer(row, "time", now->time_ms);
}

static void add_shard(struct notes *notes, const struct store_shard *now)
{
    cJSON *row = row_for(notes, SHARD, now->stream_arn, now->shard, "");
    document_add_text(row, "stream", now->stream_arn);
    document_add_text(row, "shard", now->shard);
    document_add_integer(row, "calls", now->get_records_calls);
    document_add_integer(row, "records", now->records);
    document_add_integer(row, "read", now->read_ms);
    document_add_integer(row, "caught_up", now->caught_up_ms);
}

static void add_trouble(struct notes *notes, const struct store_trouble *now)
{
    cJSON *row = row_for(notes, TROUBLE, now->subject, now->kind, "");
    document_add_text(row, "subject", now->subject);
    document_add_text(row, "what", now->kind);
    document_add_text(row, "text", now->text);
    document_add_integer(row, "since", now->since_ms);
    document_add_integer(row, "last", now->last_ms);
    document_add_integer(row, "count", now->count);
}

static void add_handler(struct notes *notes, const struct store_handler *now)
{
    cJSON *row = row_for(notes, HANDLER, now->handler, "", "");
    document_add_text(row, "handler", now->handler);
    document_add_text(row, "version", now->version);
    document_add_integer(row, "loaded", now->loaded_ms);
}

void notes_add_hand_over(struct notes *notes, const struct store_hand_over *now)
{
    cJSON *row = row_for(notes, HAND_OVER, now->stream_arn, now->shard, "");
    document_add_text(row, "stream", now->stream_arn);
    document_add_text(row, "shard", now->shard);
    document_add_text(row, "from", now->from);
    document_add_text(row, "to", now->to);
    document_add_integer(row, "since", now->since_ms);
}

void notes_forget_hand_overs(struct notes *notes)
{
    const char *key;
    size_t at = 0;
    while (map_next(&notes->rows, &at, &key)) {
        if (strncmp(key, kinds[HAND_OVER], strlen(kinds[HAND_OVER])) != 0)
            continue;
        forget(notes, key);
        at = 0; /* removal moves slots */
    }
}

static void forget_trouble(struct notes *notes, const struct store_trouble *trouble)
{
    char *key = mem_printf("%s\n%s\n%s\n", kinds[TROUBLE], trouble->subject, trouble->kind);
    forget(notes, key);
    free(key);
}

void notes_add(struct notes *notes, const struct store_batch *batch)
{
    for (const struct store_write *write = batch->first; write; write = write->next) {
        switch (write->kind) {
        case WRITE_SUBSCRIPTION:
            add_subscription(notes, &write->subscription);
            break;
        case WRITE_SHARD:
            add_shard(notes, &write->shard);
            break;
        case WRITE_TROUBLE:
            add_trouble(notes, &write->trouble);
            break;
        case WRITE_FORGET_TROUBLE:
            forget_trouble(notes, &write->trouble);
            break;
        case WRITE_HANDLER:
            add_handler(notes, &write->handler);
            break;
        default: /* is written, or not shown */
            break;
        }
    }
}

char *notes_write(const struct notes *notes,
                  bool (*owns)(const void *user, const char *stream_arn, const char *shard), const void *user)
{
    cJSON *all = cJSON_CreateArray();
    struct buf text = BUF_INIT;
    size_t at = 0;
    for (cJSON *row; (row = map_next(&notes->rows, &at, NULL));) {
        const char *stream = document_text(row, "stream"), *shard = document_text(row, "shard");
        if (!shard || owns(user, stream, shard))
            cJSON_AddItemToArray(all, cJSON_Duplicate(row, true));
    }
    document_write(all, &text);
    return buf_take(&text);
}

void notes_fini(struct notes *notes)
{
    size_t at = 0;
    for (cJSON *row; (row = map_next(&notes->rows, &at, NULL));)
        cJSON_Delete(row);
    map_fini(&notes->rows);
    notes->rows = MAP_INIT;
}

/* ---- of all ---- */

static const char *text_of(struct store_snapshot *snapshot, const cJSON *row, const char *name)
{
    const char *text = document_text(row, name);
    return arena_copy(&snapshot->arena, text ? text : "", text ? strlen(text) : 0);
}

static void read_row(const cJSON *row, const char *session, struct store_snapshot *snapshot)
{
    const char *kind = document_text(row, "kind");
    if (!kind)
        return;
    if (strcmp(kind, kinds[SUBSCRIPTION]) == 0)
        snapshot->subscriptions[snapshot->subscription_count++] =
            (struct store_subscription){.handler = text_of(snapshot, row, "handler"),
                                        .stream_arn = text_of(snapshot, row, "stream"),
                                        .shard = text_of(snapshot, row, "shard"),
                                        .in_flight = document_integer(row, "in_flight", 0),
                                        .retrying = document_integer(row, "retrying", 0),
                                        .waiting = document_integer(row, "waiting", 0),
                                        .catching_up = document_integer(row, "catching_up", 0) != 0,
                                        .oldest_ms = document_integer(row, "oldest", 0),
                                        .time_ms = document_integer(row, "time", 0)};
    else if (strcmp(kind, kinds[SHARD]) == 0)
        snapshot->shards[snapshot->shard_count++] =
            (struct store_shard){.stream_arn = text_of(snapshot, row, "stream"),
                                 .shard = text_of(snapshot, row, "shard"),
                                 .get_records_calls = document_integer(row, "calls", 0),
                                 .records = document_integer(row, "records", 0),
                                 .read_ms = document_integer(row, "read", 0),
                                 .caught_up_ms = document_integer(row, "caught_up", 0)};
    else if (strcmp(kind, kinds[TROUBLE]) == 0)
        snapshot->troubles[snapshot->trouble_count++] =
            (struct store_trouble){.subject = text_of(snapshot, row, "subject"),
                                   .kind = text_of(snapshot, row, "what"),
                                   .text = text_of(snapshot, row, "text"),
                                   .since_ms = document_integer(row, "since", 0),
                                   .last_ms = document_integer(row, "last", 0),
                                   .count = document_integer(row, "count", 1)};
    else if (strcmp(kind, kinds[HANDLER]) == 0)
        snapshot->handlers[snapshot->handler_count++] =
            (struct store_handler){.handler = text_of(snapshot, row, "handler"),
                                   .version = text_of(snapshot, row, "version"),
                                   .loaded_ms = document_integer(row, "loaded", 0),
                                   .session = session};
    else if (strcmp(kind, kinds[HAND_OVER]) == 0)
        snapshot->hand_overs[snapshot->hand_over_count++] =
            (struct store_hand_over){.stream_arn = text_of(snapshot, row, "stream"),
                                     .shard = text_of(snapshot, row, "shard"),
                                     .from = text_of(snapshot, row, "from"),
                                     .to = text_of(snapshot, row, "to"),
                                     .since_ms = document_integer(row, "since", 0)};
}

void notes_read(const char *const *texts, const char *const *sessions, size_t count,
                struct store_snapshot *snapshot)
{
    cJSON **read = mem_zero((count + 1) * sizeof *read);
    const cJSON *row;
    size_t room = 1;
    for (size_t i = 0; i < count; i++) {
        read[i] = document_read(texts[i], strlen(texts[i]), NULL);
        room += read[i] ? (size_t)cJSON_GetArraySize(read[i]) : 0;
    }
    snapshot->subscriptions = arena_alloc(&snapshot->arena, room * sizeof *snapshot->subscriptions);
    snapshot->shards = arena_alloc(&snapshot->arena, room * sizeof *snapshot->shards);
    snapshot->troubles = arena_alloc(&snapshot->arena, room * sizeof *snapshot->troubles);
    snapshot->handlers = arena_alloc(&snapshot->arena, room * sizeof *snapshot->handlers);
    snapshot->hand_overs = arena_alloc(&snapshot->arena, room * sizeof *snapshot->hand_overs);
    for (size_t i = 0; i < count; i++) {
        const char *session = arena_copy(&snapshot->arena, sessions[i], strlen(sessions[i]));
        cJSON_ArrayForEach(row, read[i]) read_row(row, session, snapshot);
        cJSON_Delete(read[i]);
    }
    free(read);
}
