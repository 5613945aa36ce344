/* resource.c: what is said of a table by its ARN: tags, its policy; and of its backups. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "local/keep/call.h"

#define TAGS_MAX 50
#define ACCOUNT "000000000000" /* whose all tables are */

/* arn:aws:dynamodb:REGION:ACCOUNT:table/NAME, and of an index /index/NAME behind it. */
static bool split_arn(struct text arn, struct text *table, struct text *account)
{
    static const char partition[] = "arn:aws";
    const char *at = arn.data, *end = arn.data + arn.size;
    for (int colons = 0; colons < 5; colons++) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        if (!colon)
            return false;
        *account = (struct text){at, (size_t)(colon - at)};
        at = colon + 1;
    }
    if (arn.size < sizeof partition || memcmp(arn.data, partition, sizeof partition - 1) != 0 ||
        !memmem(arn.data, (size_t)(at - arn.data), ":dynamodb:", 10) || end - at < 7 ||
        memcmp(at, "table/", 6) != 0)
        return false;
    at += 6;
    const char *slash = memchr(at, '/', (size_t)(end - at));
    *table = (struct text){at, (size_t)((slash ? slash : end) - at)};
    return table->size > 0;
}

static struct table *resource(struct call *call)
{
    struct text arn = call_text(call, "ResourceArn"), name, account;
    if (!split_arn(arn, &name, &account)) {
        fault_invalid(call->fault, "Invalid TableArn: Invalid ResourceArn provided as input %.*s",
                      (int)arn.size, arn.data);
        return NULL;
    }
    if (!text_is(account, ACCOUNT, sizeof ACCOUNT - 1)) {
        fault_set(call->fault, "AccessDeniedException",
                  "User: arn:aws:iam::" ACCOUNT ":root is not authorized to perform this on resource: %.*s",
                  (int)arn.size, arn.data);
        return NULL;
    }
    char *key = arena_copy(call->arena, name.data, name.size);
    struct table *table = memchr(name.data, '\0', name.size) ? NULL : map_get(&call->engine->tables, key);
    if (table && !(table->busy && strcmp(table->busy, "DELETING") == 0))
        return table;
    fault_set(call->fault, "ResourceNotFoundException",
              "Requested resource not found: ResourcArn: %.*s not found", (int)arn.size, arn.data);
    return NULL;
}

/* ---- tags ---- */

static const struct json *tags_of(struct call *call, const struct table *table)
{
    return json_parse(call->arena, table->tags, strlen(table->tags), NULL);
}

static bool listed(const struct json *keys, const struct json *key)
{
    json_each(other, keys) {
        const struct json *name = other->type == JSON_OBJECT ? json_get(other, "Key") : other;
        if (name && key && name->size == key->size && memcmp(name->text, key->text, key->size) == 0)
            return true;
    }
    return false;
}

/* Those of the table that are not among `keys`, then `more`. */
static void set_tags(struct call *call, struct table *table, const struct json *keys, const struct json *more)
{
    struct buf text = BUF_INIT;
    json_each(tag, tags_of(call, table)) {
        if (listed(keys, json_get(tag, "Key")))
            continue;
        buf_add_char(&text, text.size ? ',' : '[');
        json_write_value(&text, tag);
    }
    json_each(tag, more) {
        buf_add_char(&text, text.size ? ',' : '[');
        json_write_value(&text, tag);
    }
    buf_add_text(&text, text.size ? "]" : "[]");
    table->tags = arena_copy(&table->arena, text.data, text.size);
    engine_keep_table(call->engine, table);
    buf_fini(&text);
}

static struct text tag_key(const struct json *tag)
{
    const struct json *key = json_get(tag, "Key");
    return (struct text){key->text, key->size};
}

static bool too_many_tags(struct call *call)
{
    return fault_set(call->fault, "LimitExceededException",
                     "One or more parameter values were invalid: The number of tags exceeds the limit of %d",
                     TAGS_MAX);
}

bool tags_valid(struct call *call, const struct json *tags)
{
    json_each(tag, tags) {
        const struct json *key = json_get(tag, "Key");
        if (key->size >= 4 && memcmp(key->text, "aws:", 4) == 0)
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Tag keys starting with 'aws:' are "
                "reserved: %.*s",
                (int)key->size, key->text);
    }
    const struct json *twice = call_duplicate(call, tags, tag_key);
    if (twice)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: Duplicate tag key: %.*s",
                             (int)tag_key(twice).size, tag_key(twice).data);
    return !tags || tags->count <= TAGS_MAX || too_many_tags(call);
}

