/* options.h: a command's arguments, by a table. */
#ifndef TIDEMILL_CMD_OPTIONS_H
#define TIDEMILL_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CMD_TEXTS_MAX 10000

struct cmd_texts {
    const char *list[CMD_TEXTS_MAX + 1]; /* of argv; NULL behind the last */
    size_t count;
};

enum cmd_option_kind {
    CMD_FLAG,     /* bool */
    CMD_TEXT,     /* const char *, of argv */
    CMD_TEXTS,    /* struct cmd_texts: it may be said several times */
    CMD_PORT,     /* int, 0 to 65535 */
    CMD_COUNT,    /* int64_t, above 0 */
    CMD_LIMIT,    /* int64_t, 0 or more */
    CMD_DURATION, /* int64_t, ms, above 0 */
    CMD_TIME,     /* int64_t, ms since 1970: a day, or a moment in UTC */
    CMD_OPERAND,  /* const char *: an argument without a name; several are filled in their order */
    CMD_OPERANDS  /* struct cmd_texts: all of them that are left */
};

struct cmd_option {
    const char *name; /* "--handler"; of an operand what it is called in a complaint. NULL ends the table */
    enum cmd_option_kind kind;
    size_t offset;     /* in what is filled */
    const char *needs; /* "a value" where NULL */
};

/* "-c FILE", which most commands take. */
#define CMD_CONFIG(type, field)                         \
    {                                                   \
        "-c", CMD_TEXT, offsetof(type, field), "a file" \
    }

/* Fill `into`, whose defaults stand there already, by "--name value", "--name=value" and operands, in any
 * order; behind "--" there are operands only. argv[0] is the command's name. False after complaining. */
bool cmd_options(int argc, char **argv, const struct cmd_option *options, void *into);

/* Of a command that takes "-c FILE" alone. */
bool cmd_config_option(int argc, char **argv, const char **config_path);

#endif
