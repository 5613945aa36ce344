/* dead.c: tidemill dead: the dead letters, looked at, redriven and dropped. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/cmd.h"
#include "cmd/story.h"
#include "admin/access.h"
#include "admin/status.h"
#include "conf/settings.h"
#include "state/seek.h"
#include "state/store_open.h"

#define PAGE 500         /* letters read or changed at once */
#define MARKED_MAX 20000 /* that the host is given at once */
#define COUNT_MS 1000    /* between two counts of those that failed again: all of them are read */
#define LOOK_MS 200      /* between two looks at what the host has redriven */
#define STALLED_MS 30000 /* so long without a letter done: it is not waited for any longer */

struct arguments {
    const char *verb, *config_path;
    const char *handler, *error;
    int64_t older_ms, newer_ms; /* 0: not given */
    struct cmd_texts id_texts;
    int64_t ids[CMD_TEXTS_MAX];
    size_t id_count;
    bool all, last, json, no_wait, gaps, group;
    int64_t limit;        /* of list and show; 0: none */
    const char *rate;     /* of redrive; or NULL */
    int64_t interval_ns;  /* likewise; 0: as fast as the handler is */
    int64_t max_failures; /* of redrive: it stops there; 0: it does not */
};

struct dead {
    struct arguments arguments;
    struct config *config;
    struct access state;
    bool found[CMD_TEXTS_MAX]; /* of the numbers that were asked for */
    struct map groups;         /* handler and kind of error -> struct group, owned */
    bool cut;                  /* there are more than `limit` */
    int64_t *ids;              /* chosen, in order */
    size_t count, capacity;
};

/* ---- arguments ---- */

static bool read_ids(struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->id_texts.count; i++) {
        const char *text = arguments->id_texts.list[i];
        char *end;
        long long id = strtoll(text, &end, 10);
        if (end == text || *end || id <= 0) {
            cmd_complain("dead: %s is not the number of a dead letter (see tidemill help dead)", text);
            return false;
        }
        arguments->ids[arguments->id_count++] = id;
    }
    return true;
}

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--handler", CMD_TEXT, offsetof(struct arguments, handler), NULL},
    {"--error", CMD_TEXT, offsetof(struct arguments, error), NULL},
    {"--older-than", CMD_DURATION, offsetof(struct arguments, older_ms), NULL},
    {"--newer-than", CMD_DURATION, offsetof(struct arguments, newer_ms), NULL},
    {"--all", CMD_FLAG, offsetof(struct arguments, all), NULL},
    {"--last", CMD_FLAG, offsetof(struct arguments, last), NULL},
    {"--json", CMD_FLAG, offsetof(struct arguments, json), NULL},
    {"--no-wait", CMD_FLAG, offsetof(struct arguments, no_wait), NULL},
    {"--gaps", CMD_FLAG, offsetof(struct arguments, gaps), NULL},
    {"--group", CMD_FLAG, offsetof(struct arguments, group), NULL},
    {"--limit", CMD_COUNT, offsetof(struct arguments, limit), NULL},
    {"--rate", CMD_TEXT, offsetof(struct arguments, rate), "a rate like 100/s"},
    {"--max-failures", CMD_COUNT, offsetof(struct arguments, max_failures), NULL},
    {"VERB", CMD_OPERAND, offsetof(struct arguments, verb), NULL},
    {"ID", CMD_OPERANDS, offsetof(struct arguments, id_texts), NULL},
    {0},
};

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const char *const verbs[] = {"list", "show", "redrive", "drop"};
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    for (size_t i = 0; arguments->verb && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(arguments->verb, verbs[i]) == 0)
            return read_ids(arguments);
    cmd_complain("dead: list, show, redrive or drop is needed (see tidemill help dead)");
    return false;
}

static bool is_chosen(const struct arguments *arguments)
{
    return arguments->id_count || arguments->handler || arguments->error || arguments->older_ms ||
           arguments->newer_ms || arguments->all || arguments->last;
}

/* ---- choosing ---- */

static bool has_id(struct dead *dead, int64_t id)
{
    const struct arguments *arguments = &dead->arguments;
    bool has = !arguments->id_count;
    for (size_t i = 0; i < arguments->id_count; i++)
        if (arguments->ids[i] == id)
            has = dead->found[i] = true;
    return has;
}

