/* tables.c: CreateTable, DescribeTable, ListTables, DeleteTable, time to live, tags, and what describes the
 * account. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/operations/table_check.h"

void write_description(struct call *call, const char *member, const struct table *table)
{
    struct table_figures figures = {0};
    char *arn = engine_table_arn(call->engine, table);
    storage_count(call->engine->storage, table->id, &figures.items, &figures.bytes);
    figures.arn = arn;
    buf_printf(call->out, "{\"%s\":", member);
    table_describe(call->out, table, &figures);
    buf_add_char(call->out, '}');
    free(arn);
}

/* ---- creating ---- */

static void copy_member(struct call *call, struct buf *out, const char *name)
{
    const struct json *member = call_member(call, name);
    if (!member)
        return;
    buf_printf(out, ",\"%s\":", name);
    json_write_value(out, member);
}

/* The indexes as they were asked for, each with a number of ours. */
static void copy_indexes(struct call *call, struct buf *out, const char *name)
{
    const struct json *indexes = call_member(call, name);
    if (!indexes)
        return;
    buf_printf(out, ",\"%s\":[", name);
    json_each(index, indexes) {
        buf_printf(out, "%s{\"Id\":%" PRId64, index == indexes->child ? "" : ",", ++call->engine->last_id);
        json_each(member, index) {
            buf_add_char(out, ',');
            json_write_string(out, member->key, member->key_size);
            buf_add_char(out, ':');
            json_write_value(out, member);
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static struct table *new_table(struct call *call)
{
    struct buf text = BUF_INIT;
    char *uuid = engine_uuid(call->engine);
    buf_printf(&text, "{\"Id\":%" PRId64 ",\"TableId\":\"%s\",\"Region\":\"%s\",\"CreatedMs\":%" PRId64,
               ++call->engine->last_id, uuid, call->region, call->now_ms);
    copy_member(call, &text, "TableName");
    copy_member(call, &text, "AttributeDefinitions");
    copy_member(call, &text, "KeySchema");
    copy_member(call, &text, "ProvisionedThroughput");
    copy_member(call, &text, "BillingMode");
    copy_member(call, &text, "StreamSpecification");
    copy_member(call, &text, "TableClass");
    copy_member(call, &text, "DeletionProtectionEnabled");
    copy_member(call, &text, "Tags");
    copy_member(call, &text, "OnDemandThroughput");
    copy_member(call, &text, "WarmThroughput");
    copy_member(call, &text, "SSESpecification");
    copy_member(call, &text, "ResourcePolicy");
    copy_indexes(call, &text, "LocalSecondaryIndexes");
    copy_indexes(call, &text, "GlobalSecondaryIndexes");
    buf_add_char(&text, '}');
    struct table *table = table_read(text.data, text.size);
    free(uuid);
    buf_fini(&text);
    return table;
}

bool op_create_table(struct call *call)
{
    if (!check_new_table(call) || !tags_valid(call, call_member(call, "Tags")) ||
        !policy_valid(call, call_member(call, "ResourcePolicy")))
        return false;
    char *name = json_string_dup(call_member(call, "TableName"));
    bool there = map_get(&call->engine->tables, name) != NULL;
    free(name);
    if (there)
        return fault_set(call->fault, "ResourceInUseException", "Table already exists: %.*s",
                         (int)call_member(call, "TableName")->size, call_member(call, "TableName")->text);
    struct table *table = new_table(call);
    if (table->view != VIEW_NONE)
        stream_open(call, table);
    engine_set_table(call->engine, table->name, table);
    engine_table_begins(call, table, "CREATING");
    write_description(call, "TableDescription", table);
    return true;
}

/* ---- describing ---- */

bool op_describe_table(struct call *call)
{
    struct table *table = call_any_table(call);
    if (!table)
        return false;
    write_description(call, "Table", table);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool op_list_tables(struct call *call)
{
    struct text start = call_text(call, "ExclusiveStartTableName");
    int64_t most = json_integer(call_member(call, "Limit"), 100), count = 0;
    size_t at = 0, total = 0, i = 0;
    const char *name;
    const char **names = arena_alloc(call->arena, (call->engine->tables.count + 1) * sizeof *names);
    while (map_next(&call->engine->tables, &at, &name))
        names[total++] = name;
    qsort(names, total, sizeof *names, compare_names);
    char *after = start.data ? arena_copy(call->arena, start.data, start.size) : NULL;
    while (after && i < total && strcmp(names[i], after) <= 0)
        i++;
    buf_add_literal(call->out, "{\"TableNames\":[");
    for (; i < total && count < most; i++)
        buf_printf(call->out, "%s\"%s\"", count++ ? "," : "", names[i]);
    buf_add_char(call->out, ']');
    if (i < total)
        buf_printf(call->out, ",\"LastEvaluatedTableName\":\"%s\"", names[i - 1]);
    buf_add_char(call->out, '}');
    return true;
}

/* ---- deleting ---- */

static void clear(struct call *call, const struct table *table)
{
    storage_clear(call->engine->storage, table->id);
    for (size_t i = 0; i < table->index_count; i++)
        storage_clear_index(call->engine->storage, table->indexes[i].id);
    storage_clear_index(call->engine->storage, ttl_index(table));
    stream_close(call, table);
}

bool op_delete_table(struct call *call)
{
    struct table *table = call_any_table(call);
    if (!table || !table_is_idle(call, table))
        return false;
    if (table->protected)
        return fault_invalid(call->fault,
                             "Resource cannot be deleted as it is currently protected against deletion. "
                             "Disable deletion protection first.");
    table->busy = "DELETING"; /* for its description */
    write_description(call, "TableDescription", table);
    table->busy = NULL;
    clear(call, table);
    engine_table_begins(call, table, "DELETING");
    if (table->busy)
        storage_unset(call->engine->storage, "table", table->name);
    else
        engine_set_table(call->engine, table->name, NULL);
    return true;
}

/* ---- time to live ---- */

bool op_update_time_to_live(struct call *call)
{
    const struct json *specification = call_member(call, "TimeToLiveSpecification");
    const struct json *name = json_get(specification, "AttributeName"),
                      *enabled = json_get(specification, "Enabled");
    struct table *table = call_any_table(call);
    if (!table || !table_is_idle(call, table))
        return false;
    bool on = enabled && enabled->type == JSON_TRUE;
    if (memchr(name->text, '\0', name->size))
        return fault_invalid(call->fault, "TimeToLive's AttributeName must not contain a null character");
    if (!on && !table->ttl)
        return fault_invalid(call->fault, "TimeToLive is already disabled");
    if (table->ttl && !json_string_is(name, table->ttl))
        return fault_invalid(call->fault,
                             "TimeToLive is active on a different AttributeName: current AttributeName is %s",
                             table->ttl);
    if (on && table->ttl)
        return fault_invalid(call->fault, "TimeToLive is already enabled");
    table->ttl = on ? arena_copy(&table->arena, name->text, name->size) : NULL;
    engine_keep_table(call->engine, table);
    ttl_fill(call, table);
    buf_add_literal(call->out, "{\"TimeToLiveSpecification\":");
    json_write_value(call->out, specification);
    buf_add_char(call->out, '}');
    return true;
}

bool op_describe_time_to_live(struct call *call)
{
    struct table *table = call_any_table(call);
    if (!table)
        return false;
    buf_printf(call->out, "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":\"%s\"",
               table->ttl ? "ENABLED" : "DISABLED");
    if (table->ttl) {
        buf_add_literal(call->out, ",\"AttributeName\":");
        json_write_string(call->out, table->ttl, strlen(table->ttl));
    }
    buf_add_literal(call->out, "}}");
    return true;
}

/* ---- the account ---- */

bool op_describe_limits(struct call *call)
{
    buf_add_literal(call->out,
                    "{\"AccountMaxReadCapacityUnits\":80000,\"AccountMaxWriteCapacityUnits\":80000,"
                    "\"TableMaxReadCapacityUnits\":40000,\"TableMaxWriteCapacityUnits\":40000}");
    return true;
}

bool op_describe_endpoints(struct call *call)
{
    buf_printf(call->out,
               "{\"Endpoints\":[{\"Address\":\"dynamodb.%s.amazonaws.com\",\"CachePeriodInMinutes\":1440}]}",
               call->engine->region);
    return true;
}
