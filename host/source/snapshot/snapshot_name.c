/* snapshot_name.c: "STREAM/snapshot/HANDLER/TABLE/TAKEN.SEGMENTS.ITEMS.BYTES.CREATED", and "/EXPORT" or
 * ".UNTIL.BEGUN/EXPORT" where it is one.
 */
#include "source/snapshot/snapshot_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/buf.h"
#include "base/mem.h"

/* A segment is read page after page; so much of it in a row is well below a minute. */
#define SEGMENT_BYTES ((int64_t)64 << 20)
#define SEGMENTS_LEAST 4
#define SEGMENTS_MOST 128

bool snapshot_name_read(const char *arn, struct snapshot_name *name)
{
    const char *mark = snapshot_of_arn(arn), *handler = mark ? mark + strlen(ARN_SNAPSHOT) : NULL;
    const char *table = handler ? strchr(handler, '/') : NULL,
               *numbers = table ? strchr(table + 1, '/') : NULL;
    int size = 0;
    *name = (struct snapshot_name){0};
    if (!numbers ||
        sscanf(numbers + 1, "%" SCNd64 ".%" SCNd64 ".%" SCNd64 ".%" SCNd64 ".%" SCNd64 "%n", &name->taken_ms,
               &name->segments, &name->items, &name->bytes, &name->created_ms, &size) != 5)
        return false;
    int more = 0;
    if (sscanf(numbers + 1 + size, ".%" SCNd64 ".%" SCNd64 "%n", &name->until_ms, &name->begun_ms, &more) ==
        2)
        size += more;
    if ((numbers[1 + size] && numbers[1 + size] != '/') || name->segments < 1 ||
        name->segments > SNAPSHOT_SEGMENTS_MAX)
        return false;
    name->stream_arn = mem_copy(arn, (size_t)(mark - arn));
    name->handler = mem_copy(handler, (size_t)(table - handler));
    name->table = mem_copy(table + 1, (size_t)(numbers - table) - 1);
    name->export = numbers[1 + size] ? mem_string(numbers + 1 + size + 1) : NULL;
    return true;
}

void snapshot_name_fini(struct snapshot_name *name)
{
    free(name->stream_arn);
    free(name->handler);
    free(name->table);
    free(name->export);
    *name = (struct snapshot_name){0};
}

char *snapshot_name_write(const struct snapshot_name *name)
{
    struct buf arn = BUF_INIT;
    buf_printf(&arn, "%s" ARN_SNAPSHOT "%s/%s/%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64,
               name->stream_arn, name->handler, name->table, name->taken_ms, name->segments, name->items,
               name->bytes, name->created_ms);
    if (name->until_ms || name->begun_ms)
        buf_printf(&arn, ".%" PRId64 ".%" PRId64, name->until_ms, name->begun_ms);
    if (name->export)
        buf_printf(&arn, "/%s", name->export);
    return buf_take(&arn);
}

int64_t snapshot_ends_ms(const struct snapshot_name *name)
{
    return name->until_ms > name->taken_ms ? name->until_ms : name->taken_ms;
}

const char *snapshot_segment(char out[SNAPSHOT_SEGMENT_SIZE], int64_t segment)
{
    snprintf(out, SNAPSHOT_SEGMENT_SIZE, "segment-%05" PRId64, segment);
    return out;
}

int64_t snapshot_segment_read(const char *shard)
{
    int64_t segment;
    char own[SNAPSHOT_SEGMENT_SIZE];
    return sscanf(shard, "segment-%" SCNd64, &segment) == 1 &&
                   strcmp(snapshot_segment(own, segment), shard) == 0
               ? segment
               : -1;
}

int64_t snapshot_segments_for(int64_t bytes)
{
    int64_t count = bytes / SEGMENT_BYTES + 1;
    return count < SEGMENTS_LEAST ? SEGMENTS_LEAST : count > SEGMENTS_MOST ? SEGMENTS_MOST : count;
}
