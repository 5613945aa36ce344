/* policy.c: tidemill policy: the least IAM policy that a deployment needs.
 *
 * Actions and their resources are those of AWS's Service Authorization Reference. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/seen.h"
#include "assign/generation.h"
#include "conf/target_type.h"
#include "worker/handlers.h"
#include "net/reactor.h"
#include "script/directory.h"
#include "script/script.h"
#include "state/store_open.h"

/* One resource, and what is done with it. */
struct grant {
    char *service;  /* "dynamodb" */
    char *resource; /* a table's name, or a whole ARN, or "*" */
    char *keys;     /* JSON's list of what a table's partition keys are like; NULL: whatever they are */
    const char **actions;
    size_t count, capacity;
};

struct policy {
    const struct config *config;
    const char *region, *partition;
    struct grant *grants;
    size_t count, capacity;
    struct seen seen; /* what tests and dev have seen */
};

/* ---- collecting ---- */

static bool same_keys(const char *a, const char *b)
{
    return !a == !b && (!a || strcmp(a, b) == 0);
}

static void grant_keys(struct policy *policy, const char *service, const char *resource, const char *keys,
                       const char *action)
{
    struct grant *found = NULL;
    for (size_t i = 0; i < policy->count && !found; i++)
        if (strcmp(policy->grants[i].resource, resource) == 0 &&
            strcmp(policy->grants[i].service, service) == 0 && same_keys(policy->grants[i].keys, keys))
            found = &policy->grants[i];
    if (!found) {
        mem_grow(&policy->grants, &policy->capacity, policy->count, sizeof *policy->grants);
        found = &policy->grants[policy->count++];
        *found = (struct grant){
            .service = mem_string(service), .resource = mem_string(resource), .keys = mem_string(keys)};
    }
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->actions[i], action) == 0)
            return;
    mem_grow(&found->actions, &found->capacity, found->count, sizeof *found->actions);
    found->actions[found->count++] = action;
}

static void grant_of(struct policy *policy, const char *service, const char *resource, const char *action)
{
    grant_keys(policy, service, resource, NULL, action);
}

static void grant(struct policy *policy, const char *resource, const char *action)
{
    grant_of(policy, "dynamodb", resource, action);
}

/* `arn` NULL: AWS is not asked there. */
static void grant_all(struct policy *policy, const char *service, char *arn, const char *const *actions)
{
    for (; arn && *actions; actions++)
        grant_of(policy, service, arn, *actions);
    free(arn);
}

static void grant_aws(struct policy *policy, const struct config_target *target)
{
    const struct target_type *type = target->type;
    const struct target_place place = {policy->partition, policy->region};
    if (target->role) { /* what it may do there, the role's own account says */
        grant_of(policy, "sts", target->role, "AssumeRole");
        return;
    }
    if (type->service)
        grant_all(policy, type->service, type->arn(target, &place), type->actions);
    if (type->around_actions)
        grant_all(policy, type->service, type->around_arn(target, &place), type->around_actions);
}

static void grant_target(struct policy *policy, const char *name)
{
    const struct config_target *target = name ? config_target(policy->config, name) : NULL;
    if (!target || !target->type || !target_is_whole(target)) /* dead, discard; or nobody was asked */
        return;
    grant_aws(policy, target);
    if (target->spill)
        grant_target(policy, target->spill);
}

/* Where hosts share their state. */
static void grant_state(struct policy *policy)
{
    const struct config_host *host = &policy->config->host;
    const char *const *actions = store_actions(host->state, false), *table = store_place_of(host->state);
    const char *const *making = host->create_state ? store_actions(host->state, true) : NULL;
    for (; actions && *actions; actions++)
        grant(policy, table, *actions);
    for (; making && *making; making++)
        grant(policy, table, *making);
}

/* A table's latest stream is looked up, and after it is disabled the one that follows; a stream that is named
 * is only read. */
static void grant_table_of_stream(struct policy *policy, const struct config_stream *stream,
                                  const char *table)
{
    char *resource = mem_printf("%s/stream/*", table);
    grant(policy, resource, "DescribeStream");
    grant(policy, resource, "GetRecords");
    grant(policy, resource, "GetShardIterator");
    grant(policy, table, "DescribeTable");
    if (stream->tag)
        grant(policy, table, "ListTagsOfResource");
    if (stream->snapshot)
        grant(policy, table, "Scan");
    free(resource);
}

