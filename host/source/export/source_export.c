/* source_export.c: manifests first, then file after file, a page of lines at a time. */
#include "source/export/source_export.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "source/export/export_search.h"
#include "source/export/file_fetch.h"
#include "source/export/item_lines.h"
#include "source/snapshot/segments.h"

#define CURSOR_AGE_MS_MAX ((int64_t)1 << 50)

/* Files that are unpacked at once, of one reactor; others wait for their turn. */
#define OPEN_MAX 2
#define WAIT_MS 20
#define IDLE_MS 60000

/* What is known of an export, once somebody has asked. */
struct export
{
    struct export_found found;
    struct key_names *keys;
    char *region;
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
    struct log *log;
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
    struct segments_answer answer;
    struct timer wait;
    struct file_fetch *fetch;
    struct export_search *search;
    struct key_names_call *keys;
    enum { A_PAGE, A_SNAPSHOT, WHAT_FOLLOWS } wants;
    union {
        source_stream_fn *stream;
        source_page_fn *page;
    } done;
    void *user;
    struct snapshot_name name;
    struct export *export; /* on its way to be known; NULL once it is */
    struct place place;    /* of a page */
    int64_t limit;
};

static struct source_export *own(struct source *source)
{
    return (struct source_export *)(void *)source;
}

static void export_free(struct export *export)
{
    if (!export)
        return;
    export_found_fini(&export->found);
    key_names_free(export->keys);
    free(export->region);
    free(export);
}

static void call_free(struct source_call *call)
{
    file_fetch_cancel(call->fetch);
    export_search_cancel(call->search);
    key_names_cancel(call->keys);
    segments_answer_fini(&call->answer);
    timer_stop(call->source->reactor, &call->wait);
    snapshot_name_fini(&call->name);
    export_free(call->export);
    free(call->place.arn);
    free(call);
}

static void go_on(void *user);

static struct source_call *call_new(struct source *source, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->source = own(source);
    call->user = user;
    segments_answer_init(&call->answer, call, call_free, user);
    timer_init(&call->wait, go_on, call);
    return call;
}

/* ---- what needs no asking ---- */

/* Nobody looks for an export's stream: it is taken. */
static struct source_call *find_stream(struct source *source, const char *table, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(source, user);
    (void)table;
    segments_answer_stream(&call->answer, call->source->reactor, NULL, done);
    return call;
}

static struct source_call *list_shards(struct source *source, const char *stream_arn, const char *after,
                                       source_shards_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)after;
    segments_answer_shards(&call->answer, call->source->reactor, stream_arn, done);
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

/* As in a snapshot: without the page's word its segment is read once more, under greater numbers. */
static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    struct source_call *call = call_new(source, user);
    struct place place = {.arn = (char *)stream_arn,
                          .segment = snapshot_segment_read(shard),
                          .count = kind == CURSOR_AFTER ? strtoll(sequence, NULL, 10) : 0};
    place.file = place.segment;
    segments_answer_cursor(&call->answer, call->source->reactor, place_write(&place), done);
    return call;
}

/* ---- the manifests ---- */

static void fail(struct source_call *call, const struct err *err)
{
    struct source_error error = item_source_error(err);
    void *whose = call->user;
    if (call->wants == A_PAGE) {
        source_page_fn *done = call->done.page;
        call_free(call);
        done(whose, NULL, NULL, &error);
    } else {
        source_stream_fn *done = call->done.stream;
        call_free(call);
        done(whose, NULL, &error);
    }
}

static void know(struct source_call *call);

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
    struct export_found *found = &call->export->found;
    struct err problem;
    call->fetch = NULL;
    if (!err && !manifest_read_files(&found->manifest, text->data ? text->data : "", text->size, &problem)) {
        err_prefix(&problem, "%s/manifest-files.json", found->place);
        err = &problem;
    }
    if (err) {
        fail(call, err);
        return;
    }
    call->keys = key_names_ask(call->source->client, call->name.table, on_keys, call);
}

static void on_found(void *user, struct export_chain *chain, const struct err *err)
{
    struct source_call *call = user;
    struct err problem;
    call->search = NULL;
    if (!err && call->wants == A_SNAPSHOT && chain->exports[0].manifest.incremental) {
        err_set(
            &problem, ERR_CONFIG,
            "%s is an incremental export, which has changes and not what the table held: name a full one, "
            "or the place that both were written to",
            chain->exports[0].place);
        err = &problem;
    }
    if (err) {
        fail(call, err);
        return;
    }
    for (size_t i = 0; call->wants == A_SNAPSHOT && i < chain->passed_over.count; i++)
        log_warn(call->source->log, NULL, "exports of table %s: passed over: %s", call->name.table,
                 chain->passed_over.lines[i]);
    call->export = mem_zero(sizeof *call->export);
    call->export->found = chain->exports[0];
    chain->exports[0] = (struct export_found){0};
    if (call->wants == A_SNAPSHOT && chain->count > 1)
        call->name.until_ms = chain->exports[chain->count - 1].manifest.taken_ms;
    char *place = mem_printf("%s/manifest-files.json", call->export->found.place);
    call->fetch = file_fetch_begin(call->source->reactor, call->source->client, place, NULL, on_files, call);
    free(place);
}

