/* store_dynamodb.c: what is handed over, in what order it is done, and what becomes of it.
 *
 * Where two batches touch one row the later one waits for the earlier; others pass each other. A load waits
 * for all that came before it. */
#include "state/dynamodb/store_dynamodb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/dynamodb/copying.h"
#include "state/dynamodb/state_table.h"
#include "state/dynamodb/store_internal.h"

static struct store_dynamodb *from_store(struct store *store)
{
    return (struct store_dynamodb *)(void *)((char *)store - offsetof(struct store_dynamodb, store));
}

/* ---- who waits for whom ---- */

static struct pending *pending_new(struct store_dynamodb *store, void *user)
{
    struct pending *pending = mem_zero(sizeof *pending);
    pending->store = store;
    pending->user = user;
    list_init(&pending->link);
    list_init(&pending->ready);
    return pending;
}

static void wait_for(struct pending *pending, struct pending *earlier)
{
    if (!earlier || earlier == pending)
        return;
    mem_grow(&earlier->followers, &earlier->follower_capacity, earlier->follower_count,
             sizeof *earlier->followers);
    earlier->followers[earlier->follower_count++] = pending;
    pending->waits++;
}

static void wait_for_all(struct pending *pending)
{
    struct pending *earlier;
    list_each(earlier, &pending->store->pending, struct pending, link)
        wait_for(pending, earlier);
}

static void touch(struct pending *pending, const char *kind, const char *a, const char *b, const char *c)
{
    struct store_dynamodb *store = pending->store;
    char *key = mem_printf("%s\n%s\n%s\n%s", kind, a, b, c);
    wait_for(pending, map_get(&store->last, key));
    map_set(&store->last, key, pending);
    mem_grow(&pending->keys, &pending->key_capacity, pending->key_count, sizeof *pending->keys);
    pending->keys[pending->key_count++] = key;
}

static void touch_number(struct pending *pending, const char *kind, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    touch(pending, kind, text, "", "");
}

/* All shards of a stream, or of every one. */
static void touch_all(struct pending *pending)
{
    wait_for_all(pending);
    pending->store->barrier = pending;
}

static void touch_what_is_written(struct pending *pending, const struct store_write *write)
{
    const struct store_checkpoint *checkpoint = &write->checkpoint;
    const struct store_dead_letter *letter = &write->dead_letter;
    switch (write->kind) {
    case WRITE_CHECKPOINT:
        touch(pending, "checkpoint", checkpoint->stream_arn, checkpoint->shard, "");
        break;
    case WRITE_FORGET_CHECKPOINTS:
        if (*checkpoint->stream_arn && *checkpoint->shard)
            touch(pending, "checkpoint", checkpoint->stream_arn, checkpoint->shard, "");
        else
            touch_all(pending);
        break;
    case WRITE_FOLLOW:
        touch(pending, "follow", write->follow.stream, write->follow.handler, "");
        break;
    case WRITE_DEAD_LETTER:
        if (letter->id)
            touch_number(pending, "letter", letter->id);
        else
            touch(pending, letter->handler, letter->stream_arn, letter->shard, letter->sequence);
        break;
    case WRITE_FORGET_DEAD_LETTER:
    case WRITE_MARK_DEAD_LETTER:
        touch_number(pending, "letter", letter->id);
        break;
    case WRITE_EVENT:
    case WRITE_FORGET_EVENTS:
        touch(pending, "events", "", "", "");
        break;
    case WRITE_MARKER:
        touch(pending, "marker", write->marker.handler, write->marker.key, "");
        break;
    case WRITE_REQUEST:
    case WRITE_ANSWER:
        touch_number(pending, "request", write->request.id);
        break;
    case WRITE_SUBSCRIPTION:
        touch(pending, "checkpoint", write->subscription.stream_arn, write->subscription.shard, "");
        break;
    case WRITE_HANDLER:
    case WRITE_SHARD:
    case WRITE_FORGET_SHARD:
    case WRITE_TROUBLE:
    case WRITE_FORGET_TROUBLE:
    case WRITE_HOST:
    case WRITE_BEGIN_HOST:
    case WRITE_INHERIT:
        touch(pending, "inherit", write->heritage.handler, write->heritage.former, "");
        break;
    case WRITE_FORGET_HANDLER:
        break;
    case WRITE_USAGE:
        touch(pending, "usage", write->usage.day, write->usage.instance, "");
        break;
    case WRITE_TOLD:
        touch(pending, "told", write->told.session, "", "");
        break;
    }
}

/* ---- batches ---- */

static void on_written(void *user, const struct err *err)
{
    struct written *written = user;
    struct pending *pending = written->pending;
    free(written);
    if (!pending)
        return;
    pending->written = NULL;
    if (err)
        pending_done(pending, err); /* what it says is another host's to say now */
    else
        pending_next(pending);
}

static bool is_of_row(const struct store_write *write, const struct store_checkpoint *row)
{
    return write && (write->kind == WRITE_CHECKPOINT || write->kind == WRITE_FORGET_CHECKPOINTS) &&
           strcmp(write->checkpoint.stream_arn, row->stream_arn) == 0 &&
           strcmp(write->checkpoint.shard, row->shard) == 0;
}

