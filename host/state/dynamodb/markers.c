/* markers.c: what tidemill.once and the lake remember of a key.
 *
 * A claim is a row that is not done. It is somebody's until it expires, or until he is known to be gone: a
 * host when the rows of its sessions say that they are dead, never by anybody's own timing; a command's
 * process by who asks on the same machine. Time to live takes rows away days later; what has expired counts
 * as gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/dynamodb/store_internal.h"

#define PARTITIONS 64
#define HOST "host:" /* and its instance: an owner that is a host's */

static char *partition_of(struct pending *pending, const char digest[ITEM_DIGEST_SIZE])
{
    char byte[3] = {digest[0], digest[1], '\0'};
    return pending_partition(pending, "k/%02lx", strtoul(byte, NULL, 16) % PARTITIONS);
}

static cJSON *begin(struct pending *pending, cJSON *make(const char *, const char *), const char *handler,
                    const char *key)
{
    char digest[ITEM_DIGEST_SIZE];
    item_digest((const char *const[]){handler, key, NULL}, digest);
    char *sort = mem_printf("%s/%s", handler, digest);
    cJSON *body = make(partition_of(pending, digest), sort);
    free(sort);
    return body;
}

static void add_marker(cJSON *item, const char *handler, const char *key, bool done, int64_t expires_ms)
{
    item_add_text(item, "handler", handler);
    item_add_text(item, "key", key);
    item_add_bool(item, "done", done);
    item_add_number(item, "until", expires_ms);
    item_add_number(item, "expires", expires_ms / 1000 + 1);
}

/* ---- done, or forgotten ---- */

static void on_pieces(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_marker *marker = &pending->write->marker;
    cJSON *body = begin(pending, call_item, marker->handler, marker->key);
    cJSON *item = document_get(body, "Item");
    (void)answer;
    (void)refused;
    add_marker(item, marker->handler, marker->key, true, marker->expires_ms);
    item_add_text(item, "nonce", pending->nonce);
    pieces_add(&pending->pieces, item);
    pending_send(pending, "PutItem", body, pending_next_step);
}

static void forget(struct pending *pending)
{
    const struct store_marker *marker = &pending->write->marker;
    cJSON *body = begin(pending, call_key, marker->handler, marker->key);
    if (*marker->owner) { /* else whosever it is, and done or not */
        item_add_text(call_values(body), ":owner", marker->owner);
        item_add_bool(call_values(body), ":false", false);
        call_demand(body, "own = :owner AND done = :false");
    }
    pending_send(pending, "DeleteItem", body, pending_next_step);
}

/* Pieces go with the marker, by their time to live: each result has its own, so that nobody reads a mixture.
 */
void markers_put(struct pending *pending)
{
    const struct store_marker *marker = &pending->write->marker;
    if (!marker->result) {
        forget(pending);
        return;
    }
    pieces_make(&pending->pieces, marker->result, strlen(marker->result), PIECES_BESIDE_MAX);
    calls_nonce(pending->nonce);
    pending_put_pieces(pending, pending_partition(pending, "kb/%s", pending->nonce),
                       marker->expires_ms / 1000 + 1, on_pieces);
}

/* ---- claims ---- */

static void claimed(struct pending *pending, enum claim claim, const char *result, int64_t expires_ms,
                    const struct err *err)
{
    store_claim_fn *done = pending->claim;
    char *own = mem_string(result);
    struct err why = err ? *err : (struct err){0};
    void *user = pending->user;
    pending_end(pending);
    done(user, claim, own, expires_ms, err ? &why : NULL);
    free(own);
}

/* What is kept of a key that is done. */
static void tell_result(struct pending *pending, const struct rows *pieces)
{
    struct bodies bodies = {.pieces = pieces};
    struct buf result = BUF_INIT;
    struct err err = {0};
    if (bodies_read(&bodies, pending->seen, &result, &err))
        claimed(pending, CLAIM_DONE, result.data ? result.data : "", item_number(pending->seen, "until"),
                NULL);
    else
        claimed(pending, CLAIM_BUSY, "", 0, &err);
    buf_fini(&result);
}

