/* change.c: see change.h. */
#include "deliver/targets/change.h"

#include <string.h>

#include "record/position.h"

bool change_version(const char *sequence, char version[CHANGE_VERSION_DIGITS + 1])
{
    size_t size = sequence ? strlen(sequence) : 0;
    if (!size || size > CHANGE_VERSION_DIGITS || !sequence_valid(sequence))
        return false;
    memset(version, '0', CHANGE_VERSION_DIGITS);
    memcpy(version + CHANGE_VERSION_DIGITS - size, sequence, size + 1);
    return true;
}

bool change_read(struct arena *arena, const struct message *message, struct change *change, struct err *err)
{
    const struct json *record = json_parse(arena, message->payload, message->payload_size, NULL);
    const struct json *part = json_get(record, "dynamodb"), *event = json_get(record, "eventName");
    const char *sequence = json_string(arena, json_get(part, "SequenceNumber"));
    bool removed = json_string_is(event, "REMOVE");
    *change =
        (struct change){.keys = json_get(part, "Keys"), .image = removed ? NULL : json_get(part, "NewImage")};
    if (!part || !event || !change->keys || change->keys->type != JSON_OBJECT ||
        !change_version(sequence, change->version))
        return err_set(
            err, ERR_CONFIG,
            "a stream's record expected, as a route sends it with image = record, or a script with "
            "emit(\"...\", record.raw)");
    if (!removed && (!change->image || change->image->type != JSON_OBJECT))
        return err_set(err, ERR_CONFIG,
                       "the record has no NewImage: the stream needs the view type NEW_IMAGE or "
                       "NEW_AND_OLD_IMAGES");
    return true;
}

bool change_check_route(const char *type, const struct config_route *route, struct err *err)
{
    const struct names *streams = &route->settings.streams;
    if (streams->each && streams->each[0] && streams->each[1])
        return err_set(err, ERR_CONFIG, "%s target takes one stream: records of several have no common order",
                       type);
    return (route->image == IMAGE_RECORD && !route->unmarshalled && !route->input_path &&
            !route->input_template) ||
           err_set(err, ERR_CONFIG,
                   "%s target takes whole records: image, unmarshalled, input_path and "
                   "input_template do not go with it",
                   type);
}
