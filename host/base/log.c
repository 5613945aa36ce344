/* log.c: see log.h. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"

#define KEPT_BYTES_MAX (1u << 20) /* of lines that nobody reads now */
#define LAST_WAIT_MS 500          /* for the reader of what is kept, at the end */

struct log {
    int fd;         /* the caller's */
    int own_fd;     /* of a pipe or terminal: a description of our own, which does not block; -1: none */
    bool socket;    /* journald's, for one */
    bool may_block; /* a pipe or terminal without own_fd */
    pthread_mutex_t lock;
    struct buf kept;     /* what could not be written yet */
    int64_t left_out;    /* lines */
    struct map repeated; /* subject and kind -> struct repeated, owned */
    bool json;
    bool colour;
    bool priorities; /* journald reads: each line begins with its level */
    _Atomic int level;
    struct clock *clock;
};

/* Sentences of a kind. */
struct repeated {
    enum log_level level;
    char *subject, *last; /* what was left out last; NULL: nothing */
    int64_t count;        /* how many were, since ... */
    int64_t told_ms;      /* ... one was written; monotonic */
};

#define REPEATED_MS 10000
#define REPEATED_KINDS_MAX 1000
#define KEY_SIZE 100

static const int level_priorities[] = {7, 6, 4, 3}; /* syslog(3)'s */
static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};
static_assert(COUNT_OF(level_names) == LOG_ERROR + 1 && COUNT_OF(level_colours) == LOG_ERROR + 1,
              "one for each level");

/* Another description of the same pipe or terminal: whoever shares `fd` with us is not changed by it. */
static void open_own(struct log *log, int fd)
{
    struct stat status;
    char path[40];
    log->fd = fd;
    log->own_fd = -1;
    if (fstat(fd, &status) != 0)
        return;
    log->socket = S_ISSOCK(status.st_mode);
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    log->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    log->may_block = log->own_fd < 0;
}

/* sd_journal(3): the variable names the stream that journald has given us; a child may have another. */
static bool is_journal(int fd)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long device = 0, inode = 0;
    struct stat status;
    return text && sscanf(text, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &status) == 0 &&
           status.st_dev == (dev_t)device && status.st_ino == (ino_t)inode;
}

static void tell_repeated(struct log *log, bool all);

