/* stream_supervisor.c: find the stream, list its shards, assign, and move on. */
#include "core/stream_supervisor.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/generation.h"
#include "dispatch/subscription.h"

#define FIND_RETRY_MS_MIN 500
#define FIND_RETRY_MS_MAX 10000
#define COMPLAIN_EVERY_MS 60000

/* Where a handler stands in a shard. */
struct known {
    struct position position;
    char progress[];
};

/* One handler on this stream. */
struct follower {
    struct list link;
    struct stream_supervisor *supervisor;
    char *handler;
    struct generation *generation; /* NULL: not known yet */
    enum {
        FOLLOWER_NEW,     /* has never seen the stream: `start` will apply */
        FOLLOWER_JOINING, /* its beginning is being made durable */
        FOLLOWER_READY,
    } phase;
    bool removed; /* to be freed when its beginning is durable */
    struct progress progress;
    bool latest;            /* begins at the latest record, whatever `start` says: it was sought there */
    struct map positions;   /* shard -> struct known, owned: where to begin */
    struct map cursors;     /* shard -> char *, owned: cursors at LATEST, used once */
    struct map active;      /* shards given to a worker */
    int64_t listing_needed; /* the listing that must have ended before the generation can be over */
    bool told_disabled;
    /* while it joins at LATEST */
    int64_t since_ms;
    size_t cursors_wanted;
    struct list cursor_calls;
};

struct cursor_call {
    struct list link;
    struct follower *follower;
    struct source_call *call;
    struct timer retry;
    char *shard;
};

struct stream_supervisor {
    struct stream_supervisor_options options;
    char *subject;
    struct list generations;
    struct list followers;
    char *latest_arn; /* of the table, or the fixed one */
    struct timer find;
    struct source_call *finding;
    int64_t find_retry_ms;
    int64_t complained_ms;
    char *complaint;
    struct follower *moving; /* to the generation that is looked for */
    struct source_call *moving_call;
};

static void review(struct stream_supervisor *supervisor, struct generation *generation);
static void follower_free(struct follower *follower);

static int64_t now_ms(const struct stream_supervisor *supervisor)
{
    return clock_monotonic_ms(reactor_clock(supervisor->options.reactor));
}

/* ---- generations ---- */

static struct generation *find_generation(struct stream_supervisor *supervisor, const char *stream_arn)
{
    struct generation *generation;
    list_each(generation, &supervisor->generations, struct generation, link)
        if (strcmp(generation->stream_arn, stream_arn) == 0)
            return generation;
    return NULL;
}

static void on_listed(void *user)
{
    struct generation *generation = user;
    generation->missing = false;
    review(generation->owner, generation);
}

static struct follower *any_active(struct stream_supervisor *supervisor, const char *shard)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link)
        if (!follower->removed && map_get(&follower->active, shard))
            return follower;
    return NULL;
}

/* What the store knows of a shard that is gone from the stream may go too, once nobody reads it. */
static void forget(struct stream_supervisor *supervisor, struct generation *generation, const char *shard)
{
    struct follower *follower;
    struct store_batch *batch = store_batch_new();
    store_forget_shard(batch, generation->stream_arn, shard);
    store_commit(supervisor->options.store, batch, NULL, NULL);
    list_each(follower, &supervisor->followers, struct follower, link)
        if (follower->generation == generation)
            progress_forget(&follower->progress, shard);
    map_remove(&generation->workers, shard);
    map_remove(&generation->told_closed, shard);
    map_remove(&generation->missed, shard);
}

static void on_gone(void *user, const char *shard)
{
    struct generation *generation = user;
    struct stream_supervisor *supervisor = generation->owner;
    if (!any_active(supervisor, shard))
        forget(supervisor, generation, shard);
    else if (map_get(&generation->missed, shard))
        worker_shard_vanished(map_get(&generation->workers, shard), generation->stream_arn, shard);
}

static void on_missing(void *user)
{
    struct generation *generation = user;
    generation->missing = true;
    review(generation->owner, generation);
}

