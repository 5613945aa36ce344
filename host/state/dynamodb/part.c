/* part.c: see part.h. */
#include "state/dynamodb/part.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

static const char *const kinds[] = {
    [POSITION_TRIM_HORIZON] = "horizon",
    [POSITION_LATEST] = "latest",
    [POSITION_AFTER] = "after",
    [POSITION_FINISHED] = "finished",
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

void part_fini(struct part *part)
{
    free(part->progress);
    part->progress = NULL;
}

char *part_write(const struct position *position, const char *progress, const struct pieces *pieces,
                 const char *nonce, int64_t mark)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "{\"at\":\"%s\"", kinds[position->kind]);
    if (*position->sequence)
        buf_printf(&out, ",\"sequence\":\"%s\"", position->sequence);
    if (position->since_ms)
        buf_printf(&out, ",\"since\":%lld", (long long)position->since_ms);
    if (position->record_time_ms)
        buf_printf(&out, ",\"time\":%lld", (long long)position->record_time_ms);
    if (mark)
        buf_printf(&out, ",\"mark\":%lld", (long long)mark);
    if (pieces) {
        buf_printf(&out, ",\"nonce\":\"%s\",\"pieces\":%zu,\"size\":%zu", nonce, pieces->count, pieces->size);
    } else if (*progress) {
        buf_add_literal(&out, ",\"progress\":");
        json_write_string(&out, progress, strlen(progress));
    }
    buf_add_char(&out, '}');
    return buf_take(&out);
}

static bool read_position(const struct json *part, struct arena *arena, struct position *position)
{
    const char *sequence = json_string(arena, json_get(part, "sequence"));
    size_t kind = 0;
    while (kind < KIND_COUNT && !json_string_is(json_get(part, "at"), kinds[kind]))
        kind++;
    *position =
        (struct position){.kind = kind < KIND_COUNT ? (enum position_kind)kind : POSITION_TRIM_HORIZON,
                          .since_ms = json_integer(json_get(part, "since"), 0),
                          .record_time_ms = json_integer(json_get(part, "time"), 0)};
    if (sequence && sequence_valid(sequence))
        sequence_copy(position->sequence, sequence);
    return kind < KIND_COUNT && (!sequence || *position->sequence) &&
           (position->kind != POSITION_AFTER || *position->sequence);
}

bool part_read(const char *text, struct part *part, struct err *err)
{
    struct arena arena = ARENA_INIT;
    const struct json *json = json_parse(&arena, text, strlen(text), err);
    *part = (struct part){0};
    bool well = json && (read_position(json, &arena, &part->position) ||
                         err_set(err, ERR_PARSE, "it says no place in a shard"));
    const char *nonce = json_string(&arena, json_get(json, "nonce"));
    int64_t pieces = json_integer(json_get(json, "pieces"), 0);
    part->mark = json_integer(json_get(json, "mark"), 0);
    part->size = json_integer(json_get(json, "size"), 0);
    if (well && nonce) {
        well = (strlen(nonce) == LEASE_NONCE_SIZE - 1 && pieces > 0 && pieces < 1000) ||
               err_set(err, ERR_PARSE, "its pieces have no name");
        if (well) {
            memcpy(part->nonce, nonce, LEASE_NONCE_SIZE);
            part->pieces = (size_t)pieces;
        }
    } else if (well) {
        part->progress = json_string_dup(json_get(json, "progress"));
        part->progress = part->progress ? part->progress : mem_string("");
    }
    arena_fini(&arena);
    return well ||
           err_prefix(err, "state: a checkpoint is damaged, or of a newer tidemill (\"%.60s\")", text);
}

char *part_partition(const char *group, const char *stream, const char *shard, const char *handler)
{
    char digest[ITEM_DIGEST_SIZE];
    item_digest((const char *const[]){stream, shard, handler, NULL}, digest);
    return mem_printf("g/%s/p/%s", group, digest);
}
