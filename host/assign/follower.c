/* follower.c: a handler's way onto a stream and from shard to shard. */
#include "assign/follower.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/mem.h"
#include "dispatch/subscription.h"
#include "source/export/source_export.h"
#include "source/snapshot/source_snapshot.h"

#define CURSOR_RETRY_MS 500

/* ---- assigning ---- */

void follower_set_position(struct follower *follower, const char *shard, const struct position *position,
                           const char *progress)
{
    size_t size = strlen(progress) + 1;
    struct known *known = mem_alloc(sizeof *known + size);
    known->position = *position;
    memcpy(known->progress, progress, size);
    free(map_remove(&follower->positions, shard));
    map_set(&follower->positions, shard, known);
}

/* Where the store says nothing of a shard. A snapshot is read from its beginning. */
static struct position begins(const struct follower *follower, const char *stream_arn)
{
    int64_t since_ms = snapshot_of_arn(stream_arn) ? 0 : follower->begins_ms;
    return (struct position){.kind = since_ms ? POSITION_LATEST : POSITION_TRIM_HORIZON,
                             .since_ms = since_ms};
}

static void give(struct follower *follower, const char *shard, bool last)
{
    const struct stream_supervisor_options *options = follower->options;
    struct generation *generation = follower->generation;
    const struct known *known = map_get(&follower->positions, shard);
    CHECK(follower->phase == FOLLOWER_READY && !follower->removed);
    CHECK(map_get(&follower->active, shard) && leases_own(options->leases, generation->stream_arn, shard));
    char *cursor = map_remove(&follower->cursors, shard);
    bool closed = lineage_closed(discovery_lineage(generation->discovery), shard);
    struct worker *worker = generation_worker(generation, shard, options->loads);
    struct position begin = begins(follower, generation->stream_arn);
    /* A snapshot's segment is found again by nothing else. */
    if (!cursor && known && !last)
        cursor = subscription_resume(known->progress);
    struct assignment assignment = {
        .config = options->config,
        .stream = options->stream,
        .stream_arn = generation->stream_arn,
        .table = generation->table,
        .shard = shard,
        .handler = follower->handler,
        .position = known && !last ? known->position : begin,
        .progress = known ? known->progress : "",
        .cursor = cursor,
        .epoch = leases_epoch(options->leases, generation->stream_arn, shard),
        .closed = closed,
        .last = last,
    };
    if (closed)
        map_set(&generation->told_closed, shard, generation);
    worker_assign(worker, &assignment);
    free(cursor);
}

static bool owns(const struct follower *follower, const char *shard)
{
    return leases_own(follower->options->leases, follower->generation->stream_arn, shard);
}

/* A child's window, on its way to the store. */
struct inheritance {
    struct list link; /* in the follower's; alone when that has gone */
    struct follower *follower;
    char *shard;
};

static void inheritance_free(struct inheritance *inheritance)
{
    list_remove(&inheritance->link);
    free(inheritance->shard);
    free(inheritance);
}

static void on_inherited(void *user, const struct err *err)
{
    struct inheritance *inheritance = user;
    struct follower *follower = inheritance->follower;
    if (follower && !err && !follower->removed && map_get(&follower->active, inheritance->shard))
        give(follower, inheritance->shard, false);
    inheritance_free(inheritance);
}

void follower_disinherit(struct follower *follower, const char *shard)
{
    struct inheritance *inheritance;
    list_each(inheritance, &follower->inheritances, struct inheritance, link) {
        if (strcmp(inheritance->shard, shard) != 0)
            continue;
        inheritance->follower = NULL; /* the store comes back to it */
        list_remove(&inheritance->link);
    }
}

/* The parent was finished with a window open, which goes on in this child: both rows change in one batch,
 * before the child is read; of a parent that is another host's only the child's does. Of several children the
 * first one is the heir; one that has several parents is nobody's. */
