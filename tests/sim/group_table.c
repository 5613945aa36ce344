/* group_table.c: the rows, and the wires to them. It checks what the rules promise of rows: one owner commits
 * an epoch, positions do not go back, an END stays. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "group.h"

struct ghost_row {
    char session[LEASE_SESSION_SIZE], beat[LEASE_NONCE_SIZE], follows[2 * LEASE_FOLLOWS_SIZE];
    struct lease_host row;
};

struct gpart {
    char handler[8], text[24];
    bool end;
};

struct grow {
    char shard[24], parent[24], owner[LEASE_SESSION_SIZE], nonce[LEASE_NONCE_SIZE];
    int64_t epoch, version;
    double load;
    struct gpart parts[HANDLERS_MAX];
    size_t part_count;
    int bucket;
};

struct gmail {
    char session[LEASE_SESSION_SIZE], id[LEASE_NONCE_SIZE], shard[24];
    int64_t epoch;
};

struct gtable {
    struct group *group;
    char gid[LEASE_NONCE_SIZE];
    bool opened;
    struct ghost_row *hosts, *old_hosts;
    size_t host_count, host_capacity, old_count;
    int64_t old_us;
    struct map rows; /* shard -> struct grow, owned */
    struct grow **by_bucket[LEASE_BUCKETS + 1];
    size_t bucket_count[LEASE_BUCKETS + 1], bucket_capacity[LEASE_BUCKETS + 1];
    struct gmail *mail;
    size_t mail_count, mail_capacity;
};

/* ---- answers that outlive the moment ---- */

struct gcall {
    struct gwire *wire;
    struct lease_request request;
    struct lease_answer answer;
    struct arena arena;
    lease_answer_fn *done; /* NULL: nobody waits any more */
    void *user;
    int events; /* of the world that still name it */
    bool throttled, answered;
};

struct gwire {
    struct lease_table table;
    struct gtable *rows;
    struct ghost *host;
};

static char *keep(struct arena *arena, const char *text)
{
    return text ? arena_copy(arena, text, strlen(text)) : NULL;
}

static struct lease_row show_row(struct arena *arena, const struct grow *row)
{
    struct lease_part *parts = arena_alloc(arena, sizeof *parts * HANDLERS_MAX);
    for (size_t i = 0; i < row->part_count; i++)
        parts[i] = (struct lease_part){keep(arena, row->parts[i].handler), keep(arena, row->parts[i].text),
                                       row->parts[i].end};
    return (struct lease_row){
        .stream = STREAM,
        .shard = keep(arena, row->shard),
        .parents = {*row->parent ? keep(arena, row->parent) : NULL, NULL},
        .owner = keep(arena, row->owner),
        .epoch = row->epoch,
        .version = row->version,
        .nonce = keep(arena, row->nonce),
        .load = row->load,
        .parts = parts,
        .part_count = row->part_count,
    };
}

static void show_rows(struct gcall *call, struct grow *const *rows, size_t count)
{
    struct lease_row *shown = arena_alloc(&call->arena, sizeof *shown * (count + 1));
    for (size_t i = 0; i < count; i++)
        shown[i] = show_row(&call->arena, rows[i]);
    call->answer.rows = shown;
    call->answer.row_count = count;
}

static void show_hosts(struct gcall *call, const struct ghost_row *hosts, size_t count)
{
    struct lease_host *shown = arena_alloc(&call->arena, sizeof *shown * (count + 1));
    for (size_t i = 0; i < count; i++) {
        shown[i] = hosts[i].row;
        shown[i].session = keep(&call->arena, hosts[i].session);
        shown[i].beat = keep(&call->arena, hosts[i].beat);
        shown[i].follows = keep(&call->arena, hosts[i].follows);
    }
    call->answer.hosts = shown;
    call->answer.host_count = count;
}

/* ---- hosts ---- */

