/* stream_supervisor.c: find the stream, list its shards, assign, and move on. */
#include "assign/stream_supervisor.h"

#include <stdlib.h>
#include <string.h>

#include "assign/follower.h"
#include "base/arn.h"
#include "base/backoff.h"
#include "base/check.h"
#include "base/mem.h"
#include "source/snapshot/snapshot_name.h"

struct stream_supervisor {
    struct stream_supervisor_options options;
    char *subject;
    struct list generations;
    struct list followers;
    char *latest_arn; /* of the table, or the fixed one */
    struct timer find;
    struct source_call *finding;
    int64_t find_failures; /* in a row */
    struct log_limit complained;
    uint64_t random;
    char *complaint;
    bool ending;             /* the table is gone */
    struct follower *moving; /* to the generation that is looked for */
    struct source_call *moving_call;
};

static const int64_t find_retry_ms[2] = {500, 10000};
#define COMPLAIN_EVERY_MS 60000

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

static void review(struct stream_supervisor *supervisor, struct generation *generation);
static void forget_finished(struct stream_supervisor *supervisor, struct generation *generation);

static void on_review(void *user)
{
    struct generation *generation = user;
    CHECK(find_generation(generation->owner, generation->stream_arn) == generation);
    review(generation->owner, generation);
}

/* Once for all that happened by then: a thousand shards may end together. */
static void ask_review(struct stream_supervisor *supervisor, struct generation *generation)
{
    generation->review_all = true;
    task_defer(supervisor->options.reactor, &generation->review);
}

/* What happened is this handler's alone, and shards are what they were. */
static void ask_review_of(struct follower *follower)
{
    follower->due = true;
    task_defer(follower->options->reactor, &follower->generation->review);
}

/* Where one host lists for all, the others hear of new shards by being given them, and look themselves when
 * one that they read closes. What they have is never older than so many intervals. */
#define LISTED_BY_OTHERS 10

static int64_t interval_ms(void *user)
{
    const struct generation *generation = user;
    const struct stream_supervisor *supervisor = generation->owner;
    bool leads = leases_lead(supervisor->options.leases, generation->stream_arn);
    return supervisor->options.stream->discovery_ms * (leads ? 1 : LISTED_BY_OTHERS);
}

/* Whoever is to say which shards there are hears of each that a listing shows. */
static void tell_listed(const struct generation *generation)
{
    const struct stream_supervisor *supervisor = generation->owner;
    const struct leases *leases = supervisor->options.leases;
    const struct lineage *lineage = discovery_lineage(generation->discovery);
    for (size_t i = 0; leases && leases->listed && i < lineage_count(lineage); i++)
        if (lineage_listed(lineage, lineage_at(lineage, i)->id))
            leases->listed(leases->user, generation->stream_arn, lineage_at(lineage, i));
}

static void on_listed(void *user)
{
    struct generation *generation = user;
    tell_listed(generation);
    generation->missing = false;
    generation->missing_count = 0;
    forget_finished(generation->owner, generation);
    ask_review(generation->owner, generation);
}

/* Whoever was removed counts no more: it only finishes what runs. */
static struct follower *any_active(struct stream_supervisor *supervisor, const char *shard)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link)
        if (!follower->removed && map_get(&follower->active, shard))
            return follower;
    return NULL;
}

static int64_t wall_ms(const struct stream_supervisor *supervisor)
{
    return clock_wall_ms(reactor_clock(supervisor->options.reactor));
}

/* Nobody reads the shard now: another worker may, if it is given to one again. */
static void release_if_idle(struct stream_supervisor *supervisor, struct generation *generation,
                            const char *shard)
{
    if (any_active(supervisor, shard))
        return;
    generation_release(generation, shard, supervisor->options.loads);
    map_remove(&generation->told_closed, shard);
    map_remove(&generation->missed, shard);
}

/* That a shard is finished is remembered until the service cannot show it any more, whatever one listing
 * says: by its own word a closed shard is listed for a day. */
#define FINISHED_KEPT_MS (25 * 3600 * 1000LL)
#define ABSENT_MS (3600 * 1000LL)

static bool is_forgettable(const struct generation *generation, const struct known *known, const char *shard,
                           int64_t now_ms)
{
    int64_t finished_ms =
        known->position.since_ms ? known->position.since_ms : known->position.record_time_ms;
    return known->position.kind == POSITION_FINISHED && now_ms - finished_ms > FINISHED_KEPT_MS &&
           !lineage_knows(discovery_lineage(generation->discovery), shard);
}

static void forget_finished(struct stream_supervisor *supervisor, struct generation *generation)
{
    const struct leases *leases = supervisor->options.leases;
    struct follower *follower;
    struct store_batch *batch = NULL;
    if (now_ms(supervisor) - generation->opened_ms < ABSENT_MS ||
        now_ms(supervisor) - generation->swept_ms < ABSENT_MS)
        return;
    generation->swept_ms = now_ms(supervisor);
    list_each(follower, &supervisor->followers, struct follower, link) {
        const char *shard;
        size_t at = 0;
        if (follower->generation != generation)
            continue;
        for (struct known *known; (known = map_next(&follower->positions, &at, &shard));) {
            if (!is_forgettable(generation, known, shard, wall_ms(supervisor)) ||
                any_active(supervisor, shard))
                continue;
            batch = batch ? batch : store_batch_new();
            store_forget_shard(batch, generation->stream_arn, shard);
            if (leases && leases->forget)
                leases->forget(leases->user, generation->stream_arn, shard);
            progress_forget(&follower->progress, shard);
            free(map_remove(&follower->positions, shard));
            at = 0; /* removal moves slots */
        }
    }
    if (batch)
        store_commit(supervisor->options.store, batch, NULL, NULL);
}

