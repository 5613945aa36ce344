/* members.c: the other hosts: who is silent, and who is dead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

#define WATCH_MS 1000
#define WATCH_EACH_MS 30 /* of each host: they all look at all */
#define WATCH_QUICK_MS 200
#define WATCH_QUICK_EACH_MS 6
#define QUICK_MS 3000
#define SILENT_SHARE 700 /* of a lease: somebody dies soon, and everybody looks quickly until it is over */
#define MARK_SPREAD_MS 200
#define FORGET_MS (15 * 60 * 1000) /* a dead one's row is deleted then: by then nothing names it */

static struct member *find(struct coordinator *coordinator, const char *session)
{
    return map_get(&coordinator->members.all, session);
}

static struct member *add(struct coordinator *coordinator, const char *session, int64_t now)
{
    struct member *member = mem_zero(sizeof *member);
    snprintf(member->session, sizeof member->session, "%s", session);
    member->seen_ms = now;
    member->lease_ms = coordinator->options.lease_ms;
    member->reactors = 1;
    member->follows = mem_string("");
    map_set(&coordinator->members.all, session, member);
    return member;
}

static void member_free(struct member *member)
{
    free(member->follows);
    free(member);
}

static void tell(struct coordinator *coordinator, const struct member *member, enum lease_death death)
{
    const struct coordinator_events *events = coordinator->options.events;
    if (events->member)
        events->member(coordinator->options.user, member->session, death);
}

/* ---- death ---- */

static void bury(struct coordinator *coordinator, struct member *member, enum lease_death death, int64_t now)
{
    if (member->dead)
        return;
    if (member->known)
        tell(coordinator, member, death);
    member->dead = true;
    member->dead_ms = now;
    member->load = 0;
    coordinator->members.quick_ms = now + QUICK_MS; /* what it had comes by mail */
    coordinator->up->members_changed(coordinator, true);
}

static void on_marked(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct member *member = subject;
    int64_t now = now_of(coordinator);
    const struct lease_host *row = answer->host_count ? &answer->hosts[0] : NULL;
    member->marking = false;
    if (answer->outcome == LEASE_OK || (row && row->death)) {
        bury(coordinator, member, row && row->death ? row->death : LEASE_MARKED, now);
        return;
    }
    /* It beats, or has begun to exist, or has ceased to. */
    member->seen_ms = now;
    member->mark_ms = 0;
    member->listed = row != NULL;
    if (row)
        snprintf(member->beat, sizeof member->beat, "%s", row->beat);
}

static void mark(struct coordinator *coordinator, struct member *member)
{
    struct lease_request request = {
        .kind = member->listed ? LEASE_MARK : LEASE_BURY,
        .host = {.session = member->session, .beat = "", .lease_ms = member->lease_ms},
        .last = member->beat,
        .death = LEASE_MARKED,
        .by = coordinator->session.id,
    };
    request.host.death = LEASE_MARKED;
    member->marking = true;
    op_send(coordinator, &request, share_of(coordinator, 200), true, on_marked, member);
}

/* Silence counts only as long as this host itself has looked without a gap. */
static bool has_looked(const struct coordinator *coordinator, const struct member *member, int64_t now)
{
    return now - coordinator->members.listed_ms <= member->lease_ms * BLIND_SHARE / 1000;
}

static void watch_silence(struct coordinator *coordinator, struct member *member, int64_t now, int64_t *next)
{
    if (member->dead || member->marking)
        return;
    if (!member->mark_ms)
        member->mark_ms = member->seen_ms + member->lease_ms + below(coordinator, MARK_SPREAD_MS);
    if (member->mark_ms > now)
        sooner(next, member->mark_ms);
    else if (has_looked(coordinator, member, now))
        mark(coordinator, member);
}

bool member_is_dead(struct coordinator *coordinator, const char *session)
{
    struct member *member = find(coordinator, session);
    if (!member && strcmp(session, coordinator->session.id) != 0) {
        member = add(coordinator, session, now_of(coordinator)); /* named by a row, and not listed */
        coordinator->up->members_changed(coordinator, false);
    }
    return member && member->dead;
}

void member_dead(struct coordinator *coordinator, const char *session)
{
    member_is_dead(coordinator, session);
    bury(coordinator, find(coordinator, session), LEASE_MARKED, now_of(coordinator));
}

/* ---- the watch ---- */

