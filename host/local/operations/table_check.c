/* table_check.c: what CreateTable and UpdateTable refuse. */
#include "local/operations/table_check.h"

#include <stdio.h>
#include <string.h>

#define LOCAL_INDEXES_MAX 5
#define GLOBAL_INDEXES_MAX 20

static bool invalid(struct call *call, const char *sentence)
{
    return fault_invalid(call->fault, "One or more parameter values were invalid: %s", sentence);
}

static struct text text_of(const struct json *json)
{
    return json && json->type == JSON_STRING ? (struct text){json->text, json->size} : (struct text){"", 0};
}

static struct text attribute_name(const struct json *element)
{
    return text_of(json_get(element, "AttributeName"));
}

static const struct json *find_attribute(const struct json *attributes, struct text name)
{
    json_each(attribute, attributes)
        if (text_equal(attribute_name(attribute), name))
            return attribute;
    return NULL;
}

static void list_names(struct buf *out, const struct json *elements)
{
    json_each(element, elements)
        buf_printf(out, "%s%.*s", out->size ? ", " : "", (int)attribute_name(element).size,
                   attribute_name(element).data);
}

static bool names_are_defined(struct call *call, const struct json *schema, const struct json *attributes)
{
    bool all = true;
    json_each(element, schema)
        all = all && find_attribute(attributes, attribute_name(element));
    if (all)
        return true;
    struct buf keys = BUF_INIT, defined = BUF_INIT;
    list_names(&keys, schema);
    list_names(&defined, attributes);
    fault_invalid(call->fault,
                  "One or more parameter values were invalid: Some index key attributes are not defined in "
                  "AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]",
                  keys.data ? keys.data : "", defined.data ? defined.data : "");
    buf_fini(&keys);
    buf_fini(&defined);
    return false;
}

