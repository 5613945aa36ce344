/* holdings.c: the shards that are this host's, and the one write of each row that may be on its way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

char *holding_key(const char *stream, const char *shard)
{
    return mem_printf("%s\n%s", stream, shard);
}

struct holding *holding_find(const struct coordinator *coordinator, const char *stream, const char *shard)
{
    char *key = holding_key(stream, shard);
    struct holding *holding = map_get(&coordinator->holdings, key);
    free(key);
    return holding;
}

/* There is something to do about it, or to wait for. */
static void stir(struct holding *holding)
{
    list_remove(&holding->link);
    list_append(&holding->coordinator->stirred, &holding->link);
}

/* ---- waiters and parts ---- */

static void answer_waiters(struct waiter **list, bool well)
{
    struct waiter *waiter = *list;
    *list = NULL;
    for (struct waiter *next; waiter; waiter = next) {
        next = waiter->next;
        waiter->done(waiter->user, well);
        free(waiter);
    }
}

static void wait_for_write(struct holding *holding, coordinator_done_fn *done, void *user)
{
    struct waiter *waiter = mem_alloc(sizeof *waiter), **end = &holding->waiting;
    *waiter = (struct waiter){NULL, done, user};
    while (*end)
        end = &(*end)->next;
    *end = waiter;
}

static void put_part(struct holding *holding, const struct lease_part *part)
{
    size_t size = part->text ? strlen(part->text) + 1 : 0;
    struct part *own = mem_alloc(sizeof *own + size);
    own->end = part->end;
    own->gone = !part->text;
    if (size)
        memcpy(own->text, part->text, size);
    free(map_remove(&holding->parts, part->handler));
    map_set(&holding->parts, part->handler, own);
}

static void clear_parts(struct holding *holding)
{
    struct part *part;
    size_t at = 0;
    while ((part = map_next(&holding->parts, &at, NULL)))
        free(part);
    map_fini(&holding->parts);
    holding->parts = MAP_INIT;
}

/* ---- life ---- */

static void holding_free(struct holding *holding)
{
    struct waiter *waiting = holding->waiting, *written_for = holding->written_for;
    map_remove(&holding->coordinator->holdings, holding->key);
    list_remove(&holding->link);
    if (holding->writing)
        op_drop(holding->writing);
    if (holding->asking_parent)
        op_drop(holding->asking_parent);
    if (holding->asking)
        op_drop(holding->asking);
    clear_parts(holding);
    arena_fini(&holding->row_arena);
    free(holding->parent);
    free(holding->parents[0]);
    free(holding->parents[1]);
    free(holding->key);
    free(holding->stream);
    free(holding->shard);
    free(holding);
    answer_waiters(&written_for, false);
    answer_waiters(&waiting, false);
}

static void abandon(struct coordinator *coordinator, const char *key, int64_t epoch)
{
    int64_t *before = map_get(&coordinator->abandoned, key);
    if (!before) {
        before = mem_alloc(sizeof *before);
        map_set(&coordinator->abandoned, key, before);
    }
    *before = epoch; /* they only grow */
}

static bool was_abandoned(const struct coordinator *coordinator, const char *key, int64_t epoch)
{
    const int64_t *before = map_get(&coordinator->abandoned, key);
    return before && epoch <= *before;
}

/* What was lost may have been told, or not yet. */
void holding_lose(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    abandon(coordinator, holding->key, holding->epoch);
    if (holding->told && !coordinator->freeing)
        coordinator->options.events->lost(coordinator->options.user, holding->stream, holding->shard);
    holding_free(holding);
}

void holdings_end(struct coordinator *coordinator)
{
    struct holding *holding;
    int64_t *epoch;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL))) {
        holding_lose(holding);
        at = 0;
    }
    map_fini(&coordinator->holdings);
    coordinator->holdings = MAP_INIT;
    at = 0;
    while ((epoch = map_next(&coordinator->abandoned, &at, NULL)))
        free(epoch);
    map_fini(&coordinator->abandoned);
    coordinator->abandoned = MAP_INIT;
}

bool row_ended(const struct lease_row *row)
{
    for (size_t i = 0; i < row->part_count; i++)
        if (!row->parts[i].end)
            return false;
    return row->part_count > 0;
}

