/* session.c: a host's row, its beat, and until when it may act. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "lease/internal.h"

#define GROUP_AGAIN_MS 300

static int64_t wall_of(const struct coordinator *coordinator)
{
    return coordinator->options.wall_ms(coordinator->options.user);
}

static int64_t timeout_of(const struct coordinator *coordinator)
{
    return share_of(coordinator, 200);
}

/* ---- the group: nobody takes anything in a table that is new ---- */

static void on_group(struct coordinator *coordinator, void *subject, const struct lease_answer *answer);
static void bear(struct coordinator *coordinator);

static void ask_group(struct coordinator *coordinator, enum lease_request_kind kind, const char *gid)
{
    struct lease_request request = {.kind = kind, .gid = gid};
    coordinator->session.asking = true;
    op_send(coordinator, &request, timeout_of(coordinator), true, on_group, NULL);
}

/* Who sees a group for the first time that is not open waits for a lease: a host of the table that was here
 * before may still believe in its own. */
static void wait_unopened(struct coordinator *coordinator, const char *gid, int64_t now)
{
    struct session *session = &coordinator->session;
    if (strcmp(session->unopened, gid) != 0) {
        snprintf(session->unopened, sizeof session->unopened, "%s", gid);
        session->unopened_ms = now;
        if (coordinator->options.events->waits)
            coordinator->options.events->waits(coordinator->options.user);
    }
    if (now - session->unopened_ms >= coordinator->options.lease_ms) {
        ask_group(coordinator, LEASE_OPEN_GROUP, gid);
        return;
    }
    int64_t look_ms = now + share_of(coordinator, BEAT_SHARE),
            open_ms = session->unopened_ms + coordinator->options.lease_ms;
    session->due_ms = look_ms < open_ms ? look_ms : open_ms;
}

static void on_group(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct session *session = &coordinator->session;
    int64_t now = now_of(coordinator);
    (void)subject;
    CHECK(session->phase == PHASE_GROUP);
    session->asking = false;
    session->due_ms = now;
    if (answer->outcome == LEASE_OK && answer->gid && answer->opened) {
        snprintf(session->group, sizeof session->group, "%s", answer->gid);
        bear(coordinator);
    } else if (answer->outcome == LEASE_OK && answer->gid) {
        wait_unopened(coordinator, answer->gid, now);
    } /* else it was made or opened, by this host or another: look at it */
}

static void on_read(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    char gid[LEASE_NONCE_SIZE];
    if (answer->outcome == LEASE_OK) {
        on_group(coordinator, subject, answer);
        return;
    }
    nonce_make(coordinator, gid);
    ask_group(coordinator, LEASE_CREATE_GROUP, gid);
}

/* ---- birth ---- */

/* Without those that say who discovers a stream. */
static int64_t shards_of(const struct coordinator *coordinator)
{
    const struct holding *holding;
    size_t at = 0;
    int64_t count = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        count += strcmp(holding->shard, LEASE_STREAM_ROW) != 0;
    return count;
}

bool is_sick(const struct coordinator *coordinator)
{
    return coordinator->silent_ms >= share_of(coordinator, SICK_SHARE);
}

double own_load(const struct coordinator *coordinator)
{
    struct holding *holding;
    size_t at = 0;
    double load = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        load += holding->load;
    return load;
}

static struct lease_host own_row(const struct coordinator *coordinator, const char *beat)
{
    return (struct lease_host){
        .session = coordinator->session.id,
        .beat = beat,
        .lease_ms = coordinator->options.lease_ms,
        .load = own_load(coordinator),
        .shards = shards_of(coordinator),
        .reactors = coordinator->options.reactors,
        .state = coordinator->leaving   ? LEASE_LEAVING
                 : is_sick(coordinator) ? LEASE_SICK
                                        : LEASE_RUN,
        .instance = coordinator->instance,
        .version = coordinator->version,
        .fingerprint = coordinator->fingerprint,
        .fingerprint_ms = coordinator->fingerprint_ms,
        .follows = coordinator->follows,
        .since_ms = coordinator->session.since_wall_ms,
    };
}

