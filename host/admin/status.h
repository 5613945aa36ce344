/* status.h: what status shows, put together once from the rows of the state store. */
#ifndef TIDEMILL_CMD_STATUS_H
#define TIDEMILL_CMD_STATUS_H

#include <cjson/cJSON.h>

#include "admin/access.h"
#include "admin/places.h"
#include "base/map.h"
#include "base/problems.h"
#include "conf/config.h"
#include "source/snapshot/progress.h"
#include "source/source.h"
#include "state/store.h"

#define STATUS_SCHEMA 1 /* of the JSON: higher when a member changes its meaning */

/* A handler on a shard. */
struct status_row {
    const struct store_checkpoint *checkpoint;
    const char *table;                             /* whose changes these are */
    const struct store_subscription *subscription; /* or NULL */
    const char *version;                           /* of the handler; "" unknown */
    bool segment;                                  /* of a snapshot */
    bool idle;   /* a host is running, but this handler is not: its script is gone or broken, or it waits */
    bool paused; /* by tidemill pause, since then; it is idle, too */
    int64_t paused_ms;
    int64_t dead;
    int64_t lag_ms;     /* iterator age: of the oldest record that is not settled; -1: not known */
    int64_t trimmed_ms; /* until that record is trimmed; -1: there is none, or not known */
};

struct status {
    const struct config *config;
    struct store_snapshot *snapshot, *first; /* the newest, and what was read before anybody was asked */
    bool running;
    int64_t now_ms;
    const struct store_host *host; /* the last one; NULL: none is known */
    struct status_row *rows;
    size_t row_count;
    struct snapshot_progress *snapshots;
    size_t snapshot_count;
    struct store_trouble *troubles; /* those of one subject and kind are one */
    size_t trouble_count;
    struct map versions;
    struct places owners, shards;
    /* Of a state that hosts share: what those that run have told; NULL: nobody was asked. */
    struct store_snapshot *told;
    struct store_snapshot *requests; /* that are open; NULL: they are not known */
    int64_t asked;                   /* the question's number: whose answer is older has not answered */
    int64_t waited_ms;
    struct err unasked; /* why they could not be asked; ERR_NONE: they were, or there are none */
};

/* ---- status.c ---- */

/* All there is to know, with `config`; of a state that hosts share, what they tell when they are asked:
 * `waits` tells who watches a terminal that one of them is waited for (or NULL). False and `err`; close it in
 * either case. */
bool status_load(struct status *status, struct access *access, const struct config *config,
                 void (*waits)(bool begins), struct err *err);
void status_fini(struct status *status);

/* ---- status_rows.c ---- */

/* Out of the snapshot; with `config`, `running` and `now_ms`. */
void status_gather(struct status *status);

/* Of something that was at `then_ms`; at least 0. */
static inline int64_t status_age(int64_t now_ms, int64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

/* The pauses, one after the other, from *i = 0; NULL: no more. */
const struct store_request *status_next_pause(const struct status *status, size_t *i);

const char *status_position_name(const struct position *position);

/* ---- status_hosts.c: of a state that hosts share ---- */

extern const char *const status_member_states[]; /* by enum */

/* The host's name, out of its session. */
struct status_name {
    char text[64];
};
struct status_name status_session_name(const char *session);

/* Is one of them at work, as far as its row says? */
bool status_runs(const struct status *status);

/* Have all answered that are at work? Those that leave have other things to do; who has not even beaten for
 * half a lease is not waited for. */
bool status_all_told(const struct status *status);

/* It is at work, was asked, and has not answered. */
bool status_owes_answer(const struct status *status, const struct store_member *member);

/* Shards of hosts that leave are on their way to others, whether they say so or not: into the snapshot's
 * hand-overs, behind what was told. */
void status_add_hand_overs(struct status *status);

/* Hosts that are late, sick, or do not answer, shards that nobody has, hosts that do not have the same
 * scripts: into the troubles, at most two for each host and STATUS_GROUP_TROUBLES. */
#define STATUS_GROUP_TROUBLES 4
void status_add_hosts(struct status *status);

/* ---- status_check.c ---- */

/* Why it is not ready: what /readyz says, of all hosts. */
void status_add_unready(const struct status *status, struct problems *unready);

/* Above these something is not well. Below 0: never. */
struct status_limits {
    int64_t lag_ms, dead; /* of a handler on a shard; of a handler */
    int64_t trouble_ms;   /* what has not worked for so long */
};

/* Everything that is not well. */
void status_add_problems(const struct status *status, const struct status_limits *limits,
                         struct problems *problems);

/* ---- status_snapshots.c ---- */

/* ---- status_cost.c ---- */

/* What the snapshot (of STORE_USAGE) says of the last days, with what it costs: for people, or as JSON. */
void status_write_cost(const struct config *config, const struct store_snapshot *snapshot, int64_t now_ms,
                       int64_t days_back, bool json, struct buf *out);

/* ---- status_json.c ---- */

/* One of its rows, into an object. */
void status_add_trouble(cJSON *out, const struct store_trouble *row);
void status_add_snapshot(cJSON *out, const struct snapshot_progress *row);
void status_add_event(cJSON *out, const struct store_event *row);
void status_add_member(cJSON *out, const struct store_member *row);

/* `problems`: of --check, or NULL. */
void status_write_json(const struct status *status, const struct problems *problems, struct buf *text);

#endif
