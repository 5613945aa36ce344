/* options.c: see options.h. */
#include "cmd/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "conf/settings.h"

static bool read_number(const char *text, int64_t least, int64_t most, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *text && !*end && !errno && *number >= least && *number <= most;
}

static bool read_time(const char *text, int64_t *ms)
{
    char *whole = strlen(text) == 10 ? mem_printf("%sT00:00:00Z", text) : mem_string(text);
    *ms = clock_from_iso8601(whole);
    free(whole);
    return *ms >= 0;
}

static bool read_port(const char *text, int *port)
{
    int64_t number;
    bool is = read_number(text, 0, 65535, &number);
    *port = is ? (int)number : 0;
    return is;
}

static bool add_text(struct cmd_texts *texts, const char *text)
{
    if (texts->count == CMD_TEXTS_MAX)
        return false;
    texts->list[texts->count++] = text;
    return true;
}

/* NULL, or what is expected. */
static const char *read_value(const struct cmd_option *option, const char *text, void *into)
{
    void *at = (char *)into + option->offset;
    struct err err;
    switch (option->kind) {
    case CMD_FLAG:
        *(bool *)at = true;
        return NULL;
    case CMD_TEXT:
    case CMD_OPERAND:
        *(const char **)at = text;
        return NULL;
    case CMD_TEXTS:
    case CMD_OPERANDS:
        return add_text(at, text) ? NULL : "fewer values: 10000 at most";
    case CMD_PORT:
        return read_port(text, at) ? NULL : "a port (0 to 65535; 0 takes a free one)";
    case CMD_COUNT:
        return read_number(text, 1, INT64_MAX, at) ? NULL : "a number above 0";
    case CMD_LIMIT:
        return read_number(text, 0, INT64_MAX, at) ? NULL : "a number";
    case CMD_DURATION:
        return duration_parse(text, at, &err) && *(int64_t *)at > 0 ? NULL : "a duration: 30m, 2h, 7d";
    case CMD_TIME:
        return read_time(text, at) ? NULL : "a time: 2026-01-31 or 2026-01-31T12:00:00Z";
    }
    return NULL;
}

static bool is_operand(const struct cmd_option *option)
{
    return option->kind == CMD_OPERAND || option->kind == CMD_OPERANDS;
}

/* NULL where there is none of the name, which ends at `size`. */
static const struct cmd_option *find(const struct cmd_option *options, const char *name, size_t size)
{
    for (; options->name; options++)
        if (!is_operand(options) && strncmp(options->name, name, size) == 0 && !options->name[size])
            return options;
    return NULL;
}

/* The place for one more; NULL where all are filled. */
static const struct cmd_option *next_operand(const struct cmd_option *options, const void *into)
{
    for (; options->name; options++)
        if (options->kind == CMD_OPERANDS ||
            (options->kind == CMD_OPERAND && !*(const char *const *)((const char *)into + options->offset)))
            return options;
    return NULL;
}

static bool read_option(int argc, char **argv, int *i, const struct cmd_option *options, void *into)
{
    const char *text = argv[*i], *equals = strncmp(text, "--", 2) == 0 ? strchr(text, '=') : NULL;
    const struct cmd_option *option = find(options, text, equals ? (size_t)(equals - text) : strlen(text));
    const char *value = equals ? equals + 1 : NULL, *expected;
    if (!option) {
        cmd_complain("%s: unexpected argument %s (see tidemill help %s)", argv[0], text, argv[0]);
        return false;
    }
    if (option->kind == CMD_FLAG) {
        if (equals)
            cmd_complain("%s: %s takes no value", argv[0], option->name);
        else
            read_value(option, NULL, into);
        return !equals;
    }
    if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
        value = argv[++*i];
    expected = value ? read_value(option, value, into) : "a value";
    if (expected)
        cmd_complain("%s: %s needs %s", argv[0], option->name, option->needs ? option->needs : expected);
    return !expected;
}

static bool read_operand(char **argv, const char *text, const struct cmd_option *options, void *into)
{
    const struct cmd_option *operand = next_operand(options, into);
    const char *expected = operand ? read_value(operand, text, into) : NULL;
    if (!operand)
        cmd_complain("%s: unexpected argument %s (see tidemill help %s)", argv[0], text, argv[0]);
    else if (expected)
        cmd_complain("%s: %s needs %s", argv[0], operand->name, expected);
    return operand && !expected;
}

bool cmd_options(int argc, char **argv, const struct cmd_option *options, void *into)
{
    bool ok = true, names = true;
    for (int i = 1; i < argc && ok; i++) {
        if (names && strcmp(argv[i], "--") == 0)
            names = false;
        else if (names && argv[i][0] == '-' && argv[i][1])
            ok = read_option(argc, argv, &i, options, into);
        else
            ok = read_operand(argv, argv[i], options, into);
    }
    return ok;
}

bool cmd_config_option(int argc, char **argv, const char **config_path)
{
    static const struct cmd_option options[] = {{"-c", CMD_TEXT, 0, "a file"}, {0}};
    return cmd_options(argc, argv, options, config_path);
}
