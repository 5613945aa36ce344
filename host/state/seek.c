/* seek.c: see seek.h. */
#include "state/seek.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/clock.h"
#include "base/mem.h"
#include "conf/settings.h"

#define STREAM_KEEPS_MS ((int64_t)24 * 3600 * 1000) /* a record, in a stream of DynamoDB's */

/* See seek.h. "2h" ago, "2026-01-31" or with its time: in the form that the state has; all else as it is. */
bool seek_read_place(const char *to, int64_t now_ms, char place[CLOCK_ISO_SIZE], const char **whole,
                     struct err *err)
{
    int64_t ms = 0;
    struct err none;
    char *day = strlen(to) == 10 ? mem_printf("%sT00:00:00Z", to) : mem_string(to);
    bool is_time = clock_read_iso8601(day, &ms);
    free(day);
    *whole = to;
    if (!is_time && !sequence_valid(to) && duration_parse(to, &ms, &none)) {
        ms = now_ms - ms;
        is_time = true;
    }
    if (!is_time)
        return true;
    if (ms > now_ms)
        return err_set(err, ERR_CONFIG, "%s is not over yet: latest is what is written from now on", to);
    if (ms < now_ms - STREAM_KEEPS_MS)
        return err_set(
            err, ERR_CONFIG,
            "%s is longer ago than a stream keeps its records (24 hours): trim_horizon is the oldest "
            "that it has",
            to);
    clock_iso8601(ms, place);
    *whole = place;
    return true;
}

static bool follows_any(const struct store_snapshot *snapshot, const char *handler)
{
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0)
            return true;
    return false;
}

/* Has the handler a place there, in a stream that it follows? */
static bool stands_in(const struct store_snapshot *snapshot, const struct store_checkpoint *row,
                      const char *handler)
{
    if (strcmp(row->handler, handler) != 0)
        return false;
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0 &&
            strcmp(snapshot->follows[i].stream_arn, row->stream_arn) == 0)
            return true;
    return false;
}

/* Its place in the shard, or (`shard` "") in the only one that it has not finished; NULL and `err`. */
static const struct store_checkpoint *find_place(const struct store_snapshot *snapshot, const char *handler,
                                                 const char *shard, struct err *err)
{
    const struct store_checkpoint *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (!stands_in(snapshot, row, handler) ||
            (*shard ? strcmp(row->shard, shard) != 0 : row->position.kind == POSITION_FINISHED))
            continue;
        found = row;
        count++;
    }
    if (count == 1)
        return found;
    if (!*shard)
        err_set(err, ERR_CONFIG,
                "handler %s is on %zu shards: say with --shard which one is meant (see tidemill status)",
                handler, count);
    else if (!count)
        err_set(err, ERR_CONFIG, "handler %s has no checkpoint in a shard %s (see tidemill status)", handler,
                shard);
    else
        err_set(err, ERR_CONFIG, "handler %s has a shard %s in %zu streams", handler, shard, count);
    return NULL;
}

static bool seek_sequence(const struct store_snapshot *snapshot, const char *handler, const char *shard,
                          const char *to, struct store_batch *batch, struct buf *told, struct err *err)
{
    const struct store_checkpoint *place = find_place(snapshot, handler, shard, err);
    if (!place)
        return false;
    struct store_checkpoint checkpoint = {.handler = handler,
                                          .stream_arn = place->stream_arn,
                                          .shard = place->shard,
                                          .position = {.kind = POSITION_AFTER},
                                          .progress = ""};
    sequence_copy(checkpoint.position.sequence, to);
    store_put_checkpoint(batch, &checkpoint);
    buf_printf(told, "handler %s goes on behind %s in shard %s", handler, to, checkpoint.shard);
    return true;
}

static bool has_begun(const struct store_snapshot *snapshot, const char *handler, struct err *err)
{
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0 &&
            strcmp(snapshot->follows[i].stream_arn, STORE_FOLLOW_LATEST) == 0)
            return err_set(
                err, ERR_CONFIG,
                "handler %s was sought to the latest record and has not begun there yet: seek again "
                "when a host has run it",
                handler);
    return true;
}

