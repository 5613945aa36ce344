/* status_cost.c: what the deployment asks services for, and what that costs by a list of prices. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/map.h"
#include "base/mem.h"
#include "admin/status.h"
#include "conf/target_type.h"

#define DAY_MS (24 * 3600 * (int64_t)1000)
#define GIB 1073741824.0

struct cost_line {
    char *what; /* "stream s: GetRecords" */
    double count, price;
    double unit; /* what the price is of: a million, or the bytes of a GiB */
};

struct cost {
    const struct config *config;
    struct map sums; /* series -> double, owned */
    struct span {
        int64_t from_ms, to_ms;
    } * spans;
    size_t span_count, span_capacity;
    int64_t since_ms; /* older days do not count */
    struct cost_line *lines;
    size_t line_count, line_capacity;
    double records;
};

/* The label's value in `name="value",...`; to be freed, NULL: it is not there. */
static char *label(const char *labels, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = labels; *at;) {
        const char *value = strchr(at, '"');
        if (!value)
            return NULL;
        struct buf out = BUF_INIT;
        const char *end = value + 1;
        for (; *end && *end != '"'; end++) {
            end += *end == '\\' && end[1];
            buf_add_char(&out, *end);
        }
        if ((size_t)(value - 1 - at) == size && strncmp(at, name, size) == 0) {
            buf_add_text(&out, "");
            return buf_take(&out);
        }
        buf_fini(&out);
        at = *end ? end + 1 : end;
        at += *at == ',';
    }
    return NULL;
}

/* ---- adding up ---- */

static void add_counts(struct cost *cost, const cJSON *counts)
{
    const cJSON *count;
    cJSON_ArrayForEach(count, counts)
    {
        double *sum = map_get(&cost->sums, count->string);
        if (!cJSON_IsNumber(count))
            continue;
        if (!sum) {
            sum = mem_zero(sizeof *sum);
            map_set(&cost->sums, count->string, sum);
        }
        *sum += count->valuedouble;
    }
}

static void add_usage(struct cost *cost, const struct store_usage *usage)
{
    cJSON *root = document_read(usage->text, strlen(usage->text), NULL);
    int64_t from_ms = document_integer(root, "from_ms", 0), to_ms = document_integer(root, "to_ms", 0);
    if (to_ms > from_ms && to_ms >= cost->since_ms) {
        mem_grow(&cost->spans, &cost->span_capacity, cost->span_count, sizeof *cost->spans);
        cost->spans[cost->span_count++] = (struct span){from_ms, to_ms};
        add_counts(cost, document_get(root, "counts"));
    }
    cJSON_Delete(root);
}

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

/* The time in which anything ran: what several hosts did at once is one time. */
static int64_t observed_ms(struct cost *cost)
{
    int64_t sum = 0, end = 0;
    if (cost->span_count)
        qsort(cost->spans, cost->span_count, sizeof *cost->spans, by_begin);
    for (size_t i = 0; i < cost->span_count; i++) {
        int64_t from = cost->spans[i].from_ms > end ? cost->spans[i].from_ms : end;
        if (cost->spans[i].to_ms > from)
            sum += cost->spans[i].to_ms - from;
        end = cost->spans[i].to_ms > end ? cost->spans[i].to_ms : end;
    }
    return sum;
}

/* Takes `what`. Lines of one name are one. */
static void add_line(struct cost *cost, char *what, double count, double price, double unit)
{
    for (size_t i = 0; i < cost->line_count; i++)
        if (strcmp(cost->lines[i].what, what) == 0) {
            cost->lines[i].count += count;
            free(what);
            return;
        }
    mem_grow(&cost->lines, &cost->line_capacity, cost->line_count, sizeof *cost->lines);
    cost->lines[cost->line_count++] = (struct cost_line){what, count, price, unit};
}

static void add_target(struct cost *cost, const char *metric, const char *name, double count)
{
    static const struct {
        enum price_unit unit;
        const char *metric, *what;
    } known[] = {{PRICE_REQUESTS, "tidemill_target_requests_total", "requests"},
                 {PRICE_MESSAGES, "tidemill_target_messages_total", "messages"},
                 {PRICE_BYTES, "tidemill_target_bytes_total", "bytes"}};
    const struct config_target *target = name ? config_target(cost->config, name) : NULL;
    if (!target || !target->type)
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].metric, metric) == 0 &&
            (target->type->paid == known[i].unit || (!target->type->paid && known[i].unit == PRICE_REQUESTS)))
            add_line(cost, mem_printf("target %s: %s", name, known[i].what), count,
                     config_price(cost->config, target->type->name),
                     target->type->paid == PRICE_BYTES ? GIB : 1e6);
}

static void add_series(struct cost *cost, const char *series, double count)
{
    char *metric = mem_copy(series, strcspn(series, " "));
    const char *labels = series + strlen(metric) + (series[strlen(metric)] == ' ');
    char *stream = label(labels, "stream"), *handler = label(labels, "handler"),
         *table = label(labels, "table"), *kind = label(labels, "kind"), *target = label(labels, "target");
    if (strcmp(metric, "tidemill_get_records_total") == 0 && stream)
        add_line(cost, mem_printf("stream %s: GetRecords", stream), count,
                 config_price(cost->config, CONFIG_PRICE_STREAM), 1e6);
    else if (strcmp(metric, "tidemill_read_records_total") == 0)
        cost->records += count;
    else if (strcmp(metric, "tidemill_capacity_units_total") == 0 && handler && table && kind)
        add_line(
            cost, mem_printf("handler %s, table %s: %s units", handler, table, kind), count,
            config_price(cost->config, strcmp(kind, "read") == 0 ? CONFIG_PRICE_READ : CONFIG_PRICE_WRITE),
            1e6);
    else
        add_target(cost, metric, target, count);
    free(metric);
    free(stream);
    free(handler);
    free(table);
    free(kind);
    free(target);
}