/* By patterns, as IAM has them too; by a tag alone, all tables. */
static void grant_many(struct policy *policy, const struct config_stream *stream)
{
    for (size_t i = 0; stream->tables.each && stream->tables.each[i]; i++)
        grant_table_of_stream(policy, stream, stream->tables.each[i]);
    if (!stream->tables.each)
        grant_table_of_stream(policy, stream, "*");
    grant(policy, "*", "ListStreams");
    grant(policy, "*", "ListTables");
}

/* "s3://BUCKET/PREFIX" */
static void grant_export(struct policy *policy, const char *place)
{
    if (strncmp(place, "s3://", 5) != 0)
        return;
    const char *bucket = place + 5, *slash = strchr(bucket, '/');
    size_t size = slash ? strlen(slash) : 0;
    while (size && slash[size - 1] == '/')
        size--;
    char *name = mem_printf("arn:%s:s3:::%.*s", policy->partition, (int)strcspn(bucket, "/"), bucket);
    char *below = mem_printf("%s%.*s/*", name, (int)size, slash ? slash : "");
    grant_of(policy, "s3", name, "ListBucket");
    grant_of(policy, "s3", below, "GetObject");
    free(name);
    free(below);
}

static void grant_snapshot(struct policy *policy, const struct config_stream *stream)
{
    char *table = stream->snapshot || stream->export ? config_stream_table(stream) : NULL;
    if (table)
        grant(policy, table, "DescribeTable");
    if (table && !stream->export)
        grant(policy, table, "Scan");
    if (stream->export)
        grant_export(policy, stream->export);
    free(table);
}

static void grant_kinesis(struct policy *policy, const char *stream)
{
    static const char *const actions[] = {"DescribeStreamSummary", "GetRecords", "GetShardIterator",
                                          "ListShards", NULL};
    char *arn = strncmp(stream, "arn:", 4) == 0
                    ? mem_string(stream)
                    : mem_printf("arn:%s:kinesis:%s:*:stream/%s", policy->partition, policy->region, stream);
    grant_all(policy, "kinesis", arn, actions);
}

static void grant_stream(struct policy *policy, const struct config_stream *stream)
{
    if (config_stream_is_many(stream)) {
        grant_many(policy, stream);
        return;
    }
    if (!stream->arn && !stream->table && !stream->kinesis) /* nobody was asked for it */
        return;
    if (stream->kinesis) {
        grant_kinesis(policy, stream->kinesis);
        grant_snapshot(policy, stream);
        return;
    }
    grant_snapshot(policy, stream);
    char *resource = stream->arn ? mem_string(stream->arn) : mem_printf("%s/stream/*", stream->table);
    grant(policy, resource, "DescribeStream");
    grant(policy, resource, "GetRecords");
    grant(policy, resource, "GetShardIterator");
    if (stream->table) {
        grant(policy, stream->table, "DescribeTable");
        grant(policy, "*", "ListStreams");
    }
    free(resource);
}

/* Does the handler name an index of the table? */
static bool names_index(const struct script_table *tables, size_t count, const char *table)
{
    size_t size = strlen(table);
    for (size_t i = 0; i < count; i++)
        if (tables[i].name && strncmp(tables[i].name, table, size) == 0 &&
            strncmp(tables[i].name + size, "/index/", 7) == 0)
            return true;
    return false;
}

/* ["user#*", "team#*"]; NULL: of any key. To be freed. */
static char *keys_of(const struct script_table *table)
{
    struct buf out = BUF_INIT;
    if (!table->key_count)
        return NULL;
    for (size_t i = 0; i < table->key_count; i++) {
        buf_add_text(&out, i ? ", " : "[");
        json_write_string(&out, table->keys[i], strlen(table->keys[i]));
    }
    buf_add_char(&out, ']');
    return buf_take(&out);
}

/* Who queries a table may do so through its indexes, unless it says which of them it uses. */
static void grant_table(struct policy *policy, const struct script_table *tables, size_t count, size_t at,
                        const char *name)
{
    bool named = strchr(name, '/') || names_index(tables, count, name) || tables[at].key_count;
    char *indexes = mem_printf("%s/index/*", name), *keys = keys_of(&tables[at]);
    for (size_t i = 0; i < tables[at].action_count; i++) {
        const char *action = tables[at].actions[i];
        grant_keys(policy, "dynamodb", name, keys, action);
        if (!named && (strcmp(action, "Query") == 0 || strcmp(action, "Scan") == 0))
            grant(policy, indexes, action);
    }
    free(indexes);
    free(keys);
}

