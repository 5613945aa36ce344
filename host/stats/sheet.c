/* sheet.c: see sheet.h. */
#include "stats/sheet.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "stats/metrics.h"

/* A page that is no UTF-8 in one label is refused as a whole. */
static void add_escaped(struct buf *out, const char *raw)
{
    char *valid = utf8_copy(raw);
    for (const char *text = valid; *text; text++) {
        if (*text == '\\' || *text == '"')
            buf_add_char(out, '\\');
        if (*text == '\n')
            buf_add_literal(out, "\\n");
        else
            buf_add_char(out, *text);
    }
    free(valid);
}

static void add_sample(struct sheet *sheet, const char *metric, char *labels, int part, double value)
{
    mem_grow(&sheet->samples, &sheet->capacity, sheet->count, sizeof *sheet->samples);
    sheet->samples[sheet->count++] = (struct sample){metric, labels, part, value};
}

char *sheet_labels(va_list pairs)
{
    struct buf labels = BUF_INIT;
    for (const char *name; (name = va_arg(pairs, const char *));) {
        buf_printf(&labels, "%s%s=\"", labels.size ? "," : "", name);
        add_escaped(&labels, va_arg(pairs, const char *));
        buf_add_char(&labels, '"');
    }
    buf_add(&labels, "", 0);
    return buf_take(&labels);
}

void sheet_add(struct sheet *sheet, const char *metric, double value, ...)
{
    va_list pairs;
    va_start(pairs, value);
    add_sample(sheet, metric, sheet_labels(pairs), 0, value);
    va_end(pairs);
}

void sheet_add_labelled(struct sheet *sheet, const char *metric, const char *labels, double value)
{
    add_sample(sheet, metric, mem_string(labels), 0, value);
}

void sheet_add_labelled_times(struct sheet *sheet, const char *metric, const char *labels,
                              const struct stats_times *times)
{
    int64_t below = 0;
    for (int i = 0; i < STATS_BUCKETS; i++)
        add_sample(sheet, metric, mem_string(labels), i, (double)(below += times->within[i]));
    add_sample(sheet, metric, mem_string(labels), STATS_BUCKETS, (double)times->count); /* +Inf */
    add_sample(sheet, metric, mem_string(labels), STATS_BUCKETS + 1, (double)times->us / 1e6);
    add_sample(sheet, metric, mem_string(labels), STATS_BUCKETS + 2, (double)times->count);
}

void sheet_add_times(struct sheet *sheet, const char *metric, const struct stats_times *times, ...)
{
    va_list pairs;
    va_start(pairs, times);
    char *labels = sheet_labels(pairs);
    va_end(pairs);
    sheet_add_labelled_times(sheet, metric, labels, times);
    free(labels);
}

void sheet_fini(struct sheet *sheet)
{
    for (size_t i = 0; i < sheet->count; i++)
        free(sheet->samples[i].labels);
    free(sheet->samples);
    *sheet = (struct sheet){0};
}

static int by_series(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    int order = strcmp(x->metric, y->metric);
    order = order ? order : strcmp(x->labels, y->labels);
    return order ? order : (x->part > y->part) - (x->part < y->part);
}

void sheet_merge(struct sheet *sheet)
{
    size_t kept = 0;
    if (sheet->count)
        qsort(sheet->samples, sheet->count, sizeof *sheet->samples, by_series);
    for (size_t i = 0; i < sheet->count; i++) {
        struct sample *sample = &sheet->samples[i], *before = kept ? &sheet->samples[kept - 1] : NULL;
        if (!before || by_series(before, sample) != 0) {
            sheet->samples[kept++] = *sample;
            continue;
        }
        before->value = metric_joins(sample->metric, before->value, sample->value);
        free(sample->labels);
    }
    sheet->count = kept;
}

void sheet_copy(struct sheet *sheet, const struct sheet *from)
{
    for (size_t i = 0; i < from->count; i++)
        add_sample(sheet, from->samples[i].metric, mem_string(from->samples[i].labels), from->samples[i].part,
                   from->samples[i].value);
}
