/* main.c: the command table. */
#include <openssl/crypto.h>
#include <signal.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/descriptors.h"
#include "base/embed.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/manual.h"
#include "script/reference.h"

static const struct command *const commands[] = {
    &cmd_run,    &cmd_dev,   &cmd_check,  &cmd_invoke, &cmd_status,   &cmd_dead,
    &cmd_seek,   &cmd_pause, &cmd_resume, &cmd_replay, &cmd_backfill, &cmd_state,
    &cmd_policy, &cmd_init,  &cmd_local,  &cmd_test,   NULL};
#define COMMAND_COUNT (sizeof commands / sizeof *commands - 1)

EMBED(reference_ini, "host/conf/reference.ini");

static void print_pages(FILE *out)
{
    char *names;
    free(reference_page("", false, &names));
    int column = fprintf(out, "What a script can call and is given, for `tidemill help PAGE`:");
    for (char *rest, *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        if (column + 1 + strlen(name) > 79)
            column = fprintf(out, "\n ") - 1;
        column += fprintf(out, " %s", name);
    }
    fputs("\n", out);
    free(names);
}

static void print_usage(FILE *out)
{
    fputs("usage: tidemill COMMAND [...]\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  tidemill %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("  tidemill --version | --help | help COMMAND | help PAGE\n\n", out);
    print_pages(out);
    fputs("Every key of the INI, with its default: tidemill help ini\n"
          "\n"
          "-c FILE is the INI; by default ./tidemill.ini, then /etc/tidemill/tidemill.ini.\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage or configuration.\n",
          out);
}

static const struct command *command_of(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static const struct command *find(const char *name)
{
    const struct command *command = command_of(name);
    if (command)
        return command;
    cmd_complain("%s is not a command (see tidemill --help)", name);
    return NULL;
}

/* Of a module, records, handlers or values; or of the INI. */
static int help_reference(const char *name, bool markdown)
{
    if (strcmp(name, "ini") == 0) {
        fwrite(reference_ini_start, 1, (size_t)(reference_ini_end - reference_ini_start), stdout);
        return EXIT_DONE;
    }
    char *names,
        *page = reference_page(strncmp(name, "tidemill.", 9) == 0 ? name + 9 : name, markdown, &names);
    if (page)
        fputs(page, stdout);
    else
        cmd_complain("%s is neither a command (see tidemill --help) nor a page of the reference: %s", name,
                     names);
    free(names);
    bool found = page;
    free(page);
    return found ? EXIT_DONE : EXIT_USAGE;
}

static int print_names(void)
{
    char *names;
    free(reference_page("", false, &names));
    puts(names);
    free(names);
    return EXIT_DONE;
}

#define WIDTH 79

/* Where a line that is too long goes on: below its text, behind "  --name   ". */
static size_t text_column(const char *line, size_t size)
{
    size_t begin = 0, column;
    while (begin < size && line[begin] == ' ')
        begin++;
    column = begin;
    for (size_t at = begin; begin && at + 2 < size && at < WIDTH * 5 / 8; at++)
        if (line[at] == ' ' && line[at + 1] == ' ' && line[at + 2] != ' ')
            column = at + 2;
    return column;
}

static void print_line(const char *line, size_t size)
{
    size_t column = text_column(line, size), indent = 0;
    while (indent + size > WIDTH) {
        size_t cut = WIDTH - indent;
        while (cut > column - indent + 1 && line[cut] != ' ')
            cut--;
        if (line[cut] != ' ')
            break;
        printf("%*s%.*s\n", (int)indent, "", (int)cut, line);
        while (cut < size && line[cut] == ' ')
            cut++;
        line += cut;
        size -= cut;
        indent = column;
    }
    printf("%*s%.*s\n", (int)indent, "", (int)size, line);
}

#define FULL 70 /* a line that is as long goes on in the next one, where that is indented as its text */

static size_t indent_of(const char *line)
{
    return strspn(line, " ");
}

/* So that it fits a terminal: paragraphs are filled, what stands in lines of its own stays so. */
static void print_help(const char *text)
{
    struct buf line = BUF_INIT;
    while (*text) {
        size_t size = strcspn(text, "\n"), column = text_column(text, size);
        buf_add(&line, text, size);
        text += size + (text[size] == '\n');
        while (size >= FULL && *text && *text != '\n' && indent_of(text) == column) {
            size = strcspn(text, "\n");
            buf_add_char(&line, ' ');
            buf_add(&line, text + column, size - column);
            text += size + (text[size] == '\n');
        }
        print_line(line.data ? line.data : "", line.size);
        line.size = 0;
    }
    buf_fini(&line);
}

static int help(const char *name)
{
    const struct command *command = command_of(name);
    if (!command)
        return help_reference(name, false);
    char *usage = mem_printf("usage: tidemill %s %s\n\n", command->name, command->arguments);
    print_help(usage);
    free(usage);
    print_help(command->help);
    return EXIT_DONE;
}

#define KEPT_BYTES (64 << 20)
#define LARGE_BYTES (32 << 20)
#define GROWN_BYTES (8 << 20)

/* Pages of records come and go all the time: what is given back to the kernel at once is faulted in again
 * with the next one. So much is kept for it instead; what is above goes back. The heap grows in large steps,
 * the first of which is taken at once, so that huge pages find room in it before small ones have it (mem.c).
 */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TOP_PAD, GROWN_BYTES);
    mem_reserve(LARGE_BYTES - (1 << 20));
#endif
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    keep_memory();
    if (!first) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(first, "--version") == 0) {
        puts("tidemill " TIDEMILL_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 ||
        (strcmp(first, "help") == 0 && argc == 2)) {
        print_usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(first, "help") == 0 && strcmp(argv[2], "--pages") == 0)
        return print_names();
    if (strcmp(first, "help") == 0 && strcmp(argv[2], "--markdown") == 0 && argc == 4)
        return help_reference(argv[3], true);
    if (strcmp(first, "help") == 0 && strncmp(argv[2], "--", 2) == 0)
        return manual(commands, argv[2], argv[3]);
    if (strcmp(first, "help") == 0)
        return help(argv[2]);
    const struct command *command = find(first);
    if (!command)
        return EXIT_USAGE;
    descriptors_raise();
    /* Libraries have threads that may still use OpenSSL while the process ends: it is not taken apart under
     * them. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    signal(SIGPIPE, SIG_IGN); /* a pipe that nobody reads is an error like others */
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(first);
    if (command != &cmd_init) /* what that makes is for everybody who works on it */
        umask(0077);
    return command->run(argc - 1, argv + 1);
}
