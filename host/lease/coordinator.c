/* coordinator.c: the parts in their order, and a session's end. */
#include "lease/coordinator.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

/* ---- what parts tell upwards ---- */

static void tell_held(struct coordinator *coordinator, int64_t now)
{
    bool held = coordinator->over || !session_valid(coordinator, now);
    if (held == coordinator->held)
        return;
    coordinator->held = held;
    coordinator->options.events->held(coordinator->options.user, held);
}

static void on_members_changed(struct coordinator *coordinator, bool died)
{
    int64_t now = now_of(coordinator);
    coordinator->members.changed_ms = now;
    wardens_changed(coordinator, died);
    balance_changed(coordinator, now);
    if (died)
        mail_after_death(coordinator, now);
}

/* ---- leaving ---- */

static void depart(struct coordinator *coordinator)
{
    coordinator->session.phase = PHASE_LEFT;
    coordinator->over = true;
    tell_held(coordinator, now_of(coordinator));
    holdings_end(coordinator);
    ops_drop_all(coordinator);
    transfers_end(coordinator);
    coordinator->options.events->left(coordinator->options.user);
}

/* Somebody has marked it, or its row is gone. All that it had is another's, now or soon. */
static void on_session_over(struct coordinator *coordinator)
{
    if (coordinator->leaving) {
        depart(coordinator);
        return;
    }
    coordinator->session.phase = PHASE_GROUP;
    tell_held(coordinator, now_of(coordinator));
    holdings_end(coordinator);
    ops_drop_all(coordinator);
    transfers_end(coordinator);
    members_fini(coordinator);
    list_init(&coordinator->members.reads);
    coordinator->episodes = (struct episodes){0};
    session_begin(coordinator);
}

static void mark_left(struct coordinator *coordinator);

static void on_left(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct session *session = &coordinator->session;
    const struct lease_host *row = answer->host_count ? &answer->hosts[0] : NULL;
    (void)subject;
    if (answer->outcome == LEASE_REFUSED && row && !row->death)
        for (int i = 0; i < session->unknown_count; i++)
            if (strcmp(session->unknown[i].nonce, row->beat) == 0) { /* a beat that was done without a word */
                session->last = session->unknown[i];
                mark_left(coordinator);
                return;
            }
    depart(coordinator);
}

static void mark_left(struct coordinator *coordinator)
{
    struct lease_request request = {
        .kind = LEASE_MARK,
        .host = {.session = coordinator->session.id},
        .last = coordinator->session.last.nonce,
        .death = LEASE_LEFT,
        .by = coordinator->session.id,
    };
    coordinator->marking_left = true;
    op_send(coordinator, &request, share_of(coordinator, 200), true, on_left, NULL);
}

static bool is_empty(const struct coordinator *coordinator)
{
    const struct holding *holding;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (holding->phase != HOLDING_DRAINED || holding->dirty || holding->writing || *holding->to)
            return false;
    return list_empty(&coordinator->transfers) && list_empty(&coordinator->queued);
}

static void leave_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    const struct session *session = &coordinator->session;
    if (!coordinator->leaving || coordinator->over || coordinator->marking_left)
        return;
    if (session->phase != PHASE_LIVE) {
        if (!session->asking) /* no row, or one that nobody knows of */
            depart(coordinator);
        return;
    }
    if (session->asking || !is_empty(coordinator))
        return;
    if (coordinator->left_after_ms > now)
        sooner(next, coordinator->left_after_ms);
    else
        mark_left(coordinator);
}

void coordinator_leave(struct coordinator *coordinator)
{
    struct holding *holding;
    size_t at = 0;
    if (coordinator->leaving)
        return;
    coordinator->leaving = true;
    session_beat_now(coordinator);
    while ((holding = map_next(&coordinator->holdings, &at, NULL))) {
        holding->balancing = false;
        if (holding->phase == HOLDING_RUNS)
            holding_drain(holding, "", false);
    }
    wardens_changed(coordinator, false);
}

/* ---- sickness ---- */

void coordinator_pulse(struct coordinator *coordinator, int64_t silent_ms)
{
    bool before = is_sick(coordinator);
    coordinator->silent_ms = silent_ms;
    if (is_sick(coordinator) == before || coordinator->session.phase != PHASE_LIVE)
        return;
    session_beat_now(coordinator);
    wardens_changed(coordinator, false);
}

/* ---- questions ---- */

bool coordinator_may_call(struct coordinator *coordinator)
{
    int64_t now = now_of(coordinator);
    return !coordinator->over && !coordinator->held && session_valid(coordinator, now);
}

int64_t coordinator_fence_ms(const struct coordinator *coordinator)
{
    return coordinator->session.last.sent_ms + share_of(coordinator, FENCE_SHARE);
}

int64_t coordinator_quiet_ms(const struct coordinator *coordinator)
{
    return share_of(coordinator, QUIET_SHARE);
}

