/* state_table.c: see state_table.h. */
#include "state/dynamodb/state_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "base/document.h"

#define LOOK_AGAIN_MS 500
#define READY_MS 120000 /* a new table takes seconds; longer than this is a fault */

/* ---- one call, waited for ---- */

struct waiting {
    cJSON *body;
    struct err err;
    bool failed, done;
};

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct waiting *waiting = user;
    waiting->done = true;
    if (err)
        waiting->err = *err;
    else if (!response->body.size) /* TagResource says nothing */
        waiting->body = cJSON_CreateObject();
    else
        waiting->body = document_read(response->body.data, response->body.size, &waiting->err);
    waiting->failed = !waiting->body;
}

/* The answer, to be deleted; NULL and `err`. Takes the body. */
static cJSON *call(const struct state_table_options *options, const char *operation, cJSON *body,
                   struct err *err)
{
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = operation, .own = true};
    struct waiting waiting = {0};
    document_write(body, &request.body);
    aws_send(options->client, &request, on_answer, &waiting);
    reactor_turn_until(options->reactor, &waiting.done);
    if (waiting.failed)
        *err = waiting.err;
    return waiting.body;
}

static cJSON *about(const struct state_table_options *options)
{
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, "TableName", options->name);
    return body;
}

static void on_time(void *user)
{
    *(bool *)user = true;
}

static void wait_a_moment(const struct state_table_options *options)
{
    struct timer timer = {0};
    bool done = false;
    timer_init(&timer, on_time, &done);
    timer_set(options->reactor, &timer, LOOK_AGAIN_MS);
    reactor_turn_until(options->reactor, &done);
}

static bool says(const struct err *err, const char *code)
{
    return err->code == ERR_SERVICE && retry_code_is_one_of(err->service, (const char *const[]){code, NULL});
}

/* ---- making it ---- */

static void add_key(cJSON *definitions, cJSON *schema, const char *name, const char *type)
{
    cJSON *definition = cJSON_CreateObject(), *key = cJSON_CreateObject();
    document_add_text(definition, "AttributeName", name);
    document_add_text(definition, "AttributeType", "S");
    cJSON_AddItemToArray(definitions, definition);
    document_add_text(key, "AttributeName", name);
    document_add_text(key, "KeyType", type);
    cJSON_AddItemToArray(schema, key);
}

static bool create(const struct state_table_options *options, struct err *err)
{
    cJSON *body = about(options), *definitions = cJSON_AddArrayToObject(body, "AttributeDefinitions");
    cJSON *schema = cJSON_AddArrayToObject(body, "KeySchema");
    add_key(definitions, schema, "pk", "HASH");
    add_key(definitions, schema, "sk", "RANGE");
    document_add_text(body, "BillingMode", "PAY_PER_REQUEST");
    cJSON *answer = call(options, "CreateTable", body, err);
    if (!answer && !says(err, "ResourceInUseException")) /* else another host was quicker */
        return err_prefix(err, "state: cannot make table %s", options->name);
    if (answer)
        log_info(options->log, "state", "made table %s", options->name);
    cJSON_Delete(answer);
    return true;
}

/* The table's description, once it is active; to be deleted. `made`: it was missing. */
static cJSON *wait_for_table(const struct state_table_options *options, bool *made, struct err *err)
{
    int64_t until_ms = reactor_now_ms(options->reactor) + READY_MS;
    char status[32];
    *made = false;
    for (;;) {
        cJSON *answer = call(options, "DescribeTable", about(options), err);
        const char *said = document_text(document_get(answer, "Table"), "TableStatus");
        if (said && (strcmp(said, "ACTIVE") == 0 || strcmp(said, "UPDATING") == 0))
            return answer;
        snprintf(status, sizeof status, "%s", said ? said : "not there");
        cJSON_Delete(answer);
        if (!answer && !says(err, "ResourceNotFoundException")) {
            err_prefix(err, "state: cannot look at table %s", options->name);
            return NULL;
        }
        if (!answer && options->create && options->must_exist) {
            err_set(err, ERR_CONFIG,
                    "state: there is none yet: no table %s, which the first host that runs makes",
                    options->name);
            return NULL;
        }
        if (!answer && !options->create) {
            err_set(err, ERR_CONFIG,
                    "state: there is no table %s, and create_state = no: make it with the string keys pk and "
                    "sk and "
                    "time to live on \"expires\", or let the host do it",
                    options->name);
            return NULL;
        }
        if (!answer && !*made && !create(options, err))
            return NULL;
        *made = *made || !answer;
        if (reactor_now_ms(options->reactor) > until_ms) {
            err_set(err, ERR_TIMEOUT, "state: table %s is not ready after two minutes (it is %s)",
                    options->name, status);
            return NULL;
        }
        wait_a_moment(options);
    }
}

/* ---- looking at it ---- */

