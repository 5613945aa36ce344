/* manual.c: see manual.h. Options are the words in a command's help that begin with "--", and -c. */
#include "cmd/manual.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define WORDS_MAX 64

/* ---- pages ---- */

/* A line as it stands; groff takes a first "." or "'" for its own, and "-" for a hyphen. */
static void print_roff(const char *text)
{
    bool begins = true;
    for (; *text; text++) {
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        begins = *text == '\n';
    }
}

static void print_upper(const char *text)
{
    for (; *text; text++)
        putchar(toupper((unsigned char)*text));
}

static void print_head(const char *name, const char *summary)
{
    fputs(".TH ", stdout);
    print_upper(name);
    puts(" 1 \"\" \"tidemill " TIDEMILL_VERSION "\" \"tidemill\"\n.SH NAME");
    print_roff(name);
    fputs(" \\- ", stdout);
    print_roff(summary);
    puts("\n.SH SYNOPSIS");
}

static void print_page(const struct command *command)
{
    char *name = mem_printf("tidemill-%s", command->name);
    print_head(name, command->summary);
    fputs(".B tidemill ", stdout);
    print_roff(command->name);
    fputs("\n", stdout);
    print_roff(command->arguments);
    puts("\n.SH DESCRIPTION\n.nf");
    print_roff(command->help);
    puts(".fi\n.SH SEE ALSO\n.BR tidemill (1),\n.BR tidemill.ini (5)");
    free(name);
}

static void print_main_page(const struct command *const *commands)
{
    print_head("tidemill", "run Lua handlers on every change of DynamoDB tables");
    puts(".B tidemill\n.I COMMAND\n[...]\n.SH DESCRIPTION\ntidemill reads DynamoDB Streams and runs "
         "handlers, short "
         "Lua scripts, on every change.\n.SH COMMANDS");
    for (; *commands; commands++) {
        fputs(".TP\n.B tidemill ", stdout);
        print_roff((*commands)->name);
        putchar(' ');
        print_roff((*commands)->arguments);
        putchar('\n');
        print_roff((*commands)->summary);
        printf(": see\n.BR tidemill\\-%s (1)\n", (*commands)->name);
    }
    puts(".SH EXIT STATUS\n0: done; 1: failed; 2: wrong usage or configuration.\n.SH FILES\n"
         ".I ./tidemill.ini\nor\n.IR /etc/tidemill/tidemill.ini ,\nunless\n.B \\-c\nnames another.\n"
         ".SH SEE ALSO\n.BR tidemill.ini (5)");
}

/* ---- completions ---- */

struct words {
    char *list[WORDS_MAX];
    size_t count;
};

static void add_word(struct words *words, const char *text, size_t size)
{
    for (size_t i = 0; i < words->count; i++)
        if (strlen(words->list[i]) == size && memcmp(words->list[i], text, size) == 0)
            return;
    if (words->count < WORDS_MAX)
        words->list[words->count++] = mem_copy(text, size);
}

static size_t option_size(const char *text)
{
    size_t size = 2;
    while (islower((unsigned char)text[size]) ||
           (text[size] == '-' && islower((unsigned char)text[size + 1])))
        size++;
    return size > 2 ? size : 0;
}

static void add_options(struct words *words, const char *text)
{
    for (const char *at = text; (at = strstr(at, "--"));) {
        size_t size = at == text || !isalnum((unsigned char)at[-1]) ? option_size(at) : 0;
        if (size)
            add_word(words, at, size);
        at += size ? size : 2;
    }
    if (strstr(text, "-c FILE"))
        add_word(words, "-c", 2);
}

/* The verbs that come first: "copy|backup|forget [...]". */
static void add_verbs(struct words *words, const char *arguments)
{
    size_t size = strcspn(arguments, " ");
    if (!memchr(arguments, '|', size))
        return;
    for (const char *at = arguments, *end = arguments + size; at < end;) {
        size_t length = strcspn(at, "| ");
        if (islower((unsigned char)*at))
            add_word(words, at, length);
        at += length + 1;
    }
}

static struct words words_of(const struct command *command)
{
    struct words words = {0};
    add_verbs(&words, command->arguments);
    add_options(&words, command->arguments);
    add_options(&words, command->help);
    return words;
}

