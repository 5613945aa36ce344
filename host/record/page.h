/* page.h: one page of records, whoever made it: the bytes as they came, the tree over them, and a view of
 * each record. Counted by reference: a page lives until the last record of it is settled. */
#ifndef TIDEMILL_RECORD_PAGE_H
#define TIDEMILL_RECORD_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/list.h"
#include "record/position.h"

enum record_event { RECORD_INSERT, RECORD_MODIFY, RECORD_REMOVE };

struct page;

struct record {
    struct page *page;
    const struct json *json;      /* the record as GetRecords gave it */
    const struct json *keys;      /* never NULL */
    const struct json *new_image; /* NULL where the view type or the event has none */
    const struct json *old_image;
    const char *sequence;
    uint64_t part;   /* which one of those that share the sequence number; 0: no other has it */
    uint64_t item;   /* of the primary key: equal keys, equal number */
    int64_t time_ms; /* ApproximateCreationDateTime */
    int64_t size_bytes;
    enum record_event event;
    bool snapshot;     /* what a table held: no change */
    bool late;         /* a later change of its item was given before */
    const char *table; /* whose change it is, where a stream may have those of several; NULL: the stream's */
    const char *unreadable; /* why it is no record; NULL: it is one */
};

struct page {
    size_t references;
    size_t bytes; /* held in memory */
    struct buf body;
    struct arena arena;
    struct record *records;
    size_t count;
    const uint32_t *turns;   /* each record's place among `records`, in the order in which they are to have
                                their   turns (of the arena); NULL: as they stand */
    const char *resume;      /* the cursor behind it, where a record's number alone does not lead back (of the
                                arena); all its records have one number then; or NULL */
    const struct json *root; /* the whole, for whoever knows what else stands in it */
    struct list watches;     /* struct page_watch */
    void (*freed)(void *user, struct page *page); /* before the memory goes */
    void *freed_user;
};

/* Of one who points into the page without holding it: told before the memory goes, when it is among the
 * page's no more. It may leave them before that (list_remove). */
struct page_watch {
    struct list link;
    void (*leave)(struct page_watch *watch);
};
void page_watch(struct page *page, struct page_watch *watch);

/* Takes a body of {"Records": [...]}, as GetRecords answers and Lambda is given; a source whose service
 * writes its records in another way writes them so first. One reference; NULL and `err` when it is no such
 * body. */
struct page *page_read(struct buf *body, struct err *err);

/* What names a record among those of its shard, whenever it is read: "SEQUENCE", or "SEQUENCE/PART" where
 * records may share a number (ScyllaDB Alternator: rows of one partition that were written together). */
#define RECORD_UNIT_SIZE (SEQUENCE_SIZE + 20)
const char *record_unit(const struct record *record, char unit[RECORD_UNIT_SIZE]);

/* The service's eventID as it stands in the record, NULL where it has none: `storage`, or of its tree. What
 * that needs is the scratch arena's. */
const struct json *record_event_id(const struct record *record, struct arena *scratch, struct json *storage);

/* The record's id: the service's eventID, or one made of its number, where that is not unique. Into `out`. */
void record_write_id(struct buf *out, const struct record *record);

/* The number of the item with that key, as in struct record. */
uint64_t record_item_of(const struct json *keys);

/* Whether each record's number is one; else `err` says which is not. They are compared by their digits, and
 * become part of names. */
bool page_has_numbers(const struct page *page, struct err *err);

/* Whether GetRecords' answer says rightly how to go on: no next page means that the shard is read to its end,
 * for ever, so that must be said, not be a mistake. */
bool page_tells_next(const struct json *root, struct err *err);

/* Without its first records. */
void page_leave_out(struct page *page, size_t count);

struct page *page_hold(struct page *page);
void page_release(struct page *page);

const char *record_event_name(enum record_event event);

#endif
