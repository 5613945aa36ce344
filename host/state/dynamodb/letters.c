/* letters.c: dead letters.
 *
 * A letter's number is its own, without a counter that all hosts would share: the second of its record and a
 * digest of what it is about, so that one that is kept twice is kept once; numbers grow with the records'
 * time. Where a number is another letter's it gets the next. What is to be redriven or offered again is also
 * in a list of its own, written behind the letter: what is in the list and not so in the letter is nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/dynamodb/store_internal.h"

/* Together 53 bits: what JSON's readers take for a number keeps all of it. */
#define SECONDS_BITS 30
#define DIGEST_BITS 23
#define SECONDS_FROM 1577836800 /* 2020 */

#define MARKED "lm"
#define REFUSED "lr"

static void partition_name(char name[8], int64_t id)
{
    snprintf(name, 8, "l/%x", (unsigned)(id % LETTER_PARTITIONS));
}

static char *partition_of(struct pending *pending, int64_t id)
{
    char name[8];
    partition_name(name, id);
    return pending_partition(pending, "%s", name);
}

static char *sort_of(struct pending *pending, int64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%016lld", (long long)id);
    return arena_copy(&pending->arena, text, strlen(text));
}

static void digest_of(const struct store_dead_letter *letter, char digest[ITEM_DIGEST_SIZE])
{
    item_digest(
        (const char *const[]){letter->handler, letter->stream_arn, letter->shard, letter->sequence, NULL},
        digest);
}

static int64_t number_of(const struct store_dead_letter *letter)
{
    char digest[ITEM_DIGEST_SIZE];
    int64_t seconds = letter->record_time_ms / 1000 - SECONDS_FROM, most = (1LL << SECONDS_BITS) - 1;
    digest_of(letter, digest);
    digest[8] = '\0';
    int64_t number = (seconds < 0      ? 0
                      : seconds > most ? most
                                       : seconds)
                         << DIGEST_BITS |
                     (int64_t)(strtoul(digest, NULL, 16) >> (32 - DIGEST_BITS));
    return number ? number : 1; /* 0 is none */
}

static cJSON *letter_key(struct pending *pending, int64_t id)
{
    return call_key(partition_of(pending, id), sort_of(pending, id));
}

/* ---- keeping one ---- */

static void list_it(struct pending *pending, const char *list, int64_t since_ms, step_fn *then)
{
    cJSON *body = call_item(pending_partition(pending, "%s", list), sort_of(pending, pending->id));
    item_add_number(document_get(body, "Item"), "since", since_ms);
    pending_send(pending, "PutItem", body, then);
}

static void take_off_list(struct pending *pending, const char *list, step_fn *then)
{
    pending_send(pending, "DeleteItem",
                 call_key(pending_partition(pending, "%s", list), sort_of(pending, pending->id)), then);
}

static void on_put(struct pending *pending, const cJSON *answer, bool refused);

static void put_row(struct pending *pending)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    cJSON *body = call_item(partition_of(pending, pending->id), sort_of(pending, pending->id));
    cJSON *item = document_get(body, "Item");
    char digest[ITEM_DIGEST_SIZE];
    digest_of(letter, digest);
    item_add_text(item, "digest", digest);
    item_add_text(item, "handler", letter->handler);
    item_add_text(item, "stream", letter->stream_arn);
    item_add_text(item, "shard", letter->shard);
    item_add_text(item, "sequence", letter->sequence);
    item_add_text(item, "event", letter->event_id);
    item_add_text(item, "version", letter->version);
    item_add_text(item, "table", letter->table);
    item_add_text(item, "error", letter->error);
    item_add_text(item, "traceback", letter->traceback);
    item_add_text(item, "condition", letter->condition);
    item_add_text(item, "refused", letter->refused_by);
    item_add_number(item, "attempts", letter->attempts);
    item_add_number(item, "written", letter->record_time_ms);
    item_add_number(item, "failed", letter->failed_ms);
    item_add_number(item, "redrive", letter->redrive_ms);
    pieces_add(&pending->pieces, item);
    item_add_text(call_values(body), ":digest", digest);
    call_demand(body, "attribute_not_exists(pk) OR digest = :digest");
    pending_send(pending, "PutItem", body, on_put);
}