static bool inherit(struct follower *follower, const char *shard, const char *parent)
{
    const struct stream_supervisor_options *options = follower->options;
    const struct known *known = parent ? map_get(&follower->positions, parent) : NULL;
    const struct position begin = {.kind = POSITION_TRIM_HORIZON};
    const char *stream_arn = follower->generation->stream_arn;
    struct buf progress = BUF_INIT;
    if (!known || map_get(&follower->positions, shard) || !subscription_inherit(known->progress, &progress))
        return false;
    struct position finished = known->position;
    CHECK(finished.kind == POSITION_FINISHED); /* a parent's end comes before its child's beginning */
    struct store_batch *batch = store_batch_new();
    /* The child's first: whoever finds only that row changed knows that it has its heir. */
    store_put_checkpoint(
        batch, &(struct store_checkpoint){follower->handler, stream_arn, shard, begin, progress.data});
    if (owns(follower, parent))
        store_put_checkpoint(batch,
                             &(struct store_checkpoint){follower->handler, stream_arn, parent, finished, ""});
    follower_set_position(follower, parent, &finished, "");
    follower_set_position(follower, shard, &begin, progress.data);
    struct inheritance *inheritance = mem_alloc(sizeof *inheritance);
    *inheritance = (struct inheritance){.follower = follower, .shard = mem_string(shard)};
    list_init(&inheritance->link);
    list_append(&follower->inheritances, &inheritance->link);
    store_commit(options->store, batch, on_inherited, inheritance);
    buf_fini(&progress);
    return true;
}

static void assign(struct follower *follower, const struct shard_info *shard)
{
    map_set(&follower->active, shard->id, follower);
    if (shard->parents[1] || !inherit(follower, shard->id, shard->parents[0]))
        give(follower, shard->id, false);
}

void follower_assign_ready(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    /* Is a position lost? Whoever wants to be asked first is asked before anything behind it is read. */
    if (follower->options->stream->on_gap == GAP_STOP && lineage_misses(lineage))
        return;
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const struct shard_info *shard = lineage_at(lineage, i);
        if (!map_get(&follower->active, shard->id) &&
            lineage_ready(lineage, &follower->progress, shard->id) &&
            leases_ready(follower->options->leases, follower->generation->stream_arn, shard->id))
            assign(follower, shard);
    }
}

static bool has_window(const struct known *known)
{
    struct buf window = BUF_INIT;
    bool has = known->position.kind == POSITION_FINISHED && subscription_inherit(known->progress, &window);
    buf_fini(&window);
    return has;
}

bool follower_close_windows(struct follower *follower, bool over)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    const char *shard;
    size_t at = 0;
    bool any = false;
    for (struct known *known; (known = map_next(&follower->positions, &at, &shard));) {
        if (!has_window(known) || lineage_has_heir(lineage, shard) ||
            (!over && !lineage_superseded(lineage, shard)))
            continue;
        any = true;
        if (map_get(&follower->active, shard) || !owns(follower, shard))
            continue;
        map_set(&follower->active, shard, follower);
        give(follower, shard, true);
    }
    return any;
}

/* ---- joining: where a handler begins on a stream ---- */

static void put_follow(struct follower *follower, struct store_batch *batch)
{
    const char *stream_arn = follower->generation->stream_arn;
    char *identity = stream_identity(stream_arn, follower->options->stream->table);
    store_put_follow(batch, &(struct store_follow){.stream = identity,
                                                   .handler = follower->handler,
                                                   .stream_arn = stream_arn,
                                                   .since_ms = follower->begins_ms,
                                                   .over = follower->over});
    free(identity);
}

static void on_joined(void *user, const struct err *err)
{
    struct follower *follower = user;
    CHECK(follower->phase == FOLLOWER_JOINING && !follower->cursors_wanted);
    if (err)
        return; /* closed first: it joins at the next start */
    if (follower->removed) {
        follower_free(follower);
        return;
    }
    follower->phase = FOLLOWER_READY;
    follower->ready(follower->user, follower);
}

void follower_commit_join(struct follower *follower, struct store_batch *batch, const char *left_arn)
{
    put_follow(follower, batch);
    if (left_arn)
        store_forget_checkpoints(batch, follower->handler, left_arn, "");
    store_commit(follower->options->store, batch, on_joined, follower);
}