static struct ghost_row *find_host(struct gtable *table, const char *session)
{
    for (size_t i = 0; i < table->host_count; i++)
        if (strcmp(table->hosts[i].session, session) == 0)
            return &table->hosts[i];
    return NULL;
}

static void set_texts(struct ghost_row *row, const struct lease_host *host)
{
    snprintf(row->beat, sizeof row->beat, "%s", host->beat);
    snprintf(row->follows, sizeof row->follows, "%s", host->follows ? host->follows : "");
    row->row.version = row->row.fingerprint = "";
}

static struct ghost_row *add_host(struct gtable *table, const struct lease_host *host)
{
    mem_grow(&table->hosts, &table->host_capacity, table->host_count, sizeof *table->hosts);
    struct ghost_row *row = &table->hosts[table->host_count++];
    *row = (struct ghost_row){.row = *host};
    snprintf(row->session, sizeof row->session, "%s", host->session);
    set_texts(row, host);
    return row;
}

static void remove_host(struct gtable *table, struct ghost_row *row)
{
    *row = table->hosts[--table->host_count];
}

/* One that nobody had an answer for, when it was born, is nobody's. */
static bool lives(const struct group *group, const char *session)
{
    for (size_t i = 0; i < group->host_count; i++)
        if (!group->hosts[i]->gone && strcmp(ghost_name(group->hosts[i]), session) == 0)
            return true;
    return false;
}

static enum lease_outcome do_host(struct gtable *table, struct gcall *call)
{
    const struct lease_request *request = &call->request;
    struct ghost_row *row = find_host(table, request->host.session);
    bool dead = row && row->row.death;
    switch (request->kind) {
    case LEASE_CREATE_HOST:
    case LEASE_BURY:
        if (row) {
            show_hosts(call, row, 1);
            return LEASE_REFUSED;
        }
        table->group->marks += request->kind == LEASE_BURY;
        add_host(table, &request->host);
        return LEASE_OK;
    case LEASE_BEAT:
    case LEASE_MARK:
        if (!row || dead || strcmp(row->beat, request->last) != 0)
            break;
        if (request->kind == LEASE_MARK) {
            row->row.death = request->death;
            table->group->marks += request->death == LEASE_MARKED;
            table->group->living_marked +=
                request->death == LEASE_MARKED && lives(table->group, request->host.session);
        } else {
            int64_t mail = row->row.mail;
            row->row = request->host;
            row->row.mail = mail;
            set_texts(row, &request->host);
        }
        show_hosts(call, row, 1);
        return LEASE_OK;
    case LEASE_FORGET_HOST:
        if (!row || !dead)
            break;
        remove_host(table, row);
        return LEASE_OK;
    default: /* LEASE_TELL */
        if (!row || dead)
            break;
        row->row.mail++;
        row->row.load += request->row.load;
        return LEASE_OK;
    }
    if (row)
        show_hosts(call, row, 1);
    return LEASE_REFUSED;
}

static void list_hosts(struct gtable *table, struct gcall *call)
{
    struct group *group = table->group;
    bool old = group_faulty(group) && group_chance(group, 400);
    if (old)
        show_hosts(call, table->old_hosts, table->old_count);
    else
        show_hosts(call, table->hosts, table->host_count);
    if (group->now_us - table->old_us > group_between(group, 0, 2 * US_S)) {
        free(table->old_hosts);
        table->old_hosts =
            (struct ghost_row *)mem_copy(table->hosts, table->host_count * sizeof *table->hosts);
        table->old_count = table->host_count;
        table->old_us = group->now_us;
    }
}

/* ---- rows ---- */

static struct gpart *find_part(struct grow *row, const char *handler, bool make)
{
    for (size_t i = 0; i < row->part_count; i++)
        if (strcmp(row->parts[i].handler, handler) == 0)
            return &row->parts[i];
    if (!make)
        return NULL;
    CHECK(row->part_count < HANDLERS_MAX);
    struct gpart *part = &row->parts[row->part_count++];
    *part = (struct gpart){.text = "0"};
    snprintf(part->handler, sizeof part->handler, "%s", handler);
    return part;
}

