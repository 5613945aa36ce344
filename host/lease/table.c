/* table.c: what every table and everybody who asks it agree on. */
#include "lease/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* FNV-1a, with a NUL behind each text, and a last mix. */
uint64_t lease_hash(const char *const *texts)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *texts; texts++) {
        for (const char *at = *texts; *at; at++)
            hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
        hash *= 0x100000001b3u;
    }
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}

void lease_follows(const char *stream, char digits[LEASE_FOLLOWS_SIZE])
{
    snprintf(digits, LEASE_FOLLOWS_SIZE, " %08" PRIx32,
             (uint32_t)lease_hash((const char *const[]){stream, NULL}));
}

int lease_bucket(const char *shard)
{
    if (strcmp(shard, LEASE_STREAM_ROW) == 0)
        return LEASE_STREAM_BUCKET;
    return (int)(lease_hash((const char *const[]){shard, NULL}) % LEASE_BUCKETS);
}

static void own(struct arena *arena, const char **text)
{
    if (*text)
        *text = arena_copy(arena, *text, strlen(*text));
}

struct lease_row lease_row_copy(struct arena *arena, const struct lease_row *row)
{
    struct lease_row copy = *row;
    struct lease_part *parts = arena_alloc(arena, (row->part_count + 1) * sizeof *parts);
    const char **texts[] = {&copy.stream,     &copy.shard, &copy.parents[0],
                            &copy.parents[1], &copy.owner, &copy.nonce};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        own(arena, texts[i]);
    for (size_t i = 0; i < row->part_count; i++) {
        parts[i] = row->parts[i];
        own(arena, &parts[i].handler);
        own(arena, &parts[i].text);
    }
    copy.parts = parts;
    return copy;
}

struct lease_request lease_request_copy(struct arena *arena, const struct lease_request *request)
{
    struct lease_request copy = *request;
    const char **texts[] = {
        &copy.gid,           &copy.host.session, &copy.host.beat, &copy.host.version, &copy.host.fingerprint,
        &copy.host.instance, &copy.host.follows, &copy.last,      &copy.by,           &copy.seen.owner,
        &copy.mail.id,       &copy.mail.stream,  &copy.mail.shard};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        own(arena, texts[i]);
    copy.row = lease_row_copy(arena, &request->row);
    return copy;
}
