/* shard_rows.c: see shard_rows.h. */
#include "state/dynamodb/shard_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "state/dynamodb/seeks.h"

#define AGAIN_MS 1000

struct shard_rows {
    struct shard_writer writer; /* the first: one is the other */
    struct calls *calls;
    struct coordinator *coordinator;
    char *group;
    struct map lanes;    /* of a shard's row: struct lane */
    struct map follows;  /* handler and stream -> struct store_follow, owned: of which `seeks` counts */
    struct map kept;     /* partition of pieces -> struct kept: those that the row names */
    struct list gaining; /* rows that are read */
    struct list sweeps;  /* deletions that nobody waits for */
    int64_t (*quiet_ms)(void *user); /* or NULL */
    void *user;
};

struct kept {
    char nonce[LEASE_NONCE_SIZE];
    size_t count;
};

/* ---- seeks ---- */

static char *row_key(const char *stream, const char *shard)
{
    return mem_printf("%s\n%s", stream, shard);
}

static void follow_free(struct store_follow *follow)
{
    if (!follow)
        return;
    free((char *)follow->stream);
    free((char *)follow->handler);
    free((char *)follow->stream_arn);
    free((char *)follow->seeks);
    free((char *)follow->formerly);
    free(follow);
}

void shard_rows_follow(struct shard_rows *rows, const struct store_follow *follow)
{
    char *key = row_key(follow->handler, follow->stream_arn);
    struct store_follow *own = mem_zero(sizeof *own);
    own->stream = mem_string(follow->stream ? follow->stream : "");
    own->handler = mem_string(follow->handler);
    own->stream_arn = mem_string(follow->stream_arn);
    own->seeks = mem_string(follow->seeks);
    own->formerly = mem_string(follow->formerly);
    follow_free(map_remove(&rows->follows, key));
    map_set(&rows->follows, key, own);
    free(key);
}

static const struct store_follow *find_follow(const void *user, const char *handler, const char *stream)
{
    const struct shard_rows *rows = user;
    char *key = row_key(handler, stream);
    const struct store_follow *follow = map_get(&rows->follows, key);
    free(key);
    return follow;
}

/* ---- pieces that are to go ---- */

/* Where one is not deleted (the host ends), the next owner finds it. */
struct sweep {
    struct list link;
    struct call *call;
};

static void on_swept(void *user, const cJSON *answer, bool refused)
{
    struct sweep *sweep = user;
    (void)answer;
    (void)refused;
    list_remove(&sweep->link);
    free(sweep);
}

static void sweep_body(struct shard_rows *rows, cJSON *body)
{
    struct sweep *sweep = mem_alloc(sizeof *sweep);
    list_append(&rows->sweeps, &sweep->link);
    sweep->call = call_send(rows->calls, "DeleteItem", body, on_swept, sweep);
}

static void sweep_kept(struct shard_rows *rows, const char *partition, struct kept *kept)
{
    for (size_t i = 0; kept && i < kept->count; i++)
        sweep_body(rows, piece_delete(i, partition, kept->nonce));
    free(kept);
}

static void keep(struct shard_rows *rows, const char *partition, const char *nonce, size_t count)
{
    struct kept *kept = mem_alloc(sizeof *kept);
    memcpy(kept->nonce, nonce, LEASE_NONCE_SIZE);
    kept->count = count;
    map_set(&rows->kept, partition, kept);
}

/* ---- writing ---- */

struct change {
    char *handler, *text, *partition; /* text NULL: to be forgotten, or still to be made */
    bool end;
    struct pieces pieces;
    char nonce[LEASE_NONCE_SIZE];
};

/* A shard's writes follow each other: the next one begins when this one is in the coordinator's hands. */
struct writing {
    struct list link; /* in its lane */
    struct lane *lane;
    struct change *changes;
    size_t count, at, piece;
    struct call *call;
    bool handed_over;
    store_done_fn *done;
    void *user;
};

struct lane {
    struct shard_rows *rows;
    char *key, *stream, *shard;
    struct list writings;
    int held; /* somebody still looks at it */
};

static void begin_next(struct lane *lane);

