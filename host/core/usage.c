/* usage.c: see usage.h. */
#include "core/usage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/document.h"
#include "base/map.h"
#include "base/mem.h"
#include "stats/metrics.h"

#define FIRST_MS 5000
#define EVERY_MS 60000
#define DAY_SIZE 16

struct usage {
    struct usage_options options;
    struct timer timer;
    char day[DAY_SIZE];
    int64_t from_ms;    /* wall clock: since when it is counted, of this day */
    struct map counted; /* series -> double, owned: before that */
};

static struct reactor *reactor_of(const struct usage *usage)
{
    return worker_reactor(usage->options.worker);
}

static void day_of(int64_t ms, char day[DAY_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(day, DAY_SIZE, "%Y-%m-%d", &tm);
}

static bool is_counted(const struct sample *sample)
{
    static const char *const names[] = {"tidemill_get_records_total",    "tidemill_read_records_total",
                                        "tidemill_capacity_units_total", "tidemill_target_requests_total",
                                        "tidemill_target_bytes_total",   "tidemill_target_messages_total",
                                        "tidemill_records_total"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(sample->metric, names[i]) == 0)
            return sample->value > 0;
    return false;
}

static double before(const struct usage *usage, const char *series)
{
    const double *count = map_get(&usage->counted, series);
    return count ? *count : 0;
}

static char *series_of(const struct sample *sample)
{
    return mem_printf("%s %s", sample->metric, sample->labels);
}

/* Of this day until now. */
static char *write_text(const struct usage *usage, const struct sheet *sheet, int64_t now_ms)
{
    cJSON *root = cJSON_CreateObject();
    document_add_integer(root, "from_ms", usage->from_ms);
    document_add_integer(root, "to_ms", now_ms);
    cJSON *counts = cJSON_AddObjectToObject(root, "counts");
    for (size_t i = 0; i < sheet->count; i++) {
        if (!is_counted(&sheet->samples[i]))
            continue;
        char *series = series_of(&sheet->samples[i]);
        double count = sheet->samples[i].value - before(usage, series);
        if (count > 0)
            cJSON_AddNumberToObject(counts, series, round(count * 1000) / 1000);
        free(series);
    }
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static void forget_counted(struct usage *usage)
{
    size_t at = 0;
    for (double *count; (count = map_next(&usage->counted, &at, NULL));)
        free(count);
    map_fini(&usage->counted);
    usage->counted = MAP_INIT;
}

/* From here on it is another day. */
static void begin_day(struct usage *usage, const struct sheet *sheet, const char *day, int64_t now_ms)
{
    forget_counted(usage);
    for (size_t i = 0; i < sheet->count; i++) {
        if (!is_counted(&sheet->samples[i]))
            continue;
        char *series = series_of(&sheet->samples[i]);
        double *count = mem_alloc(sizeof *count);
        *count = sheet->samples[i].value;
        free(map_remove(&usage->counted, series));
        map_set(&usage->counted, series, count);
        free(series);
    }
    memcpy(usage->day, day, sizeof usage->day);
    usage->from_ms = now_ms;
}

static void put(struct usage *usage, store_done_fn *done, void *user)
{
    int64_t now_ms = clock_wall_ms(reactor_clock(reactor_of(usage)));
    struct sheet sheet = board_read(usage->options.board);
    char day[DAY_SIZE], *text = write_text(usage, &sheet, now_ms);
    struct store_batch *batch = store_batch_new();
    store_put_usage(batch, &(struct store_usage){usage->day, usage->options.instance, text});
    store_commit(worker_store(usage->options.worker), batch, done, user);
    day_of(now_ms, day);
    if (strcmp(day, usage->day) != 0)
        begin_day(usage, &sheet, day, now_ms);
    sheet_fini(&sheet);
    cJSON_free(text);
}

static void on_timer(void *user)
{
    struct usage *usage = user;
    put(usage, NULL, NULL);
    timer_set(reactor_of(usage), &usage->timer, EVERY_MS);
}

struct usage *usage_new(const struct usage_options *options)
{
    struct usage *usage = mem_zero(sizeof *usage);
    usage->options = *options;
    usage->from_ms = clock_wall_ms(reactor_clock(reactor_of(usage)));
    day_of(usage->from_ms, usage->day);
    timer_init(&usage->timer, on_timer, usage);
    timer_set(reactor_of(usage), &usage->timer, FIRST_MS);
    return usage;
}

void usage_stop(struct usage *usage, store_done_fn *done, void *user)
{
    timer_stop(reactor_of(usage), &usage->timer);
    put(usage, done, user);
}

void usage_free(struct usage *usage)
{
    if (!usage)
        return;
    timer_stop(reactor_of(usage), &usage->timer);
    forget_counted(usage);
    free(usage);
}
