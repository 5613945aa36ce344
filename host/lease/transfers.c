/* transfers.c: rows that change their owner, and how the new one hears of it.
 *
 * The mail is written before the row, and names the epoch that the row will have; a word in the receiver's
 * row comes after it. Who finds mail about a row that has not come to that epoch looks again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

static int64_t timeout_of(const struct coordinator *coordinator)
{
    return share_of(coordinator, 200);
}

static struct transfer *transfer_new(struct coordinator *coordinator, const char *stream, const char *shard)
{
    struct transfer *transfer = mem_zero(sizeof *transfer);
    transfer->coordinator = coordinator;
    transfer->key = holding_key(stream, shard);
    transfer->stream = mem_string(stream);
    transfer->shard = mem_string(shard);
    nonce_make(coordinator, transfer->mail_id);
    nonce_make(coordinator, transfer->nonce);
    list_append(&coordinator->queued, &transfer->link);
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    struct coordinator *coordinator = transfer->coordinator;
    list_remove(&transfer->link);
    coordinator->transfers_started -= transfer->started;
    coordinator->coming -= transfer->comes ? transfer->load : 0;
    if (map_get(&coordinator->moving, transfer->key) == transfer)
        map_remove(&coordinator->moving, transfer->key);
    free(transfer->parents[0]);
    free(transfer->parents[1]);
    free(transfer->key);
    free(transfer->stream);
    free(transfer->shard);
    free(transfer);
}

void transfers_end(struct coordinator *coordinator)
{
    struct transfer *transfer;
    list_each(transfer, &coordinator->transfers, struct transfer, link)
        transfer_free(transfer);
    list_each(transfer, &coordinator->queued, struct transfer, link)
        transfer_free(transfer);
    CHECK(!coordinator->transfers_started && !coordinator->moving.count);
    map_fini(&coordinator->moving);
    coordinator->moving = MAP_INIT;
    coordinator->coming = 0;
}

/* Its row is on its way to another owner, or is being made. */
bool transfer_under_way(const struct coordinator *coordinator, const char *stream, const char *shard)
{
    char *key = holding_key(stream, shard);
    bool under_way = map_get(&coordinator->moving, key) != NULL;
    free(key);
    return under_way;
}

static bool to_self(const struct transfer *transfer)
{
    return strcmp(transfer->to, transfer->coordinator->session.id) == 0;
}

/* It stands in the lists of what is done for this host, or another. */
static void count_coming(struct transfer *transfer)
{
    transfer->comes = to_self(transfer);
    transfer->coordinator->coming += transfer->comes ? transfer->load : 0;
}

/* A stream of a thousand shards makes a thousand rows: some at a time. */
#define TRANSFERS 64

static void move(struct transfer *transfer);
static void post(struct transfer *transfer);

static void start_queued(struct coordinator *coordinator)
{
    while (coordinator->transfers_started < TRANSFERS && !list_empty(&coordinator->queued)) {
        struct transfer *transfer = list_entry(coordinator->queued.next, struct transfer, link);
        list_remove(&transfer->link);
        list_append(&coordinator->transfers, &transfer->link);
        transfer->started = true;
        coordinator->transfers_started++;
        if (transfer->given || to_self(transfer))
            move(transfer);
        else
            post(transfer);
    }
}

static void transfer_end(struct transfer *transfer)
{
    struct coordinator *coordinator = transfer->coordinator;
    transfer_free(transfer);
    start_queued(coordinator);
}

/* ---- the word ---- */

static void retry(const struct transfer *transfer)
{
    struct lease_row row = {.stream = transfer->stream,
                            .shard = transfer->shard,
                            .owner = transfer->to,
                            .epoch = transfer->epoch,
                            .load = transfer->load};
    struct coordinator *coordinator = transfer->coordinator;
    if (map_get(&coordinator->moving, transfer->key) == transfer)
        map_remove(&coordinator->moving, transfer->key);
    transfer_take(coordinator, &row);
}

static void on_told(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct transfer *transfer = subject;
    bool refused = answer->outcome == LEASE_REFUSED;
    if (refused && answer->host_count)
        member_dead(coordinator, transfer->to);
    /* Given to the dead, who may have been looked for before: it goes to another. A missing row alone is not
     * a dead one: it is watched from now on, and whoever sees it buried looks for what it had. */
    if (refused && member_is_dead(coordinator, transfer->to))
        retry(transfer);
    transfer_end(transfer);
}

static void tell(struct transfer *transfer)
{
    struct coordinator *coordinator = transfer->coordinator;
    struct lease_request request = {
        .kind = LEASE_TELL, .host = {.session = transfer->to}, .row = {.load = transfer->load}};
    coordinator->members.quick_ms = now_of(coordinator) + 3000;
    op_send(coordinator, &request, timeout_of(coordinator), true, on_told, transfer);
}

/* ---- rows of the dead, and new ones ---- */

/* The row is as it says; nothing of this transfer is left to do. */
static void finish(struct transfer *transfer, const struct lease_row *row)
{
    struct coordinator *coordinator = transfer->coordinator;
    void (*done)(void *) = transfer->done;
    void *user = transfer->user;
    transfer_end(transfer);
    if (row && strcmp(row->owner, coordinator->session.id) == 0)
        holding_meet(coordinator, row);
    else if (row && member_is_dead(coordinator, row->owner))
        transfer_take(coordinator, row);
    if (done)
        done(user);
}