static void on_marked_put(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    (void)answer;
    (void)refused;
    if (*letter->refused_by)
        list_it(pending, REFUSED, letter->failed_ms, pending_next_step);
    else
        pending_next(pending);
}

static void on_put(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    (void)answer;
    if (refused) {
        pending->id++;
        put_row(pending);
    } else if (letter->redrive_ms) {
        list_it(pending, MARKED, letter->redrive_ms, on_marked_put);
    } else {
        on_marked_put(pending, NULL, false);
    }
}

static void on_pieces(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    put_row(pending);
}

static void on_changed(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    (void)answer;
    if (!refused && *letter->refused_by)
        list_it(pending, REFUSED, letter->failed_ms, pending_next_step);
    else
        pending_next(pending);
}

/* It was redriven, and failed again. */
static void change(struct pending *pending)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    pending->id = letter->id;
    cJSON *body = letter_key(pending, letter->id), *values = call_values(body);
    call_set(body, (const char *const[]){"error", "traceback", "attempts", "failed", "version", "condition",
                                         "refused", "redrive", NULL});
    item_add_text(values, ":error", letter->error);
    item_add_text(values, ":traceback", letter->traceback);
    item_add_number(values, ":attempts", letter->attempts);
    item_add_number(values, ":failed", letter->failed_ms);
    item_add_text(values, ":version", letter->version);
    item_add_text(values, ":condition", letter->condition);
    item_add_text(values, ":refused", letter->refused_by);
    item_add_number(values, ":redrive", 0);
    call_demand(body, "attribute_exists(pk)");
    pending_send(pending, "UpdateItem", body, on_changed);
}

void letters_put(struct pending *pending)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    struct buf record = BUF_INIT;
    char digest[ITEM_DIGEST_SIZE];
    if (letter->id) {
        change(pending);
        return;
    }
    buf_add(&record, letter->keys, strlen(letter->keys) + 1);
    buf_add_text(&record, letter->record);
    pieces_make(&pending->pieces, record.data, record.size, PIECES_BESIDE_MAX);
    buf_fini(&record);
    pending->id = number_of(letter);
    digest_of(letter, digest);
    pending_put_pieces(pending, pending_partition(pending, "b/%s", digest), 0, on_pieces);
}

/* ---- forgetting one ---- */

struct forgetting {
    char *partition; /* of its pieces */
    size_t pieces;
    bool marked, refused;
};

static void forget_more(struct pending *pending);

static void on_more_forgotten(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused;
    forget_more(pending);
}

/* What belonged to it: the lists it is on, its pieces. */
static void forget_more(struct pending *pending)
{
    struct forgetting *forgetting = pending->forgetting;
    if (forgetting->marked) {
        forgetting->marked = false;
        take_off_list(pending, MARKED, on_more_forgotten);
    } else if (forgetting->refused) {
        forgetting->refused = false;
        take_off_list(pending, REFUSED, on_more_forgotten);
    } else if (forgetting->pieces) {
        pending_send(pending, "DeleteItem", piece_delete(--forgetting->pieces, forgetting->partition, ""),
                     on_more_forgotten);
    } else {
        pending_next(pending);
    }
}

static void on_forgotten(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    if (refused)
        pending_next(pending);
    else
        forget_more(pending);
}

static void on_looked(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_dead_letter *letter = &pending->write->dead_letter;
    const cJSON *item = document_get(answer, "Item");
    (void)refused;
    if (!item) {
        pending_next(pending);
        return;
    }
    struct forgetting *forgetting = arena_alloc(&pending->arena, sizeof *forgetting);
    *forgetting = (struct forgetting){
        .partition = pending_partition(pending, "b/%.40s", item_text(item, "digest")),
        .pieces = pieces_of(item),
        .marked = item_number(item, "redrive") > 0,
        .refused = *item_text(item, "refused"),
    };
    pending->forgetting = forgetting;
    cJSON *body = letter_key(pending, pending->id), *values = call_values(body);
    item_add_number(values, ":least", letter->redrive_ms);
    /* Gone already, by this very call: then what belonged to it goes too. */
    call_demand(body, "attribute_not_exists(pk) OR redrive >= :least");
    pending_send(pending, "DeleteItem", body, on_forgotten);
}