/* The service shows the shard no more. Whoever reads it goes on until it is refused; where nobody does, what
 * follows a handler's position there is lost. */
static void on_gone(void *user, const char *shard)
{
    struct generation *generation = user;
    struct stream_supervisor *supervisor = generation->owner;
    struct follower *follower;
    struct store_batch *batch = store_batch_new();
    list_each(follower, &supervisor->followers, struct follower, link) {
        const struct known *known =
            follower->generation == generation ? map_get(&follower->positions, shard) : NULL;
        if (known && known->position.kind != POSITION_FINISHED && !map_get(&follower->active, shard) &&
            leases_own(supervisor->options.leases, generation->stream_arn, shard))
            follower_lose(follower, shard, known, "the shard was gone before it was read to its end", batch);
    }
    store_commit(supervisor->options.store, batch, NULL, NULL);
    if (any_active(supervisor, shard) && map_get(&generation->missed, shard))
        worker_shard_vanished(map_get(&generation->workers, shard), generation->stream_arn, shard);
    release_if_idle(supervisor, generation, shard);
}

/* One refusal may be a mistake. */
#define MISSING_TIMES 3
#define MISSING_MS 10000

static void on_missing(void *user)
{
    struct generation *generation = user;
    struct stream_supervisor *supervisor = generation->owner;
    if (!generation->missing_count++)
        generation->missing_ms = now_ms(supervisor);
    if (generation->missing_count < MISSING_TIMES || now_ms(supervisor) - generation->missing_ms < MISSING_MS)
        return;
    generation->missing = true;
    ask_review(supervisor, generation);
}

static struct generation *open_generation(struct stream_supervisor *supervisor, const char *stream_arn)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    if (generation)
        return generation;
    generation = generation_new(stream_arn, supervisor->options.stream->table);
    generation->owner = supervisor;
    generation->source = sources_for(supervisor->options.sources, supervisor->options.stream, stream_arn);
    generation->opened_ms = generation->swept_ms = now_ms(supervisor);
    task_init(&generation->review, on_review, generation);
    generation->discovery = discovery_new(
        &(struct discovery_options){
            .reactor = supervisor->options.reactor,
            .source = generation->source,
            .log = supervisor->options.log,
            .subject = supervisor->subject,
            .stream_arn = stream_arn,
            .troubles = supervisor->options.troubles,
        },
        &(struct discovery_events){
            .interval_ms = interval_ms, .listed = on_listed, .gone = on_gone, .missing = on_missing},
        generation);
    list_append(&supervisor->generations, &generation->link);
    const struct leases *leases = supervisor->options.leases;
    if (leases && leases->follow)
        leases->follow(leases->user, stream_arn);
    return generation;
}

static void close_generation(struct stream_supervisor *supervisor, struct generation *generation)
{
    const struct leases *leases = supervisor->options.leases;
    if (leases && leases->unfollow)
        leases->unfollow(leases->user, generation->stream_arn);
    generation_release_all(generation, supervisor->options.loads);
    generation_free(generation);
}

/* ---- moving on to the next stream ---- */

static bool generation_over(const struct follower *follower)
{
    const struct generation *generation = follower->generation;
    const struct lineage *lineage = discovery_lineage(generation->discovery);
    const struct leases *leases = follower->options->leases;
    if (follower->active.count)
        return false;
    if (generation->missing)
        return true;
    if (discovery_status(generation->discovery) != STREAM_DISABLED ||
        discovery_ended(generation->discovery) < follower->listing_needed)
        return false;
    bool all = lineage_all_finished(lineage, &follower->progress);
    if (!all && leases && leases->look)
        leases->look(leases->user, generation->stream_arn);
    return all;
}

static void take_snapshot(struct follower *follower);

/* How long it will take, where that is known: the stream keeps its records for a day. */
static void log_snapshot(const struct stream_supervisor *supervisor, const struct follower *follower)
{
    const struct config_stream *stream = supervisor->options.stream;
    struct snapshot_name name;
    bool known = snapshot_name_read(follower->generation->stream_arn, &name);
    CHECK(known);
    int64_t units = name.bytes / (stream->snapshot_consistent ? 4096 : 8192);
    int64_t least_s = stream->snapshot_units ? units / stream->snapshot_units : 0;
    if (name.export)
        log_info(supervisor->options.log, supervisor->subject,
                 "handler %s first has every item of table %s, out of %s: %lld, in %lld segments%s",
                 follower->handler, name.table, name.export, (long long)name.items, (long long)name.segments,
                 name.until_ms ? "; then what incremental exports have" : "");
    else
        log_info(supervisor->options.log, supervisor->subject,
                 "handler %s first has every item of table %s: about %lld (%lld MiB), in %lld segments%s",
                 follower->handler, name.table, (long long)name.items, (long long)(name.bytes >> 20),
                 (long long)name.segments, least_s > 60 ? "; by snapshot_units it takes a while" : "");
    if (least_s * 1000 > SOURCE_RETENTION_MS / 6 * 5)
        log_warn(
            supervisor->options.log, supervisor->subject,
            "at snapshot_units = %lld the snapshot takes %lld hours, and the stream keeps what is written "
            "meanwhile for 24: what is older is lost before handler %s comes to it. Raise snapshot_units, "
            "or begin with an export of the table to S3 (export = s3://...), which costs it nothing",
            (long long)stream->snapshot_units, (long long)least_s / 3600, follower->handler);
    snapshot_name_fini(&name);
}

/* The old stream is gone and was not read to its end: in each shard where the handler stood, and if it stood
 * in none, at all. */
