/* status_hosts.c: the hosts that share a state, whose the shards are, and what is not well between them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "admin/status.h"

const char *const status_member_states[] = {"runs", "sick", "leaves", "left", "dead"};
static_assert(COUNT_OF(status_member_states) == MEMBER_DEAD + 1, "a word for each");

struct status_name status_session_name(const char *session)
{
    struct status_name name;
    snprintf(name.text, sizeof name.text, "%.*s", (int)strcspn(session, "#"), session);
    return name;
}

static void add(struct status *status, const char *subject, const char *kind, int64_t since_ms, char *text)
{
    struct arena *arena = &status->snapshot->arena;
    status->troubles[status->trouble_count++] =
        (struct store_trouble){.subject = arena_copy(arena, subject, strlen(subject)),
                               .kind = kind,
                               .text = arena_copy(arena, text, strlen(text)),
                               .since_ms = since_ms,
                               .last_ms = status->now_ms,
                               .count = 1};
    free(text);
}

static bool is_alive(const struct store_member *member)
{
    return member->state != MEMBER_LEFT && member->state != MEMBER_DEAD;
}

/* By the table's clock and this machine's: said only when it is much. */
static bool is_late(const struct status *status, const struct store_member *member)
{
    return member->beat_ms && status_age(status->now_ms, member->beat_ms) >= 2 * member->lease_ms;
}

bool status_runs(const struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (is_alive(&snapshot->members[i]) && !is_late(status, &snapshot->members[i]))
            return true;
    return false;
}

static void add_late(struct status *status, const struct store_member *member)
{
    if (!is_alive(member) || !is_late(status, member))
        return;
    char *subject = mem_printf("host %s", status_session_name(member->session).text);
    add(status, subject, "beat", member->beat_ms,
        mem_printf("it has not renewed its lease for %lld s: it is stopped, or cannot reach the table, and "
                   "no other host "
                   "has noticed yet",
                   (long long)status_age(status->now_ms, member->beat_ms) / 1000));
    free(subject);
}

static const struct store_member *find_member(const struct store_snapshot *snapshot, const char *session)
{
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (strcmp(snapshot->members[i].session, session) == 0)
            return &snapshot->members[i];
    return NULL;
}

/* One that leaves, or stands still, has its reasons not to. */
static bool answers(const struct status *status, const struct store_member *member)
{
    return member->state == MEMBER_RUNS && !is_late(status, member);
}

static bool has_told(const struct status *status, const struct store_member *member)
{
    for (size_t i = 0; i < status->told->told_count; i++)
        if (strcmp(status->told->told[i].session, member->session) == 0)
            return status->told->told[i].asked >= status->asked;
    return false;
}

/* Since it was asked; by the row alone, clocks may differ. */
static bool beats(const struct status *status, const struct store_member *member)
{
    const struct store_member *before = find_member(status->first, member->session);
    return !before || before->beat_ms != member->beat_ms || status->waited_ms < member->lease_ms / 2;
}

bool status_owes_answer(const struct status *status, const struct store_member *member)
{
    return status->told && answers(status, member) && !has_told(status, member);
}

bool status_all_told(const struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (answers(status, &snapshot->members[i]) && !has_told(status, &snapshot->members[i]) &&
            beats(status, &snapshot->members[i]))
            return false;
    return true;
}

static void add_silent(struct status *status, const struct store_member *member)
{
    if (!status->told || !answers(status, member) || has_told(status, member))
        return;
    char *subject = mem_printf("host %s", status_session_name(member->session).text);
    if (beats(status, member))
        add(status, subject, "silent", status->now_ms - status->waited_ms,
            mem_string("it renews its lease, and does not answer: what it is in trouble with is not known"));
    else
        add(status, subject, "beat", member->beat_ms,
            mem_string("it does not renew its lease, and does not answer: it is dead, stopped, or cannot "
                       "reach the table; others take its shards when the lease is over"));
    free(subject);
}

static void add_sick(struct status *status, const struct store_member *member)
{
    if (member->state != MEMBER_SICK)
        return;
    char *subject = mem_printf("host %s", status_session_name(member->session).text);
    add(status, subject, "sick", status->now_ms,
        mem_printf("one of its threads has stood still for more than %lld s: what is read there waits, and "
                   "goes to other hosts if that lasts",
                   (long long)member->lease_ms / 2000));
    free(subject);
}

static bool is_told(const struct status *status, const struct store_owner *owner)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->hand_over_count; i++)
        if (strcmp(snapshot->hand_overs[i].shard, owner->shard) == 0 &&
            strcmp(snapshot->hand_overs[i].stream_arn, owner->stream_arn) == 0)
            return true;
    return false;
}