/* `redrive_ms` of the write: it must be marked. */
void letters_forget(struct pending *pending)
{
    pending->id = pending->write->dead_letter.id;
    cJSON *body = letter_key(pending, pending->id);
    cJSON_AddTrueToObject(body, "ConsistentRead");
    pending_send(pending, "GetItem", body, on_looked);
}

/* ---- marking one ---- */

static void on_marked(struct pending *pending, const cJSON *answer, bool refused)
{
    int64_t redrive_ms = pending->write->dead_letter.redrive_ms;
    (void)answer;
    if (refused)
        pending_next(pending); /* it is gone */
    else if (redrive_ms)
        list_it(pending, MARKED, redrive_ms, requests_ring);
    else
        take_off_list(pending, MARKED, pending_next_step);
}

void letters_mark(struct pending *pending)
{
    pending->id = pending->write->dead_letter.id;
    cJSON *body = letter_key(pending, pending->id);
    call_set(body, (const char *const[]){"redrive", NULL});
    item_add_number(call_values(body), ":redrive", pending->write->dead_letter.redrive_ms);
    call_demand(body, "attribute_exists(pk)");
    pending_send(pending, "UpdateItem", body, on_marked);
}

/* ---- reading ---- */

static struct store_dead_letter read_letter(struct store_snapshot *snapshot, const cJSON *item)
{
    return (struct store_dead_letter){
        .id = strtoll(item_text(item, "sk"), NULL, 10),
        .handler = snapshot_text(snapshot, item, "handler"),
        .stream_arn = snapshot_text(snapshot, item, "stream"),
        .shard = snapshot_text(snapshot, item, "shard"),
        .sequence = snapshot_text(snapshot, item, "sequence"),
        .event_id = snapshot_text(snapshot, item, "event"),
        .version = snapshot_text(snapshot, item, "version"),
        .table = snapshot_text(snapshot, item, "table"),
        .error = snapshot_text(snapshot, item, "error"),
        .traceback = snapshot_text(snapshot, item, "traceback"),
        .condition = snapshot_text(snapshot, item, "condition"),
        .refused_by = snapshot_text(snapshot, item, "refused"),
        .attempts = item_number(item, "attempts"),
        .record_time_ms = item_number(item, "written"),
        .failed_ms = item_number(item, "failed"),
        .redrive_ms = item_number(item, "redrive"),
        .keys = "",
        .record = "",
    };
}

/* Is it one of those that were asked for? */
static bool is_wanted(const struct store_query *query, const cJSON *item)
{
    int64_t failed_ms = item_number(item, "failed"), id = strtoll(item_text(item, "sk"), NULL, 10);
    bool marked = item_number(item, "redrive") > 0, refused = *item_text(item, "refused");
    if (id <= query->after_id ||
        (query->handler && *query->handler && strcmp(query->handler, item_text(item, "handler")) != 0))
        return false;
    if (query->what == STORE_MARKED)
        return marked;
    if (query->what == STORE_REFUSED)
        return refused && !marked;
    return (!query->id || query->id == id) &&
           (!query->error || strstr(item_text(item, "error"), query->error)) &&
           (!query->failed_before_ms || failed_ms < query->failed_before_ms) &&
           (!query->failed_after_ms || failed_ms >= query->failed_after_ms);
}

static int compare(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return strcmp(item_text(left->item, "sk"), item_text(right->item, "sk"));
}

/* The rows that are wanted, in the order of their numbers, no more than the limit; how many there are then.
 */
static void choose(const struct store_query *query, struct rows *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (is_wanted(query, rows->rows[i].item))
            rows->rows[count++] = rows->rows[i];
    if (count)
        qsort(rows->rows, count, sizeof *rows->rows, compare);
    rows->count = query->limit && count > (size_t)query->limit ? (size_t)query->limit : count;
}

