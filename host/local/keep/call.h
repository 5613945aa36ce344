/* call.h: one request on its way through the engine, and what all that works on it shares. Private to local/.
 */
#ifndef TIDEMILL_LOCAL_KEEP_CALL_H
#define TIDEMILL_LOCAL_KEEP_CALL_H

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "local/engine.h"
#include "local/language/expression.h"
#include "local/keep/storage.h"
#include "local/model/schema.h"

#define ITEM_BYTES_MAX (400 * 1024)
#define PAGE_BYTES_MAX (1024 * 1024)

/* ---- streams ---- */

struct shard {
    int64_t id;
    char *name;
    char *parent;       /* or NULL */
    uint32_t from, to;  /* hashes of partition keys, inclusive */
    int64_t start, end; /* sequence numbers; end 0: open */
    int64_t created_ms, closed_ms;
};

struct stream {
    struct list link;
    char *arn, *table, *label;
    char *key; /* "KeySchema":[...] */
    enum view_type view;
    bool enabled;
    int64_t created_ms;
    struct shard *shards;
    size_t shard_count, shard_capacity;
};

struct engine {
    struct engine_options options;
    char *region;
    struct storage *storage;
    pthread_mutex_t lock;
    struct map tables; /* name -> struct table */
    struct list streams;
    size_t busy_tables;
    int64_t tokens_due_ms; /* when those that are over are looked for again */
    int64_t last_id, last_sequence;
    uint64_t random;
    int64_t iterators, expired_below; /* how many were made; those before have expired */
    int64_t trimmed_below;            /* stream records before this sequence number are gone */
    struct fault_plan *plan;
    char *damaged; /* "table T": the first of what was kept and cannot be read; or NULL */
};

/* A table that a request names by its ARN. */
struct named_by_arn {
    const struct named_by_arn *next;
    const struct table *table;
    struct text arn;
};

struct call {
    struct engine *engine;
    struct arena *arena;
    const struct json *request;
    struct buf *out;
    struct fault *fault;
    int64_t now_ms;
    const char *region;                 /* of who signed the request */
    const struct named_by_arn **by_arn; /* of the whole request, its parts' as well; NULL: nobody asks */
};

typedef bool operation(struct call *call);

/* ---- catalog.c ---- */

uint64_t engine_random(struct engine *engine);
char *engine_uuid(struct engine *engine); /* to be freed */
char *engine_table_arn(const struct engine *engine, const struct table *table);
const char *engine_table_region(const struct engine *engine, const struct table *table);
void engine_keep_table(struct engine *engine, const struct table *table);
void engine_damaged(struct engine *engine, const char *kind, const char *name);

/* Take the place of the one of that name; both may be NULL. */
void engine_set_table(struct engine *engine, const char *name, struct table *table);

/* For as long as the options say, a table is "CREATING", "UPDATING" or "DELETING". One that is being deleted
 * is kept no more, and named until then. */
void engine_table_begins(struct call *call, struct table *table, const char *what);
void engine_settle_tables(struct engine *engine, int64_t now_ms); /* what is over by now */

/* ---- tokens.c: transactions that were done ---- */

void tokens_expire(struct call *call);
/* Of a transaction with these items or statements; 1: it was done; 0: no; -1: another was, a fault. */
int token_known(struct call *call, struct text token, const struct json *request);
void token_keep(struct call *call, struct text token, const struct json *request);

/* ---- reading a request ---- */

const struct json *call_member(const struct call *call, const char *name); /* NULL where missing or null */

/* What the model says of a member was checked before (validate.h). {NULL, 0} where it is missing. */
struct text call_text(const struct call *call, const char *name);
bool call_flag(const struct call *call, const char *name);

/* Which of `choices` (ends with NULL) the member is; 0, the default, where it is missing. */
size_t call_choice(const struct call *call, const char *name, const char *const *choices);

/* The first of a list's elements that `name_of` gives the same as one before; NULL: they all differ. */
const struct json *call_duplicate(struct call *call, const struct json *list,
                                  struct text (*name_of)(const struct json *element));

/* The table of TableName; NULL and a fault, also where it is just being made or deleted. */
struct table *call_table(struct call *call);
struct table *find_table(struct call *call, struct text name);

/* Whatever state it is in; the fault names the table, as that of operations on tables does. */
struct table *call_any_table(struct call *call);
struct table *find_any_table(struct call *call, struct text name);
bool table_is_idle(struct call *call, const struct table *table);   /* else a fault */
bool index_is_filled(struct call *call, const struct index *index); /* else a fault */

/* Is any of these members there (ends with NULL)? Then both kinds are a fault. */
bool call_not_both(struct call *call, const char *const *legacy, const char *const *expressions);

/* ---- items ---- */

/* A request's Key: all of it and nothing more. */
bool item_key(struct call *call, const struct table *table, const struct attr *key, struct row_key *row);

/* Has an item to be stored the table's key? */
bool item_key_valid(struct call *call, const struct table *table, const struct attr *item);

/* An item to be stored: key, index keys, size. */
bool item_check(struct call *call, const struct table *table, const struct attr *item, bool update,
                struct row_key *row);

/* May what an item has of an index's key be in the index? What was there before the index may be empty or too
 * long. */