static bool has_key(const cJSON *table, const char *name, const char *type)
{
    const cJSON *key;
    cJSON_ArrayForEach(key, document_get(table, "KeySchema"))
    {
        const char *its_name = document_text(key, "AttributeName"), *its_type = document_text(key, "KeyType");
        if (its_name && its_type && strcmp(its_name, name) == 0 && strcmp(its_type, type) == 0)
            return true;
    }
    return false;
}

static bool is_alternator(const char *table_arn)
{
    return table_arn && strncmp(table_arn, "arn:scylla:", 11) == 0;
}

static bool check_shape(const struct state_table_options *options, const cJSON *table, struct err *err)
{
    if (!has_key(table, "pk", "HASH") || !has_key(table, "sk", "RANGE"))
        return err_set(
            err, ERR_CONFIG,
            "state: table %s has other keys than pk and sk: it is none of tidemill's; name another",
            options->name);
    if (cJSON_GetArraySize(document_get(table, "Replicas")))
        return err_set(
            err, ERR_CONFIG,
            "state: %s is a global table: its regions do not agree on conditional writes, so two hosts "
            "could own one shard; name a table of one region",
            options->name);
    return true;
}

/* ---- ScyllaDB Alternator ---- */

#define ISOLATION "system:write_isolation"

static bool set_isolation(const struct state_table_options *options, const char *arn, struct err *err)
{
    cJSON *body = cJSON_CreateObject(), *tag = cJSON_CreateObject();
    document_add_text(body, "ResourceArn", arn);
    document_add_text(tag, "Key", ISOLATION);
    document_add_text(tag, "Value", "always");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "Tags"), tag);
    cJSON *answer = call(options, "TagResource", body, err);
    if (!answer)
        return err_prefix(err, "state: cannot set the write isolation of table %s", options->name);
    cJSON_Delete(answer);
    return true;
}

/* Its conditional writes are serialised only where it does them by consensus. Of the policies "a", "always",
 * "always_use_lwt", "o", "only_rmw_uses_lwt" do (every write of a shared row has a condition), those of "f"
 * (forbid) and "u" (unsafe) do not: docs/alternator/new-apis.md of ScyllaDB. */
static bool check_isolation(const struct state_table_options *options, const char *arn, struct err *err)
{
    cJSON *body = cJSON_CreateObject();
    const cJSON *tag;
    bool well = true, tagged = false;
    document_add_text(body, "ResourceArn", arn);
    cJSON *answer = call(options, "ListTagsOfResource", body, err);
    if (!answer)
        return err_prefix(err, "state: cannot look at the write isolation of table %s", options->name);
    cJSON_ArrayForEach(tag, document_get(answer, "Tags"))
    {
        const char *key = document_text(tag, "Key"), *value = document_text(tag, "Value");
        if (!key || !value || strcmp(key, ISOLATION) != 0)
            continue;
        tagged = true;
        if (*value == 'u' || *value == 'f')
            well = err_set(err, ERR_CONFIG,
                           "state: table %s has " ISOLATION
                           " = %s: two hosts could own one shard; tag it \"always\"",
                           options->name, value);
    }
    if (!tagged)
        log_warn(options->log, "state",
                 "table %s has no tag " ISOLATION
                 ": what the cluster's default is cannot be seen; tag it \"always\"",
                 options->name);
    cJSON_Delete(answer);
    return well;
}

/* ---- time to live ---- */

/* Without it nothing goes wrong: rows of the dead stay longer than they need. */
static void let_expire(const struct state_table_options *options)
{
    struct err err;
    cJSON *answer = call(options, "DescribeTimeToLive", about(options), &err);
    const char *status = document_text(document_get(answer, "TimeToLiveDescription"), "TimeToLiveStatus");
    bool on = status && (strcmp(status, "ENABLED") == 0 || strcmp(status, "ENABLING") == 0);
    cJSON_Delete(answer);
    if (on)
        return;
    cJSON *body = about(options), *specification = cJSON_AddObjectToObject(body, "TimeToLiveSpecification");
    document_add_text(specification, "AttributeName", "expires");
    cJSON_AddTrueToObject(specification, "Enabled");
    answer = call(options, "UpdateTimeToLive", body, &err);
    if (!answer && !strstr(err.text, "already enabled")) /* by a host that began at the same time */
        log_warn(options->log, "state",
                 "cannot let rows of table %s expire (time to live on \"expires\"); they stay: %s",
                 options->name, err.text);
    cJSON_Delete(answer);
}

bool state_table_prepare(const struct state_table_options *options, struct err *err)
{
    bool made;
    cJSON *answer = wait_for_table(options, &made, err);
    if (!answer)
        return false;
    const cJSON *table = document_get(answer, "Table");
    const char *arn = document_text(table, "TableArn");
    bool well = check_shape(options, table, err);
    if (well && is_alternator(arn))
        well = (!made || set_isolation(options, arn, err)) && check_isolation(options, arn, err);
    cJSON_Delete(answer);
    if (well)
        let_expire(options);
    return well;
}
