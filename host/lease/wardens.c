/* wardens.c: rows that nobody alive owns, and mail.
 *
 * Each bucket of each stream has one warden among the hosts that run: who has the highest hash of session,
 * stream and bucket. Two hosts with two views may both be it: then one of two conditional writes is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

#define SWEEP_MS (300 * 1000)
#define NEW_MS 1200      /* a newcomer looks at the others for so long ... */
#define NEW_CALM_MS 1000 /* ... and until nobody came or went for so long ... */
#define NEW_MOST_MS 3000 /* ... or at most for so long, before it takes anything */
#define SWEEPS 16        /* at once */
#define MAIL_AGAIN_MS 1000
#define MAIL_AGAIN_MOST_MS 60000

static uint64_t claim_of(const char *session, const char *stream, int bucket)
{
    char number[16];
    snprintf(number, sizeof number, "%d", bucket);
    return lease_hash((const char *const[]){session, stream, number, NULL});
}

static bool is_warden(const struct coordinator *coordinator, const char *stream, int bucket)
{
    uint64_t own = claim_of(coordinator->session.id, stream, bucket);
    const struct member *member;
    size_t at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        if (!member->dead && member->state == LEASE_RUN && *member->beat && member_follows(member, stream) &&
            claim_of(member->session, stream, bucket) > own)
            return false;
    return !coordinator->leaving && !is_sick(coordinator) && is_followed(coordinator, stream);
}

void wardens_changed(struct coordinator *coordinator, bool died)
{
    int64_t now = now_of(coordinator), again_ms = now + coordinator->options.lease_ms;
    struct followed *followed;
    size_t at = 0;
    coordinator->misplaced = true;
    while ((followed = map_next(&coordinator->followed, &at, NULL)))
        for (int i = 0; i <= LEASE_BUCKETS; i++) {
            struct bucket *bucket = &followed->buckets[i];
            bool before = bucket->mine;
            bucket->mine = is_warden(coordinator, followed->stream, i);
            if (bucket->mine && (died || !before)) {
                bucket->due_ms = now;
                bucket->again_ms = again_ms;
            }
        }
}

/* ---- sweeping ---- */

static void on_own_row(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    (void)subject;
    if (answer->outcome == LEASE_OK && row && strcmp(row->owner, coordinator->session.id) == 0)
        holding_meet(coordinator, row);
}

static void read_own(struct coordinator *coordinator, const struct lease_row *row)
{
    struct lease_request request = {.kind = LEASE_READ_ROW,
                                    .row = {.stream = row->stream, .shard = row->shard}};
    op_send(coordinator, &request, share_of(coordinator, 200), false, on_own_row, NULL);
}

static void look_at_row(struct coordinator *coordinator, const struct lease_row *row)
{
    if (strcmp(row->owner, coordinator->session.id) != 0) {
        if (member_is_dead(coordinator, row->owner))
            transfer_take(coordinator, row);
    } else if (!holding_find(coordinator, row->stream, row->shard) &&
               !transfer_under_way(coordinator, row->stream, row->shard)) {
        read_own(coordinator, row); /* the list may be old */
    }
}

static void on_bucket(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct bucket *bucket = subject;
    int64_t now = now_of(coordinator);
    bucket->asking = false;
    if (answer->outcome != LEASE_OK) {
        bucket->due_ms = now + 500;
        return;
    }
    bucket->due_ms = now + SWEEP_MS + below(coordinator, SWEEP_MS / 10);
    for (size_t i = 0; i < answer->row_count; i++)
        look_at_row(coordinator, &answer->rows[i]);
}

static bool may_take(const struct coordinator *coordinator, int64_t now, int64_t *next)
{
    const struct session *session = &coordinator->session;
    int64_t from = session->born_ms + NEW_MS, calm = coordinator->members.changed_ms + NEW_CALM_MS;
    if (calm > from)
        from = calm;
    if (from > session->born_ms + NEW_MOST_MS)
        from = session->born_ms + NEW_MOST_MS;
    if (from > now)
        sooner(next, from);
    return from <= now;
}

