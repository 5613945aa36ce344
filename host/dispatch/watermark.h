/* watermark.h: what a subscription was fed, in shard order, and how far it is settled.
 *
 * Records settle out of order. The position is the end of the settled prefix; what is settled beyond it is
 * the progress, a text that is kept with the position, so that a restart repeats neither. Several records may
 * share a sequence number (record_unit): the position passes it when all of them are settled. */
#ifndef TIDEMILL_DISPATCH_WATERMARK_H
#define TIDEMILL_DISPATCH_WATERMARK_H

#include "base/map.h"
#include "dispatch/lanes.h"
#include "record/position.h"
#include "record/page.h"

enum entry_state {
    ENTRY_WAITING, /* for its turn */
    ENTRY_STARTED, /* runs, or waits for another attempt */
    ENTRY_FAILING, /* given up, on its way to where on_failure says; until that has it, it is unsettled */
    ENTRY_KEPT,    /* its dead letter is on its way to the store, in one write with a checkpoint */
    ENTRY_SETTLED,
};

struct entry {
    struct lane_entry lane;
    const struct record *record; /* of a settled one only sequence and time are good */
    struct block *block;
    enum entry_state state : 8;
    unsigned turn : 24; /* of its block's, from 0 (page->turns) */
    uint32_t attempts;  /* that were begun, also before a restart */
    int64_t due_ms;     /* wall clock: no other attempt before then; 0: none is waited for */
};

/* The records of one page, in order. */
struct block {
    struct block *next;
    struct page *page;     /* NULL once all are settled */
    struct entry *entries; /* likewise */
    size_t count, settled;
    size_t first;           /* none before it is unsettled */
    bool touched;           /* something in it ran, maybe before a restart: it cannot be fed again */
    int64_t order;          /* of entries[0] among all that were fed */
    struct position before; /* what had been fed before it */
    char first_sequence[SEQUENCE_SIZE], last_sequence[SEQUENCE_SIZE];
    int64_t last_time_ms;
    char *resume;    /* the page's; or NULL */
    int64_t redrive; /* a dead letter's number: the block stands outside of the order; else 0 */
    bool hold;       /* of a redrive: when its turn comes it only keeps others out, until it is released */
    bool dropped;    /* likewise; it was released before, and leaves when its turn comes */
    int64_t redriven_ms;
};

struct watermark {
    struct block *first, **end;
    struct position position, fed; /* `fed`: behind the last record that was fed */
    int64_t fed_count;
    size_t held_bytes; /* of the pages it holds */
    bool changed;      /* position or progress, since watermark_write */
    /* What was settled beyond the position when the progress was written. */
    char through[SEQUENCE_SIZE]; /* "": nothing, or all of it was fed by now */
    struct map open;             /* record_unit -> struct, owned: unsettled up to there */
    /* The cursor behind the position, where that is the only way back (page->resume); or NULL. What is
     * settled beyond it is not kept then: nobody knows what will be read there. */
    char *resume;
    bool resumes;
};

/* `progress`: as watermark_write wrote it, or "". One that cannot be read counts as "": work is repeated. */
void watermark_init(struct watermark *watermark, const struct position *start, const char *progress);
void watermark_fini(struct watermark *watermark);

/* Of what was unsettled before the restart, is something gone that is not fed any more when the next record
 * is `next`, or NULL when there is none? It is forgotten then. Only where reading began at the oldest record:
 * a reader that begins behind one notices by itself. */
bool watermark_misses(struct watermark *watermark, const char *next);

/* The records of the page from `from` on, all waiting. Settle at once what needs no handler, then call
 * watermark_added. */
struct block *watermark_add(struct watermark *watermark, struct page *page, size_t from);
void watermark_added(struct watermark *watermark, struct block *block);

/* The cursor that was kept with the progress, owned by the caller; NULL: there is none. */
char *watermark_resume(const char *progress);

/* Was the record settled before the restart? Else the entry learns what was known of it. */
bool watermark_settled_before(const struct watermark *watermark, struct entry *entry);

/* A block outside of the order, for one record out of the dead letters. The caller frees it with block_free.
 */
struct block *block_of_redrive(struct page *page, int64_t letter, int64_t now_ms);
void block_free(struct watermark *watermark, struct block *block);

/* The entry is settled; it is no more in a lane. */
void watermark_settle(struct watermark *watermark, struct entry *entry);

/* The position, and `progress` as a JSON object without its braces (maybe nothing). At most `open_max`
 * unsettled records are listed: what is settled behind them would be repeated after a crash. */
struct position watermark_write(struct watermark *watermark, struct buf *progress, size_t open_max);

/* When the oldest unsettled record was written, wall clock; 0: there is none. */
int64_t watermark_oldest_ms(const struct watermark *watermark);

/* Take back what was fed and never touched, from the end: `drop` is called for the first waiting entry of
 * each lane, from there on. True when something was taken back. */
bool watermark_cut(struct watermark *watermark, void (*drop)(void *user, struct entry *entry), void *user);

/* Copy the few unsettled records of large pages, so that the pages can go. `busy`: is somebody using the
 * record? */
void watermark_compact(struct watermark *watermark, bool (*busy)(void *user, const struct entry *entry),
                       void *user);

static inline int64_t entry_order(const struct entry *entry)
{
    return entry->block->order + entry->turn;
}

#endif
