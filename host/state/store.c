/* store.c: batches, and the calls that go to the implementation. */
#include "state/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct store_batch *store_batch_new(void)
{
    struct store_batch *batch = mem_zero(sizeof *batch);
    batch->end = &batch->first;
    return batch;
}

void store_batch_free(struct store_batch *batch)
{
    if (!batch)
        return;
    arena_fini(&batch->arena);
    free(batch);
}

bool store_batch_empty(const struct store_batch *batch)
{
    return batch->first == NULL;
}

static struct store_write *add(struct store_batch *batch, enum store_write_kind kind)
{
    struct store_write *write = arena_alloc(&batch->arena, sizeof *write);
    *write = (struct store_write){.kind = kind};
    *batch->end = write;
    batch->end = &write->next;
    return write;
}

static void own(struct store_batch *batch, const char **text)
{
    if (!*text)
        *text = "";
    *text = arena_copy(&batch->arena, *text, strlen(*text));
}

void store_put_checkpoint(struct store_batch *batch, const struct store_checkpoint *checkpoint)
{
    struct store_checkpoint *own_copy = &add(batch, WRITE_CHECKPOINT)->checkpoint;
    *own_copy = *checkpoint;
    own(batch, &own_copy->handler);
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
    own(batch, &own_copy->progress);
}

void store_put_told(struct store_batch *batch, const struct store_told *told)
{
    struct store_told *own_copy = &add(batch, WRITE_TOLD)->told;
    *own_copy = *told;
    own(batch, &own_copy->session);
    own(batch, &own_copy->text);
}

void store_put_usage(struct store_batch *batch, const struct store_usage *usage)
{
    struct store_usage *own_copy = &add(batch, WRITE_USAGE)->usage;
    *own_copy = *usage;
    own(batch, &own_copy->day);
    own(batch, &own_copy->instance);
    own(batch, &own_copy->text);
}

void store_inherit(struct store_batch *batch, const char *heir, const char *former)
{
    struct store_write *write = add(batch, WRITE_INHERIT);
    write->heritage.handler = heir;
    write->heritage.former = former;
    own(batch, &write->heritage.handler);
    own(batch, &write->heritage.former);
}

void store_forget_handler(struct store_batch *batch, const char *handler)
{
    struct store_write *write = add(batch, WRITE_FORGET_HANDLER);
    write->heritage.handler = handler;
    own(batch, &write->heritage.handler);
}

bool store_follow_may_be(const struct store_follow *follow, const char *stream_arn)
{
    static const char table[] = "table:"; /* of a stream whose ARN has no label: nothing in it tells more */
    size_t size = strlen(follow->stream);
    if (strcmp(follow->stream_arn, STORE_FOLLOW_LATEST) != 0)
        return strcmp(follow->stream_arn, stream_arn) == 0;
    return strncmp(follow->stream, table, sizeof table - 1) == 0 ||
           (strncmp(follow->stream, stream_arn, size) == 0 && stream_arn[size] == '/');
}

const struct store_follow *store_follow_find(const struct store_follow *follows, size_t count,
                                             const char *handler, const char *stream_arn)
{
    const struct store_follow *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(follows[i].handler, handler) != 0 || !store_follow_may_be(&follows[i], stream_arn))
            continue;
        if (strcmp(follows[i].stream_arn, stream_arn) == 0)
            return &follows[i];
        found = &follows[i];
    }
    return found;
}

void store_put_follow(struct store_batch *batch, const struct store_follow *follow)
{
    struct store_follow *own_copy = &add(batch, WRITE_FOLLOW)->follow;
    *own_copy = *follow;
    own(batch, &own_copy->stream);
    own(batch, &own_copy->handler);
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->over);
    own(batch, &own_copy->seeks);
    own(batch, &own_copy->after);
    own(batch, &own_copy->formerly);
}