static bool learn(struct coordinator *coordinator, const struct lease_host *row, bool blind, int64_t now)
{
    struct member *member = find(coordinator, row->session);
    bool changed = !member;
    if (!member)
        member = add(coordinator, row->session, now);
    if (blind || strcmp(member->beat, row->beat) != 0) {
        snprintf(member->beat, sizeof member->beat, "%s", row->beat);
        member->seen_ms = now;
        member->mark_ms = 0;
    }
    member->load = row->load;
    member->listed = true;
    member->lease_ms = row->lease_ms;
    member->reactors = row->reactors > 0 ? row->reactors : 1;
    changed = changed || member->state != row->state || strcmp(member->follows, row->follows) != 0;
    member->state = row->state;
    free(member->follows);
    member->follows = mem_string(row->follows);
    if (row->death) {
        bury(coordinator, member, row->death, now);
    } else if (!member->known) {
        member->known = true;
        tell(coordinator, member, LEASE_ALIVE);
    }
    return changed && !member->dead;
}

static void look_for_missing(struct coordinator *coordinator, const struct map *before, bool blind,
                             int64_t now)
{
    struct member *member;
    size_t at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        if (!member->listed && !member->dead && (blind || map_get(before, member->session))) {
            member->seen_ms = now; /* from the first sight of its being missing */
            member->mark_ms = 0;
        }
}

/* What this host is giving, and has not said yet. */
static void add_given(struct coordinator *coordinator)
{
    struct list *const lists[] = {&coordinator->transfers, &coordinator->queued};
    const struct transfer *transfer;
    const struct holding *holding;
    struct member *member;
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        list_each(transfer, lists[i], struct transfer, link)
            if ((transfer->kind != TRANSFER_GIVE || transfer->given) &&
                (member = find(coordinator, transfer->to)))
                member->load += transfer->load;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (holding->phase != HOLDING_RUNS && *holding->to && (member = find(coordinator, holding->to)))
            member->load += holding->load;
}

static void look_at_own(struct coordinator *coordinator, const struct lease_host *row, int64_t now)
{
    struct members *members = &coordinator->members;
    if (row->mail == members->mail)
        return;
    members->mail = row->mail;
    members->mail_wanted = true;
    members->mail_due_ms = now;
    members->mail_again_ms = 0;
    members->quick_ms = now + QUICK_MS;
}

static void forget_dead(struct coordinator *coordinator, int64_t now)
{
    struct member *member;
    const char *session;
    size_t at = 0;
    while ((member = map_next(&coordinator->members.all, &at, &session))) {
        if (!member->dead || member->marking || now - member->dead_ms < FORGET_MS + below(coordinator, 60000))
            continue;
        if (member->listed) {
            struct lease_request request = {.kind = LEASE_FORGET_HOST, .host = {.session = session}};
            op_send(coordinator, &request, share_of(coordinator, 200), false, NULL, NULL);
            member->dead_ms = now; /* it is asked again, should it stand there still */
            continue;
        }
        map_remove(&coordinator->members.all, session);
        member_free(member);
        at = 0;
    }
}

static bool is_any_silent(struct coordinator *coordinator, int64_t now)
{
    const struct member *member;
    size_t at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        if (!member->dead && now - member->seen_ms >= member->lease_ms * SILENT_SHARE / 1000)
            return true;
    return false;
}

/* Until the next look at so many hosts. */
static int64_t pause_ms(const struct coordinator *coordinator, int64_t hosts, bool quick)
{
    int64_t pause = quick ? WATCH_QUICK_EACH_MS * hosts : WATCH_EACH_MS * hosts,
            least = quick ? WATCH_QUICK_MS : WATCH_MS, most = share_of(coordinator, 250);
    pause = pause > least ? pause : least;
    return pause < most ? pause : most;
}

static void on_hosts(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct members *members = &coordinator->members;
    int64_t now = now_of(coordinator), count = (int64_t)answer->host_count;
    struct map before = MAP_INIT;
    struct member *member;
    const char *session;
    size_t at = 0;
    bool changed = false, quick = now < members->quick_ms, over = false;
    (void)subject;
    members->asking = false;
    members->due_ms = now + WATCH_QUICK_MS;
    if (answer->outcome != LEASE_OK)
        return;
    bool blind = now - members->listed_ms > share_of(coordinator, BLIND_SHARE);
    members->listed_ms = now;
    while ((member = map_next(&members->all, &at, &session))) {
        if (member->listed)
            map_set(&before, session, member);
        member->listed = false;
    }
    for (size_t i = 0; i < answer->host_count; i++) {
        const struct lease_host *row = &answer->hosts[i];
        quick = quick || (row->state == LEASE_LEAVING && !row->death);
        if (strcmp(row->session, coordinator->session.id) != 0)
            changed = learn(coordinator, row, blind, now) || changed;
        else if (row->death)
            over = true;
        else
            look_at_own(coordinator, row, now);
    }
    if (answer->rung != members->rung) {
        members->rung = answer->rung;
        if (coordinator->options.events->rung)
            coordinator->options.events->rung(coordinator->options.user);
    }
    add_given(coordinator);
    look_for_missing(coordinator, &before, blind, now);
    map_fini(&before);
    members->due_ms = now + pause_ms(coordinator, count, quick || is_any_silent(coordinator, now));
    forget_dead(coordinator, now);
    if (over)
        coordinator->up->over(coordinator);
    else if (changed)
        coordinator->up->members_changed(coordinator, false);
}

