/* update_table.c: UpdateTable: throughput, billing, stream, global indexes, protection. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "local/operations/table_check.h"

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

static bool is_on_demand(const struct call *call, const struct table *table)
{
    const struct json *mode = call_member(call, "BillingMode");
    return mode ? json_string_is(mode, "PAY_PER_REQUEST") : table->on_demand;
}

/* `what` is "table" or "index NAME". False and a fault where nothing would change. */
static bool set_units(struct call *call, const struct json *throughput, const char *kind, const char *name,
                      int64_t *read, int64_t *write)
{
    int64_t new_read = json_integer(json_get(throughput, "ReadCapacityUnits"), *read),
            new_write = json_integer(json_get(throughput, "WriteCapacityUnits"), *write);
    if (!check_throughput(call, throughput))
        return false;
    if (new_read == *read && new_write == *write)
        return fault_invalid(
            call->fault,
            "The provisioned throughput for the %s%s%s will not change. The requested value equals the "
            "current "
            "value. Current ReadCapacityUnits provisioned for the %s: %" PRId64
            ". Requested ReadCapacityUnits: %" PRId64
            ". Current WriteCapacityUnits provisioned for the %s: %" PRId64
            ". Requested WriteCapacityUnits: %" PRId64
            ". Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher "
            "limits.",
            kind, *name ? " " : "", name, kind, *read, new_read, kind, *write, new_write);
    *read = new_read;
    *write = new_write;
    return true;
}

static const struct json *update_of(const struct call *call, const char *index)
{
    json_each(each, call_member(call, "GlobalSecondaryIndexUpdates"))
        if (json_string_is(json_get(json_get(each, "Update"), "IndexName"), index))
            return json_get(each, "Update");
    return NULL;
}

/* From paying by the request to provisioned throughput: each index says its own. */
static bool indexes_have_units(struct call *call, const struct table *table)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].global &&
            !json_get(update_of(call, table->indexes[i].name), "ProvisionedThroughput"))
            return fault_invalid(call->fault,
                                 "One or more parameter values were invalid: ProvisionedThroughput must be "
                                 "specified for index: %s",
                                 table->indexes[i].name);
    return true;
}

static void forget_units(struct table *table)
{
    table->read_units = table->write_units = 0;
    for (size_t i = 0; i < table->index_count; i++)
        table->indexes[i].read_units = table->indexes[i].write_units = 0;
}

static bool change_billing(struct call *call, struct table *table)
{
    const struct json *throughput = call_member(call, "ProvisionedThroughput"),
                      *mode = call_member(call, "BillingMode");
    bool on_demand = is_on_demand(call, table), provisioned_anew = !on_demand && table->on_demand;
    if (on_demand && throughput)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: Neither ReadCapacityUnits nor "
                             "WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST");
    if (mode && !on_demand && !throughput)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: ProvisionedThroughput must be "
                             "specified when BillingMode is PROVISIONED");
    if (provisioned_anew && !indexes_have_units(call, table))
        return false;
    if (on_demand && !table->on_demand)
        forget_units(table);
    table->on_demand = on_demand;
    return !throughput || set_units(call, throughput, "table", "", &table->read_units, &table->write_units);
}

/* ---- what is kept as it is said ---- */

static void change_settings(struct call *call, struct table *table)
{
    static const char *const classes[] = {"", "STANDARD", "STANDARD_INFREQUENT_ACCESS", NULL};
    static const char *const members[] = {"OnDemandThroughput", "WarmThroughput", "SSESpecification"};
    size_t class = call_choice(call, "TableClass", classes);
    const struct json *protected = call_member(call, "DeletionProtectionEnabled");
    if (class)
        table->class = classes[class];
    if (protected)
        table->protected = protected->type == JSON_TRUE;
    for (int i = 0; i <= SETTING_ENCRYPTION; i++)
        if (call_member(call, members[i]))
            table_set(table, table->settings, i, call_member(call, members[i]));
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

static const struct json *definition(struct call *call, const struct table *table)
{
    struct buf text = BUF_INIT;
    table_write(&text, table);
    const struct json *root =
        json_parse(call->arena, arena_copy(call->arena, text.data, text.size), text.size, NULL);
    buf_fini(&text);
    return root;
}

/* What is a key of the table or an index stays of its type. */
static bool types_stay(struct call *call, const struct table *table)
{
    const struct json *own = json_get(definition(call, table), "AttributeDefinitions");
    json_each(attribute, call_member(call, "AttributeDefinitions")) {
        const struct json *old = find_attribute(own, json_text(json_get(attribute, "AttributeName")));
        if (old && !text_equal(json_text(json_get(old, "AttributeType")),
                               json_text(json_get(attribute, "AttributeType"))))
            return fault_invalid(call->fault, "invalid attribute, SchemaElement redefined should be of same "
                                              "type as previously defined");
    }
    return true;
}

/* The table's attributes and, behind them, those of the request that it lacks. */
static const struct json *merged_attributes(struct call *call, const struct table *table)
{
    struct buf all = BUF_INIT;
    const struct json *own = json_get(definition(call, table), "AttributeDefinitions");
    json_each(attribute, own) {
        buf_add_char(&all, all.size ? ',' : '[');
        json_write_value(&all, attribute);
    }
    json_each(attribute, call_member(call, "AttributeDefinitions")) {
        if (find_attribute(own, json_text(json_get(attribute, "AttributeName"))))
            continue;
        buf_add_char(&all, ',');
        json_write_value(&all, attribute);
    }
    buf_add_char(&all, ']');
    const struct json *merged =
        json_parse(call->arena, arena_copy(call->arena, all.data, all.size), all.size, NULL);
    buf_fini(&all);
    return merged;
}

/* The definition again, with other attributes, without index `dropped` (or NULL) and with `created`. */
static struct table *redefine(struct call *call, const struct table *table, const struct index *dropped,
                              const struct json *created)
{
    struct buf all = BUF_INIT;
    bool listed = false;
    const struct json *root = definition(call, table);
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
        if (item && index_takes(index, item) && key_of(&arena, &index->key, item, &key))
            storage_index(call->engine->storage, index->id, key, row.item);
        arena_fini(&arena);
    }
    storage_end(rows);
}