static void sweep(struct coordinator *coordinator, struct followed *followed, int at, int64_t now)
{
    struct bucket *bucket = &followed->buckets[at];
    struct lease_request request = {
        .kind = LEASE_LIST_BUCKET, .row = {.stream = followed->stream}, .bucket = at};
    if (bucket->again_ms <= now)
        bucket->again_ms = LEASE_NEVER;
    bucket->asking = true;
    op_send(coordinator, &request, share_of(coordinator, 200), false, on_bucket, bucket);
}

static void on_stream_row(void *user)
{
    struct followed *followed = user;
    followed->created = true;
}

static void followed_turn(struct coordinator *coordinator, struct followed *followed, int64_t now,
                          int64_t *next, int *under_way)
{
    static const char *const none[2] = {NULL, NULL};
    if (!followed->created && !followed->ended && !coordinator->leaving &&
        !transfer_under_way(coordinator, followed->stream, LEASE_STREAM_ROW))
        transfer_create(coordinator, followed->stream, LEASE_STREAM_ROW, none, on_stream_row, followed);
    for (int i = 0; i <= LEASE_BUCKETS; i++) {
        struct bucket *bucket = &followed->buckets[i];
        int64_t due = bucket->due_ms < bucket->again_ms ? bucket->due_ms : bucket->again_ms;
        if (!bucket->mine || bucket->asking)
            continue;
        if (due > now) {
            sooner(next, due);
        } else if (*under_way < SWEEPS) {
            ++*under_way;
            sweep(coordinator, followed, i, now);
        }
    }
}

/* What its row says that this host reads. */
static void tell_followed(struct coordinator *coordinator)
{
    const struct followed *followed;
    struct buf text = BUF_INIT;
    size_t at = 0;
    while ((followed = map_next(&coordinator->followed, &at, NULL))) {
        char digits[LEASE_FOLLOWS_SIZE];
        lease_follows(followed->stream, digits);
        buf_printf(&text, "%s", followed->ended ? "" : digits);
    }
    free(coordinator->follows);
    coordinator->follows = buf_take(&text);
    if (coordinator->session.phase != PHASE_LIVE)
        return;
    session_beat_now(coordinator);
    wardens_changed(coordinator, false);
}

static void end_followed(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct followed *followed;
    size_t at = 0;
    bool any = false;
    while ((followed = map_next(&coordinator->followed, &at, NULL))) {
        if (!followed->left_ms || followed->ended)
            continue;
        followed->ended = now - followed->left_ms >= coordinator->options.lease_ms;
        any = any || followed->ended;
        sooner(next, followed->left_ms + coordinator->options.lease_ms);
    }
    if (any)
        tell_followed(coordinator);
}

void wardens_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct followed *followed;
    size_t at = 0;
    int under_way = 0;
    end_followed(coordinator, now, next);
    if (coordinator->session.phase != PHASE_LIVE || !may_take(coordinator, now, next))
        return;
    while ((followed = map_next(&coordinator->followed, &at, NULL)))
        for (int i = 0; i <= LEASE_BUCKETS; i++)
            under_way += followed->buckets[i].asking;
    at = 0;
    while ((followed = map_next(&coordinator->followed, &at, NULL)))
        followed_turn(coordinator, followed, now, next, &under_way);
}

/* ---- mail ---- */

static void delete_mail(struct coordinator *coordinator, const char *id)
{
    struct lease_request request = {
        .kind = LEASE_DELETE_MAIL, .host = {.session = coordinator->session.id}, .mail = {.id = id}};
    op_send(coordinator, &request, share_of(coordinator, 200), false, NULL, NULL);
}

static void keep_mail(struct coordinator *coordinator)
{
    struct members *members = &coordinator->members;
    int64_t now = now_of(coordinator);
    if (members->mail_wanted && members->mail_due_ms <= now)
        return;
    members->mail_again_ms = members->mail_again_ms ? members->mail_again_ms * 2 : MAIL_AGAIN_MS;
    if (members->mail_again_ms > MAIL_AGAIN_MOST_MS)
        members->mail_again_ms = MAIL_AGAIN_MOST_MS;
    members->mail_wanted = true;
    members->mail_due_ms = now + members->mail_again_ms;
}