void store_put_dead_letter(struct store_batch *batch, const struct store_dead_letter *letter)
{
    struct store_dead_letter *own_copy = &add(batch, WRITE_DEAD_LETTER)->dead_letter;
    *own_copy = *letter;
    const char **texts[] = {&own_copy->handler,   &own_copy->stream_arn, &own_copy->shard,
                            &own_copy->sequence,  &own_copy->event_id,   &own_copy->keys,
                            &own_copy->record,    &own_copy->error,      &own_copy->traceback,
                            &own_copy->version,   &own_copy->table,      &own_copy->condition,
                            &own_copy->refused_by};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        own(batch, texts[i]);
}

void store_forget_dead_letter(struct store_batch *batch, int64_t id)
{
    add(batch, WRITE_FORGET_DEAD_LETTER)->dead_letter.id = id;
}

void store_forget_redriven(struct store_batch *batch, int64_t id)
{
    struct store_dead_letter *letter = &add(batch, WRITE_FORGET_DEAD_LETTER)->dead_letter;
    letter->id = id;
    letter->redrive_ms = 1; /* at least */
}

void store_mark_dead_letter(struct store_batch *batch, int64_t id, int64_t redrive_ms)
{
    struct store_dead_letter *letter = &add(batch, WRITE_MARK_DEAD_LETTER)->dead_letter;
    letter->id = id;
    letter->redrive_ms = redrive_ms;
}

void store_put_request(struct store_batch *batch, const struct store_request *request)
{
    struct store_request *own_copy = &add(batch, WRITE_REQUEST)->request;
    *own_copy = *request;
    const char **texts[] = {&own_copy->kind, &own_copy->handler, &own_copy->shard, &own_copy->argument};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        own(batch, texts[i]);
}

void store_answer_request(struct store_batch *batch, int64_t id, bool done, const char *answer)
{
    struct store_request *own_copy = &add(batch, WRITE_ANSWER)->request;
    *own_copy =
        (struct store_request){.id = id, .answered = done ? REQUEST_DONE : REQUEST_REFUSED, .answer = answer};
    own(batch, &own_copy->answer);
}

void store_put_subscription(struct store_batch *batch, const struct store_subscription *subscription)
{
    struct store_subscription *own_copy = &add(batch, WRITE_SUBSCRIPTION)->subscription;
    *own_copy = *subscription;
    own(batch, &own_copy->handler);
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
}

void store_rewind_checkpoints(struct store_batch *batch, const char *handler, int64_t since_ms)
{
    struct store_checkpoint *own_copy = &add(batch, WRITE_FORGET_CHECKPOINTS)->checkpoint;
    *own_copy = (struct store_checkpoint){.handler = handler,
                                          .stream_arn = "",
                                          .shard = "",
                                          .position = {.kind = POSITION_LATEST, .since_ms = since_ms}};
    own(batch, &own_copy->handler);
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
}

void store_forget_checkpoints(struct store_batch *batch, const char *handler, const char *stream_arn,
                              const char *shard)
{
    struct store_checkpoint *own_copy = &add(batch, WRITE_FORGET_CHECKPOINTS)->checkpoint;
    *own_copy = (struct store_checkpoint){.handler = handler, .stream_arn = stream_arn, .shard = shard};
    own(batch, &own_copy->handler);
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
}

void store_put_event(struct store_batch *batch, const struct store_event *event)
{
    struct store_event *own_copy = &add(batch, WRITE_EVENT)->event;
    *own_copy = *event;
    const char **texts[] = {&own_copy->kind,  &own_copy->handler,       &own_copy->stream_arn,
                            &own_copy->shard, &own_copy->from_sequence, &own_copy->to_sequence,
                            &own_copy->text};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        own(batch, texts[i]);
}

void store_forget_events(struct store_batch *batch, const char *handler)
{
    struct store_event *own_copy = &add(batch, WRITE_FORGET_EVENTS)->event;
    *own_copy = (struct store_event){.handler = handler};
    own(batch, &own_copy->handler);
}

