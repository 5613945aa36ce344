/* source_export.c: manifests first, then file after file, a page of lines at a time. */
#include "source/export/source_export.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/s3.h"
#include "base/arn.h"
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "source/export/file_fetch.h"
#include "source/export/manifest.h"
#include "source/snapshot/item_records.h"
#include "source/snapshot/snapshot_name.h"

#define CURSOR_AGE_MS_MAX ((int64_t)1 << 50)

/* Files that are unpacked at once, of one reactor; others wait for their turn. */
#define OPEN_MAX 2
#define WAIT_MS 20
#define IDLE_MS 60000

/* What is known of an export, once somebody has asked. */
struct export
{
    struct export_manifest manifest;
    struct key_names *keys;
    char *region, *place; /* where its manifest-summary.json is */
};

/* An unpacked file of a segment. */
struct opened {
    struct buf text;
    size_t file;
    bool busy; /* on its way */
    int64_t used_ms;
};

struct source_export {
    struct source source;
    struct reactor *reactor;
    struct aws_client *client;
    struct map exports; /* ARN -> struct export, owned */
    struct map opened;  /* "ARN\nSEGMENT" -> struct opened, owned */
};

/* "ARN SEGMENT COUNT FILE OFFSET", with newlines between. FILE: the place of a file among all; those of a
 * segment are so many segments apart. */
struct place {
    char *arn;
    int64_t segment, count, file, offset;
};

struct source_call {
    struct source_export *source;
    struct task answer;
    struct timer wait;
    struct file_fetch *fetch;
    struct aws_call *call;
    struct key_names_call *keys;
    union {
        source_stream_fn *stream;
        source_shards_fn *shards;
        source_cursor_fn *cursor;
        source_page_fn *page;
    } done;
    void *user;
    struct snapshot_name name;
    char *text, *where;
    /* of a page, and of taking */
    struct place place;
    int64_t limit;
    struct export *export; /* on its way to be known; NULL once it is */
    char *token;           /* while it is looked for */
    char **candidates;     /* where summaries are, the newest first */
    size_t candidate_count, candidate_capacity, candidate;
    struct err refused; /* what is wrong with the newest */
    bool takes, looked;
};

static struct source_export *own(struct source *source)
{
    return (struct source_export *)(void *)source;
}

static void export_free(struct export *export)
{
    if (!export)
        return;
    manifest_fini(&export->manifest);
    key_names_free(export->keys);
    free(export->region);
    free(export->place);
    free(export);
}

static void call_free(struct source_call *call)
{
    file_fetch_cancel(call->fetch);
    aws_cancel(call->call);
    key_names_cancel(call->keys);
    task_cancel(&call->answer);
    timer_stop(call->source->reactor, &call->wait);
    snapshot_name_fini(&call->name);
    export_free(call->export);
    free(call->place.arn);
    for (size_t i = 0; i < call->candidate_count; i++)
        free(call->candidates[i]);
    free(call->candidates);
    free(call->token);
    free(call->where);
    free(call->text);
    free(call);
}

static void go_on(void *user);

static struct source_call *call_new(struct source *source, reactor_fn *answer, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->source = own(source);
    call->user = user;
    task_init(&call->answer, answer, call);
    timer_init(&call->wait, go_on, call);
    return call;
}

/* ---- what needs no asking ---- */

static void answer_stream(void *user)
{
    struct source_call *call = user;
    source_stream_fn *done = call->done.stream;
    void *whose = call->user;
    char *arn = call->name.stream_arn;
    call->name.stream_arn = NULL;
    call_free(call);
    done(whose, arn, NULL);
    free(arn);
}

static struct source_call *next_stream(struct source *source, const char *table, const char *stream_arn,
                                       source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(source, answer_stream, user);
    (void)table;
    call->done.stream = done;
    bool known = snapshot_name_read(stream_arn, &call->name);
    CHECK(known);
    task_defer(call->source->reactor, &call->answer);
    return call;
}

/* Nobody looks for an export's stream: it is taken. */
static struct source_call *find_stream(struct source *source, const char *table, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(source, answer_stream, user);
    (void)table;
    call->done.stream = done;
    task_defer(call->source->reactor, &call->answer);
    return call;
}

static void answer_shards(void *user)
{
    struct source_call *call = user;
    source_shards_fn *done = call->done.shards;
    void *whose = call->user;
    int64_t count = call->name.segments;
    call_free(call);
    snapshot_answer_shards(count, done, whose);
}