void holding_meet(struct coordinator *coordinator, const struct lease_row *row)
{
    char *key = holding_key(row->stream, row->shard);
    struct holding *holding = map_get(&coordinator->holdings, key);
    CHECK(strcmp(row->owner, coordinator->session.id) == 0);
    if (holding || was_abandoned(coordinator, key, row->epoch)) {
        free(key);
        if (!holding)
            coordinator->up->retake(coordinator, row);
        return;
    }
    holding = mem_zero(sizeof *holding);
    holding->coordinator = coordinator;
    holding->key = key;
    holding->stream = mem_string(row->stream);
    holding->shard = mem_string(row->shard);
    holding->parents[0] = mem_string(row->parents[0]);
    holding->parents[1] = mem_string(row->parents[1]);
    holding->epoch = row->epoch;
    holding->version = row->version;
    holding->load = row_ended(row) ? 0 : row->load; /* until somebody reads it again, see coordinator_weigh */
    holding->moved_ms = now_of(coordinator);
    holding->row = lease_row_copy(&holding->row_arena, row);
    holding->confirm = -1;
    if (row->version == 1) { /* new: in a table, perhaps, that is new itself */
        holding->confirm = coordinator->session.sending.number;
        session_beat_now(coordinator);
        coordinator->up->born(coordinator);
    }
    coordinator->misplaced = coordinator->misplaced || !is_followed(coordinator, row->stream);
    list_init(&holding->link);
    map_set(&coordinator->holdings, key, holding);
    stir(holding);
    if (coordinator->leaving)
        holding_drain(holding, "", false);
}

/* ---- writing ---- */

static void on_written(struct coordinator *coordinator, void *subject, const struct lease_answer *answer);

static int64_t next_epoch(const struct holding *holding)
{
    return holding->next_epoch > holding->epoch ? holding->next_epoch : holding->epoch;
}

void holding_write(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    struct lease_part *parts = mem_alloc((holding->parts.count + 1) * sizeof *parts);
    const struct part *part;
    const char *handler;
    size_t at = 0, count = 0;
    CHECK(!holding->writing && !holding->written_for);
    holding->writing_end = false;
    while ((part = map_next(&holding->parts, &at, &handler))) {
        holding->writing_end = holding->writing_end || part->end;
        parts[count++] = (struct lease_part){handler, part->gone ? NULL : part->text, part->end};
    }
    nonce_make(coordinator, holding->nonce);
    struct lease_request request = {
        .kind = LEASE_WRITE_ROW,
        .row = {.stream = holding->stream,
                .shard = holding->shard,
                .owner = holding->phase == HOLDING_GIVEN ? holding->to : coordinator->session.id,
                .epoch = next_epoch(holding),
                .nonce = holding->nonce,
                .load = holding->load,
                .parts = parts,
                .part_count = count},
        .seen = {coordinator->session.id, holding->epoch, holding->version},
    };
    holding->dirty = false;
    holding->written_for = holding->waiting;
    holding->waiting = NULL;
    holding->writing = op_send(coordinator, &request, share_of(coordinator, 200), true, on_written, holding);
    clear_parts(holding);
    free(parts);
}

/* It was this very write that the row shows. */
static bool is_mine(const struct holding *holding, const struct lease_row *row)
{
    return row && row->nonce && strcmp(row->nonce, holding->nonce) == 0;
}

static void wake_children(const struct holding *parent)
{
    struct coordinator *coordinator = parent->coordinator;
    struct holding *holding;
    size_t at = 0;
    while ((holding = map_next(&coordinator->holdings, &at, NULL)))
        if (holding->parent && strcmp(holding->parent, parent->shard) == 0 &&
            strcmp(holding->stream, parent->stream) == 0) {
            holding->parent_due_ms = 0;
            stir(holding);
        }
}

/* By a hand that had no business there. */
static void lose_deleted(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    char *stream = mem_string(holding->stream), *shard = mem_string(holding->shard),
         *parents[2] = {mem_string(holding->parents[0]), mem_string(holding->parents[1])};
    if (coordinator->options.events->row_gone)
        coordinator->options.events->row_gone(coordinator->options.user, stream, shard);
    holding_lose(holding);
    coordinator->up->create(coordinator, stream, shard, (const char *const *)parents, NULL, NULL);
    free(parents[0]);
    free(parents[1]);
    free(shard);
    free(stream);
}

