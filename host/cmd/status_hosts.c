/* status_hosts.c: the hosts that share a state, whose the shards are, and what is not well between them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "cmd/status.h"

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

bool status_all_told(const struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (answers(status, &snapshot->members[i]) && !has_told(status, &snapshot->members[i]))
            return false;
    return true;
}

static void add_silent(struct status *status, const struct store_member *member)
{
    if (!status->told || !answers(status, member) || has_told(status, member))
        return;
    char *subject = mem_printf("host %s", status_session_name(member->session).text);
    add(status, subject, "silent", status->now_ms,
        mem_string("it renews its lease, and has not answered: what it is in trouble with is not known"));
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

static void add_difference(struct status *status, const char *kind, const char *what, size_t field)
{
    const struct store_snapshot *snapshot = status->snapshot;
    const struct store_member *first = NULL, *other = NULL;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct store_member *member = &snapshot->members[i];
        const char *own, *its;
        if (!is_alive(member))
            continue;
        if (!first)
            first = member;
        memcpy(&own, (const char *)first + field, sizeof own);
        memcpy(&its, (const char *)member + field, sizeof its);
        if (!other && strcmp(own, its) != 0)
            other = member;
    }
    if (!other)
        return;
    add(status, "hosts", kind, first->since_ms > other->since_ms ? first->since_ms : other->since_ms,
        mem_printf(
            "%s and %s have not the same %s: which of them a change meets depends on its shard; while one "
            "after the other gets a new release, that is as it should be",
            status_session_name(first->session).text, status_session_name(other->session).text, what));
}

void status_add_hosts(struct status *status)
{
    for (size_t i = 0; i < status->snapshot->member_count; i++) {
        add_late(status, &status->snapshot->members[i]);
        add_sick(status, &status->snapshot->members[i]);
        add_silent(status, &status->snapshot->members[i]);
    }
    add_without_owner(status);
    add_difference(status, "scripts", "scripts or INI", offsetof(struct store_member, fingerprint));
    add_difference(status, "version", "version of tidemill", offsetof(struct store_member, version));
}
