/* update_table.c: UpdateTable: throughput, billing, stream, global indexes, protection. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "local/operations/table_check.h"

static struct text text_of(const struct json *json)
{
    return json && json->type == JSON_STRING ? (struct text){json->text, json->size} : (struct text){"", 0};
}

/* ---- stream ---- */

static bool change_stream(struct call *call, struct table *table)
{
    const struct json *specification = call_member(call, "StreamSpecification");
    if (!specification)
        return true;
    if (!check_stream_specification(call, specification))
        return false;
    bool on = json_get(specification, "StreamEnabled")->type == JSON_TRUE;
    if (on && table->view != VIEW_NONE)
        return fault_invalid(call->fault, "Table already has an enabled stream: TableName: %s", table->name);
    if (!on && table->view == VIEW_NONE)
        return fault_invalid(call->fault, "Table has no stream to disable: TableName: %s", table->name);
    if (!on) {
        stream_close(call, table);
        table->view = VIEW_NONE;
        return true;
    }
    for (int i = VIEW_KEYS_ONLY; i <= VIEW_BOTH; i++)
        if (json_string_is(json_get(specification, "StreamViewType"), view_names[i]))
            table->view = (enum view_type)i;
    stream_open(call, table);
    return true;
}

/* ---- billing ---- */

static void read_units_of(const struct json *throughput, int64_t *read, int64_t *write)
{
    *read = json_integer(json_get(throughput, "ReadCapacityUnits"), *read);
    *write = json_integer(json_get(throughput, "WriteCapacityUnits"), *write);
}

static bool change_billing(struct call *call, struct table *table)
{
    static const char *const modes[] = {"", "PROVISIONED", "PAY_PER_REQUEST", NULL};
    static const char *const classes[] = {"", "STANDARD", "STANDARD_INFREQUENT_ACCESS", NULL};
    int mode = call_choice(call, "BillingMode", modes), class = call_choice(call, "TableClass", classes);
    const struct json *throughput = call_member(call, "ProvisionedThroughput");
    const struct json *protected = call_member(call, "DeletionProtectionEnabled");
    if (mode < 0 || class < 0)
        return false;
    if (mode == 1 && !throughput && table->on_demand)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: ProvisionedThroughput must be "
                             "specified when BillingMode is PROVISIONED");
    if (mode)
        table->on_demand = mode == 2;
    if (table->on_demand)
        table->read_units = table->write_units = 0;
    if (throughput)
        read_units_of(throughput, &table->read_units, &table->write_units);
    if (class)
        table->class = classes[class];
    if (protected)
        table->protected = protected->type == JSON_TRUE;
    return true;
}

/* ---- global indexes ---- */

static void write_index_json(struct buf *out, int64_t id, const struct json *create)
{
    buf_printf(out, "{\"Id\":%" PRId64, id);
    json_each(member, create) {
        buf_add_char(out, ',');
        json_write_string(out, member->key, member->key_size);
        buf_add_char(out, ':');
        json_write_value(out, member);
    }
    buf_add_char(out, '}');
}

static const struct json *find_attribute(const struct json *attributes, const struct json *wanted)
{
    struct text name = text_of(json_get(wanted, "AttributeName"));
    json_each(attribute, attributes)
        if (text_equal(text_of(json_get(attribute, "AttributeName")), name))
            return attribute;
    return NULL;
}

/* The table's attributes and, behind them, those of the request that it lacks. */
static const struct json *merged_attributes(struct call *call, const struct table *table)
{
    struct buf text = BUF_INIT, all = BUF_INIT;
    table_write(&text, table);
    const struct json *root =
        json_parse(call->arena, arena_copy(call->arena, text.data, text.size), text.size, NULL);
    const struct json *own = json_get(root, "AttributeDefinitions");
    json_each(attribute, own) {
        buf_add_char(&all, all.size ? ',' : '[');
        json_write_value(&all, attribute);
    }
    json_each(attribute, call_member(call, "AttributeDefinitions")) {
        if (find_attribute(own, attribute))
            continue;
        buf_add_char(&all, ',');
        json_write_value(&all, attribute);
    }
    buf_add_char(&all, ']');
    const struct json *merged =
        json_parse(call->arena, arena_copy(call->arena, all.data, all.size), all.size, NULL);
    buf_fini(&text);
    buf_fini(&all);
    return merged;
}