static struct generation *open_generation(struct stream_supervisor *supervisor, const char *stream_arn)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    if (generation)
        return generation;
    generation = generation_new(stream_arn, supervisor->options.stream->table);
    generation->owner = supervisor;
    generation->discovery = discovery_new(
        &(struct discovery_options){
            .reactor = supervisor->options.reactor,
            .source = supervisor->options.source,
            .log = supervisor->options.log,
            .subject = supervisor->subject,
            .stream_arn = stream_arn,
            .interval_ms = supervisor->options.stream->discovery_ms,
        },
        &(struct discovery_events){.listed = on_listed, .gone = on_gone, .missing = on_missing}, generation);
    list_append(&supervisor->generations, &generation->link);
    return generation;
}

/* ---- assigning ---- */

static void set_position(struct follower *follower, const char *shard, const struct position *position,
                         const char *progress)
{
    size_t size = strlen(progress) + 1;
    struct known *known = mem_alloc(sizeof *known + size);
    known->position = *position;
    memcpy(known->progress, progress, size);
    free(map_remove(&follower->positions, shard));
    map_set(&follower->positions, shard, known);
}

static void give(struct follower *follower, const char *shard)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    struct generation *generation = follower->generation;
    const struct known *known = map_get(&follower->positions, shard);
    char *cursor = map_remove(&follower->cursors, shard);
    bool closed = lineage_closed(discovery_lineage(generation->discovery), shard);
    struct worker *worker =
        generation_worker(generation, shard, supervisor->options.workers, supervisor->options.worker_count);
    struct assignment assignment = {
        .config = supervisor->options.config,
        .stream = supervisor->options.stream,
        .stream_arn = generation->stream_arn,
        .table = generation->table,
        .shard = shard,
        .handler = follower->handler,
        .position = known ? known->position : (struct position){.kind = POSITION_TRIM_HORIZON},
        .progress = known ? known->progress : "",
        .cursor = cursor,
        .closed = closed,
    };
    if (closed)
        map_set(&generation->told_closed, shard, generation);
    worker_assign(worker, &assignment);
    free(cursor);
}

struct inheritance {
    struct stream_supervisor *supervisor;
    struct generation *generation;
    char *handler, *shard;
};

static void on_inherited(void *user, const struct err *err)
{
    struct inheritance *inheritance = user;
    struct follower *follower;
    list_each(follower, &inheritance->supervisor->followers, struct follower, link)
        if (!err && !follower->removed && follower->generation == inheritance->generation &&
            strcmp(follower->handler, inheritance->handler) == 0 &&
            map_get(&follower->active, inheritance->shard))
            give(follower, inheritance->shard);
    free(inheritance->handler);
    free(inheritance->shard);
    free(inheritance);
}

/* The parent was finished with a window open, which goes on in this child: both rows change in one write,
 * before the child is read. Of several children the first one is the heir. */
static bool inherit(struct follower *follower, const char *shard, const char *parent)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    const struct known *known = parent ? map_get(&follower->positions, parent) : NULL;
    const struct position begin = {.kind = POSITION_TRIM_HORIZON};
    const char *stream_arn = follower->generation->stream_arn;
    struct buf progress = BUF_INIT;
    if (!known || map_get(&follower->positions, shard) || !subscription_inherit(known->progress, &progress))
        return false;
    struct position finished = known->position;
    struct store_batch *batch = store_batch_new();
    store_put_checkpoint(batch,
                         &(struct store_checkpoint){follower->handler, stream_arn, parent, finished, ""});
    store_put_checkpoint(
        batch, &(struct store_checkpoint){follower->handler, stream_arn, shard, begin, progress.data});
    set_position(follower, parent, &finished, "");
    set_position(follower, shard, &begin, progress.data);
    struct inheritance *inheritance = mem_alloc(sizeof *inheritance);
    *inheritance = (struct inheritance){supervisor, follower->generation, mem_string(follower->handler),
                                        mem_string(shard)};
    store_commit(supervisor->options.store, batch, on_inherited, inheritance);
    buf_fini(&progress);
    return true;
}

static void assign(struct follower *follower, const struct shard_info *shard)
{
    map_set(&follower->active, shard->id, follower);
    if (!inherit(follower, shard->id, shard->parent))
        give(follower, shard->id);
}

static void assign_ready(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const struct shard_info *shard = lineage_at(lineage, i);
        if (!map_get(&follower->active, shard->id) && lineage_ready(lineage, &follower->progress, shard->id))
            assign(follower, shard);
    }
}