static void put_lost_stream(struct follower *follower, struct store_batch *batch)
{
    struct stream_supervisor *supervisor = follower->user;
    static const char text[] = "the stream was gone before it was read to its end";
    const char *shard;
    size_t at = 0, told = 0;
    for (const struct known *known; (known = map_next(&follower->positions, &at, &shard));) {
        if (known->position.kind == POSITION_FINISHED)
            continue;
        follower_lose(follower, shard, known, text, batch);
        at = 0; /* it is forgotten */
        told++;
    }
    if (told || follower->positions.count)
        return;
    log_error(supervisor->options.log, supervisor->subject, "handler %s: %s: %s", follower->handler,
              follower->generation->stream_arn, text);
    store_put_event(batch, &(struct store_event){
                               .kind = "gap",
                               .handler = follower->handler,
                               .stream_arn = follower->generation->stream_arn,
                               .text = text,
                               .time_ms = wall_ms(supervisor),
                           });
}

static bool is_elsewhere(const struct stream_supervisor *supervisor, const struct generation *generation,
                         const char *handler)
{
    const struct follower *follower;
    list_each(follower, (struct list *)&supervisor->followers, struct follower, link)
        if (!follower->removed && follower->generation && follower->generation != generation &&
            strcmp(follower->handler, handler) == 0)
            return true;
    return false;
}

/* Whoever was on the snapshot has gone on from it: its handler, or those that have its name in `formerly`.
 * One that only pauses, or whose script is away, is on no stream: it comes back to where it stood. */
static bool was_left(const struct stream_supervisor *supervisor, const struct generation *generation)
{
    const struct store_snapshot *snapshot = supervisor->options.snapshot;
    struct snapshot_name name;
    size_t known = 0;
    for (size_t i = 0; i < snapshot->follow_count; i++) {
        const struct store_follow *follow = &snapshot->follows[i];
        if (strcmp(follow->stream_arn, generation->stream_arn) != 0)
            continue;
        if (!is_elsewhere(supervisor, generation, follow->handler))
            return false;
        known++;
    }
    if (known || !snapshot_name_read(generation->stream_arn, &name))
        return known > 0;
    bool left = is_elsewhere(supervisor, generation, name.handler);
    snapshot_name_fini(&name);
    return left;
}

/* A snapshot that was left is never read again: nothing of it is kept. Where hosts share a state it decides
 * itself. */
static void forget_segments(const struct stream_supervisor *supervisor, const struct generation *generation)
{
    const struct leases *leases = supervisor->options.leases;
    bool shared = leases && leases->forget;
    struct snapshot_name name;
    if (!snapshot_of_arn(generation->stream_arn) || !(shared || was_left(supervisor, generation)) ||
        !snapshot_name_read(generation->stream_arn, &name))
        return;
    struct store_batch *batch = store_batch_new();
    for (int64_t i = 0; i < name.segments; i++) {
        char segment[SNAPSHOT_SEGMENT_SIZE];
        store_forget_shard(batch, generation->stream_arn, snapshot_segment(segment, i));
        if (shared)
            leases->forget(leases->user, generation->stream_arn, segment);
    }
    snapshot_name_fini(&name);
    store_commit(supervisor->options.store, batch, NULL, NULL);
}

/* It knows nothing of the stream yet, where it begins at the oldest record: `start` applied once. */
static void begin_on(struct follower *follower, const char *stream_arn)
{
    progress_fini(&follower->progress);
    follower->progress = PROGRESS_INIT;
    follower_clear_owned(&follower->positions);
    follower_clear_owned(&follower->cursors);
    map_fini(&follower->active);
    follower->active = MAP_INIT;
    follower->told_disabled = follower->latest = false;
    follower->listing_needed = 0;
    follower->begins_ms = 0;
    free(follower->over);
    follower->over = NULL;
    follower->phase = FOLLOWER_JOINING;
    follower->generation = open_generation(follower->user, stream_arn);
    take_snapshot(follower);
    follower_unwatch(follower); /* of the generation that it leaves */
}

/* Its place in the stream was taken; the table comes first. Where it goes on is known as for one that begins
 * at the latest record: in shards that were open then, at what was written since. */
static void taken(void *user, struct follower *follower, const char *snapshot_arn)
{
    struct stream_supervisor *supervisor = user;
    struct buf over = BUF_INIT;
    struct snapshot_name name;
    bool known = snapshot_name_read(snapshot_arn, &name);
    CHECK(known);
    /* Shards that are over by now may have what was written since an export. */
    int64_t since_ms = name.export ? snapshot_ends_ms(&name) + POSITION_NEARER_MS : follower->since_ms;
    if (!name.export)
        follower_write_over(follower, &over);
    snapshot_name_fini(&name);
    begin_on(follower, snapshot_arn);
    follower_take_follow(
        follower,
        &(struct store_follow){.since_ms = since_ms, .over = over.data ? over.data : "", .seeks = ""});
    buf_fini(&over);
    log_snapshot(supervisor, follower);
    follower_watch(follower);
    follower_join_snapshot(follower, snapshot_arn);
}

static void tell_joined(struct follower *follower, const struct store_follow *follow)
{
    const struct leases *leases = follower->options->leases;
    if (leases && leases->joined)
        leases->joined(leases->user, follow);
}

/* What the state says it follows; a snapshot whose name cannot be read (another version's) is not read, and
 * its stream is. To be freed. */