void status_add_hand_overs(struct status *status)
{
    struct store_snapshot *snapshot = status->snapshot;
    struct store_hand_over *all =
        arena_alloc(&snapshot->arena, (snapshot->hand_over_count + snapshot->owner_count + 1) * sizeof *all);
    if (snapshot->hand_over_count)
        memcpy(all, snapshot->hand_overs, snapshot->hand_over_count * sizeof *all);
    size_t count = snapshot->hand_over_count;
    for (size_t i = 0; i < snapshot->owner_count; i++) {
        const struct store_owner *owner = &snapshot->owners[i];
        const struct store_member *member = find_member(snapshot, owner->session);
        if (member && member->state == MEMBER_LEAVES && !is_told(status, owner))
            all[count++] = (struct store_hand_over){owner->stream_arn, owner->shard, owner->session, "", 0};
    }
    snapshot->hand_overs = all;
    snapshot->hand_over_count = count;
}

static void add_without_owner(struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    size_t count = 0;
    const char *one = NULL;
    for (size_t i = 0; i < snapshot->owner_count; i++) {
        const struct store_member *member = find_member(snapshot, snapshot->owners[i].session);
        if (member && is_alive(member))
            continue;
        count++;
        one = one ? one : snapshot->owners[i].shard;
    }
    if (count && status->running)
        add(status, "hosts", "owner", status->now_ms,
            mem_printf("%zu shard%s of a host that is gone, and no other host has taken %s yet (%s)", count,
                       count == 1 ? " is" : "s are", count == 1 ? "it" : "them", one));
}

/* What hosts of a group should have in common. */
struct common {
    const char *kind, *what;
    const char *(*value)(const struct store_member *);
    int64_t (*since_ms)(const struct store_member *);
};

static const char *fingerprint_of(const struct store_member *member)
{
    return member->fingerprint;
}

static int64_t fingerprint_since(const struct store_member *member)
{
    return member->fingerprint_ms;
}

static const char *version_of(const struct store_member *member)
{
    return member->version;
}

static int64_t version_since(const struct store_member *member)
{
    return member->since_ms;
}

static size_t count_of(const struct store_snapshot *snapshot, const struct common *common, const char *value)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->member_count; i++)
        count += is_alive(&snapshot->members[i]) && strcmp(common->value(&snapshot->members[i]), value) == 0;
    return count;
}

/* What most have; of two that as many have, what came first. NULL: nobody is alive. */
static const struct store_member *usual(const struct store_snapshot *snapshot, const struct common *common)
{
    const struct store_member *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct store_member *member = &snapshot->members[i];
        size_t count = is_alive(member) ? count_of(snapshot, common, common->value(member)) : 0;
        if (count > most || (count && count == most && common->since_ms(member) < common->since_ms(best))) {
            best = member;
            most = count;
        }
    }
    return best;
}

#define OTHERS_NAMED 5

static void add_difference(struct status *status, const struct common *common)
{
    const struct store_snapshot *snapshot = status->snapshot;
    const struct store_member *most = usual(snapshot, common);
    struct buf names = BUF_INIT;
    size_t count = 0;
    int64_t since_ms = INT64_MAX;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct store_member *member = &snapshot->members[i];
        if (!is_alive(member) || strcmp(common->value(member), common->value(most)) == 0)
            continue;
        if (count++ < OTHERS_NAMED)
            buf_printf(&names, "%s%s", count > 1 ? ", " : "", status_session_name(member->session).text);
        since_ms = common->since_ms(member) < since_ms ? common->since_ms(member) : since_ms;
    }
    if (count > OTHERS_NAMED)
        buf_printf(&names, " and %zu more", count - OTHERS_NAMED);
    if (count)
        add(status, "hosts", common->kind, since_ms,
            mem_printf("%s %s not the same %s as %s%s: which of them a change meets depends on its shard, "
                       "and a new handler may wait for those that have it not; while one after the other "
                       "gets a new release, that is as it should be",
                       names.data, count == 1 ? "has" : "have", common->what,
                       status_session_name(most->session).text,
                       count_of(snapshot, common, common->value(most)) > 1 ? " and others" : ""));
    buf_fini(&names);
}

void status_add_hosts(struct status *status)
{
    for (size_t i = 0; i < status->snapshot->member_count; i++) {
        add_late(status, &status->snapshot->members[i]);
        add_sick(status, &status->snapshot->members[i]);
        add_silent(status, &status->snapshot->members[i]);
    }
    add_without_owner(status);
    static const struct common all[] = {{"scripts", "scripts or INI", fingerprint_of, fingerprint_since},
                                        {"version", "version of tidemill", version_of, version_since}};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        add_difference(status, &all[i]);
}
