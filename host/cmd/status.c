/* status.c: tidemill status: what the state store knows, beside a running host or without one. */
#include "admin/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arn.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "admin/access.h"
#include "state/store_open.h"

#define EVENTS_SHOWN 20
#define OUT_BYTES (64 << 10)

/* ---- for people ---- */

static void time_text(int64_t ms, char *text, size_t size)
{
    if (ms < 0)
        snprintf(text, size, "-");
    else if (ms < 1000)
        snprintf(text, size, "0s");
    else if (ms < 120 * 1000)
        snprintf(text, size, "%llds", (long long)ms / 1000);
    else if (ms < 120 * 60 * 1000)
        snprintf(text, size, "%lldm", (long long)ms / 60000);
    else
        snprintf(text, size, "%lldh", (long long)ms / 3600000);
}

struct colours {
    const char *bold, *red, *yellow, *plain;
};

static struct colours colours_of(FILE *out)
{
    return isatty(fileno(out)) && !getenv("NO_COLOR")
               ? (struct colours){"\033[1m", "\033[31m", "\033[33m", "\033[0m"}
               : (struct colours){"", "", "", ""};
}

/* ---- the table: as wide as what is in it, and no wider than the terminal ---- */

enum { COLUMN_HANDLER, COLUMN_TABLE, COLUMN_SHARD, COLUMN_CHECKPOINT, COLUMNS };
static const char *const titles[COLUMNS] = {"HANDLER", "TABLE", "SHARD", "CHECKPOINT"};

#define NUMBERS_WIDTH 42 /* of the columns behind those */
#define NARROWEST 12

static const char *column(const struct status_row *row, int which)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    return which == COLUMN_HANDLER                       ? checkpoint->handler
           : which == COLUMN_TABLE                       ? row->table
           : which == COLUMN_SHARD                       ? checkpoint->shard
           : checkpoint->position.kind == POSITION_AFTER ? checkpoint->position.sequence
                                                         : status_position_name(&checkpoint->position);
}

/* The segments are told together. */
static bool is_shown(const struct status_row *row)
{
    return row->dead || !row->segment;
}

/* Which one it is of goes without saying where there is one. */
static bool are_many_tables(const struct status *status)
{
    const char *first = NULL;
    for (size_t i = 0; i < status->row_count; i++) {
        const struct status_row *row = &status->rows[i];
        if (is_shown(row) && first && strcmp(first, row->table) != 0)
            return true;
        first = is_shown(row) ? row->table : first;
    }
    return false;
}

static void find_widths(const struct status *status, size_t widths[COLUMNS])
{
    bool tables = are_many_tables(status);
    size_t room = cmd_columns(), all = NUMBERS_WIDTH + COLUMNS - 1;
    for (int i = 0; i < COLUMNS; i++) {
        widths[i] = 0; /* it is not there */
        if (i == COLUMN_TABLE && !tables)
            continue;
        widths[i] = strlen(titles[i]);
        for (size_t j = 0; j < status->row_count; j++)
            if (is_shown(&status->rows[j]) && strlen(column(&status->rows[j], i)) > widths[i])
                widths[i] = strlen(column(&status->rows[j], i));
        all += widths[i];
    }
    while (room && all > room) {
        int widest = widths[COLUMN_SHARD] > widths[COLUMN_CHECKPOINT] ? COLUMN_SHARD : COLUMN_CHECKPOINT;
        widest = widths[widest] > NARROWEST ? widest : COLUMN_HANDLER;
        if (widths[widest] <= NARROWEST)
            return;
        widths[widest]--;
        all--;
    }
}

/* What does not fit loses its beginning: the end is where names of shards differ. */
static void add_cell(struct buf *line, const char *text, size_t width)
{
    size_t size = strlen(text);
    if (!width)
        return;
    if (size > width)
        buf_add_text(line, "…");
    buf_add_text(line, size > width ? text + size - width + 1 : text);
    for (size = size > width ? width : size; size <= width; size++)
        buf_add_char(line, ' ');
}