static char *followed_arn(const struct stream_supervisor *supervisor, const struct store_follow *follow)
{
    struct snapshot_name name;
    if (!snapshot_of_arn(follow->stream_arn))
        return mem_string(follow->stream_arn);
    if (snapshot_name_read(follow->stream_arn, &name)) {
        snapshot_name_fini(&name);
        return mem_string(follow->stream_arn);
    }
    log_error(
        supervisor->options.log, supervisor->subject,
        "handler %s has a snapshot before it that this version cannot read (%s); it goes on with the stream",
        follow->handler, follow->stream_arn);
    return stream_of_arn(follow->stream_arn);
}

static void adopt(void *user, struct follower *follower, const struct store_follow *follow)
{
    CHECK(!follower->active.count && !follower->removed);
    char *stream_arn = followed_arn(user, follow);
    if (strcmp(stream_arn, follower->generation->stream_arn) != 0) {
        const struct generation *left = follower->generation;
        begin_on(follower, stream_arn);
        forget_segments(user, left);
    }
    free(stream_arn);
    follower_take_follow(follower, follow);
    follower_watch(follower);
    follower->phase = FOLLOWER_READY;
    tell_joined(follower, follow);
    ask_review(user, follower->generation);
}

static void move_to(struct follower *follower, const char *stream_arn)
{
    struct stream_supervisor *supervisor = follower->user;
    const struct leases *leases = supervisor->options.leases;
    struct store_batch *batch = store_batch_new();
    const struct generation *left = follower->generation;
    const char *left_arn = left->stream_arn;
    CHECK(!follower->active.count && follower->phase == FOLLOWER_READY);
    if (follower->generation->missing)
        put_lost_stream(follower, batch);
    if (supervisor->options.stream->snapshot && !snapshot_of_arn(left_arn))
        log_warn(
            supervisor->options.log, supervisor->subject,
            "handler %s comes to another stream: what was written while there was none, or into a table that "
            "was made anew, before it had one, is not in it; tidemill backfill %s brings every item",
            follower->handler, follower->handler);
    if (snapshot_of_arn(left_arn))
        troubles_end(supervisor->options.troubles, follower->subject, "snapshot");
    if (snapshot_of_arn(left_arn) && snapshot_of_arn(stream_arn))
        log_info(supervisor->options.log, supervisor->subject,
                 "handler %s has had all of the export, and goes on with the incremental one behind it",
                 follower->handler);
    else if (snapshot_of_arn(left_arn))
        log_info(supervisor->options.log, supervisor->subject,
                 "handler %s has had every item of the table, and goes on with the stream",
                 follower->handler);
    else
        log_info(supervisor->options.log, supervisor->subject, "handler %s has finished %s and goes on to %s",
                 follower->handler, left_arn, stream_arn);
    if (leases && leases->follow) {
        follower_commit_move(follower, batch, stream_arn);
        return;
    }
    struct store_follow follow = {.since_ms = follower->begins_ms, .seeks = ""};
    char *over = mem_string(follower->over ? follower->over : "");
    follow.over = over;
    begin_on(follower, stream_arn);
    if (snapshot_of_arn(left_arn))
        follower_take_follow(follower, &follow);
    free(over);
    forget_segments(supervisor, left);
    follower_commit_join(follower, batch, left_arn);
}

void stream_supervisor_moved(struct stream_supervisor *supervisor, const struct store_snapshot *snapshot)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        const struct store_follow *follow = follower->generation && follower->phase == FOLLOWER_READY &&
                                                    !follower->removed && !follower->active.count
                                                ? follower_find_follow(follower, snapshot)
                                                : NULL;
        if (follow && strcmp(follow->stream_arn, follower->generation->stream_arn) != 0 &&
            strcmp(follow->stream_arn, STORE_FOLLOW_LATEST) != 0)
            adopt(supervisor, follower, follow);
    }
}

/* Without what goes on from an export its stream would have a hole before it: it is asked for again, with the
 * next listing. */
static void wait_for_next(const struct stream_supervisor *supervisor, struct follower *follower,
                          const struct err *err)
{
    if (log_limit_passes(&follower->complained, reactor_now_ms(supervisor->options.reactor),
                         COMPLAIN_EVERY_MS))
        log_warn(supervisor->options.log, follower->subject, "the next export cannot begin, trying again: %s",
                 err->text);
    troubles_tell(supervisor->options.troubles, follower->subject, "snapshot", err->text);
}

static void on_next_stream(void *user, const char *stream_arn, const struct source_error *error)
{
    const struct err *err = error ? &error->err : NULL;
    struct stream_supervisor *supervisor = user;
    struct follower *follower = supervisor->moving;
    CHECK(follower && !follower->removed && follower->generation);
    supervisor->moving_call = NULL;
    supervisor->moving = NULL;
    if (err && snapshot_of_arn(follower->generation->stream_arn)) {
        wait_for_next(supervisor, follower, err);
        return;
    }
    if (err)
        log_warn(supervisor->options.log, supervisor->subject,
                 "cannot list the table's streams, going on to the latest: %s", err->text);
    const char *next = stream_arn ? stream_arn : supervisor->latest_arn;
    if (next && strcmp(next, follower->generation->stream_arn) != 0)
        move_to(follower, next);
    list_each(follower, &supervisor->followers, struct follower, link) /* those that waited for their turn */
        if (follower->generation)
            ask_review(supervisor, follower->generation);
}

/* The rows of shards that hosts share, once all handlers have ended them; of others' the store decides. */
static void forget_shared(const struct stream_supervisor *supervisor, const struct generation *generation)
{
    const struct lineage *lineage = discovery_lineage(generation->discovery);
    const struct leases *leases = supervisor->options.leases;
    for (size_t i = 0; i < lineage_count(lineage); i++)
        leases->forget(leases->user, generation->stream_arn, lineage_at(lineage, i)->id);
}

