/* copying.c: see copying.h. */
#include "state/dynamodb/copying.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "lease/coordinator.h"
#include "state/dynamodb/lease_rows.h"
#include "state/dynamodb/part.h"
#include "state/dynamodb/state_table.h"
#include "state/dynamodb/shard_writer.h"

#define OWNER_KEPT_S (30 * 24 * 3600)
#define OWNER_LEASE_MS 1000

struct copying {
    struct store_copy copy; /* the first: one is the other */
    struct shard_writer writer;
    struct calls *calls;
    char *group, *from; /* the group as it stands in keys */
    struct list writings;
};

/* ---- rows of shards ---- */

struct writing {
    struct list link;
    struct copying *copying;
    char *stream, *shard;
    struct change {
        char *handler, *partition, *text;
        bool end;
        struct pieces pieces;
        char nonce[LEASE_NONCE_SIZE];
    } * changes;
    size_t count, at, piece;
    struct call *call;
    store_done_fn *done;
    void *user;
};

static void writing_free(struct writing *writing)
{
    list_remove(&writing->link);
    call_cancel(writing->call);
    for (size_t i = 0; i < writing->count; i++) {
        free(writing->changes[i].handler);
        free(writing->changes[i].partition);
        free(writing->changes[i].text);
        pieces_fini(&writing->changes[i].pieces);
    }
    free(writing->changes);
    free(writing->stream);
    free(writing->shard);
    free(writing);
}

static char *row_partition(const struct writing *writing)
{
    return lease_rows_partition(writing->copying->group, writing->stream, lease_bucket(writing->shard));
}

static void send(struct writing *writing, const char *operation, cJSON *body, call_done_fn *then)
{
    writing->call = call_send(writing->copying->calls, operation, body, then, writing);
}

static void on_filled(void *user, const cJSON *answer, bool refused)
{
    struct writing *writing = user;
    store_done_fn *done = writing->done;
    void *own = writing->user;
    struct err err = {0};
    (void)answer;
    writing->call = NULL;
    if (refused)
        err_set(&err, ERR_BUSY, "state: a host has taken shard %s already", writing->shard);
    writing_free(writing);
    if (done)
        done(own, refused ? &err : NULL);
}

/* All handlers in one write. */
static void fill_row(struct writing *writing)
{
    char *partition = row_partition(writing);
    cJSON *body = call_key(partition, writing->shard), *values = call_values(body);
    cJSON *names = cJSON_AddObjectToObject(body, "ExpressionAttributeNames");
    struct buf update = BUF_INIT;
    buf_add_text(&update, "SET v = v");
    for (size_t i = 0; i < writing->count; i++) {
        char name[32], value[32];
        snprintf(name, sizeof name, "#h%zu", i);
        snprintf(value, sizeof value, ":h%zu", i);
        buf_printf(&update, ", h.%s = %s", name, value);
        document_add_text(names, name, writing->changes[i].handler);
        lease_rows_add_part(values, value, writing->changes[i].text, writing->changes[i].end);
    }
    document_add_text(body, "UpdateExpression", update.data);
    item_add_text(values, ":own", COPYING_OWNER);
    call_demand(body, "own = :own");
    buf_fini(&update);
    free(partition);
    send(writing, "UpdateItem", body, on_filled);
}

static void put_pieces(struct writing *writing);

static void on_piece(void *user, const cJSON *answer, bool refused)
{
    struct writing *writing = user;
    (void)answer;
    (void)refused;
    writing->piece++;
    put_pieces(writing);
}

static void put_pieces(struct writing *writing)
{
    for (; writing->at < writing->count; writing->at++, writing->piece = 0) {
        const struct change *change = &writing->changes[writing->at];
        if (writing->piece >= change->pieces.count)
            continue;
        send(writing, "PutItem",
             piece_put(&change->pieces, writing->piece, change->partition, change->nonce, 0), on_piece);
        return;
    }
    fill_row(writing);
}

/* What is refused is there, from the time before it was interrupted. */
static void on_made(void *user, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    put_pieces(user);
}

