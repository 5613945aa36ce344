/* schema.c: see schema.h. */
#include "local/model/schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *const view_names[] = {NULL, "KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"};

static const char *const projection_names[] = {"ALL", "KEYS_ONLY", "INCLUDE"};

/* ---- reading ---- */

struct text json_text(const struct json *json)
{
    return json && json->type == JSON_STRING ? (struct text){json->text, json->size} : (struct text){"", 0};
}

const struct key_part *table_attribute(const struct table *table, struct text name)
{
    for (size_t i = 0; i < table->attribute_count; i++)
        if (text_equal(table->attributes[i].name, name))
            return &table->attributes[i];
    return NULL;
}

static void read_key(const struct table *table, const struct json *json, struct key_schema *key)
{
    *key = (struct key_schema){0};
    json_each(element, json) {
        const struct key_part *part = table_attribute(table, json_text(json_get(element, "AttributeName")));
        if (!part || key->count == KEY_PARTS_MAX)
            continue;
        key->hash_count += json_string_is(json_get(element, "KeyType"), "HASH");
        key->parts[key->count++] = *part;
    }
}

static void read_projection(struct table *table, const struct json *json, struct index *index)
{
    const struct json *type = json_get(json, "ProjectionType"), *names = json_get(json, "NonKeyAttributes");
    for (int i = 0; i < 3; i++)
        if (json_string_is(type, projection_names[i]))
            index->projection = (enum projection_type)i;
    if (!names || names->type != JSON_ARRAY)
        return;
    index->included = arena_alloc(&table->arena, names->count * sizeof *index->included);
    json_each(name, names)
        index->included[index->included_count++] = json_text(name);
}

static void read_units(const struct json *json, int64_t *read, int64_t *write)
{
    *read = json_integer(json_get(json, "ReadCapacityUnits"), 0);
    *write = json_integer(json_get(json, "WriteCapacityUnits"), 0);
}

static bool is_true(const struct json *json)
{
    return json && json->type == JSON_TRUE;
}

static const char *const setting_names[] = {
    [SETTING_ON_DEMAND] = "OnDemandThroughput", [SETTING_WARM] = "WarmThroughput",
    [SETTING_ENCRYPTION] = "SSESpecification",  [SETTING_POLICY] = "ResourcePolicy",
    [SETTING_STREAM_POLICY] = "StreamPolicy",   [SETTING_RECOVERY] = "RecoveryPeriodInDays",
};

void table_set(struct table *table, const char **settings, int which, const struct json *value)
{
    struct buf text = BUF_INIT;
    settings[which] = NULL;
    if (!value || value->type == JSON_NULL)
        return;
    json_write_value(&text, value);
    settings[which] = arena_copy(&table->arena, text.data, text.size);
    buf_fini(&text);
}

static void read_settings(struct table *table, const char **settings, const struct json *json, int count)
{
    for (int i = 0; i < count; i++)
        table_set(table, settings, i, json_get(json, setting_names[i]));
}

static void read_indexes(struct table *table, const struct json *json, bool global)
{
    json_each(element, json) {
        struct index *index = &table->indexes[table->index_count++];
        *index = (struct index){
            .id = json_integer(json_get(element, "Id"), 0),
            .name = json_string(&table->arena, json_get(element, "IndexName")),
            .global = global,
        };
        read_key(table, json_get(element, "KeySchema"), &index->key);
        read_projection(table, json_get(element, "Projection"), index);
        read_units(json_get(element, "ProvisionedThroughput"), &index->read_units, &index->write_units);
        read_settings(table, index->settings, element, SETTING_WARM + 1);
    }
}

static void read_attributes(struct table *table, const struct json *json)
{
    table->attributes = arena_alloc(&table->arena, (json ? json->count : 0) * sizeof *table->attributes + 1);
    json_each(element, json) {
        struct text type = json_text(json_get(element, "AttributeType"));
        table->attributes[table->attribute_count++] = (struct key_part){
            json_text(json_get(element, "AttributeName")), attr_type_named(type.data, type.size)};
    }
}

static void read_stream(struct table *table, const struct json *root)
{
    const struct json *stream = json_get(root, "StreamSpecification");
    table->stream_label = json_string(&table->arena, json_get(root, "StreamLabel"));
    if (!stream || !json_get(stream, "StreamEnabled") || json_get(stream, "StreamEnabled")->type != JSON_TRUE)
        return;
    for (int i = VIEW_KEYS_ONLY; i <= VIEW_BOTH; i++)
        if (json_string_is(json_get(stream, "StreamViewType"), view_names[i]))
            table->view = (enum view_type)i;
}