static void print_row(const struct status_row *row, const size_t widths[COLUMNS],
                      const struct colours *colours)
{
    const struct store_subscription *now = row->subscription;
    char lag[32], trimmed[32];
    const char *colour = row->dead || (row->trimmed_ms >= 0 && row->trimmed_ms < SOURCE_RETENTION_MS / 4)
                             ? colours->red
                         : row->idle || (now && (now->retrying || now->catching_up)) ? colours->yellow
                                                                                     : "";
    time_text(row->lag_ms, lag, sizeof lag);
    time_text(row->trimmed_ms, trimmed, sizeof trimmed);
    fputs(colour, stdout);
    struct buf line = BUF_INIT;
    for (int i = 0; i < COLUMNS; i++)
        add_cell(&line, column(row, i), widths[i]);
    cmd_print("%s%6s %6s %6lld %6lld %7lld %5lld%s", line.data, lag, trimmed,
              now ? (long long)now->in_flight : 0, now ? (long long)now->retrying : 0,
              now ? (long long)now->waiting : 0, (long long)row->dead,
              row->paused               ? "  paused"
              : row->idle               ? "  not running"
              : now && now->catching_up ? "  catching up"
                                        : "");
    buf_fini(&line);
    puts(*colour ? colours->plain : "");
}

static void print_titles(const size_t widths[COLUMNS], const struct colours *colours)
{
    fputs(colours->bold, stdout);
    struct buf line = BUF_INIT;
    for (int i = 0; i < COLUMNS; i++)
        add_cell(&line, titles[i], widths[i]);
    cmd_print("%s", line.data);
    buf_fini(&line);
    printf("%6s %6s %6s %6s %7s %5s%s\n", "LAG", "LEFT", "FLIGHT", "RETRY", "WAITING", "DEAD",
           colours->plain);
}

#define BAR_WIDTH 20

static void print_snapshots(const struct status *status, const struct colours *colours)
{
    static const char full[] = "====================";
    for (size_t i = 0; i < status->snapshot_count; i++) {
        const struct snapshot_progress *row = &status->snapshots[i];
        int64_t all = row->items > row->items_all ? row->items : row->items_all;
        int part = all ? (int)(row->items * BAR_WIDTH / all) : 0;
        char left[32];
        time_text(row->left_ms, left, sizeof left);
        printf("%s%s", i ? "" : "\n", colours->bold);
        cmd_print("handler %s: snapshot of %s [%.*s%*s] %lld of about %lld items, %lld of %lld segments",
                  row->handler, row->table, part, full, BAR_WIDTH - part, "", (long long)row->items,
                  (long long)all, (long long)row->finished, (long long)row->segments);
        if (row->left_ms >= 0)
            printf(", %s left", left);
        puts(colours->plain);
    }
}

static void print_rows(const struct status *status, const struct colours *colours)
{
    const struct store_snapshot *snapshot = status->snapshot;
    size_t widths[COLUMNS];
    find_widths(status, widths);
    size_t shown = 0;
    for (size_t i = 0; i < status->row_count; i++) {
        if (!is_shown(&status->rows[i]))
            continue;
        if (!shown++)
            print_titles(widths, colours);
        print_row(&status->rows[i], widths, colours);
    }
    if (!shown && !status->snapshot_count)
        puts("no checkpoint yet");
    print_snapshots(status, colours);
    for (size_t i = 0, told = 0; i < snapshot->shard_count; i++)
        if (!snapshot_of_arn(snapshot->shards[i].stream_arn))
            cmd_print("%sshard %s: %lld records in %lld GetRecords calls\n", told++ ? "" : "\n",
                      snapshot->shards[i].shard, (long long)snapshot->shards[i].records,
                      (long long)snapshot->shards[i].get_records_calls);
    for (size_t i = 0; i < snapshot->handler_count; i++) {
        char time[CLOCK_ISO_SIZE];
        clock_iso8601(snapshot->handlers[i].loaded_ms, time);
        const char *session = snapshot->handlers[i].session;
        cmd_print("%shandler %s%s%s: version %s since %s\n", i ? "" : "\n", snapshot->handlers[i].handler,
                  session ? " on host " : "", session ? status_session_name(session).text : "",
                  snapshot->handlers[i].version, time);
    }
}

