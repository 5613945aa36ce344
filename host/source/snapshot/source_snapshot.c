/* source_snapshot.c: Scan, until a page is full; then wait until the stream was looked through as far. */
#include "source/snapshot/source_snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/document.h"
#include "base/map.h"
#include "base/mem.h"
#include "source/snapshot/item_records.h"
#include "source/snapshot/segments.h"
#include "source/snapshot/snapshot_name.h"

/* So often it is looked whether the table is still the one that it was. */
#define TABLE_LOOK_MS 10000

/* What is read has to wait for the stream, so it is several pages at once. */
#define ITEMS_MAX 8000
#define BYTES_MAX (4 << 20)
#define SCAN_MS_MAX 5000

#define WAIT_MS 50

/* As long as the reader can count. */
#define CURSOR_AGE_MS_MAX ((int64_t)1 << 50)

struct source_snapshot {
    struct source source;
    struct reactor *reactor;
    struct aws_client *client;
    struct snapshots *snapshots;
    struct log *log;
    struct map tables; /* ARN -> struct key_names, owned */
    struct map ready;  /* cursor -> struct ready, owned */
    struct timer tidy;
};

/* A page that waits to be asked for: it was read, and looked after, with those before it. */
struct ready {
    struct page *page;
    char *next; /* NULL: it is the last */
    int64_t since_ms;
};

/* Nobody has asked for it so long: its segment is read elsewhere, or the handler is slow, and it is read once
 * more. */
#define READY_MS (5 * 60 * 1000)

/* What one Scan has answered. */
struct chunk {
    struct buf records; /* as page_read wants them, with commas between */
    int64_t items;      /* that were read */
    char *key;          /* behind them, as in struct place */
};

/* "ARN SEGMENT COUNT KEY", with newlines between; KEY: the LastEvaluatedKey; "": from the start; "-": it was
 * read to its end. */
struct place {
    char *arn, *key;
    int64_t segment, count;
};

struct source_call {
    struct source_snapshot *source;
    struct aws_call *call;
    struct key_names_call *keys;
    struct segments_answer answer;
    struct timer wait;
    union {
        source_stream_fn *stream;
        source_page_fn *page;
    } done;
    void *user;
    struct snapshot_name name; /* of a page; or what take makes */
    char *text;                /* a page's cursor */
    int64_t segments;          /* of take: what is wanted */
    /* Of a page: */
    struct place place;
    char *region;
    struct snapshot_terms terms;
    enum { FOR_TERMS, FOR_PACE, FOR_STREAM } phase; /* what is waited for */
    int64_t limit;
    int64_t began_ms, read_ms; /* monotonic; wall clock, of the last answer */
    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
    int64_t items, bytes; /* of all chunks */
    bool ended;
};

static void place_fini(struct place *place)
{
    free(place->arn);
    free(place->key);
    *place = (struct place){0};
}

static char *place_write(const char *arn, int64_t segment, int64_t count, const char *key)
{
    return mem_printf("%s\n%" PRId64 "\n%" PRId64 "\n%s", arn, segment, count, key);
}

static bool place_read(const char *cursor, struct place *place)
{
    const char *numbers = strchr(cursor, '\n');
    int size = 0;
    *place = (struct place){0};
    if (!numbers ||
        sscanf(numbers + 1, "%" SCNd64 "\n%" SCNd64 "%n", &place->segment, &place->count, &size) != 2 ||
        !size || numbers[1 + size] != '\n')
        return false;
    place->arn = mem_copy(cursor, (size_t)(numbers - cursor));
    place->key = mem_string(numbers + 1 + size + 1);
    return true;
}

static struct source_snapshot *own(struct source *source)
{
    return (struct source_snapshot *)(void *)source;
}

static void free_chunks(struct source_call *call)
{
    for (size_t i = 0; i < call->chunk_count; i++) {
        buf_fini(&call->chunks[i].records);
        free(call->chunks[i].key);
    }
    free(call->chunks);
    call->chunks = NULL;
    call->chunk_count = call->chunk_capacity = 0;
    call->items = call->bytes = 0;
}

static void call_free(struct source_call *call)
{
    aws_cancel(call->call);
    key_names_cancel(call->keys);
    free(call->region);
    segments_answer_fini(&call->answer);
    timer_stop(call->source->reactor, &call->wait);
    snapshot_name_fini(&call->name);
    place_fini(&call->place);
    free_chunks(call);
    free(call->text);
    free(call);
}

static void wait_over(void *user);