bool op_tag_resource(struct call *call)
{
    const struct json *tags = call_member(call, "Tags");
    struct table *table = resource(call);
    if (!table || !tags_valid(call, tags))
        return false;
    size_t count = tags->count;
    json_each(tag, tags_of(call, table))
        count += !listed(tags, json_get(tag, "Key"));
    if (count > TAGS_MAX)
        return too_many_tags(call);
    set_tags(call, table, tags, tags);
    return true;
}

bool op_untag_resource(struct call *call)
{
    struct table *table = resource(call);
    if (!table)
        return false;
    set_tags(call, table, call_member(call, "TagKeys"), NULL);
    return true;
}

/* Ten at a time, as the service gives them. */
#define TAGS_AT_ONCE 10

bool op_list_tags(struct call *call)
{
    struct table *table = resource(call);
    struct text token = call_text(call, "NextToken");
    char *digits = arena_copy(call->arena, token.data ? token.data : "0", token.data ? token.size : 1), *end;
    unsigned long from = strtoul(digits, &end, 10), at = 0;
    if (!table)
        return false;
    if (*end || digits[strspn(digits, "0123456789")] || from % TAGS_AT_ONCE || from > TAGS_MAX)
        return fault_invalid(call->fault, "Invalid NextToken");
    buf_add_literal(call->out, "{\"Tags\":[");
    json_each(tag, tags_of(call, table)) {
        if (at >= from && at < from + TAGS_AT_ONCE) {
            buf_add_text(call->out, at > from ? "," : "");
            json_write_value(call->out, tag);
        }
        at++;
    }
    buf_add_char(call->out, ']');
    if (at > from + TAGS_AT_ONCE)
        buf_printf(call->out, ",\"NextToken\":\"%lu\"", from + TAGS_AT_ONCE);
    buf_add_char(call->out, '}');
    return true;
}

/* ---- policies: kept, and nobody is asked ---- */

/* A revision is the policy's own number: the same text has the same. */
static void write_revision(struct buf *out, const char *policy)
{
    uint64_t hash = 14695981039346656037u;
    for (; *policy; policy++)
        hash = (hash ^ (unsigned char)*policy) * 1099511628211u;
    buf_printf(out, "\"RevisionId\":\"%" PRIu64 "\"", hash);
}

#define POLICY_BYTES_MAX 20480

/* Whose policy: the table's or its stream's; NULL and a fault. */
struct policed {
    struct table *table;
    const char *policy; /* or NULL */
    int setting;
};

static bool policed(struct call *call, struct policed *of)
{
    struct text arn = call_text(call, "ResourceArn");
    static const char middle[] = "/stream/";
    *of = (struct policed){.table = resource(call), .setting = SETTING_POLICY};
    if (!of->table)
        return false;
    const char *from = arn.data, *slash = memchr(from, '/', arn.size), *end = arn.data + arn.size;
    const char *more = memchr(slash + 1, '/', (size_t)(end - slash - 1));
    if (more) { /* behind the table's name */
        size_t size = sizeof middle - 1,
               label = of->table->stream_label ? strlen(of->table->stream_label) : 0;
        bool there = label && (size_t)(end - more) == size + label && memcmp(more, middle, size) == 0 &&
                     memcmp(more + size, of->table->stream_label, label) == 0;
        of->setting = SETTING_STREAM_POLICY;
        if (!there)
            return fault_set(call->fault, "ResourceNotFoundException",
                             "Requested resource not found: ResourcArn: %.*s not found", (int)arn.size,
                             arn.data);
    }
    of->policy = of->table->settings[of->setting];
    return true;
}

static bool revision_fits(struct call *call, const char *policy)
{
    struct text expected = call_text(call, "ExpectedRevisionId");
    struct buf revision = BUF_INIT;
    if (!expected.data)
        return true;
    if (policy)
        write_revision(&revision, policy);
    bool fits =
        policy ? revision.size == expected.size + strlen("\"RevisionId\":\"\"") &&
                     memcmp(revision.data + strlen("\"RevisionId\":\""), expected.data, expected.size) == 0
               : text_is(expected, "NO_POLICY", 9);
    buf_fini(&revision);
    return fits || fault_set(call->fault, "PolicyNotFoundException",
                             "The revision ID that you provided does not match the policy's");
}

