/* record_json.c: see record_json.h. The raw API says userIdentity {PrincipalId, Type}, Lambda's event
 * {principalId, type}. */
#include "record/record_json.h"

#include <string.h>

static void write_identity(struct buf *out, const struct json *identity)
{
    buf_add_char(out, '{');
    json_each(member, identity) {
        if (member != identity->child)
            buf_add_char(out, ',');
        if (json_key_is(member, "PrincipalId"))
            buf_add_literal(out, "\"principalId\":");
        else if (json_key_is(member, "Type"))
            buf_add_literal(out, "\"type\":");
        else {
            json_write_string(out, member->key, member->key_size);
            buf_add_char(out, ':');
        }
        json_write_value(out, member);
    }
    buf_add_char(out, '}');
}

/* One that is unique, where the service's may repeat. */
static void write_id(struct buf *out, const struct record *record)
{
    buf_add_char(out, '"');
    record_write_id(out, record);
    buf_add_char(out, '"');
}

/* As it came, where that is one line: nothing has to be taken apart and put together again. */
static void write_member(struct buf *out, const struct json *value, struct arena *scratch)
{
    bool whole = value->type == JSON_OBJECT && !memchr(value->text, '\n', value->size);
    if (whole)
        buf_add(out, value->text, value->size);
    else
        json_write_value(out, json_whole(value, scratch));
}

void record_write_json(struct buf *out, const struct record *record, const char *stream_arn)
{
    struct arena scratch = ARENA_INIT;
    struct json_walk walk = json_walk(record->json, false);
    const struct json *member;
    buf_reserve(out, record->json->size + strlen(",\"eventSourceARN\":\"\"") + strlen(stream_arn));
    buf_add_char(out, '{');
    while ((member = json_walk_next(&walk, &scratch))) {
        if (json_key_is(member, "eventSourceARN"))
            continue;
        json_write_string(out, member->key, member->key_size);
        buf_add_char(out, ':');
        if ((record->part || record->snapshot) && json_key_is(member, "eventID"))
            write_id(out, record);
        else if (json_key_is(member, "userIdentity") && member->type == JSON_OBJECT)
            write_identity(out, json_whole(member, &scratch));
        else
            write_member(out, member, &scratch);
        buf_add_char(out, ',');
    }
    buf_add_literal(out, "\"eventSourceARN\":");
    json_write_string(out, stream_arn, strlen(stream_arn));
    buf_add_char(out, '}');
    arena_fini(&scratch);
}

bool record_expired(const struct record *record)
{
    static const struct json_name outer = JSON_NAME("userIdentity"),
                                  names[] = {JSON_NAME("Type"), JSON_NAME("PrincipalId"), JSON_NAME("type"),
                                             JSON_NAME("principalId")};
    struct arena scratch = ARENA_INIT;
    struct json storage, parts[4];
    const struct json *identity, *found[4];
    json_look(record->json, &outer, 1, &scratch, &storage, &identity);
    json_look(identity, names, 4, &scratch, parts, found);
    bool expired = json_string_is(found[0] ? found[0] : found[2], "Service") &&
                   json_string_is(found[1] ? found[1] : found[3], "dynamodb.amazonaws.com");
    arena_fini(&scratch);
    return expired;
}

const struct json *record_view(const struct record *record)
{
    return json_get(json_get(record->json, "dynamodb"), "StreamViewType");
}