static void add_row(struct gtable *table, const struct lease_row *asked)
{
    struct grow *row = mem_zero(sizeof *row);
    int bucket = lease_bucket(asked->shard);
    snprintf(row->shard, sizeof row->shard, "%s", asked->shard);
    snprintf(row->parent, sizeof row->parent, "%s", asked->parents[0] ? asked->parents[0] : "");
    snprintf(row->owner, sizeof row->owner, "%s", asked->owner);
    snprintf(row->nonce, sizeof row->nonce, "%s", asked->nonce);
    row->epoch = asked->epoch;
    row->version = 1;
    row->load = asked->load;
    row->bucket = bucket;
    map_set(&table->rows, row->shard, row);
    mem_grow(&table->by_bucket[bucket], &table->bucket_capacity[bucket], table->bucket_count[bucket],
             sizeof **table->by_bucket);
    table->by_bucket[bucket][table->bucket_count[bucket]++] = row;
}

/* An epoch is one owner's. */
static void check_owner(struct group *group, const struct grow *row)
{
    char key[64];
    snprintf(key, sizeof key, "%s %" PRId64, row->shard, row->epoch);
    char *before = map_get(&group->committed, key);
    if (!before)
        map_set(&group->committed, key, mem_string(row->owner));
    else if (strcmp(before, row->owner) != 0)
        group_violated(group, "TWO_COMMIT: %s in epoch %" PRId64 " was %s's and is %s's", row->shard,
                       row->epoch, before, row->owner);
}

static void put_part(struct gtable *table, struct grow *row, const struct lease_part *asked)
{
    struct gpart *part = find_part(row, asked->handler, true);
    if (strtoll(asked->text, NULL, 10) < strtoll(part->text, NULL, 10))
        group_violated(table->group, "CKPT_BACK: %s of %s goes from %s to %s", asked->handler, row->shard,
                       part->text, asked->text);
    if (part->end && !asked->end)
        group_violated(table->group, "END_UNDONE: %s of %s", asked->handler, row->shard);
    snprintf(part->text, sizeof part->text, "%s", asked->text);
    part->end = asked->end;
}

static void forget_row(struct gtable *table, struct grow *row)
{
    struct gshard *shard = map_get(&table->group->by_id, row->shard);
    bool all = shard && shard->unlisted;
    for (size_t i = 0; i < row->part_count; i++)
        all = all && row->parts[i].end;
    if (!all)
        group_violated(table->group, "FORGOTTEN: the row of %s, which has not ended", row->shard);
    else
        shard->forgotten = true;
    table->group->forgotten++;
    map_remove(&table->rows, row->shard);
    struct grow **rows = table->by_bucket[row->bucket];
    size_t at = 0, count = table->bucket_count[row->bucket];
    while (rows[at] != row)
        at++;
    memmove(&rows[at], &rows[at + 1], (count - at - 1) * sizeof *rows);
    table->bucket_count[row->bucket]--;
    free(row);
}