static bool has_snapshot(const struct store_snapshot *all, const char *handler)
{
    for (size_t i = 0; i < all->follow_count; i++)
        if (strcmp(all->follows[i].handler, handler) == 0 && snapshot_of_arn(all->follows[i].stream_arn))
            return true;
    return false;
}

static bool seek_oldest(const struct store_snapshot *all, const char *handler, const char *shard,
                        struct store_batch *batch, struct buf *told, struct err *err)
{
    const struct store_checkpoint *place = *shard ? find_place(all, handler, shard, err) : NULL;
    if (*shard && !place)
        return false;
    if (!has_begun(all, handler, err))
        return false;
    if (place)
        store_forget_checkpoints(batch, handler, place->stream_arn, shard);
    for (size_t i = 0; !place && i < all->follow_count; i++)
        if (strcmp(all->follows[i].handler, handler) == 0)
            store_forget_checkpoints(batch, handler, all->follows[i].stream_arn, "");
    buf_printf(told,
               has_snapshot(all, handler) ? "handler %s begins its snapshot anew%s%s"
                                          : "handler %s goes on at the oldest record%s%s",
               handler, *shard ? " of shard " : "", shard);
    return true;
}

static bool seek_latest(const struct store_snapshot *snapshot, const char *handler, const char *shard,
                        struct store_batch *batch, struct buf *told, struct err *err)
{
    if (*shard)
        return err_set(err, ERR_CONFIG, "latest is of the whole stream; leave --shard out");
    store_forget_checkpoints(batch, handler, "", "");
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0)
            store_put_follow(batch, &(struct store_follow){.stream = snapshot->follows[i].stream,
                                                           .handler = handler,
                                                           .stream_arn = STORE_FOLLOW_LATEST});
    buf_printf(told, "handler %s goes on at the latest record", handler);
    return true;
}

/* In each shard at what was written since then, as a handler that began there would have (a shard that it has
 * not begun it begins at its oldest record). */
static bool seek_time(const struct store_snapshot *snapshot, const char *handler, const char *shard,
                      int64_t since_ms, struct store_batch *batch, struct buf *told, struct err *err)
{
    char time[CLOCK_ISO_SIZE];
    if (*shard)
        return err_set(err, ERR_CONFIG, "a time is of the whole stream; leave --shard out");
    if (!has_begun(snapshot, handler, err))
        return false;
    store_rewind_checkpoints(batch, handler, since_ms);
    clock_iso8601(since_ms, time);
    buf_printf(told, "handler %s goes on at what was written since %s, and maybe a minute before", handler,
               time);
    return true;
}

static bool follows_stream(const struct store_snapshot *snapshot, const char *handler, const char *stream)
{
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0 &&
            strcmp(snapshot->follows[i].stream, stream) == 0)
            return true;
    return false;
}

/* A table's items first, by the names of the snapshots; then it goes on where it stands. */
static bool seek_snapshots(const struct store_snapshot *snapshot, const char *handler, const char *to,
                           struct store_batch *batch, struct buf *told, struct err *err)
{
    for (const char *at = to, *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        char *arn = mem_copy(at, (size_t)(end - at)), *stream = stream_of_arn(arn);
        const struct store_follow *found = NULL, *other = NULL;
        for (size_t i = 0; i < snapshot->follow_count; i++) {
            const struct store_follow *follow = &snapshot->follows[i];
            bool same = strcmp(follow->stream_arn, stream) == 0;
            other = same ? follow : other;
            if (same && strcmp(follow->handler, handler) == 0)
                found = follow;
        }
        if (!found && other && !follows_stream(snapshot, handler, other->stream)) {
            /* It has no place there yet, and begins with this, where another one's stream is now. */
            store_put_follow(batch, &(struct store_follow){.stream = other->stream,
                                                           .handler = handler,
                                                           .stream_arn = arn,
                                                           .first = true,
                                                           .since_ms = snapshot_taken_ms(arn)});
            found = other;
        } else if (found) {
            struct store_follow follow = *found;
            follow.stream_arn = arn;
            follow.after = found->stream_arn;
            follow.first = false;
            store_put_follow(batch, &follow);
        } else {
            err_set(err, ERR_CONFIG, "handler %s does not follow %s any more, or has a snapshot before it",
                    handler, stream);
        }
        free(arn);
        free(stream);
        if (!found)
            return false;
    }
    buf_printf(told, "handler %s has every item of the table first, and then goes on where it stands",
               handler);
    return true;
}

