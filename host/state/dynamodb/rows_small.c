/* rows_small.c: rows of which there are few: follows, gaps, requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/dynamodb/seeks.h"
#include "state/dynamodb/store_internal.h"

#define ANSWER_KEPT_S (24 * 3600)

const char *snapshot_text(struct store_snapshot *snapshot, const cJSON *item, const char *name)
{
    const char *text = item_text(item, name);
    return arena_copy(&snapshot->arena, text, strlen(text));
}

/* ---- follows ---- */

/* A command that has sought it, and now has it begin elsewhere: nothing of before counts. */
static const char *all_anew(struct pending *pending)
{
    char *seeks = seeks_with("", "", pending->mark + 1, &(struct position){.kind = POSITION_TRIM_HORIZON});
    char *own = arena_copy(&pending->arena, seeks, strlen(seeks));
    free(seeks);
    return own;
}

void follow_put(struct pending *pending)
{
    const struct store_follow *follow = &pending->write->follow;
    /* One that goes on with what it has (a snapshot comes first) says what it follows now. */
    const char *seeks = pending->mark && !*follow->after ? all_anew(pending) : follow->seeks;
    char digest[ITEM_DIGEST_SIZE];
    item_digest((const char *const[]){follow->stream, follow->handler, NULL}, digest);
    cJSON *body = call_item(pending_partition(pending, "f"), digest), *item = document_get(body, "Item");
    item_add_text(item, "stream", follow->stream);
    item_add_text(item, "handler", follow->handler);
    item_add_text(item, "arn", follow->stream_arn);
    item_add_number(item, "since", follow->since_ms);
    item_add_text(item, "seeks", *seeks ? seeks : NULL);
    item_add_text(item, "formerly", *follow->formerly ? follow->formerly : NULL);
    if (*follow->over) {
        pieces_make(&pending->pieces, follow->over, strlen(follow->over), SIZE_MAX);
        pieces_add(&pending->pieces, item);
    }
    if (follow->first)
        call_demand(body, "attribute_not_exists(pk)");
    if (*follow->after) {
        item_add_text(call_values(body), ":after", follow->after);
        call_demand(body, "arn = :after");
    }
    pending_send(pending, "PutItem", body, pending_next_step);
}

/* ---- seeking, by who has no shards ---- */

static void seek_next(struct pending *pending);

/* Somebody else has sought it meanwhile, or this was done and its answer lost. */
static void on_sought(struct pending *pending, const cJSON *answer, bool refused)
{
    if (refused && strcmp(item_text(document_get(answer, "Item"), "by"), pending->nonce) != 0) {
        rows_free(pending->rows);
        pending->rows = NULL;
        follow_seek(pending);
        return;
    }
    pending->at++;
    seek_next(pending);
}

static void seek_one(struct pending *pending, const cJSON *item)
{
    const struct store_checkpoint *to = &pending->write->checkpoint;
    const char *before = item_text(item, "seeks");
    bool whole = !*to->shard;
    int64_t now_ms = calls_now_ms(pending->store->calls);
    now_ms = now_ms < pending->mark ? pending->mark : now_ms; /* the last of its streams has the greatest */
    for (const char *at = before; *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : "") {
        int64_t mark = strtoll(at, NULL, 10);
        now_ms = mark >= now_ms ? mark + 1 : now_ms;
    }
    pending->mark = now_ms;
    calls_nonce(pending->nonce);
    char *seeks = seeks_with(before, to->shard, pending->mark, &to->position);
    cJSON *body = call_key(item_text(item, "pk"), item_text(item, "sk")), *values = call_values(body);
    document_add_text(body, "UpdateExpression",
                      whole ? "SET seeks = :seeks, #by = :by, since = :since REMOVE body, pieces, #size"
                            : "SET seeks = :seeks, #by = :by");
    cJSON *names = cJSON_AddObjectToObject(body, "ExpressionAttributeNames");
    document_add_text(names, "#by", "by");
    if (whole) {
        document_add_text(names, "#size", "size");
        item_add_number(values, ":since", to->position.since_ms); /* 0: at the oldest record */
    }
    item_add_text(values, ":seeks", seeks);
    item_add_text(values, ":by", pending->nonce);
    if (*before)
        item_add_text(values, ":before", before);
    call_demand(body, *before ? "seeks = :before" : "attribute_exists(pk) AND attribute_not_exists(seeks)");
    free(seeks);
    pending_send(pending, "UpdateItem", body, on_sought);
}

static void seek_next(struct pending *pending)
{
    const struct store_checkpoint *to = &pending->write->checkpoint;
    while (pending->at < pending->rows->count) {
        const cJSON *item = pending->rows->rows[pending->at].item;
        if (strcmp(item_text(item, "handler"), to->handler) == 0 &&
            (!*to->stream_arn || strcmp(item_text(item, "arn"), to->stream_arn) == 0)) {
            seek_one(pending, item);
            return;
        }
        pending->at++;
    }
    rows_free(pending->rows);
    pending->rows = NULL;
    pending_next(pending);
}

