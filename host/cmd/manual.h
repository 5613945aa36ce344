/* manual.h: what `help` says, as manual pages and as completions of shells. */
#ifndef TIDEMILL_CMD_MANUAL_H
#define TIDEMILL_CMD_MANUAL_H

#include "cmd/cmd.h"

/* For who packages tidemill: "--man" is tidemill(1), "--man" and a command that command's page, "--complete"
 * and bash, zsh or fish what completes a command line there. All come from the table of commands, which ends
 * with NULL. Returns the exit status. */
int manual(const struct command *const *commands, const char *form, const char *name);

#endif