/* "record.table" is each of those that the handler's streams are of. */
static void grant_own_tables(struct policy *policy, const struct script *script,
                             const struct script_table *tables, size_t count, size_t at)
{
    char **each = handler_settings_of(script_handler((struct script *)script))->streams.each;
    for (size_t i = 0; each && each[i]; i++) {
        const struct config_stream *stream = config_stream(policy->config, each[i]);
        char *name = config_stream_table(stream);
        if (name)
            grant_table(policy, tables, count, at, name);
        for (size_t j = 0; stream->tables.each && stream->tables.each[j]; j++)
            grant_table(policy, tables, count, at, stream->tables.each[j]);
        if (stream->tag && !stream->tables.each)
            grant_table(policy, tables, count, at, "*");
        free(name);
    }
}

/* What tests and dev saw of a handler that does not say it. */
static bool grant_seen(struct policy *policy, const struct script *script, bool tables)
{
    const struct handler *handler = script_handler((struct script *)script);
    bool any = false;
    for (size_t i = 0; i < policy->seen.count; i++) {
        const struct seen_call *call = &policy->seen.list[i];
        if (!seen_is_of(call, handler, policy->config) || !call->table == tables)
            continue;
        const char *colon = strchr(call->action, ':');
        char *service =
            tables ? mem_string("dynamodb") : mem_copy(call->action, (size_t)(colon - call->action));
        grant_of(policy, service, tables ? call->table : "*", tables ? call->action : colon + 1);
        free(service);
        any = true;
    }
    if (any)
        cmd_complain(
            "warning: handler %s does not say in `%s` what it calls: here stands what tests and dev have "
            "seen of it",
            handler_name(handler), tables ? "tables" : "calls");
    return any;
}

static void grant_tables(struct policy *policy, const struct script *script)
{
    size_t count;
    bool declared;
    const struct script_table *tables = script_tables(script, &count, &declared);
    if (!declared && script_uses_dynamodb(script) && !grant_seen(policy, script, true))
        cmd_complain("warning: handler %s uses tidemill.dynamodb and does not say which tables: add "
                     "tables = { { \"Orders\", \"PutItem\" } } to what it returns",
                     handler_name(script_handler((struct script *)script)));
    for (size_t i = 0; i < count; i++)
        if (!tables[i].name)
            cmd_complain("warning: handler %s: one of its tables has no name: a setting is missing",
                         handler_name(script_handler((struct script *)script)));
        else if (strcmp(tables[i].name, "record.table") == 0)
            grant_own_tables(policy, script, tables, count, i);
        else
            grant_table(policy, tables, count, i, tables[i].name);
}

/* Of other services, through tidemill.aws. */
static void grant_calls(struct policy *policy, struct script *script)
{
    size_t count;
    bool declared;
    const struct script_call *calls = script_calls(script, &count, &declared);
    const char *name = handler_name(script_handler(script));
    if (!declared && script_uses_aws(script) && !grant_seen(policy, script, false))
        cmd_complain("warning: handler %s uses tidemill.aws and does not say what it calls: add "
                     "calls = { { \"*\", \"states:StartExecution\" } } to what it returns",
                     name);
    for (size_t i = 0; i < count; i++) {
        const char *colon = strchr(calls[i].action, ':');
        if (!calls[i].resource) {
            cmd_complain("warning: handler %s: what it calls %s on has no name: a setting is missing", name,
                         calls[i].action);
            continue;
        }
        char *service = mem_copy(calls[i].action, (size_t)(colon - calls[i].action));
        grant_of(policy, service, calls[i].resource, colon + 1);
        free(service);
    }
}

static void grant_targets(struct policy *policy, struct script *script)
{
    const char *const *targets = script_targets(script);
    if (!targets && script_uses_emit(script))
        cmd_complain("warning: handler %s uses tidemill.emit and does not say where it emits to: add "
                     "targets = { \"bus\" } to what it returns",
                     handler_name(script_handler(script)));
    for (size_t i = 0; targets && targets[i]; i++)
        grant_target(policy, targets[i]);
    grant_target(policy, handler_settings_of(script_handler(script))->on_failure);
}

