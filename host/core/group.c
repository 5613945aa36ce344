/* group.c: see group.h. */
#include "core/group.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/mem.h"
#include "lease/coordinator.h"
#include "state/dynamodb/lease_rows.h"
#include "state/dynamodb/notes.h"
#include "state/dynamodb/shard_rows.h"
#include "state/store_open.h"

#define TURN_MIN_MS 10
#define MOVES_TOLD_MS 1000 /* what comes and goes in one go is told once */
#define CREATE_AGAIN_MS 30000

/* An average that forgets what was a few minutes ago: what comes and goes within one moves no shard. */
#define RATE_OVER_MS 100000.0

/* A worker's way to the one writer, which is the first worker's. */
struct way {
    struct shard_writer writer; /* the first: one is the other */
    struct group *group;
    struct worker *worker;
    int64_t asked_ms; /* to turn once, on the first worker's reactor; 0: it has nothing to answer */
    atomic_bool turned;
};

struct group {
    struct group_options options;
    struct leases leases;
    struct way *ways;
    struct streams *streams;
    struct calls *calls;
    struct lease_table *rows;
    struct shard_rows *shards;
    struct coordinator *coordinator;
    struct timer turn;
    struct map own;     /* "arn\nshard" -> struct owned: what the streams know to be this host's */
    struct notes notes; /* of all workers */
    struct map past;    /* likewise -> int64_t, owned: the greatest epoch that was seen of its row */
    struct map created; /* likewise -> struct created, of this session */
    struct map readers; /* stream -> int64_t, owned: how many read it here */
    char session[LEASE_SESSION_SIZE];
    char *first;        /* of the streams that are read, in the order of their ARNs */
    int64_t came, went; /* shards, since the start; and of these, told: */
    int64_t came_told, went_told;
    int64_t moves_ms;      /* since when */
    bool looking;          /* what others have finished is being read */
    bool regaining, again; /* what was read when the last of them was interrupted is too old */
    bool held, leaving;
    bool told_held; /* and not yet that it is over */
    bool ended;     /* it has left, or there is no table */
};

/* A row that this session has made, or found. */
struct created {
    bool done;
    int64_t asked_ms; /* 0: never */
};

/* A shard of this host's. */
struct owned {
    char *stream, *shard, *parents[2];
    int gate; /* of which parent its end is waited for; 2: of none; -1: its row is not read yet, or anew */
    bool above[2]; /* its epoch was seen to be greater than its parent's */
    bool read;     /* here: what follows it gets its rows from here */
    bool reading;  /* its row, for the first time since it is this host's */
    /* Its load: what was read of it when last told, and records a second since long. */
    int64_t records, told_ms; /* 0: not told yet */
    double rate;
};

static struct reactor *reactor_of(const struct group *group)
{
    return worker_reactor(group->ways[0].worker);
}

static char *key_of(const char *stream, const char *shard)
{
    return mem_printf("%s\n%s", stream, shard);
}

static void owned_free(struct owned *owned)
{
    if (!owned)
        return;
    free(owned->stream);
    free(owned->shard);
    free(owned->parents[0]);
    free(owned->parents[1]);
    free(owned);
}

static struct owned *find_owned(const struct group *group, const char *stream, const char *shard)
{
    char *key = key_of(stream, shard);
    struct owned *owned = map_get(&group->own, key);
    free(key);
    return owned;
}

static bool is_stream_row(const char *shard)
{
    return strcmp(shard, LEASE_STREAM_ROW) == 0;
}

/* ---- turning ---- */

static int64_t now_ms(void *user)
{
    return clock_boot_ms(((struct group *)user)->options.clock);
}

static int64_t wall_ms(void *user)
{
    return clock_wall_ms(((struct group *)user)->options.clock);
}

/* Names that no two hosts may share. */
static uint64_t random_number(void *user)
{
    uint64_t number;
    (void)user;
    CHECK(getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number);
    return number;
}

/* As the last beat has set it; for every thread. */
static void set_fence(struct group *group)
{
    bool may = !group->ended && coordinator_may_call(group->coordinator);
    atomic_store(&group->options.fence->until_ms, may ? coordinator_fence_ms(group->coordinator) : 0);
}