static struct source_call *call_new(struct source *source, void *user)
{
    struct source_call *call = mem_zero(sizeof *call);
    call->source = own(source);
    call->user = user;
    segments_answer_init(&call->answer, call, call_free, user);
    timer_init(&call->wait, wait_over, call);
    return call;
}

/* ---- what needs no asking ---- */

static struct source_call *next_stream(struct source *source, const char *table, const char *stream_arn,
                                       source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)table;
    segments_answer_stream(&call->answer, call->source->reactor, stream_arn, done);
    return call;
}

/* Nobody looks for a snapshot: it is taken. */
static struct source_call *find_stream(struct source *source, const char *table, source_stream_fn *done,
                                       void *user)
{
    return next_stream(source, table, NULL, done, user);
}

static struct source_call *list_shards(struct source *source, const char *stream_arn, const char *after,
                                       source_shards_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)after;
    segments_answer_shards(&call->answer, call->source->reactor, stream_arn, done);
    return call;
}

/* Where a number stands only the page knew that had it. Without that the segment is read once more, under
 * greater numbers: repeated, and not skipped. */
static struct source_call *get_cursor(struct source *source, const char *stream_arn, const char *shard,
                                      enum cursor_kind kind, const char *sequence, source_cursor_fn *done,
                                      void *user)
{
    struct source_call *call = call_new(source, user);
    char *cursor = place_write(stream_arn, snapshot_segment_read(shard),
                               kind == CURSOR_AFTER ? strtoll(sequence, NULL, 10) : 0, "");
    segments_answer_cursor(&call->answer, call->source->reactor, cursor, done);
    return call;
}

/* ---- DescribeTable ---- */

static struct aws_request request_of(const char *operation, cJSON *body)
{
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = operation, .own = true};
    document_write(body, &request.body);
    return request;
}

static void fail_page(struct source_call *call, const struct err *err)
{
    struct source_error error = item_source_error(err);
    source_page_fn *done = call->done.page;
    void *whose = call->user;
    call_free(call);
    done(whose, NULL, NULL, &error);
}

static void describe(struct source_call *call, const char *table, aws_done_fn *done)
{
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, "TableName", table);
    struct aws_request request = request_of("DescribeTable", body);
    call->call = aws_send(call->source->client, &request, done, call);
}

static void on_size(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct err problem;
    struct source_error error = {SOURCE_OTHER, {0}};
    call->call = NULL;
    cJSON *root = err ? NULL : document_read(response->body.data, response->body.size, &problem);
    const cJSON *table = document_get(root, "Table");
    if (!root)
        error = item_source_error(err ? err : &problem);
    call->name.items = document_integer(table, "ItemCount", 0);
    call->name.bytes = document_integer(table, "TableSizeBytes", 0);
    call->name.created_ms = created_ms_of(table);
    call->name.segments = call->segments ? call->segments : snapshot_segments_for(call->name.bytes);
    char *arn = root ? snapshot_name_write(&call->name) : NULL;
    source_stream_fn *done = call->done.stream;
    void *whose = call->user;
    cJSON_Delete(root);
    call_free(call);
    done(whose, arn, arn ? NULL : &error);
    free(arn);
}

struct source_call *source_snapshot_take(struct source *source, const char *table, const char *stream_arn,
                                         const char *handler, int64_t taken_ms, int64_t segments,
                                         source_stream_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    call->done.stream = done;
    call->segments = segments;
    call->name = (struct snapshot_name){.stream_arn = mem_string(stream_arn),
                                        .handler = mem_string(handler),
                                        .table = table ? mem_string(table) : table_of_arn(stream_arn, NULL),
                                        .taken_ms = taken_ms};
    describe(call, call->name.table, on_size);
    return call;
}

/* ---- Scan ---- */

static const struct key_names *table_of(const struct source_call *call)
{
    return map_get(&call->source->tables, call->place.arn);
}

static struct item_frame frame_of(const struct source_call *call)
{
    return (struct item_frame){
        .keys = table_of(call), .region = call->region, .taken_ms = call->name.taken_ms};
}

static void scan(struct source_call *call);
static void give_pages(struct source_call *call);