/* The table may have been made anew between the look at the group and the birth: who is born into a group
 * that is not open has nothing to wait for, and would not wait. */
static void on_confirmed(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct session *session = &coordinator->session;
    int64_t now = now_of(coordinator);
    (void)subject;
    CHECK(session->phase == PHASE_BIRTH);
    session->asking = false;
    if (answer->outcome != LEASE_OK || !answer->opened || !answer->gid ||
        strcmp(answer->gid, session->group) != 0) {
        session->phase = PHASE_GROUP;
        session->id[0] = '\0';
        session->due_ms = now;
        return;
    }
    session->phase = PHASE_LIVE;
    session->last = session->sending;
    session->born_ms = now;
    session->due_ms = session->last.sent_ms + share_of(coordinator, BEAT_SHARE);
    coordinator->up->begun(coordinator);
    coordinator->up->looked_at_lease(coordinator, now);
}

static void on_born(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct session *session = &coordinator->session;
    int64_t now = now_of(coordinator);
    (void)subject;
    CHECK(session->phase == PHASE_BIRTH);
    session->asking = false;
    if (answer->outcome != LEASE_OK) { /* it may be there all the same: that one is nobody's */
        session->id[0] = '\0';
        session->due_ms = now + GROUP_AGAIN_MS;
        return;
    }
    struct lease_request request = {.kind = LEASE_READ_GROUP};
    session->asking = true;
    op_send(coordinator, &request, timeout_of(coordinator), true, on_confirmed, NULL);
}

static void bear(struct coordinator *coordinator)
{
    struct session *session = &coordinator->session;
    char nonce[LEASE_NONCE_SIZE];
    session->phase = PHASE_BIRTH;
    session->asking = true;
    session->since_wall_ms = wall_of(coordinator);
    nonce_make(coordinator, nonce);
    snprintf(session->id, sizeof session->id, "%.63s#%s", coordinator->name, nonce);
    nonce_make(coordinator, session->sending.nonce);
    session->sending.sent_ms = now_of(coordinator);
    session->sending.number = 1;
    session->sending.wall_ms = wall_of(coordinator);
    struct lease_request request = {.kind = LEASE_CREATE_HOST,
                                    .host = own_row(coordinator, session->sending.nonce)};
    op_send(coordinator, &request, timeout_of(coordinator), false, on_born, NULL);
}

/* ---- the beat ---- */

/* A beat of ours stands in the row: the lease counts from when it was sent, also when it has run out since.
 * The session was never marked until then, so nobody has taken anything. */
static void beat_is_good(struct coordinator *coordinator, const struct sent_beat *beat)
{
    struct session *session = &coordinator->session;
    if (beat->sent_ms >= session->last.sent_ms)
        session->last = *beat;
    session->unknown_count = 0;
    if (session->doubt_ms && beat->sent_ms >= session->doubt_ms)
        session->doubt_ms = 0;
}

static const struct sent_beat *find_unknown(const struct session *session, const char *nonce)
{
    for (int i = 0; i < session->unknown_count; i++)
        if (strcmp(session->unknown[i].nonce, nonce) == 0)
            return &session->unknown[i];
    return NULL;
}

static void beat_refused(struct coordinator *coordinator, const struct lease_answer *answer, int64_t now)
{
    struct session *session = &coordinator->session;
    const struct lease_host *row = answer->host_count ? &answer->hosts[0] : NULL;
    const struct sent_beat *mine = row && !row->death ? find_unknown(session, row->beat) : NULL;
    if (!mine) { /* marked, deleted, or somebody else's: the copy of a machine that was cloned */
        coordinator->up->over(coordinator);
        return;
    }
    struct sent_beat beat = *mine;
    beat_is_good(coordinator, &beat);
    session->due_ms = now;
}

