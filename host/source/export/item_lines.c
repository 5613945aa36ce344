/* item_lines.c: see item_lines.h. */
#include "source/export/item_lines.h"

#include <stdlib.h>

/* {"Metadata": {"WriteTimestampMicros": {"N": "1680109764000000"}}} */
static bool read_time(const struct json *line, int64_t *time_ms)
{
    const struct json *micros = json_get(json_get(json_get(line, "Metadata"), "WriteTimestampMicros"), "N");
    if (!micros || micros->type != JSON_STRING || !micros->size || micros->size > 18)
        return false;
    *time_ms = 0;
    for (size_t i = 0; i < micros->size; i++) {
        if (micros->text[i] < '0' || micros->text[i] > '9')
            return false;
        *time_ms = *time_ms * 10 + (micros->text[i] - '0');
    }
    *time_ms /= 1000;
    return true;
}

/* What the item was is not said where an export has new images alone: it is then as one that is new. */
static bool add_change(struct buf *records, const struct item_frame *frame, const struct json *line,
                       struct err *err)
{
    struct item_change change = {.keys = json_get(line, "Keys"),
                                 .old_image = json_get(line, "OldImage"),
                                 .new_image = json_get(line, "NewImage")};
    if (!change.keys || !read_time(line, &change.time_ms))
        return err_set(err, ERR_PARSE, "a change without Keys or WriteTimestampMicros");
    return item_change_add(records, frame, &change, err);
}

bool item_line_add(struct buf *records, const struct item_frame *frame,
                   const struct export_manifest *manifest, const char *line, size_t size, struct err *err)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, line, size, err);
    bool ok = root && (manifest->incremental ? add_change(records, frame, root, err)
                                             : item_record_add(records, frame, json_get(root, "Item"), err));
    arena_fini(&arena);
    return ok;
}