static void on_pieces_read(void *user, struct rows *pieces, const struct err *err)
{
    struct pending *pending = user;
    pending->reading = NULL;
    if (err)
        claimed(pending, CLAIM_BUSY, "", 0, err);
    else
        tell_result(pending, pieces);
    rows_free(pieces);
}

static struct ask ask_pieces(const struct store_dynamodb *store, const cJSON *row)
{
    return (struct ask){.partition = mem_printf("g/%s/kb/%s", store->group, item_text(row, "nonce"))};
}

static void on_claim(struct pending *pending, const cJSON *answer, bool refused);

/* `seen`: the claim that is nobody's any more, and is taken; else one that is not there, or has expired. */
static void put_claim(struct pending *pending, const char *seen)
{
    const struct store_claim *wanted = &pending->wanted;
    cJSON *body = begin(pending, call_item, wanted->handler, wanted->key), *item = document_get(body, "Item");
    add_marker(item, wanted->handler, wanted->key, false, wanted->until_ms);
    item_add_text(item, "own", wanted->owner);
    item_add_text(item, "nonce", pending->nonce);
    if (seen) {
        item_add_text(call_values(body), ":seen", seen);
        item_add_bool(call_values(body), ":false", false);
        call_demand(body, "nonce = :seen AND done = :false");
    } else {
        item_add_number(call_values(body), ":now", wanted->now_ms);
        call_demand(body, "attribute_not_exists(pk) OR #until <= :now");
        document_add_text(cJSON_AddObjectToObject(body, "ExpressionAttributeNames"), "#until", "until");
    }
    pending_send(pending, "PutItem", body, on_claim);
}

/* A process of this machine, and it is not there any more. */
static bool process_is_gone(const char *owner)
{
    char own[STORE_OWNER_SIZE];
    store_process_owner(own);
    const char *boot = strchr(own, ':'), *end = boot ? strchr(boot + 1, ':') : NULL;
    return end && strncmp(own, owner, (size_t)(end - own) + 1) == 0 && store_owner_is_gone(owner);
}

static void take(struct pending *pending)
{
    put_claim(pending, item_text(pending->seen, "nonce"));
}

/* Is every session of that process marked? One that nobody knows of is not. */
static void on_hosts(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    const char *owner = item_text(pending->seen, "own") + strlen(HOST);
    size_t size = strcspn(owner, "/");
    bool any = false, all = true;
    pending->reading = NULL;
    for (size_t i = 0; rows && i < rows->count; i++) {
        const char *instance = item_text(rows->rows[i].item, "inst");
        if (strlen(instance) != size || strncmp(instance, owner, size) != 0)
            continue;
        any = true;
        all = all && *item_text(rows->rows[i].item, "dead");
    }
    rows_free(rows);
    if (err)
        claimed(pending, CLAIM_BUSY, "", 0, err);
    else if (any && all)
        take(pending);
    else
        claimed(pending, CLAIM_BUSY, "", item_number(pending->seen, "until"), NULL);
}

/* Somebody has it. */
static void look_at_owner(struct pending *pending)
{
    const char *owner = item_text(pending->seen, "own");
    if (process_is_gone(owner)) {
        take(pending);
    } else if (strncmp(owner, HOST, strlen(HOST)) == 0) {
        struct ask ask = {.partition = mem_printf("g/%s/h", pending->store->group)};
        pending->reading = calls_read(pending->store->calls, &ask, 1, on_hosts, pending);
    } else {
        claimed(pending, CLAIM_BUSY, "", item_number(pending->seen, "until"), NULL);
    }
}

static void on_row(struct pending *pending, const cJSON *answer, bool refused)
{
    const cJSON *row = document_get(answer, "Item");
    (void)refused;
    if (!row) { /* gone since */
        put_claim(pending, NULL);
        return;
    }
    cJSON_Delete(pending->seen);
    pending->seen = cJSON_Duplicate(row, true);
    if (strcmp(item_text(row, "nonce"), pending->nonce) == 0 && !item_bool(row, "done")) {
        claimed(pending, CLAIM_WON, "", pending->wanted.until_ms, NULL); /* its answer was lost */
    } else if (!item_bool(row, "done")) {
        look_at_owner(pending);
    } else if (pieces_of(row)) {
        struct ask ask = ask_pieces(pending->store, row);
        pending->reading = calls_read(pending->store->calls, &ask, 1, on_pieces_read, pending);
    } else {
        tell_result(pending, NULL);
    }
}