static void tell_fingerprint(struct group *group)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, group->options.fingerprint(group->options.user));
    coordinator_set_fingerprint(group->coordinator, text);
}

static bool has_moves(const struct group *group)
{
    return group->came != group->came_told || group->went != group->went_told;
}

static void note_move(struct group *group, int64_t *moves)
{
    if (!has_moves(group))
        group->moves_ms = now_ms(group);
    ++*moves;
}

static void tell_moves(struct group *group)
{
    if (has_moves(group))
        log_info(group->options.log, NULL, "shards of this host: %lld came, %lld went, it has %zu",
                 (long long)(group->came - group->came_told), (long long)(group->went - group->went_told),
                 group->own.count);
    group->came_told = group->came;
    group->went_told = group->went;
}

static void on_asked(void *user)
{
    atomic_store(&((struct way *)user)->turned, true);
}

/* Of the other workers' reactors: each is asked to turn once, again and again. */
static int64_t longest_silence(struct group *group)
{
    int64_t now = now_ms(group), longest = 0;
    for (size_t i = 1; i < group->options.reactors; i++) {
        struct way *way = &group->ways[i];
        bool turned = atomic_load(&way->turned);
        if (way->asked_ms && !turned) {
            longest = now - way->asked_ms > longest ? now - way->asked_ms : longest;
        } else if (now - way->asked_ms >= group->options.config->host.lease_ms / 10) {
            way->asked_ms = now;
            atomic_store(&way->turned, false);
            reactor_post(worker_reactor(way->worker), on_asked, way);
        }
    }
    return longest;
}

/* Also when nothing is due: a beat's answer moves the fence. */
static void turn(void *user)
{
    struct group *group = user;
    tell_fingerprint(group);
    if (now_ms(group) - group->moves_ms >= MOVES_TOLD_MS)
        tell_moves(group);
    coordinator_pulse(group->coordinator, longest_silence(group));
    int64_t due_ms = coordinator_turn(group->coordinator),
            wait_ms = group->options.config->host.lease_ms / 40;
    set_fence(group);
    if (group->ended)
        return;
    if (due_ms - now_ms(group) < wait_ms)
        wait_ms = due_ms - now_ms(group);
    timer_set(reactor_of(group), &group->turn, wait_ms > TURN_MIN_MS ? wait_ms : TURN_MIN_MS);
}

/* Something was asked of the coordinator: it is turned from the top of the stack. */
static void turn_soon(struct group *group)
{
    if (!group->ended)
        timer_set(reactor_of(group), &group->turn, 0);
}

/* A call that ended without an answer may still take effect for a while, and before that nobody else may go
 * on where it was made: until when on the own clock. Of whichever shard it was. */
static int64_t quiet_ms(void *user)
{
    const struct group *group = user;
    int64_t unanswered_ms = atomic_load(&group->options.fence->unanswered_ms);
    return unanswered_ms ? unanswered_ms + coordinator_quiet_ms(group->coordinator) : 0;
}

/* ---- gates ---- */

static void gate(struct group *group, struct owned *owned);

/* Its row has, or had, that epoch. */
static void keep_epoch(struct group *group, const char *stream, const char *shard, int64_t epoch)
{
    char *key = key_of(stream, shard);
    int64_t *past = map_get(&group->past, key);
    if (!past) {
        past = mem_zero(sizeof *past);
        map_set(&group->past, key, past);
    }
    *past = epoch > *past ? epoch : *past;
    free(key);
}

/* What is read there says what handlers have finished, elsewhere and under which epochs. */
static void keep_epochs(struct group *group, const struct store_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->owner_count; i++)
        keep_epoch(group, snapshot->owners[i].stream_arn, snapshot->owners[i].shard,
                   snapshot->owners[i].epoch);
}

/* What one handler sends out of a shard must be of a greater epoch than what it sent out of the shard's
 * parent, and a parent that one handler has not finished yet may have got another owner, or several, since
 * others did. So nothing is read here before the epoch was compared with the parent's row and raised where it
 * had to be (the coordinator does that before it tells of the parent), and once more where the parent was
 * this host's and got a greater one since. Of two parents (DynamoDB has none such) the second counts only
 * when the first is over: no handler waits for another. */
