/* catalog.c: the tables there are, their names for others, and the ids that are given out. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "local/keep/call.h"

uint64_t engine_random(struct engine *engine)
{
    engine->random += 0x9e3779b97f4a7c15ull;
    return hash_mix(engine->random);
}

char *engine_uuid(struct engine *engine)
{
    uint64_t a = engine_random(engine), b = engine_random(engine);
    return mem_printf("%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
                      (unsigned)(a & 0xfff), (unsigned)(b >> 48 & 0x3fff) | 0x8000,
                      (unsigned long long)(b & 0xffffffffffffull));
}

const char *engine_table_region(const struct engine *engine, const struct table *table)
{
    return table->region ? table->region : engine->region;
}

char *engine_table_arn(const struct engine *engine, const struct table *table)
{
    return mem_printf("arn:aws:dynamodb:%s:000000000000:table/%s", engine_table_region(engine, table),
                      table->name);
}

void engine_set_table(struct engine *engine, const char *name, struct table *table)
{
    struct table *old = map_remove(&engine->tables, name);
    if (table)
        map_set(&engine->tables, name, table);
    else
        storage_unset(engine->storage, "table", name);
    if (table)
        engine_keep_table(engine, table);
    table_free(old); /* last: `name` may be its own */
}

void engine_table_begins(struct call *call, struct table *table, const char *what)
{
    struct engine *engine = call->engine;
    if (engine->options.table_ms <= 0)
        return;
    engine->busy_tables += !table->busy;
    table->busy = what;
    table->busy_until_ms = call->now_ms + engine->options.table_ms;
}

static void settle(struct engine *engine, const char *name, struct table *table)
{
    bool gone = strcmp(table->busy, "DELETING") == 0;
    engine->busy_tables--;
    table->busy = NULL;
    for (size_t i = 0; i < table->index_count; i++)
        table->indexes[i].filling = false;
    if (gone) {
        map_remove(&engine->tables, name);
        table_free(table);
    }
}

void engine_settle_tables(struct engine *engine, int64_t now_ms)
{
    size_t at = 0, before = engine->busy_tables;
    const char *name;
    if (!before)
        return;
    for (struct table *table; (table = map_next(&engine->tables, &at, &name));) {
        if (!table->busy || table->busy_until_ms > now_ms)
            continue;
        settle(engine, name, table);
        at = 0; /* the map may have moved */
    }
}

void engine_damaged(struct engine *engine, const char *kind, const char *name)
{
    if (!engine->damaged)
        engine->damaged = mem_printf("%s %s", kind, name);
}

void engine_keep_table(struct engine *engine, const struct table *table)
{
    struct buf text = BUF_INIT;
    table_write(&text, table);
    storage_set(engine->storage, "table", table->name, text.data, text.size);
    buf_fini(&text);
}