static struct source_call *list_shards(struct source *source, const char *stream_arn, const char *after,
                                       source_shards_fn *done, void *user)
{
    struct source_call *call = call_new(source, answer_shards, user);
    (void)after;
    call->done.shards = done;
    bool known = snapshot_name_read(stream_arn, &call->name);
    CHECK(known);
    task_defer(call->source->reactor, &call->answer);
    return call;
}

static char *place_write(const struct place *place)
{
    return mem_printf("%s\n%" PRId64 "\n%" PRId64 "\n%" PRId64 "\n%" PRId64, place->arn, place->segment,
                      place->count, place->file, place->offset);
}

static bool place_read(const char *cursor, struct place *place)
{
    const char *numbers = strchr(cursor, '\n');
    *place = (struct place){0};
    if (!numbers || sscanf(numbers + 1, "%" SCNd64 "\n%" SCNd64 "\n%" SCNd64 "\n%" SCNd64, &place->segment,
                           &place->count, &place->file, &place->offset) != 4)
        return false;
    place->arn = mem_copy(cursor, (size_t)(numbers - cursor));
    return true;
}

static void answer_cursor(void *user)
{
    struct source_call *call = user;
    source_cursor_fn *done = call->done.cursor;
    void *whose = call->user;
    char *cursor = call->text;
    call->text = NULL;
    call_free(call);
    done(whose, cursor, NULL);
    free(cursor);
}

/* As in a snapshot: without the page's word its segment is read once more, under greater numbers. */
static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    struct source_call *call = call_new(source, answer_cursor, user);
    struct place place = {.arn = (char *)stream_arn,
                          .segment = snapshot_segment_read(shard),
                          .count = kind == CURSOR_AFTER ? strtoll(sequence, NULL, 10) : 0};
    place.file = place.segment;
    call->done.cursor = done;
    call->text = place_write(&place);
    task_defer(call->source->reactor, &call->answer);
    return call;
}

/* ---- the manifests ---- */

static void fail(struct source_call *call, const struct err *err)
{
    struct source_error error = item_source_error(err);
    void *whose = call->user;
    if (call->takes) {
        source_stream_fn *done = call->done.stream;
        call_free(call);
        done(whose, NULL, &error);
    } else {
        source_page_fn *done = call->done.page;
        call_free(call);
        done(whose, NULL, NULL, &error);
    }
}

static void know(struct source_call *call);
static void on_summary(void *user, struct buf *text, const struct err *err);

static void fetch_text(struct source_call *call, const char *name, file_fetch_fn *done)
{
    char *place = mem_printf("%s/%s", call->where, name);
    call->fetch = file_fetch_begin(call->source->reactor, call->source->client, place, NULL, done, call);
    free(place);
}

static void on_keys(void *user, struct key_names *names, const struct err *err)
{
    struct source_call *call = user;
    call->keys = NULL;
    if (err) {
        fail(call, err);
        return;
    }
    call->export->keys = names;
    know(call);
}

static void on_files(void *user, struct buf *text, const struct err *err)
{
    struct source_call *call = user;
    struct err problem;
    call->fetch = NULL;
    if (!err &&
        !manifest_read_files(&call->export->manifest, text->data ? text->data : "", text->size, &problem)) {
        err_prefix(&problem, "%s/manifest-files.json", call->where);
        err = &problem;
    }
    if (err) {
        fail(call, err);
        return;
    }
    call->keys = key_names_ask(call->source->client, call->name.table, on_keys, call);
}

/* ---- looking for it ---- */

static const char summary_name[] = "manifest-summary.json";

/* "PREFIX/AWSDynamoDB/ID/manifest-summary.json" */
static void meet(void *user, const char *key, int64_t bytes)
{
    struct source_call *call = user;
    const char *slash = strrchr(key, '/');
    (void)bytes;
    if (!slash || strcmp(slash + 1, summary_name) != 0)
        return;
    mem_grow(&call->candidates, &call->candidate_capacity, call->candidate_count, sizeof *call->candidates);
    call->candidates[call->candidate_count++] = mem_copy(key, (size_t)(slash - key));
}

