/* cmd.h: the commands, one file each. They print for people; everything below them only logs. */
#ifndef TIDEMILL_CMD_CMD_H
#define TIDEMILL_CMD_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd/options.h"
#include "conf/config.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;
    const char *help;                  /* the text of `help COMMAND` */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct command cmd_run, cmd_check, cmd_invoke, cmd_status, cmd_init, cmd_local, cmd_dev,
    cmd_test, cmd_dead, cmd_seek, cmd_pause, cmd_resume, cmd_policy, cmd_replay, cmd_state, cmd_backfill;

/* `path` as given with -c; NULL: ./tidemill.ini, or the one in /etc where only that exists. */
const char *cmd_config_path(const char *path);

/* Where the usual INI is not there: what to do. */
void cmd_hint_at_init(const char *path);

/* The INI named by -c, or the usual places. Complains and returns NULL when it is missing or wrong. */
struct config *cmd_load_config(const char *path);
struct config *cmd_load_config_with(const char *path, const struct config_plugs *plugs);

/* Likewise, and AWS is asked for what ${ssm:} and ${secret:} stand for. */
struct config *cmd_load_config_asking(const char *path);

/* The same for who only needs to know where the state is: what else is wrong is a warning. */
struct config *cmd_load_state_config(const char *path);

/* Where a `dev` runs on its INI, and no host: to the dev's state, and with `calls` to its DynamoDB. Says so.
 */
void cmd_turn_to_dev(struct config *config, bool calls);

/* state_forget.c: tidemill state forget HANDLER. Returns the exit status. */
int cmd_state_forget(const char *config_path, const char *handler, bool letters);

/* Of the terminal that standard output is; 0: it is none, and takes whatever comes. */
size_t cmd_columns(void);

/* A bar on a terminal's stderr for what takes long; nothing elsewhere. */
void cmd_progress(size_t done, size_t all, const char *what);
void cmd_progress_end(void);

/* To standard output, what came from outside among it: it drives no terminal. Without colours. */
void cmd_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

void cmd_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cmd_complain_all(const struct problems *problems);

#endif
