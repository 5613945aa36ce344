/* replay.c: see replay.h. */
#include "core/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assign/generation.h"
#include "base/arn.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "dispatch/subscription.h"
#include "filter/filter.h"

#define PAGE_RECORDS_MAX 1000
#define MARK_HANDLER "@replay"
#define MARK_DAYS 30
#define CLAIM_MS 60000

/* An archived event on its way. */
struct line {
    const char *text;
    size_t size;
    char sequence[SEQUENCE_SIZE];
    uint64_t identity; /* of the event: where several have one sequence number (Alternator's) */
    uint64_t item;
    double time;  /* of the change, in seconds */
    size_t order; /* in its files */
    bool wanted;
};

struct replay {
    struct replay_options options;
    struct replay_progress progress;
    struct observer observer;
    char *mark;       /* its key in the state */
    char *files_mark; /* whose markers are the files that are done */
    struct map done;  /* paths of those, by runs before */
    /* The files that are open: they overlap. */
    size_t file, file_end; /* [file, file_end) of the archive */
    struct buf *texts;
    size_t text_count;
    struct line *lines;
    size_t line_count, line_capacity;
    size_t at;   /* the next line */
    size_t skip; /* lines that runs before have done of the files that make this group */
    uint64_t skip_group;
    struct subscription *subscription;
    bool drained, stopped, begun;
    int64_t started_ms;
};

/* ---- the mark ---- */

struct claiming {
    bool done;
    char *result;
    struct err err;
};

static void on_claimed(void *user, enum claim claim, const char *result, int64_t expires_ms,
                       const struct err *err)
{
    struct claiming *claiming = user;
    (void)expires_ms;
    claiming->done = true;
    if (err)
        claiming->err = *err;
    else if (claim == CLAIM_BUSY)
        err_set(&claiming->err, ERR_BUSY, "the same replay is under way");
    else if (claim == CLAIM_DONE)
        claiming->result = mem_string(result);
}

static int64_t wall_ms(const struct replay *replay)
{
    return clock_wall_ms(reactor_clock(replay->options.reactor));
}

static void add_marker(const struct replay *replay, struct store_batch *batch, const char *handler,
                       const char *key, const char *result)
{
    store_put_marker(batch, &(struct store_marker){
                                .handler = handler,
                                .key = key,
                                .result = result,
                                .expires_ms = wall_ms(replay) + MARK_DAYS * (int64_t)86400000,
                                .owner = "",
                            });
}

static const char *path_of(const struct replay *replay, size_t index)
{
    return archive_file(replay->options.archive, index)->path;
}

static bool is_done(const struct replay *replay, size_t index)
{
    return map_get(&replay->done, path_of(replay, index)) != NULL;
}

/* Which files are open: the place in them means nothing among others. */
static uint64_t group_of(const struct replay *replay)
{
    uint64_t hash = 0;
    for (size_t i = replay->file; i < replay->file_end; i++)
        if (!is_done(replay, i))
            hash = hash_bytes(path_of(replay, i), strlen(path_of(replay, i)), hash);
    return hash;
}

/* The files that are done are kept one by one, since others may come between them later; of those that are
 * open "LINES EVENTS GROUP". */
static bool keep_place(struct replay *replay, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    bool done = replay->at == replay->line_count;
    char *text = mem_printf("%zu %lld %llx", done ? 0 : replay->at,
                            (long long)(replay->progress.resumed + replay->progress.events),
                            done ? 0ULL : (unsigned long long)group_of(replay));
    for (size_t i = replay->file; done && i < replay->file_end; i++)
        add_marker(replay, batch, replay->files_mark, path_of(replay, i), "true");
    add_marker(replay, batch, MARK_HANDLER, replay->mark, text);
    free(text);
    return store_commit_now(replay->options.store, replay->options.reactor, batch, err);
}