int64_t coordinator_epoch(const struct coordinator *coordinator, const char *stream, const char *shard)
{
    const struct holding *holding = holding_find(coordinator, stream, shard);
    return holding && holding->told && holding->phase == HOLDING_RUNS ? holding->epoch : 0;
}

int64_t coordinator_row_epoch(const struct coordinator *coordinator, const char *stream, const char *shard)
{
    const struct holding *holding = holding_find(coordinator, stream, shard);
    return holding ? holding->epoch : 0;
}

void coordinator_each(const struct coordinator *coordinator, const char *stream,
                      void (*fn)(void *user, const char *stream, const char *shard), void *user)
{
    const struct holding *holding;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (strcmp(holding->shard, LEASE_STREAM_ROW) != 0 &&
            (!stream || strcmp(holding->stream, stream) == 0))
            fn(user, holding->stream, holding->shard);
}

void coordinator_each_given(const struct coordinator *coordinator,
                            void (*fn)(void *user, const char *stream, const char *shard, const char *to,
                                       int64_t since_ms),
                            void *user)
{
    const struct holding *holding;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (holding->phase != HOLDING_RUNS && strcmp(holding->shard, LEASE_STREAM_ROW) != 0)
            fn(user, holding->stream, holding->shard, holding->to, holding->drain_from_ms);
}

void coordinator_set_fingerprint(struct coordinator *coordinator, const char *fingerprint)
{
    if (strcmp(coordinator->fingerprint, fingerprint) == 0)
        return;
    free(coordinator->fingerprint);
    coordinator->fingerprint = mem_string(fingerprint);
    coordinator->fingerprint_ms = coordinator->options.wall_ms(coordinator->options.user);
}

void coordinator_weigh(struct coordinator *coordinator, const char *stream, const char *shard, double load)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    if (holding)
        holding->load = load;
}

void coordinator_create(struct coordinator *coordinator, const char *stream, const char *shard,
                        const char *const parents[2], void (*done)(void *user), void *user)
{
    if (coordinator->session.phase == PHASE_LIVE)
        transfer_create(coordinator, stream, shard, parents, done, user);
}

const char *coordinator_why(const struct coordinator *coordinator)
{
    return coordinator->session.why;
}

const char *coordinator_session(const struct coordinator *coordinator)
{
    return coordinator->session.phase == PHASE_LIVE ? coordinator->session.id : "";
}

/* ---- life ---- */

static void on_begun(struct coordinator *coordinator)
{
    members_begin(coordinator);
    wardens_begin(coordinator);
}

static void on_row_born(struct coordinator *coordinator)
{
    balance_born(coordinator, now_of(coordinator));
}

static const struct upwards upwards = {
    .born = on_row_born,
    .begun = on_begun,
    .over = on_session_over,
    .looked_at_lease = tell_held,
    .members_changed = on_members_changed,
    .give = transfer_give,
    .given = transfer_given,
    .retake = transfer_retake,
    .create = transfer_create,
};

struct coordinator *coordinator_new(const struct coordinator_options *options)
{
    struct coordinator *coordinator = mem_zero(sizeof *coordinator);
    coordinator->up = &upwards;
    coordinator->options = *options;
    coordinator->name = mem_string(options->name);
    coordinator->instance = mem_string(options->instance);
    coordinator->version = mem_string(options->version);
    coordinator->fingerprint = mem_string(options->fingerprint);
    coordinator->follows = mem_string("");
    coordinator->held = true;
    coordinator->server_ahead_ms = options->wall_ms(options->user) - options->now_ms(options->user);
    list_init(&coordinator->ops);
    list_init(&coordinator->transfers);
    list_init(&coordinator->queued);
    list_init(&coordinator->stirred);
    list_init(&coordinator->members.reads);
    session_begin(coordinator);
    return coordinator;
}

void coordinator_free(struct coordinator *coordinator)
{
    if (!coordinator)
        return;
    coordinator->freeing = true;
    holdings_end(coordinator);
    ops_drop_all(coordinator);
    transfers_end(coordinator);
    members_fini(coordinator);
    wardens_fini(coordinator);
    free(coordinator->name);
    free(coordinator->instance);
    free(coordinator->version);
    free(coordinator->fingerprint);
    free(coordinator->follows);
    free(coordinator);
}

int64_t coordinator_turn(struct coordinator *coordinator)
{
    int64_t now = now_of(coordinator), next = LEASE_NEVER;
    if (coordinator->over)
        return LEASE_NEVER;
    tell_held(coordinator, now);
    session_turn(coordinator, now, &next);
    ops_turn(coordinator, now, &next);
    members_turn(coordinator, now, &next);
    mail_turn(coordinator, now, &next);
    wardens_turn(coordinator, now, &next);
    balance_turn(coordinator, now, &next);
    holdings_turn(coordinator, now, &next);
    leave_turn(coordinator, now, &next);
    return next;
}