/* A number that is not there was mistyped, or somebody else was here before. */
static bool all_found(const struct dead *dead)
{
    bool all = true;
    for (size_t i = 0; i < dead->arguments.id_count; i++)
        if (!dead->found[i]) {
            cmd_complain("dead %s: there is no dead letter %lld%s", dead->arguments.verb,
                         (long long)dead->arguments.ids[i],
                         dead->arguments.handler || dead->arguments.error || dead->arguments.older_ms ||
                                 dead->arguments.newer_ms
                             ? " among those that the filters choose"
                             : "");
            all = false;
        }
    return all;
}

static bool has_enough(const struct dead *dead)
{
    return dead->arguments.limit && (int64_t)dead->count >= dead->arguments.limit;
}

typedef void letter_fn(struct dead *dead, const struct store_dead_letter *letter);

/* Calls `each` for every letter that the arguments choose, page by page. */
static bool each_letter(struct dead *dead, letter_fn *each, struct err *err)
{
    const struct arguments *arguments = &dead->arguments;
    int64_t now_ms = clock_wall_ms(&dead->state.clock);
    struct store_query query = {
        .what = STORE_LETTERS,
        .id = arguments->id_count == 1 ? arguments->ids[0] : 0,
        .handler = arguments->handler,
        .error = arguments->error,
        .failed_before_ms = arguments->older_ms ? now_ms - arguments->older_ms : 0,
        .failed_after_ms = arguments->newer_ms ? now_ms - arguments->newer_ms : 0,
        .limit = PAGE,
    };
    for (bool more = true; more;) {
        struct store_snapshot *snapshot = access_load(&dead->state, &query, err);
        if (!snapshot)
            return false;
        for (size_t i = 0; i < snapshot->letter_count; i++) {
            query.after_id = snapshot->letters[i].id;
            if (!has_id(dead, query.after_id))
                continue;
            dead->cut = has_enough(dead);
            if (dead->cut)
                break;
            each(dead, &snapshot->letters[i]);
        }
        more = snapshot->letter_count == PAGE && !dead->cut;
        store_snapshot_free(snapshot);
    }
    return true;
}

/* Its record is no record: the state of a window whose last call was given up. */
static bool is_window(const struct store_dead_letter *letter)
{
    return strncmp(letter->record, "{\"window\":", strlen("{\"window\":")) == 0;
}

static void note(struct dead *dead, const struct store_dead_letter *letter)
{
    if (*dead->arguments.verb == 'r' && is_window(letter)) {
        cmd_complain("dead letter %lld is a window's state: it can be shown and dropped, and not be redriven",
                     (long long)letter->id);
        return;
    }
    mem_grow(&dead->ids, &dead->capacity, dead->count, sizeof *dead->ids);
    dead->ids[dead->count++] = letter->id;
}

/* ---- groups ---- */

/* Letters of a handler whose errors differ in digits only. */
struct group {
    char *handler, *error; /* of the newest: its first line */
    int64_t count, first_ms, last_ms, id;
};

#define KIND_BYTES_MAX 300

static void add_to_group(struct dead *dead, const struct store_dead_letter *letter)
{
    size_t size = strcspn(letter->error, "\n");
    char *key = mem_printf("%s\n%016" PRIx64, letter->handler,
                           hash_kind(letter->error, size < KIND_BYTES_MAX ? size : KIND_BYTES_MAX));
    struct group *group = map_get(&dead->groups, key);
    if (!group) {
        group = mem_zero(sizeof *group);
        group->handler = mem_string(letter->handler);
        group->first_ms = letter->failed_ms;
        map_set(&dead->groups, key, group);
    }
    free(key);
    group->count++;
    group->first_ms = letter->failed_ms < group->first_ms ? letter->failed_ms : group->first_ms;
    if (letter->failed_ms < group->last_ms)
        return;
    group->last_ms = letter->failed_ms;
    group->id = letter->id;
    free(group->error);
    group->error = mem_copy(letter->error, size);
}

static int larger_first(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->error, y->error);
}

