/* told.c: what hosts tell when somebody asks them (notes.h): a row each, which the next answer takes the
 * place of. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/dynamodb/notes.h"
#include "state/dynamodb/store_internal.h"

#define TOLD_KEPT_S 3600

/* ---- telling ---- */

static void on_pieces(struct pending *pending, const cJSON *answer, bool refused)
{
    const struct store_told *told = &pending->write->told;
    cJSON *body = call_item(pending_partition(pending, "n"), told->session),
          *item = document_get(body, "Item");
    (void)answer;
    (void)refused;
    item_add_number(item, "asked", told->asked);
    item_add_text(item, "pieces_of", pending->nonce);
    item_add_number(item, "expires", calls_now_s(pending->store->calls) + TOLD_KEPT_S);
    pieces_add(&pending->pieces, item);
    pending_send(pending, "PutItem", body, pending_next_step);
}

void told_put(struct pending *pending)
{
    const struct store_told *told = &pending->write->told;
    pieces_make(&pending->pieces, told->text, strlen(told->text), PIECES_BESIDE_MAX);
    calls_nonce(pending->nonce);
    pending_put_pieces(pending, pending_partition(pending, "nb/%s", pending->nonce),
                       calls_now_s(pending->store->calls) + TOLD_KEPT_S, on_pieces);
}

/* ---- reading it ---- */

static void tell(struct pending *pending, const struct rows *pieces, struct err *err)
{
    struct store_snapshot *snapshot = pending->snapshot;
    struct bodies bodies = {.pieces = pieces};
    size_t count = pending->rows->count;
    char **texts = mem_zero((count + 1) * sizeof *texts);
    const char **sessions = mem_zero((count + 1) * sizeof *sessions);
    bool well = true;
    snapshot->told = arena_alloc(&snapshot->arena, (count + 1) * sizeof *snapshot->told);
    for (size_t i = 0; i < count && well; i++) {
        const cJSON *item = pending->rows->rows[i].item;
        struct buf text = BUF_INIT;
        well = bodies_read(&bodies, item, &text, err);
        texts[i] = well ? buf_take(&text) : NULL;
        buf_fini(&text);
        sessions[i] = snapshot_text(snapshot, item, "sk");
        snapshot->told[snapshot->told_count++] =
            (struct store_told){sessions[i], item_number(item, "asked"), ""};
    }
    if (well)
        notes_read((const char *const *)texts, sessions, count, snapshot);
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
    free(sessions);
    pending_loaded(pending, well ? NULL : err);
}

static void on_bodies(void *user, struct rows *pieces, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = err ? *err : (struct err){0};
    pending->reading = NULL;
    if (err)
        pending_loaded(pending, err);
    else
        tell(pending, pieces, &failure);
    rows_free(pieces);
}

/* To that question, or a later one: hosts that are gone have told something, too. */
static size_t keep_answers(struct rows *rows, int64_t asked)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (item_number(rows->rows[i].item, "asked") >= asked)
            rows->rows[kept++] = rows->rows[i];
    return kept;
}

static void on_rows(void *user, struct rows *rows, const struct err *err)
{
    struct pending *pending = user;
    struct err failure = {0};
    size_t count = 0;
    pending->reading = NULL;
    pending->rows = rows;
    if (err) {
        pending_loaded(pending, err);
        return;
    }
    rows->count = keep_answers(rows, pending->query.id);
    struct ask *asks = mem_zero((rows->count + 1) * sizeof *asks);
    for (size_t i = 0; i < rows->count; i++)
        if (pieces_of(rows->rows[i].item))
            asks[count++].partition =
                mem_printf("g/%s/nb/%s", pending->store->group, item_text(rows->rows[i].item, "pieces_of"));
    if (count)
        pending->reading = calls_read(pending->store->calls, asks, count, on_bodies, pending);
    else
        tell(pending, NULL, &failure);
    free(asks);
}

void told_load(struct pending *pending)
{
    struct ask ask = {.partition = mem_printf("g/%s/n", pending->store->group)};
    pending->reading = calls_read(pending->store->calls, &ask, 1, on_rows, pending);
}
