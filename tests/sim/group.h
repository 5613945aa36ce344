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
    GROUP_KINDS
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
    struct gshard *parent;
    int64_t born_us;
    double rate; /* records a second */
    int count;   /* so far */
    bool closed;
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
    struct map newest[HANDLERS_MAX]; /* shard -> int64_t, owned: the newest epoch whose call arrived */
    struct map committed;            /* row and epoch -> owner, owned */
    int64_t requests, moves, sessions, kills, repeats, marks, stale_refused;
    int64_t killed_us;
    int64_t units[2]; /* reads, writes: of operations */
    char violation[1000];
};

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
