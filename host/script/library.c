/* library.c: the Lua part of the runtime library, carried inside the binary. */
#include <stddef.h>
#include <string.h>

#include "script/internal.h"

/* The file's bytes as name_start .. name_end. Paths are as seen from the top of the tree, where make runs. */
#define EMBED(name, path)                                 \
    __asm__(".section .rodata\n"                          \
            ".global " #name "_start\n" #name "_start:\n" \
            ".incbin \"" path "\"\n"                      \
            ".global " #name "_end\n" #name "_end:\n"     \
            ".byte 0\n"                                   \
            ".previous\n");                               \
    extern const char name##_start[], name##_end[]

EMBED(library_tidemill, "lua/tidemill.lua");
EMBED(library_dynamodb, "lua/tidemill/dynamodb.lua");
EMBED(library_http, "lua/tidemill/http.lua");
EMBED(library_once, "lua/tidemill/once.lua");
EMBED(library_test, "lua/tidemill/test.lua");

static const struct {
    const char *module, *start, *end;
} modules[] = {
    {"tidemill", library_tidemill_start, library_tidemill_end},
    {"tidemill.dynamodb", library_dynamodb_start, library_dynamodb_end},
    {"tidemill.http", library_http_start, library_http_end},
    {"tidemill.once", library_once_start, library_once_end},
    {"tidemill.test", library_test_start, library_test_end},
};

const char *library_text(const char *module, size_t *size)
{
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        if (strcmp(modules[i].module, module) != 0)
            continue;
        *size = (size_t)(modules[i].end - modules[i].start);
        return modules[i].start;
    }
    return NULL;
}