static void print_group(const struct dead *dead, const struct group *group, bool first)
{
    char since[CLOCK_ISO_SIZE], last[CLOCK_ISO_SIZE];
    clock_iso8601(group->first_ms, since);
    clock_iso8601(group->last_ms, last);
    if (dead->arguments.json) {
        struct buf out = BUF_INIT;
        char *error = utf8_copy(group->error);
        buf_printf(&out, "%s{\"count\":%lld,\"first_ms\":%lld,\"last_ms\":%lld,\"id\":%lld,",
                   first ? "" : ",", (long long)group->count, (long long)group->first_ms,
                   (long long)group->last_ms, (long long)group->id);
        json_write_member(&out, "handler", group->handler, strlen(group->handler));
        buf_add_char(&out, ',');
        json_write_member(&out, "error", error, strlen(error));
        buf_add_char(&out, '}');
        fputs(out.data, stdout);
        buf_fini(&out);
        free(error);
        return;
    }
    if (first)
        cmd_print("%8s %-24s %-24s %-24s %-16s %s\n", "COUNT", "HANDLER", "FIRST", "LAST", "NEWEST", "ERROR");
    cmd_print("%8lld %-24s %-24s %-24s %-16lld %s\n", (long long)group->count, group->handler, since, last,
              (long long)group->id, group->error);
}

static void print_groups(struct dead *dead)
{
    struct group **all = mem_alloc((dead->groups.count + 1) * sizeof *all);
    size_t at = 0, count = 0;
    for (struct group *group; (group = map_next(&dead->groups, &at, NULL));)
        all[count++] = group;
    if (count)
        qsort(all, count, sizeof *all, larger_first);
    for (size_t i = 0; i < count; i++) {
        if (!dead->arguments.limit || (int64_t)i < dead->arguments.limit)
            print_group(dead, all[i], i == 0);
        free(all[i]->handler);
        free(all[i]->error);
        free(all[i]);
    }
    dead->count = count;
    map_fini(&dead->groups);
    free(all);
}

/* ---- list and show ---- */

static void list_row(struct dead *dead, const struct store_dead_letter *letter)
{
    char time[CLOCK_ISO_SIZE];
    clock_iso8601(letter->failed_ms, time);
    if (!dead->count++)
        cmd_print("%-16s %-24s %-24s %8s  %-32s %s\n", "ID", "HANDLER", "FAILED", "ATTEMPTS", "KEYS",
                  "ERROR");
    cmd_print("%-16lld %-24s %-24s %8lld  %-32.60s %.*s%s\n", (long long)letter->id, letter->handler, time,
              (long long)letter->attempts, letter->keys, (int)strcspn(letter->error, "\n"), letter->error,
              letter->redrive_ms ? "  (marked to be redriven)" : "");
}

/* What has changed, in a line, and the whole of it. A window's last call has no record. */
static void show_record(const struct store_dead_letter *letter)
{
    struct buf body = BUF_INIT, text = BUF_INIT;
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, letter->record, strlen(letter->record), NULL);
    buf_printf(&body, "{\"Records\":[%s]}", letter->record);
    struct page *page = page_read(&body, NULL);
    if (page && page->count == 1) {
        buf_add_literal(&text, "  change    ");
        story_add_record(&text, letter->table, &page->records[0], false);
        buf_add_char(&text, '\n');
    }
    buf_add_literal(&text, "  record    ");
    if (root)
        story_add_json(&text, root, 2);
    else
        buf_add_text(&text, letter->record);
    cmd_print("%s\n", text.data);
    if (page)
        page_release(page);
    buf_fini(&body);
    buf_fini(&text);
    arena_fini(&arena);
}

static void show_letter(struct dead *dead, const struct store_dead_letter *letter)
{
    char failed[CLOCK_ISO_SIZE], written[CLOCK_ISO_SIZE];
    clock_iso8601(letter->failed_ms, failed);
    clock_iso8601(letter->record_time_ms, written);
    cmd_print(
        "%sdead letter %lld\n  handler   %s (version %s)\n  table     %s\n  stream    %s\n  shard     %s\n"
        "  sequence  %s\n  event     %s\n  written   %s\n  failed    %s, attempt %lld%s\n  keys      %s\n"
        "  error     %s\n",
        dead->count++ ? "\n" : "", (long long)letter->id, letter->handler,
        *letter->version ? letter->version : "unknown", letter->table, letter->stream_arn, letter->shard,
        letter->sequence, letter->event_id, written, failed, (long long)letter->attempts,
        letter->redrive_ms ? ", marked to be redriven" : "", letter->keys, letter->error);
    if (*letter->traceback)
        cmd_print("  %s\n", letter->traceback);
    show_record(letter);
}

