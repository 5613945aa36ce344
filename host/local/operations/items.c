/* items.c: PutItem, GetItem, UpdateItem, DeleteItem. */
#include <string.h>

#include "local/keep/call.h"

static const char *const return_values[] = {"NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW", NULL};
enum { RETURN_NONE, RETURN_ALL_OLD, RETURN_UPDATED_OLD, RETURN_ALL_NEW, RETURN_UPDATED_NEW };

/* What PutItem, UpdateItem and DeleteItem have in common. */
struct writing {
    struct call *call;
    struct placeholders placeholders;
    struct expr *condition; /* or NULL */
    size_t returns;         /* an index of return_values */
    const struct table *table;
    struct row_key row;
    struct attr *before;
};

static bool fault_of(struct call *call)
{
    return call->fault->status == 0;
}

/* With its expressions known: the table, and whether the condition fits it. */
static bool find_table_of(struct writing *w)
{
    w->table = call_table(w->call);
    return w->table && (!w->condition || keys_are_scalars(w->call, w->table, w->condition));
}

static bool read_condition(struct writing *w)
{
    struct text text = call_text(w->call, "ConditionExpression");
    const struct json *expected = call_member(w->call, "Expected");
    if (text.data)
        w->condition = condition_parse(&w->placeholders, "ConditionExpression", text);
    else if (expected)
        w->condition = legacy_expected(w->call, expected);
    return fault_of(w->call);
}

static bool begin(struct writing *w, struct call *call)
{
    static const char *const legacy[] = {"AttributeUpdates", "Expected", "ConditionalOperator", NULL};
    static const char *const expressions[] = {"UpdateExpression", "ConditionExpression",
                                              "ExpressionAttributeNames", "ExpressionAttributeValues", NULL};
    bool any = call_member(call, "ConditionExpression") || call_member(call, "UpdateExpression");
    *w = (struct writing){.call = call, .returns = call_choice(call, "ReturnValues", return_values)};
    return call_not_both(call, legacy, expressions) && legacy_operator_fits(call, "Expected") &&
           placeholders_read(&w->placeholders, call->arena, call_member(call, "ExpressionAttributeNames"),
                             call_member(call, "ExpressionAttributeValues"), any, call->fault);
}

/* The condition against the item as it is. */
static bool check_condition_of(struct writing *w)
{
    struct call *call = w->call;
    w->before = item_load(call, w->table, w->row);
    if (!w->condition || condition_holds(call->arena, w->condition, w->before))
        return true;
    const struct json *wanted = call_member(call, "ReturnValuesOnConditionCheckFailure");
    if (w->before && json_string_is(wanted, "ALL_OLD")) {
        buf_add_literal(&call->fault->members, ",\"Item\":");
        attr_write_item(&call->fault->members, w->before);
    }
    return fault_set(call->fault, "ConditionalCheckFailedException", "The conditional request failed");
}

static void answer(struct writing *w, const struct attr *key, const struct attr *attributes,
                   const struct attr *after)
{
    struct call *call = w->call;
    struct capacity capacity = capacity_new(call, w->table);
    capacity_write_item(&capacity, w->before, after, 1);
    buf_add_char(call->out, '{');
    if (attributes) {
        buf_add_literal(call->out, "\"Attributes\":");
        attr_write_item(call->out, attributes);
    }
    call_write_capacity(call, &capacity, call->out->size == 1);
    collection_metrics_write(call, w->table, key, call->out->size == 1);
    buf_add_char(call->out, '}');
}

bool op_put_item(struct call *call)
{
    struct writing w;
    if (!begin(&w, call))
        return false;
    if (w.returns > RETURN_ALL_OLD)
        return fault_invalid(call->fault, "ReturnValues can only be ALL_OLD or NONE");
    struct attr *item = attr_read_item(call->arena, call_member(call, "Item"), call->fault);
    if (!item || !read_condition(&w) || !placeholders_all_used(&w.placeholders))
        return false;
    if (!find_table_of(&w) || !item_check(call, w.table, item, false, &w.row) || !check_condition_of(&w))
        return false;
    item_write(call, w.table, w.row, w.before, item, WRITTEN_BY_CLIENT);
    answer(&w, item, w.returns == RETURN_ALL_OLD ? w.before : NULL, item);
    return true;
}

bool op_delete_item(struct call *call)
{
    struct writing w;
    if (!begin(&w, call))
        return false;
    if (w.returns > RETURN_ALL_OLD)
        return fault_invalid(call->fault, "ReturnValues can only be ALL_OLD or NONE");
    struct attr *key = attr_read_item(call->arena, call_member(call, "Key"), call->fault);
    if (!key || !read_condition(&w) || !placeholders_all_used(&w.placeholders))
        return false;
    if (!find_table_of(&w) || !item_key(call, w.table, key, &w.row) || !check_condition_of(&w))
        return false;
    item_write(call, w.table, w.row, w.before, NULL, WRITTEN_BY_CLIENT);
    answer(&w, key, w.returns == RETURN_ALL_OLD ? w.before : NULL, NULL);
    return true;
}

