/* item_store.c: an item's key, what may be stored, and keeping indexes and stream in step with it. */
#include <string.h>

#include "local/keep/call.h"

#define HASH_BYTES_MAX 2048
#define RANGE_BYTES_MAX 1024

/* ---- keys ---- */

static bool key_size_fits(size_t size, bool range)
{
    return size <= (range ? RANGE_BYTES_MAX : HASH_BYTES_MAX);
}

static bool key_size_valid(struct call *call, size_t size, bool range)
{
    return key_size_fits(size, range) ||
           fault_invalid(call->fault, "One or more parameter values were invalid: %s",
                         range ? "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
                               : "Size of hashkey has exceeded the maximum size limit of2048 bytes");
}

static bool key_value_valid(struct call *call, const struct key_part *part, const struct attr *value,
                            size_t which)
{
    if (!value->text.size)
        return fault_invalid(
            call->fault,
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
            "contain an empty %s value. Key: %.*s",
            value->type == ATTR_B ? "binary" : "string", (int)part->name.size, part->name.data);
    return key_size_valid(call, attr_size(value), which > 0);
}

bool item_key(struct call *call, const struct table *table, const struct attr *key, struct row_key *row)
{
    bool matches = key->count == table->key.count;
    for (size_t i = 0; i < table->key.count && matches; i++) {
        const struct attr *value = attr_get(key, table->key.parts[i].name);
        matches = value && value->type == table->key.parts[i].type;
        if (matches && !key_value_valid(call, &table->key.parts[i], value, i))
            return false;
    }
    if (!matches)
        return fault_invalid(call->fault, "The provided key element does not match the schema");
    return key_of(call->arena, &table->key, key, row);
}

bool item_key_valid(struct call *call, const struct table *table, const struct attr *item)
{
    for (size_t i = 0; i < table->key.count; i++) {
        const struct key_part *part = &table->key.parts[i];
        const struct attr *value = attr_get(item, part->name);
        if (!value)
            return fault_invalid(
                call->fault, "One or more parameter values were invalid: Missing the key %.*s in the item",
                (int)part->name.size, part->name.data);
        if (value->type != part->type)
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Type mismatch for key %.*s expected: %s "
                "actual: %s",
                (int)part->name.size, part->name.data, attr_type_names[part->type],
                attr_type_names[value->type]);
        if (!key_value_valid(call, part, value, i))
            return false;
    }
    return true;
}

/* All HASH attributes together, and all RANGE ones. */
static void index_key_sizes(const struct index *index, const struct attr *item, size_t sizes[2])
{
    sizes[0] = sizes[1] = 0;
    for (size_t i = 0; i < index->key.count; i++) {
        const struct attr *value = attr_get(item, index->key.parts[i].name);
        sizes[i >= index->key.hash_count] += value ? attr_size(value) : 0;
    }
}

static bool index_key_size_valid(struct call *call, const struct index *index, const struct attr *item)
{
    size_t sizes[2];
    index_key_sizes(index, item, sizes);
    return key_size_valid(call, sizes[0], false) && key_size_valid(call, sizes[1], true);
}

bool index_takes(const struct index *index, const struct attr *item)
{
    size_t sizes[2];
    for (size_t i = 0; i < index->key.count; i++) {
        const struct attr *value = attr_get(item, index->key.parts[i].name);
        if (!value || value->type != index->key.parts[i].type || !value->text.size)
            return false;
    }
    index_key_sizes(index, item, sizes);
    return key_size_fits(sizes[0], false) && key_size_fits(sizes[1], true);
}

static bool check_index_key(struct call *call, const struct index *index, const struct attr *item,
                            bool update)
{
    for (size_t i = 0; i < index->key.count; i++) {
        const struct key_part *part = &index->key.parts[i];
        const struct attr *value = attr_get(item, part->name);
        if (value && value->type != part->type)
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Type mismatch for Index Key %.*s Expected: "
                "%s Actual: %s IndexName: %s",
                (int)part->name.size, part->name.data, attr_type_names[part->type],
                attr_type_names[value->type], index->name);
        if (value && !value->text.size && update)
            return fault_invalid(call->fault,
                                 "One or more parameter values are not valid. The update expression "
                                 "attempted to update a secondary "
                                 "index key to a value that is not supported. The AttributeValue for a key "
                                 "attribute cannot contain an "
                                 "empty %s value.",
                                 value->type == ATTR_B ? "binary" : "string");
        if (value && !value->text.size)
            return fault_invalid(
                call->fault,
                "One or more parameter values are not valid. A value specified for a secondary index "
                "key is not supported. The AttributeValue for a key attribute cannot contain an empty "
                "%s value. IndexName: %s, IndexKey: %.*s",
                value->type == ATTR_B ? "binary" : "string", index->name, (int)part->name.size,
                part->name.data);
    }
    return index_key_size_valid(call, index, item);
}