static bool read_items(struct source_call *call, const struct json *root, struct err *err)
{
    const struct json *items = json_get(root, "Items"), *last = json_get(root, "LastEvaluatedKey");
    struct buf key = BUF_INIT;
    struct chunk chunk = {0};
    const struct item_frame frame = frame_of(call);
    if (!items || items->type != JSON_ARRAY)
        return err_set(err, ERR_PARSE, "Scan: the answer holds no Items");
    json_each(item, items) {
        if (!item_record_add(&chunk.records, &frame, item, err)) {
            buf_fini(&chunk.records);
            return err_prefix(err, "Scan");
        }
        chunk.items++;
    }
    call->ended = !last || last->type != JSON_OBJECT || !last->count;
    if (!call->ended)
        json_write_value(&key, last);
    chunk.key = call->ended ? mem_string("-") : buf_take(&key);
    call->items += chunk.items;
    call->bytes += (int64_t)chunk.records.size;
    mem_grow(&call->chunks, &call->chunk_capacity, call->chunk_count, sizeof *call->chunks);
    call->chunks[call->chunk_count++] = chunk;
    return true;
}

static void charge(struct source_call *call, const struct json *root)
{
    double units = json_double(json_get(json_get(root, "ConsumedCapacity"), "CapacityUnits"), 0);
    pace_charge(call->terms.pace, call->terms.interval_ns, (size_t)(units + 0.5),
                clock_monotonic_us(reactor_clock(call->source->reactor)));
}

static void on_scanned(void *user, struct transport_response *response, const struct err *err)
{
    struct source_call *call = user;
    struct reactor *reactor = call->source->reactor;
    struct arena arena = ARENA_INIT;
    struct err problem = {0};
    call->call = NULL;
    if (err) {
        struct key_names *names = map_get(&call->source->tables, call->place.arn);
        if (names) /* it is looked at again; others may still read by it */
            names->asked_ms = -TABLE_LOOK_MS;
        fail_page(call, err);
        return;
    }
    call->read_ms = clock_wall_ms(reactor_clock(reactor));
    const struct json *root =
        json_parse(&arena, response->body.data ? response->body.data : "", response->body.size, &problem);
    bool good = root && read_items(call, root, &problem);
    if (good)
        charge(call, root);
    arena_fini(&arena);
    if (!good) {
        fail_page(call, &problem);
        return;
    }
    bool full = call->items >= ITEMS_MAX || call->bytes >= BYTES_MAX ||
                reactor_now_ms(reactor) - call->began_ms >= SCAN_MS_MAX;
    if (!call->ended && !(full && call->items)) {
        scan(call);
        return;
    }
    if (!call->items) { /* nothing that could have changed */
        give_pages(call);
        return;
    }
    call->phase = FOR_STREAM;
    timer_set(reactor, &call->wait, 0);
}

static void scan(struct source_call *call)
{
    struct reactor *reactor = call->source->reactor;
    int64_t wait_us =
        pace_wait(call->terms.pace, call->terms.interval_ns, clock_monotonic_us(reactor_clock(reactor)));
    if (wait_us && call->terms.interval_ns) {
        call->phase = FOR_PACE;
        timer_set(reactor, &call->wait, wait_us / 1000 + 1);
        return;
    }
    struct buf body = BUF_INIT;
    buf_add_literal(&body, "{\"TableName\":");
    json_write_string(&body, call->name.table, strlen(call->name.table));
    buf_printf(&body,
               ",\"Segment\":%" PRId64 ",\"TotalSegments\":%" PRId64 ",\"Limit\":%" PRId64
               ",\"ReturnConsumedCapacity\":\"TOTAL\",\"ConsistentRead\":%s",
               call->place.segment, call->name.segments, call->limit,
               call->terms.consistent ? "true" : "false");
    const char *key = call->chunk_count ? call->chunks[call->chunk_count - 1].key : call->place.key;
    if (*key) {
        buf_add_literal(&body, ",\"ExclusiveStartKey\":");
        buf_add_text(&body, key);
    }
    buf_add_char(&body, '}');
    struct aws_request request = {
        .service = AWS_DYNAMODB,
        .operation = "Scan",
        .body = body,
        .own = true,
        .attempts = 1, /* the reader knows better when to try again */
        .tables = mem_printf("%s\n", call->name.table),
    };
    call->call = aws_send(call->source->client, &request, on_scanned, call);
}

static void begin_scan(struct source_call *call)
{
    free_chunks(call);
    call->began_ms = reactor_now_ms(call->source->reactor);
    scan(call);
}

/* ---- a page ---- */

/* Of items that have changed meanwhile what they were before; or nothing. */
static void rewrite(const struct source_call *call, const struct page *page, struct buf *records)
{
    struct buf image = BUF_INIT;
    const struct item_frame frame = frame_of(call);
    buf_clear(records);
    for (size_t i = 0; i < page->count; i++) {
        const struct record *record = &page->records[i];
        buf_clear(&image);
        switch (snapshots_look(call->source->snapshots, call->place.arn, record->item, &image)) {
        case ITEM_LATER:
            break;
        case ITEM_AS_READ:
            if (records->size)
                buf_add_char(records, ',');
            json_write_value(records, record->json);
            break;
        case ITEM_AS_IT_WAS: {
            struct arena arena = ARENA_INIT;
            struct err err;
            const struct json *was = json_parse(&arena, image.data, image.size, &err);
            CHECK(was); /* it was written from such a tree */
            item_record_add(records, &frame, was, &err);
            arena_fini(&arena);
            break;
        }
        }
    }
    buf_fini(&image);
}