/* An attribute is defined for as long as a key uses it. */
static void forget_unused(struct table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->attribute_count; i++) {
        struct text name = table->attributes[i].name;
        bool used = key_has(&table->key, name);
        for (size_t j = 0; j < table->index_count && !used; j++)
            used = key_has(&table->indexes[j].key, name);
        if (used)
            table->attributes[kept++] = table->attributes[i];
    }
    table->attribute_count = kept;
}

struct table *table_read(const char *text, size_t size)
{
    struct table *table = mem_zero(sizeof *table);
    char *copy = arena_copy(&table->arena, text, size); /* the tree points into it */
    const struct json *root = json_parse(&table->arena, copy, size, NULL);
    const struct json *local = json_get(root, "LocalSecondaryIndexes"),
                      *global = json_get(root, "GlobalSecondaryIndexes");
    const struct json *tags = json_get(root, "Tags");
    size_t indexes = (local ? local->count : 0) + (global ? global->count : 0);
    table->id = json_integer(json_get(root, "Id"), 0);
    table->name = json_string(&table->arena, json_get(root, "TableName"));
    table->uuid = json_string(&table->arena, json_get(root, "TableId"));
    table->region = json_string(&table->arena, json_get(root, "Region"));
    table->created_ms = json_integer(json_get(root, "CreatedMs"), 0);
    table->ttl = json_string(&table->arena, json_get(root, "TimeToLive"));
    table->class = json_string(&table->arena, json_get(root, "TableClass"));
    table->protected = is_true(json_get(root, "DeletionProtectionEnabled"));
    table->on_demand = json_string_is(json_get(root, "BillingMode"), "PAY_PER_REQUEST");
    table->tags = tags && tags->type == JSON_ARRAY ? arena_copy(&table->arena, tags->text, tags->size) : "[]";
    read_settings(table, table->settings, root, SETTINGS);
    read_attributes(table, json_get(root, "AttributeDefinitions"));
    read_key(table, json_get(root, "KeySchema"), &table->key);
    read_units(json_get(root, "ProvisionedThroughput"), &table->read_units, &table->write_units);
    table->indexes = arena_alloc(&table->arena, indexes * sizeof *table->indexes + 1);
    read_indexes(table, local, false);
    read_indexes(table, global, true);
    forget_unused(table);
    read_stream(table, root);
    if (table->name && table->key.count)
        return table;
    table_free(table);
    return NULL;
}

void table_free(struct table *table)
{
    struct arena arena;
    if (!table)
        return;
    arena = table->arena;
    arena_fini(&arena);
    free(table);
}

/* ---- writing ---- */

static void write_key(struct buf *out, const struct key_schema *key)
{
    buf_add_literal(out, "\"KeySchema\":[");
    for (size_t i = 0; i < key->count; i++) {
        buf_add_text(out, i ? ",{\"AttributeName\":" : "{\"AttributeName\":");
        json_write_string(out, key->parts[i].name.data, key->parts[i].name.size);
        buf_printf(out, ",\"KeyType\":\"%s\"}", i < key->hash_count ? "HASH" : "RANGE");
    }
    buf_add_char(out, ']');
}

static void write_attributes(struct buf *out, const struct table *table)
{
    buf_add_literal(out, "\"AttributeDefinitions\":[");
    for (size_t i = 0; i < table->attribute_count; i++) {
        buf_add_text(out, i ? ",{\"AttributeName\":" : "{\"AttributeName\":");
        json_write_string(out, table->attributes[i].name.data, table->attributes[i].name.size);
        buf_printf(out, ",\"AttributeType\":\"%s\"}", attr_type_names[table->attributes[i].type]);
    }
    buf_add_char(out, ']');
}

static void write_projection(struct buf *out, const struct index *index)
{
    buf_printf(out, "\"Projection\":{\"ProjectionType\":\"%s\"", projection_names[index->projection]);
    for (size_t i = 0; i < index->included_count; i++) {
        buf_add_text(out, i ? "," : ",\"NonKeyAttributes\":[");
        json_write_string(out, index->included[i].data, index->included[i].size);
    }
    buf_add_text(out, index->included_count ? "]}" : "}");
}

static void write_units(struct buf *out, int64_t read, int64_t write, bool described)
{
    buf_printf(out,
               "\"ProvisionedThroughput\":{%s\"ReadCapacityUnits\":%" PRId64
               ",\"WriteCapacityUnits\":%" PRId64 "}",
               described ? "\"NumberOfDecreasesToday\":0," : "", read, write);
}

static void write_settings(struct buf *out, const char *const *settings, int count)
{
    for (int i = 0; i < count; i++)
        if (settings[i])
            buf_printf(out, ",\"%s\":%s", setting_names[i], settings[i]);
}

