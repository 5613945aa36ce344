/* storage.h: rows of items, index entries, stream records and table definitions in SQLite; no meaning.
 *
 * Keys are bytes in the order of what they stand for (attr_sort_key). One connection, one caller at a time.
 * A failing statement is a broken disk or a bug: it is remembered, and storage_commit says so. */
#ifndef TIDEMILL_LOCAL_KEEP_STORAGE_H
#define TIDEMILL_LOCAL_KEEP_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "local/model/attribute.h"
#include "local/model/schema.h"

struct storage;

/* `path` NULL: in memory. A directory's file is held by one process at a time. NULL and `err`. */
struct storage *storage_open(const char *path, struct err *err);
void storage_free(struct storage *storage);

void storage_begin(struct storage *storage);
bool storage_commit(struct storage *storage, struct err *err); /* false: nothing was written */
void storage_rollback(struct storage *storage);

/* ---- items ---- */

/* The item's JSON into `out`; false: there is none. */
bool storage_get(struct storage *storage, int64_t table, struct row_key key, struct buf *out);
void storage_put(struct storage *storage, int64_t table, struct row_key key, const struct buf *item);
void storage_delete(struct storage *storage, int64_t table, struct row_key key);
void storage_clear(struct storage *storage, int64_t table);
void storage_count(struct storage *storage, int64_t table, int64_t *items, int64_t *bytes);

/* ---- entries of an index: which item is where ---- */

void storage_index(struct storage *storage, int64_t index, struct row_key at, struct row_key item);
void storage_unindex(struct storage *storage, int64_t index, struct row_key at, struct row_key item);
void storage_clear_index(struct storage *storage, int64_t index);

/* ---- walking ---- */

struct row {
    struct row_key at;   /* in the index, or the item's own key */
    struct row_key item; /* the item's key in the table */
    struct text text;    /* its JSON; until the next row */
};

struct walk {
    int64_t table, index; /* index 0: the table itself */
    bool whole;           /* over all partitions, upwards; else over `from.at.hash`'s alone */
    bool descending;
    struct row from; /* begin here, inclusive */
};

/* More than any key. */
extern const struct text storage_last_key;

struct storage_rows;
struct storage_rows *storage_walk(struct storage *storage, const struct walk *walk);
bool storage_next(struct storage_rows *rows, struct row *row);
void storage_end(struct storage_rows *rows);

/* ---- texts by name: definitions, tags, tokens ---- */

void storage_set(struct storage *storage, const char *kind, const char *name, const char *text, size_t size);
void storage_unset(struct storage *storage, const char *kind, const char *name);

/* All of a kind, by name. */
bool storage_text(struct storage *storage, const char *kind, const char *name,
                  struct buf *out); /* with a NUL behind it; false: there is none */
void storage_each(struct storage *storage, const char *kind,
                  void (*each)(void *user, const char *name, const char *text, size_t size), void *user);

/* ---- stream records ---- */

void storage_append(struct storage *storage, int64_t shard, int64_t sequence, int64_t time_ms,
                    const struct buf *record);

/* Calls `each` for records from `sequence` on until it returns false. */
void storage_records(struct storage *storage, int64_t shard, int64_t sequence,
                     bool (*each)(void *user, int64_t sequence, struct text record), void *user);
int64_t storage_last_sequence(struct storage *storage); /* over all shards; 0: none */
void storage_trim(struct storage *storage, int64_t before_ms);
void storage_forget_records(struct storage *storage, int64_t shard);

#endif
