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

/* What counts for metrics of shards and subscriptions. */
struct counting {
    struct worker *worker;
    int64_t now_ms;           /* wall clock */
    struct stats_shard shard; /* that is told of just now */
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

/* Since when the handler is behind, as status reckons it: with the oldest record that is not settled; where
 * none is known because nothing can be read, since the end was last seen. */
static int64_t behind_ms(const struct counting *counting, const struct stats_place *place,
                         const struct stats_subscription *now)
{
    int64_t seen_ms = counting->shard.caught_up_ms ? counting->shard.caught_up_ms : counting->shard.began_ms;
    if (now->oldest_ms)
        return now->oldest_ms;
    int64_t late_ms = config_read_late_ms(config_stream(counting->worker->config, place->stream));
    return counting->now_ms - seen_ms > late_ms ? seen_ms : 0;
}

static void count_subscription(void *user, const struct stats_place *place,
                               const struct stats_subscription *now)
{
    struct stats_subscription counted = *now;
    counted.behind_ms = behind_ms(user, place, now);
    if (place->counters)
        stats_add_now(place->counters, &counted);
}

static void count_shard(void *user, const struct stats_place *place, const struct stats_shard *now)
{
    struct counting *counting = user;
    counting->shard = *now;
    if (!place->of_stream)
        return;
    place->of_stream->shards++;
    place->of_stream->window_bytes += now->window_bytes;
}

static void tell_subscription(void *user, const struct stats_place *place,
                              const struct stats_subscription *now)
{
    const struct telling *telling = user;
    const int64_t numbers[] = {now->in_flight, now->retrying, now->waiting, now->oldest_ms, now->catching_up};
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

static void tell_all(struct worker *worker, const struct stats_sink *sink)
{
    size_t at = 0;
    for (struct shard *shard; (shard = map_next(&worker->shards, &at, NULL));)
        shard_tell(shard, sink);
}

static void put_reasons(struct worker *worker)
{
    struct buf reasons = BUF_INIT;
    troubles_unready(worker->troubles, &reasons);
    buf_add(&reasons, "", 0);
    board_put_reasons(worker->options.board, worker->options.place, reasons.data);
    buf_fini(&reasons);
}

void worker_put_up(struct worker *worker)
{
    struct counting counting = {.worker = worker, .now_ms = clock_wall_ms(reactor_clock(worker->reactor))};
    struct sheet sheet = {0};
    if (!worker->options.board)
        return;
    board_turned(worker->options.board, worker->options.place,
                 clock_monotonic_ms(reactor_clock(worker->reactor)));
    if (worker->outbox && worker->outbox->ops->tell)
        worker->outbox->ops->tell(worker->outbox);
    stats_clear_now(worker->stats);
    tell_all(worker, &(struct stats_sink){count_subscription, count_shard, &counting});
    exposition_add(&sheet, worker->stats, counting.now_ms);
    sheet_add(&sheet, "tidemill_longest_step_seconds", (double)worker->longest_ms / 1000, NULL);
    board_put(worker->options.board, worker->options.place, &sheet);
    put_reasons(worker);
}

void worker_tell(struct worker *worker, struct store_batch *notes, bool statistics)
{
    struct telling telling = {worker, notes, statistics, clock_wall_ms(reactor_clock(worker->reactor))};
    tell_all(worker, &(struct stats_sink){tell_subscription, tell_shard, &telling});
}