/* All is done, or begins anew. */
static bool forget_place(struct replay *replay, struct err *err)
{
    struct store_batch *batch = store_batch_new();
    const char *path;
    size_t at = 0;
    while (map_next(&replay->done, &at, &path))
        add_marker(replay, batch, replay->files_mark, path, NULL);
    for (size_t i = 0; i < archive_count(replay->options.archive); i++)
        add_marker(replay, batch, replay->files_mark, path_of(replay, i), NULL);
    add_marker(replay, batch, MARK_HANDLER, replay->mark, NULL);
    map_fini(&replay->done);
    return store_commit_now(replay->options.store, replay->options.reactor, batch, err);
}

static bool read_done(struct replay *replay, struct err *err)
{
    struct store_snapshot *snapshot =
        store_load_now(replay->options.store, replay->options.reactor,
                       &(struct store_query){.what = STORE_MARKERS, .handler = replay->files_mark}, err);
    for (size_t i = 0; snapshot && i < snapshot->marker_count; i++)
        map_set(&replay->done, snapshot->markers[i].key, replay);
    store_snapshot_free(snapshot);
    return snapshot != NULL;
}

static void read_mark(struct replay *replay, const char *text)
{
    char *end;
    replay->skip = strtoull(text, &end, 10);
    replay->progress.resumed = strtoll(end, &end, 10);
    replay->skip_group = strtoull(end, NULL, 16);
}

static bool begin(struct replay *replay, struct err *err)
{
    struct claiming claiming = {0};
    replay->begun = true;
    if (!read_done(replay, err) || (replay->options.restart && !forget_place(replay, err)))
        return false;
    char owner[STORE_OWNER_SIZE];
    store_process_owner(owner);
    store_claim(
        replay->options.store,
        &(struct store_claim){MARK_HANDLER, replay->mark, owner, wall_ms(replay), wall_ms(replay) + CLAIM_MS},
        on_claimed, &claiming);
    reactor_turn_until(replay->options.reactor, &claiming.done);
    if (claiming.err.code) {
        *err = claiming.err;
        return false;
    }
    if (claiming.result)
        read_mark(replay, claiming.result);
    free(claiming.result);
    replay->started_ms = reactor_now_ms(replay->options.reactor);
    return true;
}

/* ---- files ---- */

static bool key_is(const struct json *keys, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    json_each(attribute, keys) {
        if (attribute->key_size == (size_t)(equals - wanted) &&
            memcmp(attribute->key, wanted, attribute->key_size) == 0)
            return json_string_is(json_children(attribute), equals + 1);
    }
    return false;
}

static bool is_wanted(const struct replay *replay, const struct json *event)
{
    const struct replay_options *options = &replay->options;
    const struct json *change = json_get(event, "dynamodb");
    int64_t time_ms = (int64_t)(json_double(json_get(change, "ApproximateCreationDateTime"), 0) * 1000);
    char *arn = json_string_dup(json_get(event, "eventSourceARN"));
    bool wanted = (!options->after_ms || time_ms >= options->after_ms) &&
                  (!options->before_ms || time_ms < options->before_ms) &&
                  (!options->filter || filter_match_record(options->filter, event, arn ? arn : ""));
    for (size_t i = 0; wanted && options->keys[i]; i++)
        wanted = key_is(json_get(change, "Keys"), options->keys[i]);
    free(arn);
    return wanted;
}

static void close_files(struct replay *replay)
{
    for (size_t i = 0; i < replay->text_count; i++)
        buf_fini(&replay->texts[i]);
    for (; replay->file < replay->file_end; replay->file++)
        replay->progress.bytes += archive_file(replay->options.archive, replay->file)->bytes;
    free(replay->texts);
    replay->texts = NULL;
    replay->text_count = replay->line_count = replay->at = 0;
}

static uint64_t identity_of(const struct json *event)
{
    struct buf text = BUF_INIT;
    json_write_value(&text, json_get(event, "eventID"));
    json_write_value(&text, json_get(event, "eventName"));
    json_write_value(&text, json_get(json_get(event, "dynamodb"), "Keys"));
    uint64_t hash = hash_bytes(text.data, text.size, 0);
    buf_fini(&text);
    return hash;
}

static uint64_t item_of(const struct json *event)
{
    const struct json *keys = json_get(json_get(event, "dynamodb"), "Keys");
    return keys && keys->type == JSON_OBJECT ? record_item_of(keys) : 0;
}