/* Closed shards are finished, open ones begin at `since_ms`; children that come later begin at their start.
 * All of it is durable before the first record is read, so that a restart before the first checkpoint does
 * not skip what was written meanwhile. */
static void commit_latest(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    struct store_batch *batch = store_batch_new();
    CHECK(!follower->cursors_wanted && list_empty(&follower->cursor_calls));
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const char *shard = lineage_at(lineage, i)->id;
        bool open = map_get(&follower->cursors, shard) != NULL;
        struct position position = {.kind = open ? POSITION_LATEST : POSITION_FINISHED,
                                    .since_ms = follower->since_ms};
        struct store_checkpoint checkpoint = {follower->handler, follower->generation->stream_arn, shard,
                                              position, ""};
        store_put_checkpoint(batch, &checkpoint);
        follower_set_position(follower, shard, &position, "");
        if (!open)
            progress_finish(&follower->progress, shard);
    }
    log_info(follower->options->log, follower->subject,
             "handler %s begins at the latest record (%zu open shards)", follower->handler,
             follower->cursors.count);
    follower_commit_join(follower, batch, NULL);
}

static void cursor_call_free(struct cursor_call *call)
{
    const struct stream_supervisor_options *options = call->follower->options;
    source_cancel(call->follower->generation->source, call->call);
    timer_stop(options->reactor, &call->retry);
    list_remove(&call->link);
    free(call->shard);
    free(call);
}

static void on_latest_cursor(void *user, const char *cursor, const struct source_error *error)
{
    struct cursor_call *call = user;
    struct follower *follower = call->follower;
    call->call = NULL;
    if (error && error->fault != SOURCE_MISSING) {
        log_debug(follower->options->log, follower->subject, "%s", error->err.text);
        timer_set(follower->options->reactor, &call->retry, CURSOR_RETRY_MS);
        return;
    }
    if (cursor)
        map_set(&follower->cursors, call->shard, mem_string(cursor));
    cursor_call_free(call);
    CHECK(follower->phase == FOLLOWER_JOINING && follower->cursors_wanted > 0);
    if (--follower->cursors_wanted == 0)
        commit_latest(follower);
}

static void ask_latest_cursor(void *user)
{
    struct cursor_call *call = user;
    struct follower *follower = call->follower;
    CHECK(!call->call);
    call->call = source_get_cursor(follower->generation->source, follower->generation->stream_arn,
                                   call->shard, CURSOR_LATEST, NULL, on_latest_cursor, call);
}

/* `since_ms` lies before the listing that has just ended, and the cursors are got before the beginning is
 * made durable: whatever is written after that is behind one of them, or in a child that begins at its
 * start. */
static void join_latest(struct follower *follower)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    CHECK(!follower->cursors_wanted && follower->since_ms);
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

/* ---- joining beside other hosts ---- */

static void load_follow(struct follower *follower);

const struct store_follow *follower_find_follow(const struct follower *follower,
                                                const struct store_snapshot *snapshot)
{
    char *identity = stream_identity(follower->generation->stream_arn, follower->options->stream->table);
    const struct store_follow *found = NULL;
    for (size_t i = 0; i < snapshot->follow_count && !found; i++)
        if (strcmp(snapshot->follows[i].handler, follower->handler) == 0 &&
            strcmp(snapshot->follows[i].stream, identity) == 0)
            found = &snapshot->follows[i];
    free(identity);
    return found;
}

static void on_follow(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct follower *follower = user;
    CHECK(follower->phase == FOLLOWER_JOINING);
    if (err && err->code == ERR_CANCELLED)
        return;
    if (follower->removed) {
        store_snapshot_free(snapshot);
        follower_free(follower);
        return;
    }
    const struct store_follow *follow = snapshot ? follower_find_follow(follower, snapshot) : NULL;
    if (follow) {
        follower->adopt(follower->user, follower, follow);
    } else if (snapshot) { /* somebody has taken it away: it begins once more */
        follower->phase = FOLLOWER_NEW;
    } else {
        load_follow(follower);
    }
    store_snapshot_free(snapshot);
}