static bool read_body(struct store_dead_letter *letter, struct store_snapshot *snapshot,
                      struct bodies *bodies, const cJSON *row, struct err *err)
{
    struct buf body = BUF_INIT;
    bool well = bodies_read(bodies, row, &body, err);
    if (well) {
        letter->keys = arena_copy(&snapshot->arena, body.data ? body.data : "", body.size);
        size_t keys = strlen(letter->keys);
        letter->record = keys < body.size ? letter->keys + keys + 1 : "";
    }
    buf_fini(&body);
    return well;
}

static bool read_letters(struct pending *pending, const struct rows *pieces, struct err *err)
{
    struct store_snapshot *snapshot = pending->snapshot;
    const struct rows *rows = pending->rows;
    struct bodies bodies = {.pieces = pieces};
    bool well = true;
    snapshot->letters = arena_alloc(&snapshot->arena, (rows->count + 1) * sizeof *snapshot->letters);
    for (size_t i = 0; well && i < rows->count; i++) {
        struct store_dead_letter *letter = &snapshot->letters[snapshot->letter_count++];
        *letter = read_letter(snapshot, rows->rows[i].item);
        well = read_body(letter, snapshot, &bodies, rows->rows[i].item, err);
    }
    return well;
}

static void on_bodies(void *user, struct rows *pieces, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = {0};
    pending->reading = NULL;
    bool well = !err && read_letters(pending, pieces, &failure);
    rows_free(pieces);
    pending_loaded(pending, err ? err : well ? NULL : &failure);
}

/* Those whose record stands beside them are whole. */
static void load_bodies(struct pending *pending)
{
    const struct rows *rows = pending->rows;
    struct ask *asks = NULL;
    size_t count = 0, capacity = 0;
    struct err err = {0};
    for (size_t i = 0; i < rows->count; i++) {
        if (!pieces_of(rows->rows[i].item))
            continue;
        mem_grow(&asks, &capacity, count, sizeof *asks);
        asks[count++] = (struct ask){.partition = mem_printf("g/%s/b/%s", pending->store->group,
                                                             item_text(rows->rows[i].item, "digest"))};
    }
    if (count)
        pending->reading = calls_read(pending->store->calls, asks, count, on_bodies, pending);
    else
        pending_loaded(pending, read_letters(pending, NULL, &err) ? NULL : &err);
    free(asks);
}

static void on_letters(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    pending->rows = rows;
    if (err) {
        pending_loaded(pending, err);
        return;
    }
    choose(&pending->query, rows);
    load_bodies(pending);
}

/* ---- by a list ---- */

static const struct row *letter_in(const struct rows *rows, const char *sort)
{
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(item_text(rows->rows[i].item, "sk"), sort) == 0)
            return &rows->rows[i];
    return NULL;
}

/* The list says so, but the letter does not, or not since then. */
static bool is_stale(const struct pending *pending, const cJSON *listed)
{
    const struct row *letter = letter_in(pending->rows, item_text(listed, "sk"));
    if (!letter)
        return true;
    return pending->query.what == STORE_MARKED
               ? item_number(letter->item, "redrive") != item_number(listed, "since")
               : !*item_text(letter->item, "refused");
}

static void clean_list(struct pending *pending);

static void on_cleaned(struct pending *pending, const cJSON *answer, bool refused)
{
    (void)answer;
    (void)refused; /* it was put there anew meanwhile */
    clean_list(pending);
}

static void clean_list(struct pending *pending)
{
    while (pending->at < pending->list->count) {
        const cJSON *listed = pending->list->rows[pending->at++].item;
        if (!is_stale(pending, listed))
            continue;
        cJSON *body = call_key(item_text(listed, "pk"), item_text(listed, "sk"));
        item_add_number(call_values(body), ":since", item_number(listed, "since"));
        call_demand(body, "since = :since");
        pending_send(pending, "DeleteItem", body, on_cleaned);
        return;
    }
    choose(&pending->query, pending->rows);
    load_bodies(pending);
}

static void on_named(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    pending->rows = rows;
    if (err)
        pending_loaded(pending, err);
    else
        clean_list(pending);
}