static void on_follows(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    if (err) {
        follow_seek(pending);
        return;
    }
    pending->rows = rows;
    pending->at = 0;
    seek_next(pending);
}

void follow_seek(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/f", pending->store->group)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_follows, pending);
}

/* ---- a handler with another name ---- */

static void inherit_next(struct pending *pending);

static void on_inherited(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused; /* it follows it already */
    pending->at++;
    inherit_next(pending);
}

/* What the former one follows, the heir does, from the same moment on; where it has no place it has that
 * one's. */
static void inherit_one(struct pending *pending, const cJSON *row)
{
    const char *heir = pending->write->heritage.handler;
    char digest[ITEM_DIGEST_SIZE];
    item_digest((const char *const[]){item_text(row, "stream"), heir, NULL}, digest);
    cJSON *body = call_item(pending_partition(pending, "f"), digest), *item = document_get(body, "Item");
    const cJSON *member;
    cJSON_ArrayForEach(member, row)
    {
        static const char *const own[] = {"pk", "sk", "handler", "formerly", "by"};
        bool copied = true;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            copied = copied && strcmp(member->string, own[i]) != 0;
        if (copied)
            cJSON_AddItemToObject(item, member->string, cJSON_Duplicate(member, true));
    }
    item_add_text(item, "handler", heir);
    item_add_text(item, "formerly", pending->write->heritage.former);
    call_demand(body, "attribute_not_exists(pk)");
    pending_send(pending, "PutItem", body, on_inherited);
}

static void inherit_next(struct pending *pending)
{
    while (pending->at < pending->rows->count) {
        const cJSON *row = pending->rows->rows[pending->at].item;
        if (strcmp(item_text(row, "handler"), pending->write->heritage.former) == 0) {
            inherit_one(pending, row);
            return;
        }
        pending->at++;
    }
    rows_free(pending->rows);
    pending->rows = NULL;
    pending_next(pending);
}

static void on_former(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    if (err) { /* reads end; what is to be written does not */
        follow_inherit(pending);
        return;
    }
    pending->rows = rows;
    pending->at = 0;
    inherit_next(pending);
}

void follow_inherit(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/f", pending->store->group)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_former, pending);
}

/* ---- gaps ---- */

/* It may have been told before: of each, one. */
void event_put(struct pending *pending)
{
    const struct store_event *event = &pending->write->event;
    char digest[ITEM_DIGEST_SIZE];
    item_digest((const char *const[]){event->kind, event->handler, event->stream_arn, event->shard,
                                      event->from_sequence, NULL},
                digest);
    cJSON *body = call_item(pending_partition(pending, "e"), digest), *item = document_get(body, "Item");
    item_add_text(item, "kind", event->kind);
    item_add_text(item, "handler", event->handler);
    item_add_text(item, "stream", event->stream_arn);
    item_add_text(item, "shard", event->shard);
    item_add_text(item, "from", event->from_sequence);
    item_add_text(item, "to", event->to_sequence);
    item_add_text(item, "text", event->text);
    item_add_number(item, "time", event->time_ms);
    pending_send(pending, "PutItem", body, pending_next_step);
}

static void forget_next_event(struct pending *pending);

static void on_event_forgotten(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    forget_next_event(pending);
}

static void forget_next_event(struct pending *pending)
{
    const char *handler = pending->write->event.handler;
    while (pending->at < pending->rows->count) {
        const cJSON *item = pending->rows->rows[pending->at++].item;
        if (*handler && strcmp(item_text(item, "handler"), handler) != 0)
            continue;
        pending_send(pending, "DeleteItem", call_key(item_text(item, "pk"), item_text(item, "sk")),
                     on_event_forgotten);
        return;
    }
    rows_free(pending->rows);
    pending->rows = NULL;
    pending_next(pending);
}

static void on_events(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    if (err) { /* reads end; what is to be written does not */
        events_forget(pending);
        return;
    }
    pending->rows = rows;
    pending->at = 0;
    forget_next_event(pending);
}

void events_forget(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/e", pending->store->group)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_events, pending);
}

/* ---- requests ---- */

/* Hosts list each other all the time: a row beside theirs costs nothing to look at. */
void requests_ring(struct pending *pending, const cJSON *answer, bool refused)
{
    cJSON *body = call_key(pending_partition(pending, "h"), LEASE_BELL);
    (void)answer;
    (void)refused;
    document_add_text(body, "UpdateExpression", "ADD rung :one");
    item_add_number(call_values(body), ":one", 1);
    pending_send(pending, "UpdateItem", body, pending_next_step);
}