static enum lease_outcome do_row(struct gtable *table, struct gcall *call)
{
    const struct lease_request *request = &call->request;
    struct grow *row = map_get(&table->rows, request->row.shard);
    enum lease_outcome outcome = LEASE_REFUSED;
    if (request->kind == LEASE_CREATE_ROW && !row) {
        add_row(table, &request->row);
        row = map_get(&table->rows, request->row.shard);
        check_owner(table->group, row);
        outcome = LEASE_OK;
    } else if (request->kind == LEASE_READ_ROW && row) {
        outcome = LEASE_OK;
    } else if (request->kind == LEASE_WRITE_ROW && row && strcmp(row->owner, request->seen.owner) == 0 &&
               row->epoch == request->seen.epoch &&
               (!request->seen.version || row->version == request->seen.version)) {
        table->group->moves += strcmp(row->owner, request->row.owner) != 0;
        check_owner(table->group, row); /* in whose name this is written */
        snprintf(row->owner, sizeof row->owner, "%s", request->row.owner);
        snprintf(row->nonce, sizeof row->nonce, "%s", request->row.nonce);
        row->epoch = request->row.epoch;
        row->version++;
        row->load = request->row.load;
        for (size_t i = 0; i < request->row.part_count; i++)
            put_part(table, row, &request->row.parts[i]);
        check_owner(table->group, row);
        outcome = LEASE_OK;
    } else if (request->kind == LEASE_DELETE_ROW && row && strcmp(row->owner, request->seen.owner) == 0 &&
               row->epoch == request->seen.epoch && row->version == request->seen.version) {
        forget_row(table, row);
        row = NULL;
        outcome = LEASE_OK;
    }
    if (row)
        show_rows(call, &row, 1);
    return outcome;
}

/* ---- mail ---- */

static void do_mail(struct gtable *table, struct gcall *call)
{
    const struct lease_request *request = &call->request;
    if (request->kind != LEASE_LIST_MAIL)
        group_trace(table->group, "  table: %s's request %d: mail of %s to %s: %s in epoch %" PRId64,
                    ghost_name(call->wire->host), request->kind, request->mail.id, request->host.session,
                    request->mail.shard ? request->mail.shard : "", request->mail.epoch);
    size_t count = 0;
    if (request->kind == LEASE_LIST_MAIL) {
        struct lease_mail *mail = arena_alloc(&call->arena, (table->mail_count + 1) * sizeof *mail);
        for (size_t i = 0; i < table->mail_count; i++)
            if (strcmp(table->mail[i].session, request->host.session) == 0)
                mail[count++] =
                    (struct lease_mail){keep(&call->arena, table->mail[i].id), STREAM,
                                        keep(&call->arena, table->mail[i].shard), table->mail[i].epoch};
        call->answer.mail = mail;
        call->answer.mail_count = count;
        return;
    }
    for (size_t i = 0; i < table->mail_count; i++)
        if (strcmp(table->mail[i].session, request->host.session) == 0 &&
            strcmp(table->mail[i].id, request->mail.id) == 0)
            table->mail[i--] = table->mail[--table->mail_count];
    if (request->kind == LEASE_DELETE_MAIL)
        return;
    mem_grow(&table->mail, &table->mail_capacity, table->mail_count, sizeof *table->mail);
    struct gmail *mail = &table->mail[table->mail_count++];
    *mail = (struct gmail){.epoch = request->mail.epoch};
    snprintf(mail->session, sizeof mail->session, "%s", request->host.session);
    snprintf(mail->id, sizeof mail->id, "%s", request->mail.id);
    snprintf(mail->shard, sizeof mail->shard, "%s", request->mail.shard);
}

/* ---- one request ---- */

static enum lease_outcome do_group(struct gtable *table, struct gcall *call)
{
    const struct lease_request *request = &call->request;
    bool there = *table->gid != '\0';
    if (request->kind == LEASE_CREATE_GROUP && !there)
        snprintf(table->gid, sizeof table->gid, "%s", request->gid);
    else if (request->kind == LEASE_OPEN_GROUP && strcmp(table->gid, request->gid) == 0 && !table->opened)
        table->opened = true;
    else if (request->kind != LEASE_READ_GROUP || !there)
        return LEASE_REFUSED;
    call->answer.gid = keep(&call->arena, table->gid);
    call->answer.opened = table->opened;
    return LEASE_OK;
}