/* The parents are the stream's to tell: nothing is read there before it has. */
static void make_row(struct writing *writing)
{
    char *partition = row_partition(writing), nonce[LEASE_NONCE_SIZE];
    cJSON *body = call_item(partition, writing->shard), *item = document_get(body, "Item");
    calls_nonce(nonce);
    item_add_text(item, "st", writing->stream);
    item_add_text(item, "pa", LEASE_PARENTS_UNKNOWN);
    item_add_text(item, "own", COPYING_OWNER);
    item_add_number(item, "ep", calls_now_ms(writing->copying->calls));
    item_add_number(item, "v", 1);
    item_add_text(item, "w", nonce);
    item_add_double(item, "ld", LEASE_SHARD_LOAD);
    cJSON_AddObjectToObject(cJSON_AddObjectToObject(item, "h"), "M");
    call_demand(body, "attribute_not_exists(pk)");
    free(partition);
    send(writing, "PutItem", body, on_made);
}

static void make_change(const struct writing *writing, const struct shard_change *wanted,
                        struct change *change)
{
    bool large = strlen(wanted->progress) > PART_PROGRESS_MAX;
    CHECK(!wanted->forget);
    change->handler = mem_string(wanted->handler);
    change->partition =
        part_partition(writing->copying->group, writing->stream, writing->shard, wanted->handler);
    change->end = wanted->position.kind == POSITION_FINISHED;
    if (large) {
        pieces_make(&change->pieces, wanted->progress, strlen(wanted->progress), 0);
        calls_nonce(change->nonce);
    }
    change->text =
        part_write(&wanted->position, wanted->progress, large ? &change->pieces : NULL, change->nonce, 0);
}

static void write_rows(struct shard_writer *writer, const char *stream, const char *shard,
                       const struct shard_change *changes, size_t count, store_done_fn *done, void *user)
{
    struct copying *copying = (struct copying *)(void *)((char *)writer - offsetof(struct copying, writer));
    struct writing *writing = mem_zero(sizeof *writing);
    *writing = (struct writing){.copying = copying,
                                .stream = mem_string(stream),
                                .shard = mem_string(shard),
                                .changes = mem_zero((count + 1) * sizeof *writing->changes),
                                .count = count,
                                .done = done,
                                .user = user};
    CHECK(*shard);
    for (size_t i = 0; i < count; i++)
        make_change(writing, &changes[i], &writing->changes[i]);
    list_append(&copying->writings, &writing->link);
    make_row(writing);
}

static void note_rows(struct shard_writer *writer, struct store_batch *batch)
{
    (void)writer;
    store_batch_free(batch);
}

/* ---- the group's row ---- */

/* One call, waited for. */
struct waiting {
    cJSON *answer;
    struct err err;
    bool refused, failed, done;
};

static void on_decided(void *user, const cJSON *answer, bool refused)
{
    struct waiting *waiting = user;
    waiting->answer = cJSON_Duplicate(answer, true);
    waiting->refused = refused;
    waiting->done = true;
}

/* The answer, to be deleted; NULL when there is none. */
static cJSON *decide(struct calls *calls, const char *operation, cJSON *body, bool *refused)
{
    struct waiting waiting = {0};
    call_send(calls, operation, body, on_decided, &waiting);
    reactor_turn_until(calls_reactor(calls), &waiting.done);
    if (refused)
        *refused = waiting.refused;
    return waiting.answer;
}

static cJSON *group_body(cJSON *make(const char *, const char *), const char *group)
{
    char *partition = mem_printf("g/%s", group);
    cJSON *body = make(partition, "g");
    free(partition);
    return body;
}

/* NULL: there is none. To be deleted. */
static cJSON *read_group(struct calls *calls, const char *group)
{
    cJSON *body = group_body(call_key, group);
    cJSON_AddTrueToObject(body, "ConsistentRead");
    cJSON *answer = decide(calls, "GetItem", body, NULL);
    cJSON *item = cJSON_DetachItemFromObject(answer, "Item");
    cJSON_Delete(answer);
    return item;
}