bool check_key_schema(struct call *call, const struct json *schema, const struct json *attributes)
{
    const struct json *hash = schema ? schema->child : NULL, *range = hash ? hash->next : NULL;
    if (!hash || schema->type != JSON_ARRAY)
        return fault_invalid(call->fault,
                             "1 validation error detected: Value '[]' at 'keySchema' failed to satisfy "
                             "constraint: Member must have length greater than or equal to 1");
    if (schema->count > 2)
        return fault_invalid(call->fault,
                             "1 validation error detected: Value at 'keySchema' failed to satisfy "
                             "constraint: Member must have length less than or equal to 2");
    if (!json_string_is(json_get(hash, "KeyType"), "HASH"))
        return fault_invalid(call->fault,
                             "Invalid KeySchema: The first KeySchemaElement is not a HASH key type");
    if (range && !json_string_is(json_get(range, "KeyType"), "RANGE"))
        return fault_invalid(call->fault,
                             "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
    if (range && text_equal(attribute_name(hash), attribute_name(range)))
        return fault_invalid(
            call->fault, "Both the Hash Key and the Range Key element in the KeySchema have the same name");
    return names_are_defined(call, schema, attributes);
}

/* ---- indexes ---- */

static bool check_projection(struct call *call, const struct json *index)
{
    const struct json *projection = json_get(index, "Projection"),
                      *type = json_get(projection, "ProjectionType");
    const struct json *names = json_get(projection, "NonKeyAttributes");
    bool include = json_string_is(type, "INCLUDE");
    char sentence[160];
    if (!include && !json_string_is(type, "ALL") && !json_string_is(type, "KEYS_ONLY")) {
        snprintf(sentence, sizeof sentence, "Unknown ProjectionType: %.*s", type ? (int)type->size : 4,
                 type ? type->text : "null");
        return invalid(call, sentence);
    }
    if (include && !names)
        return invalid(call, "ProjectionType is INCLUDE, but NonKeyAttributes is not specified");
    if (!include && names) {
        snprintf(sentence, sizeof sentence, "ProjectionType is %.*s, but NonKeyAttributes is specified",
                 (int)type->size, type->text);
        return invalid(call, sentence);
    }
    return true;
}

static bool check_local(struct call *call, const struct json *index, struct text name,
                        const struct json *table)
{
    const struct json *schema = json_get(index, "KeySchema");
    if (table->count < 2)
        return invalid(call, "Table KeySchema does not have a range key, which is required when specifying a "
                             "LocalSecondaryIndex");
    if (schema->count < 2)
        return fault_invalid(
            call->fault,
            "One or more parameter values were invalid: Index KeySchema does not have a range key for "
            "index: %.*s",
            (int)name.size, name.data);
    struct text own = attribute_name(schema->child), leading = attribute_name(table->child);
    return text_equal(own, leading) ||
           fault_invalid(
               call->fault,
               "One or more parameter values were invalid: Index KeySchema does not have the same leading "
               "hash key as table KeySchema for index: %.*s. index hash key: %.*s, table hash key: %.*s",
               (int)name.size, name.data, (int)own.size, own.data, (int)leading.size, leading.data);
}

bool check_index(struct call *call, const struct json *index, const struct json *attributes,
                 const struct json *table, bool global)
{
    struct text name = text_of(json_get(index, "IndexName"));
    if (!valid_name(name))
        return fault_invalid(call->fault,
                             "Invalid table/index name.  Table/index names must be between 3 and 255 "
                             "characters long, and may contain only the characters a-z, A-Z, 0-9, '_', "
                             "'-', and '.'");
    return check_key_schema(call, json_get(index, "KeySchema"), attributes) &&
           check_projection(call, index) && (global || check_local(call, index, name, table));
}

static bool check_indexes(struct call *call, const char *member, bool global, size_t most)
{
    const struct json *indexes = call_member(call, member);
    if (!indexes)
        return true;
    if (!indexes->child)
        return fault_invalid(call->fault, "One or more parameter values were invalid: List of %s is empty",
                             member);
    json_each(index, indexes)
        if (!check_index(call, index, call_member(call, "AttributeDefinitions"),
                         call_member(call, "KeySchema"), global))
            return false;
    return indexes->count <= most ||
           fault_invalid(
               call->fault,
               "One or more parameter values were invalid: Number of %s exceeds per-table limit of %zu",
               member, most);
}

static bool names_differ(struct call *call)
{
    static const char *const members[] = {"LocalSecondaryIndexes", "GlobalSecondaryIndexes"};
    for (int i = 0; i < 2; i++)
        json_each(index, call_member(call, members[i]))
            for (int j = i; j < 2; j++)
                for (const struct json *other =
                         j == i
                             ? index->next
                             : (call_member(call, members[j]) ? call_member(call, members[j])->child : NULL);
                     other; other = other->next)
                    if (text_equal(text_of(json_get(index, "IndexName")),
                                   text_of(json_get(other, "IndexName"))))
                        return fault_invalid(
                            call->fault,
                            "One or more parameter values were invalid: Duplicate index name: %.*s",
                            (int)json_get(index, "IndexName")->size, json_get(index, "IndexName")->text);
    return true;
}

/* ---- the table ---- */

static bool used_in(const struct json *schema, struct text name)
{
    json_each(element, schema)
        if (text_equal(attribute_name(element), name))
            return true;
    return false;
}

static bool used_in_index(const struct call *call, const char *member, struct text name)
{
    json_each(index, call_member(call, member))
        if (used_in(json_get(index, "KeySchema"), name))
            return true;
    return false;
}

/* Attributes are defined when they are part of a key, and only then. */
static bool all_are_used(struct call *call)
{
    bool indexes = call_member(call, "LocalSecondaryIndexes") || call_member(call, "GlobalSecondaryIndexes");
    json_each(attribute, call_member(call, "AttributeDefinitions")) {
        struct text name = attribute_name(attribute);
        if (used_in(call_member(call, "KeySchema"), name) ||
            used_in_index(call, "LocalSecondaryIndexes", name) ||
            used_in_index(call, "GlobalSecondaryIndexes", name))
            continue;
        return invalid(
            call, indexes ? "Some AttributeDefinitions are not used. AttributeDefinitions: "
                          : "Number of attributes in KeySchema does not exactly match number of attributes "
                            "defined in AttributeDefinitions");
    }
    return true;
}

bool check_attributes(struct call *call)
{
    json_each(attribute, call_member(call, "AttributeDefinitions")) {
        struct text type = text_of(json_get(attribute, "AttributeType"));
        if (attr_type_named(type.data, type.size) > ATTR_B)
            return fault_invalid(
                call->fault,
                "1 validation error detected: Value '%.*s' at 'attributeDefinitions.1.member."
                "attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, "
                "N, S]",
                (int)type.size, type.data);
    }
    return true;
}

static bool check_billing(struct call *call)
{
    static const char *const modes[] = {"PROVISIONED", "PAY_PER_REQUEST", NULL};
    int mode = call_choice(call, "BillingMode", modes);
    const struct json *throughput = call_member(call, "ProvisionedThroughput");
    if (mode < 0)
        return false;
    if (mode == 0 && !throughput)
        return invalid(call,
                       "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is "
                       "PROVISIONED");
    if (mode == 1 && throughput)
        return invalid(
            call, "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
                  "PAY_PER_REQUEST");
    return true;
}

bool check_stream_specification(struct call *call, const struct json *specification)
{
    const struct json *enabled = json_get(specification, "StreamEnabled"),
                      *view = json_get(specification, "StreamViewType");
    if (!specification)
        return true;
    if (!enabled)
        return fault_invalid(call->fault,
                             "1 validation error detected: Value null at 'streamSpecification."
                             "streamEnabled' failed to satisfy constraint: Member must not be null");
    if (enabled->type != JSON_TRUE)
        return !view || invalid(call, "Cannot specify StreamViewType when StreamEnabled is false");
    for (int i = VIEW_KEYS_ONLY; i <= VIEW_BOTH; i++)
        if (json_string_is(view, view_names[i]))
            return true;
    if (!view)
        return invalid(call, "StreamViewType is required when StreamEnabled is true");
    return fault_invalid(
        call->fault,
        "1 validation error detected: Value '%.*s' at 'streamSpecification.streamViewType' failed to "
        "satisfy constraint: Member must satisfy enum value set: [NEW_AND_OLD_IMAGES, OLD_IMAGE, "
        "NEW_IMAGE, KEYS_ONLY]",
        (int)view->size, view->text);
}

bool check_new_table(struct call *call)
{
    struct text name;
    if (!call_required(call, "AttributeDefinitions") || !call_required(call, "TableName") ||
        !call_required(call, "KeySchema") || !call_text(call, "TableName", &name))
        return false;
    if (!valid_name(name))
        return fault_invalid(
            call->fault,
            "1 validation error detected: Value '%.*s' at 'tableName' failed to satisfy constraint: "
            "Member must %s",
            (int)name.size, name.data,
            name.size < 3     ? "have length greater than or equal to 3"
            : name.size > 255 ? "have length less than or equal to 255"
                              : "satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
    return check_attributes(call) &&
           check_key_schema(call, call_member(call, "KeySchema"),
                            call_member(call, "AttributeDefinitions")) &&
           check_indexes(call, "LocalSecondaryIndexes", false, LOCAL_INDEXES_MAX) &&
           check_indexes(call, "GlobalSecondaryIndexes", true, GLOBAL_INDEXES_MAX) && names_differ(call) &&
           all_are_used(call) && check_billing(call) &&
           check_stream_specification(call, call_member(call, "StreamSpecification"));
}