static void on_letter_row(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct mail_read *read = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    if (row && row->epoch >= read->epoch) {
        if (strcmp(row->owner, coordinator->session.id) == 0)
            holding_meet(coordinator, row);
        delete_mail(coordinator, read->id);
    } else {
        keep_mail(coordinator); /* what it tells of is still to come */
    }
    list_remove(&read->link);
    free(read);
}

static bool is_read(const struct members *members, const char *id)
{
    struct mail_read *read;
    list_each(read, &members->reads, struct mail_read, link)
        if (strcmp(read->id, id) == 0)
            return true;
    return false;
}

static void on_mail(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct members *members = &coordinator->members;
    (void)subject;
    members->mail_asking = false;
    for (size_t i = 0; i < answer->mail_count; i++) {
        const struct lease_mail *mail = &answer->mail[i];
        struct lease_request request = {.kind = LEASE_READ_ROW,
                                        .row = {.stream = mail->stream, .shard = mail->shard}};
        if (is_read(members, mail->id))
            continue;
        struct mail_read *read = mem_zero(sizeof *read);
        snprintf(read->id, sizeof read->id, "%s", mail->id);
        read->epoch = mail->epoch;
        list_append(&members->reads, &read->link);
        op_send(coordinator, &request, share_of(coordinator, 200), true, on_letter_row, read);
    }
}

static void look_anyway(struct members *members, int64_t lease_ms, int64_t now)
{
    int64_t again_ms = members->death_ms + lease_ms;
    members->mail_look_ms = members->death_ms && again_ms > now ? again_ms : now + SWEEP_MS;
    members->mail_wanted = true;
    members->mail_due_ms = now;
}

/* It may have given, and not come to say so; what it had sent may still be done, so once more a lease later.
 */
void mail_after_death(struct coordinator *coordinator, int64_t now)
{
    coordinator->members.death_ms = now;
    look_anyway(&coordinator->members, coordinator->options.lease_ms, now);
}

void mail_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct members *members = &coordinator->members;
    if (members->mail_look_ms <= now)
        look_anyway(members, coordinator->options.lease_ms, now);
    sooner(next, members->mail_look_ms);
    if (!members->mail_wanted || members->mail_asking || coordinator->session.phase != PHASE_LIVE)
        return;
    if (members->mail_due_ms > now) {
        sooner(next, members->mail_due_ms);
        return;
    }
    struct lease_request request = {.kind = LEASE_LIST_MAIL, .host = {.session = coordinator->session.id}};
    members->mail_wanted = false;
    members->mail_asking = true;
    op_send(coordinator, &request, share_of(coordinator, 200), true, on_mail, NULL);
}

/* ---- life ---- */

void coordinator_follow(struct coordinator *coordinator, const char *stream)
{
    struct followed *followed = map_get(&coordinator->followed, stream);
    bool before = followed && !followed->ended;
    if (!followed) {
        followed = mem_zero(sizeof *followed);
        followed->stream = mem_string(stream);
        map_set(&coordinator->followed, stream, followed);
        for (int i = 0; i <= LEASE_BUCKETS; i++)
            followed->buckets[i].again_ms = LEASE_NEVER;
    }
    followed->left_ms = 0;
    followed->ended = false;
    if (!before)
        tell_followed(coordinator);
}

void coordinator_unfollow(struct coordinator *coordinator, const char *stream)
{
    struct followed *followed = map_get(&coordinator->followed, stream);
    if (followed && !followed->left_ms)
        followed->left_ms = now_of(coordinator);
}

void wardens_begin(struct coordinator *coordinator)
{
    struct followed *followed;
    size_t at = 0;
    while ((followed = map_next(&coordinator->followed, &at, NULL))) {
        followed->created = false;
        memset(followed->buckets, 0, sizeof followed->buckets);
        for (int i = 0; i <= LEASE_BUCKETS; i++)
            followed->buckets[i].again_ms = LEASE_NEVER;
    }
    wardens_changed(coordinator, false);
}

void wardens_fini(struct coordinator *coordinator)
{
    struct followed *followed;
    size_t at = 0;
    while ((followed = map_next(&coordinator->followed, &at, NULL))) {
        free(followed->stream);
        free(followed);
    }
    map_fini(&coordinator->followed);
}
