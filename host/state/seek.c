/* seek.c: see seek.h. */
#include "state/seek.h"

#include <string.h>

/* The stream the handler is on now, or NULL. */
static const struct store_follow *find_follow(const struct store_snapshot *snapshot, const char *handler)
{
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].handler, handler) == 0)
            return &snapshot->follows[i];
    return NULL;
}

/* The one shard of the stream that the handler has not finished; NULL and `err` when there are more or none.
 */
static const char *only_shard(const struct store_snapshot *snapshot, const struct store_follow *follow,
                              struct err *err)
{
    const char *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follow->handler) != 0 || strcmp(row->stream_arn, follow->stream_arn) != 0 ||
            row->position.kind == POSITION_FINISHED)
            continue;
        found = row->shard;
        count++;
    }
    if (count == 1)
        return found;
    err_set(err, ERR_CONFIG,
            "handler %s is on %zu shards: say with --shard which one is meant (see tidemill status)",
            follow->handler, count);
    return NULL;
}

static bool known_shard(const struct store_snapshot *snapshot, const struct store_follow *follow,
                        const char *shard)
{
    for (size_t i = 0; i < snapshot->checkpoint_count; i++)
        if (strcmp(snapshot->checkpoints[i].handler, follow->handler) == 0 &&
            strcmp(snapshot->checkpoints[i].stream_arn, follow->stream_arn) == 0 &&
            strcmp(snapshot->checkpoints[i].shard, shard) == 0)
            return true;
    return false;
}

static bool seek_sequence(const struct store_snapshot *snapshot, const struct store_follow *follow,
                          const char *shard, const char *to, struct store_batch *batch, struct buf *told,
                          struct err *err)
{
    struct store_checkpoint checkpoint = {.handler = follow->handler,
                                          .stream_arn = follow->stream_arn,
                                          .shard = *shard ? shard : only_shard(snapshot, follow, err),
                                          .position = {.kind = POSITION_AFTER},
                                          .progress = ""};
    if (!checkpoint.shard)
        return false;
    sequence_copy(checkpoint.position.sequence, to);
    store_put_checkpoint(batch, &checkpoint);
    buf_printf(told, "handler %s goes on behind %s in shard %s", follow->handler, to, checkpoint.shard);
    return true;
}

bool seek_write(const struct store_snapshot *snapshot, const char *handler, const char *shard, const char *to,
                struct store_batch *batch, struct buf *told, struct err *err)
{
    const struct store_follow *follow = find_follow(snapshot, handler);
    if (!follow)
        return err_set(
            err, ERR_CONFIG,
            "there is no checkpoint of a handler %s: it has not run yet, and begins at its stream's start",
            handler);
    if (*shard && !known_shard(snapshot, follow, shard))
        return err_set(err, ERR_CONFIG, "handler %s has no checkpoint in a shard %s (see tidemill status)",
                       handler, shard);
    if (sequence_valid(to))
        return seek_sequence(snapshot, follow, shard, to, batch, told, err);
    if (strcmp(to, "trim_horizon") == 0) {
        store_forget_checkpoints(batch, handler, follow->stream_arn, shard);
        buf_printf(told, "handler %s goes on at the oldest record%s%s", handler, *shard ? " of shard " : "",
                   shard);
        return true;
    }
    if (strcmp(to, "latest") != 0)
        return err_set(err, ERR_CONFIG, "\"%s\" is neither trim_horizon nor latest nor a sequence number",
                       to);
    if (*shard)
        return err_set(err, ERR_CONFIG, "latest is of the whole stream; leave --shard out");
    store_forget_checkpoints(batch, handler, "", "");
    store_put_follow(batch, &(struct store_follow){.stream = follow->stream,
                                                   .handler = handler,
                                                   .stream_arn = STORE_FOLLOW_LATEST});
    buf_printf(told, "handler %s goes on at the latest record", handler);
    return true;
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
