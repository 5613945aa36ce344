/* sqlite_write.c: what batches write, and claims. */
#include <stdlib.h>

#include "base/mem.h"
#include "state/sqlite/sqlite_internal.h"

#define EVENTS_KEPT 10000
#define REQUESTS_KEPT 100
#define HOSTS_KEPT 100
#define CLAIMS_BETWEEN_SWEEPS 500

/* ---- writing ---- */

static bool put_checkpoint(struct store_sqlite *sqlite, const struct store_checkpoint *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_CHECKPOINT, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    sqlite_bind(s, 3, row->stream_arn);
    sqlite_bind(s, 4, row->shard);
    sqlite3_bind_int(s, 5, row->position.kind);
    sqlite_bind(s, 6, row->position.sequence);
    sqlite3_bind_int64(s, 7, row->position.since_ms);
    sqlite3_bind_int64(s, 8, row->position.record_time_ms);
    sqlite_bind(s, 9, row->progress);
    return sqlite_step(sqlite, s, err);
}

static bool put_follow(struct store_sqlite *sqlite, const struct store_follow *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_FOLLOW, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->stream);
    sqlite_bind(s, 3, row->handler);
    sqlite_bind(s, 4, row->stream_arn);
    sqlite3_bind_int64(s, 5, row->since_ms);
    sqlite_bind(s, 6, row->over);
    return sqlite_step(sqlite, s, err);
}

/* It was redriven, and failed again. */
static bool change_dead_letter(struct store_sqlite *sqlite, const struct store_dead_letter *row,
                               struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, CHANGE_DEAD_LETTER, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, row->id);
    sqlite_bind(s, 3, row->error);
    sqlite_bind(s, 4, row->traceback);
    sqlite3_bind_int64(s, 5, row->attempts);
    sqlite3_bind_int64(s, 6, row->failed_ms);
    sqlite_bind(s, 7, row->version);
    sqlite_bind(s, 8, row->condition);
    sqlite_bind(s, 9, row->refused_by);
    return sqlite_step(sqlite, s, err);
}

static bool put_dead_letter(struct store_sqlite *sqlite, const struct store_dead_letter *row, struct err *err)
{
    if (row->id)
        return change_dead_letter(sqlite, row, err);
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_DEAD_LETTER, err);
    if (!s)
        return false;
    const char *texts[] = {row->handler, row->stream_arn, row->shard, row->sequence, row->event_id,
                           row->keys,    row->record,     row->error, row->traceback};
    for (int i = 0; i < 9; i++)
        sqlite_bind(s, i + 2, texts[i]);
    sqlite3_bind_int64(s, 11, row->attempts);
    sqlite3_bind_int64(s, 12, row->record_time_ms);
    sqlite3_bind_int64(s, 13, row->failed_ms);
    sqlite_bind(s, 14, row->version);
    sqlite_bind(s, 15, row->table);
    sqlite_bind(s, 16, row->condition);
    sqlite_bind(s, 17, row->refused_by);
    sqlite3_bind_int64(s, 18, row->redrive_ms);
    return sqlite_step(sqlite, s, err);
}

static bool put_event(struct store_sqlite *sqlite, const struct store_event *row, struct err *err)
{
    const char *texts[] = {row->kind,          row->handler,     row->stream_arn, row->shard,
                           row->from_sequence, row->to_sequence, row->text};
    sqlite3_stmt *s =
        sqlite_begin(sqlite, FORGET_EVENT, err); /* it may have been told before: of each, one */
    for (int i = 0; s && i < 5; i++)
        sqlite_bind(s, i + 2, texts[i]);
    if (!s || !sqlite_step(sqlite, s, err) || !(s = sqlite_begin(sqlite, PUT_EVENT, err)))
        return false;
    for (int i = 0; i < 7; i++)
        sqlite_bind(s, i + 2, texts[i]);
    sqlite3_bind_int64(s, 9, row->time_ms);
    if (!sqlite_step(sqlite, s, err) || !(s = sqlite_begin(sqlite, TRIM_EVENTS, err)))
        return false;
    sqlite3_bind_int64(s, 2, EVENTS_KEPT);
    return sqlite_step(sqlite, s, err);
}

static bool put_handler(struct store_sqlite *sqlite, const struct store_handler *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_HANDLER, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    sqlite_bind(s, 3, row->version);
    sqlite3_bind_int64(s, 4, row->loaded_ms);
    return sqlite_step(sqlite, s, err);
}

