/* letters.c: see letters.h. */
#include "admin/letters.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#define PAGE 500
#define LIMIT_MAX 100 /* each may have 400 KB */

/* Records and keys stand as they are, with all their digits. */
static void write_letter(const struct store_dead_letter *letter, bool whole, struct buf *out)
{
    buf_printf(out, "{\"id\":%lld,\"attempts\":%lld,\"failed_ms\":%lld,\"record_time_ms\":%lld,\"marked\":%s",
               (long long)letter->id, (long long)letter->attempts, (long long)letter->failed_ms,
               (long long)letter->record_time_ms, letter->redrive_ms ? "true" : "false");
    json_add_text(out, "handler", letter->handler);
    json_add_text(out, "table", letter->table);
    json_add_text(out, "error", letter->error);
    if (whole) {
        json_add_text(out, "version", letter->version);
        json_add_text(out, "stream_arn", letter->stream_arn);
        json_add_text(out, "shard", letter->shard);
        json_add_text(out, "sequence", letter->sequence);
        json_add_text(out, "event_id", letter->event_id);
        json_add_text(out, "condition", letter->condition);
        json_add_text(out, "refused_by", letter->refused_by);
        json_add_text(out, "traceback", letter->traceback);
        buf_printf(out, ",\"record\":%s", *letter->record ? letter->record : "null");
    }
    buf_printf(out, ",\"keys\":%s}", *letter->keys ? letter->keys : "null");
}

bool letters_write(struct access *access, const struct letters_query *query, struct buf *out, struct err *err)
{
    int64_t limit = query->limit < 1 ? 1 : query->limit < LIMIT_MAX ? query->limit : LIMIT_MAX;
    struct store_snapshot *snapshot = access_load(access,
                                                  &(struct store_query){.what = STORE_LETTERS,
                                                                        .id = query->id,
                                                                        .handler = query->handler,
                                                                        .error = query->error,
                                                                        .after_id = query->after,
                                                                        .limit = limit + 1},
                                                  err);
    if (!snapshot)
        return false;
    size_t count = snapshot->letter_count < (size_t)limit ? snapshot->letter_count : (size_t)limit;
    buf_add_text(out, "{\"letters\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, ',');
        write_letter(&snapshot->letters[i], query->id != 0, out);
    }
    buf_printf(out, "],\"more\":%s}", snapshot->letter_count > count ? "true" : "false");
    store_snapshot_free(snapshot);
    return true;
}

/* ---- changing them ---- */

struct changing {
    struct access *access;
    bool drop;
    int64_t now_ms;
    size_t count;
};

static void change_one(const struct changing *changing, struct store_batch *batch, int64_t id)
{
    if (changing->drop)
        store_forget_dead_letter(batch, id);
    else
        store_mark_dead_letter(batch, id, changing->now_ms);
}

static bool change_ids(struct changing *changing, const cJSON *ids, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    const cJSON *id;
    cJSON_ArrayForEach(id, ids)
    {
        if (!cJSON_IsNumber(id) || !(id->valuedouble >= 1 && id->valuedouble < 9e15))
            continue;
        change_one(changing, batch, (int64_t)id->valuedouble);
        changing->count++;
    }
    if (changing->count)
        return access_commit(changing->access, batch, err);
    store_batch_free(batch);
    return err_set(err, ERR_CONFIG, "no numbers of letters in \"ids\"");
}

static bool change_chosen(struct changing *changing, const char *handler, const char *error, struct err *err)
{
    struct store_query query = {.what = STORE_LETTERS, .handler = handler, .error = error, .limit = PAGE};
    for (;;) {
        struct store_snapshot *snapshot = access_load(changing->access, &query, err);
        size_t found = snapshot ? snapshot->letter_count : 0;
        bool read = snapshot != NULL;
        struct store_batch *batch = store_batch_new();
        for (size_t i = 0; i < found; i++) {
            query.after_id = snapshot->letters[i].id;
            change_one(changing, batch, query.after_id);
        }
        store_snapshot_free(snapshot);
        if (!found)
            store_batch_free(batch);
        if (!found || !access_commit(changing->access, batch, err))
            return read && !found;
        changing->count += found;
    }
}

bool letters_change(struct access *access, const cJSON *order, struct buf *told, struct err *err)
{
    const char *handler = document_text(order, "handler"), *error = document_text(order, "error");
    const cJSON *ids = document_get(order, "ids");
    struct changing changing = {.access = access,
                                .drop = strcmp(document_text(order, "do"), "drop") == 0,
                                .now_ms = clock_wall_ms(&access->clock)};
    handler = handler && *handler ? handler : NULL;
    error = error && *error ? error : NULL;
    if (!ids && !handler && !error && !cJSON_IsTrue(document_get(order, "all")))
        return err_set(err, ERR_CONFIG, "which letters? ids, handler, error or all");
    bool ok = ids ? change_ids(&changing, ids, err) : change_chosen(&changing, handler, error, err);
    if (ok)
        buf_printf(told, "%zu letter%s %s", changing.count, changing.count == 1 ? "" : "s",
                   changing.drop ? "dropped" : "marked: the host redrives them");
    return ok;
}
