/* dev_tables.c: from [table] sections and seed files to calls of the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev.h"

#define SEED_BYTES_MAX (64u << 20)

static const char *const views[] = {NULL, "KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"};

/* Who makes tables, and where. */
struct maker {
    struct engine *engine;
    const char *region; /* of the INI, for the ARNs; or NULL */
};

/* False and `err` with the service's sentence. */
static bool call(const struct maker *maker, const char *operation, const struct buf *body, struct err *err)
{
    struct engine_reply reply = {0};
    char *target = mem_printf("DynamoDB_20120810.%s", operation);
    engine_call(maker->engine, &(struct engine_request){target, body->data, body->size, maker->region},
                &reply);
    bool ok = reply.status == 200;
    if (!ok) {
        struct arena arena = ARENA_INIT;
        const struct json *root = json_parse(&arena, reply.body.data, reply.body.size, NULL);
        const char *message = json_string(&arena, json_get(root, "message"));
        err_set(err, ERR_SERVICE, "%s: %s", operation, message ? message : "failed");
        arena_fini(&arena);
    }
    free(target);
    buf_fini(&reply.body);
    return ok;
}

/* ---- tables ---- */

struct attributes {
    const char *names[64];
    char types[64];
    size_t count;
};

static void add_attributes(struct attributes *all, const struct config_key *key)
{
    for (size_t i = 0; i < key->count; i++) {
        size_t at = 0;
        while (at < all->count && strcmp(all->names[at], key->names[i]) != 0)
            at++;
        if (at < all->count || all->count == 64)
            continue;
        all->names[all->count] = key->names[i];
        all->types[all->count++] = key->types[i];
    }
}