static void writing_free(struct writing *writing)
{
    list_remove(&writing->link);
    call_cancel(writing->call);
    for (size_t i = 0; i < writing->count; i++) {
        free(writing->changes[i].handler);
        free(writing->changes[i].text);
        free(writing->changes[i].partition);
        pieces_fini(&writing->changes[i].pieces);
    }
    free(writing->changes);
    free(writing);
}

static void lane_end(struct lane *lane)
{
    if (!list_empty(&lane->writings) || lane->held)
        return;
    map_remove(&lane->rows->lanes, lane->key);
    free(lane->key);
    free(lane->stream);
    free(lane->shard);
    free(lane);
}

static void tell(struct writing *writing, bool well)
{
    store_done_fn *done = writing->done;
    void *user = writing->user;
    struct lane *lane = writing->lane;
    struct err lost;
    err_set(&lost, ERR_CANCELLED, "shard %s is not this host's any more", lane->shard);
    writing_free(writing);
    lane_end(lane);
    if (done)
        done(user, well ? NULL : &lost);
}

/* What the row named before is nothing any more. What a write that went wrong has put there may be named, if
 * only its answer was lost: the next owner knows. */
static void on_committed(void *user, bool well)
{
    struct writing *writing = user;
    struct shard_rows *rows = writing->lane->rows;
    for (size_t i = 0; well && i < writing->count; i++) {
        struct change *change = &writing->changes[i];
        sweep_kept(rows, change->partition, map_remove(&rows->kept, change->partition));
        if (change->pieces.count)
            keep(rows, change->partition, change->nonce, change->pieces.count);
    }
    tell(writing, well);
}

static void hand_over(struct writing *writing)
{
    struct lane *lane = writing->lane;
    struct lease_part *parts = mem_alloc((writing->count + 1) * sizeof *parts);
    bool ends = false;
    for (size_t i = 0; i < writing->count; i++) {
        parts[i] = (struct lease_part){writing->changes[i].handler, writing->changes[i].text,
                                       writing->changes[i].end};
        ends = ends || writing->changes[i].end;
    }
    writing->handed_over = true;
    lane->held++;
    coordinator_commit(lane->rows->coordinator, lane->stream, lane->shard, parts, writing->count,
                       ends && lane->rows->quiet_ms ? lane->rows->quiet_ms(lane->rows->user) : 0,
                       on_committed, writing);
    free(parts);
    begin_next(lane);
    lane->held--;
    lane_end(lane);
}

static void put_pieces(struct writing *writing);

static void on_piece(void *user, const cJSON *answer, bool refused)
{
    struct writing *writing = user;
    (void)answer;
    (void)refused;
    writing->call = NULL;
    writing->piece++;
    put_pieces(writing);
}

static void put_pieces(struct writing *writing)
{
    for (; writing->at < writing->count; writing->at++, writing->piece = 0) {
        const struct change *change = &writing->changes[writing->at];
        if (writing->piece >= change->pieces.count)
            continue;
        writing->call =
            call_send(writing->lane->rows->calls, "PutItem",
                      piece_put(&change->pieces, writing->piece, change->partition, change->nonce, 0),
                      on_piece, writing);
        return;
    }
    hand_over(writing);
}

/* The first that is not handed over yet, if none before it waits for its pieces. */
static void begin_next(struct lane *lane)
{
    struct writing *writing;
    list_each(writing, &lane->writings, struct writing, link) {
        if (writing->handed_over)
            continue;
        if (!writing->call)
            put_pieces(writing);
        return;
    }
}

static struct lane *lane_of(struct shard_rows *rows, const char *stream, const char *shard)
{
    char *key = row_key(stream, shard);
    struct lane *lane = map_get(&rows->lanes, key);
    if (lane) {
        free(key);
        return lane;
    }
    lane = mem_zero(sizeof *lane);
    *lane = (struct lane){.rows = rows, .key = key, .stream = mem_string(stream), .shard = mem_string(shard)};
    list_init(&lane->writings);
    map_set(&rows->lanes, key, lane);
    return lane;
}