static void tell_closed(struct generation *generation)
{
    const struct lineage *lineage = discovery_lineage(generation->discovery);
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const char *shard = lineage_at(lineage, i)->id;
        struct worker *worker = map_get(&generation->workers, shard);
        if (!worker || !lineage_closed(lineage, shard) || map_get(&generation->told_closed, shard))
            continue;
        map_set(&generation->told_closed, shard, generation);
        worker_shard_closed(worker, generation->stream_arn, shard);
    }
}

/* ---- joining: where a handler begins on a stream ---- */

static void put_follow(struct follower *follower, struct store_batch *batch)
{
    const char *stream_arn = follower->generation->stream_arn;
    char *identity = stream_identity(stream_arn, follower->supervisor->options.stream->table);
    store_put_follow(batch, &(struct store_follow){identity, follower->handler, stream_arn});
    free(identity);
}

static void on_joined(void *user, const struct err *err)
{
    struct follower *follower = user;
    if (err)
        return; /* closed first: it joins at the next start */
    if (follower->removed) {
        follower_free(follower);
        return;
    }
    follower->phase = FOLLOWER_READY;
    review(follower->supervisor, follower->generation);
}

static void commit_join(struct follower *follower, struct store_batch *batch)
{
    put_follow(follower, batch);
    store_commit(follower->supervisor->options.store, batch, on_joined, follower);
}

/* Closed shards are finished, open ones begin at `since_ms`; children that come later begin at their start.
 * All of it is durable before the first record is read, so that a restart before the first checkpoint does
 * not skip what was written meanwhile. */
static void commit_latest(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    struct store_batch *batch = store_batch_new();
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const char *shard = lineage_at(lineage, i)->id;
        bool open = map_get(&follower->cursors, shard) != NULL;
        struct position position = {.kind = open ? POSITION_LATEST : POSITION_FINISHED,
                                    .since_ms = follower->since_ms};
        struct store_checkpoint checkpoint = {follower->handler, follower->generation->stream_arn, shard,
                                              position, ""};
        store_put_checkpoint(batch, &checkpoint);
        set_position(follower, shard, &position, "");
        if (!open)
            progress_finish(&follower->progress, shard);
    }
    log_info(follower->supervisor->options.log, follower->supervisor->subject,
             "handler %s begins at the latest record (%zu open shards)", follower->handler,
             follower->cursors.count);
    commit_join(follower, batch);
}

static void cursor_call_free(struct cursor_call *call)
{
    struct stream_supervisor *supervisor = call->follower->supervisor;
    source_cancel(supervisor->options.source, call->call);
    timer_stop(supervisor->options.reactor, &call->retry);
    list_remove(&call->link);
    free(call->shard);
    free(call);
}

static void on_latest_cursor(void *user, const char *cursor, const struct err *err)
{
    struct cursor_call *call = user;
    struct follower *follower = call->follower;
    call->call = NULL;
    if (err && source_fault(err) != SOURCE_MISSING) {
        log_debug(follower->supervisor->options.log, follower->supervisor->subject, "%s", err->text);
        timer_set(follower->supervisor->options.reactor, &call->retry, FIND_RETRY_MS_MIN);
        return;
    }
    if (cursor)
        map_set(&follower->cursors, call->shard, mem_string(cursor));
    cursor_call_free(call);
    if (--follower->cursors_wanted == 0)
        commit_latest(follower);
}

static void ask_latest_cursor(void *user)
{
    struct cursor_call *call = user;
    struct follower *follower = call->follower;
    call->call = source_get_cursor(follower->supervisor->options.source, follower->generation->stream_arn,
                                   call->shard, CURSOR_LATEST, NULL, on_latest_cursor, call);
}

/* `since_ms` lies before the listing that has just ended, and the cursors are got before the beginning is
 * made durable: whatever is written after that is behind one of them, or in a child that begins at its
 * start. */
static void join_latest(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const char *shard = lineage_at(lineage, i)->id;
        if (lineage_closed(lineage, shard))
            continue;
        struct cursor_call *call = mem_zero(sizeof *call);
        call->follower = follower;
        call->shard = mem_string(shard);
        timer_init(&call->retry, ask_latest_cursor, call);
        list_append(&follower->cursor_calls, &call->link);
        follower->cursors_wanted++;
    }
    struct cursor_call *call;
    list_each(call, &follower->cursor_calls, struct cursor_call, link)
        ask_latest_cursor(call);
    if (!follower->cursors_wanted)
        commit_latest(follower);
}