/* ---- who takes more ---- */

bool is_followed(const struct coordinator *coordinator, const char *stream)
{
    const struct followed *followed = map_get(&coordinator->followed, stream);
    return followed && !followed->ended;
}

bool member_follows(const struct member *member, const char *stream)
{
    char digits[LEASE_FOLLOWS_SIZE];
    lease_follows(stream, digits);
    return strstr(member->follows, digits) != NULL;
}

bool member_takes(const struct coordinator *coordinator, const struct member *member, const char *stream)
{
    return !member->dead && member->listed && member->state == LEASE_RUN &&
           (!stream || member_follows(member, stream)) &&
           now_of(coordinator) - member->seen_ms < member->lease_ms / 2;
}

/* For what it can, with so much more; NULL: this host, what is on its way to it included. */
static double load_with(const struct coordinator *coordinator, const struct member *member, double load)
{
    if (member)
        return (member->load + load) / (double)member->reactors;
    return (own_load(coordinator) + coordinator->coming + load) / coordinator->options.reactors;
}

const char *members_choose(struct coordinator *coordinator, const char *stream, double load, bool self)
{
    struct member *member, *best = NULL;
    size_t at = 0;
    double least = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL))) {
        double now = load_with(coordinator, member, load);
        if (!member_takes(coordinator, member, stream) || (best && now >= least))
            continue;
        best = member;
        least = now;
    }
    if (self && is_followed(coordinator, stream) && (!best || load_with(coordinator, NULL, load) <= least))
        return coordinator->session.id;
    if (!best)
        return "";
    best->load += load;
    return best->session;
}

/* Where several hosts give at once, each by its own view, the least loaded would get it all. */
const char *members_choose_one_of_two(struct coordinator *coordinator, const char *stream, double load)
{
    struct member *member, *picked[2] = {NULL, NULL};
    size_t at = 0;
    int seen = 0, self = !coordinator->leaving && is_followed(coordinator, stream);
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        seen += member_takes(coordinator, member, stream);
    if (!seen)
        return self ? coordinator->session.id : "";
    /* Drawn: numbers among those that take, the last one this host. */
    int count = seen + self, first = below(coordinator, count),
        second = count > 1 ? (first + 1 + below(coordinator, count - 1)) % count : first;
    at = 0;
    for (int number = 0; (member = map_next(&coordinator->members.all, &at, NULL));) {
        if (!member_takes(coordinator, member, stream))
            continue;
        if (number == first)
            picked[0] = member;
        if (number == second)
            picked[1] = member;
        number++;
    }
    bool other = load_with(coordinator, picked[1], load) < load_with(coordinator, picked[0], load);
    struct member *best = picked[other];
    if (!best)
        return coordinator->session.id;
    best->load += load;
    return best->session;
}

/* ---- life ---- */

struct coordinator_members coordinator_members(const struct coordinator *coordinator)
{
    struct coordinator_members count = {0};
    size_t at = 0;
    count.running = *coordinator->session.id && !coordinator->leaving;
    count.leaving = *coordinator->session.id && coordinator->leaving;
    for (const struct member *member; (member = map_next(&coordinator->members.all, &at, NULL));) {
        if (member->dead)
            count.dead++;
        else if (member->state == LEASE_LEAVING)
            count.leaving++;
        else if (member->state == LEASE_SICK)
            count.sick++;
        else if (member->known)
            count.running++;
    }
    return count;
}

void members_begin(struct coordinator *coordinator)
{
    struct members *members = &coordinator->members;
    int64_t now = now_of(coordinator);
    members_fini(coordinator);
    *members = (struct members){.listed_ms = now, .changed_ms = now};
    list_init(&members->reads);
}

void members_fini(struct coordinator *coordinator)
{
    struct member *member;
    size_t at = 0;
    while ((member = map_next(&coordinator->members.all, &at, NULL)))
        member_free(member);
    map_fini(&coordinator->members.all);
    coordinator->members.all = MAP_INIT;
    struct mail_read *read;
    list_each(read, &coordinator->members.reads, struct mail_read, link) {
        list_remove(&read->link);
        free(read);
    }
}

void members_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct members *members = &coordinator->members;
    struct member *member;
    size_t at = 0;
    if (coordinator->session.phase != PHASE_LIVE)
        return;
    if (!members->asking && members->due_ms <= now) {
        struct lease_request request = {.kind = LEASE_LIST_HOSTS};
        members->asking = true;
        op_send(coordinator, &request, share_of(coordinator, 100), false, on_hosts, NULL);
    }
    if (!members->asking)
        sooner(next, members->due_ms);
    while ((member = map_next(&members->all, &at, NULL)))
        watch_silence(coordinator, member, now, next);
}