/* It has read all that there was of a table that is gone: nothing is left to be kept. */
static void leave(struct follower *follower)
{
    struct stream_supervisor *supervisor = follower->user;
    const struct leases *leases = supervisor->options.leases;
    struct store_batch *batch = store_batch_new();
    log_info(supervisor->options.log, supervisor->subject,
             "handler %s has read the stream of table %s to its end", follower->handler,
             supervisor->options.stream->table);
    if (follower->generation->missing)
        put_lost_stream(follower, batch);
    if (leases && leases->forget)
        forget_shared(supervisor, follower->generation);
    else
        store_forget_checkpoints(batch, follower->handler, follower->generation->stream_arn, "");
    store_commit(supervisor->options.store, batch, NULL, NULL);
    follower_free(follower);
}

/* The stream between may have been enabled and disabled while nobody looked: ask which came next. */
static void move_on(struct follower *follower)
{
    struct stream_supervisor *supervisor = follower->user;
    const char *latest = supervisor->latest_arn;
    if (supervisor->ending && !snapshot_of_arn(follower->generation->stream_arn)) {
        leave(follower);
        return;
    }
    if (!latest || strcmp(latest, follower->generation->stream_arn) == 0) {
        if (!follower->told_disabled && !follower->generation->missing)
            log_warn(supervisor->options.log, supervisor->subject,
                     "the stream is disabled and read to its end; waiting for it to be enabled again");
        if (!follower->generation->missing)
            troubles_tell(supervisor->options.troubles, supervisor->subject, "disabled",
                          "the stream is disabled and read to its end; waiting for it to be enabled again");
        follower->told_disabled = true;
        return;
    }
    if (supervisor->moving)
        return; /* one at a time; the next review comes here again */
    supervisor->moving = follower;
    supervisor->moving_call =
        source_next_stream(follower->generation->source, follower->generation->table,
                           follower->generation->stream_arn, on_next_stream, supervisor);
}

/* ---- review: whatever may be done now ---- */

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
    bool gone = generation->missing && (supervisor->ending || superseded(supervisor, generation));
    if (!discovery_listed(generation->discovery) && !gone)
        return;
    bool all = generation->review_all;
    generation->review_all = false;
    if (all)
        tell_closed(generation);
    if (gone)
        vanish_missed(generation);
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation || follower->removed || (!all && !follower->due))
            continue;
        follower->due = false;
        if (follower->phase == FOLLOWER_NEW && !generation->missing && !follower->halted)
            follower_begin(follower);
        if (follower->phase != FOLLOWER_READY || follower->halted)
            continue;
        if (!generation->missing)
            follower_assign_ready(follower);
        bool over = generation_over(follower);
        if (!follower_close_windows(follower, over) && over)
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
    struct generation *generation = find_generation(supervisor, stream_arn);
    const struct leases *leases = supervisor->options.leases;
    struct follower *follower;
    bool all = true;
    if (!generation)
        return;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation)
            continue;
        if (strcmp(follower->handler, handler) != 0) {
            all = all && (follower->removed || progress_finished(&follower->progress, shard));
            continue;
        }
        struct position finished = {.kind = POSITION_FINISHED, .since_ms = wall_ms(supervisor)};
        progress_finish(&follower->progress, shard);
        map_remove(&follower->active, shard);
        follower_set_position(follower, shard, &finished, progress);
        follower->listing_needed = discovery_begun(generation->discovery) + 1;
        ask_review_of(follower);
    }
    if (all && leases && leases->finished)
        leases->finished(leases->user, stream_arn, shard);
    release_if_idle(supervisor, generation, shard);
    discovery_shard_closed(generation->discovery, shard);
    if (discovery_status(generation->discovery) == STREAM_DISABLED)
        discovery_now(generation->discovery);
}

void stream_supervisor_missing(struct stream_supervisor *supervisor, const char *stream_arn,
                               const char *shard)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct worker *worker = generation ? map_get(&generation->workers, shard) : NULL;
    if (!worker)
        return; /* nobody reads it any more */
    map_set(&generation->missed, shard, generation);
    if (discovery_listed(generation->discovery) &&
        !lineage_knows(discovery_lineage(generation->discovery), shard))
        worker_shard_vanished(worker, stream_arn, shard);
    else if (generation->missing && superseded(supervisor, generation))
        vanish_missed(generation);
    else
        discovery_now(generation->discovery);
}

/* ---- shards that come and go ---- */

/* Where it stands in a shard of another host's moves on without a word. */
static void take_row(struct follower *follower, const struct store_checkpoint *row)
{
    if (row->position.kind != POSITION_FINISHED &&
        !leases_own(follower->options->leases, row->stream_arn, row->shard))
        return;
    follower_set_position(follower, row->shard, &row->position, row->progress);
    if (row->position.kind == POSITION_FINISHED)
        progress_finish(&follower->progress, row->shard);
    else
        discovery_expect(follower->generation->discovery, row->shard);
}

/* Those of the snapshot about the handler there (`shard` NULL: everywhere). */
static void take_rows(struct follower *follower, const char *shard, const struct store_snapshot *snapshot,
                      bool finished)
{
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follower->handler) == 0 &&
            strcmp(row->stream_arn, follower->generation->stream_arn) == 0 &&
            (!shard || strcmp(row->shard, shard) == 0) &&
            (!finished || (row->position.kind == POSITION_FINISHED &&
                           !progress_finished(&follower->progress, row->shard))))
            take_row(follower, row);
    }
}