/* The handler's first sight of the stream. */
static void begin(struct follower *follower)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    struct discovery *discovery = follower->generation->discovery;
    bool latest = follower->latest || supervisor->options.stream->start == START_LATEST;
    if (latest && !follower->since_ms) {
        /* Wait for a listing that begins after this moment. */
        follower->since_ms = aws_client_earliest_now_ms(supervisor->options.client);
        follower->listing_needed = discovery_begun(discovery) + 1;
        discovery_now(discovery);
        return;
    }
    if (latest && discovery_ended(discovery) < follower->listing_needed)
        return;
    follower->phase = FOLLOWER_JOINING;
    if (latest) {
        join_latest(follower);
    } else {
        log_info(supervisor->options.log, supervisor->subject, "handler %s begins at the oldest record",
                 follower->handler);
        commit_join(follower, store_batch_new());
    }
}

/* ---- moving on to the next stream ---- */

static bool generation_over(const struct follower *follower)
{
    const struct generation *generation = follower->generation;
    const struct lineage *lineage = discovery_lineage(generation->discovery);
    if (generation->missing)
        return follower->active.count == 0;
    return discovery_status(generation->discovery) == STREAM_DISABLED &&
           discovery_ended(generation->discovery) >= follower->listing_needed &&
           lineage_all_finished(lineage, &follower->progress);
}

static void clear_owned(struct map *map)
{
    size_t at = 0;
    for (void *value; (value = map_next(map, &at, NULL));)
        free(value);
    map_fini(map);
}

static void take_snapshot(struct follower *follower);

/* The old stream is gone and was not read to its end. */
static void put_lost_stream(struct follower *follower, struct store_batch *batch)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    static const char text[] = "the stream was gone before it was read to its end";
    log_error(supervisor->options.log, supervisor->subject, "handler %s: %s: %s", follower->handler,
              follower->generation->stream_arn, text);
    store_put_event(batch, &(struct store_event){
                               .kind = "gap",
                               .handler = follower->handler,
                               .stream_arn = follower->generation->stream_arn,
                               .text = text,
                               .time_ms = clock_wall_ms(reactor_clock(supervisor->options.reactor)),
                           });
}

static void move_to(struct follower *follower, const char *stream_arn)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    struct store_batch *batch = store_batch_new();
    if (follower->generation->missing)
        put_lost_stream(follower, batch);
    log_info(supervisor->options.log, supervisor->subject, "handler %s has finished %s and goes on to %s",
             follower->handler, follower->generation->stream_arn, stream_arn);
    progress_fini(&follower->progress);
    clear_owned(&follower->positions);
    clear_owned(&follower->cursors);
    map_fini(&follower->active);
    follower->told_disabled = follower->latest = false;
    follower->listing_needed = 0;
    follower->phase = FOLLOWER_JOINING; /* always at the oldest record: `start` applied once */
    follower->generation = open_generation(supervisor, stream_arn);
    take_snapshot(follower);
    commit_join(follower, batch);
}

static void on_next_stream(void *user, const char *stream_arn, const struct err *err)
{
    struct stream_supervisor *supervisor = user;
    struct follower *follower = supervisor->moving;
    supervisor->moving_call = NULL;
    supervisor->moving = NULL;
    if (err)
        log_warn(supervisor->options.log, supervisor->subject,
                 "cannot list the table's streams, going on to the latest: %s", err->text);
    const char *next = stream_arn ? stream_arn : supervisor->latest_arn;
    if (next && strcmp(next, follower->generation->stream_arn) != 0)
        move_to(follower, next);
}

/* The stream between may have been enabled and disabled while nobody looked: ask which came next. */
static void move_on(struct follower *follower)
{
    struct stream_supervisor *supervisor = follower->supervisor;
    const char *latest = supervisor->latest_arn;
    if (!latest || strcmp(latest, follower->generation->stream_arn) == 0) {
        if (!follower->told_disabled && !follower->generation->missing)
            log_warn(supervisor->options.log, supervisor->subject,
                     "the stream is disabled and read to its end; waiting for it to be enabled again");
        follower->told_disabled = true;
        return;
    }
    if (supervisor->moving)
        return; /* one at a time; the next review comes here again */
    supervisor->moving = follower;
    supervisor->moving_call =
        source_next_stream(supervisor->options.source, follower->generation->table,
                           follower->generation->stream_arn, on_next_stream, supervisor);
}