static void make_change(const struct lane *lane, const struct shard_change *wanted, struct change *change)
{
    *change = (struct change){
        .handler = mem_string(wanted->handler),
        .partition = part_partition(lane->rows->group, lane->stream, lane->shard, wanted->handler),
    };
    if (wanted->forget)
        return;
    const struct store_follow *follow = find_follow(lane->rows, wanted->handler, lane->stream);
    bool large = strlen(wanted->progress) > PART_PROGRESS_MAX;
    if (large) {
        pieces_make(&change->pieces, wanted->progress, strlen(wanted->progress), 0);
        calls_nonce(change->nonce);
    }
    change->end = wanted->position.kind == POSITION_FINISHED;
    change->text = part_write(&wanted->position, wanted->progress, large ? &change->pieces : NULL,
                              change->nonce, follow ? seeks_mark(follow->seeks, lane->shard, NULL) : 0);
}

static void write_one(struct shard_rows *rows, const char *stream, const char *shard,
                      const struct shard_change *changes, size_t count, store_done_fn *done, void *user)
{
    struct lane *lane = lane_of(rows, stream, shard);
    struct writing *writing = mem_zero(sizeof *writing);
    *writing = (struct writing){.lane = lane,
                                .changes = mem_zero((count + 1) * sizeof *writing->changes),
                                .count = count,
                                .done = done,
                                .user = user};
    for (size_t i = 0; i < count; i++)
        make_change(lane, &changes[i], &writing->changes[i]);
    list_append(&lane->writings, &writing->link);
    lane->held++;
    begin_next(lane);
    lane->held--;
    lane_end(lane);
}

/* ---- writing to all shards of a stream ---- */

struct spreading {
    char **shards; /* stream and shard by turns */
    size_t count, capacity, left;
    store_done_fn *done;
    void *user;
};

static void note_shard(void *user, const char *stream, const char *shard)
{
    struct spreading *spreading = user;
    const char *texts[] = {stream, shard};
    for (int i = 0; i < 2; i++) {
        mem_grow(&spreading->shards, &spreading->capacity, spreading->count, sizeof *spreading->shards);
        spreading->shards[spreading->count++] = mem_string(texts[i]);
    }
}

/* Of shards that were lost meanwhile, others write. */
static void on_one_written(void *user, const struct err *err)
{
    struct spreading *spreading = user;
    (void)err;
    if (--spreading->left)
        return;
    store_done_fn *done = spreading->done;
    void *own = spreading->user;
    free(spreading);
    if (done)
        done(own, NULL);
}

static void write_all(struct shard_rows *rows, const char *stream, const struct shard_change *changes,
                      size_t count, store_done_fn *done, void *user)
{
    struct spreading *spreading = mem_zero(sizeof *spreading);
    spreading->done = done;
    spreading->user = user;
    coordinator_each(rows->coordinator, *stream ? stream : NULL, note_shard, spreading);
    char **shards = spreading->shards;
    size_t shard_count = spreading->count;
    spreading->left = shard_count / 2 + 1;
    for (size_t i = 0; i < shard_count; i += 2) {
        write_one(rows, shards[i], shards[i + 1], changes, count, on_one_written, spreading);
        free(shards[i]);
        free(shards[i + 1]);
    }
    free(shards);
    on_one_written(spreading, NULL);
}

static void write_rows(struct shard_writer *writer, const char *stream, const char *shard,
                       const struct shard_change *changes, size_t count, store_done_fn *done, void *user)
{
    struct shard_rows *rows = (struct shard_rows *)writer;
    if (*shard)
        write_one(rows, stream, shard, changes, count, done, user);
    else
        write_all(rows, stream, changes, count, done, user);
}

/* Whoever has several writers keeps them in one place before this one. */
static void note_rows(struct shard_writer *writer, struct store_batch *batch)
{
    (void)writer;
    store_batch_free(batch);
}

/* ---- rows that come ---- */

struct gaining {
    struct list link;
    struct shard_rows *rows;
    char *stream, *shard;
    struct standings standings;
    struct reading *reading;
    struct timer again;
    bool own;
    struct store_follow *follows; /* while they are looked at */
    size_t follow_count;
    shard_rows_gained_fn *done;
    void *user;
};

static void gaining_free(struct gaining *gaining)
{
    list_remove(&gaining->link);
    reading_cancel(gaining->reading);
    timer_stop(calls_reactor(gaining->rows->calls), &gaining->again);
    standings_fini(&gaining->standings);
    free(gaining->stream);
    free(gaining->shard);
    free(gaining);
}

