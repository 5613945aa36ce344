/* pending.c: the steps of what is on its way, and its end. Below the files of rows, which take these steps;
 * what is done next is store_dynamodb.c's. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/dynamodb/store_internal.h"

void pending_ready(struct pending *pending)
{
    list_append(&pending->store->ready, &pending->ready);
    task_defer(pending->store->options.reactor, &pending->store->begin);
}

/* ---- the end of one ---- */

static void leave_queue(struct pending *pending)
{
    struct store_dynamodb *store = pending->store;
    list_remove(&pending->link);
    list_remove(&pending->ready);
    if (store->barrier == pending)
        store->barrier = NULL;
    for (size_t i = 0; i < pending->key_count; i++)
        if (map_get(&store->last, pending->keys[i]) == pending)
            map_remove(&store->last, pending->keys[i]);
    for (size_t i = 0; i < pending->follower_count; i++) {
        CHECK(pending->followers[i]->waits > 0);
        if (!--pending->followers[i]->waits)
            pending_ready(pending->followers[i]);
    }
    pending->follower_count = 0;
}

void pending_end(struct pending *pending)
{
    leave_queue(pending);
    if (pending->written)
        pending->written->pending = NULL; /* the writer comes back to it */
    call_cancel(pending->call);
    reading_cancel(pending->reading);
    store_batch_free(pending->batch);
    rows_free(pending->list);
    rows_free(pending->rows);
    cJSON_Delete(pending->seen);
    standings_fini(&pending->standings);
    pieces_fini(&pending->pieces);
    for (size_t i = 0; i < pending->key_count; i++)
        free((char *)pending->keys[i]);
    free(pending->keys);
    free(pending->followers);
    arena_fini(&pending->arena);
    free(pending);
}

void pending_done(struct pending *pending, const struct err *err)
{
    store_done_fn *done = pending->done;
    void *user = pending->user;
    pending_end(pending);
    if (done)
        done(user, err);
}

void pending_loaded(struct pending *pending, const struct err *err)
{
    store_load_fn *load = pending->load;
    struct store_snapshot *snapshot = pending->snapshot;
    struct err why = err ? *err : (struct err){0};
    void *user = pending->user;
    pending_end(pending);
    if (err)
        store_snapshot_free(snapshot);
    load(user, err ? NULL : snapshot, err ? &why : NULL);
}

/* ---- steps ---- */

static void on_call(void *user, const cJSON *answer, bool refused)
{
    struct pending *pending = user;
    pending->call = NULL;
    pending->then(pending, answer, refused);
}

void pending_send(struct pending *pending, const char *operation, cJSON *body, step_fn *then)
{
    CHECK(!pending->call);
    pending->then = then;
    pending->call = call_send(pending->store->calls, operation, body, on_call, pending);
}

char *pending_partition(struct pending *pending, const char *format, ...)
{
    char rest[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    CHECK(size >= 0 && (size_t)size < sizeof rest);
    char *text = mem_printf("g/%s/%s", pending->store->group, rest);
    char *own = arena_copy(&pending->arena, text, strlen(text));
    free(text);
    return own;
}

static void put_piece(struct pending *pending, const struct putting *putting);

static void on_piece(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    pending->at++;
    put_piece(pending, pending->putting);
}

static void put_piece(struct pending *pending, const struct putting *putting)
{
    if (pending->at == pending->pieces.count)
        putting->then(pending, NULL, false);
    else
        pending_send(pending, "PutItem",
                     piece_put(&pending->pieces, pending->at, putting->partition, "", putting->expires_s),
                     on_piece);
}

void pending_put_pieces(struct pending *pending, const char *partition, int64_t expires_s, step_fn *then)
{
    struct putting *putting = arena_alloc(&pending->arena, sizeof *putting);
    *putting = (struct putting){partition, expires_s, then};
    pending->putting = putting;
    pending->at = 0;
    put_piece(pending, putting);
}

void pending_next(struct pending *pending)
{
    pieces_fini(&pending->pieces);
    pending->write = pending->write->next;
    if (pending->write)
        pending->store->write(pending);
    else
        pending_done(pending, NULL);
}

void pending_next_step(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    pending_next(pending);
}
