/* table_check.c: what CreateTable and UpdateTable refuse. */
#include "local/operations/table_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KIND_MAX 4 /* HASH attributes of a global index, and RANGE ones */
#define UNITS_MAX 1000000000000
#define LOCAL_INDEXES_MAX 5
#define INDEXES_LOOKED_AT 100
#define PROJECTED_MAX 100 /* over all indexes of a table */

static bool invalid(struct call *call, const char *sentence)
{
    return fault_invalid(call->fault, "One or more parameter values were invalid: %s", sentence);
}

static struct text attribute_name(const struct json *element)
{
    return json_text(json_get(element, "AttributeName"));
}

const struct json *find_attribute(const struct json *attributes, struct text name)
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

static bool is_hash(const struct json *element)
{
    return json_string_is(json_get(element, "KeyType"), "HASH");
}

/* Of a global index: up to four HASH attributes and behind them up to four RANGE ones. */
static bool check_kinds(struct call *call, const struct json *schema)
{
    size_t hashes = 0, ranges = 0;
    json_each(element, schema) {
        if (is_hash(element) && ranges)
            return fault_invalid(call->fault, "Invalid KeySchema: All HASH KeySchemaElements must come "
                                              "before the first RANGE KeySchemaElement");
        hashes += is_hash(element);
        ranges += !is_hash(element);
    }
    if (hashes > KIND_MAX || ranges > KIND_MAX)
        return fault_invalid(call->fault,
                             "Invalid KeySchema: The number of %s KeySchemaElements exceeds the limit of %d",
                             hashes > KIND_MAX ? "HASH" : "RANGE", KIND_MAX);
    return true;
}

static bool names_differ_within(struct call *call, const struct json *schema)
{
    json_each(element, schema)
        for (const struct json *other = element->next; other; other = other->next)
            if (text_equal(attribute_name(element), attribute_name(other)))
                return fault_invalid(
                    call->fault,
                    "Both the Hash Key and the Range Key element in the KeySchema have the same name");
    return true;
}

