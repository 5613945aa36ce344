/* watermark.c: see watermark.h. */
#include "dispatch/watermark.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"

/* A page is copied when no more than one record in so many of it is unsettled. */
#define SPARSE 8

/* ---- before the restart ---- */

/* Of an unsettled record. */
struct open {
    uint32_t attempts;
    int64_t due_ms;
};

static void forget_open(struct watermark *watermark)
{
    size_t at = 0;
    for (void *open; (open = map_next(&watermark->open, &at, NULL));)
        free(open);
    map_fini(&watermark->open);
    watermark->open = MAP_INIT;
}

/* The sequence number of a record_unit; false when it is none. */
static bool sequence_of(const char *unit, char sequence[SEQUENCE_SIZE])
{
    size_t size = strcspn(unit, "/"), part = unit[size] ? strspn(unit + size + 1, "0123456789abcdef") : 0;
    if (!size || size >= SEQUENCE_SIZE || (unit[size] && (!part || unit[size + 1 + part])))
        return false;
    memcpy(sequence, unit, size);
    sequence[size] = '\0';
    return sequence_valid(sequence);
}

static int compare_unit(const char *unit, const char *sequence)
{
    char own[SEQUENCE_SIZE] = "";
    sequence_of(unit, own);
    return sequence_compare(own, sequence);
}

/* ["UNIT", attempts] or ["UNIT", attempts, due] */
static void read_open(struct watermark *watermark, struct arena *arena, const struct json *pair)
{
    char sequence[SEQUENCE_SIZE];
    const char *unit = json_string(arena, pair->child);
    const struct json *second = unit ? pair->child->next : NULL;
    int64_t attempts = json_integer(second, 0);
    if (!unit || strlen(unit) >= RECORD_UNIT_SIZE || !sequence_of(unit, sequence) ||
        map_get(&watermark->open, unit))
        return;
    struct open *open = mem_zero(sizeof *open);
    open->attempts = attempts < 0 || attempts > INT32_MAX ? 0 : (uint32_t)attempts;
    open->due_ms = json_integer(second ? second->next : NULL, 0);
    map_set(&watermark->open, unit, open);
}

static void read_progress(struct watermark *watermark, const char *progress)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root = *progress ? json_parse(&arena, progress, strlen(progress), &err) : NULL;
    const char *through = json_string(&arena, json_get(root, "through"));
    const struct json *resume = json_get(root, "resume");
    watermark->resume = json_string_dup(resume);
    watermark->resumes = watermark->resume != NULL;
    if (through && sequence_valid(through)) {
        sequence_copy(watermark->through, through);
        json_each(pair, json_get(root, "open"))
            read_open(watermark, &arena, pair);
    }
    arena_fini(&arena);
}

char *watermark_resume(const char *progress)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *root = *progress ? json_parse(&arena, progress, strlen(progress), &err) : NULL;
    char *resume = json_string_dup(json_get(root, "resume"));
    arena_fini(&arena);
    return resume;
}

bool watermark_settled_before(const struct watermark *watermark, struct entry *entry)
{
    char unit[RECORD_UNIT_SIZE];
    if (!*watermark->through || sequence_compare(entry->record->sequence, watermark->through) > 0)
        return false;
    const struct open *open = map_get(&watermark->open, record_unit(entry->record, unit));
    entry->attempts = open ? open->attempts : 0;
    entry->due_ms = open ? open->due_ms : 0;
    return !open;
}

bool watermark_misses(struct watermark *watermark, const char *next)
{
    const char *unit;
    size_t at = 0;
    bool misses = false;
    if (!*watermark->through || watermark->fed.kind == POSITION_AFTER)
        return false;
    while (map_next(&watermark->open, &at, &unit))
        misses = misses || !next || compare_unit(unit, next) < 0;
    if (misses && !next) {
        forget_open(watermark);
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
        forget_open(watermark);
    }
}

/* ---- blocks ---- */

static void release_page(struct watermark *watermark, struct block *block)
{
    CHECK(!block->page || block->redrive || watermark->held_bytes >= block->page->bytes);
    if (block->page && !block->redrive)
        watermark->held_bytes -= block->page->bytes;
    page_release(block->page);
    block->page = NULL;
}