void stream_supervisor_gained(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard,
                              const struct store_snapshot *snapshot)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct follower *follower;
    if (!generation)
        return;
    bool known = lineage_knows(discovery_lineage(generation->discovery), shard), wanted = false;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation)
            continue;
        take_rows(follower, shard, snapshot, false);
        wanted = wanted || (!follower->removed && !progress_finished(&follower->progress, shard));
    }
    if (!known && wanted) { /* another host's listing has it, this host's are older */
        discovery_expect(generation->discovery, shard);
        discovery_now(generation->discovery);
    }
    if (discovery_listed(generation->discovery))
        ask_review(supervisor, generation);
}

void stream_supervisor_lead(struct stream_supervisor *supervisor, const char *stream_arn)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    if (generation)
        discovery_now(generation->discovery);
}

void stream_supervisor_tell(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard)
{
    const struct generation *generation = find_generation(supervisor, stream_arn);
    const struct lineage *lineage = generation ? discovery_lineage(generation->discovery) : NULL;
    for (size_t i = 0; lineage && i < lineage_count(lineage); i++)
        if (strcmp(lineage_at(lineage, i)->id, shard) == 0 && lineage_listed(lineage, shard))
            supervisor->options.leases->listed(supervisor->options.leases->user, stream_arn,
                                               lineage_at(lineage, i));
}

bool stream_supervisor_finished_elsewhere(struct stream_supervisor *supervisor, const char *stream_arn,
                                          const char *shard, const struct store_snapshot *snapshot)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct follower *follower;
    bool all = true;
    if (!generation)
        return true;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation)
            continue;
        take_rows(follower, shard, snapshot, true);
        all = all && shard && (follower->removed || progress_finished(&follower->progress, shard));
    }
    if (discovery_listed(generation->discovery))
        ask_review(supervisor, generation);
    return all;
}

bool stream_supervisor_drain(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct worker *worker = generation ? map_get(&generation->workers, shard) : NULL;
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link)
        if (follower->generation == generation)
            follower_disinherit(follower, shard);
    if (worker)
        worker_drain(worker, stream_arn, shard);
    return worker != NULL;
}

/* Where its handlers stand in it, the store knows; whoever has it now moves that on. */
void stream_supervisor_lost(struct stream_supervisor *supervisor, const char *stream_arn, const char *shard)
{
    struct generation *generation = find_generation(supervisor, stream_arn);
    struct worker *worker = generation ? map_get(&generation->workers, shard) : NULL;
    struct follower *follower;
    if (!generation)
        return;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (follower->generation != generation)
            continue;
        follower_disinherit(follower, shard);
        map_remove(&follower->active, shard);
        free(map_remove(&follower->positions, shard));
        free(map_remove(&follower->cursors, shard));
    }
    if (worker)
        worker_lose(worker, stream_arn, shard);
    map_remove(&generation->told_closed, shard);
    release_if_idle(supervisor, generation, shard);
}

/* ---- dead letters ---- */

struct placing {
    struct follower *follower;
    redrive_place_fn *add;
    void *user;
};

static void on_place(void *user, const char *shard)
{
    struct placing *placing = user;
    struct generation *generation = placing->follower->generation;
    struct worker *worker = map_get(&generation->workers, shard);
    if (worker)
        placing->add(placing->user, worker, generation->stream_arn, shard);
}

bool stream_supervisor_places(struct stream_supervisor *supervisor, const struct store_dead_letter *letter,
                              redrive_place_fn *add, void *user)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (strcmp(follower->handler, letter->handler) != 0 || follower->removed)
            continue;
        if (follower->generation && follower->phase == FOLLOWER_READY)
            follower_places(follower, letter->shard, on_place, &(struct placing){follower, add, user});
        return true;
    }
    return false;
}

/* ---- finding the stream ---- */

/* With on_gap = stop, a gap that somebody has not dropped yet holds the handler. */
static void halt_at_gap(struct follower *follower)
{
    struct stream_supervisor *supervisor = follower->user;
    const struct store_snapshot *snapshot = supervisor->options.snapshot;
    char *identity = stream_identity(follower->generation->stream_arn, supervisor->options.stream->table);
    for (size_t i = 0; i < snapshot->event_count && !follower->halted; i++) {
        const struct store_event *event = &snapshot->events[i];
        char *its = stream_identity(event->stream_arn, supervisor->options.stream->table);
        if (strcmp(event->kind, "gap") == 0 && strcmp(event->handler, follower->handler) == 0 &&
            strcmp(identity, its) == 0)
            follower_halt(follower);
        free(its);
    }
    free(identity);
}

/* What the store knows of the handler on its generation. */
static void take_snapshot(struct follower *follower)
{
    const struct store_snapshot *snapshot = follower->options->snapshot;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follower->handler) != 0 ||
            strcmp(row->stream_arn, follower->generation->stream_arn) != 0)
            continue;
        take_row(follower, row);
    }
    if (follower->options->stream->on_gap == GAP_STOP)
        halt_at_gap(follower);
}

static void join(struct follower *follower, struct generation *generation)
{
    follower->generation = generation;
    take_snapshot(follower);
    if (discovery_listed(generation->discovery))
        ask_review(follower->user, generation);
}

/* Does the configuration read a stream of that identity? */
static bool is_read(const struct config *config, const char *identity)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        const struct config_stream *stream = &config->streams[i];
        if (config_stream_is_many(stream)) {
            char *one = table_of_arn(identity, identity + (strncmp(identity, "table:", 6) == 0 ? 6 : 0));
            bool fits = config_stream_fits(stream, one);
            free(one);
            if (fits)
                return true;
            continue;
        }
        char *own = stream->arn ? stream_identity(stream->arn, NULL) : mem_string(stream->table);
        char *table = table_of_arn(identity, identity + (strncmp(identity, "table:", 6) == 0 ? 6 : 0));
        bool same = own && strcmp(own, stream->arn ? identity : table) == 0;
        free(own);
        free(table);
        if (same)
            return true;
    }
    return false;
}

