/* gather.c: shards that are wanted together, on the host that has one of them. */
#include <string.h>

#include "lease/internal.h"

#define ASK_AGAIN_MS 2000

static void on_read(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct holding *holding = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    const struct member *owner = row ? map_get(&coordinator->members.all, row->owner) : NULL;
    holding->asking = NULL;
    if (owner && holding->phase == HOLDING_RUNS && !coordinator->leaving &&
        member_takes(coordinator, owner, holding->stream))
        holding_drain(holding, owner->session, true);
}

void coordinator_gather(struct coordinator *coordinator, const char *stream, const char *shard,
                        const char *beside)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    int64_t now = now_of(coordinator);
    if (!holding || !holding->told || holding->phase != HOLDING_RUNS || holding->asking ||
        holding->beside_due_ms > now || holding_find(coordinator, stream, beside))
        return;
    struct lease_request request = {.kind = LEASE_READ_ROW, .row = {.stream = stream, .shard = beside}};
    holding->beside_due_ms = now + ASK_AGAIN_MS;
    holding->asking = op_send(coordinator, &request, share_of(coordinator, 200), false, on_read, holding);
}