static void carry_out(struct gtable *table, struct gcall *call)
{
    static const char reads[] = {[LEASE_READ_GROUP] = 1,  [LEASE_LIST_HOSTS] = 1, [LEASE_READ_ROW] = 1,
                                 [LEASE_LIST_BUCKET] = 1, [LEASE_LIST_MAIL] = 1,  [LEASE_DELETE_MAIL] = 0};
    enum lease_outcome outcome = LEASE_OK;
    table->group->units[!reads[call->request.kind]]++;
    switch (call->request.kind) {
    case LEASE_READ_GROUP:
    case LEASE_CREATE_GROUP:
    case LEASE_OPEN_GROUP:
        outcome = do_group(table, call);
        break;
    case LEASE_LIST_HOSTS:
        list_hosts(table, call);
        break;
    case LEASE_CREATE_HOST:
    case LEASE_BEAT:
    case LEASE_MARK:
    case LEASE_BURY:
    case LEASE_FORGET_HOST:
    case LEASE_TELL:
        outcome = do_host(table, call);
        break;
    case LEASE_CREATE_ROW:
    case LEASE_WRITE_ROW:
    case LEASE_READ_ROW:
    case LEASE_DELETE_ROW:
        outcome = do_row(table, call);
        break;
    case LEASE_LIST_BUCKET:
        show_rows(call, table->by_bucket[call->request.bucket], table->bucket_count[call->request.bucket]);
        break;
    case LEASE_PUT_MAIL:
    case LEASE_LIST_MAIL:
    case LEASE_DELETE_MAIL:
        do_mail(table, call);
        break;
    }
    call->answer.outcome = outcome;
    if (call->request.row.shard || call->request.kind == LEASE_LIST_BUCKET)
        group_trace(table->group,
                    "  table: %s's request %d of %s (%d): owner %s, epoch %" PRId64 ", seen %s %" PRId64
                    ": %s",
                    ghost_name(call->wire->host), call->request.kind,
                    call->request.row.shard ? call->request.row.shard : "a bucket", call->request.bucket,
                    call->request.row.owner, call->request.row.epoch, call->request.seen.owner,
                    call->request.seen.epoch, outcome == LEASE_OK ? "done" : "refused");
    if (call->request.kind >= LEASE_CREATE_HOST && call->request.kind <= LEASE_TELL &&
        call->request.kind != LEASE_BEAT)
        group_trace(table->group, "  table: %s's request %d on %s: %s", ghost_name(call->wire->host),
                    call->request.kind, call->request.host.session, outcome == LEASE_OK ? "done" : "refused");
    call->answer.server_ms = 1000000 + table->group->now_us / US_MS;
}

/* ---- the wire ---- */

static void release(struct gcall *call)
{
    if (--call->events)
        return;
    arena_fini(&call->arena);
    free(call);
}

static void deliver(void *subject)
{
    struct gcall *call = subject;
    lease_answer_fn *done = call->done;
    call->done = NULL;
    if (done)
        done(call->user, &call->answer);
    release(call);
}

static void on_answer(struct event *event)
{
    struct gcall *call = event->subject;
    free(event);
    if (call->done && !ghost_is_gone(call->wire->host))
        ghost_wake(call->wire->host, deliver, call);
    else
        release(call);
}

static void time_out(void *subject)
{
    struct gcall *call = subject;
    struct lease_answer unknown = {.outcome = LEASE_UNKNOWN};
    lease_answer_fn *done = call->done;
    call->done = NULL;
    if (done)
        done(call->user, &unknown);
    release(call);
}

static void on_timeout(struct event *event)
{
    struct gcall *call = event->subject;
    free(event);
    if (call->done && !ghost_is_gone(call->wire->host))
        ghost_wake(call->wire->host, time_out, call);
    else
        release(call);
}

static void on_arrival(struct event *event)
{
    struct gcall *call = event->subject;
    struct gtable *table = call->wire->rows;
    struct group *group = table->group;
    free(event);
    bool lost = (group_faulty(group) && group_chance(group, 30)) || !ghost_reaches(call->wire->host, true);
    int64_t back_us = group_between(group, 2 * US_MS, 20 * US_MS);
    if (group_faulty(group) && group_chance(group, 30))
        back_us += group_exponential(group, 3 * US_S);
    if (call->throttled) {
        call->answer = (struct lease_answer){.outcome = LEASE_NOT_DONE};
    } else {
        carry_out(table, call);
    }
    if (lost)
        release(call);
    else
        group_at(group, group->now_us + back_us, on_answer, call);
}