static void sort_of(char text[24], int64_t id)
{
    snprintf(text, 24, "%020lld", (long long)id);
}

void request_put(struct pending *pending)
{
    const struct store_request *request = &pending->write->request;
    char sort[24];
    sort_of(sort, request->id);
    cJSON *body = call_item(pending_partition(pending, "q"), sort), *item = document_get(body, "Item");
    item_add_text(item, "kind", request->kind);
    item_add_text(item, "handler", request->handler);
    item_add_text(item, "shard", request->shard);
    item_add_text(item, "argument", request->argument);
    item_add_number(item, "created", request->created_ms);
    item_add_number(item, "answered", REQUEST_OPEN);
    call_demand(body, "attribute_not_exists(pk)"); /* sent twice it is not opened again */
    pending_send(pending, "PutItem", body, requests_ring);
}

void request_answer(struct pending *pending)
{
    const struct store_request *request = &pending->write->request;
    char sort[24];
    sort_of(sort, request->id);
    cJSON *body = call_key(pending_partition(pending, "q"), sort), *values = call_values(body);
    call_set(body, (const char *const[]){"answered", "answer", "expires", NULL});
    item_add_number(values, ":answered", request->answered);
    item_add_text(values, ":answer", request->answer);
    item_add_number(values, ":expires", calls_now_s(pending->store->calls) + ANSWER_KEPT_S);
    call_demand(body, "attribute_exists(pk)");
    pending_send(pending, "UpdateItem", body, pending_next_step);
}

static struct store_request read_request(struct store_snapshot *snapshot, const cJSON *item)
{
    int64_t answered = item_number(item, "answered");
    return (struct store_request){
        .id = strtoll(item_text(item, "sk"), NULL, 10),
        .kind = snapshot_text(snapshot, item, "kind"),
        .handler = snapshot_text(snapshot, item, "handler"),
        .shard = snapshot_text(snapshot, item, "shard"),
        .argument = snapshot_text(snapshot, item, "argument"),
        .created_ms = item_number(item, "created"),
        .answered = answered == REQUEST_DONE   ? REQUEST_DONE
                    : answered == REQUEST_OPEN ? REQUEST_OPEN
                                               : REQUEST_REFUSED,
        .answer = snapshot_text(snapshot, item, "answer"),
    };
}

static void on_requests(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct store_snapshot *snapshot = pending->snapshot;
    pending->reading = NULL;
    pending->rows = rows;
    if (!err)
        snapshot->requests = arena_alloc(&snapshot->arena, (rows->count + 1) * sizeof *snapshot->requests);
    for (size_t i = 0; !err && i < rows->count; i++)
        if (pending->query.what == STORE_ANSWER ||
            item_number(rows->rows[i].item, "answered") == REQUEST_OPEN)
            snapshot->requests[snapshot->request_count++] = read_request(snapshot, rows->rows[i].item);
    pending_loaded(pending, err);
}

/* Those that are open, or the one that was asked for. */
void requests_load(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/q", pending->store->group)};
    if (pending->query.what == STORE_ANSWER)
        ask.sort = mem_printf("%020lld", (long long)pending->query.id);
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_requests, pending);
}

/* ---- usage ---- */

#define DAY_S (24 * 3600)
#define USAGE_BYTES_MAX (300 * 1024) /* an item may have 400 KB; what does not fit is not shown */

void usage_put(struct pending *pending)
{
    const struct store_usage *usage = &pending->write->usage;
    if (strlen(usage->text) > USAGE_BYTES_MAX) {
        pending_next(pending);
        return;
    }
    char *sort = mem_printf("%s#%s", usage->day, usage->instance);
    cJSON *body = call_item(pending_partition(pending, "u"), sort), *item = document_get(body, "Item");
    item_add_text(item, "day", usage->day);
    item_add_text(item, "instance", usage->instance);
    item_add_text(item, "text", usage->text);
    item_add_number(item, "expires", calls_now_s(pending->store->calls) + (int64_t)STORE_USAGE_DAYS * DAY_S);
    free(sort);
    pending_send(pending, "PutItem", body, pending_next_step);
}

static void on_usage(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct store_snapshot *snapshot = pending->snapshot;
    pending->reading = NULL;
    pending->rows = rows;
    if (!err)
        snapshot->usage = arena_alloc(&snapshot->arena, (rows->count + 1) * sizeof *snapshot->usage);
    for (size_t i = 0; !err && i < rows->count; i++)
        snapshot->usage[snapshot->usage_count++] =
            (struct store_usage){.day = snapshot_text(snapshot, rows->rows[i].item, "day"),
                                 .instance = snapshot_text(snapshot, rows->rows[i].item, "instance"),
                                 .text = snapshot_text(snapshot, rows->rows[i].item, "text")};
    pending_loaded(pending, err);
}

void usage_load(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/u", pending->store->group)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_usage, pending);
}