bool policy_valid(struct call *call, const struct json *policy)
{
    const struct json *document = policy ? json_parse(call->arena, policy->text, policy->size, NULL) : NULL;
    if (policy && policy->size > POLICY_BYTES_MAX)
        return fault_invalid(call->fault, "Resource-based policy is larger than %d bytes", POLICY_BYTES_MAX);
    return !policy || (document && document->type == JSON_OBJECT && json_get(document, "Statement")) ||
           fault_invalid(call->fault, "Policy document is malformed");
}

bool op_put_policy(struct call *call)
{
    struct policed of;
    const struct json *policy = call_member(call, "Policy");
    if (!policed(call, &of) || !revision_fits(call, of.policy) || !policy_valid(call, policy))
        return false;
    table_set(of.table, of.table->settings, of.setting, policy);
    engine_keep_table(call->engine, of.table);
    buf_add_char(call->out, '{');
    write_revision(call->out, of.table->settings[of.setting]);
    buf_add_char(call->out, '}');
    return true;
}

static bool policy_missing(struct call *call)
{
    struct text arn = call_text(call, "ResourceArn");
    return fault_set(call->fault, "PolicyNotFoundException",
                     "Resource-based policy not found for the provided ResourceArn: %.*s", (int)arn.size,
                     arn.data);
}

bool op_get_policy(struct call *call)
{
    struct policed of;
    if (!policed(call, &of))
        return false;
    if (!of.policy)
        return policy_missing(call);
    buf_printf(call->out, "{\"Policy\":%s,", of.policy);
    write_revision(call->out, of.policy);
    buf_add_char(call->out, '}');
    return true;
}

bool op_delete_policy(struct call *call)
{
    struct policed of;
    if (!policed(call, &of) || !revision_fits(call, of.policy))
        return false;
    buf_add_char(call->out, '{');
    if (of.policy)
        write_revision(call->out, of.policy);
    buf_add_char(call->out, '}');
    table_set(of.table, of.table->settings, of.setting, NULL);
    engine_keep_table(call->engine, of.table);
    return true;
}

/* ---- backups: none are made; whether they would be is kept ---- */

static bool describe_backups(struct call *call, const struct table *table)
{
    buf_add_literal(call->out, "{\"ContinuousBackupsDescription\":{\"ContinuousBackupsStatus\":\"ENABLED\","
                               "\"PointInTimeRecoveryDescription\":{\"PointInTimeRecoveryStatus\":");
    const char *days = table->settings[SETTING_RECOVERY];
    if (days)
        buf_printf(call->out,
                   "\"ENABLED\",\"RecoveryPeriodInDays\":%s,\"EarliestRestorableDateTime\":%.3f,"
                   "\"LatestRestorableDateTime\":%.3f",
                   days, (double)table->created_ms / 1000, (double)call->now_ms / 1000);
    else
        buf_add_literal(call->out, "\"DISABLED\"");
    buf_add_literal(call->out, "}}}");
    return true;
}

struct table *find_recoverable(struct call *call, struct text name)
{
    struct table *table = find_table(call, name);
    if (!table && strcmp(call->fault->type, "ResourceNotFoundException") == 0) {
        fault_fini(call->fault);
        fault_set(call->fault, "TableNotFoundException", "Table not found: %.*s", (int)name.size, name.data);
    }
    return table;
}

bool op_describe_backups(struct call *call)
{
    struct table *table = find_recoverable(call, call_text(call, "TableName"));
    return table && describe_backups(call, table);
}

bool op_update_backups(struct call *call)
{
    static const struct json month = {.type = JSON_NUMBER, .text = "35", .size = 2};
    struct table *table = find_recoverable(call, call_text(call, "TableName"));
    const struct json *said = call_member(call, "PointInTimeRecoverySpecification");
    const struct json *on = json_get(said, "PointInTimeRecoveryEnabled"),
                      *days = json_get(said, "RecoveryPeriodInDays");
    if (!table)
        return false;
    table_set(table, table->settings, SETTING_RECOVERY, on->type != JSON_TRUE ? NULL : days ? days : &month);
    engine_keep_table(call->engine, table);
    return describe_backups(call, table);
}