static struct lease_call *wire_send(struct lease_table *table, const struct lease_request *request,
                                    int64_t timeout_ms, lease_answer_fn *done, void *user)
{
    struct gwire *wire = (struct gwire *)table;
    struct group *group = wire->rows->group;
    struct gcall *call = mem_zero(sizeof *call);
    int64_t to_us = group_between(group, 2 * US_MS, 20 * US_MS);
    *call = (struct gcall){.wire = wire, .done = done, .user = user, .events = 1};
    call->request = lease_request_copy(&call->arena, request);
    group->requests++;
    group_at(group, group->now_us + (int64_t)((double)(timeout_ms * US_MS) / ghost_rate(wire->host)),
             on_timeout, call);
    bool lost = (group_faulty(group) && group_chance(group, 30)) || !ghost_reaches(wire->host, false);
    if (group_faulty(group) && group_chance(group, 30))
        to_us += group_exponential(group, 3 * US_S);
    call->throttled = group_faulty(group) && group_chance(group, 30);
    if (!lost) {
        call->events++;
        group_at(group, group->now_us + to_us, on_arrival, call);
    }
    return (struct lease_call *)call;
}

static void wire_cancel(struct lease_table *table, struct lease_call *handle)
{
    (void)table;
    ((struct gcall *)handle)->done = NULL;
}

static const struct lease_table_ops wire_ops = {wire_send, wire_cancel};

struct lease_table *gwire_new(struct gtable *table, struct ghost *host)
{
    struct gwire *wire = mem_zero(sizeof *wire);
    *wire = (struct gwire){{&wire_ops}, table, host};
    return &wire->table;
}

void gwire_free(struct lease_table *wire)
{
    free(wire);
}

/* ---- life ---- */

struct gtable *gtable_new(struct group *group)
{
    struct gtable *table = mem_zero(sizeof *table);
    table->group = group;
    return table;
}

void gtable_wipe(struct gtable *table)
{
    struct grow *row;
    size_t at = 0;
    while ((row = map_next(&table->rows, &at, NULL)))
        free(row);
    map_fini(&table->rows);
    table->rows = MAP_INIT;
    for (int i = 0; i <= LEASE_BUCKETS; i++)
        table->bucket_count[i] = 0;
    table->host_count = table->old_count = table->mail_count = 0;
    table->gid[0] = '\0';
    table->opened = false;
}

void gtable_expire_hosts(struct gtable *table)
{
    if (table->host_count)
        remove_host(table, &table->hosts[group_below(table->group, (int)table->host_count)]);
}

void gtable_free(struct gtable *table)
{
    gtable_wipe(table);
    for (int i = 0; i <= LEASE_BUCKETS; i++)
        free(table->by_bucket[i]);
    free(table->hosts);
    free(table->old_hosts);
    free(table->mail);
    free(table);
}

const char *gtable_owner(struct gtable *table, const char *shard, int64_t *epoch)
{
    const struct grow *row = map_get(&table->rows, shard);
    *epoch = row ? row->epoch : 0;
    return row ? row->owner : "";
}

bool gtable_part(struct gtable *table, const char *shard, const char *handler, int64_t *at, bool *end)
{
    const struct gshard *its = map_get(&table->group->by_id, shard);
    struct grow *row = map_get(&table->rows, shard);
    const struct gpart *part = row ? find_part(row, handler, false) : NULL;
    if (!row && its && its->unlisted) {
        *at = strcmp(handler, "a") == 0 ? its->count : 0;
        *end = true;
        return true;
    }
    *at = part ? strtoll(part->text, NULL, 10) : 0;
    *end = part && part->end;
    return part != NULL;
}
