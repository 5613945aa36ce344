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

static void add_sample(struct sheet *sheet, const char *metric, char *labels, double value)
{
    mem_grow(&sheet->samples, &sheet->capacity, sheet->count, sizeof *sheet->samples);
    sheet->samples[sheet->count++] = (struct sample){metric, labels, value};
}

void sheet_add(struct sheet *sheet, const char *metric, double value, ...)
{
    struct buf labels = BUF_INIT;
    va_list pairs;
    va_start(pairs, value);
    for (const char *name; (name = va_arg(pairs, const char *));) {
        buf_printf(&labels, "%s%s=\"", labels.size ? "," : "", name);
        add_escaped(&labels, va_arg(pairs, const char *));
        buf_add_char(&labels, '"');
    }
    va_end(pairs);
    buf_add(&labels, "", 0);
    add_sample(sheet, metric, buf_take(&labels), value);
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
    return order ? order : strcmp(x->labels, y->labels);
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
        add_sample(sheet, from->samples[i].metric, mem_string(from->samples[i].labels),
                   from->samples[i].value);
}
