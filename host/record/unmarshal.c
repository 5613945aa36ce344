/* unmarshal.c: see unmarshal.h. */
#include "record/unmarshal.h"

static void unmarshal_members(struct buf *out, const struct json *object)
{
    buf_add_char(out, '{');
    json_each(member, object) {
        if (member != object->child)
            buf_add_char(out, ',');
        json_write_string(out, member->key, member->key_size);
        buf_add_char(out, ':');
        record_unmarshal(out, member, false);
    }
    buf_add_char(out, '}');
}

/* A list of values, or of the texts of a set. */
static void unmarshal_items(struct buf *out, const struct json *array, bool values, bool numbers)
{
    buf_add_char(out, '[');
    json_each(item, array) {
        if (item != array->child)
            buf_add_char(out, ',');
        if (values)
            record_unmarshal(out, item, false);
        else if (numbers)
            buf_add(out, item->text, item->size);
        else
            json_write_value(out, item);
    }
    buf_add_char(out, ']');
}

void record_unmarshal(struct buf *out, const struct json *value, bool item)
{
    const struct json *inner = value && value->type == JSON_OBJECT ? json_children(value) : NULL;
    if (item && value && value->type == JSON_OBJECT)
        unmarshal_members(out, value);
    else if (!inner || json_key_is(inner, "NULL"))
        buf_add_literal(out, "null");
    else if (json_key_is(inner, "N"))
        buf_add(out, inner->text, inner->size);
    else if (json_key_is(inner, "M"))
        unmarshal_members(out, inner);
    else if (json_key_is(inner, "L"))
        unmarshal_items(out, inner, true, false);
    else if (json_key_is(inner, "SS") || json_key_is(inner, "BS"))
        unmarshal_items(out, inner, false, false);
    else if (json_key_is(inner, "NS"))
        unmarshal_items(out, inner, false, true);
    else
        json_write_value(out, inner);
}