static void load_follow(struct follower *follower)
{
    store_load(follower->options->store, &(struct store_query){.what = STORE_ALL}, on_follow, follower);
}

static void on_first(void *user, const struct err *err)
{
    if (!err) /* else closed first: it joins at the next start */
        load_follow(user);
}

void follower_take_follow(struct follower *follower, const struct store_follow *follow)
{
    follower->begins_ms = follow->since_ms;
    free(follower->seeks);
    follower->seeks = mem_string(follow->seeks);
    free(follower->over);
    follower->over = mem_string(follow->over);
    for (const char *at = follow->over, *end; (end = strchr(at, '\n')); at = end + 1) {
        char *shard = mem_copy(at, (size_t)(end - at));
        progress_finish(&follower->progress, shard);
        free(shard);
    }
}

void follower_commit_move(struct follower *follower, struct store_batch *batch, const char *stream_arn)
{
    const char *left_arn = follower->generation->stream_arn;
    char *identity = stream_identity(left_arn, follower->options->stream->table);
    CHECK(follower->phase == FOLLOWER_READY && !follower->active.count);
    bool snapshot = snapshot_of_arn(left_arn); /* it goes on where its place in the stream was taken */
    store_put_follow(batch, &(struct store_follow){.stream = identity,
                                                   .handler = follower->handler,
                                                   .stream_arn = stream_arn,
                                                   .after = left_arn,
                                                   .since_ms = snapshot ? follower->begins_ms : 0,
                                                   .over = snapshot ? follower->over : NULL,
                                                   .seeks = snapshot ? follower->seeks : NULL});
    if (!snapshot) /* its segments go as a whole, ended as they are */
        store_forget_checkpoints(batch, follower->handler, left_arn, "");
    free(identity);
    follower->phase = FOLLOWER_JOINING;
    store_commit(follower->options->store, batch, on_first, follower);
}

/* The shards that were over when the handler began, a line each. */
void follower_write_over(const struct follower *follower, struct buf *over)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    for (size_t i = 0; i < lineage_count(lineage); i++)
        if (lineage_closed(lineage, lineage_at(lineage, i)->id))
            buf_printf(over, "%s\n", lineage_at(lineage, i)->id);
}

/* Nobody can write where the handler begins in shards that are others': what it follows says it for all of
 * them. Where two join at once, whoever is first says it. */
static void join_shared(struct follower *follower, bool latest)
{
    const char *stream_arn = follower->generation->stream_arn;
    char *identity = stream_identity(stream_arn, follower->options->stream->table);
    struct store_batch *batch = store_batch_new();
    struct buf over = BUF_INIT;
    if (latest)
        follower_write_over(follower, &over);
    store_put_follow(batch,
                     &(struct store_follow){.stream = identity,
                                            .handler = follower->handler,
                                            .stream_arn = stream_arn,
                                            .first = !follower->latest,
                                            .after = follower->latest ? STORE_FOLLOW_LATEST : NULL,
                                            .seeks = follower->seeks,
                                            .since_ms = latest ? follower->since_ms : follower->begins_ms,
                                            .over = over.data});
    log_info(follower->options->log, follower->subject, "handler %s begins at the %s record",
             follower->handler, latest ? "latest" : "oldest");
    buf_fini(&over);
    free(identity);
    store_commit(follower->options->store, batch, on_first, follower);
}

/* ---- before the stream, a snapshot ---- */

#define TAKE_RETRY_MS 5000
#define COMPLAIN_EVERY_MS 60000

/* An export is read in less. */
#define EXPORT_SPARE_MS (30 * 60 * 1000)
#define EXPORT_EARLY_MS (5 * 60 * 1000) /* a clock may be wrong */