static bool is_above(struct group *group, struct owned *owned)
{
    int64_t own = coordinator_row_epoch(group->coordinator, owned->stream, owned->shard);
    bool above = true;
    for (int i = 0; i < 2 && i <= owned->gate; i++) {
        const char *parent = owned->parents[i];
        if (!parent)
            continue;
        char *key = key_of(owned->stream, parent);
        const int64_t *past = map_get(&group->past, key);
        int64_t its = coordinator_row_epoch(group->coordinator, owned->stream, parent);
        its = past && *past > its ? *past : its;
        free(key);
        if (owned->above[i] && its >= own) {
            owned->above[i] = false;
            owned->gate = i;
            gate(group, owned);
        }
        above = above && owned->above[i];
    }
    return above;
}

/* It may be read now. */
static void review(struct group *group, const struct owned *owned)
{
    streams_gained(group->streams, owned->stream, owned->shard, &(struct store_snapshot){0});
}

/* Its row was copied from where they are not kept: a listing tells. */
static bool parents_unknown(const struct owned *owned)
{
    return owned->parents[0] && strcmp(owned->parents[0], LEASE_PARENTS_UNKNOWN) == 0;
}

/* Wait for the end of its next parent, where there is one. */
static void gate(struct group *group, struct owned *owned)
{
    if (parents_unknown(owned)) {
        streams_tell(group->streams, owned->stream, owned->shard);
        return;
    }
    while (owned->gate < 2 && !owned->parents[owned->gate])
        owned->gate++;
    if (owned->gate < 2)
        coordinator_gate(group->coordinator, owned->stream, owned->shard, owned->parents[owned->gate]);
    else
        coordinator_gate_over(group->coordinator, owned->stream, owned->shard);
    turn_soon(group);
}

/* What the snapshot says is finished there is. Have all handlers of this host finished it, in whatever way
 * (one that begins at the latest record has, what had ended by then)? Then its children wait for it no more.
 */
static void look_at_finished(struct group *group, const char *stream, const char *parent,
                             const struct store_snapshot *snapshot)
{
    bool all = streams_finished_elsewhere(group->streams, stream, parent, snapshot);
    size_t at = 0;
    for (struct owned *owned; all && (owned = map_next(&group->own, &at, NULL));)
        if (owned->gate >= 0 && owned->gate < 2 && owned->above[owned->gate] &&
            strcmp(owned->stream, stream) == 0 && strcmp(owned->parents[owned->gate], parent) == 0) {
            owned->gate++;
            gate(group, owned);
        }
}

static void on_parent_read(void *user, const char *stream, const char *parent,
                           struct store_snapshot *snapshot)
{
    look_at_finished(user, stream, parent, snapshot);
    store_snapshot_free(snapshot);
}

/* No row: the service does not list it, and lineage knows. */
static void on_parent(void *user, const char *stream, const char *shard, const char *parent,
                      const struct lease_row *row)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard);
    bool any = false, its = owned && owned->gate >= 0 && owned->gate < 2 && owned->parents[owned->gate] &&
                            strcmp(owned->parents[owned->gate], parent) == 0;
    bool news = its && !owned->above[owned->gate];
    for (size_t i = 0; row && i < row->part_count; i++)
        any = any || row->parts[i].end;
    if (row)
        keep_epoch(group, stream, parent, row->epoch);
    if (its)
        owned->above[owned->gate] = true;
    if (any)
        shard_rows_read(group->shards, row, on_parent_read, group);
    else if (its && row)
        look_at_finished(group, stream, parent, &(struct store_snapshot){0});
    else if (its) {
        owned->gate++;
        gate(group, owned);
    }
    if (news)
        review(group, owned);
}

/* ---- shards that come and go ---- */

/* The snapshot says where its handlers stand: before that none may begin there. */
static void open_row(struct group *group, struct owned *owned, const struct store_snapshot *snapshot)
{
    owned->gate = 0;
    streams_gained(group->streams, owned->stream, owned->shard, snapshot);
    gate(group, owned);
}

/* Where the host has no lease just now it is read anew when it has one (`regain`). */
static void on_read(void *user, const char *stream, const char *shard, struct store_snapshot *snapshot)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard);
    if (owned)
        owned->reading = false;
    if (owned && !group->held)
        open_row(group, owned, snapshot);
    store_snapshot_free(snapshot);
}

