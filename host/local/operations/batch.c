/* batch.c: BatchGetItem and BatchWriteItem. */
#include <string.h>

#include "local/keep/call.h"

#define KEYS_MAX 100
#define WRITES_MAX 25
#define ANSWER_BYTES_MAX (16 * 1024 * 1024)

/* The same call, about a part of its request. */
static struct call part_of(const struct call *call, const struct json *part)
{
    struct call sub = *call;
    sub.request = part;
    return sub;
}

/* ---- no item twice ---- */

struct seen {
    struct {
        const struct table *table;
        struct row_key row;
    } items[KEYS_MAX];
    size_t count;
};

static bool see(struct call *call, struct seen *seen, const struct table *table, struct row_key row)
{
    for (size_t i = 0; i < seen->count; i++)
        if (seen->items[i].table == table && text_equal(seen->items[i].row.hash, row.hash) &&
            text_equal(seen->items[i].row.range, row.range))
            return fault_invalid(call->fault, "Provided list of item keys contains duplicates");
    seen->items[seen->count].table = table;
    seen->items[seen->count++].row = row;
    return true;
}

/* ---- BatchGetItem ---- */

struct getting {
    struct call *call;
    struct seen seen;
    struct buf unprocessed;
    struct capacities capacities;
    size_t bytes;
};

static bool read_projection(struct call *part, struct projection **projection)
{
    static const char *const legacy[] = {"AttributesToGet", NULL};
    static const char *const expressions[] = {"ProjectionExpression", NULL};
    struct placeholders placeholders;
    struct text text = call_text(part, "ProjectionExpression");
    *projection = NULL;
    if (!call_not_both(part, legacy, expressions) ||
        !placeholders_read(&placeholders, part->arena, call_member(part, "ExpressionAttributeNames"), NULL,
                           text.data != NULL, part->fault))
        return false;
    if (text.data)
        *projection = projection_parse(&placeholders, text);
    else if (call_member(part, "AttributesToGet"))
        *projection = legacy_projection(part, call_member(part, "AttributesToGet"));
    return !part->fault->status && placeholders_all_used(&placeholders);
}

static void leave_out(struct getting *g, const struct json *table, const struct json *key, bool first)
{
    if (first) {
        buf_add_text(&g->unprocessed, g->unprocessed.size ? "," : "");
        json_write_string(&g->unprocessed, table->key, table->key_size);
        buf_add_literal(&g->unprocessed, ":{\"Keys\":[");
    } else {
        buf_add_char(&g->unprocessed, ',');
    }
    json_write_value(&g->unprocessed, key);
}

static bool get_from(struct getting *g, const struct json *request)
{
    struct call part = part_of(g->call, request);
    struct projection *projection;
    struct buf *out = g->call->out;
    struct table *table = find_table(&part, (struct text){request->key, request->key_size});
    if (!table || !read_projection(&part, &projection))
        return false;
    bool consistent = call_flag(&part, "ConsistentRead"), left = false, first = true;
    struct capacity *capacity = capacities_of(&g->capacities, table);
    json_write_string(out, request->key, request->key_size); /* by its name or its ARN, as it was asked */
    buf_add_literal(out, ":[");
    json_each(json, call_member(&part, "Keys")) {
        struct row_key row;
        struct attr *key = attr_read_item(part.arena, json, part.fault);
        if (!key || !item_key(&part, table, key, &row) || !see(g->call, &g->seen, table, row))
            return false;
        if (g->bytes > ANSWER_BYTES_MAX) {
            leave_out(g, request, json, !left);
            left = true;
            continue;
        }
        struct attr *item = item_load(&part, table, row);
        size_t size = item ? attr_item_size(item) : 0;
        capacity->units += read_units(size, consistent);
        g->bytes += size;
        if (!item)
            continue;
        buf_add_text(out, first ? "" : ",");
        first = false;
        attr_write_item(out, projection ? projection_apply(part.arena, projection, item) : item);
    }
    buf_add_char(out, ']');
    if (left)
        buf_add_literal(&g->unprocessed, "]}");
    return true;
}

static bool get_all(struct getting *g, const struct json *items)
{
    size_t count = 0;
    json_each(request, items) {
        const struct json *keys = json_get(request, "Keys");
        count += keys ? keys->count : 0;
    }
    if (count > KEYS_MAX)
        return fault_invalid(g->call->fault, "Too many items requested for the BatchGetItem call");
    buf_add_literal(g->call->out, "{\"Responses\":{");
    json_each(request, items) {
        buf_add_text(g->call->out, request == items->child ? "" : ",");
        if (!get_from(g, request))
            return false;
    }
    return true;
}

bool op_batch_get_item(struct call *call)
{
    const struct json *items = call_member(call, "RequestItems");
    struct getting *g = arena_alloc(call->arena, sizeof *g);
    *g = (struct getting){.call = call, .capacities = capacities_new(call, items->count)};
    bool ok = get_all(g, items);
    if (ok) {
        buf_printf(call->out, "},\"UnprocessedKeys\":{%s}", g->unprocessed.data ? g->unprocessed.data : "");
        call_write_capacities(&g->capacities, false);
        buf_add_char(call->out, '}');
    }
    buf_fini(&g->unprocessed);
    return ok;
}

/* ---- BatchWriteItem ---- */

struct write {
    struct attr *after; /* NULL: delete */
    struct capacity *capacity;
};

static bool read_write(struct call *call, const struct json *request, const struct table *table,
                       struct write *write, struct written_item *written)
{
    const struct json *put = json_get(request, "PutRequest"), *delete = json_get(request, "DeleteRequest");
    *written = (struct written_item){.table = table};
    if (!put == !delete)
        return fault_invalid(call->fault,
                             "Supplied AttributeValue has more than one datatypes set, must contain exactly "
                             "one of the supported datatypes");
    const struct json *body = put ? json_get(put, "Item") : json_get(delete, "Key");
    struct attr *item = attr_read_item(call->arena, body, call->fault);
    if (!item)
        return false;
    write->after = put ? item : NULL;
    written->key = item;
    return put ? item_check(call, table, item, false, &written->row)
               : item_key(call, table, item, &written->row);
}

bool op_batch_write_item(struct call *call)
{
    const struct json *items = call_member(call, "RequestItems");
    struct write writes[WRITES_MAX] = {0};
    struct written_item written[WRITES_MAX];
    size_t count = 0;
    struct seen *seen = arena_alloc(call->arena, sizeof *seen);
    struct capacities capacities = capacities_new(call, items->count);
    seen->count = 0;
    json_each(requests, items)
        count += requests->count;
    if (count > WRITES_MAX)
        return fault_invalid(call->fault, "Too many items requested for the BatchWriteItem call");
    count = 0;
    json_each(requests, items) {
        struct table *table = find_table(call, (struct text){requests->key, requests->key_size});
        if (!table)
            return false;
        json_each(request, requests) {
            if (!read_write(call, request, table, &writes[count], &written[count]) ||
                !see(call, seen, table, written[count].row))
                return false;
            writes[count++].capacity = capacities_of(&capacities, table);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct attr *before = item_load(call, written[i].table, written[i].row);
        capacity_write_item(writes[i].capacity, before, writes[i].after, 1);
        item_write(call, written[i].table, written[i].row, before, writes[i].after, WRITTEN_BY_CLIENT);
    }
    buf_add_literal(call->out, "{\"UnprocessedItems\":{}");
    call_write_capacities(&capacities, false);
    collection_metrics_write_all(call, written, count, false);
    buf_add_char(call->out, '}');
    return true;
}