static void write_key(struct buf *out, const struct config_key *hash, const struct config_key *range,
                      size_t at)
{
    buf_add_literal(out, "\"KeySchema\":[{\"KeyType\":\"HASH\",");
    json_write_member(out, "AttributeName", hash->names[0], strlen(hash->names[0]));
    buf_add_char(out, '}');
    if (range->count > at) {
        buf_add_literal(out, ",{\"KeyType\":\"RANGE\",");
        json_write_member(out, "AttributeName", range->names[at], strlen(range->names[at]));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_indexes(struct buf *out, const struct config_table *table, bool local)
{
    bool any = false;
    for (size_t i = 0; i < table->index_count; i++) {
        const struct config_index *index = &table->indexes[i];
        if (index->local != local)
            continue;
        buf_printf(out, any ? ",{" : ",\"%sSecondaryIndexes\":[{", local ? "Local" : "Global");
        any = true;
        json_write_member(out, "IndexName", index->name, strlen(index->name));
        buf_add_literal(out, ",\"Projection\":{\"ProjectionType\":\"ALL\"},");
        write_key(out, local ? &table->key : &index->key, &index->key, local ? 0 : 1);
        buf_add_char(out, '}');
    }
    if (any)
        buf_add_char(out, ']');
}

static bool create(const struct maker *maker, const struct config_table *table, struct err *err)
{
    struct buf body = BUF_INIT;
    struct attributes all = {.count = 0};
    add_attributes(&all, &table->key);
    for (size_t i = 0; i < table->index_count; i++)
        add_attributes(&all, &table->indexes[i].key);
    buf_add_literal(&body, "{\"BillingMode\":\"PAY_PER_REQUEST\",\"TableName\":");
    json_write_string(&body, table->name, strlen(table->name));
    for (size_t i = 0; i < all.count; i++) {
        buf_add_text(&body, i ? ",{\"AttributeName\":" : ",\"AttributeDefinitions\":[{\"AttributeName\":");
        json_write_string(&body, all.names[i], strlen(all.names[i]));
        buf_printf(&body, ",\"AttributeType\":\"%c\"}", all.types[i]);
    }
    buf_add_literal(&body, "],");
    write_key(&body, &table->key, &table->key, 1);
    write_indexes(&body, table, true);
    write_indexes(&body, table, false);
    if (views[table->stream])
        buf_printf(&body, ",\"StreamSpecification\":{\"StreamEnabled\":true,\"StreamViewType\":\"%s\"}",
                   views[table->stream]);
    buf_add_char(&body, '}');
    bool ok = call(maker, "CreateTable", &body, err);
    buf_fini(&body);
    return ok;
}

static bool set_ttl(const struct maker *maker, const struct config_table *table, struct err *err)
{
    struct buf body = BUF_INIT;
    if (!table->ttl)
        return true;
    buf_add_literal(&body, "{\"TableName\":");
    json_write_string(&body, table->name, strlen(table->name));
    buf_add_literal(&body, ",\"TimeToLiveSpecification\":{\"Enabled\":true,\"AttributeName\":");
    json_write_string(&body, table->ttl, strlen(table->ttl));
    buf_add_literal(&body, "}}");
    bool ok = call(maker, "UpdateTimeToLive", &body, err);
    buf_fini(&body);
    return ok;
}

/* ---- seeds: plain JSON, or DynamoDB's with its types ---- */

static bool is_typed(const struct json *value)
{
    static const char *const types[] = {"S", "N", "B", "SS", "NS", "BS", "M", "L", "BOOL", "NULL"};
    if (value->type != JSON_OBJECT || value->count != 1)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (json_key_is(value->child, types[i]))
            return true;
    return false;
}

static void write_value(struct buf *out, const struct json *value);

static void write_members(struct buf *out, const struct json *container)
{
    json_each(member, container) {
        if (member != container->child)
            buf_add_char(out, ',');
        if (container->type == JSON_OBJECT) {
            json_write_string(out, member->key, member->key_size);
            buf_add_char(out, ':');
        }
        write_value(out, member);
    }
}

static void write_value(struct buf *out, const struct json *value)
{
    switch (value->type) {
    case JSON_STRING:
        buf_add_literal(out, "{\"S\":");
        json_write_string(out, value->text, value->size);
        break;
    case JSON_NUMBER:
        buf_printf(out, "{\"N\":\"%.*s\"", (int)value->size, value->text);
        break;
    case JSON_NULL:
        buf_add_literal(out, "{\"NULL\":true");
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_printf(out, "{\"BOOL\":%s", value->type == JSON_TRUE ? "true" : "false");
        break;
    case JSON_ARRAY:
        buf_add_literal(out, "{\"L\":[");
        write_members(out, value);
        buf_add_char(out, ']');
        break;
    default:
        if (is_typed(value)) {
            json_write_value(out, value);
            return;
        }
        buf_add_literal(out, "{\"M\":{");
        write_members(out, value);
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
}

/* In single quotes for a shell. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    putchar('\'');
}

static bool same_key(const struct config_table *table, const struct json *a, const struct json *b)
{
    for (size_t i = 0; i < table->key.count; i++) {
        const struct json *x = json_get(a, table->key.names[i]), *y = json_get(b, table->key.names[i]);
        if (!x || !y || x->size != y->size || memcmp(x->text, y->text, x->size) != 0)
            return false;
    }
    return true;
}

static void suggest_item(struct dev_suggestions *suggestions, const struct json *item)
{
    struct buf text = BUF_INIT;
    json_write_value(&text, item);
    suggestions->items[suggestions->count++] = buf_take(&text);
}

static const struct json *last_like(const struct config_table *table, const struct json *items,
                                    const struct json *item)
{
    const struct json *last = item;
    json_each(other, items)
        if (same_key(table, other, item))
            last = other;
    return last;
}

/* Of a seed's item that changes, how it was before and what it became; else the last one. */
static bool suggest_seed(struct dev_suggestions *suggestions, const struct config_table *table)
{
    struct arena arena = ARENA_INIT;
    size_t size;
    char *text = table->seed ? file_read(table->seed, SEED_BYTES_MAX, &size, NULL) : NULL;
    const struct json *items = text ? json_parse(&arena, text, size, NULL) : NULL, *before = NULL,
                      *after = NULL;
    bool listed = items && items->type == JSON_ARRAY;
    for (const struct json *item = listed ? items->child : NULL; item && !before; item = item->next) {
        after = last_like(table, items, item);
        before = after != item ? item : NULL;
    }
    if (before)
        suggest_item(suggestions, before);
    if (after)
        suggest_item(suggestions, after);
    arena_fini(&arena);
    free(text);
    return after;
}

/* Of its key alone: '{"orderId": "1"}' */
static void suggest_key(struct dev_suggestions *suggestions, const struct config_table *table)
{
    struct buf item = BUF_INIT;
    for (size_t i = 0; i < table->key.count; i++)
        buf_printf(&item, "%s\"%s\": %s", i ? ", " : "{", table->key.names[i],
                   table->key.types[i] == 'N' ? "1" : "\"1\"");
    buf_add_char(&item, '}');
    suggestions->items[suggestions->count++] = buf_take(&item);
}

static void print_put(const struct config *config, const char *table, const char *item)
{
    printf("  tidemill dev put %s ", table);
    print_quoted(item);
    if (strcmp(config->path, cmd_config_path(NULL)) != 0)
        printf(" -c %s", config->path);
    putchar('\n');
}

void dev_suggest(const struct config *config, struct dev_suggestions *suggestions)
{
    *suggestions = (struct dev_suggestions){0};
    for (size_t i = 0; i < config->table_count; i++) {
        const struct config_table *table = &config->tables[i];
        if (!table->key_text || !table->stream)
            continue;
        suggestions->table = mem_string(table->name);
        if (!suggest_seed(suggestions, table))
            suggest_key(suggestions, table);
        puts("Try, in another terminal:");
        for (size_t j = 0; j < suggestions->count; j++)
            print_put(config, table->name, suggestions->items[j]);
        puts("or edit a script.");
        return;
    }
}

bool dev_same_table(const struct config_table *a, const struct config_table *b)
{
    return mem_same_text(a->key_text, b->key_text) && mem_same_text(a->ttl, b->ttl) &&
           a->stream == b->stream && a->index_count == b->index_count;
}

void dev_suggestions_fini(struct dev_suggestions *suggestions)
{
    for (size_t i = 0; i < suggestions->count; i++)
        free(suggestions->items[i]);
    free(suggestions->table);
    *suggestions = (struct dev_suggestions){0};
}

void dev_write_named(const char *table, const char *name, const struct json *item, struct buf *out)
{
    buf_add_literal(out, "{\"TableName\":");
    json_write_string(out, table, strlen(table));
    buf_printf(out, ",\"%s\":{", name);
    write_members(out, item);
    buf_add_literal(out, "}}");
}

static bool put(const struct maker *maker, const struct config_table *table, const struct json *item,
                struct err *err)
{
    struct buf body = BUF_INIT;
    dev_write_named(table->name, "Item", item, &body);
    bool ok = call(maker, "PutItem", &body, err);
    buf_fini(&body);
    return ok;
}

static bool seed(const struct maker *maker, const struct config_table *table, struct err *err)
{
    struct arena arena = ARENA_INIT;
    size_t size, number = 0;
    if (!table->seed)
        return true;
    char *text = file_read(table->seed, SEED_BYTES_MAX, &size, err);
    if (!text)
        return false;
    const struct json *items = json_parse(&arena, text, size, err);
    bool ok = items != NULL;
    if (ok && items->type != JSON_ARRAY)
        ok = err_set(err, ERR_PARSE, "an array of items expected");
    json_each(item, ok ? items : NULL) {
        number++;
        ok = item->type == JSON_OBJECT ? put(maker, table, item, err)
                                       : err_set(err, ERR_PARSE, "an object expected");
        if (!ok) {
            err_prefix(err, "item %zu", number);
            break;
        }
    }
    if (!ok)
        err_prefix(err, "%s", table->seed);
    arena_fini(&arena);
    free(text);
    return ok;
}

static bool exists(const struct maker *maker, const struct config_table *table)
{
    struct buf body = BUF_INIT;
    struct err err;
    buf_add_literal(&body, "{\"TableName\":");
    json_write_string(&body, table->name, strlen(table->name));
    buf_add_char(&body, '}');
    bool there = call(maker, "DescribeTable", &body, &err);
    buf_fini(&body);
    return there;
}

bool dev_make_tables(struct engine *engine, const struct config *config, struct err *err)
{
    const struct maker maker = {engine, config->aws.region};
    for (size_t i = 0; i < config->table_count; i++) {
        const struct config_table *table = &config->tables[i];
        if (!table->key_text || exists(&maker, table))
            continue;
        if (!create(&maker, table, err) || !set_ttl(&maker, table, err) || !seed(&maker, table, err))
            return err_prefix(err, "%s:%d: [table %s]", config->path, table->line, table->name);
    }
    return true;
}