/* The letters that a list names. */
static void on_listed(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    size_t count = err ? 0 : rows->count;
    pending->reading = NULL;
    pending->list = rows;
    if (!count) {
        pending_loaded(pending, err);
        return;
    }
    struct ask *asks = mem_zero(count * sizeof *asks);
    for (size_t i = 0; i < count; i++) {
        const char *sort = item_text(rows->rows[i].item, "sk");
        char name[8];
        partition_name(name, strtoll(sort, NULL, 10));
        asks[i] = (struct ask){.partition = mem_printf("g/%s/%s", pending->store->group, name),
                               .sort = mem_string(sort)};
    }
    pending->reading = calls_read(pending->store->calls, asks, count, on_named, pending);
    free(asks);
}

static void load_list(struct pending *pending, const char *list)
{
    struct ask ask = {.partition = mem_printf("g/%s/%s", pending->store->group, list)};
    if (pending->query.after_id)
        ask.after = mem_printf("%016lld", (long long)pending->query.after_id);
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_listed, pending);
}

static void load_one(struct pending *pending)
{
    char name[8];
    partition_name(name, pending->query.id);
    struct ask ask = {.partition = mem_printf("g/%s/%s", pending->store->group, name),
                      .sort = mem_printf("%016lld", (long long)pending->query.id)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_letters, pending);
}

static void load_some(struct pending *pending)
{
    const struct store_query *query = &pending->query;
    struct ask asks[LETTER_PARTITIONS];
    bool all = !query->handler && !query->error && !query->failed_before_ms && !query->failed_after_ms;
    for (int i = 0; i < LETTER_PARTITIONS; i++) {
        char name[8];
        partition_name(name, i);
        asks[i] = (struct ask){.partition = mem_printf("g/%s/%s", pending->store->group, name),
                               .after = mem_printf("%016lld", (long long)query->after_id),
                               .limit = all ? query->limit : 0};
    }
    pending->reading = calls_read(pending->store->calls, asks, LETTER_PARTITIONS, on_letters, pending);
}

void letters_load(struct pending *pending)
{
    if (pending->query.what == STORE_MARKED)
        load_list(pending, MARKED);
    else if (pending->query.what == STORE_REFUSED)
        load_list(pending, REFUSED);
    else if (pending->query.id)
        load_one(pending);
    else
        load_some(pending);
}

/* ---- counting ---- */

void letters_ask_counts(const struct store_dynamodb *store, struct ask *asks)
{
    static const char *const fields[] = {"handler", "stream", "shard", NULL};
    for (int i = 0; i < LETTER_PARTITIONS; i++) {
        char name[8];
        partition_name(name, i);
        asks[i] = (struct ask){.partition = mem_printf("g/%s/%s", store->group, name), .fields = fields};
    }
}

static int compare_counts(const void *a, const void *b)
{
    const struct store_dead_count *left = a, *right = b;
    int order = strcmp(left->handler, right->handler);
    order = order ? order : strcmp(left->stream_arn, right->stream_arn);
    return order ? order : strcmp(left->shard, right->shard);
}

/* Rows of letters into counts, in the order of handlers. */
void letters_count(struct store_snapshot *snapshot, const struct row *rows, size_t count)
{
    struct store_dead_count *each = arena_alloc(&snapshot->arena, (count + 1) * sizeof *snapshot->dead);
    for (size_t i = 0; i < count; i++)
        each[i] = (struct store_dead_count){snapshot_text(snapshot, rows[i].item, "handler"),
                                            snapshot_text(snapshot, rows[i].item, "stream"),
                                            snapshot_text(snapshot, rows[i].item, "shard"), 1};
    if (count)
        qsort(each, count, sizeof *each, compare_counts);
    snapshot->dead = each;
    for (size_t i = 0; i < count; i++) {
        struct store_dead_count *last = &each[snapshot->dead_count - (snapshot->dead_count > 0)];
        if (snapshot->dead_count && compare_counts(last, &each[i]) == 0)
            last->count++;
        else
            each[snapshot->dead_count++] = each[i];
    }
}

static void on_counts(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    if (!err)
        letters_count(pending->snapshot, rows->rows, rows->count);
    rows_free(rows);
    pending_loaded(pending, err);
}

void letters_load_counts(struct pending *pending)
{
    struct ask asks[LETTER_PARTITIONS] = {0};
    letters_ask_counts(pending->store, asks);
    pending->reading = calls_read(pending->store->calls, asks, LETTER_PARTITIONS, on_counts, pending);
}