/* The handler stood on a stream that nobody reads now: another account's or region's, or of another table. */
static void tell_left_behind(struct follower *follower, const char *identity)
{
    struct stream_supervisor *supervisor = follower->user;
    const struct store_snapshot *snapshot = supervisor->options.snapshot;
    struct store_batch *batch = store_batch_new();
    char *own_table = table_of_arn(identity, "");
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        char *its = stream_identity(row->stream_arn, NULL), *table = table_of_arn(row->stream_arn, "?");
        bool same_table = strcmp(table, own_table) == 0; /* of another account or region, then */
        if (strcmp(row->handler, follower->handler) == 0 && row->position.kind != POSITION_FINISHED &&
            strcmp(its, identity) != 0 && (same_table || !is_read(supervisor->options.config, its))) {
            log_error(supervisor->options.log, supervisor->subject,
                      "handler %s stood at %s in shard %s of %s, which no [stream] reads any more: what "
                      "followed there is not handled",
                      follower->handler,
                      row->position.kind == POSITION_AFTER ? row->position.sequence : "its start", row->shard,
                      row->stream_arn);
            store_put_event(batch, &(struct store_event){
                                       .kind = "gap",
                                       .handler = follower->handler,
                                       .stream_arn = row->stream_arn,
                                       .shard = row->shard,
                                       .from_sequence = row->position.sequence,
                                       .text = "no [stream] of the configuration reads this stream any more",
                                       .time_ms = wall_ms(supervisor),
                                   });
            store_forget_checkpoints(batch, row->handler, row->stream_arn, row->shard);
            if (supervisor->options.stream->on_gap == GAP_STOP)
                follower_halt(follower);
        }
        free(its);
        free(table);
    }
    free(own_table);
    store_commit(supervisor->options.store, batch, NULL, NULL);
}

/* Handlers that have no stream yet get the one they were on, or begin with the latest. */
static void place_followers(struct stream_supervisor *supervisor)
{
    const struct store_snapshot *snapshot = supervisor->options.snapshot;
    char *identity = stream_identity(supervisor->latest_arn, supervisor->options.stream->table);
    struct follower *follower;
    CHECK(supervisor->latest_arn);
    list_each(follower, &supervisor->followers, struct follower, link) {
        const struct store_follow *follow = NULL;
        if (follower->generation)
            continue;
        for (size_t i = 0; i < snapshot->follow_count; i++)
            if (strcmp(snapshot->follows[i].stream, identity) == 0 &&
                strcmp(snapshot->follows[i].handler, follower->handler) == 0)
                follow = &snapshot->follows[i];
        char *own = follow ? followed_arn(supervisor, follow) : NULL;
        const char *stream_arn = own;
        if (follow)
            follower_take_follow(follower, follow);
        if (!stream_arn)
            tell_left_behind(follower, identity);
        follower->latest = stream_arn && strcmp(stream_arn, STORE_FOLLOW_LATEST) == 0;
        if (follower->latest)
            stream_arn = NULL;
        follower->phase = stream_arn ? FOLLOWER_READY : FOLLOWER_NEW;
        join(follower, open_generation(supervisor, stream_arn ? stream_arn : supervisor->latest_arn));
        free(own);
        follower_watch(follower);
        if (follower->phase == FOLLOWER_READY)
            tell_joined(follower, follow);
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
    troubles_end(supervisor->options.troubles, supervisor->subject, "disabled");
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
    if (!same)
        supervisor->complained = (struct log_limit){0};
    if (!log_limit_passes(&supervisor->complained, now, COMPLAIN_EVERY_MS))
        return;
    free(supervisor->complaint);
    supervisor->complaint = mem_string(sentence);
    log_warn(supervisor->options.log, supervisor->subject, "%s", sentence);
}

static void find(void *user);

static const char *looked_for(const struct stream_supervisor *supervisor)
{
    const struct config_stream *stream = supervisor->options.stream;
    return stream->kinesis ? stream->kinesis : stream->table;
}

static void on_found(void *user, const char *stream_arn, const struct source_error *error)
{
    const struct err *err = error ? &error->err : NULL;
    struct stream_supervisor *supervisor = user;
    supervisor->finding = NULL;
    if (stream_arn) {
        supervisor->find_failures = 0;
        troubles_end(supervisor->options.troubles, supervisor->subject, "finding");
        timer_set(supervisor->options.reactor, &supervisor->find, supervisor->options.stream->discovery_ms);
        set_latest(supervisor, stream_arn);
        return;
    }
    char *sentence =
        err ? mem_printf("cannot look at %s %s, trying again: %s",
                         supervisor->options.stream->kinesis ? "Kinesis stream" : "table",
                         looked_for(supervisor), err->text)
            : mem_printf("table %s has no stream; enable one (view type NEW_AND_OLD_IMAGES), it will be "
                         "noticed",
                         supervisor->options.stream->table);
    complain(supervisor, sentence);
    troubles_tell(supervisor->options.troubles, supervisor->subject, "finding", sentence);
    free(sentence);
    timer_set(supervisor->options.reactor, &supervisor->find,
              backoff_ms(find_retry_ms, ++supervisor->find_failures, &supervisor->random));
}

void stream_supervisor_read_rest(struct stream_supervisor *supervisor, const char *stream_arn)
{
    CHECK(!supervisor->latest_arn && list_empty(&supervisor->followers));
    stream_supervisor_end(supervisor);
    supervisor->latest_arn = mem_string(stream_arn);
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
        if (used)
            continue;
        forget_segments(supervisor, generation); /* what workers told since */
        close_generation(supervisor, generation);
    }
}

