/* gauges.c: see gauges.h. */
#include "core/gauges.h"

#include <stdlib.h>
#include <string.h>

#include "aws/brake.h"
#include "base/map.h"
#include "base/mem.h"
#include "source/snapshot/progress.h"

#define LOOK_MS 1000
#define LOOK_STARTING_MS 100 /* until it is ready */
/* Counting letters is one row of a file for each shard; where hosts share a table, it reads all of them. */
#define COUNT_LETTERS_MS 10000
#define COUNT_SHARED_LETTERS_MS (10 * 60 * 1000)

/* Where tables are read, how far that is: likewise, but only meanwhile. */
#define COUNT_ITEMS_MS 5000
#define COUNT_SHARED_ITEMS_MS (60 * 1000)
#define ESTIMATE_AFTER_MS 30000 /* before that an estimate is worth no warning */

struct gauges {
    struct gauges_options options;
    struct timer look, count, items;
    struct sheet letters; /* as last counted */
    struct sheet copied;  /* likewise */
    struct map late;      /* snapshots that a trouble is told of */
    int64_t taken, refused;
    bool refuses; /* the INI that was last read was not taken over */
    bool stopping;
    bool warned; /* of pauses; and when, monotonic */
    int64_t warned_ms;
    char *reason; /* why it is not ready, as told; NULL: it is */
};

static struct reactor *reactor_of(const struct gauges *gauges)
{
    return worker_reactor(gauges->options.worker);
}

/* ---- dead letters ---- */

static void count_letters(void *user);

static void on_letters(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct gauges *gauges = user;
    if (err && err->code == ERR_CANCELLED)
        return;
    timer_set(reactor_of(gauges), &gauges->count,
              gauges->options.group ? COUNT_SHARED_LETTERS_MS : COUNT_LETTERS_MS);
    if (!snapshot)
        return; /* the number before is the last that is known */
    sheet_fini(&gauges->letters);
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        sheet_add(&gauges->letters, "tidemill_dead_letters", (double)store_sum_dead(snapshot, &i), "handler",
                  handler, NULL);
    }
    store_snapshot_free(snapshot);
}

/* One host counts for all. */
static void count_letters(void *user)
{
    struct gauges *gauges = user;
    if (!gauges->options.group || group_leads(gauges->options.group)) {
        store_load(worker_store(gauges->options.worker), &(struct store_query){.what = STORE_DEAD},
                   on_letters, gauges);
        return;
    }
    sheet_fini(&gauges->letters);
    timer_set(reactor_of(gauges), &gauges->count, COUNT_LETTERS_MS);
}

/* ---- snapshots ---- */

/* What was written since it was taken must still be in the stream when it ends. */
static bool is_late(const struct snapshot_progress *one, int64_t now_ms)
{
    return one->left_ms >= 0 && now_ms - one->begun_ms >= ESTIMATE_AFTER_MS &&
           now_ms + one->left_ms >= one->taken_ms + SOURCE_RETENTION_MS;
}

/* "HANDLER\nsnapshot of TABLE": whose trouble it is, and of which kind. */
static void tell_late(struct gauges *gauges, const struct snapshot_progress *one)
{
    char *key = mem_printf("%s\nsnapshot of %s", one->handler, one->table);
    char *subject = mem_printf("handler %s", one->handler);
    char *text = mem_printf(
        "what table %s holds takes about %lld h more, and the stream keeps what is written meanwhile for 24: "
        "the "
        "first of that is lost before the handler comes to it. %s",
        one->table, (long long)(one->left_ms / 3600000 + 1),
        one->exported
            ? "Raise concurrency, or begin with a newer export"
            : "Raise snapshot_units and concurrency, or begin with an export of the table (export = "
              "s3://...)");
    map_set(&gauges->late, key, gauges);
    troubles_tell(worker_troubles(gauges->options.worker), subject, strchr(key, '\n') + 1, text);
    free(key);
    free(subject);
    free(text);
}

/* Those that were late, and are not any more, or are over. */
static void end_late(struct gauges *gauges, const struct snapshot_progress *list, size_t count,
                     int64_t now_ms)
{
    const char *key;
    size_t at = 0;
    while (map_next(&gauges->late, &at, &key)) {
        bool still = false;
        for (size_t i = 0; i < count && !still; i++) {
            char *own = mem_printf("%s\nsnapshot of %s", list[i].handler, list[i].table);
            still = strcmp(own, key) == 0 && is_late(&list[i], now_ms);
            free(own);
        }
        if (still)
            continue;
        char *subject = mem_printf("handler %.*s", (int)strcspn(key, "\n"), key);
        troubles_end(worker_troubles(gauges->options.worker), subject, strchr(key, '\n') + 1);
        free(subject);
        map_remove(&gauges->late, key);
        at = 0; /* removal moves slots */
    }
}