/* All that the batch says of this row in one go. */
static void write_checkpoints(struct pending *pending)
{
    const struct store_checkpoint *row = &pending->write->checkpoint;
    struct shard_writer *writer = pending->store->options.writer;
    struct shard_change *changes = NULL;
    struct store_write *last = NULL;
    size_t count = 0, capacity = 0;
    CHECK(writer);
    for (struct store_write *write = pending->write; is_of_row(write, row); write = write->next) {
        const struct store_checkpoint *checkpoint = &write->checkpoint;
        mem_grow(&changes, &capacity, count, sizeof *changes);
        changes[count++] = (struct shard_change){checkpoint->handler, write->kind == WRITE_FORGET_CHECKPOINTS,
                                                 checkpoint->position, checkpoint->progress};
        last = write;
    }
    CHECK(last);
    pending->write = last;
    pending->written = mem_alloc(sizeof *pending->written);
    pending->written->pending = pending;
    writer->write(writer, row->stream_arn, row->shard, changes, count, on_written, pending->written);
    free(changes);
}

/* What is shown, out of a batch that is written. */
static void note_one(struct pending *pending)
{
    const struct store_write *write = pending->write;
    struct shard_writer *writer = pending->store->options.writer;
    if (!writer || write->kind != WRITE_HANDLER)
        return;
    struct store_batch *batch = store_batch_new();
    store_put_handler(batch, &write->handler);
    writer->note(writer, batch);
}

static void do_write(struct pending *pending)
{
    switch (pending->write->kind) {
    case WRITE_CHECKPOINT:
    case WRITE_FORGET_CHECKPOINTS:
        if (pending->store->options.writer)
            write_checkpoints(pending);
        else
            follow_seek(pending);
        return;
    case WRITE_FOLLOW:
        follow_put(pending);
        return;
    case WRITE_DEAD_LETTER:
        letters_put(pending);
        return;
    case WRITE_FORGET_DEAD_LETTER:
        letters_forget(pending);
        return;
    case WRITE_MARK_DEAD_LETTER:
        letters_mark(pending);
        return;
    case WRITE_EVENT:
        event_put(pending);
        return;
    case WRITE_FORGET_EVENTS:
        events_forget(pending);
        return;
    case WRITE_MARKER:
        markers_put(pending);
        return;
    case WRITE_REQUEST:
        request_put(pending);
        return;
    case WRITE_ANSWER:
        request_answer(pending);
        return;
    case WRITE_HANDLER:
    case WRITE_SHARD:
    case WRITE_FORGET_SHARD:
    case WRITE_SUBSCRIPTION:
    case WRITE_TROUBLE:
    case WRITE_FORGET_TROUBLE:
    case WRITE_HOST:
    case WRITE_BEGIN_HOST:
    case WRITE_FORGET_HANDLER:
        note_one(pending);
        pending_next(pending);
        return;
    case WRITE_INHERIT:
        follow_inherit(pending);
        return;
    case WRITE_USAGE:
        usage_put(pending);
        return;
    case WRITE_TOLD:
        told_put(pending);
        return;
    }
}

/* ---- the queue ---- */

static void begin(struct pending *pending)
{
    if (pending->load) {
        pending->snapshot = mem_zero(sizeof *pending->snapshot);
        switch (pending->query.what) {
        case STORE_ALL:
            everything_load(pending);
            return;
        case STORE_LETTERS:
        case STORE_MARKED:
        case STORE_REFUSED:
            letters_load(pending);
            return;
        case STORE_DEAD:
            letters_load_counts(pending);
            return;
        case STORE_REQUESTS:
        case STORE_ANSWER:
            requests_load(pending);
            return;
        case STORE_MARKERS:
            markers_load(pending);
            return;
        case STORE_USAGE:
            usage_load(pending);
            return;
        case STORE_TOLD:
            told_load(pending);
            return;
        }
    }
    if (pending->claim)
        markers_claim(pending);
    else if (pending->write)
        do_write(pending);
    else
        pending_done(pending, NULL);
}

static void begin_ready(void *user)
{
    struct store_dynamodb *store = user;
    while (!list_empty(&store->ready)) { /* beginning one may end others */
        struct pending *pending = list_entry(store->ready.next, struct pending, ready);
        list_remove(&pending->ready);
        begin(pending);
    }
}

static void enqueue(struct pending *pending)
{
    list_append(&pending->store->pending, &pending->link);
    if (!pending->waits)
        pending_ready(pending);
}

static void commit(struct store *base, struct store_batch *batch, store_done_fn *done, void *user)
{
    struct store_dynamodb *store = from_store(base);
    struct pending *pending = pending_new(store, user);
    pending->batch = batch;
    pending->write = batch->first;
    pending->done = done;
    wait_for(pending, store->barrier);
    for (const struct store_write *write = batch->first; write; write = write->next)
        touch_what_is_written(pending, write);
    enqueue(pending);
}