/* One line each, whatever a service or a script has said. */
static void print_line(const char *text)
{
    char *line = mem_string(text);
    for (char *at = line; (at = strpbrk(at, "\n\t"));)
        *at = ' ';
    cmd_print("%s", line);
    free(line);
}

static void print_troubles(const struct status *status, const struct colours *colours)
{
    for (size_t i = 0; i < status->trouble_count; i++) {
        const struct store_trouble *row = &status->troubles[i];
        char since[32];
        time_text(status_age(status->now_ms, row->since_ms), since, sizeof since);
        printf("%s%s", i ? "" : "\n", colours->red);
        cmd_print("%s: for %s", row->subject, since);
        if (row->count > 1)
            printf(", %lld times", (long long)row->count);
        printf(": ");
        print_line(row->text);
        printf("%s\n", colours->plain);
    }
}

static void print_events(const struct store_snapshot *snapshot, const struct colours *colours)
{
    for (size_t i = 0; i < snapshot->event_count && i < EVENTS_SHOWN; i++) {
        const struct store_event *row = &snapshot->events[i];
        char time[CLOCK_ISO_SIZE];
        clock_iso8601(row->time_ms, time);
        printf("%s%s", i ? "" : "\n", colours->red);
        cmd_print("%s %s: handler %s, shard %s: ", time, row->kind, row->handler, row->shard);
        print_line(row->text);
        cmd_print(" (after %s, before %s)", *row->from_sequence ? row->from_sequence : "-",
                  *row->to_sequence ? row->to_sequence : "-");
        puts(colours->plain);
    }
    if (snapshot->event_count > EVENTS_SHOWN)
        printf("%sand %zu more (status --json has them all)%s\n", colours->red,
               snapshot->event_count - EVENTS_SHOWN, colours->plain);
    if (snapshot->event_count)
        puts("(tidemill dead drop --gaps: they were seen)");
}

static void print_host(const struct status *status, const struct colours *colours)
{
    const struct store_host *host = status->host;
    char since[CLOCK_ISO_SIZE];
    if (!status->running) {
        printf("%s\nno host is running on this state: all is as the last one left it%s\n", colours->yellow,
               colours->plain);
    } else if (host) {
        clock_iso8601(host->started_ms, since);
        cmd_print("\nhost %s: version %s, runs since %s", host->instance, host->version, since);
        if (host->longest_step_ms)
            cmd_print("; longest step %lld ms (%s)", (long long)host->longest_step_ms, host->longest_step);
        puts("");
    }
}

static void print_paused(const struct status *status, const struct colours *colours)
{
    const struct store_request *pause;
    for (size_t i = 0; (pause = status_next_pause(status, &i));) {
        char since[CLOCK_ISO_SIZE];
        clock_iso8601(pause->created_ms, since);
        printf("\n%s", colours->yellow);
        cmd_print("handler %s is paused since %s", pause->handler, since);
        if (*pause->argument) {
            printf(": ");
            print_line(pause->argument);
        }
        printf("%s\n", colours->plain);
    }
}

static void print_members(const struct status *status, const struct colours *colours)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct store_member *row = &snapshot->members[i];
        char since[CLOCK_ISO_SIZE], beat[32];
        bool runs = row->state != MEMBER_LEFT && row->state != MEMBER_DEAD;
        clock_iso8601(row->since_ms, since);
        time_text(row->beat_ms ? status_age(status->now_ms, row->beat_ms) : -1, beat, sizeof beat);
        if (!i)
            printf("\n%s%-24s %-7s %6s %10s %8s %6s  %-24s %s%s\n", colours->bold, "HOST", "STATE", "SHARDS",
                   "RECORDS/S", "REACTORS", "BEAT", "SINCE", "VERSION", colours->plain);
        fputs(runs ? "" : colours->yellow, stdout);
        cmd_print("%-24s %-7s %6lld %10.1f %8lld %6s  %-24s %s", status_session_name(row->session).text,
                  status_member_states[row->state], runs ? (long long)row->shards : 0,
                  runs ? row->records_s : 0, (long long)row->reactors, beat, *row->version ? since : "-",
                  row->version);
        puts(runs ? "" : colours->plain);
    }
}