/* What it tells of will not be. */
static void take_back_mail(const struct transfer *transfer)
{
    struct lease_request request = {
        .kind = LEASE_DELETE_MAIL, .host = {.session = transfer->to}, .mail = {.id = transfer->mail_id}};
    op_send(transfer->coordinator, &request, timeout_of(transfer->coordinator), false, NULL, NULL);
}

static void on_moved(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct transfer *transfer = subject;
    const struct lease_row *row = answer->row_count ? &answer->rows[0] : NULL;
    bool mine = row && strcmp(row->nonce, transfer->nonce) == 0;
    (void)coordinator;
    if (!mine || to_self(transfer)) { /* another was quicker: then it is as it says */
        if (!to_self(transfer) && row && strcmp(row->owner, transfer->to) != 0)
            take_back_mail(transfer);
        finish(transfer, row);
        return;
    }
    if (transfer->done)
        transfer->done(transfer->user);
    transfer->done = NULL;
    tell(transfer);
}

static void move(struct transfer *transfer)
{
    if (transfer->given) {
        tell(transfer);
        return;
    }
    struct lease_request request = {
        .kind = transfer->kind == TRANSFER_CREATE ? LEASE_CREATE_ROW : LEASE_WRITE_ROW,
        .row = {.stream = transfer->stream,
                .shard = transfer->shard,
                .parents = {transfer->parents[0], transfer->parents[1]},
                .owner = transfer->to,
                .epoch = transfer->epoch,
                .nonce = transfer->nonce,
                .load = transfer->load},
        .seen = {transfer->from, transfer->seen_epoch, 0},
    };
    op_send(transfer->coordinator, &request, timeout_of(transfer->coordinator), true, on_moved, transfer);
}

static void on_posted(struct coordinator *coordinator, void *subject, const struct lease_answer *answer)
{
    struct transfer *transfer = subject;
    (void)answer;
    if (transfer->kind != TRANSFER_GIVE) {
        move(transfer);
        return;
    }
    struct holding *holding = map_get(&coordinator->holdings, transfer->key);
    bool still = holding && holding->phase == HOLDING_GIVEN && holding->next_epoch == transfer->epoch;
    transfer_end(transfer);
    if (still)
        holding_write(holding);
}

static void post(struct transfer *transfer)
{
    struct lease_request request = {
        .kind = LEASE_PUT_MAIL,
        .host = {.session = transfer->to},
        .mail = {transfer->mail_id, transfer->stream, transfer->shard, transfer->epoch},
    };
    op_send(transfer->coordinator, &request, timeout_of(transfer->coordinator), true, on_posted, transfer);
}

static void take_for(struct transfer *transfer, const struct lease_row *row, const char *to)
{
    transfer->kind = TRANSFER_TAKE;
    transfer->seen_epoch = row->epoch;
    transfer->epoch = epoch_after(transfer->coordinator, row->epoch);
    transfer->load = row->load;
    snprintf(transfer->from, sizeof transfer->from, "%s", row->owner);
    snprintf(transfer->to, sizeof transfer->to, "%s", to);
    count_coming(transfer);
    map_set(&transfer->coordinator->moving, transfer->key, transfer);
    start_queued(transfer->coordinator);
}

void transfer_take(struct coordinator *coordinator, const struct lease_row *row)
{
    if (transfer_under_way(coordinator, row->stream, row->shard))
        return;
    const char *to = members_choose_one_of_two(coordinator, row->stream, row->load);
    if (*to)
        take_for(transfer_new(coordinator, row->stream, row->shard), row, to);
}

void transfer_retake(struct coordinator *coordinator, const struct lease_row *row)
{
    if (!transfer_under_way(coordinator, row->stream, row->shard))
        take_for(transfer_new(coordinator, row->stream, row->shard), row, coordinator->session.id);
}

void transfer_create(struct coordinator *coordinator, const char *stream, const char *shard,
                     const char *const parents[2], void (*done)(void *user), void *user)
{
    if (transfer_under_way(coordinator, stream, shard))
        return;
    struct transfer *transfer = transfer_new(coordinator, stream, shard);
    double load = strcmp(shard, LEASE_STREAM_ROW) == 0 ? 0 : LEASE_SHARD_LOAD;
    const struct holding *parent = parents[0] ? holding_find(coordinator, stream, parents[0]) : NULL;
    const char *to = parent ? coordinator->session.id /* beside it: nothing waits for a word */
                            : members_choose(coordinator, stream, load, !coordinator->leaving);
    transfer->kind = TRANSFER_CREATE;
    transfer->parents[0] = mem_string(parents[0]);
    transfer->parents[1] = mem_string(parents[1]);
    transfer->epoch = epoch_after(coordinator, parent ? parent->epoch : 0);
    transfer->load = load;
    transfer->done = done;
    transfer->user = user;
    snprintf(transfer->to, sizeof transfer->to, "%s", *to ? to : coordinator->session.id);
    count_coming(transfer);
    map_set(&coordinator->moving, transfer->key, transfer);
    start_queued(coordinator);
}

/* ---- what is this host's ---- */

static struct transfer *of_holding(const struct holding *holding)
{
    struct transfer *transfer = transfer_new(holding->coordinator, holding->stream, holding->shard);
    transfer->kind = TRANSFER_GIVE;
    transfer->epoch = holding->next_epoch;
    transfer->load = holding->load;
    snprintf(transfer->to, sizeof transfer->to, "%s", holding->to);
    return transfer;
}

void transfer_give(struct holding *holding)
{
    of_holding(holding);
    start_queued(holding->coordinator);
}

void transfer_given(struct holding *holding)
{
    of_holding(holding)->given = true;
    start_queued(holding->coordinator);
}
