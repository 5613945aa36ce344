/* fuzz_options.c: a command's arguments, with zero bytes between. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/options.h"

struct arguments {
    const char *config_path, *text, *operand;
    struct cmd_texts many;
    bool flag;
    int port;
    int64_t count, duration, time;
};

static const struct cmd_option options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--text", CMD_TEXT, offsetof(struct arguments, text), NULL},
    {"--flag", CMD_FLAG, offsetof(struct arguments, flag), NULL},
    {"--port", CMD_PORT, offsetof(struct arguments, port), NULL},
    {"--count", CMD_COUNT, offsetof(struct arguments, count), NULL},
    {"--duration", CMD_DURATION, offsetof(struct arguments, duration), NULL},
    {"--time", CMD_TIME, offsetof(struct arguments, time), NULL},
    {"FIRST", CMD_OPERAND, offsetof(struct arguments, operand), NULL},
    {"MORE", CMD_OPERANDS, offsetof(struct arguments, many), NULL},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct arguments arguments;
    char *text = mem_copy(bytes, size), *argv[64] = {(char *)"fuzz"};
    int argc = 1;
    for (char *at = text; at < text + size && argc < 63; at += strlen(at) + 1)
        argv[argc++] = at;
    memset(&arguments, 0, sizeof arguments);
    cmd_options(argc, argv, options, &arguments);
    free(text);
    return 0;
}