static void on_gained(void *user, const struct lease_row *row)
{
    struct group *group = user;
    if (is_stream_row(row->shard)) {
        streams_lead(group->streams, row->stream);
        return;
    }
    char *key = key_of(row->stream, row->shard);
    struct owned *owned = mem_zero(sizeof *owned);
    *owned = (struct owned){.stream = mem_string(row->stream),
                            .shard = mem_string(row->shard),
                            .parents = {mem_string(row->parents[0]), mem_string(row->parents[1])},
                            .gate = -1,
                            .reading = true,
                            .rate = row->load > LEASE_SHARD_LOAD ? row->load - LEASE_SHARD_LOAD : 0};
    owned_free(map_remove(&group->own, key));
    map_set(&group->own, key, owned);
    log_debug(group->options.log, NULL, "shard %s is this host's, in epoch %lld", row->shard,
              (long long)row->epoch);
    note_move(group, &group->came);
    free(key);
    shard_rows_gained(group->shards, row, on_read, group);
}

static void on_lost(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    if (is_stream_row(shard))
        return;
    char *key = key_of(stream, shard);
    keep_epoch(group, stream, shard, coordinator_row_epoch(group->coordinator, stream, shard));
    shard_rows_lost(group->shards, stream, shard);
    owned_free(map_remove(&group->own, key));
    free(key);
    log_debug(group->options.log, NULL, "shard %s is not this host's any more", shard);
    note_move(group, &group->went);
    streams_lost(group->streams, stream, shard);
}

static void on_drain(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    if (is_stream_row(shard) || !find_owned(group, stream, shard) ||
        !streams_drain(group->streams, stream, shard))
        group_drained(group, stream, shard);
}

/* It goes on where its row says that it stands. */
static void on_regained(void *user, struct store_snapshot *snapshot, const struct err *err);

static void regain(struct group *group)
{
    if (group->held || group->ended)
        return;
    group->again = group->regaining;
    if (group->regaining)
        return;
    group->regaining = true;
    store_load(worker_store(group->ways[0].worker), &(struct store_query){.what = STORE_ALL}, on_regained,
               group);
}

static void on_regained(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct group *group = user;
    size_t at = 0;
    group->regaining = false;
    if (err && err->code == ERR_CANCELLED)
        return;
    if (!snapshot || group->again) {
        store_snapshot_free(snapshot);
        regain(group);
        return;
    }
    keep_epochs(group, snapshot);
    for (struct owned *owned; !group->held && (owned = map_next(&group->own, &at, NULL));)
        if (owned->gate < 0 && !owned->reading)
            open_row(group, owned, snapshot);
    store_snapshot_free(snapshot);
}

/* It is given up, and begins again from its row. */
static void interrupt(struct group *group, struct owned *owned)
{
    owned->gate = -1;
    owned->above[0] = owned->above[1] = false;
    streams_lost(group->streams, owned->stream, owned->shard);
}

static void on_undrain(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard);
    if (!owned)
        return;
    interrupt(group, owned);
    regain(group);
}

/* No call may begin, and those that run must end. What is not lost goes on when calls may begin again. */
static void on_held(void *user, bool held)
{
    struct group *group = user;
    size_t at = 0;
    group->held = held;
    set_fence(group);
    for (struct owned *owned; held && (owned = map_next(&group->own, &at, NULL));)
        interrupt(group, owned);
    if (held && group->own.count && !group->leaving) {
        const char *why = coordinator_why(group->coordinator);
        log_warn(group->options.log, NULL,
                 "this host's lease was not renewed in time (%s): nothing is handled until it is",
                 *why ? why : "it stood still, or the table of the state does not answer");
        group->told_held = true;
    } else if (!held && group->told_held) {
        log_warn(group->options.log, NULL, "this host has a lease again");
        group->told_held = false;
    }
    if (!held)
        regain(group);
}

static void on_no_table(void *user)
{
    struct group *group = user;
    group->ended = true;
    log_error(
        group->options.log, NULL,
        "the state's table %s is not there any more: this host stops; what the stream still has is handled "
        "when there is one again",
        store_place_of(group->options.config->host.state));
    group->options.no_table(group->options.user);
}

