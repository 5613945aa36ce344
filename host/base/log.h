/* log.h: what an operator reads.
 *
 * Text with colour on a terminal, one JSON object a line elsewhere; for journald with the level before it, as
 * sd-daemon(3) has it. Lines of several threads
 * never mix. Writing never waits: lines that a full pipe does not take are kept (1 MiB), then left out, and
 * their number is told once the pipe is read again. A secret never reaches the log: callers hand over names,
 * never values of credentials. */
#ifndef TIDEMILL_BASE_LOG_H
#define TIDEMILL_BASE_LOG_H

#include <stdbool.h>

#include "base/clock.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

struct log;

/* Writes to `fd`, which stays the caller's. LOG_AUTO asks isatty(fd). */
struct log *log_new(int fd, enum log_format format, enum log_level level, struct clock *clock);
void log_free(struct log *log);

/* Try once more to write what is kept, and tell what was repeated. */
void log_flush(struct log *log);

bool log_wanted(const struct log *log, enum log_level level);

/* `subject` is whom the line is about: "stream products", "handler stock". NULL: the host itself. */
void log_write(struct log *log, enum log_level level, const char *subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* One of a kind of which there may be thousands a second: what failed for one record after the other. The
 * first is written at once; of those that follow within ten seconds the last, with their number. They are of
 * a kind whose `kind` differs in digits only. With level debug all are written. */
void log_write_repeated(struct log *log, enum log_level level, const char *subject, const char *kind,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same with the members of a JSON object ("{...}", or NULL) beside the message. */
void log_write_fields(struct log *log, enum log_level level, const char *subject, const char *message,
                      const char *fields_json);

/* A sentence that would be said again and again is said now and then. Zero at first, and again when all is
 * well. */
struct log_limit {
    bool told;
    int64_t told_ms;
};

/* May it be said now? `now_ms` is monotonic. */
static inline bool log_limit_passes(struct log_limit *limit, int64_t now_ms, int64_t every_ms)
{
    if (limit->told && now_ms - limit->told_ms < every_ms)
        return false;
    *limit = (struct log_limit){true, now_ms};
    return true;
}

#define log_debug(log, ...) log_write((log), LOG_DEBUG, __VA_ARGS__)
#define log_info(log, ...) log_write((log), LOG_INFO, __VA_ARGS__)
#define log_warn(log, ...) log_write((log), LOG_WARN, __VA_ARGS__)
#define log_error(log, ...) log_write((log), LOG_ERROR, __VA_ARGS__)

#endif