static struct table *create_index(struct call *call, struct table *table, const struct json *create)
{
    struct text name = json_text(json_get(create, "IndexName"));
    size_t globals = 0;
    if (table_index(table, name)) {
        fault_invalid(call->fault, "Attempting to create an index which already exists");
        return NULL;
    }
    if (!check_global_index(call, create, merged_attributes(call, table), table->on_demand))
        return NULL;
    const struct json *own = definition(call, table);
    if (!check_projected(call, json_get(own, "LocalSecondaryIndexes"),
                         json_get(own, "GlobalSecondaryIndexes"), create))
        return NULL;
    for (size_t i = 0; i < table->index_count; i++)
        globals += table->indexes[i].global;
    if (globals == GLOBAL_INDEXES_MAX) {
        fault_invalid(call->fault, "One or more parameter values were invalid: GlobalSecondaryIndex count "
                                   "exceeds the per-table limit of 20");
        return NULL;
    }
    struct table *new = redefine(call, table, NULL, create);
    engine_set_table(call->engine, new->name, new);
    struct index *index = (struct index *)table_index(new, json_text(json_get(create, "IndexName")));
    fill_index(call, new, index);
    index->filling = call->engine->options.table_ms > 0;
    return new;
}

static struct table *delete_index(struct call *call, struct table *table, const struct index *index)
{
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
    struct text name = json_text(json_get(delete ? delete : update, "IndexName"));
    struct index *index = (struct index *)table_index(table, name);
    if (!index || !index->global) {
        fault_set(call->fault, "ResourceNotFoundException",
                  "Requested resource not found: Index %.*s for table %s", (int)name.size, name.data,
                  table->name);
        return NULL;
    }
    if (delete)
        return delete_index(call, table, index);
    const struct json *throughput = json_get(update, "ProvisionedThroughput");
    for (int i = 0; i <= SETTING_WARM; i++) {
        const char *member = i == SETTING_WARM ? "WarmThroughput" : "OnDemandThroughput";
        if (json_get(update, member))
            table_set(table, index->settings, i, json_get(update, member));
    }
    if (throughput && table->on_demand) {
        fault_invalid(call->fault,
                      "One or more parameter values were invalid: ProvisionedThroughput should not be "
                      "specified for index: %s when BillingMode is PAY_PER_REQUEST",
                      index->name);
        return NULL;
    }
    if (throughput &&
        !set_units(call, throughput, "index", index->name, &index->read_units, &index->write_units))
        return NULL;
    return table;
}

static struct table *change(struct call *call, struct table *table)
{
    if (!attributes_differ(call) || !types_stay(call, table) || !change_billing(call, table))
        return NULL;
    change_settings(call, table);
    json_each(each, call_member(call, "GlobalSecondaryIndexUpdates")) {
        table = change_index(call, table, each);
        if (!table)
            return NULL;
    }
    return change_stream(call, table) ? table : NULL; /* last: a stream is not put back */
}

/* ---- the request by itself ---- */

static struct text changed_index(const struct json *change)
{
    const struct json *verb = json_get(change, "Create");
    verb = verb ? verb : json_get(change, "Update");
    verb = verb ? verb : json_get(change, "Delete");
    return json_text(json_get(verb, "IndexName"));
}

static bool check_index_updates(struct call *call, const struct json *updates)
{
    size_t at_once = 0;
    json_each(change, updates) {
        int verbs =
            !!json_get(change, "Create") + !!json_get(change, "Update") + !!json_get(change, "Delete");
        if (verbs != 1)
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: %s of GlobalSecondaryIndexUpdate.Update, "
                "GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete %s",
                verbs ? "Only one" : "One", verbs ? "may be specified" : "must not be null");
        at_once += !json_get(change, "Update");
    }
    const struct json *twice = call_duplicate(call, updates, changed_index);
    if (twice)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: Only one global secondary index "
                             "update per index is allowed simultaneously. Index: %.*s",
                             (int)changed_index(twice).size, changed_index(twice).data);
    return at_once <= 1 || fault_set(call->fault, "LimitExceededException",
                                     "Subscriber limit exceeded: Only 1 online index can be created or "
                                     "deleted simultaneously per table");
}

static bool asks_for_something(struct call *call)
{
    static const char *const members[] = {"ProvisionedThroughput",
                                          "BillingMode",
                                          "StreamSpecification",
                                          "SSESpecification",
                                          "DeletionProtectionEnabled",
                                          "OnDemandThroughput",
                                          "WarmThroughput",
                                          "TableClass",
                                          "ReplicaUpdates"};
    const struct json *updates = call_member(call, "GlobalSecondaryIndexUpdates");
    bool any = updates && updates->child;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        any = any || call_member(call, members[i]);
    if (!any)
        return fault_invalid(call->fault,
                             "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
                             "GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required");
    if (call_member(call, "ReplicaUpdates"))
        return fault_invalid(call->fault, "Global tables are not kept here: ReplicaUpdates is refused");
    return check_index_updates(call, updates);
}

bool op_update_table(struct call *call)
{
    struct table *table = asks_for_something(call) ? call_any_table(call) : NULL;
    struct buf before = BUF_INIT;
    if (!table || !table_is_idle(call, table))
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
    engine_table_begins(call, table, "UPDATING");
    write_description(call, "TableDescription", table);
    return true;
}