/* As they are described: what is warm says its status, and encryption has a member of its own. */
static void describe_settings(struct buf *out, const char *const *settings)
{
    if (settings[SETTING_ON_DEMAND])
        buf_printf(out, ",\"OnDemandThroughput\":%s", settings[SETTING_ON_DEMAND]);
    if (settings[SETTING_WARM]) {
        const char *text = settings[SETTING_WARM];
        buf_printf(out, ",\"WarmThroughput\":%.*s%s\"Status\":\"ACTIVE\"}", (int)strlen(text) - 1, text,
                   text[1] == '}' ? "" : ",");
    }
}

/* The key that encrypts, as an ARN: what was given, or the account's own for the service. `arn`: of the
 * table, arn:aws:dynamodb:REGION:ACCOUNT:table/NAME. */
static void describe_encryption(struct buf *out, const char *text, const char *arn)
{
    struct arena arena = ARENA_INIT;
    const struct json *said = text ? json_parse(&arena, text, strlen(text), NULL) : NULL;
    if (is_true(json_get(said, "Enabled"))) {
        static const char managed[] = "alias/aws/dynamodb";
        const struct json *given = json_get(said, "KMSMasterKeyId");
        struct text key =
            given ? (struct text){given->text, given->size} : (struct text){managed, strlen(managed)};
        buf_add_literal(out, ",\"SSEDescription\":{\"Status\":\"ENABLED\",\"SSEType\":\"KMS\","
                             "\"KMSMasterKeyArn\":\"");
        if (key.size < 4 || memcmp(key.data, "arn:", 4) != 0) {
            const char *region = arn + strlen("arn:aws:dynamodb:");
            bool alias = key.size >= 6 && memcmp(key.data, "alias/", 6) == 0;
            buf_printf(out, "arn:aws:kms:%.*s%s", (int)(strstr(region, ":table/") + 1 - region), region,
                       alias ? "" : "key/");
        }
        json_write_text(out, key.data, key.size);
        buf_add_literal(out, "\"}");
    }
    arena_fini(&arena);
}

/* `arn` of the table: as it is described; NULL: as it is kept. */
static void write_indexes(struct buf *out, const struct table *table, bool global, const char *arn)
{
    bool any = false;
    for (size_t i = 0; i < table->index_count; i++) {
        const struct index *index = &table->indexes[i];
        if (index->global != global)
            continue;
        buf_printf(out, any ? ",{" : ",\"%sSecondaryIndexes\":[{", global ? "Global" : "Local");
        any = true;
        buf_printf(out, "\"IndexName\":\"%s\",", index->name);
        write_key(out, &index->key);
        buf_add_char(out, ',');
        write_projection(out, index);
        if (global) {
            buf_add_char(out, ',');
            write_units(out, index->read_units, index->write_units, arn != NULL);
        }
        if (!arn) {
            buf_printf(out, ",\"Id\":%" PRId64, index->id);
            write_settings(out, index->settings, SETTING_WARM + 1);
        }
        if (arn && global)
            buf_add_text(out, index->filling ? ",\"IndexStatus\":\"CREATING\",\"Backfilling\":true"
                                             : ",\"IndexStatus\":\"ACTIVE\"");
        if (arn)
            describe_settings(out, index->settings);
        if (arn)
            buf_printf(out, ",\"IndexSizeBytes\":0,\"ItemCount\":0,\"IndexArn\":\"%s/index/%s\"", arn,
                       index->name);
        buf_add_char(out, '}');
    }
    if (any)
        buf_add_char(out, ']');
}

static void write_stream(struct buf *out, const struct table *table)
{
    if (table->view != VIEW_NONE)
        buf_printf(out, ",\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"%s\"}",
                   view_names[table->view]);
}

void table_write(struct buf *out, const struct table *table)
{
    buf_printf(out, "{\"Id\":%" PRId64 ",\"TableName\":\"%s\",\"TableId\":\"%s\",\"CreatedMs\":%" PRId64 ",",
               table->id, table->name, table->uuid, table->created_ms);
    write_attributes(out, table);
    buf_add_char(out, ',');
    write_key(out, &table->key);
    buf_add_char(out, ',');
    write_units(out, table->read_units, table->write_units, false);
    write_indexes(out, table, false, NULL);
    write_indexes(out, table, true, NULL);
    write_stream(out, table);
    buf_printf(out, ",\"BillingMode\":\"%s\"", table->on_demand ? "PAY_PER_REQUEST" : "PROVISIONED");
    if (table->region)
        buf_printf(out, ",\"Region\":\"%s\"", table->region);
    if (table->stream_label)
        buf_printf(out, ",\"StreamLabel\":\"%s\"", table->stream_label);
    if (table->ttl) {
        buf_add_literal(out, ",\"TimeToLive\":");
        json_write_string(out, table->ttl, strlen(table->ttl));
    }
    if (table->class)
        buf_printf(out, ",\"TableClass\":\"%s\"", table->class);
    write_settings(out, table->settings, SETTINGS);
    buf_printf(out, ",\"DeletionProtectionEnabled\":%s,\"Tags\":%s}", table->protected ? "true" : "false",
               table->tags);
}

