/* fuzz_answers.c: what S3 lists, and what an archive's files hold. */
#include <stdlib.h>

#include "aws/s3.h"
#include "aws/xml.h"
#include "base/compress.h"

static void nothing(void *user, const char *key, int64_t bytes)
{
    (void)user;
    (void)key;
    (void)bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct err err = {0};
    struct buf body = BUF_INIT, out = BUF_INIT;
    buf_add(&body, bytes, size);
    free(s3_read_list(&body, nothing, NULL, &err));
    decompress(bytes, size, 1 << 20, &out, &err);
    buf_fini(&out);
    buf_fini(&body);
    return 0;
}
