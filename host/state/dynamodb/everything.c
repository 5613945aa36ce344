/* everything.c: all that a group's state says, but the letters: for a host that begins, and for `status`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lease/coordinator.h"
#include "state/dynamodb/copying.h"
#include "state/dynamodb/seeks.h"
#include "state/dynamodb/store_internal.h"

enum { ASK_FOLLOWS, ASK_EVENTS, ASK_HOSTS, ASK_LETTERS, ASK_COUNT = ASK_LETTERS + LETTER_PARTITIONS };

/* ---- follows, gaps, counts ---- */

static bool read_follow(struct store_snapshot *snapshot, const cJSON *item, struct err *err)
{
    struct store_follow *follow = &snapshot->follows[snapshot->follow_count++];
    struct bodies bodies = {0};
    struct buf over = BUF_INIT;
    bool well = !document_get(item, "body") || bodies_read(&bodies, item, &over, err);
    *follow = (struct store_follow){
        .stream = snapshot_text(snapshot, item, "stream"),
        .handler = snapshot_text(snapshot, item, "handler"),
        .stream_arn = snapshot_text(snapshot, item, "arn"),
        .since_ms = item_number(item, "since"),
        .seeks = snapshot_text(snapshot, item, "seeks"),
        .formerly = snapshot_text(snapshot, item, "formerly"),
        .over = arena_copy(&snapshot->arena, over.data ? over.data : "", over.size),
    };
    buf_fini(&over);
    return well;
}

static void read_event(struct store_snapshot *snapshot, const cJSON *item)
{
    snapshot->events[snapshot->event_count++] = (struct store_event){
        .kind = snapshot_text(snapshot, item, "kind"),
        .handler = snapshot_text(snapshot, item, "handler"),
        .stream_arn = snapshot_text(snapshot, item, "stream"),
        .shard = snapshot_text(snapshot, item, "shard"),
        .from_sequence = snapshot_text(snapshot, item, "from"),
        .to_sequence = snapshot_text(snapshot, item, "to"),
        .text = snapshot_text(snapshot, item, "text"),
        .time_ms = item_number(item, "time"),
    };
}

static void read_member(struct store_snapshot *snapshot, const cJSON *item)
{
    struct lease_host host = lease_rows_host(item);
    double rate = host.load - LEASE_SHARD_LOAD * (double)host.shards;
    if (strcmp(host.session, LEASE_BELL) == 0 || strcmp(host.session, COPYING_OWNER) == 0)
        return;
    snapshot->members[snapshot->member_count++] = (struct store_member){
        .session = snapshot_text(snapshot, item, "sk"),
        .version = snapshot_text(snapshot, item, "vers"),
        .fingerprint = snapshot_text(snapshot, item, "hash"),
        .state = host.death == LEASE_LEFT      ? MEMBER_LEFT
                 : host.death == LEASE_MARKED  ? MEMBER_DEAD
                 : host.state == LEASE_LEAVING ? MEMBER_LEAVES
                 : host.state == LEASE_SICK    ? MEMBER_SICK
                                               : MEMBER_RUNS,
        .since_ms = host.since_ms,
        .fingerprint_ms = host.fingerprint_ms,
        .beat_ms = host.beat_ms,
        .lease_ms = host.lease_ms,
        .shards = host.shards,
        .reactors = host.reactors,
        .records_s = rate > 0 ? rate : 0,
    };
}

static int newest_first(const void *a, const void *b)
{
    const struct store_event *left = a, *right = b;
    return left->time_ms < right->time_ms ? 1 : left->time_ms > right->time_ms ? -1 : 0;
}

static bool read_first_round(struct store_snapshot *snapshot, const struct rows *rows, struct err *err)
{
    size_t room = rows->count + 1, letters = 0;
    bool well = true;
    snapshot->follows = arena_alloc(&snapshot->arena, room * sizeof *snapshot->follows);
    snapshot->events = arena_alloc(&snapshot->arena, room * sizeof *snapshot->events);
    snapshot->members = arena_alloc(&snapshot->arena, room * sizeof *snapshot->members);
    for (size_t i = 0; well && i < rows->count; i++) {
        if (rows->rows[i].ask == ASK_FOLLOWS)
            well = read_follow(snapshot, rows->rows[i].item, err);
        else if (rows->rows[i].ask == ASK_EVENTS)
            read_event(snapshot, rows->rows[i].item);
        else if (rows->rows[i].ask == ASK_HOSTS)
            read_member(snapshot, rows->rows[i].item);
        else
            letters++;
    }
    if (snapshot->event_count)
        qsort(snapshot->events, snapshot->event_count, sizeof *snapshot->events, newest_first);
    letters_count(snapshot, rows->rows + (rows->count - letters), letters);
    return well;
}

/* ---- where handlers stand ---- */

