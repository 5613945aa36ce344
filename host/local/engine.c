/* engine.c: opens, finds the operation, and answers. */
#include "local/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "local/model/body.h"
#include "local/faults.h"
#include "local/model/validate.h"

#define REQUEST_BYTES_MAX (16u << 20)

static const struct {
    const char *name;
    operation *run;
    bool writes;
} operations[] = {
    {"PutItem", op_put_item, true},
    {"GetItem", op_get_item, false},
    {"UpdateItem", op_update_item, true},
    {"DeleteItem", op_delete_item, true},
    {"Query", op_query, false},
    {"Scan", op_scan, false},
    {"BatchGetItem", op_batch_get_item, false},
    {"BatchWriteItem", op_batch_write_item, true},
    {"TransactWriteItems", op_transact_write_items, true},
    {"TransactGetItems", op_transact_get_items, false},
    {"ExecuteStatement", op_execute_statement, true},
    {"BatchExecuteStatement", op_batch_execute_statement, true},
    {"ExecuteTransaction", op_execute_transaction, true},
    {"CreateTable", op_create_table, true},
    {"DescribeTable", op_describe_table, false},
    {"ListTables", op_list_tables, false},
    {"UpdateTable", op_update_table, true},
    {"DeleteTable", op_delete_table, true},
    {"UpdateTimeToLive", op_update_time_to_live, true},
    {"DescribeTimeToLive", op_describe_time_to_live, false},
    {"TagResource", op_tag_resource, true},
    {"UntagResource", op_untag_resource, true},
    {"ListTagsOfResource", op_list_tags, false},
    {"DescribeLimits", op_describe_limits, false},
    {"DescribeEndpoints", op_describe_endpoints, false},
    {"DescribeContinuousBackups", op_describe_backups, false},
    {"UpdateContinuousBackups", op_update_backups, true},
    {"PutResourcePolicy", op_put_policy, true},
    {"GetResourcePolicy", op_get_policy, false},
    {"DeleteResourcePolicy", op_delete_policy, true},
    {"ListBackups", op_list_backups, false},
    {"DescribeBackup", op_find_backup, false},
    {"DeleteBackup", op_find_backup, false},
    {"RestoreTableFromBackup", op_find_backup, false},
    {"RestoreTableToPointInTime", op_restore_table, false},
    {"ExportTableToPointInTime", op_export_table, false},
    {"ListExports", op_list_exports, false},
    {"DescribeExport", op_describe_export, false},
    {"ListImports", op_list_imports, false},
    {"DescribeImport", op_describe_import, false},
    {"ListGlobalTables", op_list_global_tables, false},
    {"DescribeGlobalTable", op_describe_global_table, false},
    {"DescribeGlobalTableSettings", op_describe_global_settings, false},
    {"DescribeTableReplicaAutoScaling", op_describe_replica_scaling, false},
    {"ListContributorInsights", op_list_contributor_insights, false},
    {"DescribeContributorInsights", op_describe_contributor_insights, false},
    {"DescribeKinesisStreamingDestination", op_describe_kinesis_destination, false},
};

static const struct {
    const char *name;
    operation *run;
} stream_operations[] = {
    {"ListStreams", op_list_streams},
    {"DescribeStream", op_describe_stream},
    {"GetShardIterator", op_get_shard_iterator},
    {"GetRecords", op_get_records},
};

static const struct {
    const char *name;
    operation *run;
} control_operations[] = {
    {"SetFaults", op_set_faults},
    {"SplitShards", op_split_shards},
    {"ExpireIterators", op_expire_iterators},
    {"TrimRecords", op_trim_records},
};

/* ---- life ---- */

static void load_table(void *user, const char *name, const char *text, size_t size)
{
    struct engine *engine = user;
    struct table *table = table_read(text, size);
    if (!table) {
        engine_damaged(engine, "table", name);
        return;
    }
    map_set(&engine->tables, name, table);
    if (table->id > engine->last_id)
        engine->last_id = table->id;
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].id > engine->last_id)
            engine->last_id = table->indexes[i].id;
}

static struct storage *open_storage(const char *directory, struct err *err)
{
    if (!directory)
        return storage_open(NULL, err);
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        err_set(err, ERR_IO, "%s: %s", directory, strerror(errno));
        return NULL;
    }
    char *path = mem_printf("%s/tidemill-local.db", directory);
    struct storage *storage = storage_open(path, err);
    free(path);
    return storage;
}