static void on_left(void *user)
{
    struct group *group = user;
    group->ended = true;
    tell_moves(group);
    timer_stop(reactor_of(group), &group->turn);
    group->options.left(group->options.user);
}

static void on_rung(void *user)
{
    struct group *group = user;
    group->options.rung(group->options.user);
}

static void on_member(void *user, const char *session, enum lease_death death)
{
    static const char *const news[] = {"is there", "is dead: it was silent for its lease", "has left"};
    struct group *group = user;
    log_info(group->options.log, NULL, "host %s %s", session, news[death]);
}

static void on_waits(void *user)
{
    struct group *group = user;
    log_info(group->options.log, NULL,
             "the table of the state is new: nobody takes a shard before a lease (%lld s) has passed",
             (long long)group->options.config->host.lease_ms / 1000);
}

static void on_row_gone(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    log_error(
        group->options.log, NULL,
        "the row of shard %s of %s is not in the state's table any more: somebody has deleted it. It is made "
        "anew, and the shard read from where its handlers begin",
        shard, stream);
}

static const struct coordinator_events events = {
    .gained = on_gained,
    .row_gone = on_row_gone,
    .lost = on_lost,
    .given = on_lost,
    .drain = on_drain,
    .undrain = on_undrain,
    .parent = on_parent,
    .held = on_held,
    .rung = on_rung,
    .member = on_member,
    .waits = on_waits,
    .no_table = on_no_table,
    .left = on_left,
};

/* ---- what the streams ask ---- */

static bool owns(void *user, const char *stream, const char *shard)
{
    const struct group *group = user;
    const struct owned *owned = find_owned(group, stream, shard);
    return owned && owned->gate >= 0 && !group->held &&
           coordinator_epoch(group->coordinator, stream, shard) > 0;
}

static bool ready(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard);
    bool above = is_above(group, owned);
    owned->read = owned->read || above;
    return above;
}

/* Is it this host that discovers it? */
static bool discovers(const struct group *group, const char *stream)
{
    return coordinator_epoch(group->coordinator, stream, LEASE_STREAM_ROW) > 0;
}

static bool leads(void *user, const char *stream)
{
    return discovers(user, stream);
}

struct group_numbers group_numbers(const struct group *group)
{
    int64_t until_ms = atomic_load(&group->options.fence->until_ms),
            left_ms = until_ms - clock_boot_ms(group->options.clock);
    return (struct group_numbers){
        group->came, group->went, until_ms && left_ms > 0 ? (double)left_ms / 1000 : 0,
        group->held || !*coordinator_session(group->coordinator), coordinator_members(group->coordinator)};
}

/* Whoever discovers the first of the streams. */
bool group_leads(const struct group *group)
{
    return group->first && !group->held && discovers(group, group->first);
}

static void choose_first(struct group *group)
{
    const char *stream;
    size_t at = 0;
    free(group->first);
    group->first = NULL;
    for (const int64_t *readers; (readers = map_next(&group->readers, &at, &stream));)
        if (*readers && (!group->first || strcmp(stream, group->first) < 0)) {
            free(group->first);
            group->first = mem_string(stream);
        }
}

static void follow(void *user, const char *stream)
{
    struct group *group = user;
    int64_t *readers = map_get(&group->readers, stream);
    if (!readers) {
        readers = mem_zero(sizeof *readers);
        map_set(&group->readers, stream, readers);
    }
    ++*readers;
    choose_first(group);
    coordinator_follow(group->coordinator, stream);
    turn_soon(group);
}

/* Nothing of it is read any more: it weighs nothing. */
static void finished(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard);
    if (!owned)
        return;
    owned->rate = 0;
    coordinator_weigh(group->coordinator, stream, shard, 0);
}

static void forget(void *user, const char *stream, const char *shard)
{
    struct group *group = user;
    coordinator_forget(group->coordinator, stream, shard);
    turn_soon(group);
}

static void gather(void *user, const char *stream, const char *shard, const char *beside)
{
    struct group *group = user;
    coordinator_gather(group->coordinator, stream, shard, beside);
    turn_soon(group);
}

