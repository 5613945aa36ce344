/* fuzz_ways_in.c: what Kinesis answers, what an export says of itself, and names of snapshots, of any bytes.
 * The first byte says which. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "source/export/item_lines.h"
#include "source/kinesis/records.h"
#include "source/snapshot/snapshot_name.h"

static void read_kinesis(const char *text, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, text, size, &err);
    struct kinesis_memory *memory = kinesis_memory_new();
    for (int i = 0; root && i < 3; i++) { /* once more: it is known by then; and half of it was had before */
        struct page *page = kinesis_page(root, memory, i == 2 ? "5" : NULL, &err);
        for (size_t j = 0; page && j < page->count; j++)
            CHECK(page->records[j].unreadable || page->records[j].keys);
        page_release(page);
    }
    kinesis_memory_free(memory);
    arena_fini(&arena);
}

static void read_line(const char *text, size_t size)
{
    struct key_names keys = {.names = {"id"}};
    struct buf records = BUF_INIT;
    struct err err;
    for (int i = 0; i < 2; i++) {
        const struct export_manifest manifest = {.incremental = i == 1};
        const struct item_frame frame = {.keys = &keys, .region = "r", .source_arn = "arn:a", .taken_ms = 1};
        struct page *page = NULL;
        if (item_line_add(&records, &frame, &manifest, text, size, &err)) {
            page = item_records_page(&records, 1, &err);
            CHECK(page);
        }
        page_release(page);
        buf_fini(&records);
    }
}

static void read_manifest(const char *text, size_t size)
{
    struct export_manifest manifest = {0};
    struct err err;
    manifest_read_summary(&manifest, text, size, &err);
    manifest_read_files(&manifest, text, size, &err);
    manifest_fini(&manifest);
}

/* What can be read is written as it was read. */
static void read_name(const char *text)
{
    struct snapshot_name name, again;
    snapshot_taken_ms(text);
    snapshot_segment_read(text);
    free(service_arn(text));
    if (!snapshot_name_read(text, &name))
        return;
    char *written = snapshot_name_write(&name);
    CHECK(snapshot_name_read(written, &again) && again.taken_ms == name.taken_ms &&
          again.segments == name.segments && strcmp(again.handler, name.handler) == 0 &&
          !again.export == !name.export);
    snapshot_name_fini(&again);
    snapshot_name_fini(&name);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 4 == 0)
        read_kinesis(text, size - 1);
    else if (data[0] % 4 == 1)
        read_manifest(text, size - 1);
    else if (data[0] % 4 == 3)
        read_line(text, size - 1);
    else
        read_name(text);
    free(text);
    return 0;
}
