/* transact_get.c: TransactGetItems. */
#include <string.h>

#include "local/operations/transact.h"

struct get {
    struct call part;
    const struct table *table;
    struct attr *key, *item;
    struct projection *projection; /* or NULL */
    struct row_key row;
    struct fault fault; /* of this one alone: its reason */
};

static bool read_get(struct call *call, const struct json *element, struct get *get)
{
    struct placeholders placeholders;
    *get = (struct get){.part = *call};
    get->part.request = json_get(element, "Get");
    struct text text = call_text(&get->part, "ProjectionExpression");
    get->key = attr_read_item(call->arena, call_member(&get->part, "Key"), call->fault);
    if (!get->key ||
        !placeholders_read(&placeholders, call->arena, call_member(&get->part, "ExpressionAttributeNames"),
                           NULL, text.data != NULL, call->fault))
        return false;
    if (text.data && !(get->projection = projection_parse(&placeholders, text)))
        return false;
    return placeholders_all_used(&placeholders);
}

static bool all_distinct(struct call *call, const struct get *gets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (gets[i].table == gets[j].table && !gets[i].fault.status && !gets[j].fault.status &&
                same_key(gets[i].row, gets[j].row))
                return fault_invalid(call->fault,
                                     "Transaction request cannot include multiple operations on one item");
    return true;
}

static bool find_rows(struct call *call, struct get *gets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct call part = gets[i].part;
        gets[i].table = call_table(&part);
        if (!gets[i].table)
            return false;
        part.fault = &gets[i].fault;
        if (gets[i].projection &&
            !paths_spare_keys(call, gets[i].table, gets[i].projection->paths, gets[i].projection->count))
            return false;
        item_key(&part, gets[i].table, gets[i].key, &gets[i].row);
    }
    return all_distinct(call, gets, count);
}

static bool hold(struct call *call, const struct get *gets, size_t count)
{
    struct reason *reasons = arena_alloc(call->arena, count * sizeof *reasons);
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        reasons[i] = (struct reason){&gets[i].fault, NULL};
        all = all && !gets[i].fault.status;
    }
    return all || transaction_cancelled(call, reasons, count);
}

static void write_capacities(struct call *call, const struct get *gets, size_t count)
{
    struct capacities capacities = capacities_new(call, count);
    for (size_t i = 0; i < count; i++)
        capacities_of(&capacities, gets[i].table)->units +=
            TRANSACTION_READS * read_units(gets[i].item ? attr_item_size(gets[i].item) : 0, true);
    call_write_capacities(&capacities, false);
}

static void answer(struct call *call, struct get *gets, size_t count)
{
    buf_add_literal(call->out, "{\"Responses\":[");
    for (size_t i = 0; i < count; i++) {
        struct get *get = &gets[i];
        get->item = item_load(call, get->table, get->row);
        buf_add_text(call->out, i ? ",{" : "{");
        if (get->item) {
            buf_add_literal(call->out, "\"Item\":");
            attr_write_item(call->out, get->projection
                                           ? projection_apply(call->arena, get->projection, get->item)
                                           : get->item);
        }
        buf_add_char(call->out, '}');
    }
    buf_add_char(call->out, ']');
    write_capacities(call, gets, count);
    buf_add_char(call->out, '}');
}

bool op_transact_get_items(struct call *call)
{
    const struct json *items = call_member(call, "TransactItems");
    struct get *gets = arena_alloc(call->arena, items->count * sizeof *gets);
    size_t count = 0;
    bool ok = true;
    json_each(element, items) {
        ok = read_get(call, element, &gets[count++]);
        if (!ok)
            break;
    }
    ok = ok && find_rows(call, gets, count) && hold(call, gets, count);
    if (ok)
        answer(call, gets, count);
    for (size_t i = 0; i < count; i++)
        fault_fini(&gets[i].fault);
    return ok;
}