static void print_owners(const struct status *status)
{
    for (size_t i = 0; i < status->snapshot->owner_count; i++) {
        const struct store_owner *row = &status->snapshot->owners[i];
        cmd_print("%sshard %s: %s%s, epoch %lld\n", i ? "" : "\n", row->shard,
                  *row->session ? "host " : "no host yet", status_session_name(row->session).text,
                  (long long)row->epoch);
    }
}

static void print_hand_overs(const struct status *status, const struct colours *colours)
{
    for (size_t i = 0; i < status->snapshot->hand_over_count; i++) {
        const struct store_hand_over *row = &status->snapshot->hand_overs[i];
        char since[32];
        time_text(status_age(status->now_ms, row->since_ms), since, sizeof since);
        printf("%s%s", i ? "" : "\n", colours->yellow);
        cmd_print("shard %s: host %s gives it to %s", row->shard, status_session_name(row->from).text,
                  *row->to ? status_session_name(row->to).text : "another");
        if (row->since_ms)
            printf(", since %s", since);
        puts(colours->plain);
    }
}

static void print_text(const struct status *status)
{
    const struct store_snapshot *snapshot = status->snapshot;
    struct colours colours = colours_of(stdout);
    print_rows(status, &colours);
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        int64_t count = store_sum_dead(snapshot, &i);
        printf("%s%s: %lld dead letter%s (tidemill dead list)%s\n", colours.red, handler, (long long)count,
               count == 1 ? "" : "s", colours.plain);
    }
    print_paused(status, &colours);
    print_owners(status);
    print_hand_overs(status, &colours);
    print_members(status, &colours);
    print_troubles(status, &colours);
    print_events(snapshot, &colours);
    print_host(status, &colours);
}

/* ---- the command ---- */

/* What is asked of it. */
struct arguments {
    const char *config_path;
    bool json, check, cost;
    int64_t max_lag_ms, max_dead, max_trouble_ms;
    const char *wait; /* "ready" */
    int64_t timeout_ms;
    int64_t days;
};

static void print_unready(const struct status *status)
{
    struct colours colours = colours_of(stdout);
    struct problems unready = PROBLEMS_INIT;
    if (status->running)
        status_add_unready(status, &unready);
    for (size_t i = 0; i < unready.count; i++) {
        printf("%s%snot ready: ", i ? "" : "\n", colours.yellow);
        print_line(unready.lines[i]);
        printf("%s\n", colours.plain);
    }
    problems_fini(&unready);
}

/* With --check: a line for each thing that is not well. */
static bool print_problems(const struct problems *problems)
{
    struct colours colours = colours_of(stdout);
    for (size_t i = 0; i < problems->count; i++) {
        fputs(colours.red, stdout);
        print_line(problems->lines[i]);
        printf("%s\n", colours.plain);
    }
    if (!problems->count)
        puts("well");
    return !problems->count;
}

static void print_json(const struct status *status, const struct problems *problems)
{
    struct buf text = BUF_INIT;
    status_write_json(status, problems, &text);
    puts(text.data);
    buf_fini(&text);
}

static bool print_checked(const struct status *status, const struct arguments *arguments)
{
    const struct status_limits limits = {arguments->max_lag_ms, arguments->max_dead,
                                         arguments->max_trouble_ms};
    struct problems problems = PROBLEMS_INIT;
    status_add_problems(status, &limits, &problems);
    if (arguments->json)
        print_json(status, &problems);
    bool well = arguments->json ? !problems.count : print_problems(&problems);
    problems_fini(&problems);
    return well;
}

/* False: something is not as it was asked for; true where nothing was. */
static bool print_status(const struct status *status, const struct arguments *arguments)
{
    if (arguments->check)
        return print_checked(status, arguments);
    static char out[OUT_BYTES]; /* stdout's until the end */
    setvbuf(stdout, out, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, sizeof out);
    if (arguments->json) {
        print_json(status, NULL);
    } else {
        print_text(status);
        print_unready(status);
    }
    return true;
}