static void search(struct source_call *call, const char *place, int64_t after_ms)
{
    const struct export_query query = {.place = place,
                                       .table = call->name.table,
                                       .after_ms = after_ms,
                                       .until_ms = after_ms ? call->name.until_ms : 0};
    call->search = export_search_begin(call->source->reactor, call->source->client, &query, on_found, call);
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

static bool read_lines(struct source_call *call, const struct opened *opened, struct buf *records,
                       struct err *err)
{
    const struct export *export = export_of(call);
    const struct export_manifest *manifest = &export->found.manifest;
    const struct item_frame frame = {
        .keys = export->keys, .region = export->region, .taken_ms = call->name.taken_ms};
    struct place *place = &call->place;
    int64_t count = 0;
    while (count < call->limit && (size_t)place->offset < opened->text.size) {
        const char *at = opened->text.data + place->offset;
        size_t left = opened->text.size - (size_t)place->offset;
        const char *stop = memchr(at, '\n', left);
        size_t size = stop ? (size_t)(stop - at) : left;
        if (size && !item_line_add(records, &frame, manifest, at, size, err))
            return err_prefix(err, "%s of %s, at byte %" PRId64, manifest->files[place->file].name,
                              export->found.place, place->offset);
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
        answer_page(call, page, (size_t)call->place.file >= export_of(call)->found.manifest.count);
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
    const struct export_found *found = &export_of(call)->found;
    const struct export_file *file = &found->manifest.files[call->place.file];
    if (lines != file->items) {
        err_set(&problem, ERR_PARSE, "%s of %s holds %" PRId64 " items, and the manifest says %" PRId64,
                file->name, found->place, lines, file->items);
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
    const struct export_file *file = &export->found.manifest.files[call->place.file];
    struct opened *opened = mem_zero(sizeof *opened);
    char *key = key_of(&call->place), *place = export_file_place(&export->found, file);
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
        search(call, call->name.export, 0);
    else if ((size_t)call->place.file >= export->found.manifest.count)
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
                                     source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)ahead;
    call->done.page = done;
    call->limit = limit;
    bool known = place_read(cursor, &call->place) && snapshot_name_read(call->place.arn, &call->name) &&
                 call->name.export;
    CHECK(known); /* the reader has it from here, by way of the state */
    timer_set(call->source->reactor, &call->wait, 0);
    return call;
}

/* ---- taking one ---- */

/* All of the export is known that its name says. */
static void answer_name(struct source_call *call)
{
    const struct export_found *found = &call->export->found;
    size_t count = found->manifest.count;
    call->name.taken_ms = found->manifest.taken_ms;
    call->name.items = found->manifest.items;
    call->name.begun_ms = clock_wall_ms(reactor_clock(call->source->reactor));
    call->name.segments = count < 1                       ? 1
                          : count > SNAPSHOT_SEGMENTS_MAX ? SNAPSHOT_SEGMENTS_MAX
                                                          : (int64_t)count;
    free(call->name.export);
    call->name.export = mem_string(found->place);
    char *arn = snapshot_name_write(&call->name);
    source_stream_fn *done = call->done.stream;
    void *whose = call->user;
    call_free(call);
    done(whose, arn, NULL);
    free(arn);
}

static void know(struct source_call *call)
{
    if (call->wants != A_PAGE) {
        answer_name(call);
        return;
    }
    char *region = region_of_arn(call->place.arn);
    call->export->region = region ? region : mem_string("");
    if (export_of(call)) /* another segment was quicker */
        export_free(call->export);
    else
        map_set(&call->source->exports, call->place.arn, call->export);
    call->export = NULL;
    go_on(call);
}

struct source_call *source_export_take(struct source *source, const char *place, const char *table,
                                       const char *stream_arn, const char *handler, source_stream_fn *done,
                                       void *user)
{
    struct source_call *call = call_new(source, user);
    call->done.stream = done;
    call->wants = A_SNAPSHOT;
    call->name = (struct snapshot_name){.stream_arn = mem_string(stream_arn),
                                        .handler = mem_string(handler),
                                        .table = table ? mem_string(table) : table_of_arn(stream_arn, NULL)};
    search(call, place, 0);
    return call;
}

/* Behind an export the incremental ones that were there when it was taken, one after the other; then the
 * stream. */
static struct source_call *next_stream(struct source *source, const char *table, const char *stream_arn,
                                       source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)table;
    bool known = snapshot_name_read(stream_arn, &call->name);
    CHECK(known);
    char *root = call->name.until_ms > call->name.taken_ms ? export_root(call->name.export) : NULL;
    call->done.stream = done;
    call->wants = WHAT_FOLLOWS;
    if (root)
        search(call, root, call->name.taken_ms);
    else
        segments_answer_stream(&call->answer, call->source->reactor, stream_arn, done);
    free(root);
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
    source->source =
        (struct source){.ops = &ops, .traits = {CURSOR_AGE_MS_MAX, SOURCE_RETENTION_MS, 1, late_ms, false}};
    source->reactor = world->reactor;
    source->client = world->client;
    source->log = world->log;
    return &source->source;
}

const struct source_kind source_export_kind = {reads, open_source};