static struct store_trouble *add_trouble(struct store_batch *batch, enum store_write_kind kind,
                                         const struct store_trouble *trouble)
{
    struct store_trouble *own_copy = &add(batch, kind)->trouble;
    *own_copy = *trouble;
    own(batch, &own_copy->subject);
    own(batch, &own_copy->kind);
    own(batch, &own_copy->text);
    return own_copy;
}

void store_put_trouble(struct store_batch *batch, const struct store_trouble *trouble)
{
    add_trouble(batch, WRITE_TROUBLE, trouble);
}

void store_forget_trouble(struct store_batch *batch, const char *subject, const char *kind)
{
    add_trouble(batch, WRITE_FORGET_TROUBLE, &(struct store_trouble){.subject = subject, .kind = kind});
}

static void add_host(struct store_batch *batch, enum store_write_kind kind, const struct store_host *host)
{
    struct store_host *own_copy = &add(batch, kind)->host;
    *own_copy = *host;
    own(batch, &own_copy->instance);
    own(batch, &own_copy->version);
    own(batch, &own_copy->longest_step);
}

void store_put_host(struct store_batch *batch, const struct store_host *host)
{
    add_host(batch, WRITE_HOST, host);
}

void store_begin_host(struct store_batch *batch, const struct store_host *host)
{
    add_host(batch, WRITE_BEGIN_HOST, host);
}

void store_put_handler(struct store_batch *batch, const struct store_handler *handler)
{
    struct store_handler *own_copy = &add(batch, WRITE_HANDLER)->handler;
    *own_copy = *handler;
    own(batch, &own_copy->handler);
    own(batch, &own_copy->version);
}

void store_put_shard(struct store_batch *batch, const struct store_shard *shard)
{
    struct store_shard *own_copy = &add(batch, WRITE_SHARD)->shard;
    *own_copy = *shard;
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
}

void store_forget_shard(struct store_batch *batch, const char *stream_arn, const char *shard)
{
    struct store_shard *own_copy = &add(batch, WRITE_FORGET_SHARD)->shard;
    *own_copy = (struct store_shard){.stream_arn = stream_arn, .shard = shard};
    own(batch, &own_copy->stream_arn);
    own(batch, &own_copy->shard);
}

void store_put_marker(struct store_batch *batch, const struct store_marker *marker)
{
    struct store_marker *own_copy = &add(batch, WRITE_MARKER)->marker;
    *own_copy = *marker;
    own(batch, &own_copy->handler);
    own(batch, &own_copy->key);
    own(batch, &own_copy->owner);
    if (own_copy->result)
        own(batch, &own_copy->result);
}

/* The boot, the process and when it began: a number alone may be another's by now. */
static bool describe_process(long pid, char *text, size_t size)
{
    char path[64], boot[64] = "", line[1024];
    unsigned long long began = 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (!fgets(boot, sizeof boot, file))
            boot[0] = '\0';
        fclose(file);
    }
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    const char *behind_name = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    /* proc(5): `starttime` is the 20th field behind the name. */
    if (behind_name)
        for (int field = 0; behind_name && field < 20; field++)
            behind_name = strchr(behind_name + 1, ' ');
    if (behind_name)
        began = strtoull(behind_name, NULL, 10);
    fclose(file);
    snprintf(text, size, "process:%s:%ld:%llu", boot, pid, began);
    return true;
}

void store_process_owner(char owner[STORE_OWNER_SIZE])
{
    if (!describe_process((long)getpid(), owner, STORE_OWNER_SIZE))
        snprintf(owner, STORE_OWNER_SIZE, "process");
}

bool store_owner_is_gone(const char *owner)
{
    char now[STORE_OWNER_SIZE];
    const char *pid = strncmp(owner, "process:", 8) == 0 ? strchr(owner + 8, ':') : NULL;
    size_t size = strcspn(owner, "/"); /* behind that the owner may say more */
    return pid && (!describe_process(strtol(pid + 1, NULL, 10), now, sizeof now) || strlen(now) != size ||
                   strncmp(now, owner, size) != 0);
}

