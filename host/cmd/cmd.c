/* cmd.c: what the commands share. */
#include "cmd/cmd.h"
#include "cmd/dev_here.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "aws/secrets.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "core/plugs.h"

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
        utf8_write_printable(&text, message, strlen(message));
    fprintf(stderr, "%s%s\n",
            colour ? "\033[31mtidemill:\033[0m " : "tidemill: ", text.data ? text.data : "");
    va_end(args);
    free(message);
    buf_fini(&text);
}

void cmd_print(const char *format, ...)
{
    va_list args;
    char *message = NULL;
    struct buf text = BUF_INIT;
    va_start(args, format);
    if (vasprintf(&message, format, args) >= 0) {
        utf8_write_printable(&text, message, strlen(message));
        fwrite(text.data ? text.data : "", 1, text.size, stdout);
    }
    va_end(args);
    free(message);
    buf_fini(&text);
}

size_t cmd_columns(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
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

const char *cmd_config_path(const char *path)
{
    if (path)
        return path;
    return access(LOCAL_CONFIG, R_OK) != 0 && access(SYSTEM_CONFIG, R_OK) == 0 ? SYSTEM_CONFIG : LOCAL_CONFIG;
}

void cmd_complain_all(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        cmd_complain("%s", problems->lines[i]);
}

void cmd_hint_at_init(const char *path)
{
    if (strcmp(path, LOCAL_CONFIG) == 0 && access(path, F_OK) != 0)
        cmd_complain("there is no deployment here: tidemill init makes one, and -c FILE names one elsewhere");
}

/* `state`: what is wrong elsewhere is only told. */
static struct config *load(const char *path, const struct config_plugs *plugs, bool state)
{
    struct problems problems = PROBLEMS_INIT;
    path = cmd_config_path(path);
    struct config *config = config_load(path, plugs, &problems);
    cmd_complain_all(&problems);
    cmd_hint_at_init(path);
    if (problems.count && !(state && config->state_known)) {
        config_release(config);
        config = NULL;
    } else if (problems.count) {
        cmd_complain("%s is wrong as it stands, and no host would start with it; the state that it names is "
                     "looked at nevertheless",
                     path);
    }
    problems_fini(&problems);
    return config;
}

struct config *cmd_load_config(const char *path)
{
    dev_here_know(cmd_config_path(path));
    return load(path, &host_plugs, false);
}

void cmd_turn_to_dev(struct config *config, bool calls)
{
    char *url = dev_here_turn(config, calls);
    if (url && !getenv("TIDEMILL_IN_DEV")) /* it is asked by a key */
        fprintf(stderr, "(this is about the dev that runs here, on %s)\n", url);
    free(url);
}

struct config *cmd_load_state_config(const char *path)
{
    dev_here_know(cmd_config_path(path));
    struct config *config = load(path, &host_plugs, true);
    cmd_turn_to_dev(config, false);
    return config;
}

struct config *cmd_load_config_with(const char *path, const struct config_plugs *plugs)
{
    return load(path, plugs, false);
}

struct config *cmd_load_config_asking(const char *path)
{
    dev_here_know(cmd_config_path(path));
    struct secrets *secrets = secrets_new();
    const struct config_plugs plugs = host_plugs_asking(secrets, secrets_ask);
    struct config *config = load(path, &plugs, false);
    secrets_free(secrets);
    return config;
}
