/* elsewhere.c: what the service keeps beside its tables: backups, exports, imports, global tables and the
 * like. There is none of it here, so lists are empty, what is asked for by name is not found, and what would
 * make some is no operation that is known. */
#include "local/keep/call.h"

static bool none(struct call *call, const char *member)
{
    buf_printf(call->out, "{\"%s\":[]}", member);
    return true;
}

bool op_list_backups(struct call *call)
{
    return none(call, "BackupSummaries");
}

bool op_list_exports(struct call *call)
{
    return none(call, "ExportSummaries");
}

bool op_list_imports(struct call *call)
{
    return none(call, "ImportSummaryList");
}

bool op_list_global_tables(struct call *call)
{
    return none(call, "GlobalTables");
}

bool op_list_contributor_insights(struct call *call)
{
    return none(call, "ContributorInsightsSummaries");
}

/* ---- by name ---- */

static bool not_found(struct call *call, const char *kind, const char *what, const char *member)
{
    struct text name = call_text(call, member);
    return fault_set(call->fault, kind, "%s not found: %.*s", what, (int)name.size, name.data);
}

bool op_find_backup(struct call *call)
{
    return not_found(call, "BackupNotFoundException", "Backup", "BackupArn");
}

bool op_describe_export(struct call *call)
{
    return not_found(call, "ExportNotFoundException", "Export", "ExportArn");
}

bool op_describe_import(struct call *call)
{
    return not_found(call, "ImportNotFoundException", "Import", "ImportArn");
}

static bool no_global_table(struct call *call, const char *kind, const char *before, const char *member)
{
    struct text name = call_text(call, member);
    return fault_set(call->fault, kind, "%sGlobal table with name: '%.*s' does not exist.", before,
                     (int)name.size, name.data);
}

bool op_describe_global_table(struct call *call)
{
    return no_global_table(call, "GlobalTableNotFoundException",
                           "Global table not found: ", "GlobalTableName");
}

bool op_describe_global_settings(struct call *call)
{
    return no_global_table(call, "GlobalTableNotFoundException", "", "GlobalTableName");
}

bool op_describe_replica_scaling(struct call *call)
{
    return no_global_table(call, "ResourceNotFoundException", "", "TableName");
}

/* ---- of a table ---- */

static bool of_table(struct call *call, const char *members)
{
    struct table *table = call_any_table(call);
    if (!table)
        return false;
    buf_printf(call->out, "{\"TableName\":\"%s\",%s}", table->name, members);
    return true;
}

bool op_describe_contributor_insights(struct call *call)
{
    return of_table(call, "\"ContributorInsightsStatus\":\"DISABLED\"");
}

bool op_describe_kinesis_destination(struct call *call)
{
    return of_table(call, "\"KinesisDataStreamDestinations\":[]");
}

/* Out of the table's past: refused first for what a caller can mend. */
static bool from_the_past(struct call *call, const char *member)
{
    struct text name = call_text(call, member);
    struct table *table = find_recoverable(call, name);
    if (!table)
        return false;
    if (!table->settings[SETTING_RECOVERY])
        return fault_set(call->fault, "PointInTimeRecoveryUnavailableException",
                         "Point in time recovery is not enabled for table '%s'", table->name);
    return fault_unknown_operation(call->fault);
}

bool op_export_table(struct call *call)
{
    return from_the_past(call, "TableArn");
}

bool op_restore_table(struct call *call)
{
    return from_the_past(call, call_member(call, "SourceTableArn") ? "SourceTableArn" : "SourceTableName");
}