/* Ids begin with their time. */
static int newest_first(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

/* The next of those that there are; the newest that is a full one of the table will do. */
static void try_next(struct source_call *call)
{
    if (call->candidate < call->candidate_count) {
        free(call->where);
        call->where = mem_string(call->candidates[call->candidate++]);
        manifest_fini(&call->export->manifest);
        fetch_text(call, summary_name, on_summary);
        return;
    }
    if (!call->refused.code)
        err_set(&call->refused, ERR_CONFIG,
                "%s: there is no export (no %s, neither there nor below its AWSDynamoDB)", call->where,
                summary_name);
    struct err refused = call->refused;
    fail(call, &refused);
}

static void found(struct source_call *call)
{
    if (call->candidate_count)
        qsort(call->candidates, call->candidate_count, sizeof *call->candidates, newest_first);
    try_next(call);
}

static void list(struct source_call *call);

static void on_listed(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct err problem = {0};
    call->call = NULL;
    char *next = err ? NULL : s3_read_list(&response->body, meet, call, &problem);
    if (err || problem.code) {
        free(next);
        fail(call, err ? err : &problem);
        return;
    }
    free(call->token);
    call->token = next;
    if (next) {
        list(call);
        return;
    }
    for (size_t i = 0; i < call->candidate_count; i++) { /* keys are without their bucket */
        const char *bucket = call->where + 5;
        char *whole = mem_printf("s3://%.*s/%s", (int)strcspn(bucket, "/"), bucket, call->candidates[i]);
        free(call->candidates[i]);
        call->candidates[i] = whole;
    }
    found(call);
}

static void list(struct source_call *call)
{
    const char *bucket = call->where + 5, *slash = strchr(bucket, '/');
    char *name = mem_copy(bucket, strcspn(bucket, "/"));
    char *prefix = mem_printf("%s%sAWSDynamoDB/", slash ? slash + 1 : "", slash && slash[1] ? "/" : "");
    struct aws_request request = s3_list(name, prefix, call->token);
    request.own = true;
    call->call = aws_send(call->source->client, &request, on_listed, call);
    free(name);
    free(prefix);
}

static void list_directory(struct source_call *call)
{
    char *path = mem_printf("%s/AWSDynamoDB", call->where);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *key = mem_printf("%s/%s/%s", path, entry->d_name, summary_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(key, "r");
        if (file) {
            fclose(file);
            meet(call, key, 0);
        }
        free(key);
    }
    if (directory)
        closedir(directory);
    free(path);
    found(call);
}

static void on_summary(void *user, struct buf *text, const struct err *err)
{
    struct source_call *call = user;
    struct err problem;
    call->fetch = NULL;
    if (err && !call->looked) { /* not there itself: below? */
        call->looked = true;
        if (strncmp(call->where, "s3://", 5) == 0)
            list(call);
        else
            list_directory(call);
        return;
    }
    if (!err &&
        !manifest_read_summary(&call->export->manifest, text->data ? text->data : "", text->size, &problem)) {
        err_prefix(&problem, "%s/%s", call->where, summary_name);
        err = &problem;
    }
    if (!err && strcmp(call->export->manifest.table, call->name.table) != 0) {
        err_set(&problem, ERR_CONFIG, "%s is an export of table %s, and not of %s", call->where,
                call->export->manifest.table, call->name.table);
        err = &problem;
    }
    if (err && call->looked) {
        call->refused = call->refused.code ? call->refused : *err;
        try_next(call);
    } else if (err) {
        fail(call, err);
    } else {
        fetch_text(call, "manifest-files.json", on_files);
    }
}

static void ask_manifests(struct source_call *call, const char *where)
{
    size_t size = strlen(where);
    while (size > 1 && where[size - 1] == '/')
        size--;
    call->where = mem_copy(where, size);
    call->export = mem_zero(sizeof *call->export);
    fetch_text(call, summary_name, on_summary);
}

/* ---- pages ---- */

static const struct export *export_of(const struct source_call *call)
{
    return map_get(&call->source->exports, call->place.arn);
}

static void opened_free(struct opened *opened)
{
    if (!opened)
        return;
    buf_fini(&opened->text);
    free(opened);
}

static char *key_of(const struct place *place)
{
    return mem_printf("%s\n%" PRId64, place->arn, place->segment);
}

static struct opened *opened_of(const struct source_call *call)
{
    char *key = key_of(&call->place);
    struct opened *opened = map_get(&call->source->opened, key);
    free(key);
    return opened;
}

static void close_file(struct source_call *call)
{
    char *key = key_of(&call->place);
    opened_free(map_remove(&call->source->opened, key));
    free(key);
}

/* Whoever has not come for its next page for long: it is read elsewhere, or its handler stands still. */
static void close_idle(struct source_export *source)
{
    const char *key;
    size_t at = 0;
    for (struct opened *opened; (opened = map_next(&source->opened, &at, &key));) {
        if (opened->busy || reactor_now_ms(source->reactor) - opened->used_ms < IDLE_MS)
            continue;
        opened_free(map_remove(&source->opened, key));
        at = 0; /* removal moves slots */
    }
}

static void answer_page(struct source_call *call, struct page *page, bool last)
{
    char *cursor = place_write(&call->place);
    page->resume = arena_copy(&page->arena, cursor, strlen(cursor));
    source_page_fn *done = call->done.page;
    void *whose = call->user;
    call_free(call);
    done(whose, page, last ? NULL : cursor, NULL);
    free(cursor);
}

static void answer_end(struct source_call *call)
{
    struct buf none = BUF_INIT;
    struct err err;
    close_file(call);
    answer_page(call, item_records_page(&none, 0, &err), true);
}

/* {"Item": {...}} */
static bool add_line(struct buf *records, const struct item_frame *frame, const char *text, size_t size,
                     struct err *err)
{
    struct arena arena = ARENA_INIT;
    const struct json *line = json_parse(&arena, text, size, err);
    bool ok = line && item_record_add(records, frame, json_get(line, "Item"), err);
    arena_fini(&arena);
    return ok;
}

static bool read_lines(struct source_call *call, const struct opened *opened, struct buf *records,
                       struct err *err)
{
    const struct export *export = export_of(call);
    const struct item_frame frame = {export->keys, export->region, call->name.taken_ms};
    struct place *place = &call->place;
    int64_t count = 0;
    while (count < call->limit && (size_t)place->offset < opened->text.size) {
        const char *at = opened->text.data + place->offset;
        size_t left = opened->text.size - (size_t)place->offset;
        const char *stop = memchr(at, '\n', left);
        size_t size = stop ? (size_t)(stop - at) : left;
        if (size && !add_line(records, &frame, at, size, err))
            return err_prefix(err, "%s/data/%s, at byte %" PRId64, export->place,
                              export->manifest.files[place->file].name, place->offset);
        count += size > 0;
        place->offset += (int64_t)size + 1;
    }
    place->count += count;
    return true;
}

static void give_page(struct source_call *call, struct opened *opened)
{
    struct buf records = BUF_INIT;
    struct err err = {0};
    opened->used_ms = reactor_now_ms(call->source->reactor);
    struct page *page = read_lines(call, opened, &records, &err)
                            ? item_records_page(&records, call->place.count, &err)
                            : NULL;
    buf_fini(&records);
    if (!page) {
        fail(call, &err);
        return;
    }
    if ((size_t)call->place.offset >= opened->text.size) { /* on to the segment's next file */
        close_file(call);
        call->place.file += call->name.segments;
        call->place.offset = 0;
    }
    if (page->count) {
        answer_page(call, page, (size_t)call->place.file >= export_of(call)->manifest.count);
        return;
    }
    page_release(page);
    timer_set(call->source->reactor, &call->wait, 0);
}

static int64_t count_lines(const struct buf *text)
{
    int64_t count = 0;
    const char *at = text->data, *end = at + text->size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        count += stop > at;
        at = stop + 1;
    }
    return count;
}