/* ---- UpdateItem ---- */

static bool keeps_key(struct call *call, const struct table *table, const struct update *update)
{
    for (const struct action *action = update ? update->actions : NULL; action; action = action->next) {
        struct text name = action->path.steps[0].name;
        if (key_has(&table->key, name))
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Cannot update attribute %.*s. This "
                "attribute is part of the key",
                (int)name.size, name.data);
    }
    return true;
}

static bool read_update(struct writing *w, struct update **update)
{
    struct text text = call_text(w->call, "UpdateExpression");
    *update = NULL;
    if (text.data)
        *update = update_parse(&w->placeholders, text);
    else if (call_member(w->call, "AttributeUpdates"))
        *update = legacy_updates(w->call, call_member(w->call, "AttributeUpdates"));
    return fault_of(w->call);
}

/* UPDATED_OLD and UPDATED_NEW: what lies on the update's paths. */
static const struct attr *updated(struct call *call, const struct update *update, const struct attr *item)
{
    struct projection projection = {0};
    for (const struct action *action = update ? update->actions : NULL; action; action = action->next)
        projection.count++;
    projection.paths = arena_alloc(call->arena, projection.count * sizeof *projection.paths + 1);
    projection.count = 0;
    for (const struct action *action = update ? update->actions : NULL; action; action = action->next)
        projection.paths[projection.count++] = action->path;
    const struct attr *part = item ? projection_apply(call->arena, &projection, item) : NULL;
    return part && part->count ? part : NULL;
}

static const struct attr *returned(struct writing *w, const struct update *update, const struct attr *after)
{
    switch (w->returns) {
    case RETURN_ALL_OLD:
        return w->before;
    case RETURN_ALL_NEW:
        return after;
    case RETURN_UPDATED_OLD:
        return updated(w->call, update, w->before);
    case RETURN_UPDATED_NEW:
        return updated(w->call, update, after);
    default:
        return NULL;
    }
}

bool op_update_item(struct call *call)
{
    struct writing w;
    struct update *update;
    struct row_key again;
    if (!begin(&w, call))
        return false;
    struct attr *key = attr_read_item(call->arena, call_member(call, "Key"), call->fault);
    if (!key || !read_update(&w, &update) || !read_condition(&w) || !placeholders_all_used(&w.placeholders))
        return false;
    if (!find_table_of(&w) || !item_key(call, w.table, key, &w.row))
        return false;
    if (!keeps_key(call, w.table, update) || !check_condition_of(&w) ||
        (update && !update_spares_keys(call, w.table, update)))
        return false;
    const struct attr *start = w.before ? w.before : key_only(call->arena, &w.table->key, key);
    struct attr *after =
        update ? update_apply(call->arena, update, start, call->fault) : (struct attr *)start;
    if (!after || !item_check(call, w.table, after, true, &again))
        return false;
    if (!w.before && update_only_removes(update))
        after = NULL;
    item_write(call, w.table, w.row, w.before, after, WRITTEN_BY_CLIENT);
    answer(&w, key, returned(&w, update, after), after);
    return true;
}

/* ---- GetItem ---- */

bool op_get_item(struct call *call)
{
    static const char *const legacy[] = {"AttributesToGet", NULL};
    static const char *const expressions[] = {"ProjectionExpression", NULL};
    struct placeholders placeholders;
    struct projection *projection = NULL;
    struct text text = call_text(call, "ProjectionExpression");
    struct row_key row;
    if (!call_not_both(call, legacy, expressions) ||
        !placeholders_read(&placeholders, call->arena, call_member(call, "ExpressionAttributeNames"), NULL,
                           text.data != NULL, call->fault))
        return false;
    struct attr *key = attr_read_item(call->arena, call_member(call, "Key"), call->fault);
    if (!key)
        return false;
    if (text.data)
        projection = projection_parse(&placeholders, text);
    else if (call_member(call, "AttributesToGet"))
        projection = legacy_projection(call, call_member(call, "AttributesToGet"));
    if (!fault_of(call) || !placeholders_all_used(&placeholders))
        return false;
    struct table *table = call_table(call);
    if (!table || (projection && !paths_spare_keys(call, table, projection->paths, projection->count)) ||
        !item_key(call, table, key, &row))
        return false;
    struct attr *item = item_load(call, table, row);
    struct capacity capacity = capacity_new(call, table);
    capacity.units = read_units(item ? attr_item_size(item) : 0, call_flag(call, "ConsistentRead"));
    buf_add_char(call->out, '{');
    if (item) {
        buf_add_literal(call->out, "\"Item\":");
        attr_write_item(call->out, projection ? projection_apply(call->arena, projection, item) : item);
    }
    call_write_capacity(call, &capacity, call->out->size == 1);
    buf_add_char(call->out, '}');
    return true;
}
