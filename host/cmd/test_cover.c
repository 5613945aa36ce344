/* test_cover.c: see test_cover.h. */
#include "cmd/test_cover.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

#define LISTED_MAX 60 /* columns of lines that never ran */

struct file {
    char *path;
    uint64_t *runs; /* by line, from 1: 0: it cannot run; 1: it never did; else once less than that */
    size_t lines, capacity;
};

struct test_cover {
    struct map places; /* paths as they are told -> struct file, not owned: several links may lead to one */
    struct file **files;
    size_t count, capacity;
};

struct test_cover *test_cover_new(void)
{
    struct test_cover *cover = mem_zero(sizeof *cover);
    cover->places = MAP_INIT;
    return cover;
}

void test_cover_free(struct test_cover *cover)
{
    if (!cover)
        return;
    for (size_t i = 0; i < cover->count; i++) {
        free(cover->files[i]->path);
        free(cover->files[i]->runs);
        free(cover->files[i]);
    }
    map_fini(&cover->places);
    free(cover->files);
    free(cover);
}

static struct file *find(struct test_cover *cover, const char *told)
{
    struct file *file = map_get(&cover->places, told);
    char *path = file ? NULL : realpath(told, NULL);
    for (size_t i = 0; path && !file && i < cover->count; i++)
        if (strcmp(cover->files[i]->path, path) == 0)
            file = cover->files[i];
    if (path && !file) {
        file = mem_zero(sizeof *file);
        file->path = mem_string(path);
        mem_grow(&cover->files, &cover->capacity, cover->count, sizeof *cover->files);
        cover->files[cover->count++] = file;
    }
    if (path)
        map_set(&cover->places, told, file);
    free(path);
    return file;
}

void test_cover_note(struct test_cover *cover, const char *path, size_t line, bool now)
{
    struct file *file = find(cover, path);
    if (!file) /* a chunk of the script's own making */
        return;
    for (; file->lines <= line; file->lines++) {
        mem_grow(&file->runs, &file->capacity, file->lines, sizeof *file->runs);
        file->runs[file->lines] = 0;
    }
    if (!file->runs[line]) /* the `end` of a function is not among those that can */
        file->runs[line] = now ? 0 : 1;
    else if (now)
        file->runs[line]++;
}

static int compare(const void *a, const void *b)
{
    return strcmp((*(struct file *const *)a)->path, (*(struct file *const *)b)->path);
}

static void sort(struct test_cover *cover)
{
    if (cover->count)
        qsort(cover->files, cover->count, sizeof *cover->files, compare);
}

/* As somebody who stands here would call it. */
static const char *shown(const char *path)
{
    static char here[4096];
    size_t size = getcwd(here, sizeof here) ? strlen(here) : 0;
    return size && strncmp(path, here, size) == 0 && path[size] == '/' ? path + size + 1 : path;
}

static void count(const struct file *file, size_t *all, size_t *ran)
{
    *all = *ran = 0;
    for (size_t i = 0; i < file->lines; i++) {
        *all += file->runs[i] > 0;
        *ran += file->runs[i] > 1;
    }
}

/* "12-14, 31": what cannot run in between does not part them. */
static void list_missed(const struct file *file, struct buf *out)
{
    for (size_t line = 0; line < file->lines; line++) {
        size_t first = line, last = line;
        if (file->runs[line] != 1)
            continue;
        for (; line < file->lines && file->runs[line] <= 1; line++)
            last = file->runs[line] ? line : last;
        if (out->size > LISTED_MAX) {
            buf_add_literal(out, ", ...");
            return;
        }
        buf_printf(out, last > first ? "%s%zu-%zu" : "%s%zu", out->size ? ", " : "", first, last);
    }
}

void test_cover_print(struct test_cover *cover, bool colour)
{
    size_t all = 0, ran = 0, widest = 0;
    sort(cover);
    for (size_t i = 0; i < cover->count; i++)
        widest =
            strlen(shown(cover->files[i]->path)) > widest ? strlen(shown(cover->files[i]->path)) : widest;
    puts("lines of handlers that ran:");
    for (size_t i = 0; i < cover->count; i++) {
        struct buf missed = BUF_INIT;
        size_t file_all, file_ran;
        count(cover->files[i], &file_all, &file_ran);
        list_missed(cover->files[i], &missed);
        printf("  %-*s %s%3zu%%%s  %zu of %zu%s%s\n", (int)widest, shown(cover->files[i]->path),
               !colour               ? ""
               : file_ran < file_all ? "\033[33m"
                                     : "\033[32m",
               file_all ? file_ran * 100 / file_all : 100, colour ? "\033[0m" : "", file_ran, file_all,
               missed.size ? "; never: " : "", missed.size ? missed.data : "");
        all += file_all;
        ran += file_ran;
        buf_fini(&missed);
    }
    if (cover->count > 1)
        printf("  %-*s %3zu%%  %zu of %zu\n", (int)widest, "all", all ? ran * 100 / all : 100, ran, all);
    if (!cover->count)
        puts("  no handler was loaded");
}

bool test_cover_write_lcov(struct test_cover *cover, const char *path, struct err *err)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    sort(cover);
    for (size_t i = 0; i < cover->count; i++) {
        const struct file *file = cover->files[i];
        size_t all, ran;
        count(file, &all, &ran);
        fprintf(out, "TN:\nSF:%s\n", file->path);
        for (size_t line = 0; line < file->lines; line++)
            if (file->runs[line])
                fprintf(out, "DA:%zu,%llu\n", line, (unsigned long long)file->runs[line] - 1);
        fprintf(out, "LF:%zu\nLH:%zu\nend_of_record\n", all, ran);
    }
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return true;
}