static void write_letter(struct dead *dead, const struct store_dead_letter *letter)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "%s{\"id\":%lld", dead->count++ ? "," : "", (long long)letter->id);
    json_add_text(&out, "handler", letter->handler);
    json_add_text(&out, "version", letter->version);
    json_add_text(&out, "table", letter->table);
    json_add_text(&out, "stream_arn", letter->stream_arn);
    json_add_text(&out, "shard", letter->shard);
    json_add_text(&out, "sequence", letter->sequence);
    json_add_text(&out, "event_id", letter->event_id);
    json_add_text(&out, "error", letter->error);
    json_add_text(&out, "traceback", letter->traceback);
    buf_printf(&out, ",\"attempts\":%lld,\"record_time_ms\":%lld,\"failed_ms\":%lld,\"marked\":%s",
               (long long)letter->attempts, (long long)letter->record_time_ms, (long long)letter->failed_ms,
               letter->redrive_ms ? "true" : "false");
    buf_printf(&out, ",\"keys\":%s,\"record\":%s}", letter->keys, letter->record);
    fputs(out.data, stdout);
    buf_fini(&out);
}

static bool look(struct dead *dead, struct err *err)
{
    bool show = strcmp(dead->arguments.verb, "show") == 0;
    if (dead->arguments.json)
        putchar('[');
    bool ok = each_letter(dead,
                          dead->arguments.group  ? add_to_group
                          : dead->arguments.json ? write_letter
                          : show                 ? show_letter
                                                 : list_row,
                          err);
    if (dead->arguments.group)
        print_groups(dead);
    if (dead->arguments.json)
        puts("]");
    else if (ok && dead->cut)
        printf("and more (--limit %lld)\n", (long long)dead->arguments.limit);
    else if (ok && !dead->count)
        puts(is_chosen(&dead->arguments) ? "no such dead letter" : "no dead letters");
    return ok;
}

/* ---- drop and redrive ---- */

static void forget_one(struct store_batch *batch, int64_t id, int64_t now_ms)
{
    (void)now_ms;
    store_forget_dead_letter(batch, id);
}

/* Those from `first` on, up to the one at `end`. `what`: of the bar; or NULL. */
static bool change(struct dead *dead, size_t first, size_t end,
                   void (*put)(struct store_batch *, int64_t id, int64_t now_ms), const char *what,
                   struct err *err)
{
    int64_t now_ms = clock_wall_ms(&dead->state.clock);
    for (size_t i = first; i < end;) {
        struct store_batch *batch = store_batch_new();
        for (size_t page = i + PAGE; i < page && i < end; i++)
            put(batch, dead->ids[i], now_ms);
        if (!access_commit(&dead->state, batch, err))
            return false;
        if (what)
            cmd_progress(i, end, what);
    }
    if (what)
        cmd_progress_end();
    return true;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of the first `count` that were chosen. */
static size_t count_chosen(const struct dead *dead, size_t begun, const struct store_snapshot *snapshot,
                           int64_t *last)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->letter_count; i++) {
        *last = snapshot->letters[i].id;
        count += bsearch(last, dead->ids, begun, sizeof *dead->ids, by_id) != NULL;
    }
    return count;
}