struct engine *engine_new(const struct engine_options *options, struct err *err)
{
    struct storage *storage = open_storage(options->directory, err);
    if (!storage)
        return NULL;
    struct engine *engine = mem_zero(sizeof *engine);
    engine->options = *options;
    engine->storage = storage;
    engine->region = mem_string(options->region ? options->region : "us-east-1");
    engine->random = (uint64_t)clock_wall_ms(options->clock) * 1000003u;
    list_init(&engine->streams);
    pthread_mutex_init(&engine->lock, NULL);
    storage_each(storage, "table", load_table, engine);
    engine->last_sequence = storage_last_sequence(storage);
    engine_load_streams(engine);
    if (!engine->damaged)
        return engine;
    err_set(err, ERR_IO, "%s/tidemill-local.db is damaged: %s cannot be read; move it away",
            options->directory, engine->damaged);
    engine_free(engine);
    return NULL;
}

void engine_free(struct engine *engine)
{
    size_t at = 0;
    if (!engine)
        return;
    for (struct table *table; (table = map_next(&engine->tables, &at, NULL));)
        table_free(table);
    map_fini(&engine->tables);
    engine_free_streams(engine);
    faults_free(engine);
    storage_free(engine->storage);
    pthread_mutex_destroy(&engine->lock);
    free(engine->region);
    free(engine->damaged);
    free(engine);
}

int64_t engine_changes(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    int64_t changes = engine->last_sequence;
    pthread_mutex_unlock(&engine->lock);
    return changes;
}

/* ---- calls ---- */

struct target {
    operation *run;
    const struct shape *input; /* NULL: of a test's own, nothing is said of it */
    bool writes;
};

static struct target find_target(const char *target)
{
    static const char tables[] = "DynamoDB_20120810.", streams[] = "DynamoDBStreams_20120810.",
                      control[] = "TidemillLocal.";
    const char *name = target ? strchr(target, '.') : NULL;
    if (!name++)
        return (struct target){0};
    size_t space = (size_t)(name - target);
    if (space == sizeof streams - 1 && memcmp(target, streams, space) == 0) {
        for (size_t i = 0; i < sizeof stream_operations / sizeof *stream_operations; i++)
            if (strcmp(name, stream_operations[i].name) == 0)
                return (struct target){stream_operations[i].run, shape_of_input(name, true), false};
    } else if (space == sizeof control - 1 && memcmp(target, control, space) == 0) {
        for (size_t i = 0; i < sizeof control_operations / sizeof *control_operations; i++)
            if (strcmp(name, control_operations[i].name) == 0)
                return (struct target){control_operations[i].run, NULL, true};
    } else if (space == sizeof tables - 1 && memcmp(target, tables, space) == 0) {
        for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
            if (strcmp(name, operations[i].name) == 0)
                return (struct target){operations[i].run, shape_of_input(name, false), operations[i].writes};
    }
    return (struct target){0};
}

/* What fails leaves nothing behind. */
static bool run_writing(struct call *call, operation *run)
{
    struct err err;
    storage_begin(call->engine->storage);
    if (!run(call)) {
        storage_rollback(call->engine->storage);
        return false;
    }
    return storage_commit(call->engine->storage, &err) ||
           fault_set(call->fault, "InternalServerError", "%s", err.text);
}

static bool run_call(struct call *call, const struct engine_request *request, struct engine_reply *reply)
{
    struct err err;
    const struct target target = find_target(request->target);
    if (!target.run)
        return fault_unknown_operation(call->fault);
    if (request->size > REQUEST_BYTES_MAX)
        return fault_set(call->fault, "SerializationException", "the request is larger than 16 MiB");
    call->request = json_parse(call->arena, request->body, request->size, &err);
    if (!call->request || call->request->type != JSON_OBJECT)
        return fault_set(call->fault, "SerializationException", "%s",
                         call->request ? "no JSON object" : err.text);
    if (!body_check(call->arena, call->request, request->body, request->size, call->fault) ||
        (target.input && !validate(call->arena, call->request, target.input, call->fault)))
        return false;
    pthread_mutex_lock(&call->engine->lock);
    engine_settle_tables(call->engine, call->now_ms);
    bool ok = (!target.input || faults_before(call, strchr(request->target, '.') + 1, reply)) &&
              (target.writes ? run_writing(call, target.run) : target.run(call));
    pthread_mutex_unlock(&call->engine->lock);
    return ok;
}

/* It becomes a part of ARNs. */
static bool is_region(const char *text)
{
    size_t size = strlen(text);
    return size && size < 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

void engine_call(struct engine *engine, const struct engine_request *request, struct engine_reply *reply)
{
    struct arena arena = ARENA_INIT;
    struct fault fault = {0};
    const struct named_by_arn *by_arn = NULL;
    struct call call = {
        .engine = engine,
        .arena = &arena,
        .by_arn = &by_arn,
        .out = &reply->body,
        .fault = &fault,
        .now_ms = clock_wall_ms(engine->options.clock),
        .region = request->region && is_region(request->region) ? request->region : engine->region,
    };
    reply->status = 200;
    if (!run_call(&call, request, reply)) {
        buf_clear(&reply->body);
        fault_write(&fault, &reply->body);
        reply->status = fault.status;
    }
    fault_fini(&fault);
    arena_fini(&arena);
}