static bool put_shard(struct store_sqlite *sqlite, const struct store_shard *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_SHARD, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->stream_arn);
    sqlite_bind(s, 3, row->shard);
    sqlite3_bind_int64(s, 4, row->get_records_calls);
    sqlite3_bind_int64(s, 5, row->records);
    sqlite3_bind_int64(s, 6, row->read_ms);
    sqlite3_bind_int64(s, 7, row->caught_up_ms);
    return sqlite_step(sqlite, s, err);
}

static bool forget_shard(struct store_sqlite *sqlite, const struct store_shard *row, struct err *err)
{
    static const enum statement all[] = {FORGET_CHECKPOINTS, FORGET_SHARD, FORGET_SUBSCRIPTIONS};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_stmt *s = sqlite_begin(sqlite, all[i], err);
        if (!s)
            return false;
        sqlite_bind(s, 2, row->stream_arn);
        sqlite_bind(s, 3, row->shard);
        if (!sqlite_step(sqlite, s, err))
            return false;
    }
    return true;
}

static bool forget_events(struct store_sqlite *sqlite, const struct store_event *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, FORGET_EVENTS, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    return sqlite_step(sqlite, s, err);
}

static bool put_trouble(struct store_sqlite *sqlite, const struct store_trouble *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_TROUBLE, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->subject);
    sqlite_bind(s, 3, row->kind);
    sqlite_bind(s, 4, row->text);
    sqlite3_bind_int64(s, 5, row->since_ms);
    sqlite3_bind_int64(s, 6, row->last_ms);
    sqlite3_bind_int64(s, 7, row->count);
    return sqlite_step(sqlite, s, err);
}

static bool forget_trouble(struct store_sqlite *sqlite, const struct store_trouble *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, FORGET_TROUBLE, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->subject);
    sqlite_bind(s, 3, row->kind);
    return sqlite_step(sqlite, s, err);
}

static bool put_host(struct store_sqlite *sqlite, const struct store_host *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_HOST, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->instance);
    sqlite_bind(s, 3, row->version);
    sqlite3_bind_int64(s, 4, row->started_ms);
    sqlite3_bind_int64(s, 5, row->beat_ms);
    sqlite3_bind_int64(s, 6, row->stopped_ms);
    sqlite3_bind_int64(s, 7, row->longest_step_ms);
    sqlite_bind(s, 8, row->longest_step);
    return sqlite_step(sqlite, s, err);
}

static bool begin_host(struct store_sqlite *sqlite, const struct store_host *row, struct err *err)
{
    static const enum statement left[] = {FORGET_TROUBLES, FORGET_CLAIMS, TRIM_HOSTS};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        sqlite3_stmt *s = sqlite_begin(sqlite, left[i], err);
        if (!s)
            return false;
        if (left[i] == TRIM_HOSTS)
            sqlite3_bind_int64(s, 2, HOSTS_KEPT);
        if (!sqlite_step(sqlite, s, err))
            return false;
    }
    return put_host(sqlite, row, err);
}

static bool put_marker(struct store_sqlite *sqlite, const struct store_marker *row, bool done,
                       struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, row->result ? PUT_MARKER : FORGET_MARKER, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    sqlite_bind(s, 3, row->key);
    if (row->result) {
        sqlite3_bind_int(s, 4, done);
        sqlite_bind(s, 5, row->result);
        sqlite3_bind_int64(s, 6, row->expires_ms);
    }
    sqlite_bind(s, 7, row->owner);
    return sqlite_step(sqlite, s, err);
}

static bool forget_dead_letter(struct store_sqlite *sqlite, const struct store_dead_letter *row,
                               struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, FORGET_DEAD_LETTER, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, row->id);
    sqlite3_bind_int64(s, 3, row->redrive_ms);
    return sqlite_step(sqlite, s, err);
}

static bool mark_dead_letter(struct store_sqlite *sqlite, const struct store_dead_letter *row,
                             struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, MARK_DEAD_LETTER, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, row->id);
    sqlite3_bind_int64(s, 3, row->redrive_ms);
    return sqlite_step(sqlite, s, err);
}