void table_describe(struct buf *out, const struct table *table, const struct table_figures *figures)
{
    double created = (double)table->created_ms / 1000.0;
    buf_add_char(out, '{');
    write_attributes(out, table);
    buf_printf(out, ",\"TableName\":\"%s\",", table->name);
    write_key(out, &table->key);
    buf_printf(out, ",\"TableStatus\":\"%s\",\"CreationDateTime\":%.3f,",
               table->busy ? table->busy : "ACTIVE", created);
    write_units(out, table->read_units, table->write_units, true);
    buf_printf(
        out,
        ",\"TableSizeBytes\":%" PRId64 ",\"ItemCount\":%" PRId64 ",\"TableArn\":\"%s\",\"TableId\":\"%s\""
        ",\"DeletionProtectionEnabled\":%s",
        figures->bytes, figures->items, figures->arn, table->uuid, table->protected ? "true" : "false");
    if (table->on_demand)
        buf_printf(out,
                   ",\"BillingModeSummary\":{\"BillingMode\":\"PAY_PER_REQUEST\","
                   "\"LastUpdateToPayPerRequestDateTime\":%.3f}",
                   created);
    if (table->class)
        buf_printf(out, ",\"TableClassSummary\":{\"TableClass\":\"%s\"}", table->class);
    describe_settings(out, table->settings);
    describe_encryption(out, table->settings[SETTING_ENCRYPTION], figures->arn);
    write_indexes(out, table, false, figures->arn);
    write_indexes(out, table, true, figures->arn);
    write_stream(out, table);
    if (table->stream_label)
        buf_printf(out, ",\"LatestStreamLabel\":\"%s\",\"LatestStreamArn\":\"%s/stream/%s\"",
                   table->stream_label, figures->arn, table->stream_label);
    buf_add_char(out, '}');
}

/* ---- keys ---- */

const struct index *table_index(const struct table *table, struct text name)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (text_is(name, table->indexes[i].name, strlen(table->indexes[i].name)))
            return &table->indexes[i];
    return NULL;
}

bool key_has(const struct key_schema *schema, struct text name)
{
    for (size_t i = 0; i < schema->count; i++)
        if (text_equal(schema->parts[i].name, name))
            return true;
    return false;
}

/* A zero byte within a part is followed by 0xff, and the part is ended by a zero and a one. */
#define PART_END "\0\1"

void key_part_begin(struct buf *out, const struct attr *value, bool last)
{
    size_t begun = out->size;
    attr_sort_key(out, value);
    if (last || out->size == begun || !memchr(out->data + begun, '\0', out->size - begun))
        return;
    struct buf plain = BUF_INIT;
    buf_add(&plain, out->data + begun, out->size - begun);
    out->size = begun;
    for (size_t i = 0; i < plain.size; i++) {
        buf_add_char(out, plain.data[i]);
        if (!plain.data[i])
            buf_add_char(out, '\xff');
    }
    buf_fini(&plain);
}

void key_part_write(struct buf *out, const struct attr *value, bool last)
{
    key_part_begin(out, value, last);
    if (!last)
        buf_add(out, PART_END, 2);
}

struct text key_part_read(struct arena *arena, struct text parts, bool last)
{
    if (last)
        return parts;
    char *bytes = arena_alloc(arena, parts.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < parts.size; i++) {
        if (!parts.data[i] && i + 1 < parts.size && parts.data[i + 1] == PART_END[1])
            break;
        bytes[size++] = parts.data[i];
        i += !parts.data[i];
    }
    return (struct text){bytes, size};
}

bool key_of(struct arena *arena, const struct key_schema *schema, const struct attr *item,
            struct row_key *key)
{
    struct buf bytes = BUF_INIT;
    size_t hash_size = 0;
    bool whole = true;
    for (size_t i = 0; i < schema->count && whole; i++) {
        const struct attr *value = attr_get(item, schema->parts[i].name);
        whole = value && value->type == schema->parts[i].type;
        if (whole)
            key_part_write(&bytes, value, i + 1 == schema->hash_count || i + 1 == schema->count);
        if (i + 1 == schema->hash_count)
            hash_size = bytes.size;
    }
    const char *copy = whole ? arena_copy(arena, bytes.data ? bytes.data : "", bytes.size) : "";
    *key = (struct row_key){{copy, whole ? hash_size : 0},
                            {copy + (whole ? hash_size : 0), whole ? bytes.size - hash_size : 0}};
    buf_fini(&bytes);
    return whole;
}
