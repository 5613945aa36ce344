/* watermark.c: see watermark.h. */
#include "dispatch/watermark.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* A page is copied when no more than one record in so many of it is unsettled. */
#define SPARSE 8

/* ---- before the restart ---- */

static void read_progress(struct watermark *watermark, const char *progress)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root = *progress ? json_parse(&arena, progress, strlen(progress), &err) : NULL;
    const char *through = json_string(&arena, json_get(root, "through"));
    if (through && sequence_valid(through)) {
        sequence_copy(watermark->through, through);
        json_each(pair, json_get(root, "open")) {
            const char *sequence = json_string(&arena, pair->child);
            int64_t attempts = sequence ? json_integer(pair->child->next, 0) : 0;
            attempts = attempts < 0 || attempts > INT32_MAX ? 0 : attempts;
            if (sequence && sequence_valid(sequence))
                map_set(&watermark->open, sequence, (void *)(uintptr_t)(attempts + 1));
        }
    }
    arena_fini(&arena);
}

bool watermark_settled_before(const struct watermark *watermark, const char *sequence, uint32_t *attempts)
{
    *attempts = 0;
    if (!*watermark->through || sequence_compare(sequence, watermark->through) > 0)
        return false;
    uintptr_t open = (uintptr_t)map_get(&watermark->open, sequence);
    *attempts = open ? (uint32_t)(open - 1) : 0;
    return !open;
}

bool watermark_misses(struct watermark *watermark, const char *next)
{
    const char *sequence;
    size_t at = 0;
    bool misses = false;
    if (!*watermark->through || watermark->fed.kind == POSITION_AFTER)
        return false;
    while (map_next(&watermark->open, &at, &sequence))
        misses = misses || !next || sequence_compare(sequence, next) < 0;
    if (misses && !next) {
        map_fini(&watermark->open);
        watermark->open = MAP_INIT;
        watermark->changed = true;
    }
    return misses;
}

/* Once everything up to there was fed, the entries know it all. */
static void forget_restored(struct watermark *watermark)
{
    if (*watermark->through && watermark->fed.kind == POSITION_AFTER &&
        sequence_compare(watermark->fed.sequence, watermark->through) >= 0) {
        watermark->through[0] = '\0';
        map_fini(&watermark->open);
        watermark->open = MAP_INIT;
    }
}

/* ---- blocks ---- */

static void release_page(struct watermark *watermark, struct block *block)
{
    if (block->page && !block->redrive)
        watermark->held_bytes -= block->page->bytes;
    page_release(block->page);
    block->page = NULL;
}

static void empty_block(struct watermark *watermark, struct block *block)
{
    release_page(watermark, block);
    free(block->entries);
    block->entries = NULL;
}

void block_free(struct watermark *watermark, struct block *block)
{
    empty_block(watermark, block);
    free(block);
}

static struct block *block_new(struct page *page, size_t from)
{
    struct block *block = mem_zero(sizeof *block);
    block->page = page_hold(page);
    block->count = page->count - from;
    block->entries = mem_zero(block->count * sizeof *block->entries);
    for (size_t i = 0; i < block->count; i++) {
        block->entries[i].record = &page->records[from + i];
        block->entries[i].block = block;
    }
    return block;
}

struct block *block_of_redrive(struct page *page, int64_t letter, int64_t now_ms)
{
    struct block *block = block_new(page, 0);
    block->redrive = letter;
    block->redriven_ms = now_ms;
    return block;
}

static void set_fed(struct position *fed, const char *sequence, int64_t time_ms)
{
    fed->kind = POSITION_AFTER;
    memcpy(fed->sequence, sequence, strlen(sequence) + 1);
    fed->record_time_ms = time_ms;
}

struct block *watermark_add(struct watermark *watermark, struct page *page, size_t from)
{
    const struct record *last = &page->records[page->count - 1];
    struct block *block = block_new(page, from);
    block->order = watermark->fed_count;
    block->before = watermark->fed;
    memcpy(block->last_sequence, last->sequence, strlen(last->sequence) + 1);
    block->last_time_ms = last->time_ms;
    watermark->held_bytes += page->bytes;
    watermark->fed_count += (int64_t)block->count;
    return block;
}