struct log *log_new(int fd, enum log_format format, enum log_level level, struct clock *clock)
{
    struct log *log = mem_zero(sizeof *log);
    bool terminal = isatty(fd);
    pthread_mutex_init(&log->lock, NULL);
    open_own(log, fd);
    log->json = format == LOG_JSON || (format == LOG_AUTO && !terminal);
    log->colour = terminal && !log->json && !getenv("NO_COLOR");
    log->level = (int)level;
    log->priorities = is_journal(fd);
    log->clock = clock;
    return log;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    tell_repeated(log, true);
    log_flush(log);
    if (log->kept.size) {
        struct pollfd ask = {.fd = log->own_fd >= 0 ? log->own_fd : log->fd, .events = POLLOUT};
        poll(&ask, 1, LAST_WAIT_MS);
        log_flush(log);
    }
    if (log->own_fd >= 0)
        close(log->own_fd);
    map_fini(&log->repeated);
    buf_fini(&log->kept);
    pthread_mutex_destroy(&log->lock);
    free(log);
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

/* Lines behind the first are set in, and begin with `prefix`. */
static void add_printable(struct buf *line, const char *prefix, const char *text)
{
    struct buf printable = BUF_INIT;
    utf8_write_printable(&printable, text, strlen(text));
    for (size_t i = 0; i < printable.size; i++) {
        buf_add_char(line, printable.data[i]);
        if (printable.data[i] == '\n')
            buf_printf(line, "%s    ", prefix);
    }
    buf_fini(&printable);
}

static void line_text(struct buf *line, bool colour, const char *prefix, const char *time,
                      enum log_level level, const char *subject, const char *message, const char *fields)
{
    /* The time of day only: whoever looks at a terminal knows the date. */
    const char *paint = colour ? level_colours[level] : "", *plain = colour ? "\033[0m" : "";
    buf_printf(line, "%s%.12s%s %s%-5s%s ", colour ? "\033[2m" : "", time + 11, plain, paint,
               level_names[level], plain);
    if (subject)
        buf_printf(line, "%s%s%s: ", colour ? "\033[36m" : "", subject, plain);
    add_printable(line, prefix, message);
    if (fields) {
        buf_add_char(line, ' ');
        add_printable(line, prefix, fields);
    }
    buf_add_char(line, '\n');
}

/* ---- writing without waiting ---- */

/* As much as goes now, without waiting for a reader; what cannot be written at all is given up. */
static size_t write_now(const struct log *log, const char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t written;
        if (log->socket) {
            written = send(log->fd, data + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (log->may_block) {
            /* A pipe that says it has room takes so much (PIPE_BUF, pipe(7)). */
            struct pollfd ask = {.fd = log->fd, .events = POLLOUT};
            if (poll(&ask, 1, 0) == 0)
                return done;
            written = write(log->fd, data + done, size - done < 4096 ? size - done : 4096);
        } else {
            written = write(log->own_fd >= 0 ? log->own_fd : log->fd, data + done, size - done);
        }
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return done;
        if (written < 0)
            return size; /* a log that cannot be written must not stop the work */
        done += (size_t)written;
    }
    return done;
}

static void format_line(const struct log *log, struct buf *line, enum log_level level, const char *subject,
                        const char *message, const char *fields_json)
{
    char time[CLOCK_ISO_SIZE];
    char prefix[8] = "";
    clock_iso8601(clock_wall_ms(log->clock), time);
    if (log->priorities)
        snprintf(prefix, sizeof prefix, "<%d>", level_priorities[level]);
    buf_add_text(line, prefix);
    if (log->json)
        line_json(line, time, level, subject, message, fields_json);
    else
        line_text(line, log->colour, prefix, time, level, subject, message, fields_json);
}

static void write_kept(struct log *log)
{
    if (log->kept.size) {
        size_t done = write_now(log, log->kept.data, log->kept.size);
        if (done && done < log->kept.size)
            memmove(log->kept.data, log->kept.data + done, log->kept.size - done);
        log->kept.size -= done;
        if (log->kept.size)
            return;
    }
    if (log->left_out) {
        char message[120];
        struct buf line = BUF_INIT;
        snprintf(message, sizeof message, "%lld log lines were left out here: nobody read the log",
                 (long long)log->left_out);
        log->left_out = 0;
        format_line(log, &line, LOG_WARN, NULL, message, NULL);
        buf_add(&log->kept, line.data, line.size);
        buf_fini(&line);
        write_kept(log);
    }
}

/* With the lock held. */
static void put_line(struct log *log, const struct buf *line)
{
    size_t done = 0;
    write_kept(log);
    if (!log->kept.size)
        done = write_now(log, line->data, line->size);
    if (done == line->size)
        return;
    if (!done && (log->left_out || log->kept.size + line->size > KEPT_BYTES_MAX))
        log->left_out++;
    else
        buf_add(&log->kept, line->data + done, line->size - done);
}

static void put_message(struct log *log, enum log_level level, const char *subject, const char *message,
                        const char *fields_json)
{
    struct buf line = BUF_INIT;
    format_line(log, &line, level, subject, message, fields_json);
    put_line(log, &line);
    buf_fini(&line);
}

/* ---- what is said again and again ---- */

static void repeated_free(struct repeated *repeated)
{
    free(repeated->subject);
    free(repeated->last);
    free(repeated);
}

/* With the lock held. */
static void put_repeated(struct log *log, struct repeated *repeated, int64_t now_ms)
{
    if (!repeated->count)
        return;
    char *message =
        mem_printf("%s (and %lld more like it in %lld s)", repeated->last, (long long)repeated->count - 1,
                   (long long)(now_ms - repeated->told_ms + 999) / 1000);
    put_message(log, repeated->level, repeated->subject, repeated->count > 1 ? message : repeated->last,
                NULL);
    free(message);
    free(repeated->last);
    repeated->last = NULL;
    repeated->count = 0;
    repeated->told_ms = now_ms;
}

/* Those whose time has come (`all`: each), and forget what is not said any more. */
static void tell_repeated(struct log *log, bool all)
{
    int64_t now_ms = clock_monotonic_ms(log->clock);
    const char *key;
    size_t at = 0;
    pthread_mutex_lock(&log->lock);
    for (struct repeated *repeated; (repeated = map_next(&log->repeated, &at, &key));) {
        if (!all && now_ms - repeated->told_ms < REPEATED_MS)
            continue;
        bool over = all || !repeated->count;
        put_repeated(log, repeated, now_ms);
        if (!over)
            continue;
        repeated_free(map_remove(&log->repeated, key));
        at = 0; /* removal moves slots */
    }
    pthread_mutex_unlock(&log->lock);
}

/* With the lock held: is it one of those that are only counted? Takes the message then. */
static bool is_counted(struct log *log, enum log_level level, const char *subject, const char *kind,
                       char *message)
{
    char key[KEY_SIZE];
    int64_t now_ms = clock_monotonic_ms(log->clock);
    snprintf(key, sizeof key, "%d %.60s %016" PRIx64, (int)level, subject ? subject : "",
             hash_kind(kind, strlen(kind)));
    struct repeated *repeated = map_get(&log->repeated, key);
    if (!repeated && log->repeated.count < REPEATED_KINDS_MAX) {
        repeated = mem_zero(sizeof *repeated);
        *repeated = (struct repeated){.level = level, .subject = mem_string(subject), .told_ms = now_ms};
        map_set(&log->repeated, key, repeated);
        return false;
    }
    if (!repeated || (!repeated->count && now_ms - repeated->told_ms >= REPEATED_MS)) {
        if (repeated)
            repeated->told_ms = now_ms;
        return false;
    }
    free(repeated->last);
    repeated->last = message;
    repeated->count++;
    if (now_ms - repeated->told_ms >= REPEATED_MS)
        put_repeated(log, repeated, now_ms);
    return true;
}

void log_write_repeated(struct log *log, enum log_level level, const char *subject, const char *kind,
                        const char *format, ...)
{
    if (!log_wanted(log, level))
        return;
    va_list args;
    va_start(args, format);
    char *message = NULL;
    bool well = vasprintf(&message, format, args) >= 0;
    va_end(args);
    if (!well)
        return;
    pthread_mutex_lock(&log->lock);
    bool counted = !log_wanted(log, LOG_DEBUG) && is_counted(log, level, subject, kind, message);
    if (!counted)
        put_message(log, level, subject, message, NULL);
    pthread_mutex_unlock(&log->lock);
    if (!counted)
        free(message);
}

void log_flush(struct log *log)
{
    tell_repeated(log, false);
    pthread_mutex_lock(&log->lock);
    write_kept(log);
    pthread_mutex_unlock(&log->lock);
}

void log_write_fields(struct log *log, enum log_level level, const char *subject, const char *message,
                      const char *fields_json)
{
    if (!log_wanted(log, level))
        return;
    struct buf line = BUF_INIT;
    format_line(log, &line, level, subject, message, fields_json);
    pthread_mutex_lock(&log->lock);
    put_line(log, &line);
    pthread_mutex_unlock(&log->lock);
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