static void note(struct store *base, struct store_batch *batch)
{
    struct shard_writer *writer = from_store(base)->options.writer;
    if (writer)
        writer->note(writer, batch);
    else
        store_batch_free(batch);
}

static void claim(struct store *base, const struct store_claim *wanted, store_claim_fn *done, void *user)
{
    struct store_dynamodb *store = from_store(base);
    struct pending *pending = pending_new(store, user);
    const char *owner = wanted->owner ? wanted->owner : "";
    pending->claim = done;
    pending->wanted = *wanted;
    pending->wanted.handler = arena_copy(&pending->arena, wanted->handler, strlen(wanted->handler));
    pending->wanted.key = arena_copy(&pending->arena, wanted->key, strlen(wanted->key));
    pending->wanted.owner = arena_copy(&pending->arena, owner, strlen(owner));
    touch(pending, "marker", wanted->handler, wanted->key, "");
    enqueue(pending);
}

static void load(struct store *base, const struct store_query *query, store_load_fn *done, void *user)
{
    struct store_dynamodb *store = from_store(base);
    struct pending *pending = pending_new(store, user);
    pending->load = done;
    pending->query = *query;
    if (query->handler)
        pending->query.handler = arena_copy(&pending->arena, query->handler, strlen(query->handler));
    if (query->error)
        pending->query.error = arena_copy(&pending->arena, query->error, strlen(query->error));
    wait_for_all(pending);
    enqueue(pending);
}

static void cancel(struct pending *pending, const struct err *cancelled)
{
    store_claim_fn *claimed = pending->claim;
    void *user = pending->user;
    if (pending->load) {
        pending_loaded(pending, cancelled);
    } else if (claimed) {
        pending_end(pending);
        claimed(user, CLAIM_BUSY, "", 0, cancelled);
    } else {
        pending_done(pending, cancelled);
    }
}

static void close_store(struct store *base)
{
    struct store_dynamodb *store = from_store(base);
    struct err cancelled;
    err_set(&cancelled, ERR_CANCELLED, "the state store was closed");
    for (struct list *link; (link = list_take_first(&store->pending));) /* who is told may ask for more */
        cancel(list_entry(link, struct pending, link), &cancelled);
    task_cancel(&store->begin);
    CHECK(!store->last.count);
    map_fini(&store->last);
    calls_free(store->calls);
    free(store->group);
    free(store);
}

static const struct store_ops ops = {commit, note, claim, load, close_store};

struct store *store_dynamodb_new(const struct store_dynamodb_options *options)
{
    struct store_dynamodb *store = mem_zero(sizeof *store);
    store->store.ops = &ops;
    store->write = do_write;
    store->options = *options;
    store->calls = calls_new(&(struct calls_options){.client = options->client,
                                                     .reactor = options->reactor,
                                                     .log = options->log,
                                                     .table = options->table});
    store->group = item_group(options->group);
    list_init(&store->pending);
    list_init(&store->ready);
    task_init(&store->begin, begin_ready, store);
    return &store->store;
}

/* ---- as a kind of store ---- */

static struct store *open_store(struct reactor *reactor, const char *table,
                                const struct store_options *options, struct err *err)
{
    struct state_table_options prepare = {.client = options->client,
                                          .reactor = reactor,
                                          .log = options->log,
                                          .name = table,
                                          .create = options->create,
                                          .must_exist = options->must_exist};
    if (!options->client) {
        err_set(err, ERR_CONFIG, "state: this cannot be done with a table yet");
        return NULL;
    }
    if (!options->prepared && !state_table_prepare(&prepare, err))
        return NULL;
    struct store *store = store_dynamodb_new(&(struct store_dynamodb_options){.client = options->client,
                                                                              .reactor = reactor,
                                                                              .log = options->log,
                                                                              .table = table,
                                                                              .group = options->group,
                                                                              .writer = options->writer});
    if (options->prepared || copying_check(from_store(store)->calls, table, options->group, err))
        return store;
    store_free(store);
    return NULL;
}

/* Nobody has it alone. */
static struct store_lock *take_lock(const char *table, struct err *err)
{
    err_set(err, ERR_BUSY, "state: the hosts of the group share table %s", table);
    return NULL;
}

static void unlock(struct store_lock *lock)
{
    free(lock);
}

static bool in_use(const char *table)
{
    (void)table;
    return true;
}

/* At AWS; Alternator's rights are not IAM's. */
static const char *const actions[] = {"DeleteItem", "DescribeTable", "DescribeTimeToLive", "GetItem",
                                      "PutItem",    "Query",         "UpdateItem",         NULL},
                         *const making[] = {"CreateTable", "UpdateTimeToLive", NULL};

const struct store_kind store_dynamodb_kind = {
    .place = {.scheme = "dynamodb", .form = "dynamodb:TABLE", .checkpoint_interval_ms = 5000},
    .shared = true,
    .copy = &copying_ops,
    .actions = actions,
    .making = making,
    .open = open_store,
    .lock = take_lock,
    .unlock = unlock,
    .in_use = in_use,
};