static bool is_read(const struct policy *policy, const struct config_stream *stream, struct script **scripts)
{
    for (size_t i = 0; i < policy->config->route_count; i++)
        if (names_have(&policy->config->routes[i].settings.streams, stream->name))
            return true;
    for (size_t i = 0; scripts[i]; i++) {
        if (names_have(&handler_settings_of(script_handler(scripts[i]))->streams, stream->name))
            return true;
    }
    return false;
}

/* What ${ssm:} and ${secret:} are filled in with. A parameter's ARN has its name without the first slash; a
 * secret's has six letters more than its name.
 * https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html
 * https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html */
static void grant_references(struct policy *policy)
{
    const struct config *config = policy->config;
    for (size_t i = 0; i < config->reference_count; i++) {
        const struct config_reference *reference = &config->references[i];
        bool parameter = strcmp(reference->kind, "ssm") == 0;
        size_t size = parameter ? strlen(reference->name) : strcspn(reference->name, "#");
        char *name = mem_copy(reference->name, size), *arn;
        if (strncmp(name, "arn:", 4) == 0)
            arn = mem_string(name);
        else if (parameter)
            arn = mem_printf("arn:%s:ssm:%s:*:parameter/%.*s", policy->partition, policy->region,
                             (int)strcspn(name + strspn(name, "/"), ":"), /* a version, or a label */
                             name + strspn(name, "/"));
        else
            arn = mem_printf("arn:%s:secretsmanager:%s:*:secret:%s-??????", policy->partition, policy->region,
                             name);
        grant_of(policy, parameter ? "ssm" : "secretsmanager", arn,
                 parameter ? "GetParameter" : "GetSecretValue");
        free(arn);
        free(name);
    }
    if (config->incomplete)
        cmd_complain(
            "warning: nobody is asked for what ${ssm:} and ${secret:} stand for: permissions on what "
            "they name are missing here");
}

/* ---- writing ---- */