static int64_t epoch(void *user, const char *stream, const char *shard)
{
    const struct group *group = user;
    return coordinator_epoch(group->coordinator, stream, shard);
}

static void on_created(void *user)
{
    struct created *created = user;
    created->done = true;
}

static void forget_created(struct group *group)
{
    size_t at = 0;
    for (struct created *created; (created = map_next(&group->created, &at, NULL));)
        free(created);
    map_fini(&group->created);
    group->created = MAP_INIT;
}

static void forget_numbers(struct map *numbers)
{
    size_t at = 0;
    for (int64_t *number; (number = map_next(numbers, &at, NULL));)
        free(number);
    map_fini(numbers);
    *numbers = MAP_INIT;
}

/* Of an earlier session: that is over, and the table may be another one. */
static void look_at_session(struct group *group)
{
    const char *session = coordinator_session(group->coordinator);
    if (!*session || strcmp(session, group->session) == 0)
        return;
    snprintf(group->session, sizeof group->session, "%s", session);
    forget_created(group);
    forget_numbers(&group->past);
}

static void create(struct group *group, const char *stream, const struct shard_info *shard)
{
    const char *const parents[2] = {shard->parents[0], shard->parents[1]};
    char *key = key_of(stream, shard->id);
    struct created *created = map_get(&group->created, key);
    if (!created) {
        created = mem_zero(sizeof *created);
        map_set(&group->created, key, created);
    }
    free(key);
    if (created->done || (created->asked_ms && now_ms(group) - created->asked_ms < CREATE_AGAIN_MS))
        return;
    created->asked_ms = now_ms(group);
    coordinator_create(group->coordinator, stream, shard->id, parents, on_created, created);
    turn_soon(group);
}

static void learn_parents(struct group *group, struct owned *owned, const struct shard_info *shard)
{
    for (int i = 0; i < 2; i++) {
        free(owned->parents[i]);
        owned->parents[i] = mem_string(shard->parents[i]);
    }
    if (owned->gate < 0)
        return; /* when its row is read */
    gate(group, owned);
    review(group, owned);
}

/* One of the hosts, whose the stream's row is, makes rows for shards that are new; and whoever reads a shard,
 * for those that follow it, at once. */
static void listed(void *user, const char *stream, const struct shard_info *shard)
{
    struct group *group = user;
    struct owned *owned = find_owned(group, stream, shard->id);
    look_at_session(group);
    if (owned && parents_unknown(owned))
        learn_parents(group, owned, shard);
    bool its = discovers(group, stream);
    for (int i = 0; i < 2 && !its; i++) {
        const struct owned *parent = shard->parents[i] ? find_owned(group, stream, shard->parents[i]) : NULL;
        its = parent && parent->read;
    }
    if (its)
        create(group, stream, shard);
}

/* Shards whose parents all handlers had finished may have parents that this one has not; or has, elsewhere.
 */
static void joined(void *user, const struct store_follow *follow)
{
    struct group *group = user;
    const char *stream = follow->stream_arn;
    size_t at = 0;
    shard_rows_follow(group->shards, follow);
    for (struct owned *owned; (owned = map_next(&group->own, &at, NULL));)
        if (owned->gate >= 0 && strcmp(owned->stream, stream) == 0) {
            owned->gate = 0;
            owned->above[0] = owned->above[1] = false;
            gate(group, owned);
        }
}

static void on_looked(void *user, struct store_snapshot *snapshot, const struct err *err);

/* By one of its readers: when its [stream] changes, two have it for a while. */
static void unfollow(void *user, const char *stream)
{
    struct group *group = user;
    int64_t *readers = map_get(&group->readers, stream);
    if (group->ended || --*readers)
        return;
    choose_first(group);
    coordinator_unfollow(group->coordinator, stream);
    turn_soon(group);
}

static void look(void *user, const char *stream)
{
    struct group *group = user;
    (void)stream;
    if (group->looking || group->ended)
        return;
    group->looking = true;
    store_load(worker_store(group->ways[0].worker), &(struct store_query){.what = STORE_ALL}, on_looked,
               group);
}