static bool any_changed(const struct source_call *call, const struct page *page)
{
    struct buf image = BUF_INIT;
    bool any = false;
    for (size_t i = 0; i < page->count && !any; i++)
        any = snapshots_look(call->source->snapshots, call->place.arn, page->records[i].item, &image) !=
              ITEM_AS_READ;
    buf_fini(&image);
    return any;
}

static struct page *make_page(const struct source_call *call, struct chunk *chunk, int64_t number,
                              struct err *err)
{
    struct page *page = item_records_page(&chunk->records, number, err);
    if (page && any_changed(call, page)) {
        rewrite(call, page, &chunk->records);
        page_release(page);
        page = item_records_page(&chunk->records, number, err);
    }
    return page;
}

static void ready_free(struct ready *ready)
{
    if (!ready)
        return;
    page_release(ready->page);
    free(ready->next);
    free(ready);
}

/* The call's page, which is the first of what was read. */
static void answer_page(struct source_call *call, struct ready *ready)
{
    source_page_fn *done = call->done.page;
    void *whose = call->user;
    struct page *page = ready->page;
    char *next = ready->next;
    free(ready);
    call_free(call);
    done(whose, page, next, NULL);
    free(next);
}

/* Behind it is `cursor`; the last of a segment says so to whoever comes back. */
static void end_ready(struct ready *ready, const char *cursor, bool last)
{
    ready->page->resume = arena_copy(&ready->page->arena, cursor, strlen(cursor));
    ready->next = last ? NULL : mem_string(cursor);
}

/* The stream was looked through up to what was read: each chunk that is not empty by now is a page, and those
 * behind the first wait to be asked for. */
static void give_pages(struct source_call *call)
{
    struct source_snapshot *source = call->source;
    struct place *place = &call->place;
    struct ready *first = NULL, *last = NULL;
    struct err err = {0};
    char *cursor = NULL; /* behind `last` */
    for (size_t i = 0; i < call->chunk_count && !err.code; i++) {
        struct chunk *chunk = &call->chunks[i];
        struct page *page = make_page(call, chunk, place->count + chunk->items, &err);
        if (!page)
            break;
        if (page->count) {
            struct ready *ready = mem_zero(sizeof *ready);
            *ready = (struct ready){.page = page, .since_ms = reactor_now_ms(source->reactor)};
            if (last) {
                end_ready(last, cursor, false);
                ready_free(map_remove(&source->ready, cursor));
                map_set(&source->ready, cursor, ready);
            }
            first = first ? first : ready;
            last = ready;
        } else {
            page_release(page);
        }
        place->count += chunk->items;
        free(cursor);
        cursor = place_write(place->arn, place->segment, place->count, chunk->key);
    }
    if (err.code && !first) {
        free(cursor);
        fail_page(call, &err);
        return;
    }
    /* An empty one would say that there is nothing more for now. */
    if (!first && !call->ended) {
        free(place->key);
        place->key = mem_string(call->chunks[call->chunk_count - 1].key);
        free(cursor);
        begin_scan(call);
        return;
    }
    if (!first) {
        struct buf none = BUF_INIT;
        first = last = mem_zero(sizeof *first);
        first->page = item_records_page(&none, 0, &err);
        CHECK(first->page);
        cursor = cursor ? cursor : place_write(place->arn, place->segment, place->count, "-");
    }
    end_ready(last, cursor, call->ended && !err.code);
    free(cursor);
    answer_page(call, first);
}

static void tidy(void *user)
{
    struct source_snapshot *source = user;
    const char *cursor;
    size_t at = 0;
    for (struct ready *ready; (ready = map_next(&source->ready, &at, &cursor));) {
        if (reactor_now_ms(source->reactor) - ready->since_ms < READY_MS)
            continue;
        ready_free(map_remove(&source->ready, cursor));
        at = 0; /* removal moves slots */
    }
    timer_set(source->reactor, &source->tidy, READY_MS);
}

