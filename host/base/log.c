/* log.c: see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

struct log {
    int fd;
    bool json;
    bool colour;
    _Atomic int level;
    struct clock *clock;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};

struct log *log_new(int fd, enum log_format format, enum log_level level, struct clock *clock)
{
    struct log *log = mem_zero(sizeof *log);
    bool terminal = isatty(fd);
    log->fd = fd;
    log->json = format == LOG_JSON || (format == LOG_AUTO && !terminal);
    log->colour = terminal && !log->json && !getenv("NO_COLOR");
    log->level = (int)level;
    log->clock = clock;
    return log;
}

void log_free(struct log *log)
{
    free(log);
}

void log_set_level(struct log *log, enum log_level level)
{
    log->level = (int)level;
}

bool log_wanted(const struct log *log, enum log_level level)
{
    return (int)level >= log->level;
}

static void line_json(struct buf *line, const char *time, enum log_level level, const char *subject,
                      const char *message, const char *fields)
{
    buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\"", time, level_names[level]);
    if (subject) {
        buf_add_literal(line, ",\"subject\":");
        json_write_string(line, subject, strlen(subject));
    }
    buf_add_literal(line, ",\"message\":");
    struct buf text = BUF_INIT; /* whatever it is, a line is JSON */
    utf8_write(&text, message, strlen(message));
    json_write_string(line, text.data ? text.data : "", text.size);
    buf_fini(&text);
    if (fields)
        buf_printf(line, ",\"fields\":%s", fields);
    buf_add_literal(line, "}\n");
}

/* A control byte could drive the reader's terminal or forge a line: shown as "?", newline and tab kept
 * readable. */
static void add_printable(struct buf *line, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\n')
            buf_add_literal(line, "\n    ");
        else
            buf_add_char(line, c == '\t' ? '\t' : c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

static void line_text(struct buf *line, bool colour, const char *time, enum log_level level,
                      const char *subject, const char *message, const char *fields)
{
    /* The time of day only: whoever looks at a terminal knows the date. */
    const char *paint = colour ? level_colours[level] : "", *plain = colour ? "\033[0m" : "";
    buf_printf(line, "%s%.12s%s %s%-5s%s ", colour ? "\033[2m" : "", time + 11, plain, paint,
               level_names[level], plain);
    if (subject)
        buf_printf(line, "%s%s%s: ", colour ? "\033[36m" : "", subject, plain);
    add_printable(line, message);
    if (fields) {
        buf_add_char(line, ' ');
        add_printable(line, fields);
    }
    buf_add_char(line, '\n');
}

void log_write_fields(struct log *log, enum log_level level, const char *subject, const char *message,
                      const char *fields_json)
{
    if (!log_wanted(log, level))
        return;
    char time[CLOCK_ISO_SIZE];
    clock_iso8601(clock_wall_ms(log->clock), time);
    struct buf line = BUF_INIT;
    if (log->json)
        line_json(&line, time, level, subject, message, fields_json);
    else
        line_text(&line, log->colour, time, level, subject, message, fields_json);
    /* A log that cannot be written must not stop the work: the result is looked at and dropped. */
    ssize_t written = write(log->fd, line.data, line.size);
    (void)written;
    buf_fini(&line);
}

void log_write(struct log *log, enum log_level level, const char *subject, const char *format, ...)
{
    if (!log_wanted(log, level))
        return;
    va_list args;
    va_start(args, format);
    char *message = NULL;
    if (vasprintf(&message, format, args) >= 0)
        log_write_fields(log, level, subject, message, NULL);
    va_end(args);
    free(message);
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_format_parse(const char *text, enum log_format *format)
{
    static const char *const names[] = {"auto", "text", "json"};
    for (int i = LOG_AUTO; i <= LOG_JSON; i++) {
        if (strcmp(text, names[i]) == 0) {
            *format = (enum log_format)i;
            return true;
        }
    }
    return false;
}
