/* notes.c: what status shows of a worker's shards, and what its numbers are for others. */
#include "base/hash.h"
#include "stats/exposition.h"
#include "worker/internal.h"

struct telling {
    struct worker *worker;
    struct store_batch *notes;
    bool statistics; /* also of readers */
    int64_t now_ms;  /* wall clock */
};

/* Is it something else than what was last told? */
static bool is_new(uint64_t *told, const int64_t *numbers, size_t count)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < count; i++)
        hash = hash_mix(hash ^ (uint64_t)numbers[i]);
    hash += !hash;
    bool differs = *told != hash;
    *told = hash;
    return differs;
}

static void tell_subscription(void *user, const struct stats_place *place,
                              const struct stats_subscription *now)
{
    const struct telling *telling = user;
    const int64_t numbers[] = {now->in_flight, now->retrying, now->waiting, now->oldest_ms, now->catching_up};
    if (place->counters)
        stats_add_now(place->counters, now);
    if (is_new(place->told, numbers, sizeof numbers / sizeof *numbers))
        store_put_subscription(telling->notes, &(struct store_subscription){.handler = place->handler,
                                                                            .stream_arn = place->stream_arn,
                                                                            .shard = place->shard,
                                                                            .in_flight = now->in_flight,
                                                                            .retrying = now->retrying,
                                                                            .waiting = now->waiting,
                                                                            .catching_up = now->catching_up,
                                                                            .oldest_ms = now->oldest_ms,
                                                                            .time_ms = telling->now_ms});
}

static void tell_shard(void *user, const struct stats_place *place, const struct stats_shard *now)
{
    const struct telling *telling = user;
    if (telling->statistics && telling->worker->options.writer && telling->worker->reports.read)
        worker_report_read(telling->worker, place->stream_arn, place->shard, now->records);
    if (telling->statistics && now->calls && is_new(place->told, &now->calls, 1))
        store_put_shard(telling->notes, &(struct store_shard){.stream_arn = place->stream_arn,
                                                              .shard = place->shard,
                                                              .get_records_calls = now->calls,
                                                              .records = now->records,
                                                              .read_ms = now->read_ms,
                                                              .caught_up_ms = now->caught_up_ms});
}

void worker_put_up(struct worker *worker, int64_t now_ms)
{
    struct sheet sheet = {0};
    if (!worker->options.board)
        return;
    if (worker->outbox && worker->outbox->ops->tell)
        worker->outbox->ops->tell(worker->outbox);
    exposition_add(&sheet, worker->stats, now_ms);
    sheet_add(&sheet, "tidemill_longest_step_seconds", (double)worker->longest_ms / 1000, NULL);
    board_put(worker->options.board, worker->options.place, &sheet);
}

void worker_tell(struct worker *worker, struct store_batch *notes, bool statistics)
{
    struct telling telling = {worker, notes, statistics, clock_wall_ms(reactor_clock(worker->reactor))};
    struct stats_sink sink = {tell_subscription, tell_shard, &telling};
    size_t at = 0;
    stats_clear_now(worker->stats);
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_tell(shard, &sink);
    worker_put_up(worker, telling.now_ms);
}