/* The table is gone, or another has its name: what was not read of it is gone, too. */
static void end_with_table(struct source_call *call)
{
    log_warn(call->source->log, NULL,
             "snapshot of %s, segment %" PRId64
             ": the table was deleted while it was read, or made anew: what was "
             "not read yet is gone with it",
             call->name.table, call->place.segment);
    free(call->place.key);
    call->place.key = mem_string("-");
    free_chunks(call);
    call->ended = true;
    give_pages(call);
}

static void on_keys(void *user, struct key_names *names, const struct err *err)
{
    struct source_call *call = user;
    call->keys = NULL;
    if (err && strcmp(err->service, "ResourceNotFoundException") == 0) {
        end_with_table(call);
        return;
    }
    if (!names) {
        fail_page(call, err);
        return;
    }
    if (call->name.created_ms && names->created_ms != call->name.created_ms) {
        key_names_free(names);
        end_with_table(call);
        return;
    }
    names->asked_ms = reactor_now_ms(call->source->reactor);
    key_names_free(map_remove(&call->source->tables, call->place.arn));
    map_set(&call->source->tables, call->place.arn, names);
    begin_scan(call);
}

/* Is it still the table that it was? */
static bool is_known(const struct source_call *call)
{
    const struct key_names *names = table_of(call);
    return names && reactor_now_ms(call->source->reactor) - names->asked_ms < TABLE_LOOK_MS;
}

static void begin_page(struct source_call *call)
{
    if (strcmp(call->place.key, "-") == 0) {
        call->ended = true;
        give_pages(call);
    } else if (is_known(call)) {
        begin_scan(call);
    } else {
        call->keys = key_names_ask(call->source->client, call->name.table, on_keys, call);
    }
}

static void wait_over(void *user)
{
    struct source_call *call = user;
    struct source_snapshot *source = call->source;
    struct ready *ready = call->text ? map_remove(&source->ready, call->text) : NULL;
    if (ready)
        answer_page(call, ready);
    else if (call->phase == FOR_TERMS && snapshots_terms(source->snapshots, call->place.arn, &call->terms))
        begin_page(call);
    else if (call->phase == FOR_PACE)
        scan(call);
    else if (call->phase == FOR_STREAM &&
             snapshots_seen_ms(source->snapshots, call->place.arn) > call->read_ms)
        give_pages(call);
    else
        timer_set(source->reactor, &call->wait, WAIT_MS);
}

static struct source_call *read_page(struct source *source, const char *cursor, int64_t limit,
                                     source_ahead_fn *ahead, source_page_fn *done, void *user)
{
    struct source_call *call = call_new(source, user);
    (void)ahead;
    call->done.page = done;
    call->limit = limit;
    call->text = mem_string(cursor);
    bool known = place_read(cursor, &call->place) && snapshot_name_read(call->place.arn, &call->name);
    CHECK(known); /* the reader has it from here, by way of the state */
    char *region = region_of_arn(call->place.arn);
    call->region = region ? region : mem_string("");
    timer_set(call->source->reactor, &call->wait, 0);
    return call;
}

/* ---- life ---- */

static void free_source(struct source *source)
{
    struct source_snapshot *snapshot = own(source);
    size_t at = 0;
    for (struct key_names *names; (names = map_next(&snapshot->tables, &at, NULL));)
        key_names_free(names);
    map_fini(&snapshot->tables);
    at = 0;
    for (struct ready *ready; (ready = map_next(&snapshot->ready, &at, NULL));)
        ready_free(ready);
    map_fini(&snapshot->ready);
    timer_stop(snapshot->reactor, &snapshot->tidy);
    free(snapshot);
}

/* A record has the time at which it was read, and none comes behind it that is older. */
static int64_t late_ms(const char *stream_arn)
{
    (void)stream_arn;
    return 0;
}

static bool reads(const struct config_stream *stream, const char *stream_arn)
{
    (void)stream;
    return stream_arn && snapshot_of_arn(stream_arn);
}

static struct source *open_source(const struct source_world *world)
{
    static const struct source_ops ops = {find_stream, next_stream, list_shards, get_cursor,
                                          read_page,   call_free,   free_source};
    struct source_snapshot *source = mem_zero(sizeof *source);
    source->source =
        (struct source){.ops = &ops, .traits = {CURSOR_AGE_MS_MAX, SOURCE_RETENTION_MS, 1, late_ms, false}};
    source->reactor = world->reactor;
    source->client = world->client;
    source->snapshots = world->snapshots;
    source->log = world->log;
    timer_init(&source->tidy, tidy, source);
    timer_set(world->reactor, &source->tidy, READY_MS);
    return &source->source;
}

const struct source_kind source_snapshot_kind = {reads, open_source};
