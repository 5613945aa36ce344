/* standings.c: see standings.h. */
#include "state/dynamodb/standings.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void standing_fini(struct standing *standing)
{
    part_fini(&standing->part);
    free(standing->stream);
    free(standing->shard);
    free(standing->handler);
    free(standing->kept_by);
}

void standings_fini(struct standings *standings)
{
    for (size_t i = 0; i < standings->count; i++)
        standing_fini(&standings->all[i]);
    free(standings->all);
    *standings = (struct standings){0};
}

bool standings_add(struct standings *standings, const char *stream, const char *shard, const char *handler,
                   const char *text, struct err *err)
{
    struct standing standing = {0};
    if (!part_read(text, &standing.part, err)) {
        part_fini(&standing.part);
        return err_prefix(err, "handler %s, shard %s", handler, shard);
    }
    standing.stream = mem_string(stream);
    standing.shard = mem_string(shard);
    standing.handler = mem_string(handler);
    mem_grow(&standings->all, &standings->capacity, standings->count, sizeof *standings->all);
    standings->all[standings->count++] = standing;
    return true;
}

void standings_copy(struct standings *standings, size_t at, const char *handler)
{
    mem_grow(&standings->all, &standings->capacity, standings->count, sizeof *standings->all);
    const struct standing *from = &standings->all[at];
    struct standing copy = {.part = from->part};
    copy.stream = mem_string(from->stream);
    copy.shard = mem_string(from->shard);
    copy.handler = mem_string(handler);
    copy.kept_by = mem_string(from->kept_by ? from->kept_by : from->handler);
    copy.part.progress = mem_string(from->part.progress);
    standings->all[standings->count++] = copy;
}

struct ask *standings_ask(const struct standings *standings, const char *group, size_t *count)
{
    struct ask *asks = NULL;
    size_t capacity = 0;
    *count = 0;
    for (size_t i = 0; i < standings->count; i++) {
        const struct standing *standing = &standings->all[i];
        if (!standing->part.pieces)
            continue;
        mem_grow(&asks, &capacity, *count, sizeof *asks);
        asks[(*count)++] = (struct ask){
            .partition = part_partition(group, standing->stream, standing->shard,
                                        standing->kept_by ? standing->kept_by : standing->handler)};
    }
    return asks;
}

/* Of the pieces that were read for it, those that its part names: of a write that was never finished there
 * may be others. */
static bool join(struct standing *standing, const struct row *rows, size_t row_count, struct err *err)
{
    struct part *part = &standing->part;
    struct row *own = mem_alloc((row_count + 1) * sizeof *own);
    struct buf progress = BUF_INIT;
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++)
        if (strncmp(item_text(rows[i].item, "sk"), part->nonce, LEASE_NONCE_SIZE - 1) == 0)
            own[count++] = rows[i];
    bool well = count == part->pieces ? pieces_join(own, count, part->size, &progress, err)
                                      : err_set(err, ERR_PARSE, "%zu of %zu pieces of its progress are there",
                                                count, part->pieces);
    free(own);
    if (well)
        part->progress = buf_take(&progress);
    buf_fini(&progress);
    return well || err_prefix(err, "state: handler %s, shard %s", standing->handler, standing->shard);
}

bool standings_join(struct standings *standings, const struct rows *pieces, struct err *err)
{
    bool well = true;
    for (size_t i = 0, ask = 0, at = 0; well && i < standings->count; i++) {
        if (!standings->all[i].part.pieces)
            continue;
        size_t first = at;
        while (at < pieces->count && pieces->rows[at].ask == ask)
            at++;
        ask++;
        well = join(&standings->all[i], pieces->rows + first, at - first, err);
    }
    return well;
}

void standings_tell(const struct standings *standings, struct store_snapshot *snapshot)
{
    struct arena *arena = &snapshot->arena;
    snapshot->checkpoints = arena_alloc(arena, (standings->count + 1) * sizeof *snapshot->checkpoints);
    for (size_t i = 0; i < standings->count; i++) {
        const struct standing *standing = &standings->all[i];
        const char *progress = standing->part.progress;
        snapshot->checkpoints[snapshot->checkpoint_count++] = (struct store_checkpoint){
            arena_copy(arena, standing->handler, strlen(standing->handler)),
            arena_copy(arena, standing->stream, strlen(standing->stream)),
            arena_copy(arena, standing->shard, strlen(standing->shard)),
            standing->part.position,
            arena_copy(arena, progress, strlen(progress)),
        };
    }
}
