/* cmd.c: what the commands share. */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "deliver/targets/table.h"

#define LOCAL_CONFIG "tidemill.ini"
#define SYSTEM_CONFIG "/etc/tidemill/tidemill.ini"

void cmd_complain(const char *format, ...)
{
    bool colour = isatty(STDERR_FILENO);
    va_list args;
    va_start(args, format);
    char *message = NULL;
    struct buf text = BUF_INIT; /* it may quote anything */
    if (vasprintf(&message, format, args) >= 0)
        utf8_write(&text, message, strlen(message));
    fprintf(stderr, "%s%s\n",
            colour ? "\033[31mtidemill:\033[0m " : "tidemill: ", text.data ? text.data : "");
    va_end(args);
    free(message);
    buf_fini(&text);
}

void cmd_progress(size_t done, size_t all, const char *what)
{
    static const char full[] = "##############################";
    const int width = (int)sizeof full - 1;
    int part = all ? (int)(done * (size_t)width / all) : width;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K[%.*s%*s] %zu of %zu %s", part, full, width - part, "", done, all, what);
}

void cmd_progress_end(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

bool cmd_options(int argc, char **argv, const char **config_path, const char *const *flags, bool *set)
{
    for (int i = 1; i < argc; i++) {
        int flag = 0;
        if (strcmp(argv[i], "-c") == 0) {
            if (++i == argc) {
                cmd_complain("%s: -c needs a file", argv[0]);
                return false;
            }
            *config_path = argv[i];
            continue;
        }
        while (flags[flag] && strcmp(flags[flag], argv[i]) != 0)
            flag++;
        if (!flags[flag]) {
            cmd_complain("%s: unexpected argument %s (see tidemill help %s)", argv[0], argv[i], argv[0]);
            return false;
        }
        set[flag] = true;
    }
    return true;
}

bool cmd_port(const char *text, int *port)
{
    char *end;
    long number = strtol(text, &end, 10);
    *port = (int)number;
    return *text && !*end && number >= 0 && number <= 65535;
}

const char *cmd_config_path(const char *path)
{
    if (path)
        return path;
    return access(LOCAL_CONFIG, R_OK) != 0 && access(SYSTEM_CONFIG, R_OK) == 0 ? SYSTEM_CONFIG : LOCAL_CONFIG;
}

struct config *cmd_load_config(const char *path)
{
    struct problems problems = PROBLEMS_INIT;
    path = cmd_config_path(path);
    struct config *config = config_load(path, target_types, &problems);
    for (size_t i = 0; i < problems.count; i++)
        cmd_complain("%s", problems.lines[i]);
    if (problems.count) {
        config_release(config);
        config = NULL;
    }
    problems_fini(&problems);
    return config;
}