static void free_words(struct words *words)
{
    while (words->count)
        free(words->list[--words->count]);
}

static void print_words(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        printf("%s%s", i ? " " : "", words->list[i]);
}

static void print_names(const struct command *const *commands)
{
    for (; *commands; commands++)
        printf("%s ", (*commands)->name);
    fputs("help", stdout);
}

/* Shared by bash and zsh, which runs bash's functions. */
static void print_bash(const struct command *const *commands)
{
    puts("# bash completion for tidemill\n_tidemill()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} words=");
    puts("    COMPREPLY=()\n    if [ \"$COMP_CWORD\" = 1 ]; then");
    fputs("        words=\"", stdout);
    print_names(commands);
    puts(" --version --help\"\n    elif [ \"${COMP_WORDS[COMP_CWORD - 1]}\" != -c ]; then\n        case "
         "${COMP_WORDS[1]} in");
    for (const struct command *const *at = commands; *at; at++) {
        struct words words = words_of(*at);
        printf("            %s) words=\"", (*at)->name);
        print_words(&words);
        puts("\" ;;");
        free_words(&words);
    }
    fputs("            help) words=\"", stdout);
    print_names(commands);
    puts("\" ;;\n        esac\n    fi");
    puts("    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\"; compgen -f -- \"$word\")\n}\n"
         "complete -o filenames -F _tidemill tidemill");
}

static void print_quoted(const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
}

static void print_zsh(const struct command *const *commands)
{
    puts("#compdef tidemill\nlocal -a commands options\ncommands=(");
    for (const struct command *const *at = commands; *at; at++) {
        printf("  '%s:", (*at)->name);
        print_quoted((*at)->summary);
        puts("'");
    }
    puts("  'help:what a command does'\n)\nif (( CURRENT == 2 )); then\n  _describe command commands\n  "
         "return\nfi\n"
         "case $words[2] in");
    for (const struct command *const *at = commands; *at; at++) {
        struct words words = words_of(*at);
        printf("  %s) options=(", (*at)->name);
        print_words(&words);
        puts(") ;;");
        free_words(&words);
    }
    puts("  help) _describe command commands; return ;;\nesac\n[[ $words[CURRENT-1] == -c ]] || compadd -- "
         "$options\n_files");
}

static void print_fish(const struct command *const *commands)
{
    puts("# fish completion for tidemill");
    for (const struct command *const *at = commands; *at; at++) {
        printf("complete -c tidemill -n __fish_use_subcommand -a %s -d '", (*at)->name);
        print_quoted((*at)->summary);
        puts("'");
        struct words words = words_of(*at);
        for (size_t i = 0; i < words.count; i++) {
            const char *word = words.list[i];
            printf("complete -c tidemill -n '__fish_seen_subcommand_from %s' %s%s\n", (*at)->name,
                   word[0] != '-'   ? "-a "
                   : word[1] == '-' ? "-l "
                                    : "-r -s ",
                   word[0] != '-'   ? word
                   : word[1] == '-' ? word + 2
                                    : word + 1);
        }
        free_words(&words);
    }
}

/* ---- the command ---- */

int manual(const struct command *const *commands, const char *form, const char *name)
{
    if (strcmp(form, "--man") == 0 && !name) {
        print_main_page(commands);
        return EXIT_DONE;
    }
    if (strcmp(form, "--commands") == 0 && !name) {
        for (; *commands; commands++)
            puts((*commands)->name);
        return EXIT_DONE;
    }
    if (strcmp(form, "--man") == 0) {
        while (*commands && strcmp((*commands)->name, name) != 0)
            commands++;
        if (*commands)
            print_page(*commands);
        else
            cmd_complain("%s is not a command (see tidemill --help)", name);
        return *commands ? EXIT_DONE : EXIT_USAGE;
    }
    bool completes = strcmp(form, "--complete") == 0 && name;
    if (completes && strcmp(name, "bash") == 0)
        print_bash(commands);
    else if (completes && strcmp(name, "zsh") == 0)
        print_zsh(commands);
    else if (completes && strcmp(name, "fish") == 0)
        print_fish(commands);
    else {
        cmd_complain("help: --man, --man COMMAND, --complete bash, zsh or fish");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}