static void on_looked(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct group *group = user;
    group->looking = false;
    (void)err;
    if (snapshot)
        keep_epochs(group, snapshot);
    for (size_t i = 0; snapshot && i < snapshot->checkpoint_count; i++)
        streams_finished_elsewhere(group->streams, snapshot->checkpoints[i].stream_arn,
                                   snapshot->checkpoints[i].shard, snapshot);
    if (snapshot)
        streams_moved(group->streams, snapshot);
    store_snapshot_free(snapshot);
}

/* ---- checkpoints of workers ---- */

struct letter {
    struct way *way;
    char *stream, *shard;
    struct shard_change *changes;
    size_t count;
    store_done_fn *done;
    void *user;
    bool well;
};

/* Whoever waits for it is told in any case. */
static void letter_end(void *user)
{
    struct letter *letter = user;
    struct err lost;
    err_set(&lost, ERR_CANCELLED, "shard %s is not this host's any more", letter->shard);
    letter->done(letter->user, letter->well ? NULL : &lost);
    for (size_t i = 0; i < letter->count; i++) {
        free((char *)letter->changes[i].handler);
        free((char *)letter->changes[i].progress);
    }
    free(letter->changes);
    free(letter->stream);
    free(letter->shard);
    free(letter);
}

static void on_written(void *user, const struct err *err)
{
    struct letter *letter = user;
    letter->well = !err;
    reactor_post_owned(worker_reactor(letter->way->worker), letter_end, letter_end, letter);
}

static void write_it(void *user)
{
    struct letter *letter = user;
    struct group *group = letter->way->group;
    struct shard_writer *writer = shard_rows_writer(group->shards);
    writer->write(writer, letter->stream, letter->shard, letter->changes, letter->count, on_written, letter);
    turn_soon(group);
}

static void write_rows(struct shard_writer *writer, const char *stream, const char *shard,
                       const struct shard_change *changes, size_t count, store_done_fn *done, void *user)
{
    struct way *way = (struct way *)writer;
    struct letter *letter = mem_zero(sizeof *letter);
    *letter = (struct letter){.way = way,
                              .stream = mem_string(stream),
                              .shard = mem_string(shard),
                              .changes = mem_zero((count + 1) * sizeof *changes),
                              .count = count,
                              .done = done,
                              .user = user};
    for (size_t i = 0; i < count; i++) {
        letter->changes[i] = changes[i];
        letter->changes[i].handler = mem_string(changes[i].handler);
        letter->changes[i].progress = mem_string(changes[i].progress ? changes[i].progress : "");
    }
    reactor_post_owned(reactor_of(way->group), write_it, letter_end, letter);
}

/* ---- what status shows ---- */

struct noting {
    struct group *group;
    struct store_batch *batch;
};

static void noting_free(void *user)
{
    struct noting *noting = user;
    store_batch_free(noting->batch);
    free(noting);
}

static void note_it(void *user)
{
    struct noting *noting = user;
    notes_add(&noting->group->notes, noting->batch);
    noting_free(noting);
}

static void note_rows(struct shard_writer *writer, struct store_batch *batch)
{
    struct way *way = (struct way *)writer;
    struct noting *noting = mem_alloc(sizeof *noting);
    *noting = (struct noting){way->group, batch};
    reactor_post_owned(reactor_of(way->group), note_it, noting_free, noting);
}

static bool shows(const void *user, const char *stream, const char *shard)
{
    const struct group *group = user;
    return find_owned(group, stream, shard) != NULL;
}

static void note_hand_over(void *user, const char *stream, const char *shard, const char *to,
                           int64_t since_ms)
{
    struct group *group = user;
    notes_add_hand_over(&group->notes, &(struct store_hand_over){
                                           .stream_arn = stream,
                                           .shard = shard,
                                           .from = coordinator_session(group->coordinator),
                                           .to = to,
                                           .since_ms = wall_ms(group) - (now_ms(group) - since_ms),
                                       });
}

void group_tell(struct group *group, int64_t asked)
{
    const char *session = coordinator_session(group->coordinator);
    struct store_batch *batch = store_batch_new();
    notes_forget_hand_overs(&group->notes);
    coordinator_each_given(group->coordinator, note_hand_over, group);
    char *text = notes_write(&group->notes, shows, group);
    store_put_told(batch, &(struct store_told){session, asked, text});
    free(text);
    if (*session)
        store_commit(worker_store(group->ways[0].worker), batch, NULL, NULL);
    else
        store_batch_free(batch);
}

