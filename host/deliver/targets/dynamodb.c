/* dynamodb.c: another table with the same key, kept as the stream's own is: an item is put whole, and deleted
 * when it was removed. Each write is one item's, on the condition that the table has no newer version of it:
 * the record's sequence number stands in an attribute of the copy, as a text whose order is theirs, since a
 * number of DynamoDB has 38 digits and a sequence number up to 40.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
 *
 * What is deleted has no version any more. Where an older record could still come (a dead letter that is
 * redriven, a part of an archive that is replayed), `keep_removed` leaves the key, the version and a time to
 * live in its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/mem.h"
#include "deliver/targets/change.h"

#define ITEM_BYTES_MAX (1u << 20) /* of JSON; an item has 400 KB */
#define EXPIRES "tidemill_expires"
#define NOT_NEWER "attribute_not_exists(#version) OR #version < :version"

struct dynamodb_settings {
    char *table; /* a name, or an ARN */
    char *version;
    int64_t keep_removed_ms; /* 0: what is removed is deleted */
};

static const struct setting settings[] = {
    {"table", SETTING_TEXT, offsetof(struct dynamodb_settings, table), 0, 0, NULL},
    {"version", SETTING_TEXT, offsetof(struct dynamodb_settings, version), 0, 0, NULL},
    {"keep_removed", SETTING_DURATION, offsetof(struct dynamodb_settings, keep_removed_ms), 0,
     3660ll * 86400000, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct dynamodb_settings *settings_of(const struct config_target *target)
{
    return target->own;
}

static const char *version_of(const struct config_target *target)
{
    const char *version = settings_of(target)->version;
    return version && *version ? version : CHANGE_VERSION_NAME;
}

/* ---- what is written ---- */

static void write_members(struct buf *out, const struct json *object, const char *but, const char *nor)
{
    json_each(member, object) {
        if (json_key_is(member, but) || (nor && json_key_is(member, nor)))
            continue;
        json_write_string(out, member->key, member->key_size);
        buf_add_char(out, ':');
        json_write_value(out, member);
        buf_add_char(out, ',');
    }
}

static void write_text(struct buf *out, const char *name, const char *type, const char *text)
{
    json_write_string(out, name, strlen(name));
    buf_printf(out, ":{\"%s\":\"%s\"}", type, text);
}

/* What is left of an item that was removed. */
static void write_trace(const struct request *request, const struct change *change, struct buf *out)
{
    const struct message *message = &request->entries[0]->message;
    int64_t keep_ms = settings_of(request->target->config)->keep_removed_ms;
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)((message->time_ms + keep_ms) / 1000));
    write_members(out, change->keys, version_of(request->target->config), NULL);
    write_text(out, EXPIRES, "N", seconds);
    buf_add_char(out, ',');
}

static void write_request(const struct request *request, const struct change *change, bool deletes,
                          struct buf *out)
{
    const struct config_target *target = request->target->config;
    const char *table = settings_of(target)->table, *version = version_of(target);
    buf_add_char(out, '{');
    json_write_member(out, "TableName", table, strlen(table));
    if (deletes) {
        buf_add_literal(out, ",\"Key\":");
        json_write_value(out, change->keys);
    } else {
        buf_add_literal(out, ",\"Item\":{");
        if (change->image)
            write_members(out, change->image, version, NULL);
        else
            write_trace(request, change, out);
        write_text(out, version, "S", change->version);
        buf_add_char(out, '}');
    }
    buf_add_literal(out,
                    ",\"ConditionExpression\":\"" NOT_NEWER "\",\"ExpressionAttributeNames\":{\"#version\":");
    json_write_string(out, version, strlen(version));
    buf_add_literal(out, "},\"ExpressionAttributeValues\":{");
    write_text(out, ":version", "S", change->version);
    buf_add_literal(out, "}}");
}

static void send(struct request *request)
{
    const struct message *message = &request->entries[0]->message;
    const struct dynamodb_settings *own = settings_of(request->target->config);
    struct arena arena = ARENA_INIT;
    struct change change;
    struct err err = {0};
    if (!change_read(&arena, message, &change, &err)) { /* `measure` has read it */
        arena_fini(&arena);
        request_answered(request, NULL, &err);
        return;
    }
    bool deletes = !change.image && !own->keep_removed_ms;
    struct aws_request aws = {.service = AWS_DYNAMODB, .operation = deletes ? "DeleteItem" : "PutItem"};
    aws.tables = mem_printf("%s\n", own->table);
    write_request(request, &change, deletes, &aws.body);
    arena_fini(&arena);
    request_send_aws(request, &aws);
}

/* The table has this version, or a newer one. */
static bool is_done(const struct err *err)
{
    return err->code == ERR_SERVICE && strcmp(err->service, "ConditionalCheckFailedException") == 0;
}

/* ---- the type ---- */

/* Each write would be a change that is written. Of a role's account, nobody knows here. */
static bool is_its_own(const struct config_target *target, const struct message *message)
{
    const char *table = settings_of(target)->table, *stream = message->stream_arn;
    size_t size = strlen(table);
    if (!stream || !message->table || target->role)
        return false;
    if (strncmp(table, "arn:", 4) == 0)
        return strncmp(stream, table, size) == 0 && (!stream[size] || stream[size] == '/');
    char *region = region_of_arn(stream);
    bool same = strcmp(table, message->table) == 0 &&
                (!target->region || (region && strcmp(region, target->region) == 0));
    free(region);
    return same;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    struct arena arena = ARENA_INIT;
    struct change change;
    const char *version = version_of(target->config);
    bool well = change_read(&arena, message, &change, err);
    if (well && json_get(change.keys, version))
        err_set(err, ERR_CONFIG, "version = %s: it is a part of the key", version);
    arena_fini(&arena);
    if (well && !message->key)
        err_set(err, ERR_CONFIG,
                "records of one item must come in their order: emit them with a key, { key = ... }");
    if (well && is_its_own(target->config, message))
        err_set(err, ERR_CONFIG, "the table %s would be copied into itself, for ever", message->table);
    return message->payload_size;
}

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const struct dynamodb_settings *own = settings_of(target);
    (void)ini;
    if (own->table && strncmp(own->table, "arn:", 4) == 0 && !strstr(own->table, ":table/"))
        complain(user, "table: a table's name or ARN expected");
    if (own->version && strcmp(own->version, EXPIRES) == 0)
        complain(user, "version: " EXPIRES " is the time to live of what is kept of removed items");
}

static bool check_route(const struct config_target *target, const struct config_route *route, struct err *err)
{
    (void)target;
    return change_check_route("a dynamodb", route, err);
}

static char *arn(const struct config_target *target, const struct target_place *place)
{
    return target_arn(target, place, "dynamodb:%s:*:table/", settings_of(target)->table);
}

static const char *const needed[] = {"table", NULL};
static const char *const actions[] = {"PutItem", "DeleteItem", NULL};

const struct target_type target_dynamodb = {
    .name = "dynamodb",
    .settings = settings,
    .settings_size = sizeof(struct dynamodb_settings),
    .needed = needed,
    .check = check,
    .check_route = check_route,
    .service = "dynamodb",
    .paid = PRICE_REQUESTS,
    .price = 0.625, /* a write of 1 KB, on demand */
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = ITEM_BYTES_MAX,
    .bytes_most = 2 * ITEM_BYTES_MAX,
    .linger_ms = 0,
    .in_flight = 64,
    .measure = measure,
    .send = send,
    .is_done = is_done,
};