static void add_snapshot(struct gauges *gauges, const struct snapshot_progress *one)
{
    struct sheet *sheet = &gauges->copied;
    sheet_add(sheet, "tidemill_snapshot_items", (double)one->items, "handler", one->handler, "table",
              one->table, NULL);
    sheet_add(sheet, "tidemill_snapshot_items_expected", (double)one->items_all, "handler", one->handler,
              "table", one->table, NULL);
    if (one->left_ms >= 0)
        sheet_add(sheet, "tidemill_snapshot_left_seconds", (double)one->left_ms / 1000, "handler",
                  one->handler, "table", one->table, NULL);
}

static void on_items(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct gauges *gauges = user;
    struct snapshot_progress *list;
    int64_t now_ms = clock_wall_ms(reactor_clock(reactor_of(gauges)));
    if (err && err->code == ERR_CANCELLED)
        return;
    timer_set(reactor_of(gauges), &gauges->items,
              gauges->options.group ? COUNT_SHARED_ITEMS_MS : COUNT_ITEMS_MS);
    if (!snapshot)
        return;
    sheet_fini(&gauges->copied);
    size_t count = snapshot_progress_read(snapshot, now_ms, &list);
    for (size_t i = 0; i < count; i++) {
        add_snapshot(gauges, &list[i]);
        if (is_late(&list[i], now_ms))
            tell_late(gauges, &list[i]);
    }
    end_late(gauges, list, count, now_ms);
    store_snapshot_free(snapshot);
}

static void count_items(void *user)
{
    struct gauges *gauges = user;
    bool leads = !gauges->options.group || group_leads(gauges->options.group);
    if (leads && (gauges->copied.count || streams_any_snapshot(gauges->options.streams))) {
        store_load(worker_store(gauges->options.worker), &(struct store_query){.what = STORE_ALL}, on_items,
                   gauges);
        return;
    }
    sheet_fini(&gauges->copied);
    end_late(gauges, NULL, 0, 0); /* over, or another host looks */
    timer_set(reactor_of(gauges), &gauges->items, COUNT_ITEMS_MS);
}

/* ---- metrics ---- */

static void add_reloads(const struct gauges *gauges, struct sheet *sheet)
{
    static const char metric[] = "tidemill_reloads_total";
    struct reloads reloads = reloader_counts(gauges->options.reloader);
    sheet_add(sheet, metric, (double)reloads.taken, "what", "handler", "result", "taken", NULL);
    sheet_add(sheet, metric, (double)reloads.refused, "what", "handler", "result", "refused", NULL);
    sheet_add(sheet, metric, (double)gauges->taken, "what", "ini", "result", "taken", NULL);
    sheet_add(sheet, metric, (double)gauges->refused, "what", "ini", "result", "refused", NULL);
    sheet_add(sheet, "tidemill_config_last_reload_successful", !reloads.broken && !gauges->refuses, NULL);
}

/* A limit is one over all hosts: each keeps to an equal part of it, whatever it has to do, so that a part is
 * never next to nothing. */
static void share_paces(const struct gauges *gauges, const struct coordinator_members *members)
{
    size_t hosts = members->running + members->sick + members->leaving;
    paces_set_share(gauges->options.paces, 1000000 / (int64_t)(hosts ? hosts : 1),
                    clock_monotonic_us(reactor_clock(reactor_of(gauges))));
}

static void add_table(void *user, const char *table, const struct brake_numbers *numbers)
{
    struct sheet *sheet = user;
    sheet_add(sheet, "tidemill_table_calls_in_flight", (double)numbers->in_flight, "table", table, NULL);
    sheet_add(sheet, "tidemill_table_slowed_total", (double)numbers->slowed, "table", table, NULL);
    if (numbers->calls_s > 0)
        sheet_add(sheet, "tidemill_table_limit_calls", numbers->calls_s, "table", table, NULL);
}

struct adding {
    struct sheet *sheet;
    int64_t now_ms; /* wall clock */
};

static void add_paused(void *user, const char *handler, int64_t since_ms)
{
    const struct adding *adding = user;
    double for_s = (double)(adding->now_ms - since_ms) / 1000;
    sheet_add(adding->sheet, "tidemill_paused_seconds", for_s > 0 ? for_s : 0, "handler", handler, NULL);
}

static void add_group(const struct group_numbers *numbers, struct sheet *sheet)
{
    static const char moves[] = "tidemill_lease_hand_overs_total", members[] = "tidemill_members";
    sheet_add(sheet, moves, (double)numbers->came, "direction", "in", NULL);
    sheet_add(sheet, moves, (double)numbers->went, "direction", "out", NULL);
    sheet_add(sheet, "tidemill_lease_left_seconds", numbers->left_s, NULL);
    sheet_add(sheet, members, (double)numbers->members.running, "state", "runs", NULL);
    sheet_add(sheet, members, (double)numbers->members.sick, "state", "sick", NULL);
    sheet_add(sheet, members, (double)numbers->members.leaving, "state", "leaves", NULL);
}

/* ---- pauses ---- */

/* At a quarter of the time for which the service keeps records, who forgot the pause must hear of it. */
#define WARN_AGAIN_MS (3600 * 1000)