static void on_file(void *user, struct buf *text, const struct err *err)
{
    struct source_call *call = user;
    struct err problem;
    struct opened *opened = opened_of(call);
    call->fetch = NULL;
    if (err) {
        close_file(call);
        fail(call, err);
        return;
    }
    int64_t lines = count_lines(text);
    const struct export_file *file = &export_of(call)->manifest.files[call->place.file];
    if (lines != file->items) {
        err_set(&problem, ERR_PARSE, "%s/data/%s holds %" PRId64 " items, and the manifest says %" PRId64,
                export_of(call)->place, file->name, lines, file->items);
        close_file(call);
        fail(call, &problem);
        return;
    }
    opened->busy = false;
    opened->text = *text;
    *text = BUF_INIT;
    give_page(call, opened);
}

static void open_file(struct source_call *call)
{
    const struct export *export = export_of(call);
    const struct export_file *file = &export->manifest.files[call->place.file];
    struct opened *opened = mem_zero(sizeof *opened);
    char *key = key_of(&call->place), *place = mem_printf("%s/data/%s", export->place, file->name);
    *opened = (struct opened){.file = (size_t)call->place.file, .busy = true};
    map_set(&call->source->opened, key, opened);
    call->fetch =
        file_fetch_begin(call->source->reactor, call->source->client, place, file->md5, on_file, call);
    free(key);
    free(place);
}