/* What was written since an export must still be in the stream. */
static bool is_too_old(const struct follower *follower, const char *snapshot_arn, struct err *err)
{
    struct snapshot_name name;
    char time[CLOCK_ISO_SIZE];
    bool known = snapshot_name_read(snapshot_arn, &name);
    CHECK(known);
    int64_t ends_ms = snapshot_ends_ms(&name);
    int64_t age_ms = clock_wall_ms(reactor_clock(follower->options->reactor)) - ends_ms;
    bool old = name.export && age_ms > SOURCE_RETENTION_MS - EXPORT_SPARE_MS;
    bool early = name.export && age_ms < -EXPORT_EARLY_MS;
    int64_t enabled_ms = stream_enabled_ms(follower->generation->stream_arn);
    bool before = name.export && enabled_ms > ends_ms;
    clock_iso8601(ends_ms, time);
    if (old)
        err_set(err, ERR_CONFIG,
                "the export at %s is of %s%s, and the stream keeps what was written since for 24 hours only: "
                "make a newer one, or an incremental one that goes on from there",
                name.export, time, name.until_ms ? " with the incremental ones that go on from it" : "");
    if (early)
        err_set(err, ERR_CONFIG, "the export at %s is of %s, which is still to come", name.export, time);
    if (before && !old) {
        char enabled[CLOCK_ISO_SIZE];
        clock_iso8601(enabled_ms, enabled);
        err_set(err, ERR_CONFIG,
                "the export at %s is of %s, and the table's stream was enabled at %s: what was written "
                "between is "
                "in neither. Make a newer one, or an incremental one that goes on from there",
                name.export, time, enabled);
    }
    snapshot_name_fini(&name);
    return old || early || before;
}

static void on_taken(void *user, const char *snapshot_arn, const struct source_error *error)
{
    struct follower *follower = user;
    follower->taking = NULL;
    struct source_error late;
    if (snapshot_arn && is_too_old(follower, snapshot_arn, &late.err)) {
        snapshot_arn = NULL;
        error = &late;
    }
    if (snapshot_arn) {
        troubles_end(follower->options->troubles, follower->subject, "snapshot");
        follower->taken(follower->user, follower, snapshot_arn);
        return;
    }
    if (log_limit_passes(&follower->complained, reactor_now_ms(follower->options->reactor),
                         COMPLAIN_EVERY_MS))
        log_warn(follower->options->log, follower->subject, "the snapshot cannot begin, trying again: %s",
                 error->err.text);
    troubles_tell(follower->options->troubles, follower->subject, "snapshot", error->err.text);
    timer_set(follower->options->reactor, &follower->take_again, TAKE_RETRY_MS);
}

static struct source *snapshot_source(const struct follower *follower)
{
    const struct config_stream *stream = follower->options->stream;
    return sources_for(follower->options->sources, stream, stream->export ? SOURCE_EXPORT : ARN_SNAPSHOT);
}

/* The place in the stream is `since_ms`, as for one that begins at the latest record. */
void follower_take(void *user)
{
    struct follower *follower = user;
    const struct stream_supervisor_options *options = follower->options;
    CHECK(!follower->taking && follower->phase == FOLLOWER_JOINING && follower->since_ms);
    if (options->stream->export)
        follower->taking =
            source_export_take(snapshot_source(follower), options->stream->export, options->stream->table,
                               follower->generation->stream_arn, follower->handler, on_taken, follower);
    else
        follower->taking = source_snapshot_take(
            snapshot_source(follower), options->stream->table, follower->generation->stream_arn,
            follower->handler, follower->since_ms, options->stream->snapshot_segments, on_taken, follower);
}

void follower_join_snapshot(struct follower *follower, const char *snapshot_arn)
{
    const struct stream_supervisor_options *options = follower->options;
    char *identity = stream_identity(snapshot_arn, options->stream->table);
    struct store_batch *batch = store_batch_new();
    bool shared = options->leases && options->leases->follow;
    CHECK(follower->phase == FOLLOWER_JOINING);
    store_put_follow(batch, &(struct store_follow){.stream = identity,
                                                   .handler = follower->handler,
                                                   .stream_arn = snapshot_arn,
                                                   .first = shared,
                                                   .since_ms = follower->begins_ms,
                                                   .over = follower->over});
    free(identity);
    store_commit(options->store, batch, shared ? on_first : on_joined, follower);
}