static void on_written(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct holding *holding = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    holding->writing = NULL;
    /* What was to be given may have been, by a request whose answer was lost: then whoever has got it was
     * free to forget it. */
    if (answer->outcome == LEASE_REFUSED && !row && !holding->deleting && holding->phase != HOLDING_GIVEN) {
        lose_deleted(holding);
        return;
    }
    if (answer->outcome == LEASE_REFUSED && !is_mine(holding, row)) {
        struct arena arena = {0};
        bool own = row && strcmp(row->owner, coordinator->session.id) == 0;
        struct lease_row now = own ? lease_row_copy(&arena, row) : (struct lease_row){0};
        holding_lose(holding);
        if (own)
            holding_meet(coordinator, &now);
        arena_fini(&arena);
        return;
    }
    CHECK(row);
    holding->epoch = row->epoch;
    holding->version = row->version;
    stir(holding);
    if (holding->writing_end)
        wake_children(holding);
    struct waiter *written_for = holding->written_for;
    holding->written_for = NULL;
    if (holding->phase == HOLDING_GIVEN && strcmp(row->owner, holding->to) == 0) {
        coordinator->up->given(holding);
        abandon(coordinator, holding->key, holding->epoch); /* a reading of it may be older */
        if (holding->told)
            coordinator->options.events->given(coordinator->options.user, holding->stream, holding->shard);
        holding_free(holding);
    }
    answer_waiters(&written_for, true);
}

void coordinator_commit(struct coordinator *coordinator, const char *stream, const char *shard,
                        const struct lease_part *parts, size_t count, int64_t quiet_ms,
                        coordinator_done_fn *done, void *user)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    if (!holding || !holding->told || holding->phase == HOLDING_GIVEN) {
        done(user, false);
        return;
    }
    for (size_t i = 0; i < count; i++)
        put_part(holding, &parts[i]);
    holding->dirty = true;
    if (quiet_ms > holding->not_before_ms)
        holding->not_before_ms = quiet_ms;
    wait_for_write(holding, done, user);
    stir(holding);
}

/* ---- giving ---- */

void holding_drain(struct holding *holding, const char *to, bool balancing)
{
    struct coordinator *coordinator = holding->coordinator;
    CHECK(holding->phase == HOLDING_RUNS);
    stir(holding);
    holding->phase = HOLDING_DRAINS;
    holding->balancing = balancing;
    holding->drain_from_ms = now_of(coordinator);
    snprintf(holding->to, sizeof holding->to, "%s", to);
    if (holding->told)
        coordinator->options.events->drain(coordinator->options.user, holding->stream, holding->shard);
    else
        holding->phase = HOLDING_DRAINED;
}

void coordinator_drained(struct coordinator *coordinator, const char *stream, const char *shard,
                         int64_t quiet_ms)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    if (!holding || holding->phase != HOLDING_DRAINS)
        return;
    stir(holding);
    holding->phase = HOLDING_DRAINED;
    if (quiet_ms > holding->not_before_ms)
        holding->not_before_ms = quiet_ms;
    if (quiet_ms > coordinator->left_after_ms)
        coordinator->left_after_ms = quiet_ms;
}

static void undrain(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    holding->phase = HOLDING_RUNS;
    holding->balancing = false;
    if (holding->told)
        coordinator->options.events->undrain(coordinator->options.user, holding->stream, holding->shard);
}

/* Positions and the new owner in one write. False: there is nobody, or it goes on here. */
static bool give(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    struct member *to = map_get(&coordinator->members.all, holding->to);
    if (!to || !member_takes(coordinator, to, holding->stream)) {
        if (holding->balancing) {
            undrain(holding);
            return false;
        }
        snprintf(holding->to, sizeof holding->to, "%s",
                 members_choose(coordinator, holding->stream, holding->load, false));
    }
    if (!*holding->to)
        return false;
    holding->phase = HOLDING_GIVEN;
    holding->next_epoch = epoch_after(coordinator, next_epoch(holding));
    coordinator->up->give(holding); /* the mail; then comes holding_write */
    return true;
}

/* ---- the parent ---- */