bool index_takes(const struct index *index, const struct attr *item);

/* A path into an attribute that is a key of the table or an index leads nowhere: a fault. */
bool paths_spare_keys(struct call *call, const struct table *table, const struct path *paths, size_t count);
bool update_spares_keys(struct call *call, const struct table *table, const struct update *update);
bool keys_are_scalars(struct call *call, const struct table *table, const struct expr *expr);

struct attr *item_load(struct call *call, const struct table *table, struct row_key row); /* or NULL */

/* Store what was checked, NULL to delete; keeps indexes and stream. */
enum writer { WRITTEN_BY_CLIENT, WRITTEN_BY_TTL };
void item_write(struct call *call, const struct table *table, struct row_key row, const struct attr *before,
                const struct attr *after, enum writer writer);

/* ---- capacity.c ---- */

struct capacity {
    const struct table *table;
    double units;    /* of the table alone */
    double *indexes; /* one for each index */
    bool any;
};

struct capacity capacity_new(struct call *call, const struct table *table);
void capacity_write_item(struct capacity *capacity, const struct attr *before, const struct attr *after,
                         int factor);
double read_units(size_t bytes, bool consistent);

/* ,"ConsumedCapacity":{...} where the request asks for it; for one table. */
void call_write_capacity(struct call *call, const struct capacity *capacity, bool first);

/* The same for requests about several tables: a list, in the order in which they were first asked for. */
struct capacities {
    struct call *call;
    struct capacity *list;
    size_t count;
};
struct capacities capacities_new(struct call *call, size_t most);
struct capacity *capacities_of(struct capacities *capacities, const struct table *table);
bool call_write_capacities(const struct capacities *capacities, bool first); /* anything? */

/* ---- collections.c: ReturnItemCollectionMetrics ---- */

struct written_item {
    const struct table *table;
    struct row_key row;
    const struct attr *key; /* or the whole item */
};

/* "ItemCollectionMetrics":... where the request asks for it and the table has local indexes; behind a comma
 * unless it is the first member. */
void collection_metrics_write(struct call *call, const struct table *table, const struct attr *key,
                              bool first);
void collection_metrics_write_all(struct call *call, const struct written_item *items, size_t count,
                                  bool first);

/* ---- conditions of writes: expressions or the older parameters ---- */

/* ConditionalOperator stands beside `conditions`, or is a fault. */
bool legacy_operator_fits(struct call *call, const char *conditions);
struct expr *legacy_expected(struct call *call, const struct json *expected);
struct expr *legacy_filter(struct call *call, const struct json *conditions);
struct update *legacy_updates(struct call *call, const struct json *updates);
struct projection *legacy_projection(struct call *call, const struct json *names);

/* ---- streams.c ---- */

void stream_open(struct call *call, struct table *table); /* a new stream for its view */
void stream_close(struct call *call, const struct table *table);
void stream_append(struct call *call, const struct table *table, struct row_key row,
                   const struct attr *before, const struct attr *after, enum writer writer);
void engine_load_streams(struct engine *engine);
void engine_free_streams(struct engine *engine);
void engine_renew_streams(struct call *call);
bool stream_split(struct call *call, const char *arn, const char *shard, int children);

/* ---- row_key.c ---- */

bool same_key(struct row_key a, struct row_key b);
struct attr *key_only(struct arena *arena, const struct key_schema *schema, const struct attr *item);

/* The hidden index over the attribute of expiry, and an item's key in it; false: it never expires. */
int64_t ttl_index(const struct table *table);
bool ttl_key(struct arena *arena, const struct table *table, const struct attr *item, struct row_key *key);

/* ---- time_to_live.c ---- */

void ttl_fill(struct call *call, const struct table *table); /* after it was switched on or off */

/* ---- operations ---- */

operation op_create_table, op_describe_table, op_list_tables, op_update_table, op_delete_table;
operation op_update_time_to_live, op_describe_time_to_live, op_tag_resource, op_untag_resource, op_list_tags;
/* {"NAME":{...}}: all that is said of the table. Tags that may be given to one. */
void write_description(struct call *call, const char *member, const struct table *table);
bool tags_valid(struct call *call, const struct json *tags);     /* NULL: none; else a fault */
bool policy_valid(struct call *call, const struct json *policy); /* likewise */

/* By its name or ARN, for what is about backups, which has a fault of its own. */
struct table *find_recoverable(struct call *call, struct text name);

operation op_put_policy, op_get_policy, op_delete_policy;
operation op_update_backups, op_describe_limits, op_describe_endpoints, op_describe_backups;
operation op_list_backups, op_find_backup, op_restore_table, op_export_table, op_list_exports;
operation op_describe_export, op_list_imports, op_describe_import, op_list_global_tables;
operation op_describe_global_table, op_describe_global_settings, op_describe_replica_scaling;
operation op_list_contributor_insights, op_describe_contributor_insights, op_describe_kinesis_destination;
operation op_put_item, op_get_item, op_update_item, op_delete_item;
operation op_batch_get_item, op_batch_write_item, op_query, op_scan;
operation op_transact_write_items, op_transact_get_items;
operation op_execute_statement, op_batch_execute_statement, op_execute_transaction;
operation op_list_streams, op_describe_stream, op_get_shard_iterator, op_get_records;

#endif