static bool check_key_schema(struct call *call, const struct json *schema, const struct json *attributes,
                             bool global)
{
    const struct json *second = schema->child->next;
    if (!names_are_defined(call, schema, attributes) || !names_differ_within(call, schema))
        return false;
    if (!is_hash(schema->child))
        return fault_invalid(call->fault,
                             "Invalid KeySchema: The first KeySchemaElement is not a HASH key type");
    if (!global && second && is_hash(second))
        return fault_invalid(call->fault,
                             "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
    return !global || check_kinds(call, schema);
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

static bool index_fault(struct call *call, const char *problem, struct text name)
{
    return fault_invalid(call->fault, "One or more parameter values were invalid: %s%.*s", problem,
                         (int)name.size, name.data);
}

static bool check_local(struct call *call, const struct json *index, struct text name,
                        const struct json *table)
{
    const struct json *schema = json_get(index, "KeySchema");
    if (schema->count < 2)
        return index_fault(call, "Index KeySchema does not have a range key for index: ", name);
    struct text own = attribute_name(schema->child), leading = attribute_name(table->child);
    return text_equal(own, leading) ||
           fault_invalid(
               call->fault,
               "One or more parameter values were invalid: Index KeySchema does not have the same leading "
               "hash key as table KeySchema for index: %.*s. index hash key: %.*s, table hash key: %.*s",
               (int)name.size, name.data, (int)own.size, own.data, (int)leading.size, leading.data);
}

static bool check_index_billing(struct call *call, const struct json *index, struct text name, bool on_demand)
{
    bool given = json_get(index, "ProvisionedThroughput") != NULL;
    if (given && on_demand)
        return fault_invalid(call->fault,
                             "One or more parameter values were invalid: ProvisionedThroughput should not be "
                             "specified for index: %.*s when BillingMode is PAY_PER_REQUEST",
                             (int)name.size, name.data);
    return given || on_demand ||
           index_fault(call, "ProvisionedThroughput must be specified for index: ", name);
}

bool check_global_index(struct call *call, const struct json *index, const struct json *attributes,
                        bool on_demand)
{
    struct text name = json_text(json_get(index, "IndexName"));
    return check_key_schema(call, json_get(index, "KeySchema"), attributes, true) &&
           check_projection(call, index) && check_index_billing(call, index, name, on_demand) &&
           check_throughput(call, json_get(index, "ProvisionedThroughput"));
}

static bool check_local_index(struct call *call, const struct json *index)
{
    return check_key_schema(call, json_get(index, "KeySchema"), call_member(call, "AttributeDefinitions"),
                            false) &&
           check_local(call, index, json_text(json_get(index, "IndexName")),
                       call_member(call, "KeySchema")) &&
           check_projection(call, index);
}

static bool check_local_indexes(struct call *call)
{
    const struct json *indexes = call_member(call, "LocalSecondaryIndexes");
    if (!indexes)
        return true;
    if (!indexes->child)
        return invalid(call, "List of LocalSecondaryIndexes is empty");
    if (call_member(call, "KeySchema")->count < 2)
        return invalid(call, "Table KeySchema does not have a range key, which is required when specifying a "
                             "LocalSecondaryIndex");
    json_each(index, indexes)
        if (!check_local_index(call, index))
            return false;
    return indexes->count <= LOCAL_INDEXES_MAX ||
           invalid(call, "Number of LocalSecondaryIndexes exceeds per-table limit of 5");
}

static bool check_global_indexes(struct call *call, bool on_demand)
{
    const struct json *indexes = call_member(call, "GlobalSecondaryIndexes");
    if (!indexes)
        return true;
    if (!indexes->child)
        return invalid(call, "List of GlobalSecondaryIndexes is empty");
    json_each(index, indexes)
        if (!check_global_index(call, index, call_member(call, "AttributeDefinitions"), on_demand))
            return false;
    return indexes->count <= GLOBAL_INDEXES_MAX ||
           invalid(call, "GlobalSecondaryIndex count exceeds the per-table limit of 20");
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
                    if (text_equal(json_text(json_get(index, "IndexName")),
                                   json_text(json_get(other, "IndexName"))))
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

static void list_used(struct buf *out, const struct call *call, const struct json *attributes)
{
    json_each(attribute, attributes) {
        struct text name = attribute_name(attribute);
        if (used_in(call_member(call, "KeySchema"), name) ||
            used_in_index(call, "LocalSecondaryIndexes", name) ||
            used_in_index(call, "GlobalSecondaryIndexes", name))
            buf_printf(out, "%s%.*s", out->size ? ", " : "", (int)name.size, name.data);
    }
}

/* Attributes are defined when they are part of a key, and only then. */
static bool all_are_used(struct call *call)
{
    const struct json *attributes = call_member(call, "AttributeDefinitions");
    struct buf used = BUF_INIT, defined = BUF_INIT;
    list_used(&used, call, attributes);
    list_names(&defined, attributes);
    bool all = used.size == defined.size;
    if (!all)
        fault_invalid(call->fault,
                      "One or more parameter values were invalid: Some AttributeDefinitions are not used. "
                      "AttributeDefinitions: [%s], keys used: [%s]",
                      defined.data, used.data ? used.data : "");
    buf_fini(&used);
    buf_fini(&defined);
    return all;
}

bool attributes_differ(struct call *call)
{
    return !call_duplicate(call, call_member(call, "AttributeDefinitions"), attribute_name) ||
           invalid(call, "Duplicate AttributeName in AttributeDefinitions");
}

bool check_throughput(struct call *call, const struct json *throughput)
{
    static const char *const members[] = {"ReadCapacityUnits", "WriteCapacityUnits"};
    for (size_t i = 0; throughput && i < 2; i++) {
        const struct json *units = json_get(throughput, members[i]);
        if (json_int64(units, 0) > UNITS_MAX)
            return fault_invalid(call->fault, "Given value %.*s for %s is out of bounds", (int)units->size,
                                 units->text, members[i]);
    }
    return true;
}

static bool check_billing(struct call *call, bool on_demand)
{
    const struct json *throughput = call_member(call, "ProvisionedThroughput");
    if (on_demand && throughput)
        return invalid(
            call, "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
                  "PAY_PER_REQUEST");
    if (!on_demand && !throughput)
        return invalid(call,
                       "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is "
                       "PROVISIONED");
    return check_throughput(call, throughput);
}

bool check_stream_specification(struct call *call, const struct json *specification)
{
    const struct json *view = json_get(specification, "StreamViewType");
    if (!specification)
        return true;
    bool enabled = json_get(specification, "StreamEnabled")->type == JSON_TRUE;
    if (!enabled && view)
        return invalid(call, "Cannot specify StreamViewType when StreamEnabled is false");
    return !enabled || view || invalid(call, "StreamViewType is required when StreamEnabled is true");
}

/* The table's own key, before its indexes are looked at. */
static bool check_table_key(struct call *call)
{
    const struct json *schema = call_member(call, "KeySchema"),
                      *attributes = call_member(call, "AttributeDefinitions");
    bool indexed = call_member(call, "LocalSecondaryIndexes") || call_member(call, "GlobalSecondaryIndexes");
    if (schema->count > attributes->count)
        return fault_invalid(call->fault, "Invalid KeySchema: Some index key attribute have no definition");
    if (!check_key_schema(call, schema, attributes, false))
        return false;
    return indexed || schema->count == attributes->count ||
           invalid(call, "Number of attributes in KeySchema does not exactly match number of attributes "
                         "defined in AttributeDefinitions");
}

/* What is far beyond a limit is not looked at one by one. */
static bool check_counts(struct call *call)
{
    const struct json *locals = call_member(call, "LocalSecondaryIndexes"),
                      *globals = call_member(call, "GlobalSecondaryIndexes");
    if (locals && locals->count > INDEXES_LOOKED_AT)
        return invalid(call, "Number of LocalSecondaryIndexes exceeds per-table limit of 5");
    return !globals || globals->count <= INDEXES_LOOKED_AT ||
           invalid(call, "GlobalSecondaryIndex count exceeds the per-table limit of 20");
}

static size_t projected(const struct json *indexes)
{
    size_t count = 0;
    json_each(index, indexes) {
        const struct json *names = json_get(json_get(index, "Projection"), "NonKeyAttributes");
        count += names ? names->count : 0;
    }
    return count;
}

bool check_projected(struct call *call, const struct json *locals, const struct json *globals,
                     const struct json *more)
{
    const struct json *names = json_get(json_get(more, "Projection"), "NonKeyAttributes");
    return projected(locals) + projected(globals) + (names ? names->count : 0) <= PROJECTED_MAX ||
           invalid(call, "The number of attributes that are projected into indexes exceeds the per-table "
                         "limit of 100");
}

bool check_new_table(struct call *call)
{
    bool on_demand = json_string_is(call_member(call, "BillingMode"), "PAY_PER_REQUEST");
    return check_counts(call) && check_billing(call, on_demand) && check_table_key(call) &&
           check_local_indexes(call) && check_global_indexes(call, on_demand) && names_differ(call) &&
           attributes_differ(call) && all_are_used(call) &&
           check_projected(call, call_member(call, "LocalSecondaryIndexes"),
                           call_member(call, "GlobalSecondaryIndexes"), NULL) &&
           check_stream_specification(call, call_member(call, "StreamSpecification"));
}