static void tell_wait(bool begins)
{
    if (isatty(STDERR_FILENO))
        fputs(begins ? "waiting for a host to answer ..." : "\r\033[K", stderr);
}

/* `use` gets what there is; false of it, or when there is nothing and `err` says why. */
static bool with_status(const struct config *config,
                        bool (*use)(const struct status *status, const struct arguments *arguments),
                        const struct arguments *arguments, struct err *err)
{
    struct status status = {0};
    struct access access;
    bool ok =
        access_open(&access, config, true, err) && status_load(&status, &access, config, tell_wait, err);
    if (status.unasked.code != ERR_NONE)
        cmd_complain("warning: the hosts cannot be asked: %s", status.unasked.text);
    ok = ok && use(&status, arguments);
    status_fini(&status);
    access_close(&access);
    return ok;
}

/* ---- waiting ---- */

#define WAIT_LOOK_MS 250

static bool is_ready(const struct status *status, const struct arguments *arguments)
{
    struct problems unready = PROBLEMS_INIT;
    (void)arguments;
    status_add_unready(status, &unready);
    bool ready = !unready.count;
    problems_fini(&unready);
    return ready;
}

static bool tell_unready(const struct status *status, const struct arguments *arguments)
{
    struct problems unready = PROBLEMS_INIT;
    status_add_unready(status, &unready);
    for (size_t i = 0; i < unready.count; i++)
        cmd_complain("%s", unready.lines[i]);
    if (unready.count)
        cmd_complain("not ready after %lld s", (long long)arguments->timeout_ms / 1000);
    bool ready = !unready.count;
    problems_fini(&unready);
    return ready;
}

/* A state that is not there yet, or that nobody can read just now, may be later. */
static bool wait_until_ready(const struct config *config, const struct arguments *arguments)
{
    struct clock clock = clock_system();
    int64_t until_ms = clock_monotonic_ms(&clock) + arguments->timeout_ms;
    struct err err = {0};
    while (clock_monotonic_ms(&clock) < until_ms) {
        if (with_status(config, is_ready, arguments, &err)) {
            puts("ready");
            return true;
        }
        nanosleep(&(struct timespec){0, WAIT_LOOK_MS * 1000000}, NULL);
    }
    err = (struct err){0};
    bool ready = with_status(config, tell_unready, arguments, &err);
    if (err.code != ERR_NONE)
        cmd_complain("not ready after %lld s: %s", (long long)arguments->timeout_ms / 1000, err.text);
    else if (ready)
        puts("ready");
    return ready;
}

/* ---- what it costs ---- */

static bool print_cost(const struct config *config, const struct arguments *arguments, struct err *err)
{
    struct access state;
    bool ok = access_open(&state, config, true, err);
    struct store_snapshot *snapshot =
        ok ? access_load(&state, &(struct store_query){.what = STORE_USAGE}, err) : NULL;
    struct buf text = BUF_INIT;
    if (snapshot)
        status_write_cost(config, snapshot, clock_wall_ms(&state.clock), arguments->days, arguments->json,
                          &text);
    if (snapshot)
        cmd_print("%s%s", text.data, arguments->json ? "\n" : "");
    buf_fini(&text);
    ok = snapshot != NULL;
    store_snapshot_free(snapshot);
    access_close(&state);
    return ok;
}

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--json", CMD_FLAG, offsetof(struct arguments, json), NULL},
    {"--check", CMD_FLAG, offsetof(struct arguments, check), NULL},
    {"--max-lag", CMD_DURATION, offsetof(struct arguments, max_lag_ms), NULL},
    {"--max-dead", CMD_LIMIT, offsetof(struct arguments, max_dead), NULL},
    {"--max-trouble", CMD_DURATION, offsetof(struct arguments, max_trouble_ms), NULL},
    {"--wait", CMD_TEXT, offsetof(struct arguments, wait), "ready"},
    {"--timeout", CMD_DURATION, offsetof(struct arguments, timeout_ms), NULL},
    {"--cost", CMD_FLAG, offsetof(struct arguments, cost), NULL},
    {"--days", CMD_COUNT, offsetof(struct arguments, days), NULL},
    {0},
};

