/* crowd.c: many hosts and shards in calm weather, with the real rules and rows: how soon it is even, what it
 * costs, and whether it rests. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "group.h"

#define WEIGH_US (5 * US_S)

struct crowd {
    struct group group;
    double *typical, *averages; /* of each shard: records a second */
    int64_t rested_us;          /* moves since then are told */
};

/* Most have little to do, few have much; and each goes up and down. */
static double draw(struct group *group)
{
    double load = 0.5;
    while (group_chance(group, 450) && load < 40)
        load *= 1.6;
    return load + group_below(group, 1000) / 2000.0;
}

static void discover_and_weigh(struct crowd *crowd)
{
    struct group *group = &crowd->group;
    struct grun *run;
    for (size_t i = 0; i < group->shard_count; i++) {
        double now = crowd->typical[i] * (0.55 + group_below(group, 900) / 1000.0);
        crowd->averages[i] += (now - crowd->averages[i]) * 0.05; /* a mean over 100 s */
    }
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        if (host->gone || host->over)
            continue;
        list_each(run, &host->runs, struct grun, link)
            if (run->shard)
                coordinator_weigh(host->coordinator, STREAM, run->shard->id,
                                  crowd->averages[run->shard->number] + 0.2);
        if (ghost_run(host, LEASE_STREAM_ROW))
            group_discover(group, host);
    }
}

static void on_weigh(struct event *event)
{
    struct crowd *crowd = event->subject;
    free(event);
    if (crowd->group.ending)
        return;
    discover_and_weigh(crowd);
    group_at(&crowd->group, crowd->group.now_us + WEIGH_US, on_weigh, crowd);
}

static double load_of(const struct crowd *crowd, struct ghost *host)
{
    struct grun *run;
    double load = 0;
    list_each(run, &host->runs, struct grun, link)
        load += run->shard ? crowd->averages[run->shard->number] + 0.2 : 0.2;
    return load;
}

struct evenness {
    size_t hosts, running, owned; /* owned: by a host that lives; it may not have heard of it yet */
    double over, least;           /* of a fair share: the most over it, and the least that one has */
    double newest;                /* what the host that joined last has of it */
};

static struct evenness look(struct crowd *crowd)
{
    struct group *group = &crowd->group;
    struct evenness even = {.least = 1e9};
    double total = 0, most = 0, least = 1e9, newest = 0;
    for (size_t i = 0; i < group->host_count; i++) {
        struct ghost *host = group->hosts[i];
        struct grun *run;
        if (host->gone || host->over)
            continue;
        double load = load_of(crowd, host);
        even.hosts++;
        total += load;
        most = load > most ? load : most;
        least = load < least ? load : least;
        newest = load;
        list_each(run, &host->runs, struct grun, link)
            even.running += run->shard != NULL;
    }
    for (size_t i = 0; i < group->shard_count; i++) {
        int64_t epoch;
        const char *owner = gtable_owner(group->table, group->shards[i]->id, &epoch);
        for (size_t j = 0; j < group->host_count; j++)
            if (!group->hosts[j]->gone && strcmp(ghost_name(group->hosts[j]), owner) == 0) {
                even.owned++;
                break;
            }
    }
    double fair = total / (double)even.hosts;
    even.over = most / fair - 1;
    even.least = least / fair;
    even.newest = newest / fair;
    return even;
}

static struct evenness tell(struct crowd *crowd, const char *what, int64_t moves, const int64_t units[2],
                            int64_t since_us)
{
    struct group *group = &crowd->group;
    struct evenness even = look(crowd);
    double seconds = (double)(group->now_us - since_us) / US_S;
    printf("  %7.1f s  %-34s %3zu hosts run %5zu shards; most loaded %+4.0f%%, least %3.0f%% of a fair "
           "share; %5" PRId64 " moves; %.1f writes, %.1f reads a second\n",
           (double)group->now_us / US_S, what, even.hosts, even.running, 100 * even.over, 100 * even.least,
           group->moves - moves, (double)(group->units[1] - units[1]) / seconds,
           (double)(group->units[0] - units[0]) / seconds);
    return even;
}

