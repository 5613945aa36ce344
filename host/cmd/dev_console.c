/* dev_console.c: a terminal's keys while dev runs, and the time that passes for its display.
 *
 * A key runs the command of that name beside the host, as one in another terminal would be run: what it does
 * and says is the same. Keys are read while dev is the terminal's foreground job, so that one in the
 * background stays there. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/dev.h"

#define TURN_MS 50
#define LINE_MAX_BYTES 16384
#define ARGUMENTS_MAX 8
#define ESCAPE 27
#define ESCAPE_MS 20 /* the bytes of one key come together */
#define INTERRUPT 3
#define END_OF_INPUT 4
#define DELETE 127
#define SUSPEND 26

extern char **environ;

struct dev_console {
    struct dev_display *display;
    const char *ini;
    const struct dev_suggestions *suggestions;
    size_t written; /* of those */
    pthread_t thread;
    atomic_bool over;
    bool interactive; /* both ends are terminals */
    struct termios before;
};

static const char help[] = "r  redrive all dead letters     d  show the last one     l  list them\n"
                           "p  pause all handlers, or feed them again     s  status\n"
                           "c  what handlers have called, as the rights that they need\n"
                           "w  write an item     ?  this     Ctrl-C  end\n";

/* ---- the terminal ---- */

static bool in_foreground(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* Whose keys come one by one, and are not shown; with `all` Ctrl-C is one, too. A shell that has stopped us
 * has set its own ways, so that what the terminal says counts. Only in the foreground: else we would be
 * stopped for it. */
static void set_keys(struct dev_console *console, bool raw, bool all)
{
    struct termios now, wanted = console->before;
    sigset_t stop, old;
    wanted.c_lflag &= ~((raw ? (tcflag_t)(ICANON | ECHO) : 0) | (all ? (tcflag_t)ISIG : 0));
    if (raw) { /* Ctrl-Z gives the terminal back first; Ctrl-S would hold up what is shown */
        wanted.c_cc[VSUSP] = wanted.c_cc[VQUIT] = _POSIX_VDISABLE;
        wanted.c_iflag &= ~(tcflag_t)IXON;
    }
    if (!in_foreground() || tcgetattr(STDIN_FILENO, &now) != 0 ||
        (now.c_lflag == wanted.c_lflag && now.c_cc[VSUSP] == wanted.c_cc[VSUSP]))
        return;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU); /* it may be in the background by now */
    pthread_sigmask(SIG_BLOCK, &stop, &old);
    tcsetattr(STDIN_FILENO, TCSANOW, &wanted);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* What has come at once: a key, a key that sends several bytes, or what was pasted. 0: the terminal has gone.
 */
static size_t read_keys(char *keys, size_t max)
{
    struct pollfd more = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t size = read(STDIN_FILENO, keys, max);
    if (size == 1 && *keys == ESCAPE && poll(&more, 1, ESCAPE_MS) > 0) { /* the rest of it */
        ssize_t rest = read(STDIN_FILENO, keys + 1, max - 1);
        size += rest > 0 ? rest : 0;
    }
    return size > 0 ? (size_t)size : 0;
}

/* ---- commands ---- */

/* `words` ends with NULL; "-c INI" comes behind them. */
static bool run(struct dev_console *console, const char *const *words)
{
    char *arguments[ARGUMENTS_MAX] = {"tidemill"};
    size_t count = 1;
    pid_t pid;
    int status = -1;
    sigset_t none;
    posix_spawnattr_t attributes;
    for (; *words; words++)
        arguments[count++] = (char *)*words;
    arguments[count++] = "-c";
    arguments[count++] = (char *)console->ini;
    arguments[count] = NULL;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int failed = posix_spawn(&pid, "/proc/self/exe", NULL, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    if (failed) {
        fprintf(stderr, "%s: %s\n", arguments[1], strerror(failed));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* "TABLE ITEM", cut in two where the name ends. NULL: there is no item. */
static char *split(char *line)
{
    char *end = line + strcspn(line, " \t"), *item = end + strspn(end, " \t");
    if (!*end || !*item)
        return NULL;
    *end = '\0';
    return item;
}

/* A line that is typed, or pasted; false: Escape, Ctrl-C, or it does not come. */
static bool read_line(struct dev_console *console, char line[LINE_MAX_BYTES])
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    char chunk[256];
    size_t size = 0;
    while (!atomic_load(&console->over)) {
        dev_display_tell(console->display, false);
        if (poll(&keys, 1, TURN_MS) <= 0)
            continue;
        size_t count = read_keys(chunk, sizeof chunk);
        bool escape = count && memchr(chunk, ESCAPE, count), arrow = escape && *chunk == ESCAPE && count > 1;
        if (!count || (escape && !arrow))
            return false;
        for (size_t i = 0; i < count && !arrow; i++) {
            if (chunk[i] == '\n' || chunk[i] == '\r') {
                line[size] = '\0';
                return true;
            }
            if (chunk[i] == INTERRUPT || chunk[i] == END_OF_INPUT)
                return false;
            if (chunk[i] == DELETE || chunk[i] == '\b') {
                while (size && ((unsigned char)line[--size] & 0xc0) == 0x80)
                    continue;
                fputs("\b \b", stdout);
            } else if ((unsigned char)chunk[i] >= ' ' && size + 1 < LINE_MAX_BYTES) {
                line[size++] = chunk[i];
                putchar(chunk[i]);
            }
        }
        fflush(stdout);
    }
    return false;
}

static void write_item(struct dev_console *console)
{
    const struct dev_suggestions *suggestions = console->suggestions;
    const char *usual = suggestions->count ? suggestions->items[console->written % suggestions->count] : NULL;
    char *line = mem_zero(LINE_MAX_BYTES);
    set_keys(console, true, true);
    if (usual)
        printf("TABLE ITEM (Enter alone writes %s %s, Escape nothing)\n> ", suggestions->table, usual);
    else
        printf("TABLE ITEM (Escape: nothing)\n> ");
    fflush(stdout);
    bool typed = read_line(console, line);
    puts("");
    set_keys(console, true, false);
    char *table = line + strspn(line, " \t"), *item = *table ? split(table) : NULL;
    if (typed && item) {
        run(console, (const char *const[]){"dev", "put", table, item, NULL});
    } else if (typed && !*table && usual) {
        run(console, (const char *const[]){"dev", "put", suggestions->table, usual, NULL});
        console->written++;
    } else if (typed && *table) {
        puts("a table's name and an item are wanted, such as: Products {\"productId\": \"p\"}");
    }
    fflush(stdout);
    free(line);
}

static void press(struct dev_console *console, char key)
{
    dev_display_tell(console->display, true);
    switch (tolower((unsigned char)key)) {
    case 'r':
        run(console, (const char *const[]){"dead", "redrive", "--all", NULL});
        return;
    case 'd':
        run(console, (const char *const[]){"dead", "show", "--last", NULL});
        return;
    case 'l':
        run(console, (const char *const[]){"dead", "list", NULL});
        return;
    case 's':
        run(console, (const char *const[]){"status", NULL});
        return;
    case 'p':
        run(console, (const char *const[]){"pause", "--all", "--toggle", NULL});
        return;
    case 'c':
        dev_display_print_seen(console->display);
        return;
    case 'w':
        write_item(console);
        return;
    case SUSPEND:
        set_keys(console, false, false);
        kill(0, SIGTSTP); /* as the terminal would */
        return;
    case '\n':
    case '\r':
        puts("");
        break;
    case '?':
    case 'h':
        fputs(help, stdout);
        break;
    default:
        puts("? shows the keys");
    }
    fflush(stdout);
}

/* Only a key by itself is one: arrows and what is pasted are not taken for commands. */
static void look_for_key(struct dev_console *console)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    char chunk[256];
    set_keys(console, true, false);
    if (poll(&keys, 1, TURN_MS) <= 0)
        return;
    size_t size = keys.revents & POLLIN ? read_keys(chunk, sizeof chunk) : 0;
    if (size == 1)
        press(console, *chunk);
    else if (size)
        puts("? shows the keys");
    else
        console->interactive = false; /* the terminal has gone */
    fflush(stdout);
}

/* ---- life ---- */

static void *live(void *user)
{
    struct dev_console *console = user;
    while (!atomic_load(&console->over)) {
        if (console->interactive && in_foreground())
            look_for_key(console);
        else
            poll(NULL, 0, TURN_MS);
        dev_display_tell(console->display, false);
    }
    return NULL;
}

struct dev_console *dev_console_start(struct dev_display *display, const char *ini,
                                      const struct dev_suggestions *suggestions, bool keys)
{
    struct dev_console *console = mem_zero(sizeof *console);
    console->display = display;
    console->ini = ini;
    console->suggestions = suggestions;
    console->interactive = keys && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
                           tcgetattr(STDIN_FILENO, &console->before) == 0;
    if (console->interactive)
        puts("Keys: r redrive, d last dead letter, p pause, w write an item, ? more.");
    fflush(stdout);
    if (pthread_create(&console->thread, NULL, live, console) != 0) {
        free(console);
        return NULL;
    }
    return console;
}

void dev_console_stop(struct dev_console *console)
{
    if (!console)
        return;
    atomic_store(&console->over, true);
    pthread_join(console->thread, NULL);
    if (console->interactive)
        set_keys(console, false, false);
    free(console);
}