/* ---- the position ---- */

static void move_position(struct watermark *watermark, const char *sequence, int64_t time_ms)
{
    struct position *position = &watermark->position;
    assert(position->kind != POSITION_AFTER || sequence_compare(sequence, position->sequence) > 0);
    set_fed(position, sequence, time_ms);
    watermark->changed = true;
}

/* Over everything that is settled without a hole. */
static void advance(struct watermark *watermark)
{
    struct block *block;
    while ((block = watermark->first)) {
        if (block->settled == block->count) {
            move_position(watermark, block->last_sequence, block->last_time_ms);
            watermark->first = block->next;
            if (!watermark->first)
                watermark->end = &watermark->first;
            block_free(watermark, block);
            continue;
        }
        size_t before = block->first;
        while (block->entries[block->first].state == ENTRY_SETTLED)
            block->first++;
        if (block->first > before) {
            const struct record *record = block->entries[block->first - 1].record;
            move_position(watermark, record->sequence, record->time_ms);
        }
        return;
    }
}

void watermark_added(struct watermark *watermark, struct block *block)
{
    set_fed(&watermark->fed, block->last_sequence, block->last_time_ms);
    forget_restored(watermark);
    *watermark->end = block;
    watermark->end = &block->next;
    if (watermark->first == block)
        advance(watermark);
    else if (block->settled == block->count)
        empty_block(watermark, block);
}

void watermark_settle(struct watermark *watermark, struct entry *entry)
{
    struct block *block = entry->block;
    assert(entry->state != ENTRY_SETTLED);
    entry->state = ENTRY_SETTLED;
    block->settled++;
    if (block->redrive)
        return;
    watermark->changed = true;
    if (block == watermark->first)
        advance(watermark);
    else if (block->settled == block->count)
        empty_block(watermark, block); /* the block waits for those before it; its page need not */
}

/* ---- the progress ---- */

struct writing {
    struct buf open; /* the pairs up to `through` */
    struct buf late; /* those behind it so far: listed only if something settled follows */
    char through[SEQUENCE_SIZE];
    size_t count, count_max;
};

static void list_open(struct buf *out, const char *sequence, uint32_t attempts)
{
    buf_printf(out, "%s[\"%s\",%u]", out->size ? "," : "", sequence, attempts);
}

/* What came late so far is followed by something that matters. */
static void pass(struct writing *writing, const char *sequence)
{
    if (writing->late.size) {
        buf_add_text(&writing->open, writing->open.size ? "," : "");
        buf_add(&writing->open, writing->late.data, writing->late.size);
        writing->late.size = 0;
    }
    sequence_copy(writing->through, sequence);
}

/* False when the list is full. */
static bool write_entry(struct writing *writing, const struct entry *entry)
{
    const char *sequence = entry->record->sequence;
    bool settled = entry->state >= ENTRY_KEPT;
    if (!settled) {
        if (writing->count++ == writing->count_max)
            return false;
        list_open(&writing->late, sequence, entry->attempts);
    }
    if (settled || entry->attempts)
        pass(writing, sequence);
    return true;
}

static bool write_blocks(const struct watermark *watermark, struct writing *writing)
{
    for (const struct block *block = watermark->first; block; block = block->next) {
        if (block->settled == block->count)
            pass(writing, block->last_sequence);
        else
            for (size_t i = block->first; i < block->count; i++)
                if (!write_entry(writing, &block->entries[i]))
                    return false;
    }
    return true;
}

/* What was settled before the restart and has not been fed since. */
static void write_restored(const struct watermark *watermark, struct writing *writing)
{
    const char *sequence;
    size_t at = 0;
    if (!*watermark->through)
        return;
    for (void *open; (open = map_next(&watermark->open, &at, &sequence));)
        if (watermark->fed.kind != POSITION_AFTER || sequence_compare(sequence, watermark->fed.sequence) > 0)
            list_open(&writing->late, sequence, (uint32_t)((uintptr_t)open - 1));
    pass(writing, watermark->through);
}