static void go_on(void *user)
{
    struct source_call *call = user;
    const struct export *export = export_of(call);
    struct opened *opened = opened_of(call);
    if (!export)
        ask_manifests(call, call->name.export);
    else if ((size_t)call->place.file >= export->manifest.count)
        answer_end(call);
    else if (opened && !opened->busy && opened->file == (size_t)call->place.file)
        give_page(call, opened);
    else {
        if (opened && !opened->busy)
            close_file(call);
        close_idle(call->source);
        if (call->source->opened.count < OPEN_MAX && !opened_of(call))
            open_file(call);
        else
            timer_set(call->source->reactor, &call->wait, WAIT_MS);
    }
}

/* A call that was cancelled while its file came. */
static void cancel(struct source_call *call)
{
    struct opened *opened = call->place.arn ? opened_of(call) : NULL;
    if (call->fetch && opened && opened->busy)
        close_file(call);
    call_free(call);
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_page_fn *done, void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    call->done.page = done;
    call->limit = limit;
    bool known = place_read(cursor, &call->place) && snapshot_name_read(call->place.arn, &call->name) &&
                 call->name.export;
    CHECK(known); /* the reader has it from here, by way of the state */
    timer_set(call->source->reactor, &call->wait, 0);
    return call;
}

/* ---- taking one ---- */

static void know(struct source_call *call)
{
    struct export *export = call->export;
    export->place = mem_string(call->where);
    if (!call->takes) {
        char *region = region_of_arn(call->place.arn);
        export->region = region ? region : mem_string("");
        call->export = NULL;
        if (export_of(call)) /* another segment was quicker */
            export_free(export);
        else
            map_set(&call->source->exports, call->place.arn, export);
        go_on(call);
        return;
    }
    size_t count = export->manifest.count;
    call->name.taken_ms = export->manifest.taken_ms;
    call->name.items = export->manifest.items;
    call->name.segments = count < 1                       ? 1
                          : count > SNAPSHOT_SEGMENTS_MAX ? SNAPSHOT_SEGMENTS_MAX
                                                          : (int64_t)count;
    call->name.export = mem_string(call->where);
    char *arn = snapshot_name_write(&call->name);
    source_stream_fn *done = call->done.stream;
    void *whose = call->user;
    call_free(call);
    done(whose, arn, NULL);
    free(arn);
}

struct source_call *source_export_take(struct source *source, const char *place, const char *table,
                                       const char *stream_arn, const char *handler, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(source, NULL, user);
    call->done.stream = done;
    call->takes = true;
    call->name = (struct snapshot_name){.stream_arn = mem_string(stream_arn),
                                        .handler = mem_string(handler),
                                        .table = table ? mem_string(table) : table_of_arn(stream_arn, NULL)};
    ask_manifests(call, place);
    return call;
}

/* ---- life ---- */

static void free_source(struct source *source)
{
    struct source_export *exports = own(source);
    size_t at = 0;
    for (struct opened *opened; (opened = map_next(&exports->opened, &at, NULL));)
        opened_free(opened);
    map_fini(&exports->opened);
    at = 0;
    for (struct export *export; (export = map_next(&exports->exports, &at, NULL));)
        export_free(export);
    map_fini(&exports->exports);
    free(exports);
}

static int64_t late_ms(const char *stream_arn)
{
    (void)stream_arn;
    return 0;
}

static bool reads(const struct config_stream *stream, const char *stream_arn)
{
    struct snapshot_name name;
    (void)stream;
    if (!stream_arn || !snapshot_of_arn(stream_arn) || !snapshot_name_read(stream_arn, &name))
        return stream_arn && strcmp(stream_arn, SOURCE_EXPORT) == 0;
    bool its = name.export != NULL;
    snapshot_name_fini(&name);
    return its;
}

static struct source *open_source(const struct source_world *world)
{
    static const struct source_ops ops = {find_stream, next_stream, list_shards, get_cursor,
                                          read_page,   cancel,      free_source};
    struct source_export *source = mem_zero(sizeof *source);
    source->source = (struct source){&ops, {CURSOR_AGE_MS_MAX, SOURCE_RETENTION_MS, 1, late_ms, false}};
    source->reactor = world->reactor;
    source->client = world->client;
    return &source->source;
}

const struct source_kind source_export_kind = {reads, open_source};