static bool add_line(struct replay *replay, const char *text, size_t size, const char *path, size_t number,
                     struct err *err)
{
    struct arena arena = ARENA_INIT;
    struct err inner;
    const struct json *event = json_parse(&arena, text, size, &inner);
    const struct json *sequence = json_get(json_get(event, "dynamodb"), "SequenceNumber");
    bool ok = sequence && sequence->type == JSON_STRING && sequence->size < SEQUENCE_SIZE;
    if (!event)
        err_set(err, ERR_PARSE, "%s:%zu: %s", path, number, inner.text);
    else if (!ok)
        err_set(err, ERR_PARSE, "%s:%zu: this is no archived event: it has no dynamodb.SequenceNumber", path,
                number);
    if (ok) {
        mem_grow(&replay->lines, &replay->line_capacity, replay->line_count, sizeof *replay->lines);
        struct line *line = &replay->lines[replay->line_count++];
        *line = (struct line){
            .text = text,
            .size = size,
            .identity = identity_of(event),
            .item = item_of(event),
            .time = json_double(json_get(json_get(event, "dynamodb"), "ApproximateCreationDateTime"), 0),
            .order = replay->line_count,
            .wanted = is_wanted(replay, event)};
        memcpy(line->sequence, sequence->text, sequence->size);
    }
    arena_fini(&arena);
    return ok;
}

static bool open_file(struct replay *replay, size_t index, struct err *err)
{
    const char *path = archive_file(replay->options.archive, index)->path;
    replay->texts = mem_resize(replay->texts, (replay->text_count + 1) * sizeof *replay->texts);
    struct buf *text = &replay->texts[replay->text_count++];
    *text = BUF_INIT;
    if (!archive_read(replay->options.archive, index, text, err))
        return false;
    const char *at = text->data, *end = at + text->size;
    if (text->size >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3; /* an editor has set a byte order mark before the first line */
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        if (stop > at && !add_line(replay, at, (size_t)(stop - at), path, number, err))
            return false;
        at = stop + 1;
    }
    return true;
}

static int by_sequence(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int order = sequence_compare(x->sequence, y->sequence);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool stands_before(const struct line *lines, size_t count, const struct line *line)
{
    for (size_t i = count; i-- > 0 && strcmp(lines[i].sequence, line->sequence) == 0;)
        if (lines[i].identity == line->identity)
            return true;
    return false;
}

/* What was written twice comes once. */
static void sort_lines(struct replay *replay)
{
    size_t kept = 0;
    if (replay->line_count)
        qsort(replay->lines, replay->line_count, sizeof *replay->lines, by_sequence);
    for (size_t i = 0; i < replay->line_count; i++)
        if (!stands_before(replay->lines, kept, &replay->lines[i]))
            replay->lines[kept++] = replay->lines[i];
    replay->line_count = kept;
}

static int by_item(const void *a, const void *b)
{
    const struct line *x = *(const struct line *const *)a, *y = *(const struct line *const *)b;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    return (x > y) - (x < y);
}

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    int order = sequence_compare(x->sequence, y->sequence);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* By way of Kinesis an item's changes may have numbers in another order than their times': they take their
 * places among all in the order of their times. Elsewhere that is the order that they have. */
static void order_items(struct replay *replay)
{
    size_t count = replay->line_count;
    struct line **places = mem_alloc((count + 1) * sizeof *places);
    struct line *own = mem_alloc((count + 1) * sizeof *own);
    for (size_t i = 0; i < count; i++)
        places[i] = &replay->lines[i];
    if (count)
        qsort(places, count, sizeof *places, by_item);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from; to < count && places[to]->item == places[from]->item; to++)
            own[to - from] = *places[to];
        qsort(own, to - from, sizeof *own, by_time);
        for (size_t i = from; i < to; i++)
            *places[i] = own[i - from];
    }
    free(places);
    free(own);
}

static const char *last_sequence(const struct replay *replay)
{
    const char *last = "0";
    for (size_t i = 0; i < replay->line_count; i++)
        if (sequence_compare(replay->lines[i].sequence, last) > 0)
            last = replay->lines[i].sequence;
    return last;
}

