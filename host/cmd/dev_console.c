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

extern char **environ;

struct dev_console {
    struct dev_display *display;
    const char *ini;
    const struct dev_suggestions *suggestions;
    size_t written; /* of those */
    pthread_t thread;
    atomic_bool over;
    bool interactive; /* both ends are terminals */
    bool raw;
    bool paused;
    struct termios before;
};

static const char help[] = "r  redrive all dead letters     d  show the last one     l  list them\n"
                           "p  pause all handlers, or feed them again     s  status\n"
                           "c  what handlers have called, as the rights that they need\n"
                           "w  write an item     ?  this     Ctrl-C  end\n";

/* ---- the terminal ---- */

/* Whose keys come one by one, and are not shown. */
static void set_raw(struct dev_console *console, bool raw)
{
    struct termios now = console->before;
    if (console->raw == raw)
        return;
    if (raw)
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &now) == 0)
        console->raw = raw;
}

static bool in_foreground(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
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

static void toggle_pause(struct dev_console *console)
{
    if (run(console, (const char *const[]){console->paused ? "resume" : "pause", "--all", NULL}))
        console->paused = !console->paused;
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

/* Into `line`, without the blanks around it; NULL: it does not come. */
static char *read_line(struct dev_console *console, char line[LINE_MAX_BYTES])
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!atomic_load(&console->over) && poll(&keys, 1, TURN_MS) == 0)
        dev_display_tell(console->display, false);
    ssize_t size = atomic_load(&console->over) ? -1 : read(STDIN_FILENO, line, LINE_MAX_BYTES - 1);
    if (size <= 0)
        return NULL;
    while (size && isspace((unsigned char)line[size - 1]))
        size--;
    line[size] = '\0';
    return line + strspn(line, " \t");
}

static void write_item(struct dev_console *console)
{
    const struct dev_suggestions *suggestions = console->suggestions;
    const char *usual = suggestions->count ? suggestions->items[console->written % suggestions->count] : NULL;
    char line[LINE_MAX_BYTES];
    set_raw(console, false);
    if (usual)
        printf("TABLE ITEM (Enter: %s %s)\n> ", suggestions->table, usual);
    else
        printf("TABLE ITEM\n> ");
    fflush(stdout);
    char *table = read_line(console, line), *item = table && *table ? split(table) : NULL;
    if (item) {
        run(console, (const char *const[]){"dev", "put", table, item, NULL});
    } else if (table && !*table && usual) {
        run(console, (const char *const[]){"dev", "put", suggestions->table, usual, NULL});
        console->written++;
    } else if (table && *table) {
        puts("a table's name and an item are wanted, such as: Products {\"productId\": \"p\"}");
    }
    set_raw(console, true);
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
        toggle_pause(console);
        return;
    case 'c':
        dev_display_print_seen(console->display);
        return;
    case 'w':
        write_item(console);
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

static void look_for_key(struct dev_console *console)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    char key;
    set_raw(console, true);
    if (poll(&keys, 1, TURN_MS) <= 0)
        return;
    if (keys.revents & POLLIN && read(STDIN_FILENO, &key, 1) == 1)
        press(console, key);
    else
        console->interactive = false; /* the terminal has gone */
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
                                      const struct dev_suggestions *suggestions)
{
    struct dev_console *console = mem_zero(sizeof *console);
    console->display = display;
    console->ini = ini;
    console->suggestions = suggestions;
    console->interactive =
        isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &console->before) == 0;
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
    if (console->raw)
        set_raw(console, false);
    free(console);
}
