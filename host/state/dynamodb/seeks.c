/* seeks.c: see seeks.h. A line for each: mark, "after" and a sequence number or "anew" and "-", and the
 * shard, "*" for all; the newest last. */
#include "state/dynamodb/seeks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define WORD_SIZE 8

struct line {
    int64_t mark;
    struct position position;
    const char *shard;
    size_t shard_size;
};

/* False: it is none, of a later version; it counts as none. */
static bool read_line(const char *text, size_t size, struct line *line)
{
    char kind[WORD_SIZE], sequence[SEQUENCE_SIZE];
    long long mark;
    int used = 0;
    char *own = mem_copy(text, size);
    bool well = sscanf(own, "%lld %7s %63s %n", &mark, kind, sequence, &used) == 3 && used > 0 && mark > 0 &&
                (size_t)used < size;
    free(own);
    if (!well)
        return false;
    *line = (struct line){.mark = mark, .shard = text + used, .shard_size = size - (size_t)used};
    line->position.kind = POSITION_TRIM_HORIZON;
    if (strcmp(kind, "after") != 0)
        return true;
    line->position.kind = POSITION_AFTER;
    well = sequence_valid(sequence);
    if (well)
        sequence_copy(line->position.sequence, sequence);
    return well;
}

static bool is_of(const struct line *line, const char *shard)
{
    return line->shard_size == strlen(shard) && memcmp(line->shard, shard, line->shard_size) == 0;
}

int64_t seeks_mark(const char *seeks, const char *shard, struct position *position)
{
    int64_t mark = 0;
    struct line line;
    for (const char *end; (end = strchr(seeks, '\n')); seeks = end + 1) {
        if (!read_line(seeks, (size_t)(end - seeks), &line) || (!is_of(&line, "*") && !is_of(&line, shard)))
            continue;
        mark = line.mark;
        if (position)
            *position = line.position;
    }
    return mark;
}

char *seeks_with(const char *seeks, const char *shard, int64_t mark, const struct position *position)
{
    const char *place = *shard ? shard : "*";
    bool after = position->kind == POSITION_AFTER;
    struct buf out = BUF_INIT;
    struct line line;
    for (const char *end; *shard && (end = strchr(seeks, '\n')); seeks = end + 1)
        if (!read_line(seeks, (size_t)(end - seeks), &line) || !is_of(&line, shard))
            buf_add(&out, seeks, (size_t)(end + 1 - seeks));
    buf_printf(&out, "%lld %s %s %s\n", (long long)mark, after ? "after" : "anew",
               after ? position->sequence : "-", place);
    return buf_take(&out);
}

void seeks_inherit(struct standings *standings, const struct store_follow *follow)
{
    size_t count = standings->count;
    struct map own = MAP_INIT;
    if (!follow->formerly || !*follow->formerly)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct standing *standing = &standings->all[i];
        char *key = mem_printf("%s\n%s", standing->stream, standing->shard);
        if (strcmp(standing->handler, follow->handler) == 0)
            map_set(&own, key, standings);
        free(key);
    }
    for (size_t i = 0; i < count; i++) {
        const struct standing *standing = &standings->all[i];
        char *key = mem_printf("%s\n%s", standing->stream, standing->shard);
        if (strcmp(standing->handler, follow->formerly) == 0 && !map_get(&own, key) &&
            store_follow_may_be(follow, standing->stream))
            standings_copy(standings, i, follow->handler);
        free(key);
    }
    map_fini(&own);
}

void seeks_apply(struct standings *standings,
                 const struct store_follow *(*find)(const void *user, const char *handler,
                                                    const char *stream),
                 const void *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < standings->count; i++) {
        struct standing *standing = &standings->all[i];
        const struct store_follow *follow = find(user, standing->handler, standing->stream);
        struct position position = {0};
        if (follow && follow->seeks &&
            seeks_mark(follow->seeks, standing->shard, &position) > standing->part.mark) {
            bool stays = position.kind == POSITION_AFTER;
            if (!stays) {
                standing_fini(standing);
                continue;
            }
            part_fini(&standing->part);
            standing->part = (struct part){.position = position, .progress = mem_string("")};
        }
        standings->all[kept++] = *standing;
    }
    standings->count = kept;
}
