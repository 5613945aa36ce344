/* forget.c: rows of shards that nobody will read any more. */
#include "lease/internal.h"

/* What was written meanwhile stands in the row; or it is gone, by this request or by one before it. */
static void on_deleted(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct holding *holding = subject;
    (void)coordinator;
    holding->asking = NULL;
    holding->deleting = false;
    if (!answer->row_count)
        holding_lose(holding);
}

static void on_read(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct holding *holding = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    holding->asking = NULL;
    if (!row || !row_ended(row) || row->epoch != holding->epoch || row->version != holding->version ||
        holding->phase != HOLDING_RUNS || holding->writing || holding->dirty)
        return;
    struct lease_request request = {.kind = LEASE_DELETE_ROW,
                                    .row = {.stream = holding->stream, .shard = holding->shard},
                                    .seen = {coordinator->session.id, holding->epoch, holding->version}};
    holding->deleting = true;
    holding->asking = op_send(coordinator, &request, share_of(coordinator, 200), true, on_deleted, holding);
}

void coordinator_forget(struct coordinator *coordinator, const char *stream, const char *shard)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    struct lease_request request = {.kind = LEASE_READ_ROW, .row = {.stream = stream, .shard = shard}};
    if (holding && holding->told && holding->phase == HOLDING_RUNS && !holding->asking)
        holding->asking = op_send(coordinator, &request, share_of(coordinator, 200), true, on_read, holding);
}