static int run(int argc, char **argv)
{
    struct arguments arguments = {
        .max_lag_ms = 5 * 60000, .max_trouble_ms = 60000, .timeout_ms = 60000, .days = 7};
    struct err err = {0};
    if (!cmd_options(argc, argv, known_options, &arguments))
        return EXIT_USAGE;
    if (arguments.wait && strcmp(arguments.wait, "ready") != 0) {
        cmd_complain("status: --wait is for ready, not for \"%s\"", arguments.wait);
        return EXIT_USAGE;
    }
    if (arguments.days > STORE_USAGE_DAYS || (arguments.cost && (arguments.check || arguments.wait))) {
        cmd_complain(arguments.days > STORE_USAGE_DAYS ? "status: --days: the state keeps %d of them"
                                                       : "status: --cost goes without --check and --wait",
                     STORE_USAGE_DAYS);
        return EXIT_USAGE;
    }
    struct config *config = arguments.cost ? cmd_load_config(arguments.config_path)
                                           : cmd_load_state_config(arguments.config_path);
    if (!config)
        return EXIT_USAGE;
    bool ok = arguments.cost   ? print_cost(config, &arguments, &err)
              : arguments.wait ? wait_until_ready(config, &arguments)
                               : with_status(config, print_status, &arguments, &err);
    if (err.code != ERR_NONE)
        cmd_complain("%s", err.text);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

const struct command cmd_status = {
    .name = "status",
    .arguments = "[-c FILE] [--json] [--check|--wait ready|--cost]",
    .summary = "checkpoints, lag and dead letters, per handler and shard",
    .help =
        "Shows what the state store knows: works beside a running host, and without one.\n"
        "  LAG      age of the oldest record that is not settled (the iterator age); 0s when there is none;\n"
        "           while nothing can be read: since the end of the shard was last seen\n"
        "  LEFT     time until the service trims that record\n"
        "  FLIGHT   records that the handler works on now\n"
        "  RETRY    records that wait for another attempt\n"
        "  WAITING  records that were read and wait for their turn\n"
        "  DEAD     dead letters: see tidemill help dead\n"
        "A handler that is not running is one whose script is gone or broken, or that has not begun yet: "
        "its\n"
        "LAG counts from the last record it has settled.\n"
        "A handler that is catching up reads by itself until it has met the others.\n"
        "\nOf hosts that share their state (README, \"Many hosts\"): the epoch of a shard grows with each "
        "owner.\n"
        "  STATE      runs; sick: one of its threads stands still; leaves: it gives its shards away; left, "
        "or\n"
        "             dead (its lease ran out): shown for a quarter of an hour\n"
        "  SHARDS     that are its own, those that are read to their end among them\n"
        "  RECORDS/S  that it reads, a mean over 100 s\n"
        "  REACTORS   its threads ([host] threads)\n"
        "  BEAT       since it last renewed its lease\n\n"
        "Below: what does not work now (since when, how often, what was last said), and what was lost "
        "(gaps:\n"
        "kept until tidemill dead drop --gaps). --json has all of it, times in ms since 1970.\n\n"
        "For monitoring and scripts:\n"
        "  --check  \"well\" and exit status 0; or a line for each thing that is not, and 1: no host runs, "
        "or\n"
        "           it is not ready; a handler is more than --max-lag (5m) behind, or has more than\n"
        "           --max-dead (0) letters; its oldest record is trimmed within 6 hours; something has not\n"
        "           worked for --max-trouble (1m); records were lost. With --json: in \"problems\"\n"
        "  --wait ready\n"
        "           returns when every stream is read and every handler loaded, as /readyz says it: 0; or\n"
        "           after --timeout (60s) says what is missing: 1\n"
        "  --cost   what is asked of AWS, by the day, the month and a million records, and what it costs "
        "by\n"
        "           [prices] in the INI: of the last --days (7); with --json for programs\n",
    .run = run,
};