static struct evenness live(struct crowd *crowd, const char *what, int64_t for_us)
{
    struct group *group = &crowd->group;
    int64_t moves = group->moves, units[2] = {group->units[0], group->units[1]}, since_us = group->now_us;
    group_live(group, group->now_us + for_us);
    return tell(crowd, what, moves, units, since_us);
}

static bool expect(bool holds, const char *what)
{
    if (!holds)
        printf("  FAILED: %s\n", what);
    return holds;
}

bool crowd_run(int hosts, int shards, uint64_t seed)
{
    struct crowd crowd = {.group = {.seed = seed, .random = seed, .kind = GROUP_CROWD, .lease_ms = 10000}};
    struct group *group = &crowd.group;
    int deaths = hosts >= 100 ? 10 : 1;
    bool well = true;
    group->end_us = INT64_MAX;
    group->table = gtable_new(group);
    crowd.typical = mem_alloc((size_t)shards * sizeof(double));
    crowd.averages = mem_alloc((size_t)shards * sizeof(double));
    for (int i = 0; i < shards; i++) {
        group_add_shard(group, NULL);
        crowd.typical[i] = crowd.averages[i] = draw(group);
    }
    for (int i = 0; i < hosts; i++)
        group_join(group, "h");
    group_at(group, 0, on_weigh, &crowd);
    live(&crowd, "all start, the table is new", 30 * US_S);
    struct evenness even = live(&crowd, "20 s later", 20 * US_S);
    well = expect(even.owned == (size_t)shards, "every shard is somebody's 50 s after the start") && well;
    even = live(&crowd, "60 s later", 60 * US_S);
    well = expect(even.running == (size_t)shards, "every shard runs 110 s after the start") && well;
    int64_t moves = group->moves;
    even = live(&crowd, "600 s of rest", 600 * US_S);
    well = expect(group->moves - moves <= shards / 500, "nothing moves at rest") && well;
    well = expect(even.over < 0.25, "nobody has a quarter more than his share") && well;
    group_join(group, "h");
    even = live(&crowd, "15 s after another joined", 15 * US_S);
    well = expect(even.newest > 0.75, "the joiner has three quarters of his share in 15 s") && well;
    live(&crowd, "60 s later", 60 * US_S);
    for (int i = 0; i < deaths; i++)
        group_kill(group->hosts[i]);
    /* A lease by the slowest clock, the next look at all hosts, and the sweeps: the more hosts, the more
     * seldom. */
    live(&crowd, deaths > 1 ? "15 s after ten died at once" : "15 s after one died", 15 * US_S);
    even = live(&crowd, "5 s later", 5 * US_S);
    well = expect(even.owned == (size_t)shards, "every shard is a living host's 20 s after a death") && well;
    even = live(&crowd, "60 s later", 60 * US_S);
    well = expect(even.running == (size_t)shards, "every shard runs 80 s after a death") && well;
    moves = group->moves;
    live(&crowd, "600 s of rest", 600 * US_S);
    well = expect(group->moves - moves <= shards / 500, "nothing moves at rest") && well;
    struct ghost *hung = group->hosts[group->host_count - 1];
    group_hang(hung, 600 * US_S);
    live(&crowd, "25 s after one stood still", 25 * US_S);
    well = expect(list_empty(&hung->runs), "who stands still has nothing any more after 25 s") && well;
    even = live(&crowd, "60 s later", 60 * US_S);
    well = expect(even.running == (size_t)shards, "every shard runs 85 s after that") && well;
    well = expect(list_empty(&hung->runs), "who stands still is given nothing") && well;
    well = expect(!*group->violation, group->violation) && well;
    group_fini(group);
    free(crowd.typical);
    free(crowd.averages);
    return well;
}