bool item_check(struct call *call, const struct table *table, const struct attr *item, bool update,
                struct row_key *row)
{
    if (!item_key_valid(call, table, item))
        return false;
    for (size_t i = 0; i < table->index_count; i++)
        if (!check_index_key(call, &table->indexes[i], item, update))
            return false;
    if (attr_item_size(item) > ITEM_BYTES_MAX)
        return fault_invalid(call->fault, update ? "Item size to update has exceeded the maximum allowed size"
                                                 : "Item size has exceeded the maximum allowed size");
    return key_of(call->arena, &table->key, item, row);
}

bool paths_spare_keys(struct call *call, const struct table *table, const struct path *paths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct text name = paths[i].steps[0].name;
        bool own = key_has(&table->key, name), indexed = false;
        for (size_t j = 0; j < table->index_count; j++)
            indexed = indexed || key_has(&table->indexes[j].key, name);
        if (paths[i].count > 1 && (own || indexed))
            return fault_invalid(
                call->fault,
                "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
                "%s: %.*s",
                own ? "Key" : "IndexKey", (int)name.size, name.data);
    }
    return true;
}

bool keys_are_scalars(struct call *call, const struct table *table, const struct expr *expr)
{
    if (expr->kind == EXPR_PATH)
        return paths_spare_keys(call, table, &expr->path, 1);
    for (const struct expr *part = expr->first; part; part = part->next)
        if (!keys_are_scalars(call, table, part))
            return false;
    return true;
}

bool update_spares_keys(struct call *call, const struct table *table, const struct update *update)
{
    for (const struct action *action = update->actions; action; action = action->next)
        if (!paths_spare_keys(call, table, &action->path, 1) ||
            (action->operand && !keys_are_scalars(call, table, action->operand)))
            return false;
    return true;
}

/* ---- loading and storing ---- */

struct attr *item_load(struct call *call, const struct table *table, struct row_key row)
{
    struct buf text = BUF_INIT;
    struct attr *item = NULL;
    if (storage_get(call->engine->storage, table->id, row, &text)) {
        char *copy = arena_copy(call->arena, text.data, text.size);
        item = attr_parse_item(call->arena, copy, text.size);
    }
    buf_fini(&text);
    return item;
}

/* An item is in an index when it has all of the index's key. */
static void move_entry(struct call *call, int64_t index, struct row_key row, const struct row_key *old,
                       const struct row_key *new)
{
    struct storage *storage = call->engine->storage;
    if (old && new &&same_key(*old, *new))
        return;
    if (old)
        storage_unindex(storage, index, *old, row);
    if (new)
        storage_index(storage, index, *new, row);
}

static void keep_indexes(struct call *call, const struct table *table, struct row_key row,
                         const struct attr *before, const struct attr *after)
{
    struct row_key old, new;
    for (size_t i = 0; i < table->index_count; i++) {
        const struct index *index = &table->indexes[i];
        bool was = before && key_of(call->arena, &index->key, before, &old);
        bool is = after && key_of(call->arena, &index->key, after, &new);
        move_entry(call, index->id, row, was ? &old : NULL, is ? &new : NULL);
    }
    if (!table->ttl)
        return;
    bool was = before && ttl_key(call->arena, table, before, &old),
         is = after && ttl_key(call->arena, table, after, &new);
    move_entry(call, ttl_index(table), row, was ? &old : NULL, is ? &new : NULL);
}

void item_write(struct call *call, const struct table *table, struct row_key row, const struct attr *before,
                const struct attr *after, enum writer writer)
{
    struct storage *storage = call->engine->storage;
    if (!before && !after)
        return;
    if (before && after && attr_equal(before, after))
        return; /* a write that changes nothing leaves no record either */
    if (after) {
        struct buf text = BUF_INIT;
        attr_write_item(&text, after);
        storage_put(storage, table->id, row, &text);
        buf_fini(&text);
    } else {
        storage_delete(storage, table->id, row);
    }
    keep_indexes(call, table, row, before, after);
    if (table->view != VIEW_NONE)
        stream_append(call, table, row, before, after, writer);
}
