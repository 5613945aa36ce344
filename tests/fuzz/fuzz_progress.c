/* fuzz_progress.c: a checkpoint's progress of any bytes; what was understood is written again, and understood
 * the same way. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dispatch/watermark.h"

static void write_again(const char *progress, struct buf *out)
{
    struct position start = {.kind = POSITION_TRIM_HORIZON};
    struct watermark watermark;
    watermark_init(&watermark, &start, progress);
    buf_add_char(out, '{');
    watermark_write(&watermark, out, SIZE_MAX);
    buf_add_char(out, '}');
    watermark_fini(&watermark);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    char *text = mem_copy(data, size);
    write_again(text, &once);
    write_again(once.data, &twice);
    assert(once.size == twice.size);
    buf_fini(&once);
    buf_fini(&twice);
    free(text);
    return 0;
}