static void on_claim(struct pending *pending, const cJSON *answer, bool refused)
{
    if (!refused) {
        claimed(pending, CLAIM_WON, "", pending->wanted.until_ms, NULL);
    } else if (document_get(answer, "Item")) {
        on_row(pending, answer, true);
    } else { /* an Alternator that does not show it */
        cJSON *body = begin(pending, call_key, pending->wanted.handler, pending->wanted.key);
        cJSON_AddTrueToObject(body, "ConsistentRead");
        pending_send(pending, "GetItem", body, on_row);
    }
}

void markers_claim(struct pending *pending)
{
    calls_nonce(pending->nonce);
    put_claim(pending, NULL);
}

/* ---- those of a handler ---- */

static bool is_kept(const struct pending *pending, const cJSON *row)
{
    return item_bool(row, "done") &&
           item_number(row, "until") > clock_wall_ms(reactor_clock(pending->store->options.reactor)) &&
           (!pending->query.handler || strcmp(item_text(row, "handler"), pending->query.handler) == 0);
}

static bool add_to_snapshot(struct store_snapshot *snapshot, struct bodies *bodies, const cJSON *row,
                            struct err *err)
{
    struct buf result = BUF_INIT;
    bool well = bodies_read(bodies, row, &result, err);
    if (well)
        snapshot->markers[snapshot->marker_count++] = (struct store_marker){
            .handler = snapshot_text(snapshot, row, "handler"),
            .key = snapshot_text(snapshot, row, "key"),
            .result = arena_copy(&snapshot->arena, result.data ? result.data : "", result.size),
            .expires_ms = item_number(row, "until"),
            .owner = "",
        };
    buf_fini(&result);
    return well;
}

static void on_all_pieces(void *user, struct rows *pieces, const struct err *err)
{
    struct pending *pending = user;
    struct store_snapshot *snapshot = pending->snapshot;
    struct bodies bodies = {.pieces = pieces};
    struct err failure = err ? *err : (struct err){0};
    bool well = !err;
    pending->reading = NULL;
    snapshot->markers = arena_alloc(&snapshot->arena, (pending->rows->count + 1) * sizeof *snapshot->markers);
    for (size_t i = 0; well && i < pending->rows->count; i++)
        well = add_to_snapshot(snapshot, &bodies, pending->rows->rows[i].item, &failure);
    rows_free(pieces);
    pending_loaded(pending, well ? NULL : &failure);
}

static void on_markers(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct ask *asks = NULL;
    size_t count = 0, kept = 0, capacity = 0;
    pending->reading = NULL;
    pending->rows = rows;
    if (err) {
        pending_loaded(pending, err);
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (!is_kept(pending, rows->rows[i].item))
            continue;
        rows->rows[kept++] = rows->rows[i];
        if (!pieces_of(rows->rows[i].item))
            continue;
        mem_grow(&asks, &capacity, count, sizeof *asks);
        asks[count++] = ask_pieces(pending->store, rows->rows[i].item);
    }
    rows->count = kept;
    if (count)
        pending->reading = calls_read(pending->store->calls, asks, count, on_all_pieces, pending);
    else
        on_all_pieces(pending, NULL, NULL);
    free(asks);
}

void markers_load(struct pending *pending)
{
    struct ask asks[PARTITIONS];
    for (int i = 0; i < PARTITIONS; i++)
        asks[i] =
            (struct ask){.partition = mem_printf("g/%s/k/%02x", pending->store->group, i),
                         .prefix = pending->query.handler ? mem_printf("%s/", pending->query.handler) : NULL};
    pending->reading = calls_read(pending->store->calls, asks, PARTITIONS, on_markers, pending);
}