/* Of a row whose pieces are gone by the time they are asked for. */
#define READS_MAX 10

static void read_shards(struct pending *pending);

static void on_progress(void *user, struct rows *pieces, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = err ? *err : (struct err){0};
    pending->reading = NULL;
    bool well = !err && standings_join(&pending->standings, pieces, &failure);
    rows_free(pieces);
    if (!well && !err && pending->reads++ < READS_MAX) { /* its owner has written it anew between */
        standings_fini(&pending->standings);
        pending->snapshot->owner_count = 0;
        read_shards(pending);
        return;
    }
    if (well)
        standings_tell(&pending->standings, pending->snapshot);
    pending_loaded(pending, well ? NULL : &failure);
}

static bool read_row(struct pending *pending, const cJSON *row, struct err *err)
{
    struct store_snapshot *snapshot = pending->snapshot;
    const cJSON *handler;
    bool well = true;
    bool copied = strcmp(item_text(row, "own"), COPYING_OWNER) == 0; /* no host has it yet */
    snapshot->owners[snapshot->owner_count++] =
        (struct store_owner){snapshot_text(snapshot, row, "st"), snapshot_text(snapshot, row, "sk"),
                             copied ? "" : snapshot_text(snapshot, row, "own"), item_number(row, "ep")};
    cJSON_ArrayForEach(handler, document_get(document_get(row, "h"), "M")) well =
        well && standings_add(&pending->standings, item_text(row, "st"), item_text(row, "sk"),
                              handler->string, item_text(document_get(handler, "M"), "t"), err);
    return well;
}

static const struct store_follow *find_follow(const void *user, const char *handler, const char *stream)
{
    const struct store_snapshot *snapshot = user;
    return store_follow_find(snapshot->follows, snapshot->follow_count, handler, stream);
}

static void on_shards(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = err ? *err : (struct err){0};
    bool well = !err;
    size_t count = 0;
    pending->reading = NULL;
    if (well)
        pending->snapshot->owners =
            arena_alloc(&pending->snapshot->arena, (rows->count + 1) * sizeof *pending->snapshot->owners);
    for (size_t i = 0; well && i < rows->count; i++)
        well = read_row(pending, rows->rows[i].item, &failure);
    rows_free(rows);
    if (!well) {
        pending_loaded(pending, &failure);
        return;
    }
    for (size_t i = 0; i < pending->snapshot->follow_count; i++)
        seeks_inherit(&pending->standings, &pending->snapshot->follows[i]);
    seeks_apply(&pending->standings, find_follow, pending->snapshot);
    struct ask *asks = standings_ask(&pending->standings, pending->store->group, &count);
    if (count)
        pending->reading = calls_read(pending->store->calls, asks, count, on_progress, pending);
    else
        on_progress(pending, NULL, NULL);
    free(asks);
}

/* Each once. */
static size_t streams_of(const struct store_snapshot *snapshot, const char **streams)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->follow_count; i++) {
        const char *arn = snapshot->follows[i].stream_arn;
        size_t at = 0;
        while (at < count && strcmp(streams[at], arn) != 0)
            at++;
        if (at == count && strcmp(arn, STORE_FOLLOW_LATEST) != 0)
            streams[count++] = arn;
    }
    return count;
}

static void read_shards(struct pending *pending)
{
    const struct store_snapshot *snapshot = pending->snapshot;
    const char **streams = arena_alloc(&pending->arena, (snapshot->follow_count + 1) * sizeof *streams);
    size_t count = streams_of(snapshot, streams), at = 0;
    struct ask *asks = mem_zero((count * LEASE_BUCKETS + 1) * sizeof *asks);
    for (size_t i = 0; i < count; i++)
        for (int bucket = 0; bucket < LEASE_BUCKETS; bucket++)
            asks[at++].partition = lease_rows_partition(pending->store->group, streams[i], bucket);
    if (at)
        pending->reading = calls_read(pending->store->calls, asks, at, on_shards, pending);
    else
        pending_loaded(pending, NULL);
    free(asks);
}

static void on_first_round(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = err ? *err : (struct err){0};
    pending->reading = NULL;
    bool well = !err && read_first_round(pending->snapshot, rows, &failure);
    rows_free(rows);
    if (well)
        read_shards(pending);
    else
        pending_loaded(pending, &failure);
}

void everything_load(struct pending *pending)
{
    struct ask asks[ASK_COUNT] = {0};
    asks[ASK_FOLLOWS].partition = mem_printf("g/%s/f", pending->store->group);
    asks[ASK_EVENTS].partition = mem_printf("g/%s/e", pending->store->group);
    asks[ASK_HOSTS].partition = mem_printf("g/%s/h", pending->store->group);
    letters_ask_counts(pending->store, asks + ASK_LETTERS);
    pending->reading = calls_read(pending->store->calls, asks, ASK_COUNT, on_first_round, pending);
}
