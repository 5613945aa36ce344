/* process.h: run a command and take what it prints, without stopping the reactor. */
#ifndef TIDEMILL_AWS_PROCESS_H
#define TIDEMILL_AWS_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/reactor.h"

struct process;

/* `output` is NUL-terminated and valid during the call; NULL and `err` when the command failed, printed too
 * much or took too long (it is killed then). */
typedef void process_fn(void *user, const char *output, size_t size, const struct err *err);

/* `command` goes to /bin/sh. Frees itself after the completion; NULL and `err` when it cannot start. */
struct process *process_start(struct reactor *reactor, const char *command, int64_t timeout_ms,
                              process_fn *done, void *user, struct err *err);
void process_cancel(struct process *process);

#endif