/* Does the file begin before the end of those that are open? Some of its events then belong among theirs:
 * they failed at first, and were written later. */
static bool overlaps(const struct replay *replay, size_t index)
{
    const struct archive_file *first = archive_file(replay->options.archive, replay->file),
                              *next = archive_file(replay->options.archive, index);
    return *next->sequence && strcmp(next->shard, first->shard) == 0 &&
           sequence_compare(next->sequence, last_sequence(replay)) <= 0;
}

/* ".../year=Y/month=M/day=D/hour=H/": false when all of that hour is outside of what is asked for. */
static bool in_time(const struct replay *replay, const char *path)
{
    int year, month, day, hour;
    const char *at = strstr(path, "year=");
    char iso[CLOCK_ISO_SIZE];
    if (!at || sscanf(at, "year=%4d/month=%2d/day=%2d/hour=%2d", &year, &month, &day, &hour) != 4)
        return true;
    snprintf(iso, sizeof iso, "%04d-%02d-%02dT%02d:00:00Z", year, month, day, hour);
    int64_t start_ms = clock_from_iso8601(iso);
    return start_ms < 0 || ((!replay->options.before_ms || start_ms < replay->options.before_ms) &&
                            (!replay->options.after_ms || start_ms + 3600000 > replay->options.after_ms));
}

/* The next files with something in them; false when there are none, or with `err`. */
static bool open_files(struct replay *replay, struct err *err)
{
    struct archive *archive = replay->options.archive;
    close_files(replay);
    while (replay->file < archive_count(archive) &&
           (is_done(replay, replay->file) || !in_time(replay, path_of(replay, replay->file))))
        replay->progress.bytes += archive_file(archive, replay->file++)->bytes;
    replay->file_end = replay->file;
    if (replay->file == archive_count(archive))
        return false;
    do {
        if (!is_done(replay, replay->file_end) && !open_file(replay, replay->file_end, err))
            return false;
        replay->file_end++;
    } while (replay->file_end < archive_count(archive) &&
             (is_done(replay, replay->file_end) || overlaps(replay, replay->file_end)));
    sort_lines(replay);
    order_items(replay);
    if (replay->skip && replay->skip_group == group_of(replay))
        replay->at = replay->skip < replay->line_count ? replay->skip : replay->line_count;
    return true;
}

/* ---- pages ---- */

/* Lines from `at` on that are wanted, as a page; NULL and `err`, or NULL when there are none. */
static struct page *next_page(struct replay *replay, size_t count_max, struct err *err)
{
    struct buf body = BUF_INIT;
    size_t count = 0;
    buf_add_literal(&body, "{\"Records\":[");
    for (; replay->at < replay->line_count && count < count_max; replay->at++) {
        const struct line *line = &replay->lines[replay->at];
        if (!line->wanted) {
            replay->progress.left_out++;
            continue;
        }
        if (count++)
            buf_add_char(&body, ',');
        buf_add(&body, line->text, line->size);
    }
    buf_add_literal(&body, "]}");
    struct page *page = count ? page_read(&body, err) : NULL;
    if (count && !page)
        err_prefix(err, "%s", archive_file(replay->options.archive, replay->file)->path);
    buf_fini(&body);
    return page;
}

static void nothing(void *user)
{
    (void)user;
}

static void on_drained(void *user)
{
    struct replay *replay = user;
    replay->drained = true;
    reactor_post(replay->options.reactor, nothing, NULL); /* so that this turn does not wait any longer */
}

static void on_room(void *user)
{
    (void)user;
}

static bool on_missed(void *user, const char *to)
{
    (void)user;
    (void)to;
    return true;
}

static void on_redriven(void *user, int64_t letter)
{
    (void)user;
    (void)letter;
}