static void on_beat(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct session *session = &coordinator->session;
    int64_t now = now_of(coordinator);
    (void)subject;
    CHECK(session->phase == PHASE_LIVE && session->asking);
    session->asking = false;
    session->due_ms = now + share_of(coordinator, BEAT_AGAIN_SHARE);
    snprintf(session->why, sizeof session->why, "%s", answer->err ? answer->err->text : "");
    switch (answer->outcome) {
    case LEASE_OK: {
        struct sent_beat beat = session->sending;
        beat_is_good(coordinator, &beat);
        session->due_ms = beat.sent_ms + share_of(coordinator, BEAT_SHARE);
        if (session->doubt_ms)
            session->due_ms = now;
        break;
    }
    case LEASE_REFUSED:
        beat_refused(coordinator, answer, now);
        return;
    case LEASE_UNKNOWN:
        /* At most one of them was done. The first are likely (answers are lost), and the last: others go. */
        if (session->unknown_count == UNKNOWN_BEATS) {
            struct sent_beat *middle = &session->unknown[UNKNOWN_BEATS / 2];
            memmove(middle, middle + 1, (UNKNOWN_BEATS / 2 - 1) * sizeof *middle);
            session->unknown_count--;
        }
        session->unknown[session->unknown_count++] = session->sending;
        break;
    case LEASE_NOT_DONE:
    case LEASE_NO_TABLE:
        break;
    }
    coordinator->up->looked_at_lease(coordinator, now);
}

static void beat(struct coordinator *coordinator, int64_t now)
{
    struct session *session = &coordinator->session;
    session->asking = true;
    nonce_make(coordinator, session->sending.nonce);
    session->sending.sent_ms = now;
    session->sending.number++;
    session->sending.wall_ms = wall_of(coordinator);
    struct lease_request request = {.kind = LEASE_BEAT,
                                    .host = own_row(coordinator, session->sending.nonce),
                                    .last = session->last.nonce};
    op_send(coordinator, &request, share_of(coordinator, BEAT_ANSWER_SHARE), false, on_beat, NULL);
}

void session_beat_now(struct coordinator *coordinator)
{
    if (coordinator->session.phase == PHASE_LIVE)
        coordinator->session.hurry = true;
}

/* The wall clock ran ahead of the other one: the machine may have stood still without its clock knowing. The
 * other one is read last: a thread that has to wait between the two has not. */
static bool in_doubt(struct coordinator *coordinator, int64_t now)
{
    struct session *session = &coordinator->session;
    int64_t wall = wall_of(coordinator) - session->last.wall_ms,
            own = now_of(coordinator) - session->last.sent_ms;
    if (!session->doubt_ms && wall - own > share_of(coordinator, DOUBT_SHARE)) {
        session->doubt_ms = now;
        session->due_ms = now;
    }
    return session->doubt_ms != 0;
}

bool session_valid(struct coordinator *coordinator, int64_t now)
{
    const struct session *session = &coordinator->session;
    return session->phase == PHASE_LIVE && !in_doubt(coordinator, now) &&
           now - session->last.sent_ms < share_of(coordinator, FENCE_SHARE);
}

/* ---- life ---- */

void session_begin(struct coordinator *coordinator)
{
    coordinator->session = (struct session){.phase = PHASE_GROUP};
}

void session_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct session *session = &coordinator->session;
    if (!session->asking && session->hurry) {
        session->hurry = false;
        session->due_ms = now;
    }
    if (!session->asking && session->due_ms <= now) {
        if (coordinator->silent_ms >= share_of(coordinator, MUTE_SHARE)) {
            session->due_ms = now + share_of(coordinator, BEAT_AGAIN_SHARE);
        } else if (session->phase == PHASE_GROUP) {
            struct lease_request request = {.kind = LEASE_READ_GROUP};
            session->asking = true;
            op_send(coordinator, &request, timeout_of(coordinator), true, on_read, NULL);
        } else if (session->phase == PHASE_BIRTH) {
            bear(coordinator);
        } else if (session->phase == PHASE_LIVE && !coordinator->marking_left) {
            beat(coordinator, now);
        }
    }
    if (!session->asking && session->phase != PHASE_LEFT)
        sooner(next, session->due_ms);
    if (session->phase == PHASE_LIVE) {
        int64_t fence_ms = session->last.sent_ms + share_of(coordinator, FENCE_SHARE);
        if (fence_ms > now)
            sooner(next, fence_ms);
    }
}
