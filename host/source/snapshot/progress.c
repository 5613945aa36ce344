/* progress.c: see progress.h. */
#include "source/snapshot/progress.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "source/snapshot/snapshot_name.h"

struct reading {
    struct store_snapshot *all;
    struct snapshot_progress *list;
    size_t count;
};

static size_t find(const struct reading *reading, const char *arn)
{
    size_t at = 0;
    while (at < reading->count && strcmp(reading->list[at].arn, arn) != 0)
        at++;
    return at;
}

static void add(struct reading *reading, const struct store_follow *follow)
{
    struct snapshot_name name;
    if (find(reading, follow->stream_arn) < reading->count || !snapshot_name_read(follow->stream_arn, &name))
        return;
    reading->list[reading->count++] = (struct snapshot_progress){
        .arn = follow->stream_arn,
        .handler = follow->handler,
        .table = arena_copy(&reading->all->arena, name.table, strlen(name.table)),
        .taken_ms = snapshot_ends_ms(&name),
        .begun_ms = name.begun_ms ? name.begun_ms : name.taken_ms,
        .exported = name.export != NULL,
        .segments = name.segments,
        .items_all = name.items,
        .left_ms = -1,
    };
    snapshot_name_fini(&name);
}

/* A segment's number is how many of its items are settled. */
static void count(struct reading *reading, const struct store_checkpoint *row)
{
    size_t at = snapshot_of_arn(row->stream_arn) ? find(reading, row->stream_arn) : reading->count;
    if (at == reading->count || strcmp(reading->list[at].handler, row->handler) != 0)
        return;
    reading->list[at].finished += row->position.kind == POSITION_FINISHED;
    reading->list[at].items += strtoll(row->position.sequence, NULL, 10);
}

size_t snapshot_progress_read(struct store_snapshot *all, int64_t now_ms, struct snapshot_progress **list)
{
    struct reading reading = {
        .all = all, .list = arena_alloc(&all->arena, (all->follow_count + 1) * sizeof *reading.list)};
    for (size_t i = 0; i < all->follow_count; i++)
        if (snapshot_of_arn(all->follows[i].stream_arn))
            add(&reading, &all->follows[i]);
    for (size_t i = 0; reading.count && i < all->checkpoint_count; i++)
        count(&reading, &all->checkpoints[i]);
    for (size_t i = 0; i < reading.count; i++) {
        struct snapshot_progress *one = &reading.list[i];
        int64_t rest = one->items_all - one->items, passed_ms = now_ms - one->begun_ms;
        if (one->items && rest > 0 && passed_ms > 0)
            one->left_ms = (int64_t)((double)rest / (double)one->items * (double)passed_ms);
    }
    *list = reading.list;
    return reading.count;
}