/* All of the page through the handler, and wait for it. */
static void run_page(struct replay *replay, struct page *page)
{
    static const struct subscription_events events = {on_drained, on_room, on_missed, on_redriven,
                                                      on_redriven};
    const struct handler_settings *settings = handler_settings_of(replay->options.handler);
    const struct archive_file *file = archive_file(replay->options.archive, replay->file);
    char *arn = json_string_dup(json_get(page->records[0].json, "eventSourceARN"));
    char *table = table_of_arn(arn ? arn : "", NULL);
    const struct config_stream *stream = handler_stream_of(settings, replay->options.handler->config, table);
    struct subscription_options options = {
        .reactor = replay->options.reactor,
        .store = replay->options.store,
        .log = replay->options.log,
        .handler = replay->options.handler,
        .observer = &replay->observer,
        .replayed = true,
        .source = {.stream = stream ? stream->name : settings->streams.text,
                   .stream_arn = arn ? arn : "",
                   .table = table ? table : "",
                   .shard = file->shard},
    };
    struct position start = {.kind = POSITION_TRIM_HORIZON};
    replay->drained = false;
    replay->subscription = subscription_new(&options, &start, "", &events, replay);
    subscription_feed(replay->subscription, page);
    reactor_turn_until(replay->options.reactor, &replay->drained);
    subscription_free(replay->subscription);
    replay->subscription = NULL;
    free(table);
    free(arn);
}

/* Not faster than it was asked for. */
static void keep_rate(struct replay *replay)
{
    if (!replay->options.rate)
        return;
    int64_t due_ms = replay->started_ms + replay->progress.events * 1000 / replay->options.rate;
    for (int64_t left; !replay->stopped && (left = due_ms - reactor_now_ms(replay->options.reactor)) > 0;)
        reactor_turn(replay->options.reactor, left < 200 ? left : 200);
}

bool replay_step(struct replay *replay, struct err *err)
{
    err->code = ERR_NONE;
    if (!replay->begun && !begin(replay, err))
        return false;
    if (replay->at == replay->line_count && !open_files(replay, err)) {
        if (!err->code)
            forget_place(replay, err); /* the end: another time it begins anew */
        return false;
    }
    size_t most = PAGE_RECORDS_MAX;
    int64_t rate = replay->options.rate;
    if (rate && rate < 10 * PAGE_RECORDS_MAX) /* a slow replay goes in small steps, so that it is even */
        most = rate >= 10 ? (size_t)rate / 10 : 1;
    struct page *page = next_page(replay, most, err);
    if (err->code)
        return false;
    if (page) {
        replay->progress.events += (int64_t)page->count;
        run_page(replay, page);
        page_release(page);
    }
    if (!keep_place(replay, err))
        return false;
    keep_rate(replay);
    return !replay->stopped;
}

void replay_stop(struct replay *replay)
{
    replay->stopped = true;
}

/* ---- life ---- */

static void on_attempted(void *user, const struct observed *observed)
{
    struct replay *replay = user;
    const struct observer *other = replay->options.observer;
    if (other && other->attempted)
        other->attempted(other->user, observed);
    replay->progress.failed += observed->outcome == OUTCOME_DEAD || observed->outcome == OUTCOME_FORWARDED ||
                               observed->outcome == OUTCOME_DISCARDED;
}

struct replay *replay_new(const struct replay_options *options)
{
    struct replay *replay = mem_zero(sizeof *replay);
    replay->options = *options;
    replay->observer = (struct observer){
        .attempted = on_attempted, .tells = options->observer && options->observer->tells, .user = replay};
    replay->mark = mem_printf("%s %016llx", handler_name(options->handler),
                              (unsigned long long)hash_bytes(options->mark, strlen(options->mark), 1));
    replay->files_mark = mem_printf(MARK_HANDLER " %s", replay->mark);
    for (size_t i = 0; i < archive_count(options->archive); i++)
        replay->progress.bytes_all += archive_file(options->archive, i)->bytes;
    return replay;
}

void replay_free(struct replay *replay)
{
    if (!replay)
        return;
    close_files(replay);
    free(replay->lines);
    free(replay->mark);
    free(replay->files_mark);
    map_fini(&replay->done);
    free(replay);
}

const struct replay_progress *replay_progress(const struct replay *replay)
{
    return &replay->progress;
}
