/* problems.c: see problems.h. */
#include "base/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void problems_fini(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->lines[i]);
    free(problems->lines);
    *problems = PROBLEMS_INIT;
}

void problems_add(struct problems *problems, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&line, format, args);
    va_end(args);
    if (size < 0)
        return;
    mem_grow(&problems->lines, &problems->capacity, problems->count, sizeof *problems->lines);
    problems->lines[problems->count++] = line;
}

void problems_log(const struct problems *problems, struct log *log)
{
    for (size_t i = 0; i < problems->count; i++)
        log_error(log, NULL, "%s", problems->lines[i]);
}

/* "PATH:12: ..." is 12; LONG_MAX: it is of something else. */
static long line_of(const char *text, const char *path, size_t size)
{
    if (strncmp(text, path, size) != 0 || text[size] != ':')
        return LONG_MAX;
    char *end;
    long line = strtol(text + size + 1, &end, 10);
    return end > text + size + 1 && *end == ':' ? line : LONG_MAX;
}

void problems_sort(struct problems *problems, const char *path)
{
    size_t size = strlen(path);
    for (size_t i = 1; i < problems->count; i++) { /* by insertion: equal ones stay as they are */
        char *text = problems->lines[i];
        long line = line_of(text, path, size);
        size_t at = i;
        for (; at > 0 && line_of(problems->lines[at - 1], path, size) > line; at--)
            problems->lines[at] = problems->lines[at - 1];
        problems->lines[at] = text;
    }
}

void problems_remove_repeated(struct problems *problems)
{
    size_t kept = 0;
    for (size_t i = 0; i < problems->count; i++) {
        size_t same = 0;
        while (same < kept && strcmp(problems->lines[same], problems->lines[i]) != 0)
            same++;
        if (same < kept)
            free(problems->lines[i]);
        else
            problems->lines[kept++] = problems->lines[i];
    }
    problems->count = kept;
}

#define NAME_BYTES_MAX 48u

/* Levenshtein's distance over one row. */
static size_t distance(const char *a, const char *b)
{
    size_t size_b = strlen(b), row[NAME_BYTES_MAX + 1];
    if (size_b > NAME_BYTES_MAX || strlen(a) > NAME_BYTES_MAX)
        return NAME_BYTES_MAX;
    for (size_t j = 0; j <= size_b; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= size_b; j++) {
            size_t best = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[size_b];
}

bool name_is_slip(const char *name, const char *meant)
{
    size_t size = strlen(name), at = 0;
    if (size < 4)
        return false;
    if (distance(name, meant) == 1)
        return true;
    while (name[at] && name[at] == meant[at])
        at++;
    return strlen(meant) == size && at + 1 < size && name[at] == meant[at + 1] && name[at + 1] == meant[at] &&
           strcmp(name + at + 2, meant + at + 2) == 0;
}

const char *nearest_name(const char *name, const char *const *known)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 2;
    for (; *known; known++) {
        size_t d = distance(name, *known);
        if (d < best_distance) {
            best_distance = d;
            best = *known;
        }
    }
    return best;
}
