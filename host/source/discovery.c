/* discovery.c: one listing at a time, page after page. */
#include "source/discovery.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/backoff.h"
#include "base/hash.h"
#include "base/mem.h"

#define CHILD_DELAY_MS_MIN 50
#define CHILD_TRIES_MAX 8 /* 50 ms doubling: some 12 s, then the periodic listing finds them */
#define MISSING_MS 3000   /* until the next listing when the last one lacked a shard that is known */
#define COMPLAIN_EVERY_MS 60000
#define PAGES_MAX 10000

/* DescribeStream may be called 10 times a second, by all that an account runs. Where shards close one after
 * another, each asks for a listing. */
#define CALL_MS 100
#define PACE_MS_MAX 5000 /* a longer wait would keep new shards from those who want them */

static const int64_t retry_ms[2] = {500, 10000};

struct discovery {
    struct discovery_options options;
    struct discovery_events events;
    void *user;
    char *stream_arn, *subject;
    struct lineage *lineage;
    struct timer next;
    struct source_call *call;
    char *after; /* where the next page of the running listing begins */
    bool again;  /* asked for while a listing ran */
    enum stream_status status;
    int64_t begun, ended;
    int64_t begun_ms; /* of the running or the last listing ... */
    int calls;        /* ... and how many it has made */
    int64_t failures; /* in a row */
    uint64_t random;
    struct log_limit complained;
    struct map childless; /* closed shards whose children are looked for -> the int of tries, owned */
};

static void begin(void *user);

static int64_t now_ms(const struct discovery *discovery)
{
    return clock_monotonic_ms(reactor_clock(discovery->options.reactor));
}

static void next_in(struct discovery *discovery, int64_t delay_ms)
{
    int64_t pace_ms = (int64_t)discovery->calls * CALL_MS;
    int64_t least_ms =
        discovery->begun_ms + (pace_ms < PACE_MS_MAX ? pace_ms : PACE_MS_MAX) - now_ms(discovery);
    if (!discovery->call)
        timer_set(discovery->options.reactor, &discovery->next, delay_ms > least_ms ? delay_ms : least_ms);
}

/* How soon to list again for the sake of closed shards without children; the interval when there are none. */
static int64_t child_delay(struct discovery *discovery)
{
    int64_t delay = discovery->events.interval_ms(discovery->user);
    size_t at = 0;
    if (lineage_misses(discovery->lineage) && delay > MISSING_MS)
        delay = MISSING_MS;
    const char *shard;
    for (int *tries; (tries = map_next(&discovery->childless, &at, &shard));) {
        int64_t own = (int64_t)CHILD_DELAY_MS_MIN << *tries;
        delay = own < delay ? own : delay;
    }
    return delay;
}

static bool children_known(const struct discovery *discovery, const char *shard)
{
    return lineage_has_child(discovery->lineage, shard) || discovery->status == STREAM_DISABLED ||
           !lineage_knows(discovery->lineage, shard);
}

/* Strike those off the list that have a child now, or that had all their tries. */
static void review_childless(struct discovery *discovery)
{
    size_t at = 0;
    const char *shard;
    for (int *tries; (tries = map_next(&discovery->childless, &at, NULL));)
        ++*tries;
    at = 0;
    for (int *tries; (tries = map_next(&discovery->childless, &at, &shard));) {
        if (*tries < CHILD_TRIES_MAX && !children_known(discovery, shard))
            continue;
        free(map_remove(&discovery->childless, shard));
        at = 0; /* removal moves slots */
    }
}

static void on_gone(void *user, const char *shard)
{
    struct discovery *discovery = user;
    free(map_remove(&discovery->childless, shard));
    discovery->events.gone(discovery->user, shard);
}

static void end_listing(struct discovery *discovery)
{
    CHECK(!discovery->call && discovery->begun > discovery->ended);
    free(discovery->after);
    discovery->after = NULL;
    lineage_end(discovery->lineage, now_ms(discovery), on_gone, discovery);
    troubles_end(discovery->options.troubles, discovery->subject, "listing");
    discovery->ended = discovery->begun;
    discovery->failures = 0;
    if (discovery->complained.told)
        log_info(discovery->options.log, discovery->subject, "listing shards works again");
    discovery->complained = (struct log_limit){0};
    review_childless(discovery);
    next_in(discovery, discovery->again ? 0 : child_delay(discovery));
    discovery->again = false;
    discovery->events.listed(discovery->user);
}