static void find(void *user)
{
    struct stream_supervisor *supervisor = user;
    CHECK(!supervisor->finding);
    close_old_generations(supervisor);
    if (supervisor->ending)
        return;                               /* no other stream will come */
    if (list_empty(&supervisor->followers)) { /* nobody asks */
        troubles_end(supervisor->options.troubles, supervisor->subject, "finding");
        timer_set(supervisor->options.reactor, &supervisor->find, supervisor->options.stream->discovery_ms);
    } else if (supervisor->options.stream->arn)
        set_latest(supervisor, supervisor->options.stream->arn);
    else
        supervisor->finding =
            source_find_stream(supervisor->options.source, looked_for(supervisor), on_found, supervisor);
}

/* ---- life ---- */

struct stream_supervisor *stream_supervisor_new(const struct stream_supervisor_options *options)
{
    struct stream_supervisor *supervisor = mem_zero(sizeof *supervisor);
    supervisor->options = *options;
    supervisor->options.source = sources_for(options->sources, options->stream, NULL);
    config_hold(options->config);
    supervisor->subject = config_stream_subject(options->config, options->stream);
    list_init(&supervisor->generations);
    list_init(&supervisor->followers);
    timer_init(&supervisor->find, find, supervisor);
    timer_set(options->reactor, &supervisor->find, 0);
    return supervisor;
}

void stream_supervisor_free(struct stream_supervisor *supervisor)
{
    struct follower *follower;
    struct generation *generation;
    if (!supervisor)
        return;
    timer_stop(supervisor->options.reactor, &supervisor->find);
    source_cancel(supervisor->options.source, supervisor->finding);
    if (supervisor->moving)
        source_cancel(supervisor->moving->generation->source, supervisor->moving_call);
    list_each(follower, &supervisor->followers, struct follower, link)
        follower_free(follower);
    list_each(generation, &supervisor->generations, struct generation, link) {
        close_generation(supervisor, generation);
    }
    troubles_end(supervisor->options.troubles, supervisor->subject, "finding");
    troubles_end(supervisor->options.troubles, supervisor->subject, "disabled");
    free(supervisor->latest_arn);
    free(supervisor->complaint);
    config_release(supervisor->options.config);
    free(supervisor->subject);
    free(supervisor);
}

static void on_ready(void *user, struct follower *follower)
{
    ask_review(user, follower->generation);
}

void stream_supervisor_add_handler(struct stream_supervisor *supervisor, const char *handler)
{
    struct follower *follower = mem_zero(sizeof *follower);
    follower->options = &supervisor->options;
    follower->subject = supervisor->subject;
    follower->ready = on_ready;
    follower->adopt = adopt;
    follower->taken = taken;
    follower->user = supervisor;
    follower->handler = mem_string(handler);
    timer_init(&follower->take_again, follower_take, follower);
    list_init(&follower->cursor_calls);
    list_init(&follower->inheritances);
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

bool stream_supervisor_any_snapshot(const struct stream_supervisor *supervisor)
{
    struct follower *follower;
    list_each(follower, (struct list *)&supervisor->followers, struct follower, link)
        if (!follower->removed && follower->generation && snapshot_of_arn(follower->generation->stream_arn))
            return true;
    return false;
}

bool stream_supervisor_reads(const struct stream_supervisor *supervisor)
{
    const struct follower *follower;
    bool all = true;
    list_each(follower, (struct list *)&supervisor->followers, struct follower, link)
        all = all && (follower->removed || follower->halted ||
                      (follower->generation && follower->phase == FOLLOWER_READY &&
                       discovery_listed(follower->generation->discovery)));
    return all;
}

void stream_supervisor_from_first(struct stream_supervisor *supervisor)
{
    supervisor->options.from_first = true;
}

void stream_supervisor_end(struct stream_supervisor *supervisor)
{
    struct follower *follower;
    struct generation *generation;
    supervisor->ending = true;
    source_cancel(supervisor->options.source, supervisor->finding);
    supervisor->finding = NULL;
    timer_stop(supervisor->options.reactor, &supervisor->find);
    troubles_end(supervisor->options.troubles, supervisor->subject, "finding");
    list_each(follower, &supervisor->followers, struct follower, link)
        if (!follower->generation) /* it never had a stream */
            follower_free(follower);
    list_each(generation, &supervisor->generations, struct generation, link)
        discovery_now(generation->discovery);
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

/* Shards that only this handler read. */
static void release_left(struct stream_supervisor *supervisor, struct follower *follower)
{
    const char *shard;
    size_t at = 0;
    while (follower->generation && map_next(&follower->active, &at, &shard))
        release_if_idle(supervisor, follower->generation, shard);
}

void stream_supervisor_remove_handler(struct stream_supervisor *supervisor, const char *handler)
{
    struct follower *follower;
    list_each(follower, &supervisor->followers, struct follower, link) {
        if (strcmp(follower->handler, handler) != 0 || follower->removed)
            continue;
        follower->removed = true;
        release_left(supervisor, follower);
        if (supervisor->moving == follower) {
            source_cancel(follower->generation->source, supervisor->moving_call);
            supervisor->moving_call = NULL;
            supervisor->moving = NULL;
        }
        /* While its beginning is on the way to the store, the store will come back to it. */
        if (follower->phase != FOLLOWER_JOINING || follower->cursors_wanted || follower_takes(follower))
            follower_free(follower);
    }
}