static int by_what(const void *a, const void *b)
{
    const struct cost_line *x = a, *y = b;
    return strcmp(x->what, y->what);
}

static void add_up(struct cost *cost, const struct store_snapshot *snapshot)
{
    const char *series;
    size_t at = 0;
    for (size_t i = 0; i < snapshot->usage_count; i++)
        add_usage(cost, &snapshot->usage[i]);
    for (const double *sum; (sum = map_next(&cost->sums, &at, &series));)
        add_series(cost, series, *sum);
    if (cost->line_count)
        qsort(cost->lines, cost->line_count, sizeof *cost->lines, by_what);
}

static void cost_fini(struct cost *cost)
{
    size_t at = 0;
    for (double *sum; (sum = map_next(&cost->sums, &at, NULL));)
        free(sum);
    map_fini(&cost->sums);
    for (size_t i = 0; i < cost->line_count; i++)
        free(cost->lines[i].what);
    free(cost->lines);
    free(cost->spans);
}

/* ---- showing it ---- */

static double amount(const struct cost_line *line)
{
    return line->count / line->unit * line->price;
}

static const char *currency(const struct cost *cost)
{
    return cost->config->currency ? cost->config->currency : "USD";
}

static void add_money(struct buf *out, double sum)
{
    if (sum >= 1)
        buf_printf(out, " %12.2f", sum);
    else
        buf_printf(out, " %12.6f", sum);
}

static void add_text_line(const struct cost *cost, const char *what, double count, double sum, double days,
                          struct buf *out)
{
    buf_printf(out, "%-48s", what);
    if (count >= 0)
        buf_printf(out, " %14.0f", count / days);
    else
        buf_printf(out, " %14s", "");
    add_money(out, sum / days);
    add_money(out, sum / days * 30);
    if (cost->records > 0)
        add_money(out, sum / cost->records * 1e6);
    else
        buf_printf(out, " %12s", "-");
    buf_add_char(out, '\n');
}

static void write_text(struct cost *cost, double days, struct buf *out)
{
    double sum = 0;
    buf_printf(out, "%.0f records read in %.1f hours that a host ran, of the last days; in %s\n\n",
               cost->records, days * 24, currency(cost));
    buf_printf(out, "%-48s %14s %12s %12s %12s\n", "WHAT", "A DAY", "COST/DAY", "COST/MONTH", "PER MILLION");
    for (size_t i = 0; i < cost->line_count; i++) {
        add_text_line(cost, cost->lines[i].what, cost->lines[i].count, amount(&cost->lines[i]), days, out);
        sum += amount(&cost->lines[i]);
    }
    add_text_line(cost, "all of it", -1, sum, days, out);
    buf_add_text(
        out, "\nA month has 30 days; the last column is of a million records read. The prices are those of "
             "[prices] in\nthe INI, or of us-east-1. What a state in DynamoDB costs is not in it.\n");
}

static void write_json(struct cost *cost, double days, struct buf *out)
{
    cJSON *root = cJSON_CreateObject(), *lines;
    double sum = 0;
    document_add_text(root, "currency", currency(cost));
    cJSON_AddNumberToObject(root, "days", days);
    cJSON_AddNumberToObject(root, "records", cost->records);
    lines = cJSON_AddArrayToObject(root, "lines");
    for (size_t i = 0; i < cost->line_count; i++) {
        const struct cost_line *line = &cost->lines[i];
        cJSON *one = cJSON_CreateObject();
        document_add_text(one, "what", line->what);
        cJSON_AddNumberToObject(one, "count", line->count);
        cJSON_AddNumberToObject(one, "price", line->price);
        cJSON_AddNumberToObject(one, "per", line->unit);
        cJSON_AddNumberToObject(one, "cost", amount(line));
        cJSON_AddItemToArray(lines, one);
        sum += amount(line);
    }
    cJSON_AddNumberToObject(root, "cost", sum);
    cJSON_AddNumberToObject(root, "cost_day", days > 0 ? sum / days : 0);
    cJSON_AddNumberToObject(root, "cost_month", days > 0 ? sum / days * 30 : 0);
    cJSON_AddNumberToObject(root, "cost_million_records", cost->records > 0 ? sum / cost->records * 1e6 : 0);
    document_write(root, out);
}

void status_write_cost(const struct config *config, const struct store_snapshot *snapshot, int64_t now_ms,
                       int64_t days_back, bool json, struct buf *out)
{
    int64_t days_kept = days_back < 1 ? 1 : days_back < STORE_USAGE_DAYS ? days_back : STORE_USAGE_DAYS;
    struct cost cost = {.config = config, .since_ms = now_ms - days_kept * DAY_MS};
    add_up(&cost, snapshot);
    double days = (double)observed_ms(&cost) / (double)DAY_MS;
    if (json)
        write_json(&cost, days, out);
    else if (days <= 0)
        buf_add_text(
            out, "nothing was counted yet: a host counts from its start, and keeps it after a few seconds\n");
    else
        write_text(&cost, days, out);
    cost_fini(&cost);
}