/* Of what is kept; the shards that were over, and those that the handler has finished, are nothing to look
 * at. */
static struct position goes_on(void *user, const char *shard)
{
    const struct follower *follower = user;
    const struct store_snapshot *snapshot = follower->options->snapshot;
    char *stream_arn = stream_of_arn(follower->generation->stream_arn);
    struct position position = begins(follower, stream_arn);
    if (progress_finished(&follower->progress, shard))
        position.kind = POSITION_FINISHED;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follower->handler) == 0 && strcmp(row->shard, shard) == 0 &&
            strcmp(row->stream_arn, stream_arn) == 0)
            position = row->position;
    }
    free(stream_arn);
    return position;
}

/* What was settled beyond its place in the shard when it left the stream; NULL: nothing. */
static struct settled_ahead *ahead_of(const struct follower *follower, const char *shard)
{
    const struct store_snapshot *snapshot = follower->options->snapshot;
    char *stream_arn = stream_of_arn(follower->generation->stream_arn);
    struct settled_ahead *ahead = NULL;
    for (size_t i = 0; i < snapshot->checkpoint_count && !ahead; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (*row->progress && strcmp(row->shard, shard) == 0 &&
            strcmp(row->handler, follower->handler) == 0 && strcmp(row->stream_arn, stream_arn) == 0)
            ahead = settled_ahead_new(row->progress);
    }
    free(stream_arn);
    return ahead;
}

static bool settled(void *user, const char *shard, const struct record *record)
{
    struct follower *follower = user;
    struct ahead *known = map_get(&follower->ahead, shard);
    if (!known) {
        known = mem_zero(sizeof *known);
        known->settled = ahead_of(follower, shard);
        map_set(&follower->ahead, shard, known);
    }
    if (known->settled && settled_ahead_ends(known->settled, record)) {
        settled_ahead_free(known->settled);
        known->settled = NULL;
    }
    return known->settled && settled_ahead_has(known->settled, record);
}

static void forget_ahead(struct follower *follower)
{
    size_t at = 0;
    for (struct ahead *known; (known = map_next(&follower->ahead, &at, NULL));) {
        settled_ahead_free(known->settled);
        free(known);
    }
    map_fini(&follower->ahead);
    follower->ahead = MAP_INIT;
}

void follower_unwatch(struct follower *follower)
{
    snapshot_watch_free(follower->watch);
    follower->watch = NULL;
    forget_ahead(follower);
}

bool follower_takes(const struct follower *follower)
{
    return follower->taking || timer_is_set(&follower->take_again);
}

/* An export is as the table was at its time: nothing changes in it. */
static bool needs_watch(const char *stream_arn)
{
    struct snapshot_name name;
    if (!snapshot_of_arn(stream_arn) || !snapshot_name_read(stream_arn, &name))
        return false;
    bool needs = !name.export;
    snapshot_name_fini(&name);
    return needs;
}

void follower_watch(struct follower *follower)
{
    const struct stream_supervisor_options *options = follower->options;
    if (follower->watch || !needs_watch(follower->generation->stream_arn))
        return;
    follower->watch = snapshot_watch_new(&(struct snapshot_watch_options){
        .reactor = options->reactor,
        .snapshots = options->snapshots,
        .source = options->source,
        .client = options->client,
        .log = options->log,
        .subject = follower->subject,
        .arn = follower->generation->stream_arn,
        .units = options->stream->snapshot_units,
        .consistent = options->stream->snapshot_consistent,
        .poll_min_ms = options->stream->poll_min_ms,
        .poll_max_ms = options->stream->poll_max_ms,
        .discovery_ms = options->stream->discovery_ms,
        .troubles = options->troubles,
        .begins = goes_on,
        .settled = settled,
        .user = follower,
    });
}

