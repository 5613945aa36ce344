/* fuzz_expression.c: an expression of any bytes, as a condition, an update and a projection, on an item. */
#include <stdint.h>
#include <string.h>

#include "local/language/expression.h"

static const char names[] = "{\"#a\":\"a\",\"#b\":\"b.c\"}";
static const char values[] = "{\":n\":{\"N\":\"1.5\"},\":s\":{\"S\":\"text\"},\":l\":{\"L\":[{\"N\":\"1\"}]},"
                             "\":t\":{\"SS\":[\"x\",\"y\"]}}";
static const char text[] =
    "{\"id\":{\"S\":\"k\"},\"a\":{\"N\":\"2\"},\"b\":{\"M\":{\"c\":{\"L\":[{\"N\":\"1\"},{\"S\":\"x\"}]}}},"
    "\"l\":{\"L\":[{\"N\":\"3\"},{\"M\":{}}]},\"t\":{\"SS\":[\"y\",\"z\"]}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct text source = {arena_copy(&arena, data, size), size};
    const struct attr *item = attr_parse_item(&arena, text, strlen(text));
    for (int kind = 0; kind < 3; kind++) {
        struct fault fault = {0};
        struct placeholders placeholders;
        placeholders_read(&placeholders, &arena, json_parse(&arena, names, strlen(names), NULL),
                          json_parse(&arena, values, strlen(values), NULL), true, &fault);
        if (kind == 0) {
            struct expr *condition = condition_parse(&placeholders, "ConditionExpression", source);
            if (condition)
                condition_holds(&arena, condition, item);
        } else if (kind == 1) {
            struct update *update = update_parse(&placeholders, source);
            if (update)
                update_apply(&arena, update, item, &fault);
        } else {
            struct projection *projection = projection_parse(&placeholders, source);
            if (projection)
                projection_apply(&arena, projection, item);
        }
        fault_fini(&fault);
    }
    arena_fini(&arena);
    return 0;
}