struct shard_writer *group_writer(struct group *group, size_t place)
{
    return &group->ways[place].writer;
}

void group_set_worker(struct group *group, size_t place, struct worker *worker)
{
    group->ways[place].worker = worker;
}

/* ---- loads ---- */

void group_read(struct group *group, const char *stream, const char *shard, int64_t records)
{
    struct owned *owned = find_owned(group, stream, shard);
    int64_t now = now_ms(group);
    if (!owned)
        return;
    if (owned->told_ms && now > owned->told_ms && records >= owned->records) {
        double passed = (double)(now - owned->told_ms),
               lately = passed < RATE_OVER_MS ? passed / RATE_OVER_MS : 1;
        owned->rate += lately * (1000 * (double)(records - owned->records) / passed - owned->rate);
        coordinator_weigh(group->coordinator, stream, shard, owned->rate + LEASE_SHARD_LOAD);
    }
    owned->records = records;
    owned->told_ms = now;
}

/* ---- life ---- */

const struct leases *group_leases(const struct group *group)
{
    return &group->leases;
}

void group_drained(struct group *group, const char *stream, const char *shard)
{
    coordinator_drained(group->coordinator, stream, shard, is_stream_row(shard) ? 0 : quiet_ms(group));
    turn_soon(group);
}

void group_leave(struct group *group)
{
    group->leaving = true;
    coordinator_leave(group->coordinator);
    turn_soon(group);
}

struct group *group_new(const struct group_options *options)
{
    struct group *group = mem_zero(sizeof *group);
    group->options = *options;
    group->ways = mem_zero(options->reactors * sizeof *group->ways);
    for (size_t i = 0; i < options->reactors; i++)
        group->ways[i] = (struct way){.writer = {write_rows, note_rows}, .group = group};
    group->leases = (struct leases){.owns = owns,
                                    .ready = ready,
                                    .follow = follow,
                                    .unfollow = unfollow,
                                    .epoch = epoch,
                                    .listed = listed,
                                    .leads = leads,
                                    .look = look,
                                    .joined = joined,
                                    .finished = finished,
                                    .forget = forget,
                                    .gather = gather,
                                    .user = group};
    timer_init(&group->turn, turn, group);
    return group;
}

void group_begin(struct group *group, struct streams *streams)
{
    const struct config_host *host = &group->options.config->host;
    struct worker *first = group->ways[0].worker;
    const char *table = store_place_of(host->state);
    group->streams = streams;
    group->calls = calls_new(&(struct calls_options){.client = worker_client(first),
                                                     .reactor = worker_reactor(first),
                                                     .log = group->options.log,
                                                     .table = table});
    group->rows = lease_rows_new(worker_client(first), table, host->group);
    group->coordinator = coordinator_new(&(struct coordinator_options){
        .table = group->rows,
        .name = host->name,
        .instance = group->options.instance,
        .version = TIDEMILL_VERSION,
        .fingerprint = "",
        .lease_ms = host->lease_ms,
        .reactors = (int)group->options.reactors,
        .drain_ms = host->shutdown_timeout_ms < 30000 ? host->shutdown_timeout_ms : 30000,
        .random = random_number,
        .now_ms = now_ms,
        .wall_ms = wall_ms,
        .events = &events,
        .user = group,
    });
    group->shards = shard_rows_new(group->calls, group->coordinator, host->group);
    shard_rows_wait(group->shards, quiet_ms, group);
    timer_set(reactor_of(group), &group->turn, 0);
}

void group_free(struct group *group)
{
    size_t at = 0;
    if (!group)
        return;
    group->ended = true;
    if (group->coordinator)
        timer_stop(reactor_of(group), &group->turn);
    coordinator_free(group->coordinator);
    shard_rows_free(group->shards);
    lease_rows_free(group->rows);
    calls_free(group->calls);
    for (struct owned *owned; (owned = map_next(&group->own, &at, NULL));)
        owned_free(owned);
    map_fini(&group->own);
    forget_created(group);
    forget_numbers(&group->past);
    forget_numbers(&group->readers);
    notes_fini(&group->notes);
    free(group->first);
    free(group->ways);
    free(group);
}
