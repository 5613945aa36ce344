/* fuzz_filter.c: a pattern and an event of any bytes, split at the first newline. */
#include <stdint.h>
#include <string.h>

#include "filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    struct arena arena = ARENA_INIT;
    struct err err;
    if (!newline)
        return 0;
    struct filter *filter = filter_compile((const char *)data, (size_t)(newline - data), &err);
    const struct json *event =
        json_parse(&arena, (const char *)newline + 1, size - (size_t)(newline + 1 - data), &err);
    if (filter && event)
        filter_match(filter, event);
    filter_free(filter);
    arena_fini(&arena);
    return 0;
}