bool copying_check(struct calls *calls, const char *table, const char *group, struct err *err)
{
    char *own = item_group(group);
    cJSON *row = read_group(calls, own);
    const char *from = item_text(row, "copying");
    bool well = !*from || err_set(err, ERR_CONFIG,
                                  "state: table %s has half a copy of %s: finish it (tidemill state copy %s "
                                  "dynamodb:%s)",
                                  table, from, from, table);
    cJSON_Delete(row);
    free(own);
    return well;
}

/* Nobody may open the group before the copy's mark is gone. */
static bool claim_group(struct copying *copying, const char *table, struct err *err)
{
    char nonce[LEASE_NONCE_SIZE];
    bool refused;
    cJSON *body = group_body(call_item, copying->group), *item = document_get(body, "Item");
    calls_nonce(nonce);
    item_add_text(item, "gid", nonce);
    item_add_bool(item, "opened", false);
    item_add_number(item, "proto", 1);
    item_add_text(item, "copying", copying->from);
    call_demand(body, "attribute_not_exists(pk)");
    cJSON_Delete(decide(copying->calls, "PutItem", body, &refused));
    cJSON *row = read_group(copying->calls, copying->group);
    const char *from = item_text(row, "copying");
    bool well = strcmp(from, copying->from) == 0;
    if (!well && *from)
        err_set(err, ERR_BUSY, "state: table %s has half a copy of %s: finish that, or name another table",
                table, from);
    else if (!well)
        err_set(err, ERR_BUSY,
                "state: group %s has a state in table %s already: name another table, or another group in "
                "the INI",
                copying->group, table);
    copying->copy.resumed = refused;
    cJSON_Delete(row);
    return well;
}

/* The rows' owner has left: whoever comes first may take them. */
static void release(struct copying *copying)
{
    char *partition = mem_printf("g/%s/h", copying->group);
    cJSON *body = call_item(partition, COPYING_OWNER), *item = document_get(body, "Item");
    item_add_text(item, "dead", "left");
    item_add_number(item, "l", OWNER_LEASE_MS);
    item_add_number(item, "expires", calls_now_s(copying->calls) + OWNER_KEPT_S);
    call_demand(body, "attribute_not_exists(pk)");
    cJSON_Delete(decide(copying->calls, "PutItem", body, NULL));
    free(partition);
    body = group_body(call_key, copying->group);
    document_add_text(body, "UpdateExpression", "REMOVE copying");
    item_add_text(call_values(body), ":from", copying->from);
    call_demand(body, "copying = :from"); /* refused: it was done, and its answer lost */
    cJSON_Delete(decide(copying->calls, "UpdateItem", body, NULL));
}

/* ---- as a copy ---- */

static bool end(struct store_copy *copy, bool whole, struct err *err)
{
    struct copying *copying = (struct copying *)copy;
    (void)err;
    store_free(copy->store);
    if (whole)
        release(copying);
    CHECK(list_empty(&copying->writings));
    calls_free(copying->calls);
    free(copying->group);
    free(copying->from);
    free(copying);
    return true;
}

static struct store_copy *begin(const struct store_kind *kind, struct reactor *reactor, const char *table,
                                const struct store_options *options, const char *from, struct err *err)
{
    struct state_table_options prepare = {.client = options->client,
                                          .reactor = reactor,
                                          .log = options->log,
                                          .name = table,
                                          .create = options->create};
    if (!state_table_prepare(&prepare, err))
        return NULL;
    struct copying *copying = mem_zero(sizeof *copying);
    struct store_options own = *options;
    *copying = (struct copying){
        .copy = {.ops = &copying_ops},
        .writer = {write_rows, note_rows},
        .calls = calls_new(&(struct calls_options){options->client, reactor, options->log, table}),
        .group = item_group(options->group),
        .from = mem_string(from),
    };
    list_init(&copying->writings);
    own.writer = &copying->writer;
    own.prepared = true;
    copying->copy.store = kind->open(reactor, table, &own, err);
    if (copying->copy.store && claim_group(copying, table, err))
        return &copying->copy;
    end(&copying->copy, false, NULL);
    return NULL;
}

const struct store_copy_ops copying_ops = {begin, end};