/* ---- review: whatever may be done now ---- */

/* The stream itself is gone for good (another has taken its place): so are the shards that are missing. */
static void vanish_missed(struct generation *generation)
{
    size_t at = 0;
    const char *shard;
    while (map_next(&generation->missed, &at, &shard)) {
        struct worker *worker = map_get(&generation->workers, shard);
        if (worker)
            worker_shard_vanished(worker, generation->stream_arn, shard);
    }
}

static bool superseded(const struct stream_supervisor *supervisor, const struct generation *generation)
{
    return supervisor->latest_arn && strcmp(supervisor->latest_arn, generation->stream_arn) != 0;
}

static void review(struct stream_supervisor *supervisor, struct generation *generation)
{
    struct follower *follower;
    bool gone = generation->missing && superseded(supervisor, generation);
    if (!discovery_listed(generation->discovery) && !gone)
        return;
    tell_closed(generation);
    if (gone)
        vanish_missed(generation);
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation || follower->removed)
            continue;
        if (follower->phase == FOLLOWER_NEW && !generation->missing)
            begin(follower);
        if (follower->phase != FOLLOWER_READY)
            continue;
        if (!generation->missing)
            assign_ready(follower);
        if (generation_over(follower))
            move_on(follower);
    }
}

/* ---- reports of workers ---- */

void stream_supervisor_closed(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    if (generation)
        discovery_shard_closed(generation->discovery, shard);
}

void stream_supervisor_finished(struct stream_supervisor *supervisor, const char *stream_arn,
                                const char *shard, const char *handler, const char *progress)
{
    static const struct position finished = {.kind = POSITION_FINISHED};
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct follower *follower;
    if (!generation)
        return;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation || strcmp(follower->handler, handler) != 0)
            continue;
        progress_finish(&follower->progress, shard);
        map_remove(&follower->active, shard);
        set_position(follower, shard, &finished, progress);
        follower->listing_needed = discovery_begun(generation->discovery) + 1;
    }
    if (!lineage_knows(discovery_lineage(generation->discovery), shard) && !any_active(supervisor, shard))
        forget(supervisor, generation, shard);
    discovery_shard_closed(generation->discovery, shard);
    if (discovery_status(generation->discovery) == STREAM_DISABLED)
        discovery_now(generation->discovery);
    review(supervisor, generation);
}

void stream_supervisor_missing(struct stream_supervisor *supervisor, const char *stream_arn,
                               const char *shard)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    if (!generation)
        return;
    map_set(&generation->missed, shard, generation);
    if (discovery_listed(generation->discovery) &&
        !lineage_knows(discovery_lineage(generation->discovery), shard))
        worker_shard_vanished(map_get(&generation->workers, shard), stream_arn, shard);
    else if (generation->missing && superseded(supervisor, generation))
        vanish_missed(generation);
    else
        discovery_now(generation->discovery);
}

/* ---- dead letters ---- */

/* Where the items of a shard are now: the shard itself while the handler reads it, else one of its
 * descendants. NULL: the handler is between two of them. */
static const char *find_descendant(struct follower *follower, const char *shard, size_t depth)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    const char *found = NULL;
    if (map_get(&follower->active, shard))
        return shard;
    for (size_t i = 0; i < lineage_count(lineage) && !found && depth; i++) {
        const struct shard_info *info = lineage_at(lineage, i);
        if (info->parent && strcmp(info->parent, shard) == 0)
            found = find_descendant(follower, info->id, depth - 1);
    }
    return found;
}

/* For a record of a shard that is not known any more, any will do. */
static const char *find_place(struct follower *follower, const char *shard)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    const char *any = NULL;
    size_t at = 0;
    if (lineage_knows(lineage, shard))
        return find_descendant(follower, shard, lineage_count(lineage));
    map_next(&follower->active, &at, &any);
    return any;
}

bool stream_supervisor_redrive(struct stream_supervisor *supervisor, const struct store_dead_letter *letter)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (strcmp(follower->handler, letter->handler) != 0 || follower->removed || !follower->generation ||
            follower->phase != FOLLOWER_READY)
            continue;
        const char *shard = find_place(follower, letter->shard);
        struct worker *worker = shard ? map_get(&follower->generation->workers, shard) : NULL;
        if (!worker)
            return false;
        worker_redrive(worker, follower->generation->stream_arn, shard, letter->handler, letter->id,
                       letter->record);
        return true;
    }
    return false;
}