static void warn_of_pause(void *user, const char *handler, int64_t since_ms)
{
    const struct gauges *gauges = user;
    int64_t left_ms = since_ms + SOURCE_RETENTION_MS - clock_wall_ms(reactor_clock(reactor_of(gauges)));
    if (left_ms > SOURCE_RETENTION_MS / 4)
        return;
    log_warn(gauges->options.log, NULL,
             left_ms > 0
                 ? "handler %s is still paused: what was written when that began is trimmed in %lld min "
                   "(tidemill resume %s)"
                 : "handler %s is still paused: what was written when that began is trimmed since %lld "
                   "min (tidemill resume %s)",
             handler, (long long)llabs(left_ms) / 60000, handler);
}

static void warn_of_pauses(struct gauges *gauges)
{
    int64_t now_ms = reactor_now_ms(reactor_of(gauges));
    if (gauges->warned && now_ms - gauges->warned_ms < WARN_AGAIN_MS)
        return;
    gauges->warned = true;
    gauges->warned_ms = now_ms;
    reloader_each_paused(gauges->options.reloader, warn_of_pause, gauges);
}

/* ---- is it ready? ---- */

/* In words, "" where it is. */
static void add_reason(const struct gauges *gauges, bool held, struct buf *out)
{
    if (gauges->stopping) {
        buf_add_text(out, "it stops"); /* until the worker writes that it has */
        return;
    }
    streams_unread(gauges->options.streams, out);
    if (out->size) {
        char *names = buf_take(out);
        buf_printf(out, "not read yet: stream %s", names);
        free(names);
    } else if (held) {
        buf_add_text(out, "it has no lease among the hosts that share the state");
    }
}

/* Takes it. */
static void tell_reason(struct gauges *gauges, struct buf *reason)
{
    struct troubles *troubles = worker_troubles(gauges->options.worker);
    char *text = reason->size ? buf_take(reason) : NULL;
    if (text && (!gauges->reason || strcmp(text, gauges->reason) != 0))
        troubles_tell(troubles, "host", TROUBLE_STARTING, text);
    else if (!text)
        troubles_end(troubles, "host", TROUBLE_STARTING);
    free(gauges->reason);
    gauges->reason = text;
    buf_fini(reason);
}

static void look(void *user)
{
    struct gauges *gauges = user;
    struct sheet sheet = {0};
    struct buf reason = BUF_INIT;
    struct group_numbers numbers = {0};
    add_reloads(gauges, &sheet);
    brakes_each(gauges->options.brakes, add_table, &sheet);
    if (gauges->options.group) {
        numbers = group_numbers(gauges->options.group);
        add_group(&numbers, &sheet);
        share_paces(gauges, &numbers.members);
        if (!group_leads(gauges->options.group))
            sheet_fini(&gauges->letters); /* another host counts for all */
        if (!group_leads(gauges->options.group))
            sheet_fini(&gauges->copied);
    }
    struct adding adding = {&sheet, clock_wall_ms(reactor_clock(reactor_of(gauges)))};
    reloader_each_paused(gauges->options.reloader, add_paused, &adding);
    sheet_copy(&sheet, &gauges->letters);
    sheet_copy(&sheet, &gauges->copied);
    board_put(gauges->options.board, gauges->options.place, &sheet);
    warn_of_pauses(gauges);
    add_reason(gauges, numbers.held, &reason);
    tell_reason(gauges, &reason);
    timer_set(reactor_of(gauges), &gauges->look, gauges->reason ? LOOK_STARTING_MS : LOOK_MS);
}

void gauges_stop(struct gauges *gauges)
{
    if (!gauges || gauges->stopping)
        return;
    gauges->stopping = true;
    board_put_reasons(gauges->options.board, gauges->options.place, "host: it stops\n");
    timer_set(reactor_of(gauges), &gauges->look, 0);
}

void gauges_count_ini(struct gauges *gauges, bool taken)
{
    gauges->refuses = !taken;
    gauges->taken += taken;
    gauges->refused += !taken;
}

struct gauges *gauges_new(const struct gauges_options *options)
{
    struct gauges *gauges = mem_zero(sizeof *gauges);
    gauges->options = *options;
    timer_init(&gauges->look, look, gauges);
    timer_init(&gauges->count, count_letters, gauges);
    timer_init(&gauges->items, count_items, gauges);
    board_put_reasons(options->board, options->place, ""); /* they are among the worker's */
    look(gauges);
    timer_set(reactor_of(gauges), &gauges->count, 0);
    timer_set(reactor_of(gauges), &gauges->items, COUNT_ITEMS_MS);
    return gauges;
}

void gauges_free(struct gauges *gauges)
{
    if (!gauges)
        return;
    timer_stop(reactor_of(gauges), &gauges->look);
    timer_stop(reactor_of(gauges), &gauges->count);
    timer_stop(reactor_of(gauges), &gauges->items);
    sheet_fini(&gauges->letters);
    sheet_fini(&gauges->copied);
    map_fini(&gauges->late);
    free(gauges->reason);
    free(gauges);
}