/* How many of those that were chosen are there: marked ones, or all. */
static bool count_left(struct dead *dead, size_t begun, bool marked, size_t *count, struct err *err)
{
    struct store_query query = {.what = marked ? STORE_MARKED : STORE_LETTERS,
                                .handler = marked ? NULL : dead->arguments.handler,
                                .limit = PAGE};
    *count = 0;
    for (bool more = true; more;) {
        struct store_snapshot *snapshot = access_load(&dead->state, &query, err);
        if (!snapshot)
            return false;
        *count += count_chosen(dead, begun, snapshot, &query.after_id);
        more = snapshot->letter_count == PAGE;
        store_snapshot_free(snapshot);
    }
    return true;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Of those that were chosen: how many were marked by and by, how many of these still are, and how many failed
 * again. */
struct redriven {
    size_t begun, left, failed;
};

/* How many may be begun by now. No more are on their way than the host has work with for a moment: who stops
 * the command stops them. */
static size_t may_begin(const struct dead *dead, const struct redriven *now, int64_t elapsed_ms)
{
    const struct arguments *arguments = &dead->arguments;
    int64_t room = arguments->max_failures ? arguments->max_failures - (int64_t)now->failed : MARKED_MAX;
    int64_t window = room < MARKED_MAX ? room : MARKED_MAX;
    int64_t end = (int64_t)now->begun;
    if ((int64_t)now->left <= window / 2)
        end += window - (int64_t)now->left;
    if (arguments->interval_ns) {
        int64_t due = elapsed_ms * 1000000 / arguments->interval_ns + 1;
        end = due < end ? due : end;
    }
    return end > (int64_t)dead->count ? dead->count : (size_t)end;
}

/* How many of those that were begun are there, marked or not. */
static bool count_failed(struct dead *dead, struct redriven *now, struct err *err)
{
    size_t there = 0;
    bool ok = count_left(dead, now->begun, false, &there, err);
    now->failed = ok && there > now->left ? there - now->left : 0;
    return ok;
}

/* Until the host has been through them all, or does not get on, or too many have failed. */
static bool feed_host(struct dead *dead, struct redriven *now, struct err *err)
{
    const struct arguments *arguments = &dead->arguments;
    int64_t started_ms = clock_monotonic_ms(&dead->state.clock), moved_ms = started_ms;
    int64_t counted_ms = started_ms;
    for (size_t done = 0;;) {
        int64_t now_ms = clock_monotonic_ms(&dead->state.clock);
        size_t end = may_begin(dead, now, now_ms - started_ms);
        if (end > now->begun && !change(dead, now->begun, end, store_mark_dead_letter, NULL, err))
            return false;
        now->begun = end > now->begun ? end : now->begun;
        if (!count_left(dead, now->begun, true, &now->left, err) ||
            (arguments->max_failures && (now_ms - counted_ms >= COUNT_MS || !now->left) &&
             !count_failed(dead, now, err)))
            return false;
        counted_ms = now_ms - counted_ms >= COUNT_MS ? now_ms : counted_ms;
        moved_ms = now->begun - now->left > done || !now->left ? now_ms : moved_ms;
        done = now->begun - now->left;
        cmd_progress(done, dead->count, "redriven");
        bool enough = arguments->max_failures && (int64_t)now->failed >= arguments->max_failures;
        if ((!now->left && (enough || now->begun == dead->count)) || now_ms - moved_ms > STALLED_MS ||
            !access_host_runs(dead->config))
            break;
        pause_ms(LOOK_MS);
    }
    cmd_progress_end();
    return count_failed(dead, now, err);
}

static void tell_redriven(const struct dead *dead, const struct redriven *now, bool running)
{
    size_t left = now->left, failed = now->failed, handled = now->begun - left - failed;
    size_t kept = dead->count - now->begun;
    if (dead->arguments.json) {
        printf("{\"handled\":%zu,\"failed\":%zu,\"marked\":%zu,\"not_begun\":%zu}\n", handled, failed, left,
               kept);
        return;
    }
    if (handled || failed)
        printf("%zu handled, %zu failed again\n", handled, failed);
    if (kept)
        printf("%zu not begun: they stay dead letters\n", kept);
    if (left)
        printf("%zu marked: %s\n", left,
               !running ? "they are redriven when the host next runs"
               : dead->arguments.no_wait
                   ? "the running host redrives them"
                   : "still waiting for their handler, if it runs (see tidemill status)");
    if (!dead->count)
        puts("no such dead letter");
}

static bool redrive(struct dead *dead, bool *failed_again, struct err *err)
{
    struct redriven now = {0};
    bool running = dead->count && access_host_runs(dead->config);
    bool feeds = running && !dead->arguments.no_wait;
    if (!feeds && (dead->arguments.rate || dead->arguments.max_failures) && dead->count)
        return err_set(err, ERR_CONFIG,
                       "--rate and --max-failures are of letters that a running host redrives meanwhile%s",
                       running ? "" : ": none runs on this state");
    if (dead->count)
        qsort(dead->ids, dead->count, sizeof *dead->ids, by_id);
    if (feeds) {
        if (!feed_host(dead, &now, err))
            return false;
    } else {
        if (!change(dead, 0, dead->count, store_mark_dead_letter, "marked", err))
            return false;
        now.begun = now.left = dead->count;
    }
    tell_redriven(dead, &now, running);
    *failed_again = now.failed > 0;
    return true;
}

static bool drop(struct dead *dead, struct err *err)
{
    if (!change(dead, 0, dead->count, forget_one, "dropped", err))
        return false;
    if (dead->arguments.json)
        printf("{\"dropped\":%zu}\n", dead->count);
    else
        printf("%zu dropped\n", dead->count);
    return true;
}

/* ---- gaps ---- */

/* By the running host, handler by handler: it stops each, moves it and starts it again. */
static bool drop_gaps_there(struct dead *dead, const struct store_snapshot *snapshot, struct err *err)
{
    struct map asked = MAP_INIT;
    bool ok = true;
    for (size_t i = 0; i < snapshot->event_count && ok; i++) {
        const char *handler = snapshot->events[i].handler;
        struct store_request request = {.kind = "drop_gaps", .handler = handler, .shard = "", .argument = ""};
        if (map_get(&asked, handler) ||
            (dead->arguments.handler && strcmp(dead->arguments.handler, handler) != 0))
            continue;
        map_set(&asked, handler, dead);
        struct buf told = BUF_INIT;
        ok = access_ask(&dead->state, dead->config, &request, &told, err);
        if (ok)
            cmd_print("%s\n", told.data);
        buf_fini(&told);
    }
    if (ok && !asked.count)
        puts("no gaps");
    map_fini(&asked);
    return ok;
}

static bool drop_gaps_here(struct dead *dead, const struct store_snapshot *snapshot, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    struct buf told = BUF_INIT;
    seek_past_gaps(snapshot, dead->arguments.handler ? dead->arguments.handler : "", batch, &told);
    bool ok = access_commit(&dead->state, batch, err);
    if (ok)
        cmd_print("%s\n", told.data);
    buf_fini(&told);
    return ok;
}

/* Beside hosts that share the state: here, and then each has its handlers begin anew. */
static bool drop_gaps_shared(struct dead *dead, const struct store_snapshot *snapshot, struct err *err)
{
    struct status status = {.snapshot = (struct store_snapshot *)snapshot,
                            .now_ms = clock_wall_ms(&dead->state.clock)};
    struct map told = MAP_INIT;
    bool ok = drop_gaps_here(dead, snapshot, err);
    for (size_t i = 0; ok && status_runs(&status) && i < snapshot->event_count; i++) {
        const char *handler = snapshot->events[i].handler;
        if (map_get(&told, handler) ||
            (dead->arguments.handler && strcmp(dead->arguments.handler, handler) != 0))
            continue;
        map_set(&told, handler, dead);
        ok = access_ask_all(&dead->state, STORE_SOUGHT, handler, err) != 0;
    }
    map_fini(&told);
    return ok;
}

static bool drop_gaps(struct dead *dead, struct err *err)
{
    struct store_snapshot *snapshot =
        access_load(&dead->state, &(struct store_query){.what = STORE_ALL}, err);
    bool shared = store_is_shared(dead->config->host.state), ok = false;
    struct store_lock *lock = snapshot && !shared ? store_lock(dead->config->host.state, err) : NULL;
    if (snapshot && shared)
        ok = drop_gaps_shared(dead, snapshot, err);
    else if (lock)
        ok = drop_gaps_here(dead, snapshot, err);
    else if (snapshot && err->code == ERR_BUSY)
        ok = drop_gaps_there(dead, snapshot, err);
    store_unlock(lock);
    store_snapshot_free(snapshot);
    return ok;
}

/* ---- the command ---- */

static void note_last(struct dead *dead, const struct store_dead_letter *letter)
{
    dead->arguments.ids[0] = letter->id;
    dead->found[0] = true;
}

/* Of those that are chosen the one that came last is, as if its number had been given. */
static bool choose_last(struct dead *dead, struct err *err)
{
    bool ok = each_letter(dead, note_last, err);
    dead->arguments.id_count = dead->found[0] ? 1 : 0;
    if (ok && !dead->found[0])
        ok = err_set(err, ERR_CONFIG,
                     dead->arguments.handler || dead->arguments.error ? "no such dead letter"
                                                                      : "there are no dead letters");
    return ok;
}

static int carry_out(struct dead *dead)
{
    struct err err;
    bool failed_again = false, changes = *dead->arguments.verb == 'r' || *dead->arguments.verb == 'd';
    bool ok = access_open(&dead->state, dead->config, !changes, &err);
    if (ok && dead->arguments.last)
        ok = choose_last(dead, &err);
    if (ok && !changes)
        ok = look(dead, &err);
    else if (ok && dead->arguments.gaps)
        ok = drop_gaps(dead, &err);
    else if (ok)
        ok = each_letter(dead, note, &err) &&
             (*dead->arguments.verb == 'r' ? redrive(dead, &failed_again, &err) : drop(dead, &err));
    if (!ok)
        cmd_complain("%s", err.text);
    access_close(&dead->state);
    bool found = !ok || dead->arguments.gaps || dead->cut || all_found(dead);
    return ok && !failed_again && found ? EXIT_DONE : EXIT_FAILED;
}

static int run(int argc, char **argv)
{
    struct dead *dead = mem_zero(sizeof *dead);
    int status = EXIT_USAGE;
    struct err err;
    if (!read_arguments(argc, argv, &dead->arguments))
        ;
    else if (dead->arguments.gaps && (strcmp(dead->arguments.verb, "drop") != 0 || dead->arguments.json))
        cmd_complain("dead: --gaps goes with drop, and with --handler (tidemill status shows the gaps)");
    else if (dead->arguments.group && strcmp(dead->arguments.verb, "list") != 0)
        cmd_complain("dead: --group goes with list");
    else if (dead->arguments.limit && strcmp(dead->arguments.verb, "list") != 0 &&
             strcmp(dead->arguments.verb, "show") != 0)
        cmd_complain("dead: --limit goes with list and show");
    else if (dead->arguments.last && (dead->arguments.id_count || dead->arguments.gaps))
        cmd_complain("dead: --last goes without numbers, and without --gaps");
    else if ((dead->arguments.rate || dead->arguments.max_failures) &&
             strcmp(dead->arguments.verb, "redrive") != 0)
        cmd_complain("dead: --rate and --max-failures go with redrive");
    else if (dead->arguments.rate && !rate_parse(dead->arguments.rate, &dead->arguments.interval_ns, &err))
        cmd_complain("dead: --rate: %s", err.text);
    else if (!dead->arguments.gaps && strcmp(dead->arguments.verb, "list") != 0 &&
             !is_chosen(&dead->arguments))
        cmd_complain(
            "dead %s: which ones? Numbers, --handler, --error, --older-than, --newer-than, --last or "
            "--all",
            dead->arguments.verb);
    else if ((dead->config = cmd_load_state_config(dead->arguments.config_path)) != NULL)
        status = carry_out(dead);
    config_release(dead->config);
    free(dead->ids);
    free(dead);
    return status;
}

const struct command cmd_dead = {
    .name = "dead",
    .arguments = "list|show|redrive|drop [...]",
    .summary = "the dead letters",
    .help =
        "  tidemill dead list                        one line each\n"
        "  tidemill dead show    ID ...|FILTER ...   everything that is kept, the whole record too\n"
        "  tidemill dead redrive ID ...|FILTER ...   through the same handler and its policy once more\n"
        "  tidemill dead drop    ID ...|FILTER ...   forget them\n"
        "  tidemill dead drop --gaps [--handler NAME]\n"
        "      the gaps that status shows were seen: records that the service trimmed before they\n"
        "      were read. A handler that stopped at one (on_gap = stop) goes on behind it\n\n"
        "  --handler NAME     of this handler\n"
        "  --error TEXT       whose error has this text in it\n"
        "  --older-than 2h    that failed longer ago; --newer-than: less long ago\n"
        "  --all              all of them; --last: of those that are chosen the last one\n"
        "  --group            list: how many of each handler and error, the most frequent first\n"
        "  --limit N          list, show: no more than these\n"
        "  --json             for programs\n"
        "  --rate 100/s       redrive: no more than these; else as fast as the handler is\n"
        "  --max-failures N   redrive: begin no more once so many have failed again\n"
        "  --no-wait          redrive: do not wait until the running host has been through them\n"
        "  -c FILE            the INI\n\n"
        "Works beside a running host, which redrives at once; without one, letters are marked and redriven\n"
        "when it next runs. Ctrl-C ends it: the host is through with what was begun in a moment. A redriven "
        "record has record.redriven set and record.age in seconds. One that\n"
        "fails again stays a dead letter; a window's state (its last call was given up) is not redriven. "
        "Exit status 1 when one did, or when a number is not there.\n",
    .run = run,
};