static bool put_request(struct store_sqlite *sqlite, const struct store_request *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_REQUEST, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->kind);
    sqlite_bind(s, 3, row->handler);
    sqlite_bind(s, 4, row->shard);
    sqlite_bind(s, 5, row->argument);
    sqlite3_bind_int64(s, 6, row->created_ms);
    sqlite3_bind_int64(s, 7, row->id);
    if (!sqlite_step(sqlite, s, err) || !(s = sqlite_begin(sqlite, TRIM_REQUESTS, err)))
        return false;
    sqlite3_bind_int64(s, 2, REQUESTS_KEPT);
    return sqlite_step(sqlite, s, err);
}

static bool answer_request(struct store_sqlite *sqlite, const struct store_request *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, ANSWER_REQUEST, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, row->id);
    sqlite3_bind_int(s, 3, (int)row->answered);
    sqlite_bind(s, 4, row->answer);
    return sqlite_step(sqlite, s, err);
}

static bool put_subscription(struct store_sqlite *sqlite, const struct store_subscription *row,
                             struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_SUBSCRIPTION, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    sqlite_bind(s, 3, row->stream_arn);
    sqlite_bind(s, 4, row->shard);
    const int64_t numbers[] = {row->in_flight,   row->retrying,  row->waiting,
                               row->catching_up, row->oldest_ms, row->time_ms};
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(s, 5 + i, numbers[i]);
    return sqlite_step(sqlite, s, err);
}

static bool forget_checkpoints(struct store_sqlite *sqlite, const struct store_checkpoint *row,
                               struct err *err)
{
    bool rewinds = row->position.since_ms != 0; /* store_rewind_checkpoints */
    sqlite3_stmt *s = sqlite_begin(sqlite, rewinds ? REWIND_CHECKPOINTS : FORGET_HANDLER_CHECKPOINTS, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->handler);
    if (rewinds) {
        sqlite3_bind_int(s, 3, POSITION_LATEST);
        sqlite3_bind_int64(s, 4, row->position.since_ms);
        sqlite3_bind_int(s, 5, POSITION_FINISHED);
        return sqlite_step(sqlite, s, err);
    }
    sqlite_bind(s, 3, row->stream_arn);
    sqlite_bind(s, 4, row->shard);
    if (!sqlite_step(sqlite, s, err) || !(s = sqlite_begin(sqlite, FORGET_SUBSCRIPTIONS_OF, err)))
        return false;
    sqlite_bind(s, 2, row->handler);
    sqlite_bind(s, 3, row->stream_arn);
    sqlite_bind(s, 4, row->shard);
    return sqlite_step(sqlite, s, err);
}

static bool put_usage(struct store_sqlite *sqlite, const struct store_usage *row, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, PUT_USAGE, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, row->day);
    sqlite_bind(s, 3, row->instance);
    sqlite_bind(s, 4, row->text);
    if (!sqlite_step(sqlite, s, err) || !(s = sqlite_begin(sqlite, TRIM_USAGE, err)))
        return false;
    sqlite_bind(s, 2, row->day);
    sqlite3_bind_int(s, 3, STORE_USAGE_DAYS);
    return sqlite_step(sqlite, s, err);
}

static bool inherit(struct store_sqlite *sqlite, const char *heir, const char *former, struct err *err)
{
    static const enum statement taken[] = {INHERIT_CHECKPOINTS, INHERIT_FOLLOWS};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        sqlite3_stmt *s = sqlite_begin(sqlite, taken[i], err);
        if (!s)
            return false;
        sqlite_bind(s, 2, heir);
        sqlite_bind(s, 3, former);
        if (!sqlite_step(sqlite, s, err))
            return false;
    }
    return true;
}

static bool forget_handler(struct store_sqlite *sqlite, const char *handler, struct err *err)
{
    static const enum statement forgotten[] = {FORGET_HANDLER_FOLLOWS, FORGET_HANDLER_MARKERS,
                                               FORGET_HANDLER_SUBSCRIPTIONS, FORGET_HANDLER_TROUBLES,
                                               FORGET_HANDLER_VERSION};
    for (size_t i = 0; i < sizeof forgotten / sizeof *forgotten; i++) {
        sqlite3_stmt *s = sqlite_begin(sqlite, forgotten[i], err);
        if (!s)
            return false;
        sqlite_bind(s, 2, handler);
        if (!sqlite_step(sqlite, s, err))
            return false;
    }
    return true;
}

