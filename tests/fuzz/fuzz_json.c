/* fuzz_json.c: whatever is parsed and written again parses to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, (const char *)data, size, &err);
    if (root) {
        json_write_value(&once, root);
        root = json_parse(&arena, once.data, once.size, &err);
        if (!root)
            abort();
        json_write_value(&twice, root);
        if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
            abort();
    }
    buf_fini(&once);
    buf_fini(&twice);
    arena_fini(&arena);
    return 0;
}
