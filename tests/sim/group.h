/* group.h: many hosts in a random world, and what must hold there: the real rules of ownership (host/lease/)
 * over a table that delays, loses, throttles and repeats; hosts that pause, freeze, are killed, join and
 * leave, whose clocks run differently; shards that split. What a host does with a shard is a model: one
 * record after another of each handler, each a call to the outside.
 *
 * One seed makes one world. Times are microseconds of the world's own clock. */
#ifndef TIDEMILL_TESTS_SIM_GROUP_H
#define TIDEMILL_TESTS_SIM_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "lease/coordinator.h"

#define US_MS 1000LL
#define US_S 1000000LL
#define HANDLERS_MAX 2 /* a host may know the first alone */
#define STREAM "stream"

enum group_kind {
    GROUP_FAULTS, /* everything goes wrong, then nothing */
    GROUP_CALM,   /* joins, leaves and splits: nothing repeats */
    GROUP_KILLS,  /* calm, but hosts are killed */
    GROUP_WIPED,  /* the table is deleted and made anew */
    GROUP_OUTAGE, /* nobody reaches the table for a minute */
    GROUP_CROWD,  /* calm: see crowd.c */
};

struct event {
    int64_t at_us;
    uint64_t order;
    void (*run)(struct event *event);
    void *subject;
};

struct ghost;

/* ---- the stream ---- */

struct gshard {
    char id[24];
    size_t number;
    struct gshard *parent;
    double rate; /* records a second */
    int count;   /* so far */
    bool closed;
    bool unlisted, forgotten;    /* by the service; its row was deleted */
    char *handled[HANDLERS_MAX]; /* of each record: how often a call of it arrived */
    bool *given_up[HANDLERS_MAX];
    size_t capacity;
    int64_t run_us;    /* when it last ran somewhere, or was born */
    int64_t silent_us; /* the longest, in calm times */
};

/* ---- the group ---- */

struct group {
    uint64_t seed, random;
    enum group_kind kind;
    bool loud;
    int64_t lease_ms;
    int64_t now_us, faults_until_us, end_us;
    uint64_t order;
    struct event **heap;
    size_t heap_count, heap_capacity;
    struct gtable *table;
    struct ghost **hosts;
    size_t host_count, host_capacity;
    struct gshard **shards;
    size_t shard_count, shard_capacity;
    struct map by_id;                 /* shard -> struct gshard */
    struct map newest[HANDLERS_MAX];  /* shard -> int64_t, owned: the newest epoch whose call arrived */
    struct map senders[HANDLERS_MAX]; /* likewise -> struct ghost: whose it was */
    struct map committed;             /* row and epoch -> owner, owned */
    int64_t requests, moves, kills, repeats, marks, forgotten;
    int64_t killed_us, living_marked;
    int64_t units[2]; /* reads, writes: of operations */
    bool ending;      /* nothing begins any more */
    char violation[1000];
};

/* ---- hosts ---- */

struct grun; /* a shard on a host */

/* A call to the outside: it arrives, or not, whatever becomes of its host. */
struct outcall {
    struct group *group;
    struct ghost *host;
    struct grun *run; /* NULL: nobody waits for it */
    struct gshard *shard;
    int handler, seq, events;
    int64_t epoch;
    bool arrived;
};

struct gfeed {
    int at, attempts; /* the next record, and how often it was tried */
    bool open, end;   /* its parent has ended; it has */
    bool ending;      /* its END is on its way */
    struct outcall *call;
};

struct grun {
    struct list link;
    struct ghost *host;
    struct gshard *shard; /* NULL: the discovery of the stream */
    struct gfeed feeds[HANDLERS_MAX];
    int64_t quiet_us_host; /* own clock, ms: D behind the last call that nobody answered */
    bool draining, drained, committing, dirty;
    int64_t commit_us;
    int serial; /* of runs on this host: callbacks find it by that */
};

struct ghost {
    struct group *group;
    char name[8];
    struct coordinator *coordinator;
    struct lease_table *wire;
    double rate;
    uint64_t random;
    int64_t offset_ms, frozen_us, wall_jump_ms;
    int64_t jumped_us; /* when somebody last set its wall clock */
    int64_t paused_until_us;
    int64_t hung_from_us, hung_until_us; /* what reads stands still, the rest turns */
    int64_t cut_until_us;                /* from the table: */
    int cut;                             /* 1: requests, 2: answers, 3: both */
    bool gone, leaving, over;
    int handlers; /* that it knows */
    bool reads;   /* the stream is in its INI */
    struct list runs;
    int serial;
    int discovered; /* the last run of the discovery that has discovered */
    bool held;
    int64_t wake_us; /* the next turn that is planned */
    uint64_t wake_order;
    struct map created; /* shards of which it knows that they have a row */
};

/* ---- what there is to do ---- */

uint64_t group_random(struct group *group);
int group_below(struct group *group, int limit);
bool group_chance(struct group *group, int of_thousand);
int64_t group_between(struct group *group, int64_t from_us, int64_t to_us);
int64_t group_exponential(struct group *group, int64_t mean_us);
bool group_faulty(const struct group *group);
void group_violated(struct group *group, const char *format, ...) __attribute__((format(printf, 2, 3)));
void group_trace(struct group *group, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `run` frees the event. */
void group_at(struct group *group, int64_t at_us, void (*run)(struct event *), void *subject);

void group_run(uint64_t seed, bool loud, char *violation);

/* Its time: up to then, or the first violation. */
void group_fini(struct group *group);
void group_live(struct group *group, int64_t until_us);
struct ghost *group_join(struct group *group, const char *name);
void group_kill(struct ghost *host);
void group_hang(struct ghost *host, int64_t us); /* what it reads stands still for so long */
struct gshard *group_add_shard(struct group *group, struct gshard *parent);
struct grun *ghost_run(struct ghost *host, const char *shard); /* NULL: it does not run it */

/* Who discovers gives each shard a row. */
void group_discover(struct group *group, struct ghost *host);

/* ---- crowd.c ---- */

/* So many hosts and shards under a steady load, that is let alone, and then not: how soon is it even, how
 * much does that cost, does it rest? False where it does not. */
bool crowd_run(int hosts, int shards, uint64_t seed);

/* ---- group_table.c ---- */

struct gtable *gtable_new(struct group *group);
void gtable_free(struct gtable *table);
void gtable_wipe(struct gtable *table);
void gtable_expire_hosts(struct gtable *table); /* TTL takes rows of the living, too */

/* A host's way to it. */
struct lease_table *gwire_new(struct gtable *table, struct ghost *host);
void gwire_free(struct lease_table *wire);

/* The row's owner, "": there is no row; its position for a handler. */
const char *gtable_owner(struct gtable *table, const char *shard, int64_t *epoch);
bool gtable_part(struct gtable *table, const char *shard, const char *handler, int64_t *at, bool *end);

/* ---- group.c ---- */

/* Something arrives at the host: now, or when it wakes up; never, when it is gone. */
void ghost_wake(struct ghost *host, void (*run)(void *subject), void *subject);
bool ghost_reaches(const struct ghost *host, bool answer); /* the table */
bool ghost_is_gone(const struct ghost *host);
const char *ghost_name(const struct ghost *host);
double ghost_rate(const struct ghost *host);

#endif