bool sqlite_write(struct store_sqlite *sqlite, const struct store_write *write, struct err *err)
{
    switch (write->kind) {
    case WRITE_CHECKPOINT:
        return put_checkpoint(sqlite, &write->checkpoint, err);
    case WRITE_FOLLOW:
        return put_follow(sqlite, &write->follow, err);
    case WRITE_DEAD_LETTER:
        return put_dead_letter(sqlite, &write->dead_letter, err);
    case WRITE_EVENT:
        return put_event(sqlite, &write->event, err);
    case WRITE_HANDLER:
        return put_handler(sqlite, &write->handler, err);
    case WRITE_SHARD:
        return put_shard(sqlite, &write->shard, err);
    case WRITE_FORGET_SHARD:
        return forget_shard(sqlite, &write->shard, err);
    case WRITE_MARKER:
        return put_marker(sqlite, &write->marker, true, err);
    case WRITE_FORGET_DEAD_LETTER:
        return forget_dead_letter(sqlite, &write->dead_letter, err);
    case WRITE_MARK_DEAD_LETTER:
        return mark_dead_letter(sqlite, &write->dead_letter, err);
    case WRITE_REQUEST:
        return put_request(sqlite, &write->request, err);
    case WRITE_ANSWER:
        return answer_request(sqlite, &write->request, err);
    case WRITE_SUBSCRIPTION:
        return put_subscription(sqlite, &write->subscription, err);
    case WRITE_FORGET_CHECKPOINTS:
        return forget_checkpoints(sqlite, &write->checkpoint, err);
    case WRITE_FORGET_EVENTS:
        return forget_events(sqlite, &write->event, err);
    case WRITE_TROUBLE:
        return put_trouble(sqlite, &write->trouble, err);
    case WRITE_FORGET_TROUBLE:
        return forget_trouble(sqlite, &write->trouble, err);
    case WRITE_HOST:
        return put_host(sqlite, &write->host, err);
    case WRITE_TOLD: /* of states that hosts share */
        return true;
    case WRITE_USAGE:
        return put_usage(sqlite, &write->usage, err);
    case WRITE_INHERIT:
        return inherit(sqlite, write->heritage.handler, write->heritage.former, err);
    case WRITE_FORGET_HANDLER:
        return forget_handler(sqlite, write->heritage.handler, err);
    case WRITE_BEGIN_HOST:
        return begin_host(sqlite, &write->host, err);
    }
    return true;
}

/* ---- claiming ---- */

/* One that is in progress is nobody's when its time is over, or when whoever had it is gone. */
static bool look_up_marker(struct store_sqlite *sqlite, const struct store_claim *claim,
                           struct claimed *claimed, struct err *err)
{
    sqlite3_stmt *s = sqlite_begin(sqlite, GET_MARKER, err);
    if (!s)
        return false;
    sqlite_bind(s, 2, claim->handler);
    sqlite_bind(s, 3, claim->key);
    int code = sqlite3_step(s);
    claimed->claim = CLAIM_WON;
    if (code == SQLITE_ROW && sqlite3_column_int64(s, 2) > claim->now_ms) {
        const char *owner = (const char *)sqlite3_column_text(s, 3);
        bool done = sqlite3_column_int(s, 0);
        if (done || !store_owner_is_gone(owner ? owner : ""))
            claimed->claim = done ? CLAIM_DONE : CLAIM_BUSY;
        claimed->result = mem_string((const char *)sqlite3_column_text(s, 1));
        claimed->expires_ms = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE || sqlite_problem(sqlite, "cannot read", err);
}

static bool sweep_markers(struct store_sqlite *sqlite, int64_t now_ms, struct err *err)
{
    if (++sqlite->claims < CLAIMS_BETWEEN_SWEEPS)
        return true;
    sqlite->claims = 0;
    sqlite3_stmt *s = sqlite_begin(sqlite, FORGET_EXPIRED, err);
    if (!s)
        return false;
    sqlite3_bind_int64(s, 2, now_ms);
    return sqlite_step(sqlite, s, err);
}

/* Looked up and claimed in one transaction: other reactors have connections of their own. */
bool sqlite_claim(struct store_sqlite *sqlite, const struct store_claim *claim, struct claimed *claimed,
                  struct err *err)
{
    const struct store_marker marker = {claim->handler, claim->key, "", claim->until_ms, claim->owner};
    if (!sqlite_run(sqlite, "BEGIN IMMEDIATE", err))
        return false;
    bool ok = sweep_markers(sqlite, claim->now_ms, err) && look_up_marker(sqlite, claim, claimed, err) &&
              (claimed->claim != CLAIM_WON || put_marker(sqlite, &marker, false, err)) &&
              sqlite_run(sqlite, "COMMIT", err);
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}
