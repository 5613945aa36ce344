/* fuzz_xml.c: an answer in XML of any bytes. */
#include <stdint.h>

#include "aws/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    char *copy = arena_copy(&arena, bytes, size);
    const struct xml *root = xml_parse(&arena, copy, size, &err);
    xml_text(root, "Code");
    xml_text(root, "Message");
    arena_fini(&arena);
    return 0;
}