static void empty_block(struct watermark *watermark, struct block *block)
{
    release_page(watermark, block);
    CHECK(block->redrive || block->settled <= block->count);
    free(block->entries);
    block->entries = NULL;
}

void block_free(struct watermark *watermark, struct block *block)
{
    empty_block(watermark, block);
    free(block->resume);
    free(block);
}

static struct block *block_new(struct page *page, size_t from)
{
    struct block *block = mem_zero(sizeof *block);
    CHECK(from < page->count);
    block->page = page_hold(page);
    block->count = page->count - from;
    block->entries = mem_zero(block->count * sizeof *block->entries);
    for (size_t i = 0; i < block->count; i++) {
        block->entries[i].record = &page->records[from + i];
        block->entries[i].block = block;
        block->entries[i].turn = (unsigned)i;
    }
    unsigned turn = 0;
    for (size_t i = 0; page->turns && i < page->count; i++)
        if (page->turns[i] >= from)
            block->entries[page->turns[i] - from].turn = turn++;
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
    CHECK(strlen(sequence) < SEQUENCE_SIZE);
    fed->kind = POSITION_AFTER;
    memcpy(fed->sequence, sequence, strlen(sequence) + 1);
    fed->record_time_ms = time_ms;
}

struct block *watermark_add(struct watermark *watermark, struct page *page, size_t from)
{
    CHECK(from < page->count);
    const struct record *last = &page->records[page->count - 1];
    struct block *block = block_new(page, from);
    CHECK(!watermark->first || watermark->end != &watermark->first);
    block->order = watermark->fed_count;
    block->before = watermark->fed;
    memcpy(block->first_sequence, page->records[from].sequence, strlen(page->records[from].sequence) + 1);
    memcpy(block->last_sequence, last->sequence, strlen(last->sequence) + 1);
    block->last_time_ms = last->time_ms;
    block->resume = mem_string(page->resume);
    watermark->resumes = watermark->resumes || page->resume;
    watermark->held_bytes += page->bytes;
    watermark->fed_count += (int64_t)block->count;
    return block;
}

/* ---- the position ---- */

/* It may stand there already, at the number of a record whose fellows were settled before it; or beyond,
 * where what was left out was taken back and is wanted now. */
static void move_position(struct watermark *watermark, const char *sequence, int64_t time_ms)
{
    struct position *position = &watermark->position;
    if (position->kind != POSITION_AFTER || sequence_compare(sequence, position->sequence) > 0)
        set_fed(position, sequence, time_ms);
    watermark->changed = true;
}

/* Does the entry before the one at `at` share its number? */
static bool in_group(const struct block *block, size_t at)
{
    return at > 0 &&
           strcmp(block->entries[at].record->sequence, block->entries[at - 1].record->sequence) == 0;
}

/* Over everything that is settled without a hole, but not into a group of records that share a number. Within
 * the first block that is looked for when somebody asks. */
static void find_position(struct watermark *watermark)
{
    const struct block *block = watermark->first;
    size_t end = block ? block->first : 0;
    if (!end)
        return;
    if (strcmp(block->entries[end].record->sequence, block->first_sequence) == 0)
        return; /* all of it is one group; a short cut */
    while (in_group(block, end))
        end--;
    if (end > 0) /* else it stands before the block's first group */
        move_position(watermark, block->entries[end - 1].record->sequence,
                      block->entries[end - 1].record->time_ms);
}

static void advance(struct watermark *watermark)
{
    struct block *block;
    while ((block = watermark->first)) {
        CHECK(block->settled <= block->count && block->first <= block->settled);
        if (block->settled == block->count) {
            const struct block *next = block->next;
            if (!next || strcmp(next->first_sequence, block->last_sequence) != 0)
                move_position(watermark, block->last_sequence, block->last_time_ms);
            if (block->resume) {
                free(watermark->resume);
                watermark->resume = block->resume;
                block->resume = NULL;
            }
            watermark->first = block->next;
            if (!watermark->first)
                watermark->end = &watermark->first;
            block_free(watermark, block);
            continue;
        }
        while (block->entries[block->first].state == ENTRY_SETTLED) {
            block->first++;
            CHECK(block->first < block->count);
            watermark->changed = true;
        }
        return;
    }
}