static void on_parent(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct holding *holding = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    holding->asking_parent = NULL;
    holding->parent_due_ms = now_of(coordinator) + holding->parent_pause_ms;
    holding->parent_pause_ms += holding->parent_pause_ms / 2;
    if (holding->parent_pause_ms > share_of(coordinator, PARENT_MOST_SHARE))
        holding->parent_pause_ms = share_of(coordinator, PARENT_MOST_SHARE);
    stir(holding);
    if (!holding->parent)
        return;
    if (row && row->epoch >= holding->epoch) { /* what it sends must be newer than what its parent sent */
        if (holding->phase != HOLDING_GIVEN && row->epoch >= next_epoch(holding)) {
            holding->next_epoch = epoch_after(coordinator, row->epoch);
            holding->dirty = true;
        }
        return;
    }
    char *parent = mem_string(holding->parent); /* who hears of it may wait for another one, or none */
    coordinator->options.events->parent(coordinator->options.user, holding->stream, holding->shard, parent,
                                        row);
    free(parent);
}

static void look_at_parent(struct holding *holding, int64_t now, int64_t *next)
{
    struct coordinator *coordinator = holding->coordinator;
    if (!holding->parent || holding->asking_parent || next_epoch(holding) > holding->epoch)
        return;
    if (holding->parent_due_ms > now) {
        sooner(next, holding->parent_due_ms);
        return;
    }
    struct lease_request request = {.kind = LEASE_READ_ROW,
                                    .row = {.stream = holding->stream, .shard = holding->parent}};
    holding->asking_parent =
        op_send(coordinator, &request, share_of(coordinator, 200), true, on_parent, holding);
}

void coordinator_gate(struct coordinator *coordinator, const char *stream, const char *shard,
                      const char *parent)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    if (!holding)
        return;
    free(holding->parent);
    holding->parent = mem_string(parent);
    holding->parent_due_ms = 0;
    holding->parent_pause_ms = share_of(coordinator, PARENT_SHARE);
    stir(holding);
}

void coordinator_gate_over(struct coordinator *coordinator, const char *stream, const char *shard)
{
    struct holding *holding = holding_find(coordinator, stream, shard);
    if (!holding)
        return;
    free(holding->parent);
    holding->parent = NULL;
}

/* ---- turning ---- */

static void tell_gained(struct holding *holding)
{
    struct coordinator *coordinator = holding->coordinator;
    holding->told = true;
    coordinator->options.events->gained(coordinator->options.user, &holding->row);
    arena_fini(&holding->row_arena);
    holding->row_arena = (struct arena){0};
}

/* Is there more to come without being stirred? */
static bool is_busy(const struct holding *holding)
{
    return !holding->told || holding->parent || holding->dirty || holding->phase == HOLDING_DRAINED ||
           (holding->phase == HOLDING_DRAINS && holding->balancing);
}

static void write_or_give(struct holding *holding, int64_t now, int64_t *next)
{
    bool gives = holding->phase == HOLDING_DRAINED;
    if (holding->writing || holding->phase == HOLDING_GIVEN || (!holding->dirty && !gives))
        return;
    if (holding->not_before_ms > now)
        sooner(next, holding->not_before_ms);
    else if ((!gives || !give(holding)) && holding->dirty)
        holding_write(holding);
}

static void holding_turn(struct holding *holding, int64_t now, int64_t *next)
{
    struct coordinator *coordinator = holding->coordinator;
    if (!holding->told && holding->phase == HOLDING_RUNS && session_valid(coordinator, now) &&
        coordinator->session.last.number > holding->confirm)
        tell_gained(holding);
    look_at_parent(holding, now, next);
    if (holding->phase == HOLDING_DRAINS && holding->balancing) {
        int64_t until_ms = holding->drain_from_ms + coordinator->options.drain_ms;
        if (until_ms <= now)
            undrain(holding);
        else
            sooner(next, until_ms);
    }
    write_or_give(holding, now, next);
    if (is_busy(holding))
        stir(holding);
}

void holdings_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct list stirred;
    list_init(&stirred);
    while (!list_empty(&coordinator->stirred)) {
        struct list *link = coordinator->stirred.next;
        list_remove(link);
        list_append(&stirred, link);
    }
    while (!list_empty(&stirred)) { /* what is told may free some of them */
        struct holding *holding = list_entry(stirred.next, struct holding, link);
        list_remove(&holding->link);
        holding_turn(holding, now, next);
    }
}