bool seek_write(const struct store_snapshot *snapshot, const char *handler, const char *shard, const char *to,
                struct store_batch *batch, struct buf *told, struct err *err)
{
    if (!follows_any(snapshot, handler) && !snapshot_of_arn(to))
        return err_set(
            err, ERR_CONFIG,
            "handler %s has no checkpoint yet: it has not run, and begins where its stream's start says",
            handler);
    int64_t since_ms;
    if (snapshot_of_arn(to))
        return seek_snapshots(snapshot, handler, to, batch, told, err);
    if (has_snapshot(snapshot, handler) && (sequence_valid(to) || clock_read_iso8601(to, &since_ms)))
        return err_set(
            err, ERR_CONFIG,
            "handler %s still has a table's items before its stream (see tidemill status): latest ends "
            "that, trim_horizon begins it anew",
            handler);
    return sequence_valid(to) ? seek_sequence(snapshot, handler, shard, to, batch, told, err)
           : clock_read_iso8601(to, &since_ms)
               ? seek_time(snapshot, handler, shard, since_ms, batch, told, err)
           : strcmp(to, "trim_horizon") == 0 ? seek_oldest(snapshot, handler, shard, batch, told, err)
           : strcmp(to, "latest") == 0       ? seek_latest(snapshot, handler, shard, batch, told, err)
                                             : err_set(err, ERR_CONFIG,
                                                       "\"%s\" is neither trim_horizon nor latest nor a "
                                                             "time nor a sequence number",
                                                       to);
}

static bool stands_before(const struct store_checkpoint *checkpoint, const struct store_event *event)
{
    return strcmp(checkpoint->handler, event->handler) == 0 &&
           strcmp(checkpoint->stream_arn, event->stream_arn) == 0 &&
           strcmp(checkpoint->shard, event->shard) == 0 && checkpoint->position.kind == POSITION_AFTER &&
           (!*event->from_sequence ||
            sequence_compare(checkpoint->position.sequence, event->from_sequence) <= 0);
}

void seek_past_gaps(const struct store_snapshot *snapshot, const char *handler, struct store_batch *batch,
                    struct buf *told)
{
    size_t dropped = 0, moved = 0;
    for (size_t i = 0; i < snapshot->event_count; i++) {
        const struct store_event *event = &snapshot->events[i];
        if (strcmp(event->kind, "gap") != 0 || (*handler && strcmp(event->handler, handler) != 0))
            continue;
        dropped++;
        for (size_t j = 0; j < snapshot->checkpoint_count; j++) {
            struct store_checkpoint checkpoint = snapshot->checkpoints[j];
            if (!stands_before(&checkpoint, event))
                continue;
            checkpoint.position = (struct position){.kind = POSITION_TRIM_HORIZON};
            checkpoint.progress = "";
            store_put_checkpoint(batch, &checkpoint);
            moved++;
        }
    }
    store_forget_events(batch, handler);
    buf_printf(told, "%zu gap%s dropped%s%s", dropped, dropped == 1 ? "" : "s",
               *handler ? " of handler " : "", handler);
    if (moved)
        buf_printf(told, "; it goes on at the oldest record in %zu shard%s", moved, moved == 1 ? "" : "s");
}