/* ---- finding the stream ---- */

/* What the store knows of the handler on its generation. */
static void take_snapshot(struct follower *follower)
{
    const struct store_snapshot *snapshot = follower->supervisor->options.snapshot;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follower->handler) != 0 ||
            strcmp(row->stream_arn, follower->generation->stream_arn) != 0)
            continue;
        set_position(follower, row->shard, &row->position, row->progress);
        if (row->position.kind == POSITION_FINISHED)
            progress_finish(&follower->progress, row->shard);
    }
}

static void join(struct follower *follower, struct generation *generation)
{
    follower->generation = generation;
    take_snapshot(follower);
    if (discovery_listed(generation->discovery))
        review(follower->supervisor, generation);
}

/* Handlers that have no stream yet get the one they were on, or begin with the latest. */
static void place_followers(struct stream_supervisor *supervisor)
{
    const struct store_snapshot *snapshot = supervisor->options.snapshot;
    char *identity = stream_identity(supervisor->latest_arn, supervisor->options.stream->table);
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        const char *stream_arn = NULL;
        if (follower->generation)
            continue;
        for (size_t i = 0; i < snapshot->follow_count; i++)
            if (strcmp(snapshot->follows[i].stream, identity) == 0 &&
                strcmp(snapshot->follows[i].handler, follower->handler) == 0)
                stream_arn = snapshot->follows[i].stream_arn;
        follower->latest = stream_arn && strcmp(stream_arn, STORE_FOLLOW_LATEST) == 0;
        if (follower->latest)
            stream_arn = NULL;
        follower->phase = stream_arn ? FOLLOWER_READY : FOLLOWER_NEW;
        join(follower, open_generation(supervisor, stream_arn ? stream_arn : supervisor->latest_arn));
    }
    free(identity);
}

static void set_latest(struct stream_supervisor *supervisor, const char *stream_arn)
{
    struct generation *generation;
    if (supervisor->latest_arn && strcmp(supervisor->latest_arn, stream_arn) == 0) {
        place_followers(supervisor);
        return;
    }
    log_info(supervisor->options.log, supervisor->subject, "reading %s", stream_arn);
    free(supervisor->latest_arn);
    supervisor->latest_arn = mem_string(stream_arn);
    place_followers(supervisor);
    /* Those on an older stream may now go on. */
    list_each(generation, &supervisor->generations, struct generation, link)
        discovery_now(generation->discovery);
}

static void complain(struct stream_supervisor *supervisor, const char *sentence)
{
    int64_t now = now_ms(supervisor);
    bool same = supervisor->complaint && strcmp(supervisor->complaint, sentence) == 0;
    if (same && now - supervisor->complained_ms < COMPLAIN_EVERY_MS)
        return;
    free(supervisor->complaint);
    supervisor->complaint = mem_string(sentence);
    supervisor->complained_ms = now;
    log_warn(supervisor->options.log, supervisor->subject, "%s", sentence);
}

static void find(void *user);

static void on_found(void *user, const char *stream_arn, const struct err *err)
{
    struct stream_supervisor *supervisor = user;
    supervisor->finding = NULL;
    if (stream_arn) {
        supervisor->find_retry_ms = 0;
        timer_set(supervisor->options.reactor, &supervisor->find, supervisor->options.stream->discovery_ms);
        set_latest(supervisor, stream_arn);
        return;
    }
    char *sentence =
        err ? mem_printf("cannot look at table %s, trying again: %s", supervisor->options.stream->table,
                         err->text)
            : mem_printf("table %s has no stream; enable one (view type NEW_AND_OLD_IMAGES), it will be "
                         "noticed",
                         supervisor->options.stream->table);
    complain(supervisor, sentence);
    free(sentence);
    supervisor->find_retry_ms = supervisor->find_retry_ms ? supervisor->find_retry_ms * 2 : FIND_RETRY_MS_MIN;
    if (supervisor->find_retry_ms > FIND_RETRY_MS_MAX)
        supervisor->find_retry_ms = FIND_RETRY_MS_MAX;
    timer_set(supervisor->options.reactor, &supervisor->find, supervisor->find_retry_ms);
}