/* The handler's first sight of the stream. */
void follower_begin(struct follower *follower)
{
    const struct stream_supervisor_options *options = follower->options;
    struct discovery *discovery = follower->generation->discovery;
    CHECK(follower->phase == FOLLOWER_NEW && !follower->active.count);
    bool snapshot = (options->stream->snapshot || options->stream->export) && !follower->latest;
    bool at = options->stream->start == START_AT && !follower->latest && !snapshot && !options->from_first;
    bool latest =
        follower->latest || snapshot || (options->stream->start == START_LATEST && !options->from_first);
    if (latest && !follower->since_ms) {
        /* Wait for a listing that begins after this moment. */
        follower->since_ms = aws_client_earliest_now_ms(options->client);
        follower->listing_needed = discovery_begun(discovery) + 1;
        discovery_now(discovery);
        return;
    }
    if (latest && discovery_ended(discovery) < follower->listing_needed)
        return;
    follower->phase = FOLLOWER_JOINING;
    if (at)
        follower->begins_ms = options->stream->start_at_ms;
    if (snapshot) {
        follower_take(follower);
    } else if (options->leases && options->leases->follow) {
        join_shared(follower, latest);
    } else if (latest) {
        join_latest(follower);
    } else {
        log_info(options->log, follower->subject, "handler %s begins at %s", follower->handler,
                 at ? "the time that start says" : "the oldest record");
        follower_commit_join(follower, store_batch_new(), NULL);
    }
}

/* ---- dead letters ---- */

struct search {
    struct follower *follower;
    void (*add)(void *user, const char *shard);
    void *user;
};

/* Each shard below this one (or it) that is read now is given to `add`, which may be NULL. Is it every
 * branch? */
static bool search_below(struct search *search, const char *shard, size_t depth)
{
    const struct follower *follower = search->follower;
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    bool any = false, all = true;
    if (map_get(&follower->active, shard)) {
        if (search->add)
            search->add(search->user, shard);
        return true;
    }
    for (size_t i = 0; i < lineage_count(lineage) && depth; i++) {
        const struct shard_info *info = lineage_at(lineage, i);
        if (!shard_is_child(info, shard))
            continue;
        any = true;
        all = search_below(search, info->id, depth - 1) && all;
    }
    return any && all;
}

static bool is_first(const char *shard, const char *first)
{
    return !first || strcmp(shard, first) < 0;
}

/* Of what came of the shard: by names, the same for all hosts. */
static const char *first_leaf(const struct lineage *lineage, const char *shard)
{
    const char *child = NULL;
    size_t depth = lineage_count(lineage);
    do {
        shard = child ? child : shard;
        child = NULL;
        for (size_t i = 0; i < lineage_count(lineage) && depth; i++)
            if (shard_is_child(lineage_at(lineage, i), shard) && is_first(lineage_at(lineage, i)->id, child))
                child = lineage_at(lineage, i)->id;
    } while (child && depth--);
    return shard;
}

/* Of the whole stream; NULL: there is none. */
static const char *first_of_all(const struct lineage *lineage)
{
    const char *first = NULL;
    for (size_t i = 0; i < lineage_count(lineage); i++) {
        const char *shard = lineage_at(lineage, i)->id;
        if (!lineage_superseded(lineage, shard) && !lineage_has_child(lineage, shard) &&
            is_first(shard, first))
            first = shard;
    }
    return first;
}

struct gathering {
    struct follower *follower;
    const char *beside;
};

static void gather(void *user, const char *shard)
{
    const struct gathering *gathering = user;
    const struct leases *leases = gathering->follower->options->leases;
    leases->gather(leases->user, gathering->follower->generation->stream_arn, shard, gathering->beside);
}

/* Other hosts have some of the branches: the one that has the first is to have all. */
static void gather_below(struct follower *follower, const char *shard)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    struct gathering gathering = {follower, first_leaf(lineage, shard)};
    search_below(&(struct search){follower, gather, &gathering}, shard, lineage_count(lineage));
}

/* The items of a shard that is not known any more may be in any; where all shards are cut anew together
 * (ScyllaDB Alternator), too. Among hosts, the one that has the first shard of all handles them. */