void store_claim(struct store *store, const struct store_claim *claim, store_claim_fn *done, void *user)
{
    store->ops->claim(store, claim, done, user);
}

void store_note(struct store *store, struct store_batch *batch)
{
    if (store_batch_empty(batch))
        store_batch_free(batch);
    else
        store->ops->note(store, batch);
}

void store_commit(struct store *store, struct store_batch *batch, store_done_fn *done, void *user)
{
    store->ops->commit(store, batch, done, user);
}

void store_load(struct store *store, const struct store_query *query, store_load_fn *done, void *user)
{
    store->ops->load(store, query, done, user);
}

struct loading {
    struct store_snapshot *snapshot;
    struct err *err;
    bool done;
};

static void on_loaded(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct loading *loading = user;
    loading->snapshot = snapshot;
    loading->done = true;
    if (err)
        *loading->err = *err;
}

struct store_snapshot *store_load_now(struct store *store, struct reactor *reactor,
                                      const struct store_query *query, struct err *err)
{
    struct loading loading = {.err = err};
    store_load(store, query, on_loaded, &loading);
    reactor_turn_until(reactor, &loading.done);
    return loading.snapshot;
}

static void on_committed(void *user, const struct err *err)
{
    on_loaded(user, NULL, err);
}

bool store_commit_now(struct store *store, struct reactor *reactor, struct store_batch *batch,
                      struct err *err)
{
    struct err failure = {0};
    struct loading loading = {.err = &failure};
    store_commit(store, batch, on_committed, &loading);
    reactor_turn_until(reactor, &loading.done);
    if (failure.code)
        *err = failure;
    return !failure.code;
}

struct committing {
    struct timer patience;
    struct err err;
    bool over;    /* for who waits: it is done, or takes too long */
    bool written; /* for the store */
    bool left;    /* nobody waits any more */
};

static void on_impatience(void *user)
{
    struct committing *committing = user;
    err_set(&committing->err, ERR_TIMEOUT, "the state does not take what is written; see above");
    committing->over = true;
}

static void on_written(void *user, const struct err *err)
{
    struct committing *committing = user;
    if (committing->left) {
        free(committing);
        return;
    }
    committing->err = err ? *err : (struct err){0};
    committing->over = committing->written = true;
}

bool store_commit_within(struct store *store, struct reactor *reactor, struct store_batch *batch,
                         int64_t patience_ms, struct err *err)
{
    struct committing *committing = mem_zero(sizeof *committing);
    timer_init(&committing->patience, on_impatience, committing);
    timer_set(reactor, &committing->patience, patience_ms);
    store_commit(store, batch, on_written, committing);
    reactor_turn_until(reactor, &committing->over);
    timer_stop(reactor, &committing->patience);
    bool well = !committing->err.code;
    if (!well)
        *err = committing->err;
    committing->left = !committing->written;
    if (committing->written)
        free(committing);
    return well;
}

void store_snapshot_free(struct store_snapshot *snapshot)
{
    if (!snapshot)
        return;
    arena_fini(&snapshot->arena);
    free(snapshot);
}

const struct store_request *store_find_pause(const struct store_snapshot *snapshot, const char *handler)
{
    for (size_t i = 0; i < snapshot->request_count; i++)
        if (strcmp(snapshot->requests[i].kind, STORE_PAUSED) == 0 &&
            strcmp(snapshot->requests[i].handler, handler) == 0)
            return &snapshot->requests[i];
    return NULL;
}

int64_t store_sum_dead(const struct store_snapshot *snapshot, size_t *i)
{
    const struct store_dead_count *dead = snapshot->dead;
    int64_t sum = dead[*i].count;
    while (*i + 1 < snapshot->dead_count && strcmp(dead[*i + 1].handler, dead[*i].handler) == 0)
        sum += dead[++*i].count;
    return sum;
}

void store_free(struct store *store)
{
    if (store)
        store->ops->free(store);
}