static void on_failure(struct discovery *discovery, const struct source_error *error)
{
    const struct err *err = &error->err;
    free(discovery->after);
    discovery->after = NULL;
    troubles_tell(discovery->options.troubles, discovery->subject, "listing", err->text);
    if (log_limit_passes(&discovery->complained, now_ms(discovery), COMPLAIN_EVERY_MS))
        log_warn(discovery->options.log, discovery->subject, "cannot list shards, trying again: %s",
                 err->text);
    next_in(discovery, backoff_ms(retry_ms, ++discovery->failures, &discovery->random));
    if (error->fault == SOURCE_MISSING)
        discovery->events.missing(discovery->user);
}

static void ask(struct discovery *discovery);

static void on_shards(void *user, const struct shard_page *page, const struct source_error *error)
{
    struct discovery *discovery = user;
    discovery->call = NULL;
    if (error) {
        on_failure(discovery, error);
        return;
    }
    CHECK(page);
    discovery->status = page->status;
    lineage_learn(discovery->lineage, page->shards, page->count);
    /* An answer that names the same page again would go round for ever. */
    bool repeated = page->last && discovery->after && strcmp(page->last, discovery->after) == 0;
    if (repeated || discovery->calls > PAGES_MAX) {
        struct source_error stuck = {SOURCE_OTHER, {0}};
        err_set(&stuck.err, ERR_PARSE, "the service repeats the page of shards behind %s",
                page->last ? page->last : "?");
        on_failure(discovery, &stuck);
    } else if (page->last) {
        free(discovery->after);
        discovery->after = mem_string(page->last);
        ask(discovery);
    } else {
        end_listing(discovery);
    }
}

static void ask(struct discovery *discovery)
{
    CHECK(!discovery->call);
    discovery->calls++;
    discovery->call = source_list_shards(discovery->options.source, discovery->stream_arn, discovery->after,
                                         on_shards, discovery);
}

static void begin(void *user)
{
    struct discovery *discovery = user;
    CHECK(!discovery->call && !discovery->after);
    discovery->begun++;
    discovery->begun_ms = now_ms(discovery);
    discovery->calls = 0;
    lineage_begin(discovery->lineage);
    ask(discovery);
}

struct discovery *discovery_new(const struct discovery_options *options,
                                const struct discovery_events *events, void *user)
{
    struct discovery *discovery = mem_zero(sizeof *discovery);
    discovery->options = *options;
    discovery->events = *events;
    discovery->user = user;
    discovery->stream_arn = mem_string(options->stream_arn);
    discovery->subject = mem_string(options->subject);
    discovery->lineage = lineage_new();
    discovery->random = hash_bytes(options->stream_arn, strlen(options->stream_arn), 0);
    timer_init(&discovery->next, begin, discovery);
    next_in(discovery, 0);
    return discovery;
}

void discovery_free(struct discovery *discovery)
{
    size_t at = 0;
    if (!discovery)
        return;
    timer_stop(discovery->options.reactor, &discovery->next);
    source_cancel(discovery->options.source, discovery->call);
    troubles_end(discovery->options.troubles, discovery->subject, "listing");
    for (int *tries; (tries = map_next(&discovery->childless, &at, NULL));)
        free(tries);
    map_fini(&discovery->childless);
    lineage_free(discovery->lineage);
    free(discovery->after);
    free(discovery->stream_arn);
    free(discovery->subject);
    free(discovery);
}

const struct lineage *discovery_lineage(const struct discovery *discovery)
{
    return discovery->lineage;
}

bool discovery_listed(const struct discovery *discovery)
{
    return discovery->ended > 0;
}

enum stream_status discovery_status(const struct discovery *discovery)
{
    return discovery->status;
}

int64_t discovery_begun(const struct discovery *discovery)
{
    return discovery->begun;
}

int64_t discovery_ended(const struct discovery *discovery)
{
    return discovery->ended;
}

void discovery_expect(struct discovery *discovery, const char *shard)
{
    lineage_expect(discovery->lineage, shard);
}

void discovery_now(struct discovery *discovery)
{
    if (discovery->call)
        discovery->again = true;
    else if (!discovery->failures || !timer_is_set(&discovery->next)) /* else it waits after a failure */
        next_in(discovery, 0);
}

void discovery_shard_closed(struct discovery *discovery, const char *shard)
{
    if (lineage_has_child(discovery->lineage, shard))
        return;
    if (!map_get(&discovery->childless, shard))
        map_set(&discovery->childless, shard, mem_zero(sizeof(int)));
    discovery_now(discovery);
}