void watermark_added(struct watermark *watermark, struct block *block)
{
    CHECK(!block->redrive && !block->next && !*watermark->end);
    CHECK(watermark->fed.kind != POSITION_AFTER ||
          sequence_compare(block->first_sequence, watermark->fed.sequence) > 0);
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
    CHECK(entry->state != ENTRY_SETTLED && entry >= block->entries && entry < block->entries + block->count);
    entry->state = ENTRY_SETTLED;
    block->settled++;
    CHECK(block->settled <= block->count);
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

static void list_open(struct buf *out, const char *unit, uint32_t attempts, int64_t due_ms)
{
    buf_printf(out, "%s[\"%s\",%u", out->size ? "," : "", unit, attempts);
    if (due_ms)
        buf_printf(out, ",%lld", (long long)due_ms);
    buf_add_char(out, ']');
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

/* False when the list is full. What shares its number with something settled is listed in any case. */
static bool write_entry(struct writing *writing, const struct entry *entry)
{
    const char *sequence = entry->record->sequence;
    char unit[RECORD_UNIT_SIZE];
    bool settled = entry->state >= ENTRY_KEPT, of_group = strcmp(sequence, writing->through) == 0;
    if (!settled) {
        if (writing->count++ >= writing->count_max && !of_group)
            return false;
        list_open(&writing->late, record_unit(entry->record, unit), entry->attempts, entry->due_ms);
    }
    if (settled || entry->attempts || of_group)
        pass(writing, sequence);
    return true;
}

static bool write_blocks(const struct watermark *watermark, struct writing *writing)
{
    for (const struct block *block = watermark->first; block; block = block->next) {
        size_t from = block->first;
        if (block->settled == block->count) {
            pass(writing, block->last_sequence);
            continue;
        }
        while (in_group(block, from)) /* what of it is settled, the position has not passed */
            from--;
        for (size_t i = from; i < block->count; i++)
            if (!write_entry(writing, &block->entries[i]))
                return false;
    }
    return true;
}

/* What was settled before the restart and has not been fed since. */
static void write_restored(const struct watermark *watermark, struct writing *writing)
{
    const char *unit;
    size_t at = 0;
    if (!*watermark->through)
        return;
    for (const struct open *open; (open = map_next(&watermark->open, &at, &unit));)
        if (watermark->fed.kind != POSITION_AFTER || compare_unit(unit, watermark->fed.sequence) > 0)
            list_open(&writing->late, unit, open->attempts, open->due_ms);
    pass(writing, watermark->through);
}

struct position watermark_write(struct watermark *watermark, struct buf *progress, size_t open_max)
{
    struct writing writing = {.count_max = open_max};
    find_position(watermark);
    watermark->changed = false;
    if (watermark->resumes) {
        if (watermark->resume) {
            buf_add_literal(progress, "\"resume\":");
            json_write_string(progress, watermark->resume, strlen(watermark->resume));
        }
        return watermark->position;
    }
    if (write_blocks(watermark, &writing))
        write_restored(watermark, &writing);
    if (*writing.through)
        buf_printf(progress, "\"through\":\"%s\",\"open\":[%s]", writing.through,
                   writing.open.size ? writing.open.data : "");
    buf_fini(&writing.open);
    buf_fini(&writing.late);
    return watermark->position;
}

int64_t watermark_oldest_ms(const struct watermark *watermark)
{
    const struct block *first = watermark->first;
    CHECK(!first || (first->entries && first->first < first->count)); /* else the position had passed it */
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
        CHECK(!gone->touched && gone->order >= watermark->fed_count);
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
    CHECK(page && page->count == written); /* these very records were read before */
    arena_reserve(&page->arena, block->count * (sizeof(struct record) + SEQUENCE_SIZE));
    struct record *settled = arena_alloc(&page->arena, block->count * sizeof *settled);
    for (size_t i = 0, taken = 0; i < block->count; i++) {
        const struct record *old = block->entries[i].record;
        if (block->entries[i].state != ENTRY_SETTLED) {
            page->records[taken].part = old->part; /* which one of all that share its number */
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
    forget_open(watermark);
    free(watermark->resume);
}