struct position watermark_write(struct watermark *watermark, struct buf *progress, size_t open_max)
{
    struct writing writing = {.count_max = open_max};
    if (write_blocks(watermark, &writing))
        write_restored(watermark, &writing);
    if (*writing.through)
        buf_printf(progress, "\"through\":\"%s\",\"open\":[%s]", writing.through,
                   writing.open.size ? writing.open.data : "");
    buf_fini(&writing.open);
    buf_fini(&writing.late);
    watermark->changed = false;
    return watermark->position;
}

int64_t watermark_oldest_ms(const struct watermark *watermark)
{
    const struct block *first = watermark->first;
    return first ? first->entries[first->first].record->time_ms : 0;
}

/* ---- taking back ---- */

bool watermark_cut(struct watermark *watermark, void (*drop)(void *user, struct entry *entry), void *user)
{
    struct block **keep = &watermark->first; /* behind the last block that was touched */
    for (struct block *block = watermark->first; block; block = block->next)
        if (block->touched)
            keep = &block->next;
    struct block *gone = *keep;
    if (!gone)
        return false;
    *keep = NULL;
    watermark->end = keep;
    watermark->fed = gone->before;
    watermark->fed_count = gone->order;
    for (struct block *next; gone; gone = next) {
        next = gone->next;
        for (size_t i = 0; gone->entries && i < gone->count; i++)
            if (gone->entries[i].state == ENTRY_WAITING)
                drop(user, &gone->entries[i]);
        block_free(watermark, gone);
    }
    return true;
}

/* ---- compacting ---- */

static bool worth_compacting(const struct block *block, bool (*busy)(void *user, const struct entry *entry),
                             void *user)
{
    if (!block->page || (block->count - block->settled) * SPARSE > block->page->count)
        return false;
    for (size_t i = 0; i < block->count; i++)
        if (block->entries[i].state != ENTRY_SETTLED && busy(user, &block->entries[i]))
            return false;
    return true;
}

/* The unsettled records as a page of their own; of the others their sequence and time. */
static void compact(struct watermark *watermark, struct block *block)
{
    struct buf body = BUF_INIT;
    struct err err;
    size_t written = 0;
    buf_add_literal(&body, "{\"Records\":[");
    for (size_t i = 0; i < block->count; i++) {
        if (block->entries[i].state == ENTRY_SETTLED)
            continue;
        buf_add_text(&body, written++ ? "," : "");
        json_write_value(&body, block->entries[i].record->json);
    }
    buf_add_literal(&body, "]}");
    struct page *page = page_read(&body, &err);
    buf_fini(&body);
    assert(page && page->count == written); /* these very records were read before */
    struct record *settled = arena_alloc(&page->arena, block->count * sizeof *settled);
    for (size_t i = 0, taken = 0; i < block->count; i++) {
        const struct record *old = block->entries[i].record;
        if (block->entries[i].state != ENTRY_SETTLED) {
            block->entries[i].record = &page->records[taken++];
            continue;
        }
        settled[i] =
            (struct record){.time_ms = old->time_ms,
                            .sequence = arena_copy(&page->arena, old->sequence, strlen(old->sequence))};
        block->entries[i].record = &settled[i];
    }
    page->bytes = sizeof *page + page->body.capacity + page->arena.bytes;
    release_page(watermark, block);
    block->page = page;
    watermark->held_bytes += page->bytes;
}

void watermark_compact(struct watermark *watermark, bool (*busy)(void *user, const struct entry *entry),
                       void *user)
{
    for (struct block *block = watermark->first; block; block = block->next)
        if (worth_compacting(block, busy, user))
            compact(watermark, block);
}

/* ---- life ---- */

void watermark_init(struct watermark *watermark, const struct position *start, const char *progress)
{
    *watermark = (struct watermark){.position = *start, .fed = *start};
    watermark->end = &watermark->first;
    read_progress(watermark, progress);
}

void watermark_fini(struct watermark *watermark)
{
    for (struct block *block = watermark->first, *next; block; block = next) {
        next = block->next;
        block_free(watermark, block);
    }
    map_fini(&watermark->open);
}