void follower_places(struct follower *follower, const char *shard, void (*add)(void *user, const char *shard),
                     void *user)
{
    const struct lineage *lineage = discovery_lineage(follower->generation->discovery);
    bool shared = follower->options->leases && follower->options->leases->gather;
    size_t depth = lineage_count(lineage), at = 0;
    const char *active;
    if (lineage_knows(lineage, shard) && !lineage_superseded(lineage, shard)) {
        if (search_below(&(struct search){.follower = follower}, shard, depth))
            search_below(&(struct search){follower, add, user}, shard, depth);
        else if (shared)
            gather_below(follower, shard);
        return;
    }
    const char *first = shared ? first_of_all(lineage) : NULL;
    if (shared && (!first || !map_get(&follower->active, first)))
        return;
    while (map_next(&follower->active, &at, &active))
        add(user, active);
}

/* ---- gaps ---- */

void follower_halt(struct follower *follower)
{
    const struct stream_supervisor_options *options = follower->options;
    char *subject = mem_printf("handler %s", follower->handler);
    char *text = mem_printf("it stands still at a gap in stream %s (on_gap = stop); to go on: tidemill dead "
                            "drop --gaps --handler %s",
                            options->stream->name, follower->handler);
    if (!follower->halted)
        log_error(options->log, subject, "%s", text);
    follower->halted = true;
    troubles_tell(options->troubles, subject, "gap", text);
    free(text);
    free(subject);
}

void follower_lose(struct follower *follower, const char *shard, const struct known *known, const char *why,
                   struct store_batch *batch)
{
    const struct stream_supervisor_options *options = follower->options;
    const struct generation *generation = follower->generation;
    bool after = known->position.kind == POSITION_AFTER;
    CHECK(known == map_get(&follower->positions, shard) && known->position.kind != POSITION_FINISHED);
    char from[SEQUENCE_SIZE] = "", *own = mem_string(shard);
    if (after)
        sequence_copy(from, known->position.sequence);
    const char *to = lineage_next_starting(discovery_lineage(generation->discovery), from);
    log_error(options->log, follower->subject, "handler %s, shard %s: %s: lost between %s and %s",
              follower->handler, own, why, after ? from : "its start", to ? to : "its end");
    store_put_event(batch, &(struct store_event){
                               .kind = "gap",
                               .handler = follower->handler,
                               .stream_arn = generation->stream_arn,
                               .shard = own,
                               .from_sequence = from,
                               .to_sequence = to,
                               .text = why,
                               .time_ms = clock_wall_ms(reactor_clock(options->reactor)),
                           });
    store_forget_checkpoints(batch, follower->handler, generation->stream_arn, own);
    free(map_remove(&follower->positions, own));
    free(own);
    if (options->stream->on_gap == GAP_STOP)
        follower_halt(follower);
}

/* ---- life ---- */

void follower_clear_owned(struct map *map)
{
    size_t at = 0;
    for (void *value; (value = map_next(map, &at, NULL));)
        free(value);
    map_fini(map);
}

void follower_free(struct follower *follower)
{
    struct cursor_call *call;
    struct inheritance *inheritance;
    list_each(call, &follower->cursor_calls, struct cursor_call, link)
        cursor_call_free(call);
    list_each(inheritance, &follower->inheritances, struct inheritance, link) {
        inheritance->follower = NULL; /* the store comes back to it */
        list_remove(&inheritance->link);
    }
    if (follower->halted) {
        char *subject = mem_printf("handler %s", follower->handler);
        troubles_end(follower->options->troubles, subject, "gap");
        free(subject);
    }
    if (follower->taking)
        source_cancel(snapshot_source(follower), follower->taking);
    timer_stop(follower->options->reactor, &follower->take_again);
    troubles_end(follower->options->troubles, follower->subject, "snapshot");
    follower_unwatch(follower);
    list_remove(&follower->link);
    progress_fini(&follower->progress);
    follower_clear_owned(&follower->positions);
    follower_clear_owned(&follower->cursors);
    map_fini(&follower->active);
    free(follower->handler);
    free(follower->seeks);
    free(follower->over);
    free(follower);
}