static void tell_gained(struct gaining *gaining)
{
    struct store_snapshot *snapshot = mem_zero(sizeof *snapshot);
    shard_rows_gained_fn *done = gaining->done;
    void *user = gaining->user;
    char *stream = gaining->stream, *shard = gaining->shard;
    gaining->stream = gaining->shard = NULL;
    standings_tell(&gaining->standings, snapshot);
    gaining_free(gaining);
    done(user, stream, shard, snapshot);
    free(stream);
    free(shard);
}

/* Of a write that was never finished, by whoever had the shard before: nobody else can write them now. */
static void sweep_strays(struct gaining *gaining, const struct rows *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const char *partition = item_text(pieces->rows[i].item, "pk"),
                   *sort = item_text(pieces->rows[i].item, "sk");
        const struct kept *kept = map_get(&gaining->rows->kept, partition);
        if (!kept || strncmp(kept->nonce, sort, LEASE_NONCE_SIZE - 1) != 0)
            sweep_body(gaining->rows, call_key(partition, sort));
    }
}

static void note_kept(struct gaining *gaining)
{
    for (size_t i = 0; i < gaining->standings.count; i++) {
        const struct standing *standing = &gaining->standings.all[i];
        char *partition =
            part_partition(gaining->rows->group, standing->stream, standing->shard, standing->handler);
        free(map_remove(&gaining->rows->kept, partition));
        if (standing->part.pieces)
            keep(gaining->rows, partition, standing->part.nonce, standing->part.pieces);
        free(partition);
    }
}

static void on_pieces(void *user, struct rows *pieces, const struct err *err)
{
    struct gaining *gaining = user;
    struct err failure = err ? *err : (struct err){0};
    gaining->reading = NULL;
    bool well = !err && standings_join(&gaining->standings, pieces, &failure);
    if (well && gaining->own)
        sweep_strays(gaining, pieces);
    rows_free(pieces);
    if (well) {
        tell_gained(gaining);
        return;
    }
    if (!gaining->own) { /* it may have moved on since; who asked asks again */
        gaining_free(gaining);
        return;
    }
    calls_complain(gaining->rows->calls, &failure);
    timer_set(calls_reactor(gaining->rows->calls), &gaining->again, AGAIN_MS);
}

static void read_pieces(void *user)
{
    struct gaining *gaining = user;
    size_t count;
    struct ask *asks = standings_ask(&gaining->standings, gaining->rows->group, &count);
    if (count)
        gaining->reading = calls_read(gaining->rows->calls, asks, count, on_pieces, gaining);
    free(asks);
    if (!count)
        tell_gained(gaining);
}

/* Of a handler that is sought to the latest there is no stream yet, and nothing that was written counts. */
static const struct store_follow *find_read(const void *user, const char *handler, const char *stream)
{
    const struct gaining *gaining = user;
    return store_follow_find(gaining->follows, gaining->follow_count, handler, stream);
}

static void on_follows(void *user, struct rows *rows, const struct err *err)
{
    struct gaining *gaining = user;
    gaining->reading = NULL;
    if (err) {
        calls_complain(gaining->rows->calls, err);
        timer_set(calls_reactor(gaining->rows->calls), &gaining->again, AGAIN_MS);
        return;
    }
    gaining->follows = mem_zero((rows->count + 1) * sizeof *gaining->follows);
    for (size_t i = 0; i < rows->count; i++)
        gaining->follows[gaining->follow_count++] =
            (struct store_follow){.stream = item_text(rows->rows[i].item, "stream"),
                                  .handler = item_text(rows->rows[i].item, "handler"),
                                  .stream_arn = item_text(rows->rows[i].item, "arn"),
                                  .seeks = item_text(rows->rows[i].item, "seeks"),
                                  .formerly = item_text(rows->rows[i].item, "formerly")};
    for (size_t i = 0; i < gaining->follow_count; i++)
        seeks_inherit(&gaining->standings, &gaining->follows[i]);
    seeks_apply(&gaining->standings, find_read, gaining);
    free(gaining->follows);
    gaining->follows = NULL;
    gaining->follow_count = 0;
    rows_free(rows);
    read_pieces(gaining);
}

