/* status_snapshots.c: handlers that still have the items of a table before them. */
#include <stdlib.h>
#include <string.h>

#include "admin/status.h"
#include "base/arn.h"
#include "base/document.h"
#include "source/snapshot/snapshot_name.h"

static struct status_snapshot *find(struct status *status, const char *arn)
{
    for (size_t i = 0; i < status->snapshot_count; i++)
        if (strcmp(status->snapshots[i].arn, arn) == 0)
            return &status->snapshots[i];
    return NULL;
}

static const char *keep(struct status *status, const char *text)
{
    return arena_copy(&status->snapshot->arena, text, strlen(text));
}

static void add(struct status *status, const struct store_follow *follow)
{
    struct snapshot_name name;
    if (find(status, follow->stream_arn) || !snapshot_name_read(follow->stream_arn, &name))
        return;
    status->snapshots[status->snapshot_count++] = (struct status_snapshot){
        .arn = follow->stream_arn,
        .handler = follow->handler,
        .table = keep(status, name.table),
        .taken_ms = name.taken_ms,
        .segments = name.segments,
        .items_all = name.items,
        .left_ms = -1,
    };
    snapshot_name_fini(&name);
}

/* A segment's number is how many of its items are settled. */
static void count(struct status *status, const struct store_checkpoint *row)
{
    struct status_snapshot *snapshot =
        snapshot_of_arn(row->stream_arn) ? find(status, row->stream_arn) : NULL;
    if (!snapshot || strcmp(snapshot->handler, row->handler) != 0)
        return;
    snapshot->finished += row->position.kind == POSITION_FINISHED;
    snapshot->items += strtoll(row->position.sequence, NULL, 10);
}

void status_gather_snapshots(struct status *status)
{
    struct store_snapshot *all = status->snapshot;
    status->snapshots = arena_alloc(&all->arena, (all->follow_count + 1) * sizeof *status->snapshots);
    for (size_t i = 0; i < all->follow_count; i++)
        if (snapshot_of_arn(all->follows[i].stream_arn))
            add(status, &all->follows[i]);
    for (size_t i = 0; status->snapshot_count && i < all->checkpoint_count; i++)
        count(status, &all->checkpoints[i]);
    for (size_t i = 0; i < status->snapshot_count; i++) {
        struct status_snapshot *one = &status->snapshots[i];
        int64_t rest = one->items_all - one->items, passed_ms = status_age(status->now_ms, one->taken_ms);
        if (one->items && rest > 0)
            one->left_ms = (int64_t)((double)rest / (double)one->items * (double)passed_ms);
    }
}

void status_add_snapshot(cJSON *out, const struct status_snapshot *row)
{
    document_add_text(out, "handler", row->handler);
    document_add_text(out, "table", row->table);
    document_add_integer(out, "taken_ms", row->taken_ms);
    document_add_integer(out, "segments", row->segments);
    document_add_integer(out, "segments_finished", row->finished);
    document_add_integer(out, "items", row->items);
    document_add_integer(out, "items_about", row->items_all);
    if (row->left_ms >= 0)
        document_add_integer(out, "left_ms", row->left_ms);
}