/* The definition again, with other attributes, without index `dropped` (or NULL) and with `created`. */
static struct table *redefine(struct call *call, const struct table *table, const struct index *dropped,
                              const struct json *created)
{
    struct buf text = BUF_INIT, all = BUF_INIT;
    bool listed = false;
    table_write(&text, table);
    const struct json *root =
        json_parse(call->arena, arena_copy(call->arena, text.data, text.size), text.size, NULL);
    buf_add_char(&all, '{');
    json_each(member, root) {
        bool indexes = json_key_is(member, "GlobalSecondaryIndexes");
        const struct json *attributes =
            json_key_is(member, "AttributeDefinitions") ? merged_attributes(call, table) : NULL;
        buf_add_text(&all, all.size > 1 ? "," : "");
        json_write_string(&all, member->key, member->key_size);
        buf_add_char(&all, ':');
        if (!indexes) {
            json_write_value(&all, attributes ? attributes : member);
            continue;
        }
        listed = true;
        buf_add_char(&all, '[');
        json_each(index, member) {
            if (dropped && json_string_is(json_get(index, "IndexName"), dropped->name))
                continue;
            if (all.data[all.size - 1] != '[')
                buf_add_char(&all, ',');
            json_write_value(&all, index);
        }
        if (created) {
            if (all.data[all.size - 1] != '[')
                buf_add_char(&all, ',');
            write_index_json(&all, ++call->engine->last_id, created);
        }
        buf_add_char(&all, ']');
    }
    if (created && !listed) {
        buf_add_literal(&all, ",\"GlobalSecondaryIndexes\":[");
        write_index_json(&all, ++call->engine->last_id, created);
        buf_add_char(&all, ']');
    }
    buf_add_char(&all, '}');
    struct table *new = table_read(all.data, all.size);
    buf_fini(&text);
    buf_fini(&all);
    return new;
}

/* Items that were there before the index. Those whose attributes do not fit are left out, as the service
 * does. */
static void fill_index(struct call *call, const struct table *table, const struct index *index)
{
    struct storage_rows *rows =
        storage_walk(call->engine->storage,
                     &(struct walk){.table = table->id,
                                    .whole = true,
                                    .from = {.at = {{"", 0}, {"", 0}}, .item = {{"", 0}, {"", 0}}}});
    for (struct row row; storage_next(rows, &row);) {
        struct arena arena = ARENA_INIT;
        struct row_key key;
        const struct attr *item = attr_parse_item(&arena, row.text.data, row.text.size);
        if (item && key_of(&arena, &index->key, item, &key))
            storage_index(call->engine->storage, index->id, key, row.item);
        arena_fini(&arena);
    }
    storage_end(rows);
}

static struct table *create_index(struct call *call, struct table *table, const struct json *create)
{
    struct text name = text_of(json_get(create, "IndexName"));
    if (!check_attributes(call) || !check_index(call, create, merged_attributes(call, table), NULL, true))
        return NULL;
    if (table_index(table, name)) {
        fault_invalid(call->fault, "Attempting to create an index which already exists");
        return NULL;
    }
    struct table *new = redefine(call, table, NULL, create);
    engine_set_table(call->engine, new->name, new);
    fill_index(call, new, table_index(new, text_of(json_get(create, "IndexName"))));
    return new;
}

static struct table *delete_index(struct call *call, struct table *table, const struct json *delete)
{
    struct text name = text_of(json_get(delete, "IndexName"));
    const struct index *index = table_index(table, name);
    if (!index || !index->global) {
        fault_set(call->fault, "ResourceNotFoundException", "Requested resource not found");
        return NULL;
    }
    storage_clear_index(call->engine->storage, index->id);
    struct table *new = redefine(call, table, index, NULL);
    engine_set_table(call->engine, new->name, new);
    return new;
}

static struct table *change_index(struct call *call, struct table *table, const struct json *change)
{
    const struct json *create = json_get(change, "Create"), *delete = json_get(change, "Delete"),
                      *update = json_get(change, "Update");
    if (create)
        return create_index(call, table, create);
    if (delete)
        return delete_index(call, table, delete);
    struct index *index = (struct index *)table_index(table, text_of(json_get(update, "IndexName")));
    if (!index) {
        fault_set(call->fault, "ResourceNotFoundException", "Requested resource not found");
        return NULL;
    }
    read_units_of(json_get(update, "ProvisionedThroughput"), &index->read_units, &index->write_units);
    return table;
}

static struct table *change(struct call *call, struct table *table)
{
    if (!change_billing(call, table) || !change_stream(call, table))
        return NULL;
    json_each(each, call_member(call, "GlobalSecondaryIndexUpdates")) {
        table = change_index(call, table, each);
        if (!table)
            return NULL;
    }
    return table;
}

bool op_update_table(struct call *call)
{
    struct table *table = call_table(call);
    struct buf before = BUF_INIT;
    if (!table)
        return false;
    char *name = arena_copy(call->arena, table->name, strlen(table->name));
    table_write(&before, table);
    table = change(call, table);
    if (!table) { /* what is stored is rolled back; what is in memory has to be, too */
        engine_set_table(call->engine, name, table_read(before.data, before.size));
        buf_fini(&before);
        return false;
    }
    buf_fini(&before);
    engine_keep_table(call->engine, table);
    struct table_figures figures = {.status = "ACTIVE"};
    char *arn = engine_table_arn(call->engine, table);
    figures.arn = arn;
    storage_count(call->engine->storage, table->id, &figures.items, &figures.bytes);
    buf_add_literal(call->out, "{\"TableDescription\":");
    table_describe(call->out, table, &figures);
    buf_add_char(call->out, '}');
    free(arn);
    return true;
}