/* Older streams that every handler has left. */
static void close_old_generations(struct stream_supervisor *supervisor)
{
    struct generation *generation;
    struct follower *follower;
    list_each(generation, &supervisor->generations, struct generation, link) {
        bool used = !superseded(supervisor, generation);
        list_each(follower, &supervisor->followers, struct follower, link)
            used = used || follower->generation == generation;
        if (!used)
            generation_free(generation);
    }
}

static void find(void *user)
{
    struct stream_supervisor *supervisor = user;
    close_old_generations(supervisor);
    if (list_empty(&supervisor->followers)) /* nobody asks */
        timer_set(supervisor->options.reactor, &supervisor->find, supervisor->options.stream->discovery_ms);
    else if (supervisor->options.stream->arn)
        set_latest(supervisor, supervisor->options.stream->arn);
    else
        supervisor->finding = source_find_stream(supervisor->options.source,
                                                 supervisor->options.stream->table, on_found, supervisor);
}

/* ---- life ---- */

struct stream_supervisor *stream_supervisor_new(const struct stream_supervisor_options *options)
{
    struct stream_supervisor *supervisor = mem_zero(sizeof *supervisor);
    supervisor->options = *options;
    config_hold(options->config);
    supervisor->subject = mem_printf("stream %s", options->stream->name);
    list_init(&supervisor->generations);
    list_init(&supervisor->followers);
    timer_init(&supervisor->find, find, supervisor);
    timer_set(options->reactor, &supervisor->find, 0);
    return supervisor;
}

static void follower_free(struct follower *follower)
{
    struct cursor_call *call;
    list_each(call, &follower->cursor_calls, struct cursor_call, link)
        cursor_call_free(call);
    list_remove(&follower->link);
    progress_fini(&follower->progress);
    clear_owned(&follower->positions);
    clear_owned(&follower->cursors);
    map_fini(&follower->active);
    free(follower->handler);
    free(follower);
}

void stream_supervisor_free(struct stream_supervisor *supervisor)
{
    struct follower *follower;
    struct generation *generation;
    if (!supervisor)
        return;
    timer_stop(supervisor->options.reactor, &supervisor->find);
    source_cancel(supervisor->options.source, supervisor->finding);
    source_cancel(supervisor->options.source, supervisor->moving_call);
    list_each(follower, &supervisor->followers, struct follower, link)
        follower_free(follower);
    list_each(generation, &supervisor->generations, struct generation, link)
        generation_free(generation);
    free(supervisor->latest_arn);
    free(supervisor->complaint);
    config_release(supervisor->options.config);
    free(supervisor->subject);
    free(supervisor);
}

void stream_supervisor_add_handler(struct stream_supervisor *supervisor, const char *handler)
{
    struct follower *follower = mem_zero(sizeof *follower);
    follower->supervisor = supervisor;
    follower->handler = mem_string(handler);
    list_init(&follower->cursor_calls);
    list_append(&supervisor->followers, &follower->link);
    if (supervisor->latest_arn)
        place_followers(supervisor);
    else if (!supervisor->finding)
        timer_set(supervisor->options.reactor, &supervisor->find, 0);
}

const char *stream_supervisor_name(const struct stream_supervisor *supervisor)
{
    return supervisor->options.stream->name;
}

const struct config *stream_supervisor_config(const struct stream_supervisor *supervisor)
{
    return supervisor->options.config;
}

bool stream_supervisor_idle(const struct stream_supervisor *supervisor)
{
    return list_empty(&supervisor->followers);
}

void stream_supervisor_set_snapshot(struct stream_supervisor *supervisor,
                                    const struct store_snapshot *snapshot)
{
    supervisor->options.snapshot = snapshot;
}

void stream_supervisor_remove_handler(struct stream_supervisor *supervisor, const char *handler)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (strcmp(follower->handler, handler) != 0 || follower->removed)
            continue;
        follower->removed = true;
        if (supervisor->moving == follower) {
            source_cancel(supervisor->options.source, supervisor->moving_call);
            supervisor->moving_call = NULL;
            supervisor->moving = NULL;
        }
        /* While its beginning is on the way to the store, the store will come back to it. */
        if (follower->phase != FOLLOWER_JOINING || follower->cursors_wanted)
            follower_free(follower);
    }
}