static int by_resource(const void *a, const void *b)
{
    const struct grant *x = a, *y = b;
    int order = strcmp(x->service, y->service);
    order = order ? order : strcmp(x->resource, y->resource);
    return order ? order : strcmp(x->keys ? x->keys : "", y->keys ? y->keys : "");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_resource(const struct policy *policy, const char *resource, struct buf *out)
{
    struct buf arn = BUF_INIT;
    if (strcmp(resource, "*") == 0 || strncmp(resource, "arn:", 4) == 0)
        buf_add_text(&arn, resource);
    else
        buf_printf(&arn, "arn:%s:dynamodb:%s:*:table/%s", policy->partition, policy->region, resource);
    json_write_string(out, arn.data, arn.size);
    buf_fini(&arn);
}

static void print_policy(struct policy *policy)
{
    struct buf out = BUF_INIT;
    if (policy->count)
        qsort(policy->grants, policy->count, sizeof *policy->grants, by_resource);
    buf_add_text(&out, "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [");
    for (size_t i = 0; i < policy->count; i++) {
        struct grant *grant = &policy->grants[i];
        qsort(grant->actions, grant->count, sizeof *grant->actions, by_name);
        buf_printf(&out, "%s\n    {\n      \"Effect\": \"Allow\",\n      \"Action\": [", i ? "," : "");
        for (size_t j = 0; j < grant->count; j++)
            buf_printf(&out, "%s\"%s:%s\"", j ? ", " : "", grant->service, grant->actions[j]);
        buf_add_text(&out, "],\n      \"Resource\": ");
        write_resource(policy, grant->resource, &out);
        if (grant->keys)
            buf_printf(
                &out, ",\n      \"Condition\": {\"ForAllValues:StringLike\": {\"dynamodb:LeadingKeys\": %s}}",
                grant->keys);
        buf_add_text(&out, "\n    }");
    }
    buf_add_text(&out, policy->count ? "\n  ]\n}" : "]\n}");
    puts(out.data);
    buf_fini(&out);
}

/* ---- the command ---- */

/* Ends with NULL; what is wrong becomes lines of `problems`. */
static struct script **load_scripts(const struct config *config, struct reactor *reactor, struct log *log,
                                    struct problems *problems)
{
    struct err err;
    char **paths = handler_places(config, true, &err);
    size_t count = 0, loaded = 0;
    if (!paths)
        problems_add(problems, "%s", err.text);
    while (paths && paths[count])
        count++;
    struct script **scripts = mem_zero((count + 1) * sizeof *scripts);
    for (size_t i = 0; i < count; i++) {
        if (handler_place_is_route(paths[i]))
            continue;
        struct script *script = handler_load_script(
            &(struct script_options){.path = paths[i], .config = config, .reactor = reactor, .log = log},
            problems);
        if (script)
            scripts[loaded++] = script;
    }
    script_paths_free(paths);
    return scripts;
}

static void find_region(struct policy *policy)
{
    const char *region = policy->config->aws.region;
    region = region ? region : getenv("AWS_REGION");
    region = region ? region : getenv("AWS_DEFAULT_REGION");
    policy->region = region && *region ? region : "*";
    policy->partition = strncmp(policy->region, "cn-", 3) == 0       ? "aws-cn"
                        : strncmp(policy->region, "us-gov-", 7) == 0 ? "aws-us-gov"
                                                                     : "aws";
}

static void collect(struct policy *policy, struct script **scripts)
{
    find_region(policy);
    grant_state(policy);
    grant_references(policy);
    for (size_t i = 0; i < policy->config->stream_count; i++)
        if (is_read(policy, &policy->config->streams[i], scripts))
            grant_stream(policy, &policy->config->streams[i]);
    for (size_t i = 0; scripts[i]; i++) {
        grant_tables(policy, scripts[i]);
        grant_calls(policy, scripts[i]);
        grant_targets(policy, scripts[i]);
    }
    for (size_t i = 0; i < policy->config->route_count; i++) {
        grant_target(policy, policy->config->routes[i].target);
        grant_target(policy, policy->config->routes[i].settings.on_failure);
    }
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    if (!cmd_config_option(argc, argv, &path))
        return EXIT_USAGE;
    struct config *config = cmd_load_config(path);
    if (!config)
        return EXIT_USAGE;
    struct clock clock = clock_system();
    struct log *log = log_new(2, LOG_AUTO, LOG_WARN, &clock);
    struct reactor *reactor = reactor_new(&clock);
    struct problems problems = PROBLEMS_INIT;
    struct policy policy = {.config = config};
    struct script **scripts = load_scripts(config, reactor, log, &problems);
    cmd_complain_all(&problems);
    seen_load(&policy.seen, config->path);
    if (!problems.count) {
        collect(&policy, scripts);
        print_policy(&policy);
    }
    int status = problems.count ? EXIT_USAGE : EXIT_DONE;
    for (size_t i = 0; scripts[i]; i++)
        handler_release(script_handler(scripts[i]));
    for (size_t i = 0; i < policy.count; i++) {
        free(policy.grants[i].service);
        free(policy.grants[i].actions);
        free(policy.grants[i].resource);
        free(policy.grants[i].keys);
    }
    free(policy.grants);
    seen_fini(&policy.seen);
    free(scripts);
    problems_fini(&problems);
    reactor_free(reactor);
    log_free(log);
    config_release(config);
    return status;
}

const struct command cmd_policy = {
    .name = "policy",
    .arguments = "[-c FILE]",
    .summary = "the least IAM policy this deployment needs",
    .help =
        "Prints it as JSON: reading the streams that handlers and routes take, the table of a state that "
        "hosts\n"
        "share (with create_state = no without the rights to make it), sending to the targets of routes and "
        "of\n"
        "on_failure, and what the handlers say they do:\n\n"
        "  return { tables = { { config.orders_table, \"PutItem\" }, { \"Jobs/index/by_state\", \"Query\" } "
        "},\n"
        "           targets = { \"bus\" }, ... }\n\n"
        "keys = \"user#*\" (or several) in such a list lets only items be reached whose partition key is "
        "like\n"
        "that. Of a handler that says no tables or calls what tests of this INI and dev have seen of it "
        "counts, "
        "as it\n"
        "stands now; tidemill test --rights prints that.\n\n"
        "Actions are IAM's: GetItem PutItem UpdateItem DeleteItem Query Scan BatchGetItem BatchWriteItem\n"
        "ConditionCheckItem; a transaction needs those of its parts. \"record.table\" is the stream's own. "
        "The account stands as *: put yours in "
        "its\n"
        "place. Nothing is called or read from AWS.\n",
    .run = run,
};
