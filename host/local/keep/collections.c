/* collections.c: ReturnItemCollectionMetrics: the items of one partition key in a table with local indexes.
 *
 * Their size is not measured: the service gives a range in whole GB, and a collection that outgrows the first
 * is nothing one keeps here. */
#include <string.h>

#include "local/keep/call.h"

static bool asked_for(const struct call *call)
{
    return json_string_is(call_member(call, "ReturnItemCollectionMetrics"), "SIZE");
}

static bool has_collections(const struct table *table)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (!table->indexes[i].global)
            return true;
    return false;
}

static void write_collection(struct call *call, const struct table *table, const struct attr *key)
{
    struct key_schema hash = {.parts = {table->key.parts[0]}, .hash_count = 1, .count = 1};
    buf_add_literal(call->out, "{\"ItemCollectionKey\":");
    attr_write_item(call->out, key_only(call->arena, &hash, key));
    buf_add_literal(call->out, ",\"SizeEstimateRangeGB\":[0.0,1.0]}");
}

void collection_metrics_write(struct call *call, const struct table *table, const struct attr *key,
                              bool first)
{
    if (!asked_for(call) || !has_collections(table))
        return;
    buf_add_text(call->out, first ? "" : ",");
    buf_add_literal(call->out, "\"ItemCollectionMetrics\":");
    write_collection(call, table, key);
}

static bool same_collection(const struct written_item *a, const struct written_item *b)
{
    return a->table == b->table && a->row.hash.size == b->row.hash.size &&
           memcmp(a->row.hash.data, b->row.hash.data, a->row.hash.size) == 0;
}

/* Of `items` from `at`: is it the first of its table, or with `collection` of its collection? */
static bool is_first(const struct written_item *items, size_t at, bool collection)
{
    for (size_t i = 0; i < at; i++)
        if (collection ? same_collection(&items[i], &items[at]) : items[i].table == items[at].table)
            return false;
    return true;
}

void collection_metrics_write_all(struct call *call, const struct written_item *items, size_t count,
                                  bool first)
{
    bool any = false;
    if (!asked_for(call))
        return;
    for (size_t i = 0; i < count; i++) {
        bool first_here = true;
        if (!has_collections(items[i].table) || !is_first(items, i, false))
            continue;
        buf_add_text(call->out, any || !first ? "," : "");
        buf_add_text(call->out, any ? "" : "\"ItemCollectionMetrics\":{");
        any = true;
        buf_printf(call->out, "\"%s\":[", items[i].table->name);
        for (size_t j = i; j < count; j++) {
            if (items[j].table != items[i].table || !is_first(items, j, true))
                continue;
            buf_add_text(call->out, first_here ? "" : ",");
            first_here = false;
            write_collection(call, items[j].table, items[j].key);
        }
        buf_add_char(call->out, ']');
    }
    buf_add_text(call->out, any ? "}" : "");
}
