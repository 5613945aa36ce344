/* time_to_live.c: items whose time has passed, found by an index of their own over the attribute. */
#include <stdlib.h>
#include <string.h>

#include "local/keep/streams.h"

#define OLDEST_S \
    (5 * 365 * 24 * 3600LL) /* older than that is taken for something else, as the service does */
#define REMOVED_AT_ONCE 500

void ttl_fill(struct call *call, const struct table *table)
{
    struct text none = {"", 0};
    storage_clear_index(call->engine->storage, ttl_index(table));
    if (!table->ttl)
        return;
    struct storage_rows *rows = storage_walk(
        call->engine->storage, &(struct walk){.table = table->id,
                                              .whole = true,
                                              .from = {.at = {none, none}, .item = {none, none}}});
    for (struct row row; storage_next(rows, &row);) {
        struct arena arena = ARENA_INIT;
        struct row_key key;
        const struct attr *item = attr_parse_item(&arena, row.text.data, row.text.size);
        if (item && ttl_key(&arena, table, item, &key))
            storage_index(call->engine->storage, ttl_index(table), key, row.item);
        arena_fini(&arena);
    }
    storage_end(rows);
}

/* The keys of items whose time lies in from..now, seconds; returns how many. */
static size_t collect(struct call *call, const struct table *table, struct row_key *keys)
{
    struct text none = {"", 0};
    size_t count = 0;
    int64_t now_s = (call->now_ms - call->engine->options.ttl_ms) / 1000;
    struct storage_rows *rows = storage_walk(
        call->engine->storage, &(struct walk){.table = table->id,
                                              .index = ttl_index(table),
                                              .from = {.at = {none, none}, .item = {none, none}}});
    for (struct row row; count < REMOVED_AT_ONCE && storage_next(rows, &row);) {
        char *text = arena_copy(call->arena, row.text.data, row.text.size);
        const struct attr *item = attr_parse_item(call->arena, text, row.text.size);
        const struct attr *value = attr_get_named(item, table->ttl);
        int64_t at = strtoll(arena_copy(call->arena, value->text.data, value->text.size), NULL, 10);
        if (at > now_s)
            break;
        if (at < now_s - OLDEST_S)
            continue;
        keys[count].hash = (struct text){arena_copy(call->arena, row.item.hash.data, row.item.hash.size),
                                         row.item.hash.size};
        keys[count].range = (struct text){arena_copy(call->arena, row.item.range.data, row.item.range.size),
                                          row.item.range.size};
        count++;
    }
    storage_end(rows);
    return count;
}

static size_t remove_expired(struct call *call)
{
    size_t at = 0, removed = 0;
    struct row_key *keys = arena_alloc(call->arena, REMOVED_AT_ONCE * sizeof *keys);
    for (struct table *table; (table = map_next(&call->engine->tables, &at, NULL));) {
        size_t count = table->ttl ? collect(call, table, keys) : 0;
        for (size_t i = 0; i < count; i++)
            item_write(call, table, keys[i], item_load(call, table, keys[i]), NULL, WRITTEN_BY_TTL);
        removed += count;
    }
    return removed;
}

size_t engine_housekeeping(struct engine *engine)
{
    struct arena arena = ARENA_INIT;
    struct fault fault = {0};
    struct err err;
    struct call call = {
        .engine = engine, .arena = &arena, .fault = &fault, .now_ms = clock_wall_ms(engine->options.clock)};
    pthread_mutex_lock(&engine->lock);
    storage_begin(engine->storage);
    size_t removed = remove_expired(&call);
    engine_renew_streams(&call);
    tokens_expire(&call);
    if (!storage_commit(engine->storage, &err))
        removed = 0; /* next time */
    pthread_mutex_unlock(&engine->lock);
    fault_fini(&fault);
    arena_fini(&arena);
    return removed;
}
