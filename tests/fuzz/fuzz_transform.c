/* fuzz_transform.c: any path, any paths and any template, on a record. What is made is JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "route/transform.h"

static const char record[] =
    "{\"Records\":[{\"eventName\":\"MODIFY\",\"dynamodb\":{\"Keys\":{\"id\":{\"S\":\"a\\\"\\n\"}},"
    "\"NewImage\":"
    "{\"id\":{\"S\":\"a\"},\"l\":{\"L\":[{\"N\":\"1\"}]}},\"SequenceNumber\":\"1\"}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = mem_copy(bytes, size);
    size_t first = strlen(text);
    char *second = first < size ? text + first + 1 : NULL;
    struct config_route routes[] = {
        {.input_path = text},
        {.input_paths = text, .input_template = second ? second : (char *)"{}"},
        {.input_paths = (char *)"{\"a\":\"$.dynamodb.Keys\",\"b\":\"$.dynamodb.NewImage.l.L[0]\"}",
         .input_template = text},
        {.input_path = text, .unmarshalled = 1},
        {.detail_type = text, .source = second, .unmarshalled = 1},
        {.input_paths = (char *)"{\"a\":\"$.dynamodb.Keys\",\"b\":\"$.dynamodb.NewImage.l.L[0]\"}",
         .subject = text},
    };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        struct err err;
        struct transform *transform = transform_new(&routes[i], &err);
        if (!transform)
            continue;
        struct buf body = BUF_INIT, out = BUF_INIT;
        struct arena arena = ARENA_INIT;
        buf_add_text(&body, record);
        struct page *page = page_read(&body, &err);
        struct transform_texts texts;
        transform_write_texts(transform, &page->records[0], "arn:x", &texts);
        free(texts.detail_type);
        free(texts.source);
        free(texts.subject);
        transform_apply(transform, &page->records[0], "arn:x", &out);
        if (!json_parse(&arena, out.data ? out.data : "", out.size, &err))
            abort();
        arena_fini(&arena);
        buf_fini(&out);
        page_release(page);
        transform_free(transform);
    }
    free(text);
    return 0;
}