/* Its handlers may have been sought since they began here, or have not begun yet. */
static void read_follows(void *user)
{
    struct gaining *gaining = user;
    struct ask ask = {.partition = mem_printf("g/%s/f", gaining->rows->group)};
    gaining->reading = calls_read(gaining->rows->calls, &ask, 1, on_follows, gaining);
}

static void begin_reading(struct shard_rows *rows, const struct lease_row *row, bool own,
                          shard_rows_gained_fn *done, void *user)
{
    struct gaining *gaining = mem_zero(sizeof *gaining);
    struct err err;
    *gaining = (struct gaining){.rows = rows,
                                .stream = mem_string(row->stream),
                                .shard = mem_string(row->shard),
                                .own = own,
                                .done = done,
                                .user = user};
    list_append(&rows->gaining, &gaining->link);
    timer_init(&gaining->again, own ? read_follows : read_pieces, gaining);
    for (size_t i = 0; i < row->part_count; i++)
        if (!standings_add(&gaining->standings, row->stream, row->shard, row->parts[i].handler,
                           row->parts[i].text, &err)) {
            calls_complain(rows->calls, &err); /* nothing of the shard runs until somebody has mended it */
            return;
        }
    if (own)
        note_kept(gaining);
    if (own)
        read_follows(gaining);
    else {
        size_t at = 0;
        for (const struct store_follow *follow; (follow = map_next(&rows->follows, &at, NULL));)
            seeks_inherit(&gaining->standings, follow);
        seeks_apply(&gaining->standings, find_follow, rows);
        read_pieces(gaining);
    }
}

void shard_rows_gained(struct shard_rows *rows, const struct lease_row *row, shard_rows_gained_fn *done,
                       void *user)
{
    begin_reading(rows, row, true, done, user);
}

void shard_rows_read(struct shard_rows *rows, const struct lease_row *row, shard_rows_gained_fn *done,
                     void *user)
{
    begin_reading(rows, row, false, done, user);
}

void shard_rows_lost(struct shard_rows *rows, const char *stream, const char *shard)
{
    struct gaining *gaining;
    list_each(gaining, &rows->gaining, struct gaining, link)
        if (strcmp(gaining->stream, stream) == 0 && strcmp(gaining->shard, shard) == 0)
            gaining_free(gaining);
}

/* ---- life ---- */

struct shard_rows *shard_rows_new(struct calls *calls, struct coordinator *coordinator, const char *group)
{
    struct shard_rows *rows = mem_zero(sizeof *rows);
    rows->writer = (struct shard_writer){write_rows, note_rows};
    rows->calls = calls;
    rows->coordinator = coordinator;
    rows->group = item_group(group);
    list_init(&rows->gaining);
    list_init(&rows->sweeps);
    return rows;
}

struct shard_writer *shard_rows_writer(struct shard_rows *rows)
{
    return &rows->writer;
}

void shard_rows_wait(struct shard_rows *rows, int64_t (*quiet_ms)(void *user), void *user)
{
    rows->quiet_ms = quiet_ms;
    rows->user = user;
}

void shard_rows_free(struct shard_rows *rows)
{
    struct gaining *gaining;
    struct sweep *sweep;
    size_t at = 0;
    if (!rows)
        return;
    for (struct lane *lane; (lane = map_next(&rows->lanes, &at, NULL)); at = 0) {
        /* One in the coordinator's hands comes back from there. */
        tell(list_entry(lane->writings.next, struct writing, link), false);
    }
    list_each(gaining, &rows->gaining, struct gaining, link)
        gaining_free(gaining);
    list_each(sweep, &rows->sweeps, struct sweep, link) {
        call_cancel(sweep->call);
        list_remove(&sweep->link);
        free(sweep);
    }
    at = 0;
    for (struct kept *kept; (kept = map_next(&rows->kept, &at, NULL));)
        free(kept);
    at = 0;
    for (struct store_follow *follow; (follow = map_next(&rows->follows, &at, NULL));)
        follow_free(follow);
    map_fini(&rows->follows);
    map_fini(&rows->kept);
    map_fini(&rows->lanes);
    free(rows->group);
    free(rows);
}
